"""One lesion over time: the score at each visit, and whether it has changed more than photos of one lesion differ.

What a score differs by between photos of one lesion is measured on the run's held-out photos
(`skinjax.evaluate.repeatability`); the change since the first visit is told with its 95 % interval and called one only
where that leaves out 0. Three things it does not hold: photos by another camera or in other light than the run's
differ more, several photos of one visit share their light, and of twenty lesions without a change one is called
changed all the same. The network's own error stays the same in all photos of a lesion, and cancels out in part.

Photos that are blurred, dark or unlike the run's have a score that means nothing: they are named and left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinjax.data.visits import Visit
from skinjax.evaluate.repeatability import Repeatability, change_interval
from skinjax.labels.degrees import URGENCIES, urgent_advice, withheld_advice
from skinjax.predict.answers import Answer

_UNKNOWN = (
    "how much photos of one lesion differ is not known of this run, so no change can be told from chance"
)


@dataclasses.dataclass(frozen=True)
class PhotoScore:
    """Contribution of one photo to a history.

    Attributes:
      left_out: Why it does not count, in words; empty where it does.
      score: Reference score, 0..100.
      tumour: Probability that it is a tumour.
      urgency: How soon to see a doctor; None where that is withheld.
    """

    left_out: str
    score: float = 0.0
    tumour: float = 0.0
    urgency: str | None = None

    @classmethod
    def of(cls, answer: Answer) -> PhotoScore:
        """Takes what a history needs from an answer.

        Args:
          answer: Of a photo, with degrees.
        """
        urgency = answer.advice.urgency if answer.advice else None
        if answer.error is not None or answer.malignancy is None:
            return cls(answer.error or "without a score", urgency=urgency)
        return cls(
            "" if answer.usable else "; ".join(answer.reasons),
            answer.malignancy.score,
            answer.malignancy.tumour,
            urgency,
        )


@dataclasses.dataclass(frozen=True)
class VisitScore:
    """A lesion on one day.

    Attributes:
      date: As in 2026-01-31.
      photos: How many photos count.
      left_out: How many do not.
      score: Mean score of those that count; None where none does.
      low: Lower limit of the score; None where how much photos differ is not known.
      high: Upper limit, likewise.
      probability_of_tumour: Mean over the photos that count.
      urgency: The most urgent of all photos'; None where it is withheld from all.
      change: Of the score since the first visit that counts; None at that visit itself.
      change_low: Lower limit of the change, likewise.
      change_high: Upper limit of the change, likewise.
      changed: "higher" or "lower" where the limits leave out 0, "no" where they do not, "" where it cannot be told.
    """

    date: str
    photos: int
    left_out: int
    score: float | None = None
    low: float | None = None
    high: float | None = None
    probability_of_tumour: float | None = None
    urgency: str | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    changed: str = ""


@dataclasses.dataclass(frozen=True)
class LesionHistory:
    """A lesion over time.

    Attributes:
      case: Whose; empty where that is not known.
      lesion: Its id.
      visits: The days, in order.
      note: What they come to, in sentences; never less urgent than a visit.
      left_out: Photos that do not count, with the reason of each.
    """

    case: str
    lesion: str
    visits: tuple[VisitScore, ...]
    note: str
    left_out: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything, as JSON takes it."""
        return {
            "case_id": self.case,
            "lesion_id": self.lesion,
            "note": self.note,
            "visits": [dataclasses.asdict(visit) for visit in self.visits],
            "left_out": dict(self.left_out),
        }

    def to_rows(self) -> list[list[str]]:
        """Returns rows of the CSV file, one per visit, cells as `HISTORY_COLUMNS` names them."""
        return [
            [self.case, self.lesion, *("" if v is None else str(v) for v in dataclasses.astuple(visit))]
            for visit in self.visits
        ]


HISTORY_COLUMNS = ("case_id", "lesion_id", *(field.name for field in dataclasses.fields(VisitScore)))
"""Columns of the CSV file of histories."""


