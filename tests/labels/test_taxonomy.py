"""The taxonomy type against hand-written trees and the published label files."""

import copy
import csv
import json
import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from skinjax.labels.taxonomy import Taxonomy, catalogue, load_taxonomy
from tests.support.commands import REPOSITORY

SHARED = REPOSITORY.parent / "shared" / "data"
TUMOURS = Taxonomy(
    "tumours",
    ("degree", "origin", "tumour"),
    (
        ("benign", "melanocyte", "nevus"),
        ("benign", "keratinocyte", "seborrheic keratosis"),
        ("malignant", "melanocyte of the skin", "melanoma"),
        ("benign", "keratinocyte", "wart"),
    ),
)


def test_three_levels_by_hand():
    assert TUMOURS.classes("degree") == ("benign", "malignant")
    assert TUMOURS.classes("origin") == ("melanocyte", "keratinocyte", "melanocyte of the skin")
    assert (
        TUMOURS.classes("tumour")
        == TUMOURS.classes()
        == ("nevus", "seborrheic keratosis", "melanoma", "wart")
    )
    parents = TUMOURS.parents("tumour", "origin")
    assert parents.dtype == np.int32
    assert parents.tolist() == [0, 1, 2, 1]
    assert TUMOURS.parents("tumour", "degree").tolist() == [0, 0, 1, 0]
    assert TUMOURS.parents("origin", "degree").tolist() == [0, 0, 1]
    assert TUMOURS.parents("origin", "origin").tolist() == [0, 1, 2]
    membership = TUMOURS.membership("tumour", "degree")
    assert membership.dtype == np.float32
    assert membership.tolist() == [[1, 1, 0, 1], [0, 0, 1, 0]]
    assert TUMOURS.encode(["wart", "nevus"]).tolist() == [3, 0]
    assert TUMOURS.encode(["malignant"], "degree").tolist() == [1]
    assert (TUMOURS.coarsest, TUMOURS.finest) == ("degree", "tumour")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_parents_compose_and_membership_sums(branches):
    paths = tuple((f"a{a}", f"b{a}{b}", f"c{i}") for i, (a, b) in enumerate(branches))
    tree = Taxonomy("random", ("a", "b", "c"), paths)
    through = tree.parents("b", "a")[tree.parents("c", "b")]
    assert (through == tree.parents("c", "a")).all()
    for i, path in enumerate(paths):
        assert tree.classes("a")[tree.parents("c", "a")[i]] == path[0]
    membership = tree.membership("c", "a")
    assert (membership.sum(0) == 1).all()
    assert (membership.argmax(0) == tree.parents("c", "a")).all()
    assert Taxonomy.from_dict(json.loads(tree.to_json())) == tree


def test_immutable_hashable_and_equal_by_value():
    twin = copy.deepcopy(TUMOURS)
    assert twin == TUMOURS
    assert len({twin, TUMOURS}) == 1
    assert Taxonomy("a", ["x"], [["k"]]) == Taxonomy("a", ("x",), (("k",),))  # type: ignore[arg-type]
    hash(Taxonomy("a", ["x"], [["k"]]))  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="cannot assign"):
        TUMOURS.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("levels", "paths", "message"),
    [
        (("a", "b"), (("x", "y"), ("x", "y")), "class 'y' appears 2 times"),
        (("a",), (("x",), ("x",)), "class 'x' appears 2 times"),
        (("a", "b"), (("x", "y"), ("z", "y")), "class 'y' of level 'b' has the parents 'x' and 'z'"),
        (
            ("a", "b", "c"),
            (("x", "m", "1"), ("y", "m", "2")),
            "class 'm' of level 'b' has the parents 'x' and 'y'",
        ),
        (("a", "b"), (("x", "y"), ("z",)), "orphan: path \\('z',\\) has 1 names"),
        (("a", "b"), (("x", ""),), "empty name \\(paths 1\\)"),
        (("a", "b"), (("x", " y"),), "name ' y' has spaces around"),
        (("a", "b"), (("x", "y\n"),), "spaces around it or characters that cannot be printed"),
        (("a", "a"), (("x", "y"),), "level 'a' appears twice"),
        (("a:b",), (("x",),), "contains ':'"),
        (("a",), (), "at least one level and one class"),
        ((), (), "at least one level and one class"),
        (("a",), ((3,),), "are text, got 3"),
        (("a",), ("x",), "got a string"),
        ("ab", (("x", "y"),), "got a string"),
    ],
)
def test_what_is_refused(levels, paths, message):
    with pytest.raises(ValueError, match=message):
        Taxonomy("bad", levels, paths)


def test_every_problem_is_named_at_once():
    with pytest.raises(ValueError, match="'w' appears 2 times; class 'y' of level 'b' has the parents"):
        Taxonomy("bad", ("a", "b"), (("x", "y"), ("z", "y"), ("z", "w"), ("z", "w")))
    with pytest.raises(ValueError, match=r"title for unknown class 'q'; class 'q' has 2 titles"):
        Taxonomy("bad", ("a",), (("x",),), titles=(("q", "Q"), ("q", "R")))


def test_lookup_errors_list_what_there_is():
    with pytest.raises(ValueError, match="has no level 'meta'; its levels are degree, origin, tumour"):
        TUMOURS.classes("meta")
    with pytest.raises(ValueError, match="parent_level must not be finer"):
        TUMOURS.parents("degree", "tumour")
    with pytest.raises(
        ValueError, match=r"'Melanoma' \(2 times\), did you mean 'melanoma'\?; 'zzz' \(1 times\)$"
    ):
        TUMOURS.encode(["Melanoma", "nevus", "zzz", "Melanoma"])


