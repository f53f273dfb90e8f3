"""Two populations compared: the built-in ones as a command, and two sets of one's own both ways."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

import skinjax
from skinjax.data.predictions import probabilities, read_predictions, validate
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.studies import cross_dataset
from tests.support import small_backbones
from tests.support.both_ways import TINY, assert_evaluated, run_both_ways
from tests.support.commands import run_small
from tests.support.small_photos import write_photos

pytestmark = pytest.mark.slow
PAIRS = [(trained, on) for trained in "ab" for on in "ab"]
run = functools.partial(run_small, "cross_dataset")


@pytest.fixture(scope="module")
def flags(tmp_path_factory, compilations) -> list[str]:
    folder = tmp_path_factory.mktemp("cross")
    tiny = ["--smoke", "--epochs=1", "--synthetic_cases=2", "--equal_size"]
    kept = f"--compilation_cache={compilations}"
    return [*tiny, f"--workdir={folder / 'run'}", kept, "--backbone=small"]


@pytest.fixture(scope="module")
def finished(flags) -> Path:
    run(*flags)
    return Path(flags[4].removeprefix("--workdir="))


def pooled(finished: Path, trained: str, on: str) -> pd.DataFrame:
    return read_predictions(finished / "predictions" / f"{trained}_on_{on}.parquet")


def test_each_photo_of_both_sets_is_answered_once_by_networks_of_each(finished):
    tree = load_taxonomy(finished / "taxonomy.json")
    tones = {"a": {"1", "2"}, "b": {"5", "6"}}
    for trained, on in PAIRS:
        frame = pooled(finished, trained, on)
        validate(frame, tree)
        manifest = pd.read_csv(finished / on / "photos" / "manifest.csv", dtype=str)
        assert sorted(frame["image"]) == sorted(manifest["image"])
        assert set(frame["skin_tone"].astype(str)) == tones[on]
        assert (frame.groupby("case_id")["fold"].nunique() == 1).all()
    for on in "ab":
        own, foreign = (pooled(finished, trained, on).set_index("image") for trained in "ab")
        pd.testing.assert_series_equal(own["fold"], foreign["fold"])
        first = f"p_{tree.classes()[0]}"
        assert not own[first].equals(foreign[first])
    assert not set(pooled(finished, "a", "a")["case_id"]) & set(pooled(finished, "b", "b")["case_id"])


def test_the_tables_are_scikit_learns_on_the_stored_predictions(finished):
    tree = load_taxonomy(finished / "taxonomy.json")
    matrix = pd.read_csv(finished / "report" / "tables" / "shift_matrix.csv")
    names = {"a": "light skin", "b": "dark skin"}
    for trained, on in PAIRS:
        frame = pooled(finished, trained, on)
        predicted = probabilities(frame, tree).argmax(axis=1)
        expected = balanced_accuracy_score(tree.encode(frame["label"]), predicted)
        row = matrix[(matrix["trained"] == names[trained]) & (matrix["tested"] == names[on])]
        assert row["balanced_accuracy"].item() == pytest.approx(expected, abs=1e-9)


def test_the_networks_of_both_sets_see_about_equally_many_photos(finished):
    training = pd.read_csv(finished / "report" / "tables" / "training.csv")
    assert set(training["network"]) == {"a", "b"}
    for _, pair in training.groupby("fold"):
        seen = pair.set_index("network")["photos per epoch"]
        assert abs(seen["a"] - seen["b"]) <= 16  # a batch


def test_the_page_tells_both_directions_and_that_the_photos_are_rendered(finished):
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    for words in (
        "Trained on light skin",
        "Trained on dark skin",
        "By skin type",
        "Rendered photos",
        "label shift",
    ):
        assert words in page
    config = json.loads((finished / "config.json").read_text(encoding="utf-8"))
    assert config["photos"] == len(pooled(finished, "a", "a")) + len(pooled(finished, "a", "b"))


def test_the_same_command_again_says_that_it_is_finished(finished, flags):
    again = run(*flags)
    assert again.stderr.startswith("finished already: ")
    assert again.stdout.endswith(f"report: {finished / 'report' / 'index.html'}\n")


def test_the_run_is_evaluated_on_the_first_set_and_loaded(finished, tmp_path):
    found = assert_evaluated(finished, tmp_path / "evaluation")
    tree = load_taxonomy(finished / "taxonomy.json")
    compared = found.tables["models"].set_index("model")
    for trained in "ab":
        frame = pooled(finished, trained, "a")
        predicted = probabilities(frame, tree).argmax(axis=1)
        accuracy = (predicted == tree.encode(frame["label"])).mean()
        assert compared.loc[f"trained on {trained.upper()}", "accuracy"] == pytest.approx(accuracy)
    page = (tmp_path / "evaluation" / "index.html").read_text(encoding="utf-8")
    assert "The photos are those of the first set, A" in page
    with small_backbones.registered():
        assert skinjax.load_run(finished).network.stage == "a"
        assert skinjax.load_run(finished, "b", 1).network.fold == 1


def test_two_sets_of_ones_own_are_compared_both_ways(tmp_path):
    first = write_photos(tmp_path / "first", 4)
    second = write_photos(tmp_path / "second", 4, seed=1)
    second.assign(case_id="other " + second["case_id"]).to_csv(
        tmp_path / "second" / "manifest.csv", index=False
    )
    options = TINY | {"folds": 2}
    result = run_both_ways(
        cross_dataset, "cross_dataset", tmp_path / "first", options, tmp_path, tmp_path / "second"
    )
    assert list(result.table["trained"]) == ["first", "first", "second", "second"]
    assert sorted(result.predictions["image"]) == sorted(first["image"])


def test_sets_that_cannot_be_compared_are_refused(tmp_path):
    (tmp_path / "m.csv").write_text("image,label,case_id\n1.jpg,nevus,a\n2.jpg,melanoma,b\n")
    (tmp_path / "n.csv").write_text("image,label,case_id\n3.jpg,NV,c\n4.jpg,MM,d\n")
    new = ["--smoke", f"--workdir={tmp_path / 'run'}", f"--manifest={tmp_path / 'm.csv'}"]
    told = run(*new, code=2).stderr
    assert "set A is given alone; the second set must be named too, by --other_manifest=FILE" in told
    told = run(*new, f"--other_manifest={tmp_path / 'm.csv'}", code=2).stderr
    assert "A and B must be sets of different photos, but have photos in common" in told
    (tmp_path / "o.csv").write_text("image,label,case_id\n5.jpg,nevus,b\n6.jpg,melanoma,e\n")
    told = run(*new, f"--other_manifest={tmp_path / 'o.csv'}", code=2).stderr
    assert "A and B must have no case in common, got 1 in both, such as b" in told
    (tmp_path / "s.csv").write_text("class,a,b\nnevus,nevus,NV\nmelanoma,melanoma,MMM\n")
    told = run(
        *new, f"--other_manifest={tmp_path / 'n.csv'}", f"--shared_taxonomy={tmp_path / 's.csv'}", code=2
    )
    assert "'MMM' is no label of taxonomy 'labels of the manifest'" in told.stderr
