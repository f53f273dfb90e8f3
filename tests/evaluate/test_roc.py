"""The ROC curve and what is read from it: against scikit-learn, the definitions, pROC and simulation."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn import metrics

from skinjax.evaluate.bootstrap import by_case
from skinjax.evaluate.roc import (
    auc,
    macro_auc,
    operating_point,
    partial_auc,
    roc_curve,
    sensitivity_at,
    specificity_at,
    weighted_auc,
    youden,
)
from skinjax.evaluate.roc_band import roc_band

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)

# WFNS grades 1 to 5 of the aSAH data (Turck et al. 2010, doi:10.1007/s00134-009-1641-y), by outcome, as the
# R package pROC carries them (Robin et al. 2011, doi:10.1186/1471-2105-12-77).
WFNS_POOR, WFNS_GOOD = [2, 12, 1, 8, 18], [37, 20, 3, 8, 4]


def wfns():
    grades = np.arange(1, 6)
    scores = np.concatenate([np.repeat(grades, WFNS_POOR), np.repeat(grades, WFNS_GOOD)])
    return np.repeat([1, 0], [sum(WFNS_POOR), sum(WFNS_GOOD)]), scores


def samples(least=2):
    """Labels of both classes and scores with many ties."""
    return st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=least, max_size=30).filter(
        lambda rows: 0 < sum(label for label, _ in rows) < len(rows)
    )


def split(rows):
    return np.array([label for label, _ in rows], int), np.array([score for _, score in rows], float)


def all_pairs(labels, scores):
    ones, zeros = scores[labels == 1], scores[labels == 0]
    return np.mean([(one > zero) + (one == zero) / 2 for one in ones for zero in zeros])


@EXAMPLES
@given(samples())
def test_the_area_is_the_share_of_pairs_ranked_right(rows):
    labels, scores = split(rows)
    assert auc(labels, scores) == pytest.approx(all_pairs(labels, scores))
    assert auc(labels, -scores) == pytest.approx(1 - auc(labels, scores))
    assert auc(labels, np.exp(scores)) == auc(labels, scores)


@EXAMPLES
@given(samples())
def test_the_curve_is_scikit_learns_with_every_threshold_kept(rows):
    labels, scores = split(rows)
    curve = roc_curve(labels, scores)
    alarms, hits, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.sensitivity, hits)
    np.testing.assert_allclose(1 - curve.specificity, alarms, atol=1e-12)
    np.testing.assert_array_equal(curve.thresholds, thresholds)


@EXAMPLES
@given(samples())
def test_a_point_of_the_curve_is_what_its_threshold_calls(rows):
    labels, scores = split(rows)
    curve = roc_curve(labels, scores)
    for threshold, sensitivity, specificity in zip(
        curve.thresholds, curve.sensitivity, curve.specificity, strict=True
    ):
        point = operating_point(labels, scores, threshold)
        assert point.sensitivity == pytest.approx(np.mean(scores[labels == 1] >= threshold))
        assert (point.sensitivity, point.specificity) == pytest.approx((sensitivity, specificity))
        assert point.index == pytest.approx(sensitivity + specificity - 1)


@EXAMPLES
@given(samples())
def test_youden_is_the_best_threshold_and_the_lowest_of_equals(rows):
    labels, scores = split(rows)
    best = youden(labels, scores)
    points = {score: operating_point(labels, scores, score) for score in np.unique(scores)}
    largest = max(point.index for point in points.values())
    assert best.index == pytest.approx(largest)
    assert best.threshold == min(
        score for score, point in points.items() if point.index == pytest.approx(largest, abs=1e-9)
    )


@EXAMPLES
@given(samples(), st.integers(0, 20))
def test_sensitivity_at_a_specificity_is_the_best_that_a_threshold_attains(rows, twentieths):
    labels, scores = split(rows)
    wanted = twentieths / 20
    points = [operating_point(labels, scores, score) for score in [*np.unique(scores), np.inf]]
    expected = max(point.sensitivity for point in points if point.specificity >= wanted - 1e-9)
    assert sensitivity_at(labels, scores, wanted) == pytest.approx(expected)
    expected = max(point.specificity for point in points if point.sensitivity >= wanted - 1e-9)
    assert specificity_at(labels, scores, wanted) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "axis", "plain", "corrected"),
    [
        (0.9, 1.0, "specificity", 0.0334417344173442, 0.649693339038653),
        (0.8, 0.9, "specificity", 0.0598373983739837, 0.763749402199904),
        (0.0, 0.5, "specificity", 0.488134475939354, 0.952537903757416),
        (0.9, 1.0, "sensitivity", 0.0400999322493225, 0.68473648552275),
        (0.8, 0.9, "sensitivity", 0.0609953703703703, 0.770561002178649),
        (0.0, 0.5, "sensitivity", 0.483358739837398, 0.933434959349593),
        (0.0, 1.0, "specificity", 0.823678861788618, 0.823678861788618),
        (0.0, 1.0, "sensitivity", 0.823678861788618, 0.823678861788618),
    ],
)
def test_partial_areas_are_those_that_proc_prints_for_wfns(low, high, axis, plain, corrected):
    # Expected values: pROC 1.18, tests/testthat/test-auc.R.
    labels, scores = wfns()
    found = partial_auc(labels, scores, low, high, axis, standardize=False)
    assert found == pytest.approx(plain, abs=1e-13)
    assert partial_auc(labels, scores, low, high, axis) == pytest.approx(corrected, abs=1e-13)


@EXAMPLES
@given(samples(), st.integers(0, 19))
def test_partial_areas_are_scikit_learns_and_add_up(rows, twentieths):
    labels, scores = split(rows)
    edge = (twentieths + 1) / 20
    expected = metrics.roc_auc_score(labels, scores, max_fpr=edge)
    if edge < 1:
        assert partial_auc(labels, scores, low=1 - edge) == pytest.approx(expected)
        left = partial_auc(labels, scores, 0, edge, standardize=False)
        right = partial_auc(labels, scores, edge, 1, standardize=False)
        assert left + right == pytest.approx(auc(labels, scores))


def test_macro_auc_is_scikit_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=200)
    scores = rng.dirichlet(np.ones(4), size=200)
    expected = metrics.roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert macro_auc(labels, scores) == pytest.approx(expected)
    unseen = np.hstack([scores, rng.random((200, 1))])
    assert macro_auc(labels, unseen) == pytest.approx(expected)
    assert np.isnan(macro_auc(np.zeros(5, int), scores[:5]))


@EXAMPLES
@given(samples(least=4), st.integers(0, 10**6))
def test_weighted_areas_are_those_of_repeated_photos(rows, seed):
    labels, scores = split(rows)
    weights = np.random.default_rng(seed).integers(3, size=(5, len(labels)))
    found = weighted_auc.compute(labels, scores, weights=weights.astype(float))
    expected = [auc(np.repeat(labels, row), np.repeat(scores, row)) for row in weights]
    np.testing.assert_allclose(found, expected)


def test_two_thousand_replicates_on_ten_thousand_photos_take_seconds():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=10_000)
    scores = labels + rng.normal(size=10_000)
    start = time.process_time()
    found = by_case(weighted_auc, (labels, scores), cases=np.arange(10_000) // 3)
    assert time.process_time() - start < 5
    assert found.low < norm.cdf(1 / np.sqrt(2)) < found.high


def test_infinite_scores_are_scores():
    labels, scores = [0, 1, 0, 1], [-np.inf, np.inf, 0.0, 1.0]
    assert auc(labels, scores) == 1
    assert youden(labels, scores).threshold == 1
    assert roc_curve(labels, scores).sensitivity.tolist() == [0, 0.5, 1, 1, 1]


def test_a_class_without_photos_gives_nan():
    for labels in ([0, 0, 0], [1, 1, 1], []):
        scores = [0.1, 0.5, 0.2][: len(labels)]
        assert np.isnan(auc(labels, scores))
        assert np.isnan(youden(labels, scores).threshold)
        assert np.isnan(sensitivity_at(labels, scores, 0.9))
        assert np.isnan(partial_auc(labels, scores, 0.9))
        assert np.isnan(roc_band(labels, scores, specificities=[0.9], replicates=99).low[0])
    assert operating_point([1, 1, 1], [0.1, 0.5, 0.2], 0.2).sensitivity == pytest.approx(2 / 3)


def test_the_band_is_the_bootstrap_of_the_sensitivities():
    rng = np.random.default_rng(1)
    cases = np.repeat(np.arange(40), 2)
    labels = rng.integers(2, size=40)[cases]
    scores = labels + rng.normal(size=40)[cases] + rng.normal(size=80)
    band = roc_band(labels, scores, cases, specificities=[0.3, 0.8], replicates=199, seed=4)
    draws = np.random.default_rng(4).integers(40, size=(199, 40))
    photos = (2 * draws[:, :, None] + [0, 1]).reshape(199, 80)
    for point, specificity in enumerate([0.3, 0.8]):
        values = sorted(sensitivity_at(labels[row], scores[row], specificity) for row in photos)
        assert band.sensitivity[point] == sensitivity_at(labels, scores, specificity)
        assert (band.low[point], band.high[point]) == pytest.approx((values[4], values[-5]))
    assert (band.replicates, band.undefined, band.num_cases) == (199, 0, 40)


def test_the_band_is_wide_where_no_replicate_differs():
    labels, scores = np.repeat([0, 1], 10), np.arange(20)
    band = roc_band(labels, scores, np.arange(20) // 2, specificities=[0.0, 0.9, 1.0], replicates=199)
    np.testing.assert_array_equal(band.high, 1)
    wilson = 5 / (5 + norm.ppf(0.975) ** 2)  # five cases, all found
    np.testing.assert_allclose(band.low, [1, wilson, wilson])
    few = roc_band(labels, scores, np.arange(20) // 4, specificities=[0.9], replicates=199)
    assert (few.reason, np.isnan(few.low[0])) == (
        "there are 5 cases, and an interval is given from 6 on",
        True,
    )
    single = np.where(labels == 1, 99, np.arange(20))
    alone = roc_band(labels, scores, single, specificities=[0.9], replicates=199)
    assert (alone.reason, np.isnan(alone.low[0])) == ("it rests on a single case", True)
    alone = roc_band(labels, scores, np.zeros(20, int), specificities=[0.9], replicates=199)
    assert np.isnan([alone.low, alone.high]).all()


@pytest.mark.slow
def test_the_band_by_case_covers_and_the_band_by_photo_does_not():
    held, samples_drawn, separation = {"case": 0, "photo": 0}, 150, 2.0
    truth = 1 - norm.cdf(norm.ppf(0.8) - separation / np.sqrt(1.25))
    for sample in range(samples_drawn):
        rng = np.random.default_rng(sample)
        cases = np.repeat(np.arange(100), 6)
        labels = (np.arange(100) % 2)[cases]
        scores = separation * labels + rng.normal(size=100)[cases] + 0.5 * rng.normal(size=600)
        for unit, groups in (("case", cases), ("photo", None)):
            band = roc_band(labels, scores, groups, specificities=[0.8], replicates=199, seed=sample)
            held[unit] += band.low[0] <= truth <= band.high[0]
    assert 0.90 <= held["case"] / samples_drawn <= 0.99
    assert held["photo"] / samples_drawn < 0.85


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auc([0, 2], [0.1, 0.2]), r"labels must be 0 or 1, got \[2\]"),
        (lambda: auc(["a", "b"], [0.1, 0.2]), r"labels must be 0 or 1, got \['a', 'b'\]"),
        (lambda: auc([0, 1], [0.1, np.nan]), "scores must hold numbers, got 1 NaN"),
        (lambda: auc([0, 1], [0.1, 0.2, 0.3]), r"one length N, got shapes \(2,\) and \(3,\)"),
        (lambda: sensitivity_at([0, 1], [0.1, 0.2], 1.2), r"specificity must lie in \[0, 1\], got 1.2"),
        (lambda: partial_auc([0, 1], [0.1, 0.2], 0.9, 0.9), "low < high <= 1, got 0.9 and 0.9"),
        (lambda: partial_auc([0, 1], [0.1, 0.2], 0.9, axis="fpr"), "axis must be one of .*, got 'fpr'"),
        (lambda: roc_band([0, 1], [0.1, 0.2], replicates=10), "replicates must be at least 39"),
        (lambda: roc_band([0, 1], [0.1, 0.2], specificities=[2.0]), r"specificities must be \[G\]"),
        (lambda: roc_band([0, 1], [0.1, 0.2], cases=["a", None]), "got 1 missing, at photo 1"),
        (lambda: roc_band([0, 1], [0.1, 0.2], cases=[1]), "each of 2 photos"),
        (lambda: roc_band([0, 1], [0.1, 0.2], confidence=95), "confidence must lie between 0 and 1, got 95"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
