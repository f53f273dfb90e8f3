"""Advice to a patient, and how often it came too late for the run's own patients.

How soon to see a doctor follows `skinjax.decide.advice`. How often it was too late is counted on the run's held-out
photos by the very same rule, with temperatures, certainty and cut-points fitted on the other cases, in five parts. Two
things cannot be counted there: photos that would be refused for their quality or as unlike the run's (stored
predictions do not hold the photos), and people unlike those of the run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinjax.data.predictions import Predictions
from skinjax.decide.advice import WITHHELD
from skinjax.evaluate.lateness import lateness, share_fields
from skinjax.evaluate.repeatability import Repeatability, repeatability
from skinjax.labels.degrees import (
    NO_TUMOUR,
    URGENCIES,
    advice,
    urgency_of,
    urgent_advice,
    withheld_advice,
)
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.decisions import DecisionOptions, Decisions, Outcome, decide, fit_decisions
from skinjax.predict.kept import read_kept, write_kept
from skinjax.predict.networks import Predictor
from skinjax.predict.run_decisions import fit_key, held_out
from skinjax.predict.target_call import TargetCall, TargetDecision, json_number, target_calls

FILE, VERSION = "advice.json", 1
"""File of the counts in a run's folder, and the version of its content."""

NOT_KNOWN = "this run has no threshold of certainty"
"""Why advice is withheld where nothing was fitted."""

PARTS = 5
Share = Mapping[str, Any]  # `rate`, `low`, `high`, `photos` and `cases`
AdjustOutcome = Callable[[Outcome, NDArray[np.bool_], NDArray[np.bool_]], Outcome]
"""Given the outcome of one part, which photos are of the others (bool[N]) and which of it, returns the outcome."""


@dataclasses.dataclass(frozen=True, eq=False)
class AdviceRecord:
    """Figures of the advice of a run's networks on the run's own held-out photos.

    Attributes:
      cancers: Share of the photos that needed a doctor sooner than at the next visit and were told too late; None where
        there is no such photo, or nothing is known.
      withheld: Share of the same photos from which advice was withheld altogether.
      by_urgency: Urgency -> share of the photos told it that needed a more urgent one; None where none were told it.
      repeats: How much the score differs between photos of one lesion; None where no lesion has several.
    """

    cancers: Share | None = None
    withheld: Share | None = None
    by_urgency: Mapping[str, Share | None] = dataclasses.field(default_factory=dict)
    repeats: Repeatability | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Advice:
    """Advice to the patient of one photo.

    Attributes:
      urgency: One of `skinjax.labels.degrees.URGENCIES`; None where it is withheld, which it never is where the most
        probable class is of the highest degree.
      words: What to do, in a sentence; there always is one.
      withheld: Why the network cannot tell, in words; empty where it can. An urgency may stand beside it: alarm needs
        no certainty.
      record: How the run's advice fared on its held-out photos.
    """

    urgency: str | None
    words: str
    withheld: tuple[str, ...]
    record: AdviceRecord

    @property
    def too_late(self) -> dict[str, Share | None]:
        """Returns how often held-out photos were told too late: of `cancers`, and of those told `this_advice`."""
        told = None if self.urgency is None else self.record.by_urgency.get(self.urgency)
        return {"cancers": self.record.cancers, "this_advice": told}


def advise(
    urgency: int, degree: int, reasons: Sequence[str], num_degrees: int, record: AdviceRecord | None = None
) -> Advice:
    """Puts an urgency into words.

    Args:
      urgency: Of `skinjax.decide.advice.urgencies`.
      degree: The degree that is called, -1 for no tumour.
      reasons: Why no diagnosis is given; empty where one is.
      num_degrees: D.
      record: How the run's advice fared.

    >>> advise(2, 0, ["not certain enough"], num_degrees=3).urgency
    'urgent'
    >>> advise(-1, 0, ["too blurred"], num_degrees=3).words
    'No answer is possible: take another photo, sharp and in good light, or show it to a doctor.'
    """
    told = None if urgency == WITHHELD else URGENCIES[urgency]
    if reasons:
        words = withheld_advice(urgency if urgency > 0 else None)
    elif urgency == urgency_of(degree, num_degrees):
        words = advice(degree, num_degrees)
    else:
        words = urgent_advice(urgency)
    return Advice(told, words, tuple(reasons), record or AdviceRecord())


