"""Conclusion about a photo or a case: probabilities, set, malignancy and advice, or the reasons for no diagnosis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinjax.labels.degrees import NO_TUMOUR, NONE_CALLED, degree_names
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.advice import NOT_KNOWN, Advice, AdviceRecord, advise
from skinjax.predict.decisions import DecisionOptions, Decisions, Outcome
from skinjax.predict.target_call import TARGET_COLUMNS, TargetCall

_LATE = ("cancers", "this_advice")
_LATE_FIELDS = ("rate", "low", "high", "cases")
COLUMNS = (
    *("probability_of_tumour", "malignancy_called", "malignancy_degree", "malignancy_score"),
    *("urgency", "advice", "advice_withheld"),
    *(f"too_late_{name}_{field}" for name in _LATE for field in _LATE_FIELDS),
)
"""Columns of the CSV files that hold malignancy and advice."""


@dataclasses.dataclass(frozen=True, eq=False)
class Malignancy:
    """Malignancy of one photo or case.

    Attributes:
      score: Reference score, 0..100, as far as it is a tumour.
      degree: 0, the most benign, to D - 1; -1 where no tumour is called.
      probabilities: float32[D], as far as it is a tumour.
      tumour: Probability that it is one.
    """

    score: float
    degree: int
    probabilities: NDArray[np.float32]
    tumour: float = 1.0

    @property
    def called(self) -> str:
        """Returns the name of the degree, or "no tumour"."""
        return NONE_CALLED if self.degree == NO_TUMOUR else degree_names(len(self.probabilities))[self.degree]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Conclusion:
    """Conclusion about a photo or a case. Where nothing could be read, `error` says why and nothing else is known.

    Attributes:
      error: Why nothing could be read; None where it could.
      reasons: Why no diagnosis is given, in words; empty where one is.
      probabilities: Level -> float32[K], calibrated, in the order of the taxonomy's classes.
      conformal_set: Finest classes that cannot be ruled out.
      backed_off: The classes of the level above that the set stands for, where it had grown too large; else empty.
      malignancy: Score and degree, where the run has degrees.
      target: Whether it shows the target of a two-stage run.
      advice: How soon to see a doctor, where the run has degrees.
      usable: Whether it rests on a photo that is sharp and bright enough, and like those of the run.
    """

    error: str | None = None
    reasons: tuple[str, ...] = ()
    probabilities: Mapping[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    conformal_set: tuple[str, ...] = ()
    backed_off: tuple[str, ...] = ()
    malignancy: Malignancy | None = None
    target: TargetCall | None = None
    advice: Advice | None = None
    usable: bool = True

    def top(self, taxonomy: Taxonomy, level: str, count: int = 1) -> list[tuple[str, float]]:
        """Returns the most probable classes of a level with their probabilities, most probable first."""
        probs = self.probabilities[level]
        order = np.argsort(-probs, kind="stable")[:count]
        names = taxonomy.classes(level)
        return [(names[i], float(probs[i])) for i in order]

    def diagnosis(self, taxonomy: Taxonomy) -> str | None:
        """Returns the most probable finest class; None where there is a reason to give no diagnosis."""
        return None if self.error or self.reasons else self.top(taxonomy, taxonomy.finest)[0][0]

    def conclusion_fields(self, taxonomy: Taxonomy) -> dict[str, Any]:
        """Returns the conclusion, as JSON takes it: numbers, texts, lists, objects and null, and no NaN."""
        return {
            "diagnosis": self.diagnosis(taxonomy),
            "reasons": list(self.reasons),
            "top": {
                level: [
                    {"class": name, "probability": rounded(p)} for name, p in self.top(taxonomy, level, 3)
                ]
                for level in taxonomy.levels
            },
            "probabilities": {
                level: {
                    name: rounded(p)
                    for name, p in zip(taxonomy.classes(level), self.probabilities[level], strict=True)
                }
                for level in taxonomy.levels
            },
            "conformal_set": list(self.conformal_set),
            "backed_off_to": list(self.backed_off),
            "malignancy": self.malignancy
            and {
                "probability_of_tumour": rounded(self.malignancy.tumour),
                "called": self.malignancy.called,
                "degree": None if self.malignancy.degree == NO_TUMOUR else self.malignancy.degree,
                "score": round(self.malignancy.score, 2),
                "probabilities": [rounded(p) for p in self.malignancy.probabilities],
            },
            "target": self.target and self.target.to_dict(),
            "urgency": self.advice and self.advice.urgency,
            "advice": self.advice and self.advice.words,
            "advice_withheld": list(self.advice.withheld) if self.advice else [],
            "too_late": self.advice and self.advice.too_late,
        }

    def diagnosis_cells(self, taxonomy: Taxonomy) -> list[Any]:
        """Returns the cells of `diagnosis_columns`; several classes are parted by a bar."""
        cells: list[Any] = [self.diagnosis(taxonomy) or "", "; ".join(self.reasons)]
        for level in taxonomy.levels:
            name, probability = self.top(taxonomy, level)[0]
            cells += [name, rounded(probability)]
        return [*cells, "|".join(self.conformal_set), "|".join(self.backed_off)]

    def advice_cells(self) -> list[Any]:
        """Returns the cells of `COLUMNS`; empty where the run has no degrees."""
        malignancy = self.malignancy
        cells: list[Any] = [""] * 4 if malignancy is None else [
            rounded(malignancy.tumour),
            malignancy.called,
            "" if malignancy.degree == NO_TUMOUR else malignancy.degree,
            round(malignancy.score, 2),
        ]  # fmt: skip
        if self.advice is None:
            return [*cells, *[""] * (len(COLUMNS) - len(cells))]
        cells += [self.advice.urgency or "", self.advice.words, "; ".join(self.advice.withheld)]
        for name in _LATE:
            share = self.advice.too_late[name] or {}
            values = (share.get(field) for field in _LATE_FIELDS)
            cells += ["" if value is None else value for value in values]
        return cells

    def class_cells(self, taxonomy: Taxonomy) -> list[Any]:
        """Returns the cells of `class_columns`."""
        return [
            *(self.target.to_cells() if self.target else [""] * len(TARGET_COLUMNS)),
            *(rounded(p) for p in self.probabilities[taxonomy.finest]),
        ]


def diagnosis_columns(taxonomy: Taxonomy, taken: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of diagnosis, most probable classes and sets.

    Args:
      taxonomy: Names the levels.
      taken: Columns before these; a level that is called as one of them is followed by `_class`.
    """
    first = ("diagnosis", "reasons")
    levels: list[str] = []
    for level in taxonomy.levels:
        levels += [f"{level}_class" if level in (*taken, *first) else level, f"{level}_probability"]
    return (*first, *levels, "conformal_set", "backed_off_to")


