"""Two-stage against single-stage as a user runs it: in a process of its own, from flags to the report."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from absl import flags
from sklearn.metrics import accuracy_score, roc_auc_score, roc_curve

from experiments import two_stage
from experiments.inputs import Inputs
from skinjax.data.predictions import probabilities, read_predictions, read_taxonomy, validate
from skinjax.decide.logistic_head import fit_head, head_log_odds
from skinjax.labels.taxonomy import load_taxonomy
from tests.commands import run_with_small_backbones
from tests.flag_values import FlagValues
from tests.small_photos import TAXONOMY, write_photos

SINGLE = ("single_0", "single_1", "single_weighted")
run = functools.partial(run_with_small_backbones, "psoriasis")


def small_flags(folder: Path) -> list[str]:
    return [
        f"--manifest={folder / 'mine' / 'manifest.csv'}", f"--taxonomy={folder / 'mine' / 'taxonomy.csv'}",
        f"--workdir={folder / 'run'}", f"--compilation_cache={folder / 'cache'}", "--backbone=small", "--epochs=2",
        "--batch_size=8", "--burn_in=2", "--learning_rate=0.05", "--draws=2", "--noaudit",
        "--hsv_h=0", "--hsv_s=0", "--hsv_v=0", "--cutout=0", f"--readers={folder / 'readers.csv'}",
        f"--foreign={folder / 'theirs' / 'manifest.csv'}", "--batch_norm_momentum=0.5", "--leave_out=lichen,melanoma",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Photos of one's own, readers of the test photos, photos from elsewhere, and the finished run."""
    folder = tmp_path_factory.mktemp("psoriasis")
    mine = write_photos(folder / "mine", 16)
    test = mine[(mine["split"] == "test") & mine["label"].isin(["psoriasis", "eczema", "nevus"])]
    calls = np.random.default_rng(0).integers(0, 2, (2, len(test)))
    pd.DataFrame(
        {"reader": np.repeat(["A", "B"], len(test)), "image": [*test["image"]] * 2, "call": calls.ravel()}
    ).to_csv(folder / "readers.csv", index=False)
    theirs = write_photos(folder / "theirs", 4, seed=9)
    theirs = theirs.assign(label=theirs["label"].where(theirs["label"] == "psoriasis", "unheard of"))
    theirs[["image", "label"]].to_csv(folder / "theirs" / "manifest.csv", index=False)
    run(*small_flags(folder))
    return folder


def stored(folder: Path, stage: str, part: str) -> pd.DataFrame:
    return read_predictions(folder / "run" / "predictions" / f"{stage}_{part}.parquet")


