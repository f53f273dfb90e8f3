"""The same small table in every kind of file that people save, read by each reader of tables."""

from __future__ import annotations

import gzip
import io
import logging
import re
import unicodedata
import zipfile

import openpyxl
import pandas as pd
import pytest

from skinjax.data.degrees import read_degrees
from skinjax.data.evaluation_data import compare_photos
from skinjax.data.features import FeaturesError, read_features
from skinjax.data.manifest import (
    ManifestError,
    as_manifest,
    inspect_manifest,
    read_manifest,
    write_manifest,
)
from skinjax.data.prediction_checks import problems
from skinjax.data.predictions import read_predictions, read_unchecked
from skinjax.data.readers import ReadersError, read_readers
from skinjax.data.spelling import alike_ids, alike_labels, id_key
from skinjax.data.tables import read_table
from skinjax.labels.matching import load_matching
from skinjax.labels.taxonomy import Taxonomy, catalogue, load_taxonomy

TREE = Taxonomy("pair", ("class",), (("Melanoma, NOS",), ("nævus",)))

TABLES = {
    "manifest": [["image", "label", "case_id"], ["a.png", "nævus", "1"], ["b.png", "Melanoma, NOS", "007"]],
    "predictions": [
        ["image", "case_id", "label", "p_Melanoma, NOS", "p_nævus"],
        ["a.png", "1", "nævus", "0.25", "0.75"],
        ["b.png", "007", "Melanoma, NOS", "0.5", "0.5"],
    ],
    "taxonomy": [["meta", "class"], ["malignant", "Melanoma, NOS"], ["benign", "nævus"]],
    "degrees": [["class", "degree"], ["nævus", "0"], ["Melanoma, NOS", "1"]],
    "readers": [["reader", "image", "call"], ["Dr Ä", "a.png", "0"], ["Dr Ä", "b.png", "1"]],
}


def what(table, path):
    """What a reader makes of a file, in a form that can be compared."""
    if table == "manifest":
        return read_manifest(path, TREE).to_dict("list")
    if table == "predictions":
        return read_predictions(path).to_dict("list")
    if table == "taxonomy":
        return load_taxonomy(path).paths
    if table == "degrees":
        return read_degrees(path, TREE)
    return read_readers(path, ["a.png", "b.png"]).to_dict("list")


def text_of(rows, delimiter=",", end="\n", quote=False, pad=""):
    def cell(text):
        text = f"{pad}{text}{pad}"
        return f'"{text}"' if quote or delimiter in text else text

    return "".join(delimiter.join(map(cell, row)) + end for row in rows)


def commas(rows):
    return [[cell.replace(".", ",") if cell.startswith("0.") else cell for cell in row] for row in rows]


