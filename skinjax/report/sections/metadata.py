"""What columns of the manifest add to the photos: two networks, trained alike with and without them, paired by case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate import bootstrap
from skinjax.evaluate.multiclass import compare_macro_auc, macro_auc_interval
from skinjax.report.blocks import Column, Section, Table, Text
from skinjax.report.formatting import decimals, listed, p_value, percent, points, ranged, signed, with_range

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
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Section, str]:
    """Builds the section, and its finding in a sentence.

    Args:
      labels: int[N], the true classes of photos that neither network has seen.
      cases: [N], the case of each photo.
      fused: float[N, K], probabilities of the network that reads photos and columns.
      alone: float[N, K], of the network that reads photos alone.
      columns: Names of the columns.
      fusion: One of `skinjax.models.metadata.Fusion`.
      replicates: Of the bootstrap.
      confidence: Confidence level of every interval, in (0, 1).
      seed: Seed of the resampling.
    """
    table = metadata_table(labels, cases, fused, alone, replicates, confidence, seed)
    by_metric = {row["metric"]: row for row in table.to_dict("records")}
    row = by_metric["balanced_accuracy"]
    verdict = "cannot be told: no interval" if pd.isna(row["low"]) else _verdict(row["low"], row["high"])
    finding = (
        f"Metadata ({listed(list(columns))}) changes balanced accuracy by {points(row['difference'])} percentage points"
        + ("" if pd.isna(row["low"]) else f" ({points(row['low'])} to {points(row['high'])})")
        + f" and macro AUC by {signed(by_metric['macro_auc']['difference'])}, by case; whether it helps {verdict}."
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
    words = (
        "Both networks have the same backbone, settings, photos and order; one reads the columns too, "
        f"{FUSIONS[fusion]}. Differences ({100 * confidence:g}% intervals) are paired on the same held-out photos: "
        "bootstrap over cases for balanced accuracy, in percentage points, the clustered test for macro AUC. They are "
        "of one training each: another seed gives somewhat other networks."
    )
    return Section(
        ID, TITLE, (Text(finding), Table("metadata", table, shown), Text(words, small=True))
    ), finding


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


def _verdict(low: float, high: float) -> str:
    if low > 0:
        return "is clear: it does"
    return "is clear: it harms" if high < 0 else "cannot be told from these cases"


def _cells(table: pd.DataFrame, name: str) -> list[str]:
    accuracy, area = table.iloc[[0]], table.iloc[[1]]
    return [*ranged(accuracy, name, percent), *ranged(area, name, decimals)]
