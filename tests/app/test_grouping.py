"""Which photos of a batch are of one case."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinjax.app.grouping import group_photos

NAMES = st.lists(st.text("ab1_/-. ()", min_size=1, max_size=12), max_size=12, unique=True)


@settings(deadline=None)
@given(NAMES, st.sampled_from(["folder", "name", "photo"]))
def test_every_photo_is_of_one_case(names, by):
    groups = group_photos(names, by)
    assert sorted(place for _, places in groups for place in places) == list(range(len(names)))
    if by == "photo":
        assert [places for _, places in groups] == [[place] for place in range(len(names))]


def test_folders_of_one_name_in_two_folders_are_two_cases():
    names = ["all/mon/anna/1.jpg", "all/tue/anna/1.jpg", "all/tue/anna/2.jpg"]
    assert group_photos(names, "folder") == [("mon/anna", [0]), ("tue/anna", [1, 2])]


def test_names_are_told_apart_by_folder_too():
    names = ["mon/anna_1.jpg", "mon/anna_2.jpg", "tue/anna_1.jpg"]
    assert [places for _, places in group_photos(names, "name")] == [[0, 1], [2]]
    assert len({case for case, _ in group_photos(names, "name")}) == 2


def test_photos_without_a_folder_are_cases_by_themselves():
    assert group_photos(["a.jpg", "b.jpg", "x/c.jpg", "x\\d.jpg"], "folder") == [
        ("a.jpg", [0]), ("b.jpg", [1]), ("x", [2, 3]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("anna_1.jpg", "anna_2.png", True),
        ("IMG (1).jpg", "IMG (2).jpg", True),
        ("left-a.jpg", "left-b.jpg", True),
        ("20240101_1.jpg", "20240101_2.jpg", True),
        ("anna.jpg", "anna_2.jpg", True),
        ("anna1.jpg", "anna2.jpg", False),
        ("1.jpg", "2.jpg", False),
        ("anna_1.jpg", "ben_1.jpg", False),
    ],
)
def test_names_alike_but_for_a_mark_at_their_end(first, second, together):
    assert (len(group_photos([first, second], "name")) == 1) is together


def test_another_way_is_refused():
    with pytest.raises(ValueError, match="by must be one of folder, name, photo, got 'size'"):
        group_photos(["a.jpg"], "size")
