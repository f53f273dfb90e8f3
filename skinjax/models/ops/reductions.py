"""Sums over the places of feature maps, fast on CPU as well as on accelerators.

XLA's CPU backend takes ten times as long as memory does for a sum over all places of a map [N, H, W, C]: it goes down
the columns of a long matrix. Here a loop over the rows of the map carries a partial sum [N, W, C], which stays in the
cache, and only that is reduced at the end. The loop has a second virtue: what it reads has to be in memory, so that
XLA cannot compute a long chain of operations anew in each of several sums.

The loop is over an axis that data parallelism never splits, so a batch sharded over devices stays where it is.
Other platforms get XLA's own reductions. Everything is summed in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

Terms = Callable[..., tuple[jax.Array, ...]]
Sums = TypeVar("Sums")


def sums_over_rows(terms: Terms, *maps: jax.Array) -> tuple[jax.Array, ...]:
    """Sums what a function makes of every row of some maps.

    Args:
      terms: Elementwise function of one array per map, float32, to a tuple of arrays of the same shape.
      *maps: Feature maps of one shape [N, H, W, C], floating.

    Returns:
      For each of the terms its sum over H, float32 [N, W, C].

    Example:
      >>> total, squares = sums_over_rows(lambda x: (x, x * x), jnp.full((2, 3, 4, 5), 2.0))
      >>> total.shape, total[0, 0, 0].item(), squares[0, 0, 0].item()
      ((2, 4, 5), 6.0, 12.0)
    """
    sums: tuple[jax.Array, ...] = lax.platform_dependent(
        *maps,
        cpu=functools.partial(_loop, terms),
        default=functools.partial(_reduce, terms),
    )
    return sums


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _reduce(terms: Terms, *maps: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(term.sum(axis=1) for term in terms(*map(_wide, maps)))


def _loop(terms: Terms, *maps: jax.Array) -> tuple[jax.Array, ...]:
    def row(index: int | jax.Array) -> tuple[jax.Array, ...]:
        return terms(*(_wide(lax.dynamic_index_in_dim(x, index, axis=1, keepdims=False)) for x in maps))

    def add(index: int | jax.Array, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return tuple(total + term for total, term in zip(sums, row(index), strict=True))

    start = tuple(jnp.zeros(leaf.shape, leaf.dtype) for leaf in jax.eval_shape(row, 0))
    return add_rows(maps[0].shape[1], add, start)


def add_rows(rows: int, add: Callable[[int | jax.Array, Sums], Sums], start: Sums) -> Sums:
    """Folds `sums = add(row, sums)` over rows, four in a turn of the loop: sums are read and written once per turn.

    A turn's rows must be fetched one by one: XLA's CPU backend would write out a slice of several that is used more
    than once. There are always two turns or more: of a single one it makes no loop, and then a slow reduction.

    Args:
      rows: Number of rows, at least 1.
      add: Function that adds the row of this number.
      start: What the first row is added to.

    Returns:
      The sums after the last row.
    """
    turn = min(4, max(1, rows // 2))

    def add_turn(first: int | jax.Array, sums: Sums, count: int = turn) -> Sums:
        for offset in range(count):
            sums = add(first + offset, sums)
        return sums

    rest = rows % turn
    sums: Sums = lax.fori_loop(
        0, rows // turn, lambda index, sums: add_turn(index * turn, sums), add_turn(rows - rest, start, rest)
    )
    return sums


@jax.custom_vjp
def spatial_mean(x: jax.Array) -> jax.Array:
    """Averages every channel of a map over its places.

    Args:
      x: Feature maps [N, H, W, C], floating.

    Returns:
      float32 [N, C].

    Example:
      >>> spatial_mean(jnp.arange(8.0).reshape(1, 2, 2, 2)).tolist()
      [[3.0, 4.0]]
    """
    (total,) = sums_over_rows(lambda rows: (rows,), x)
    return total.sum(axis=1) / (x.shape[1] * x.shape[2])


def _spatial_mean_fwd(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return spatial_mean(x), x


def _spatial_mean_bwd(x: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    share = gradient[:, None, None] / (x.shape[1] * x.shape[2])
    return (jnp.broadcast_to(share, x.shape).astype(x.dtype),)


spatial_mean.defvjp(_spatial_mean_fwd, _spatial_mean_bwd)


@jax.custom_vjp
def scale_channels(x: jax.Array, gate: jax.Array) -> jax.Array:
    """Multiplies every channel of a map by one number per photo.

    Args:
      x: Feature maps [N, H, W, C], floating.
      gate: [N, C] of the same dtype.

    Returns:
      [N, H, W, C] of the same dtype.

    Example:
      >>> scale_channels(jnp.ones((1, 2, 2, 2)), jnp.array([[2.0, 3.0]]))[0, 1, 1].tolist()
      [2.0, 3.0]
    """
    return x * gate[:, None, None]


def _scale_channels_fwd(x: jax.Array, gate: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return scale_channels(x, gate), (x, gate)


def _scale_channels_bwd(
    residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, gate = residuals
    (total,) = sums_over_rows(lambda values, change: (values * change,), x, gradient)
    return gradient * gate[:, None, None], total.sum(axis=1).astype(gate.dtype)


scale_channels.defvjp(_scale_channels_fwd, _scale_channels_bwd)
