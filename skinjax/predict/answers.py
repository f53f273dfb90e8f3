"""What is said of one photo, for programs (JSON), for spreadsheets (CSV), and in plain Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinjax.data.quality import MEASURES, Quality
from skinjax.labels.taxonomy import Taxonomy


@dataclasses.dataclass(frozen=True, eq=False)
class Malignancy:
    """How malignant a photo looks.

    Attributes:
      score: reference score, 0..100.
      degree: 0, the most benign, to D - 1.
      probabilities: float32[D].
    """

    score: float
    degree: int
    probabilities: NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What is said of one photo. Where it could not be read, `error` says why and nothing else is known.

    Attributes:
      photo: its path, as it was given or found.
      error: why it could not be read; None where it could.
      reasons: why no diagnosis is given, in words; empty where one is.
      probabilities: level -> float32[K], calibrated, in the order of the taxonomy's classes.
      conformal_set: finest classes that cannot be ruled out.
      backed_off: the classes of the level above that the set stands for, where it had grown too large; else empty.
      malignancy: score and degree, where the run has degrees.
      quality: what was measured of the photo.
      novelty: distance from the run's photos over its limit; above 1 is far; None where that is not known.
      explanation: file name of its explanation picture, or None.
      explained: the class and the level that the picture is about, or None.
    """

    photo: str
    error: str | None = None
    reasons: tuple[str, ...] = ()
    probabilities: Mapping[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    conformal_set: tuple[str, ...] = ()
    backed_off: tuple[str, ...] = ()
    malignancy: Malignancy | None = None
    quality: Quality | None = None
    novelty: float | None = None
    explanation: str | None = None
    explained: tuple[str, str] | None = None

    def top(self, taxonomy: Taxonomy, level: str, count: int = 1) -> list[tuple[str, float]]:
        """The most probable classes of a level with their probabilities, most probable first."""
        probs = self.probabilities[level]
        order = np.argsort(-probs, kind="stable")[:count]
        names = taxonomy.classes(level)
        return [(names[i], float(probs[i])) for i in order]

    def diagnosis(self, taxonomy: Taxonomy) -> str | None:
        """The most probable finest class; None where there is a reason to give no diagnosis."""
        return None if self.error or self.reasons else self.top(taxonomy, taxonomy.finest)[0][0]

    def to_dict(self, taxonomy: Taxonomy) -> dict[str, Any]:
        """Everything, as JSON takes it: numbers, texts, lists, objects and null, and no NaN."""
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
                "score": round(self.malignancy.score, 2),
                "degree": self.malignancy.degree,
                "probabilities": [_rounded(p) for p in self.malignancy.probabilities],
            },
            "quality": self.quality and {k: _rounded(v) for k, v in dataclasses.asdict(self.quality).items()},
            "novelty": None if self.novelty is None else _rounded(self.novelty),
            "explanation": self.explanation,
            "explained": self.explained and {"level": self.explained[1], "class": self.explained[0]},
        }

    def to_row(self, taxonomy: Taxonomy) -> list[str]:
        """One row of the CSV file, cells as `csv_header` names them; several classes are parted by a bar."""
        if self.error is not None:
            return [self.photo, self.error, *[""] * (len(csv_header(taxonomy)) - 2)]
        cells: list[Any] = [self.photo, "", self.diagnosis(taxonomy) or "", "; ".join(self.reasons)]
        for level in taxonomy.levels:
            name, probability = self.top(taxonomy, level)[0]
            cells += [name, _rounded(probability)]
        cells += ["|".join(self.conformal_set), "|".join(self.backed_off)]
        malignancy, quality = self.malignancy, self.quality
        cells += [round(malignancy.score, 2), malignancy.degree] if malignancy else ["", ""]
        cells += [_rounded(getattr(quality, name)) for name in MEASURES]
        cells += ["" if self.novelty is None else _rounded(self.novelty), self.explanation or ""]
        cells += [_rounded(p) for p in self.probabilities[taxonomy.finest]]
        return [str(cell) for cell in cells]


def csv_header(taxonomy: Taxonomy) -> Sequence[str]:
    """Names of the CSV file's columns."""
    levels = [name for level in taxonomy.levels for name in (level, f"{level}_probability")]
    return (
        *("photo", "error", "diagnosis", "reasons", *levels, "conformal_set", "backed_off_to"),
        *("malignancy_score", "malignancy_degree", *MEASURES, "novelty", "explanation"),
        *(f"p_{name}" for name in taxonomy.classes()),
    )


def _rounded(value: Any) -> float:
    """Seven significant digits, which is what a float32 has."""
    return float(f"{float(value):.7g}")
