"""Intervals that hold and p-values that are uniform, by simulation: the small form of `benchmarks.coverage`."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage, studies
from benchmarks.coverage_checks import interval_checks, null_checks, rank_test_over_replicates
from skinjax.evaluate import delong
from skinjax.evaluate.bootstrap import by_case, mean, paired_by_case
from skinjax.evaluate.roc import auc

CASES = 100
CHECKED = [  # what takes a few milliseconds a study
    "AUC 0.90 (auc_interval)",
    "Brier score",
    "calibration slope",
    "calibration intercept",
    "net benefit at 0.2 (decision_curve)",
    "accuracy",
    "sensitivity (proportion_by_case)",
    "macro F1, 5 classes",
    "kappa, 5 classes",
    "macro AUC, 5 classes (macro_auc_interval)",
    "difference of accuracy, 5 classes (paired_by_case)",
]


def draw(kind, study, num_cases=CASES):
    return coverage.draw(kind, np.random.default_rng([1, study]), num_cases)


def mean_of_answers(_, answers):
    return answers.mean()


def by_photo(study):
    return dataclasses.replace(study, cases=np.arange(len(study.cases)))


@pytest.fixture(scope="module")
def truths():
    patch = pytest.MonkeyPatch()
    patch.setattr(coverage, "LARGE", 150_000)
    yield coverage.truths(seed=0)
    patch.undo()


@pytest.mark.slow
@pytest.mark.parametrize("check", [c for c in interval_checks() if c.name in CHECKED], ids=lambda c: c.name)
def test_intervals_by_case_hold_and_those_by_photo_do_not(check, truths):
    held = {"case": [], "photo": []}
    for study in range(160):
        drawn = draw(check.kind, study)
        for unit, photos in (("case", drawn), ("photo", by_photo(drawn))):
            limits = check.limits(photos, 119, study)
            held[unit].append(coverage.share_held(*limits, truths[check.name]))
    # 95 % of 160 studies: within 0.90 and 0.995 but for a chance of 1 %.
    assert 0.90 <= np.nanmean(held["case"]) <= 0.995
    assert np.nanmean(held["photo"]) <= 0.90
    assert np.nanmean(held["photo"]) < np.nanmean(held["case"]) - 0.05


@pytest.mark.parametrize("name", ["delong.compare", "mcnemar, mid-p", "subgroups, any two"])
def test_p_values_by_case_are_uniform(name):
    (test,) = (one for one in null_checks() if one.name == name)
    p_values = np.array([test.p_value(draw(test.kind, study, 160), 119, study) for study in range(160)])
    p_values = p_values[~np.isnan(p_values)]
    assert len(p_values) > 120
    assert stats.kstest(p_values, "uniform").pvalue > 0.002
    assert np.mean(p_values <= 0.05) <= 0.10


def test_groups_of_photos_seem_to_differ_where_groups_of_cases_do_not():
    (test,) = (one for one in null_checks() if one.name == "subgroups, any two")
    p_values = [test.p_value(by_photo(draw(test.kind, study)), 119, study) for study in range(80)]
    assert np.mean(np.array(p_values) <= 0.05) > 0.15


def test_a_rank_test_over_replicates_finds_equal_models_to_differ():
    drawn = [draw("two", study) for study in range(20)]
    ranked = [rank_test_over_replicates(study, 400, seed=0) for study in drawn]
    more = [rank_test_over_replicates(study, 1600, seed=0) for study in drawn]
    ours = [delong.compare(s.labels, s.scores, s.peer, s.cases).p_value for s in drawn]
    assert np.mean(np.array(ranked) <= 0.05) > 0.8
    assert np.median(ranked) < 1e-8
    assert np.median(more) < np.median(ranked) ** 2  # as small as one has patience for
    assert np.mean(np.array(ours) <= 0.05) < 0.2


def test_eight_cases_have_an_interval_that_holds():
    held, studies_drawn = 0, 500
    for study in range(studies_drawn):
        values = np.random.default_rng(study).normal(size=8)
        found = by_case(mean, (values,), np.arange(8), replicates=399, seed=study)
        held += found.low <= 0 <= found.high
    assert held / studies_drawn >= 0.92  # not expanded for few cases, the interval holds in 88 %


@pytest.mark.parametrize("num_cases", [6, 7, 20])
def test_with_few_cases_the_p_value_still_agrees_with_the_interval(num_cases):
    for study in range(30):
        rng = np.random.default_rng([num_cases, study])
        cases = np.repeat(np.arange(num_cases), 3)
        shift = rng.normal(size=num_cases)[cases] + 0.7
        labels, first, second = (
            np.zeros(len(cases)),
            rng.normal(size=len(cases)) + shift,
            np.zeros(len(cases)),
        )

        arrays = labels, first, second, cases
        p_value = paired_by_case(mean_of_answers, *arrays, 99, 0.9, seed=study).p_value
        for level in {0.03, 0.1, 0.4, min(p_value * 1.02, 0.999), max(p_value * 0.98, 0.0201)}:
            found = paired_by_case(mean_of_answers, *arrays, 99, 1 - level, seed=study)
            assert (found.low > 0 or found.high < 0) == (p_value <= level), (study, level)


def test_the_studies_are_what_they_say():
    large = studies.two_classes(np.random.default_rng(0), 60_000, num_readers=4)
    assert np.bincount(np.bincount(large.cases))[1:] / 60_000 == pytest.approx(np.full(6, 1 / 6), abs=0.01)
    assert large.labels.mean() == pytest.approx(studies.PREVALENCE, abs=0.01)
    signals = {"scores": studies.SIGNAL, "weaker": studies.WEAK_SIGNAL, "sharp": studies.SHARP_SIGNAL}
    for name, signal in signals.items():
        found = auc(large.labels, getattr(large, name))
        assert found == pytest.approx(studies.true_auc(signal), abs=0.005), name
    mean_of_case = np.bincount(large.cases, large.labels) / np.bincount(large.cases)
    several = np.bincount(large.cases) > 3
    both = (mean_of_case > 0) & (mean_of_case < 1)
    # A quarter of the cases draw a class a photo; of 4, 5 and 6 photos 84, 91 and 95 % then hold both.
    assert np.mean(both[several]) == pytest.approx(0.25 * 0.90, abs=0.01)
    first, second = (np.flatnonzero(np.r_[True, np.diff(large.cases) > 0]) + step for step in (0, 1))
    pair = second < len(large.cases)
    first, second = first[pair], second[pair]
    first, second = (
        first[(large.cases[first] == large.cases[second])],
        second[large.cases[first] == large.cases[second]],
    )
    noise = large.scores - studies.SIGNAL * large.labels
    assert noise.var() == pytest.approx(1, abs=0.02)
    within = np.corrcoef(noise[first], noise[second])[0, 1]
    assert within == pytest.approx(studies.CORRELATION, abs=0.015)


def test_readers_are_what_they_say():
    large = studies.two_classes(np.random.default_rng(1), 4_000, most_photos=1, num_readers=400)
    found = [large.calls[:, large.labels == side].mean() for side in (1, 0)]
    expected = studies.true_mean_reader()
    assert found[0] == pytest.approx(expected[0], abs=0.02)
    assert 1 - found[1] == pytest.approx(expected[1], abs=0.02)


def test_a_missed_bar_is_marked():
    held = [1.0] * 92 + [0.0] * 8
    assert coverage.coverage_cell(held, judged=True) == "**92.0**"
    assert coverage.coverage_cell(held, judged=False) == "92.0"
    assert (
        coverage.coverage_cell([1.0] * 95 + [0.0] * 5 + [np.nan] * 25, judged=True) == "95.0 (20 % without)"
    )
    assert coverage.p_value_cell(list((np.arange(200) + 0.5) / 200), judged=True) == "5.0 (0.00)"
    assert coverage.p_value_cell([0.01] * 100, judged=True) == "**100.0** (0.99)"
    assert np.isnan(coverage.share_held([np.nan], [np.nan], 0.5))
    assert coverage.share_held([0.4, np.nan, 0.6], [0.6, np.nan, 0.7], [0.5, 0.5, 0.5]) == 0.5


@pytest.mark.slow
def test_every_interval_and_test_by_case_holds(monkeypatch):
    monkeypatch.setattr(coverage, "PHOTO_EVERY", 10_000)
    held, p_values = coverage.simulate(150, seed=3, replicates=199, sizes=(300,))
    for (name, _, unit), values in held.items():
        least = 0.80 if "calibration error" in name else 0.89  # which is known to cover too little
        assert unit == "photo" or np.nanmean(values) >= least, name
    for (name, _, unit), values in p_values.items():
        assert unit == "photo" or np.nanmean(np.array(values) <= 0.05) <= 0.11, name
