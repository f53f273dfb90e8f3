"""Tables of photos to answer: every kind of table that a manifest may be, told from photos by its name."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from skinjax.studies.steps.lesions import table_of, visits_of

FRAME = pd.DataFrame(
    {"image": ["a.jpg", "b/c.jpg"], "lesion_id": ["arm", "leg"], "date": ["2026-01-31", "2026-02-28"]}
)


def written(folder: Path, name: str) -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(FRAME.to_csv(index=False).encode()))
    elif name.endswith(".xlsx"):
        FRAME.assign(date=pd.to_datetime(FRAME["date"])).to_excel(
            path, index=False
        )  # days, as Excel has them
    elif name.endswith(".parquet"):
        FRAME.to_parquet(path, index=False)
    else:
        FRAME.to_csv(path, index=False, sep="\t" if name.endswith((".tsv", ".tab")) else ";")
    return path


@pytest.mark.parametrize(
    "name", ["t.csv", "t.CSV", "t.tsv", "t.tab", "t.txt", "t.csv.gz", "t.xlsx", "t.parquet"]
)
def test_every_kind_of_table_is_read(tmp_path, name):
    path = written(tmp_path, name)
    table = table_of([path], "case")
    assert table is not None
    assert table.paths == (tmp_path / "a.jpg", tmp_path / "b" / "c.jpg")
    pd.testing.assert_frame_equal(table.frame, FRAME, check_dtype=False)
    visits = visits_of([path], "lesion")
    assert [(visit.lesion, visit.date.isoformat()) for visit in visits] == [
        ("arm", "2026-01-31"),
        ("leg", "2026-02-28"),
    ]


def test_a_workbook_that_cannot_be_read_is_refused_and_photos_are_none(tmp_path):
    old = tmp_path / "old.xls"
    old.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))
    with pytest.raises(ValueError, match=r"old\.xls"):
        table_of([old], "photo")
    assert table_of([tmp_path / "a.jpg", tmp_path / "folder"], "photo") is None
    (tmp_path / "odd.gz").mkdir()
    assert table_of([tmp_path / "odd.gz"], "photo") is None


def test_paths_of_another_computer_are_found_beside_the_table(tmp_path):
    (tmp_path / "new").mkdir()
    for name in ("new/a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    path = tmp_path / "today.csv"
    path.write_text(f"image\nC:\\clinic\\new\\a.jpg\n{tmp_path / 'b.jpg'}\n", encoding="utf-8")
    table = table_of([path], "photo")
    assert table is not None
    assert table.paths == (tmp_path / "new" / "a.jpg", tmp_path / "b.jpg")
