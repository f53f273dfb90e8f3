"""Confusion matrices and summaries against scikit-learn and against counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from skinjax.evaluate.confusion import class_ratios, confusion_matrix, summary, top_k

answers = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(answers)
def test_equals_scikit_learn_with_classes_that_are_not_there(pairs):
    labels, predicted = np.array(pairs).T
    matrix = confusion_matrix(labels, predicted, 6)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(labels, predicted, labels=range(6)))
    read = summary(matrix)
    macro = metrics.precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    assert (read.macro_precision, read.macro_recall, read.macro_f1) == pytest.approx(macro[:3])
    assert read.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    recalls = [np.mean(predicted[labels == k] == k) for k in np.unique(labels)]
    assert read.balanced_accuracy == pytest.approx(np.mean(recalls))

    weighted = metrics.precision_recall_fscore_support(labels, predicted, average="weighted", zero_division=0)
    assert (read.weighted_precision, read.weighted_recall, read.weighted_f1) == pytest.approx(weighted[:3])
    for k in np.flatnonzero(read.support + read.predicted):
        spared = predicted[labels != k] != k
        np.testing.assert_allclose(read.specificity[k], spared.mean() if spared.size else np.nan)

    present = np.union1d(labels, predicted)
    by_class = metrics.precision_recall_fscore_support(labels, predicted, labels=present, zero_division=0)
    for ours, theirs in zip((read.precision, read.recall, read.f1, read.support), by_class, strict=True):
        np.testing.assert_allclose(ours[present], theirs)
    absent = np.setdiff1d(range(6), present)
    assert np.isnan([read.precision[absent], read.recall[absent], read.f1[absent]]).all()


def test_balanced_accuracy_equals_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(4, size=(2, 200))
    expected = metrics.balanced_accuracy_score(labels, predicted)
    assert summary(confusion_matrix(labels, predicted, 4)).balanced_accuracy == pytest.approx(expected)


def test_no_photo_gives_nan_and_no_warning():
    read = summary(confusion_matrix([], [], 3))
    assert np.isnan([read.accuracy, read.macro_f1, read.balanced_accuracy, *read.recall]).all()
    assert np.isnan([read.weighted_f1, read.weighted_precision, *read.specificity]).all()
    assert read.support.tolist() == [0, 0, 0]


def test_ratios_take_weights_of_any_leading_shape():
    hits, support, predicted = (
        np.array([[[2.5, 0]], [[1, 1]]]),
        np.full((2, 1, 2), 5.0),
        np.full((2, 1, 2), 2.5),
    )
    recall, precision, f1 = class_ratios(hits, support, predicted)
    np.testing.assert_allclose(recall, hits / 5)
    np.testing.assert_allclose(precision, hits / 2.5)
    np.testing.assert_allclose(f1[0, 0], [2 / 3, 0])


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_equals_scikit_learn(k):
    rng = np.random.default_rng(1)
    labels, probs = rng.integers(5, size=300), rng.dirichlet(np.ones(5), size=300)
    if k == 5:
        assert top_k(labels, probs, k) == 1
    else:
        assert top_k(labels, probs, k) == pytest.approx(metrics.top_k_accuracy_score(labels, probs, k=k))


def test_top_k_breaks_ties_as_the_arg_max_does():
    rng = np.random.default_rng(2)
    labels, probs = rng.integers(4, size=500), rng.integers(3, size=(500, 4)) / 2
    assert top_k(labels, probs, 1) == np.mean(probs.argmax(axis=1) == labels)
    first = [sorted(range(4), key=lambda j: (-row[j], j))[:2] for row in probs]
    assert top_k(labels, probs, 2) == np.mean(
        [label in two for label, two in zip(labels, first, strict=True)]
    )


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: confusion_matrix([0, 3, -1], [0, 0, 0], 3), r"got 2 outside: 3 at 1, -1 at 2"),
        (lambda: confusion_matrix([0], [0, 0], 3), "labels and predicted must have one length, got 1 and 2"),
        (lambda: confusion_matrix([0.5], [0], 3), r"labels must be int\[N\], got float64"),
        (lambda: summary(np.zeros((2, 3), int)), r"matrix must be square.*\(2, 3\)"),
        (lambda: summary([[0.5, 0.5], [0, 1]]), "matrix must hold counts.*float64"),
        (lambda: summary([[1, -1], [0, 1]]), "matrix must hold counts"),
        (lambda: top_k([0], [[0.5, 0.5]], 3), r"k must lie in \[1, 2\], got 3"),
        (lambda: top_k([0], [[np.nan, 0.5]], 1), "got NaN in 1 photos"),
        (lambda: top_k([0, 1], [[0.5, 0.5]], 1), "one length, got 2 and 1"),
        (lambda: top_k([0], [0.5], 1), r"probs must be float\[N, K\]"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
