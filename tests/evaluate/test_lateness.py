"""How often advice came too late, counted by hand; and whether a change is called one, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from skinjax.evaluate.lateness import lateness, share_fields
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.repeatability import Repeatability, change_interval, repeatability


def test_shares_are_those_counted_by_hand():
    rng = np.random.default_rng(0)
    needed, given, cases = rng.integers(0, 3, 300), rng.integers(-1, 3, 300), rng.integers(0, 60, 300)
    found = lateness(needed, given, cases)
    cancer = needed > 0
    late = (given != -1) & (given < needed)
    assert found.cancers == proportion_by_case(late[cancer], cases[cancer])
    assert found.withheld.estimate == pytest.approx((given[cancer] == -1).mean())
    for urgency in (0, 1):
        told = given == urgency
        assert found.by_urgency[urgency].estimate == pytest.approx((needed[told] > urgency).mean())
    assert found.by_urgency[2].estimate == 0
    nothing = lateness([0, 0], [-1, 0], ["a", "b"])
    assert (nothing.cancers, nothing.withheld, nothing.by_urgency[1]) == (None, None, None)
    assert share_fields(proportion_by_case([1, 0], ["a", "a"]))["low"] is None


@pytest.mark.parametrize(
    ("needed", "given", "message"),
    [
        ([3], [0], "needed must lie in 0 to 2"),
        ([0], [-2], "given must lie in -1 to 2"),
        ([0, 1], [0], r"needed must be int\[1\]"),
        ([0.5], [0], r"needed must be int\[1\]"),
    ],
)
def test_what_cannot_be_counted_is_told(needed, given, message):
    with pytest.raises(ValueError, match=message):
        lateness(needed, given, ["a"])


def test_pooled_deviation_equals_the_analysis_of_variance():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 30, 100)
    scores = rng.normal(size=100)
    found = repeatability(scores, groups)
    several = [scores[groups == g] for g in range(30) if (groups == g).sum() > 1]
    squares = sum(((x - x.mean()) ** 2).sum() for x in several)
    assert found.photos == sum(map(len, several))
    assert found.groups == len(several)
    assert found.std_dev == pytest.approx(np.sqrt(squares / (found.photos - found.groups)))
    assert repeatability([1.0, 2.0], ["a", "b"]) is None
    with pytest.raises(ValueError, match="one number per group"):
        repeatability([1.0], ["a", "b"])


@pytest.mark.parametrize(("lesions", "firsts", "lasts"), [(8, 1, 1), (200, 1, 1), (200, 3, 2)])
def test_where_nothing_changes_one_in_twenty_is_called_changed(lesions, firsts, lasts):
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(2000):
        known = rng.uniform(0, 100, lesions).repeat(2) + rng.normal(0, 7, 2 * lesions)
        of = repeatability(known, np.arange(lesions).repeat(2))
        first, last = 40 + rng.normal(0, 7, firsts).mean(), 40 + rng.normal(0, 7, lasts).mean()
        found = change_interval(first, firsts, last, lasts, of)
        held += found.low <= 0 <= found.high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_a_change_is_found_and_its_interval_is_the_formulas():
    found = change_interval(20.0, 1, 60.0, 4, Repeatability(10.0, 10**6, 2 * 10**6))
    half = 1.959964 * 10 * np.sqrt(1 + 1 / 4)
    assert (found.estimate, found.low, found.high) == pytest.approx((40, 40 - half, 40 + half), rel=1e-5)
