"""Spreadsheets as their users keep them: one map each makes them the plain manifest, or the plain predictions."""

from __future__ import annotations

import io
import logging
import re
import sys

import numpy as np
import pandas as pd
import pytest

from skinjax.data.column_names import ColumnNames
from skinjax.data.evaluation_data import EvaluationDataError, read_evaluation_data
from skinjax.data.invented import invent_predictions
from skinjax.data.manifest import ManifestError, fingerprint, read_manifest
from skinjax.data.photo_set import read_photos
from skinjax.data.tables import read_table
from skinjax.labels.taxonomy import Taxonomy

TREE = Taxonomy(
    "clinic",
    ("group", "disease"),
    (("tumour", "basal_cell_carcinoma"), ("tumour", "Melanoma, NOS"), ("rash", "Nævus")),
    titles=(("basal_cell_carcinoma", "Basalioma"),),
)
ROMAN = {"1": "I", "2": "ii", "3": "III", "4": "Type IV", "5": "FST V", "6": "VI", "": ""}
NAMES = {"image": "Filename", "label": "Diagnosis", "case_id": "Patient ID", "skin_tone": "Fitzpatrick"}
MAP = tuple(f"{name}={own}" for name, own in NAMES.items())


def plain() -> pd.DataFrame:
    """The manifest as the contract has it, all text."""
    rng = np.random.default_rng(0)
    labels = [TREE.classes()[i % 3] for i in range(30)]
    return pd.DataFrame(
        {
            "image": [f"ward {i % 2}/photo_{i:03d}.jpg" for i in range(30)],
            "label": labels,
            "case_id": [f"{i // 2:04d}" for i in range(30)],
            "skin_tone": [*map(str, rng.integers(1, 7, 28)), "", ""],
            "age": [f"{20 + i}" for i in range(30)],
            "Doctor": [f"Dr {'AB'[i % 2]}" for i in range(30)],
        }
    )


def own_names(frame: pd.DataFrame, names=NAMES) -> pd.DataFrame:
    return frame.rename(columns=names)


def other_spellings(frame: pd.DataFrame) -> pd.DataFrame:
    """Every second label in other letters, as people type them."""
    typed = {
        "basal_cell_carcinoma": "Basal  cell CARCINOMA ",
        "Melanoma, NOS": "melanoma, nos",
        "Nævus": "NÆVUS",
    }
    odd = np.arange(len(frame)) % 2 == 1
    return frame.assign(label=frame["label"].where(~odd, frame["label"].map(typed)))


def csv(frame: pd.DataFrame, path, **how) -> None:
    frame.to_csv(path, index=how.pop("index", False), **how)


def excel(frame: pd.DataFrame, path, index=False) -> None:
    """As Excel saves it: numbers are numbers, and a legend stands on a second sheet."""
    typed = frame.assign(age=frame["age"].astype(int))
    with pd.ExcelWriter(path, engine="openpyxl") as book:
        typed.to_excel(book, sheet_name="Photos", index=index)
        pd.DataFrame({"word": ["BCC"]}).to_excel(book, sheet_name="Legend", index=index)


def everything(frame: pd.DataFrame, folder, path) -> None:
    frame = other_spellings(frame.assign(skin_tone=frame["skin_tone"].map(ROMAN)))
    paths = [
        f"{folder}/{image}" if i % 3 else image.replace("/", "\\") for i, image in enumerate(frame["image"])
    ]
    excel(own_names(frame.assign(image=paths)), path, index=True)


