"""Fits that answers by case rest on: a run's own held-out predictions, pooled by case before anything is fitted.

Temperature, conformal threshold, certainty, cut-points and the record of the advice are those of
`skinjax.predict.decisions` and `skinjax.predict.advice`, of pooled cases in place of photos. Added is the limit of the
photos' disagreement, beyond which a case gets no diagnosis. Stored predictions do not hold the photos, so that blurred
ones are pooled here, which are left out of a new case.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinjax.data.predictions import Predictions
from skinjax.decide.advice import case_urgencies, top_degree
from skinjax.predict.advice import AdviceRecord, advice_record, kept_record, target_key
from skinjax.predict.decisions import (
    DecisionOptions,
    Decisions,
    Outcome,
    check_grade_rule,
    fit_decisions,
    fuse_levels_of,
)
from skinjax.predict.kept import read_kept, write_kept
from skinjax.predict.networks import Predictor
from skinjax.predict.novelty import far_limit
from skinjax.predict.pooled import RULE, PooledPredictions, pool_predictions
from skinjax.predict.run_decisions import decisions_of, fit_key, held_out, not_published, number_of
from skinjax.predict.target_call import TargetDecision
from skinjax.runs.folder import RunFolder

FILE, ADVICE_FILE, VERSION = "decisions_by_case.json", "advice_by_case.json", 1
"""Files of the fits and of the counts in a run's folder, and the version of their content."""

LEAST_CASES = 20
"""Fewer cases with several photos say nothing of how far photos of one case disagree."""


@dataclasses.dataclass(frozen=True)
class CaseDecisions:
    """Fitted values of the decisions by case.

    Attributes:
      decisions: Of pooled cases, which `decisions.photos` counts; a lesion is a case of its own where that is known,
        and `decisions.cases` counts what `case_id` names.
      disagreement: The largest disagreement of photos with which a case gets a diagnosis; infinite where fewer than
        `LEAST_CASES` cases have several photos.
      photos: Photos that were pooled.
      several: Cases with several photos.
      mixed: Cases left out because their photos bear different diagnoses.
    """

    decisions: Decisions
    disagreement: float = math.inf
    photos: int = 0
    several: int = 0
    mixed: int = 0


def disagreement_limit(
    disagreement: NDArray[np.floating], photos: NDArray[np.integer], cases: NDArray, share: float
) -> float:
    """Returns the disagreement that a new case of several photos exceeds with probability `share` at most.

    Args:
      disagreement: float[C], of pooled cases.
      photos: int[C], how many photos each has.
      cases: [C], what must be exchangeable: whose each is.
      share: In (0, 1).

    Returns:
      The limit; infinity where fewer than `LEAST_CASES` cases have several photos.
    """
    there = np.asarray(photos) > 1
    if len(np.unique(np.asarray(cases)[there].astype(str))) < LEAST_CASES:
        return math.inf
    return far_limit(np.asarray(disagreement, np.float64)[there], np.asarray(cases)[there].astype(str), share)


def photo_alarms(probs: NDArray[np.floating], options: DecisionOptions) -> NDArray[np.bool_]:
    """Returns whether the most probable class of each photo is of the highest degree, bool[N].

    Args:
      probs: float[N, K], of the finest level, fused.
      options: What the answers must be like.
    """
    if not options.degree_of_class:
        return np.zeros(len(probs), bool)
    return np.asarray(top_degree(probs, np.asarray(options.degree_of_class))) == options.num_degrees - 1


def adjust_for_photos(outcome: Outcome, alarm: NDArray[np.bool_], disagreeing: NDArray[np.bool_]) -> Outcome:
    """Returns the outcome of cases with the urgencies that their photos ask for; see `skinjax.decide.advice`.

    Args:
      outcome: Of `skinjax.predict.decisions.decide`, in numpy.
      alarm: bool[C], whether a photo of each case has an alarm.
      disagreeing: bool[C], whether its photos disagree too far.
    """
    if "urgency" not in outcome:
        return outcome
    names = ("urgency", "urgency_unusable")
    return outcome | {name: np.asarray(case_urgencies(outcome[name], alarm, disagreeing)) for name in names}


def case_key(predictor: Predictor, options: DecisionOptions, unusual: float) -> dict[str, Any]:
    """Returns what fits on the run's own cases depend on; empty where there are none.

    Args:
      predictor: Networks of the run.
      options: What the answers must be like.
      unusual: As for `run_case_decisions`; a published folder has its own.
    """
    more = {} if RunFolder.read(predictor.workdir).published else {"unusual": unusual}
    return fit_key(predictor, options, VERSION, rule=RULE, **more)


