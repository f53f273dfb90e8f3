"""The predictions file: round trips, other people's files, and every fault named at once."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from skinjax.data.predictions import (
    Predictions,
    PredictionsError,
    columns,
    from_arrays,
    probabilities,
    read_predictions,
    read_taxonomy,
    validate,
    write_predictions,
)
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy

TREE = load_taxonomy("psoriasis9")
CLASSES = TREE.classes()


@pytest.mark.parametrize(
    "case_id",
    [
        ["a", None],
        ["a", float("nan")],  # of which numpy alone would make text
        np.array([1.0, np.nan]),
        pd.Series(["a", pd.NA], dtype="string"),
        pd.Series(["a", None], dtype="category"),
    ],
)
def test_a_missing_case_is_refused_where_arrays_are_given(case_id):
    with pytest.raises(PredictionsError, match="column 'case_id', 1 row empty: row 2"):
        from_arrays(["1.png", "2.png"], case_id, [CLASSES[0]] * 2, 0, np.full((2, 9), 1 / 9), TREE)


def example(count=6, seed=0):
    rng = np.random.default_rng(seed)
    return from_arrays(
        image=[f"{i}.png" for i in range(count)],
        case_id=[f"00{i // 2}" for i in range(count)],
        label=[CLASSES[i % 9] for i in range(count)],
        fold=np.arange(count) % 5,
        probabilities=rng.dirichlet(np.ones(9), count),
        taxonomy=TREE,
        coarser={"relation": rng.dirichlet(np.ones(3), count)},
        extra=pd.DataFrame(
            {"skin_tone": pd.array([3, None] * (count // 2), "Int64"), "image": ["no"] * count}
        ),
    )


def test_columns_stand_in_taxonomy_order():
    frame = example()
    assert list(frame) == [
        "image",
        "case_id",
        "label",
        "fold",
        *(f"p_{name}" for name in CLASSES),
        "relation:p_psoriasis",
        "relation:p_near_relative",
        "relation:p_distant_relative",
        "skin_tone",
    ]
    assert columns(TREE, "disease", "logit")[0] == "logit_psoriasis"
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(probabilities(frame, TREE), rng.dirichlet(np.ones(9), 6))
    np.testing.assert_array_equal(probabilities(frame, TREE, "relation"), rng.dirichlet(np.ones(3), 6))
    # The order is the taxonomy's, whatever the file's.
    np.testing.assert_array_equal(probabilities(frame[sorted(frame)], TREE), probabilities(frame, TREE))


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
def test_written_files_read_back_to_the_last_bit(tmp_path, name):
    frame = example()
    write_predictions(frame, tmp_path / name, TREE)
    again = read_predictions(tmp_path / name)
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    validate(again, TREE)
    assert read_taxonomy(tmp_path / name) == (TREE if name == "p.parquet" else None)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_another_frameworks_csv_with_logits_and_no_fold(tmp_path):
    logits = np.random.default_rng(1).normal(0, 300, (4, 9))
    table = pd.DataFrame(logits, columns=[f"logit_{name}" for name in CLASSES])
    table = table.assign(image=list("abcd"), case_id=[1, 2, 3, 4], label=CLASSES[0])
    table.to_csv(tmp_path / "p.csv", index=False)
    frame = read_predictions(tmp_path / "p.csv")
    validate(frame, TREE)
    assert frame["fold"].tolist() == [0] * 4
    assert frame["case_id"].tolist() == ["1", "2", "3", "4"]
    np.testing.assert_allclose(probabilities(frame, TREE), softmax(logits, 1), rtol=1e-12)


def test_parquet_of_float32_and_numbers_for_ids(tmp_path):
    values = np.random.default_rng(0).dirichlet(np.ones(9), 3).astype(np.float32)
    table = pd.DataFrame(values, columns=[f"p_{name}" for name in CLASSES])
    table.assign(image=[1, 2, 3], case_id=[7.0, 8.0, 9.0], label=list(CLASSES[:3])).to_parquet(
        tmp_path / "p.parquet"
    )
    frame = read_predictions(tmp_path / "p.parquet")
    validate(frame, TREE)
    assert frame["case_id"].tolist() == ["7", "8", "9"]
    assert probabilities(frame, TREE).dtype == np.float64
    np.testing.assert_array_equal(probabilities(frame, TREE), values.astype(np.float64))


def test_three_decimals_are_near_enough_and_two_are_not():
    frame = example()
    names = columns(TREE)
    frame.loc[0, names] = [0.112, *[0.111] * 8]
    validate(frame, TREE)
    frame.loc[0, names] = [0.115, *[0.111] * 8]
    with pytest.raises(PredictionsError, match=r"1 row whose probabilities do not sum to 1: row 1 1\.003"):
        validate(frame, TREE)


def test_all_faults_at_once():
    frame = example(8).astype({"label": object, "case_id": object})
    frame.loc[1, "p_eczema"] = np.nan
    frame.loc[2, ["p_eczema", "p_pemphigus"]] = [-0.25, 1.5]
    frame.loc[3, columns(TREE)] = 0.2
    frame.loc[4, "image"] = "0.png"
    frame.loc[5, "case_id"] = ""
    frame.loc[6, "label"] = "Eczema"
    frame["fold"] = 0.5
    frame["p_exzema"] = 0.0
    frame["relatives:p_x"] = 0.0
    frame = frame.drop(columns="relation:p_near_relative")
    with pytest.raises(PredictionsError) as caught:
        validate(frame, TREE)
    assert caught.value.problems == (
        "column 'case_id', 1 row empty: row 6",
        "column 'image', 1 row with a photo that an earlier row lists: row 5 '0.png'",
        "column 'label', 1 row with a label that is no disease of taxonomy 'psoriasis9': "
        "row 7 'Eczema', did you mean 'eczema'?",
        "column 'fold' must hold integers, got type float64",
        "column 'p_exzema' is for no class of level 'disease' of taxonomy 'psoriasis9', "
        "did you mean 'eczema'?",
        "column 'relatives:p_x' is for no level of relation, disease",
        "column 'p_eczema', 2 rows that must hold probabilities in [0, 1]: row 2 nan, row 3 -0.25",
        "column 'p_pemphigus', 1 row that must hold probabilities in [0, 1]: row 3 1.5",
        "column 'p_psoriasis to p_seborrheic_keratosis', 1 row whose probabilities do not sum to 1: "
        "row 4 1.8",
        "no column 'relation:p_near_relative', though there are others of level 'relation'",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f.drop(columns="p_eczema"),
            "no column 'p_eczema', though there are others of level 'disease'",
        ),
        (
            lambda f: f.drop(columns=columns(TREE)),
            "no probabilities: there must be the 9 columns 'p_psoriasis' to",
        ),
        (lambda f: f.drop(columns="case_id"), "no column 'case_id'"),
        (lambda f: f[:0], "no rows"),
        (lambda f: f.assign(p_eczema="x"), "column 'p_eczema' must hold numbers"),
        (lambda f: f.assign(case_id=None), "column 'case_id', 6 rows empty: row 1, row 2"),
    ],
)
def test_single_faults(change, message):
    with pytest.raises(PredictionsError, match=message):
        validate(change(example()), TREE)


def test_infinite_logits_are_refused():
    frame = example().drop(columns=columns(TREE))
    frame[columns(TREE, kind="logit")] = 1.0
    frame.loc[2, "logit_eczema"] = np.inf
    with pytest.raises(
        PredictionsError, match="column 'logit_eczema', 1 row that must hold finite logits: row 3 inf"
    ):
        validate(frame, TREE)


def test_files_that_do_not_fit(tmp_path):
    header = "image,case_id,label,fold,p_psoriasis\n"
    for text, message in (
        (header + "a,1,x,0,high\n", r"column 'p_psoriasis', 1 row not a number: row 2 'high'"),
        (header + "a,1,x,0.5,1\n", r"column 'fold', 1 row not an integer: row 2 0\.5"),
        (header + "a,1,x,,1\n", r"column 'fold', 1 row not an integer: row 2 nan"),
        (
            "image,Case ID,label\na,1,b\n",
            "no column 'case_id', but one 'Case ID'\n- where columns have other names, map=",
        ),
        ("image,case_id,label,skin_tone\na,1,x,9\n", "skin tone that is not 1 to 6 or I to VI"),
    ):
        (tmp_path / "p.csv").write_text(text)
        with pytest.raises(PredictionsError, match=message):
            read_predictions(tmp_path / "p.csv")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(PredictionsError, match="cannot be read as Parquet"):
        read_predictions(tmp_path / "broken.parquet")


def test_a_later_version_is_refused(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"image": ["a"]}).replace_schema_metadata({b"skinjax.predictions": b"2"})
    parquet.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(PredictionsError, match="schema version 2; this skinjax reads 1"):
        read_predictions(tmp_path / "p.parquet")


def test_an_invalid_frame_is_not_written(tmp_path):
    with pytest.raises(PredictionsError, match="earlier row"):
        write_predictions(example().assign(image="a"), tmp_path / "p.parquet", TREE)
    assert not list(tmp_path.iterdir())


def test_shapes_are_checked():
    good = {"image": ["a"], "case_id": ["1"], "label": ["eczema"], "fold": 0, "probabilities": np.eye(9)[:1]}
    assert len(from_arrays(**good, taxonomy=TREE)) == 1
    for change, message in (
        ({"case_id": ["1", "2"]}, "case_id must have one entry per photo, got 2 for 1 photos"),
        ({"probabilities": np.eye(9)}, r"level 'disease' must be \(1, 9\), got \(9, 9\)"),
        ({"coarser": {"relation": [[1, 0]]}}, r"level 'relation' must be \(1, 3\), got \(1, 2\)"),
        ({"coarser": {"meta": [[1, 0]]}}, "no level 'meta'"),
        ({"extra": pd.DataFrame({"age": [1, 2]})}, "extra must have one row per photo, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            from_arrays(**{**good, **change}, taxonomy=TREE)
    with pytest.raises(ValueError, match="no column 'relation:p_psoriasis' in the predictions"):
        probabilities(from_arrays(**good, taxonomy=TREE), TREE, "relation")


def test_predictions_are_parsed_once_into_arrays():
    rng = np.random.default_rng(4)
    names = TREE.classes()
    labels = [names[i] for i in (3, 0, 8, 3)]
    logits = rng.normal(size=(4, 9))
    frame = pd.DataFrame({"image": list("abcd"), "case_id": ["1", "1", "2", "3"], "label": labels})
    frame[[f"logit_{name}" for name in names]] = logits
    frame[columns(TREE, "relation")] = rng.dirichlet(np.ones(3), 4)
    frame["sex"] = ["female", "", "male", "male"]
    parsed = Predictions.from_frame(frame.set_index(np.arange(4) + 7), TREE)
    assert len(parsed) == 4
    assert parsed.label.dtype == np.int32
    assert parsed.label.tolist() == [3, 0, 8, 3]
    assert parsed.label_names.tolist() == labels
    assert parsed.fold.tolist() == [0, 0, 0, 0]
    assert list(parsed.frame) == ["image", "case_id", "label", "sex", "fold"]
    np.testing.assert_allclose(parsed.probabilities(), softmax(logits, 1), rtol=1e-12)
    np.testing.assert_array_equal(parsed.probabilities("relation"), frame[columns(TREE, "relation")])
    assert [parsed.has_network(level) for level in ("relation", "disease", None)] == [True, False, False]
    for rows in (np.array([2, 0]), np.array([True, False, True, False])):
        few = parsed.take(rows)
        assert sorted(few.image) == ["a", "c"]
        np.testing.assert_array_equal(few.probabilities(), parsed.probabilities()[rows])
        assert few.frame["label"].tolist() == few.label_names.tolist()


def test_predictions_are_checked_before_they_are_parsed():
    good = {"image": ["a"], "case_id": ["1"], "label": ["eczema"], "fold": 2, "probabilities": np.eye(9)[:1]}
    frame = from_arrays(**good, taxonomy=TREE)
    with pytest.raises(ValueError, match="must be one of those with a network, disease, got 'relation'"):
        Predictions.from_frame(frame, TREE).probabilities("relation")
    with pytest.raises(PredictionsError, match="do not sum to 1"):
        Predictions.from_frame(frame.assign(p_eczema=0.5), TREE)


def test_answers_of_predict_with_labels_are_predictions(tmp_path, caplog):
    text = (
        "photo,error,diagnosis,disease,disease_probability,advice,p_a,p_b{label}\n"
        "x/1.png,,a,a,0.75,see a doctor,0.75,0.25{first}\n"
        "x/2.png,cannot be read,,,,,,{none}\n"
        "x/3.png,,,b,0.5,,0.5,0.5{third}\n"
    )
    path = tmp_path / "predictions.csv"
    path.write_text(text.format(label="", first="", none="", third=""))
    with pytest.raises(PredictionsError, match="add one, called 'label'"):
        read_predictions(path)
    path.write_text(text.format(label=",label", first=",b", none=",", third=",a"))
    frame = read_predictions(path)
    assert frame["image"].tolist() == frame["case_id"].tolist() == ["x/1.png", "x/3.png"]
    assert frame["label"].tolist() == ["b", "a"]
    assert frame["p_a"].tolist() == [0.75, 0.5]
    validate(frame, Taxonomy("pair", ("disease",), (("a",), ("b",))))
    assert "no column case_id: each photo counts by itself" in caplog.text
    assert "Photos that `predict` could not read are left out: 1." in caplog.text
    path.write_text(text.format(label=",label,case_id", first=",b,7", none=",,", third=",wrong,7"))
    assert read_predictions(path)["case_id"].tolist() == ["7", "7"]


def test_what_predict_answered_is_never_taken_for_the_truth(tmp_path):
    """A run whose taxonomy has a level called label writes its answers into columns of that name."""
    path = tmp_path / "predictions.csv"
    text = "photo,error,diagnosis,label,label_probability,p_a,p_b{}\n1.png,,a,a,0.75,0.75,0.25{}\n"
    path.write_text(text.format("", ""))
    with pytest.raises(PredictionsError, match="called 'true_label', as 'label' is what was predicted"):
        read_predictions(path)
    path.write_text(text.format(",true_label", ",b"))
    assert read_predictions(path)["label"].tolist() == ["b"]