# What is in the file, as (frame, folder of the photos, path) write it, its ending and its map.
SPREADSHEETS = {
    "names of its own": (lambda f, d, p: csv(own_names(f), p), "csv", MAP),
    "names in other letters, semicolons, a byte order mark": (
        lambda f, d, p: csv(own_names(f), p, sep=";", encoding="utf-8-sig"),
        "csv",
        [entry.replace("Patient ID", "patient id") for entry in MAP],
    ),
    "a name with a comma": (
        lambda f, d, p: csv(own_names(f, NAMES | {"label": "Diagnosis, final"}), p),
        "csv",
        ["image=Filename", 'label="Diagnosis', 'final"', *MAP[2:]],  # as a flag parts it
    ),
    "Excel": (lambda f, d, p: excel(own_names(f), p), "xlsx", MAP),
    "Excel with an index": (lambda f, d, p: excel(own_names(f), p, index=True), "xlsx", MAP),
    "an unnamed index": (lambda f, d, p: csv(own_names(f), p, index=True), "csv", MAP),
    "an index that was read and written again": (
        lambda f, d, p: csv(pd.read_csv(io.StringIO(own_names(f).to_csv()), dtype=str), p),
        "csv",
        MAP,
    ),
    "roman skin types": (
        lambda f, d, p: csv(own_names(f.assign(skin_tone=f["skin_tone"].map(ROMAN))), p), "csv", MAP,
    ),
    "absolute paths": (lambda f, d, p: csv(own_names(f.assign(image=f"{d}/" + f["image"])), p), "csv", MAP),
    "backslashes": (
        lambda f, d, p: csv(own_names(f.assign(image=".\\" + f["image"].str.replace("/", "\\"))), p), "csv", MAP,
    ),
    "labels in other spellings": (lambda f, d, p: csv(own_names(other_spellings(f)), p), "csv", MAP),
    "two columns that might be the label": (
        lambda f, d, p: csv(own_names(f).assign(label="to be read by nobody"), p), "csv", MAP,
    ),
    "all of it": (everything, "xlsx", MAP),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPREADSHEETS)
def test_one_map_makes_a_spreadsheet_the_plain_manifest(tmp_path, kind):
    write, ending, names = SPREADSHEETS[kind]
    csv(plain(), tmp_path / "plain.csv")
    plain_read = read_photos(tmp_path / "plain.csv", taxonomy=TREE)
    write(plain(), tmp_path, tmp_path / f"Lesions 2024.{ending}")
    found = read_photos(tmp_path / f"Lesions 2024.{ending}", taxonomy=TREE, map=names)
    pd.testing.assert_frame_equal(found.frame, plain_read.frame)
    assert found.fingerprint == plain_read.fingerprint == fingerprint(plain_read.frame)
    assert found.root == plain_read.root
    assert found.origin["map"]
    assert not plain_read.origin["map"]


def test_a_manifest_without_cases_is_read_by_the_same_map(tmp_path):
    csv(own_names(plain().drop(columns="case_id")), tmp_path / "m.csv")
    names = [entry for entry in MAP if not entry.startswith("case_id")]
    assert not read_photos(tmp_path / "m.csv", taxonomy=TREE, map=names).has_cases
    csv(plain().rename(columns={"case_id": "Case ID"}), tmp_path / "m.csv")
    with pytest.raises(
        ManifestError, match="no column 'case_id', but one 'Case ID'; name it by map=case_id=Case ID"
    ):
        read_photos(tmp_path / "m.csv", taxonomy=TREE)


def test_photos_may_lie_elsewhere_than_their_spreadsheet(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "papers").mkdir()
    frame = plain()
    csv(frame.assign(image=f"{tmp_path / 'photos'}/" + frame["image"]), tmp_path / "papers" / "m.csv")
    found = read_photos(tmp_path / "papers" / "m.csv", source=tmp_path / "photos", taxonomy=TREE)
    assert found.root == tmp_path / "photos"
    assert found.frame["image"].tolist() == frame["image"].tolist()
    with pytest.raises(
        ManifestError, match=rf"30 rows with an absolute path.*{tmp_path / 'papers'} \(source=FOLDER"
    ):
        read_photos(tmp_path / "papers" / "m.csv", taxonomy=TREE)
    with pytest.raises(ValueError, match=r"source=.*nowhere must be the folder of the manifest's photos"):
        read_photos(tmp_path / "papers" / "m.csv", source=tmp_path / "nowhere", taxonomy=TREE)


def test_each_label_in_another_spelling_is_told_once(tmp_path, caplog):
    csv(other_spellings(plain()), tmp_path / "m.csv")
    found = read_photos(tmp_path / "m.csv", taxonomy=TREE)
    told = [one for one in found.findings if one.kind == "label_resolved"]
    assert [one.message for one in told] == [
        "has the label 'melanoma, nos', which is taken for 'Melanoma, NOS' (5 photos)",
        "has the label 'Basal  cell CARCINOMA', which is taken for 'basal_cell_carcinoma' (5 photos)",
        "has the label 'NÆVUS', which is taken for 'Nævus' (5 photos)",
    ]
    for one in told:
        images = [one.image, *one.others]
        assert images[0] == found.frame["image"][one.row - 2]  # the header is row 1
        assert len(images) == 5
    assert len(found.notes) == 1
    assert caplog.text.count("were resolved") == 1


