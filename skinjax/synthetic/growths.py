"""Paints the benign epidermal, pigmented and malignant keratinocyte classes.

A painter takes the bare skin, a random generator and the severity (0 early to 1 advanced) and changes the
surface in place. The malignant keratinocyte classes stand on weathered skin and share its vessels and horn;
the pigmented ones are flat melanin; the benign epidermal ones are relief in the colour of skin or wax.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skinjax.synthetic.shapes import blob, blur, cells, noise, spots, spots_within, step, strokes
from skinjax.synthetic.skin import weather
from skinjax.synthetic.surface import Field, Surface

_HORN = (0.76, 0.59, 0.42)
_SCAB = (0.085, 0.026, 0.016)
_RAW = (0.30, 0.05, 0.04)


def seborrheic_keratosis(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints a stuck-on, waxy, tan to dark brown plaque, furrowed like a brain, with pale and dark horn plugs."""
    weather(surface, rng, rng.uniform(0.0, 0.4))
    count = 1 if rng.random() < 0.7 else int(rng.integers(2, 4))
    distance = _lesion(surface, rng, rng.uniform(0.3, 0.55), irregularity=rng.uniform(0.08, 0.2))
    for _ in range(count - 1):
        other = blob(surface, rng, rng.uniform(-0.9, 0.9, 2), rng.uniform(0.1, 0.22), 0.15, 1.3)
        distance = np.maximum(distance, other)
    mass = step(distance, 0.04)
    brown = rng.uniform(0.25, 0.7) + 1.1 * severity
    mottle = 1.0 + 0.22 * noise(rng, surface.resolution, 0.12, octaves=3)
    surface.melanin[...] += mass * brown * mottle
    surface.yellow[...] += mass * rng.uniform(0.2, 0.6)
    folds = np.clip(
        1.0 - np.abs(noise(rng, surface.resolution, rng.uniform(0.1, 0.18), octaves=2)) / 0.35, 0.0, 1.0
    )
    surface.melanin[...] += mass * folds * 0.35 * rng.uniform(0.3, 1.2)
    surface.height[...] += mass * (0.045 + 0.03 * severity - 0.025 * folds)
    surface.gloss[...] += mass * rng.uniform(0.05, 0.35)
    plugs = step(spots_within(surface, rng, distance - 0.05, int(rng.integers(0, 14)), (0.014, 0.028)), 0.022)
    surface.lay(plugs * 0.75, (0.55, 0.43, 0.26))
    pits = step(spots_within(surface, rng, distance - 0.05, int(rng.integers(0, 14)), (0.012, 0.026)), 0.022)
    surface.lay(pits * 0.8, (0.04, 0.022, 0.013))
    if rng.random() < 0.35:
        _horn(surface, rng, mass * 0.7, amount=rng.uniform(-0.2, 0.15))


