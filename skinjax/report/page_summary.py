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
      by_case: Figures of answers that are pooled by case, `<figure>_by_case`, and `<figure>_by_case_gain` over a single
        photo; none where no case has several photos.
    """

    headline: tuple[str, ...]
    metric: Metric | None = None
    tables: tuple[str, ...] = ()
    by_case: tuple[Metric, ...] = ()

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
        metric = None if document["metric"] is None else _metric(document["metric"])
        by_case = tuple(_metric(one) for one in document.get("by_case", ()))  # not of earlier versions
        return PageSummary(tuple(document["headline"]), metric, tuple(document["tables"]), by_case)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} must be a page's summary, got {error}") from error


def _metric(stored: dict[str, Any]) -> Metric:
    numbers = (
        math.nan if stored[name] is None else float(stored[name])
        for name in ("value", "low", "high", "confidence")
    )
    return Metric(str(stored["name"]), *numbers)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
