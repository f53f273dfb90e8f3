"""Degrees, reference scores and cut-points against their definitions and the best of all cut-points."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinjax.decide.malignancy import (
    call_degree,
    degree_probabilities,
    fit_cutpoints,
    grade,
    grading_cost,
    merged_probabilities,
    reference_score,
    tumour_probability,
)

DEGREES = np.array([0, 0, 1, 2, 2, 0, 1, 2, 2, 0])


@pytest.fixture(scope="module")
def probabilities():
    return np.random.default_rng(11).dirichlet(np.full(10, 0.5), size=(6, 4))


@pytest.mark.slow
def test_degrees_and_scores_equal_their_definitions(probabilities):
    for photos in ((), (0,), (1, 2)):
        probs = probabilities[photos]
        degrees = degree_probabilities(probs, DEGREES, 3)
        expected = np.stack([probs[..., d == DEGREES].sum(-1) for d in range(3)], axis=-1)
        np.testing.assert_allclose(degrees, expected, rtol=1e-5, atol=1e-7)
        score = 100 * (0.5 * expected[..., 1] + expected[..., 2])
        np.testing.assert_allclose(reference_score(degrees), score, rtol=1e-5)
        other = 100 * (0.2 * expected[..., 0] + 0.2 * expected[..., 1] + 0.9 * expected[..., 2])
        np.testing.assert_allclose(reference_score(degrees, (0.2, 0.2, 0.9)), other, rtol=1e-5)


def test_a_degree_without_kinds_gets_nothing(probabilities):
    degrees = degree_probabilities(probabilities, 3 * (DEGREES > 0), 4)
    np.testing.assert_array_equal(degrees[..., 1:3], 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2), st.floats(0, 2e-7))
def test_scores_stay_in_range_and_keep_their_gradient_at_the_ends(degree, excess):
    probs = jnp.eye(3)[degree] * (1 + excess)
    score, gradient = jax.value_and_grad(reference_score)(probs)
    assert 0 <= score <= 100
    np.testing.assert_allclose(gradient, [0, 50, 100], rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "options"),
    [("argmax", {}), ("cutpoints", {"cutpoints": np.array([20.0, 60.0])}), ("least_cost", {})],
)
def test_eager_jit_and_vmap_agree(probabilities, rule, options):
    def degree(probs, options):
        return grade(degree_probabilities(probs, DEGREES, 3), rule, **options)

    eager = degree(probabilities[0], options)
    np.testing.assert_array_equal(jax.jit(degree)(probabilities[0], options), eager)
    np.testing.assert_array_equal(jax.vmap(lambda p: degree(p, options))(probabilities[0]), eager)
    assert eager.dtype == jnp.int32


def test_grades_equal_their_definitions(probabilities):
    probs = np.asarray(degree_probabilities(probabilities, DEGREES, 3), np.float64)
    cost = np.array([[0, 1, 2], [3, 0, 1], [9, 4, 0.0]])
    for photo in np.ndindex(probs.shape[:-1]):
        p = probs[photo]
        assert grade(p) == np.argmax(p)
        expected = [sum(p[t] * cost[t, d] for t in range(3)) for d in range(3)]
        assert grade(p, "least_cost", cost=cost) == np.argmin(expected)
        score = 50 * p[1] + 100 * p[2]
        assert grade(p, "cutpoints", cutpoints=[30, 70]) == int(score >= 30) + int(score >= 70)


def test_of_equals_the_higher_degree_is_given():
    assert grade(jnp.array([0.5, 0.5, 0.0])) == 1
    assert grade(jnp.array([0.5, 0.0, 0.5])) == 2
    # 0.5 * 1 too high costs as much as 0.125 * 4 too low
    assert grade(jnp.array([0.5, 0.5]), "least_cost", cost=np.array([[0, 1], [1, 0]])) == 1
    assert grade(jnp.array([0.0, 1.0, 0.0]), "cutpoints", cutpoints=[50, 50]) == 2
    assert grade(jnp.array([1.0]), "cutpoints", cutpoints=[]) == 0


def test_the_default_cost_gives_the_lowest_degree_seldom_too_low():
    rng = np.random.default_rng(0)
    for p in rng.dirichlet(np.ones(4), 200):
        above = 1 - np.cumsum(p)
        lowest = np.argmax(above <= 1 / (1 + 4) + 1e-12)
        assert grade(p, "least_cost") == lowest


def total_cost(scores, degrees, cuts, cost):
    return sum(cost[t, sum(s >= c for c in cuts)] for s, t in zip(scores, degrees, strict=True))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("num_degrees", [2, 3, 4])
def test_cutpoints_cost_least_of_all(seed, num_degrees):
    rng = np.random.default_rng(seed)
    degrees = rng.integers(0, num_degrees, 14)
    scores = np.round(40 * degrees / num_degrees + rng.normal(20, 12, 14), -1 if seed % 2 else 1)
    cost = rng.integers(0, 9, (num_degrees, num_degrees)) if seed % 3 == 0 else grading_cost(num_degrees, 2.5)
    found = fit_cutpoints(scores, degrees, cost)
    edges = np.append(np.unique(scores), np.inf)
    every = {
        cuts: total_cost(scores, degrees, cuts, cost)
        for cuts in itertools.combinations_with_replacement(edges, num_degrees - 1)
    }
    least = min(every.values())
    assert total_cost(scores, degrees, found, cost) == pytest.approx(least, abs=1e-9)
    if num_degrees == 2:
        assert tuple(found) == min(cuts for cuts, paid in every.items() if paid <= least + 1e-9)
    # The whole way from probabilities: the cut-points mean the same in `grade`.
    probs = np.stack([1 - scores / 100, scores / 100], axis=-1)
    if num_degrees == 2:
        again = fit_cutpoints(np.asarray(reference_score(probs, (0, 1))), degrees, cost)
        given = grade(probs, "cutpoints", cutpoints=again)
        assert cost[degrees, np.asarray(given)].sum() == pytest.approx(least, abs=1e-9)


def test_dear_under_grading_lowers_the_cutpoints():
    rng = np.random.default_rng(4)
    degrees = rng.integers(0, 3, 600)
    scores = np.clip(rng.normal(50 * degrees, 25), 0, 100)
    fair = fit_cutpoints(scores, degrees, grading_cost(3, under=1))
    careful = fit_cutpoints(scores, degrees, grading_cost(3, under=8))
    assert (careful < fair - 5).all()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: degree_probabilities(np.ones(3), [0, 1, 3], 3), r"degree_of_class must lie in \[0, 3\)"),
        (
            lambda: degree_probabilities(np.ones(3), [0, 1], 3),
            r"degree_of_class must be integers of shape \(3,\)",
        ),
        (lambda: degree_probabilities(np.ones(3), [0, 0, 0], 0), "num_degrees must be at least 1, got 0"),
        (lambda: reference_score(np.ones(4)), r"values must hold 4 numbers, got shape \(3,\)"),
        (lambda: reference_score(np.ones(3), (0, 50, 100)), r"values must lie in \[0, 1\], got 0, 50, 100"),
        (lambda: tumour_probability(np.ones(3), [-2, 1, 0]), r"degree_of_class must lie in \[0, .*-2 at 0"),
        (
            lambda: merged_probabilities(np.ones((3, 1)), np.ones((3, 3))),
            r"tumour must be one number per row of degree_probs, \(3,\), got shape \(3, 1\)",
        ),
        (
            lambda: call_degree(np.ones(2), np.ones((3, 3))),
            r"tumour must be one number per row of degree_probs, \(3,\), got shape \(2,\)",
        ),
        (lambda: reference_score(np.ones(3), (0, 1, 0.5)), "values must never fall, got 0, 1, 0.5"),
        (lambda: grade(np.ones(3), "mean"), "rule must be one of argmax, cutpoints, least_cost, got 'mean'"),
        (lambda: grade(np.ones(3), "cutpoints"), "cutpoints must be given for the rule 'cutpoints'"),
        (
            lambda: grade(np.ones(3), cutpoints=[1, 2]),
            "cutpoints is for the rule 'cutpoints', got the rule 'argmax'",
        ),
        (lambda: grade(np.ones(3), "cutpoints", [60, 20]), "cutpoints must never fall, got 60, 20"),
        (
            lambda: grade(np.ones(3), "least_cost", cost=np.ones((2, 2))),
            r"cost must be \[3, 3\].* got shape \(2, 2\)",
        ),
        (lambda: grading_cost(3, under=0.5), "under must be at least 1 and finite, got 0.5"),
        (
            lambda: fit_cutpoints([1, 2], [0, 3], np.ones((3, 3))),
            r"degrees must lie in \[0, 3\), got 1 others: 3 at 1",
        ),
        (lambda: fit_cutpoints([1, 2], [0, 1], np.ones((3, 2))), r"cost must be square.* got shape \(3, 2\)"),
        (lambda: fit_cutpoints([1, np.inf], [0, 1], np.ones((2, 2))), "scores must be finite, got 1 others"),
    ],
)
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