def test_json_and_csv_files(tmp_path):
    written = tmp_path / "tumours.json"
    written.write_text(TUMOURS.to_json(), encoding="utf-8")
    assert load_taxonomy(written) == load_taxonomy(str(written)) == TUMOURS
    table = tmp_path / "tumours.csv"
    rows = [TUMOURS.levels, *TUMOURS.paths]
    # With a byte order mark and Windows line ends, as a spreadsheet saves it.
    table.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(",".join(row) for row in rows).encode() + b"\r\n\r\n")
    assert load_taxonomy(table) == TUMOURS
    flat = tmp_path / "flat.csv"
    flat.write_text("class\nä\nb\n", encoding="utf-8")
    assert load_taxonomy(flat) == Taxonomy("flat", ("class",), (("ä",), ("b",)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.json", b"{", "t.json: Expecting"),
        ("t.json", b"[]", "a JSON object, got list"),
        ("t.json", b'{"name": "a", "levels": ["x"]}', "must have the keys name, levels"),
        ("t.json", b'{"name": "a", "levels": "x", "paths": [["y"]]}', "'levels' must be a list"),
        ("t.json", b'{"name": "a", "levels": ["x"], "paths": ["y"]}', "'paths' must be a list of lists"),
        ("t.json", b'{"name": "a", "levels": ["x"], "paths": [["y"]], "titles": []}', "'titles' must map"),
        (
            "t.json",
            b'{"name": "a", "name": "b", "levels": ["x"], "paths": [["y"]]}',
            "repeated JSON keys 'name'",
        ),
        ("t.csv", b"meta,sub\n", "at least one row"),
        ("t.csv", b"meta,sub\na,b\nc\n", "orphan"),
        ("t.csv", b"meta,sub\na,b\na,b\n", "'b' appears 2 times"),
        ("t.csv", b"meta,sub\na,\xff\n", "not UTF-8 text"),
        ("t.txt", b"", "must end in .json or .csv, got '.txt'"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_taxonomy(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_a_taxonomy_is_returned_as_it_is():
    assert load_taxonomy(tree := load_taxonomy("synthetic19")) is tree


def test_unknown_name_lists_the_catalogue():
    with pytest.raises(ValueError, match=r"'fitzpatrick' is neither a file nor in the catalogue \(fitz"):
        load_taxonomy("fitzpatrick")


def test_catalogue_shapes():
    shapes = {
        name: [len(load_taxonomy(name).classes(v)) for v in load_taxonomy(name).levels]
        for name in catalogue()
    }
    assert shapes == {
        "fitzpatrick17k": [3, 9, 114],
        "ham10000": [3, 7],
        "isic2019": [3, 8],
        "pad_ufes_20": [3, 6],
        "psoriasis9": [3, 9],
        "synthetic19": [6, 19],
        "tumours10": [3, 10],
    }
    for name in catalogue():
        assert load_taxonomy(name).name == name
    assert load_taxonomy("synthetic19").levels == ("meta", "sub")
    for name in ("ham10000", "isic2019", "pad_ufes_20"):
        # Ordered by degree, so that the level can stand for degrees of malignancy 0, 1, 2.
        assert load_taxonomy(name).classes("malignancy") == ("benign", "premalignant", "malignant")


def test_catalogue_names_source_and_licence_also_in_third_party():
    page = (REPOSITORY / "third_party" / "labels.md").read_text(encoding="utf-8")
    for name in catalogue():
        taxonomy = load_taxonomy(name)
        assert taxonomy.source
        assert taxonomy.licence
        section = page.split(f"## {name}\n")[1].split("\n## ")[0]
        assert taxonomy.licence in section


def _columns(path, *names):
    if not path.is_file():
        pytest.skip(f"needs {path.name} of the real data sets, kept outside the repository")
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [tuple(row[name] for name in names) for row in csv.DictReader(file)]


def test_real_fitzpatrick17k_has_no_label_left_over():
    columns = ("three_partition_label", "nine_partition_label", "label")
    rows = _columns(SHARED / "fitzpatrick17k" / "fitzpatrick17k.csv", *columns)
    assert set(load_taxonomy("fitzpatrick17k").paths) == set(rows)


@pytest.mark.parametrize(
    ("name", "file", "column"),
    [("pad_ufes_20", "metadata.csv", "diagnostic"), ("ham10000", "HAM10000_metadata.csv", "dx")],
)
def test_real_labels_equal_the_finest_level(name, file, column):
    rows = _columns(SHARED / name / file, column)
    assert set(load_taxonomy(name).classes()) == {label for (label,) in rows}


def test_real_isic2019_columns_equal_the_finest_level():
    path = SHARED / "isic2019" / "ISIC_2019_Training_GroundTruth.csv"
    _columns(path, "image")
    header = path.read_text(encoding="utf-8-sig").splitlines()[0].split(",")
    assert set(header[1:]) - {"UNK"} == set(load_taxonomy("isic2019").classes())


def test_needs_numpy_alone():
    code = (
        "import sys, skinjax.labels.taxonomy as t; t.load_taxonomy('synthetic19').parents('sub', 'meta');"
        "print([m for m in ('jax', 'pandas', 'scipy', 'sklearn', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
