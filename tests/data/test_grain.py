"""`as_grain`: its examples are the photos, labels and cases of the set, in Grain's hands too."""

from __future__ import annotations

import pickle

import grain
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import skinjax
from skinjax.data.images import photos as images
from skinjax.data.manifest import as_manifest
from skinjax.data.photo_set import PhotoSet
from skinjax.labels.taxonomy import Taxonomy

CLASSES = ("naevus", "melanoma", "eczema")


@pytest.fixture
def found(tmp_path) -> PhotoSet:
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(9)]
    for number, name in enumerate(names):
        pixels = rng.integers(0, 256, (20 + number, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    labels = [CLASSES[number % 3] for number in range(9)]
    frame = pd.DataFrame(
        {"image": names, "label": labels, "case_id": [f"c{number // 2}" for number in range(9)]}
    )
    taxonomy = Taxonomy("mine", ("class",), tuple((name,) for name in CLASSES))
    return PhotoSet(as_manifest(frame, taxonomy), tmp_path, taxonomy)


def test_photos_are_decoded_as_they_are_asked_for(found):
    dataset = skinjax.as_grain(found)
    assert len(dataset) == 9
    for row, example in enumerate(dataset):
        np.testing.assert_array_equal(example["image"], images.decode(found.root / f"{row}.png"))
        assert CLASSES[example["label"]] == found.frame["label"][row]
        assert (example["label"].dtype, example["row"].dtype) == (np.int32, np.int64)
        assert (example["row"], example["case_id"]) == (row, f"c{row // 2}")
    (found.root / "4.png").unlink()
    with pytest.raises(images.PhotoError, match=r"4\.png.*does not exist"):
        dataset[4]


def test_prepared_photos_go_through_grains_own_transforms(found, tmp_path):
    prepared = found.prepare(tmp_path / "prepared", 16)
    dataset = skinjax.as_grain(prepared)
    batches = list(
        dataset.seed(3).shuffle().batch(4, drop_remainder=True).to_iter_dataset(grain.ReadOptions(2, 4))
    )
    assert [batch["image"].shape for batch in batches] == [(4, 16, 16, 3)] * 2
    seen = np.concatenate([batch["row"] for batch in batches])
    assert len(set(seen.tolist())) == 8
    for batch in batches:
        for image, label, case, row in zip(
            *(batch[name] for name in ("image", "label", "case_id", "row")), strict=True
        ):
            expected = images.fit(images.decode(found.root / f"{row}.png", target=16), 16)
            np.testing.assert_array_equal(image, expected)
            assert (CLASSES[label], case) == tuple(found.frame.loc[row, ["label", "case_id"]])
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again[5]["image"], dataset[5]["image"])


def test_chosen_photos_are_numbered_by_their_own_frame(found, tmp_path):
    prepared = found.prepare(tmp_path / "prepared", 16)
    chosen = np.arange(9) % 2 == 1
    part = prepared.where(chosen, found.taxonomy)
    examples = list(skinjax.as_grain(part))
    assert [example["row"] for example in examples] == [0, 1, 2, 3]
    whole = skinjax.as_grain(prepared)
    for example, row in zip(examples, np.flatnonzero(chosen).tolist(), strict=True):
        np.testing.assert_array_equal(example["image"], whole[row]["image"])
        assert example["case_id"] == part.frame["case_id"][example["row"]]


def test_photos_without_cases_have_none(found):
    bare = PhotoSet(found.frame.drop(columns="case_id"), found.root, found.taxonomy)
    assert skinjax.as_grain(bare)[0].keys() == {"image", "label", "row"}
