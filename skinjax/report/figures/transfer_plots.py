"""Learning curves of several networks in one figure, drawn on axes that the caller gives.

Make the figure under `skinjax.report.figures.canvas.SETTINGS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from skinjax.report.figures.canvas import BLUE, MUTED, ORANGE, RULE, apart

LOOKS: tuple[tuple[str, Any], ...] = (
    (MUTED, (0, (2, 1.6))),
    (ORANGE, (0, (5, 2))),
    ("#a8841f", "solid"),
    ("#3f9164", (0, (6, 1.5, 1.5, 1.5))),
    (BLUE, "solid"),
    ("#a35a9a", "solid"),
)
"""Colour and dashes of one curve after another, distinguished by the colour-blind too, on white and on near-black."""


def fold_means(curves: pd.DataFrame, column: str) -> pd.Series:
    """Returns the mean over folds by epoch, of the epochs that every fold has a figure of.

    Folds that stopped early would else bend the mean where they end.

    Args:
      curves: Rows of one stage and split, with `fold`, `epoch` and `column`.
      column: What is averaged.

    Returns:
      float64 by epoch, in order; empty where there is no such epoch.

    Example:
      >>> curves = pd.DataFrame({"fold": [0, 0, 1], "epoch": [1, 2, 1], "auc": [0.5, 0.9, 0.7]})
      >>> fold_means(curves, "auc").to_dict()
      {1: 0.6}
    """
    rows = curves.dropna(subset=[column])
    return rows.pivot_table(index="epoch", columns="fold", values=column).dropna().mean(axis=1)


def curves_compared(axes: Axes, curves: pd.DataFrame, column: str, labels: Mapping[str, str]) -> Axes:
    """Draws one column against epochs for several networks: thin lines are folds, thick ones their mean.

    Each mean is named at its right end, so the axes need room there.

    Args:
      axes: The axes to draw on.
      curves: Rows of `stage`, `fold`, `epoch` and `column`, of one split; a missing value leaves a gap.
      column: What is drawn, in [0, 1], such as "accuracy".
      labels: Stage -> name, in the order of `LOOKS`, which begins anew after its last.

    Returns:
      The axes.
    """
    ends: list[tuple[float, str, str]] = []
    rows = curves.dropna(subset=[column])
    for number, (stage, label) in enumerate(labels.items()):
        colour, dashes = LOOKS[number % len(LOOKS)]
        own = rows[rows["stage"] == stage].sort_values("epoch")
        folds = list(own.groupby("fold"))
        for _, fold in folds if len(folds) > 1 else []:
            axes.plot(fold["epoch"], fold[column], color=colour, linewidth=0.6, alpha=0.35)
        mean = fold_means(own, column)
        if len(mean):
            marker = "o" if len(mean) == 1 else None
            axes.plot(mean.index, mean, color=colour, linestyle=dashes, linewidth=2, marker=marker)
            ends.append((float(mean.iloc[-1]), label, colour))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.02)
    axes.grid(axis="y", color=RULE)
    axes.set_axisbelow(True)
    _name_ends(axes, sorted(ends))
    return axes


def _name_ends(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Writes each curve's name to the right of its last value, in its colour, no two over each other."""
    if not ends:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)  # what the names need must not move the scale
    inches = axes.get_window_extent().height / axes.figure.dpi
    places = apart([value for value, _, _ in ends], gap=12 / 72 * (high - low) / inches)
    over, under = max(places[-1] - high, 0.0), max(low - places[0], 0.0)
    for place, (_, label, colour) in zip(np.asarray(places) - over + under, ends, strict=True):
        axes.annotate(
            label, (1, place), (6, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
            color=colour, va="center", fontsize=9, annotation_clip=False,
        )  # fmt: skip
