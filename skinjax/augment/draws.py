"""Random draws for each photo of a batch: its geometry, its colours, and the part that is erased."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from skinjax.augment.spatial import affine_map
from skinjax.augment.strengths import Strengths

RECTANGLES = 2
_GEOMETRIC_DRAWS = 8
_COLOUR_DRAWS = 3
_CUTOUT_DRAWS = 5  # a rectangle


class Draws(NamedTuple):
    """Random values of N photos.

    Attributes:
      affine: float32[N, 6], see `skinjax.augment.spatial.affine_map`.
      hue_shift: float32[N] in turns.
      saturation_factor: float32[N].
      value_factor: float32[N].
      centres: float32[N, R, 2], (row, column) of rectangles, as shares of height and width.
      sides: float32[N, R, 2], (height, width) of rectangles, as shares.
      erase: bool[N, R], which rectangles are drawn.
    """

    affine: jax.Array
    hue_shift: jax.Array
    saturation_factor: jax.Array
    value_factor: jax.Array
    centres: jax.Array
    sides: jax.Array
    erase: jax.Array


def draw(count: int, key: jax.Array, strengths: Strengths) -> Draws:
    """Draws for `count` photos, all random numbers in one call; strengths only scale them.

    Args:
      count: Number of photos.
      key: A JAX random key.
      strengths: How much of each; see `Strengths`.
    """
    uniform = jax.random.uniform(key, (count, _GEOMETRIC_DRAWS + _COLOUR_DRAWS + _CUTOUT_DRAWS * RECTANGLES))
    geometric, colour, erasing = jnp.split(
        uniform, [_GEOMETRIC_DRAWS, _GEOMETRIC_DRAWS + _COLOUR_DRAWS], axis=1
    )
    signed = 2 * geometric - 1
    affine = affine_map(
        rotation=signed[:, 0] * jnp.deg2rad(strengths.rotation),
        translation_y=signed[:, 1] * strengths.translation,
        translation_x=signed[:, 2] * strengths.translation,
        zoom=1 + signed[:, 3] * strengths.scale,
        shear_y=jnp.tan(signed[:, 4] * jnp.deg2rad(strengths.shear)),
        shear_x=jnp.tan(signed[:, 5] * jnp.deg2rad(strengths.shear)),
        mirror_y=geometric[:, 6] < strengths.flip_vertical,
        mirror_x=geometric[:, 7] < strengths.flip_horizontal,
    )
    signed = 2 * colour - 1
    rectangles = erasing.reshape(count, RECTANGLES, _CUTOUT_DRAWS)
    return Draws(
        affine=affine,
        hue_shift=signed[:, 0] * strengths.hsv_h,
        saturation_factor=1 + signed[:, 1] * strengths.hsv_s,
        value_factor=1 + signed[:, 2] * strengths.hsv_v,
        centres=rectangles[..., 0:2],
        sides=strengths.cutout_size * (0.25 + 0.75 * rectangles[..., 2:4]),
        erase=rectangles[..., 4] < strengths.cutout,
    )


def part(draws: Any, first: jax.Array | int, count: int) -> Any:
    """Returns the rows first, ..., first + count - 1 of every array of a tree."""
    return jax.tree.map(lambda values: jax.lax.dynamic_slice_in_dim(values, first, count), draws)
