"""Subgroups: against separate bootstraps, brute force, and validity where all groups are equal."""

import numpy as np
import pytest

from skinjax.evaluate.bootstrap import accuracy, by_case, macro_f1
from skinjax.evaluate.subgroups import age_bands, compare, holm, subgroups


def draw(seed, sizes=(20, 30, 60, 150), right=0.9, photos=4):
    """Cases in groups of given sizes, all as easy; photos of a case are right or wrong together."""
    rng = np.random.default_rng(seed)
    total = sum(sizes)
    case = np.repeat(np.arange(total), photos)
    group = np.repeat(np.arange(len(sizes)), sizes)[case]
    shared = rng.random(len(case)) < 0.7
    luck = np.where(shared, rng.random(total)[case], rng.random(len(case)))
    labels = rng.integers(3, size=total)[case]
    return labels, np.where(luck < np.broadcast_to(right, 4)[group], labels, (labels + 1) % 3), group, case


def test_groups_have_the_interval_of_their_own_photos():
    labels, predicted, groups, cases = draw(0)
    found = subgroups(macro_f1, (labels, predicted), groups, cases, replicates=199)
    assert [group.name for group in found.groups] == ["0", "1", "2", "3"]
    for number, group in enumerate(found.groups):
        own = groups == number
        assert group.interval == by_case(macro_f1, (labels[own], predicted[own]), cases[own], replicates=199)
        assert not group.small
    estimates = [group.interval.estimate for group in found.groups]
    assert found.gap.difference == max(estimates) - min(estimates)
    assert found.gap.best == str(np.argmax(estimates))
    assert found.gap.worst == str(np.argmin(estimates))


def test_small_groups_are_shown_and_take_no_part_in_the_gap():
    labels, predicted, groups, cases = draw(1, sizes=(5, 40, 60, 50))
    predicted = np.where(groups == 0, (labels + 1) % 3, predicted)
    found = subgroups(accuracy, (labels, predicted), groups, cases, replicates=99)
    assert [group.small for group in found.groups] == [True, False, False, False]
    assert found.groups[0].interval.estimate == 0
    assert found.gap.num_groups == 3
    assert found.gap.worst != "0"
    only = subgroups(accuracy, (labels, predicted), groups, cases, min_cases=60, replicates=99)
    assert only.gap is None


def test_unknown_groups_are_counted():
    labels, predicted, _, cases = draw(2)
    groups = np.array(["I", None, "", "VI"], object)[np.arange(len(cases)) % 4]
    found = subgroups(accuracy, (labels, predicted), groups, cases, replicates=99)
    assert [group.name for group in found.groups] == ["I", "VI"]
    assert found.num_unknown == len(cases) // 2
    tones = np.where(np.arange(len(cases)) % 2, np.nan, 3.0)
    assert subgroups(accuracy, (labels, predicted), tones, cases, replicates=99).groups[0].name == "3"


def test_the_gap_is_the_largest_ratio_by_brute_force():
    labels, predicted, groups, cases = draw(3, sizes=(25, 40, 30, 35))
    found = subgroups(accuracy, (labels, predicted), groups, cases, replicates=99, seed=5).gap
    generator = np.random.default_rng(5)
    hits = (labels == predicted).reshape(-1, 4)
    kind = groups.reshape(-1, 4)[:, 0]
    estimates = np.array([hits[kind == k].mean() for k in range(4)])
    draws = generator.integers(130, size=(99, 130))
    each = np.array([[hits[row][kind[row] == k].mean() for k in range(4)] for row in draws])
    spread = np.std([hits[row].mean() for row in draws], ddof=1) * np.sqrt(130 / np.bincount(kind))
    ratios, moves = {}, {}
    for i in range(4):
        for j in range(i):
            change = each[:, i] - each[:, j]
            error = max(change.std(ddof=1), np.hypot(spread[i], spread[j]))
            ratios[i, j] = abs(estimates[i] - estimates[j]) / error
            moves[i, j] = np.abs(change - estimates[i] + estimates[j]) / error
    largest = np.max(list(moves.values()), axis=0)
    pair = tuple(sorted((int(found.best), int(found.worst)), reverse=True))
    assert found.p_value == pytest.approx((1 + np.sum(largest >= ratios[pair] - 1e-12)) / 100)
    assert found.any_p_value == pytest.approx((1 + np.sum(largest >= max(ratios.values()) - 1e-12)) / 100)
    assert (found.low > 0) == (found.p_value <= 0.05)


