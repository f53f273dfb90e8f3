"""Two populations as a user compares them: in a process of its own, from flags to the report."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from skinjax.data.predictions import probabilities, read_predictions, validate
from skinjax.labels.taxonomy import load_taxonomy
from tests.commands import run_with_small_backbones

pytestmark = pytest.mark.slow
PAIRS = [(trained, on) for trained in "ab" for on in "ab"]
run = functools.partial(run_with_small_backbones, "cross_dataset")


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
        seen = pair.set_index("network")["photos an epoch"]
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
    assert run(*flags).stdout.startswith("finished already: ")


def test_sets_that_cannot_be_compared_are_refused(tmp_path):
    (tmp_path / "m.csv").write_text("image,label,case_id\n1.jpg,nevus,a\n2.jpg,melanoma,b\n")
    (tmp_path / "n.csv").write_text("image,label,case_id\n3.jpg,NV,c\n4.jpg,MM,d\n")
    new = ["--smoke", f"--workdir={tmp_path / 'run'}", f"--manifest={tmp_path / 'm.csv'}"]
    assert "set A is given alone: --other_manifest" in run(*new, code=2).stderr
    told = run(*new, f"--other_manifest={tmp_path / 'm.csv'}", code=2).stderr
    assert "A and B have photos in common" in told
    (tmp_path / "o.csv").write_text("image,label,case_id\n5.jpg,nevus,b\n6.jpg,melanoma,e\n")
    told = run(*new, f"--other_manifest={tmp_path / 'o.csv'}", code=2).stderr
    assert "A and B have 1 cases in common, such as b" in told
    (tmp_path / "s.csv").write_text("class,a,b\nnevus,nevus,NV\nmelanoma,melanoma,MMM\n")
    told = run(
        *new, f"--other_manifest={tmp_path / 'n.csv'}", f"--shared_taxonomy={tmp_path / 's.csv'}", code=2
    )
    assert "'MMM' is no label of taxonomy 'labels of the manifest'" in told.stderr
