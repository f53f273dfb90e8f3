"""A model against readers: against the definitions, the paired test of two models, and simulation."""

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp

from skinjax.evaluate.delong import compare
from skinjax.evaluate.mrmc import mean_over_readers
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.readers import compare_ratings, compare_with_readers, mean_reader, reader_points
from skinjax.evaluate.roc import roc_curve, sensitivity_at


def draw(rng, cases=80, readers=6, model=1.5, photos=3):
    """A model and readers of mean separation 1.5 and different thresholds, on photos alike within a case."""
    case = np.repeat(np.arange(cases), photos)
    labels = (np.arange(cases) % 2)[case]
    look = rng.normal(size=cases)[case]
    skill, habit = rng.normal(1.5, 0.1, readers), rng.normal(0.75, 0.5, readers)
    seen = skill[:, None] * labels + look + rng.normal(size=(readers, len(case)))
    scores = model * labels + look + rng.normal(size=len(case))
    return labels, scores, (seen > habit[:, None]).astype(int), case


def middle(given, gained, at):
    """Half-way between the best that is at least as good as asked, and the worst that is at most so."""
    return (gained[given >= at - 1e-9].max() + gained[given <= at + 1e-9].min()) / 2


def test_points_are_shares_of_right_calls():
    labels, _, calls, _ = draw(np.random.default_rng(0))
    sensitivity, specificity = reader_points(labels, calls)
    for reader in range(6):
        assert sensitivity[reader] == pytest.approx(np.mean(calls[reader][labels == 1]))
        assert specificity[reader] == pytest.approx(np.mean(calls[reader][labels == 0] == 0))
    sensitivity, specificity = reader_points([1, 1], [[1, 0]])
    assert sensitivity[0] == 0.5
    assert np.isnan(specificity[0])


def test_differences_are_taken_where_each_reader_stands():
    labels, scores, calls, case = draw(np.random.default_rng(1))
    found = compare_with_readers(labels, scores, calls, case, replicates=100)
    sensitivity, specificity = reader_points(labels, calls)
    curve = roc_curve(labels, scores)
    up = [middle(curve.specificity, curve.sensitivity, at) for at in specificity] - sensitivity
    across = [middle(curve.sensitivity, curve.specificity, at) for at in sensitivity] - specificity
    assert found.sensitivity.estimate == pytest.approx(np.mean(up))
    assert found.specificity.estimate == pytest.approx(np.mean(across))
    assert found.above == np.sum(up > 1e-9)
    assert found.mean_reader.sensitivity.estimate == pytest.approx(sensitivity.mean())
    assert found.mean_reader == mean_reader(labels, calls, case)
    assert (found.num_readers, found.num_photos, found.num_cases) == (6, 240, 80)
    assert found.at_threshold is None


def test_a_model_against_itself_does_not_differ():
    labels, scores, _, case = draw(np.random.default_rng(2))
    curve = roc_curve(labels, scores)
    calls = [scores >= threshold for threshold in curve.thresholds[[60, 100, 140]]]
    found = compare_with_readers(labels, scores, calls, case, replicates=100)
    assert found.sensitivity.estimate == pytest.approx(0, abs=0.006)  # less than a step
    assert found.sensitivity.low < 0 < found.sensitivity.high


def test_a_perfect_model_reaches_readers_without_a_false_alarm():
    labels = np.tile([0, 1], 30)
    calls = np.stack([labels, np.where(np.arange(60) < 30, labels, 0)])
    found = compare_with_readers(labels, labels, calls, replicates=100)
    assert found.sensitivity.estimate == pytest.approx(0.25)
    assert found.specificity.estimate == pytest.approx(0)


def test_one_fixed_reader_is_a_paired_comparison_of_two_models():
    labels, scores, calls, case = draw(np.random.default_rng(3), readers=1)
    found = compare_with_readers(
        labels, scores, calls, case, threshold=0.75, random_readers=False, replicates=100
    )
    expected = compare(labels, scores >= 0.75, calls[0], case)
    balanced = found.at_threshold.balanced
    assert (balanced.estimate, balanced.std_error) == pytest.approx((expected.difference, expected.std_error))
    # Of fixed readers the test is the normal one.
    assert balanced.p_value == pytest.approx(2 * norm.sf(abs(expected.z)))
    assert balanced.low == pytest.approx(expected.difference - norm.ppf(0.975) * expected.std_error)
    model, reader = ((values == labels)[labels == 1] for values in (scores >= 0.75, calls[0]))
    sums = np.add.reduceat((model.astype(float) - reader), np.arange(0, 120, 3))
    sensitivity = found.at_threshold.sensitivity
    assert sensitivity.estimate == pytest.approx(sums.mean() / 3)
    assert sensitivity.std_error == pytest.approx(sums.std(ddof=1) / 3 / np.sqrt(40))


def test_the_balanced_difference_is_the_mean_of_the_other_two_and_that_of_ratings():
    labels, scores, calls, case = draw(np.random.default_rng(4))
    found = compare_with_readers(labels, scores, calls, case, threshold=0.75, replicates=100).at_threshold
    assert found.balanced.estimate == pytest.approx(
        (found.sensitivity.estimate + found.specificity.estimate) / 2
    )
    assert compare_ratings(labels, scores >= 0.75, calls, case) == found.balanced


