"""Photos of foreign diseases, or from elsewhere: how many are called the target (thesis, chapter 3)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate import bootstrap
from skinjax.evaluate.calls import UNKNOWN, call_accuracy, call_figures
from skinjax.report.blocks import Block, Column, Table, Text
from skinjax.report.cases import case_columns, photos_of, unit_of
from skinjax.report.formatting import cell, p_value, percent, points, ranged, with_range
from skinjax.report.tables.target_models import Intervals, Sample


def outside_blocks(
    samples: Mapping[str, Sample],
    called: Mapping[str, Mapping[str, NDArray[np.float64]]],
    intervals: Intervals,
) -> list[Block]:
    """Tables of misdiagnoses among photos from outside, and of the accuracy there.

    Args:
      samples: Photos by name.
      called: By name of the sample, for each model float64[N] in [0, 1], the share of its networks that call a photo
        the target, NaN throughout where no threshold is known; the model that others are held against first.
      intervals: How intervals are made.
    """
    blocks: list[Block] = []
    for number, (name, calls) in enumerate(called.items()):
        sample = samples[name]
        data = pd.DataFrame(_rows(sample, calls, intervals))
        blocks.append(_table(f"outside_{number}", name, sample, data))
        if not sample.labels.all():
            blocks.append(_classes(f"outside_{number}_classes", sample, next(iter(calls.values()))))
    words = (
        "Every photo of another disease that is called the target is a misdiagnosis. Thresholds are those of the "
        "validation photos. Differences are the first model’s accuracy less the other’s, paired by case; p-values are "
        "not corrected for their number."
    )
    return [*blocks, Text(words, small=True)]


def _rows(
    sample: Sample, calls: Mapping[str, NDArray[np.float64]], intervals: Intervals
) -> list[dict[str, object]]:
    rows = []
    first = next(iter(calls.values()))
    how = (intervals.replicates, intervals.confidence, intervals.seed)
    for model, called in calls.items():
        row: dict[str, object] = {"model": model}
        unknown = bool(np.isnan(called).any())
        found = None if unknown else call_figures(sample.labels, called, sample.cases, *how)
        for key in ("sensitivity", "misdiagnosed", "accuracy"):
            value = UNKNOWN
            if found is not None:
                value = found.specificity.complement() if key == "misdiagnosed" else getattr(found, key)
            row |= {key: value.estimate, f"{key}_low": value.low, f"{key}_high": value.high}
        row |= {f"less_{key}": np.nan for key in ("difference", "low", "high", "p_value")}
        if called is not first and not unknown:
            less = bootstrap.paired_by_case(call_accuracy, sample.labels, first, called, sample.cases, *how)
            row |= {f"less_{key}": getattr(less, key) for key in ("difference", "low", "high", "p_value")}
        rows.append(row)
    return rows


def _table(file: str, name: str, sample: Sample, data: pd.DataFrame) -> Table:
    rows = data.to_dict("records")
    columns = [Column("Model", list(data["model"]))]
    if sample.labels.any():
        columns.append(Column("Sensitivity", ranged(data, "sensitivity", percent)))
    if not sample.labels.all():
        columns.append(Column("Other diseases called the target", ranged(data, "misdiagnosed", percent)))
    columns += [
        Column("Accuracy", ranged(data, "accuracy", percent)),
        Column(
            "First less this",
            [
                with_range(points(row["less_difference"]), row["less_low"], row["less_high"], points)
                for row in rows
            ],
        ),
        Column("p", [p_value(row["less_p_value"]) for row in rows]),
    ]
    of_target = int(sample.labels.sum())
    photos, cases = len(sample.labels), len(np.unique(sample.cases))
    caption = f"{name}: {photos_of(photos, cases, unit_of(sample.cases))}"
    if of_target:
        caption += f", {of_target:,} photos of the target"
    return Table(file, data, tuple(columns), caption)


def _classes(file: str, sample: Sample, called: NDArray[np.float64]) -> Table:
    table = pd.DataFrame({"class": sample.classes, "case": sample.cases, "called": called})[~sample.labels]
    groups = table.groupby("class", sort=True)
    data = groups.agg(photos=("called", "size"), cases=("case", "nunique"), called=("called", "mean"))
    data = data.reset_index().sort_values("called", ascending=False, kind="stable", ignore_index=True)
    columns = (
        Column("Class", list(data["class"])),
        Column("Photos", [cell(n) for n in data["photos"]], number=True),
        *case_columns(data["cases"].tolist(), unit_of(sample.cases)),
        Column("Called the target", [percent(v) for v in data["called"]], number=True),
    )
    return Table(file, data, columns, "Which of them the first model calls the target", folded=True)
