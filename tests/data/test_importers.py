"""Importers: small trees in the publishers' layouts, and the real tables."""

import pandas as pd
import pytest

from skinjax.data import importers
from skinjax.data.importers import (
    CountCheck,
    ImportReport,
    MissingPhoto,
    import_dataset,
    list_datasets,
    register_dataset,
)
from skinjax.data.manifest import as_manifest, read_manifest, write_manifest
from skinjax.data.tables import read_table
from skinjax.labels.taxonomy import load_taxonomy
from tests.support.commands import REPOSITORY

SHARED = REPOSITORY.parent / "shared" / "data"


def make(root, *files):
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


PAD_HEADER = "patient_id,lesion_id,smoke,age,gender,fitspatrick,region,diagnostic,img_id,biopsed,itch\n"
HAM_HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization"


def test_pad_ufes_20_in_the_publishers_layout(tmp_path):
    (tmp_path / "metadata.csv").write_text(
        PAD_HEADER
        + "PAT_1,7,,55,FEMALE,3.0,NECK,BCC,PAT_1_7_100.png,True,True\n"
        + "PAT_2,7,False,61,,,FACE,NEV,PAT_2_7_200.png,False,UNK\n"
        + "PAT_2,8,,61,MALE,2.0,FACE,ACK,PAT_2_8_300.png,False,True\n"
    )
    # The archives unpack to a folder of their own name inside one of the same name.
    make(tmp_path, "images/imgs_part_1/imgs_part_1/PAT_1_7_100.png", "imgs_part_3/PAT_2_7_200.png")
    frame, report = import_dataset("pad_ufes_20", tmp_path)
    assert frame.to_dict("records") == [
        {
            "image": "images/imgs_part_1/imgs_part_1/PAT_1_7_100.png",
            "label": "BCC",
            "case_id": "PAT_1",
            "lesion_id": "PAT_1/7",
            "skin_tone": 3,
            "sex": "female",
            "age": "55",
            "body_site": "neck",
            "source": "pad_ufes_20",
            "biopsed": "True",
            "smoke": "",
            "itch": "True",
        },
        {
            "image": "imgs_part_3/PAT_2_7_200.png",
            "label": "NEV",
            "case_id": "PAT_2",
            "lesion_id": "PAT_2/7",
            "skin_tone": None,
            "sex": "",
            "age": "61",
            "body_site": "face",
            "source": "pad_ufes_20",
            "biopsed": "False",
            "smoke": "False",
            "itch": "",
        },
    ]
    assert (report.rows, report.photos, report.cases) == (3, 2, 2)
    assert report.missing == (MissingPhoto("PAT_2_8_300.png"),)
    assert CountCheck("patients", 1373, 2) in report.counts
    assert CountCheck("label BCC", 845, 1) in report.counts
    assert not report.complete
    assert "1 of 2 lesion ids stand under more than one patient" in report.text()
    assert "photos: 3 found, 2,298 published" in report.text()


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("HAM10000_metadata.csv", ","), ("HAM10000_metadata", ","), ("HAM10000_metadata.tab", "\t")],
)
def test_ham10000_in_the_publishers_layouts(tmp_path, name, delimiter):
    lines = [
        HAM_HEADER + ",dataset",
        "HAM_0000118,ISIC_0027419,bkl,histo,80.0,male,scalp,vidir_modern",
        "HAM_0000118,ISIC_0025030,bkl,histo,,unknown,unknown,vidir_modern",
    ]
    (tmp_path / name).write_text("\n".join(lines).replace(",", delimiter))
    make(tmp_path, "HAM10000_images_part_1/ISIC_0027419.jpg", "HAM10000_images_part_2/ISIC_0025030.jpg")
    # Masks and the test photos of the challenge lie beside, and are not the data set's photos.
    make(tmp_path, "ISIC2018_Task3_Test_Images/ISIC_0027419.jpg")
    frame, report = import_dataset("ham10000", tmp_path)
    assert frame["image"].tolist() == [
        "HAM10000_images_part_1/ISIC_0027419.jpg",
        "HAM10000_images_part_2/ISIC_0025030.jpg",
    ]
    assert frame["case_id"].tolist() == ["HAM_0000118"] * 2
    assert frame["age"].tolist() == ["80", ""]
    assert frame["sex"].tolist() == ["male", ""]
    assert frame["body_site"].tolist() == ["scalp", ""]
    assert frame["dataset"].tolist() == ["vidir_modern"] * 2
    assert frame["dx_type"].tolist() == ["histo"] * 2
    assert report.cases == 1
    assert report.missing == ()


