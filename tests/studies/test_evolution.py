"""The evolution of hyper-parameters: the built-in photos as a command, stopped and resumed; one's own both ways."""

from __future__ import annotations

import csv
import functools
import json
import logging
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from absl import flags as absl_flags
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

import skinjax
from skinjax.cli.flags import define, read
from skinjax.data.predictions import probabilities, read_predictions
from skinjax.evolve import table_4_1
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.studies import evolution, hierarchy, training
from skinjax.train.step import compiled_predict, compiled_train_step
from tests.support.both_ways import TINY, assert_evaluated, run_both_ways
from tests.support.commands import run_small
from tests.support.small_photos import write_photos

pytestmark = pytest.mark.slow
NAMES = [gene.name for gene in table_4_1()]
TAXONOMY = load_taxonomy("synthetic19")
run = functools.partial(run_small, "evolve")


def smoke_flags(workdir: Path) -> list[str]:
    return ["--smoke", "--image_size=32", f"--workdir={workdir}", "--compilation_cache=", "--backbone=small"]


def table(workdir: Path) -> pd.DataFrame:
    with (workdir / "evolution.csv").open() as file:
        return pd.DataFrame([{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)])


class Compiled(logging.Handler):
    """Keeps the names of what XLA has compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.names += re.findall(r"Finished XLA compilation of jit\((\w+)\)", record.getMessage())


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, list[str]]:
    """A run that was never stopped, and what was compiled in it."""
    workdir, compiled = tmp_path_factory.mktemp("run") / "smoke", Compiled()
    compiled_train_step.cache_clear()  # other tests may have compiled the same
    compiled_predict.cache_clear()
    logger = logging.getLogger("jax")
    logger.addHandler(compiled)
    try:
        with jax.log_compiles():
            run(*smoke_flags(workdir))
    finally:
        logger.removeHandler(compiled)
    return workdir, compiled.names


def test_one_compilation_serves_search_repeats_and_training_again(finished):
    assert finished[1].count("train_step") == 1
    assert finished[1].count("predict") == 1


def test_every_set_stands_in_the_table_with_its_parent(finished):
    frame = table(finished[0])
    assert list(frame["generation"]) == [0, 1, 1, 2, 2, 3, 3]
    assert list(frame["candidate"]) == [0, 0, 1, 0, 1, 0, 1]
    config = json.loads((finished[0] / "config.json").read_text())["config"]
    start = frame.iloc[0]
    for name in NAMES:
        if name != "burn_in":  # which --smoke keeps below a quarter of its few updates
            assert start[name] == config[name], name
    parts = frame[["recall", "precision", "f1", "auc"]]
    np.testing.assert_allclose(frame["fitness"], parts.mean(axis=1), rtol=1e-12)
    for _, row in frame.iloc[1:].iterrows():
        parent = frame.iloc[int(row["parent"])]
        assert parent["generation"] < row["generation"]
        factors = row[NAMES].astype(float) / parent[NAMES].astype(float)
        assert ((factors >= 0.3 - 1e-9) & (factors <= 3 + 1e-9)).all()
        assert (factors != 1).any()


@pytest.mark.parametrize("study", [hierarchy, training])
def test_the_flagfile_holds_the_fittest_set_and_the_others_read_it(finished, study):
    path = finished[0] / "evolved.flags"
    assert path.read_text().startswith("# Written by skinjax evolve: ")
    frame = table(finished[0])
    fittest = frame.iloc[int(frame["fitness"].argmax())]
    values = absl_flags.FlagValues()
    define(study.Config, values)
    values(["study", f"--flagfile={path}"])
    config, given = read(study.Config, values)
    assert config.decay == "l2"
    assert {*NAMES, "decay", "optimizer"} <= given
    assert {name: getattr(config, name) for name in NAMES} == fittest[NAMES].astype(float).to_dict()


def test_the_comparison_is_on_other_cases_and_its_figures_equal_scikit_learns(finished):
    workdir = finished[0]
    manifest = pd.read_csv(workdir / "photos" / "manifest.csv", dtype=str)
    compared = pd.read_csv(workdir / "report" / "tables" / "retraining.csv").set_index("measure")
    photos, measured = set(), {}
    for name in ("start", "evolved"):
        found = []
        for seed in (0, 1):
            frame = read_predictions(workdir / "predictions" / f"{name}_{seed}.parquet")
            labels, probs = TAXONOMY.encode(frame["label"]), probabilities(frame, TAXONOMY)
            photos |= set(frame["image"])
            predicted = probs.argmax(axis=1)
            present = np.unique(labels)
            aucs = [roc_auc_score(labels == k, probs[:, k]) for k in present]
            found.append(
                {
                    "accuracy": accuracy_score(labels, predicted),
                    "f1": f1_score(labels, predicted, average="macro", zero_division=0),
                    "auc": np.mean(aucs),
                }
            )
        measured[name] = pd.DataFrame(found)
    assert 0 < len(photos) < len(manifest) / 2
    for measure in ("accuracy", "f1", "auc"):
        row = compared.loc[measure]
        assert row["start"] == pytest.approx(measured["start"][measure].mean(), abs=1e-9)
        assert row["evolved"] == pytest.approx(measured["evolved"][measure].mean(), abs=1e-9)
        assert row["evolved_spread"] == pytest.approx(measured["evolved"][measure].std(), abs=1e-9)
        assert row["difference"] == pytest.approx(row["evolved"] - row["start"], abs=1e-9)
    assert compared.index[0] == "fitness"


def test_the_page_answers_first_and_shows_every_gene(finished):
    page = (finished[0] / "report" / "index.html").read_text(encoding="utf-8")
    answer = re.search(r'<p class="answer">(.*?)</p>', page)
    assert answer is not None
    assert re.match("The gain (is|does)|Whether the gain", answer[1])
    for heading in ("Trained again, on other cases", "Fitness against each gene", "Genes", "Configuration"):
        assert heading in page
    for name in NAMES:
        assert (finished[0] / "report" / "figures" / f"gene_{name}.svg").exists()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']+""", page)


