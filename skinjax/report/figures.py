"""The report's figures, drawn on axes that the caller gives, and how they become SVG.

The drawing functions take and return `matplotlib.axes.Axes` and keep no state; pyplot is never imported, so
no display is needed. `svg` writes text as text, so that the reader's browser chooses a font that has the
characters (class names may be in any script), and the same figure always gives the same bytes.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

INK, MUTED, RULE = "#24292f", "#646d76", "#d3d8dd"
"""Colours of text, lesser text and lines; a page may exchange them for its own."""

BLUE, ORANGE = "#2b7bba", "#c8641b"
"""A pair that the colour-blind tell apart, legible on white and on near-black."""

_FILL = "#14578f"  # of cells whose opacity says their value

SETTINGS = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
}
"""Matplotlib settings that the figures are made under: `with matplotlib.rc_context(SETTINGS): ...`."""

_FONTS = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK SC', Arial, sans-serif"
_TALLEST = 4  # times the median, for curves that are no shares


def learning_curves(axes: Axes, curves: pd.DataFrame, column: str) -> Axes:
    """Draws one column against epochs: a thin line a fold, and their mean as a thick one.

    What is not a share is cut off, and said to be, above four times its median: the first epochs of a network
    whose BatchNorm statistics have not settled would squash the rest.

    Args:
        axes: to draw on.
        curves: rows of one stage, with `fold`, `epoch`, `split` ("train" or "test") and `column`; a missing
            value leaves a gap.
        column: what is drawn, such as "loss" or "accuracy".

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
        axes: to draw on.
        matrix: int[K, K] of counts, true classes in rows; a row without photos stays empty.
        names: K names, or fewer where `groups` are named instead.
        groups: the group of each class, in ascending order; lines part the groups. With as many names as
            groups, the names stand at the middle of theirs.
        numbers: whether shares of at least half a percent are written into the cells.

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


def apart(places: Sequence[float], gap: float) -> NDArray:
    """Ascending places moved as little as keeps them a gap apart, so that their names do not overlap.

    Args:
        places: P numbers, ascending.
        gap: at least between neighbours.

    Returns:
        float64[P].

    Example:
        >>> apart([0.0, 1.0, 9.0], gap=3.0).tolist()
        [-1.0, 2.0, 9.0]
    """
    steps = gap * np.arange(len(places))
    return isotonic_regression(np.asarray(places) - steps).x + steps if len(places) else steps


def intervals(axes: Axes, names: Sequence[str], table: pd.DataFrame, metric: str) -> Axes:
    """Draws one figure of each method as a point with its interval, and a line at the first method's.

    Args:
        axes: to draw on.
        names: the methods' names, from the top.
        table: as `skinjax.report.tables.compare_methods` gives it.
        metric: the column drawn; where its limits are missing, the point stands alone.

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


def blank(width: float, height: float, margins: tuple[float, float, float, float]) -> tuple[Figure, dict]:
    """An empty figure and where its axes go.

    Args:
        width: in points (1/72 inch).
        height: in points.
        margins: left, bottom, right and top, in points.

    Returns:
        The figure, and the `gridspec_kw` for `figure.subplots`.
    """
    figure = Figure(figsize=(width / 72, height / 72))
    figure.patch.set_visible(False)
    left, bottom, right, top = margins
    place = {
        "left": left / width,
        "bottom": bottom / height,
        "right": 1 - right / width,
        "top": 1 - top / height,
    }
    return figure, place


def text_width(texts: Sequence[str], size: float) -> float:
    """The width in points to keep free for the longest of some texts, in whatever font it will be shown.

    Args:
        texts: any texts.
        size: of the font, in points.

    Returns:
        Points: 0.6 of the size a character, and all of it a wide one, such as Chinese.

    Example:
        >>> text_width(["ab", "银屑病"], size=10)
        30.0
    """
    widths = [sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.6 for c in text) for text in texts]
    return size * max(widths, default=0.0)


def svg(figure: Figure, name: str) -> str:
    """A figure as a document of SVG that stands alone, on white.

    Args:
        figure: made under `SETTINGS`.
        name: letters that set its ids apart from those of other figures in one page.

    Returns:
        The document's text; the same for the same figure.
    """
    file = io.StringIO()
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": name}), warnings.catch_warnings():
        # The font that matplotlib measures with need not have the characters: the browser's will.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = file.getvalue().replace("'DejaVu Sans'", _FONTS)
    text = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    return re.sub(r"(<svg [^>]*>)", r'\1<rect width="100%" height="100%" fill="#fff"/>', text, count=1)


def inline(document: str, label: str) -> str:
    """The same figure as an element of an HTML page, on the page's background and in its colours.

    Args:
        document: what `svg` gave.
        label: what the figure shows, for those who cannot see it; escaped here.

    Returns:
        An `<svg>` element. Text and lines use the page's `--ink`, `--muted` and `--rule`. It has its natural
        size, and may be shrunk to three quarters of it.
    """
    from markupsafe import escape

    element = document[document.index("<svg ") :]
    element = element.replace('<rect width="100%" height="100%" fill="#fff"/>', "", 1)
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    for colour, variable in ((INK, "ink"), (MUTED, "muted"), (RULE, "rule")):
        element = element.replace(colour, f"var(--{variable})")
    opening, rest = element.split(">", 1)
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', opening)[1])  # type: ignore[index]
    opening = re.sub(r' (width|height|version)="[^"]*"', "", opening)
    # Points as CSS pixels, and a narrow screen may shrink the figure as far as its text stays legible.
    size = f'style="width: {width * 4 / 3:.0f}px; min-width: {width:.0f}px"'
    return f'{opening} role="img" aria-label="{escape(label)}" {size}>{rest}'.strip()