def test_fitzpatrick17k_lists_what_is_to_be_downloaded(tmp_path):
    (tmp_path / "fitzpatrick17k.csv").write_text(
        "md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,three_partition_label,qc,url,"
        "url_alphanum\n"
        "aa11,3,3,psoriasis,inflammatory,non-neoplastic,,https://atlas/1.jpg,httpsatlas1jpg.jpg\n"
        "bb22,-1,1,psoriasis,inflammatory,non-neoplastic,3 Wrongly labelled,https://atlas/2.jpg,httpsatlas2jpg.jpg\n"
        "cc33,6,6,acne,inflammatory,non-neoplastic,,https://atlas/3.jpg,httpsatlas3jpg.jpg\n"
    )
    make(tmp_path, "images/aa11.jpg", "images/httpsatlas2jpg.jpg")
    frame, report = import_dataset("fitzpatrick17k", tmp_path)
    assert frame["image"].tolist() == ["images/aa11.jpg", "images/httpsatlas2jpg.jpg"]
    assert frame["skin_tone"].tolist() == [3, pd.NA]
    assert "case_id" not in frame
    assert report.cases is None
    assert report.missing == (MissingPhoto("cc33.jpg", "https://atlas/3.jpg"),)
    assert "cc33.jpg https://atlas/3.jpg" in report.text()
    assert "1 rows are marked as wrongly labelled" in report.text()


ISIC_HEADER = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"


def test_isic2019_with_and_without_metadata(tmp_path):
    (tmp_path / "ISIC_2019_Training_GroundTruth.csv").write_text(
        ISIC_HEADER
        + "ISIC_0000000,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
        + "ISIC_0000001_downsampled,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
        + "ISIC_0000002,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0\n"
    )
    make(
        tmp_path,
        "ISIC_2019_Training_Input/ISIC_0000000.jpg",
        "ISIC_2019_Training_Input/ISIC_0000001_downsampled.jpg",
    )
    frame, report = import_dataset("isic2019", tmp_path)
    assert frame["label"].tolist() == ["NV", "MEL"]
    assert "case_id" not in frame
    assert any("1 rows marked UNK" in note for note in report.notes)
    (tmp_path / "ISIC_2019_Training_Metadata.csv").write_text(
        "image,age_approx,anatom_site_general,lesion_id,sex\n"
        "ISIC_0000001_downsampled,30.0,upper extremity,,female\n"
        "ISIC_0000000,55.0,anterior torso,BCN_0003884,male\n"
    )
    frame, report = import_dataset("isic2019", tmp_path)
    assert frame["case_id"].tolist() == ["BCN_0003884", "ISIC_0000001_downsampled"]
    assert frame["lesion_id"].tolist() == ["BCN_0003884", ""]
    assert frame["age"].tolist() == ["55", "30"]
    assert "1 photos have no lesion id; each is a case of its own." in report.notes


def test_folders_flat_with_split_and_nested(tmp_path):
    flat = tmp_path / "flat"
    make(flat, "b/2.JPG", "a/1.png", "a/notes.txt", "a/.hidden.png", "__MACOSX/a/1.png", "loose.png")
    frame, report = import_dataset("folders", flat)
    assert frame[["image", "label"]].to_numpy().tolist() == [["a/1.png", "a"], ["b/2.JPG", "b"]]
    assert report.taxonomy.levels == ("class",)
    assert "1 photos lie in no folder and were left out." in report.notes
    split = tmp_path / "split"
    make(split, "Train/a/1.png", "val/b/2.png", "test/a/3.png")
    frame, report = import_dataset("folders", split)
    assert dict(zip(frame["image"], frame["split"], strict=True)) == {
        "Train/a/1.png": "train",
        "val/b/2.png": "validation",
        "test/a/3.png": "test",
    }
    assert report.taxonomy.classes() == ("a", "b")
    nested = tmp_path / "nested"
    make(nested, "inflammatory/psoriasis/1.png", "inflammatory/eczema/1.png", "vascular/purpura/1.png")
    frame, report = import_dataset("folders", nested)
    assert report.taxonomy.levels == ("meta", "sub")
    assert report.taxonomy.parents("sub", "meta").tolist() == [0, 0, 1]
    assert sorted(frame["label"]) == ["eczema", "psoriasis", "purpura"]
    write_manifest(frame, nested / "manifest.csv")
    pd.testing.assert_frame_equal(read_manifest(nested / "manifest.csv", report.taxonomy), frame)


