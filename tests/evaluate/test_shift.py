"""Differences of two samples: Newcombe's published limits, symmetry, and coverage of photos that come in cases."""

from __future__ import annotations

import numpy as np
import pytest

from skinjax.evaluate.proportions import proportion_by_case, wilson
from skinjax.evaluate.results import Interval
from skinjax.evaluate.shift import independent_difference


def share(hits: int, photos: int) -> Interval:
    low, high = wilson(hits, photos)
    return Interval(hits / photos, float(low), float(high))


def test_limits_are_newcombes():
    """The first example of Newcombe (1998), method 10."""
    found = independent_difference(share(56, 70), share(48, 80))
    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)


def test_the_other_way_round_is_the_negative():
    there, back = (
        independent_difference(a, b) for a, b in ((share(9, 10), share(3, 10)), (share(3, 10), share(9, 10)))
    )
    assert there.estimate == pytest.approx(-back.estimate)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_it_has_a_width_where_all_is_right_and_none_where_nothing_is_known():
    found = independent_difference(share(10, 10), share(20, 20))
    assert found.low < 0 < found.high
    unknown = independent_difference(share(10, 10), Interval(0.5, np.nan, np.nan))
    assert unknown.estimate == 0.5
    assert np.isnan([unknown.low, unknown.high]).all()


def test_a_figure_outside_of_its_limits_adds_nothing_on_that_side():
    found = independent_difference(Interval(0.5, 0.6, 0.7), Interval(0.0, 0.0, 0.0))
    assert (found.estimate, found.low, found.high) == (0.5, 0.5, 0.7)


def test_the_interval_holds_the_true_difference_of_correlated_photos():
    """Two samples of 40 and 60 cases of four photos, correlated within cases: 95 % in 92 to 98 of 100 studies."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(600):
        sides = []
        for cases, rate in ((40, 0.8), (60, 0.6)):
            own = rng.beta(rate * 2, (1 - rate) * 2, cases)
            hits = rng.random((cases, 4)) < own[:, None]
            sides.append(proportion_by_case(hits.ravel(), np.repeat(np.arange(cases), 4)))
        found = independent_difference(*sides)
        held.append(found.low <= 0.2 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.98
