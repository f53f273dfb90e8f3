"""Discrimination: ROC curves with intervals, operating points, precision against recall."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate import bootstrap
from skinjax.evaluate.calls import predictive_value
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
from skinjax.report import crossfit
from skinjax.report.blocks import Block, Column, Figure, Section, Table, Text, unanswered
from skinjax.report.figures import roc_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import cell, decimals, percent, ranged, with_range
from skinjax.report.study import Study, Target
from skinjax.report.tables import methods as tables

MOST_AVERAGED = 200_000
"""Photos beyond which average precision is given without its interval, which would take minutes."""

_SIZE, _MARGINS = (360, 330), (44, 40, 10, 10)
_POINTS_OF_ALL = 15_000  # that the thin curves of many classes have together
SPECIFICITIES = (0.8, 0.9, 0.95)
"""Specificities at which the sensitivity for the target is given."""
_CALLS = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")


@dataclasses.dataclass(frozen=True, eq=False)
class TargetFacts:
    """Performance of the target against the rest.

    Attributes:
      auc: The area with its interval.
      thresholds: Youden's, each part's fitted on the others; None where that cannot be done.
      calls: Sensitivity, specificity, positive and negative predictive value of those thresholds; None
        where they, or the photos that one is a share of, are missing.
    """

    auc: AucInterval
    thresholds: crossfit.Thresholds | None
    calls: dict[str, Proportion | None]


def target_facts(study: Study) -> TargetFacts | None:
    """Returns figures of the target against the rest; None without a target, or where all or no photos show it."""
    target = study.target
    if target is None or target.why_not():
        return None
    area = auc_interval(target.labels, target.scores, study.confidence, study.cases)
    found = (
        None
        if study.calibration_parts is None
        else crossfit.thresholds(target.labels, target.scores, study.calibration_parts)
    )
    calls = shares_of_calls(study, target, found.called) if found is not None else {}
    return TargetFacts(area, found, calls)


def shares_of_calls(study: Study, target: Target, called: NDArray[np.bool_]) -> dict[str, Proportion | None]:
    """Returns sensitivity, specificity and predictive values of calls, with intervals by case.

    Args:
      study: The model's answers for N photos.
      target: Target of the study.
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


def roc_section(
    study: Study,
    facts: TargetFacts | None,
    areas: dict[str, MacroAucInterval],
    prevalence: float | None = None,
) -> Section:
    """Builds the curve of the target with its band and operating point, or those of all classes.

    Args:
      study: The model's answers, and how intervals are made.
      facts: Figures of the target.
      areas: Areas of the classes of each level.
      prevalence: Share of the target where the model will be used, for predictive values; None for these photos' own.
    """
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
    kept = roc_plots.thin(1 - curve.specificity, curve.sensitivity)
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
        lambda axes: roc_plots.roc(axes, curve, study.name, band, point),
        f"ROC curve of {target.title} against the rest, area {decimals(facts.auc.auc)}.",
        legend=True,
    )  # fmt: skip
    caption = (
        f"{target.title} against the rest. Area under the curve {area} (DeLong’s {study.confidence_percent} interval, "
        f"clustered by case, in log odds). The band holds the sensitivity at each specificity over resampled "
        f"cases, point by point."
    )
    blocks: list[Block] = [
        Figure(Picture("roc", (drawing,), caption, data)),
        *_operating(study, facts, prevalence),
        _at_specificities(study, target),
    ]
    return Section("roc", "ROC curve", tuple(blocks))


def _at_specificities(study: Study, target: Target) -> Table:
    """Returns the sensitivity at fixed specificities, whose thresholds these photos themselves have set."""
    band = roc_band(
        target.labels,
        target.scores,
        study.cases,
        SPECIFICITIES,
        study.replicates,
        study.confidence,
        study.seed,
    )
    table = pd.DataFrame(
        {
            "specificity": band.specificity,
            "sensitivity": band.sensitivity,
            "sensitivity_low": band.low,
            "sensitivity_high": band.high,
            "sensitivity_reason": band.reason,
        }
    )
    columns = (
        Column("At a specificity of", [percent(value) for value in band.specificity]),
        Column("Sensitivity", ranged(table, "sensitivity", percent)),
    )
    return Table("fixed_specificity", table, columns)


def _operating(study: Study, facts: TargetFacts, prevalence: float | None) -> list[Block]:
    """Returns the thresholds and what they do."""
    target = study.target
    assert target is not None
    best = youden(target.labels, target.scores)
    share_of_ones = float(target.labels.mean()) if prevalence is None else prevalence
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
    if prevalence is not None:
        called = [
            None if facts.thresholds is None else facts.thresholds.called,
            target.scores >= best.threshold,
        ]
        for record, calls_of_rule in zip(records, called[-len(records) :], strict=True):
            assert calls_of_rule is not None
            record |= _predictive_values(study, target, calls_of_rule, prevalence)
    data = pd.DataFrame(records)
    limits = zip(data["threshold_low"], data["threshold_high"], strict=True)
    columns = [
        Column("Youden’s threshold", [rule[:1].upper() + rule[1:] for rule in data["rule"]]),
        Column("Threshold", [cell(a) if a == b else f"{cell(a)} to {cell(b)}" for a, b in limits]),
    ]
    columns += [Column(name.replace("_", " ").capitalize(), ranged(data, name, percent)) for name in _CALLS]
    if facts.thresholds is not None:
        words = (
            f"For every photo the cross-fitted threshold was chosen on {study.other_cases}: quote these "
            "figures. The threshold fitted on the photos themselves makes theirs look better than they are. "
        )
    else:
        words = (
            "The threshold was fitted on the photos themselves, which makes the figures look better than they "
            "are: the other cases hold too few photos of one class to fit it there. "
        )
    words += (
        "Missed diagnoses are 100% less the sensitivity, misdiagnoses 100% less the specificity. Predictive "
        f"values hold where {percent(share_of_ones)} of photos are positive, "
        f"{'as here' if prevalence is None else 'which was given as the prevalence'}."
    )
    return [Table("operating_points", data, tuple(columns)), Text(words, small=True)]


