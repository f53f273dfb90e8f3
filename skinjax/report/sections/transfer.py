"""Granularity transfer (thesis, section 4.3 and figure 4-6): a network of coarser classes, started in several ways."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate import bootstrap
from skinjax.evaluate.multiclass import compare_macro_auc, macro_auc_interval
from skinjax.evaluate.subgroups import holm
from skinjax.report.blocks import Block, Column, Figure, Section, Table, Text
from skinjax.report.figures import canvas
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.figures.transfer_plots import curves_compared, fold_means
from skinjax.report.formatting import (
    decimals,
    limits_or_reason,
    listed,
    p_value,
    percent,
    points,
    ranged,
    signed,
    with_range,
)

METRICS = {"accuracy": "Accuracy", "auc": "Macro AUC"}
_SHORT = {"accuracy": "ACC", "auc": "AUC"}


@dataclasses.dataclass(frozen=True, eq=False)
class Variant:
    """One way to start the coarser network.

    Attributes:
      name: Its own, such as "23".
      label: For the figure, such as "23 blocks".
      title: For people, such as "the first 23 of 45 blocks".
      stage: Stage of its networks in the curves.
      probs: float[N, M], what the finished networks say of the photos that they have not seen.
    """

    name: str
    label: str
    title: str
    stage: str
    probs: NDArray[np.floating]


def transfer_section(
    variants: Sequence[Variant],
    *,
    labels: ArrayLike,
    cases: ArrayLike,
    curves: pd.DataFrame,
    level: str,
    references: Sequence[str],
    chosen: str,
    notes: Sequence[str] = (),
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Section:
    """Builds Figure 4-6, a table of all ways, their paired differences, and whether transfer starts and ends higher.

    Intervals and tests are by case and of the finished networks. After single epochs only each fold's figures
    are known, so those are means over folds, without intervals.

    Args:
      variants: The ways, the one that takes over least first; at least one.
      labels: int[N], true coarser classes in [0, M).
      cases: [N], the case of each photo.
      curves: Rows of `stage`, `fold`, `epoch`, `split`, `accuracy` and `auc`; those of split "test" are used.
      level: Name of the coarser level.
      references: Names of the ways that take nothing over; all others, and the later of these, are compared with
        each. May be empty.
      chosen: Name of the way whose network is fused.
      notes: Sentences on how the ways were taken.
      replicates: Number of bootstrap replicates.
      confidence: Confidence level of every interval, in (0, 1).
      seed: Seed of the bootstrap.

    Returns:
      The section, called "transfer".

    Raises:
      ValueError: No variant, names or stages that are there twice, an unknown reference or chosen way, or a stage
        without curves.
    """
    _check(variants, curves, references, chosen)
    test = curves[(curves["split"] == "test") & curves["stage"].isin([one.stage for one in variants])]
    truth, groups = np.asarray(labels), np.asarray(cases)
    draws = (groups, replicates, confidence, seed)
    table = _figures(variants, truth, draws, test, references)
    pairs = _pairs(variants, truth, draws, references)
    blocks: list[Block] = [Text(_answer(variants, table, pairs, test, references, chosen, confidence))]
    if len(variants) > 1:
        blocks.append(Text(_highest(variants, table)))
    blocks += [_figure(variants, test, level), _shown(table, chosen, references, confidence)]
    if len(pairs):
        blocks.append(_shown_pairs(variants, pairs))
    reference = {one.name: one for one in variants}[references[-1]] if references else None
    blocks.append(Text(_remarks(pairs, reference), small=True))
    blocks += [Text(note, small=True) for note in notes]
    return Section("transfer", "Granularity transfer", tuple(blocks))


def _check(variants: Sequence[Variant], curves: pd.DataFrame, references: Sequence[str], chosen: str) -> None:
    if not variants:
        raise ValueError("variants must hold one at least, got none")
    for what in ("name", "stage"):
        values = [getattr(one, what) for one in variants]
        if len(set(values)) < len(values):
            raise ValueError(f"variants must differ in their {what}s, got {', '.join(values)}")
    names = [one.name for one in variants]
    for argument, value in (*(("references", one) for one in references), ("chosen", chosen)):
        if value not in names:
            raise ValueError(f"{argument} must be among the variants {', '.join(names)}, got {value!r}")
    known = set(curves.loc[curves["split"] == "test", "stage"])
    if absent := [one.stage for one in variants if one.stage not in known]:
        raise ValueError(f"curves must have test rows of the stage {absent[0]!r}, which are missing")


def _figures(
    variants: Sequence[Variant], truth: NDArray, draws: tuple, test: pd.DataFrame, references: Sequence[str]
) -> pd.DataFrame:
    """Returns one row per way: first epoch, best one and last; and when it reaches the reference's end."""
    cases, _, confidence, _ = draws
    base = {one.name: one.stage for one in variants}[references[-1]] if references else None
    rows = []
    for one in variants:
        row: dict[str, float | str] = {"variant": one.name, "label": one.label, "start": one.title}
        for name in METRICS:
            means = fold_means(test[test["stage"] == one.stage], name)
            row |= {
                f"{name}_first": float(means.iloc[0]) if len(means) else np.nan,
                f"{name}_best": float(means.max()) if len(means) else np.nan,
                f"{name}_best_epoch": int(means.index[int(means.argmax())]) if len(means) else np.nan,
                f"{name}_epochs_to_reference": _reaches(
                    means, fold_means(test[test["stage"] == base], name) if base else means[:0]
                ),
            }
        found = bootstrap.by_case(bootstrap.accuracy, (truth, one.probs.argmax(axis=1)), *draws)
        area = macro_auc_interval(truth, one.probs, confidence, cases)
        row |= {"accuracy": found.estimate, "accuracy_low": found.low, "accuracy_high": found.high}
        row |= {"auc": area.auc, "auc_low": area.low, "auc_high": area.high}
        rows.append(row)
    return pd.DataFrame(rows)


