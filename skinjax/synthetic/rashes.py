"""Paints the inflammatory, infectious and vascular classes.

A painter takes the bare skin, a random generator and the severity (0 mild to 1 severe) and changes the
surface in place. What the classes of one meta-class have in common stands in their shared ingredients
(reddened patches and scale; inflamed rims and keratin or exudate; blood in smooth skin), what tells them
apart in each painter.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skinjax.synthetic.shapes import (
    blob,
    blur,
    cells,
    noise,
    pixel_of,
    spots,
    spots_within,
    step,
    strokes,
)
from skinjax.synthetic.surface import EXTENT, Field, Surface

_SCALE = (0.80, 0.77, 0.73)
_HONEY = (0.48, 0.26, 0.09)
_SCAB = (0.085, 0.026, 0.016)
_KERATIN = (0.60, 0.51, 0.38)


def psoriasis(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints sharply bordered red plaques under loose silvery scale."""
    count = int(rng.integers(1, 5))
    radius = rng.uniform(0.38, 0.75) if count == 1 else rng.uniform(0.2, 0.45)
    distance = _scattered(surface, rng, count, radius, irregularity=rng.uniform(0.12, 0.3), spread=0.75)
    _blush(surface, rng, distance)
    plaque = step(distance, rng.uniform(0.03, 0.09))
    surface.redden(plaque * rng.uniform(0.75, 1.25) * (0.75 + 0.4 * severity))
    surface.height[...] += plaque * rng.uniform(0.02, 0.04)
    inner = step(distance - rng.uniform(0.02, 0.09), 0.12)
    _flakes(surface, rng, inner, amount=rng.uniform(0.3, 0.55) + 0.4 * severity, size=rng.uniform(0.07, 0.13))


