"""Paints healthy skin for the synthetic photos, and ages it and lays hair on it."""

from __future__ import annotations

import math

import numpy as np

from skinjax.synthetic.shapes import noise, spots, step, strokes
from skinjax.synthetic.surface import EXTENT, Field, Surface

_OVERSAMPLING = 1.15
_TONE_MELANIN = (0.08, 0.26, 0.55, 1.02, 1.70, 2.60)


def bare_skin(rng: np.random.Generator, size: int, skin_tone: int) -> Surface:
    """Paints healthy skin: tone, mottling, fine lines, pores, freckles and a few moles.

    Args:
      rng: Source of randomness.
      size: Width of the photos to be taken of it, in pixels; the patch is sampled somewhat finer.
      skin_tone: Fitzpatrick type, 1 to 6.

    Returns:
      A surface with nothing painted on it yet.
    """
    resolution = round(size * EXTENT * _OVERSAMPLING)
    axis = ((np.arange(resolution, dtype=np.float32) + 0.5) / resolution * 2.0 - 1.0) * EXTENT
    x, y = (grid.astype(np.float32) for grid in np.meshgrid(axis, axis))
    darkness = (skin_tone - 1) / 5.0
    shape = (resolution, resolution)
    blank = [np.zeros(shape, np.float32) for _ in range(3)]
    base_melanin = _TONE_MELANIN[skin_tone - 1] * rng.uniform(0.82, 1.2)
    mottle = noise(rng, resolution, 0.5, octaves=3)
    melanin = (base_melanin * (1.0 + 0.05 * mottle)).astype(np.float32)
    blood = (rng.uniform(0.16, 0.36) + 0.05 * noise(rng, resolution, 0.35, octaves=3)).astype(np.float32)
    surface = Surface(
        x=x,
        y=y,
        melanin=melanin,
        blood=blood,
        venous=blank[0],
        yellow=np.full(shape, rng.uniform(0.0, 0.14), np.float32),
        height=blank[1],
        gloss=np.full(shape, rng.uniform(0.03, 0.15), np.float32),
        furrows=_skin_lines(rng, resolution, cell=rng.uniform(0.055, 0.1)),
        cover=np.zeros((*shape, 3), np.float32),
        opacity=blank[2],
        darkness=darkness,
    )
    coarseness = rng.uniform(0.5, 1.4)
    surface.height[...] -= surface.furrows * 0.0026 * coarseness
    surface.height[...] += 0.0011 * coarseness * noise(rng, resolution, 0.035)
    surface.melanin[...] += surface.furrows * 0.05 * (0.5 + base_melanin) * coarseness
    _pores(surface, rng)
    if skin_tone <= 3 and rng.random() < 0.3:
        freckles(surface, rng, count=int(rng.integers(10, 60)), strength=rng.uniform(0.1, 0.35))
    for _ in range(int(rng.integers(0, 3))):
        mole = spots(surface, rng.uniform(-1.3, 1.3, (1, 2)), np.array([rng.uniform(0.02, 0.045)]))
        surface.melanin[...] += step(mole, 0.03) * rng.uniform(0.5, 1.3)
    return surface


def weather(surface: Surface, rng: np.random.Generator, amount: float) -> None:
    """Ages skin in the sun: uneven pigment, coarse furrows, dilated vessels, a yellow tinge.

    Args:
      surface: Painted in place.
      rng: Source of randomness.
      amount: 0 (none) to 1 (severe).
    """
    resolution = surface.resolution
    surface.melanin[...] += amount * 0.1 * np.maximum(noise(rng, resolution, 0.22, octaves=3), -1.0)
    surface.blood[...] += amount * 0.16 * np.maximum(noise(rng, resolution, 0.3, octaves=4), -0.5)
    surface.yellow[...] += amount * 0.14
    freckles(surface, rng, count=int(30 * amount), strength=0.3)
    folds = np.abs(noise(rng, resolution, 0.3)) + 0.6 * np.abs(noise(rng, resolution, 0.13))
    creases = np.clip(1.0 - folds / 0.35, 0.0, 1.0)
    surface.height[...] -= amount * 0.012 * creases


def freckles(surface: Surface, rng: np.random.Generator, count: int, strength: float) -> None:
    """Scatters ``count`` small flat brown spots of melanin density ``strength``, in place."""
    if count:
        field = spots(surface, rng.uniform(-EXTENT, EXTENT, (count, 2)), rng.uniform(0.012, 0.05, count))
        surface.melanin[...] += step(field, 0.04) * strength


def hairs(surface: Surface, rng: np.random.Generator) -> None:
    """Lays body hair that runs about one way: from none to dense, of one colour per case, in place."""
    density = rng.choice([0, 1, 2, 3], p=[0.4, 0.3, 0.2, 0.1])
    if density == 0:
        return
    heading = rng.uniform(0.0, 2.0 * math.pi)
    count = int(rng.integers(6, 22)) * int(density)
    roots = rng.uniform(-EXTENT, EXTENT, (count, 2))
    curves = []
    for root in roots:
        angle = heading + rng.normal(0.0, 0.35)
        bend = rng.normal(0.0, 0.5)
        length = rng.uniform(0.12, 0.5)
        angles = angle + bend * np.linspace(0.0, 1.0, 7)
        steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (length / 7)
        curves.append(root + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)]))
    fair = rng.random() < 0.5 * (1.0 - surface.darkness)
    colour = (0.30, 0.19, 0.09) if fair else (0.022, 0.016, 0.013)
    mask = strokes(surface, curves, width=rng.uniform(0.008, 0.016))
    surface.lay(mask * rng.uniform(0.55, 0.9), colour)


def _skin_lines(rng: np.random.Generator, resolution: int, cell: float) -> Field:
    """Returns the criss-cross of fine furrows: zero lines of three noise fields, the finest last."""
    ridges = [
        np.clip(1.0 - np.abs(noise(rng, resolution, cell * share)) / 0.45, 0.0, 1.0)
        for share in (1.7, 1.1, 0.8)
    ]
    return np.maximum(np.maximum(ridges[0], ridges[1]), 0.7 * ridges[2])


def _pores(surface: Surface, rng: np.random.Generator) -> None:
    """Returns small darker dots at the follicles."""
    count = int(rng.integers(0, 90))
    if count:
        pores = spots(surface, rng.uniform(-EXTENT, EXTENT, (count, 2)), rng.uniform(0.006, 0.013, count))
        mask = step(pores, 0.016)
        surface.melanin[...] += mask * 0.16
        surface.height[...] -= mask * 0.004