def test_a_run_that_was_killed_goes_on_with_the_same_sets(finished, tmp_path):
    whole, workdir = finished[0], tmp_path / "killed"
    shutil.copytree(whole, workdir)
    # As SIGKILL leaves it in generation 2: files are replaced whole after each generation.
    lines = (whole / "evolution.csv").read_text().splitlines(keepends=True)
    (workdir / "evolution.csv").write_text("".join(lines[:4]))
    for name in ("report", "predictions"):
        shutil.rmtree(workdir / name)
    (workdir / "repeats.csv").unlink()
    (workdir / "evolved.flags").unlink()
    result = run(*smoke_flags(workdir))
    assert "generation 1 of 3" not in result.stderr
    assert "generation 2 of 3" in result.stderr
    pd.testing.assert_frame_equal(
        table(workdir).drop(columns="seconds"), table(whole).drop(columns="seconds")
    )
    assert (workdir / "evolved.flags").read_text() == (whole / "evolved.flags").read_text()
    for name in ("start_1", "evolved_1"):
        again, before = (
            read_predictions(folder / "predictions" / f"{name}.parquet") for folder in (workdir, whole)
        )
        pd.testing.assert_frame_equal(again, before)
    tables = [(folder / "report" / "tables" / "retraining.csv").read_text() for folder in (workdir, whole)]
    assert tables[0] == tables[1]
    again = run(*smoke_flags(workdir))
    assert again.stderr.startswith("finished already: ")
    assert again.stdout.endswith(f"report: {workdir / 'report' / 'index.html'}\n")


def test_the_run_is_evaluated_and_has_no_network_to_load(finished, tmp_path):
    workdir = finished[0]
    found = assert_evaluated(workdir, tmp_path / "evaluation")
    compared = found.tables["models"].set_index("model")
    for name in ("start", "evolved"):
        frame = read_predictions(workdir / "predictions" / f"{name}_0.parquet")
        right = probabilities(frame, TAXONOMY).argmax(axis=1) == TAXONOMY.encode(frame["label"])
        assert compared.loc[f"{name} set", "accuracy"] == pytest.approx(right.mean())
    message = f"workdir={workdir} is a run of evolution, which keeps no networks"
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        skinjax.load_run(workdir)


def test_hyper_parameters_for_photos_of_ones_own_are_searched_both_ways(tmp_path):
    write_photos(tmp_path / "mine", 16)
    more = {
        "folds": 2, "generations": 1, "population": 2, "search_fraction": 0.5, "repeats": 0, "retrain_seeds": 1,
        "replicates": 100,
    }  # fmt: skip
    result = run_both_ways(evolution, "evolve", tmp_path / "mine", TINY | more, tmp_path)
    flagfiles = [(tmp_path / way / "evolved.flags").read_text() for way in ("python", "command")]
    assert flagfiles[0] == flagfiles[1]
    assert list(result.table["measure"])[:2] == ["fitness", "recall"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fitness_weights=0,0,0,0"], "--fitness_weights=0,0,0,0 must be up to four numbers of at least 0"),
        (["--test_time_augmentation=flips"], "--test_time_augmentation=flips is not used here"),
        (["--prior_adjustment=0.5"], "--prior_adjustment=0.5 is not used here"),
        (["--search_backbone=vgg"], "vgg"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence_before_any_photo_is_read(tmp_path, flags, message):
    result = run(f"--workdir={tmp_path / 'run'}", *flags, code=2)
    assert message in result.stderr
    assert not (tmp_path / "run" / "photos").exists()
