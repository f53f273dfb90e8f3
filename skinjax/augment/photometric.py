"""Colour augmentation. Pixels are float32 in [0, 1], channels last; results are clipped to [0, 1]."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def rgb_to_hsv(rgb: jax.Array) -> jax.Array:
    """Converts RGB to hue (in turns, [0, 1)), saturation and value (Smith 1978).

    Args:
      rgb: float32[..., 3] in [0, 1].

    Returns:
      float32[..., 3] in [0, 1]; grey has hue 0, black saturation 0.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    safe_chroma = jnp.where(chroma > 0, chroma, 1.0)
    sixths = jnp.where(
        value == red,
        (green - blue) / safe_chroma,
        jnp.where(value == green, (blue - red) / safe_chroma + 2, (red - green) / safe_chroma + 4),
    )
    hue = sixths / 6
    hue = jnp.where(chroma > 0, hue - jnp.floor(hue), 0.0)
    saturation = jnp.where(value > 0, chroma / jnp.where(value > 0, value, 1.0), 0.0)
    return jnp.stack([hue, saturation, value], axis=-1)


def hsv_to_rgb(hsv: jax.Array) -> jax.Array:
    """Converts hue (in turns, any real number), saturation and value to RGB.

    Args:
      hsv: float32[..., 3], saturation and value in [0, 1].

    Returns:
      float32[..., 3] in [0, 1].
    """
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]

    def channel(offset: float) -> jax.Array:
        sixths = offset + 6 * hue
        sixths = sixths - 6 * jnp.floor(sixths / 6)  # float % is several times slower on CPU
        return value - value * saturation * jnp.clip(jnp.minimum(sixths, 4 - sixths), 0.0, 1.0)

    return jnp.stack([channel(5.0), channel(3.0), channel(1.0)], axis=-1)


def hsv_jitter(
    images: jax.Array, hue_shift: jax.Array, saturation_factor: jax.Array, value_factor: jax.Array
) -> jax.Array:
    """Shifts hue and scales saturation and value, one draw a photo.

    Args:
      images: float32[N, H, W, 3] in [0, 1].
      hue_shift: float32[N] in turns.
      saturation_factor: float32[N], the result clipped to [0, 1].
      value_factor: float32[N], the result clipped to [0, 1].

    Returns:
      float32[N, H, W, 3] in [0, 1].
    """
    hsv = rgb_to_hsv(images)

    def per_photo(draw: jax.Array) -> jax.Array:
        return draw[:, None, None]

    return hsv_to_rgb(
        jnp.stack(
            [
                hsv[..., 0] + per_photo(hue_shift),
                jnp.clip(hsv[..., 1] * per_photo(saturation_factor), 0.0, 1.0),
                jnp.clip(hsv[..., 2] * per_photo(value_factor), 0.0, 1.0),
            ],
            axis=-1,
        )
    )