@pytest.mark.parametrize(
    ("dataset", "files", "message"),
    [
        ("folders", {}, "photos in folders named after classes"),
        (
            "folders",
            {"a/1.png": "", "b/c/2.png": ""},
            "of one depth, got .* with some such as 'a' and 'b/c'",
        ),
        (
            "folders",
            {"a/x/1.png": "", "b/x/2.png": ""},
            "form a taxonomy, got .*'x' of level 'sub' has the parents",
        ),
        ("ham10000", {}, "source of ham10000 must hold its table HAM10000_metadata.csv or"),
        (
            "pad_ufes_20",
            {"metadata.csv": "patient_id\nx\n"},
            "no column 'img_id', which the publisher's table has",
        ),
        (
            "ham10000",
            {"HAM10000_metadata.csv": HAM_HEADER + "\na,b,NV,c,1,d,e\n"},
            "'NV' .*did you mean 'nv'",
        ),
        (
            "isic2019",
            {"ISIC_2019_Training_GroundTruth.csv": ISIC_HEADER + "a,1,1,0,0,0,0,0,0,0\nb,,0,0,0,0,0,0,0,0\n"},
            "2 rows that must hold one 1 among 0s: row 2, row 3",
        ),
        (
            "imagenet",
            {},
            "dataset must be one of pad_ufes_20, ham10000, fitzpatrick17k, isic2019, folders, got",
        ),
    ],
)
def test_what_is_refused(tmp_path, dataset, files, message):
    for name, text in files.items():
        make(tmp_path, name)
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        import_dataset(dataset, tmp_path)


def import_clinic(source):
    """As the package's docstring has it."""
    table = read_table(source / "clinic.csv").frame
    taxonomy = load_taxonomy(source / "classes.csv")
    frame = table.rename(columns={"file": "image", "diagnosis": "label", "patient": "case_id"})
    there = [(source / name).is_file() for name in frame["image"]]
    manifest = as_manifest(frame[there].assign(source="clinic"), taxonomy)
    report = ImportReport("clinic", taxonomy, len(frame), len(manifest), manifest["case_id"].nunique())
    return manifest, report


def test_a_registered_data_set_is_taken_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(importers, "_IMPORTERS", dict(importers._IMPORTERS))
    before = list_datasets()
    register_dataset("clinic", import_clinic)
    assert list_datasets() == (*before, "clinic")
    make(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "classes.csv").write_text("meta,sub\nbenign,naevus\nmalignant,melanoma\n")
    table = "file,diagnosis,patient\na.jpg,naevus,007\nb.jpg,melanoma,7\nc.jpg,naevus,8\n"
    (tmp_path / "clinic.csv").write_text(table)
    frame, report = import_dataset("clinic", tmp_path)
    assert frame["case_id"].tolist() == ["007", "7"]
    assert frame["label"].tolist() == ["naevus", "melanoma"]
    assert report.text() == "clinic: 2 photos of 3 rows, 2 cases"
    for name in ("clinic", "ham10000", ""):
        with pytest.raises(
            ValueError, match=rf"name must be none of pad_ufes_20, .*clinic and not empty, got '{name}'"
        ):
            register_dataset(name, import_clinic)
    with pytest.raises(ValueError, match=r"dataset must be one of pad_ufes_20, .*clinic, got 'imagenet'"):
        import_dataset("imagenet", tmp_path)


def test_source_must_be_a_folder(tmp_path):
    for name in list_datasets():
        with pytest.raises(ValueError, match=f"source of {name} must be a folder"):
            import_dataset(name, tmp_path / "none")


def real(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs the files of {name}, kept outside the repository")
    return import_dataset(name, SHARED / name)


def test_real_pad_ufes_20():
    frame, report = real("pad_ufes_20")
    assert (report.rows, report.photos) == (1974, 575)
    assert len(report.missing) == 1974 - 575
    assert (frame["image"].str.startswith("images/")).all()
    assert frame.groupby("lesion_id")["case_id"].nunique().max() == 1
    found = {check.what: check.found for check in report.counts}
    assert found["lesion ids"] < len(set(frame["lesion_id"])) + len(report.missing)
    assert all(check.found < check.published for check in report.counts)
    assert sum(check.published for check in report.counts if check.what.startswith("label ")) == 2298


def test_real_ham10000():
    frame, report = real("ham10000")
    assert (report.rows, report.photos, report.cases) == (8625, 8625, 6429)
    assert report.missing == ()
    assert frame.groupby("case_id")["label"].nunique().max() == 1
    assert sum(check.published for check in report.counts if check.what.startswith("label ")) == 10015


def test_real_fitzpatrick17k_meets_every_published_count():
    frame, report = real("fitzpatrick17k")
    assert len(frame) == 0
    assert len(report.missing) == report.rows == 16577
    assert all(check.found == check.published for check in report.counts)
    assert sum(photo.url == "" for photo in report.missing) == 41
    assert "all 9 published counts are met" in report.text()


def test_real_isic2019_meets_every_published_count():
    _, report = real("isic2019")
    assert report.rows == 25331
    assert all(check.found == check.published for check in report.counts)
    assert sum(check.published for check in report.counts if check.what.startswith("label ")) == 25331
