"""Limits of figures that do not vary over resampled cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinjax.evaluate.agreement import kappa, quadratic_kappa
from skinjax.evaluate.bootstrap import by_case, paired_by_case
from skinjax.evaluate.calibration import calibration_error
from skinjax.evaluate.metrics import (
    WeightedMetric,
    accuracy,
    balanced_accuracy,
    brier,
    log_loss,
    macro_f1,
    macro_precision,
    macro_recall,
    mean,
    weighted_f1,
)
from skinjax.evaluate.precision_recall import weighted_average_precision
from skinjax.evaluate.proportions import proportion_by_case, wilson
from skinjax.evaluate.roc import weighted_auc
from skinjax.evaluate.roc_band import sensitivity_at_specificity

LABELS = np.arange(40) % 2
CASES = np.arange(40)
OF_CLASSES = [
    accuracy,
    balanced_accuracy,
    macro_f1,
    macro_recall,
    macro_precision,
    weighted_f1,
    kappa,
    quadratic_kappa,
]
OF_SCORES = [weighted_auc, weighted_average_precision, brier, log_loss, calibration_error()]


def own_f1(labels, answers):
    hits = np.sum((labels == 1) & (answers == 1))
    return 2 * hits / (np.sum(labels == 1) + np.sum(answers == 1))


@pytest.mark.parametrize("metric", [*OF_CLASSES, *OF_SCORES, own_f1])
def test_forty_photos_all_right_have_a_width(metric):
    found = by_case(metric, (LABELS, LABELS.astype(float) if metric in OF_SCORES else LABELS), CASES, 99)
    assert found.low <= found.estimate <= found.high
    assert found.high - found.low > 0.05
    assert not found.reason


def test_of_a_share_the_width_is_wilsons():
    assert by_case(accuracy, (LABELS, LABELS), CASES).low == wilson(40, 40)[0]
    # Two classes of 20 cases each, none of which shows an error: half of either class's limit, added as independent.
    share = proportion_by_case(np.zeros(20), np.arange(20)).high
    expected = 1 - np.hypot(share / 2, share / 2)
    assert by_case(balanced_accuracy, (LABELS, LABELS), CASES).low == pytest.approx(expected)


def test_a_function_that_takes_no_weights_has_about_the_limits_of_one_that_does():
    def plain(labels, answers):
        return np.mean([np.mean(answers[labels == k] == k) for k in (0, 1)])

    ours = by_case(balanced_accuracy, (LABELS, LABELS), CASES, 99)
    assert by_case(plain, (LABELS, LABELS), CASES, 99).low == pytest.approx(ours.low, abs=0.005)


def test_all_wrong_has_a_width_too():
    found = by_case(macro_f1, (LABELS, 1 - LABELS), CASES, 99)
    assert found.low == found.estimate == 0 < found.high < 0.25


def test_there_is_no_interval_where_nothing_is_known_and_the_reason_is_told():
    assert by_case(mean, (np.ones(40),), CASES, 99).reason == "all replicates are alike"
    assert by_case(accuracy, ([0, 0], [0, 1]), [7, 7], 99).reason.startswith("there is a single case")
    lone = by_case(weighted_auc, (np.r_[1, np.zeros(39, int)], np.arange(40.0)), CASES, 99)
    assert (np.isnan(lone.low), lone.reason) == (True, "it rests on a single case")
    equal = paired_by_case(macro_f1, LABELS, LABELS, LABELS, CASES, 99)
    assert (equal.difference, equal.p_value, equal.low < 0 < equal.high) == (0, 1, True)


def test_a_calibration_error_of_calibrated_probabilities_has_no_interval_that_excludes_it():
    rng, told = np.random.default_rng(0), []
    for seed in range(60):
        probs = rng.random(100)
        found = by_case(
            calibration_error(), ((rng.random(100) < probs).astype(int), probs), np.arange(100), 99, seed=seed
        )
        told.append(found.reason)
        assert np.isnan(found.low) or found.low <= found.estimate <= found.high
    assert set(told) == {"", "resampling inflates the figure"}


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 30), st.integers(2, 5), st.floats(0.3, 1), st.integers(0, 2**31))
def test_no_interval_excludes_its_estimate_or_has_no_width(num_cases, classes, right, seed):
    rng = np.random.default_rng(seed)
    cases = np.repeat(np.arange(num_cases), rng.zipf(2.2, num_cases).clip(max=30))
    labels = rng.integers(classes, size=num_cases)[cases]
    answers = np.where(rng.random(len(cases)) < right, labels, rng.integers(classes, size=len(cases)))
    for metric in (accuracy, macro_f1, balanced_accuracy, kappa):
        found = by_case(metric, (labels, answers), cases, 59, 0.9, seed=seed % 1000)
        assert bool(found.reason) == np.isnan(found.low) == np.isnan(found.high)
        assert found.reason or found.low <= found.estimate + 1e-12
        assert found.reason or found.estimate <= found.high + 1e-12
        assert found.reason or found.low < found.high


def test_at_a_truth_near_1_intervals_hold():
    rng, held = np.random.default_rng(3), {macro_f1: [], balanced_accuracy: []}
    for seed in range(200):
        labels = rng.integers(2, size=30)
        answers = np.where(rng.random(30) < 0.97, labels, 1 - labels)
        for metric, found in held.items():
            interval = by_case(metric, (labels, answers), np.arange(30), 99, seed=seed)
            found.append(interval.low <= 0.97 <= interval.high)
    assert all(np.mean(found) >= 0.92 for found in held.values())  # 45 to 66 % without limits of their own


def test_limits_stay_where_the_metric_can_go_and_a_constant_figure_has_none():
    labels, scores = np.arange(30) % 2, np.where(np.arange(30) % 2, 0.9, 0.1)
    found = by_case(sensitivity_at_specificity(0.9), (labels, scores), np.arange(30), 99)
    assert 0 <= found.low < found.estimate == found.high == 1
    even = by_case(brier, (np.arange(30) % 3, np.full((30, 3), 1 / 3)), np.arange(30), 99)
    assert (np.isnan(even.low), even.reason) == (True, "all replicates are alike")


def test_balanced_accuracy_holds_where_one_class_is_often_all_right():
    rng, held = np.random.default_rng(5), []
    for seed in range(150):
        labels = np.repeat([1, 0], [20, 200])
        answers = np.where(rng.random(220) < np.where(labels, 0.95, 0.9), labels, 1 - labels)
        found = by_case(balanced_accuracy, (labels, answers), np.arange(220), 99, seed=seed)
        held.append(found.low <= 0.925 <= found.high)
    assert np.mean(held) >= 0.92  # 81 % where a class that is all right adds nothing


def test_two_positive_cases_are_no_evidence_however_they_differ():
    labels, rng = np.repeat([1, 0], [2, 100]), np.random.default_rng(0)
    low = np.r_[9.0, 9.0, rng.random(100)], np.r_[-9.0, -9.0, rng.random(100)]
    found = paired_by_case(sensitivity_at_specificity(0.9), labels, *low, np.arange(102), 399)
    assert (found.difference, found.p_value) == (1, 0.5)


def test_many_classes_take_a_moment():
    labels = np.arange(1140) % 114
    metric = WeightedMetric(balanced_accuracy.compute)
    counted = []

    def spy(*arrays, weights):
        counted.append(1)
        return metric.compute(*arrays, weights=weights)

    found = by_case(WeightedMetric(spy), (labels, labels), np.arange(1140), 39, 0.9)
    assert found.low < 1
    assert len(counted) < 2000  # and not one for each of 114 x 113 pairs of classes


def test_one_answer_for_all_has_no_interval_where_some_replicates_lack_a_class():
    """Balanced accuracy is 1 / 7 however often each case is drawn, and 1 / 6 where a class is not."""
    labels = np.repeat(np.arange(7), [30, 28, 15, 12, 9, 6, 4])
    found = by_case(
        balanced_accuracy, (labels, np.zeros(len(labels), int)), np.arange(len(labels)), 999, seed=0
    )
    assert found.estimate == pytest.approx(1 / 7)
    assert 0 < found.missing_class < 0.05 * 999
    assert np.isnan(found.low)
    assert found.reason == "all replicates are alike"


@pytest.mark.parametrize("metric", [macro_f1, balanced_accuracy, macro_recall, macro_precision])
def test_no_limit_lies_beyond_what_a_metric_can_be(metric):
    """Few cases, most of them wrong, and classes whose photos all have one answer."""
    rng, lowest = np.random.default_rng(0), []
    for study in range(60):
        cases = np.repeat(np.arange(8), 2)
        labels, answers = rng.integers(0, 4, 8)[cases], rng.integers(0, 4, 16)
        found = by_case(metric, (labels, answers), cases, 99, seed=study)
        assert np.isnan(found.low) or 0 <= found.low <= found.estimate <= found.high <= 1
        lowest.append(found.low)
    assert min(lowest) == 0