def target_scores(folder: Path, stage: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether a photo is of the target, and a single-stage network's probability of it."""
    frame = stored(folder, stage, part)
    return (frame["label"] == "target").to_numpy(), frame["p_target"].to_numpy()


def youden(labels, values):
    alarms, hits, thresholds = roc_curve(labels, values, drop_intermediate=False)
    return thresholds[np.flatnonzero(np.isclose(hits - alarms, (hits - alarms).max()))[-1]]


@pytest.mark.slow
def test_all_networks_answer_for_the_same_photos_of_cases_that_none_has_seen(folder):
    mine = pd.read_csv(folder / "mine" / "manifest.csv", dtype=str).set_index("image")
    inside = mine[mine["label"].isin(["psoriasis", "eczema", "nevus"])]
    wanted = {
        "validation": inside.index[inside["split"] == "validation"],
        "test": inside.index[inside["split"] == "test"],
        "left_out": mine.index[mine["label"].isin(["lichen", "melanoma"])],
    }
    for stage in ("two_stage", *SINGLE):
        for part, images in wanted.items():
            frame = stored(folder, stage, part)
            validate(frame, read_taxonomy(folder / "run" / "predictions" / f"{stage}_{part}.parquet"))
            assert sorted(frame["image"]) == sorted(images)
            truth = mine.loc[frame["image"], "label"].to_numpy()
            if stage != "two_stage":
                truth = np.where(truth == "psoriasis", "target", "other")
            np.testing.assert_array_equal(frame["label"], truth)
    trained = pd.read_csv(folder / "run" / "metrics.csv")
    photos = trained[trained["split"] == "train"].groupby("stage")["photos"].max()
    assert photos["two_stage"] == photos["single_weighted"] == 3 * 8 * 2  # classes, cases, photos a case
    assert (photos[["single_0", "single_1"]] == 2 * 8 * 2).all()  # as many others as of the target


@pytest.mark.slow
def test_the_two_stage_network_knows_nothing_of_the_classes_left_out(folder):
    path = folder / "run" / "predictions" / "two_stage_left_out.parquet"
    frame = read_predictions(path)
    assert read_taxonomy(path).classes() == ("psoriasis", "eczema", "nevus", "lichen", "melanoma")
    assert (frame[["p_lichen", "p_melanoma"]] == 0).all(axis=None)
    taxonomy = json.loads((folder / "run" / "taxonomy.json").read_text())
    assert taxonomy["paths"] == [["rash", "psoriasis"], ["rash", "eczema"], ["tumour", "nevus"]]


@pytest.mark.slow
def test_the_reports_figures_are_scikit_learns_on_the_stored_predictions(folder):
    tables = folder / "run" / "report" / "tables"
    found = pd.read_csv(tables / "two_stage.csv")
    test = stored(folder, "two_stage", "test")
    labels = (test["label"] == "psoriasis").to_numpy()
    assert found["auc"][0] == pytest.approx(roc_auc_score(labels, test["p_psoriasis"]))
    singles = [target_scores(folder, f"single_{number}", "test") for number in range(2)]
    areas = [roc_auc_score(truth, values) for truth, values in singles]
    assert found["auc"][1] == pytest.approx(np.mean(areas))
    mixed = np.mean([values for _, values in singles], axis=0)
    assert found["auc"][2] == pytest.approx(roc_auc_score(singles[0][0], mixed))
    assert found["auc"][3] == pytest.approx(roc_auc_score(*target_scores(folder, "single_weighted", "test")))
    threshold = youden(*target_scores(folder, "single_weighted", "validation"))
    truth, values = target_scores(folder, "single_weighted", "test")
    assert found["threshold_low"][3] == pytest.approx(threshold)
    assert found["sensitivity"][3] == pytest.approx((values >= threshold)[truth].mean())
    assert found["misdiagnosed"][3] == pytest.approx((values >= threshold)[~truth].mean())
    called = target_scores(folder, "single_weighted", "left_out")[1] >= threshold
    assert pd.read_csv(tables / "outside_0.csv")["misdiagnosed"][3] == pytest.approx(called.mean())
    truth, values = target_scores(folder, "single_weighted", "foreign")
    elsewhere = pd.read_csv(tables / "outside_1.csv")
    assert truth.sum() == 8
    assert elsewhere["accuracy"][3] == pytest.approx(accuracy_score(truth, values >= threshold))


@pytest.mark.slow
def test_every_output_strategy_is_reported_from_the_same_probabilities(folder):
    found = pd.read_csv(folder / "run" / "report" / "tables" / "two_stage_strategies.csv").set_index(
        "strategy"
    )
    tree = read_taxonomy(folder / "run" / "predictions" / "two_stage_test.parquet")
    test, validation = (stored(folder, "two_stage", part) for part in ("test", "validation"))
    p = probabilities(test, tree)
    labels = (test["label"] == "psoriasis").to_numpy()
    head = fit_head((validation["label"] == "psoriasis").astype(int), probabilities(validation, tree), 0)
    expected = {
        "probability": p[:, 0],
        "rival": p[:, 0] / (p[:, 0] + p[:, 1:].max(axis=1)),
        "log_odds": np.log(p[:, 0]) - np.log(p[:, 1:].sum(axis=1)),
        "argmax": p.argmax(axis=1) == 0,
        "head": np.asarray(head_log_odds(head, p)),
    }
    assert set(found.index) == set(expected)
    for name, values in expected.items():
        assert found.loc[name, "auc"] == pytest.approx(roc_auc_score(labels, values), abs=1e-6), name


@pytest.mark.slow
def test_the_page_begins_with_the_verdict_and_shows_readers(folder):
    page = (folder / "run" / "report" / "index.html").read_text(encoding="utf-8")
    answer = re.search(r'<p class="answer">(.*?)</p>', page, re.DOTALL)[1]
    assert answer.startswith("Two-stage diagnosis of Psoriasis")
    for words in (
        "Two-stage against single-stage",
        "Photos from elsewhere",
        "Classes left out of training",
        "Readers",
    ):
        assert words in page
    assert "theirs" not in page or "manifest.csv has no case_id" in page
    figure = pd.read_csv(folder / "run" / "report" / "figures" / "two_stage_roc.csv")
    assert {"reader A", "reader B", "draw 1", "draw 2"} <= set(figure["model"])
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']+""", page)


@pytest.mark.slow
def test_finished_networks_are_read_and_give_the_same_report(folder):
    report = folder / "run" / "report"
    before = {path.name: path.read_bytes() for path in (report / "tables").iterdir()}
    metrics = (folder / "run" / "metrics.csv").read_bytes()
    (report / "index.html").unlink()
    run(*small_flags(folder))
    assert (folder / "run" / "metrics.csv").read_bytes() == metrics
    assert {path.name: path.read_bytes() for path in (report / "tables").iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["--batch_size=40", "--burn_in=1"],
            "each single-stage network has 32 balanced photos to train on: batch_size is 40",
        ),
        (["--leave_out=nevus", "--foreign="], "with a photo that the predictions do not have"),
    ],
)
def test_bad_input_gets_one_sentence_before_anything_is_trained(folder, tmp_path, changes, message):
    result = run(*small_flags(folder), f"--workdir={tmp_path / 'bad'}", *changes, code=2)
    assert message in result.stderr
    assert not (tmp_path / "bad" / "checkpoints").exists()


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Photos of one's own as they are read, and the flags of a question, to be changed."""
    (tmp_path / "taxonomy.csv").write_text(TAXONOMY)
    tree = load_taxonomy(tmp_path / "taxonomy.csv")
    frame = pd.DataFrame(
        {"image": ["a.png", "b.png"], "label": ["psoriasis", "nevus"], "case_id": ["1", "2"]}
    )
    values = FlagValues(target=["psoriasis"], leave_out=[], foreign="", readers="")
    monkeypatch.setattr(flags, "FLAGS", FlagDict(values))
    return Inputs(frame, tmp_path, tree, synthetic=False, notes=())


