"""The ISIC challenges' scores against scikit-learn, hand-computed values and the challenges' own code."""

import itertools

import numpy as np
import pytest
from sklearn import metrics

from skinjax.evaluate import isic_scores as isic


def drawn(seed, num_photos=80, decimals=1):
    """Labels of two classes, and scores with many ties."""
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, num_photos - 2)]
    return labels, np.clip(rng.normal(0.4 + 0.2 * labels, 0.25), 0, 1).round(decimals)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("least", [0.5, 0.8, 0.95])
def test_the_area_of_2024_is_scikit_learns_on_flipped_labels_without_its_correction(seed, least):
    labels, scores = drawn(seed)
    width = 1 - least
    corrected = metrics.roc_auc_score(1 - labels, -scores, max_fpr=width)
    chance = width**2 / 2
    expected = chance + (width - chance) * (corrected - 0.5) / 0.5
    assert isic.pauc_above_tpr(labels, scores, least) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_area_above_a_sensitivity_is_the_trapezoids_right_of_it(seed):
    labels, scores = drawn(seed)
    alarms, hits, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    # The place where the curve first reaches 0.8, found on a fine subdivision of its straight lines.
    grid = np.linspace(0, 1, 2001)
    x = np.concatenate([a + grid * (b - a) for a, b in itertools.pairwise(alarms)])
    y = np.concatenate([a + grid * (b - a) for a, b in itertools.pairwise(hits)])
    kept = y >= 0.8
    expected = np.trapezoid(y[kept], x[kept])
    assert isic.auc_above_sensitivity(labels, scores) == pytest.approx(expected, abs=2e-4)


def test_a_curve_with_one_corner_by_hand():
    # All positives and a quarter of the negatives tie above the rest: the corner is (0.25, 1).
    labels, scores = [1, 1, 0, 0, 0, 0], [0.9, 0.9, 0.9, 0.1, 0.1, 0.1]
    assert isic.auc_above_sensitivity(labels, scores) == pytest.approx(0.05 * 0.9 + 0.75)
    assert isic.pauc_above_tpr(labels, scores) == pytest.approx(0.2 * (1 - (0.2 + 0.25) / 2))
    assert isic.auc_above_sensitivity(labels, scores, 1.0) == pytest.approx(0.75)


@pytest.mark.parametrize(("scores", "areas"), [([0, 0, 1, 1], (1.0, 0.2)), ([1, 1, 1, 1], (0.18, 0.02))])
def test_perfect_and_blind_scores_have_the_areas_that_the_docstring_says(scores, areas):
    found = isic.isic_scores([0, 0, 1, 1], scores)
    assert (found.auc_sens_80, found.pauc_above_tpr) == pytest.approx(areas)


@pytest.mark.parametrize("seed", range(3))
def test_scores_at_a_half_are_scikit_learns_and_a_half_is_no_call(seed):
    labels, scores = drawn(seed)
    called = scores > 0.5
    assert (scores == 0.5).any()
    found = isic.isic_scores(labels, scores)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, called))
    assert found.sensitivity == pytest.approx(metrics.recall_score(labels, called))
    assert found.specificity == pytest.approx(metrics.recall_score(1 - labels, ~called))
    assert found.dice == pytest.approx(metrics.f1_score(labels, called))
    assert found.ppv == pytest.approx(metrics.precision_score(labels, called))
    assert found.npv == pytest.approx(metrics.precision_score(1 - labels, ~called))
    assert found.auc == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert found.ap == pytest.approx(metrics.average_precision_score(labels, scores))


@pytest.mark.parametrize(("score", "name"), [(0.5, "ppv"), (0.6, "npv")])
def test_predictive_values_are_1_where_there_is_no_such_call(score, name):
    assert getattr(isic.isic_scores([0, 1], [score, score]), name) == 1


def test_balanced_accuracy_is_scikit_learns_and_a_tie_is_no_answer():
    rng = np.random.default_rng(0)
    labels, probs = rng.integers(0, 3, 60), rng.dirichlet(np.ones(4), 60)
    called = probs.argmax(axis=1)
    recalls = metrics.recall_score(labels, called, labels=[0, 1, 2], average="macro")  # class 3 has no photos
    assert isic.balanced_multiclass_accuracy(labels, probs) == pytest.approx(recalls)
    assert isic.balanced_multiclass_accuracy([0, 1], [[0.5, 0.5], [0.5, 0.5]]) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: isic.isic_scores([0, 0], [0.1, 0.2]), "must hold photos of the class and others, got none"),
        (
            lambda: isic.pauc_above_tpr([1, 1], [0.1, 0.2]),
            "must hold photos of the class and others, got all 2",
        ),
        (lambda: isic.auc_above_sensitivity([], []), "must hold photos of the class and others, got none"),
        (lambda: isic.auc_above_sensitivity([0, 1], [0, 1], 0), r"sensitivity must lie in \(0, 1\], got 0"),
        (lambda: isic.pauc_above_tpr([0, 1], [0, 1], 1), r"min_tpr must lie in \[0, 1\), got 1"),
        (lambda: isic.isic_scores([0, 2], [0, 1]), "labels must be 0 or 1"),
        (lambda: isic.isic_scores([0, 1], [0, np.nan]), "scores must hold numbers"),
        (lambda: isic.isic_scores([0, 1], [[0, 1]]), r"scores must have shape \[N\]"),
        (lambda: isic.balanced_multiclass_accuracy([0, 2], np.eye(2)), "labels must be integers in"),
        (lambda: isic.balanced_multiclass_accuracy([0], np.eye(2)), "labels must have shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
