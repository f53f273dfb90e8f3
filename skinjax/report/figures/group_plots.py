"""Forest plots, sizes of sets and cases, and scores by degree, drawn on axes that the caller gives.

Make the figure under `skinjax.report.figures.canvas.SETTINGS`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from skinjax.report.figures.canvas import BLUE, INK, MUTED, ORANGE, RULE

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that are drawn of the scores of a degree."""


def forest(
    axes: Axes,
    names: Sequence[str],
    values: ArrayLike,
    small: ArrayLike | None = None,
    overall: float | None = None,
    in_percent: bool = False,
) -> Axes:
    """Draws groups below each other, each as a point with its interval.

    Args:
      axes: The axes to draw on.
      names: G names, from the top.
      values: float[G, 3], estimate, lower and upper limit; where limits are missing the point stands alone.
      small: bool[G], groups too small to be compared, drawn hollow; None for none.
      overall: Figure of all photos, as a line; None for none.
      in_percent: Whether the scale is in percent.

    Returns:
      The axes.
    """
    places = np.arange(len(names))
    estimates, low, high = np.asarray(values, np.float64).reshape(len(names), 3).T
    hollow = np.zeros(len(names), bool) if small is None else np.asarray(small, bool)
    if overall is not None and not np.isnan(overall):
        axes.axvline(overall, color=RULE, linewidth=1, zorder=0)
    for mask, colour, fill in ((~hollow, BLUE, BLUE), (hollow, MUTED, "none")):
        axes.hlines(places[mask], low[mask], high[mask], color=colour, linewidth=2 if fill == BLUE else 1)
        axes.plot(estimates[mask], places[mask], "o", color=colour, markerfacecolor=fill, markersize=6)
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
    if in_percent:
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return axes


def set_sizes(axes: Axes, shares: ArrayLike) -> Axes:
    """Draws the share of photos by the size of their set.

    Args:
      axes: The axes to draw on.
      shares: float[S], of sets of 1, 2, ..., S classes.

    Returns:
      The axes.
    """
    heights = np.asarray(shares, np.float64)
    axes.bar(np.arange(1, len(heights) + 1), heights, color=BLUE, width=0.82)
    axes.set_xlim(0.4, len(heights) + 0.6)
    axes.set_xlabel("classes in the set")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    return axes


def case_sizes(axes: Axes, names: Sequence[str], cases: ArrayLike) -> Axes:
    """Draws the number of cases by their number of photos, with each number above its bar.

    Args:
      axes: The axes to draw on.
      names: B numbers of photos, or ranges of them.
      cases: int[B].

    Returns:
      The axes.
    """
    heights = np.asarray(cases, int)
    bars = axes.bar(np.arange(len(heights)), heights, color=BLUE, width=0.82)
    axes.bar_label(bars, [f"{height:,}" if height else "" for height in heights], fontsize=8.5, color=INK)
    axes.set_xticks(np.arange(len(heights)), names)
    axes.set_xlim(-0.6, len(heights) - 0.4)
    axes.margins(y=0.12)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", length=0, colors=INK)
    axes.set_xlabel("photos of the case")
    return axes


def degree_scores(axes: Axes, quantiles: ArrayLike, names: Sequence[str]) -> Axes:
    """Draws the reference score of the photos of each degree: a box about the median, and a line about most.

    Args:
      axes: The axes to draw on.
      quantiles: float[D, 5], the `QUANTILES` of the scores of each degree; NaN where it has no photo.
      names: D names, degree 0 first, which is drawn lowest.

    Returns:
      The axes.
    """
    places = np.arange(len(names))
    first, lower, middle, upper, last = np.asarray(quantiles, np.float64).reshape(len(names), 5).T
    axes.hlines(places, first, last, color=BLUE, linewidth=1.4)
    axes.barh(places, upper - lower, left=lower, height=0.46, color=BLUE, alpha=0.45)
    axes.plot(middle, places, "o", color=ORANGE, markersize=7)
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(-1, 101)
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel("reference score")
    return axes
