"""Several models on the same photos, compared pairwise."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from skinjax.data.predictions import validate
from skinjax.evaluate import bootstrap
from skinjax.evaluate.delong import AucComparison, auc_interval, compare
from skinjax.evaluate.multiclass import compare_macro_auc, macro_auc_interval
from skinjax.evaluate.subgroups import holm
from skinjax.report import figures, figures_groups
from skinjax.report.blocks import Block, Column, Figure, Heading, Table, Text
from skinjax.report.formatting import decimals, p_value, percent, points, ranged, signed, with_range
from skinjax.report.pictures import Picture, panel
from skinjax.report.study import Study, study

_TITLES = {"macro_f1": "Macro F1", "accuracy": "Accuracy", "auc": "Macro AUC"}
_METRICS = {"macro_f1": bootstrap.macro_f1, "accuracy": bootstrap.accuracy}


def other_studies(main: Study, others: Mapping[str, pd.DataFrame]) -> dict[str, Study]:
    """The other models' answers, their photos in the order of the first one's.

    Args:
        main: the first model.
        others: predictions of the same photos by name of the model, in any order.

    Returns:
        A study a model.

    Raises:
        PredictionsError: Predictions that are not valid (a ValueError).
        ValueError: Other photos or other labels than the first model's, or a name that is given twice.
    """
    found = {}
    wanted = pd.Index(main.predictions["image"])
    for name, frame in others.items():
        if name == main.name:
            raise ValueError(f"others must have names of their own, got {name!r}, which is the model's")
        validate(frame, main.taxonomy)
        places = pd.Index(frame["image"]).get_indexer(wanted)
        lacking = int((places < 0).sum())
        if lacking or len(frame) != len(wanted):
            more = len(frame) - (len(wanted) - lacking)
            raise ValueError(
                f"others must hold the same photos as the predictions, got {name!r} with {lacking} missing and "
                f"{more} more"
            )
        frame = frame.iloc[places].reset_index(drop=True)
        differ = (frame["label"].to_numpy(object) != main.predictions["label"].to_numpy(object)).sum()
        if differ:
            raise ValueError(
                f"others must have the labels of the predictions, got {name!r} with {differ} others"
            )
        own = study(
            name, frame, main.taxonomy, main.coarse_level, main.target.classes if main.target else (),
            main.confidence, main.wanted, main.seed,
        )  # fmt: skip
        found[name] = dataclasses.replace(own, cases=main.cases, parts=main.parts, by_fold=main.by_fold)
    return found


def models_blocks(main: Study, others: Mapping[str, Study]) -> list[Block]:
    """Each model's figures with intervals, and the differences of all pairs.

    Args:
        main: the first model.
        others: at least one other, by name.
    """
    models = {main.name: main, **others}
    metrics = _metrics(main)
    table = pd.DataFrame([{"model": name} | _figures(model, metrics) for name, model in models.items()])
    pairs = _pairs(models, metrics)
    by_area = f"AUC of {main.target.title}" if "auc" in metrics and main.target else "macro AUC"
    methods = {model.method for model in models.values()}
    words = (
        "Differences are of the first named less the second, on the same photos, with intervals and p-values by "
        f"case: paired bootstrap for macro F1 and accuracy, DeLong’s clustered test for the {by_area}. Holm’s p is "
        f"corrected for the number of pairs, {len(pairs) // max(len(metrics), 1)}, for each figure by itself."
    )
    if methods != {"flat"}:
        words += (
            " Where a coarse network’s answers stand in a model’s predictions, it answers by soft fusion."
        )
    return [
        Heading("Models compared"),
        _figure(main, table, metrics),
        _shown(table, metrics),
        _shown_pairs(pairs, metrics),
        Text(words, small=True),
    ]


def _metrics(main: Study) -> dict[str, str]:
    titles = dict(_TITLES)
    if main.target is not None:
        titles.pop("auc")
        if not main.target.why_not():
            titles["auc"] = f"AUC of {main.target.title}"
    return titles


def _figures(model: Study, metrics: Mapping[str, str]) -> dict[str, float]:
    row: dict[str, float] = {}
    draws = (model.cases, model.replicates, model.confidence, model.seed)
    for name, metric in _METRICS.items():
        found = bootstrap.by_case(metric, (model.labels, model.predicted), *draws)
        row |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
    if "auc" in metrics:
        area = (
            macro_auc_interval(model.labels, model.probs, model.confidence, model.cases)
            if model.target is None
            else auc_interval(model.target.labels, model.target.scores, model.confidence, model.cases)
        )
        row |= {"auc": area.auc, "auc_low": area.low, "auc_high": area.high}
    return row


def _pairs(models: Mapping[str, Study], metrics: Mapping[str, str]) -> pd.DataFrame:
    rows = []
    found: bootstrap.Comparison | AucComparison
    for (one, a), (two, b) in itertools.combinations(models.items(), 2):
        for name in metrics:
            if name in _METRICS:
                found = bootstrap.paired_by_case(
                    _METRICS[name], a.labels, a.predicted, b.predicted, a.cases, a.replicates, a.confidence, a.seed
                )  # fmt: skip
            elif a.target is not None and b.target is not None:
                found = compare(a.target.labels, a.target.scores, b.target.scores, a.cases, a.confidence)
            else:
                found = compare_macro_auc(a.labels, a.probs, b.probs, a.cases, a.confidence)
            rows.append(
                {
                    "metric": name,
                    "first": one,
                    "second": two,
                    "difference": found.difference,
                    "low": found.low,
                    "high": found.high,
                    "p_value": found.p_value,
                }
            )
    table = pd.DataFrame(rows)
    table["holm_p_value"] = np.nan
    for name in metrics:
        own = table["metric"] == name
        table.loc[own, "holm_p_value"] = holm(table.loc[own, "p_value"])
    return table


def _figure(main: Study, table: pd.DataFrame, metrics: Mapping[str, str]) -> Figure:
    names = list(table["model"])
    left, height = figures.text_width(names, 10) + 4, 62 + 24 * len(names)
    panels = []
    for metric, title in metrics.items():
        values = table[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy(np.float64)
        told = ", ".join(f"{n} {decimals(v)}" for n, v in zip(names, values[:, 0], strict=True))
        panels.append(
            panel(
                f"models_{metric}",
                (left + 220, height),
                (left, 28, 14, 26),
                functools.partial(
                    figures_groups.forest,
                    names=names,
                    values=values,
                    overall=float(values[0, 0]),
                    in_percent=metric != "auc",
                ),
                f"{title}: {told}.",
                title,
            )
        )
    caption = (
        f"Each model with its {main.level} interval by case; the line marks the first. Overlapping intervals do "
        "not mean that models are equal: read the paired differences."
    )
    return Figure(Picture("models", tuple(panels), caption, table))


def _shown(table: pd.DataFrame, metrics: Mapping[str, str]) -> Table:
    columns = [Column("Model", list(table["model"]))]
    for name, title in metrics.items():
        write = decimals if name == "auc" else percent
        columns.append(Column(title, ranged(table, name, write)))
    return Table("models", table, tuple(columns))


def _shown_pairs(pairs: pd.DataFrame, metrics: Mapping[str, str]) -> Table:
    rows = pairs.to_dict("records")
    columns = (
        Column("Models", [f"{row['first']} less {row['second']}" for row in rows]),
        Column("Figure", [metrics[row["metric"]] for row in rows]),
        Column(
            "Difference",
            [
                with_range(write(row["difference"]), row["low"], row["high"], write)
                for row in rows
                for write in [signed if row["metric"] == "auc" else points]
            ],
        ),
        Column("p", [p_value(row["p_value"]) for row in rows]),
        Column("Holm’s p", [p_value(row["holm_p_value"]) for row in rows]),
    )
    return Table("model_pairs", pairs, columns)
