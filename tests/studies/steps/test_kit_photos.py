"""Tables that a reading kit is drawn from: cells as the predictions' reader takes them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from skinjax.data.tables import TableError
from skinjax.studies import reader_kit
from skinjax.studies.steps import kit_photos
from skinjax.studies.steps.kit_photos import KitPhotos

IMAGES = ["1.jpg ", " 2.jpg", "3.jpg", "4.jpg"]
CASES = ["001", "001 ", "1", "2"]


def read(folder: Path, target: str, taxonomy: str = "", **columns: list[str]) -> KitPhotos:
    path = folder / "theirs.csv"
    pd.DataFrame({"image": IMAGES, "case_id": CASES} | columns).to_csv(path, index=False)
    return kit_photos.read(
        None, reader_kit.Config(predictions=str(path), target=(target,), taxonomy=taxonomy)
    )


def test_cells_are_read_as_predictions_are(tmp_path):
    found = read(tmp_path, "mel", "ham10000", label=["mel", " mel", "nv ", "bkl"])
    assert found.frame["image"].tolist() == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert found.frame["case_id"].tolist() == ["001", "001", "1", "2"]
    assert found.positive.tolist() == [True, True, False, False]
    half = {"p_0": ["0.5"] * 4, "p_1": ["0.5"] * 4}
    found = read(tmp_path, "1", label=["1.0", "0.0", "1", "0"], **half)
    assert found.positive.tolist() == [True, False, True, False]


@pytest.mark.parametrize("taxonomy", ["ham10000", ""])
def test_photos_of_unknown_labels_are_not_drawn_as_the_rest(tmp_path, taxonomy):
    columns = {} if taxonomy else {f"p_{name}": ["0.5"] * 4 for name in ("mel", "nv")}
    with pytest.raises(TableError) as caught:
        read(tmp_path, "mel", taxonomy, label=["MEL ", "mell", "nv", " "], **columns)
    (empty, unknown) = caught.value.problems
    assert empty == "column 'label', 1 row empty: row 5"
    assert unknown.startswith("column 'label', 1 row with a label that is no ")
    assert unknown.endswith(": row 3 'mell', did you mean 'mel'?")


def test_empty_and_repeated_cells_are_refused(tmp_path):
    with pytest.raises(TableError) as caught:
        read(
            tmp_path, "a", image=["1.jpg", "1.jpg ", " ", "2.jpg"], case_id=["1", "2", "3", " "],
            label=["a", "b", "a", "b"],
        )  # fmt: skip
    assert caught.value.problems == (
        "column 'image', 1 row empty: row 4",
        "column 'case_id', 1 row empty: row 5",
        "column 'image', 1 row with a photo that an earlier row lists: row 3 '1.jpg'",
    )
    with pytest.raises(TableError, match="column 'label' must hold the photos' classes, got none"):
        read(tmp_path, "a", label=[" "] * 4)


def test_labels_in_two_spellings_are_told_where_nothing_names_the_classes(tmp_path):
    found = read(tmp_path, "mel", label=["mel", "MEL", "nv", "nv"])
    assert found.notes == ("The labels 'MEL' and 'mel' count as different classes, but may be one.",)
