"""How a run's advice fared: few cases, lesions with several photos, and the file that keeps it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from skinjax.data import predictions
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.advice import FILE, AdviceRecord, advice_record, record_notes, run_advice
from skinjax.predict.decisions import DecisionOptions, Decisions, decide, fit_decisions
from skinjax.predict.networks import Predictor
from skinjax.runs.folder import RunFolder
from skinjax.runs.options import Options

TREE = Taxonomy("four", ("sub",), (("rash",), ("nevus",), ("carcinoma",), ("melanoma",)))
OPTIONS = DecisionOptions(degree_of_class=(-1, 0, 1, 2))


def stored(cases: int, photos: int = 2):
    """Predictions of cases with two lesions each, a photo of each lesion and one more of the first."""
    rng = np.random.default_rng(cases)
    case = np.repeat(np.arange(cases), photos)
    lesion = np.array([f"{number % 2}" for number in range(len(case))])
    classes = (case + np.arange(len(case)) % 2) % 4
    labels = np.array(TREE.classes())[classes]
    probs = 0.5 * rng.dirichlet(np.ones(4), len(case)) + 0.5 * np.eye(4)[classes]
    names = [f"{number}.png" for number in range(len(case))]
    frame = predictions.from_arrays(names, case, labels, 0, probs, TREE)
    return frame.assign(lesion_id=lesion)


def parsed(frame) -> predictions.Predictions:
    return predictions.Predictions.from_frame(frame, TREE)


@pytest.mark.slow
def test_lesions_of_one_case_are_apart_and_rashes_do_not_count():
    read = parsed(stored(30, photos=4))
    record = advice_record({"sub": read.probabilities()}, read, OPTIONS)
    labels = read.label_names
    assert record.repeats.groups == sum(
        len(
            set(labels[(read.case_id == case) & (read.frame["lesion_id"] == lesion)])
            & set(TREE.classes()[1:])
        )
        for case in set(read.case_id)
        for lesion in "01"
    )
    assert record.repeats.photos == 2 * record.repeats.groups
    assert record.cancers["photos"] == sum(label in ("carcinoma", "melanoma") for label in labels)
    assert record.by_urgency["urgent"]["rate"] == 0
    assert "advised too late" in record_notes(record)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("cases", "known"), [(1, False), (2, True), (3, True)])
def test_few_cases_are_counted_or_said_to_be_too_few(cases, known):
    read = parsed(stored(cases))
    record = advice_record({"sub": read.probabilities()}, read, OPTIONS)
    assert (record.cancers is not None) == known
    if not known:
        assert "is not known" in record_notes(record)[0]


@pytest.mark.slow
def test_counts_are_kept_and_made_anew_where_the_file_is_damaged(tmp_path):
    frame = stored(20)
    with RunFolder.open(tmp_path, "malignancy", Options()) as run:
        run.begin(Options(), "made up", TREE, list(frame["image"]))
        predictions.write_predictions(frame, run.predictions_file("out_of_fold"), TREE)
    network = type("Loaded", (), {"network": type("Network", (), {"stage": "sub"})})
    predictor = Predictor(tmp_path, TREE, ({"sub": network},), 0, 8, "stretch", ())
    found = run_advice(predictor, OPTIONS, Decisions({"sub": 1.0}, photos=40, cases=20))
    path = tmp_path / FILE
    text = path.read_text(encoding="utf-8")
    again = run_advice(predictor, OPTIONS, Decisions({"sub": 1.0}, photos=40, cases=20))
    assert dataclasses.asdict(again) == dataclasses.asdict(found)
    path.write_text(text.replace('"withheld"', '"else"'), encoding="utf-8")
    run_advice(predictor, OPTIONS, Decisions({"sub": 1.0}, photos=40, cases=20))
    assert path.read_text(encoding="utf-8") == text
    assert run_advice(predictor, DecisionOptions(), Decisions({"sub": 1.0}, photos=40)).cancers is None
    assert run_advice(predictor, OPTIONS, Decisions({"sub": 1.0})).cancers is AdviceRecord().cancers


@pytest.mark.slow
def test_cut_points_count_no_tumour_as_benign():
    read = parsed(stored(40))
    options = dataclasses.replace(OPTIONS, rule="cutpoints")
    probs = {"sub": read.probabilities()}
    fitted = fit_decisions(probs, read.label, read.case_id, TREE, options)
    out = decide(probs, TREE, options, fitted)
    score = out["tumour"] * out["score"]
    merged = (score[:, None] >= np.array(fitted.cutpoints) - 1e-3).sum(axis=1)
    np.testing.assert_array_equal(np.maximum(out["degree"], 0), merged)
    assert (out["degree"] == -1).any()
