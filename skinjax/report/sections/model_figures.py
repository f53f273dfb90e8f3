"""Figures of several models on the same photos: their ROC curves in one plane, and the others' confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from skinjax.evaluate.roc import roc_curve
from skinjax.report.blocks import Figure
from skinjax.report.figures import model_plots, roc_plots
from skinjax.report.figures.pictures import Panel, Picture, draw_confusion, panel
from skinjax.report.formatting import decimals
from skinjax.report.sections.classes import METHODS, class_groups, shown_method
from skinjax.report.study import Study


def roc_figure(models: Mapping[str, Study], areas: Mapping[str, float]) -> Figure | None:
    """Draws the ROC curve of each model: of the target, or the mean over classes of each against the rest.

    Args:
      models: Models on the same photos by name, in their order.
      areas: The area under each one's curve.

    Returns:
      The figure; None where nothing can be distinguished.
    """
    curves: dict[str, model_plots.Curve] = {}
    for name, model in models.items():
        found = _curve(model)
        if found is None:
            return None
        curves[f"{name} ({decimals(areas[name])})"] = found
    drawing = panel(
        "models_roc", (360, 338), (44, 40, 10, 10),
        lambda axes: model_plots.roc_models(axes, curves),
        "ROC curves: " + "; ".join(curves) + ".", legend=True,
    )  # fmt: skip
    target = next(iter(models.values())).target
    what = "The mean over classes, each" if target is None else target.title
    data = model_plots.curve_table(dict(zip(models, curves.values(), strict=True)))
    return Figure(Picture("models_roc", (drawing,), f"{what} against the rest; areas in brackets.", data))


def confusion_figure(others: Mapping[str, Study]) -> Figure:
    """Draws a small confusion matrix of the finest level for each model beside the first.

    Args:
      others: At least one model, by name.
    """
    panels: list[Panel] = []
    parts: list[pd.DataFrame] = []
    for number, (name, study) in enumerate(others.items(), start=1):
        level = study.taxonomy.finest
        method = shown_method(study, level)
        # The name may be any text, so it does not name the file.
        one = draw_confusion(
            f"models_confusion_{number}",
            study.fine,
            method,
            METHODS[method],
            *class_groups(study, level),
            title=name,
        )
        panels += one.panels
        parts.append(one.data.assign(model=name)[["model", *one.data.columns]])
    caption = (
        f"The other models’ answers at the level “{next(iter(others.values())).taxonomy.finest}”: share of each true "
        "class (row) that was given each answer (column). The darker the cell, the larger the share; the diagonal is "
        "recall. The first model’s matrix is under Confusion."
    )
    return Figure(Picture("models_confusion", tuple(panels), caption, pd.concat(parts, ignore_index=True)))


def _curve(model: Study) -> model_plots.Curve | None:
    if model.target is not None:
        if model.target.why_not():
            return None
        curve = roc_curve(model.target.labels, model.target.scores)
        return 1 - curve.specificity, curve.sensitivity
    classes = range(model.probs.shape[1])
    present = [k for k in classes if 0 < (model.labels == k).sum() < len(model.labels)]
    if not present:
        return None
    mean = roc_plots.mean_of_classes([roc_curve(model.labels == k, model.probs[:, k]) for k in present])
    return mean[:, 0], mean[:, 1]
