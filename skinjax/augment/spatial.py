"""Geometric augmentation. Pixels are float32, channels last; what lies outside a photo is its mirror image."""

from __future__ import annotations

import jax
import jax.numpy as jnp

_FARTHEST = 1e5  # pixels


def affine_map(
    *,
    rotation: jax.Array,
    translation_y: jax.Array,
    translation_x: jax.Array,
    zoom: jax.Array,
    shear_y: jax.Array,
    shear_x: jax.Array,
    mirror_y: jax.Array,
    mirror_x: jax.Array,
) -> jax.Array:
    """Returns where the pixels of the result come from, as a matrix and a shift.

    The photo is mirrored, sheared, zoomed and rotated about its centre and then moved; this is the inverse of that map.

    Args:
      rotation: float32[N], radians.
      translation_y: float32[N], share of the height.
      translation_x: float32[N], share of the width.
      zoom: float32[N], above 1 enlarges.
      shear_y: float32[N], tangent of the shear angle.
      shear_x: float32[N], tangent of the shear angle.
      mirror_y: bool[N], flipped up-down.
      mirror_x: bool[N], flipped left-right.

    Returns:
      float32[N, 6]: source row by row and by column, source column by row and by column, all from the centre, then the
      two translations.
    """
    cosine, sine = jnp.cos(rotation) / zoom, jnp.sin(rotation) / zoom
    # Inverse rotation and zoom, then inverse shear; the shear matrix [[1, x], [y, 1]] has determinant 1 - xy.
    determinant = 1 - shear_x * shear_y
    flip_y = jnp.where(mirror_y, -1.0, 1.0) / determinant
    flip_x = jnp.where(mirror_x, -1.0, 1.0) / determinant
    return jnp.stack(
        [
            flip_y * (cosine + shear_y * sine),
            flip_y * (sine - shear_y * cosine),
            flip_x * (-sine - shear_x * cosine),
            flip_x * (cosine - shear_x * sine),
            translation_y,
            translation_x,
        ],
        axis=-1,
    )


def affine_tables(height: int, width: int, affine: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the two parts, one by row and one by column, that add up to where each pixel of the result comes from.

    Args:
      height: Of the photo in pixels.
      width: Of the photo in pixels.
      affine: float32[N, 6], see `affine_map`.

    Returns:
      float32[N, 2, H] and float32[N, 2, W], of source row and column; pixel (i, j) comes from the sum of the i-th of
      the former and the j-th of the latter.
    """
    centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
    rows = jnp.arange(height) - centre_y - affine[:, 4:5] * height
    columns = jnp.arange(width) - centre_x - affine[:, 5:6] * width
    by_row = affine[:, 0:4:2, None] * rows[:, None] + jnp.array([centre_y, centre_x], jnp.float32)[:, None]
    return by_row, affine[:, 1:4:2, None] * columns[:, None]


def affine_coordinates(height: int, width: int, affine: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns where each pixel of the result comes from.

    Args:
      height: Of the photo in pixels.
      width: Of the photo in pixels.
      affine: float32[N, 6], see `affine_map`.

    Returns:
      Source row and column of each pixel, two arrays float32[N, H, W], unbounded.
    """
    by_row, by_column = affine_tables(height, width, affine)
    rows, columns = (by_row[:, axis, :, None] + by_column[:, axis, None, :] for axis in range(2))
    return rows, columns


def _mirror(index: jax.Array, size: int) -> jax.Array:
    """Folds whole numbers (as floats) into 0..size-1 by mirroring at the edges, the edge pixel repeated."""
    period = 2 * size
    folded = index - period * jnp.floor(index / period)  # integer division is slower on CPU
    return jnp.minimum(folded, period - 1 - folded).astype(jnp.int32)


def sample_bilinear(images: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Reads photos at real-valued places, mirrored beyond their edges.

    Args:
      images: uint8 or float32[N, H, W, C].
      rows: float32[N, H', W'].
      columns: float32[N, H', W'].

    Returns:
      float32[N, H', W', C] in the range of `images`.
    """
    count, height, width, channels = images.shape
    pixels = images.reshape(count, height * width, channels)
    # Whatever the map, places stay where a float still tells pixels apart, and reading stays within bounds.
    rows, columns = (jnp.clip(places, -_FARTHEST, _FARTHEST) for places in (rows, columns))
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = rows - top, columns - left
    row_indices = [_mirror(top, height) * width, _mirror(top + 1, height) * width]
    column_indices = [_mirror(left, width), _mirror(left + 1, width)]

    def corner(below: int, beside: int) -> jax.Array:
        index = (row_indices[below] + column_indices[beside]).reshape(count, -1)
        read = jax.vmap(lambda photo, places: photo.at[places].get(mode="promise_in_bounds"))(pixels, index)
        weight = (down if below else 1 - down) * (right if beside else 1 - right)
        return read.reshape(*rows.shape, channels).astype(jnp.float32) * weight[..., None]

    return corner(0, 0) + corner(0, 1) + corner(1, 0) + corner(1, 1)


def rectangles(height: int, width: int, centres: jax.Array, sides: jax.Array, erase: jax.Array) -> jax.Array:
    """Returns which pixels lie in a rectangle.

    Args:
      height: Of the photo in pixels.
      width: Of the photo in pixels.
      centres: float32[N, R, 2], (row, column) as shares of height and width.
      sides: float32[N, R, 2], (height, width) as shares.
      erase: bool[N, R], which rectangles are drawn.

    Returns:
      bool[N, H, W].
    """
    rows = (jnp.arange(height) + 0.5)[None, None, :] / height
    columns = (jnp.arange(width) + 0.5)[None, None, :] / width
    inside_rows = jnp.abs(rows - centres[..., :1]) < sides[..., :1] / 2
    inside_columns = jnp.abs(columns - centres[..., 1:]) < sides[..., 1:] / 2
    inside = inside_rows[..., :, None] & inside_columns[..., None, :] & erase[..., None, None]
    return jnp.any(inside, axis=1)


def cutout(images: jax.Array, centres: jax.Array, sides: jax.Array, erase: jax.Array) -> jax.Array:
    """Erases rectangles to each photo's mean colour (DeVries and Taylor 2017).

    Args:
      images: float32[N, H, W, C].
      centres: float32[N, R, 2], (row, column) as shares of height and width.
      sides: float32[N, R, 2], (height, width) as shares.
      erase: bool[N, R], which rectangles are drawn.

    Returns:
      float32[N, H, W, C].
    """
    _, height, width, _ = images.shape
    inside = rectangles(height, width, centres, sides, erase)
    return jnp.where(inside[..., None], jnp.mean(images, axis=(1, 2), keepdims=True), images)
