"""ROC and precision-recall curves, drawn on axes that the caller gives, from `skinjax.evaluate`'s results.

Make the figure under `skinjax.report.figures.canvas.SETTINGS`. Curves of very many points are thinned, which at this
size cannot be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate.precision_recall import PrecisionRecallCurve
from skinjax.evaluate.readers import MeanReader
from skinjax.evaluate.roc import RocCurve
from skinjax.evaluate.roc_band import RocBand
from skinjax.report.figures.canvas import BLUE, INK, MUTED, ORANGE, RULE

MOST_POINTS = 500
"""Points that a curve is thinned to."""

MOST_LABELLED = 8
"""Curves that are distinguished by colour, dashes and a legend; of more, all look alike."""

STYLES: tuple[tuple[str, Any], ...] = (
    (BLUE, "solid"),
    (ORANGE, (0, (6, 2))),
    ("#3d8f5f", (0, (2, 1.5))),
    ("#8a5bb5", (0, (7, 2, 1.5, 2))),
    ("#b8860b", (0, (4, 1.5, 1, 1.5, 1, 1.5))),
    ("#a3395f", (0, (1, 1))),
    ("#2f8f9d", (0, (9, 1.5))),
    ("#6f6f6f", (0, (3, 3))),
)
"""Colours and dashes of curves, distinguished without colours too; more curves begin anew."""


def thin(x: ArrayLike, y: ArrayLike, points: int = MOST_POINTS) -> NDArray[np.int64]:
    """Returns which points of a curve to draw: its ends, and others at even distances along it.

    Args:
      x: float[T].
      y: float[T].
      points: How many at most, an even number of at least 4.

    Returns:
      int64[P], rising; all of them where T is at most `points`.

    Example:
      >>> thin([0, 0, 0, 0, 1], [0, 0.1, 0.2, 1, 1], points=4).tolist()
      [0, 2, 3, 4]
    """
    across, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(across) <= points:
        return np.arange(len(across))
    way = np.concatenate([[0], np.cumsum(np.abs(np.diff(across)) + np.abs(np.diff(up)))])
    # The points on both sides of each mark, so that no corner at the end of a long step is cut.
    after = np.searchsorted(way, np.linspace(0, way[-1], points // 2 + 1)[1:-1])
    return np.unique(np.concatenate([[0], after - 1, after, [len(way) - 1]]))


def roc(
    axes: Axes,
    curve: RocCurve,
    label: str = "",
    band: RocBand | None = None,
    point: tuple[float, float] | None = None,
    colour: str = BLUE,
    points: int = MOST_POINTS,
) -> Axes:
    """Draws one ROC curve: sensitivity against 1 - specificity.

    Args:
      axes: The axes to draw on.
      curve: The curve that `skinjax.evaluate.roc.roc_curve` returned.
      label: For the legend; empty for none.
      band: Its pointwise intervals; None for none.
      point: Sensitivity and specificity of the operating point; None for none.
      colour: Colour of the curve.
      points: That are drawn, at most.

    Returns:
      The axes.
    """
    if band is not None:
        axes.fill_between(1 - band.specificity, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
    kept = thin(1 - curve.specificity, curve.sensitivity, points)
    axes.plot(
        1 - curve.specificity[kept], curve.sensitivity[kept], color=colour, linewidth=2, label=label or None
    )
    if point is not None and not np.isnan(point).any():
        axes.plot(
            1 - point[1], point[0], "o", color=colour, markersize=7, markeredgecolor=INK, clip_on=False,
            label="operating point", zorder=4,
        )  # fmt: skip
    return roc_plane(axes)


def roc_classes(
    axes: Axes, curves: Sequence[RocCurve], points: int = MOST_POINTS, names: Sequence[str] = ()
) -> tuple[Axes, NDArray[np.float64]]:
    """Draws the curve of each class against the rest as a thin line, and their mean as a thick one.

    Up to `MOST_LABELLED` curves have a style of their own and stand in the legend.

    Args:
      axes: The axes to draw on.
      curves: Those of the classes that can be distinguished from the rest.
      points: That are drawn of each, at most.
      names: Of the classes, for the legend; empty for none.

    Returns:
      The axes, and float64[101, 2], 1 - specificity and the classes' mean sensitivity there.
    """
    looks = _looks(len(curves), names)
    for curve, look in zip(curves, looks, strict=True):
        kept = thin(1 - curve.specificity, curve.sensitivity, points)
        axes.plot(1 - curve.specificity[kept], curve.sensitivity[kept], **look)
    mean = mean_of_classes(curves)
    colour = INK if "label" in looks[0] else ORANGE
    axes.plot(*mean.T, color=colour, linewidth=2.2, label="mean of the classes")
    return roc_plane(axes), mean


def _looks(count: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns how to draw each of several curves: distinguished and named where they are few, else thin and alike."""
    if not names or count > MOST_LABELLED:
        return [{"color": BLUE, "linewidth": 0.7, "alpha": 0.45}] * count
    return [
        {"color": colour, "linestyle": dashes, "linewidth": 1.3, "label": name}
        for (colour, dashes), name in zip(STYLES, names, strict=False)
    ]


