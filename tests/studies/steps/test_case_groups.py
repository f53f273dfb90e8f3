"""Which photos are of one case: what is taken for one, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from skinjax.data.photo_tables import PhotoTable
from skinjax.studies.prediction import Config
from skinjax.studies.steps.answering import named_alone
from skinjax.studies.steps.case_groups import MOST_OF_A_FOLDER, case_groups


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


def table(**columns: list[str]) -> PhotoTable:
    frame = pd.DataFrame(columns)
    return PhotoTable(tuple(map(Path, frame["image"])), frame)


def named(groups) -> dict[str, list[str]]:
    return {case: [str(path) for path in photos] for case, photos in groups.pairs}


def test_a_column_names_cases_in_the_order_in_which_they_occur():
    given = table(image=["1.jpg", "2.jpg", "3.jpg"], case_id=["b", "a", "b"])
    found = case_groups(given.paths, given, "")
    assert named(found) == {"b": ["1.jpg", "3.jpg"], "a": ["2.jpg"]}
    assert found.order.tolist() == [0, 2, 1]
    lesions = table(image=["1.jpg", "2.jpg"], lesion_id=["x", "x"])
    assert named(case_groups(lesions.paths, lesions)) == {"x": ["1.jpg", "2.jpg"]}
    both = table(image=["1.jpg", "2.jpg", "3.jpg"], case_id=["a", "a", "b"], lesion_id=["1", "2", "1"])
    assert list(named(case_groups(both.paths, both))) == ["a: 1", "a: 2", "b: 1"]
    same = table(image=["1.jpg", "2.jpg"], case_id=["a", "b"], lesion_id=["a", "b"])
    assert list(named(case_groups(same.paths, same))) == ["a", "b"]


def test_a_folder_is_a_case_and_folders_of_one_name_are_two():
    found = case_groups(paths("clinic/anna/1.jpg", "clinic/ben/1.jpg", "clinic/anna/2.jpg"), None)
    assert named(found) == {"anna": ["clinic/anna/1.jpg", "clinic/anna/2.jpg"], "ben": ["clinic/ben/1.jpg"]}
    twice = case_groups(paths("north/1/a.jpg", "south/1/a.jpg"), None)
    assert list(named(twice)) == ["north/1", "south/1"]
    assert list(named(case_groups(paths("a.jpg", "b.jpg"), None))) == [Path.cwd().name]


def test_photos_named_one_by_one_are_a_case_each():
    """Only who names the folder says that its photos are of one case."""
    given = paths("clinic/anna/1.jpg", "clinic/anna/2.jpg", "arm.jpg", "leg.jpg")
    found = case_groups(given, None, alone=given[2:])
    assert named(found) == {
        "anna": ["clinic/anna/1.jpg", "clinic/anna/2.jpg"], "arm.jpg": ["arm.jpg"], "leg.jpg": ["leg.jpg"],
    }  # fmt: skip
    many = paths(*(f"a/{n}.jpg" for n in range(MOST_OF_A_FOLDER + 1)), "a/b/1.jpg")
    assert len(case_groups(many, None, alone=many).pairs) == len(many)
    assert len(case_groups(many, None, r"a/(\w)", alone=many).pairs) == 11  # a pattern says more than names


def test_photos_of_a_folder_that_is_named_too_are_of_its_case(tmp_path):
    for name in ("anna/1.jpg", "anna/2.jpg", "leg.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [tmp_path / "anna", tmp_path / "anna" / "1.jpg", tmp_path / "leg.jpg"]
    assert named_alone(names) == {tmp_path / "leg.jpg"}


def test_a_pattern_finds_the_case_in_the_path():
    found = case_groups(paths("x/anna_1.jpg", "x/ben_1.jpg", "y/anna_2.jpg"), None, r"(\w+)_\d+\.jpg$")
    assert named(found) == {"anna": ["x/anna_1.jpg", "y/anna_2.jpg"], "ben": ["x/ben_1.jpg"]}


@pytest.mark.parametrize(
    ("photos", "given", "pattern", "message"),
    [
        (("a/1.jpg", "a/b/2.jpg"), None, "", "a must hold either photos of one case or"),
        ([f"a/{n}.jpg" for n in range(MOST_OF_A_FOLDER + 1)], None, "", "holds 41 photos"),
        (("a/1.jpg", "a/b.jpg"), None, r"(\d)\.jpg", r"got 1 of 2 that .* first: a/b.jpg"),
        ((), {"image": ["1.jpg", "2.jpg"], "case_id": ["a", "NA"]}, "", "got 'NA', which counts as empty, for 2.jpg"),
        ((), {"image": ["1.jpg"], "age": ["3"]}, "", "by=case needs a column case_id or lesion_id .* got image, age"),
        ((), {"image": ["1.jpg"], "case_id": [" "]}, "", "'case_id' must name the case of every photo, got an empty"),
        ((), {"image": ["1.jpg"], "case_id": ["a"]}, "(a)", r"case_pattern=\(a\) is for photos and folders"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_is_refused_in_one_sentence(photos, given, pattern, message):
    of_table = None if given is None else table(**given)
    with pytest.raises(ValueError, match=message):
        case_groups(of_table.paths if of_table else paths(*photos), of_table, pattern)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"case_pattern": "(a)"}, "needs by=case, got by=photo"),
        ({"case_pattern": "a(", "by": "case"}, "must be a regular expression"),
        ({"case_pattern": "(a)(b)", "by": "case"}, "must have one group in brackets.* got 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
