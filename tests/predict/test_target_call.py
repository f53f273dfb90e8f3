"""The second stage of a two-stage run: thresholds, figures, calls, and the file that keeps them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_curve

from skinjax.data.invented import invent_predictions
from skinjax.data.predictions import Predictions, write_predictions
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.run_target import fit_target, run_target
from skinjax.predict.target_call import TARGET_COLUMNS, finest_classes, reaches, target_calls
from skinjax.runs.folder import RunFolder

TREE = load_taxonomy("psoriasis9")
STRATEGIES = {"probability", "merged", "rival", "log_odds", "argmax", "head"}


def invented(seed: int, cases: int = 80):
    return invent_predictions(TREE, cases, skills=(2.0,), seed=seed)[0]


@pytest.fixture(scope="module")
def frames():
    return {"validation": invented(1), "test": invented(2)}


def parsed(frames):
    return [Predictions.from_frame(frame, TREE) for frame in frames.values()]


@pytest.fixture
def folder(tmp_path, frames):
    """A run of an earlier version: predictions, and no file of its target."""
    options = {"target": ["psoriasis"], "strategy": "probability", "seed": 0}
    document = {"schema": 2, "study": "two_stage", "config": options, "data_fingerprint": "0"}
    (tmp_path / "config.json").write_text(json.dumps(document))
    (tmp_path / "taxonomy.json").write_text(TREE.to_json())
    for name, frame in frames.items():
        write_predictions(frame, tmp_path / "predictions" / f"two_stage_{name}.parquet", TREE)
    return RunFolder.read(tmp_path)


def test_thresholds_are_youdens_or_fixed_and_rates_are_scikit_learns(frames):
    found = fit_target(*parsed(frames), ["psoriasis"], "probability")
    assert set(found.thresholds) == set(found.rates) == STRATEGIES
    labels, p = (
        {name: frame[key].to_numpy() for name, frame in frames.items()} for key in ("label", "p_psoriasis")
    )
    alarms, hits, thresholds = roc_curve(
        labels["validation"] == "psoriasis", p["validation"], drop_intermediate=False
    )
    best = thresholds[np.flatnonzero(np.isclose(hits - alarms, (hits - alarms).max()))[-1]]
    assert found.threshold == pytest.approx(best)
    truth = labels["test"] == "psoriasis"
    for name, called in (("probability", p["test"] >= best), ("merged", p["test"] >= 0.5)):
        rates = found.rates[name]
        assert rates.sensitivity.estimate == pytest.approx(recall_score(truth, called))
        assert rates.specificity.estimate == pytest.approx(recall_score(~truth, ~called))
        share = proportion_by_case(called[truth], frames["test"]["case_id"].to_numpy()[truth])
        assert (rates.sensitivity.low, rates.sensitivity.high) == (share.low, share.high)
        written = rates.to_dict()
        assert written["missed_diagnosis_rate"]["value"] == pytest.approx((~called)[truth].mean())
        assert written["misdiagnosis_rate"]["value"] == pytest.approx(called[~truth].mean())
    strongest = frames["test"][[f"p_{name}" for name in TREE.classes()]].to_numpy().argmax(axis=1) == 0
    assert found.rates["argmax"].sensitivity.estimate == pytest.approx(strongest[truth].mean())
    assert (found.test.photos, found.test.target_photos) == (len(truth), truth.sum())


def test_a_target_of_a_coarser_level_is_the_sum_of_its_classes(frames):
    found = fit_target(*parsed(frames), ["near_relative"], "merged")
    assert found.classes == finest_classes(["near_relative"], TREE) == TREE.classes()[1:5]
    probs = frames["test"][[f"p_{name}" for name in TREE.classes()]].to_numpy()
    summed = probs[:, 1:5].sum(axis=1)
    scores = found.scores(probs, TREE)
    np.testing.assert_allclose(scores, summed - (probs.sum(axis=1) - summed), atol=1e-12)
    np.testing.assert_array_equal(found.called(scores), scores >= 0)


def test_a_run_without_the_file_gets_it_and_reads_it_again(folder, frames):
    first = run_target(folder)
    text = folder.target.read_text()
    again = run_target(folder)
    assert folder.target.read_text() == text
    fitted = fit_target(*parsed(frames), ["psoriasis"], "probability")
    for other in (again, fitted):
        assert first.thresholds == other.thresholds
        assert first.rates == other.rates
        assert (first.title, first.classes, first.validation) == (
            other.title,
            other.classes,
            other.validation,
        )
    probs = frames["test"][[f"p_{name}" for name in TREE.classes()]].to_numpy()
    for strategy in STRATEGIES:
        np.testing.assert_allclose(
            first.scores(probs, TREE, strategy), again.scores(probs, TREE, strategy), rtol=1e-12
        )
    assert run_target(folder, "merged").threshold == 0
    assert run_target(folder).strategy == "merged"  # until another is asked for
    for damage in ("{", json.dumps({**json.loads(text), "strategies": 3})):
        folder.target.write_text(damage)
        assert run_target(folder).thresholds == first.thresholds
    write_predictions(invented(5), folder.predictions_file("two_stage_validation"), TREE)
    assert run_target(folder).threshold != first.threshold


def test_runs_of_other_studies_or_without_answers_have_no_target(folder):
    assert run_target(RunFolder(folder.path, "hierarchy")) is None
    folder.predictions_file("two_stage_test").unlink()
    assert run_target(folder) is None
    assert not folder.target.exists()


def test_without_both_sides_among_the_validation_photos_only_fixed_rules_call(folder, frames):
    others = frames["validation"][frames["validation"]["label"] != "psoriasis"]
    write_predictions(others, folder.predictions_file("two_stage_validation"), TREE)
    for _ in range(2):
        found = run_target(folder)
        assert found.head is None
        assert math.isnan(found.threshold)
        call = target_calls(found, np.full((1, 9), 1 / 9), TREE)[0]
        assert call.called is None
        assert call.to_dict()["threshold"] is call.to_dict()["call"] is None
        assert dict(zip(TARGET_COLUMNS, call.to_cells(), strict=True))["target_call"] == ""
        assert "no threshold" in found.note()
        json.dumps(call.to_dict(), allow_nan=False)
    assert run_target(folder, "merged").rates["merged"].sensitivity.estimate > 0
    with pytest.raises(ValueError, match=r"strategy must be one of probability, merged, .*, got 'head'"):
        run_target(folder, "head")


@pytest.mark.parametrize(
    ("strategy", "threshold"), [("probability", 1e-9), ("rival", 1 - 1e-6), ("log_odds", 12.0)]
)
def test_rounding_does_not_change_a_call_and_nothing_else_is_let_through(strategy, threshold):
    if strategy == "log_odds":
        rounded, lower = threshold - 1e-6, threshold - 1e-3
    else:
        odds = math.log(threshold) - math.log1p(-threshold)
        rounded, lower = (1 / (1 + math.exp(step - odds)) for step in (1e-6, 1))
    called = reaches(np.array([threshold, rounded, lower]), threshold, strategy)
    assert called.tolist() == [True, True, False]
    assert not reaches(np.array([-1e-9]), 0.0, "merged").any()