def class_columns(taxonomy: Taxonomy) -> tuple[str, ...]:
    """Returns the columns of the target and of the finest classes' probabilities."""
    return (*TARGET_COLUMNS, *(f"p_{name}" for name in taxonomy.classes()))


def conclude(
    outcome: Outcome,
    row: int,
    faults: Sequence[str],
    taxonomy: Taxonomy,
    options: DecisionOptions,
    decisions: Decisions,
    record: AdviceRecord,
    doubts: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns the fields of a `Conclusion` from a row of an outcome.

    Args:
      outcome: Of `skinjax.predict.decisions.decide`, in numpy.
      row: Which photo or case.
      faults: Reasons for no diagnosis that are known already, such as blur.
      taxonomy: The taxonomy whose classes these are.
      options: What the answers must be like.
      decisions: What was fitted.
      record: How the advice fared.
      doubts: Further reasons for no diagnosis, of something that can be relied on all the same.

    Returns:
      All fields but `error`, `target` and `usable`.
    """
    reasons = list(faults)
    if not outcome["certain"][row]:
        sure, least = outcome["certainty"][row], decisions.certainty
        reasons.append(f"not certain enough ({100 * sure:.3g}%, must be at least {100 * least:.3g}%)")
    reasons += _set_reasons(int(outcome["set_size"][row]), len(taxonomy.classes()), options.set_limit)
    reasons += doubts
    malignancy, advice = None, None
    if options.degree_of_class:
        degree = int(outcome["degree"][row])
        malignancy = Malignancy(
            float(outcome["score"][row]),
            degree,
            outcome["degree_probs"][row],
            float(outcome["tumour"][row]),
        )
        urgency = int(outcome["urgency_unusable" if faults else "urgency"][row])
        withheld = reasons if decisions.photos else [*reasons, NOT_KNOWN]
        advice = advise(urgency, degree, withheld, options.num_degrees, record)
    backed_off: tuple[str, ...] = ()
    if outcome["backed_off"][row]:
        backed_off = _named(taxonomy.classes(taxonomy.levels[-2]), outcome["above"][row])
    return {
        "reasons": tuple(reasons),
        "probabilities": {level: outcome["probs"][level][row] for level in taxonomy.levels},
        "conformal_set": _named(taxonomy.classes(), outcome["set"][row]),
        "backed_off": backed_off,
        "malignancy": malignancy,
        "advice": advice,
    }


def rounded(value: Any) -> float:
    """Rounds to seven significant digits, which is what a float32 has.

    >>> rounded(np.float32(0.1))
    0.1
    """
    return float(f"{float(value):.7g}")


def _set_reasons(size: int, classes: int, limit: int) -> list[str]:
    """Returns why a conformal set of so many classes allows no diagnosis; nothing where it does."""
    if size >= classes:
        return ["no class can be ruled out"]
    return [f"{size} classes cannot be ruled out (at most {limit} may remain)"] if size > limit else []


def _named(names: tuple[str, ...], chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, inside in zip(names, chosen, strict=True) if inside)
