"""Pooling by case against loops over cases, scipy's Jensen-Shannon distance, and what pools must do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import entropy

from benchmarks import coverage_of_cases
from skinjax.decide.hierarchy import fuse
from skinjax.decide.pooling import pool, pool_by_case

RULES = ("mean_log", "mean", "max")


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.full(5, 0.4), 40), rng.integers(0, 12, 40), rng.random(40)


def by_hand(rows: np.ndarray, rule: str, scores=None) -> np.ndarray:
    if rule == "mean":
        return rows.mean(axis=0)
    if rule == "mean_log":
        return softmax(np.log(np.maximum(rows, np.finfo(np.float32).tiny)).mean(axis=0))
    if scores is not None:
        return rows[np.argmax(scores)]
    largest = rows.max(axis=0)
    return largest / largest.sum()


@pytest.mark.parametrize("rule", RULES)
def test_cases_are_pooled_as_a_loop_over_them_does(photos, rule):
    probs, cases, scores = photos
    for given_scores in (None, scores) if rule == "max" else (None,):
        found = pool_by_case(probs, cases, rule, given_scores)
        assert found.cases.tolist() == list(dict.fromkeys(cases.tolist()))
        for place, case in enumerate(found.cases):
            rows = probs[cases == case]
            expected = by_hand(rows, rule, None if given_scores is None else scores[cases == case])
            np.testing.assert_allclose(found.probs[place], expected, atol=1e-12)
            assert found.photos[place] == len(rows)
            spread = entropy(rows.mean(axis=0)) - entropy(rows, axis=1).mean()
            most = np.log(min(len(rows), 5)) if len(rows) > 1 else 1
            assert found.disagreement[place] == pytest.approx(spread / most, abs=1e-9)
        np.testing.assert_array_equal(found.cases[found.index], cases)


def test_disagreement_of_two_photos_is_scipys_divergence_in_bits():
    probs = np.random.default_rng(1).dirichlet(np.ones(4), 2)
    found = pool_by_case(probs, ["a", "a"]).disagreement[0]
    assert found == pytest.approx(jensenshannon(*probs, base=2) ** 2, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_eager_jit_vmap_and_the_host_agree(photos, rule):
    probs, cases, scores = photos
    score = scores if rule == "max" else None
    host = pool_by_case(probs.astype(np.float32), cases, rule, score)
    count = len(host)
    function = functools.partial(pool, num_cases=count, rule=rule)
    several = jnp.stack([jnp.asarray(probs)] * 2)
    for found, apart in (
        function(probs, host.index, scores=score),
        jax.jit(function)(probs, host.index, scores=score),
        jax.tree.map(lambda x: x[1], jax.vmap(lambda p: function(p, host.index, scores=score))(several)),
    ):
        np.testing.assert_allclose(found, host.probs, atol=1e-6)
        np.testing.assert_allclose(apart, host.disagreement, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_properties_of_any_rule(rule, seed):
    rng = np.random.default_rng(seed)
    probs, cases = rng.dirichlet(np.full(4, 0.2), 12), rng.integers(0, 6, 12)
    probs[rng.random(probs.shape) < 0.2] = 0
    probs[:, 0] += 1 - probs.sum(axis=1)
    found = pool_by_case(probs, cases, rule)
    np.testing.assert_allclose(found.probs.sum(axis=1), 1, atol=1e-9)
    assert ((found.disagreement >= 0) & (found.disagreement <= 1)).all()
    alone = found.photos == 1
    first = np.unique(found.index, return_index=True)[1]
    np.testing.assert_array_equal(found.probs[alone], probs[first][alone])  # unchanged, to the bit
    assert (found.disagreement[alone] == 0).all()
    turned = rng.permutation(12)
    again = pool_by_case(probs[turned], cases[turned], rule)
    order = {case: place for place, case in enumerate(again.cases.tolist())}
    np.testing.assert_allclose(
        again.probs[[order[case] for case in found.cases.tolist()]], found.probs, atol=1e-12
    )
    alike = pool_by_case(np.repeat(probs, 3, axis=0), np.repeat(np.arange(12), 3), rule)
    np.testing.assert_allclose(alike.probs, probs, atol=1e-9)  # three copies of a photo say what it says
    assert (alike.disagreement < 1e-9).all()


def test_photos_that_are_sure_of_different_classes_disagree_fully_and_zeros_stay_finite():
    found = pool_by_case(np.eye(3), ["a", "a", "a"])
    assert found.disagreement.tolist() == pytest.approx([1])
    np.testing.assert_allclose(found.probs, [[1 / 3, 1 / 3, 1 / 3]], atol=1e-9)
    ruled_out = pool_by_case([[0.9, 0.1, 0.0], [0.0, 0.1, 0.9]], ["a", "a"])
    assert ruled_out.probs[0].argmax() == 1  # each photo rules the other's class out
    assert pool_by_case([[0.9, 0.1, 0.0], [0.0, 0.1, 0.9]], ["a", "a"], "mean").probs[0].argmin() == 1


@pytest.mark.slow
def test_fusing_pooled_levels_is_pooling_fused_ones_for_the_mean_of_logarithms():
    rng = np.random.default_rng(2)
    parents, cases = np.array([0, 0, 1, 1, 1]), np.repeat(np.arange(6), 3)
    sub, meta = rng.dirichlet(np.ones(5), 18), rng.dirichlet(np.ones(2), 18)
    pooled = [pool_by_case(level, cases).probs for level in (meta, sub)]
    fused = np.asarray(fuse(meta, sub, parents, "soft", normalize=True))
    np.testing.assert_allclose(
        fuse(*pooled, parents, "soft", normalize=True), pool_by_case(fused, cases).probs, atol=1e-5
    )


def test_the_first_of_equally_malignant_photos_stands_for_its_case():
    probs = [[0.6, 0.4], [0.2, 0.8], [0.3, 0.7]]
    assert pool_by_case(probs, ["a", "a", "a"], "max", [1.0, 2.0, 2.0]).probs.tolist() == [
        pytest.approx([0.2, 0.8])
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.5, 0.5]], ["a"], "median"), "rule must be one of mean_log, mean, max, got 'median'"),
        (([[0.5, 0.5]], ["a", "b"]), "cases must name the case of each of 1 photos"),
        (([[0.5, 0.5]], ["a"], "mean", [1.0]), "scores are for the rule 'max'"),
        (([[0.5, 0.5]], ["a"], "max", [1.0, 2.0]), "scores must be one per photo"),
        (([[1.5, -0.5]], ["a"]), "probs must lie in"),
        (([[np.nan, 0.5]], ["a"]), "probs must be finite"),
        *(
            (([[0.5, 0.5]] * 3, cases), "cases must name every photo's case, got 2 missing, at photo 1, 2")
            for cases in (
                ["a", None, None],
                ["a", np.nan, float("nan")],  # of which numpy alone would make text
                np.array([1, np.nan, np.nan]),
                pd.Series(["a", pd.NA, pd.NA], dtype="string"),
                pd.Series(["a", None, None], dtype="category"),
            )
        ),
    ],
)
def test_faulty_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        pool_by_case(*arguments)


@pytest.mark.parametrize(
    ("dtype", "num_cases"), [("int8", 128), ("uint8", 256), ("uint8", 300), ("int16", 3)]
)
def test_narrow_indices_count_and_leave_out_as_wide_ones_do(dtype, num_cases):
    """300 photos of a case are more than 8 bits hold, as are 300 cases, and the mark of what is left out."""
    index = np.array([1] * 300 + [np.iinfo(dtype).max, 0], dtype)
    probs = np.random.default_rng(0).dirichlet(np.ones(3), len(index))
    for rule in RULES:
        for found, expected in zip(
            pool(probs, index, num_cases, rule),
            pool(probs, index.astype(np.int32), num_cases, rule),
            strict=True,
        ):
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(
        pool(probs, index, num_cases, "mean")[0][1], probs[:300].mean(axis=0), rtol=1e-5
    )


@pytest.mark.slow
def test_the_core_refuses_arrays_that_do_not_fit():
    with pytest.raises(ValueError, match="an integer case for each photo"):
        pool(np.full((3, 2), 0.5), np.zeros(2, int), 1)
    with pytest.raises(ValueError, match="scores must be one per photo"):
        pool(np.full((3, 2), 0.5), np.zeros(3, int), 1, "max", np.zeros(2))
    probs, apart = pool(np.full((2, 2), 0.5), np.array([0, 5]), 2)  # outside, and a case without photos
    assert probs.tolist() == [[0.5, 0.5], [0.0, 0.0]]
    assert apart.tolist() == [0.0, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", coverage_of_cases.KINDS[:5], ids=lambda kind: kind.title)
def test_sets_of_pooled_cases_hold_the_true_class_of_new_ones(kind):
    """The small form of `benchmarks.coverage_of_cases`: 90 % within 2 points, of 60 cases of unequal sizes."""
    found, error = coverage_of_cases.means(kind, num_cases=60, studies=120, seed=1)
    assert error < 0.006
    assert found["pooled"] == pytest.approx(0.9, abs=0.02)
    assert found["answered"] == pytest.approx(found["right"], abs=0.03)  # calibrated on cases
    assert found["calibrated_first"] > 0.91  # fitted on photos and used on cases: larger sets than are needed
    assert found["size"] < found["photo_size"]
