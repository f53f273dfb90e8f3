"""The run's own figures that the page shows: the headline of its report, and those of each class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class ClassFigures:
    """Figures of one finest class on photos that the networks had not seen; NaN where a figure is not defined.

    Attributes:
      name: The class.
      recall: Share of its photos that were named so.
      low: Lower limit of the 95% interval of that, by case.
      high: Upper limit.
      precision: Share of the photos named so that are of it.
      photos: How many photos of it there were.
      cases: Of how many cases.
    """

    name: str
    recall: float
    low: float
    high: float
    precision: float
    photos: int
    cases: int


@dataclasses.dataclass(frozen=True)
class RunFigures:
    """Figures of a run.

    Attributes:
      headline: The sentences that its report answers with.
      classes: Figures by class; empty where the report has none.
      page: The report; None where there is none yet.
    """

    headline: tuple[str, ...] = ()
    classes: Mapping[str, ClassFigures] = dataclasses.field(default_factory=dict)
    page: Path | None = None
