"""Degrees of malignancy: the built-in photos as a command, and photos of one's own both ways."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import skinjax
from skinjax.data.predictions import probabilities, read_predictions, validate
from skinjax.labels.degrees import load_degrees
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.studies import malignancy
from skinjax.studies.steps.tumours import cost_matrix
from tests.support import small_backbones
from tests.support.both_ways import TINY, assert_evaluated, run_both_ways
from tests.support.commands import run_small
from tests.support.small_photos import write_photos

DEGREES = dict(load_degrees("synthetic19").degrees)
run = functools.partial(run_small, "malignancy")


@pytest.fixture(scope="module")
def flags(tmp_path_factory, compilations) -> list[str]:
    folder = tmp_path_factory.mktemp("malignancy")
    kept = f"--compilation_cache={compilations}"
    return ["--smoke", "--epochs=1", f"--workdir={folder / 'run'}", kept, "--backbone=small"]


@pytest.fixture(scope="module")
def finished(flags) -> Path:
    run(*flags)
    return Path(flags[2].removeprefix("--workdir="))


@pytest.mark.slow
def test_each_photo_of_a_tumour_is_predicted_once_and_no_other(finished):
    tree = load_taxonomy(finished / "taxonomy.json")
    assert tree.levels == ("degree", "sub")
    assert set(tree.classes()) == set(DEGREES)
    frame = read_predictions(finished / "predictions" / "out_of_fold.parquet")
    validate(frame, tree)
    manifest = pd.read_csv(finished / "photos" / "manifest.csv", dtype=str)
    assert sorted(frame["image"]) == sorted(manifest["image"][manifest["label"].isin(list(DEGREES))])
    assert len(frame) < len(manifest)
    assert (frame.groupby("case_id")["fold"].nunique() == 1).all()


@pytest.mark.slow
def test_the_report_names_every_cancer_that_was_graded_too_low(finished):
    frame = read_predictions(finished / "predictions" / "out_of_fold.parquet")
    tables = finished / "report" / "tables"
    listed = pd.read_csv(tables / "under_graded.csv", dtype={"case_id": str})
    true = frame["label"].map(DEGREES)
    assert set(listed["image"]) <= set(frame["image"][true > 0])
    drawn = pd.read_csv(finished / "report" / "figures" / "degrees.csv")
    for rule in ("argmax", "least_cost", "cutpoints"):
        counts = drawn[drawn["rule"] == rule][["given_0", "given_1", "given_2"]].to_numpy()
        np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(true, minlength=3))
        assert (listed[rule] < listed["degree"]).sum() == np.tril(counts, -1).sum()
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert all(image in page for image in listed["image"])
    for words in (
        "are no tumours here and left out",
        "made of random numbers",
        "not a diagnosis",
        "our choice",
    ):
        assert words in page
    assert page.index("are graded too low by the most probable degree") < page.index("<nav")


@pytest.mark.slow
def test_scores_are_of_probabilities_scaled_on_the_other_folds(finished):
    """Of each fold one temperature explains all scores, and the two differ as their fits do."""
    tree = load_taxonomy(finished / "taxonomy.json")
    frame = read_predictions(finished / "predictions" / "out_of_fold.parquet").set_index("image", drop=False)
    listed = pd.read_csv(finished / "report" / "tables" / "under_graded.csv").set_index("image")
    values = np.array([DEGREES[name] for name in tree.classes()]) * 50.0
    for _, rows in listed.join(frame["fold"]).groupby("fold"):
        logits = np.log(probabilities(frame.loc[rows.index], tree))
        errors = []
        for temperature in np.geomspace(0.01, 100, 2001):
            powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
            scores = powers / powers.sum(axis=1, keepdims=True) @ values
            errors.append(np.abs(scores - rows["score"]).max())
        assert min(errors) < 0.05


@pytest.mark.slow
def test_another_cost_and_other_readers_write_the_report_again_and_train_nothing(finished, flags, tmp_path):
    frame = read_predictions(finished / "predictions" / "out_of_fold.parquet")
    readers = tmp_path / "readers.csv"
    given = frame["label"].map(DEGREES)
    pd.DataFrame({"reader": "Dr Right", "image": frame["image"], "degree": given}).to_csv(
        readers, index=False
    )
    stored = (finished / "predictions" / "fold_0.parquet").read_bytes()
    result = run(*flags, "--cost=0,1,2;50,0,1;50,50,0", f"--readers={readers}")
    assert "fold 1 of 2" not in result.stderr + result.stdout
    assert (finished / "predictions" / "fold_0.parquet").read_bytes() == stored
    cost = pd.read_csv(finished / "report" / "tables" / "malignancy_cost.csv")
    assert cost["given_0"].tolist() == [0, 50, 50]
    graders = pd.read_csv(finished / "report" / "tables" / "graders.csv").set_index("who")
    assert graders.loc["Dr Right", ["kappa", "cost", "under_graded"]].tolist() == [1, 0, 0]
    rules = pd.read_csv(finished / "report" / "tables" / "malignancy.csv").set_index("rule")
    assert rules.loc["least_cost", "under_graded"] == 0  # at 50 to 1 nothing is called benign
    configuration = pd.read_csv(finished / "report" / "tables" / "configuration.csv").set_index("setting")
    assert configuration.loc["config.cost", "value"] == "0,1,2;50,0,1;50,50,0"


@pytest.mark.slow
def test_the_run_is_evaluated_and_loaded(finished, tmp_path):
    found = assert_evaluated(finished, tmp_path / "evaluation")
    frame = read_predictions(finished / "predictions" / "out_of_fold.parquet")
    pd.testing.assert_frame_equal(found.predictions, frame)
    tree = load_taxonomy(finished / "taxonomy.json")
    predicted = probabilities(frame, tree).argmax(axis=1)
    accuracy = (predicted == tree.encode(frame["label"])).mean()
    assert found.table["accuracy"][0] == pytest.approx(accuracy)
    with small_backbones.registered():
        run = skinjax.load_run(finished, fold=1)
    assert (run.network.stage, run.network.fold) == ("sub", 1)
    assert set(run.network.classes) == set(DEGREES)


@pytest.mark.slow
def test_tumours_of_ones_own_are_graded_both_ways(tmp_path):
    photos = write_photos(tmp_path / "mine", 8)
    (tmp_path / "degrees.csv").write_text("class,degree\nnevus,0\nlichen,1\nmelanoma,2\n")
    options = TINY | {"folds": 2, "degrees": str(tmp_path / "degrees.csv")}
    result = run_both_ways(malignancy, "malignancy", tmp_path / "mine", options, tmp_path)
    assert list(result.table["rule"]) == ["argmax", "least_cost", "cutpoints"]
    tumours = photos["label"].isin(["nevus", "lichen", "melanoma"])
    assert sorted(result.predictions["image"]) == sorted(photos["image"][tumours])


@pytest.mark.slow
def test_faults_are_told_before_anything_is_trained(flags, tmp_path):
    new = f"--workdir={tmp_path / 'run'}"
    assert "--cost=0,1;1 must be 2 rows of 2 numbers" in run("--smoke", new, "--cost=0,1;1", code=2).stderr
    assert not (tmp_path / "run" / "photos").exists()
    (tmp_path / "m.csv").write_text("image,label,case_id\n1.jpg,nevus,a\n2.jpg,melanoma,b\n")
    told = run(new, f"--manifest={tmp_path / 'm.csv'}", code=2).stderr
    assert "the catalogue has no degrees of taxonomy 'labels of the manifest'" in told
    assert "give --degrees=FILE" in told
    (tmp_path / "d.csv").write_text("class,degree\nnevus,0\nmelanoma,1\n")
    (tmp_path / "r.csv").write_text("reader,image,degree\nA,3.jpg,0\nA,1.jpg,2\n")
    own = [new, f"--manifest={tmp_path / 'm.csv'}", f"--degrees={tmp_path / 'd.csv'}"]
    told = run(*own, f"--readers={tmp_path / 'r.csv'}", code=2).stderr
    assert "row 2 '3.jpg'" in told
    assert "0 to 1 (benign, malignant): row 3 '2'" in told


@pytest.mark.parametrize("text", ["0,1", "0,x;1,0", "0,1;-1,0", "1,0;0,1", "0,1;inf,0", "0,1,2;1,0,1"])
def test_what_is_no_cost_matrix_is_refused(text):
    with pytest.raises(
        ValueError, match="must be 2 rows of 2 numbers of at least 0, 0 where the degree is right"
    ):
        cost_matrix(text, num_degrees=2)


def test_a_cost_matrix_has_true_degrees_in_rows():
    assert cost_matrix("0,1,2;4,0,1;8,4,0", 3).tolist() == [[0, 1, 2], [4, 0, 1], [8, 4, 0]]
    assert cost_matrix(" ", 3) is None
