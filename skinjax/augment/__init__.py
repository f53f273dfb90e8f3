"""Floor 1: augmentation in pure JAX, on the device, inside the jitted step.

    from skinjax.augment import Strengths, augment

Photos go in as uint8[N, H, W, 3] in 0..255 and come out as float32[N, H, W, 3] in [0, 1], clipped.
"""

from skinjax.augment.photometric import hsv_jitter, hsv_to_rgb, rgb_to_hsv
from skinjax.augment.pipeline import augment, scale_pixels
from skinjax.augment.spatial import affine_coordinates, affine_map, cutout, sample_bilinear
from skinjax.augment.strengths import DEFAULT_STRENGTHS, NO_AUGMENTATION, TABLE_4_1, Strengths

__all__ = [
    "DEFAULT_STRENGTHS",
    "NO_AUGMENTATION",
    "TABLE_4_1",
    "Strengths",
    "affine_coordinates",
    "affine_map",
    "augment",
    "cutout",
    "hsv_jitter",
    "hsv_to_rgb",
    "rgb_to_hsv",
    "sample_bilinear",
    "scale_pixels",
]
