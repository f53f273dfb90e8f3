"""Answer for one photo, for programs (JSON), for spreadsheets (CSV), and in plain Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from skinjax.data.images.quality import MEASURES, Quality
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.conclusions import COLUMNS, Conclusion, class_columns, diagnosis_columns, rounded

_FIRST = ("photo", "error")


@dataclasses.dataclass(frozen=True, eq=False)
class Answer(Conclusion):
    """Answer for one photo. Where it could not be read, `error` says why and nothing else is known.

    Attributes:
      photo: Its path, as it was given or found, or the name of a photo in memory.
      quality: What was measured of the photo.
      novelty: Distance from the run's photos over its limit; above 1 is far; None where that is not known.
      explanation: File name of its explanation picture, or None.
      explained: The class and the level that the picture is about, or None.
    """

    photo: str
    quality: Quality | None = None
    novelty: float | None = None
    explanation: str | None = None
    explained: tuple[str, str] | None = None

    def to_dict(self, taxonomy: Taxonomy) -> dict[str, Any]:
        """Returns everything, as JSON takes it: numbers, texts, lists, objects and null, and no NaN."""
        if self.error is not None:
            return {"photo": self.photo, "error": self.error}
        return {
            "photo": self.photo,
            "error": None,
            **self.conclusion_fields(taxonomy),
            "quality": self.quality and {k: rounded(v) for k, v in dataclasses.asdict(self.quality).items()},
            "novelty": None if self.novelty is None else rounded(self.novelty),
            "explanation": self.explanation,
            "explained": self.explained and {"level": self.explained[1], "class": self.explained[0]},
        }

    def to_row(self, taxonomy: Taxonomy) -> list[str]:
        """Returns one row of the CSV file, cells as `csv_header` names them; several classes are parted by a bar."""
        if self.error is not None:
            return [self.photo, self.error, *[""] * (len(csv_header(taxonomy)) - 2)]
        cells = [self.photo, "", *self.diagnosis_cells(taxonomy), *self.advice_cells()]
        cells += [rounded(getattr(self.quality, name)) for name in MEASURES]
        cells += ["" if self.novelty is None else rounded(self.novelty), self.explanation or ""]
        return [str(cell) for cell in [*cells, *self.class_cells(taxonomy)]]


def csv_header(taxonomy: Taxonomy) -> Sequence[str]:
    """Returns names of the CSV file's columns."""
    return (
        *(*_FIRST, *diagnosis_columns(taxonomy, _FIRST), *COLUMNS),
        *(*MEASURES, "novelty", "explanation"),
        *class_columns(taxonomy),
    )
