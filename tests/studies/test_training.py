"""One network on one fold or on the manifest's own split: what is trained on, what is held out, and what is told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

import skinjax
from skinjax.data.predictions import probabilities, read_predictions, validate
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.runs import RunFolder
from skinjax.studies import training
from tests.support import small_backbones
from tests.support.commands import REPOSITORY, Ended, run_command, run_small
from tests.support.small_photos import write_photos

pytestmark = pytest.mark.slow
OPTIONS = {
    "backbone": "small",
    "image_size": 32,
    "batch_size": 10,
    "epochs": 2,
    "burn_in": 1.0,
    "audit": False,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Five classes with four cases of two photos each: half of them for training, a quarter for the test."""
    folder = tmp_path_factory.mktemp("photos")
    frame = write_photos(folder, cases=4)
    frame.drop(columns="split").to_csv(folder / "plain.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def cache(compilations) -> Path:
    return compilations


def train(photos: Path, workdir: Path, cache: Path, *flags: str, manifest="manifest.csv", code=0) -> Ended:
    given = [f"--{name}={value}" for name, value in OPTIONS.items() if name != "audit"]
    places = [
        f"--manifest={photos / manifest}",
        f"--taxonomy={photos / 'taxonomy.csv'}",
        f"--workdir={workdir}",
    ]
    return run_small("train", *given, *places, "--noaudit", f"--compilation_cache={cache}", *flags, code=code)


@pytest.fixture(scope="module")
def of_the_split(photos, cache, tmp_path_factory) -> tuple[Path, Ended]:
    """A run on the manifest's column `split`, and what it told."""
    workdir = tmp_path_factory.mktemp("run") / "split"
    return workdir, train(photos, workdir, cache)


def test_the_manifests_split_is_trained_on_and_held_out_as_it_says(photos, of_the_split):
    workdir, told = of_the_split
    manifest = pd.read_csv(photos / "manifest.csv", dtype=str)
    frame = read_predictions(workdir / "predictions" / "held_out.parquet")
    validate(frame, load_taxonomy(photos / "taxonomy.csv"))
    assert sorted(frame["image"]) == sorted(manifest.loc[manifest["split"] == "test", "image"])
    metrics = pd.read_csv(workdir / "metrics.csv")
    photo_counts = metrics.groupby("split")["photos"].unique().map(list).to_dict()
    # Photos marked for validation are neither.
    assert photo_counts == {"train": [(manifest["split"] == "train").sum()], "test": [len(frame)]}
    assert sorted(set(metrics["epoch"])) == [1, 2]
    assert "the manifest's column split is used; the options folds and fold are not" in told.stderr


def test_the_report_and_what_is_told_have_the_stored_predictions_figure(of_the_split):
    workdir, told = of_the_split
    taxonomy = RunFolder.read(workdir).taxonomy
    frame = read_predictions(workdir / "predictions" / "held_out.parquet")
    right = accuracy_score(taxonomy.encode(frame["label"]), probabilities(frame, taxonomy).argmax(axis=1))
    methods = pd.read_csv(workdir / "report" / "tables" / "methods.csv").set_index("method")
    assert methods["accuracy"].iloc[0] == pytest.approx(right, abs=1e-9)
    assert f"report: {workdir / 'report' / 'index.html'}" in told.stdout
    assert f"{right:.3f}" in told.stdout
    assert "One network: small" in (workdir / "report" / "index.html").read_text(encoding="utf-8")


def test_photos_of_a_notebook_give_the_same_bits_as_the_command(photos, of_the_split, cache, tmp_path):
    mine = skinjax.read_photos(photos / "manifest.csv", taxonomy=photos / "taxonomy.csv")
    with small_backbones.registered():
        result = training.run(mine, training.Config(**OPTIONS), tmp_path / "run")
        again = training.run(mine, training.Config(**OPTIONS), tmp_path / "run")
        loaded = skinjax.load_run(tmp_path / "run")
    expected = read_predictions(of_the_split[0] / "predictions" / "held_out.parquet")
    pd.testing.assert_frame_equal(result.predictions, expected, check_exact=True)
    assert again.headline == result.headline
    assert loaded.network.classes == mine.taxonomy.classes()
    stored = RunFolder.read(tmp_path / "run")
    assert stored.options["manifest"] == str(photos / "manifest.csv")  # so that the command resumes it
    assert "finished already" in train(photos, tmp_path / "run", cache).stderr


def test_a_finished_run_is_not_trained_again_and_other_options_are_refused(photos, of_the_split, cache):
    workdir, _ = of_the_split
    before = (workdir / "metrics.csv").stat().st_mtime_ns
    assert "finished already" in train(photos, workdir, cache).stderr
    assert (workdir / "metrics.csv").stat().st_mtime_ns == before
    refused = train(photos, workdir, cache, "--fold=1", "--momentum=0.5", code=2).stderr
    assert re.search(
        r"cannot be resumed: --momentum=0\.5, was 0\.\d+; --fold=1, was -1; name another", refused
    )


def test_a_fold_is_held_out_with_its_cases_whole_and_the_others_are_trained_on(photos, cache, tmp_path):
    train(photos, tmp_path / "run", cache, "--folds=2", "--fold=1", manifest="plain.csv")
    manifest = pd.read_csv(photos / "plain.csv", dtype=str)
    frame = read_predictions(tmp_path / "run" / "predictions" / "held_out.parquet")
    assert set(frame["fold"]) == {1}
    held_out = manifest["case_id"].isin(frame["case_id"])
    assert held_out.sum() == len(frame) == 20  # two of the four cases of each class
    assert set(frame["label"]) == set(manifest["label"])
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert set(metrics.loc[metrics["split"] == "train", "photos"]) == {20}
    assert RunFolder.read(tmp_path / "run").folds == [1]


def test_a_loss_that_is_no_number_any_more_names_the_photos(photos, cache, tmp_path):
    told = train(photos, tmp_path / "run", cache, "--learning_rate=1e30", code=2).stderr
    last = told.strip().splitlines()[-1]
    assert re.search(r"; its photos: images/\w+\.png(, images/\w+\.png)*$", last)
    assert not (tmp_path / "run" / "report").exists()


# What is refused before anything is trained.


def test_a_split_column_that_parts_a_case_is_refused(photos, cache, tmp_path):
    frame = pd.read_csv(photos / "manifest.csv", dtype=str)
    frame["split"] = np.where(np.arange(len(frame)) % 2, "train", "test")
    frame.to_csv(photos / "parted.csv", index=False)
    refused = train(photos, tmp_path / "run", cache, manifest="parted.csv", code=2).stderr
    assert re.search(
        r"the manifest's column split puts 20 cases into train and test at once: eczema 0, ", refused
    )
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_split_column_without_a_part_is_refused(photos, cache, tmp_path, part):
    frame = pd.read_csv(photos / "manifest.csv", dtype=str)
    frame["split"] = frame["split"].replace(part, "validation")
    frame.to_csv(photos / "without.csv", index=False)
    refused = train(photos, tmp_path / "run", cache, manifest="without.csv", code=2).stderr
    assert f"the manifest's column split marks no photo as {part}" in refused


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fold=3", "--folds=3"], "--fold=3 is out of range: there are 3 folds, 0 to 2"),
        (["--choose_by=auc"], "must be given together"),
        (["--patience=2"], "--patience=2 needs --choose_by=METRIC"),
        (["--burn_in=99"], "--burn_in=99 batches must be below the 6 updates of the run"),
        (["--frozen_blocks=3"], "--frozen_blocks=3 must be at most 2, the blocks of small"),
        (["--learning_rate=nan"], "--learning_rate must be a finite number, got nan"),
        (["--epochs=0"], "--epochs=0 takes the preset's number of epochs"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(photos, cache, tmp_path, flags, message):
    refused = train(photos, tmp_path / "run", cache, *flags, manifest="plain.csv", code=2).stderr
    assert message in refused
    assert not (tmp_path / "run" / "config.json").exists()


# The network itself.


def test_after_a_third_of_the_demo_the_sub_class_network_is_ten_times_as_good_as_chance(cache, tmp_path):
    """Two of six epochs of one case-grouped fold, by the study that trains one network; chance is 1 in 19."""
    lines = (REPOSITORY / "experiments" / "flagfiles" / "demo.flags").read_text().splitlines()
    other = ("--epochs", "--meta_epochs", "--workdir")
    demo = [line for line in lines if line.startswith("--") and not line.startswith(other)]
    run_command(
        "train", *demo, "--epochs=2", "--fold=0", f"--workdir={tmp_path}", f"--compilation_cache={cache}"
    )
    taxonomy = load_taxonomy("synthetic19")
    frame = read_predictions(tmp_path / "predictions" / "held_out.parquet")
    accuracy = accuracy_score(taxonomy.encode(frame["label"]), probabilities(frame, taxonomy).argmax(axis=1))
    assert accuracy >= 10 / 19
    manifest = pd.read_csv(tmp_path / "photos" / "manifest.csv", dtype=str)
    assert manifest["case_id"].isin(frame["case_id"]).sum() == len(frame)  # a case is held out whole
    assert json.loads((tmp_path / "config.json").read_text())["synthetic"] is True
    assert (tmp_path / "report" / "index.html").exists()
