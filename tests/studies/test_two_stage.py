"""Two-stage against single-stage networks on photos of one's own, from Python and as a command."""

from __future__ import annotations

import dataclasses
import json
import re
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score, roc_curve

import skinjax
from skinjax.data.photo_set import PhotoSet
from skinjax.data.predictions import probabilities, read_predictions, read_taxonomy, validate
from skinjax.decide.logistic_head import fit_head, head_log_odds
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.studies import two_stage
from skinjax.studies.steps import question
from tests.support import small_backbones
from tests.support.both_ways import TINY, assert_evaluated, flags_of, run_both_ways
from tests.support.commands import run_small
from tests.support.small_photos import TAXONOMY, write_photos

SINGLE = ("single_0", "single_1", "single_weighted")


def options(folder: Path) -> dict:
    more = {
        "epochs": 2, "burn_in": 2.0, "draws": 2, "leave_out": ("lichen", "melanoma"),
        "readers": str(folder / "readers.csv"), "foreign": str(folder / "theirs" / "manifest.csv"),
    }  # fmt: skip
    return TINY | more


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Photos of one's own, readers of the test photos, photos from elsewhere, and the finished run."""
    folder = tmp_path_factory.mktemp("two_stage")
    mine = write_photos(folder / "mine", 16)
    test = mine[(mine["split"] == "test") & mine["label"].isin(["psoriasis", "eczema", "nevus"])]
    calls = np.random.default_rng(0).integers(0, 2, (2, len(test)))
    pd.DataFrame(
        {"reader": np.repeat(["A", "B"], len(test)), "image": [*test["image"]] * 2, "call": calls.ravel()}
    ).to_csv(folder / "readers.csv", index=False)
    theirs = write_photos(folder / "theirs", 4, seed=9)
    theirs = theirs.assign(label=theirs["label"].where(theirs["label"] == "psoriasis", "unheard of"))
    theirs[["image", "label"]].to_csv(folder / "theirs" / "manifest.csv", index=False)
    run_both_ways(two_stage, "psoriasis", folder / "mine", options(folder), folder)
    (folder / "python").rename(folder / "run")
    return folder


def resumed(folder: Path, **changes) -> two_stage.Result:
    """Calls the study on the finished run again."""
    photos = skinjax.read_photos(folder / "mine" / "manifest.csv", taxonomy=folder / "mine" / "taxonomy.csv")
    with small_backbones.registered():
        return two_stage.run(photos, two_stage.Config(**options(folder) | changes), folder / "run")


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
        "merged": p[:, 0],  # the same order of photos
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
    assert resumed(folder).headline
    assert (folder / "run" / "metrics.csv").read_bytes() == metrics
    assert {path.name: path.read_bytes() for path in (report / "tables").iterdir()} == before


@pytest.mark.slow
def test_the_run_is_evaluated_and_loaded(folder, tmp_path):
    found = assert_evaluated(folder / "run", tmp_path / "evaluation")
    test = stored(folder, "two_stage", "test")
    pd.testing.assert_frame_equal(found.predictions, test)
    right = probabilities(test, load_taxonomy(folder / "run" / "taxonomy.json")).argmax(axis=1)
    known = ("psoriasis", "eczema", "nevus")
    assert found.table["accuracy"][0] == pytest.approx(np.mean([known[k] for k in right] == test["label"]))
    with small_backbones.registered():
        assert skinjax.load_run(folder / "run").network.stage == "two_stage"
        assert skinjax.load_run(folder / "run").network.classes == known
        assert skinjax.load_run(folder / "run", "single_1").network.classes == ("other", "target")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["--batch_size=40", "--burn_in=1"],
            "each single-stage network has 32 balanced photos to train on: batch_size must be at most",
        ),
        (["--leave_out=nevus", "--foreign="], "with a photo that the predictions do not have"),
    ],
)
def test_bad_input_gets_one_sentence_before_anything_is_trained(folder, tmp_path, changes, message):
    mine = [f"--{name}={folder / 'mine' / name}.csv" for name in ("manifest", "taxonomy")]
    flags = [*mine, *flags_of(options(folder)), f"--workdir={tmp_path / 'bad'}", "--compilation_cache="]
    assert message in run_small("psoriasis", *flags, *changes, code=2).stderr
    assert not (tmp_path / "bad" / "checkpoints").exists()


