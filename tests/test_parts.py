"""Photos divided into training, validation and test parts, by case or as the manifest says."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from absl import flags

from experiments import parts
from experiments.inputs import PHOTOS_SEEN, Inputs, Photos
from skinjax.labels.taxonomy import Taxonomy
from tests.flag_values import training_values

TREE = Taxonomy("three", ("class",), (("a",), ("b",), ("c",)))


@pytest.fixture
def values(monkeypatch):
    values = training_values(parts=["6", "2", "1"])
    monkeypatch.setattr(flags, "FLAGS", values)
    return values


def photos(tmp_path, cases=54, split=None):
    """Two photos a case, classes in turn; `split` is a part a case."""
    case = np.repeat(np.arange(cases), 2)
    frame = pd.DataFrame(
        {
            "image": [f"{number}.jpg" for number in range(len(case))],
            "label": np.array(TREE.classes())[case % 3],
            "case_id": [f"case {number}" for number in case],
        }
    )
    if split is not None:
        frame["split"] = np.asarray(split, object)[case]
    inputs = Inputs(frame, tmp_path, TREE, synthetic=False, notes=())
    return Photos(inputs, SimpleNamespace(source=[f"photo {number}" for number in range(len(case))]))


def test_every_photo_is_in_one_part_cases_are_whole_and_shares_are_kept(values, tmp_path):
    data = photos(tmp_path)
    divided = parts.divide(data)
    masks = np.stack([divided.train, divided.validation, divided.test])
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    np.testing.assert_array_equal(divided.held_out, ~divided.train)
    assert [len(np.unique(data.cases[mask])) for mask in masks] == [36, 12, 6]
    for mask in masks:
        assert not set(data.cases[mask]) & set(data.cases[~mask])
        assert set(data.labels[mask]) == {0, 1, 2}
    assert divided.notes == ()


def test_the_seed_and_nothing_else_draws_the_parts(values, tmp_path):
    first, again = (parts.divide(photos(tmp_path)) for _ in range(2))
    np.testing.assert_array_equal(first.test, again.test)
    values.seed = 1
    assert (parts.divide(photos(tmp_path)).test != first.test).any()


def test_other_shares(values, tmp_path):
    values.parts = ["1", "0.5", "0.5"]
    divided = parts.divide(photos(tmp_path, cases=48))
    assert [int(mask.sum()) for mask in (divided.train, divided.validation, divided.test)] == [48, 24, 24]


@pytest.mark.parametrize("given", ["6,2", "6,2,1,1", "6,2,0", "6,-2,1", "6,two,1", "6,2,nan", "6,2,inf", ""])
def test_shares_that_are_none_are_refused(values, given):
    values.parts = given.split(",")
    with pytest.raises(ValueError, match=r"^--parts=.*: three shares above 0 are wanted"):
        parts.shares()


def test_the_manifests_column_goes_first_and_photos_of_no_part_are_left_out(values, tmp_path, capsys):
    split = ["train"] * 30 + ["validation"] * 9 + ["test"] * 9 + [""] * 6
    data = photos(tmp_path, split=split)
    divided = parts.divide(data)
    by_photo = np.repeat(np.array(split, object), 2)
    for name in parts.NAMES:
        np.testing.assert_array_equal(getattr(divided, name), by_photo == name)
    assert divided.held_out.sum() == 36
    assert "column split is used; --parts is not" in capsys.readouterr().err


def test_a_column_without_a_part_is_refused(values, tmp_path):
    data = photos(tmp_path, split=["train"] * 40 + ["test"] * 14)
    with pytest.raises(ValueError, match="marks no photo as validation"):
        parts.divide(data)


def test_a_case_in_two_parts_is_refused_by_name(values, tmp_path):
    data = photos(tmp_path, split=["train"] * 30 + ["validation"] * 12 + ["test"] * 12)
    data.frame.loc[[0, 2], "split"] = "test"  # the first photos of two cases whose others are trained on
    with pytest.raises(ValueError, match=r"puts 2 cases into two parts at once: case 0, case 1$"):
        parts.divide(data)
    data.frame.loc[[0, 2], "split"] = ""  # of no part: no harm
    assert parts.divide(data).train.sum() == 58


def test_too_few_photos_for_the_schedule_are_refused_before_any_is_trained_on(values, tmp_path):
    values.epochs, values.burn_in = 1, 50.0
    with pytest.raises(ValueError, match=r"--burn_in=50 batches are not below the \d+ updates of the run"):
        parts.divide(photos(tmp_path))


def test_weights_of_a_run_on_some_of_these_photos_are_refused(values, tmp_path):
    data = photos(tmp_path)
    seen = tmp_path / "run" / PHOTOS_SEEN
    seen.parent.mkdir()
    values.pretrained = str(tmp_path / "run" / "checkpoints" / "final")
    seen.write_text("of another photo\n")
    parts.divide(data)
    seen.write_text(f"of another photo\n{min(data.identities())}\n")
    with pytest.raises(ValueError, match="trained on 1 of these photos"):
        parts.divide(data)


def test_a_part_as_the_photos_of_a_network(values, tmp_path):
    data = photos(tmp_path)
    divided = parts.divide(data)
    own = parts.subset(data, divided.test)
    np.testing.assert_array_equal(own.labels, data.labels[divided.test])
    assert own.labels.dtype == np.int32
    np.testing.assert_array_equal(own.indices, np.flatnonzero(divided.test))
    binary = parts.subset(data, divided.test, data.labels == 2)
    np.testing.assert_array_equal(binary.labels, data.labels[divided.test] == 2)
