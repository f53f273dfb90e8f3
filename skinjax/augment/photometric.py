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
    return jnp.stack(_hue_saturation_value(rgb[..., 0], rgb[..., 1], rgb[..., 2]), axis=-1)


def _hue_saturation_value(
    red: jax.Array, green: jax.Array, blue: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    safe_chroma = jnp.where(chroma > 0, chroma, 1.0)
    difference = jnp.where(value == red, green - blue, jnp.where(value == green, blue - red, red - green))
    sixths = difference / safe_chroma + jnp.where(value == red, 0.0, jnp.where(value == green, 2.0, 4.0))
    hue = sixths * (1 / 6)
    hue = jnp.where(chroma > 0, hue - jnp.floor(hue), 0.0)
    saturation = jnp.where(value > 0, chroma / jnp.where(value > 0, value, 1.0), 0.0)
    return hue, saturation, value


def hsv_to_rgb(hsv: jax.Array) -> jax.Array:
    """Converts hue (in turns, any real number), saturation and value to RGB.

    Args:
      hsv: float32[..., 3], saturation and value in [0, 1].

    Returns:
      float32[..., 3] in [0, 1].
    """
    hue, saturation, value = hsv[..., :1], hsv[..., 1:2], hsv[..., 2:]
    return _colour(jnp.array(_OFFSETS), hue, saturation, value)


_OFFSETS = (5.0, 3.0, 1.0)  # of red, green and blue on the colour circle, in sixths


def _colour(offset: jax.Array, hue: jax.Array, saturation: jax.Array, value: jax.Array) -> jax.Array:
    sixths = offset + 6 * hue
    sixths = sixths - 6 * jnp.floor(sixths * (1 / 6))  # float % is several times slower on CPU
    return value - value * saturation * jnp.clip(jnp.minimum(sixths, 4 - sixths), 0.0, 1.0)


def hsv_jitter(
    images: jax.Array, hue_shift: jax.Array, saturation_factor: jax.Array, value_factor: jax.Array
) -> jax.Array:
    """Shifts hue and scales saturation and value, one draw per photo.

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


def hsv_jitter_planes(
    planes: jax.Array, hue_shift: jax.Array, saturation_factor: jax.Array, value_factor: jax.Array
) -> jax.Array:
    """Does what `hsv_jitter` does, to colour planes.

    Args:
      planes: float32[N, 3, P] in [0, 1]: red, green and blue.
      hue_shift: float32[N] in turns.
      saturation_factor: float32[N], the result clipped to [0, 1].
      value_factor: float32[N], the result clipped to [0, 1].

    Returns:
      float32[N, 3, P] in [0, 1].
    """
    hue, saturation, value = _hue_saturation_value(planes[:, :1], planes[:, 1:2], planes[:, 2:])

    def per_photo(draw: jax.Array) -> jax.Array:
        return draw[:, None, None]

    return _colour(
        jnp.array(_OFFSETS)[:, None],
        hue + per_photo(hue_shift),
        jnp.clip(saturation * per_photo(saturation_factor), 0.0, 1.0),
        jnp.clip(value * per_photo(value_factor), 0.0, 1.0),
    )
