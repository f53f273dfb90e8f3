"""Answers by case: of given probabilities and drawn photos, against the answers for the photos and against hand."""

from __future__ import annotations

import dataclasses
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from skinjax.data import predictions
from skinjax.data.predictions import Predictions
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.advice import run_advice
from skinjax.predict.case_decisions import (
    FILE,
    CaseDecisions,
    case_record,
    disagreement_limit,
    run_case_advice,
    run_case_decisions,
)
from skinjax.predict.cases import CaseContext, case_header, predict_cases
from skinjax.predict.decisions import DecisionOptions, Decisions, decide, fit_decisions
from skinjax.predict.degrees import degrees_of
from skinjax.predict.networks import Predictor
from skinjax.predict.photos import AnswerContext, predict_photos
from skinjax.predict.pooled import pool_predictions
from skinjax.predict.reference import ReferenceLimits
from skinjax.predict.run_decisions import run_decisions
from skinjax.runs.folder import RunFolder
from skinjax.runs.options import Options

TREE = load_taxonomy("ham10000")
CLASSES = TREE.classes()
OPTIONS = DecisionOptions(degree_of_class=degrees_of(TREE))
FITTED = Decisions({TREE.finest: 1.0}, set_threshold=-0.1, certainty=0.5, photos=100, cases=50)


def says(**of_class: float) -> np.ndarray:
    return np.array([of_class.get(name, 0.0) for name in CLASSES], np.float32)


NEVUS, MELANOMA = says(nv=0.85, mel=0.15), says(mel=0.8, nv=0.2)


class Answering:
    """A predictor whose photos say what their shade stands for, and a folder to draw photos in."""

    def __init__(self, folder, said: list[np.ndarray]) -> None:
        self.folder, self.said, self.names = folder, said, []
        for number in range(len(said)):
            noise = np.random.default_rng(number).normal(100 + 10 * number, 8, (32, 32, 3))
            self.draw(f"{number}.png", noise)
        self.predictor = SimpleNamespace(
            taxonomy=TREE, image_size=32, fit="stretch", levels=(TREE.finest,), forward=self.forward
        )

    def draw(self, name: str, pixels: np.ndarray) -> None:
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(self.folder / name)
        self.names.append(self.folder / name)

    def forward(self, images, table):
        shades = np.round((images.mean(axis=(1, 2, 3)) - 100) / 10).astype(int)
        probs = np.stack([self.said[min(max(shade, 0), len(self.said) - 1)] for shade in shades])
        return SimpleNamespace(probabilities=lambda: {TREE.finest: probs}, features=list)

    def answers(self, groups, context, **more):
        return list(predict_cases(self.predictor, groups, context, batch_size=4, **more))


def context_of(decisions=FITTED, limit=np.inf, options=OPTIONS, **more) -> CaseContext:
    photo = AnswerContext(options, decisions, ReferenceLimits(), **more)
    return CaseContext(photo, CaseDecisions(decisions, limit, 100, 30))


@pytest.mark.slow
def test_a_case_of_one_photo_is_answered_as_its_photo(tmp_path):
    said = [NEVUS, MELANOMA, says(nv=0.3, bkl=0.3, df=0.2, mel=0.2)]
    answering, context = Answering(tmp_path, said), context_of(limit=0.0)
    answering.draw("dark.png", np.zeros((32, 32, 3)))
    answering.names.append(tmp_path / "missing.png")
    photos = list(predict_photos(answering.predictor, answering.names, context.photo, batch_size=4))
    cases = answering.answers({str(n): [name] for n, name in enumerate(answering.names)}, context)
    for number, (case, photo) in enumerate(zip(cases, photos, strict=True)):
        assert (case.case, case.error, case.disagreement) == (str(number), photo.error, None)
        assert case.photos[0].to_dict(TREE) == photo.to_dict(TREE)
        if photo.error is None:
            shared = set(case.to_dict(TREE)) - {"case", "photos", "disagreement"}
            assert "diagnosis" in shared
            for name in shared:
                assert case.to_dict(TREE)[name] == photo.to_dict(TREE)[name], name
    assert [case.error is None for case in cases] == [True] * 4 + [False]
    assert any(reason.startswith("too dark") for reason in cases[3].reasons)


