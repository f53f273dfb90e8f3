"""Manifests as people save them, and every fault that reading them must name."""

import hashlib
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from skinjax.data.manifest import ManifestError, as_manifest, fingerprint, read_manifest, write_manifest
from skinjax.data.tables import read_table
from skinjax.files.atomic import replacing
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy

TREE = Taxonomy("pair", ("class",), (("psoriasis",), ("NA",)))


def save(folder, text, name="manifest.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def problems(folder, text, taxonomy=None):
    with pytest.raises(ManifestError) as caught:
        read_manifest(save(folder, text), taxonomy)
    assert str(folder / "manifest.csv") in str(caught.value)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_text_stays_text(tmp_path):
    text = "site,case_id,image,label,skin_tone,age\nNA,007,a.png,NA,3.0,61\n, 12 ,./b//c.png,psoriasis ,,\n"
    for encoding in ("utf-8", "utf-8-sig"):
        frame = read_manifest(save(tmp_path, text, encoding=encoding), TREE)
        assert list(frame) == ["image", "label", "case_id", "skin_tone", "age", "site"]
        assert frame["image"].tolist() == ["a.png", "b/c.png"]
        assert frame["label"].tolist() == ["NA", "psoriasis"]
        assert frame["case_id"].tolist() == ["007", "12"]
        assert frame["age"].tolist() == ["61", ""]
        assert frame["site"].tolist() == ["NA", ""]
        assert str(frame["skin_tone"].dtype) == "Int64"
        assert frame["skin_tone"].tolist() == [3, pd.NA]


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_delimiters_quotes_blank_lines_and_windows_line_ends(tmp_path, delimiter):
    rows = [["image", "label", "note"], ["ä b.png", "x", '"say ""no"", twice\nor more"'], ["c.png", "y", ""]]
    text = "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n"
    frame = read_manifest(save(tmp_path, text))
    assert frame["image"].tolist() == ["ä b.png", "c.png"]
    assert frame["note"].tolist() == ['say "no", twice\nor more', ""]


def test_parquet_ids_that_passed_through_floats(tmp_path):
    table = pd.DataFrame(
        {
            "image": ["a.png", "b.png"],
            "label": pd.Categorical(["x", "y"]),
            "case_id": [12.0, 13.0],
            "lesion_id": [1.0, None],
            "skin_tone": [2.0, None],
            "biopsed": [True, False],
            "width": [0.5, 1.0],
        }
    )
    table.to_parquet(tmp_path / "manifest.parquet")
    frame = read_manifest(tmp_path / "manifest.parquet")
    assert frame["case_id"].tolist() == ["12", "13"]
    assert frame["lesion_id"].tolist() == ["1", ""]
    assert frame["skin_tone"].tolist() == [2, pd.NA]
    assert frame["biopsed"].tolist() == ["true", "false"]
    assert frame["width"].tolist() == ["0.5", "1"]


def test_all_faults_at_once_by_row_and_column(tmp_path):
    text = (
        "image,label,case_id,skin_tone,split\n"
        "a.png,psoriasis,1,2,train\n"
        "a.png,Psoriasis,,7,val\n"
        "\n"
        "/etc/x.png,zzz,3,-1,\n"
        "../x.png,,4,two,test\n"
        "C:\\x.png,NA,5,,\n"
        "d:/x.png,NA,5,,\n"
        "https://x/y.png,NA,5,,\n"
        "./a.png,NA,5,,\n"
        ",NA,5,,\n"
        "x/../../y.png,NA,5,,\n"
    )
    assert problems(tmp_path, text, TREE) == (
        "column 'image', 1 row empty: row 11",
        "column 'label', 1 row empty: row 6",
        "column 'case_id', 1 row empty: row 3",
        "column 'image', 1 row with an absolute path; it must be relative to the photos' folder, or below it, "
        f"which is {tmp_path} (source=FOLDER names another): row 5 '/etc/x.png'",
        "column 'image', 3 rows with a drive or an address; it must be a path below the photos' folder: "
        "row 7 'C:/x.png', row 8 'd:/x.png', row 9 'https://x/y.png'",
        "column 'image', 2 rows with '..', which may leave the photos' folder: "
        "row 6 '../x.png', row 12 'x/../../y.png'",
        "column 'image', 2 rows with a photo that an earlier row lists: row 3 'a.png', row 10 './a.png'",
        "column 'label', 1 row with a label that is no class of taxonomy 'pair': row 5 'zzz'",
        "column 'split', 1 row with a split that is none of train, validation, test (or empty): row 3 'val'",
        "column 'skin_tone', 3 rows with a skin tone that is not 1 to 6 or I to VI (Fitzpatrick; empty where "
        "not known): row 3 '7', row 5 '-1', row 6 'two'",
    )


def test_an_unknown_label_is_told_once_with_its_rows(tmp_path):
    text = "image,label\n" + "".join(f"{i}.png,{'psorasis' if i % 2 else 'zzz'}\n" for i in range(129))
    assert problems(tmp_path, text, TREE) == (
        "column 'label', 129 rows with a label that is no class of taxonomy 'pair': row 2 'zzz' (65 rows), "
        "row 3 'psorasis', did you mean 'psoriasis'? (64 rows)",
    )


def test_many_faulty_rows_are_counted_and_ten_named(tmp_path, monkeypatch):
    text = "image,label\n" + "".join(f"{i}.png,bad{i}\n" for i in range(2000))
    compared = []
    monkeypatch.setattr(type(TREE), "hint", lambda self, name: compared.append(name) or "")
    (problem,) = problems(tmp_path, text, TREE)
    assert len(compared) == 10  # each takes a comparison with all classes
    assert problem.startswith("column 'label', 2,000 rows with a label")
    assert problem.endswith("row 11 'bad9', and 1,990 more labels")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the first row is empty; it must hold the names of the columns"),
        ("\nimage,label\n", "the first row is empty; it must hold the names of the columns"),
        ("image,label\n", "no rows; a manifest lists at least one photo"),
        (
            "image,class\na,b\n",
            "no column 'label'; the columns are 'image', 'class'; name what they are called by map=label=COLUMN",
        ),
        (
            "picture\na\n",
            "no column 'image' and no column 'label'; the columns are 'picture'; name what they are called by "
            "map=image=COLUMN,label=COLUMN",
        ),
        (
            "Image,Label,Case_ID\na,b,c\n",
            "no column 'image' and no column 'label'; the columns are 'Image', 'Label', 'Case_ID'; name what they are "
            "called by map=image=Image,label=Label,case_id=Case_ID",
        ),
        ("image,label,label\na,b,c\n", "column 'label' appears 2 times"),
        (
            "image,label,\na,b,c\n",
            "the header's cell 3 is empty; name the column or leave it out (in pandas, to_csv(index=False))",
        ),
        ("image,label\na,b\na,b,c\n\nd\n", "the header has 2 cells, but row 3 has 3, row 5 has 1"),
    ],
)
def test_broken_files(tmp_path, text, problem):
    assert problems(tmp_path, text) == (problem,)


