"""Reliability diagrams and decision curves, drawn on axes that the caller gives.

Make the figure under `skinjax.report.figures.canvas.SETTINGS`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from skinjax.evaluate.calibration import Reliability
from skinjax.evaluate.decision_curve import DecisionCurve
from skinjax.evaluate.logistic_calibration import SmoothCalibration
from skinjax.report.figures.canvas import BLUE, INK, MUTED, ORANGE, RULE


def reliability(
    axes: Axes,
    curves: Sequence[Reliability],
    names: Sequence[str] = (),
    smooth: Sequence[SmoothCalibration] = (),
) -> Axes:
    """Draws what came true against what was promised, with intervals; on the diagonal the two agree.

    Args:
      axes: The axes to draw on.
      curves: One or two of `skinjax.evaluate.calibration.reliability_curve`, such as before and after.
      names: Names of the curves, for the legend.
      smooth: The same probabilities' smooth curves, as thin lines.

    Returns:
      The axes.
    """
    axes.axline((0, 0), (1, 1), color=RULE, linewidth=1, zorder=0)
    for one, colour in zip(smooth, (ORANGE, BLUE), strict=False):
        axes.plot(one.predicted, one.observed, color=colour, linewidth=0.8, alpha=0.8)
    for curve, colour, marker, place in zip(curves, (ORANGE, BLUE), "so", range(2), strict=False):
        axes.vlines(curve.predicted, curve.low, curve.high, color=colour, linewidth=1.2, alpha=0.7)
        name = names[place] if place < len(names) else None
        style = (0, (4, 2)) if place == 0 and len(curves) > 1 else "solid"
        axes.plot(
            curve.predicted, curve.observed, marker, color=colour, linestyle=style, linewidth=1.4,
            markersize=4.5, label=name,
        )  # fmt: skip
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    axes.set_xlabel("probability")
    axes.set_ylabel("came true")
    return axes


def decision(axes: Axes, curve: DecisionCurve) -> Axes:
    """Draws net benefit against the threshold: of the model with its intervals, of treating all, of none.

    Args:
      axes: The axes to draw on.
      curve: The curve that `skinjax.evaluate.decision_curve.decision_curve` returned.

    Returns:
      The axes. What falls far below 0 is cut off.
    """
    x = curve.thresholds
    axes.axhline(0, color=MUTED, linewidth=1.2, label="treat none")
    axes.plot(
        x, curve.treat_all.estimate, color=ORANGE, linewidth=1.6, linestyle=(0, (4, 2)), label="treat all"
    )
    axes.fill_between(x, curve.model.low, curve.model.high, color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(x, curve.model.estimate, color=BLUE, linewidth=2, label="model")
    top = max(curve.prevalence, float(np.nanmax(curve.model.estimate)), 0.01)
    axes.set_ylim(-0.35 * top, 1.12 * top)
    axes.set_xlim(0, 1)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", colors=INK)
    axes.set_xlabel("threshold probability")
    axes.set_ylabel("net benefit")
    return axes
