"""Reports on anybody's predictions, by the command and from Python."""

from __future__ import annotations

import functools
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

import skinjax
from skinjax.data.invented import invent_predictions, invent_readers
from skinjax.data.predictions import columns, read_predictions, write_predictions
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.studies import evaluation
from tests.support.commands import ENVIRONMENT, REPOSITORY, run_command, run_python, run_small

TREE = load_taxonomy("psoriasis9")
run = functools.partial(run_command, "evaluate")


@pytest.fixture(scope="module")
def csv(tmp_path_factory) -> Path:
    """What another framework would save: no fold, no taxonomy, float32."""
    (frame,) = invent_predictions(TREE, 120, skills=(1.5,))
    frame[columns(TREE)] = frame[columns(TREE)].astype(np.float32)
    path = tmp_path_factory.mktemp("theirs") / "theirs.csv"
    frame.drop(columns="fold").to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def finished(csv) -> str:
    """Standard output of the evaluation of that file, which is written beside it."""
    return run(f"--predictions={csv}", "--replicates=200").stdout


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return invent_predictions(TREE, 40, skills=(2.0,))[0]


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_csv_of_someone_elses_model_becomes_a_report_whose_figures_are_scikit_learns(csv, finished):
    out = csv.parent / "evaluation"
    assert finished.endswith(f"report: {out / 'index.html'}\n")
    assert {path.name for path in csv.parent.iterdir()} == {"theirs.csv", "evaluation"}
    frame = pd.read_csv(csv)
    predicted = frame[columns(TREE)].to_numpy().argmax(axis=1)
    labels = TREE.encode(frame["label"])
    row = pd.read_csv(out / "tables" / "methods.csv").set_index("method").loc["flat"]
    assert row["accuracy"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-9)
    assert row["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-9)
    assert f"{row['macro_f1']:.3f}" in finished
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "No taxonomy was given" in page
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["evaluation"]["cases"] == 120
    assert config["evaluation"]["models"]["theirs"]["file"] == str(csv)
    asked = evaluation.Config.from_dict(config["evaluation"]["config"])
    assert asked == evaluation.Config(predictions=(str(csv),), replicates=200)
    # The same command again replaces it, in a folder that holds an evaluation and nothing else.
    (out / "tables" / "methods.csv").write_text("old")
    assert run(f"--predictions={csv}", "--replicates=200").stdout == finished
    assert pd.read_csv(out / "tables" / "methods.csv")["macro_f1"].notna().all()


def test_reading_and_checking_load_no_network_and_no_loader():
    heavy = ("flax", "grain", "jax", "matplotlib", "optax", "orbax", "tensorflow_datasets")
    code = f"import sys, skinjax.studies.evaluation; print([name for name in {heavy} if name in sys.modules])"
    assert run_python("-c", code).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "predictions must be named by --predictions=FILE, or a run by --workdir=FOLDER"),
        (["--predictions=nowhere.csv"], "evaluate: nowhere.csv: no such file"),
        (["--predictions=nowhere.csv", "--workdir=runs"], "--workdir=runs and predictions are both given"),
        (["--workdir=nowhere"], "--workdir=nowhere is not the folder of a run"),
        (["--predictions={csv},{csv}"], "two models are called 'theirs'; name them"),
        (["--predictions=a={csv},b="], "--predictions=b= must be a file, or name=file"),
        (
            ["--predictions={csv}", "--taxonomy=nosuch"],
            "taxonomy 'nosuch' is neither a file nor in the catalogue",
        ),
        (["--predictions={csv}", "--target=psorias"], "target 'psorias' is no class of taxonomy"),
        (
            ["--predictions={csv}", "--coarse_level=x"],
            "--coarse_level=x must be one of the coarser levels, which are none",
        ),
        (["--predictions={csv}", "--prevalence=0.1"], "--prevalence=0.1 needs --target=CLASS"),
        (["--predictions={csv}", "--taxonomy=ham10000"], "column 'p_psoriasis' is for no class of level"),
        (["--predictions={csv}", "--out={home}"], "holds other things than an evaluation"),
        (["--predictions={csv}", "--out={home}/thesis.txt"], "thesis.txt must be a folder, but is a file"),
        (["--predictions={csv}", "--confidence=95"], "--confidence must be between 0.5 and 0.999, got 95"),
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
    run_small("train", "--smoke", "--backbone=small", f"--workdir={workdir}", "--noaudit")
    run(f"--workdir={workdir}", "--replicates=200", "--target=psoriasis")
    before, after = (
        pd.read_csv(workdir / place / "tables" / "methods.csv") for place in ("report", "evaluation")
    )
    np.testing.assert_array_equal(before["macro_f1"], after["macro_f1"])
    frame = read_predictions(workdir / "predictions" / "held_out.parquet")
    config = json.loads((workdir / "evaluation" / "config.json").read_text(encoding="utf-8"))
    assert config["evaluation"]["photos"] == len(frame)
    page = (workdir / "evaluation" / "index.html").read_text(encoding="utf-8")
    assert "endered" in page
    assert "Learning curves" in page


