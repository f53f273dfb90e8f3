"""A mended manifest has none of the audit's errors, keeps what was sound, and says what it changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinjax.data.mending import mend, paths_from, write_mended
from skinjax.data.photo_set import read_photos
from skinjax.data.split import kfold_by_case
from skinjax.labels.taxonomy import load_taxonomy
from tests.support.small_photos import write_photos


def texture(path: Path, seed: int) -> None:
    """A photo that looks like no other seed's."""
    coarse = np.random.default_rng(seed).integers(30, 220, (6, 6, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def messy(tmp_path):
    """Twenty photos of ten cases, and one of everything that an audit finds."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "classes.csv").write_text("kind,disease\nrash,eczema\nrash,lichen\n")
    rows = []
    for n in range(20):
        texture(folder / f"{n:02d}.png", n)
        rows.append(
            {"image": f"{n:02d}.png", "label": ("eczema", "lichen")[n // 2 % 2], "case_id": f"case {n // 2}"}
        )
    frame = pd.DataFrame(rows).assign(lesion_id=[str(n % 2) for n in range(20)], skin_tone="III")
    frame.loc[0, "label"] = "ECZEMA "
    frame.loc[2, "label"] = "lichenoid"  # no class
    (folder / "04.png").write_bytes((folder / "04.png").read_bytes()[:90])
    (folder / "06.png").unlink()
    shutil.copy(folder / "08.png", folder / "12.png")  # the same file, cases 4 and 6, one label
    shutil.copy(folder / "09.png", folder / "15.png")  # the same file, cases 4 and 7, two labels
    Image.eval(Image.open(folder / "16.png"), lambda value: value + 8).save(
        folder / "18.png"
    )  # cases 8 and 9
    frame = pd.concat([frame, frame.iloc[[19]]], ignore_index=True)  # listed twice
    frame.to_csv(folder / "manifest.csv")
    return folder


def test_what_is_mended_has_no_error_and_is_otherwise_what_it_was(messy):
    tree = load_taxonomy(messy / "classes.csv")
    photos = read_photos(messy / "manifest.csv", taxonomy=tree, inspect=True)
    report = photos.audit()
    assert report.num_errors >= 6
    mended = mend(photos.frame, report, tree)
    # By hand: gone are 02 (label), 04 and 06 (unreadable), 09 and 15 (two labels), 12 (copy of 08).
    left = [n for n in range(20) if n not in (2, 4, 6, 9, 15, 12)]
    assert mended.frame["image"].tolist() == [f"{n:02d}.png" for n in left]
    assert mended.frame["label"].tolist() == [("eczema", "lichen")[n // 2 % 2] for n in left]
    case = {n: n // 2 for n in left} | {13: 4, 14: 4, 18: 8, 19: 8}  # cases 6 and 7 are 4, and 9 is 8
    assert mended.frame["case_id"].tolist() == [f"case {case[n]}" for n in left]
    lesion = {n: str(n % 2) for n in left} | {13: "case 6:1", 14: "case 7:0", 18: "case 9:0", 19: "case 9:1"}
    assert mended.frame["lesion_id"].tolist() == [lesion[n] for n in left]
    assert mended.frame["skin_tone"].tolist() == [3] * len(left)
    write_mended(mended, messy / "mended.csv", messy)
    again = read_photos(messy / "mended.csv", taxonomy=tree)
    second = again.audit()
    assert second.num_errors == 0
    assert [kind for kind in second.counts if "across" in kind] == ["near_duplicate_across_labels"]
    assert mended.left == (
        "Left as found, for a person to decide: photos that look the same under several labels (1).",
    )
    assert mend(again.frame, second, tree).changes == ()
    assert len(kfold_by_case(again.labels, again.frame["case_id"], 2, seed=0)) == len(left)


def test_each_kind_of_change_is_one_sentence(messy):
    tree = load_taxonomy(messy / "classes.csv")
    photos = read_photos(messy / "manifest.csv", taxonomy=tree, inspect=True)
    changes = mend(photos.frame, photos.audit(), tree).changes
    assert sorted(changes) == sorted(
        [
            "Rows left out: column 'image', 1 row with a photo that an earlier row lists: row 22 '19.png'.",
            "A column only numbers the rows and is left out: without a name.",
            "Skin types such as 'III', read as 1 to 6: 21.",
            "Labels written as their class, of 1 photo: 'ECZEMA' taken for 'eczema' (1 photo).",
            "Left out: 2 photos that cannot be used (truncated 1, missing 1).",
            "Left out: 1 photo whose label is no disease of taxonomy 'classes' ('lichenoid').",
            "Cases whose photos look the same are one: 'case 6' into 'case 4', 'case 7' into 'case 4', 'case 9' into "
            "'case 8'.",
            "Left out: 2 photos whose file stands under several labels, of which not all can be right.",
            "Left out: 1 further copy of a file that is listed already.",
        ]
    )


def test_without_case_ids_none_are_made_up(tmp_path):
    write_photos(tmp_path, cases=2)
    frame = pd.read_csv(tmp_path / "manifest.csv").drop(columns="case_id")
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    photos = read_photos(tmp_path / "manifest.csv")
    mended = mend(photos.frame, photos.audit())
    assert "case_id" not in mended.frame
    assert "groups of near-duplicate photos will stand in for cases" in mended.changes[-1]


def test_a_manifest_of_nothing_usable_is_refused(tmp_path):
    (tmp_path / "manifest.csv").write_text("image,label\na.png,x\nb.png,y\n")
    photos = read_photos(tmp_path / "manifest.csv")
    with pytest.raises(
        ValueError, match=r"no photo of 2 is left: Left out: 2 photos that cannot be used \(missing 2\)"
    ):
        mend(photos.frame, photos.audit())


def test_paths_start_from_the_folder_of_the_mended_manifest(messy, tmp_path):
    assert paths_from(messy / "out.csv", messy) == ""
    assert paths_from(tmp_path / "out.csv", messy) == "photos/"
    assert paths_from(tmp_path / "elsewhere" / "out.csv", messy) is None
    photos = read_photos(messy / "manifest.csv", inspect=True)
    mended = mend(photos.frame, photos.audit())
    told = write_mended(mended, tmp_path / "out.csv", messy)
    assert told == f"The mended manifest lists {len(mended.frame)} photos: --manifest={tmp_path / 'out.csv'}"
    assert read_photos(tmp_path / "out.csv").audit().num_errors == 0
    (tmp_path / "elsewhere").mkdir()
    told = write_mended(mended, tmp_path / "elsewhere" / "out.csv", messy)
    assert told.endswith(f" --source={messy}")
    found = read_photos(tmp_path / "elsewhere" / "out.csv", source=messy)
    assert found.audit().num_errors == 0
