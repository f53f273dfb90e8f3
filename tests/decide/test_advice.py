"""Degrees with classes that are no tumours, and advice: recomputed by hand, and never too quiet for what is called."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from skinjax.decide.advice import WITHHELD, degree_urgency, top_degree, urgencies
from skinjax.decide.malignancy import (
    NO_TUMOUR,
    call_degree,
    degree_probabilities,
    grade,
    merged_probabilities,
    reference_score,
    tumour_probability,
)
from skinjax.labels.degrees import urgency_of

DEGREES = np.array([0, -1, 2, 1, -1, 2])
MANY = np.random.default_rng(0).dirichlet(np.full(6, 0.5), 400).astype(np.float32)


@pytest.mark.slow
def test_probabilities_among_tumours_are_those_by_hand():
    probs = np.array([0.2, 0.3, 0.1, 0.2, 0.1, 0.1])
    assert tumour_probability(probs, DEGREES) == pytest.approx(0.6)
    np.testing.assert_allclose(degree_probabilities(probs, DEGREES, 3), [1 / 3, 1 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(merged_probabilities(0.6, [1 / 3] * 3), [0.6, 0.2, 0.2], rtol=1e-6)
    tumour, among = tumour_probability(MANY, DEGREES), degree_probabilities(MANY, DEGREES, 3)
    np.testing.assert_allclose(
        reference_score(merged_probabilities(tumour, among)), tumour * reference_score(among), rtol=1e-4
    )


@pytest.mark.slow
def test_without_a_probability_of_tumours_all_stays_finite():
    probs = jnp.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    assert degree_probabilities(probs, DEGREES, 3).tolist() == [1, 0, 0]
    assert (
        call_degree(tumour_probability(probs, DEGREES), degree_probabilities(probs, DEGREES, 3)) == NO_TUMOUR
    )
    slope = jax.grad(lambda p: reference_score(degree_probabilities(p, DEGREES, 3)))(probs)
    assert np.isfinite(slope).all()


def test_where_all_classes_are_tumours_nothing_is_rescaled():
    degrees = np.array([0, 0, 2, 1, 1, 2])
    sums = np.stack([MANY[:, degrees == d].sum(axis=1) for d in range(3)], axis=1)
    np.testing.assert_allclose(degree_probabilities(MANY, degrees, 3), sums, rtol=1e-6)
    tumour, among = tumour_probability(MANY, degrees), degree_probabilities(MANY, degrees, 3)
    np.testing.assert_allclose(tumour, 1, atol=1e-6)
    for rule, cuts in (("argmax", None), ("least_cost", None), ("cutpoints", [20, 60])):
        expected = grade(among, rule, cutpoints=cuts)
        np.testing.assert_array_equal(call_degree(tumour, among, rule, cutpoints=cuts), expected)


@pytest.mark.slow
def test_degrees_called_equal_their_definitions():
    tumour, among = tumour_probability(MANY, DEGREES), degree_probabilities(MANY, DEGREES, 3)
    for rule, cuts in (("argmax", None), ("least_cost", None), ("cutpoints", [20, 60])):
        found = call_degree(tumour, among, rule, cutpoints=cuts)
        jitted = jax.jit(lambda t, a, rule=rule, cuts=cuts: call_degree(t, a, rule, cutpoints=cuts))
        np.testing.assert_array_equal(jitted(tumour, among), found)
        for p, called in zip(MANY.astype(np.float64), found, strict=True):
            none, degree = p[DEGREES < 0].sum(), [p[d == DEGREES].sum() for d in range(3)]
            if rule == "argmax":
                expected = int(np.argmax([none, *degree])) - 1
            else:
                if rule == "least_cost":
                    costs = [4 * degree[1] + 8 * degree[2], none + degree[0] + 4 * degree[2]]
                    merged = int(np.argmin([*costs, 2 * (none + degree[0]) + degree[1]]))
                else:
                    merged = sum(50 * degree[1] + 100 * degree[2] >= cut for cut in cuts)
                expected = NO_TUMOUR if merged == 0 and none > degree[0] else merged
            assert called == expected


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, 6, elements=st.floats(0, 1, width=32)).filter(lambda p: p.sum() > 0.01),
    st.booleans(), st.booleans(), st.sampled_from(["argmax", "least_cost"]),
)  # fmt: skip
def test_advice_is_never_later_than_that_of_the_most_probable_class(raw, certain, usable, rule):
    """Nor is it ever missing where that class is of the highest degree, such as a melanoma."""
    probs = raw / raw.sum()
    tumour, among = tumour_probability(probs, DEGREES), degree_probabilities(probs, DEGREES, 3)
    degree = int(call_degree(tumour, among, rule))
    found = int(urgencies(degree, top_degree(probs, DEGREES), certain, usable, 3))
    called = max(DEGREES[probs == probs.max()])
    if called == 2:
        assert found == 2
    if called == 1 and usable:
        assert found >= 1
    if not (certain and usable):
        assert found != 0  # nothing reassuring
    else:
        assert found >= max(degree, 0)
    if usable and degree == 2:
        assert found == 2
    if not usable and called < 2:
        assert found == WITHHELD


def test_urgency_follows_the_degree_as_in_words():
    for count in (2, 3, 5):
        found = degree_urgency(np.arange(-1, count), count)
        assert found.tolist() == [urgency_of(degree, count) for degree in range(-1, count)]
    with pytest.raises(ValueError, match="num_degrees must be at least 2, got 1"):
        urgencies(0, 0, True, True, 1)
    with pytest.raises(ValueError, match=r"degree_of_class must be integers of shape \(3,\)"):
        top_degree(np.ones(3), [0, 1])
    with pytest.raises(ValueError, match=r"degree_of_class must lie in \[0, 3\)"):
        degree_probabilities(np.ones(3), [0, 1, -2], 3)
