"""Predictions, readers and degrees read together: other people's files, and everything wrong with them in one list."""

import contextlib
import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from skinjax.data.evaluation_data import (
    EvaluationDataError,
    coarse_level,
    compare_photos,
    read_evaluation_data,
    select,
)
from skinjax.data.invented import invent_predictions, invent_readers
from skinjax.data.predictions import columns, probabilities, write_predictions
from skinjax.files.folders import filling
from skinjax.labels.taxonomy import load_taxonomy

TREE = load_taxonomy("psoriasis9")


def write(folder, frame, name="a.csv"):
    frame.to_csv(folder / name, index=False)
    return {name.split(".")[0]: folder / name}


def faults(paths, *arguments, **named):
    with pytest.raises(EvaluationDataError) as caught:
        read_evaluation_data(paths, *arguments, **named)
    return caught.value.problems


def test_a_csv_alone_gets_a_flat_taxonomy_in_the_order_of_its_columns(tmp_path):
    (frame,) = invent_predictions(TREE, 20)
    data = read_evaluation_data(write(tmp_path, frame))
    assert data.taxonomy.levels == ("class",)
    assert data.taxonomy.classes() == TREE.classes()
    assert data.subgroups == ("skin_tone", "sex", "age")
    np.testing.assert_allclose(
        probabilities(data.models["a"], data.taxonomy), probabilities(frame, TREE), rtol=1e-15
    )
    assert coarse_level(data) is None
    np.testing.assert_array_equal(data.models["a"]["age"], frame["age"].astype(float))


def test_a_parquet_file_brings_its_taxonomy_for_all_models(tmp_path):
    ours, theirs = invent_predictions(TREE, 20, skills=(2, 1))
    write_predictions(ours, tmp_path / "b.parquet", TREE)
    shuffled = theirs.sample(frac=1, random_state=0)
    data = read_evaluation_data(
        {**write(tmp_path, shuffled), "b": tmp_path / "b.parquet"}, target=["near_relative"]
    )
    assert data.taxonomy == TREE
    assert list(data.models) == ["a", "b"]
    assert coarse_level(data) == "relation"


def test_everything_wrong_with_all_files_is_told_at_once(tmp_path):
    ours, theirs = invent_predictions(TREE, 20, skills=(2, 1))
    bad = ours.copy()
    bad.loc[0, "p_eczema"] = np.nan
    bad.loc[1, columns(TREE)] = 0.2
    bad.loc[4, "case_id"] = ""
    bad.loc[5, "label"] = "eczma"
    bad.loc[6, "age"] = "old"
    bad["skin_tone"] = bad["skin_tone"].astype(object)
    bad.loc[7, "skin_tone"] = 9
    bad = bad.rename(columns={"p_pemphigus": "p_pemphigos"})
    bad = pd.concat([bad, bad[3:4]])
    readers = invent_readers(ours, ["psoriasis"], 2)
    readers.loc[0, "image"] = "nowhere.jpg"
    readers.loc[1, "call"] = 2
    readers.to_csv(tmp_path / "readers.csv", index=False)
    (tmp_path / "degrees.json").write_text(json.dumps(dict.fromkeys(TREE.classes()[1:], 0)))
    theirs.loc[8, "label"] = "pemphigus" if theirs.loc[8, "label"] != "pemphigus" else "eczema"
    paths = {
        **write(tmp_path, bad),
        **write(tmp_path, theirs[:-1].rename(columns={"case_id": "Case ID"}), "b.csv"),
    }
    found = faults(
        paths, TREE, ["psorasis"], tmp_path / "degrees.json", tmp_path / "readers.csv", ["age", "hospital"]
    )
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    for wanted in (
        f"{a}: column 'skin_tone', 1 row with a skin tone that is not 1 to 6 or I to VI (Fitzpatrick; empty where "
        "not known): row 9 '9'",
        f"{a}: column 'p_eczema', 1 row that must hold probabilities in [0, 1]: row 2 nan",
        f"{a}: column 'image', 1 row with a photo that an earlier row lists: row 62 'invented/0000003.jpg'",
        f"{a}: column 'case_id', 1 row empty: row 6",
        f"{a}: column 'label', 1 row with a label that is no disease of taxonomy 'psoriasis9': row 7 'eczma', did you "
        "mean 'eczema'?",
        f"{a}: column 'age', 1 row that must hold years of 0 or more: row 8 'old'",
        f"{a}: column 'p_pemphigos' is for no class of level 'disease' of taxonomy 'psoriasis9', did you mean "
        "'pemphigus'?",
        f"{a}: no column 'p_pemphigus', though there are others of level 'disease'",
        f"{b}: no column 'case_id', but one 'Case ID'",
        f"{b}: where columns have other names, map=case_id=COLUMN tells them",
        "target 'psorasis' is no class of taxonomy 'psoriasis9', did you mean 'psoriasis'?",
        f"{tmp_path / 'degrees.json'}: no degree for 'psoriasis'; a class that is no tumour must say none",
        f"{tmp_path / 'readers.csv'}: column 'image', 1 row with a photo that the predictions do not have: row 2 "
        "'nowhere.jpg'",
        f"{tmp_path / 'readers.csv'}: column 'call', 1 row that must hold 0 or 1: row 3 '2'",
        f"{a}: subgroups: no column 'hospital'",
    ):
        assert wanted in found
    assert len(found) == len(set(found))


