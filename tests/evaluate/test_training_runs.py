"""Intervals over cases and training runs: by hand, against the analysis of readers, and by simulation."""

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage_of_runs
from skinjax.evaluate.bootstrap import by_case, paired_by_case
from skinjax.evaluate.folds import student
from skinjax.evaluate.metrics import WeightedMetric, accuracy, balanced_accuracy, macro_f1
from skinjax.evaluate.mrmc import obuchowski_rockette
from skinjax.evaluate.multiclass import weighted_macro_auc
from skinjax.evaluate.resampling import over_draws
from skinjax.evaluate.training_runs import by_case_and_run, nadeau_bengio, paired_by_case_and_run


@WeightedMetric
def mean_answer(labels, answers, weights):
    return weights @ answers / weights.sum(axis=1)


def drawn(seed=0, runs=3, num_cases=60, shares=(0.6, 0.7), moved=0.0):
    """Returns labels of three classes, cases of three photos, and R answers of each of two methods.

    A method finds the same photos hard in every training, and a training some of its own. By `moved` trainings make
    the first method better and the second worse.
    """
    rng = np.random.default_rng(seed)
    cases = np.repeat(np.arange(num_cases), 3)
    labels = rng.integers(3, size=num_cases)[cases]
    answers = []
    for share, way in zip(shares, (1, -1), strict=True):
        ease = rng.normal(size=num_cases)[cases] + rng.normal(size=(runs, len(cases)))
        right = ease < stats.norm.ppf(share + way * np.linspace(-moved, moved, runs), scale=2**0.5)[:, None]
        answers.append(list(np.where(right, labels, (labels + rng.integers(1, 3, len(cases))) % 3)))
    return labels, cases, *answers


@pytest.mark.parametrize(("of_runs", "floored"), [(1.0, False), (0.0, True)])
def test_the_variances_are_those_of_the_two_way_analysis_of_variance(of_runs, floored):
    """A photo per case and a mean: mean squares have a closed form (Searle, Casella and McCulloch 1992, chapter 4)."""
    runs, num_cases = 4, 50
    rng = np.random.default_rng(3)
    table = rng.normal(size=num_cases) + rng.normal(size=(runs, num_cases))
    table += of_runs * np.array([-0.5, 0.7, 0.1, -0.3])[:, None] - floored * table.mean(axis=1, keepdims=True)
    rows, columns, mean = table.mean(axis=1), table.mean(axis=0), table.mean()
    of_cases = runs * ((columns - mean) ** 2).sum() / (num_cases - 1)
    between = num_cases * ((rows - mean) ** 2).sum() / (runs - 1)
    rest = table - rows[:, None] - columns + mean
    both = (rest**2).sum() / ((runs - 1) * (num_cases - 1))
    assert (between < both) == floored
    variance = (of_cases - both + max(between, both)) / (runs * num_cases)

    found = by_case_and_run(mean_answer, np.zeros(num_cases), list(table), np.arange(num_cases), 40_000)

    assert found.estimate == pytest.approx(mean)
    assert found.values == pytest.approx(rows)
    assert found.std_error == pytest.approx(variance**0.5, rel=0.02)
    assert found.both_sd == pytest.approx((both / num_cases) ** 0.5, rel=0.02)
    assert found.run_sd == pytest.approx(rows.std(ddof=1))
    of_one = (of_cases - both) / runs + both
    assert found.case_sd == pytest.approx((of_one / num_cases) ** 0.5, rel=0.02)
    half = stats.t.ppf(0.975, found.degrees_of_freedom) * variance**0.5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)


def test_a_difference_has_the_standard_error_of_the_analysis_of_readers():
    """Trainings for readers, methods for modalities, and the covariance of the same draws of cases."""
    labels, cases, first, second = drawn(runs=4, moved=0.07)
    found = paired_by_case_and_run(accuracy, labels, first, second, cases, 999)
    calls = [(accuracy, [labels, one], None) for one in (*first, *second)]
    covariance = np.cov(np.array(over_draws(calls, cases, 999, 0)[0])) * 60 / 59
    expected = obuchowski_rockette([found.first, found.second], covariance).differences[0, 1]
    assert found.run_sd > found.both_sd  # else ours is the larger one
    assert found.difference == pytest.approx(expected.estimate)
    assert found.std_error == pytest.approx(expected.std_error, rel=1e-9)
    assert found.degrees_of_freedom < expected.degrees_of_freedom  # which takes the cases' part for known


