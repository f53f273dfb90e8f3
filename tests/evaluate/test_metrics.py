"""Weighted metrics: against scikit-learn with sample weights, and against their definitions."""

import numpy as np
import pytest
from sklearn import metrics as sk

from skinjax.evaluate import metrics
from skinjax.evaluate.metrics import WeightedMetric


def average(score, kind):
    return lambda truth, called, weight: score(
        truth, called, average=kind, zero_division=0, sample_weight=weight
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.accuracy, lambda truth, called, weight: np.average(truth == called, weights=weight)),
        (metrics.macro_recall, average(sk.recall_score, "macro")),
        (metrics.macro_precision, average(sk.precision_score, "macro")),
        (metrics.macro_f1, average(sk.f1_score, "macro")),
        (metrics.weighted_f1, average(sk.f1_score, "weighted")),
        (metrics.weighted_precision, average(sk.precision_score, "weighted")),
    ],
)
def test_weighted_classes_equal_scikit_learn(ours, theirs):
    rng = np.random.default_rng(0)
    truth, called = rng.integers(5, size=(2, 200))
    weights = rng.integers(4, size=(7, 200)).astype(float)
    expected = [theirs(truth, called, weight) for weight in weights]
    np.testing.assert_allclose(ours.compute(truth, called, weights=weights), expected)
    assert ours(truth, called) == pytest.approx(theirs(truth, called, None))


def test_macro_and_balanced_differ_where_a_class_is_only_called():
    truth, called = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    assert metrics.balanced_accuracy(truth, called) == 0.75
    assert metrics.macro_recall(truth, called) == 0.5


@pytest.mark.parametrize("classes", [2, 5])
def test_probability_scores_equal_scikit_learn(classes):
    rng = np.random.default_rng(1)
    probs = rng.dirichlet(np.ones(classes), size=100)
    truth, weight = rng.integers(classes, size=100), rng.integers(1, 4, size=100).astype(float)
    loss = sk.log_loss(truth, probs, sample_weight=weight, labels=range(classes))
    assert metrics.log_loss.compute(truth, probs, weights=weight[None]) == pytest.approx(loss)
    squares = ((probs - np.eye(classes)[truth]) ** 2).sum(axis=1)
    assert metrics.brier.compute(truth, probs, weights=weight[None]) == pytest.approx(
        np.average(squares, weights=weight)
    )
    if classes == 2:
        assert metrics.brier(truth, probs[:, 1]) == pytest.approx(sk.brier_score_loss(truth, probs[:, 1]))
        assert metrics.log_loss(truth, probs[:, 1]) == pytest.approx(sk.log_loss(truth, probs[:, 1]))


def test_a_truth_of_probability_zero_has_a_finite_loss():
    assert metrics.log_loss([0, 1], np.array([[1.0, 0.0], [1.0, 0.0]])) == pytest.approx(
        sk.log_loss([0, 1], np.array([[1.0, 0.0], [1.0, 0.0]]))
    )


def test_totals_give_what_weights_give():
    rng = np.random.default_rng(2)
    truth, called = rng.integers(5, size=(2, 50))
    weights = rng.integers(3, size=(4, 50)).astype(float)
    table = metrics.macro_f1.sums(truth, called)
    np.testing.assert_array_equal(
        metrics.macro_f1.value(weights @ table.toarray()),
        metrics.macro_f1.compute(truth, called, weights=weights),
    )


def test_no_photo_is_undefined_without_a_warning():
    truth = np.array([0, 1])
    found = metrics.macro_f1.compute(truth, truth, weights=np.array([[0.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_array_equal(found, [np.nan, 1])


def test_a_plain_weighted_metric_has_no_sums():
    metric = WeightedMetric(lambda values, weights: weights @ values)
    assert metric([1, 2, 3]) == 6
    assert metric.sums is None


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: metrics.brier([0, 1], np.array([0.5, 1.5])), r"probs must lie in \[0, 1\]"),
        (lambda: metrics.brier([0, 1], np.array([0.5, np.nan])), "outside or NaN"),
        (lambda: metrics.log_loss([0, 2], np.full((2, 2), 0.5)), r"labels must lie in \[0, 2\)"),
        (lambda: metrics.log_loss([0.0, 1.0], np.full((2, 2), 0.5)), "labels must be int.*float64"),
        (lambda: metrics.brier([0], np.zeros((1, 2, 2))), r"probs must be float\[N\].*\(1, 2, 2\)"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
