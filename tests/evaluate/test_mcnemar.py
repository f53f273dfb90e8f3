"""McNemar's test: published p-values, all sign patterns by brute force, validity by case."""

import itertools

import numpy as np
import pytest
from scipy import stats

from skinjax.evaluate.mcnemar import mcnemar


def from_table(both, only_first, only_second, neither):
    labels = np.zeros(both + only_first + only_second + neither, int)
    first = np.repeat([0, 0, 1, 1], [both, only_first, only_second, neither])
    second = np.repeat([0, 1, 0, 1], [both, only_first, only_second, neither])
    return labels, first, second


@pytest.mark.parametrize(("method", "p_value"), [("asymptotic", 0.034), ("exact", 0.070), ("mid_p", 0.039)])
def test_published_p_values(method, p_value):
    # Airway hyper-responsiveness before and after stem cell transplantation: Fagerland, Lydersen and Laake
    # 2013, doi:10.1186/1471-2288-13-91: 1, 1, 7, 12.
    answers = from_table(1, 1, 7, 12)
    assert mcnemar(*answers, np.arange(21), method).p_value == pytest.approx(p_value, abs=5e-4)


def test_photos_that_are_cases_get_the_binomial_test():
    answers = from_table(50, 9, 21, 20)
    found = mcnemar(*answers, np.arange(100), "exact")
    assert found.p_value == pytest.approx(stats.binomtest(9, 30).pvalue)
    assert (found.only_first, found.only_second, found.difference) == (9, 21, -0.12)
    assert found.statistic == pytest.approx((9 - 21) ** 2 / 30)


@pytest.mark.parametrize("seed", range(4))
def test_equals_all_signs_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    cases = rng.integers(12, size=40)
    labels, first, second = rng.integers(2, size=(3, 40))
    change = (first == labels).astype(int) - (second == labels)
    by_case = np.bincount(cases, change, minlength=12)
    sums = np.array([by_case @ signs for signs in itertools.product([1, -1], repeat=12)])
    total = abs(by_case.sum())
    exact = np.mean(np.abs(sums) >= total)
    assert mcnemar(labels, first, second, cases, "exact").p_value == pytest.approx(exact)
    mid = np.mean(np.abs(sums) > total) + np.mean(np.abs(sums) == total) / 2
    found = mcnemar(labels, first, second, cases)
    assert found.p_value == pytest.approx(min(1, mid if total else 1))
    assert found.discordant_cases == np.sum(by_case != 0)


def test_many_cases_approach_the_normal_test_and_stay_fast():
    rng = np.random.default_rng(5)
    cases = np.sort(rng.integers(20_000, size=60_000))
    labels = np.zeros(60_000, int)
    first, second = (rng.random((2, 60_000)) < [[0.3], [0.303]]).astype(int)
    exact, normal = (mcnemar(labels, first, second, cases, method) for method in ("mid_p", "asymptotic"))
    assert 0.001 < normal.p_value < 0.9
    assert exact.p_value == pytest.approx(normal.p_value, rel=0.01)


def test_no_difference_and_swapped_models():
    labels = np.array([0, 1, 0, 1])
    for method in ("mid_p", "exact", "asymptotic"):
        assert mcnemar(labels, labels, labels, np.arange(4), method).p_value == 1
    first, second = np.array([0, 1, 0, 0]), np.array([1, 1, 1, 1])
    there, back = mcnemar(labels, first, second, [1, 1, 2, 3]), mcnemar(labels, second, first, [1, 1, 2, 3])
    assert there.p_value == back.p_value
    assert there.difference == -back.difference


@pytest.mark.parametrize("method", ["mid_p", "exact", "asymptotic"])
def test_holds_its_level_by_case_and_not_by_photo(method):
    by_case, by_photo = [], []
    for sample in range(300):
        rng = np.random.default_rng(sample)
        cases = np.repeat(np.arange(40), 5)
        labels = np.zeros(200, int)
        # Each model is right on 70 % of the cases, with all photos of a case for the most part.
        first, second = (
            np.where(rng.random(200) < 0.8, rng.random(40)[cases] < 0.3, rng.random(200) < 0.3).astype(int)
            for _ in range(2)
        )
        by_case.append(mcnemar(labels, first, second, cases, method).p_value)
        by_photo.append(mcnemar(labels, first, second, np.arange(200), method).p_value)
    assert 0.01 <= np.mean(np.array(by_case) <= 0.05) <= 0.08
    assert np.mean(np.array(by_photo) <= 0.05) > 0.2


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: mcnemar([0], [0], [0], [1], "chi2"), "method must be .*, got 'chi2'"),
        (lambda: mcnemar([0, 1], [0], [0, 1], [1, 2]), "first must have one row per photo, 2"),
        (lambda: mcnemar([0], [[0.1, 0.9]], [0], [1]), r"first must hold one class per photo, got shape \(1, 2\)"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
