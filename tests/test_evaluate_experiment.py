"""The experiment that reports on anybody's predictions, as a user runs it: in a process of its own."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from skinjax.data.invented import invent_predictions, invent_readers
from skinjax.data.predictions import columns, read_predictions, write_predictions
from skinjax.labels.taxonomy import load_taxonomy
from tests.commands import ENVIRONMENT, REPOSITORY, run_experiment

TREE = load_taxonomy("psoriasis9")
run = functools.partial(run_experiment, "evaluate")


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "experiments.evaluate", *flags]


@pytest.fixture(scope="module")
def csv(tmp_path_factory) -> Path:
    """What another framework would save: no fold, no taxonomy, float32."""
    (frame,) = invent_predictions(TREE, 120, skills=(1.5,))
    frame[columns(TREE)] = frame[columns(TREE)].astype(np.float32)
    path = tmp_path_factory.mktemp("theirs") / "theirs.csv"
    frame.drop(columns="fold").to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_a_csv_of_someone_elses_model_becomes_a_report_whose_figures_are_scikit_learns(csv):
    result = run(f"--predictions={csv}", "--replicates=200")
    out = csv.parent / "evaluation"
    assert result.stdout == f"report: {out / 'index.html'}\n"
    assert {path.name for path in csv.parent.iterdir()} == {"theirs.csv", "evaluation"}
    frame = pd.read_csv(csv)
    predicted = frame[columns(TREE)].to_numpy().argmax(axis=1)
    labels = TREE.encode(frame["label"])
    row = pd.read_csv(out / "tables" / "methods.csv").set_index("method").loc["flat"]
    assert row["accuracy"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-9)
    assert row["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-9)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "No taxonomy was given" in page
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["evaluation"]["cases"] == 120
    assert config["evaluation"]["models"]["theirs"]["file"] == str(csv)
    # The same command again replaces it, in a folder that holds an evaluation and nothing else.
    (out / "tables" / "methods.csv").write_text("old")
    run(f"--predictions={csv}", "--replicates=200")
    assert pd.read_csv(out / "tables" / "methods.csv")["macro_f1"].notna().all()


def test_reading_and_checking_load_no_network_and_no_loader():
    heavy = ("flax", "grain", "jax", "matplotlib", "optax", "orbax", "tensorflow_datasets")
    code = f"import sys, experiments.evaluate; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env=ENVIRONMENT,
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to evaluate: give --predictions, or --workdir of a run"),
        (["--predictions=nowhere.csv"], "evaluate: nowhere.csv: no such file"),
        (["--predictions=nowhere.csv", "--workdir=runs"], "--workdir and --predictions are both given"),
        (["--workdir=nowhere"], "--workdir=nowhere is not the folder of a run"),
        (["--predictions={csv},{csv}"], "two models are called 'theirs'; name them"),
        (["--predictions=a={csv},b="], "'b=' is neither a file nor name=file"),
        (
            ["--predictions={csv}", "--taxonomy=nosuch"],
            "taxonomy 'nosuch' is neither a file nor in the catalogue",
        ),
        (["--predictions={csv}", "--target=psorias"], "target 'psorias' is no class of taxonomy"),
        (
            ["--predictions={csv}", "--coarse_level=x"],
            "--coarse_level=x is none of the coarser levels: there are none",
        ),
        (["--predictions={csv}", "--taxonomy=ham10000"], "column 'p_psoriasis' is for no class of level"),
        (["--predictions={csv}", "--out={home}"], "holds other things than an evaluation"),
        (["--predictions={csv}", "--confidence=95"], "--confidence"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(flags, message, csv, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("kept")
    filled = [flag.format(csv=csv, home=tmp_path / "home") for flag in flags]
    if not any(flag.startswith("--out") for flag in filled):
        filled.append(f"--out={tmp_path / 'out'}")
    assert message in run(*filled, code=2).stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["home", "thesis.txt"]


def test_all_faults_of_all_files_are_in_one_list(csv, tmp_path):
    frame = pd.read_csv(csv)
    frame.loc[0, "p_eczema"] = np.nan
    frame.loc[1, columns(TREE)] = 0.2
    frame[1:].to_csv(tmp_path / "other.csv", index=False)
    invent_readers(frame.assign(image=frame["image"] + "x"), ["eczema"], 1).to_csv(
        tmp_path / "r.csv", index=False
    )
    (tmp_path / "degrees.csv").write_text("class,degree\neczema,1\n")
    told = run(
        f"--predictions=ours={csv},{tmp_path / 'other.csv'}", "--target=eczema", f"--readers={tmp_path / 'r.csv'}",
        f"--degrees={tmp_path / 'degrees.csv'}", code=2,
    ).stderr  # fmt: skip
    assert told.startswith("evaluate: the files of the evaluation: 4 problems\n- ")
    for wanted in (
        "do not sum to 1: row 2 1.8",
        "360 rows with a photo that",
        "no degree for 'psoriasis'",
        "lacks 1 photo",
    ):
        assert wanted in told


@pytest.mark.slow
def test_two_models_readers_degrees_and_subgroups(tmp_path):
    ours, theirs = invent_predictions(TREE, 120, skills=(2.5, 1.0))
    write_predictions(ours, tmp_path / "ours.parquet", TREE)
    theirs.sample(frac=1, random_state=0).to_csv(tmp_path / "b.csv", index=False)
    readers = invent_readers(ours, ["psoriasis"], 4)
    readers.to_csv(tmp_path / "readers.csv", index=False)
    degrees = {name: number // 3 for number, name in enumerate(TREE.classes())}
    (tmp_path / "degrees.json").write_text(json.dumps(degrees))
    run(
        f"--predictions={tmp_path / 'ours.parquet'},theirs={tmp_path / 'b.csv'}", "--target=psoriasis",
        f"--readers={tmp_path / 'readers.csv'}", f"--degrees={tmp_path / 'degrees.json'}", "--replicates=200",
        f"--out={tmp_path / 'out'}",
    )  # fmt: skip
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    auc = roc_auc_score(ours["label"] == "psoriasis", ours["p_psoriasis"])
    for wanted in ("ours", "theirs", "reader 4", "60 to 80", f"{auc:.3f}"[:5]):
        assert wanted in page


@pytest.mark.slow
def test_a_run_is_reported_on_again(tmp_path):
    workdir = tmp_path / "run"
    subprocess.run(
        [sys.executable, "-m", "experiments.train", "--smoke", f"--workdir={workdir}", "--noaudit"],
        check=True, capture_output=True, cwd=REPOSITORY, env=ENVIRONMENT,
    )  # fmt: skip
    run(f"--workdir={workdir}", "--replicates=200", "--target=psoriasis")
    before, after = (
        pd.read_csv(workdir / place / "tables" / "methods.csv") for place in ("report", "evaluation")
    )
    np.testing.assert_array_equal(before["macro_f1"], after["macro_f1"])
    frame = read_predictions(workdir / "predictions" / "held_out.parquet")
    assert json.loads((workdir / "evaluation" / "config.json").read_text())["evaluation"]["photos"] == len(
        frame
    )
    page = (workdir / "evaluation" / "index.html").read_text(encoding="utf-8")
    assert "endered" in page
    assert "Learning curves" in page


@pytest.mark.slow
def test_a_run_that_was_killed_leaves_nothing_half_written(csv, tmp_path):
    out = tmp_path / "out"
    run(f"--predictions={csv}", f"--out={out}", "--replicates=200")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    rng = np.random.default_rng(0)
    for _ in range(4):
        process = subprocess.Popen(
            command(f"--predictions={csv}", f"--out={out}", "--replicates=400"), cwd=REPOSITORY, env=ENVIRONMENT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        hidden = tmp_path / ".out.unfinished"
        while not hidden.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 1))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    run(f"--predictions={csv}", f"--out={out}", "--replicates=200")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_smoke_makes_up_its_own_files(tmp_path):
    told = run("--smoke", folder=tmp_path).stdout
    assert "making up those of two models" in told
    assert (tmp_path / "runs" / "evaluate_smoke" / "evaluation" / "index.html").exists()