def test_rows_that_do_not_sum_to_1_are_numbered_as_in_the_file(tmp_path):
    (frame,) = invent_predictions(TREE, 5)
    frame.loc[1, columns(TREE)] = 0.2
    wanted = "column 'p_psoriasis to p_seborrheic_keratosis', 1 row whose probabilities do not sum to 1: row {} 1.8"
    assert faults(write(tmp_path, frame)) == (f"{tmp_path / 'a.csv'}: {wanted.format(3)}",)
    frame.to_parquet(tmp_path / "a.parquet")
    assert faults({"a": tmp_path / "a.parquet"}) == (f"{tmp_path / 'a.parquet'}: {wanted.format(2)}",)


@pytest.mark.parametrize(
    ("renamed", "hint"),
    [
        ({"case_id": "Case ID"}, "no column 'case_id', but one 'Case ID'"),
        ({"label": "labels"}, "no column 'label', but one 'labels'"),
        (
            {f"p_{name}": name for name in TREE.classes()},
            "no probabilities: there must be the 9 columns 'p_psoriasis' to 'p_seborrheic_keratosis'; column "
            "'psoriasis' is to be called 'p_psoriasis', or 'logit_psoriasis' where it holds logits",
        ),
        (
            {f"p_{name}": f"prob_{name}" for name in TREE.classes()},
            "column 'prob_psoriasis' is to be called 'p_psoriasis'",
        ),
    ],
)
def test_a_misspelt_column_gets_a_hint(renamed, hint, tmp_path):
    (frame,) = invent_predictions(TREE, 5)
    found = faults(write(tmp_path, frame.rename(columns=renamed)), TREE)
    assert any(hint in problem for problem in found), found


def test_no_class_column_and_no_taxonomy(tmp_path):
    (frame,) = invent_predictions(TREE, 5)
    (problem,) = faults(write(tmp_path, frame.drop(columns=columns(TREE))))
    assert (
        "no column 'p_<class>' or 'logit_<class>' to take the classes from; the columns are 'image'"
        in problem
    )
    frame.drop(columns=[*columns(TREE), "fold"]).to_csv(tmp_path / "a.csv", index=False)
    assert "'fold'" not in faults({"a": tmp_path / "a.csv"})[0]  # which reading adds
    (problem,) = faults({"a": tmp_path})
    assert problem == f"{tmp_path}: is a folder; it must be the file of a table (CSV, Excel or Parquet)"
    (problem,) = faults({"a": tmp_path / "none.csv"})
    assert problem == f"{tmp_path / 'none.csv'}: no such file"


def test_models_of_other_photos_labels_or_cases_are_refused():
    ours, theirs = (frame[["image", "label", "case_id"]] for frame in invent_predictions(TREE, 5, (1, 1)))
    assert compare_photos("a", ours, "b", theirs.sample(frac=1, random_state=1)) == []
    other = theirs[1:].copy()
    other.loc[1, "image"] = "new.jpg"
    other.loc[2, "case_id"] = "x"
    assert compare_photos("a", ours, "b", other) == [
        "model 'b' lacks 2 photos ('invented/0000000.jpg', 'invented/0000001.jpg') of model 'a'",
        "model 'a' lacks 1 photo ('new.jpg') of model 'b'",
        "models 'a' and 'b' differ in the case of 1 photo: 'invented/0000002.jpg' ('case_0' and 'x')",
    ]


