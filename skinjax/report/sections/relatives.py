"""Which other diseases are taken for the target: those that look alike, or the distant ones (thesis, chapter 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate.proportions import proportion_by_case
from skinjax.report.blocks import Block, Column, Section, Table, Text, unanswered
from skinjax.report.formatting import bracketed, cell, listed, percent, ranged
from skinjax.report.tables.target_models import Sample

_ID, _TITLE = "relatives", "Relatives of the target"
_THESIS = (
    "The thesis found at most 2.5% of the photos of psoriasis’s distant relatives called psoriasis, and the near "
    "relatives the hard ones: its own figures, on its own photos, which are not public."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Relatives:
    """Test photos, the group of each one’s disease, and whether it is called the target.

    Attributes:
      target: Its name for people.
      level: The level of the taxonomy whose classes are the groups.
      groups: Their names for people.
      sample: N test photos, those of the target too.
      group: int[N], index into `groups`.
      called: bool[N], at the threshold of the run's output strategy; None where there is none.
      confidence: Confidence level of every interval, in (0, 1).
    """

    target: str
    level: str
    groups: tuple[str, ...]
    sample: Sample
    group: NDArray[np.integer]
    called: NDArray[np.bool_] | None
    confidence: float = 0.95


def relatives_section(relatives: Relatives) -> tuple[Section, str]:
    """Builds the section on what is taken for the target, and its finding in a sentence.

    Args:
      relatives: The test photos.

    Returns:
      The section and the sentence, which is empty where nothing is known.
    """
    sample, called = relatives.sample, relatives.called
    others = ~sample.labels
    if called is None:
        why = "No threshold could be fitted, so no photo is called the target."
        return unanswered(_ID, _TITLE, why), ""
    if not others.any():
        return unanswered(_ID, _TITLE, "All test photos are of the target."), ""
    within = {relatives.groups[k] for k in np.unique(relatives.group[sample.labels])}
    names = [
        f"{name}, other than {relatives.target}" if name in within else name for name in relatives.groups
    ]
    table = pd.DataFrame(
        {
            "group": np.array(names, object)[relatives.group],
            "class": sample.classes,
            "case": sample.cases,
            "called": called,
        }
    )[others]
    groups = _shares(table, ["group"], relatives.confidence)
    classes = _shares(table, ["class", "group"], relatives.confidence)
    said = [f"{row['group']} {_share(row)}" for row in groups.to_dict("records")]
    finding = (
        f"Test photos of other diseases that are called {relatives.target}, by “{relatives.level}”: {listed(said)} "
        f"({100 * relatives.confidence:g}% intervals by case)."
    )
    words = (
        f"Photos of other diseases that the two-stage network calls {relatives.target} at the threshold of its output "
        f"strategy. Intervals ({100 * relatives.confidence:g}%) are Wilson’s at the effective sample size, "
        f"by case. {_THESIS}"
    )
    blocks: list[Block] = [
        Text(finding),
        _table("relatives", groups, ["group"], ""),
        _table("relatives_classes", classes, ["class", "group"], "Each disease"),
        Text(words, small=True),
    ]
    return Section(_ID, _TITLE, tuple(blocks)), finding


def _shares(table: pd.DataFrame, keys: list[str], confidence: float) -> pd.DataFrame:
    """Returns the share that is called of each group of photos, the largest first."""
    rows = []
    for names, group in table.groupby(keys, sort=False):
        found = proportion_by_case(group["called"].to_numpy(), group["case"].to_numpy(), confidence)
        row: dict[str, object] = dict(zip(keys, names, strict=True))
        row |= {"photos": found.num_photos, "cases": found.num_cases, "called": found.estimate}
        rows.append(row | {"called_low": found.low, "called_high": found.high})
    return pd.DataFrame(rows).sort_values("called", ascending=False, kind="stable", ignore_index=True)


def _table(file: str, data: pd.DataFrame, keys: list[str], caption: str) -> Table:
    columns = [Column(key.capitalize(), list(data[key])) for key in keys]
    columns += [
        Column("Photos", [cell(n) for n in data["photos"]], number=True),
        Column("Cases", [cell(n) for n in data["cases"]], number=True),
        Column("Called the target", ranged(data, "called", percent)),
    ]
    return Table(file, data, tuple(columns), caption, folded=bool(caption))


def _share(row: Mapping[Hashable, Any]) -> str:
    return f"{percent(row['called'])}{bracketed(row['called_low'], row['called_high'], percent)}"
