"""Balanced draws of training photos."""

from __future__ import annotations

import numpy as np
import pytest

from skinjax.data.bootstrap_draws import balanced_draws, even_counts


@pytest.mark.parametrize("seed", range(20))
def test_a_total_is_dealt_out_as_if_one_by_one_to_whoever_has_least(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 12, rng.integers(1, 6))
    total = int(rng.integers(0, sizes.sum() + 1))
    dealt = np.zeros(len(sizes), int)
    for _ in range(total):
        open_classes = np.flatnonzero(dealt < sizes)
        dealt[open_classes[dealt[open_classes].argmin()]] += 1
    counts = even_counts(sizes, total, rng)
    assert counts.sum() == total
    assert (counts <= sizes).all()
    np.testing.assert_array_equal(np.sort(counts[counts < sizes]), np.sort(dealt[dealt < sizes]))


def test_who_gives_one_more_is_drawn_anew():
    rng = np.random.default_rng(0)
    counts = np.array([even_counts([9, 9, 9], 10, rng) for _ in range(600)])
    np.testing.assert_allclose(counts.mean(axis=0), 10 / 3, atol=0.1)


def test_each_draw_has_all_of_the_target_and_as_many_others_evenly_and_at_random():
    classes = np.repeat(["target", "a", "b", "c"], [12, 100, 60, 2])
    positive = classes == "target"
    drawn = balanced_draws(positive, classes, 400, np.random.default_rng(3))
    assert drawn[:, positive].all()
    assert (drawn.sum(axis=1) == 24).all()
    np.testing.assert_array_equal(drawn[:, classes == "c"].sum(axis=1), 2)
    for name, size in (("a", 100), ("b", 60)):
        np.testing.assert_array_equal(drawn[:, classes == name].sum(axis=1), 5)
        frequency = drawn[:, classes == name].mean(axis=0)  # each photo is as likely as any other
        np.testing.assert_allclose(frequency, 5 / size, atol=5 * np.sqrt(5 / size / 400))
    assert not np.array_equal(drawn[0], drawn[1])
    again = balanced_draws(positive, classes, 400, np.random.default_rng(3))
    np.testing.assert_array_equal(drawn, again)


def test_where_the_target_is_the_larger_side_it_is_the_target_that_is_drawn_from():
    classes = np.repeat(["x", "y", "other"], [50, 4, 10])
    drawn = balanced_draws(classes != "other", classes, 5, np.random.default_rng(0))
    assert drawn[:, classes == "other"].all()
    np.testing.assert_array_equal(drawn[:, classes == "x"].sum(axis=1), 6)
    np.testing.assert_array_equal(drawn[:, classes == "y"].sum(axis=1), 4)


@pytest.mark.parametrize(
    ("positive", "classes", "draws", "message"),
    [
        ([True, True], ["a", "a"], 1, "both sides, got 2 of the target and 0 others"),
        ([True, False], ["a"], 1, "positive and classes must be"),
        ([1, 0], ["a", "b"], 1, "must be bool"),
        ([True, False], ["a", "b"], 0, "draws must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_told(positive, classes, draws, message):
    with pytest.raises(ValueError, match=message):
        balanced_draws(np.array(positive), classes, draws, np.random.default_rng(0))


def test_more_than_there_is_is_refused():
    with pytest.raises(ValueError, match="total must lie in 0 to 3"):
        even_counts([1, 2], 4, np.random.default_rng(0))
