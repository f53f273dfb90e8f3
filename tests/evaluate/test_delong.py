"""DeLong's and Obuchowski's variances: against the definitions, printed examples and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm
from scipy.stats import t as student

from skinjax.evaluate.delong import auc_covariance, auc_interval, compare
from skinjax.evaluate.roc import auc

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)

# The ovarian cancer patients of DeLong et al. (1988) as printed in the SAS/STAT User's Guide, PROC LOGISTIC,
# "Comparing Receiver Operating Characteristic Curves": albumin, total protein, K-G score (turned round there
# by 10 - score), outcome.
PATIENTS = """
3.0 5.8 10 0   3.2 6.3  5 1   3.9 6.8  3 1   2.8 4.8  6 0   3.2 5.8  3 1   0.9 4.0  5 0   2.5 5.7  8 0
1.6 5.6  5 1   3.8 5.7  5 1   3.7 6.7  6 1   3.2 5.4  4 1   3.8 6.6  6 1   4.1 6.6  5 1   3.6 5.7  5 1
4.3 7.0  4 1   3.6 6.7  4 0   2.3 4.4  6 1   4.2 7.6  4 0   4.0 6.6  6 0   3.5 5.8  6 1   3.8 6.8  7 1
3.0 4.7  8 0   4.5 7.4  5 1   3.7 7.4  5 1   3.1 6.6  6 1   4.1 8.2  6 1   4.3 7.0  5 1   4.3 6.5  4 1
3.2 5.1  5 1   2.6 4.7  6 1   3.3 6.8  6 0   1.7 4.0  7 0   3.7 6.1  5 1   3.3 6.3  7 1   4.2 7.7  6 1
3.5 6.2  5 1   2.9 5.7  9 0   2.1 4.8  7 1   2.8 6.2  8 0   4.0 7.0  7 1   3.3 5.7  6 1   3.7 6.9  5 1
3.6 6.6  5 1
"""
OVARIAN = np.array(PATIENTS.split(), float).reshape(-1, 4)
ALBUMIN, PROTEIN, KG, BENEFIT = OVARIAN[:, 0], OVARIAN[:, 1], 10 - OVARIAN[:, 2], OVARIAN[:, 3].astype(int)


def case_samples():
    """Labels, two models' scores and cases, with ties and with cases of both classes."""
    row = st.tuples(st.booleans(), st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 7))
    return st.lists(row, min_size=6, max_size=30).map(np.array).filter(enough)


def enough(rows):
    return all(len(set(rows[rows[:, 0] == label, 3])) > 1 for label in (0, 1))


def obuchowski(labels, scores_a, scores_b, cases):
    """The covariance as Obuchowski (1997) writes it, pair by pair."""

    def parts(scores):
        beats = {
            (i, j): (scores[i] > scores[j]) + (scores[i] == scores[j]) / 2
            for i in np.flatnonzero(labels == 1)
            for j in np.flatnonzero(labels == 0)
        }
        area = np.mean(list(beats.values()))
        ones, zeros = {}, {}
        for case in set(cases):
            own = np.flatnonzero(cases == case)
            positives, negatives = own[labels[own] == 1], own[labels[own] == 0]
            v10 = [np.mean([beats[i, j] for j in np.flatnonzero(labels == 0)]) for i in positives]
            v01 = [np.mean([beats[i, j] for i in np.flatnonzero(labels == 1)]) for j in negatives]
            ones[case] = sum(v10) - len(positives) * area
            zeros[case] = sum(v01) - len(negatives) * area
        return ones, zeros

    (ones_a, zeros_a), (ones_b, zeros_b) = parts(scores_a), parts(scores_b)
    m, n = np.sum(labels == 1), np.sum(labels == 0)
    with_ones, with_zeros, every = set(cases[labels == 1]), set(cases[labels == 0]), set(cases)

    def scaled(first, second, group):
        return len(group) / (len(group) - 1) * sum(first[case] * second[case] for case in group)

    return (
        scaled(ones_a, ones_b, with_ones) / m**2
        + scaled(zeros_a, zeros_b, with_zeros) / n**2
        + (scaled(ones_a, zeros_b, every) + scaled(zeros_a, ones_b, every)) / (m * n)
    )


@EXAMPLES
@given(case_samples())
def test_covariance_by_case_is_obuchowskis_definition(rows):
    labels, first, second, cases = rows.T
    aucs, covariance = auc_covariance(labels, [first, second], cases)
    assert aucs == pytest.approx([auc(labels, first), auc(labels, second)])
    assert covariance[0, 0] == pytest.approx(obuchowski(labels, first, first, cases), abs=1e-12)
    assert covariance[0, 1] == pytest.approx(obuchowski(labels, first, second, cases), abs=1e-12)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