def test_files_that_are_no_text_or_not_there(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("image,label\na.png,x\nb.png,\xe9rythème\n".encode("latin-1"))
    with pytest.raises(ManifestError, match=r"latin.csv: line 3 is not UTF-8 text; save the file as UTF-8"):
        read_manifest(path)
    with pytest.raises(ManifestError, match=r"none\.csv: no such file"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "m.parquet").write_bytes(b"not parquet")
    with pytest.raises(ManifestError, match="cannot be read as Parquet"):
        read_manifest(tmp_path / "m.parquet")


def test_links_may_not_lead_out(tmp_path):
    inside, outside = tmp_path / "set", tmp_path / "private"
    for folder in (inside / "photos", outside):
        folder.mkdir(parents=True)
        (folder / "a.png").touch()
    (inside / "photos" / "inner.png").symlink_to("a.png")
    (inside / "photos" / "outer.png").symlink_to(outside / "a.png")
    (inside / "linked").symlink_to(outside, target_is_directory=True)
    names = ["photos/a.png", "photos/inner.png", "photos/outer.png", "linked/a.png", "not/there.png"]
    found = problems(inside, "image,label\n" + "".join(f"{name},x\n" for name in names))
    assert found == (
        "column 'image', 2 rows with a link that leads out of the folder: "
        "row 4 'photos/outer.png', row 5 'linked/a.png'",
    )
    # The folder itself may be reached by a link.
    (tmp_path / "alias").symlink_to(inside, target_is_directory=True)
    assert len(read_manifest(save(tmp_path / "alias", "image,label\nphotos/inner.png,x\n"))) == 1


cell = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\\:"), min_size=1, max_size=8
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(cell, cell, st.sampled_from([None, 1, 6])), min_size=1, max_size=6))
def test_written_manifests_read_back_the_same(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("round")
    frame = pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(len(rows))],
            "label": ["x" + label.strip() for label, _, _ in rows],
            "skin_tone": pd.array([tone for _, _, tone in rows], "Int64"),
            "note": [note for _, note, _ in rows],
        }
    )
    manifest = as_manifest(frame)
    for name in ("m.csv", "m.parquet"):
        write_manifest(manifest, folder / name)
        again = read_manifest(folder / name)
        pd.testing.assert_frame_equal(again, manifest)
        assert fingerprint(again) == fingerprint(manifest)
    assert sorted(os.listdir(folder)) == ["m.csv", "m.parquet"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("old")

    def interrupted():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power"):
        interrupted()
    with pytest.raises(ManifestError, match="earlier row"):
        write_manifest(pd.DataFrame({"image": ["a", "a"], "label": ["x", "x"]}), path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["m.csv"]
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o600 == 0o600


def test_fingerprint_tells_contents_apart():
    base = pd.DataFrame({"image": ["a", "b"], "label": ["x", "y"], "case_id": ["1", "2"]})
    variants = [
        base,
        base[::-1],
        base.assign(label=["y", "x"]),
        base.assign(image=["ab", ""]),
        base.assign(image=["", "ab"]),
        base.rename(columns={"case_id": "lesion_id"}),
        base.drop(columns="case_id"),
        base[:1],
        base[:0],
    ]
    marks = [fingerprint(frame) for frame in variants]
    assert len(set(marks)) == len(variants)
    assert fingerprint(base[["case_id", "label", "image"]]) == marks[0]
    assert fingerprint(base.assign(case_id=[1, 2])) == marks[0]
    assert fingerprint(pd.concat([base, base])[:2]) == marks[0]
    # Written out by hand, since runs of different machines and releases are compared by it.
    digest = hashlib.sha256(b"skinjax manifest 1: 2 rows\n")
    for name, cells in (("case_id", b"12"), ("image", b"ab"), ("label", b"xy")):
        digest.update(name.encode() + b"\n" + struct.pack("<qq", 1, 1) + cells)
    assert marks[0] == digest.hexdigest()


def test_other_columns_and_indexes_do_no_harm():
    frame = pd.DataFrame({"image": ["a", "b"], "label": ["x", "y"], 3: [1.5, None]}, index=[9, 9])
    manifest = as_manifest(frame)
    assert list(manifest) == ["image", "label", "3"]
    assert manifest.index.tolist() == [0, 1]
    assert manifest["3"].tolist() == ["1.5", ""]
    with pytest.raises(ValueError, match="column 'box' must hold text or numbers, got type list"):
        as_manifest(frame.assign(box=[[1], [2]]))
    mixed = as_manifest(frame.assign(case_id=pd.Series([1, "b"], index=[9, 9], dtype=object).to_numpy()))
    assert mixed["case_id"].tolist() == ["1", "b"]


def test_numbers_that_are_none_are_named(tmp_path):
    path = save(tmp_path, "a,b\n1,x\n, 2 \nnan,1e3\n")
    with pytest.raises(ValueError, match=r"column 'b', 1 row not a number: row 2 'x'"):
        read_table(path, is_number=lambda name: True)
    numbers = read_table(path, is_number=lambda name: name == "a").frame["a"]
    np.testing.assert_array_equal(numbers, [1, np.nan, np.nan])
    python_only = save(tmp_path, "a\n1_000\n 2\n")
    np.testing.assert_array_equal(read_table(python_only, is_number=lambda name: True).frame["a"], [1000, 2])


@pytest.mark.slow
def test_a_million_rows_in_seconds(tmp_path):
    taxonomy = load_taxonomy("synthetic19")
    count = 1_000_000
    frame = pd.DataFrame(
        {
            "image": [f"part{i // 10_000}/{i:07d}.jpg" for i in range(count)],
            "label": np.array(taxonomy.classes())[np.arange(count) % 19],
            "case_id": [f"{i // 3:06d}" for i in range(count)],
        }
    )
    write_manifest(frame, tmp_path / "m.csv")
    start = time.perf_counter()
    assert len(read_manifest(tmp_path / "m.csv", taxonomy)) == count
    # About 2 s on two cores; the margin is for a busy machine.
    assert time.perf_counter() - start < 20


def test_importing_the_module_loads_no_pandas():
    code = "import sys, skinjax.data.manifest; print({'pandas', 'pyarrow', 'jax'} & sys.modules.keys())"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "set()"