@pytest.mark.slow
def test_p_values_hold_their_level_where_all_groups_are_equal():
    gap, any_two, uncorrected = [], [], []
    for sample in range(200):
        labels, predicted, groups, cases = draw(sample)
        found = subgroups(accuracy, (labels, predicted), groups, cases, replicates=199, seed=sample)
        gap.append(found.gap.p_value)
        any_two.append(found.gap.any_p_value)
        pair = np.isin(groups, [int(found.gap.best), int(found.gap.worst)])
        alone = subgroups(
            accuracy, (labels[pair], predicted[pair]), groups[pair], np.arange(pair.sum()), replicates=199
        )
        uncorrected.append(alone.gap.p_value)
    assert np.mean(np.array(gap) <= 0.05) <= 0.09
    assert 0.01 <= np.mean(np.array(any_two) <= 0.05) <= 0.09
    # The same pair, as if named before looking and photos were independent.
    assert np.mean(np.array(uncorrected) <= 0.05) > 0.3


def test_a_real_gap_is_found_and_its_interval_holds_it():
    found = [
        subgroups(accuracy, (labels, predicted), groups, cases, replicates=199).gap
        for labels, predicted, groups, cases in (draw(seed, right=(0.9, 0.9, 0.6, 0.9)) for seed in range(30))
    ]
    assert np.mean([gap.worst == "2" and gap.p_value <= 0.05 for gap in found]) > 0.8
    assert np.mean([gap.low <= 0.3 <= gap.high for gap in found]) >= 0.9


def test_equal_groups_and_cases_in_two_groups():
    labels = np.zeros(200, int)
    cases, groups = np.arange(200) // 2, np.arange(200) % 2
    same = subgroups(accuracy, (labels, labels), groups, cases, replicates=99)
    assert (same.gap.difference, same.gap.p_value, same.gap.any_p_value) == (0, 1, 1)
    # Every case has a photo in both groups and is right or wrong in both: the gap has no variance of its own.
    predicted = (np.random.default_rng(0).random(100) < 0.3).astype(int)[cases]
    straddled = subgroups(accuracy, (labels, predicted), groups, cases, replicates=99)
    assert straddled.gap.difference == 0
    assert straddled.gap.p_value == 1


def test_several_columns_are_corrected_by_holm():
    labels, predicted, groups, cases = draw(4)
    columns = {"site": groups, "sex": cases % 2, "few": np.where(cases == 0, "a", "b")}
    found = compare(accuracy, (labels, predicted), columns, cases, replicates=199)
    assert found["few"].gap is None
    tested = [found["site"].gap, found["sex"].gap]
    np.testing.assert_allclose([gap.holm_p_value for gap in tested], holm([gap.p_value for gap in tested]))


def test_holm_by_its_definition():
    p_values = np.array([0.02, 0.001, 0.2, 0.015, np.nan, 0.02])
    corrected = holm(p_values)
    assert np.isnan(corrected[4])
    tested = ~np.isnan(p_values)
    for level in np.linspace(0.001, 1, 200):
        # Step down: the smallest against level / m, the next against level / (m - 1), until one stands.
        rejected, left = set(), 5
        for place in np.argsort(p_values)[:5]:
            if p_values[place] * left > level:
                break
            rejected.add(int(place))
            left -= 1
        assert set(np.flatnonzero(tested & (corrected <= level)).tolist()) == rejected


def test_age_bands():
    found = age_bands([0, 17.9, 18, 39, 40, 79, 80, np.nan, None])
    expected = ["under 18"] * 2 + ["18 to 40"] * 2 + ["40 to 60", "60 to 80", "80 and over", None, None]
    assert found.tolist() == expected
    assert age_bands([5, 50], edges=(50,)).tolist() == ["under 50", "50 and over"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: subgroups(accuracy, ([0], [0]), ["a", "b"], [1]), r"groups must name .*1, got shape \(2,\)"),
        (lambda: subgroups(accuracy, ([0], [0]), ["a"], [1], min_cases=1), "min_cases must be at least 2, got 1"),
        (
            lambda: subgroups(accuracy, ([0, 1], [0, 1]), np.array(["a", 1], object), [1, 2]),
            "groups must be all numbers or all strings",
        ),
        (lambda: holm([0.5, 1.5]), r"p_values must be float\[M\] in \[0, 1\]"),
        (lambda: age_bands([-1]), "ages must be at least 0, got -1"),
        (lambda: age_bands([1], edges=(40, 18)), "edges must rise"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
