"""Decisions on stored predictions: fits against searches by hand, coverage by case, and the file that keeps them."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from skinjax.data import predictions
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.decisions import (
    DecisionOptions,
    Decisions,
    decide,
    fit_decisions,
    fuse_levels_of,
)
from skinjax.predict.networks import Predictor
from skinjax.predict.run_decisions import FILE, run_decisions
from skinjax.runs.folder import RunFolder
from skinjax.runs.options import Options

TREE = Taxonomy("five", ("meta", "sub"), (("m", "a"), ("m", "b"), ("n", "c"), ("n", "d"), ("n", "e")))
PARENTS = np.array([0, 0, 1, 1, 1])


def draw(seed: int, cases: int, photos: int = 2):
    """What two networks that are too sure of themselves say of photos, their classes and their cases."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, 5, cases), photos)
    shared = np.repeat(rng.normal(size=(cases, 5)), photos, axis=0)

    def softmax(logits: np.ndarray) -> np.ndarray:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    sub = 2.5 * (1.5 * np.eye(5)[labels] + shared + 0.5 * rng.normal(size=(len(labels), 5)))
    meta = 2 * (1.5 * np.eye(2)[PARENTS[labels]] + rng.normal(size=(len(labels), 2)))
    return {"sub": softmax(sub), "meta": softmax(meta)}, labels, np.repeat(np.arange(cases), photos)


def fused_by_hand(probs) -> np.ndarray:
    product = probs["sub"] * probs["meta"][:, PARENTS]
    return product / product.sum(axis=1, keepdims=True)


@pytest.mark.slow
def test_each_level_has_the_temperature_that_a_search_finds():
    probs, labels, cases = draw(0, 150)
    fitted = fit_decisions(probs, labels, cases, TREE, DecisionOptions())
    for level, values, true in (
        ("sub", fused_by_hand(probs), labels),
        ("meta", probs["meta"], PARENTS[labels]),
    ):

        def loss(log_temperature, values=values, true=true) -> float:
            scaled = values ** np.exp(-log_temperature)
            return -np.log(scaled[np.arange(len(true)), true] / scaled.sum(axis=1)).mean()

        best = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x)
        assert fitted.temperatures[level] == pytest.approx(best, rel=1e-4)
    assert (fitted.photos, fitted.cases) == (300, 150)


@pytest.mark.slow
def test_sets_hold_the_true_class_of_new_cases_as_often_as_asked_for():
    options = DecisionOptions(coverage=0.8, set_limit=5)
    held = []
    for seed in range(30):
        fitted = fit_decisions(*draw(seed, 60), TREE, options)
        probs, labels, _ = draw(500 + seed, 200)
        held.append(decide(probs, TREE, options, fitted)["set"][np.arange(len(labels)), labels].mean())
    assert 0.79 < np.mean(held) < 0.84  # at least 0.8, and not much more


@pytest.mark.slow
def test_the_share_that_is_asked_for_is_certain_enough():
    probs, labels, cases = draw(1, 200)
    for answered in (0.5, 0.9, 1.0):
        options = DecisionOptions(answered=answered)
        certain = decide(probs, TREE, options, fit_decisions(probs, labels, cases, TREE, options))["certain"]
        assert certain.mean() == pytest.approx(answered, abs=0.01)


@pytest.mark.slow
def test_an_outcome_is_what_its_parts_are_by_hand():
    probs, labels, cases = draw(2, 100)
    degrees = (0, 1, 0, 2, 2)
    options = DecisionOptions(degree_of_class=degrees, rule="argmax", set_limit=1)
    fitted = fit_decisions(probs, labels, cases, TREE, options)
    out = decide(probs, TREE, options, fitted)
    raised = fused_by_hand(probs) ** (1 / fitted.temperatures["sub"])
    calibrated = raised / raised.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(out["probs"]["sub"], calibrated, atol=1e-5)
    of_degree = np.stack([calibrated[:, np.array(degrees) == d].sum(axis=1) for d in range(3)], axis=1)
    np.testing.assert_allclose(out["degree_probs"], of_degree, atol=1e-5)
    np.testing.assert_allclose(out["score"], 100 * of_degree @ [0, 0.5, 1], atol=1e-3)
    np.testing.assert_array_equal(out["degree"], of_degree.argmax(axis=1))
    np.testing.assert_allclose(out["tumour"], 1, atol=1e-5)
    alone = fused_by_hand(probs) >= -fitted.set_threshold - 1e-9
    alone[np.arange(len(labels)), calibrated.argmax(axis=1)] = True
    touched = np.stack([alone[:, meta == PARENTS].any(axis=1) for meta in (0, 1)], axis=1)
    np.testing.assert_array_equal(out["above"], touched)
    np.testing.assert_array_equal(out["backed_off"], alone.sum(axis=1) > 1)
    np.testing.assert_array_equal(
        out["set"], np.where((alone.sum(axis=1) > 1)[:, None], touched[:, PARENTS], alone)
    )