def run_case_decisions(
    predictor: Predictor, options: DecisionOptions, unusual: float = 0.02
) -> CaseDecisions:
    """Returns what was fitted on the run's own cases, from its `decisions_by_case.json` where that is still true.

    Args:
      predictor: Networks of the run.
      options: What the answers must be like.
      unusual: Share of the run's own cases beyond the limit of disagreement, in (0, 0.5).

    Returns:
      The fits; with `decisions.photos` 0 and nothing calibrated where the run has no stored predictions of these
      networks, or no case of a single diagnosis.

    Raises:
      ValueError: The stored predictions are not of this run's classes, or degrees are by cut-points and there are none.
    """
    key = case_key(predictor, options, unusual)
    if key and (found := read_kept(predictor.workdir / FILE, key, "decisions")) is not None:
        try:
            limit, fields = number_of(found["disagreement"]), decisions_of(found["decisions"])
            return CaseDecisions(**{**found, "disagreement": limit, "decisions": fields})
        except (ValueError, KeyError, TypeError):
            pass  # damaged: fitted anew
    if RunFolder.read(predictor.workdir).published:
        raise ValueError(not_published(predictor.workdir / FILE, options))
    predictions = _held_out(predictor)
    pooled = None if predictions is None else pool_predictions(predictions)
    if pooled is None or not len(pooled.predictions):
        unfitted = Decisions(dict.fromkeys(predictor.levels, 1.0))
        check_grade_rule(options, unfitted)
        return CaseDecisions(unfitted, mixed=0 if pooled is None else pooled.mixed)
    cases = pooled.predictions
    probs = {level: cases.probabilities(level) for level in predictor.levels}
    decisions = CaseDecisions(
        fit_decisions(probs, cases.label, cases.case_id, predictor.taxonomy, options),
        disagreement_limit(pooled.disagreement, pooled.photos, cases.case_id, unusual),
        photos=len(pooled.rows),
        several=pooled.several,
        mixed=pooled.mixed,
    )
    write_kept(predictor.workdir / FILE, key, "decisions", dataclasses.asdict(decisions))
    return decisions


def run_case_advice(
    predictor: Predictor,
    options: DecisionOptions,
    decisions: CaseDecisions,
    target: TargetDecision | None = None,
    unusual: float = 0.02,
) -> AdviceRecord:
    """Returns how the advice by case fared, from the run's `advice_by_case.json` where that is still true.

    Args:
      predictor: Networks of the run.
      options: What the answers must be like.
      decisions: What was fitted on the run's own cases.
      target: The second stage of a two-stage run, by case.
      unusual: As for `run_case_decisions`.

    Returns:
      The counts, which call pooled cases photos; empty ones without degrees, and where nothing could be fitted.

    Raises:
      ValueError: The stored predictions are not of this run's classes.
    """
    if not options.degree_of_class or not decisions.decisions.photos:
        return AdviceRecord()
    key = case_key(predictor, options, unusual) | target_key(target)

    def count() -> AdviceRecord:
        predictions = _held_out(predictor)
        if predictions is None:  # of a published folder whose record is damaged
            return AdviceRecord()
        return case_record(pool_predictions(predictions), predictions.probs, options, target, unusual)

    return kept_record(predictor.workdir / ADVICE_FILE, key, count)


def case_record(
    pooled: PooledPredictions,
    photo_probs: Mapping[str, NDArray[np.floating]],
    options: DecisionOptions,
    target: TargetDecision | None = None,
    unusual: float = 0.02,
) -> AdviceRecord:
    """Counts how the advice by case would have fared, with everything fitted on other cases.

    Args:
      pooled: The cases, with known diagnoses.
      photo_probs: Level -> float[N, K], of the photos that they were pooled from and of those left out.
      options: What the answers must be like; with degrees.
      target: The second stage of a two-stage run, by case.
      unusual: As for `run_case_decisions`.
    """
    cases = pooled.predictions
    fused = np.asarray(fuse_levels_of(photo_probs, cases.taxonomy))[pooled.rows]
    alarm = np.bincount(pooled.index, photo_alarms(fused, options), len(cases)) > 0

    def adjust(outcome: Outcome, rest: NDArray[np.bool_], mine: NDArray[np.bool_]) -> Outcome:
        limit = disagreement_limit(
            pooled.disagreement[rest], pooled.photos[rest], cases.case_id[rest], unusual
        )
        return adjust_for_photos(outcome, alarm[mine], pooled.disagreement[mine] > limit)

    return advice_record(cases.probs, cases, options, target, adjust)


def _held_out(predictor: Predictor) -> Predictions | None:
    """Returns the run's own predictions with the levels that answer."""
    found = held_out(predictor)
    if found is None:
        return None
    return dataclasses.replace(found, probs={level: found.probabilities(level) for level in predictor.levels})