def _predictive_values(
    study: Study, target: Target, called: NDArray[np.bool_], prevalence: float
) -> dict[str, Any]:
    """Returns predictive values at a prevalence, from sensitivity and specificity, with limits by resampled cases."""
    found: dict[str, Any] = {}
    arrays = (target.labels.astype(np.int64), called.astype(np.int64))
    for name in _CALLS[2:]:
        metric = predictive_value(prevalence, positive=name.startswith("positive"))
        one = bootstrap.by_case(metric, arrays, study.cases, study.replicates, study.confidence, study.seed)
        found |= tables.interval_columns(name, one)
    return found


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
        lambda axes: means.append(roc_plots.roc_classes(axes, curves, points, [answers.titles[k] for k in present])[1]),
        f"ROC curves of {len(present)} classes, each against the rest; mean area {decimals(area.auc)}.",
        legend=True,
    )  # fmt: skip
    parts = []
    for k, curve in zip(present, curves, strict=True):
        kept = roc_plots.thin(1 - curve.specificity, curve.sensitivity, points)
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
    shown = with_range(decimals(area.auc), area.low, area.high).replace("\n", ", ")
    values = {answers.titles[k]: area.per_class[k].auc for k in present}
    best, worst = max(values, key=lambda name: values[name]), min(values, key=lambda name: values[name])
    by_case = "" if np.isnan(area.low) else f" ({study.confidence_percent} interval by case)"
    highest, lowest = decimals(values[best]), decimals(values[worst])
    extremes = f"all classes have {highest}"
    if highest != lowest:
        extremes = f"the largest is that of {best}, {highest}, the smallest that of {worst}, {lowest}"
    caption = (
        f"Each of {len(present)} classes against the rest (thin), and the mean of these curves (thick). Mean area "
        f"{shown}{by_case}; {extremes}. Each class’s own is in the table of classes."
    )
    data = pd.concat(parts, ignore_index=True)
    return Section("roc", "ROC curves", (Figure(Picture("roc", (drawing,), caption, data)),))


def precision_recall_section(study: Study) -> Section:
    """Builds precision against recall of the target, or of all classes."""
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
        lambda axes: roc_plots.precision_recall(axes, list(curves.values()), prevalence, points, list(curves)),
        f"Precision against recall, {len(curves)} curve{'s' * (len(curves) > 1)}.",
        legend=prevalence is not None or 1 < len(curves) <= roc_plots.MOST_LABELLED,
    )  # fmt: skip
    mean = float(table["average_precision"].mean())
    if study.target is not None:
        low, high = table[["average_precision_low", "average_precision_high"]].to_numpy(np.float64)[0]
        shown = with_range(decimals(mean), low, high).replace("\n", ", ")
        caption = f"{study.target.title}: average precision {shown}."
    else:
        caption = f"Each class against the rest; the mean of their average precisions is {decimals(mean)}."
    if not _resampled(study, len(events)):
        caption += " Its interval was left out for the number of photos."
    elif study.target is not None and (reason := table["average_precision_reason"].iloc[0]):
        caption += f" It has no interval: {reason}."
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


def _resampled(study: Study, curves: int) -> bool:
    """Returns whether average precision gets an interval, which takes minutes for very many photos."""
    return len(study.labels) <= MOST_AVERAGED and study.replicates * len(study.labels) * curves <= 4e8


def _average_precision(
    study: Study, events: dict[str, tuple[NDArray, NDArray]], curves: dict[str, PrecisionRecallCurve]
) -> pd.DataFrame:
    rows = []
    for name, event in events.items():
        area = float(np.diff(curves[name].recall, prepend=0) @ curves[name].precision)
        row = {"class": name, "average_precision": area}
        low, high, reason = np.nan, np.nan, ""
        if _resampled(study, len(events)):
            found = bootstrap.by_case(
                weighted_average_precision, event, study.cases, study.replicates, study.confidence, study.seed
            )
            low, high, reason = found.low, found.high, found.reason
        rows.append(
            row
            | {
                "average_precision_low": low,
                "average_precision_high": high,
                "average_precision_reason": reason,
                "prevalence": float(event[0].mean()),
            }
        )
    return pd.DataFrame(rows)


def _curve_data(curves: dict[str, PrecisionRecallCurve], points: int) -> pd.DataFrame:
    parts = []
    for name, curve in curves.items():
        kept = roc_plots.thin(curve.recall, curve.precision, points)
        parts.append(
            pd.DataFrame({"class": name, "recall": curve.recall[kept], "precision": curve.precision[kept]})
        )
    return pd.concat(parts, ignore_index=True)


def _points(curves: int) -> int:
    """Points that each of several curves is drawn with."""
    return max(20, min(roc_plots.MOST_POINTS, 2 * (_POINTS_OF_ALL // curves // 2)))