def test_subgroup_columns(tmp_path):
    (frame,) = invent_predictions(TREE, 60)
    frame["source"] = "one"
    frame["age"] = np.where(frame["sex"] == "male", "adult", "child")
    paths = write(tmp_path, frame)
    assert read_evaluation_data(paths, TREE).subgroups == ("skin_tone", "sex", "age")
    assert read_evaluation_data(paths, TREE).models["a"]["age"].iloc[0] in ("adult", "child")
    assert read_evaluation_data(paths, TREE, subgroups=[]).subgroups == ()
    found = faults(paths, TREE, subgroups=["source", "case_id", "sexe"])
    assert [problem.removeprefix(f"{paths['a']}: subgroups: ") for problem in found] == [
        "no column 'sexe', but one 'sex'",
        "column 'source' must have 2 to 40 groups, got 1",
        "column 'case_id' must have 2 to 40 groups, got 60",
    ]


def test_targets(tmp_path):
    paths = write(tmp_path, invent_predictions(TREE, 9)[0])
    assert read_evaluation_data(paths, TREE, ["eczema", "psoriasis"]).target == ("eczema", "psoriasis")
    assert faults(paths, TREE, ["eczema", "near_relative"]) == (
        "target must name classes of one level, got 'eczema', 'near_relative' of several",
    )


def test_readers_want_a_target_and_are_cut_to_photos_that_all_called(tmp_path):
    (frame,) = invent_predictions(TREE, 9)
    paths = write(tmp_path, frame)
    readers = invent_readers(frame, ["eczema"], 3)
    readers[1:].to_csv(tmp_path / "readers.csv", index=False)
    (problem,) = faults(paths, TREE, readers=tmp_path / "readers.csv")
    assert problem.startswith("readers must come with a target")
    data = read_evaluation_data(paths, TREE, ["eczema"], readers=tmp_path / "readers.csv")
    assert len(data.readers) == 3 * 26
    assert data.notes == ("1 photos that not all readers called are left out of the reader study.",)
    few = select(data, frame["image"][:5].tolist())
    assert (len(few.models["a"]), len(few.readers)) == (5, 12)


def test_a_folder_is_filled_as_a_whole(tmp_path):
    out = tmp_path / "out"
    with filling(out, last="index.html") as hidden:
        (hidden / "tables").mkdir()
        (hidden / "tables" / "old.csv").write_text("old")
        (hidden / "index.html").write_text("old")
    (out / "mine.txt").write_text("kept")
    with contextlib.suppress(RuntimeError), filling(out, last="index.html") as hidden:
        (hidden / "index.html").write_text("half")
        raise RuntimeError
    assert (out / "index.html").read_text() == "old"
    with filling(out, last="index.html") as hidden:
        with (
            pytest.raises(ValueError, match="is being written by another process"),
            filling(out, last="index.html"),
        ):
            pass
        (hidden / "tables").mkdir()
        (hidden / "index.html").write_text("new")
    assert [path.name for path in sorted(out.rglob("*"))] == ["index.html", "mine.txt", "tables"]
    assert (out / "index.html").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_a_process_killed_while_filling_leaves_the_folder_and_the_next_one_cleans_up(tmp_path):
    code = (
        "import os, signal, sys\nfrom skinjax.files.folders import filling\n"
        "with filling(sys.argv[1], last='index.html') as hidden:\n"
        "    (hidden / 'index.html').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    out = tmp_path / "out"
    result = subprocess.run([sys.executable, "-c", code, str(out)], check=False)
    assert result.returncode == -signal.SIGKILL
    assert not out.exists()
    with filling(out, last="index.html") as hidden:
        assert not list(hidden.iterdir())
        (hidden / "index.html").write_text("whole")
    assert list(tmp_path.iterdir()) == [out]


def test_many_photos_in_another_order_are_the_same():
    images = pd.Series([f"photos/{number}.jpg" for number in range(200_000)], dtype=str)
    frame = pd.DataFrame({"image": images, "label": "x", "case_id": images.str[:9]})
    assert compare_photos("a", frame, "b", frame[::-1].reset_index(drop=True)) == []