def test_photos_are_pooled_and_then_decided(tmp_path):
    said = [says(nv=0.6, mel=0.3, bkl=0.1), says(nv=0.5, mel=0.1, bkl=0.4), NEVUS]
    answering = Answering(tmp_path, said)
    context = context_of(dataclasses.replace(FITTED, temperatures={TREE.finest: 2.0}))
    (case,) = answering.answers([("arm", answering.names)], context)
    floor = np.finfo(np.float32).tiny
    logs = np.log(np.maximum(said, floor)).mean(axis=0)
    np.testing.assert_allclose(case.probabilities[TREE.finest], softmax(logs / 2), atol=1e-5)
    inside = np.array(CLASSES)[softmax(logs) >= 0.1]
    assert case.conformal_set == tuple(inside)
    assert case.diagnosis(TREE) == "nv"
    assert (case.counted, case.left_out) == ((True,) * 3, ())
    mean = np.mean(said, axis=0)
    h = lambda p: -(p[p > 0] * np.log(p[p > 0])).sum()  # noqa: E731
    assert case.disagreement == pytest.approx((h(mean) - np.mean([h(p) for p in said])) / np.log(3), abs=1e-5)


def test_photos_that_cannot_be_relied_on_are_left_out_where_another_can(tmp_path):
    answering = Answering(tmp_path, [NEVUS, NEVUS])
    answering.draw("dark.png", np.zeros((32, 32, 3)))
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    good, dark, broken = tmp_path / "1.png", tmp_path / "dark.png", tmp_path / "broken.jpg"
    darker = tmp_path / "darker.png"
    Image.new("RGB", (32, 32), (9, 9, 9)).save(darker)
    groups = {"both": [dark, good, broken], "dark": [dark, darker, broken], "none": [broken, broken]}
    both, only_dark, none = answering.answers(groups, context_of())
    assert both.counted == (False, True, False)
    assert [one.photo for one in both.left_out] == [str(dark), str(broken)]
    assert (both.diagnosis(TREE), both.usable, both.disagreement) == ("nv", True, None)
    assert only_dark.counted == (True, True, False)
    assert not only_dark.usable
    assert only_dark.diagnosis(TREE) is None
    assert any(reason.startswith("dark.png: too dark") for reason in only_dark.reasons)
    assert any(reason.startswith("darker.png: too dark") for reason in only_dark.reasons)
    assert sum("too blurred" in reason for reason in only_dark.reasons) == 1  # the same of both, said once
    assert only_dark.advice.urgency is None
    assert none.error.startswith("none of 2 photos can be read; the first, broken.jpg: ")
    row = dict(zip(case_header(TREE), both.to_row(TREE), strict=True))
    assert row["left_out"] == f"{dark}|{broken}"
    assert len(none.to_row(TREE)) == len(case_header(TREE))


def test_photos_that_disagree_too_far_get_no_diagnosis_and_nothing_reassuring(tmp_path):
    said = [says(nv=0.97, bkl=0.03), says(nv=0.55, bkl=0.45)]
    answering = Answering(tmp_path, said)
    free, held = (
        answering.answers({"a": answering.names}, context_of(limit=limit))[0] for limit in (1.0, 0.05)
    )
    assert (free.diagnosis(TREE), free.advice.urgency) == ("nv", "routine")
    assert held.reasons == (f"the photos disagree ({free.disagreement:.2f}, must be at most 0.05)",)
    assert (held.diagnosis(TREE), held.advice.urgency) == (None, None)


@pytest.mark.slow
def test_a_case_is_as_urgent_as_the_alarm_of_a_photo_that_counts(tmp_path):
    said = [NEVUS, NEVUS, NEVUS, says(mel=0.55, nv=0.45)]
    answering = Answering(tmp_path, said)
    options = dataclasses.replace(OPTIONS, rule="argmax")
    names = answering.names
    without, with_alarm = answering.answers(
        {"without": names[:3], "with": names}, context_of(options=options)
    )
    assert without.advice.urgency == "routine"
    assert with_alarm.top(TREE, TREE.finest)[0][0] == "nv"
    assert with_alarm.advice.urgency == "urgent"