@EXAMPLES
@given(case_samples())
def test_without_cases_it_is_delongs_definition(rows):
    labels, first, second, _ = rows.T
    ones, zeros = labels == 1, labels == 0
    pairs = [
        (scores[ones][:, None] > scores[zeros]) + (scores[ones][:, None] == scores[zeros]) / 2
        for scores in (first, second)
    ]
    placements = [np.stack([pair.mean(axis=axis) for pair in pairs]) for axis in (1, 0)]
    expected = np.cov(placements[0]) / ones.sum() + np.cov(placements[1]) / zeros.sum()
    covariance = auc_covariance(labels, [first, second])[1]
    np.testing.assert_allclose(covariance, expected, atol=1e-12)
    np.testing.assert_allclose(auc_covariance(labels, [first, second], np.arange(len(labels)))[1], covariance)


def test_the_variance_is_near_the_jackknife_over_cases():
    rng = np.random.default_rng(0)
    cases = rng.integers(60, size=200)
    labels = rng.integers(2, size=200)
    scores = labels + rng.normal(size=60)[cases] + rng.normal(size=200)
    left_out = [auc(labels[cases != case], scores[cases != case]) for case in np.unique(cases)]
    jackknife = np.sqrt((len(left_out) - 1) * np.var(left_out))
    assert auc_interval(labels, scores, cases=cases).std_error == pytest.approx(jackknife, rel=0.03)


def test_photos_repeated_within_a_case_add_nothing():
    labels, scores = np.tile([0, 1, 0, 1, 1], 8), np.sin(np.arange(40.0))
    once = auc_interval(labels, scores)
    twice = auc_interval(np.repeat(labels, 3), np.repeat(scores, 3), cases=np.repeat(np.arange(40), 3))
    assert (twice.auc, twice.std_error, twice.low) == pytest.approx((once.auc, once.std_error, once.low))
    fooled = auc_interval(np.repeat(labels, 3), np.repeat(scores, 3))
    assert fooled.std_error < 0.6 * once.std_error


def test_areas_and_tests_of_delongs_ovarian_cancer_data():
    # Expected: the same chapter's tables "ROC Association Statistics" and "ROC Contrast Estimation".
    tables = [
        (ALBUMIN, 0.7366, 0.0927, 0.5549, 0.9182),
        (KG, 0.7258, 0.1028, 0.5243, 0.9273),
        (PROTEIN, 0.6478, 0.1000, 0.4518, 0.8439),
    ]
    for scores, *expected in tables:
        found = auc_interval(BENEFIT, scores, method="wald")
        assert [found.auc, found.std_error, found.low, found.high] == pytest.approx(expected, abs=6e-5)
    contrasts = [
        (ALBUMIN, 0.0108, 0.0953, -0.1761, 0.1976, 0.0127, 0.9102),
        (PROTEIN, -0.0780, 0.1046, -0.2830, 0.1271, 0.5554, 0.4561),
    ]
    for scores, *expected in contrasts:
        found = compare(BENEFIT, scores, KG)
        # The tables are of the normal distribution, the tests of Student's with 11 degrees of freedom at most.
        half = norm.ppf(0.975) * found.std_error
        values = [found.difference, found.std_error, found.difference - half, found.difference + half]
        values += [found.z**2, 2 * norm.sf(abs(found.z))]
        assert values == pytest.approx(expected, abs=6e-5)
    aucs, covariance = auc_covariance(BENEFIT, [ALBUMIN, KG, PROTEIN])
    contrast = np.array([[1, -1, 0], [0, -1, 1]])
    chi_square = contrast @ aucs @ np.linalg.solve(contrast @ covariance @ contrast.T, contrast @ aucs)
    assert chi_square == pytest.approx(2.5340, abs=6e-5)


def test_interval_of_wfns_is_the_one_that_proc_prints():
    # The counts as in tests/evaluate/test_roc.py; the expected interval from pROC's tests of ci.auc (DeLong).
    scores = np.concatenate([np.repeat(np.arange(1, 6), n) for n in ([2, 12, 1, 8, 18], [37, 20, 3, 8, 4])])
    found = auc_interval(np.repeat([1, 0], [41, 72]), scores, method="wald")
    expected = [0.748534887819453, 0.823678861788618, 0.898822835757783]
    assert [found.low, found.auc, found.high] == pytest.approx(expected, abs=2e-9)


def test_the_logit_interval_is_symmetric_in_log_odds():
    labels, scores = np.tile([0, 1], 50), np.sin(np.arange(100.0)) + np.tile([0, 1], 50)
    found = auc_interval(labels, scores, confidence=0.9)
    odds = np.log([value / (1 - value) for value in (found.low, found.auc, found.high)])
    half = student.ppf(0.95, df=49) * found.std_error / (found.auc * (1 - found.auc))
    np.testing.assert_allclose(np.diff(odds), half)


