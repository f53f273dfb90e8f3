"""Backbones trained alike on one split: table 3-1, ROC curves, confusion matrices (thesis, chapters 2 and 3)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from skinjax.data.predictions import Predictions
from skinjax.evaluate import bootstrap
from skinjax.evaluate.calls import UNKNOWN, CallFigures
from skinjax.evaluate.confusion import confusion_matrix
from skinjax.evaluate.delong import AucComparison, compare
from skinjax.evaluate.fewest import too_few_cases
from skinjax.evaluate.mean_roc import mean_roc
from skinjax.evaluate.multiclass import compare_macro_auc, macro_auc_interval
from skinjax.evaluate.roc import auc, macro_auc, roc_curve
from skinjax.evaluate.subgroups import holm
from skinjax.report.blocks import Block, Column, Figure, Heading, Section, Table, Text
from skinjax.report.figures import canvas, model_plots, performance_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import cell, decimals, listed, percent, ranged
from skinjax.report.study import Study
from skinjax.report.tables.methods import answer_figures
from skinjax.report.tables.target_models import Intervals, Sample, evaluate_target_model, warn_of_few_cases

_CALLS = {"sensitivity": "Sensitivity", "specificity": "Specificity"}
_NUMBERS_UP_TO, _NAMES_UP_TO = 25, 45  # classes of a matrix whose cells, or names, can be read


_ANSWERS = {
    "accuracy": "Accuracy, all classes",
    "balanced_accuracy": "Balanced accuracy",
    "top_3": "Top-3 accuracy",
    "macro_f1": "Macro F1",
}


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkStudies:
    """Predictions of a backbone's network on the photos that it was not trained on.

    Attributes:
      validation: On which thresholds are fitted.
      test: Photos on which its figures are.
    """

    validation: Study
    test: Study


def network_studies(
    validation: Predictions, test: Predictions, target: tuple[str, ...], intervals: Intervals
) -> NetworkStudies:
    """Brings a network's predictions into the form that the section takes.

    Args:
      validation: Predictions of the validation photos.
      test: Predictions of the test photos.
      target: Names of classes of one level that together count as positive; empty for none.
      intervals: How intervals are made.

    Raises:
      ValueError: A target that is no set of classes of one level.
    """
    made = [
        Study.from_predictions(
            predictions,
            name="",
            target=target,
            confidence=intervals.confidence,
            replicates=intervals.replicates,
            seed=intervals.seed,
        )
        for predictions in (validation, test)
    ]
    return NetworkStudies(*made)


def best_on_validation(networks: Mapping[str, NetworkStudies]) -> str:
    """Returns the backbone with the largest area on the validation photos: the target's, or the mean over classes.

    Args:
      networks: By name of the backbone; the first of equals, or of those that cannot be distinguished, is taken.
    """

    def area(network: NetworkStudies) -> float:
        found = network.validation
        if found.target is not None:
            return auc(found.target.labels, found.target.scores)
        return macro_auc(found.labels, found.probs)

    return max(networks, key=lambda name: np.nan_to_num(area(networks[name]), nan=-1.0))


def backbones_section(
    networks: Mapping[str, NetworkStudies], costs: pd.DataFrame, intervals: Intervals
) -> tuple[Section, str]:
    """Builds the table of all backbones, their ROC curves and confusion matrices, what each costs, and the verdict.

    Args:
      networks: By name of the backbone, all on the same photos.
      costs: One row per backbone: `backbone`, `image_size`, `parameters`, `epochs`, `seconds` (of training) and
        `photos_per_second`.
      intervals: How intervals are made.

    Returns:
      The section and, for the head of the page, how the backbone that is best on the validation photos stands to the
      others, in words.
    """
    first = next(iter(networks.values()))
    target = first.test.target
    data = pd.DataFrame([_row(name, network, intervals) for name, network in networks.items()])
    verdict = _verdict(networks, data, intervals)
    blocks: list[Block] = []
    if target is not None:
        blocks += [
            Text(words)
            for words in warn_of_few_cases(_sample(first.validation), _sample(first.test), target.title)
        ]
    blocks += [_table(data, target is not None), Text(_words(first.test, intervals), small=True)]
    if (figure := _curves(networks, data)) is not None:
        blocks.append(figure)
    blocks += [_costs(costs), Heading("Confusion"), _confusions(networks)]
    return Section("backbones", "Backbones", tuple(blocks)), verdict


def _sample(found: Study) -> Sample:
    assert found.target is not None
    return Sample(
        images=found.predictions.image,
        labels=found.target.labels,
        cases=found.cases,
        classes=found.predictions.label_names,
    )


def _row(name: str, network: NetworkStudies, intervals: Intervals) -> dict[str, object]:
    """Returns one backbone's figures on the test photos, each with its limits."""
    test = network.test
    row: dict[str, object] = {"backbone": name}
    if test.target is None:
        area = macro_auc_interval(test.labels, test.probs, intervals.confidence, test.cases)
        row |= {"auc": area.auc, "auc_low": area.low, "auc_high": area.high}
    else:
        assert network.validation.target is not None
        found = evaluate_target_model(
            name,
            _sample(network.validation),
            network.validation.target.scores,
            _sample(test),
            test.target.scores,
            intervals,
        )
        row |= {"auc": found.auc.auc, "auc_low": found.auc.low, "auc_high": found.auc.high}
        row["threshold"] = found.thresholds[0]
        figures_of = found.figures or CallFigures(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
        for key in _CALLS:
            value = getattr(figures_of, key)
            row |= {key: value.estimate, f"{key}_low": value.low, f"{key}_high": value.high}
    how = (test.cases, test.replicates, intervals.confidence, intervals.seed)
    for key, (metric, given) in answer_figures(test.labels, test.probs).items():
        figure = bootstrap.by_case(metric, (test.labels, given), *how)
        row |= {key: figure.estimate, f"{key}_low": figure.low, f"{key}_high": figure.high}
    return row


def _verdict(networks: Mapping[str, NetworkStudies], data: pd.DataFrame, intervals: Intervals) -> str:
    """Compares the backbone that is best on the validation photos with each other one on the test photos."""
    best = best_on_validation(networks)
    areas = dict(zip(data["backbone"], data["auc"], strict=True))
    test = networks[best].test
    what = "macro area" if test.target is None else f"area for {test.target.title}"
    sentence = (
        f"Of the backbones, {best} is best on the validation photos; "
        f"its {what} under the ROC curve on the test photos"
    )
    rivals = [name for name in networks if name != best]
    if np.isnan(areas[best]) or not rivals:
        return f"{sentence} is {decimals(areas[best])}."
    if test.target is not None and (few := too_few_cases(test.target.labels, test.cases)):
        others = listed([f"{name} ({decimals(areas[name])})" for name in rivals])
        return f"{sentence} is {decimals(areas[best])}. It is not tested against {others}: among the test photos {few}."
    found = [_compare(test, networks[name].test, intervals) for name in rivals]
    corrected = holm([comparison.p_value for comparison in found])
    groups: dict[str, list[str]] = {
        "is above that of": [],
        "is below that of": [],
        "cannot be distinguished from that of": [],
    }
    for name, comparison, p in zip(rivals, found, corrected, strict=True):
        words = "is above that of" if comparison.difference > 0 else "is below that of"
        if not p <= 1 - intervals.confidence:
            words = "cannot be distinguished from that of"
        groups[words].append(f"{name} ({decimals(areas[name])})")
    parts = " and ".join(f"{words} {listed(names)}" for words, names in groups.items() if names)
    return f"{sentence} ({decimals(areas[best])}) {parts} (paired tests by case, corrected by Holm)."


def _compare(one: Study, two: Study, intervals: Intervals) -> AucComparison:
    if one.target is None or two.target is None:
        return compare_macro_auc(one.labels, one.probs, two.probs, one.cases, intervals.confidence)
    return compare(one.target.labels, one.target.scores, two.target.scores, one.cases, intervals.confidence)


def _table(data: pd.DataFrame, with_target: bool) -> Table:
    columns = [
        Column("Backbone", list(data["backbone"])),
        Column("AUC" if with_target else "Macro AUC", ranged(data, "auc")),
    ]
    if with_target:
        columns += [Column(title, ranged(data, name, percent)) for name, title in _CALLS.items()]
        columns.append(Column("Threshold", [cell(value) for value in data["threshold"]], number=True))
    columns += [
        Column(title, ranged(data, name, percent)) for name, title in _ANSWERS.items() if name in data
    ]
    return Table("backbones", data, tuple(columns))


def _words(test: Study, intervals: Intervals) -> str:
    words = (
        f"On {len(test.labels):,} test photos of {test.counted_cases}; {intervals.confidence_percent} intervals "
        "by case. "
    )
    if test.target is None:
        return (
            words
            + "The area is the mean over classes of each against the rest. The first section tests the differences."
        )
    return words + (
        f"AUC, sensitivity and specificity are of {test.target.title} against the rest, as in the thesis’s table 3-1; "
        "the threshold is Youden’s on the validation photos. Tests of differences stand at the head."
    )


def _curves(networks: Mapping[str, NetworkStudies], data: pd.DataFrame) -> Figure | None:
    """Returns the ROC curve of each backbone: of the target, or the mean over classes; None where there is none."""
    curves: dict[str, model_plots.Curve] = {}
    for (name, network), area in zip(networks.items(), data["auc"], strict=True):
        test = network.test
        if test.target is not None:
            events = [] if test.target.why_not() else [(test.target.labels, test.target.scores)]
        else:
            seen = [k for k in range(test.probs.shape[1]) if 0 < (test.labels == k).sum() < len(test.labels)]
            events = [(test.labels == k, test.probs[:, k]) for k in seen]
        if not events:
            return None
        mean = mean_roc([roc_curve(*event) for event in events])
        curves[f"{name} ({decimals(area)})"] = (mean.false_positive_rate, mean.sensitivity)
    places = {}
    if "sensitivity" in data:
        points = zip(data["sensitivity"], data["specificity"], strict=True)
        places = dict(zip(curves, points, strict=True))

    def draw(axes: model_plots.Axes) -> None:
        model_plots.roc_models(axes, curves)
        model_plots.operating_points(axes, places, list(curves))

    drawing = panel(
        "backbones_roc", (360, 338), (44, 40, 10, 10), draw,
        "ROC curves: " + "; ".join(curves) + ".", legend=True,
    )  # fmt: skip
    target = next(iter(networks.values())).test.target
    what = (
        "The mean over classes, each against the rest"
        if target is None
        else f"{target.title} against the rest"
    )
    caption = f"{what}, on the test photos; areas in brackets."
    if places:
        caption += " Dots: thresholds from the validation photos."
    return Figure(Picture("backbones_roc", (drawing,), caption, model_plots.curve_table(curves)))


def _costs(costs: pd.DataFrame) -> Table:
    minutes = [
        f"{seconds / 60:,.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
        for seconds in costs["seconds"]
    ]
    columns = (
        Column("Backbone", list(costs["backbone"])),
        Column("Side of photos", [f"{size} px" for size in costs["image_size"]], number=True),
        Column("Parameters", [f"{count / 1e6:.2f} M" for count in costs["parameters"]], number=True),
        Column("Epochs", [cell(count) for count in costs["epochs"]], number=True),
        Column("Training", minutes, number=True),
        Column("Photos per second", [decimals(rate, 1) for rate in costs["photos_per_second"]], number=True),
    )
    caption = "What each took: training without evaluation; photos per second are the median over epochs but the first"
    return Table("backbone_costs", costs, columns, caption)


def _confusions(networks: Mapping[str, NetworkStudies]) -> Figure:
    """Draws a matrix per backbone, rows as shares, side by side (figure 3-7)."""
    panels, rows = [], []
    for name, network in networks.items():
        found = network.test.fine
        count = len(found.classes)
        matrix = confusion_matrix(network.test.labels, network.test.predicted, count)
        numbers, named = count <= _NUMBERS_UP_TO, count <= _NAMES_UP_TO
        titles = list(found.titles) if named else []
        margin = max(canvas.text_width(titles, 10), 40) + 24
        side = (25 if numbers else 14) * count if named else 560.0
        draw = functools.partial(
            _confusion, matrix=matrix, titles=titles, numbers=numbers, gap=(margin - 14) / side
        )
        right = network.test.predicted == network.test.labels
        panels.append(
            panel(
                f"confusion_{name}",
                (margin + side + 8, side + margin + 30),
                (margin, margin, 8, 30),
                draw,
                f"Confusion matrix of {name}; {percent(float(right.mean()))} of photos lie on the diagonal.",
                name,
            )
        )
        for true, predicted in np.argwhere(matrix):
            label, given = found.classes[true], found.classes[predicted]
            photos = int(matrix[true, predicted])
            rows.append({"backbone": name, "true": label, "predicted": given, "photos": photos})
    caption = (
        "Share of the test photos of each true class (row, in percent) that was given each answer (column)."
    )
    return Figure(Picture("backbones_confusion", tuple(panels), caption, pd.DataFrame(rows)))


def _confusion(
    axes: model_plots.Axes, matrix: np.ndarray, titles: list[str], numbers: bool, gap: float
) -> None:
    performance_plots.confusion(axes, matrix, titles, numbers=numbers)
    axes.yaxis.set_label_coords(-gap, 0.5)
    axes.xaxis.set_label_coords(0.5, -gap)