def test_a_class_goes_by_its_title_too_but_not_by_the_spelling_of_two(tmp_path):
    (tmp_path / "m.csv").write_text("image,label\na,BASALIOMA\n")
    assert read_manifest(tmp_path / "m.csv", TREE)["label"].tolist() == ["basal_cell_carcinoma"]
    twins = Taxonomy("twins", ("c",), (("a_b",), ("A b",), ("x",)))
    (tmp_path / "m.csv").write_text("image,label\na,A B\nb,A b\n")
    with pytest.raises(ManifestError, match="row 2 'A B'"):
        read_manifest(tmp_path / "m.csv", twins)


def test_without_a_taxonomy_the_commonest_spelling_is_the_class(tmp_path):
    (tmp_path / "m.csv").write_text("image,label\na,nevus\nb,Nevus\nc,Nevus \nd,wart\n")
    found = read_photos(tmp_path / "m.csv")
    assert found.frame["label"].tolist() == ["Nevus", "Nevus", "Nevus", "wart"]
    assert found.taxonomy.classes() == ("Nevus", "wart")
    assert "'nevus' taken for 'Nevus' (1 photo)" in found.notes[0]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["Filename"], "map=Filename must be NAME=COLUMN, such as image=Filename"),
        (["image="], "map=image= must be NAME=COLUMN"),
        (["imgae=File"], "got 'imgae'; did you mean image=File?"),
        (["Diagnosis=label"], "got 'Diagnosis'; did you mean label=Diagnosis?"),
        (["image=a", "image=b"], "map=image=b names 'image' twice, before as 'a'"),
    ],
)
def test_maps_that_say_nothing_are_refused(entries, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ColumnNames.of(entries)


def test_a_name_that_the_table_lacks_is_told_with_those_that_it_has(tmp_path):
    csv(own_names(plain()), tmp_path / "m.csv")
    with pytest.raises(ManifestError) as caught:
        read_photos(tmp_path / "m.csv", map={"image": "Filenames", "label": "Diagnoses"})
    assert caught.value.problems == (
        "map=image=Filenames: no column 'Filenames', but one 'Filename'; the columns are 'Filename', 'Diagnosis', "
        "'Patient ID', 'Fitzpatrick', 'age', 'Doctor'",
        "map=label=Diagnoses: no column 'Diagnoses', but one 'Diagnosis'; the columns are 'Filename', 'Diagnosis', "
        "'Patient ID', 'Fitzpatrick', 'age', 'Doctor'",
    )
    with pytest.raises(
        ValueError, match=r"map=image=x must be given with manifest=FILE, got dataset=ham10000"
    ):
        read_photos(dataset="ham10000", source="x", map={"image": "x"})


def test_one_column_may_serve_twice(tmp_path):
    csv(own_names(plain()).drop(columns="Patient ID"), tmp_path / "m.csv")
    frame = read_manifest(
        tmp_path / "m.csv", map={"image": "Filename", "case_id": "Filename", "label": "Diagnosis"}
    )
    assert frame["case_id"].tolist() == frame["image"].tolist()


def test_of_several_sheets_the_first_is_read_and_the_others_are_named(tmp_path, caplog):
    excel(plain(), tmp_path / "m.xlsx")
    read_manifest(tmp_path / "m.xlsx", TREE)
    assert "m.xlsx: of 2 sheets the first, 'Photos', is read, and not 'Legend'" in caplog.text
    with pd.ExcelWriter(tmp_path / "other.xlsx", engine="openpyxl") as book:
        pd.DataFrame({"word": ["BCC"]}).to_excel(book, sheet_name="Legend", index=False)
        plain().to_excel(book, sheet_name="Photos", index=False)
    with pytest.raises(
        ManifestError, match=r"no column 'image'.*of 2 sheets the first, 'Legend', is read, and not 'Ph"
    ):
        read_manifest(tmp_path / "other.xlsx", TREE)


def test_a_workbook_is_known_by_its_content_whatever_its_name(tmp_path):
    excel(plain(), tmp_path / "m.xlsx")
    (tmp_path / "m.xlsx").rename(tmp_path / "m.csv")
    assert len(read_manifest(tmp_path / "m.csv", TREE)) == len(plain())


def test_a_workbook_without_openpyxl_is_refused_with_the_command_that_installs_it(tmp_path, monkeypatch):
    excel(plain(), tmp_path / "m.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(
        ManifestError, match=r"which openpyxl reads; pip install 'skinjax\[excel\]', or open it, save it"
    ):
        read_manifest(tmp_path / "m.xlsx", TREE)


def test_what_a_workbook_s_cells_hold_becomes_the_text_that_they_show(tmp_path):
    import datetime

    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["image", "share", "count", "seen", "sure", "missing", "formula", None])
    day, hour = datetime.datetime(2024, 5, 1), datetime.datetime(2024, 5, 1, 12, 30)
    book.active.append(["a\nb.png", 0.125, 7.0, day, True, "#N/A", "=1+1", None])
    book.active.append([None] * 8)
    book.active.append(["007", 1, 1e20, hour, False, None, None, None])
    book.save(tmp_path / "m.xlsx")
    table = read_table(tmp_path / "m.xlsx")
    assert table.rows.tolist() == [2, 4]
    assert table.frame.to_dict("list") == {
        "image": ["a\nb.png", "007"],
        "share": ["0.125", "1"],
        "count": ["7", "1e+20"],
        "seen": ["2024-05-01", "2024-05-01T12:30:00"],
        "sure": ["True", "False"],
        "missing": ["", ""],
        "formula": ["", ""],  # a formula that no program has worked out yet
    }