def test_a_level_without_a_network_is_the_sum_of_the_finest():
    probs, _, _ = draw(3, 20)
    del probs["meta"]
    out = decide(probs, TREE, DecisionOptions(), Decisions({"sub": 1.0}))
    np.testing.assert_allclose(out["probs"]["sub"], probs["sub"], atol=1e-5)
    np.testing.assert_allclose(out["probs"]["meta"][:, 0], probs["sub"][:, :2].sum(axis=1), atol=1e-5)
    assert out["set"].all()  # nothing was fitted: no class can be ruled out
    assert out["certain"].all()


def test_fusion_is_of_the_nearest_coarser_network():
    tree = Taxonomy("three", ("top", "mid", "low"), (("t", "u", "x"), ("t", "v", "y"), ("s", "w", "z")))
    probs = {"top": [[0.9, 0.1]], "mid": [[0.2, 0.3, 0.5]], "low": [[0.5, 0.25, 0.25]]}
    np.testing.assert_allclose(
        np.asarray(fuse_levels_of(probs, tree)), np.array([[0.1, 0.075, 0.125]]) / 0.3, rtol=1e-5
    )


@pytest.fixture
def predictor(tmp_path) -> Predictor:
    probs, labels, cases = draw(4, 40)
    names = [f"{number}.png" for number in range(len(labels))]
    frame = predictions.from_arrays(
        names, cases, np.array(TREE.classes())[labels], cases % 2, probs["sub"], TREE, {"meta": probs["meta"]}
    )
    with RunFolder.open(tmp_path, "hierarchy", Options()) as run:
        run.begin(Options(), "made up", TREE, names)
        predictions.write_predictions(frame, run.predictions_file("out_of_fold"), TREE)
    network = type("Loaded", (), {"network": type("Network", (), {"stage": "sub"})})
    other = type("Loaded", (), {"network": type("Network", (), {"stage": "meta"})})
    return Predictor(tmp_path, TREE, ({"meta": other, "sub": network},), 0, 8, "stretch", ())


@pytest.mark.slow
def test_fits_are_of_the_fold_that_the_networks_have_not_seen_and_are_kept(predictor):
    found = run_decisions(predictor, DecisionOptions())
    assert (found.photos, found.cases) == (40, 20)
    stored = (predictor.workdir / FILE).read_text(encoding="utf-8")
    assert run_decisions(predictor, DecisionOptions()) == found
    assert (predictor.workdir / FILE).read_text(encoding="utf-8") == stored
    assert run_decisions(dataclasses.replace(predictor, fold=-1), DecisionOptions()).photos == 80


def test_infinity_is_kept_as_null(predictor):
    options = DecisionOptions(coverage=0.99)  # 20 cases cannot give that
    found = run_decisions(predictor, options)
    assert found.set_threshold == math.inf
    document = json.loads((predictor.workdir / FILE).read_text(encoding="utf-8"))
    assert document["decisions"]["set_threshold"] is None
    assert run_decisions(predictor, options) == found


@pytest.mark.slow
def test_other_predictions_are_fitted_anew_and_a_damaged_file_is_replaced(predictor):
    before = run_decisions(predictor, DecisionOptions())
    path = predictor.workdir / "predictions" / "out_of_fold.parquet"
    frame = predictions.read_predictions(path)
    predictions.write_predictions(frame[frame["case_id"] != "0"], path, TREE)
    after = run_decisions(predictor, DecisionOptions())
    assert after.photos == before.photos - 2
    (predictor.workdir / FILE).write_text("{", encoding="utf-8")
    assert run_decisions(predictor, DecisionOptions()) == after


def test_without_stored_predictions_nothing_is_calibrated(predictor):
    (predictor.workdir / "predictions" / "out_of_fold.parquet").unlink()
    found = run_decisions(predictor, DecisionOptions())
    assert found == Decisions({"meta": 1.0, "sub": 1.0})
    assert not (predictor.workdir / FILE).exists()
    options = DecisionOptions(degree_of_class=(0, 1, 0, 2, 2), rule="cutpoints")
    with pytest.raises(ValueError, match="grade_rule must not be cutpoints"):
        run_decisions(predictor, options)


def test_before_all_folds_are_done_the_fold_s_own_predictions_serve(predictor):
    pooled = predictor.workdir / "predictions" / "out_of_fold.parquet"
    frame = predictions.read_predictions(pooled)
    own = run_decisions(predictor, DecisionOptions())
    predictions.write_predictions(frame[frame["fold"] == 0], pooled.with_name("fold_0.parquet"), TREE)
    pooled.unlink()
    (predictor.workdir / FILE).unlink()
    assert run_decisions(predictor, DecisionOptions()) == own
    assert run_decisions(dataclasses.replace(predictor, fold=-1), DecisionOptions()).photos == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coverage": 1.0}, "coverage must lie in"),
        ({"answered": 0.0}, "answered must lie in"),
        ({"set_limit": 0}, "set_limit must be at least 1"),
    ],
)
def test_what_cannot_be_asked_for_is_told(fields, message):
    with pytest.raises(ValueError, match=message):
        DecisionOptions(**fields)
