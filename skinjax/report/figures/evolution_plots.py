"""Figures of a search for hyper-parameters, on axes that the caller gives."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from skinjax.report.figures.canvas import BLUE, MUTED, ORANGE, RULE

_FAINTEST = 0.25  # of the points of the first generation
_WIDE = 10


def gene_scatter(
    axes: Axes,
    values: NDArray[np.float64],
    fitness: NDArray[np.float64],
    generation: NDArray[np.int64],
    best: int,
) -> Axes:
    """Draws fitness against one gene (figure 4-4 of the thesis): the later a set, the stronger its point.

    The gene's axis is logarithmic where its values span more than a factor of ten.

    Args:
      axes: The axes to draw on.
      values: float64[n], of the gene; row 0 is the start set, a diamond.
      fitness: float64[n]; what is not finite is marked at the bottom.
      generation: int64[n], from 0.
      best: The row that is drawn as a star.

    Returns:
      The axes.
    """
    known = np.isfinite(fitness)
    strength = _FAINTEST + (1 - _FAINTEST) * generation / max(1, generation.max())
    colours = np.column_stack([np.tile(to_rgb(BLUE), (len(values), 1)), strength])
    plain = known.copy()
    plain[[0, best]] = False
    axes.scatter(values[plain], fitness[plain], s=16, c=colours[plain], linewidths=0)
    if known[0]:
        axes.plot(
            values[0],
            fitness[0],
            "D",
            color=ORANGE,
            markersize=5.5,
            markerfacecolor="none",
            markeredgewidth=1.6,
        )
    if known[best] and best:
        axes.plot(values[best], fitness[best], "*", color=ORANGE, markersize=11)
    if not known.all():
        axes.plot(
            values[~known], np.full((~known).sum(), 0.03), "x", color=MUTED, markersize=4,
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    if values.min() > 0 and values.max() > _WIDE * values.min():
        axes.set_xscale("log")
        places = [float(f"{place:.0e}") for place in np.geomspace(values.min(), values.max(), 4)]
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(3))  # that labels such as 0.00035 stand apart
        axes.xaxis.set_major_formatter(lambda place, _: f"{place:.3g}")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y")
    axes.margins(x=0.08, y=0.12)
    return axes


def fitness_over_generations(
    axes: Axes,
    generation: NDArray[np.int64],
    fitness: NDArray[np.float64],
    running_best: NDArray[np.float64],
    band: tuple[float, float] | None = None,
) -> Axes:
    """Draws each set's fitness, the best so far, and how far the start set's own fitness spreads.

    Args:
      axes: The axes to draw on.
      generation: int64[n], from 0.
      fitness: float64[n]; what is not finite is marked at the bottom.
      running_best: float64[n].
      band: Its limits, None for none.

    Returns:
      The axes.
    """
    if band is not None:
        axes.axhspan(*band, color=RULE, alpha=0.55, linewidth=0, label="start set, mean ± 2 SD over seeds")
    known = np.isfinite(fitness)
    axes.scatter(generation[known], fitness[known], s=16, color=BLUE, alpha=0.65, linewidths=0, label="a set")
    if not known.all():
        axes.plot(
            generation[~known], np.full((~known).sum(), 0.03), "x", color=MUTED, markersize=4,
            transform=axes.get_xaxis_transform(), label="diverged",
        )  # fmt: skip
    shown = np.isfinite(running_best)
    axes.step(
        generation[shown], running_best[shown], where="post", color=ORANGE, linewidth=2, label="best so far"
    )
    axes.set_xlabel("generation")
    axes.set_ylabel("fitness")
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(
        frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=9, borderaxespad=0.2
    )
    return axes