def raise_for_target(
    outcome: Outcome, calls: Sequence[TargetCall | None], taxonomy: Taxonomy, options: DecisionOptions
) -> Outcome:
    """Raises the urgency of photos that a two-stage run calls its target to that of the target's highest degree.

    Args:
      outcome: Of `skinjax.predict.decisions.decide`, with degrees.
      calls: The call of each photo; None each where the run has no target.
      taxonomy: The taxonomy whose classes these are.
      options: What the answers must be like.

    Returns:
      The outcome; a target that has no hurry changes nothing, and reassures nobody.
    """
    decision = next((call.decision for call in calls if call is not None), None)
    if decision is None or not options.degree_of_class:
        return outcome
    member = np.isin(taxonomy.classes(), decision.classes)
    place = urgency_of(int(np.asarray(options.degree_of_class)[member].max()), options.num_degrees)
    called = np.array([call is not None and bool(call.called) for call in calls]) & (place > 0)
    raised = {
        name: np.where(called, np.maximum(outcome[name], place), outcome[name])
        for name in ("urgency", "urgency_unusable")
    }
    return outcome | raised


def advice_record(
    probs: Mapping[str, NDArray[np.floating]],
    predictions: Predictions,
    options: DecisionOptions,
    target: TargetDecision | None = None,
    adjust: AdjustOutcome | None = None,
) -> AdviceRecord:
    """Counts how the advice would have fared on photos with known diagnoses that the networks have not seen.

    Args:
      probs: Level -> float[N, K], what each level's network says.
      predictions: The same photos with their classes and cases.
      options: What the answers must be like; with degrees.
      target: The second stage of a two-stage run.
      adjust: What else changes the outcome of a part; see `AdjustOutcome`.

    Returns:
      The counts; empty ones where all photos are of one case, since nothing could be fitted on others.
    """
    assert options.degree_of_class is not None
    taxonomy, labels = predictions.taxonomy, predictions.label
    calls = np.array(target_calls(target, probs[taxonomy.finest], taxonomy), object)
    cases = np.unique(predictions.case_id.astype(str), return_inverse=True)[1]
    count = int(cases.max()) + 1
    if count < 2:
        return AdviceRecord()
    parts = (np.random.default_rng(0).permutation(count) % min(PARTS, count))[cases]
    given, scores = np.empty(len(labels), np.int64), np.empty(len(labels))
    for part in range(int(parts.max()) + 1):
        rest, mine = parts != part, parts == part
        fitted = fit_decisions(_rows(probs, rest), labels[rest], cases[rest], taxonomy, options)
        outcome = decide(_rows(probs, mine), taxonomy, options, fitted)
        outcome = raise_for_target(outcome, calls[mine].tolist(), taxonomy, options)
        outcome = outcome if adjust is None else adjust(outcome, rest, mine)
        given[mine], scores[mine] = outcome["urgency"], outcome["score"]
    of_class = np.asarray(options.degree_of_class)
    needed = np.array([urgency_of(degree, options.num_degrees) for degree in of_class.tolist()])[labels]
    found = lateness(needed, given, cases, len(URGENCIES))
    tumours = of_class[labels] != NO_TUMOUR
    return AdviceRecord(
        cancers=share_fields(found.cancers),
        withheld=share_fields(found.withheld),
        by_urgency={
            name: share_fields(share) for name, share in zip(URGENCIES, found.by_urgency, strict=True)
        },
        repeats=repeatability(scores[tumours], _lesions(predictions)[tumours]),
    )


