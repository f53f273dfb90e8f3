"""Precision and recall: against scikit-learn and the metric on repeated photos."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from skinjax.evaluate.bootstrap import by_case
from skinjax.evaluate.precision_recall import (
    average_precision,
    precision_recall_curve,
    weighted_average_precision,
)

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
ROWS = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30).filter(
    lambda rows: any(label for label, _ in rows)
)


def split(rows):
    return np.array([label for label, _ in rows], int), np.array([score for _, score in rows], float)


@EXAMPLES
@given(ROWS)
def test_curve_and_area_are_scikit_learns(rows):
    labels, scores = split(rows)
    curve = precision_recall_curve(labels, scores)
    precision, recall, thresholds = metrics.precision_recall_curve(labels, scores)
    np.testing.assert_array_equal(curve.thresholds, thresholds[::-1])
    np.testing.assert_allclose(curve.precision, precision[-2::-1])
    np.testing.assert_allclose(curve.recall, recall[-2::-1])
    expected = metrics.average_precision_score(labels, scores)
    assert average_precision(labels, scores) == pytest.approx(expected)


@EXAMPLES
@given(ROWS, st.integers(0, 10**6))
def test_weighted_precision_is_that_of_repeated_photos(rows, seed):
    labels, scores = split(rows)
    weights = np.random.default_rng(seed).integers(3, size=(40, len(labels)))
    found = weighted_average_precision.compute(labels, scores, weights=weights.astype(float))
    expected = [average_precision(np.repeat(labels, row), np.repeat(scores, row)) for row in weights]
    np.testing.assert_allclose(found, expected)


def test_its_interval_by_case_is_that_of_the_plain_metric():
    rng = np.random.default_rng(0)
    cases = np.repeat(np.arange(30), 3)
    labels = rng.integers(2, size=30)[cases]
    scores = np.round(labels + rng.normal(size=90), 1)
    fast = by_case(weighted_average_precision, (labels, scores), cases, replicates=60, confidence=0.9)
    slow = by_case(metrics.average_precision_score, (labels, scores), cases, replicates=60, confidence=0.9)
    assert (fast.estimate, fast.low, fast.high) == pytest.approx((slow.estimate, slow.low, slow.high))


def test_a_random_score_has_the_share_of_class_1():
    rng = np.random.default_rng(0)
    labels = rng.random(20_000) < 0.15
    assert average_precision(labels, rng.random(20_000)) == pytest.approx(0.15, abs=0.01)
    assert average_precision(labels, np.zeros(20_000)) == pytest.approx(labels.mean())


def test_without_class_1_it_is_nan_and_bad_input_is_named():
    assert np.isnan(average_precision([0, 0], [0.1, 0.2]))
    assert np.isnan(average_precision([], []))
    assert np.isnan(precision_recall_curve([0, 0], [0.1, 0.2]).recall).all()
    assert average_precision([1, 1], [0.1, 0.2]) == 1
    with pytest.raises(ValueError, match="labels must be 0 or 1, got \\[3\\]"):
        average_precision([0, 3], [0.1, 0.2])
    with pytest.raises(ValueError, match="scores must have shape \\[N\\]"):
        average_precision([0, 1], [[0.1, 0.2]])