# ------------------------------------------------------------------------------------------------- predictions

NINE = Taxonomy("nine", ("disease",), (("psoriasis",), ("basal_cell_carcinoma",), ("Nævus",)))
OURS = {"image": "File", "case_id": "Patient", "label": "Truth", "sex": "Gender"}


def predictions() -> pd.DataFrame:
    (frame,) = invent_predictions(NINE, 20)
    return frame.assign(sex=["female", "male"] * (len(frame) // 2) + ["male"] * (len(frame) % 2))


def renamed(frame: pd.DataFrame, prefix="prob_") -> pd.DataFrame:
    columns = {name: prefix + name.removeprefix("p_") for name in frame if name.startswith("p_")}
    return frame.rename(columns=OURS | columns)


def spelled(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.assign(label=frame["label"].str.replace("_", " ").str.upper())
    return frame.rename(columns={"p_basal_cell_carcinoma": "p_Basal cell carcinoma", "p_Nævus": "p_nævus"})


TABLES = {
    "names of its own": (lambda f, p: csv(renamed(f), p), "csv"),
    "Excel": (lambda f, p: renamed(f).to_excel(p, index=False), "xlsx"),
    "Excel with an index": (lambda f, p: renamed(f).to_excel(p), "xlsx"),
    "an unnamed index": (lambda f, p: csv(renamed(f), p, index=True), "csv"),
    "Parquet": (lambda f, p: renamed(f).to_parquet(p), "parquet"),
    "decimal commas": (lambda f, p: csv(renamed(f), p, sep=";", decimal=","), "csv"),
    "other spellings": (lambda f, p: csv(renamed(spelled(f)), p), "csv"),
    "backslashes": (lambda f, p: csv(renamed(f.assign(image=f["image"].str.replace("/", "\\"))), p), "csv"),
    "absolute paths": (lambda f, p: csv(renamed(f.assign(image=f"{p.parent}/" + f["image"])), p), "csv"),
    "roman skin types": (
        lambda f, p: csv(renamed(f.assign(skin_tone=f["skin_tone"].astype(str).map(ROMAN))), p), "csv",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLES)
def test_one_map_and_a_prefix_make_a_table_the_plain_predictions(tmp_path, kind):
    frame = predictions()
    csv(frame, tmp_path / "plain.csv")
    plain_read = read_evaluation_data({"model": tmp_path / "plain.csv"}, NINE)
    write, ending = TABLES[kind]
    path = tmp_path / f"theirs.{ending}"
    write(frame, path)
    names = ColumnNames.of(OURS, "prob_")
    found = read_evaluation_data({"model": path}, NINE, names=names)
    pd.testing.assert_frame_equal(found.models["model"], plain_read.models["model"])
    assert found.subgroups == plain_read.subgroups


def test_several_files_need_the_names_that_they_have(tmp_path):
    frame = predictions()
    csv(renamed(frame), tmp_path / "a.csv")
    csv(frame, tmp_path / "b.csv")
    paths = {"a": tmp_path / "a.csv", "b": tmp_path / "b.csv"}
    found = read_evaluation_data(paths, NINE, names=ColumnNames.of(OURS, "prob_"))
    first, second = (
        found.models[name].drop(columns="age") for name in "ab"
    )  # years of the first are numbers
    pd.testing.assert_frame_equal(first, second)
    with pytest.raises(
        EvaluationDataError, match="prefix=chance_: no column begins with it; the columns are"
    ):
        read_evaluation_data({"a": tmp_path / "a.csv"}, NINE, names=ColumnNames.of(OURS, "chance_"))


def test_predictions_without_cases_take_photos_one_by_one_and_say_so(tmp_path, caplog):
    frame = predictions()
    csv(frame.drop(columns="case_id"), tmp_path / "a.csv")
    found = read_evaluation_data({"a": tmp_path / "a.csv"}, NINE)
    assert found.models["a"]["case_id"].tolist() == frame["image"].tolist()
    (note,) = found.notes
    assert note.startswith(
        "The table has no column case_id: each photo counts by itself, so that intervals are too"
    )
    assert note in caplog.text
    # Of two models, those that one knows serve the other.
    csv(frame, tmp_path / "b.csv")
    caplog.clear()
    both = read_evaluation_data({"a": tmp_path / "a.csv", "b": tmp_path / "b.csv"}, NINE)
    assert caplog.messages == [
        f"{tmp_path / 'a.csv'}: the table has no column case_id: the cases are those of {tmp_path / 'b.csv'}"
    ]
    assert both.models["a"]["case_id"].tolist() == frame["case_id"].tolist()
    assert both.notes == ("The cases of model 'a', which has none, are those of 'b'.",)


def test_labels_that_were_resolved_are_told_beside_the_results(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    frame = spelled(predictions())
    csv(frame, tmp_path / "a.csv")
    (note,) = read_evaluation_data({"a": tmp_path / "a.csv"}, NINE).notes
    count = int((frame["label"] == "PSORIASIS").sum())
    assert f"'PSORIASIS' ({count}) taken for 'psoriasis'" in note
    assert "column 'p_Basal cell carcinoma' taken for 'p_basal_cell_carcinoma'" in note


def test_paths_of_another_computer_are_found_by_their_end(tmp_path):
    """The longest end that is a photo below the folder counts; a path whose end is none stays a fault."""
    for name in ("1.jpg", "photos/1.jpg", "photos/2.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    frame = pd.DataFrame(
        {
            "image": ["C:\\Users\\clinic\\photos\\1.jpg", "/old/disk/photos/2.jpg", "D:\\1.jpg", "E:\\3.jpg"],
            "label": "Nævus",
        }
    )
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(ManifestError, match=re.escape("row 5 'E:/3.jpg'")) as refused:
        read_manifest(tmp_path / "manifest.csv")
    assert len(refused.value.problems) == 1
    frame[:3].to_csv(tmp_path / "manifest.csv", index=False)
    assert read_manifest(tmp_path / "manifest.csv")["image"].tolist() == [
        "photos/1.jpg",
        "photos/2.jpg",
        "1.jpg",
    ]


def test_paths_never_lead_out_of_the_folder_by_their_end(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"")
    (tmp_path / "study").mkdir()
    frame = pd.DataFrame({"image": ["C:\\x\\..\\secret.jpg", "/y/../../secret.jpg"], "label": "Nævus"})
    frame.to_csv(tmp_path / "study" / "manifest.csv", index=False)
    with pytest.raises(ManifestError) as refused:
        read_manifest(tmp_path / "study" / "manifest.csv")
    assert sum("2 rows" in problem or "1 row" in problem for problem in refused.value.problems) >= 1


def test_a_refused_table_says_what_mends_it(tmp_path):
    pd.DataFrame({"image": ["a.jpg", "b.jpg"], "label": ["x", ""]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ManifestError, match=r"row 3\n.*skinjax audit.*--fix=mended.csv") as refused:
        read_photos(tmp_path / "t.csv")
    assert refused.value.problems == ("column 'label', 1 row empty: row 3",)
    pd.DataFrame({"image": ["a.jpg"], "diagnosis": ["x"]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ManifestError) as refused:  # an audit cannot read it either
        read_photos(tmp_path / "t.csv")
    assert "--fix" not in str(refused.value)