def test_photos_in_memory_are_answered_as_their_files(tmp_path):
    answering = Answering(tmp_path, [NEVUS, MELANOMA])
    in_memory = []
    for path in answering.names:
        photo = io.BytesIO(path.read_bytes())
        photo.name = path.name
        in_memory.append(photo)
    context = context_of(rendered=tmp_path.resolve())
    files, memory = answering.answers({"files": answering.names, "memory": in_memory}, context)
    assert [one.photo for one in memory.photos] == ["0.png", "1.png"]
    assert memory.reasons == files.reasons
    np.testing.assert_array_equal(memory.probabilities[TREE.finest], files.probabilities[TREE.finest])
    other = io.BytesIO(answering.names[0].read_bytes() + b" ")
    (strange,) = answering.answers({"x": [other]}, context)
    assert strange.reasons == ("the networks learned from rendered photos, and this is not one of the run's",)
    both, blurred = answering.names[0].rename(tmp_path / "x.png"), tmp_path / "0.png"
    Image.new("RGB", (32, 32), (120, 120, 120)).save(blurred)
    elsewhere = context_of(rendered=(tmp_path / "elsewhere").resolve())
    (case,) = answering.answers({"x": [both, blurred]}, elsewhere)
    assert case.counted == (True, False)  # of no rendered photo, the sharp one counts all the same
    (real,) = answering.answers({"x": [other]}, context_of())  # the same object again, from its start
    assert real.error is None


def test_json_and_csv_say_the_same_and_no_case_is_without_photos(tmp_path):
    answering = Answering(tmp_path, [NEVUS, MELANOMA])
    (case,) = answering.answers({"a": answering.names}, context_of())
    document = json.loads(json.dumps(case.to_dict(TREE), allow_nan=False))
    row = dict(zip(case_header(TREE), case.to_row(TREE), strict=True))
    assert row["photos"].split("|") == [one["photo"] for one in document["photos"]]
    assert [one["counted"] for one in document["photos"]] == [True, True]
    assert float(row["p_mel"]) == document["probabilities"][TREE.finest]["mel"]
    assert float(row["disagreement"]) == document["disagreement"]
    assert row["urgency"] == document["urgency"]
    with pytest.raises(ValueError, match="groups must have a photo for each case, got none for 'b'"):
        answering.answers({"a": answering.names, "b": []}, context_of())


# ---- what answers rest on


