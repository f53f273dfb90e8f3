"""Answer for one photo, for programs (JSON), for spreadsheets (CSV), and in plain Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinjax.data.images.quality import MEASURES, Quality
from skinjax.labels.degrees import NO_TUMOUR, NONE_CALLED, degree_names
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.advice import Advice
from skinjax.predict.target_call import TARGET_COLUMNS, TargetCall

_FIRST = ("photo", "error", "diagnosis", "reasons")
_LATE = ("cancers", "this_advice")
_LATE_FIELDS = ("rate", "low", "high", "cases")


@dataclasses.dataclass(frozen=True, eq=False)
class Malignancy:
    """Malignancy of one photo.

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


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """Answer for one photo. Where it could not be read, `error` says why and nothing else is known.

    Attributes:
      photo: Its path, as it was given or found.
      error: Why it could not be read; None where it could.
      reasons: Why no diagnosis is given, in words; empty where one is.
      probabilities: Level -> float32[K], calibrated, in the order of the taxonomy's classes.
      conformal_set: Finest classes that cannot be ruled out.
      backed_off: The classes of the level above that the set stands for, where it had grown too large; else empty.
      malignancy: Score and degree, where the run has degrees.
      target: Whether it shows the target of a two-stage run.
      advice: How soon to see a doctor, likewise.
      usable: Whether the photo is sharp and bright enough, and like those of the run.
      quality: What was measured of the photo.
      novelty: Distance from the run's photos over its limit; above 1 is far; None where that is not known.
      explanation: File name of its explanation picture, or None.
      explained: The class and the level that the picture is about, or None.
    """

    photo: str
    error: str | None = None
    reasons: tuple[str, ...] = ()
    probabilities: Mapping[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    conformal_set: tuple[str, ...] = ()
    backed_off: tuple[str, ...] = ()
    malignancy: Malignancy | None = None
    target: TargetCall | None = None
    advice: Advice | None = None
    usable: bool = True
    quality: Quality | None = None
    novelty: float | None = None
    explanation: str | None = None
    explained: tuple[str, str] | None = None

    def top(self, taxonomy: Taxonomy, level: str, count: int = 1) -> list[tuple[str, float]]:
        """Returns the most probable classes of a level with their probabilities, most probable first."""
        probs = self.probabilities[level]
        order = np.argsort(-probs, kind="stable")[:count]
        names = taxonomy.classes(level)
        return [(names[i], float(probs[i])) for i in order]

    def diagnosis(self, taxonomy: Taxonomy) -> str | None:
        """Returns the most probable finest class; None where there is a reason to give no diagnosis."""
        return None if self.error or self.reasons else self.top(taxonomy, taxonomy.finest)[0][0]

    def to_dict(self, taxonomy: Taxonomy) -> dict[str, Any]:
        """Returns everything, as JSON takes it: numbers, texts, lists, objects and null, and no NaN."""
        if self.error is not None:
            return {"photo": self.photo, "error": self.error}
        return {
            "photo": self.photo,
            "error": None,
            "diagnosis": self.diagnosis(taxonomy),
            "reasons": list(self.reasons),
            "top": {
                level: [
                    {"class": name, "probability": _rounded(p)} for name, p in self.top(taxonomy, level, 3)
                ]
                for level in taxonomy.levels
            },
            "probabilities": {
                level: {
                    name: _rounded(p)
                    for name, p in zip(taxonomy.classes(level), self.probabilities[level], strict=True)
                }
                for level in taxonomy.levels
            },
            "conformal_set": list(self.conformal_set),
            "backed_off_to": list(self.backed_off),
            "malignancy": self.malignancy
            and {
                "probability_of_tumour": _rounded(self.malignancy.tumour),
                "called": self.malignancy.called,
                "degree": None if self.malignancy.degree == NO_TUMOUR else self.malignancy.degree,
                "score": round(self.malignancy.score, 2),
                "probabilities": [_rounded(p) for p in self.malignancy.probabilities],
            },
            "target": self.target and self.target.to_dict(),
            "urgency": self.advice and self.advice.urgency,
            "advice": self.advice and self.advice.words,
            "advice_withheld": list(self.advice.withheld) if self.advice else [],
            "too_late": self.advice and self.advice.too_late,
            "quality": self.quality and {k: _rounded(v) for k, v in dataclasses.asdict(self.quality).items()},
            "novelty": None if self.novelty is None else _rounded(self.novelty),
            "explanation": self.explanation,
            "explained": self.explained and {"level": self.explained[1], "class": self.explained[0]},
        }

    def to_row(self, taxonomy: Taxonomy) -> list[str]:
        """Returns one row of the CSV file, cells as `csv_header` names them; several classes are parted by a bar."""
        if self.error is not None:
            return [self.photo, self.error, *[""] * (len(csv_header(taxonomy)) - 2)]
        cells: list[Any] = [self.photo, "", self.diagnosis(taxonomy) or "", "; ".join(self.reasons)]
        for level in taxonomy.levels:
            name, probability = self.top(taxonomy, level)[0]
            cells += [name, _rounded(probability)]
        cells += ["|".join(self.conformal_set), "|".join(self.backed_off)]
        malignancy, quality = self.malignancy, self.quality
        cells += [""] * 4 if malignancy is None else [
            _rounded(malignancy.tumour),
            malignancy.called,
            "" if malignancy.degree == NO_TUMOUR else malignancy.degree,
            round(malignancy.score, 2),
        ]  # fmt: skip
        cells += self._advice_cells()
        cells += [_rounded(getattr(quality, name)) for name in MEASURES]
        cells += ["" if self.novelty is None else _rounded(self.novelty), self.explanation or ""]
        cells += self.target.to_cells() if self.target else [""] * len(TARGET_COLUMNS)
        cells += [_rounded(p) for p in self.probabilities[taxonomy.finest]]
        return [str(cell) for cell in cells]

    def _advice_cells(self) -> list[Any]:
        if self.advice is None:
            return [""] * (3 + len(_LATE) * len(_LATE_FIELDS))
        cells: list[Any] = [self.advice.urgency or "", self.advice.words, "; ".join(self.advice.withheld)]
        for name in _LATE:
            share = self.advice.too_late[name] or {}
            values = (share.get(field) for field in _LATE_FIELDS)
            cells += ["" if value is None else value for value in values]
        return cells


def csv_header(taxonomy: Taxonomy) -> Sequence[str]:
    """Returns names of the CSV file's columns."""
    # A level may be called as a column is, such as `diagnosis`.
    levels = []
    for level in taxonomy.levels:
        levels += [f"{level}_class" if level in _FIRST else level, f"{level}_probability"]
    return (
        *(*_FIRST, *levels, "conformal_set", "backed_off_to"),
        *("probability_of_tumour", "malignancy_called", "malignancy_degree", "malignancy_score"),
        *("urgency", "advice", "advice_withheld"),
        *(f"too_late_{name}_{field}" for name in _LATE for field in _LATE_FIELDS),
        *(*MEASURES, "novelty", "explanation"),
        *TARGET_COLUMNS,
        *(f"p_{name}" for name in taxonomy.classes()),
    )


def _rounded(value: Any) -> float:
    """Rounds to seven significant digits, which is what a float32 has."""
    return float(f"{float(value):.7g}")
