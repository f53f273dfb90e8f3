"""Placement of a training step: on one device or many, in one process or several.

The step is written once (`skinjax.train.step`), and there are three ways to run it:

* `jit` over a mesh with one axis, `data` (the default): the batch is spread over the devices of all processes and the
  step does not know. Sums over the batch, BatchNorm's among them, go over all of it by themselves.
* `jit` with BatchNorm per device, as data parallelism without synchronised statistics has it: `jax.shard_map` shows
  each device its part of the batch.
* `pmap`: the same step mapped over the devices of one process.

All make the update of one device, to the rounding of sums taken in another order; per-device BatchNorm is the exception
by its nature.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from skinjax.models import compilation
from skinjax.models.ops.layers import DATA_AXIS

Backend = Literal["jit", "pmap"]
BatchNormOver = Literal["global", "per_device"]


class Step(Protocol):
    """A training step: state and loss after it."""

    def __call__(
        self, state: Any, batch: Any, recipe: Any, class_weights: Any, /, *, axis_name: str | None
    ) -> tuple[Any, jax.Array]:
        """Steps."""


@dataclasses.dataclass(frozen=True)
class Parallel:
    """Options of spreading a step over devices.

    Attributes:
      backend: `"jit"` or `"pmap"`.
      batch_norm: over which photos BatchNorm takes its statistics, `"global"` for the whole batch.
      device_count: how many devices, of those of all processes in order; None for all.
    """

    backend: Backend = "jit"
    batch_norm: BatchNormOver = "global"
    device_count: int | None = None

    def __post_init__(self) -> None:
        if self.backend == "pmap" and jax.process_count() > 1:
            raise ValueError(
                f"parallel must be jit with several processes, got pmap with {jax.process_count()} processes"
            )

    @property
    def devices(self) -> list[jax.Device]:
        """Returns the devices in order."""
        return jax.devices()[: self.device_count]

    @property
    def mesh(self) -> Mesh:
        """Returns the mesh of these devices, with one axis, `data`."""
        return Mesh(np.asarray(self.devices), (DATA_AXIS,), axis_types=(AxisType.Auto,))

    @property
    def mapped(self) -> bool:
        """Returns whether the step sees one device's part of the batch at a time."""
        return self.backend == "pmap" or self.batch_norm == "per_device"

    @property
    def batch_norm_axis(self) -> str | None:
        """Returns the mapped axis over which BatchNorm averages, for `skinjax.models.registry.create`."""
        return DATA_AXIS if self.mapped and self.batch_norm == "global" else None

    def check(self, batch_size: int) -> None:
        """Refuses a batch that does not divide.

        Raises:
          ValueError: `batch_size` is no multiple of the devices.
        """
        if batch_size % len(self.devices):
            raise ValueError(
                f"batch_size must be a multiple of the {len(self.devices)} devices, got {batch_size}"
            )

    def compile(self, step: Step) -> Callable[..., tuple[Any, jax.Array]]:
        """Compiles a step (state, batch, recipe, class_weights); the state's buffers are given to the result."""
        if self.backend == "pmap":
            mapped = functools.partial(step, axis_name=DATA_AXIS)
            return compilation.pmap(
                mapped,
                DATA_AXIS,
                gradients=True,
                in_axes=(0, 0, None, None),
                devices=self.devices,
                donate_argnums=0,
            )
        if self.mapped:
            whole, part = PartitionSpec(), PartitionSpec(DATA_AXIS)
            function: Any = jax.shard_map(
                functools.partial(step, axis_name=DATA_AXIS),
                mesh=self.mesh,
                in_specs=(whole, part, whole, whole),
                out_specs=(whole, whole),
                check_vma=False,
            )
        else:
            function = functools.partial(step, axis_name=None)
        return compilation.jit(function, gradients=True, donate_argnums=0)

    def place(self, tree: Any) -> Any:
        """Copies arrays to every device, as `jit` needs them; values must be equal in all processes."""
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        if jax.process_count() == 1:
            return jax.device_put(tree, everywhere)

        def copy(x: Any) -> jax.Array:
            if isinstance(x, jax.Array) and not x.is_fully_addressable:
                return x  # is everywhere already
            value = np.asarray(x)
            return jax.make_array_from_callback(value.shape, everywhere, lambda index: value[index])

        return jax.tree.map(copy, tree)

    def place_state(self, state: Any) -> Any:
        """Puts a state where the compiled step takes it."""
        if self.backend == "jit":
            return self.place(state)
        sharding = NamedSharding(self.mesh, PartitionSpec(DATA_AXIS))
        count = len(self.devices)
        return jax.tree.map(
            lambda x: jax.device_put(jnp.broadcast_to(jnp.asarray(x), (count, *jnp.shape(x))), sharding),
            state,
        )

    def take_state(self, state: Any) -> Any:
        """Returns a state as `place_state` was given it."""
        return state if self.backend == "jit" else jax.tree.map(lambda x: x[0], state)

    def place_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Spreads this process's rows of a batch over its devices; returns at once, the copy goes on behind."""
        sharding = NamedSharding(self.mesh, PartitionSpec(DATA_AXIS))
        if self.backend == "jit":
            return {
                name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()
            }
        count = len(self.devices)
        return {
            name: jax.device_put(value.reshape(count, len(value) // count, *value.shape[1:]), sharding)
            for name, value in batch.items()
        }


def local_mesh() -> Mesh:
    """Returns a mesh of this process's devices."""
    return Mesh(np.asarray(jax.local_devices()), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def local_copy(tree: Any) -> Any:
    """Returns arrays that every device of every process has as arrays of this process's devices alone."""
    everywhere = NamedSharding(local_mesh(), PartitionSpec())

    def copy(x: Any) -> jax.Array:
        mine = x if not isinstance(x, jax.Array) or x.is_fully_addressable else x.addressable_data(0)
        return jax.device_put(mine, everywhere)

    return jax.tree.map(copy, tree)


def gather_rows(rows: np.ndarray) -> np.ndarray:
    """Puts together rows that the processes have, those of the first process first; all must have as many.

    Args:
      rows: [n, ...], of this process.

    Returns:
      [n * processes, ...], the same in every process.
    """
    if jax.process_count() == 1:
        return rows
    gathered = np.asarray(multihost_utils.process_allgather(rows))  # [processes, n, ...]
    return gathered.reshape(-1, *rows.shape[1:])