def eczema(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints ill-defined redness with fine scale, small papules, thickened lines and scratches."""
    count = int(rng.integers(1, 4))
    distance = _scattered(surface, rng, count, rng.uniform(0.4, 0.75), irregularity=0.3, spread=0.6)
    _blush(surface, rng, distance)
    patchy = np.clip(1.0 + 0.3 * noise(rng, surface.resolution, 0.25, octaves=3), 0.2, 1.8)
    patch = step(distance - 0.05, rng.uniform(0.4, 0.8)) * patchy
    surface.redden(patch * rng.uniform(0.5, 0.95) * (0.75 + 0.5 * severity))
    thick = patch * rng.uniform(0.0, 1.0)
    surface.height[...] -= thick * surface.furrows * 0.012
    surface.melanin[...] += thick * (0.1 + 0.35 * surface.darkness)
    papules = spots_within(surface, rng, distance, count=int(rng.integers(10, 90)), radii=(0.012, 0.03))
    bump = step(papules, 0.03)
    surface.redden(bump * rng.uniform(0.2, 0.6))
    surface.height[...] += bump * 0.016
    _flakes(surface, rng, patch * patch, amount=rng.uniform(-0.1, 0.2) + 0.15 * severity, size=0.05)
    if rng.random() < 0.7:
        scratches = [_scratch(rng, distance, surface) for _ in range(int(rng.integers(2, 10)))]
        mark = strokes(surface, scratches, width=rng.uniform(0.012, 0.022))
        mark *= np.clip(0.6 + 0.6 * noise(rng, surface.resolution, 0.07), 0.0, 1.0)
        surface.lay(mark * 0.7, _SCAB)


def lichen_planus(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints crowded violet, flat-topped, polygonal, shiny papules, some with fine white lines."""
    size = rng.uniform(0.13, 0.26)
    _, gap, value = cells(rng, surface, size)
    region = _scattered(surface, rng, int(rng.integers(1, 4)), rng.uniform(0.4, 0.7), 0.4, spread=0.5)
    _blush(surface, rng, region)
    chosen = value < rng.uniform(0.45, 0.8) + 0.2 * severity
    # A papule is one cell of the mosaic, kept clear of its neighbours by the gap.
    distance = np.minimum((gap - rng.uniform(0.12, 0.3)) * size * 0.5, region)
    papule = step(distance, 0.035) * blur(chosen.astype(np.float32), surface, 0.006)
    amount = rng.uniform(0.6, 1.1) * (0.8 + 0.4 * severity)
    surface.redden(papule * amount * 0.4 + blur(papule, surface, 0.06) * 0.15)
    surface.venous[...] += papule * amount * rng.uniform(0.45, 0.8)
    surface.melanin[...] += papule * rng.uniform(0.0, 0.35)
    surface.height[...] += papule * rng.uniform(0.02, 0.035)
    surface.gloss[...] += papule * rng.uniform(0.15, 0.45) * _dim(surface)
    net = np.clip(1.0 - np.abs(noise(rng, surface.resolution, 0.09)) / 0.3, 0.0, 1.0)
    lace = papule * net * rng.uniform(0.0, 0.4)
    surface.lay(lace, (0.75, 0.7, 0.72), shade=_dim(surface))


def urticaria(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints smooth raised wheals, pale in the middle, in a red flare, without scale."""
    count = int(rng.integers(3, 9))
    radius = rng.uniform(0.16, 0.36)
    distance = _scattered(
        surface, rng, count, radius, irregularity=rng.uniform(0.1, 0.22), spread=0.95, detail=1
    )
    _blush(surface, rng, distance)
    wheal = step(distance, rng.uniform(0.08, 0.14))
    flare = step(distance + 0.09, 0.3)
    amount = rng.uniform(0.7, 1.1) * (0.75 + 0.5 * severity)
    pale = step(distance - rng.uniform(0.04, 0.1), 0.14) * rng.uniform(0.5, 1.0)
    surface.redden((0.55 * flare + 0.45 * wheal) * amount * (1.0 - 0.7 * pale))
    surface.blood[...] -= 0.12 * pale
    surface.height[...] *= 1.0 - 0.6 * wheal
    surface.height[...] += blur(wheal, surface, 0.035) * rng.uniform(0.03, 0.06)
    surface.gloss[...] += wheal * 0.04


def tinea(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints rings: a raised, scaling, papular red border that moves outwards, and skin that clears behind it."""
    count = 1 if rng.random() < 0.65 else 2
    radius = rng.uniform(0.45, 0.8) if count == 1 else rng.uniform(0.3, 0.5)
    distance = _scattered(surface, rng, count, radius, irregularity=rng.uniform(0.05, 0.14), spread=0.5)
    _pustules(surface, rng, distance)
    width = rng.uniform(0.1, 0.2)
    inside = step(distance, 0.05)
    beads = 1.0 + 0.3 * noise(rng, surface.resolution, 0.09, octaves=2)
    clearing = step(distance - width, rng.uniform(0.15, 0.3)) * rng.uniform(0.6, 0.97)
    border = inside * (1.0 - clearing) * np.clip(beads, 0.3, 1.6)
    surface.redden(border * rng.uniform(0.7, 1.2) * (0.75 + 0.5 * severity))
    surface.melanin[...] += inside * clearing * rng.uniform(0.02, 0.16)
    surface.height[...] += border * rng.uniform(0.015, 0.035)
    halo = step(distance + 0.05, 0.2) * (1.0 - inside)
    surface.redden(halo * 0.18)
    _flakes(surface, rng, border, amount=rng.uniform(0.1, 0.4) + 0.25 * severity, size=0.055)
    _flakes(surface, rng, inside * clearing, amount=rng.uniform(-0.2, 0.1), size=0.05)


def impetigo(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints honey-coloured, stuck-on crusts over moist red erosions, with smaller satellites."""
    count = int(rng.integers(1, 4))
    distance = _scattered(surface, rng, count, rng.uniform(0.2, 0.42), irregularity=0.38, spread=0.45)
    small = int(rng.integers(2, 12))
    satellites = spots(
        surface,
        rng.normal(0.0, 0.55, (small, 2)),
        rng.uniform(0.03, 0.1, small),
        warp=0.03 * noise(rng, surface.resolution, 0.09),
    )
    distance = np.maximum(distance, satellites)
    _pustules(surface, rng, distance)
    surface.redden(step(distance + 0.05, 0.24) * rng.uniform(0.55, 0.95) * (0.8 + 0.4 * severity))
    erosion = step(distance, 0.04)
    surface.blood[...] += erosion * 0.35
    surface.gloss[...] += erosion * rng.uniform(0.2, 0.5)
    lumps = noise(rng, surface.resolution, 0.16, octaves=3)
    crust = step(distance - 0.015 + 0.035 * lumps, 0.05)
    crust *= step(lumps + rng.uniform(0.0, 1.0) + 0.6 * severity, 0.6)
    _, gap, value = cells(rng, surface, rng.uniform(0.08, 0.14))
    grain = (0.75 + 0.2 * value + 0.25 * lumps) * np.clip(0.7 + gap * 2.0, 0.7, 1.0)
    surface.lay(crust * rng.uniform(0.6, 0.85), _HONEY, shade=np.clip(grain, 0.25, 1.5) * _dim(surface))
    scab = crust * step(noise(rng, surface.resolution, 0.2) - 1.2, 0.4)
    surface.lay(scab * 0.8, _SCAB)
    surface.height[...] += crust * (0.022 + 0.01 * lumps + 0.006 * value)
    surface.gloss[...] += crust * rng.uniform(0.0, 0.25)


def viral_wart(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints skin-coloured to grey-yellow cauliflower papules with black dots of clotted capillaries."""
    count = int(rng.choice([1, 1, 2, 3, 5]))
    radius = rng.uniform(0.26, 0.5) if count == 1 else rng.uniform(0.12, 0.25)
    distance = _scattered(surface, rng, count, radius, irregularity=0.12, spread=0.55)
    _pustules(surface, rng, distance)
    wart = step(distance, 0.05)
    size = rng.uniform(0.055, 0.09)
    nearest, gap, value = cells(rng, surface, size)
    surface.redden(step(distance + 0.06, 0.22) * rng.uniform(0.05, 0.45))
    knob = np.clip(1.0 - nearest, 0.0, 1.0)
    rough = noise(rng, surface.resolution, 0.13, octaves=3)
    bulge = np.sqrt(np.clip(distance / radius, 0.0, 1.0))
    surface.height[...] += bulge * (0.02 + radius * (0.1 + 0.2 * severity)) + wart * (
        size * (0.3 * knob + 0.1 * value) + 0.012 * rough
    )
    horn = wart * (0.3 + 0.15 * value + 0.2 * rough) * rng.uniform(0.3, 1.2)
    crowns = 0.75 + 0.3 * np.clip(gap * 3.0, 0.0, 1.0)
    surface.lay(np.clip(horn, 0.0, 0.7), _KERATIN, shade=crowns * _dim(surface))
    surface.yellow[...] += wart * 0.25
    crevice = wart * np.clip(1.0 - gap / 0.16, 0.0, 1.0)
    surface.melanin[...] += crevice * 0.3
    dots = spots_within(surface, rng, distance - 0.04, int(rng.integers(3, 26)), (0.012, 0.024))
    surface.lay(step(dots, 0.018) * 0.9, (0.035, 0.012, 0.012))


def cherry_angioma(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints small, round, smooth, shiny domes, bright red to purple."""
    _lividity(surface, rng)
    count = int(rng.choice([1, 2, 4, 8, 14]))
    largest = 0.26 if count == 1 else 0.16
    radii = rng.uniform(0.035, largest, count) * (0.7 + 0.5 * severity)
    radii[0] = largest * rng.uniform(0.7, 1.1)
    centres = rng.uniform(-0.95, 0.95, (count, 2))
    centres[0] *= 0.3
    wobble = 0.006 * noise(rng, surface.resolution, 0.1)
    distance = spots(surface, centres, radii, warp=wobble)
    dome = step(distance, 0.03)
    purple = rng.uniform(0.0, 0.9)
    lobes = 1.0 + 0.15 * noise(rng, surface.resolution, 0.06)
    surface.blood[...] += dome * lobes * rng.uniform(2.2, 3.6) * (1.0 - 0.45 * purple)
    surface.venous[...] += dome * lobes * (0.15 + 1.4 * purple)
    # Blood-filled tissue stands clear of the pigment that lies around and above it.
    surface.melanin[...] *= 1.0 - 0.55 * dome
    surface.height[...] *= 1.0 - 0.9 * dome
    surface.height[...] += np.sqrt(np.clip(distance, 0.0, 0.2)) * rng.uniform(0.08, 0.16)
    surface.gloss[...] += dome * rng.uniform(0.1, 0.35)


def port_wine_stain(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints a large flat pink to purple stain with a map-like border, smooth as the skin around it."""
    _lividity(surface, rng)
    side = rng.uniform(0.0, 2.0 * math.pi)
    reach = rng.uniform(0.2, 0.7)
    centre = (reach * math.cos(side), reach * math.sin(side))
    distance = blob(surface, rng, centre, rng.uniform(0.75, 1.15), rng.uniform(0.25, 0.4), detail=4)
    patches = np.clip(1.0 + 0.25 * noise(rng, surface.resolution, 0.3, octaves=4), 0.35, 1.7)
    stain = step(distance, rng.uniform(0.05, 0.14)) * patches
    amount = rng.uniform(0.4, 0.7) + 0.75 * severity
    purple = np.clip(severity + rng.normal(0.0, 0.25), 0.1, 1.0)
    surface.blood[...] += stain * amount * (1.0 - 0.6 * purple)
    surface.venous[...] += stain * amount * (0.2 + 0.55 * purple)
    if severity > 0.7 and rng.random() < 0.5:
        nodules = step(spots_within(surface, rng, distance, int(rng.integers(2, 10)), (0.02, 0.07)), 0.07)
        surface.venous[...] += nodules * 0.35
        surface.height[...] += nodules * 0.03


def purpura(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints many flat purple spots, pin-head to coin, fresh red ones beside old brown ones."""
    _lividity(surface, rng)
    count = int(rng.integers(18, 40) + 60 * severity)
    radii = np.clip(np.exp(rng.normal(math.log(0.03), 0.5, count)), 0.012, 0.16)
    clump = rng.normal(0.0, 0.5, 2)
    loose = rng.uniform(-EXTENT, EXTENT, (count, 2))
    close = clump + rng.normal(0.0, 0.55, (count, 2))
    centres = np.where(rng.random((count, 1)) < 0.6, close, loose)
    ragged = 0.018 * noise(rng, surface.resolution, 0.05, octaves=2)
    distance = spots(surface, centres, radii, warp=ragged)
    if rng.random() < 0.35:
        distance = np.maximum(distance, blob(surface, rng, clump, rng.uniform(0.15, 0.35), 0.4, detail=4))
    spot = step(distance, rng.uniform(0.025, 0.06))
    age = np.clip(0.4 + 0.4 * noise(rng, surface.resolution, 0.35) + rng.normal(0.0, 0.2), 0.0, 1.0)
    amount = spot * rng.uniform(0.7, 1.4)
    surface.blood[...] += amount * (1.0 - age) * 0.8
    surface.venous[...] += amount * (0.75 - 0.35 * age)
    surface.melanin[...] += amount * age * 0.3
    surface.yellow[...] += amount * age * 0.5 + step(distance + 0.05, 0.2) * 0.15


def _scattered(
    surface: Surface,
    rng: np.random.Generator,
    count: int,
    radius: float,
    irregularity: float,
    spread: float,
    detail: int = 3,
) -> Field:
    """Draws the union of ``count`` blobs of about one radius: one near the middle, the others around it."""
    field = np.full(surface.x.shape, -9.0, np.float32)
    for index in range(count):
        centre = rng.normal(0.0, 0.1, 2) if index == 0 else rng.uniform(-spread, spread, 2) * 1.2
        size = radius * (1.0 if index == 0 else rng.uniform(0.45, 1.05))
        np.maximum(
            field, blob(surface, rng, centre, size, irregularity, rng.uniform(1.0, 1.6), detail), out=field
        )
    return field


def _flakes(surface: Surface, rng: np.random.Generator, where: Field, amount: float, size: float) -> None:
    """Lays loose scale: irregular platelets, thicker in some places, each catching the light differently."""
    _, gap, value = cells(rng, surface, size)
    value = blur(value, surface, 0.12 * size)
    thickness = noise(rng, surface.resolution, 0.3, octaves=2) + 0.8 * noise(
        rng, surface.resolution, size, octaves=3
    )
    grain = noise(rng, surface.resolution, 0.03, octaves=2)
    plate = step(0.4 * thickness + 0.9 * value + 0.15 * grain - 1.05 + 1.2 * amount, 1.5)
    plate *= np.clip(0.72 + gap * 1.8, 0.0, 1.0) * (0.82 + 0.16 * grain)
    opacity = np.clip(where * plate * (0.35 + 0.65 * amount), 0.0, 0.85)
    surface.lay(opacity, _SCALE, shade=(0.85 + 0.16 * value + 0.07 * grain) * _dim(surface))
    surface.height[...] += opacity * (0.006 + 0.012 * value + 0.004 * grain)


def _dim(surface: Surface) -> float:
    """Greys dead horn on dark skin, which sheds pigment with it."""
    return 1.0 - 0.45 * surface.darkness


def _scratch(rng: np.random.Generator, distance: Field, surface: Surface) -> NDArray[np.float64]:
    """Draws a short straight excoriation that starts inside the rash, where one of a few tries hits it."""
    tries = rng.uniform(-0.9, 0.9, (8, 2))
    column, row = pixel_of(surface, tries).T
    start = tries[int(np.argmax(distance[row, column] > 0.0))]
    angle = rng.uniform(0.0, 2.0 * math.pi)
    end = start + rng.uniform(0.08, 0.3) * np.array([math.cos(angle), math.sin(angle)])
    return np.linspace(start, end, 4) + rng.normal(0.0, 0.006, (4, 2))


def _blush(surface: Surface, rng: np.random.Generator, distance: Field) -> None:
    """Adds the warm diffuse redness around an inflammatory rash."""
    surface.redden(step(distance + 0.12, 0.7) * rng.uniform(0.05, 0.28))


def _pustules(surface: Surface, rng: np.random.Generator, distance: Field) -> None:
    """Paints pin-head yellow pustules on red bases around the margin of an infection."""
    margin = 0.2 - np.abs(distance + 0.08)
    field = spots_within(surface, rng, margin, int(rng.integers(0, 14)), (0.012, 0.03))
    surface.redden(step(field + 0.03, 0.08) * rng.uniform(0.3, 0.6))
    head = step(field, 0.02)
    surface.lay(head * 0.6, (0.72, 0.6, 0.36), shade=_dim(surface))
    surface.height[...] += head * 0.014


def _lividity(surface: Surface, rng: np.random.Generator) -> None:
    """Returns the violet marbling of skin whose small vessels are abnormal."""
    marbling = np.clip(noise(rng, surface.resolution, 0.3, octaves=3), 0.0, 2.0)
    surface.venous[...] += marbling * rng.uniform(0.03, 0.13)
