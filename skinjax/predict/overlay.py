"""Explanations as pictures: the photo, and beside it the photo with where the network looked, on the photo's own shape.

A map belongs to the square that the network was fed, and is put back where that came from: stretched over the photo,
into its middle where it was cropped, without the bars where it was padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from skinjax.predict.randomization import enlarged

SIDE, LEAST_SIDE = 480, 240
"""The longer side of the photo in a picture is brought between these, in pixels."""

_STOPS = (
    "#0d0887",
    "#6a00a8",
    "#b12a90",
    "#e16462",
    "#fca636",
    "#f0f921",
)  # of the scale, from nothing to most
_INK, _PAPER, _MARGIN, _TEXT = "#24292f", "#ffffff", 16, 14


def colours(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colours of numbers in [0, 1], uint8[..., 3], from dark blue over red to yellow: lightness rises throughout.

    >>> colours(np.array([0.0, 1.0])).tolist()
    [[13, 8, 135], [240, 249, 33]]
    """
    stops = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in _STOPS], np.float64)
    places = np.linspace(0, 1, len(stops))
    channels = [np.interp(np.clip(values, 0, 1), places, stops[:, channel]) for channel in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def over_photo(
    values: NDArray[np.floating], shape: tuple[int, int], fit: Literal["stretch", "crop", "pad"]
) -> NDArray[np.float32]:
    """Returns a map laid over the photo that it is of.

    Args:
      values: float[h, w], at least 0, over the square that the network was fed.
      shape: Rows and columns of the photo.
      fit: How the photo had become square.

    Returns:
      float32 of the photo's shape in [0, 1], 1 at the map's largest value; 0 where the network saw nothing.

    >>> over_photo(np.ones((2, 2)), (2, 4), "crop").tolist()
    [[0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]]
    """
    rows, columns = shape
    if fit == "stretch":
        return enlarged(values, shape)
    if fit == "crop":
        side = min(shape)
        top, left = (rows - side) // 2, (columns - side) // 2
        result = np.zeros(shape, np.float32)
        result[top : top + side, left : left + side] = enlarged(values, (side, side))
        return result
    side = max(shape)
    top, left = (side - rows) // 2, (side - columns) // 2
    return enlarged(values, (side, side))[top : top + rows, left : left + columns]


def blended(picture: Image.Image, shares: NDArray[np.floating]) -> Image.Image:
    """Returns a photo in grey with a map over it in colours; the photo shows through everywhere.

    Args:
      picture: The photo.
      shares: float[H, W] in [0, 1], of the photo's shape, as `over_photo` returns it.
    """
    grey = np.repeat(np.asarray(picture.convert("L"), np.float32)[:, :, None], 3, axis=2)
    weight = 0.25 + 0.45 * shares[:, :, None]
    return Image.fromarray(np.round((1 - weight) * grey + weight * colours(shares)).astype(np.uint8))


def draw_overlay(
    photo: NDArray[np.uint8],
    values: NDArray[np.floating],
    fit: Literal["stretch", "crop", "pad"],
    lines: Sequence[str],
) -> Image.Image:
    """Draws a photo, the same with its map over it, and a scale; text below.

    Args:
      photo: uint8[H, W, 3], upright.
      values: float[h, w], the map.
      fit: How the photo had become square.
      lines: What is shown, a line each; those that are too long are broken, and empty ones left out.

    Returns:
      The picture.
    """
    longer = max(photo.shape[:2])
    scale = min(SIDE, max(longer, LEAST_SIDE)) / longer
    width, height = (max(1, round(side * scale)) for side in (photo.shape[1], photo.shape[0]))
    picture = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)
    shares = over_photo(values, (height, width), fit)
    mixed = blended(picture, shares)

    font = ImageFont.load_default(_TEXT)
    bar, legend = 14, int(max(font.getlength(text) for text in ("most", "none")))
    total = max(3 * _MARGIN + 2 * width + _MARGIN + bar + 6 + legend + _MARGIN, 420)
    broken = [part for line in lines if line for part in _broken(line, font, total - 2 * _MARGIN)]
    step = round(1.4 * _TEXT)
    tall = max(height, 80)
    sheet = Image.new("RGB", (total, tall + 3 * _MARGIN + step * len(broken)), _PAPER)
    sheet.paste(picture, (_MARGIN, _MARGIN))
    sheet.paste(mixed, (2 * _MARGIN + width, _MARGIN))
    left = 3 * _MARGIN + 2 * width
    ramp = colours(np.linspace(1, 0, tall))[:, None]
    sheet.paste(Image.fromarray(np.repeat(ramp, bar, axis=1)), (left, _MARGIN))
    draw = ImageDraw.Draw(sheet)
    draw.text((left + bar + 6, _MARGIN - 3), "most", _INK, font)
    draw.text((left + bar + 6, _MARGIN + tall - _TEXT - 2), "none", _INK, font)
    for number, line in enumerate(broken):
        draw.text((_MARGIN, tall + 2 * _MARGIN + step * number), line, _INK, font)
    return sheet


def _broken(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Breaks a line at spaces so that each part is at most so many pixels wide, where its words allow."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