def run_advice(
    predictor: Predictor,
    options: DecisionOptions,
    decisions: Decisions,
    target: TargetDecision | None = None,
) -> AdviceRecord:
    """Returns how the run's advice fared on photos, from its `advice.json` where that is still true.

    Args:
      predictor: Networks of the run.
      options: What the answers must be like.
      decisions: What was fitted on the run's own predictions.
      target: The second stage of a two-stage run.

    Returns:
      The counts; empty ones without degrees, and where nothing could be fitted.

    Raises:
      ValueError: The stored predictions are not of this run's classes.
    """
    if not options.degree_of_class or not decisions.photos:
        return AdviceRecord()
    key = fit_key(predictor, options, VERSION) | target_key(target)

    def count() -> AdviceRecord:
        predictions = held_out(predictor)
        if predictions is None:  # of a published folder whose record is damaged
            return AdviceRecord()
        probs = {level: predictions.probabilities(level) for level in predictor.levels}
        return advice_record(probs, predictions, options, target)

    return kept_record(predictor.workdir / FILE, key, count)


def kept_record(path: Path, key: Mapping[str, Any], count: Callable[[], AdviceRecord]) -> AdviceRecord:
    """Returns counts that are kept in a file, or counts and keeps them.

    Args:
      path: The file.
      key: What the counts depend on.
      count: Makes them.
    """
    if (kept := read_kept(path, key, "advice")) is not None:
        try:
            repeats = kept["repeats"]
            return AdviceRecord(**kept | {"repeats": repeats and Repeatability(**repeats)})
        except (TypeError, KeyError):
            pass  # damaged: counted anew
    record = count()
    write_kept(path, key, "advice", dataclasses.asdict(record))
    return record


def target_key(target: TargetDecision | None) -> dict[str, Any]:
    """Returns what counts depend on besides fits: the target that is called, if any."""
    if target is None:
        return {}
    threshold = json_number(target.threshold)
    return {"target": {"classes": target.classes, "strategy": target.strategy, "threshold": threshold}}


def record_notes(record: AdviceRecord, unit: str = "photos") -> list[str]:
    """Returns how the advice fared, in sentences.

    Args:
      record: The counts.
      unit: What it counts, "photos" or "cases".
    """
    if record.cancers is None or record.withheld is None:
        return [
            f"how often the advice comes too late is not known: the run has no held-out {unit} of cancers"
        ]
    shown = record.cancers
    whose = f" ({shown['cases']:,} cases)" if unit == "photos" else ""
    return [
        f"advice: of {shown['photos']:,} held-out {unit} of cancers{whose}, {told_share(shown)} were advised too late; "
        f"{100 * record.withheld['rate']:.1f}% got no advice"
    ]


def told_share(share: Share) -> str:
    """Returns a share with its interval in words, such as "3.1% (1.2% to 7.0%)".

    Args:
      share: Of `skinjax.evaluate.lateness.share_fields`.
    """
    rate = f"{100 * share['rate']:.1f}%"
    if share["low"] is None:
        return f"{rate} (of a single case)"
    return f"{rate} ({100 * share['low']:.1f}% to {100 * share['high']:.1f}%)"


def _rows(probs: Mapping[str, NDArray], rows: NDArray[np.bool_]) -> dict[str, NDArray]:
    return {level: values[rows] for level, values in probs.items()}


def _lesions(predictions: Predictions) -> NDArray[np.str_]:
    """Returns the lesion of each photo: its case, its lesion where that is known, and its diagnosis."""
    frame = predictions.frame
    lesion = frame["lesion_id"] if "lesion_id" in frame else [""] * len(frame)
    keys = zip(frame["case_id"], lesion, frame["label"], strict=True)
    return np.array(["\x1f".join(map(str, key)) for key in keys])
