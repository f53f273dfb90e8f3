"""Photos divided into training, validation and test parts, by case or as the manifest says."""

from __future__ import annotations

import dataclasses
import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from skinjax.cli.flags import as_flags
from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.labels.taxonomy import Taxonomy
from skinjax.studies.steps import division, networks
from skinjax.studies.steps.options import DividedConfig

TREE = Taxonomy("three", ("class",), (("a",), ("b",), ("c",)))
CONFIG = DividedConfig(backbone="efficientnet_nano", batch_size=8, burn_in=1.0)


def photos(root, cases=54, split=None):
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
    source = SimpleNamespace(source=[f"photo {number}" for number in range(len(case))])
    return PreparedPhotos(PhotoSet(frame, root, TREE), source)


def test_every_photo_is_in_one_part_cases_are_whole_and_shares_are_kept(tmp_path):
    data = photos(tmp_path)
    divided = division.divide(CONFIG, data)
    masks = np.stack([divided.train, divided.validation, divided.test])
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    np.testing.assert_array_equal(divided.held_out, ~divided.train)
    assert [len(np.unique(data.cases[mask])) for mask in masks] == [36, 12, 6]
    for mask in masks:
        assert not set(data.cases[mask]) & set(data.cases[~mask])
        assert set(data.labels[mask]) == {0, 1, 2}
    assert divided.notes == ()


def test_the_seed_and_nothing_else_draws_the_parts(tmp_path):
    first, again = (division.divide(CONFIG, photos(tmp_path)) for _ in range(2))
    np.testing.assert_array_equal(first.test, again.test)
    other = dataclasses.replace(CONFIG, seed=1)
    assert (division.divide(other, photos(tmp_path)).test != first.test).any()


def test_other_shares(tmp_path):
    config = dataclasses.replace(CONFIG, parts=(1, 0.5, 0.5))
    divided = division.divide(config, photos(tmp_path, cases=48))
    assert [int(mask.sum()) for mask in (divided.train, divided.validation, divided.test)] == [48, 24, 24]


@pytest.mark.parametrize("given", [(6, 2), (6, 2, 1, 1), (6, 2, 0), (6, -2, 1), (6, 2, float("inf")), ()])
def test_shares_that_are_none_are_refused(given):
    with pytest.raises(
        ValueError, match=r"^parts(=.* must be three shares above 0| must be a finite number, got inf)"
    ):
        dataclasses.replace(CONFIG, parts=given)


@pytest.mark.parametrize("share", ["two", "nan", float("nan"), None])
def test_shares_that_are_no_numbers_are_refused(share):
    with pytest.raises(ValueError, match=r"^parts must be a finite number, got "):
        dataclasses.replace(CONFIG, parts=(6, share, 1))


def test_the_manifests_column_goes_first_and_photos_of_no_part_are_left_out(tmp_path, caplog):
    split = ["train"] * 30 + ["validation"] * 9 + ["test"] * 9 + [""] * 6
    data = photos(tmp_path, split=split)
    with caplog.at_level(logging.WARNING, logger="skinjax"):
        divided = division.divide(CONFIG, data)
    by_photo = np.repeat(np.array(split, object), 2)
    for name in division.NAMES:
        np.testing.assert_array_equal(getattr(divided, name), by_photo == name)
    assert divided.held_out.sum() == 36
    assert "column split is used; the option parts is not" in caplog.text


def test_a_column_without_a_part_is_refused(tmp_path):
    data = photos(tmp_path, split=["train"] * 40 + ["test"] * 14)
    with pytest.raises(ValueError, match="marks no photo as validation"):
        division.divide(CONFIG, data)


def test_a_case_in_two_parts_is_refused_by_name(tmp_path):
    data = photos(tmp_path, split=["train"] * 30 + ["validation"] * 12 + ["test"] * 12)
    data.frame.loc[[0, 2], "split"] = "test"  # the first photos of two cases whose others are trained on
    with pytest.raises(ValueError, match=r"puts 2 cases into two parts at once: case 0, case 1$"):
        division.divide(CONFIG, data)
    data.frame.loc[[0, 2], "split"] = ""  # of no part: no harm
    assert division.divide(CONFIG, data).train.sum() == 58


def test_too_few_photos_for_the_schedule_are_refused_before_any_is_trained_on(tmp_path):
    config = dataclasses.replace(CONFIG, epochs=1, burn_in=50.0)
    with pytest.raises(
        ValueError, match=r"^burn_in=50 batches must be below the 9 updates of the run"
    ) as told:
        division.divide(config, photos(tmp_path))
    assert as_flags(str(told.value), {"burn_in"}).startswith("--burn_in=50 batches")


def test_weights_of_a_run_on_some_of_these_photos_are_refused(tmp_path):
    data = photos(tmp_path)
    seen = tmp_path / "run" / "photos_seen.txt"
    seen.parent.mkdir()
    config = dataclasses.replace(CONFIG, pretrained=str(tmp_path / "run" / "checkpoints" / "final"))
    seen.write_text("of another photo\n")
    division.divide(config, data)
    seen.write_text(f"of another photo\n{min(data.identities())}\n")
    with pytest.raises(ValueError, match="trained on 1 of these photos"):
        division.divide(config, data)


def test_a_part_as_the_photos_of_a_network(tmp_path):
    data = photos(tmp_path)
    divided = division.divide(CONFIG, data)
    own = networks.subset(data, divided.test)
    np.testing.assert_array_equal(own.labels, data.labels[divided.test])
    assert own.labels.dtype == np.int32
    np.testing.assert_array_equal(own.indices, np.flatnonzero(divided.test))
    binary = networks.subset(data, divided.test, data.labels == 2)
    np.testing.assert_array_equal(binary.labels, data.labels[divided.test] == 2)
