"""Figures of degrees given, against scikit-learn, hand and brute force; and the model against readers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from skinjax.decide.malignancy import grading_cost
from skinjax.evaluate.grading import compare_with_graders, grading_figures, under_graded

COST = grading_cost(3)


def sample(seed=0, num_cases=60, readers=4):
    """Cases of three photos with one true degree, answers right in about 70 %."""
    rng = np.random.default_rng(seed)
    cases = np.repeat(np.arange(num_cases), 3)
    true = rng.integers(3, size=num_cases)[cases]
    answers = np.where(rng.random((readers + 1, len(true))) < 0.7, true, rng.integers(3, size=len(true)))
    return true, answers[0], answers[1:], cases


def test_figures_are_scikit_learns_and_those_by_hand():
    true, given, _, cases = sample()
    found = grading_figures(true, given, cases, COST, replicates=200)
    assert found["kappa"].estimate == pytest.approx(cohen_kappa_score(true, given, weights="quadratic"))
    paid = [4 * (t - g) if g < t else g - t for t, g in zip(true, given, strict=True)]
    assert found["cost"].estimate == pytest.approx(np.mean(paid))
    missed = [g < t for t, g in zip(true, given, strict=True) if t > 0]
    assert found["under_graded"].estimate == pytest.approx(np.mean(missed))
    assert under_graded(true, given) == pytest.approx(np.mean(missed))
    for figure in found.values():
        assert figure.low < figure.estimate < figure.high


def test_without_a_cancer_the_share_of_cancers_is_undefined():
    found = grading_figures([0, 0, 0], [0, 1, 0], [1, 2, 3], COST, replicates=100)
    assert np.isnan(found["under_graded"].estimate)
    assert found["cost"].estimate == pytest.approx(1 / 3)
    compared = compare_with_graders([0, 0, 0], [0, 1, 0], [[0, 0, 1]], [1, 2, 3], COST, replicates=100)
    assert np.isnan(compared["under_graded"].estimate)
    assert compared["cost"].estimate == pytest.approx(0)


def test_one_cancer_case_and_perfect_grades_have_no_limits():
    """All of their replicates are alike, which says nothing of other cases."""
    true, cases = np.array([0] * 14 + [2] * 3), np.array([*range(14), 20, 20, 20])
    low = np.zeros(17, int)
    for contrast in compare_with_graders(true, true, low[None], cases, COST, replicates=200).values():
        assert np.isfinite(contrast.estimate)
    gap = compare_with_graders(true, true, low[None], cases, COST, replicates=200)["under_graded"]
    assert gap.estimate == -1
    assert np.isnan([gap.low, gap.high, gap.p_value]).all()
    found = grading_figures(true, true, cases, COST, replicates=200)
    assert (found["kappa"].estimate, found["cost"].estimate) == (1, 0)
    assert np.isnan([found[name].low for name in found]).all()


@pytest.mark.parametrize("cancers", [2, 9, 10])
def test_few_cancers_are_not_tested_and_no_limit_is_beyond_what_can_be(cancers):
    rng = np.random.default_rng(4)
    true = np.repeat([0, 2], [12, cancers])
    readers = np.stack([np.where(rng.random(len(true)) < 0.5, 0, true) for _ in range(2)])
    found = compare_with_graders(true, true, readers, np.arange(len(true)), COST, replicates=200)
    for name, width in (("kappa", 2), ("cost", np.ptp(COST)), ("under_graded", 1)):
        assert np.isfinite(found[name].estimate)
        if cancers < 10:
            assert np.isnan([found[name].low, found[name].high, found[name].p_value]).all()
        else:
            assert -width <= found[name].low < found[name].high <= width


def test_a_model_that_answers_as_its_reader_does_not_differ():
    true, given, _, cases = sample()
    for contrast in compare_with_graders(true, given, given[None], cases, COST, replicates=200).values():
        assert contrast.estimate == 0
        assert contrast.p_value == 1


def test_the_error_against_one_reader_is_that_of_drawing_cases():
    true, given, readers, cases = sample(readers=1)
    found = compare_with_graders(true, given, readers, cases, COST, replicates=2000)
    rng = np.random.default_rng(9)
    distance = (np.arange(3)[:, None] - np.arange(3)) ** 2
    tables = np.zeros((2, 60, 3, 3))  # of true by given degree, a case
    for side, one in enumerate((given, readers[0])):
        np.add.at(tables[side], (cases, true, one), 1)
    draws = []
    for _ in range(1500):
        first, second = tables[:, rng.integers(60, size=60)].sum(axis=1)
        costs, kappas = [], []
        for table in (first, second):
            expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
            costs.append((table * COST).sum() / table.sum())
            kappas.append(1 - (table * distance).sum() / (expected * distance).sum())
        draws.append((costs[0] - costs[1], kappas[0] - kappas[1]))
    spread = np.std(draws, axis=0) * np.sqrt(60 / 59)
    assert found["cost"].std_error == pytest.approx(spread[0], rel=0.08)
    assert found["kappa"].std_error == pytest.approx(spread[1], rel=0.08)
    assert np.isinf(found["cost"].degrees_of_freedom)  # one reader: for other cases only


def test_differences_are_means_over_readers_and_grow_less_sure_with_readers_who_differ():
    true, given, readers, cases = sample(readers=6)
    found = compare_with_graders(true, given, readers, cases, COST, replicates=500)
    mine = COST[true, given].mean()
    theirs = [COST[true, reader].mean() for reader in readers]
    assert found["cost"].estimate == pytest.approx(mine - np.mean(theirs))
    worse = np.stack([*readers[:5], np.zeros_like(true)])
    spread = compare_with_graders(true, given, worse, cases, COST, replicates=500)
    assert spread["cost"].std_error > found["cost"].std_error


@pytest.mark.parametrize(
    ("true", "given", "cost", "message"),
    [
        ([0, 3], [0, 1], COST, r"true must be int\[N\], degrees in \[0, 3\)"),
        ([0, 1], [0, -1], COST, r"given\[0\] must be int\[N\]"),
        ([0, 1], [0, 1, 2], COST, "one row per photo"),
        ([0, 1], [0, 1], np.ones((2, 3)), "square matrix"),
    ],
)
def test_what_cannot_be_used_is_refused(true, given, cost, message):
    with pytest.raises(ValueError, match=message):
        grading_figures(true, given, [1, 2, 3][: len(true)], cost)