@pytest.mark.slow
def test_a_run_that_was_killed_leaves_nothing_half_written(csv, finished, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(csv.parent / "evaluation", out)
    before = files(out)
    rng = np.random.default_rng(0)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-m", "skinjax.cli", "evaluate", f"--predictions={csv}", f"--out={out}"],
            cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        hidden = tmp_path / ".out.unfinished"
        while not hidden.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 1))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert files(out) == before
    run(f"--predictions={csv}", f"--out={out}", "--replicates=200")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_smoke_makes_up_its_own_files(tmp_path):
    ended = run("--smoke", folder=tmp_path)
    assert "making up those of two models" in ended.stderr
    page = Path("runs/evaluate_smoke/evaluation/index.html")
    assert ended.stdout.endswith(f"report: {page}\n")
    assert (tmp_path / page).exists()


@pytest.mark.parametrize(
    "first", ["import skinjax", "import skinjax.evaluate.roc", "import skinjax.studies.evaluation"]
)
def test_the_public_name_is_a_function_and_the_package_of_statistics(first):
    code = f"""
{first}
import skinjax
try:
    skinjax.evaluate("nowhere.csv")
except ValueError as error:
    print(error)
import skinjax.evaluate.roc as roc
print(skinjax.evaluate.roc is roc, roc.__name__)
"""
    assert run_python("-c", code).stdout == "nowhere.csv: no such file\nTrue skinjax.evaluate.roc\n"


@pytest.mark.slow
def test_a_frame_is_evaluated_in_memory_and_shows_itself(frame, tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    before = frame.copy()
    found = skinjax.evaluate(frame, taxonomy=TREE, target="psoriasis", replicates=100)
    assert files(tmp_path) == {}  # nothing is written where no `out` is given
    assert not list((tmp_path / "scratch").iterdir())
    pd.testing.assert_frame_equal(frame, before)

    assert isinstance(found, evaluation.Evaluation)
    assert (found.report, found.predictions_file) == (None, None)
    pd.testing.assert_series_equal(found.predictions["p_psoriasis"], frame["p_psoriasis"])
    probs, labels = frame[columns(TREE)].to_numpy(), TREE.encode(frame["label"])
    assert found.table is not None
    accuracy = found.table.set_index("method").loc["flat", "accuracy"]
    assert accuracy == pytest.approx(accuracy_score(labels, probs.argmax(axis=1)), abs=1e-9)
    auc = roc_auc_score(frame["label"] == "psoriasis", frame["p_psoriasis"])
    assert f"{auc:.3f}"[:5] in found.html
    assert "No taxonomy was given" not in found.html
    assert str(tmp_path) not in found.html

    shown, page = str(found), found._repr_html_()
    assert shown.startswith(found.headline[0])
    assert f"{accuracy:.3f}" in shown
    assert "report:" not in shown
    assert found.headline[0] in page
    assert f"<td>{accuracy:.3f}</td>" in page
    assert "href" not in page
    assert repr(found) == f"Evaluation(evaluation: {' '.join(found.headline)})"


@pytest.mark.slow
def test_frames_and_files_of_several_models_are_compared_and_written_where_asked(csv, tmp_path):
    other = pd.read_csv(csv).sample(frac=1, random_state=0)
    out = tmp_path / "out"
    found = skinjax.evaluate(
        {"ours": other, "theirs": csv},
        taxonomy="psoriasis9",
        target=["psoriasis", "eczema"],
        out=out,
        replicates=100,
    )
    assert found.report == out / "index.html"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert found.predictions is not None  # of a file that is not there any more
    assert len(found.predictions) == len(other)
    assert set(found.tables["models"]["model"]) == {"ours", "theirs"}
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))["evaluation"]
    assert config["models"]["ours"]["file"] == "a table in memory"
    assert config["models"]["theirs"]["file"] == str(csv)
    assert config["config"]["taxonomy"] == "psoriasis9"
    assert config["config"]["target"] == ["psoriasis", "eczema"]
    assert str(found).endswith(f"report: {out / 'index.html'}")
    assert f'<a href="{(out / "index.html").as_uri()}">' in found._repr_html_()


@pytest.mark.slow
def test_a_file_is_evaluated_as_the_command_does(csv, finished, tmp_path):
    found = skinjax.evaluate(str(csv), replicates=200)
    assert found.predictions_file == csv
    for path in (csv.parent / "evaluation" / "tables").glob("*.csv"):
        if path.stem != "configuration":
            pd.testing.assert_frame_equal(found.tables[path.stem], pd.read_csv(path))
    assert "</html>" in found.html
    result = evaluation.run({"theirs": csv}, evaluation.Config(replicates=200), tmp_path / "out")
    assert result.report == tmp_path / "out" / "index.html"
    assert str(result).splitlines()[:-1] == finished.splitlines()[:-1]


def test_what_is_wrong_with_a_frame_is_told(frame, tmp_path):
    pairs = Taxonomy.from_pairs([("a", "eczema"), ("b", "psoriasis")])
    with pytest.raises(ValueError, match=r"column 'p_[a-z_]+' is for no class of level"):
        skinjax.evaluate(frame, taxonomy=pairs)
    with pytest.raises(ValueError, match="target 'psorias' is no class of taxonomy"):
        skinjax.evaluate(frame, taxonomy=TREE, target="psorias")
    with pytest.raises(ValueError, match=r"confidence must be between 0\.5 and 0\.999, got 95"):
        skinjax.evaluate(frame, confidence=95)
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="holds other things than an evaluation"):
        skinjax.evaluate(frame, out=tmp_path)
    mixed = frame.assign(case_id=[number if number % 2 else str(number) for number in range(len(frame))])
    with pytest.raises(ValueError, match="target 'psorias' is no class of taxonomy"):
        skinjax.evaluate(mixed, taxonomy=TREE, target="psorias")
