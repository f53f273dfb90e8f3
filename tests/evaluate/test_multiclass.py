"""Macro AUC with intervals: against the two-class case, the jackknife over cases, and simulation."""

import itertools
import time

import numpy as np
import pytest
from scipy.stats import kstest, norm

from skinjax.evaluate import delong, multiclass
from skinjax.evaluate.bootstrap import by_case
from skinjax.evaluate.delong import auc_interval, compare
from skinjax.evaluate.multiclass import (
    all_macro_auc_pairs,
    compare_macro_auc,
    macro_auc_interval,
    weighted_macro_auc,
)
from skinjax.evaluate.roc import macro_auc


def draw(rng, cases=60, classes=4, separation=1.5):
    """Photos of cases of one class each, alike within a case, and two equally good models' scores."""
    case = np.repeat(np.arange(cases), rng.integers(1, 6, size=cases))
    labels = rng.permutation(np.arange(cases) % classes)[case]
    models = [
        separation * np.eye(classes)[labels]
        + rng.normal(size=(cases, classes))[case]
        + rng.normal(size=(len(case), classes))
        for _ in range(2)
    ]
    return labels, *models, case


def test_for_two_classes_it_is_delongs_interval():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=80)
    first, second = labels + rng.normal(size=80), labels + rng.normal(size=80)
    both = macro_auc_interval(labels, np.column_stack([-first, first]), method="wald")
    one = auc_interval(labels, first, method="wald")
    assert (both.auc, both.std_error, both.low) == pytest.approx((one.auc, one.std_error, one.low))
    assert both.per_class[1] == one
    pairs = [np.column_stack([-scores, scores]) for scores in (first, second)]
    found, expected = compare_macro_auc(labels, *pairs), compare(labels, first, second)
    assert (found.difference, found.z) == pytest.approx((expected.difference, expected.z))
    assert found.p_value == pytest.approx(
        expected.p_value, rel=0.1
    )  # Student's, of about 80 degrees of freedom


def test_the_standard_error_is_near_the_jackknife_over_cases():
    labels, first, second, case = draw(np.random.default_rng(1), cases=120)
    left_out = np.array(
        [
            [macro_auc(labels[case != one], scores[case != one]) for scores in (first, second)]
            for one in range(120)
        ]
    )
    expected = np.sqrt(119 * left_out.var(axis=0))
    assert macro_auc_interval(labels, first, cases=case).std_error == pytest.approx(expected[0], rel=0.03)
    difference = np.sqrt(119 * np.var(left_out[:, 0] - left_out[:, 1]))
    assert compare_macro_auc(labels, first, second, case).std_error == pytest.approx(difference, rel=0.03)


def test_each_class_has_its_own_interval():
    labels, scores, _, case = draw(np.random.default_rng(2))
    found = macro_auc_interval(labels, scores, cases=case, confidence=0.9)
    for k in range(4):
        assert found.per_class[k] == auc_interval(labels == k, scores[:, k], 0.9, case)
    assert found.auc == pytest.approx(macro_auc(labels, scores))


@pytest.mark.slow
def test_intervals_and_tests_by_case_hold_and_those_by_photo_do_not():
    truth, studies = norm.cdf(1.5 / 2), 300
    held, p_values = {"case": 0, "photo": 0}, []
    for study in range(studies):
        labels, first, second, case = draw(np.random.default_rng(study))
        for unit, groups in (("case", case), ("photo", None)):
            found = macro_auc_interval(labels, first, cases=groups)
            held[unit] += found.low <= truth <= found.high
        p_values.append(compare_macro_auc(labels, first, second, case).p_value)
    assert 0.92 <= held["case"] / studies <= 0.98
    assert held["photo"] / studies < 0.87
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_absent_and_lone_classes():
    labels, scores, _, case = draw(np.random.default_rng(3))
    wider = np.column_stack([scores, np.zeros(len(labels))])
    found = macro_auc_interval(labels, wider, cases=case)
    assert found.auc == macro_auc_interval(labels, scores, cases=case).auc
    assert np.isnan(found.per_class[4].auc)
    assert found.lone_classes == ()
    alone = np.where(case == 0, 4, labels)
    found = macro_auc_interval(alone, wider, cases=case)
    assert found.lone_classes == (4,)
    assert found.auc == pytest.approx(macro_auc(alone, wider))
    assert np.isnan([found.std_error, found.low, found.high]).all()
    nothing = macro_auc_interval(np.zeros(5, int), np.zeros((5, 2)))
    assert np.isnan([nothing.auc, nothing.low, nothing.high]).all()
    perfect = macro_auc_interval(np.tile([0, 1, 2], 4), np.tile(np.eye(3), (4, 1)))
    assert (perfect.auc, perfect.high) == (1, 1)
    assert perfect.low == pytest.approx(4 / (4 + norm.ppf(0.975) ** 2))


def test_weighted_macro_auc_is_that_of_repeated_photos_and_fast():
    labels, scores, _, _ = draw(np.random.default_rng(4), cases=10)
    weights = np.random.default_rng(5).integers(3, size=(50, len(labels)))
    weights[0, labels == 0] = 0
    weights[1, labels > 0] = 0
    found = weighted_macro_auc.compute(labels, np.round(scores, 1), weights=weights.astype(float))
    expected = [
        macro_auc(np.repeat(labels, row), np.repeat(np.round(scores, 1), row, axis=0)) for row in weights
    ]
    np.testing.assert_allclose(found, expected)
    assert np.isnan(found[1])
    rng = np.random.default_rng(6)
    labels = rng.integers(6, size=10_000)
    start = time.process_time()
    by_case(weighted_macro_auc, (labels, rng.random((10_000, 6))), np.arange(10_000) // 3, replicates=400)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 2], np.zeros((2, 2)), r"labels must lie in \[0, 2\), got \[2\]"),
        ([0.0, 1.0], np.zeros((2, 2)), r"labels must be integers in \[0, 2\), got float64"),
        ([0, 1], np.zeros(2), r"labels must have shape \[N\] and scores \[N, K\]"),
        ([0, 1], np.full((2, 2), np.nan), "scores must hold numbers, got 4 NaN"),
    ],
)
def test_bad_input_is_named(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        macro_auc_interval(labels, scores)


def test_all_pairs_are_compared_as_two_and_each_model_is_ranked_once(monkeypatch):
    rng = np.random.default_rng(4)
    labels, cases = rng.integers(4, size=80), np.arange(80) // 2
    models = {name: rng.normal(size=(80, 5)) + 2 * np.eye(5)[labels] for name in "abcdef"}
    expected = {
        (one, two): compare_macro_auc(labels, models[one], models[two], cases)
        for one, two in itertools.combinations(models, 2)
    }
    ranked = []

    def counted(*arguments):
        ranked.append(arguments)
        return delong.placements(*arguments)

    monkeypatch.setattr(multiclass, "placements", counted)
    assert all_macro_auc_pairs(labels, models, cases) == expected
    assert len(ranked) == 6 * 5  # models times classes, however many pairs
    with pytest.raises(ValueError, match=r"scores must have one shape, got shapes \(80, 5\) and \(80, 4\)"):
        all_macro_auc_pairs(np.zeros(80, int), {"a": models["a"], "b": models["b"][:, :4]})
