"""Advice beside a two-stage run's call, and where nothing was fitted: of given probabilities, without a network."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from skinjax.data import predictions
from skinjax.evaluate.calls import UNKNOWN
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.advice import NOT_KNOWN, advice_record, raise_for_target, run_advice
from skinjax.predict.decisions import DecisionOptions, Decisions, decide
from skinjax.predict.degrees import degrees_of
from skinjax.predict.networks import Predictor
from skinjax.predict.photos import AnswerContext, predict_photos
from skinjax.predict.reference import ReferenceLimits
from skinjax.predict.target_call import SampleSize, TargetDecision, TargetRates, target_calls
from skinjax.runs.folder import RunFolder
from skinjax.runs.options import Options
from skinjax.studies.steps.answer_table import AnswerTable

TREE = load_taxonomy("ham10000")
OPTIONS = DecisionOptions(degree_of_class=degrees_of(TREE))
ARGMAX = dataclasses.replace(OPTIONS, rule="argmax")
FITTED = Decisions({TREE.finest: 1.0}, set_threshold=-0.1, certainty=0.5, photos=100, cases=50)
NOTHING_OUT = "no class can be ruled out"
SIZE = SampleSize(0, 0, 0, 0)


def probabilities(**of_class: float) -> np.ndarray:
    return np.array([of_class.get(name, 0.0) for name in TREE.classes()])


NEVUS = probabilities(mel=0.15, nv=0.85)


def two_stage(*classes: str, threshold: float = 0.035) -> TargetDecision:
    rates = {"probability": TargetRates(UNKNOWN, UNKNOWN)}
    return TargetDecision(
        "Target", classes, "probability", {"probability": threshold}, rates, None, SIZE, SIZE
    )


def answered(folder, probs, decisions=FITTED, target=None, light: int = 150, **more):
    """The answer for a photo of noise around a brightness, of which a network says `probs`."""
    noise = np.random.default_rng(0).normal(light, 8, (32, 32, 3)).clip(0, 255)
    Image.fromarray(noise.astype(np.uint8)).save(folder / "a.png")
    said = SimpleNamespace(probabilities=lambda: {TREE.finest: probs[None]}, features=list)
    predictor = SimpleNamespace(
        taxonomy=TREE, image_size=32, fit="stretch", forward=lambda images, table: said
    )
    context = AnswerContext(more.pop("options", OPTIONS), decisions, ReferenceLimits(), target, **more)
    return next(predict_photos(predictor, [folder / "a.png"], context, batch_size=1))


def test_a_melanoma_that_is_called_is_urgent_whatever_is_more_probable(tmp_path):
    alone = answered(tmp_path, NEVUS)
    assert (alone.reasons, alone.advice.urgency) == ((), "routine")
    called = answered(tmp_path, NEVUS, target=two_stage("mel"))
    assert called.target.called
    assert called.advice.urgency == "urgent"
    assert called.advice.words == "May be dangerous: see a dermatologist within days."
    dark = answered(tmp_path, NEVUS, target=two_stage("mel"), light=3)
    assert dark.reasons
    assert dark.advice.words.startswith("This is not certain, and may be dangerous")


def test_a_target_that_is_not_called_or_has_no_hurry_changes_nothing(tmp_path):
    for target in (two_stage("mel", threshold=0.5), two_stage("mel", threshold=np.nan), two_stage("nv")):
        assert answered(tmp_path, NEVUS, target=target).advice.urgency == "routine"
    dark = answered(tmp_path, NEVUS, target=two_stage("nv"), light=3)
    assert dark.target.called
    assert dark.advice.urgency is None  # stays withheld: a benign target is no all-clear
    several = two_stage("nv", "bcc")
    assert answered(tmp_path, NEVUS, target=several).advice.urgency == "soon"


@pytest.fixture
def frame():
    """Melanomas that the network takes for nevi, with a trace of what they are, and nevi without."""
    labels = np.array(["mel", "nv"] * 20)
    rare = np.where(labels == "mel", 0.15, 0.01)
    probs = np.array([probabilities(mel=p, nv=1 - p) for p in rare])
    names = [f"{number}.png" for number in range(40)]
    return predictions.from_arrays(names, names, labels, 0, probs, TREE)


@pytest.mark.slow
def test_the_record_counts_by_the_same_rule(frame):
    read = predictions.Predictions.from_frame(frame, TREE)
    probs = {TREE.finest: read.probabilities()}
    calls = target_calls(two_stage("mel"), probs[TREE.finest], TREE)
    raised = raise_for_target(decide(probs, TREE, OPTIONS, FITTED), calls, TREE, OPTIONS)
    assert (raised["urgency"][read.label_names == "mel"] == 2).all()
    assert (raised["urgency"][read.label_names == "nv"] < 2).all()
    assert advice_record(probs, read, ARGMAX).cancers["rate"] > 0.5
    assert advice_record(probs, read, ARGMAX, two_stage("mel")).cancers["rate"] == 0


@pytest.mark.slow
def test_the_kept_record_is_of_one_target(tmp_path, frame):
    with RunFolder.open(tmp_path, "two_stage", Options()) as run:
        run.begin(Options(), "made up", TREE, list(frame["image"]))
        predictions.write_predictions(frame, run.predictions_file("two_stage_test"), TREE)
    loaded = SimpleNamespace(network=SimpleNamespace(stage="two_stage"))
    predictor = Predictor(tmp_path, TREE, ({TREE.finest: loaded},), 0, 8, "stretch", ())
    never, often = two_stage("mel", threshold=0.9), two_stage("mel")
    late = [run_advice(predictor, ARGMAX, FITTED, target).cancers["rate"] for target in (never, often, often)]
    assert late[0] > 0.5
    assert late[1:] == [0, 0]


def test_where_nothing_was_fitted_nothing_reassures(tmp_path):
    unfitted = Decisions({TREE.finest: 1.0})
    answer = answered(tmp_path, probabilities(nv=0.49, mel=0.05, bkl=0.46), unfitted)
    assert answer.advice.urgency is None
    assert answer.advice.withheld == (NOTHING_OUT, NOT_KNOWN)
    assert "benign" not in answer.advice.words
    table = AnswerTable(TREE)
    table.add(answer)
    shown = " ".join(" ".join(table.lines).split())
    assert f"no diagnosis: {NOTHING_OUT} No answer is possible" in shown
    assert NOT_KNOWN in shown
    assert "of 100" not in shown
    alarm = answered(tmp_path, probabilities(nv=0.2, mel=0.8), unfitted)
    assert (alarm.advice.urgency, alarm.advice.withheld) == ("urgent", (NOTHING_OUT, NOT_KNOWN))


@pytest.mark.slow
def test_a_set_that_rules_too_little_out_gives_no_diagnosis_and_does_not_reassure(tmp_path):
    spread = probabilities(nv=0.52, bkl=0.13, df=0.12, vasc=0.12, mel=0.11)
    wide = answered(tmp_path, spread)
    assert wide.reasons == ("5 classes cannot be ruled out (at most 3 may remain)",)
    assert wide.diagnosis(TREE) is None
    assert wide.advice.urgency != "routine"
    allowed = answered(tmp_path, spread, options=dataclasses.replace(OPTIONS, set_limit=5))
    assert (allowed.reasons, allowed.diagnosis(TREE)) == ((), "nv")
    full = answered(
        tmp_path, NEVUS, dataclasses.replace(FITTED, set_threshold=np.inf),
        options=dataclasses.replace(OPTIONS, set_limit=7),
    )  # fmt: skip
    assert full.reasons == (NOTHING_OUT,)


def test_networks_of_rendered_photos_diagnose_no_other(tmp_path):
    real = answered(tmp_path, NEVUS, rendered=tmp_path / "photos")
    assert real.reasons == ("the networks learned from rendered photos, and this is not one of the run's",)
    assert (real.diagnosis(TREE), real.advice.urgency) == (None, None)
    assert answered(tmp_path, NEVUS, rendered=tmp_path.resolve()).diagnosis(TREE) == "nv"


def test_cut_points_that_were_not_fitted_are_refused():
    options = dataclasses.replace(OPTIONS, rule="cutpoints")
    with pytest.raises(ValueError, match="grade_rule must not be cutpoints"):
        decide({TREE.finest: NEVUS[None]}, TREE, options, Decisions({TREE.finest: 1.0}))