def test_trainings_that_answer_alike_leave_the_interval_by_case():
    labels, cases, (one, *_), (other, *_) = drawn()
    for metric in (accuracy, macro_f1):
        found = by_case_and_run(metric, labels, [one] * 3, cases, 499)
        plain = by_case(metric, (labels, one), cases, 499)
        assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=1e-12)
        assert found.run_sd == 0
        assert found.both_sd == pytest.approx(0, abs=1e-7)
        assert found.case_sd == pytest.approx(plain.std_error * (60 / 59) ** 0.5)
    paired = paired_by_case_and_run(accuracy, labels, [one] * 3, [other] * 3, cases, 1999)
    expected = paired_by_case(accuracy, labels, one, other, cases, 1999)
    assert (paired.low, paired.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_of_very_many_photos_only_trainings_are_left():
    rng, num_photos = np.random.default_rng(1), 20_000
    labels, cases = np.zeros(num_photos, int), np.arange(num_photos)
    first = [(rng.random(num_photos) > share).astype(int) for share in (0.60, 0.72, 0.66)]
    second = [(rng.random(num_photos) > share).astype(int) for share in (0.70, 0.86, 0.78, 0.80)]
    found = by_case_and_run(accuracy, labels, first, cases, 199)
    low, high = stats.t.interval(0.95, 2, np.mean(found.values), stats.sem(found.values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.03)
    apart = paired_by_case_and_run(accuracy, labels, first, second, cases, 199, paired_runs=False)
    assert apart.runs == (3, 4)
    assert apart.p_value == pytest.approx(
        stats.ttest_ind(apart.first, apart.second, equal_var=False).pvalue, rel=0.1
    )
    together = paired_by_case_and_run(accuracy, labels, first, second[:3], cases, 199)
    assert together.p_value == pytest.approx(stats.ttest_rel(together.first, together.second).pvalue, rel=0.1)
    assert together.p_value < apart.p_value  # seeds that move both methods alike


def test_the_interval_and_the_p_value_agree_at_every_level():
    labels, cases, first, second = drawn(seed=5, shares=(0.6, 0.75))
    p_value = paired_by_case_and_run(accuracy, labels, first, second, cases, 199).p_value
    assert 0.02 < p_value < 0.9
    for level in (p_value * 0.98, p_value * 1.02):
        found = paired_by_case_and_run(accuracy, labels, first, second, cases, 199, confidence=1 - level)
        assert (found.low > 0 or found.high < 0) == (p_value <= level)
        assert found.p_value == pytest.approx(p_value)


def test_neither_the_order_of_photos_and_trainings_nor_the_names_of_cases_matter():
    labels, cases, first, second = drawn()
    found = paired_by_case_and_run(macro_f1, labels, first, second, cases, 199)
    order = np.random.default_rng(0).permutation(len(labels))
    names = np.char.add("case ", np.char.zfill(cases.astype(str), 3))
    turned = paired_by_case_and_run(
        macro_f1, labels[order], [one[order] for one in first[::-1]], [one[order] for one in second[::-1]],
        names[order], 199,
    )  # fmt: skip
    assert (turned.low, turned.high, turned.p_value) == pytest.approx((found.low, found.high, found.p_value))
    other = paired_by_case_and_run(macro_f1, labels, second, first, cases, 199)
    assert (other.low, other.high, other.p_value) == pytest.approx((-found.high, -found.low, found.p_value))


def test_any_function_and_probabilities_will_do():
    labels, cases, first, _ = drawn(num_cases=40)

    def share_right(labels, answers):
        return float((labels == answers).mean())

    slow = by_case_and_run(share_right, labels, first, cases, 99)
    fast = by_case_and_run(accuracy, labels, first, cases, 99)
    assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high))
    probs = [
        np.random.default_rng(r).dirichlet(np.ones(3), len(labels)) + 0.3 * np.eye(3)[labels]
        for r in range(3)
    ]
    areas = by_case_and_run(weighted_macro_auc, labels, probs, cases, 99)
    assert areas.values == pytest.approx([weighted_macro_auc(labels, one) for one in probs])
    assert areas.low < areas.estimate < areas.high <= 1


def test_where_nothing_is_wrong_the_limits_are_those_by_case():
    labels = np.arange(60) % 3
    found = by_case_and_run(balanced_accuracy, labels, [labels] * 3, np.arange(60), 199)
    plain = by_case(balanced_accuracy, (labels, labels), np.arange(60), 199)
    assert (found.estimate, found.high) == (1, 1)
    assert found.low == pytest.approx(plain.low)
    same = paired_by_case_and_run(balanced_accuracy, labels, [labels] * 2, [labels] * 2, np.arange(60), 199)
    assert (same.difference, same.p_value) == (0, 1)
    assert same.low < 0 < same.high


def test_one_case_says_nothing_of_others_but_something_of_trainings():
    labels, answers = np.array([0, 1, 0, 1]), [np.array([0, 1, 0, 0]), np.array([0, 1, 0, 1])]
    found = by_case_and_run(accuracy, labels, answers, np.zeros(4), 99)
    assert np.isnan([found.low, found.high, found.std_error, found.case_sd]).all()
    assert "single case" in found.reason
    assert found.run_sd == pytest.approx(np.std([0.75, 1], ddof=1))
    assert "no interval" in str(found)
    paired = paired_by_case_and_run(accuracy, labels, answers, answers[::-1], np.zeros(4), 99)
    assert np.isnan([paired.low, paired.high, paired.p_value]).all()


