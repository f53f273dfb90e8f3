"""Figures of how well a model does: learning curves, a confusion matrix, methods with their intervals.

Make the figure under `skinjax.report.figures.canvas.SETTINGS`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from skinjax.report.figures.canvas import BLUE, INK, MUTED, ORANGE, RULE, apart

_FILL = "#14578f"  # of cells whose opacity says their value
_TALLEST = 4  # times the median, for curves that are no shares


def learning_curves(axes: Axes, curves: pd.DataFrame, column: str) -> Axes:
    """Draws one column against epochs: a thin line per fold, and their mean as a thick one.

    What is not a share is cut off, and said to be, above four times its median: the first epochs of a network
    whose BatchNorm statistics have not settled would squash the rest.

    Args:
      axes: The axes to draw on.
      curves: Rows of one stage, with `fold`, `epoch`, `split` ("train" or "test") and `column`; a missing
        value leaves a gap.
      column: What is drawn, such as "loss" or "accuracy".

    Returns:
      The axes.
    """
    for split, colour, style in (("train", ORANGE, (0, (4, 2))), ("test", BLUE, "solid")):
        rows = curves[curves["split"] == split].dropna(subset=[column])
        for _, fold in rows.groupby("fold"):
            ordered = fold.sort_values("epoch")
            axes.plot(
                ordered["epoch"], ordered[column], color=colour, linestyle=style, linewidth=0.7, alpha=0.45
            )
        mean = rows.groupby("epoch")[column].mean()
        if len(mean):
            marker = "o" if len(mean) == 1 else None
            axes.plot(
                mean.index, mean, color=colour, linestyle=style, linewidth=2, marker=marker, label=split
            )
    axes.set_xlabel("epoch")
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if column == "accuracy" or column.startswith("macro"):
        axes.set_ylim(0, 1)
    elif (values := curves[column].dropna()).size and values.max() > _TALLEST * values.median():
        axes.set_ylim(0, _TALLEST * float(values.median()))
        axes.annotate(
            "cut off above", (0.5, 1), xycoords="axes fraction", ha="center", va="bottom", fontsize=8
        )
    return axes


def confusion(
    axes: Axes,
    matrix: NDArray,
    names: Sequence[str],
    groups: Sequence[int] | NDArray = (),
    numbers: bool = True,
) -> Axes:
    """Draws a confusion matrix, each row as shares of its true class.

    Args:
      axes: The axes to draw on.
      matrix: int[K, K] of counts, true classes in rows; a row without photos stays empty.
      names: K names, or fewer where `groups` are named instead.
      groups: The group of each class, in ascending order; lines part the groups. With as many names as
        groups, the names stand at the middle of theirs.
      numbers: Whether shares of at least half a percent are written into the cells.

    Returns:
      The axes.
    """
    count = len(matrix)
    support = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, support, out=np.zeros(matrix.shape), where=support > 0)
    # Opacity instead of a colour map: an empty cell shows the page, be it light or dark.
    pixels = np.concatenate([np.broadcast_to(to_rgb(_FILL), (count, count, 3)), shares[..., None]], axis=2)
    axes.imshow(pixels, interpolation="none", aspect="equal")
    if numbers:
        for row, column in np.argwhere(np.round(100 * shares) >= 1):
            share = shares[row, column]
            axes.text(
                column, row, f"{100 * share:.0f}", ha="center", va="center_baseline", fontsize=8.5,
                color="white" if share > 0.72 else INK,
            )  # fmt: skip
    members = np.asarray(groups if len(groups) else np.zeros(count), int)
    edges = np.flatnonzero(np.diff(members)) + 0.5
    for edge in edges:
        axes.axhline(edge, color=MUTED, linewidth=0.6)
        axes.axvline(edge, color=MUTED, linewidth=0.6)
    places: NDArray = np.arange(count)
    if len(names) != count:
        middles = [np.flatnonzero(members == group).mean() for group in np.unique(members)]
        inches = axes.get_window_extent().height / axes.figure.dpi
        places = apart(middles[: len(names)], gap=13 / 72 * count / inches)
    # Anchored at their ends: the browser's font may be wider or narrower than the one measured here.
    axes.set_xticks(places, names, rotation=90, rotation_mode="anchor", ha="right", va="center")
    axes.set_yticks(places, names)
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set(visible=True, color=RULE)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return axes


def intervals(axes: Axes, names: Sequence[str], table: pd.DataFrame, metric: str) -> Axes:
    """Draws one figure of each method as a point with its interval, and a line at the first method's.

    Args:
      axes: The axes to draw on.
      names: The methods' names, from the top.
      table: As `skinjax.report.tables.methods.compare_methods` gives it.
      metric: The column drawn; where its limits are missing, the point stands alone.

    Returns:
      The axes.
    """
    places = np.arange(len(table))
    axes.axvline(table[metric].iloc[0], color=RULE, linewidth=1, zorder=0)
    axes.hlines(places, table[f"{metric}_low"], table[f"{metric}_high"], color=BLUE, linewidth=2)
    axes.plot(table[metric], places, "o", color=BLUE, markersize=6)
    axes.set_yticks(places, names)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    return axes
