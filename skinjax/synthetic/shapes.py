"""Draws shapes and textures to paint on a synthetic skin patch: noise, cells, blobs, spots, strokes.

All are fields over the patch. How much is drawn from the generator depends on the arguments alone, never on
the resolution, so that a lesion looks the same in small and in large photos.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from skinjax.synthetic.surface import EXTENT, Field, Surface


def step(distance: Field, width: float) -> Field:
    """Steps smoothly from 0 to 1 as ``distance`` goes from ``-width / 2`` to ``width / 2``.

    >>> step(np.array([-1.0, 0.0, 1.0], np.float32), 0.5).tolist()
    [0.0, 0.5, 1.0]
    """
    t = np.clip(distance / width + 0.5, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def noise(rng: np.random.Generator, resolution: int, scale: float, octaves: int = 1) -> Field:
    """Draws smooth noise of mean about 0 and standard deviation about 1.

    Args:
      rng: Source of randomness; how much is drawn does not depend on the resolution.
      resolution: Width of the field in pixels.
      scale: Size of the largest features, in half photo widths.
      octaves: How many layers are summed, each half as large and half as strong as the one before.

    Returns:
      float32[resolution, resolution].
    """
    total = np.zeros((resolution, resolution), np.float32)
    power = 0.0
    for octave in range(octaves):
        strength = 0.5**octave
        cells = max(1, math.ceil(2.0 * EXTENT / (scale * 0.5**octave)))
        grid = rng.standard_normal((cells + 4, cells + 4), dtype=np.float32)
        # A margin of two cells keeps the border from being smoother than the middle.
        layer = Image.fromarray(grid).resize(
            (resolution, resolution), Image.Resampling.BICUBIC, box=(2.0, 2.0, cells + 2.0, cells + 2.0)
        )
        total += np.asarray(layer) * strength
        power += strength**2
    # Bicubic interpolation of unit noise has a standard deviation of about 0.77.
    return total / np.float32(0.77 * math.sqrt(power))


def cells(rng: np.random.Generator, surface: Surface, size: float) -> tuple[Field, Field, Field]:
    """Draws cellular noise (S. Worley, SIGGRAPH 1996) over one random point in each square of a grid.

    Args:
      rng: Source of randomness.
      surface: Gives the positions.
      size: Side of the grid's squares, in half photo widths.

    Returns:
      Distance to the nearest point in units of ``size``; how much further the second nearest one is (0 on
      the border between two cells); a uniform random number, the same all over a cell. Each float32[C,
      C].
    """
    count = math.ceil(2.0 * EXTENT / size) + 3
    points = rng.random((2, count, count), dtype=np.float32)
    values = rng.random(count * count, dtype=np.float32)
    position = (surface.x[0] + EXTENT) / size + 1.0
    square = position.astype(np.intp)
    fraction = (position - square).astype(np.float32)
    nearest = np.full(surface.x.shape, 9.0, np.float32)
    second = nearest.copy()
    owner = np.zeros(surface.x.shape, np.intp)
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            index = np.ix_(square + row, square + column)
            across = points[0][index] + (column - fraction)[None, :]
            down = points[1][index] + (row - fraction)[:, None]
            squared = across * across + down * down
            closer = squared < nearest
            second = np.where(closer, nearest, np.minimum(second, squared))
            nearest = np.where(closer, squared, nearest)
            here = (square + row)[:, None] * count + (square + column)[None, :]
            owner = np.where(closer, here, owner)
    first = np.sqrt(nearest)
    return first, np.sqrt(second) - first, values[owner]


def blob(
    surface: Surface,
    rng: np.random.Generator,
    centre: Sequence[float] | NDArray[np.float64],
    radius: float,
    irregularity: float = 0.15,
    elongation: float = 1.0,
    detail: int = 2,
) -> Field:
    """Returns the signed distance to the outline of one blob: positive inside, and a true distance only near the edge.

    Args:
      surface: Gives the positions.
      rng: Source of randomness.
      centre: Middle of the blob, (x, y).
      radius: Mean radius, in half photo widths.
      irregularity: Standard deviation of the outline, as a share of the radius.
      elongation: Length over width, 1 or more.
      detail: Octaves of the outline's noise.

    Returns:
      float32[C, C], in half photo widths.
    """
    angle = rng.uniform(0.0, math.pi)
    across, down = surface.x - centre[0], surface.y - centre[1]
    along = across * math.cos(angle) + down * math.sin(angle)
    aside = down * math.cos(angle) - across * math.sin(angle)
    stretch = math.sqrt(elongation)
    distance = np.sqrt((along / stretch) ** 2 + (aside * stretch) ** 2)
    outline = noise(rng, surface.resolution, max(0.9 * radius, 0.05), octaves=detail)
    return (radius * (1.0 + irregularity * outline) - distance).astype(np.float32)


def spots(
    surface: Surface,
    centres: NDArray[np.float64],
    radii: NDArray[np.float64],
    warp: Field | None = None,
) -> Field:
    """Returns the signed distance to the nearest outline of many small discs: positive inside.

    Args:
      surface: Gives the positions.
      centres: Middles, float[n, 2].
      radii: Radii, float[n], in half photo widths.
      warp: float32[C, C] added to the distance, which makes the outlines irregular.

    Returns:
      float32[C, C]; -0.3 further than that away from all discs.
    """
    far = 0.3
    field = np.full(surface.x.shape, -far, np.float32)
    pixels = surface.resolution / (2.0 * EXTENT)
    axis = surface.x[0]
    for (across, down), radius in zip(centres, radii, strict=True):
        reach = radius + 0.12
        left, right = (max(0, int((across + EXTENT + side * reach) * pixels)) for side in (-1, 1))
        top, bottom = (max(0, int((down + EXTENT + side * reach) * pixels)) for side in (-1, 1))
        window = (slice(top, bottom + 1), slice(left, right + 1))
        distance = np.hypot(axis[None, window[1]] - across, axis[window[0], None] - down)
        np.maximum(field[window], radius - distance, out=field[window])
    return field if warp is None else field + warp


def spots_within(
    surface: Surface,
    rng: np.random.Generator,
    region: Field,
    count: int,
    radii: tuple[float, float],
) -> Field:
    """Returns the signed distance to at most ``count`` small discs strewn over a region.

    Args:
      surface: Gives the positions.
      rng: Source of randomness.
      region: float32[C, C]; discs are centred where it is positive, and fewer are made where it is small.
      count: The largest number of discs.
      radii: Smallest and largest radius, in half photo widths.

    Returns:
      float32[C, C], as ``spots`` gives it.
    """
    centres = rng.uniform(-1.0, 1.0, (4 * count, 2))
    sizes = rng.uniform(*radii, 4 * count)
    column, row = pixel_of(surface, centres).T
    kept = np.flatnonzero(region[row, column] > 0.0)[:count]
    return spots(surface, centres[kept], sizes[kept])


def strokes(surface: Surface, curves: Iterable[NDArray[np.float64]], width: float) -> Field:
    """Returns the coverage of thin curves, anti-aliased: hairs, vessels, scratches.

    Args:
      surface: Gives the resolution.
      curves: Polylines, each float[n, 2] of (x, y).
      width: Line width, in half photo widths.

    Returns:
      float32[C, C], 0 to 1.
    """
    resolution = surface.resolution
    factor = 3
    pixels = factor * resolution / (2.0 * EXTENT)
    plate = Image.new("L", (factor * resolution, factor * resolution))
    draw = ImageDraw.Draw(plate)
    for curve in curves:
        points = [(float(px), float(py)) for px, py in (curve + EXTENT) * pixels]
        draw.line(points, fill=255, width=max(1, round(width * pixels)), joint="curve")
    return np.asarray(plate.reduce(factor), np.float32) / np.float32(255.0)


def blur(field: Field, surface: Surface, radius: float) -> Field:
    """Blurs by a Gaussian whose standard deviation ``radius`` is in half photo widths."""
    return ndimage.gaussian_filter(field, radius * surface.resolution / (2.0 * EXTENT), truncate=2.5)


def pixel_of(surface: Surface, points: NDArray[np.float64]) -> NDArray[np.intp]:
    """Returns the pixel (column, row) under each (x, y) of float[n, 2]."""
    return ((points + EXTENT) * (surface.resolution / (2.0 * EXTENT))).astype(np.intp)
