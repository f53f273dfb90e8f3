"""Pooling over 3 × 3 and 2 × 2 windows, as sums and maxima of shifted views.

XLA's CPU backend takes several times as long for its own window reductions, most of all backwards. Of views
that are as large as the result it makes one pass over memory.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]


def average_pool(
    x: jax.Array, size: int, stride: int, padding: str = "SAME", *, counts_padding: bool = False
) -> jax.Array:
    """Averages over windows.

    Args:
      x: Feature maps [N, H, W, C].
      size: Rows and columns of a window.
      stride: Step of both spatial axes.
      padding: "SAME" (TensorFlow's) or "VALID".
      counts_padding: True divides by the window's size everywhere, as PyTorch does by default; False by what of
        the window lies on the map, as TensorFlow does.

    Returns:
      Feature maps [N, H', W', C].

    Example:
      >>> average_pool(jnp.ones((1, 3, 3, 1)), 3, 1)[0, 0, 0, 0].item()
      1.0
      >>> round(average_pool(jnp.ones((1, 3, 3, 1)), 3, 1, counts_padding=True)[0, 0, 0, 0].item(), 3)
      0.444
    """
    pads = _pads(x.shape, size, stride, padding)
    views = _views(x, size, stride, pads, 0.0)
    total = functools.reduce(jnp.add, (view.astype(jnp.float32) for view in views))
    if counts_padding or not any(map(any, pads)):
        return (total / (size * size)).astype(x.dtype)
    counts = [
        _window_counts(extent, size, stride, pad) for extent, pad in zip(x.shape[1:3], pads, strict=True)
    ]
    weights = jnp.asarray(1 / np.outer(*counts), jnp.float32)
    return (total * weights[:, :, None]).astype(x.dtype)


def max_pool(x: jax.Array, size: int, stride: int, padding: str | Pads = "SAME") -> jax.Array:
    """Takes the largest value of every window; the padding is never the largest.

    Where several values of a window are the largest, the first has the gradient.

    Args:
      x: Feature maps [N, H, W, C].
      size: Rows and columns of a window.
      stride: Step of both spatial axes.
      padding: "SAME" (TensorFlow's), "VALID", or explicit ((top, bottom), (left, right)).

    Returns:
      Feature maps [N, H', W', C].

    Example:
      >>> max_pool(jnp.arange(9.0).reshape(1, 3, 3, 1), 2, 1, "VALID")[0, :, :, 0].tolist()
      [[4.0, 5.0], [7.0, 8.0]]
    """
    return _max_pool(x, size, stride, _pads(x.shape, size, stride, padding))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x: jax.Array, size: int, stride: int, pads: Pads) -> jax.Array:
    return functools.reduce(jnp.maximum, _views(x, size, stride, pads, -math.inf))


def _max_pool_fwd(
    x: jax.Array, size: int, stride: int, pads: Pads
) -> tuple[jax.Array, tuple[tuple[int, ...], jax.Array]]:
    """Keeps which view won, the first of equals.

    Comparing values on the way back would not do: XLA may compute them anew there, and round them otherwise.
    """
    views = _views(x, size, stride, pads, -math.inf)
    largest, winner = views[0], jnp.zeros(views[0].shape, jnp.int8)
    for number, view in enumerate(views[1:], 1):
        winner = jnp.where(view > largest, jnp.int8(number), winner)
        largest = jnp.maximum(largest, view)
    return largest, (x.shape, winner)


def _max_pool_bwd(
    size: int, stride: int, pads: Pads, residuals: tuple[tuple[int, ...], jax.Array], gradient: jax.Array
) -> tuple[jax.Array]:
    """Returns the gradient: row p = stride q + r of the padded map is in the windows q - m, at row r + stride m.

    So each of the stride² phases of the map looks at a few shifted views of the windows' results.
    """
    (batch, height, width, channels), winner = residuals
    rows, columns = winner.shape[1:3]
    phase_rows, phase_columns = -(-(height + pads[0][0]) // stride), -(-(width + pads[1][0]) // stride)
    reach = (size - 1) // stride
    border = ((0, 0, 0), (reach, phase_rows - rows, 0), (reach, phase_columns - columns, 0), (0, 0, 0))
    winner = lax.pad(winner, jnp.int8(-1), border)
    share = lax.pad(gradient, jnp.zeros((), gradient.dtype), border)
    phases = []
    for row in range(stride):
        for column in range(stride):
            total = jnp.zeros((batch, phase_rows, phase_columns, channels), gradient.dtype)
            for m, i in enumerate(range(row, size, stride)):
                for n, j in enumerate(range(column, size, stride)):
                    top, left = reach - m, reach - n
                    window = (slice(None), slice(top, top + phase_rows), slice(left, left + phase_columns))
                    total = total + jnp.where(winner[window] == i * size + j, share[window], 0)
            phases.append(total)
    woven = jnp.stack(phases, axis=3).reshape(batch, phase_rows, phase_columns, stride, stride, channels)
    woven = woven.transpose(0, 1, 3, 2, 4, 5).reshape(
        batch, phase_rows * stride, phase_columns * stride, channels
    )
    top, left = pads[0][0], pads[1][0]
    return (woven[:, top : top + height, left : left + width],)


_max_pool.defvjp(_max_pool_fwd, _max_pool_bwd)


def _pads(shape: tuple[int, ...], size: int, stride: int, padding: str | Pads) -> Pads:
    if not isinstance(padding, str):
        return padding
    rows, columns = lax.padtype_to_pads(shape[1:3], (size, size), (stride, stride), padding)
    return (rows[0], rows[1]), (columns[0], columns[1])


def _views(x: jax.Array, size: int, stride: int, pads: Pads, filling: float) -> list[jax.Array]:
    """Returns the size² strided views of the padded map, each with a value per window."""
    padded = lax.pad(x, jnp.asarray(filling, x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))
    rows, columns = ((extent - size) // stride + 1 for extent in padded.shape[1:3])

    def view(i: int, j: int) -> jax.Array:
        # Not by indexing, which of a symbolic number of photos gathers.
        limits = (x.shape[0], i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1, x.shape[3])
        return lax.slice(padded, (0, i, j, 0), limits, (1, stride, stride, 1))

    return [view(i, j) for i in range(size) for j in range(size)]


def _window_counts(extent: int, size: int, stride: int, pad: tuple[int, int]) -> np.ndarray:
    """Counts the rows (or columns) of each window that lie on the map."""
    inside = np.pad(np.ones(extent, np.int64), pad)
    starts = np.arange(0, len(inside) - size + 1, stride)
    return np.array([inside[start : start + size].sum() for start in starts])
