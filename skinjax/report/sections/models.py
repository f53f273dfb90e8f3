"""Several models on the same photos, compared pairwise."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.data.predictions import Predictions
from skinjax.evaluate import bootstrap
from skinjax.evaluate.delong import AucInterval, auc_interval, compare
from skinjax.evaluate.fewest import too_few_cases
from skinjax.evaluate.multiclass import all_macro_auc_pairs, macro_auc_interval
from skinjax.evaluate.pairs import all_pairs_by_case
from skinjax.evaluate.results import ComparisonResult
from skinjax.evaluate.roc_band import roc_band, sensitivity_at_specificity
from skinjax.evaluate.subgroups import holm
from skinjax.report.blocks import Block, Column, Figure, Table, Text
from skinjax.report.figures import canvas, group_plots
from skinjax.report.figures.pictures import Picture, panel
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
from skinjax.report.sections.model_figures import confusion_figure, roc_figure
from skinjax.report.study import Study
from skinjax.report.tables.methods import TOP, interval_columns, top_answers

_TITLES = {
    "macro_f1": "Macro F1", "accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy",
    "top_3": "Top-3 accuracy", "auc": "Macro AUC",
}  # fmt: skip
_AT_SPECIFICITY = 0.9
"""Specificity at which models' sensitivities for the target are compared."""

MOST_RANKED = 20_000
"""Photos beyond which these are not, as it would take minutes."""
_METRICS = {
    "macro_f1": bootstrap.macro_f1,
    "accuracy": bootstrap.accuracy,
    "balanced_accuracy": bootstrap.balanced_accuracy,
    "top_3": bootstrap.accuracy,
}


def other_studies(main: Study, others: Mapping[str, Predictions]) -> dict[str, Study]:
    """Returns the other models' answers, their photos in the order of the first one's.

    Args:
      main: The first model.
      others: Predictions of the same photos by name of the model, in any order.

    Returns:
      A study per model.

    Raises:
      ValueError: Other photos, labels or classes than the first model's, or a name that is given twice.
    """
    found = {}
    images = pd.Index(main.predictions.image)
    for name, predictions in others.items():
        if name == main.name:
            raise ValueError(f"others must have names of their own, got {name!r}, which is the model's")
        if (predictions.taxonomy.levels, predictions.taxonomy.paths) != (
            main.taxonomy.levels,
            main.taxonomy.paths,
        ):
            raise ValueError(
                f"others must have the taxonomy of the predictions, {main.taxonomy.name!r}, got {name!r} with "
                f"{predictions.taxonomy.name!r}"
            )
        places = pd.Index(predictions.image).get_indexer(images)
        lacking = int((places < 0).sum())
        if lacking or len(predictions) != len(images):
            more = len(predictions) - (len(images) - lacking)
            raise ValueError(
                f"others must hold the same photos as the predictions, got {name!r} with {lacking} missing and "
                f"{more} more"
            )
        predictions = predictions.take(places)
        differ = int((predictions.label != main.predictions.label).sum())
        if differ:
            raise ValueError(
                f"others must have the labels of the predictions, got {name!r} with {differ} others"
            )
        own = Study.from_predictions(
            predictions,
            name=name,
            coarse_level=main.coarse_level,
            target=main.target.classes if main.target else (),
            confidence=main.confidence,
            replicates=main.requested_replicates,
            seed=main.seed,
            noun=main.noun,
        )
        found[name] = dataclasses.replace(
            own, cases=main.cases, calibration_parts=main.calibration_parts, by_fold=main.by_fold
        )
    return found