@pytest.mark.parametrize("method", ["logit", "wald"])
def test_an_area_of_one_or_zero_has_an_honest_interval(method):
    labels, scores = np.repeat([0, 1], [30, 8]), np.arange(38.0)
    perfect = auc_interval(labels, scores, method=method)
    wilson = 8 / (8 + norm.ppf(0.975) ** 2)
    assert (perfect.auc, perfect.std_error, perfect.high) == (1, 0, 1)
    assert perfect.low == pytest.approx(wilson)
    reverse = auc_interval(labels, -scores, method=method)
    assert (reverse.low, reverse.high) == pytest.approx((0, 1 - wilson))
    by_case = auc_interval(labels, scores, cases=np.arange(38) // 2)
    assert by_case.low == pytest.approx(4 / (4 + norm.ppf(0.975) ** 2))


def test_few_cases_are_told_and_not_trusted():
    scores = np.array([0.9, 0.3, 0.6, 0.1])
    one_positive = auc_interval([1, 0, 0, 0], scores)
    assert one_positive.auc == 1
    assert np.isnan(one_positive.std_error)
    assert (one_positive.low, one_positive.high) == pytest.approx((1 / (1 + norm.ppf(0.975) ** 2), 1))
    one_case = auc_interval([1, 0, 1, 0], scores, cases=np.zeros(4, int))
    assert one_case.auc == 1
    assert np.isnan([one_case.low, one_case.high, one_case.std_error]).all()
    no_positive = auc_interval([0, 0, 0, 0], scores)
    assert np.isnan([no_positive.auc, no_positive.low, no_positive.high]).all()
    always_the_same = auc_interval(np.tile([0, 1], 20), np.zeros(40))
    assert (always_the_same.auc, always_the_same.std_error) == (0.5, 0)
    assert always_the_same.low < 0.35 < 0.65 < always_the_same.high


def test_models_that_rank_alike_do_not_differ_and_swapping_turns_the_sign():
    labels, first = np.tile([0, 1, 1], 20), np.sin(np.arange(60.0))
    cases = np.arange(60) // 3
    same = compare(labels, first, np.exp(3 * first), cases)
    assert (same.difference, same.z, same.p_value) == (0, 0, 1)
    assert np.isnan([same.low, same.high]).all()
    second = np.cos(np.arange(60.0) * 1.7)
    there, back = compare(labels, first, second, cases), compare(labels, second, first, cases)
    assert (back.difference, back.low, back.z) == pytest.approx((-there.difference, -there.high, -there.z))
    assert back.p_value == pytest.approx(there.p_value)
    assert (there.low > 0 or there.high < 0) == (there.p_value < 0.05)
    opposite = compare([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1])
    assert opposite.difference == 1
    assert np.isnan([opposite.z, opposite.p_value, opposite.low]).all()


def draw(rng, cases=80, separation=1.4):
    """Photos of two classes of cases, alike within a case, and two equally good models' scores."""
    case = np.repeat(np.arange(cases), rng.integers(1, 7, size=cases))
    labels = (rng.random(cases) < 0.4)[case].astype(int)
    models = [
        separation * labels + rng.normal(size=cases)[case] + rng.normal(size=len(case)) for _ in range(2)
    ]
    return labels, *models, case


def test_intervals_and_tests_by_case_hold_and_those_by_photo_do_not():
    truth, studies = norm.cdf(1.4 / 2), 400
    held, p_values = {"case": 0, "photo": 0}, {"case": [], "photo": []}
    for study in range(studies):
        labels, first, second, case = draw(np.random.default_rng(study))
        for unit, groups in (("case", case), ("photo", None)):
            found = auc_interval(labels, first, cases=groups)
            held[unit] += found.low <= truth <= found.high
            p_values[unit].append(compare(labels, first, second, groups).p_value)
    assert 0.93 <= held["case"] / studies <= 0.97
    assert held["photo"] / studies < 0.85
    assert kstest(p_values["case"], "uniform").pvalue > 0.01
    assert 0.03 <= np.mean(np.array(p_values["case"]) <= 0.05) <= 0.08
    assert np.mean(np.array(p_values["photo"]) <= 0.05) > 0.12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auc_interval([0, 1], [0.1, 0.2], method="exact"), "method must be one of logit, wald"),
        (
            lambda: auc_interval([0, 1], [0.1, 0.2], confidence=1),
            "confidence must lie between 0 and 1, got 1",
        ),
        (lambda: auc_interval([0, 1], [[0.1, 0.2]]), r"scores must have shape \[N\], got shape \(1, 2\)"),
        (lambda: compare([0, 1], [0.1, 0.2], [0.1]), "labels and scores_b must have one length"),
        (lambda: compare([0, 1], [0.1, np.nan], [0.1, 0.2]), "scores_a must hold numbers, got 1 NaN"),
        (lambda: auc_covariance([0, 1], [0.1, 0.2]), r"scores must have shape \[M, N\]"),
        (lambda: auc_covariance([0, 1], [[0.1, 0.2]], ["a", None]), "at photo 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
