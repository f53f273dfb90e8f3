"""From photos to the numbers a network was trained on.

Each family's pretrained weights expect pixels of their own mean and spread; feeding them any other range
costs accuracy and raises nothing. The range is data of the model's spec: `mean` and `std`, on the scale
where black is 0 and white is 1.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from skinjax.models.spec import ModelSpec


def normalize(images: jax.Array, spec: ModelSpec) -> jax.Array:
    """Brings photos into the range that the family was trained in: (pixel - mean) / std, per channel.

    The dtype says which range the photos are in: uint8 holds 0 to 255, and a floating dtype holds 0 to 1,
    which is what `skinjax.augment` returns. Values are not clipped.

    Args:
      images: RGB photos [N, H, W, 3]; uint8 in 0..255, or floating in [0, 1].
      spec: The model's row in the registry.

    Returns:
      float32 [N, H, W, 3].

    Raises:
      ValueError: The shape or dtype is another.

    Example:
      >>> from skinjax.models.registry import spec
      >>> white = jnp.full((1, 2, 2, 3), 255, jnp.uint8)
      >>> [round(float(value), 3) for value in normalize(white, spec("efficientnet_b0"))[0, 0, 0]]
      [2.249, 2.429, 2.64]
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images must be of shape [N, H, W, 3], got {list(images.shape)}")
    if images.dtype == jnp.uint8:
        scaled = images.astype(jnp.float32) / 255
    elif jnp.issubdtype(images.dtype, jnp.floating):
        scaled = images.astype(jnp.float32)
    else:
        raise ValueError(f"images must be uint8 in 0..255 or floating in [0, 1], got {images.dtype}")
    mean, std = (jnp.asarray(values, jnp.float32) for values in (spec.mean, spec.std))
    return (scaled - mean) / std