def lesion_histories(
    visits: Sequence[Visit], scores: Sequence[PhotoScore], repeats: Repeatability | None
) -> list[LesionHistory]:
    """Returns the history of each lesion.

    Args:
      visits: Whose and of which day each photo is.
      scores: What was found on each, in the same order.
      repeats: How much scores of photos of one lesion differ; None where that is not known.

    Returns:
      One per lesion, in the order of their first rows.
    """
    of_lesion: dict[tuple[str, str], list[tuple[Visit, PhotoScore]]] = {}
    for visit, score in zip(visits, scores, strict=True):
        of_lesion.setdefault((visit.case, visit.lesion), []).append((visit, score))
    return [_history(case, lesion, pairs, repeats) for (case, lesion), pairs in of_lesion.items()]


def _history(
    case: str, lesion: str, pairs: list[tuple[Visit, PhotoScore]], repeats: Repeatability | None
) -> LesionHistory:
    found: list[VisitScore] = []
    first: VisitScore | None = None
    for date in sorted({visit.date for visit, _ in pairs}):
        visit = _visit(date.isoformat(), [score for one, score in pairs if one.date == date], repeats)
        if first is not None and visit.score is not None:
            visit = _changed(first, visit, repeats)
        elif visit.score is not None:
            first = visit
        found.append(visit)
    left_out = {str(visit.path): score.left_out for visit, score in pairs if score.left_out}
    return LesionHistory(case, lesion, tuple(found), _note(found, first, repeats), left_out)


def _visit(date: str, scores: list[PhotoScore], repeats: Repeatability | None) -> VisitScore:
    counted = [score for score in scores if not score.left_out]
    told = [score.urgency for score in scores if score.urgency is not None]
    urgency = max(told, key=URGENCIES.index, default=None)
    visit = VisitScore(date, len(counted), len(scores) - len(counted), urgency=urgency)
    if not counted:
        return visit
    mean = float(np.mean([score.score for score in counted]))
    low = high = None
    if repeats is not None:
        half = repeats.half_width(len(counted))
        low, high = round(max(mean - half, 0.0), 2), round(min(mean + half, 100.0), 2)
    tumour = round(float(np.mean([score.tumour for score in counted])), 4)
    return dataclasses.replace(visit, score=round(mean, 2), low=low, high=high, probability_of_tumour=tumour)


def _changed(first: VisitScore, visit: VisitScore, repeats: Repeatability | None) -> VisitScore:
    assert first.score is not None
    assert visit.score is not None
    if repeats is None:
        return dataclasses.replace(visit, change=round(visit.score - first.score, 2))
    found = change_interval(first.score, first.photos, visit.score, visit.photos, repeats)
    return dataclasses.replace(
        visit,
        change=round(found.estimate, 2),
        change_low=round(found.low, 2),
        change_high=round(found.high, 2),
        changed="higher" if found.low > 0 else "lower" if found.high < 0 else "no",
    )


def _note(visits: list[VisitScore], first: VisitScore | None, repeats: Repeatability | None) -> str:
    place = max((URGENCIES.index(visit.urgency) for visit in visits if visit.urgency), default=0)
    if first is None:
        return f"No photo of it can be judged. {withheld_advice(place or None)}"
    soon = "within days" if place == len(URGENCIES) - 1 else "within the next few weeks"
    change = _change(visits, first, repeats, soon)
    return f"{change} {urgent_advice(place)}" if place else change


def _change(visits: list[VisitScore], first: VisitScore, repeats: Repeatability | None, soon: str) -> str:
    counted = [visit for visit in visits if visit.score is not None]
    if len(counted) == 1:
        return f"One visit that counts, {first.date}: no change can be told."
    if repeats is None:
        return f"{_UNKNOWN[0].upper()}{_UNKNOWN[1:]}."
    last = counted[-1]
    risen = [visit for visit in counted if visit.changed == "higher"]
    if risen and last.changed != "higher":
        return (
            f"It was higher on {risen[-1].date} than on {first.date}, and is not any more: show it to a doctor, best a "
            f"dermatologist, {soon}."
        )
    limits = f"{last.change:+.1f} ({last.change_low:+.1f} to {last.change_high:+.1f})"
    if last.changed == "higher":
        return (
            f"Higher on {last.date} than on {first.date}, {limits}: show it to a doctor, best a dermatologist, "
            f"{soon}, however low the score is, and sooner where its advice says so."
        )
    if last.changed == "lower":
        return f"Lower on {last.date} than on {first.date}, {limits}, which is no all-clear."
    return (
        f"No change from {first.date} to {last.date} beyond what photos of one lesion differ by, {limits}. A lesion "
        "that has visibly grown or changed should be seen by a doctor all the same."
    )
