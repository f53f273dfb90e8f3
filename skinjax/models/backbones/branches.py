"""Inception modules as tables: branches of convolutions and poolings that read one map and are joined again.

A branch is a sequence of steps: a `Unit` (convolution, normalisation, rectifier), a pooling, or a `Fork`, whose
units all read what stands before it. The unit at step s of branch b is called `branch_b_s`, those of a fork
`branch_b_sa`, `branch_b_sb`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from skinjax.models.ops.normalization import Norm, conv_norm
from skinjax.models.ops.pooling import average_pool, max_pool


@dataclasses.dataclass(frozen=True)
class Unit:
    """A convolution without bias, batch normalisation and a rectifier."""

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


@dataclasses.dataclass(frozen=True)
class Fork:
    """Units that read the same map and whose outputs are joined."""

    units: tuple[Unit, ...]


@dataclasses.dataclass(frozen=True)
class Pool:
    """Pooling over 3 × 3 windows: the mean with stride 1 and "SAME", or the maximum with stride 2 and "VALID"."""

    kind: str


MEAN_POOL, MAX_POOL = Pool("mean"), Pool("max")
Branch = tuple[Unit | Fork | Pool, ...]


def conv(features: int, rows: int = 1, columns: int | None = None) -> Unit:
    """Makes a unit of stride 1 that keeps the map's size.

    Example:
      >>> conv(64, 5).kernel, conv(192, 1, 7).kernel
      ((5, 5), (1, 7))
    """
    return Unit(features, (rows, rows if columns is None else columns))


def reduce(features: int) -> Unit:
    """Makes a 3 × 3 unit of stride 2 that takes no padding."""
    return Unit(features, (3, 3), 2, "VALID")


def unit_names(branches: tuple[Branch, ...]) -> Iterator[str]:
    """Yields the names of the units, branch by branch and step by step.

    Example:
      >>> list(unit_names(((conv(8),), (MEAN_POOL, conv(8), Fork((conv(4, 1, 3), conv(4, 3, 1)))))))
      ['branch_0_0', 'branch_1_1', 'branch_1_2a', 'branch_1_2b']
    """
    for b, branch in enumerate(branches):
        for s, step in enumerate(branch):
            if isinstance(step, Unit):
                yield f"branch_{b}_{s}"
            elif isinstance(step, Fork):
                yield from (f"branch_{b}_{s}{letter}" for letter, _ in zip("ab", step.units, strict=True))


def run_branches(
    x: jax.Array, branches: tuple[Branch, ...], norm: Norm, *, train: bool, counts_padding: bool = False
) -> jax.Array:
    """Runs the branches on one map and joins their channels.

    To be called inside of a compact Linen method, whose module gets the layers.

    Args:
      x: Feature maps [N, H, W, in].
      branches: The table.
      norm: Settings of normalisations.
      train: Whether to normalise by the batch's own statistics.
      counts_padding: Whether mean pooling counts the padding.

    Returns:
      Feature maps [N, H', W', channels of all branches].
    """

    def run(unit: Unit, name: str, x: jax.Array) -> jax.Array:
        return conv_norm(
            x,
            name,
            unit.features,
            unit.kernel,
            norm,
            train=train,
            stride=unit.stride,
            padding=unit.padding,
        )

    outputs = []
    for b, branch in enumerate(branches):
        y = x
        for s, step in enumerate(branch):
            name = f"branch_{b}_{s}"
            if isinstance(step, Unit):
                y = run(step, name, y)
            elif isinstance(step, Fork):
                y = jnp.concatenate(
                    [run(u, name + c, y) for c, u in zip("ab", step.units, strict=True)], axis=-1
                )
            elif step == MEAN_POOL:
                y = average_pool(y, 3, 1, counts_padding=counts_padding)
            else:
                y = max_pool(y, 3, 2, "VALID")
        outputs.append(y)
    return jnp.concatenate(outputs, axis=-1)