@pytest.fixture
def read(tmp_path) -> PhotoSet:
    """Photos of one's own as they are read."""
    (tmp_path / "taxonomy.csv").write_text(TAXONOMY)
    tree = load_taxonomy(tmp_path / "taxonomy.csv")
    frame = pd.DataFrame(
        {"image": ["a.png", "b.png"], "label": ["psoriasis", "nevus"], "case_id": ["1", "2"]}
    )
    return PhotoSet(frame, tmp_path, tree)


def test_a_target_of_a_coarser_level_is_its_classes_and_those_left_out_leave_the_taxonomy(read):
    found = question.ask(two_stage.Config(target=("tumour",), leave_out=("eczema",)), read)
    assert found.target == ("nevus", "melanoma")
    assert found.title == "Tumour"
    assert found.taxonomy.classes() == ("psoriasis", "lichen", "nevus", "melanoma")
    assert found.binary.title("other") == "Not Tumour"


def test_photos_from_elsewhere_of_a_case_that_is_trained_on_are_refused(read, tmp_path):
    (tmp_path / "theirs.csv").write_text("image,label,case_id\nc.png,nevus,2\nd.png,nevus,3\n")
    config = two_stage.Config(foreign=str(tmp_path / "theirs.csv"))
    message = r"foreign=\S+ and the photos that are trained on must have no case in common, got 1 in both, such as 2"
    with pytest.raises(ValueError, match=message):
        question.ask(config, read)
    (tmp_path / "theirs.csv").write_text("image,label,case_id\nc.png,nevus,3\n")
    assert len(question.ask(config, read).foreign.frame) == 1


def test_photos_from_elsewhere_may_have_other_names_of_columns(read, tmp_path):
    theirs = tmp_path / "theirs.csv"
    theirs.write_text('File name,"Diagnosis, final",Patient,label\nc.png,Psoriasis,9,old\n')
    names = ("image=File name", 'label="Diagnosis', 'final"', "case_id=Patient")
    found = question.ask(two_stage.Config(foreign=str(theirs), foreign_map=names), read).foreign.frame
    assert found[["image", "label", "case_id"]].to_numpy().tolist() == [["c.png", "psoriasis", "9"]]


def test_another_map_of_photos_from_elsewhere_is_another_report(tmp_path):
    theirs = tmp_path / "theirs.csv"
    theirs.write_text("image,label,case_id,Diagnosis\nc.png,nevus,9,psoriasis\n")
    plain = two_stage.Config(foreign=str(theirs))
    mapped = dataclasses.replace(plain, foreign_map=("label=Diagnosis",))
    folder = types.SimpleNamespace(finished=True, shown=tmp_path / "shown.json", options={})
    for shown, other in ((plain, mapped), (mapped, plain)):
        question.note_shown(folder, shown)
        assert question.is_shown(folder, shown)
        assert not question.is_shown(folder, other)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"foreign_map": ("image=File",)}, "foreign_map=image=File must be given with foreign=FILE"),
        ({"foreign": "theirs.csv", "foreign_map": ("File",)}, "foreign_map=File must be NAME=COLUMN"),
        (
            {"foreign": "theirs.csv", "foreign_map": ("label=Diagnose",)},
            "foreign=theirs.csv: foreign_map=label=Diagnose: no column 'Diagnose', but one 'Diagnosis'",
        ),
    ],
)
def test_a_map_that_does_not_fit_photos_from_elsewhere_is_told(read, tmp_path, monkeypatch, values, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.csv").write_text("image,Diagnosis\nc.png,nevus\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        question.ask(dataclasses.replace(two_stage.Config(), **values), read)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": ()}, "target= must name a class, or classes of one level, of "),
        ({"target": ("acne",)}, "target=acne must name a class, or classes of one level, of "),
        (
            {"target": ("psoriasis", "tumour")},
            "target=psoriasis,tumour must name a class, or classes of one level",
        ),
        ({"leave_out": ("rash",)}, "leave_out=rash leaves out psoriasis, which is of the target"),
        ({"target": ("rash",), "leave_out": ("tumour",)}, "must leave another class to train on"),
        ({"foreign": "nowhere.csv"}, "nowhere.csv"),
        ({"readers": "nobody.csv"}, "nobody.csv"),
    ],
)
def test_a_question_that_cannot_be_asked_is_told_in_one_sentence(read, values, message):
    config = dataclasses.replace(two_stage.Config(), **values)
    with pytest.raises(ValueError, match=re.escape(message)):
        question.ask(config, read)
