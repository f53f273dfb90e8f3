"""Discrimination: ROC curves with intervals, operating points, precision against recall."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate import bootstrap
from skinjax.evaluate.delong import AucInterval, auc_interval
from skinjax.evaluate.multiclass import MacroAucInterval
from skinjax.evaluate.precision_recall import (
    PrecisionRecallCurve,
    precision_recall_curve,
    weighted_average_precision,
)
from skinjax.evaluate.proportions import Proportion, proportion_by_case
from skinjax.evaluate.roc import roc_curve, youden
from skinjax.evaluate.roc_band import roc_band
from skinjax.report import crossfit, figures_roc
from skinjax.report.blocks import Block, Column, Figure, Section, Table, Text, unanswered
from skinjax.report.formatting import cell, decimals, percent, ranged, with_range
from skinjax.report.pictures import Picture, panel
from skinjax.report.study import Study, Target

MOST_AVERAGED = 200_000
"""Photos beyond which average precision is given without its interval, which would take minutes."""

_SIZE, _MARGINS = (360, 330), (44, 40, 10, 10)
_POINTS_OF_ALL = 15_000  # that the thin curves of many classes have together
_CALLS = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")


@dataclasses.dataclass(frozen=True, eq=False)
class TargetFacts:
    """How well the target is told from the rest.

    Attributes:
        auc: the area with its interval.
        thresholds: Youden's, each part's fitted on the others; None where that cannot be done.
        calls: sensitivity, specificity, positive and negative predictive value of those thresholds; None
            where they, or the photos that one is a share of, are missing.
    """

    auc: AucInterval
    thresholds: crossfit.Thresholds | None
    calls: dict[str, Proportion | None]


def target_facts(study: Study) -> TargetFacts | None:
    """How well the study's target is told from the rest; None without a target, or where it is all or nothing."""
    target = study.target
    if target is None or target.why_not():
        return None
    area = auc_interval(target.labels, target.scores, study.confidence, study.cases)
    found = None if study.parts is None else crossfit.thresholds(target.labels, target.scores, study.parts)
    calls = shares_of_calls(study, target, found.called) if found is not None else {}
    return TargetFacts(area, found, calls)


def shares_of_calls(study: Study, target: Target, called: NDArray[np.bool_]) -> dict[str, Proportion | None]:
    """Sensitivity, specificity and predictive values of calls, with intervals by case.

    Args:
        study: of N photos.
        target: of the study.
        called: bool[N], called positive.

    Returns:
        By name; None where there is no photo that it would be a share of.
    """
    truth = target.labels
    parts = {
        "sensitivity": (truth, called),
        "specificity": (~truth, ~called),
        "positive_predictive_value": (called, truth),
        "negative_predictive_value": (~called, ~truth),
    }
    return {
        name: proportion_by_case(right[among], study.cases[among], study.confidence) if among.any() else None
        for name, (among, right) in parts.items()
    }


def roc_section(study: Study, facts: TargetFacts | None, areas: dict[str, MacroAucInterval]) -> Section:
    """The curve of the target with its band and operating point, or those of all classes."""
    if study.target is None:
        return _of_classes(study, areas[study.taxonomy.finest])
    if facts is None:
        return unanswered("roc", "ROC curve", study.target.why_not())
    target = study.target
    curve = roc_curve(target.labels, target.scores)
    band = roc_band(
        target.labels, target.scores, study.cases, None, study.replicates, study.confidence, study.seed
    )
    sensitivity, specificity = (facts.calls.get(name) for name in ("sensitivity", "specificity"))
    point = None
    if sensitivity is not None and specificity is not None:
        point = (sensitivity.estimate, specificity.estimate)
    kept = figures_roc.thin(1 - curve.specificity, curve.sensitivity)
    data = pd.concat(
        [
            pd.DataFrame(
                {
                    "part": "curve",
                    "one_minus_specificity": 1 - curve.specificity[kept],
                    "sensitivity": curve.sensitivity[kept],
                    "threshold": curve.thresholds[kept],
                }
            ),
            pd.DataFrame(
                {
                    "part": "band",
                    "one_minus_specificity": 1 - band.specificity,
                    "sensitivity": band.sensitivity,
                    "low": band.low,
                    "high": band.high,
                }
            ),
        ],
        ignore_index=True,
    )
    if point is not None:
        place = pd.DataFrame(
            {"part": "operating point", "one_minus_specificity": [1 - point[1]], "sensitivity": [point[0]]}
        )
        data = pd.concat([data, place], ignore_index=True)
    area = with_range(decimals(facts.auc.auc), facts.auc.low, facts.auc.high).replace("\n", ", ")
    drawing = panel(
        "roc", _SIZE, _MARGINS,
        lambda axes: figures_roc.roc(axes, curve, study.name, band, point),
        f"ROC curve of {target.title} against the rest, area {decimals(facts.auc.auc)}.",
        legend="lower right",
    )  # fmt: skip
    caption = (
        f"{target.title} against the rest. Area under the curve {area} (DeLong’s {study.level} interval, "
        f"clustered by case, in log odds). The band holds the sensitivity at each specificity over resampled "
        f"cases, point by point."
    )
    blocks: list[Block] = [Figure(Picture("roc", (drawing,), caption, data)), *_operating(study, facts)]
    return Section("roc", "ROC curve", tuple(blocks))