def drawn(cases: int, seed: int = 0, photos=(1, 2, 3), sharp: float = 2.0):
    """Predictions of cases whose photos share an error, as a frame of HAM10000's classes."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice(photos, cases)
    case = np.repeat(np.arange(cases), sizes)
    labels = rng.integers(0, len(CLASSES), cases)[case]
    shared = rng.normal(size=(cases, len(CLASSES)))[case]
    logits = 2.5 * np.eye(len(CLASSES))[labels] + shared + rng.normal(size=shared.shape)
    names = [f"{number}.png" for number in range(len(case))]
    return predictions.from_arrays(
        names, case, np.array(CLASSES)[labels], case % 2, softmax(sharp * logits, axis=1), TREE
    )


def run_of(folder, frame) -> Predictor:
    with RunFolder.open(folder, "hierarchy", Options()) as run:
        run.begin(Options(), "made up", TREE, list(frame["image"]))
        predictions.write_predictions(frame, run.predictions_file("out_of_fold"), TREE)
    loaded = SimpleNamespace(network=SimpleNamespace(stage="sub"))
    return Predictor(folder, TREE, ({TREE.finest: loaded},), -1, 8, "stretch", ())


@pytest.mark.slow
def test_fits_are_those_of_pooled_cases_and_are_kept(tmp_path):
    frame = drawn(80)
    predictor = run_of(tmp_path, frame)
    found = run_case_decisions(predictor, OPTIONS)
    pooled = pool_predictions(Predictions.from_frame(frame, TREE))
    cases = pooled.predictions
    expected = fit_decisions(cases.probs, cases.label, cases.case_id, TREE, OPTIONS)
    assert found.decisions == expected
    assert (found.decisions.photos, found.photos, found.mixed) == (80, len(frame), 0)
    assert found.several == int((frame.groupby("case_id").size() > 1).sum())
    stored = (tmp_path / FILE).read_text(encoding="utf-8")
    assert run_case_decisions(predictor, OPTIONS) == found
    assert (tmp_path / FILE).read_text(encoding="utf-8") == stored
    other = run_case_decisions(predictor, OPTIONS, unusual=0.3)
    assert other.disagreement < found.disagreement
    assert other.decisions == found.decisions
    (tmp_path / FILE).write_text("{", encoding="utf-8")
    assert run_case_decisions(predictor, OPTIONS) == found


@pytest.mark.slow
def test_with_one_photo_per_case_fits_and_record_are_those_of_photos(tmp_path):
    predictor = run_of(tmp_path, drawn(60, photos=(1,)))
    found, photo = run_case_decisions(predictor, OPTIONS), run_decisions(predictor, OPTIONS)
    assert found.decisions == photo
    assert (found.disagreement, found.several) == (np.inf, 0)
    record = dataclasses.asdict(run_case_advice(predictor, OPTIONS, found))
    assert record["cancers"]["photos"] > 0
    assert record == dataclasses.asdict(run_advice(predictor, OPTIONS, photo))
    assert dataclasses.asdict(run_case_advice(predictor, OPTIONS, found)) == record


@pytest.mark.slow
def test_a_patient_with_several_diagnoses_is_left_out_or_told_apart_by_lesion(tmp_path):
    frame = drawn(30, photos=(2,))
    other = dict(zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True))
    second = frame["image"].isin({"1.png", "3.png"})
    frame.loc[second, "label"] = frame.loc[second, "label"].map(other)
    mixed = pool_predictions(Predictions.from_frame(frame, TREE))
    assert (mixed.mixed, mixed.mixed_photos, len(mixed.predictions)) == (2, 4, 28)
    assert run_case_decisions(run_of(tmp_path / "run", frame), OPTIONS).mixed == 2
    frame["lesion_id"] = frame["case_id"] + second.map({True: "b", False: "a"})
    apart = pool_predictions(Predictions.from_frame(frame, TREE))
    assert (apart.mixed, len(apart.predictions)) == (0, 32)
    assert len(set(apart.predictions.case_id)) == 30
    frame["lesion_id"] = frame["lesion_id"].where(~frame["case_id"].eq("5"), "")  # not known: the case is
    assert pool_predictions(Predictions.from_frame(frame, TREE)).several == 28


def test_a_run_without_a_case_of_one_diagnosis_is_not_calibrated(tmp_path):
    frame = drawn(10, photos=(2,))
    frame["label"] = np.resize(["nv", "mel"], len(frame))
    found = run_case_decisions(run_of(tmp_path, frame), OPTIONS)
    assert (found.decisions.photos, found.mixed) == (0, 10)
    assert run_case_advice(run_of(tmp_path / "other", frame), OPTIONS, found).cancers is None


def test_the_limit_of_disagreement_keeps_its_share_and_needs_cases():
    rng = np.random.default_rng(0)
    beyond = []
    for _ in range(200):
        apart = rng.random(101)
        limit = disagreement_limit(apart[:100], np.full(100, 2), np.arange(100), 0.1)
        beyond.append(apart[100] > limit)
    assert 0.04 < np.mean(beyond) < 0.16
    assert disagreement_limit(np.ones(30), np.ones(30, int), np.arange(30), 0.1) == np.inf
    assert disagreement_limit(np.ones(30), np.full(30, 2), np.arange(30) // 2, 0.1) == np.inf


@pytest.mark.slow
def test_the_record_counts_what_cases_would_have_been_told(tmp_path):
    """By hand: alarms of photos make their case urgent, whatever the pool says."""
    count = 40
    labels = np.repeat(["mel", "nv"] * (count // 2), 3)
    rows = {
        "mel": [says(nv=0.9, mel=0.1), says(nv=0.9, mel=0.1), MELANOMA],
        "nv": [says(nv=0.97, mel=0.03)] * 3,
    }
    probs = np.concatenate([rows[label] for label in labels[::3]])
    names = [f"{number}.png" for number in range(len(labels))]
    frame = predictions.from_arrays(names, np.repeat(np.arange(count), 3), labels, 0, probs, TREE)
    read = Predictions.from_frame(frame, TREE)
    options = dataclasses.replace(OPTIONS, rule="argmax", answered=1.0)
    pooled = pool_predictions(read)
    assert (decide(pooled.predictions.probs, TREE, options, FITTED)["urgency"] == 0).all()
    record = case_record(pooled, read.probs, options, None, unusual=0.4)
    assert record.cancers["rate"] == 0
    assert (record.cancers["photos"], record.cancers["cases"]) == (
        20,
        20,
    )  # a case once, not its three photos
    without = case_record(
        dataclasses.replace(pooled, rows=pooled.rows[pooled.rows % 3 < 2], index=pooled.index[pooled.rows % 3 < 2]),
        read.probs, options, None, unusual=0.4,
    )  # fmt: skip
    assert without.cancers["rate"] > 0.5
