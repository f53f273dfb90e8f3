"""Renders one synthetic case: a patient's skin, a lesion on it, and the photos that are taken of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from skinjax.synthetic import growths, rashes
from skinjax.synthetic.camera import draw_scene, draw_view, illuminate, photograph
from skinjax.synthetic.skin import bare_skin, hairs
from skinjax.synthetic.surface import SKIN_TONES, Surface

Painter = Callable[[Surface, np.random.Generator, float], None]

PAINTERS: Mapping[str, Painter] = MappingProxyType(
    {
        "psoriasis": rashes.psoriasis,
        "eczema": rashes.eczema,
        "lichen_planus": rashes.lichen_planus,
        "urticaria": rashes.urticaria,
        "tinea": rashes.tinea,
        "impetigo": rashes.impetigo,
        "viral_wart": rashes.viral_wart,
        "seborrheic_keratosis": growths.seborrheic_keratosis,
        "epidermal_cyst": growths.epidermal_cyst,
        "skin_tag": growths.skin_tag,
        "melanocytic_nevus": growths.melanocytic_nevus,
        "lentigo": growths.lentigo,
        "melanoma": growths.melanoma,
        "cherry_angioma": rashes.cherry_angioma,
        "port_wine_stain": rashes.port_wine_stain,
        "purpura": rashes.purpura,
        "basal_cell_carcinoma": growths.basal_cell_carcinoma,
        "squamous_cell_carcinoma": growths.squamous_cell_carcinoma,
        "actinic_keratosis": growths.actinic_keratosis,
    }
)

CLASS_NAMES: tuple[str, ...] = tuple(PAINTERS)
"""The 19 classes that can be rendered: the finest level of the taxonomy ``synthetic19``."""

SMALLEST_SIZE, LARGEST_SIZE = 32, 1024


def render_case(
    rng: np.random.Generator,
    class_name: str,
    photos: int,
    size: int,
    skin_tone: int | None = None,
) -> NDArray[np.uint8]:
    """Renders the photos of one case: one skin, lesion and light, seen another way in each photo.

    Angle, distance, focus, exposure and white balance differ between the photos, and nothing else does.

    The same generator state gives the same photos. The first photos of a case do not depend on how many
    follow, and the lesion does not depend on the size.

    Args:
      rng: Source of all randomness; it is advanced.
      class_name: One of ``CLASS_NAMES``.
      photos: How many photos to take, at least 1.
      size: Width and height of a photo in pixels, 32 to 1024.
      skin_tone: Fitzpatrick type, 1 to 6; drawn evenly where it is None.

    Returns:
      uint8[photos, size, size, 3], sRGB.

    Raises:
      ValueError: An argument is out of range.

    Example:
      >>> render_case(np.random.default_rng(7), "psoriasis", photos=2, size=64).shape
      (2, 64, 64, 3)
    """
    if class_name not in PAINTERS:
        raise ValueError(f"class_name must be one of {', '.join(CLASS_NAMES)}, got {class_name!r}")
    if photos < 1:
        raise ValueError(f"photos must be at least 1, got {photos}")
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise ValueError(f"size must be {SMALLEST_SIZE} to {LARGEST_SIZE} pixels, got {size}")
    if skin_tone is None:
        skin_tone = int(rng.choice(SKIN_TONES))
    elif skin_tone not in SKIN_TONES:
        raise ValueError(f"skin_tone must be a Fitzpatrick type from 1 to 6, got {skin_tone!r}")
    surface = bare_skin(rng, size, skin_tone)
    severity = rng.beta(1.6, 1.6)
    PAINTERS[class_name](surface, rng, float(severity))
    hairs(surface, rng)
    scene = draw_scene(rng)
    diffuse, mirror = illuminate(surface, scene, rng)
    # Views are drawn one after another, so that a longer case begins with the photos of a shorter one.
    return np.stack([photograph(diffuse, mirror, scene, draw_view(rng), size) for _ in range(photos)])