def models_blocks(main: Study, others: Mapping[str, Study]) -> tuple[list[Block], str]:
    """Builds each model's figures with intervals, the differences of all pairs, and curves and confusion matrices.

    Args:
      main: The first model.
      others: At least one other, by name.

    Returns:
      The blocks, and a sentence for the top of the page on how the first compares with the others.
    """
    models = {main.name: main, **others}
    metrics = _metrics(main)
    table = pd.DataFrame([{"model": name} | _figures(model, metrics) for name, model in models.items()])
    pairs = _pairs(models, metrics)
    few = "" if main.target is None else too_few_cases(main.target.labels, main.cases)
    by_area = f"AUC of {main.target.title}" if "auc" in metrics and main.target else "macro AUC"
    methods = {model.method for model in models.values()}
    words = (
        "Differences are of the first named less the second, on the same photos, with intervals and p-values by "
        f"case: DeLong’s clustered test for the {by_area}, paired bootstrap for the others."
    )
    if (count := len(pairs) // max(len(metrics), 1)) > 1:
        words += (
            f" The corrected p is for all {count} pairs together, for each figure by itself: single-step maxT over the "
            f"resampled cases for the bootstrap’s, Holm’s for the {by_area}."
        )
    if few:
        words += f" For the target no test is made: {few}."
    if methods != {"flat"}:
        words += (
            " Where a coarse network’s answers stand in a model’s predictions, it answers by soft fusion."
        )
    curves = (
        roc_figure(models, dict(zip(table["model"], table["auc"], strict=True))) if "auc" in metrics else None
    )
    blocks: list[Block] = [
        _figure(main, table, metrics),
        _shown(table, metrics),
        *([] if curves is None else [curves]),
        _shown_pairs(pairs, metrics),
        Text(words, small=True),
        confusion_figure(others),
    ]
    return blocks, _verdict(main, table, pairs)


def _verdict(main: Study, table: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Says how often the first model names the right class beside the others, by paired tests of accuracy."""
    shares = dict(zip(table["model"], table["accuracy"], strict=True))
    groups: dict[str, list[str]] = {"more often than": [], "less often than": [], "": []}
    for row in pairs[(pairs["metric"] == "accuracy") & (pairs["first"] == main.name)].to_dict("records"):
        known = row["corrected_p_value"] <= 1 - main.confidence
        key = "" if not known else "more often than" if row["difference"] > 0 else "less often than"
        limits = bracketed(
            row["low"], row["high"], points, row["reason"], before=f"{points(row['difference'])} points, "
        )
        groups[key].append(f"“{row['second']}” with {percent(shares[str(row['second'])])}{limits}")
    clear = [f"is right {key} {listed(names)}" for key, names in groups.items() if key and names]
    unclear = [f"cannot be distinguished from {listed(groups[''])}"] if groups[""] else []
    several = ", corrected for their number" if len(table) > 2 else ""
    return (
        f"On the same photos “{main.name}”, right for {percent(shares[main.name])}, "
        f"{' and '.join([*clear, *unclear])} (paired tests by case{several})."
    )


def _metrics(main: Study) -> dict[str, str]:
    titles = dict(_TITLES)
    if len(main.fine.classes) <= TOP:
        titles.pop("top_3")
    if main.target is not None:
        titles.pop("auc")
        if not main.target.why_not():
            titles["auc"] = f"AUC of {main.target.title}"
            if len(main.labels) <= MOST_RANKED:
                titles["sensitivity"] = f"Sensitivity at {100 * _AT_SPECIFICITY:g}% specificity"
    return titles


def _figures(model: Study, metrics: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    draws = (model.cases, model.replicates, model.confidence, model.seed)
    for name in [name for name in _METRICS if name in metrics]:
        found = bootstrap.by_case(_METRICS[name], (model.labels, _answers(model, name)), *draws)
        row |= interval_columns(name, found)
    if "sensitivity" in metrics and model.target is not None:
        cases, replicates, confidence, seed = draws
        band = roc_band(
            model.target.labels, model.target.scores, cases, [_AT_SPECIFICITY], replicates, confidence, seed
        )
        row |= {
            "sensitivity": band.sensitivity[0],
            "sensitivity_low": band.low[0],
            "sensitivity_high": band.high[0],
            "sensitivity_reason": band.reason,
        }
    if "auc" in metrics:
        area = (
            macro_auc_interval(model.labels, model.probs, model.confidence, model.cases)
            if model.target is None
            else auc_interval(model.target.labels, model.target.scores, model.confidence, model.cases)
        )
        row |= {"auc": area.auc, "auc_low": area.low, "auc_high": area.high, "auc_reason": _reason(area)}
    return row


def _answers(model: Study, name: str) -> NDArray[np.integer]:
    """Returns int[N], what a figure is of beside the labels."""
    return top_answers(model.labels, model.probs) if name == "top_3" else model.predicted


def _reason(found: AucInterval | ComparisonResult) -> str:
    """Returns why an area, or a difference, has no interval; empty where it has one or is not defined itself."""
    if isinstance(found, bootstrap.BootstrapComparison):
        return found.reason
    value = found.auc if isinstance(found, AucInterval) else found.difference
    return bootstrap.ONE_CASE_OF_A_CLASS if np.isnan(found.low) and not np.isnan(value) else ""


def _pairs(models: Mapping[str, Study], metrics: Mapping[str, str]) -> pd.DataFrame:
    rows = []
    target = next(iter(models.values())).target
    for name in metrics:
        few = ""
        if name in ("auc", "sensitivity") and target is not None:
            few = too_few_cases(target.labels, next(iter(models.values())).cases)
        found = _areas(models) if name == "auc" else _bootstrapped(models, name)
        rows += [
            {
                "metric": name,
                "first": one,
                "second": two,
                "difference": compared.difference,
                "low": np.nan if few else compared.low,
                "high": np.nan if few else compared.high,
                "reason": few or _reason(compared),
                "p_value": np.nan if few else compared.p_value,
                "corrected_p_value": np.nan if few else corrected,
            }
            for (one, two), (compared, corrected) in found.items()
        ]
    return pd.DataFrame(rows)


_Pairs = Mapping[tuple[str, str], tuple[ComparisonResult, float]]


def _bootstrapped(models: Mapping[str, Study], name: str) -> _Pairs:
    first = next(iter(models.values()))
    how = (first.cases, first.replicates, first.confidence, first.seed)
    if name == "sensitivity" and first.target is not None:
        scores = {key: one.target.scores for key, one in models.items() if one.target is not None}
        metric = sensitivity_at_specificity(_AT_SPECIFICITY)
        return all_pairs_by_case(metric, first.target.labels, scores, *how)
    answers = {key: _answers(model, name) for key, model in models.items()}
    return all_pairs_by_case(_METRICS[name], first.labels, answers, *how)


def _areas(models: Mapping[str, Study]) -> _Pairs:
    found: dict[tuple[str, str], ComparisonResult] = {}
    first = next(iter(models.values()))
    if first.target is None:
        probs = {name: one.probs for name, one in models.items()}
        found |= all_macro_auc_pairs(first.labels, probs, first.cases, first.confidence)
    for (one, a), (two, b) in itertools.combinations(models.items(), 2):
        if a.target is not None and b.target is not None:
            found[one, two] = compare(
                a.target.labels, a.target.scores, b.target.scores, a.cases, a.confidence
            )
    corrected = holm([one.p_value for one in found.values()])
    return {pair: (one, float(p)) for (pair, one), p in zip(found.items(), corrected, strict=True)}


def _figure(main: Study, table: pd.DataFrame, metrics: Mapping[str, str]) -> Figure:
    names = list(table["model"])
    left, height = canvas.text_width(names, 10) + 4, 62 + 24 * len(names)
    panels = []
    for metric, title in metrics.items():
        values = table[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy(np.float64)
        shown = ", ".join(f"{n} {decimals(v)}" for n, v in zip(names, values[:, 0], strict=True))
        panels.append(
            panel(
                f"models_{metric}",
                (left + 220, height),
                (left, 28, 14, 26),
                functools.partial(
                    group_plots.forest,
                    names=names,
                    values=values,
                    overall=float(values[0, 0]),
                    in_percent=metric != "auc",
                ),
                f"{title}: {shown}.",
                title,
            )
        )
    caption = (
        f"Each model with its {main.confidence_percent} interval by case; the line marks the first. Overlapping "
        "intervals do "
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
                with_range(write(row["difference"]), row["low"], row["high"], write, row["reason"])
                for row in rows
                for write in [signed if row["metric"] == "auc" else points]
            ],
        ),
        Column("p", [p_value(row["p_value"]) for row in rows]),
        Column("Corrected p", [p_value(row["corrected_p_value"]) for row in rows]),
    )
    return Table("model_pairs", pairs, columns)