def _operating(study: Study, facts: TargetFacts) -> list[Block]:
    """The thresholds and what they do."""
    target = study.target
    assert target is not None
    best = youden(target.labels, target.scores)
    rows = []
    if facts.thresholds is not None:
        lowest, highest = facts.thresholds.values.min(), facts.thresholds.values.max()
        rows.append(("cross-fitted", lowest, highest, facts.calls))
    own = shares_of_calls(study, target, target.scores >= best.threshold)
    rows.append(("fitted on these photos", best.threshold, best.threshold, own))
    records = []
    for rule, lowest, highest, calls in rows:
        record: dict[str, object] = {"rule": rule, "threshold_low": lowest, "threshold_high": highest}
        for name in _CALLS:
            share = calls[name]
            values = (np.nan,) * 3 if share is None else (share.estimate, share.low, share.high)
            record |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
        records.append(record)
    data = pd.DataFrame(records)
    limits = zip(data["threshold_low"], data["threshold_high"], strict=True)
    columns = [
        Column("Youden’s threshold", [rule[:1].upper() + rule[1:] for rule in data["rule"]]),
        Column("Threshold", [cell(a) if a == b else f"{cell(a)} to {cell(b)}" for a, b in limits]),
    ]
    columns += [Column(name.replace("_", " ").capitalize(), ranged(data, name, percent)) for name in _CALLS]
    if facts.thresholds is not None:
        words = (
            f"For every photo the cross-fitted threshold was chosen on {study.other_cases}: these figures are to "
            "be quoted. The threshold fitted on the photos themselves makes theirs look better than they are. "
        )
    else:
        words = (
            "The threshold was fitted on the photos themselves, which makes the figures look better than they "
            "are: the other cases hold too few photos of one class to fit it there. "
        )
    words += (
        "Missed diagnoses are 100% less the sensitivity, misdiagnoses 100% less the specificity. Predictive "
        f"values hold where {percent(float(target.labels.mean()))} of photos are positive, as here."
    )
    return [Table("operating_points", data, tuple(columns)), Text(words, small=True)]


def _of_classes(study: Study, area: MacroAucInterval) -> Section:
    answers, probs = study.fine, study.probs
    present = [k for k, one in enumerate(area.per_class) if not np.isnan(one.auc)]
    if not present:
        return unanswered(
            "roc", "ROC curves", "All photos are of one class, so there is nothing to tell apart."
        )
    curves = [roc_curve(answers.labels == k, probs[:, k]) for k in present]
    points = _points(len(present))
    means: list[NDArray] = []
    drawing = panel(
        "roc", _SIZE, _MARGINS,
        lambda axes: means.append(figures_roc.roc_classes(axes, curves, points)[1]),
        f"ROC curves of {len(present)} classes, each against the rest; mean area {decimals(area.auc)}.",
        legend="lower right",
    )  # fmt: skip
    parts = []
    for k, curve in zip(present, curves, strict=True):
        kept = figures_roc.thin(1 - curve.specificity, curve.sensitivity, points)
        parts.append(
            pd.DataFrame(
                {
                    "class": answers.classes[k],
                    "one_minus_specificity": 1 - curve.specificity[kept],
                    "sensitivity": curve.sensitivity[kept],
                }
            )
        )
    mean = pd.DataFrame(means[0], columns=["one_minus_specificity", "sensitivity"])
    parts.append(mean.assign(**{"class": "(mean)"})[list(parts[0].columns)])
    told = with_range(decimals(area.auc), area.low, area.high).replace("\n", ", ")
    values = {answers.titles[k]: area.per_class[k].auc for k in present}
    best, worst = max(values, key=lambda name: values[name]), min(values, key=lambda name: values[name])
    caption = (
        f"Each of {len(present)} classes against the rest (thin), and the mean of these curves (thick). Mean area "
        f"{told} ({study.level} interval by case); the largest is that of {best}, {decimals(values[best])}, the "
        f"smallest that of {worst}, {decimals(values[worst])}. Each class’s own is in the table of classes."
    )
    data = pd.concat(parts, ignore_index=True)
    return Section("roc", "ROC curves", (Figure(Picture("roc", (drawing,), caption, data)),))