def mean_of_classes(curves: Sequence[RocCurve]) -> NDArray[np.float64]:
    """Returns float64[101, 2], 1 - specificity in steps of a hundredth and the curves' mean sensitivity there.

    Args:
      curves: At least one.
    """
    grid = np.linspace(0, 1, 101)
    heights = [np.interp(grid, 1 - curve.specificity, curve.sensitivity) for curve in curves]
    return np.stack([grid, np.mean(heights, axis=0)], axis=1)


def readers(
    axes: Axes, sensitivity: ArrayLike, specificity: ArrayLike, mean: MeanReader | None = None
) -> Axes:
    """Draws readers as points in the ROC plane, and the mean reader with both intervals.

    Args:
      axes: The axes to draw on.
      sensitivity: float[R] of `skinjax.evaluate.readers.reader_points`.
      specificity: float[R], likewise.
      mean: The mean reader; None for none.

    Returns:
      The axes.
    """
    axes.plot(
        1 - np.asarray(specificity, np.float64), np.asarray(sensitivity, np.float64), "D", color=ORANGE,
        alpha=0.7, markersize=5, markeredgewidth=0, label="readers", clip_on=False, zorder=3,
    )  # fmt: skip
    if mean is not None:
        x, y = 1 - mean.specificity.estimate, mean.sensitivity.estimate
        for horizontal, vertical in (
            ((1 - mean.specificity.high, 1 - mean.specificity.low), (y, y)),
            ((x, x), (mean.sensitivity.low, mean.sensitivity.high)),
        ):
            axes.plot(np.clip(horizontal, 0, 1), np.clip(vertical, 0, 1), color=INK, linewidth=1.2, zorder=4)
        axes.plot(x, y, "P", color=INK, markersize=8, label="mean reader", clip_on=False, zorder=5)
    return roc_plane(axes)


def precision_recall(
    axes: Axes,
    curves: Sequence[PrecisionRecallCurve],
    prevalence: float | None = None,
    points: int = MOST_POINTS,
    names: Sequence[str] = (),
) -> Axes:
    """Draws precision against recall as steps: one curve thick, several as thin lines.

    Up to `MOST_LABELLED` of several curves have a style of their own and stand in the legend.

    Args:
      axes: The axes to draw on.
      curves: The curves that `skinjax.evaluate.precision_recall.precision_recall_curve` returned.
      prevalence: The precision of a score that knows nothing, as a line; None for none.
      points: That are drawn of each, at most.
      names: Of the curves, for the legend; empty for none.

    Returns:
      The axes.
    """
    looks = [{"color": BLUE, "linewidth": 2.0}] if len(curves) == 1 else _looks(len(curves), names)
    for curve, look in zip(curves, looks, strict=True):
        kept = thin(curve.recall, curve.precision, points)
        axes.step(
            np.append(0, curve.recall[kept]), np.append(curve.precision[0], curve.precision[kept]),
            where="pre", **look,
        )  # fmt: skip
    if prevalence is not None:
        axes.axhline(prevalence, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="share of positives")
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    return _unit(axes)


def roc_plane(axes: Axes) -> Axes:
    """Makes axes the plane of sensitivity against 1 - specificity, with the line of chance.

    Args:
      axes: The axes to draw on.

    Returns:
      The axes.
    """
    axes.axline((0, 0), (1, 1), color=RULE, linewidth=1, zorder=0)
    axes.set_xlabel("1 − specificity")
    axes.set_ylabel("sensitivity")
    return _unit(axes)


def _unit(axes: Axes) -> Axes:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    return axes
