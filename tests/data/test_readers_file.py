"""The readers' file: as people save it, and every fault named at once."""

import pandas as pd
import pytest

from skinjax.data.readers import ReadersError, read_by_all, read_degree_readers, read_readers


def test_csv_and_parquet_give_the_same(tmp_path):
    wanted = pd.DataFrame({"reader": ["7", "7", "Dr B"], "image": ["007", "b.png", "007"], "call": [1, 0, 0]})
    wanted.assign(seconds=3).to_csv(tmp_path / "r.csv", index=False, sep=";")
    wanted.to_parquet(tmp_path / "r.parquet")
    for name in ("r.csv", "r.parquet"):
        found = read_readers(tmp_path / name, ["007", "b.png", "c.png"])
        assert found["call"].dtype == "int64"
        assert found.to_dict("list") == wanted.to_dict("list")


def test_all_faults_at_once(tmp_path):
    rows = ["A,1.png,1", "A,2.png,yes", ",1.png,0", "A,1.png,0", "B,9.png,1", "B,,0", "B,2.png,"]
    (tmp_path / "r.csv").write_text("reader,image,call\n" + "\n".join(rows) + "\n")
    with pytest.raises(ReadersError) as caught:
        read_readers(tmp_path / "r.csv", ["1.png", "2.png"])
    assert caught.value.problems == (
        "column 'reader', 1 row empty: row 4",
        "column 'image', 1 row empty: row 7",
        "column 'image', 1 row with a photo that the predictions do not have: row 6 '9.png'",
        "column 'image', 1 row with a photo that an earlier row has of the same reader: row 5 '1.png'",
        "column 'call', 2 rows that must hold 0 or 1: row 3 'yes', row 8 ''",
    )


def test_missing_columns_get_a_hint(tmp_path):
    (tmp_path / "r.csv").write_text("Readers,photo,call\nA,1.png,1\n")
    with pytest.raises(ReadersError) as caught:
        read_readers(tmp_path / "r.csv")
    assert caught.value.problems == ("no column 'reader', but one 'Readers'", "no column 'image'")
    (tmp_path / "r.csv").write_text("reader,image,call\n")
    with pytest.raises(ReadersError, match="no rows"):
        read_readers(tmp_path / "r.csv")


def test_photos_that_not_all_called_are_left_out():
    readers = pd.DataFrame({"reader": list("aaabbc"), "image": list("xyzxyx"), "call": [0, 1, 0, 1, 1, 0]})
    kept, left_out = read_by_all(readers)
    assert kept["image"].tolist() == ["x", "x", "x"]
    assert kept["reader"].tolist() == ["a", "b", "c"]
    assert left_out == 2
    with pytest.raises(ValueError, match="no photo was called by all 2 readers"):
        read_by_all(pd.DataFrame({"reader": ["a", "b"], "image": ["x", "y"], "call": [0, 1]}))


def test_degrees_by_number_or_by_name_and_their_faults(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("reader,image,degree\nA,1.png,benign\nA,2.png, 2\nB,1.png,low\n")
    found = read_degree_readers(path, 3, ["1.png", "2.png"])
    assert found["degree"].tolist() == [0, 2, 1]
    assert read_by_all(found)[1] == 1
    path.write_text("reader,image,degree\nA,1.png,3\nA,1.png,high\n")
    with pytest.raises(ReadersError) as caught:
        read_degree_readers(path, 3, ["1.png"])
    assert caught.value.problems == (
        "column 'image', 1 row with a photo that an earlier row has of the same reader: row 3 '1.png'",
        "column 'degree', 1 row that must hold a number from 0 to 2 (benign, low, high): row 2 '3'",
    )
    path.write_text("reader,image,call\nA,1.png,1\n")
    with pytest.raises(ReadersError, match="no column 'degree'"):
        read_degree_readers(path, 3)
