"""Measures whether a photo can be used at all: too blurred, too grainy, too dark, too bright.

All is measured on the photo as a network is fed it, a square of the run's size in pixels, and on its luminance
0.299 R + 0.587 G + 0.114 B (ITU-R BT.601) in 0..255; black bars that padding adds at the borders are left out.
The scale is then that of the photos that limits are taken from, and blur that vanishes at the network's size,
which does it no harm, is none.

    sharpness   variance of the Laplacian (four neighbours) over all inner pixels
    brightness  mean luminance
    dark        share of pixels with a luminance below 16
    bright      share of pixels with a luminance above 250

Sharpness is that of Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548; Pertuz, Puig and Garcia 2013,
doi:10.1016/j.patcog.2012.11.011, compare such measures. It depends on what is photographed, so its limit is best
a quantile of photos that are known to serve. So is its upper limit: noise and print are sharper than skin.

>>> import numpy as np
>>> grey = np.full((32, 32, 3), 128, np.uint8)
>>> faults(measure(grey), ABSOLUTE)
('too blurred (sharpness 0, must be at least 2)',)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

DARK, BRIGHT = 16, 250
"""Luminances below and above which a pixel shows nothing."""

TOLERATED = 0.05
"""Share of pixels that may show nothing in any photo: a highlight, a hair, the corner of a ruler; ours."""

_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


@dataclasses.dataclass(frozen=True)
class Quality:
    """The measures of one photo.

    Attributes:
      sharpness: Variance of the Laplacian, 0 or more.
      brightness: Mean luminance, 0..255.
      dark: Share of pixels that are nearly black, 0..1.
      bright: Share of pixels that are nearly white, 0..1.
    """

    sharpness: float
    brightness: float
    dark: float
    bright: float


MEASURES = tuple(field.name for field in dataclasses.fields(Quality))
"""Names of what is measured, in order."""


@dataclasses.dataclass(frozen=True)
class QualityLimits:
    """The limits between which a photo is usable.

    Attributes:
      sharpness: The least.
      grain: The highest sharpness.
      darkest: The least brightness.
      brightest: The highest brightness.
      dark: The highest share of nearly black pixels.
      bright: The highest share of nearly white pixels.
    """

    sharpness: float
    grain: float
    darkest: float
    brightest: float
    dark: float
    bright: float


ABSOLUTE = QualityLimits(sharpness=2, grain=20000, darkest=25, brightest=240, dark=0.6, bright=0.6)
"""Limits where no photos are at hand to take them from, and never passed where there are; ours.

Uniform noise has a sharpness of about 49,000. Rounding to whole numbers alone gives a flat surface one of 20 / 12:
below 2 nothing else is there.
"""


def measure(image: npt.NDArray[np.uint8]) -> Quality:
    """Measures a photo.

    Args:
      image: uint8[H, W, 3], at least 3 × 3, as a network is fed it.

    Returns:
      The measures.

    Raises:
      ValueError: Another shape or dtype.

    >>> image = np.zeros((5, 5, 3), np.uint8)
    >>> image[2, 2] = 10
    >>> measure(image[1:4, 1:4]).sharpness, round(measure(image).brightness, 3), measure(image).dark
    (0.0, 0.4, 1.0)
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 3:
        raise ValueError(
            f"image must be uint8[H, W, 3] of 3 x 3 or more, got {image.dtype}{list(image.shape)}"
        )
    luminance = _without_bars(image).astype(np.float32) @ _WEIGHTS
    centre = luminance[1:-1, 1:-1]
    laplacian = luminance[:-2, 1:-1] + luminance[2:, 1:-1] + luminance[1:-1, :-2] + luminance[1:-1, 2:]
    laplacian -= 4 * centre
    return Quality(
        sharpness=float(laplacian.var()),
        brightness=float(luminance.mean()),
        dark=float((luminance < DARK).mean()),
        bright=float((luminance > BRIGHT).mean()),
    )


def limits_of(qualities: npt.NDArray[np.floating], share: float) -> QualityLimits:
    """Takes the limits that all but a share of the given photos keep to, measure by measure.

    Args:
      qualities: float[N, 4] of photos that serve, columns as `MEASURES`.
      share: In [0, 0.5), of the photos beyond each limit; 0 takes the extremes.

    Returns:
      Their quantiles, nowhere laxer than `ABSOLUTE`, and of shares not below `TOLERATED`.

    Raises:
      ValueError: No photo, another number of measures, or a share out of range.

    >>> photos = np.array([[10, 100, 0.0, 0.0], [20, 200, 0.1, 0.0]])
    >>> limits_of(photos, share=0)
    QualityLimits(sharpness=10.0, grain=20.0, darkest=100.0, brightest=200.0, dark=0.1, bright=0.05)
    """
    values = np.asarray(qualities, np.float64)
    if values.ndim != 2 or values.shape[1] != len(MEASURES) or not len(values):
        raise ValueError(
            f"qualities must be [N, {len(MEASURES)}] with N at least 1, got {list(values.shape)}"
        )
    if not 0 <= share < 0.5:
        raise ValueError(f"share must be in [0, 0.5), got {share}")
    low, high = np.quantile(values, share, axis=0), np.quantile(values, 1 - share, axis=0)
    return QualityLimits(
        sharpness=max(ABSOLUTE.sharpness, float(low[0])),
        grain=min(ABSOLUTE.grain, float(high[0])),
        darkest=max(ABSOLUTE.darkest, float(low[1])),
        brightest=min(ABSOLUTE.brightest, float(high[1])),
        dark=min(ABSOLUTE.dark, max(TOLERATED, float(high[2]))),
        bright=min(ABSOLUTE.bright, max(TOLERATED, float(high[3]))),
    )


def faults(quality: Quality, limits: QualityLimits) -> tuple[str, ...]:
    """Names what is wrong with a photo, with the figure and its limit; empty where nothing is.

    A photo at a limit keeps to it. Of a share and a mean that say the same, the mean is named.
    """
    found = []
    if quality.sharpness < limits.sharpness:
        found.append(_fault("too blurred", "sharpness", quality.sharpness, "at least", limits.sharpness))
    elif quality.sharpness > limits.grain:
        found.append(_fault("too grainy", "sharpness", quality.sharpness, "at most", limits.grain))
    if quality.brightness < limits.darkest:
        found.append(_fault("too dark", "brightness", quality.brightness, "at least", limits.darkest))
    elif quality.dark > limits.dark:
        found.append(_fault("too dark", "black share", quality.dark, "at most", limits.dark))
    if quality.brightness > limits.brightest:
        found.append(_fault("too bright", "brightness", quality.brightness, "at most", limits.brightest))
    elif quality.bright > limits.bright:
        found.append(_fault("too bright", "white share", quality.bright, "at most", limits.bright))
    return tuple(found)


def as_row(quality: Quality) -> Sequence[float]:
    """Returns the measures in the order of `MEASURES`."""
    return dataclasses.astuple(quality)


def _fault(fault: str, name: str, value: float, bound: str, limit: float) -> str:
    return f"{fault} ({name} {_short(value)}, must be {bound} {_short(limit)})"


def _short(value: float) -> str:
    """Writes three digits, and all of those before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _without_bars(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Cuts off border rows and columns that are black throughout, unless the whole photo is."""
    if all(edge.any() for edge in (image[0], image[-1], image[:, 0], image[:, -1])):  # nearly all photos
        return image
    lit = np.asarray((image > 0).any(axis=2))
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if len(rows) < 3 or len(columns) < 3 or rows[-1] - rows[0] < 2 or columns[-1] - columns[0] < 2:
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