def precision_recall_section(study: Study) -> Section:
    """Precision against recall of the target, or of all classes."""
    title = "Precision and recall"
    if study.target is not None:
        events = {study.target.title: (study.target.labels, study.target.scores)}
    else:
        events = {
            study.fine.titles[k]: (study.labels == k, study.probs[:, k])
            for k in range(study.probs.shape[1])
            if (study.labels == k).any()
        }
    if study.target is not None and not study.target.labels.any():
        return unanswered("precision_recall", title, study.target.why_not())
    curves = {name: precision_recall_curve(*event) for name, event in events.items()}
    points = _points(len(curves))
    table = _average_precision(study, events, curves)
    prevalence = float(study.target.labels.mean()) if study.target is not None else None
    drawing = panel(
        "precision_recall", _SIZE, _MARGINS,
        lambda axes: figures_roc.precision_recall(axes, list(curves.values()), prevalence, points),
        f"Precision against recall, {len(curves)} curve{'s' * (len(curves) > 1)}.",
        legend="lower left" if prevalence is not None else "",
    )  # fmt: skip
    mean = float(table["average_precision"].mean())
    if study.target is not None:
        low, high = table[["average_precision_low", "average_precision_high"]].to_numpy(np.float64)[0]
        told = with_range(decimals(mean), low, high).replace("\n", ", ")
        caption = f"{study.target.title}: average precision {told}."
    else:
        caption = f"Each class against the rest; the mean of their average precisions is {decimals(mean)}."
    if table["average_precision_low"].isna().all() and study.num_cases > 1:
        caption += " Its interval was left out for the number of photos."
    caption += " Precision depends on how common a class is among these photos."
    figure = Figure(Picture("precision_recall", (drawing,), caption, _curve_data(curves, points)))
    columns: tuple[Column, ...] = ()
    if study.target is None:
        columns = (
            Column("Class", list(table["class"])),
            Column("Average precision", ranged(table, "average_precision")),
            Column("Of the photos", [percent(v) for v in table["prevalence"]], number=True),
        )
    block = Table("average_precision", table, columns, "Average precision of each class", folded=True)
    return Section("precision_recall", title, (figure, block))


def _average_precision(
    study: Study, events: dict[str, tuple[NDArray, NDArray]], curves: dict[str, PrecisionRecallCurve]
) -> pd.DataFrame:
    rows = []
    draws = study.replicates * len(study.labels) * len(events)
    with_interval = len(study.labels) <= MOST_AVERAGED and draws <= 4e8
    for name, event in events.items():
        area = float(np.diff(curves[name].recall, prepend=0) @ curves[name].precision)
        row = {"class": name, "average_precision": area}
        low, high = np.nan, np.nan
        if with_interval:
            found = bootstrap.by_case(
                weighted_average_precision, event, study.cases, study.replicates, study.confidence, study.seed
            )
            low, high = found.low, found.high
        rows.append(
            row
            | {
                "average_precision_low": low,
                "average_precision_high": high,
                "prevalence": float(event[0].mean()),
            }
        )
    return pd.DataFrame(rows)


def _curve_data(curves: dict[str, PrecisionRecallCurve], points: int) -> pd.DataFrame:
    parts = []
    for name, curve in curves.items():
        kept = figures_roc.thin(curve.recall, curve.precision, points)
        parts.append(
            pd.DataFrame({"class": name, "recall": curve.recall[kept], "precision": curve.precision[kept]})
        )
    return pd.concat(parts, ignore_index=True)


def _points(curves: int) -> int:
    """Points that each of several curves is drawn with."""
    return max(20, min(figures_roc.MOST_POINTS, 2 * (_POINTS_OF_ALL // curves // 2)))
