"""Gain by columns beside the photos: two networks, trained alike with and without them, paired by case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate import bootstrap
from skinjax.evaluate.multiclass import compare_macro_auc, macro_auc_interval
from skinjax.report.blocks import Column, Section, Table, Text
from skinjax.report.formatting import (
    bracketed,
    decimals,
    listed,
    p_value,
    percent,
    points,
    ranged,
    signed,
    with_range,
)

ID, TITLE = "metadata", "What metadata adds"
FUSIONS = {
    "concat": "through a small dense layer, beside the averaged features",
    "linear": "as they are, beside the averaged features",
    "metablock": "by a MetaBlock",
}


def metadata_section(
    labels: NDArray,
    cases: NDArray,
    fused: NDArray,
    alone: NDArray,
    columns: Sequence[str],
    fusion: str,
    *,
    trained: bool = True,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Section, str]:
    """Builds the section, and its finding in a sentence for the head of the page.

    Args:
      labels: int[N], the true classes of photos that neither network has seen.
      cases: [N], the case of each photo.
      fused: float[N, K], probabilities of the network that reads photos and columns.
      alone: float[N, K], of the network that reads photos alone.
      columns: Names of the columns.
      fusion: One of `skinjax.models.metadata.Fusion`.
      trained: Whether networks were trained; else heads fitted to stored features.
      replicates: Of the bootstrap.
      confidence: Confidence level of every interval, in (0, 1).
      seed: Seed of the resampling.
    """
    table = metadata_table(labels, cases, fused, alone, replicates, confidence, seed)
    by_metric = {row["metric"]: row for row in table.to_dict("records")}
    accuracy, area = by_metric["balanced_accuracy"], by_metric["macro_auc"]
    finding = (
        f"Metadata ({listed(list(columns))}) changes the finest network's balanced accuracy, without fusion, by "
        f"{_with_limits(accuracy, points)} percentage points and its macro AUC by {_with_limits(area, signed)}, by "
        f"case: {_verdict(accuracy, area)}."
    )
    shown = (
        Column("Figure", ["Balanced accuracy", "Macro AUC"]),
        Column("Photos alone", _cells(table, "alone")),
        Column("Photos and columns", _cells(table, "fused")),
        Column(
            "Difference",
            [
                with_range(write(one["difference"]), one["low"], one["high"], write, one["reason"])
                for one, write in zip(table.to_dict("records"), (points, signed), strict=True)
            ],
        ),
        Column("p", [p_value(value) for value in table["p_value"]]),
    )
    alike = (
        "Both heads are fitted to the same features of the same photos and folds; one reads the columns too"
        if not trained
        else "Both networks have the same backbone, settings, photos and order; one reads the columns too"
    )
    words = (
        f"{alike}, {FUSIONS[fusion]}. Differences ({100 * confidence:g}% intervals) are paired on the same held-out "
        "photos: bootstrap over cases for balanced accuracy, in percentage points, the clustered test for macro AUC."
    )
    if trained:
        words += " They are of one training each: another seed gives somewhat other networks."
    return Section(ID, TITLE, (Table("metadata", table, shown), Text(words, small=True))), finding


def metadata_table(
    labels: NDArray,
    cases: NDArray,
    fused: NDArray,
    alone: NDArray,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Computes both networks' figures and their paired differences; arguments are those of `metadata_section`.

    Returns:
      Rows `balanced_accuracy` and `macro_auc` of `alone` and `fused` with limits, `difference`, `low`, `high`,
      `p_value` and the `reason` for which there is no interval.
    """
    metric = bootstrap.balanced_accuracy
    called = {"fused": fused.argmax(axis=1), "alone": alone.argmax(axis=1)}
    accuracy: dict[str, Any] = {"metric": "balanced_accuracy"}
    area: dict[str, Any] = {"metric": "macro_auc"}
    for name, probs in (("alone", alone), ("fused", fused)):
        found = bootstrap.by_case(metric, (labels, called[name]), cases, replicates, confidence, seed)
        accuracy |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
        auc = macro_auc_interval(labels, probs, confidence, cases)
        area |= {name: auc.auc, f"{name}_low": auc.low, f"{name}_high": auc.high}
    pair = bootstrap.paired_by_case(
        metric, labels, called["fused"], called["alone"], cases, replicates, confidence, seed
    )
    pair_auc = compare_macro_auc(labels, fused, alone, cases, confidence)
    for row, one in ((accuracy, pair), (area, pair_auc)):
        row |= {"difference": one.difference, "low": one.low, "high": one.high, "p_value": one.p_value}
        row["reason"] = getattr(one, "reason", "")
    return pd.DataFrame([accuracy, area])


def _with_limits(row: Mapping[Any, Any], write: Callable[[float], str]) -> str:
    return f"{write(row['difference'])}{bracketed(row['low'], row['high'], write)}"


def _verdict(accuracy: Mapping[Any, Any], area: Mapping[Any, Any]) -> str:
    """Returns what the two differences say together."""
    names = {"balanced accuracy": accuracy, "macro AUC": area}
    better = [name for name, row in names.items() if row["low"] > 0]
    worse = [name for name, row in names.items() if row["high"] < 0]
    told = [f"it helps by {listed(better)}"] if better else []
    told += [f"it harms by {listed(worse)}"] if worse else []
    open_ = [name for name in names if name not in better + worse]
    if not told:
        return "these cases cannot tell whether it helps"
    return "; ".join(told) + (f"; by {open_[0]} these cases cannot tell" if open_ else "")


def _cells(table: pd.DataFrame, name: str) -> list[str]:
    accuracy, area = table.iloc[[0]], table.iloc[[1]]
    return [*ranged(accuracy, name, percent), *ranged(area, name, decimals)]