def test_what_is_no_set_of_trainings_is_refused():
    labels, cases, first, second = drawn()
    with pytest.raises(ValueError, match="answers must be of at least two trainings, got 1"):
        by_case_and_run(accuracy, labels, first[:1], cases)
    with pytest.raises(
        ValueError, match=r"answers\[1\] must have one row per photo, 180, got shape \(179,\)"
    ):
        by_case_and_run(accuracy, labels, [first[0], first[1][:-1]], cases)
    with pytest.raises(ValueError, match=r"b\[1\] must have the shape of b\[0\], \(180,\), got \(180, 1\)"):
        paired_by_case_and_run(accuracy, labels, first[:2], [second[0], second[1][:, None]], cases)
    with pytest.raises(ValueError, match="as many trainings where they are paired, got 3 and 2"):
        paired_by_case_and_run(accuracy, labels, first, second[:2], cases)
    with pytest.raises(ValueError, match="replicates must be at least 39"):
        by_case_and_run(accuracy, labels, first, cases, replicates=20)


def test_the_corrected_t_test_is_its_formula():
    differences = np.array([0.04, 0.01, 0.05, -0.01, 0.02, 0.03, 0.00, 0.04, 0.02, 0.05])
    found = nadeau_bengio(differences, train=90, test=10)
    error = ((1 / 10 + 10 / 90) * np.sum((differences - 0.025) ** 2) / 9) ** 0.5
    assert found.difference == pytest.approx(0.025)
    assert found.std_error == pytest.approx(error)
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.025 / error, 9))
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 9, 0.025, error))
    assert (found.splits, found.degrees_of_freedom) == (10, 9)
    plain = nadeau_bengio(differences, train=1e12, test=1)
    assert plain.p_value == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert student(2.0, 4.0, 7, 0.9)[2] == pytest.approx(2 * stats.t.sf(1, 7))


def test_the_corrected_t_test_keeps_its_level_and_the_plain_one_does_not():
    """As in Nadeau and Bengio 2003, tables 2 to 4: overlapping training parts make the plain test reject too often."""
    corrected, plain = coverage_of_runs.rejections(300, seed=4)
    assert corrected <= 0.08
    assert plain >= 0.2


def test_differences_that_are_none_are_refused():
    for given, words in (([0.1], "two numbers"), ([[0.1, 0.2]], "two numbers"), ([0.1, np.nan], "finite")):
        with pytest.raises(ValueError, match=words):
            nadeau_bengio(given, 80, 20)
    with pytest.raises(ValueError, match="train must be over 0, got 0"):
        nadeau_bengio([0.1, 0.2], 0, 20)
    equal = nadeau_bengio([0.25, 0.25], 80, 20)
    assert np.isnan([equal.low, equal.high, equal.p_value]).all()
    assert nadeau_bengio([0.0, 0.0], 80, 20).p_value == 1


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.15])
def test_intervals_hold_over_cases_and_trainings(spread, monkeypatch):
    """The small form of `benchmarks.coverage_of_runs`."""
    true = {0.0: {"accuracy": (0.7594, 0.005)}, 0.15: {"accuracy": (0.7588, 0.033)}}[spread]
    monkeypatch.setattr(coverage_of_runs, "METRICS", {"accuracy": accuracy})
    monkeypatch.setattr(coverage_of_runs, "truths", lambda *_: true)
    found = coverage_of_runs.simulate(150, seed=1, replicates=99, spread=spread, num_cases=100, runs=3)
    held = {way: values[:, 0].mean() for (_, way), values in found.items()}
    # 95 % of 150 studies: within 0.90 and 0.99 but for a chance of 1 %.
    assert held[coverage_of_runs.OURS] >= 0.90
    assert held[coverage_of_runs.OURS_PAIRED] >= 0.90
    assert held["Student's t over trainings"] < 0.95
    if spread:
        assert held["by_case of one training"] < 0.92


@pytest.mark.parametrize(("num_cases", "p_value"), [(6, 2**-5), (7, 2**-6)])
def test_no_trainings_make_few_cases_surer_than_a_sign_test(num_cases, p_value):
    labels, cases = np.zeros(4 * num_cases, int), np.repeat(np.arange(num_cases), 4)
    wrong = np.ones((3, 4 * num_cases), int)
    wrong[:, 0] = 0
    found = paired_by_case_and_run(accuracy, labels, [labels] * 3, list(wrong), cases)
    assert found.p_value == p_value
    assert found.high <= 1
