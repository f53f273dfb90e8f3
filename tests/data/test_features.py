"""The features file: what is read, what is refused, and that others' files are as good as ours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from skinjax.data.features import (
    Features,
    FeaturesError,
    as_features,
    feature_names,
    read_features,
    write_features,
)
from skinjax.labels.taxonomy import Taxonomy

TREE = Taxonomy("pair", ("class",), (("nevus",), ("wart",)))


def table(rows: int = 4, width: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(rows)],
            "case_id": [f"0{i // 2}" for i in range(rows)],
            "label": ["wart", "nevus"] * (rows // 2),
            "age": ["40", "", "NA", "7"][:rows],
        }
    )
    values = rng.normal(size=(rows, width)).astype(np.float32)
    return pd.concat([frame, pd.DataFrame(values, columns=feature_names(width))], axis=1)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_what_is_written_is_read(tmp_path, ending):
    given = as_features(table(), TREE, {"backbone": "b0", "image_size": 32})
    write_features(given, tmp_path / f"file.{ending}")
    found = read_features(tmp_path / f"file.{ending}")
    np.testing.assert_array_equal(found.values, given.values)
    assert found.values.dtype == np.float32
    pd.testing.assert_frame_equal(found.frame, given.frame)
    assert found.frame["case_id"].tolist() == ["00", "00", "01", "01"]
    of_ours = ending == "parquet"
    assert found.taxonomy == (TREE if of_ours else None)
    assert dict(found.network) == ({"backbone": "b0", "image_size": 32} if of_ours else {})


def test_a_file_of_pandas_alone_is_read_in_the_order_of_its_numbers(tmp_path):
    frame = table(width=12).rename(
        columns=dict(zip(feature_names(12), [f"f_{i}" for i in range(12)], strict=True))
    )
    mixed = frame[[*sorted(name for name in frame if name.startswith("f_")), "label", "image", "case_id"]]
    mixed.assign(f_3=mixed["f_3"].astype(np.float64)).to_parquet(tmp_path / "theirs.parquet", index=False)
    found = read_features(tmp_path / "theirs.parquet", TREE)
    np.testing.assert_array_equal(found.values, table(width=12)[feature_names(12)].to_numpy(np.float32))
    assert list(found.frame) == ["label", "image", "case_id"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="case_id"), ["no column 'case_id'"]),
        (lambda t: t.rename(columns={"image": "Image"}), ["no column 'image', but one 'Image'"]),
        (lambda t: t.drop(columns="f_0001"), ["no column 'f_0001', though there are features to 'f_0002'"]),
        (lambda t: t.drop(columns=feature_names(3)), ["no features: there must be columns f_0000, f_0001"]),
        (lambda t: t.rename(columns={n: str(i) for i, n in enumerate(feature_names(3))}), ["rename column '0' to"]),
        (lambda t: t.assign(f_1=1.0), ["column 'f_1' has the number of another feature"]),
        (lambda t: t.assign(f_0000=[1, np.nan, np.inf, 1]), ["column 'f_0000', 2 rows without a finite number: row"]),
        (lambda t: t.assign(f_0002=[1, 1e300, 1, 1]), ["column 'f_0002', 1 row without a finite number"]),
        (lambda t: t.assign(image="a.png"), ["column 'image', 3 rows with a photo that an earlier row lists"]),
        (lambda t: t.assign(label=["wart", "nevus", "warts", ""]), ["1 row with a label that is no class", "empty"]),
        (lambda t: t.iloc[:0], ["no rows"]),
    ],
)  # fmt: skip
def test_everything_that_is_wrong_is_named(tmp_path, change, words):
    changed = change(table())
    changed.to_csv(tmp_path / "file.csv", index=False)
    with pytest.raises(FeaturesError) as caught:
        read_features(tmp_path / "file.csv", TREE)
    with pytest.raises(FeaturesError):
        as_features(changed, TREE)
    assert str(caught.value).startswith(str(tmp_path / "file.csv"))
    for word in words:
        assert word in str(caught.value)


def test_rows_are_numbered_as_a_spreadsheet_has_them(tmp_path):
    table().assign(f_0000=[1, 1, np.nan, 1]).to_csv(tmp_path / "file.csv", index=False)
    with pytest.raises(FeaturesError, match=r"row 4 nan"):
        read_features(tmp_path / "file.csv")


def test_text_among_the_numbers_is_named_with_its_row(tmp_path):
    table().astype({"f_0001": object}).assign(f_0001=["1", "x", "3", "4"]).to_csv(
        tmp_path / "file.csv", index=False
    )
    with pytest.raises(FeaturesError, match=r"column 'f_0001', 1 row not a number: row 3 'x'"):
        read_features(tmp_path / "file.csv")


def test_a_later_version_and_a_broken_file_are_refused(tmp_path):
    write_features(as_features(table()), tmp_path / "file.parquet")
    stored = pq.read_table(tmp_path / "file.parquet")
    pq.write_table(stored.replace_schema_metadata({b"skinjax.features": b"2"}), tmp_path / "later.parquet")
    with pytest.raises(FeaturesError, match="schema version 2; this skinjax reads 1"):
        read_features(tmp_path / "later.parquet")
    pq.write_table(stored.replace_schema_metadata({b"skinjax.taxonomy": b"{}"}), tmp_path / "odd.parquet")
    with pytest.raises(FeaturesError, match="the stored taxonomy or network is not valid"):
        read_features(tmp_path / "odd.parquet")
    (tmp_path / "broken.parquet").write_bytes((tmp_path / "file.parquet").read_bytes()[:-20])
    with pytest.raises(FeaturesError, match="cannot be read as Parquet"):
        read_features(tmp_path / "broken.parquet")


def test_two_files_are_put_in_one_order_or_refused():
    one = as_features(table())
    turned: Features = as_features(table().iloc[::-1])
    again = turned.in_order_of(one.frame["image"].tolist(), "other.parquet")
    np.testing.assert_array_equal(again.values, one.values)
    pd.testing.assert_frame_equal(again.frame, one.frame)
    for rows, words in (
        (table().iloc[:3], "lacks 1 of them, such as 3.png"),
        (table().replace("0.png", "z.png"), "lacks 1 of them, such as 0.png and 1 others, such as z.png"),
    ):
        with pytest.raises(ValueError, match=f"other.parquet must have the same photos .* but {words}"):
            as_features(rows).in_order_of(one.frame["image"].tolist(), "other.parquet")
    with pytest.raises(ValueError, match=r"has all of them and 2 others, such as 2\.png"):
        one.in_order_of(["0.png", "1.png"], "other.parquet")
