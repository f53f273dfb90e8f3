"""Summary of a page, for programs: `summary.json` beside its `index.html`."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

from skinjax.report.model_card import Metric

FILE = "summary.json"
"""Name of the file."""


@dataclasses.dataclass(frozen=True)
class PageSummary:
    """A page's answer, its headline figure and where its tables are.

    Attributes:
      headline: The sentences that the page shows as its answer.
      metric: The headline figure with its interval; None where the page has none.
      tables: Paths of the tables as CSV, relative to the page's folder.
    """

    headline: tuple[str, ...]
    metric: Metric | None = None
    tables: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Returns the summary as JSON; a number that is not defined is null.

        >>> json.loads(PageSummary(("It falls.",), Metric("accuracy", 0.5)).to_json())["metric"]
        {'name': 'accuracy', 'value': 0.5, 'low': None, 'high': None, 'confidence': 0.95}
        """
        return json.dumps(
            _without_nan(dataclasses.asdict(self)), indent=1, ensure_ascii=False, allow_nan=False
        )


def read_summary(folder: str | os.PathLike[str]) -> PageSummary:
    """Reads the summary that `write_report` or `write_study` left beside a page.

    Args:
      folder: The page's folder.

    Returns:
      The summary.

    Raises:
      OSError: There is no such file.
      ValueError: The file is not a summary.
    """
    path = Path(folder) / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        stored = document["metric"]
        metric = None
        if stored is not None:
            numbers = (
                math.nan if stored[name] is None else float(stored[name])
                for name in ("value", "low", "high", "confidence")
            )
            metric = Metric(str(stored["name"]), *numbers)
        return PageSummary(tuple(document["headline"]), metric, tuple(document["tables"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} must be a page's summary, got {error}") from error


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
