"""ROC curves of several models in one plane, drawn on axes that the caller gives.

Make the figure under `skinjax.report.figures.canvas.SETTINGS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from skinjax.report.figures.canvas import INK
from skinjax.report.figures.roc_plots import STYLES, roc_plane, thin

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""1 - specificity and sensitivity, both rising."""


def roc_models(
    axes: Axes, curves: Mapping[str, Curve], thin_lines: Mapping[str, Sequence[Curve]] | None = None
) -> Axes:
    """Draws ROC curves of several models, each in a colour and dashes of its own.

    Args:
      axes: The axes to draw on.
      curves: By name, which stands in the legend.
      thin_lines: Further curves, by the name of the one that they are drawn behind, in its colour;
        None for none.

    Returns:
      The axes.
    """
    for number, (name, (across, up)) in enumerate(curves.items()):
        colour, dashes = STYLES[number % len(STYLES)]
        for x, y in (thin_lines or {}).get(name, ()):
            kept = thin(x, y)
            axes.plot(x[kept], y[kept], color=colour, linewidth=0.6, alpha=0.45)
        kept = thin(across, up)
        axes.plot(across[kept], up[kept], color=colour, linestyle=dashes, linewidth=2, label=name, zorder=3)
    return roc_plane(axes)


def operating_points(axes: Axes, points: Mapping[str, tuple[float, float]], names: Sequence[str]) -> Axes:
    """Draws a dot where each model works, in the colour of its curve.

    Args:
      axes: On which `roc_models` has drawn.
      points: Sensitivity and specificity by name of the model.
      names: Names of all models, in the order of their curves.

    Returns:
      The axes.
    """
    for number, name in enumerate(names):
        if name in points and not np.isnan(points[name]).any():
            sensitivity, specificity = points[name]
            axes.plot(
                1 - specificity, sensitivity, "o", color=STYLES[number % len(STYLES)][0], markersize=7,
                markeredgecolor=INK, clip_on=False, zorder=4,
            )  # fmt: skip
    return axes


def curve_table(curves: Mapping[str, Curve]) -> pd.DataFrame:
    """Builds the points that are drawn: `model`, `one_minus_specificity` and `sensitivity`.

    Args:
      curves: At least one, by name.
    """
    parts = []
    for name, (across, up) in curves.items():
        kept = thin(across, up)
        parts.append(
            pd.DataFrame({"model": name, "one_minus_specificity": across[kept], "sensitivity": up[kept]})
        )
    return pd.concat(parts, ignore_index=True)