def _reaches(means: pd.Series, reference: pd.Series) -> float:
    """Returns the first epoch at which a curve is as high as another one's end; NaN where it never is."""
    reached = means.index[means >= reference.iloc[-1]] if len(reference) else []
    return float(reached[0]) if len(reached) else np.nan


def _pairs(
    variants: Sequence[Variant], truth: NDArray, draws: tuple, references: Sequence[str]
) -> pd.DataFrame:
    """Returns the finished networks' paired differences from each reference, with Holm's correction per metric."""
    cases, replicates, confidence, seed = draws
    by_name = {one.name: one for one in variants}
    rows = []
    for place, reference in enumerate(references):
        base = by_name[reference]
        for one in variants:
            if one.name in references[: place + 1]:
                continue
            of_accuracy = bootstrap.paired_by_case(
                bootstrap.accuracy, truth, one.probs.argmax(axis=1), base.probs.argmax(axis=1),
                cases, replicates, confidence, seed,
            )  # fmt: skip
            of_auc = compare_macro_auc(truth, one.probs, base.probs, cases, confidence)
            for metric, found in (("accuracy", of_accuracy), ("auc", of_auc)):
                rows.append(
                    {
                        "metric": metric, "variant": one.name, "reference": reference,
                        "difference": found.difference, "low": found.low, "high": found.high,
                        "p_value": found.p_value,
                    }
                )  # fmt: skip
    columns = ["metric", "variant", "reference", "difference", "low", "high", "p_value"]
    table = pd.DataFrame(rows, columns=columns).sort_values("metric", kind="stable", ignore_index=True)
    table["holm_p_value"] = np.nan
    for metric in METRICS:
        own = table["metric"] == metric
        table.loc[own, "holm_p_value"] = holm(table.loc[own, "p_value"].astype(np.float64))
    return table


def _answer(
    variants: Sequence[Variant],
    table: pd.DataFrame,
    pairs: pd.DataFrame,
    test: pd.DataFrame,
    references: Sequence[str],
    chosen: str,
    confidence: float,
) -> str:
    """Says whether transfer starts higher and ends higher than the strongest start without it."""
    takes = [one for one in variants if one.name not in references]
    if not takes or not references:
        return "Whether transfer helps cannot be said: it needs a way that takes layers over and one that takes none."
    one = next((each for each in takes if each.name == chosen), takes[-1])
    base = {each.name: each for each in variants}[references[-1]]
    found = {str(record["variant"]): record for record in table.to_dict("records")}
    row, other = found[one.name], found[base.name]
    first = test[test["stage"] == one.stage]["epoch"].min()
    by_fold = test[test["epoch"] == first].pivot_table(index="fold", columns="stage", values="accuracy")
    more = int((by_fold[one.stage] > by_fold[base.stage]).sum())
    pair = pairs[
        (pairs["metric"] == "accuracy") & (pairs["variant"] == one.name) & (pairs["reference"] == base.name)
    ].iloc[0]
    limits = limits_or_reason(pair["low"], pair["high"], points, pair.get("reason", ""))
    change = ", ".join(filter(None, (f"{points(pair['difference'])} points", limits)))
    tested = "" if np.isnan(pair["holm_p_value"]) else f"; Holm’s {p_value(pair['holm_p_value'])}"
    verdict = (
        "not shown to differ"
        if not pair["holm_p_value"] <= 1 - confidence
        else f"so transfer ends {'higher' if pair['difference'] > 0 else 'lower'}"
    )
    ahead = row["accuracy_first"] - other["accuracy_first"]
    beginning = "starts no higher"
    if ahead > 0:
        beginning = "starts higher" if more == len(by_fold) else "starts higher on average"
    elif ahead < 0:
        beginning = "starts lower" if more == 0 else "starts lower on average"
    return (
        f"Transfer {beginning}: after epoch {first}, “{one.label}” predicts the right one of {one.probs.shape[1]} "
        f"classes for {percent(row['accuracy_first'])} of the held-out photos, “{base.label}” for "
        f"{percent(other['accuracy_first'])} (means over folds; the former is ahead in {more} of {len(by_fold)}). In "
        f"the end they stand at {percent(row['accuracy'])} and {percent(other['accuracy'])}, {verdict} "
        f"({change}{tested})."
    )


