"""Wilson's interval and its form by case: published limits, score equation, coverage."""

import numpy as np
import pytest
from scipy import stats

from skinjax.evaluate.proportions import proportion_by_case, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_limits(successes, trials, low, high):
    np.testing.assert_allclose(wilson(successes, trials), (low, high), atol=5e-5)


def test_equals_scipy_at_any_level():
    for confidence in (0.5, 0.9, 0.99):
        for successes in (0, 3, 17, 40):
            theirs = stats.binomtest(successes, 40).proportion_ci(confidence, method="wilson")
            np.testing.assert_allclose(
                wilson(successes, 40, confidence), (theirs.low, theirs.high), atol=1e-12
            )


def test_arrays_and_no_trial():
    low, high = wilson([0, 5, 10], [0, 10, 10])
    np.testing.assert_allclose((low[0], high[0]), (0, 1))
    assert high[2] == 1
    assert low[2] > 0.6


def test_photos_that_are_cases_get_wilsons_interval():
    hits = np.random.default_rng(0).random(60) < 0.8
    found = proportion_by_case(hits, np.arange(60))
    np.testing.assert_allclose((found.low, found.high), wilson(hits.sum(), 60))
    assert found.design_effect == pytest.approx(1)


def test_wholly_alike_photos_are_worth_one_a_case():
    hits, cases = np.repeat([0, 1, 1, 1, 0, 1, 1, 1, 1, 0] * 8, 5), np.repeat(np.arange(80), 5)
    found = proportion_by_case(hits, cases)
    assert found.effective_size == pytest.approx(80, rel=0.01)
    assert found.estimate == 0.7


def test_a_share_of_one_keeps_its_width_and_one_case_has_none():
    found = proportion_by_case(np.ones(100), np.arange(100) // 5)
    assert found.high == 1
    assert found.low < float(wilson(20, 20)[0]) < float(wilson(100, 100)[0])
    alone = proportion_by_case([1, 0, 1], ["a"] * 3)
    assert alone.estimate == pytest.approx(2 / 3)
    assert np.isnan([alone.low, alone.high]).all()


def test_covers_by_case_where_photos_alone_do_not():
    held, samples, truth = {"case": 0, "photo": 0}, 300, 0.9
    for sample in range(samples):
        rng = np.random.default_rng(sample)
        cases = np.repeat(np.arange(60), 1 + rng.geometric(0.3, size=60))
        shared = rng.random(len(cases)) < 0.7
        hits = np.where(shared, rng.random(60)[cases], rng.random(len(cases))) < truth
        found = proportion_by_case(hits, cases)
        low, high = wilson(hits.sum(), len(hits))
        held["case"] += found.low <= truth <= found.high
        held["photo"] += low <= truth <= high
    assert 0.91 <= held["case"] / samples <= 0.99
    assert held["photo"] / samples < 0.85


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: wilson(3, 2), r"successes must lie in \[0, trials\], got 3 of 2"),
        (lambda: wilson(1, 2, confidence=95), "confidence must lie between 0 and 1, got 95"),
        (lambda: proportion_by_case([0, 2], [1, 2]), "hits must hold 0 or 1"),
        (lambda: proportion_by_case([0, 1], [1]), "hits must have one row per photo, 1"),
        (lambda: proportion_by_case([0, 1], [1, 2], confidence=0), "confidence must lie"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
