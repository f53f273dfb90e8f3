"""The whole augmentation of a batch, as one pure function."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from skinjax.augment.photometric import hsv_jitter
from skinjax.augment.spatial import (
    affine_coordinates,
    cutout,
    sample_bilinear,
    sample_bilinear_photo_by_photo,
)
from skinjax.augment.strengths import TABLE_4_1, Strengths

RECTANGLES = 2
_GEOMETRIC_DRAWS = 8
_COLOUR_DRAWS = 3
_CUTOUT_DRAWS = 5  # a rectangle


def scale_pixels(images: jax.Array) -> jax.Array:
    """Scales uint8 photos (0..255) to float32 in [0, 1], as `augment` does with `NO_AUGMENTATION`, to rounding."""
    return images.astype(jnp.float32) / 255


def augment(key: jax.Array, images: jax.Array, strengths: Strengths = TABLE_4_1) -> jax.Array:
    """Augments a batch: geometry, then colour, then Cutout (thesis, chapter 4 and Table 4-1).

    A photo's result depends on the key, its place in the batch and itself alone. All random numbers are drawn first,
    in one call; strengths scale them, so that they may be traced values and the shapes never change.

    Args:
      key: a JAX random key.
      images: uint8[N, H, W, 3] in 0..255.
      strengths: how much of each; see `Strengths`.

    Returns:
      float32[N, H, W, 3] in [0, 1].

    Raises:
      ValueError: `images` is not uint8[N, H, W, 3].

    >>> from skinjax.augment import NO_AUGMENTATION
    >>> photo = jnp.full((1, 8, 8, 3), 51, jnp.uint8)
    >>> round(float(augment(jax.random.key(0), photo, NO_AUGMENTATION).max()), 4)
    0.2
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != jnp.uint8:
        raise ValueError(f"images must be uint8[N, H, W, 3], got {images.dtype}{list(images.shape)}")
    count, height, width, _ = images.shape
    draws = jax.random.uniform(key, (count, _GEOMETRIC_DRAWS + _COLOUR_DRAWS + _CUTOUT_DRAWS * RECTANGLES))
    geometric, colour, erasing = jnp.split(
        draws, [_GEOMETRIC_DRAWS, _GEOMETRIC_DRAWS + _COLOUR_DRAWS], axis=1
    )

    signed = 2 * geometric - 1
    rows, columns = affine_coordinates(
        height,
        width,
        rotation=jnp.deg2rad(signed[:, 0] * strengths.rotation),
        translation_y=signed[:, 1] * strengths.translation,
        translation_x=signed[:, 2] * strengths.translation,
        zoom=1 + signed[:, 3] * strengths.scale,
        shear_y=jnp.tan(jnp.deg2rad(signed[:, 4] * strengths.shear)),
        shear_x=jnp.tan(jnp.deg2rad(signed[:, 5] * strengths.shear)),
        mirror_y=geometric[:, 6] < strengths.flip_vertical,
        mirror_x=geometric[:, 7] < strengths.flip_horizontal,
    )
    result = jax.lax.platform_dependent(
        images, rows, columns, cpu=sample_bilinear_photo_by_photo, default=sample_bilinear
    )
    result = result / 255

    signed = 2 * colour - 1
    result = hsv_jitter(
        result,
        signed[:, 0] * strengths.hsv_h,
        1 + signed[:, 1] * strengths.hsv_s,
        1 + signed[:, 2] * strengths.hsv_v,
    )
    erasing = erasing.reshape(count, RECTANGLES, _CUTOUT_DRAWS)
    return cutout(
        result,
        centres=erasing[..., 0:2],
        sides=strengths.cutout_size * (0.25 + 0.75 * erasing[..., 2:4]),
        erase=erasing[..., 4] < strengths.cutout,
    )
