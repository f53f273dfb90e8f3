"""The second stage of a two-stage run: fitted on its stored predictions and kept in its folder (thesis, chapter 3).

A run of the study `two_stage` stores in `target.json` what its second stage needs: target, strategy, the threshold of
every strategy, and what that threshold did on the test photos. A run of an earlier version has no such file; it is made
from the stored predictions of the validation and test photos when it is first needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from skinjax.data.predictions import Predictions, read_predictions
from skinjax.decide.two_stage import FIXED_THRESHOLDS, ScoreRule, fit_threshold
from skinjax.evaluate.results import Interval
from skinjax.files.atomic import replacing
from skinjax.files.digests import file_hash
from skinjax.predict.networks import Predictor
from skinjax.predict.pooled import pool_predictions
from skinjax.predict.target_call import (
    SampleSize,
    TargetDecision,
    TargetRates,
    finest_classes,
    json_number,
    merge_target,
    reaches,
    strategy_scores,
)
from skinjax.runs.folder import RunFolder

STUDY, STAGE, VERSION = "two_stage", "two_stage", 1
"""The study, the stage of its network of all classes, and the version of `target.json`."""

BY_CASE = "target_by_case.json"
"""File of the second stage of pooled cases, beside `target.json`."""


def fit_target(
    validation: Predictions, test: Predictions, target: Sequence[str], strategy: str, seed: int = 0
) -> TargetDecision:
    """Fits the second stage on validation photos and measures it on test photos.

    Args:
      validation: What the network of all classes says of the validation photos.
      test: What it says of the test photos.
      target: Classes of one level that count as the target.
      strategy: The output strategy that answers.
      seed: Seed of the bootstrap.

    Returns:
      The second stage; figures have 95% intervals by case.

    Raises:
      ValueError: The target is none of the taxonomy's classes, or `strategy` is none or cannot be fitted.
    """
    from skinjax.decide.logistic_head import fit_head
    from skinjax.evaluate.calls import UNKNOWN, call_figures

    taxonomy = test.taxonomy
    classes = finest_classes(target, taxonomy)
    member = np.isin(taxonomy.classes(), classes)
    positive = {name: member[each.label] for name, each in (("validation", validation), ("test", test))}
    merged = {
        name: merge_target(each.probabilities(), member)
        for name, each in (("validation", validation), ("test", test))
    }
    both = positive["validation"].any() and not positive["validation"].all()
    head = fit_head(positive["validation"].astype(int), merged["validation"], 0) if both else None
    names = (*get_args(ScoreRule), *(["head"] if head else []))
    if strategy not in names:
        raise ValueError(f"strategy must be one of {', '.join(names)}, got {strategy!r}")
    thresholds, rates = {}, {}
    for name in names:
        threshold = FIXED_THRESHOLDS.get(name, math.nan)
        if name not in FIXED_THRESHOLDS and both:
            threshold = fit_threshold(
                positive["validation"], strategy_scores(merged["validation"], name, head)
            )
        thresholds[name], rates[name] = threshold, TargetRates(UNKNOWN, UNKNOWN)
        if not math.isnan(threshold):
            called = reaches(strategy_scores(merged["test"], name, head), threshold, name)
            found = call_figures(positive["test"], called.astype(float), test.case_id, seed=seed)
            rates[name] = TargetRates(found.sensitivity, found.specificity)
    return TargetDecision(
        title=", ".join(taxonomy.title(name) for name in target),
        classes=classes,
        strategy=strategy,
        thresholds=thresholds,
        rates=rates,
        head=head,
        validation=_size(validation, positive["validation"]),
        test=_size(test, positive["test"]),
    )


def run_target(folder: RunFolder, strategy: str = "", by_case: bool = False) -> TargetDecision | None:
    """Returns the second stage of a run: what is stored, or else fitted on the run's own predictions and stored.

    Args:
      folder: The run.
      strategy: The output strategy that answers from now on; empty for the one that the run has.
      by_case: Whether it is of pooled cases, which its figures then count as photos, and kept in a file of its own.

    Returns:
      The second stage; None where the run is of another study or has not come so far, and by case where it has no case
      of one diagnosis.

    Raises:
      ValueError: The stored predictions are not of this run's target.
    """
    if folder.published:  # neither predictions to fit on, nor another strategy to fit
        stored = folder.target.with_name(BY_CASE) if by_case else folder.target
        document = _document(stored) if folder.study == STUDY else {}
        return _decision(document) if document else None
    files = {name: folder.predictions_file(f"{STAGE}_{name}") for name in ("validation", "test")}
    if folder.study != STUDY or not all(path.is_file() for path in files.values()):
        return None
    key = {"version": VERSION, **{name: file_hash(path) for name, path in files.items()}}
    document = _document(folder.target)
    options = folder.options
    strategy = strategy or str(document.get("strategy") or options.get("strategy") or "probability")
    stored = folder.target
    if by_case:
        stored = stored.with_name(BY_CASE)
        document = _document(stored)
    if document.get("key") == key and document.get("strategy") == strategy:
        with contextlib.suppress(
            AttributeError, KeyError, TypeError, ValueError
        ):  # a damaged file is made anew
            return _decision(document)
    target = options.get("target") or ["psoriasis"]
    names = target.split(",") if isinstance(target, str) else list(target)
    taxonomy = folder.taxonomy
    validation, test = (Predictions.from_frame(read_predictions(path), taxonomy) for path in files.values())
    if by_case:
        validation, test = (pool_predictions(each).predictions for each in (validation, test))
        if not len(validation) or not len(test):
            return None
    decision = fit_target(validation, test, names, strategy, int(options.get("seed", 0)))
    with replacing(stored) as temporary:
        text = json.dumps({"key": key, "target": names, **_fields(decision)}, indent=1, allow_nan=False)
        temporary.write_text(text, encoding="utf-8")
    return decision


def predictor_target(predictor: Predictor, by_case: bool = False) -> TargetDecision | None:
    """Returns the second stage of networks that answer together; None where they are of no two-stage run.

    Args:
      predictor: Networks of a run.
      by_case: As for `run_target`.
    """
    if predictor.stages[predictor.taxonomy.finest] != STAGE:
        return None
    return run_target(RunFolder.read(predictor.workdir), by_case=by_case)


def _size(photos: Predictions, positive: NDArray[np.bool_]) -> SampleSize:
    cases = photos.case_id.astype(str)
    return SampleSize(
        len(photos), len(np.unique(cases)), int(positive.sum()), len(np.unique(cases[positive]))
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _fields(decision: TargetDecision) -> dict[str, Any]:
    head = decision.head
    return {
        "title": decision.title,
        "classes": list(decision.classes),
        "strategy": decision.strategy,
        "strategies": {
            name: {"threshold": json_number(threshold), **decision.rates[name].to_dict()}
            for name, threshold in decision.thresholds.items()
        },
        "head": head and {"weights": head.weights.tolist(), "bias": head.bias, "floor": head.floor},
        "confidence": 0.95,
        "validation_photos": dataclasses.asdict(decision.validation),
        "test_photos": dataclasses.asdict(decision.test),
    }


def _decision(document: Mapping[str, Any]) -> TargetDecision:
    from skinjax.decide.logistic_head import LogisticHead

    strategies, head, confidence = document["strategies"], document["head"], document["confidence"]
    return TargetDecision(
        title=document["title"],
        classes=tuple(document["classes"]),
        strategy=document["strategy"],
        thresholds={name: _read_number(one["threshold"]) for name, one in strategies.items()},
        rates={
            name: TargetRates(*(_interval(one[key], confidence) for key in ("sensitivity", "specificity")))
            for name, one in strategies.items()
        },
        head=head and LogisticHead(np.asarray(head["weights"]), head["bias"], head["floor"]),
        validation=SampleSize(**document["validation_photos"]),
        test=SampleSize(**document["test_photos"]),
    )


def _interval(fields: Mapping[str, float | None], confidence: float) -> Interval:
    value, low, high = (_read_number(fields[name]) for name in ("value", "low", "high"))
    return Interval(value, low, high, confidence)


def _read_number(value: float | None) -> float:
    return math.nan if value is None else float(value)
