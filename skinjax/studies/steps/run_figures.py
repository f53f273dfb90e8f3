"""The figures of a run that the page in the browser shows, from the files beside its report."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from skinjax.app.figures import ClassFigures, RunFigures
from skinjax.report.page_summary import read_summary
from skinjax.runs.folder import RunFolder


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
            name = str(row["class"])
            classes[name] = ClassFigures(
                name=name,
                recall=float(row.get("recall", math.nan)),
                low=float(row.get("recall_low", math.nan)),
                high=float(row.get("recall_high", math.nan)),
                precision=float(row.get("precision", math.nan)),
                photos=int(row["photos"]),
                cases=int(row["cases"]),
            )
    return RunFigures(summary.headline, classes, page)
