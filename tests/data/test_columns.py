"""Columns of a manifest as numbers beside a photo."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skinjax.data.columns import FARTHEST, ColumnCoding, fit_columns

AGES = ["30", "50", "", "70", "NA", "50"]
SITES = ["face", "arm", "unknown", "arm", "UNK", "back"]
FRAME = pd.DataFrame({"case_id": list("abcdef"), "age": AGES, "body_site": SITES, "bled": [True, False] * 3})


def test_numbers_are_scaled_as_scikit_learn_does_and_unknown_ones_are_said():
    coding = fit_columns(FRAME, ["age"])
    features = coding.encode(FRAME)
    known = np.array([30.0, 50, 70, 50])[:, None]
    np.testing.assert_allclose(
        features[[0, 1, 3, 5], 0], StandardScaler().fit_transform(known)[:, 0], rtol=1e-6
    )
    assert features[[2, 4]].tolist() == [[0, 1], [0, 1]]
    assert coding.names == ("age", "age unknown")
    assert features.dtype == np.float32
    assert abs(fit_columns(FRAME, ["age"]).encode(pd.DataFrame({"age": ["-4e9"]}))[0, 0]) == FARTHEST


def test_categories_are_those_of_scikit_learn_less_their_shares_and_unseen_ones_are_unknown():
    coding = fit_columns(FRAME, ["body_site", "bled"])
    assert coding.names == (
        "body_site = arm", "body_site = back", "body_site = face", "body_site unknown", "bled = false", "bled = true",
    )  # fmt: skip
    sites = ["arm", "back", "face"]
    known = [place in sites for place in SITES]
    hot = OneHotEncoder(categories=[sites], handle_unknown="ignore", sparse_output=False).fit_transform(
        np.array(SITES)[known, None]
    )
    features = coding.encode(FRAME)
    np.testing.assert_allclose(features[known, :3], hot - hot.mean(axis=0), rtol=1e-6)
    assert features[~np.array(known), :4].tolist() == [[0, 0, 0, 1]] * 2
    unseen = coding.encode(pd.DataFrame({"body_site": ["toe", "arm"], "bled": ["perhaps", "TRUE"]}))
    assert unseen[0].tolist() == [0, 0, 0, 1, 0, 0]
    np.testing.assert_allclose(unseen[1, 4:], [-0.5, 0.5])


def test_a_silent_column_does_not_say_that_it_is_unknown():
    coding = fit_columns(FRAME, ["age", "body_site"], silent=["age", "body_site"])
    assert not any("unknown" in name for name in coding.names)
    features = coding.encode(FRAME)
    assert not features[[2, 4]].any()
    np.testing.assert_allclose(features[[0, 1, 3, 5]].mean(axis=0), 0, atol=1e-6)  # unknown is the average
    assert coding.silent == ("age", "body_site")


def test_an_encoding_outlives_json_and_a_frame_without_the_columns():
    coding = fit_columns(
        FRAME.assign(skin_tone=pd.array([1, None, 3, 4, 5, 6], "Int64")), ["age", "bled", "skin_tone"]
    )
    again = ColumnCoding.from_dict(json.loads(json.dumps(coding.to_dict())))
    assert again == coding
    np.testing.assert_array_equal(again.encode(FRAME), coding.encode(FRAME))
    without = coding.encode(FRAME[["case_id"]])
    assert without.shape == (6, coding.width)
    assert without[0].tolist() == [0, 1, 0, 0, 0, 1]  # of bled nobody was unknown: nothing is said of it
    assert ColumnCoding(()).encode(FRAME).shape == (6, 0)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["Age "], "columns must be in the table, got 'Age '; did you mean 'age'"),
        (["ages", "sex"], "columns must be in the table, got 'ages'; did you mean 'age'"),
        (["label"], "columns must describe the person or the lesion, got 'label'"),
        (["case_id"], "columns must describe the person or the lesion, got 'case_id'"),
        (["age", "age"], "columns must name each column once, got 'age' 2 times"),
        (["clinic"], "columns must vary, got 'clinic' with 'north' in 30 of 30 photos"),
        (["empty"], "columns must vary, got 'empty' with nothing known in any of 30 photos"),
        (["name"], "columns must be groups or numbers, got 'name' with 30 values in 30 cases"),
    ],
)
def test_columns_that_cannot_serve_are_refused(names, problem):
    frame = pd.DataFrame(
        {
            "case_id": [f"c{n}" for n in range(30)], "age": range(30), "clinic": ["north"] * 30, "empty": [""] * 30,
            "name": [f"n{n}" for n in range(30)],
        }
    )  # fmt: skip
    with pytest.raises(ValueError, match=problem):
        fit_columns(frame, names)


def test_a_cell_that_is_no_number_is_named_with_its_row_and_photo():
    """A slip in one cell would make a group of every age, which the networks then could not compare."""
    ages: list[object] = list(range(20, 80))
    ages[7], ages[30], ages[31] = "fifty", "", "40 years"
    frame = pd.DataFrame({"image": [f"{n}.png" for n in range(60)], "case_id": range(60), "age": ages})
    with pytest.raises(ValueError, match="columns must be groups or numbers") as refused:
        fit_columns(frame, ["age"])
    assert (
        "got 'age', which holds numbers but for 'fifty' in row 9 (7.png), '40 years' in row 33 (31.png)"
    ) in str(refused.value)
    # Codes of few groups are no numbers, and neither is a column of which half is text.
    codes = [("1", "2", "3", "3a")[n % 4] for n in range(60)]
    half = [str(n % 12) if n % 2 else "abcdefghijkl"[n % 12] for n in range(60)]
    coding = fit_columns(frame.assign(stage=codes, half=half), ["stage", "half"])
    assert [column.kind for column in coding.columns] == ["category", "category"]


def test_a_fold_in_which_a_column_does_not_vary_is_encoded_all_the_same():
    frame = FRAME[FRAME["body_site"] == "arm"]
    coding = fit_columns(frame, ["body_site"], check=False)
    assert coding.encode(FRAME).tolist() == [[0.0]] * 6


def test_what_is_unknown_of_silent_columns_comes_in_training_from_one_other_photo():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"smokes": rng.choice(["yes", "no"], 200), "weight": rng.normal(70, 9, 200)})
    frame["drinks"] = frame["smokes"]  # as the other photo's columns go together
    frame.loc[::3, ["smokes", "drinks", "weight"]] = None
    names = ["smokes", "drinks", "weight"]
    coding = fit_columns(frame, names, silent=names)
    plain, filled = coding.encode(frame), coding.encode_training(frame, np.random.default_rng(1))
    known = np.arange(200) % 3 != 0
    np.testing.assert_array_equal(filled[known], plain[known])
    assert not plain[~known].any()
    rows = {tuple(row) for row in plain[known].tolist()}
    assert all(tuple(row) in rows for row in filled[~known].tolist())
    np.testing.assert_array_equal(filled, coding.encode_training(frame, np.random.default_rng(1)))
    apart = frame.assign(smokes=frame["smokes"].where(known), drinks=frame["drinks"].where(~known, "no"))
    apart.loc[known, "drinks"] = None  # no photo has both: each column from another
    both = coding.encode_training(apart, np.random.default_rng(1))
    assert (both[:, 0] != 0).all()
    assert (
        fit_columns(frame, names).encode_training(frame, rng) == fit_columns(frame, names).encode(frame)
    ).all()
