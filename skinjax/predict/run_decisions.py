"""Fits that answers rest on, of a run's own predictions of photos that its networks have not seen, and kept there."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skinjax.data.predictions import Predictions, read_predictions
from skinjax.files.digests import file_hash
from skinjax.predict.decisions import DecisionOptions, Decisions, check_grade_rule, fit_decisions
from skinjax.predict.kept import read_kept, write_kept
from skinjax.predict.networks import DEFAULT_STAGES, Predictor
from skinjax.runs.folder import RunFolder

FILE, VERSION = "decisions.json", 3
"""File of the fits in a run's folder, and the version of its content."""

PUBLISHED_FOR = ("coverage", "answered", "degree_of_class")
"""Options that change what is fitted, which a folder without predictions cannot do anew."""

POOLED = ("out_of_fold", "held_out")
"""A run's stored predictions, by the experiment that made them."""


def predictions_path(predictor: Predictor) -> Path | None:
    """Returns the stored predictions of the predictor's own networks; None where the run has none."""
    run = RunFolder.read(predictor.workdir)
    stages = set(predictor.stages.values())
    own = (f"fold_{predictor.fold}",) if predictor.fold >= 0 else ()  # not pooled before all folds are done
    names = (*POOLED, *own) if stages <= set(DEFAULT_STAGES) else ()
    stage = predictor.stages[predictor.taxonomy.finest]
    files = map(run.predictions_file, (*names, stage, f"{stage}_test", f"{stage}_on_{stage}"))
    return next((path for path in files if path.is_file()), None)


def run_decisions(predictor: Predictor, options: DecisionOptions) -> Decisions:
    """Returns what was fitted on the run's own predictions, from its `decisions.json` where that is still true.

    Args:
      predictor: Networks of the run.
      options: What the answers must be like.

    Returns:
      The fits; with `photos` 0 and nothing calibrated where the run has no stored predictions of these networks.

    Raises:
      ValueError: The stored predictions are not of this run's classes, or degrees are by cut-points and there are none.
    """
    key, stored = fit_key(predictor, options, VERSION), predictor.workdir / FILE
    if key and (found := read_kept(stored, key, "decisions")) is not None:
        try:
            return decisions_of(found)
        except (ValueError, KeyError, TypeError):
            pass  # damaged: fitted anew
    if RunFolder.read(predictor.workdir).published:
        raise ValueError(not_published(stored, options))
    predictions = held_out(predictor)
    if predictions is None:
        unfitted = Decisions(dict.fromkeys(predictor.levels, 1.0))
        check_grade_rule(options, unfitted)
        return unfitted
    probs = {level: predictions.probabilities(level) for level in predictor.levels}
    decisions = fit_decisions(probs, predictions.label, predictions.case_id, predictor.taxonomy, options)
    write_kept(stored, key, "decisions", dataclasses.asdict(decisions))
    return decisions


def decisions_of(fields: Mapping[str, Any]) -> Decisions:
    """Returns fits from the fields that a file keeps of them.

    Raises:
      ValueError, KeyError, TypeError: Fields of something else.
    """
    cuts = fields["cutpoints"]
    cutpoints = None if cuts is None else tuple(number_of(cut) for cut in cuts)
    return Decisions(
        **{**fields, "set_threshold": number_of(fields["set_threshold"]), "cutpoints": cutpoints}
    )


def held_out(predictor: Predictor) -> Predictions | None:
    """Returns the run's own predictions that answers are fitted on: of photos that the networks have not seen.

    Args:
      predictor: Networks of the run.

    Returns:
      The predictions; None where the run has none of these networks.

    Raises:
      ValueError: The stored predictions are not of this run's classes.
    """
    path = predictions_path(predictor)
    if path is None:
        return None
    predictions = Predictions.from_frame(read_predictions(path), predictor.taxonomy)
    if predictor.fold >= 0:
        predictions = predictions.take(predictions.fold == predictor.fold)
    return predictions if len(predictions) else None


def fit_key(predictor: Predictor, options: DecisionOptions, version: int, **more: Any) -> dict[str, Any]:
    """Returns what fits on the run's own predictions depend on; empty where there are none.

    Args:
      predictor: Networks of the run.
      options: What the answers must be like.
      version: Of the values that are kept.
      more: What else they depend on.
    """
    if RunFolder.read(predictor.workdir).published:
        fitted_for = {name: getattr(options, name) for name in PUBLISHED_FOR}
        return {"version": version, "stages": dict(predictor.stages), "options": fitted_for, **more}
    path = predictions_path(predictor)
    if path is None:
        return {}
    return {
        "version": version,
        "predictions": file_hash(path),
        "fold": predictor.fold,
        "stages": dict(predictor.stages),
        "options": dataclasses.asdict(options),
        **more,
    }


def number_of(value: float | None) -> float:
    """Returns a number of a kept file, in which null stands for infinity."""
    return math.inf if value is None else float(value)


def not_published(path: Path, options: DecisionOptions) -> str:
    """Returns a sentence that says why a published folder has no fits for some options.

    Args:
      path: File of the fits in the folder.
      options: What the answers must be like.
    """
    given = {name: getattr(options, name) for name in PUBLISHED_FOR}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["key"]["options"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{path} must hold the decisions of a published run, and is missing or damaged"
    same = json.loads(json.dumps(given))
    differing = [name for name in PUBLISHED_FOR if stored.get(name) != same[name]]
    if not differing:
        return f"{path} holds decisions of other networks than those that were chosen; leave out stages"
    name = differing[0]
    return (
        f"{name} must be {stored.get(name)}, for which {path.parent} was published, got {given[name]}: it has no "
        "predictions to fit others on"
    )