class FlagDict:
    """Flags by attribute and by name, as absl has them."""

    def __init__(self, values: FlagValues):
        self.__dict__.update(vars(values))

    def __getitem__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(value=getattr(self, name))


def test_a_target_of_a_coarser_level_is_its_classes_and_those_left_out_leave_the_taxonomy(read):
    flags.FLAGS.target, flags.FLAGS.leave_out = ["tumour"], ["eczema"]
    question = two_stage.ask(read)
    assert question.target == ("nevus", "melanoma")
    assert question.title == "Tumour"
    assert question.taxonomy.classes() == ("psoriasis", "lichen", "nevus", "melanoma")
    assert question.binary.title("other") == "Not Tumour"


def test_photos_from_elsewhere_of_a_case_that_is_trained_on_are_refused(read, tmp_path):
    (tmp_path / "theirs.csv").write_text("image,label,case_id\nc.png,nevus,2\nd.png,nevus,3\n")
    flags.FLAGS.foreign = str(tmp_path / "theirs.csv")
    with pytest.raises(
        ValueError, match=r"--foreign=\S+ and the photos that are trained on have 1 cases in common"
    ):
        two_stage.ask(read)
    (tmp_path / "theirs.csv").write_text("image,label,case_id\nc.png,nevus,3\n")
    assert len(two_stage.ask(read).foreign.frame) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": []}, "--target= is no class"),
        ({"target": ["acne"]}, "--target=acne is no class, or classes of one level, of taxonomy"),
        (
            {"target": ["psoriasis", "tumour"]},
            "--target=psoriasis,tumour is no class, or classes of one level",
        ),
        ({"leave_out": ["rash"]}, "--leave_out=rash leaves out psoriasis, which is of the --target"),
        ({"target": ["rash"], "leave_out": ["tumour"]}, "leave no other class to train on"),
        ({"foreign": "nowhere.csv"}, "nowhere.csv"),
        ({"readers": "nobody.csv"}, "nobody.csv"),
    ],
)
def test_a_question_that_cannot_be_asked_is_told_in_one_sentence(read, values, message):
    for name, value in values.items():
        setattr(flags.FLAGS, name, value)
    with pytest.raises(ValueError, match=re.escape(message)):
        two_stage.ask(read)
