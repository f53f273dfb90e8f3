"""The run's own figures: its headline and those of each class, as its report's files have them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from skinjax.report.page_summary import read_summary
from skinjax.runs.folder import RunFolder


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


def run_figures(workdir: Path) -> RunFigures:
    """Reads the figures of a run.

    Args:
      workdir: Folder of the run.

    Returns:
      What there is: nothing where the run has no report, and no figures by class where its report has no such table.
    """
    page = RunFolder.read(workdir).page
    if not page.is_file():
        return RunFigures()
    try:
        summary = read_summary(page.parent)
    except (OSError, ValueError):  # a page of an earlier version, or damaged
        return RunFigures(page=page)
    classes = {}
    if "tables/classes.csv" in summary.tables:
        table = pd.read_csv(page.parent / "tables" / "classes.csv")
        for row in table.to_dict("records"):
            numbers = [
                float(row.get(name, math.nan)) for name in ("recall", "recall_low", "recall_high", "precision")
            ]
            name = str(row["class"])
            classes[name] = ClassFigures(name, *numbers, int(row["photos"]), int(row["cases"]))
    return RunFigures(summary.headline, classes, page)
