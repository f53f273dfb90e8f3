"""Is the model as good for everyone?"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate import bootstrap
from skinjax.evaluate.roc import weighted_auc
from skinjax.evaluate.subgroups import MIN_CASES, MIN_CLASS_CASES, Subgroups, age_bands, compare
from skinjax.report.blocks import Block, Column, Figure, Section, Table, Text, unanswered
from skinjax.report.cases import Unit, case_columns
from skinjax.report.figures import canvas, group_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import (
    cell,
    decimals,
    listed,
    p_value,
    percent,
    points,
    ranged,
    signed,
    with_range,
)
from skinjax.report.study import Study
from skinjax.report.tables.methods import interval_columns

MOST_RANKED = 100_000
"""Photos beyond which the area of the target is not looked at by group, which would take minutes."""

UNKNOWN = (
    "",
    "na",
    "n/a",
    "nan",
    "none",
    "null",
    "unknown",
    "not known",
    "unspecified",
    "not specified",
    "-",
    "?",
)
"""How tables write that a group is not known, whatever the case of the letters."""

MOST_GROUPS = 40
"""Groups of a column beyond which it is not looked at."""


def check_subgroups(columns: Sequence[str], predictions: pd.DataFrame) -> None:
    """Refuses columns that the predictions lack.

    Args:
      columns: Names of columns.
      predictions: The frame.

    Raises:
      ValueError: A text instead of names, or a column that is missing.

    Example:
      >>> check_subgroups(("sex",), pd.DataFrame({"sex": ["f"]}))
    """
    if isinstance(columns, str):
        raise ValueError(f"subgroups must be a sequence of names of columns, got the text {columns!r}")
    absent = [name for name in columns if name not in predictions.columns]
    if absent:
        raise ValueError(f"subgroups must be columns of the predictions, which lack {', '.join(absent)}")


def group_names(values: pd.Series) -> NDArray[np.object_]:
    """Returns the group of each photo: ages as bands, whole numbers without decimals, anything else as text.

    Args:
      values: A column of the predictions.

    Returns:
      object[N] of texts; None where the group is not known.

    Example:
      >>> group_names(pd.Series([2.0, None], name="skin_tone")).tolist()
      ['2', None]
      >>> group_names(pd.Series(["NA", "female", "Unknown"], name="sex")).tolist()
      [None, 'female', None]
      >>> group_names(pd.Series([17, 45], name="age")).tolist()
      ['under 18', '40 to 60']
    """
    missing = values.isna() | values.astype(str).str.strip().str.casefold().isin(UNKNOWN)
    if values.name == "age" and pd.api.types.is_numeric_dtype(values) and not (values < 0).any():
        return age_bands(values.to_numpy(np.float64, na_value=np.nan))
    shown = [f"{v:g}" if isinstance(v, float | np.floating) else str(v) for v in values]
    return np.array([None if gone else v for v, gone in zip(shown, missing, strict=True)], object)


def subgroups_section(study: Study, columns: Sequence[str]) -> tuple[Section, pd.DataFrame | None]:
    """Builds accuracy, and the area of the target, by group.

    Args:
      study: The model's answers, and how intervals are made.
      columns: Names of columns of its predictions.

    Returns:
      The section, and its table; None where there is none.
    """
    groups, left_out = {}, []
    for name in columns:
        values = group_names(study.predictions.frame[name])
        count = len({value for value in values if value is not None})
        if 1 <= count <= MOST_GROUPS:
            groups[name] = values
        else:
            left_out.append(f"{name} ({count or 'no'} groups)")
    left = f"Not looked at: {listed(left_out)}." if left_out else ""
    if not groups:
        return unanswered("subgroups", "Subgroups", left or "No column was named."), None
    draws = (study.cases, MIN_CASES, study.replicates, study.confidence, study.seed)
    found = {"accuracy": compare(bootstrap.accuracy, (study.labels, study.predicted), groups, *draws)}
    with_area = study.target is not None and not study.target.why_not()
    if study.target is not None and with_area and len(study.labels) <= MOST_RANKED:
        binary = (study.target.labels.astype(np.int64), study.target.scores)
        found["auc"] = compare(weighted_auc, binary, groups, *draws, two_classes=True)
    table = _table(found)
    gaps = _gaps(found)
    blocks: list[Block] = []
    overall = {"accuracy": float((study.predicted == study.labels).mean()), "auc": np.nan}
    if "auc" in found:
        assert study.target is not None
        overall["auc"] = weighted_auc(study.target.labels, study.target.scores)
    blocks.append(_figure(study, table, overall))
    blocks.append(_shown(table, study.unit))
    blocks.append(_shown_gaps(gaps))
    words = (
        f"Intervals are by case. Groups of fewer than {MIN_CASES} cases, and for the AUC of fewer than "
        f"{MIN_CLASS_CASES} with or without the target, are hollow and take no part in the gap. "
        "The gap between the best and the worst group is tested as the pair that was picked after looking "
        "(maxT over all pairs), and its interval holds for all pairs at once; Holm’s p is corrected for the columns "
        "that were looked at. Groups may differ in which diseases they have: a gap is not yet a fault of the model."
    )
    unknown = {name: part.num_unknown for name, part in found["accuracy"].items() if part.num_unknown}
    if unknown:
        words += " Photos without a group: " + ", ".join(f"{k} {v:,}" for k, v in unknown.items()) + "."
    if with_area and "auc" not in found:
        words += " The area of the target by group was left out for the number of photos."
    blocks.append(Text(" ".join([words, left]).strip(), small=True))
    return Section("subgroups", "Subgroups", tuple(blocks)), table


def _table(found: dict[str, dict[str, Subgroups]]) -> pd.DataFrame:
    rows = []
    for column, part in found["accuracy"].items():
        ordered = sorted(enumerate(part.groups), key=lambda item: _rank(item[1].name))
        for place, group in ordered:
            row: dict[str, Any] = {
                "column": column,
                "group": group.name,
                "photos": group.interval.num_photos,
                "cases": group.interval.num_cases,
            }
            for metric, by_column in found.items():
                interval = by_column[column].groups[place].interval
                row |= interval_columns(metric, interval)
                row[f"{metric}_small"] = by_column[column].groups[place].small
            rows.append(row)
    return pd.DataFrame(rows)


def _rank(name: str) -> tuple[float, str]:
    """Orders groups: bands and numbers by their size, then texts."""
    words = name.split()
    try:
        return (-1.0 if words[0] == "under" else float(words[0])), name
    except (ValueError, IndexError):
        return np.inf, name


def _gaps(found: dict[str, dict[str, Subgroups]]) -> pd.DataFrame:
    rows = []
    for metric, by_column in found.items():
        for column, part in by_column.items():
            gap = part.gap
            row: dict[str, object] = {"metric": metric, "column": column}
            if gap is not None:
                row |= {
                    "best": gap.best,
                    "worst": gap.worst,
                    "difference": gap.difference,
                    "low": gap.low,
                    "high": gap.high,
                    "p_value": gap.p_value,
                    "holm_p_value": gap.holm_p_value,
                    "groups": gap.num_groups,
                }
            rows.append(row)
    names = ["best", "worst", "difference", "low", "high", "p_value", "holm_p_value", "groups"]
    return pd.DataFrame(rows).reindex(columns=["metric", "column", *names])


def _figure(study: Study, table: pd.DataFrame, overall: dict[str, float]) -> Figure:
    names = [f"{a}: {b}" for a, b in zip(table["column"], table["group"], strict=True)]
    left, height = canvas.text_width(names, 10) + 4, 62 + 20 * len(names)
    panels = []
    for metric, title in (("accuracy", "Accuracy"), ("auc", "AUC")):
        if metric not in table:
            continue
        values = table[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy(np.float64)

        draw = functools.partial(
            group_plots.forest,
            names=names,
            values=values,
            small=table[f"{metric}_small"],
            overall=overall[metric],
            in_percent=metric == "accuracy",
        )
        label = f"{title} of {len(names)} groups as a forest plot."
        panels.append(
            panel(f"subgroups_{metric}", (left + 230, height), (left, 28, 14, 26), draw, label, title)
        )
    caption = f"Each group with its {study.confidence_percent} interval by case; the line marks all photos."
    return Figure(Picture("subgroups", tuple(panels), caption, table))


def _shown(table: pd.DataFrame, unit: Unit) -> Table:
    small = table["accuracy_small"]
    columns = [
        Column("Group", [f"{n} (small)" if s else n for n, s in zip(table["group"], small, strict=True)]),
        Column("Photos", [cell(v) for v in table["photos"]], number=True),
        *case_columns(table["cases"].tolist(), unit),
        Column("Accuracy", ranged(table, "accuracy", percent)),
    ]
    if "auc" in table:
        columns.append(Column("AUC", ranged(table, "auc", decimals)))
    return Table("subgroups", table, tuple(columns), group=list(table["column"]))


def _shown_gaps(gaps: pd.DataFrame) -> Table:
    rows = gaps.to_dict("records")
    write: dict[str, Callable[[float], str]] = {"accuracy": points, "auc": signed}
    pairs = [
        f"{row['best']} over {row['worst']}" if isinstance(row["best"], str) else "too few groups"
        for row in rows
    ]
    columns = (
        Column(
            "Gap in", [f"{'accuracy' if r['metric'] == 'accuracy' else 'AUC'} by {r['column']}" for r in rows]
        ),
        Column("Best over worst", pairs),
        Column(
            "Difference",
            [
                with_range(write[r["metric"]](r["difference"]), r["low"], r["high"], write[r["metric"]])
                for r in rows
            ],
        ),
        Column("p", [p_value(row["p_value"]) for row in rows]),
        Column("Holm’s p", [p_value(row["holm_p_value"]) for row in rows]),
    )
    return Table("subgroup_gaps", gaps, columns)
