"""Certainty, abstention and the risk-coverage curve against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from skinjax.decide.abstain import certainty, diagnose, fit_certainty_threshold, risk_coverage

MEASURES = ("confidence", "margin", "entropy")


@pytest.fixture(scope="module")
def probabilities():
    return np.random.default_rng(1).dirichlet(np.full(6, 0.5), size=(3, 5))


def test_measures_equal_their_definitions(probabilities):
    ordered = np.sort(probabilities, axis=-1)
    np.testing.assert_allclose(certainty(probabilities), ordered[..., -1], rtol=1e-6)
    np.testing.assert_allclose(
        certainty(probabilities, "margin"), ordered[..., -1] - ordered[..., -2], rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        certainty(probabilities, "entropy"), 1 - entropy(probabilities, axis=-1) / np.log(6), atol=1e-6
    )
    for measure, least in zip(MEASURES, (1 / 6, 0, 0), strict=True):
        assert certainty(np.eye(6)[2], measure) == 1
        assert certainty(np.full(6, 1 / 6), measure) == pytest.approx(least, abs=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
def test_eager_jit_and_vmap_agree(probabilities, measure):
    eager = certainty(probabilities, measure)
    np.testing.assert_allclose(jax.jit(certainty, static_argnums=1)(probabilities, measure), eager, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(lambda p: certainty(p, measure))(probabilities), eager, atol=1e-6)
    given = diagnose(probabilities, 0.5, measure)
    traced = jax.jit(diagnose, static_argnums=2)(probabilities, 0.5, measure)
    mapped = jax.vmap(lambda p: diagnose(p, 0.5, measure))(probabilities)
    np.testing.assert_array_equal(traced, given)
    np.testing.assert_array_equal(mapped, given)
    assert given.dtype == jnp.int32


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1e-38, 1e-30, 0.25, 1.0]), min_size=4, max_size=4),
    st.sampled_from(MEASURES),
)
def test_certainty_and_gradients_are_finite_at_the_extremes(probs, measure):
    value, gradient = jax.value_and_grad(certainty)(jnp.asarray(probs, jnp.float32), measure)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_a_diagnosis_at_the_threshold_is_given(probabilities):
    np.testing.assert_array_equal(diagnose(probabilities, 0), probabilities.argmax(-1))
    np.testing.assert_array_equal(diagnose(probabilities, np.inf), -1)
    assert diagnose(jnp.array([0.25, 0.5, 0.25]), 0.5) == 1
    certain = probabilities.max(-1) >= 0.6
    np.testing.assert_array_equal(diagnose(probabilities, 0.6) == -1, ~certain)


@pytest.mark.parametrize("seed", range(4))
def test_the_curve_equals_its_definition_and_fits_are_the_best_of_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    certain = np.round(rng.random(60), 1 if seed % 2 else 3)
    errors = (rng.random(60) > 0.3 + 0.6 * certain).astype(int)
    curve = risk_coverage(errors, certain)
    np.testing.assert_array_equal(curve.threshold, np.unique(certain)[::-1])
    for t, coverage, risk in zip(curve.threshold, curve.coverage, curve.risk, strict=True):
        assert coverage == pytest.approx((certain >= t).mean())
        assert risk == pytest.approx(errors[certain >= t].mean())
    assert curve.area == pytest.approx(np.mean([errors[certain >= c].mean() for c in certain]))
    for wanted in (0.1, 0.5, 1.0):
        best = max(t for t in certain if (certain >= t).mean() >= wanted)
        assert fit_certainty_threshold(errors, certain, coverage=wanted) == best
    for wanted in (0.0, 0.1, 0.25, 1.0):
        kept = [t for t in certain if errors[certain >= t].mean() <= wanted]
        assert fit_certainty_threshold(errors, certain, risk=wanted) == min(kept, default=np.inf)


def test_a_list_of_thresholds_is_one_per_photo():
    assert diagnose([[0.2, 0.8], [0.6, 0.4]], [0.9, 0.5]).tolist() == [-1, 0]


def test_a_risk_that_nothing_keeps_to_diagnoses_nobody():
    assert fit_certainty_threshold([1, 1], [0.5, 0.6], risk=0.5) == np.inf


def test_knowing_what_is_wrong_gives_the_least_area():
    rng = np.random.default_rng(3)
    errors = (rng.random(200) < 0.3).astype(int)
    noise = rng.random(200)
    best, blind, worst = (risk_coverage(errors, noise + s * errors).area for s in (-1, 0, 1))
    assert best < blind - 0.1
    assert worst > blind + 0.1
    assert blind == pytest.approx(errors.mean(), abs=0.1)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: certainty(np.ones(3), "variance"), "measure must be one of confidence, margin, entropy"),
        (lambda: certainty(np.ones(1)), r"probs must have at least two classes, got shape \(1,\)"),
        (lambda: risk_coverage([0, 1], [0.5]), "errors and certainties must be of one length, got 2 and 1"),
        (lambda: risk_coverage([], []), "errors must be one number per photo"),
        (lambda: risk_coverage([0, 1], [0.5, np.nan]), "certainties must be finite, got 1 others: nan at 1"),
        (
            lambda: fit_certainty_threshold([0], [1]),
            "coverage or risk must be given, not both, got None and None",
        ),
        (lambda: fit_certainty_threshold([0], [1], risk=0.1, coverage=0.5), "not both, got 0.5 and 0.1"),
        (lambda: fit_certainty_threshold([0], [1], coverage=0), r"coverage must lie in \(0, 1\], got 0"),
        (lambda: fit_certainty_threshold([0], [1], risk=-1), "risk must be at least 0 and finite, got -1"),
    ],
)
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
