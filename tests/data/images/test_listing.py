"""Folders of photos: nothing is passed over without a word, and a name that is nearly there is named."""

from __future__ import annotations

import logging
import unicodedata

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinjax.data.audit import audit_manifest
from skinjax.data.images.headers import FORMATS
from skinjax.data.images.listing import ENDINGS, list_photos
from skinjax.data.images.photos import PhotoError, decode
from skinjax.data.importers import import_dataset
from skinjax.data.photo_set import read_photos
from skinjax.predict.reading import find_photos


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def tree(tmp_path):
    """Two classes with photos, one of camera files alone, one linked, one empty."""
    root = tmp_path / "photos"
    make(root, "a/1.jpg", "a/2.JFIF", "a/3.heic", "a/notes.txt", "a/4.CR2", "b/1.dcm", "b/x/2.png")
    make(root, "c/1.cr2", "c/2", "a/.hidden.png", "a/Thumbs.db", "__MACOSX/a/1.jpg", ".git/1.jpg")
    (root / "empty").mkdir()
    make(tmp_path / "elsewhere", "5.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "a" / "6.png").symlink_to(tmp_path / "elsewhere" / "5.png")
    return root


def test_what_is_passed_over_is_named_and_counted(tree):
    listing = list_photos(tree)
    assert listing.photos == ("a/1.jpg", "a/2.JFIF", "a/3.heic", "a/6.png", "b/1.dcm", "b/x/2.png")
    assert listing.passed == ("a/4.CR2", "a/notes.txt", "c/1.cr2", "c/2")
    assert listing.links == ("linked",)
    assert listing.bare == ("c", "empty")
    passed, links, bare = listing.told()
    assert passed == (
        "4 files are not called like a photo and passed over: 2 .cr2 (such as a/4.CR2), 1 .txt (such as a/notes.txt), "
        "1 without an ending (such as c/2)."
    )
    assert links.startswith("1 folder is not followed, being a link")
    assert links.endswith(": linked.")
    assert bare == "2 folders are without a photo: c, empty."


@pytest.mark.parametrize("ending", sorted(ending for endings in FORMATS.values() for ending in endings))
def test_prediction_and_import_take_the_same_formats(tmp_path, ending):
    assert ending in ENDINGS
    make(tmp_path, f"x/a{ending}", f"y/b{ending.upper()}")
    found, passed = find_photos([tmp_path])
    assert ([path.name for path in found], passed) == ([f"a{ending}", f"b{ending.upper()}"], 0)
    frame, report = import_dataset("folders", tmp_path)
    assert frame["label"].tolist() == ["x", "y"]
    assert len(report.notes) == 1  # that there are no cases


def test_prediction_and_import_tell_the_same(tree, caplog):
    sentences = list_photos(tree).told()
    with caplog.at_level(logging.WARNING):
        found, passed = find_photos([tree])
    assert (len(found), passed) == (6, 4)
    assert all(sentence in caplog.text for sentence in sentences)
    caplog.clear()
    (tree / "b" / "x" / "2.png").unlink()  # classes of one depth
    with caplog.at_level(logging.WARNING):
        frame, report = import_dataset("folders", tree)
    assert sorted(set(frame["label"])) == ["a", "b"]
    for sentence in list_photos(tree).told():
        assert sentence in report.notes
        assert sentence in caplog.text


def test_a_folder_without_photos_says_what_is_there(tmp_path):
    make(tmp_path, "c/1.cr2")
    for read in (lambda: find_photos([tmp_path]), lambda: import_dataset("folders", tmp_path)):
        with pytest.raises(
            ValueError, match=r"1 file is not called like a photo.*1 \.cr2 \(such as c/1\.cr2\)"
        ):
            read()


def test_published_sets_tell_links_where_photos_are_missing(tmp_path):
    make(tmp_path, "source/images/1.jpg")
    (tmp_path / "source" / "images" / "more").symlink_to(tmp_path, target_is_directory=True)
    header = "image_id,lesion_id,dx,dx_type,age,sex,localization\n"
    rows = "".join(f"{n},l{n},nv,histo,50,male,back\n" for n in (1, 2))
    (tmp_path / "source" / "HAM10000_metadata.csv").write_text(header + rows)
    frame, report = import_dataset("ham10000", tmp_path / "source")
    assert len(frame) == 1
    assert "linked folders are not followed: images/more." in report.notes


def test_a_name_in_other_case_or_form_is_named(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    (tmp_path / "Photos").mkdir()
    for name in ("A.JPG", decomposed):
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "Photos" / name, "PNG")
    for asked, hint in (
        ("Photos/a.jpg", "does not exist, but there is 'A.JPG'"),
        ("photos/A.JPG", "does not exist, but there is 'Photos'"),
        (
            f"Photos/{composed}",
            "does not exist, but there is the same name in another Unicode form, 'e\\u0301.png'",
        ),
        ("Photos/b.jpg", "does not exist"),
        ("none/at/all.jpg", "does not exist"),
    ):
        with pytest.raises(PhotoError) as caught:
            decode(tmp_path / asked)
        assert (caught.value.kind, caught.value.reason) == ("missing", hint)


def test_labels_in_two_spellings_are_told_where_no_taxonomy_decides(tmp_path, caplog):
    path = tmp_path / "manifest.csv"
    path.write_text("image,label,case_id\n1.png,Naevus,1\n2.png,nevus,2\n3.png,wart,3\n")
    with caplog.at_level(logging.WARNING):
        (note,) = read_photos(path).notes
    assert note == "The labels 'Naevus' and 'nevus' count as different classes, but may be one."
    assert note in caplog.text
    path.write_text("image,label,case_id\n1.png,nevus,1\n3.png,wart,3\n")
    assert read_photos(path).notes == ()


def test_spellings_are_findings_of_the_audit(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    frame = pd.DataFrame(
        {
            "image": ["1.png", "2.png", composed, decomposed, "x.png", "X.png"],
            "label": ["Nevus", "nevus", "BCC", "Basal cell carcinoma", "wart", "wart"],
            "case_id": ["P1", "p1", "02", "2", "9", "10"],
        }
    )
    report = audit_manifest(frame, tmp_path)
    found = {(one.kind, one.row): one.message for one in report.findings if one.kind.endswith("spellings")}
    assert sorted(found) == [
        ("case_id_spellings", 2),
        ("case_id_spellings", 4),
        ("image_name_spellings", 4),
        ("image_name_spellings", 6),
        ("label_spellings", 2),
        ("label_spellings", 4),
    ]
    assert "'Nevus' (1), 'nevus' (1)" in found["label_spellings", 2]
    assert "'BCC' (1), 'Basal cell carcinoma' (1)" in found["label_spellings", 4]
    assert "\\u0301" in found["image_name_spellings", 4]
