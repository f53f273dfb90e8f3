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
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

INK, MUTED, RULE = "#24292f", "#646d76", "#d3d8dd"
"""Colours of text, lesser text and lines; a page may exchange them for its own."""

BLUE, ORANGE = "#2b7bba", "#c8641b"
"""A pair that the colour-blind tell apart, legible on white and on near-black."""

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


def apart(places: Sequence[float], gap: float) -> NDArray:
    """Returns ascending places moved as little as keeps them a gap apart, so that their names do not overlap.

    Args:
      places: P numbers, ascending.
      gap: At least between neighbours.

    Returns:
      float64[P].

    Example:
      >>> apart([0.0, 1.0, 9.0], gap=3.0).tolist()
      [-1.0, 2.0, 9.0]
    """
    steps = gap * np.arange(len(places))
    return isotonic_regression(np.asarray(places) - steps).x + steps if len(places) else steps


def blank(width: float, height: float, margins: tuple[float, float, float, float]) -> tuple[Figure, dict]:
    """Returns an empty figure and where its axes go.

    Args:
      width: In points (1/72 inch).
      height: In points.
      margins: Left, bottom, right and top, in points.

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
    """Returns the width in points to keep free for the longest of some texts, in whatever font it will be shown.

    Args:
      texts: Any texts.
      size: Size of the font, in points.

    Returns:
      Points: 0.6 of the size per character, 0.8 per capital, and all of it per wide one, such as M, W or Chinese.

    Example:
      >>> text_width(["ab", "银屑病"], size=10)
      30.0
    """

    def width(character: str) -> float:
        if character in "MWmw@%—" or unicodedata.east_asian_width(character) in "WF":
            return 1.0
        return 0.8 if character.isupper() else 0.6

    return size * max((sum(map(width, text)) for text in texts), default=0.0)


def two_lines(text: str, longest: int = 18) -> str:
    r"""Returns a long name on two lines, parted at the blank nearest to its middle.

    Args:
      text: The name.
      longest: Characters up to which it stays as it is.

    Example:
      >>> two_lines("Squamous cell carcinoma and Bowen's disease"), two_lines("Nevus")
      ("Squamous cell carcinoma\nand Bowen's disease", 'Nevus')
    """
    blanks = [place for place, letter in enumerate(text) if letter == " "]
    if len(text) <= longest or not blanks:
        return text
    middle = min(blanks, key=lambda place: abs(place - len(text) / 2))
    return f"{text[:middle]}\n{text[middle + 1 :]}"


def svg(figure: Figure, name: str) -> str:
    """Returns a figure as a document of SVG that stands alone, on white.

    Args:
      figure: Made under `SETTINGS`.
      name: Letters that set its ids apart from those of other figures in one page.

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
    """Returns the same figure as an element of an HTML page, on the page's background and in its colours.

    Args:
      document: What `svg` gave.
      label: What the figure shows, for those who cannot see it; escaped here.

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
