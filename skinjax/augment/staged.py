"""The augmentation of a batch as a CPU does it fast.

Left to itself, XLA's CPU compiler fuses whatever is cheap into whatever uses it, computes it anew for each use, and
drops `optimization_barrier`. Here each stage is a branch of a `cond` that is always taken, which nothing is fused
across: places, then pixels, then their mixture, then colour. Every stage is a plain loop over a colour plane, which the
compiler turns into vector instructions: a pixel travels as one integer, so that its three colours are gathered at once,
and planes are put together only at the end. Eight photos go through at a time, so that what lies between the stages
stays in the cache.

The batch is cut so that one turn of the loop holds photos far apart: where a batch is spread over devices, each then
has its own photos in every turn, and none has to be sent.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from skinjax.augment.draws import Draws, draw, part
from skinjax.augment.photometric import hsv_jitter_planes
from skinjax.augment.spatial import affine_tables, rectangles
from skinjax.augment.strengths import Strengths

_AT_A_TIME = 8
_FARTHEST = 1e5  # pixels

Tables = tuple[jax.Array, jax.Array]  # of `affine_tables`


@functools.partial(jax.jit, static_argnums=0)
def augment_in_stages(
    of: int, key: jax.Array, images: jax.Array, strengths: Strengths, first: jax.Array | int
) -> jax.Array:
    """Does what `skinjax.augment.pipeline.augment_at_once` does, to rounding.

    A photo's result is the same to the bit in whatever part of the batch it stands.

    Args:
      of: Photos of the whole batch.
      key: A JAX random key.
      images: uint8[N, H, W, 3], rows of that batch.
      strengths: How much of each; see `Strengths`.
      first: Which row the first of them is.

    Returns:
      float32[N, H, W, 3] in [0, 1].
    """
    count, height, width, _ = images.shape
    together = math.gcd(count, _AT_A_TIME)
    turns = count // together
    apart = functools.partial(
        _apart, jax.random.uniform(key, ()) < 2
    )  # true, but the compiler does not know it

    # Drawn for the whole batch, whatever the part, so that no bit hangs on how many angles' sines are taken at once.
    def draw_whole(key: jax.Array, strengths: Strengths) -> tuple[Draws, Tables]:
        draws = draw(of, key, strengths)
        return draws, affine_tables(height, width, draws.affine)

    drawn = part(apart(draw_whole, key, strengths), first, count)

    def cut(array: jax.Array) -> jax.Array:
        return array.reshape(together, turns, *array.shape[1:])

    whole = jax.tree.map(cut, (_pack(images), drawn))

    def augment_some(turn: jax.Array, results: jax.Array) -> jax.Array:
        pixels, (draws, tables) = jax.tree.map(
            lambda array: lax.dynamic_index_in_dim(array, turn, axis=1, keepdims=False), whole
        )
        places = apart(functools.partial(_places, height, width), tables)
        corners = apart(functools.partial(_gather_corners, height, width), pixels, places)
        planes = apart(functools.partial(_mix_corners, height, width), corners, tables)
        planes = apart(
            hsv_jitter_planes, planes, draws.hue_shift, draws.saturation_factor, draws.value_factor
        )
        planes = planes.reshape(together, 3, height, width)
        some = _erase(planes, _mean(planes), draws)
        return lax.dynamic_update_index_in_dim(results, some, turn, axis=1)

    blank = jnp.broadcast_to(
        whole[0][..., :1, None, None].astype(jnp.float32), (together, turns, height, width, 3)
    )
    return lax.fori_loop(0, turns, augment_some, blank).reshape(images.shape)


def _apart(always: jax.Array, stage: Callable[..., Any], *operands: Any) -> Any:
    """Computes a stage that the compiler cannot fuse with what comes before or after it."""

    def never(*operands: Any) -> Any:
        return jax.tree.map(lambda values: jnp.zeros_like(values), stage(*operands))

    return lax.cond(always, stage, never, *operands)


def _pack(images: jax.Array) -> jax.Array:
    """Packs uint8[N, H, W, 3] into int32[N, H * W], an integer per pixel."""
    red, green, blue = (images[..., channel].astype(jnp.int32) for channel in range(3))
    return (red | green << 8 | blue << 16).reshape(len(images), -1)


def _cells(height: int, width: int, tables: Tables) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Returns where each pixel of the result comes from.

    Returns:
      The upper left of the four pixels around the place, as row and column (float32[S, H * W], whole numbers), and how
      far down and right of it the place lies, in [0, 1].
    """
    whole, parts = [], []
    by_row, by_column = tables
    for axis, side in enumerate((height, width)):
        places = by_row[:, axis, :, None] + by_column[:, axis, None, :]
        near = jnp.clip(places, -_FARTHEST, _FARTHEST).reshape(len(places), -1) + 0.5
        near = near - 2 * side * jnp.floor(near * (1 / (2 * side)))
        inside = jnp.clip(jnp.minimum(near, 2 * side - near) - 0.5, 0, side - 1)  # mirrored at the edges
        corner = jnp.minimum(jnp.floor(inside), max(side - 2, 0))
        whole.append(corner)
        parts.append(inside - corner)
    return whole[0], whole[1], parts[0], parts[1]


def _places(height: int, width: int, tables: Tables) -> jax.Array:
    """Returns int32[S, H * W]: the upper left pixel of each cell, counted through the photo."""
    row, column, _, _ = _cells(height, width, tables)
    return (row * width + column).astype(jnp.int32)


def _gather_corners(height: int, width: int, pixels: jax.Array, places: jax.Array) -> jax.Array:
    """Returns int32[S, 4, H * W]: the pixels upper left, upper right, lower left and lower right of each place."""
    right, down = min(1, width - 1), min(1, height - 1) * width
    steps = np.array([0, right, down, down + right], np.int32)[:, None]
    read = jax.vmap(lambda photo, places: photo.at[places + steps].get(mode="promise_in_bounds"))
    return read(pixels, places)


def _mix_corners(height: int, width: int, corners: jax.Array, tables: Tables) -> jax.Array:
    """Interpolates between the four pixels: colour planes float32[S, 3, H * W] in [0, 1]."""
    _, _, down, right = (part[:, None] for part in _cells(height, width, tables))
    shift = jnp.array([0, 8, 16], jnp.int32)[:, None]
    upper_left, upper_right, lower_left, lower_right = (
        ((corners[:, corner, None] >> shift) & 255).astype(jnp.float32) for corner in range(4)
    )
    upper = upper_left + right * (upper_right - upper_left)
    lower = lower_left + right * (lower_right - lower_left)
    return (upper + down * (lower - upper)) * (1 / 255)


def _mean(planes: jax.Array) -> jax.Array:
    """Averages float32[S, 3, H, W] in [0, 1] to float32[S, 3]; whole numbers add up to the same in any order."""
    pixels = planes.shape[2] * planes.shape[3]
    scale = 2 ** (30 - math.ceil(math.log2(pixels)))
    return jnp.round(planes * scale).astype(jnp.int32).sum(axis=(2, 3)) * (1 / (scale * pixels))


def _erase(planes: jax.Array, mean: jax.Array, draws: Draws) -> jax.Array:
    """Erases rectangles to the mean colour float32[S, 3] and moves channels last: float32[S, H, W, 3]."""
    _, _, height, width = planes.shape
    inside = rectangles(height, width, draws.centres, draws.sides, draws.erase)[..., None]
    return jnp.where(inside, mean[:, None, None], jnp.moveaxis(planes, 1, -1))