def epidermal_cyst(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints a smooth dome of skin with a dark punctum and a few stretched vessels."""
    radius = rng.uniform(0.3, 0.58)
    distance = _lesion(surface, rng, radius, irregularity=0.05)
    rise = np.sqrt(np.clip(distance / radius, 0.0, 1.0) * (2.0 - np.clip(distance / radius, 0.0, 1.0)))
    dome = blur(rise.astype(np.float32), surface, 0.025)
    # Stretched skin loses its lines and shows what lies below: pale and yellow, or pink if irritated.
    surface.height[...] *= 1.0 - 0.8 * dome
    surface.height[...] += dome * radius * rng.uniform(0.3, 0.55)
    surface.melanin[...] *= 1.0 - 0.16 * dome
    surface.yellow[...] += dome * rng.uniform(0.02, 0.3)
    inflamed = max(0.0, rng.normal(0.0, 0.25)) + 0.5 * max(0.0, severity - 0.55)
    surface.redden(step(distance + 0.03, 0.3) * inflamed)
    surface.gloss[...] += dome * rng.uniform(0.05, 0.3)
    if rng.random() < 0.6:
        _vessels(
            surface, rng, distance, count=int(rng.integers(1, 5)), strength=rng.uniform(0.2, 0.5), width=0.012
        )
    if rng.random() < 0.85:
        pore = spots(surface, rng.normal(0.0, 0.09, (1, 2)), np.array([rng.uniform(0.018, 0.045)]))
        mask = step(pore, 0.025)
        surface.lay(mask * 0.9, (0.035, 0.022, 0.016))
        surface.height[...] -= step(pore + 0.03, 0.08) * 0.03


def skin_tag(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints small soft bags of skin on a stalk, which throw a shadow."""
    count = int(rng.choice([1, 1, 2, 3, 5]))
    hang = rng.uniform(0.0, 2.0 * math.pi)
    distance = np.full(surface.x.shape, -9.0, np.float32)
    for index in range(count):
        centre = rng.normal(0.0, 0.1, 2) if index == 0 else rng.uniform(-0.85, 0.85, 2)
        size = rng.uniform(0.14, 0.3) if index == 0 else rng.uniform(0.05, 0.16)
        heading = hang + rng.normal(0.0, 0.4)
        for place, share in ((0.0, 1.0), (0.5, 0.8), (-1.0, 0.34)):
            offset = np.array([math.cos(heading), math.sin(heading)]) * size * place
            np.maximum(distance, blob(surface, rng, centre + offset, size * share, 0.07, 1.1), out=distance)
    bag = step(distance, 0.03)
    surface.height[...] += np.sqrt(np.clip(distance, 0.0, 0.3)) * rng.uniform(0.22, 0.36)
    wrinkles = noise(rng, surface.resolution, 0.08, octaves=2)
    surface.height[...] += bag * wrinkles * 0.008
    surface.melanin[...] += bag * (rng.uniform(-0.05, 0.45) + 0.3 * severity) * (1.0 + 0.2 * wrinkles)
    surface.redden(bag * rng.uniform(0.0, 0.35))
    surface.gloss[...] += bag * rng.uniform(0.0, 0.2)


def melanocytic_nevus(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints a round symmetric mole: even brown or two concentric shades, flat or slightly domed."""
    distance = _lesion(surface, rng, rng.uniform(0.18, 0.42), irregularity=rng.uniform(0.015, 0.07))
    mole = step(distance, rng.uniform(0.04, 0.12))
    core = step(distance - rng.uniform(0.08, 0.16), 0.16)
    amount = rng.uniform(0.7, 1.5) + 0.5 * severity
    surface.melanin[...] += amount * (
        mole * (0.75 + 0.1 * _network(surface, rng)) + core * rng.uniform(-0.1, 0.5)
    )
    surface.blood[...] += mole * rng.uniform(0.0, 0.3)
    dome = rng.choice([0.0, 0.04, 0.12])
    surface.height[...] += np.sqrt(np.clip(distance, 0.0, 0.4)) * dome
    surface.gloss[...] += mole * dome


def lentigo(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints flat, evenly light brown spots with a crisp, moth-eaten border."""
    weather(surface, rng, rng.uniform(0.0, 0.5))
    distance = _lesion(surface, rng, rng.uniform(0.2, 0.5), irregularity=rng.uniform(0.1, 0.24), detail=4)
    for _ in range(int(rng.choice([0, 0, 1, 3, 5]))):
        other = blob(surface, rng, rng.uniform(-1.0, 1.0, 2), rng.uniform(0.04, 0.16), 0.3, 1.4, 3)
        distance = np.maximum(distance, other)
    eaten = distance + 0.03 * noise(rng, surface.resolution, 0.08, octaves=2)
    spot = step(eaten, rng.uniform(0.025, 0.07))
    amount = rng.uniform(0.35, 0.6) + 0.4 * severity + 0.4 * surface.darkness
    surface.melanin[...] += spot * amount * (1.0 + 0.09 * noise(rng, surface.resolution, 0.06, octaves=2))
    surface.yellow[...] += spot * rng.uniform(0.0, 0.2)


def melanoma(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints an asymmetric, notched patch of several colours: tan, brown, black, blue-grey, red, scarred white."""
    radius = rng.uniform(0.32, 0.6)
    distance = _lesion(surface, rng, radius, irregularity=rng.uniform(0.12, 0.26), detail=4)
    spread = rng.uniform(-0.25, 0.25, 2)
    distance = np.maximum(distance, blob(surface, rng, spread, radius * 0.7, 0.25, 1.5, 4))
    patch = step(distance, rng.uniform(0.04, 0.1))
    amount = rng.uniform(0.7, 1.2) + 0.6 * severity
    shades = noise(rng, surface.resolution, 0.35, octaves=3)
    surface.melanin[...] += (
        patch * amount * np.clip(0.85 + 0.55 * shades + 0.12 * _network(surface, rng), 0.15, 2.2)
    )
    dark = patch * step(noise(rng, surface.resolution, 0.4, octaves=2) - 0.9 + 0.7 * severity, 0.5)
    surface.melanin[...] += dark * rng.uniform(0.6, 1.8)
    inner = step(distance - 0.06, 0.2)
    regions = noise(rng, surface.resolution, 0.45, octaves=2)
    if rng.random() < 0.35 + 0.45 * severity:
        surface.lay(inner * step(regions - 0.6, 1.2) * rng.uniform(0.25, 0.55), (0.12, 0.132, 0.155))
    if rng.random() < 0.3 + 0.4 * severity:
        surface.redden(patch * step(-regions - 0.7, 1.0) * rng.uniform(0.4, 0.9))
    if rng.random() < 0.35:
        scar = inner * step(noise(rng, surface.resolution, 0.35) - 1.1, 0.9)
        surface.lay(scar * rng.uniform(0.3, 0.6), (0.62, 0.45, 0.4))
    if severity > 0.6:
        nodule = blob(surface, rng, rng.uniform(-0.25, 0.25, 2), rng.uniform(0.1, 0.22), 0.1)
        surface.height[...] += np.sqrt(np.clip(nodule, 0.0, 0.2)) * 0.3
        surface.melanin[...] += step(nodule, 0.05) * rng.uniform(0.3, 1.0)
        surface.gloss[...] += step(nodule, 0.05) * 0.4


def basal_cell_carcinoma(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints a pearly, shiny nodule with branching vessels and a rolled edge around a sunken, crusted middle."""
    weather(surface, rng, rng.uniform(0.4, 1.0))
    radius = rng.uniform(0.28, 0.52)
    distance = _lesion(surface, rng, radius, irregularity=rng.uniform(0.05, 0.12))
    nodule = step(distance, 0.06)
    lobes = noise(rng, surface.resolution, 0.2)
    depth = np.clip(distance / radius, 0.0, 1.0)
    height = blur(np.sqrt(depth * (2.0 - depth)), surface, 0.03) * (1.0 + 0.07 * lobes)
    surface.height[...] *= 1.0 - 0.85 * nodule
    surface.height[...] += height * radius * rng.uniform(0.22, 0.38)
    surface.redden(nodule * rng.uniform(0.25, 0.7) * (1.0 + 0.15 * lobes) + step(distance + 0.05, 0.2) * 0.12)
    surface.melanin[...] *= 1.0 - 0.3 * nodule
    pearl = nodule * rng.uniform(0.05, 0.2) * (1.0 - 0.75 * surface.darkness)
    surface.lay(np.clip(pearl * (1.0 + 0.4 * lobes), 0.0, 1.0), (0.74, 0.6, 0.56))
    surface.melanin[...] += nodule * rng.uniform(0.1, 0.7) * surface.darkness
    surface.gloss[...] += nodule * rng.uniform(0.2, 0.5)
    _vessels(surface, rng, distance, int(rng.integers(4, 11)), rng.uniform(0.6, 1.5), width=0.016)
    if rng.random() < 0.3 + 0.3 * surface.darkness:
        clods = spots_within(surface, rng, distance, int(rng.integers(3, 16)), (0.025, 0.07))
        surface.melanin[...] += step(clods, 0.05) * rng.uniform(0.4, 1.4)
    if severity > 0.4 and rng.random() < 0.85:
        _ulcer(surface, rng, radius * rng.uniform(0.25, 0.55), crusted=rng.random() < 0.6)


def squamous_cell_carcinoma(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints a firm red nodule whose middle is horn, raw flesh or bleeding crust, on an ill-defined base."""
    weather(surface, rng, rng.uniform(0.4, 1.0))
    radius = rng.uniform(0.3, 0.58)
    distance = _lesion(surface, rng, radius, irregularity=rng.uniform(0.12, 0.26), detail=3)
    nodule = step(distance, 0.12)
    surface.redden(nodule * rng.uniform(0.4, 0.85) + step(distance + 0.1, 0.35) * rng.uniform(0.2, 0.5))
    lumps = noise(rng, surface.resolution, 0.16, octaves=3)
    surface.height[...] += blur(nodule, surface, 0.03) * (0.07 + 0.07 * severity) + nodule * lumps * 0.012
    surface.gloss[...] += nodule * rng.uniform(0.0, 0.3)
    if rng.random() < 0.35:
        _vessels(surface, rng, distance, int(rng.integers(2, 6)), rng.uniform(0.4, 1.0), width=0.014)
    core = step(distance - radius * rng.uniform(0.3, 0.55), 0.16)
    if rng.random() < 0.35 + 0.4 * severity:
        _ulcer(surface, rng, radius * rng.uniform(0.35, 0.65), crusted=rng.random() < 0.7)
    _horn(surface, rng, np.clip(core * (1.0 + 0.5 * lumps), 0.0, 1.0), amount=rng.uniform(0.4, 1.0))


def actinic_keratosis(surface: Surface, rng: np.random.Generator, severity: float) -> None:
    """Paints several ill-defined pink patches, rough as sandpaper, with stuck-down yellow-white scale."""
    weather(surface, rng, rng.uniform(0.6, 1.0))
    count = int(rng.integers(1, 6))
    distance = _lesion(surface, rng, rng.uniform(0.18, 0.42), irregularity=0.3, detail=3)
    for _ in range(count - 1):
        other = blob(surface, rng, rng.uniform(-0.9, 0.9, 2), rng.uniform(0.1, 0.3), 0.35, 1.4, 3)
        distance = np.maximum(distance, other)
    rough = noise(rng, surface.resolution, 0.08, octaves=3)
    patch = step(distance + 0.05 * rough, rng.uniform(0.12, 0.25))
    surface.redden(patch * rng.uniform(0.5, 1.0))
    surface.height[...] += patch * rough * 0.01
    _horn(
        surface,
        rng,
        0.8 * patch * step(distance - 0.02 + 0.05 * rough, 0.2),
        amount=rng.uniform(-0.05, 0.25) + 0.35 * severity,
    )


def _lesion(
    surface: Surface, rng: np.random.Generator, radius: float, irregularity: float, detail: int = 2
) -> Field:
    """Draws the one lesion that the photo is taken of: a blob near the middle."""
    return blob(surface, rng, rng.normal(0.0, 0.08, 2), radius, irregularity, rng.uniform(1.0, 1.45), detail)


def _network(surface: Surface, rng: np.random.Generator) -> Field:
    """Returns the honeycomb of pigment along the rete ridges, -1 to 1."""
    _, gap, _ = cells(rng, surface, 0.06)
    return np.clip(1.0 - gap / 0.25, -1.0, 1.0)


def _horn(surface: Surface, rng: np.random.Generator, where: Field, amount: float) -> None:
    """Lays adherent yellow-white keratin: rough, cracked, thicker towards the middle."""
    _, gap, value = cells(rng, surface, rng.uniform(0.06, 0.1))
    rough = noise(rng, surface.resolution, 0.07, octaves=2)
    value = blur(value, surface, 0.01)
    thickness = where * step(0.35 * rough + 0.5 * value + 1.3 * amount - 0.65, 1.2)
    opacity = np.clip(thickness, 0.0, 0.85)
    cracks = np.clip(0.72 + gap * 1.4, 0.0, 1.0)
    surface.lay(
        opacity,
        _HORN,
        shade=np.clip((0.78 + 0.16 * value + 0.06 * rough) * cracks, 0.2, 1.1)
        * (1.0 - 0.6 * surface.darkness),
    )
    surface.height[...] += thickness * (0.016 + 0.008 * value + 0.004 * rough)


def _ulcer(surface: Surface, rng: np.random.Generator, radius: float, crusted: bool) -> None:
    """Sinks a raw hole into the middle, under a blood crust or moist."""
    distance = blob(surface, rng, rng.normal(0.0, 0.06, 2), radius, 0.25, 1.3, 3)
    hole = step(distance, 0.05)
    surface.height[...] -= step(distance - 0.02, 0.1) * 0.06
    lumps = noise(rng, surface.resolution, 0.1, octaves=2)
    surface.lay(
        hole * 0.85, _RAW, shade=np.clip(1.0 + 0.3 * lumps, 0.3, 1.7) * (1.0 - 0.45 * surface.darkness)
    )
    surface.gloss[...] += hole * 0.3
    if crusted:
        crust = hole * step(lumps + 0.6, 0.8)
        surface.lay(crust * 0.9, _SCAB, shade=np.clip(1.0 + 0.4 * lumps, 0.4, 2.0))
        surface.height[...] += crust * (0.03 + 0.012 * lumps)


def _vessels(
    surface: Surface, rng: np.random.Generator, distance: Field, count: int, strength: float, width: float
) -> None:
    """Paints branching dilated vessels that run in from the rim of a lesion."""
    rim = float(np.sqrt((distance > 0.0).mean() / math.pi)) * 3.0
    curves: list[NDArray[np.float64]] = []
    for _ in range(count):
        angle = rng.uniform(0.0, 2.0 * math.pi)
        start = rim * 0.95 * np.array([math.cos(angle), math.sin(angle)])
        trunk = _wander(rng, start, angle + math.pi + rng.normal(0.0, 0.5), rng.uniform(0.5, 1.1) * rim)
        curves.append(trunk)
        for _ in range(int(rng.integers(0, 4))):
            fork = trunk[int(rng.integers(2, len(trunk)))]
            heading = angle + math.pi + rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.1)
            curves.append(_wander(rng, fork, heading, rng.uniform(0.2, 0.5) * rim))
    mask = strokes(surface, curves, width) * step(distance, 0.06)
    surface.blood[...] += mask * strength
    surface.venous[...] += mask * strength * (0.2 + 0.3 * surface.darkness)


def _wander(
    rng: np.random.Generator, start: NDArray[np.float64], heading: float, length: float
) -> NDArray[np.float64]:
    """Draws a winding polyline of ten points."""
    headings = heading + np.cumsum(rng.normal(0.0, 0.3, 9))
    steps = np.stack([np.cos(headings), np.sin(headings)], axis=1) * (length / 9)
    return start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
