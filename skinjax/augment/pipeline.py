"""The whole augmentation of a batch, as one pure function."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from skinjax.augment.draws import draw, part
from skinjax.augment.photometric import hsv_jitter
from skinjax.augment.spatial import affine_coordinates, cutout, sample_bilinear
from skinjax.augment.staged import augment_in_stages
from skinjax.augment.strengths import DEFAULT_STRENGTHS, Strengths
from skinjax.files.keys import check_key


def scale_pixels(images: jax.Array) -> jax.Array:
    """Scales uint8 photos (0..255) to float32 in [0, 1], as `augment` does with `NO_AUGMENTATION`, to rounding."""
    return images.astype(jnp.float32) / 255


def augment(
    key: jax.Array,
    images: jax.Array,
    strengths: Strengths = DEFAULT_STRENGTHS,
    *,
    place: tuple[int | jax.Array, int] | None = None,
) -> jax.Array:
    """Augments a batch: geometry, then colour, then Cutout (thesis, section 4.1; strengths: Table 4-1).

    A photo's result depends on the key, its place in the batch and itself alone. All random numbers are drawn first,
    in one call; strengths scale them, so that they may be traced values and the shapes never change.

    A device or process that holds only some rows of a batch says with `place` which, and gets the rows that augmenting
    the whole batch would give.

    Args:
      key: A JAX random key.
      images: uint8[N, H, W, 3] in 0..255.
      strengths: How much of each; see `Strengths`.
      place: (first, of): these photos are rows first, first + 1, ... of a batch of `of` photos; `first` may be traced.
        None for a batch that is whole.

    Returns:
      float32[N, H, W, 3] in [0, 1].

    Raises:
      ValueError: `key` is not a random key, or `images` is not uint8[N, H, W, 3], or more than the batch it is part of.

    >>> from skinjax.augment import NO_AUGMENTATION
    >>> photo = jnp.full((1, 8, 8, 3), 51, jnp.uint8)
    >>> round(float(augment(jax.random.key(0), photo, NO_AUGMENTATION).max()), 4)
    0.2
    """
    check_key("key", key)
    if not hasattr(images, "dtype"):
        raise ValueError(f"images must be an array uint8[N, H, W, 3], got a {type(images).__name__}")
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != jnp.uint8:
        raise ValueError(f"images must be uint8[N, H, W, 3], got {images.dtype}{list(images.shape)}")
    first, of = place or (0, len(images))
    if len(images) > of:
        raise ValueError(
            f"place must be (first, photos of the whole batch), got {of} for {len(images)} photos"
        )
    return jax.lax.platform_dependent(
        key,
        images,
        strengths,
        first,
        cpu=functools.partial(augment_in_stages, of),
        default=functools.partial(augment_at_once, of),
    )


def augment_at_once(
    of: int, key: jax.Array, images: jax.Array, strengths: Strengths, first: jax.Array | int
) -> jax.Array:
    """Augments in one expression, for the compiler of a GPU or TPU to fuse.

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
    draws = part(draw(of, key, strengths), first, count)
    moved = sample_bilinear(images, *affine_coordinates(height, width, draws.affine)) / 255
    jittered = hsv_jitter(moved, draws.hue_shift, draws.saturation_factor, draws.value_factor)
    return cutout(jittered, draws.centres, draws.sides, draws.erase)