def test_mean_readers_interval_is_near_the_bootstrap_over_readers_and_cases():
    labels, _, calls, case = draw(np.random.default_rng(5), cases=100, readers=20)
    found = mean_reader(labels, calls, case).sensitivity
    rng = np.random.default_rng(6)
    hits = calls[:, labels == 1].reshape(20, 50, 3).sum(axis=2)
    draws = [hits[rng.integers(20, size=20)][:, rng.integers(50, size=50)].mean() / 3 for _ in range(4000)]
    assert found.std_error == pytest.approx(np.std(draws), rel=0.12)
    fixed = mean_reader(labels, calls, case, random_readers=False).sensitivity
    assert fixed.std_error < found.std_error


@pytest.mark.slow
def test_the_test_holds_for_random_readers_and_cases_and_the_one_over_readers_alone_does_not():
    rejected, studies = {"both": 0, "readers": 0}, 150
    for study in range(studies):
        labels, scores, calls, case = draw(np.random.default_rng(study))
        found = compare_with_readers(labels, scores, calls, case, replicates=150, seed=study)
        rejected["both"] += found.sensitivity.p_value <= 0.05
        sensitivity, specificity = reader_points(labels, calls)
        differences = [sensitivity_at(labels, scores, at) for at in specificity] - sensitivity
        rejected["readers"] += ttest_1samp(differences, 0).pvalue <= 0.05
    assert 0.01 <= rejected["both"] / studies <= 0.10
    assert rejected["readers"] / studies > 0.15


def test_a_better_model_is_found_and_the_interval_holds_the_truth():
    held, found_better = 0, 0
    for study in range(40):
        labels, scores, calls, case = draw(np.random.default_rng(study), cases=120, model=2.6)
        found = compare_with_readers(labels, scores, calls, case, replicates=150, seed=study)
        habit = np.random.default_rng(0).normal(0.75, 0.5, 20_000)
        alarms = norm.sf(habit / np.sqrt(2))
        truth = np.mean(norm.sf(norm.isf(alarms) - 2.6 / np.sqrt(2)) - norm.sf((habit - 1.5) / np.sqrt(2)))
        held += found.sensitivity.low <= truth <= found.sensitivity.high
        found_better += found.sensitivity.p_value <= 0.05
    assert held >= 35
    assert found_better >= 35


def test_a_class_of_one_case_gives_no_test():
    labels, scores, calls, case = draw(np.random.default_rng(7))
    lone = np.where(labels == 1, 1000, case)
    found = compare_with_readers(labels, scores, calls, lone, threshold=0.75, replicates=100)
    for contrast in (found.sensitivity, found.at_threshold.sensitivity, found.mean_reader.sensitivity):
        assert np.isfinite(contrast.estimate)
        assert np.isnan([contrast.low, contrast.high, contrast.p_value]).all()
    assert np.isfinite(found.mean_reader.specificity.low)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reader_points([0, 1], [[0, 2]]), "calls must be 0 or 1"),
        (
            lambda: reader_points([0, 1], [0, 1]),
            r"calls must have shape \[R, N\] with N = 2, got shape \(2,\)",
        ),
        (lambda: compare_with_readers([0, 1], [0.1, 0.2], [[0, 1]]), "at least 2 random readers"),
        (lambda: compare_with_readers([1, 1], [0.1, 0.2], [[0, 1], [1, 1]]), "labels must hold both classes"),
        (lambda: compare_with_readers([0, 1], [0.1, 0.2], [[0, 1]] * 2, replicates=5), "at least 100, got 5"),
        (lambda: compare_ratings([0, 1], [0.1, 0.2], [0.1, 0.2]), r"ratings \[R, N\]"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_mean_readers_interval_is_symmetric_in_log_odds_and_stays_within_bounds():
    rng = np.random.default_rng(4)
    labels = np.tile([0, 1], 20)
    calls = rng.random((5, 40)) < np.where(labels, np.linspace(0.8, 1, 5)[:, None], 0.1)
    found = mean_reader(labels, calls).sensitivity
    sums = mean_over_readers(calls[:, labels == 1].mean(axis=1), np.cov(calls[:, labels == 1]) / 20)
    assert (found.estimate, found.std_error) == pytest.approx((sums.estimate, sums.std_error))
    odds = [np.log(share / (1 - share)) for share in (found.low, found.estimate, found.high)]
    assert odds[2] - odds[1] == pytest.approx(odds[1] - odds[0])
    assert 0 < found.low < found.estimate < found.high < 1
    assert odds[2] - odds[1] == pytest.approx(
        (sums.high - sums.estimate) / (found.estimate * (1 - found.estimate))
    )
    certain = mean_reader(labels, np.tile(labels, (3, 1))).sensitivity
    one_reader = proportion_by_case(np.ones(20), np.arange(20))
    assert (certain.low, certain.estimate, certain.high) == (one_reader.low, 1, 1)