def excel(rows, *others):
    """An Excel workbook as its users save it: numbers are numbers, and other sheets stand behind the first."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append([float(cell) if re.fullmatch(r"0\.\d+|[1-9]", cell) else cell for cell in row])
    for name in others:
        book.create_sheet(name).append(["something", "else"])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def numbered(rows, name=""):
    """Rows as pandas writes them with their index, some of it removed since."""
    return [[name, *rows[0]], *([str(7 * i), *row] for i, row in enumerate(rows[1:]))]


KINDS = {
    "semicolons": lambda rows: ("csv", text_of(rows, ";").encode()),
    "semicolons and decimal commas": lambda rows: ("csv", text_of(commas(rows), ";").encode()),
    "tabs": lambda rows: ("csv", text_of(rows, "\t", "\r\n").encode()),
    "bars": lambda rows: ("csv", text_of(rows, "|").encode()),
    "quotes": lambda rows: ("csv", text_of(rows, quote=True).encode()),
    "byte order mark": lambda rows: ("csv", text_of(rows).encode("utf-8-sig")),
    "UTF-16": lambda rows: ("csv", text_of(rows, "\t", "\r\n").encode("utf-16")),
    "UTF-16 big end first": lambda rows: ("csv", b"\xfe\xff" + text_of(rows).encode("utf-16-be")),
    "UTF-16 without a mark": lambda rows: ("csv", text_of(rows).encode("utf-16-le")),
    "UTF-32": lambda rows: ("csv", text_of(rows).encode("utf-32")),
    "packed": lambda rows: ("csv.gz", gzip.compress(text_of(rows).encode())),
    "packed UTF-16": lambda rows: ("csv.gz", gzip.compress(text_of(rows, ";").encode("utf-16"))),
    "sep line": lambda rows: ("csv", ("sep=;\r\n" + text_of(rows, ";", "\r\n")).encode()),
    "sep line and mark": lambda rows: ("csv", ('"sep=,"\n' + text_of(rows)).encode("utf-8-sig")),
    "sep line in UTF-16": lambda rows: ("csv", ("sep=\t\n" + text_of(rows, "\t")).encode("utf-16")),
    "columns once used": lambda rows: ("csv", text_of([[*row, "", ""] for row in rows], ";").encode()),
    "blank rows": lambda rows: ("csv", text_of([*rows, [" "] * len(rows[0]), [""] * len(rows[0])]).encode()),
    "old Mac line ends": lambda rows: ("csv", text_of(rows, end="\r").encode()),
    "Excel": lambda rows: ("xlsx", excel(rows)),
    "Excel with several sheets": lambda rows: ("xlsx", excel(rows, "Legend", "Old")),
    "row numbers of pandas": lambda rows: ("csv", text_of(numbered(rows)).encode()),
    "row numbers by name": lambda rows: ("csv", text_of(numbered(rows, "Unnamed: 0")).encode()),
    "blanks": lambda rows: ("csv", text_of([rows[0], *[[f" {c}\t" for c in r] for r in rows[1:]]]).encode()),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_read_alike(tmp_path, table, kind):
    rows = TABLES[table]
    plain = tmp_path / "table.csv"
    plain.write_text(text_of(rows), encoding="utf-8")
    ending, data = KINDS[kind](rows)
    path = tmp_path / f"other.{ending}"
    path.write_bytes(data)
    wanted = what(table, plain)
    assert what(table, path) == wanted
    assert wanted  # something was read


def workbook(kind):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        if kind == "xlsx":
            archive.writestr("[Content_Types].xml", "<Types/>")
            archive.writestr("xl/workbook.xml", "<workbook/>")
        elif kind == "ods":
            archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        else:
            archive.writestr("table.csv", "a,b\n")
    return file.getvalue()


REFUSED = {
    "xlsx": (
        workbook("xlsx"),
        r"is an Excel workbook \(\.xlsx\) that cannot be read \(.*\); open it, save it as",
    ),
    "xls": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100),
        r"is an Excel workbook \(\.xls\); open it, save it",
    ),
    "ods": (workbook("ods"), r"is an OpenDocument workbook \(\.ods\); open it, save it"),
    "csv": (workbook("zip"), "is a ZIP archive; unpack it"),
    "gz": (b"\x1f\x8b\x08nothing", "cannot be unpacked by gzip"),
    "csv ": (b"a,b\n\0\1\2\0", "is no text table"),
    "tsv": ("class\tdegree\nx\té\n".encode("latin-1"), "line 2 is not UTF-8 text; save the file as UTF-8"),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("ending", REFUSED)
def test_what_is_no_text_table_is_refused_in_the_same_words(tmp_path, table, ending):
    data, message = REFUSED[ending]
    path = tmp_path / f"table.{ending.strip()}"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        what(table, path)
    assert str(path) in str(caught.value)


def save(folder, text, name="table.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_one_column_has_no_delimiter_to_be_guessed(tmp_path):
    """Semicolons in the names of a one-column table, or in one of its cells, are text."""
    path = save(tmp_path, "diagnosis\nnevus; congenital\nmelanoma\n")
    assert load_taxonomy(path).classes() == ("nevus; congenital", "melanoma")
    quoted = save(tmp_path, 'diagnosis\n"Melanoma, NOS"\nnevus\n')
    assert load_taxonomy(quoted).classes() == ("Melanoma, NOS", "nevus")
    bare = save(tmp_path, "diagnosis\nMelanoma, NOS\nnevus\n")
    with pytest.raises(ValueError, match=r"header has 1 cells.*in double quotes, such as \"Melanoma, NOS\""):
        load_taxonomy(bare)


def test_the_records_decide_between_two_delimiters_of_a_header(tmp_path):
    path = save(tmp_path, "image;p_a, b;p_c, d; e\n1;0.5;0.5;x\n")
    assert list(read_table(path).frame) == ["image", "p_a, b", "p_c, d", "e"]
    path = save(tmp_path, '"image";"a, b, c, d"\n"x, y";1\n')
    assert read_table(path).frame.to_dict("list") == {"image": ["x, y"], "a, b, c, d": ["1"]}
    path = save(tmp_path, "image,note (a;b;c)\nx,1\n")
    assert list(read_table(path).frame) == ["image", "note (a;b;c)"]


def test_decimal_commas_only_where_the_delimiter_is_another(tmp_path):
    def read(text):
        return read_table(save(tmp_path, text), is_number=lambda name: name == "p").frame["p"].tolist()

    assert read("p;q\n0,5;x\n,25;x\n1e-3;x\n-2,5e1;x\n3;x\n") == [0.5, 0.25, 0.001, -25, 3]
    with pytest.raises(ValueError, match=r"row not a number: row 2 '1\.000,5'"):
        read("p;q\n1.000,5;x\n")
    with pytest.raises(ValueError, match="row not a number: row 2 '0,5'"):
        read('p,q\n"0,5",x\n')


def test_rows_are_numbered_as_a_spreadsheet_shows_them(tmp_path):
    for head in ("", "sep=;\n"):
        path = save(tmp_path, head + "image;label\na;x\nb;zzz\n")
        with pytest.raises(ManifestError, match="row 3 'zzz'"):
            read_manifest(path, Taxonomy("x", ("class",), (("x",), ("y",))))


def test_whole_floats_are_the_classes_and_calls_that_they_mean(tmp_path):
    tree = Taxonomy("types", ("type",), (("1",), ("2",), ("3",)))
    text = "image,case_id,label,p_1,p_2,p_3\na,p,2.0,0.2,0.3,0.5\nb,q,3.0,0.2,0.3,0.5\n"
    assert read_predictions(save(tmp_path, text))["label"].tolist() == ["2", "3"]
    manifest = save(tmp_path, "image;label;skin_tone;age\na;2.0;3,0;45,5\nb;3.0;NA;NA\n")
    frame = read_manifest(manifest, tree)
    assert frame["label"].tolist() == ["2", "3"]
    assert frame["skin_tone"].tolist() == [3, pd.NA]
    assert frame["age"].tolist() == ["45.5", ""]
    calls = save(tmp_path, "reader,image,call\nA,a,1.0\nA,b,0.0\n")
    assert read_readers(calls)["call"].tolist() == [1, 0]
    degrees = save(tmp_path, "class;degree\n1.0;0,0\n2.0;1.0\n3.0;1\n")
    assert read_degrees(degrees, tree) == {"1": 0, "2": 1, "3": 1}
    # 2.5 is no class, and a class may be called 2.0.
    with pytest.raises(ManifestError, match=r"'2\.5'"):
        read_manifest(save(tmp_path, "image,label\na,2.5\n"), tree)
    odd = Taxonomy("odd", ("c",), (("2.0",), ("x",)))
    assert read_manifest(save(tmp_path, "image,label\na,2.0\n"), odd)["label"].tolist() == ["2.0"]


def test_na_of_r_is_unknown(tmp_path):
    text = 'image,label,case_id,sex,site\n"a","nevus","1",NA,NA\n"b","nevus","2","female","x"\n'
    frame = read_manifest(save(tmp_path, text))
    assert frame["sex"].tolist() == ["", "female"]
    assert frame["site"].tolist() == ["NA", "x"]  # not a column of the contract: kept as it is
    with pytest.raises(
        ManifestError, match="column 'case_id', 1 row with 'NA', which counts as empty: row 2"
    ):
        read_manifest(save(tmp_path, "image,label,case_id\na,nevus,NA\n"))
    with pytest.raises(ManifestError, match="column 'label', 1 row empty: row 2"):
        read_manifest(save(tmp_path, "image,label\na,NA\n"))
    text = "image,case_id,label,p_a,p_b,sex\nx,1,a,0.5,0.5,NA\ny,2,b,NA,0.5,male\n"
    frame = read_predictions(save(tmp_path, text))
    assert frame["sex"].tolist() == ["", "male"]
    assert frame["p_a"].isna().tolist() == [False, True]


MISSING = ("NULL", "null", "nan", "NaN", "None", "none", "N/A", "n/a", "#N/A", "<NA>", "NA", "-")


@pytest.mark.parametrize("word", MISSING)
def test_words_for_a_missing_value_are_no_case(tmp_path, word):
    told = f"column 'case_id', 2 rows with '{word}', which counts as empty: row 2, row 4"
    rows = [f"{n}.png,{case},a,0.5,0.5" for n, case in enumerate((word, "c1", f"{word} "))]
    path = save(tmp_path, "image,case_id,label,p_a,p_b\n" + "\n".join(rows) + "\n")
    assert inspect_manifest(path).problems == (told,)
    assert inspect_manifest(path).frame["case_id"].tolist() == ["c1"]
    classes = Taxonomy("pair", ("class",), (("a",), ("b",)))
    table, _ = read_unchecked(path)
    assert problems(table.frame, classes, table.rows) == [told]
    path = save(tmp_path, "image,case_id,label,f_0\n" + "\n".join(row[:-4] for row in rows) + "\n")
    with pytest.raises(FeaturesError) as refused:
        read_features(path)
    assert refused.value.problems == (told,)
    path = save(tmp_path, f"reader,image,call\n{word},1.png,1\nB,1.png,0\n")
    with pytest.raises(ReadersError, match=f"'reader', 1 row with '{word}', which counts as empty: row 2"):
        read_readers(path)


def test_a_class_may_be_called_as_a_missing_value_is(tmp_path):
    tree = Taxonomy("odd", ("class",), (("None",), ("null",), ("x",)))
    path = save(tmp_path, "image,label,case_id,age,sex\na,none,1,NULL,None\nb,NULL,2,-,f\nc,x,3,40,<NA>\n")
    frame = read_manifest(path, tree)
    assert frame["label"].tolist() == ["None", "null", "x"]
    assert frame["age"].tolist() == ["", "", "40"]
    assert frame["sex"].tolist() == ["", "f", ""]
    # Without a taxonomy there may be a class called none, but none called NULL.
    with pytest.raises(ManifestError, match=r"column 'label', 1 row empty: row 3$"):
        read_manifest(path)
    written = tmp_path / "written.csv"
    write_manifest(frame, written)
    assert read_manifest(written, tree).equals(frame)


def test_blanks_make_no_second_case(tmp_path):
    rows = "".join(f"{i}.png,patient_{i // 2:03d}{' ' * (i % 2)},a,0.5,0.5\n" for i in range(60))
    frame = read_predictions(save(tmp_path, "image,case_id,label,p_a,p_b\n" + rows))
    assert frame["case_id"].nunique() == 30
    assert (
        as_manifest(frame[["image", "case_id", "label"]].assign(image=frame["image"] + " "))["image"].tolist()
        == frame["image"].tolist()
    )


def test_ids_that_differ_by_spelling_alone_are_told(tmp_path, caplog):
    decomposed = unicodedata.normalize("NFD", "é1")
    for other, one in (
        ("pat_1", "PAT_1"),
        ("7", "007"),
        ("12.0", "12"),
        (decomposed, "é1"),
        ("a01", "a1"),
        ("\u200b7", "7"),
    ):
        assert id_key(other) == id_key(one)
        table, problems = read_unchecked(
            save(tmp_path, f"image,case_id,label,p_a,p_b\n1,{one},a,0.5,0.5\n2,{other},b,0.5,0.5\n")
        )
        assert not problems
        (note,) = table.notes
        assert note.startswith("1 case id is spelled in several ways")
    assert "\\u0301" in alike_ids(["é1", decomposed])  # the eye cannot tell them apart
    assert alike_ids(["1", "10", "01x", "2"]) == ""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        read_manifest(save(tmp_path, "image,label,case_id\na,x,P1\nb,x,p1\n"))
    assert "such as 'P1' and 'p1'" in caplog.text
    with pytest.raises(ReadersError, match=r"row 2 'A\.PNG', did you mean 'a\.png'\?"):
        read_readers(save(tmp_path, "reader,image,call\nx,A.PNG,1\n"), ["a.png"])


def test_labels_in_two_spellings():
    groups = (("Nevus", "nevus"), ("BCC", "Basal cell carcinoma"), ("mel", "Melanoma"), ("naevus", "nevus"))
    groups += (("lichen_planus", "Lichen planus"), ("2", "2.0"), ("é", unicodedata.normalize("NFD", "é")))
    for group in groups:
        assert alike_labels([*group, "wart"]) == [group]
        assert alike_labels([group[1], "wart", group[0]]) == [group[::-1]]
    for name in catalogue():
        for level in load_taxonomy(name).levels:
            assert alike_labels(load_taxonomy(name).classes(level)) == []


def test_another_unicode_form_is_the_class_that_it_names(tmp_path):
    label = unicodedata.normalize("NFD", "nævus é")
    tree = Taxonomy("x", ("class",), (("nævus é",), ("wart",)))
    assert label not in tree.classes()
    assert read_manifest(save(tmp_path, f"image,label\na,{label}\n"), tree)["label"].tolist() == ["nævus é"]
    assert "(the same letters in another Unicode form, NFC or NFD)" in tree.hint(label)


def test_a_matching_is_read_by_the_same_code(tmp_path):
    tree = Taxonomy("t", ("c",), (("x",), ("y",)))
    path = tmp_path / "match.csv"
    path.write_bytes("class;a;b\nfirst; x;x\nsecond;y;y\n".encode("utf-16"))
    assert load_matching(path, tree, tree).classes == ("first", "second")


def test_models_whose_photos_differ_by_spelling_alone_are_told_so():
    a = pd.DataFrame({"image": ["A.png", "2"], "label": ["x", "y"], "case_id": ["p", "q"]})
    problems = compare_photos("a", a, "b", a.assign(image=["a.png", "2"]))
    assert problems[0] == "model 'b' lacks 1 photo ('A.png') of model 'a', did you mean 'a.png'?"
    assert problems[1] == "model 'a' lacks 1 photo ('a.png') of model 'b'"