def _highest(variants: Sequence[Variant], table: pd.DataFrame) -> str:
    """Names the way that is highest after the first epoch, and the one that is in the end."""
    shown = []
    for column in ("accuracy_first", "accuracy"):
        values = table[column].to_numpy(np.float64)
        top = np.flatnonzero(np.isclose(values, np.nanmax(values), rtol=0, atol=1e-12))
        shown.append(listed([f"“{variants[int(place)].label}”" for place in top]))
    return f"The highest accuracy after the first epoch is that of {shown[0]}, in the end that of {shown[1]}."


def _figure(variants: Sequence[Variant], test: pd.DataFrame, level: str) -> Figure:
    labels = {one.stage: one.label for one in variants}
    right = canvas.text_width(list(labels.values()), 9) + 10
    panels = []
    for column, title in METRICS.items():
        ends = {one.label: fold_means(test[test["stage"] == one.stage], column) for one in variants}
        shown = ", ".join(f"{name} {decimals(means.iloc[-1])}" for name, means in ends.items() if len(means))
        panels.append(
            panel(
                f"transfer_{column}",
                (330 + right, 290),
                (38, 36, right, 26),
                functools.partial(curves_compared, curves=test, column=column, labels=labels),
                f"{title} against epochs; after the last: {shown}.",
                f"{title}, level “{level}”",
            )
        )
    folds = test["fold"].nunique()
    thin = f": thin lines are the {folds} folds, thick ones their mean" if folds > 1 else ""
    caption = (
        f"Held-out photos against epochs, by how the network was started{thin}. All start with the same head and see "
        "the same photos in the same order. As in figure 4-6 of the thesis, on photos of one’s own"
        + ("; that figure has no random start." if any(one.name == "random" for one in variants) else ".")
    )
    columns = ["stage", "fold", "epoch", *METRICS]
    return Figure(Picture("transfer", tuple(panels), caption, test[columns].reset_index(drop=True)))


def _shown(table: pd.DataFrame, chosen: str, references: Sequence[str], confidence: float) -> Table:
    titles = [
        f"{str(row.start)[:1].upper()}{str(row.start)[1:]}" + ("\nfused" if row.variant == chosen else "")
        for row in table.itertuples(index=False)
    ]
    cells: dict[str, list[str]] = {name: [] for name in ("first", "best", "end", "epochs")}
    for name in METRICS:
        write = percent if name == "accuracy" else decimals
        cells["first"] += [write(value) for value in table[f"{name}_first"]]
        cells["best"] += [
            write(value) if pd.isna(epoch) else f"{write(value)}\nepoch {epoch:.0f}"
            for value, epoch in zip(table[f"{name}_best"], table[f"{name}_best_epoch"], strict=True)
        ]
        cells["end"] += ranged(table, name, write)
        cells["epochs"] += [
            "–" if pd.isna(value) else f"{value:.0f}" for value in table[f"{name}_epochs_to_reference"]
        ]
    columns = [
        Column("Start", titles * len(METRICS)),
        Column("First epoch", cells["first"]),
        Column("Best epoch (optimistic)", cells["best"]),
        Column(f"In the end, {100 * confidence:g}% interval", cells["end"]),
    ]
    if references:
        columns.append(Column("Epochs to the reference", cells["epochs"]))
    group = [title for title in METRICS.values() for _ in titles]
    return Table("transfer", table, tuple(columns), group=group)


def _shown_pairs(variants: Sequence[Variant], pairs: pd.DataFrame) -> Table:
    label = {one.name: one.label for one in variants}
    rows = pairs.to_dict("records")
    shown = [
        with_range(write(row["difference"]), row["low"], row["high"], write)
        for row in rows
        for write in [signed if row["metric"] == "auc" else points]
    ]
    columns = (
        Column("Start", [f"{label[row['variant']]} less {label[row['reference']]}" for row in rows]),
        Column("Difference", shown),
        Column("p", [p_value(row["p_value"]) for row in rows]),
        Column("Holm’s p", [p_value(row["holm_p_value"]) for row in rows]),
    )
    heading = {"accuracy": "Accuracy, percentage points", "auc": "Macro AUC"}
    return Table("transfer_pairs", pairs, columns, group=[heading[row["metric"]] for row in rows])


def _remarks(pairs: pd.DataFrame, reference: Variant | None) -> str:
    words = (
        "First and best epoch are means over folds, as drawn. The best epoch was picked by looking at the held-out "
        "photos, so it flatters. In the end means the finished networks’ stored predictions, all folds pooled. A "
        "network that takes layers over rests on the finest network’s training too, which is not counted as its epochs."
    )
    if reference is not None:
        words += (
            f" Epochs to the reference are those until the mean over folds reaches the last one of "
            f"“{reference.label}”; a dash means never."
        )
    if len(pairs):
        count = int((pairs["metric"] == "accuracy").sum())
        words += (
            " Differences are of the finished networks on the same photos, by case: paired bootstrap for accuracy, "
            f"the clustered test for macro AUC; Holm’s p is corrected for the {count} pairs, each figure by itself."
        )
    return words
