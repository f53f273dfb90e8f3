"""Memory and time of a training step: estimated from shapes alone, and measured on a few steps."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from skinjax.data.pipeline.loader import Subset, training_batches
from skinjax.models.registry import variable_shapes
from skinjax.models.spec import ModelSpec
from skinjax.train.heads import Head
from skinjax.train.loop import STEP_INPUTS, Settings, class_weights
from skinjax.train.method import Method
from skinjax.train.state import Recipe, as_variables, create_state
from skinjax.train.step import compiled_train_step, make_optimizer, rate_factors

SCRATCH = 1.4
"""XLA's scratch per byte that is kept for the backward pass: 1.3 to 1.4 by its own estimates for EfficientNet-Lite0 and
B6 (`benchmarks/memory.py`)."""
COPIES = 5
"""Copies of the parameters: themselves, gradients, two moments and an average."""


@dataclasses.dataclass(frozen=True)
class StepCost:
    """Cost of a training step, as measured.

    Attributes:
      compilation: Seconds of the first step, compilation included, less those of another.
      seconds: Of a step, the median.
      memory: Largest memory in bytes: of the device, or on a CPU resident memory of the process.
    """

    compilation: float
    seconds: float
    memory: int


def step_bytes(model: nn.Module, spec: ModelSpec, method: Method, batch_size: int, image_size: int) -> int:
    """Estimates the memory that a training step takes on all devices together, by what its backward pass keeps.

    Args:
      model: A network that reads photos alone.
      spec: Its specification.
      method: Whose `accumulate` parts a batch.
      batch_size: Photos per update.
      image_size: Side of the photos in pixels.

    Returns:
      Bytes, to about a third; traced, not compiled.

    >>> from skinjax.models.registry import create, spec
    >>> nano = create("efficientnet_nano", 2), spec("efficientnet_nano")
    >>> whole, half = (step_bytes(*nano, Method(accumulate=parts), 32, 64) for parts in (1, 2))
    >>> 1.5 < whole / half < 2.1
    True
    """
    variables = variable_shapes(model, spec)
    photos = max(batch_size // method.accumulate, 1)
    images = jax.ShapeDtypeStruct((photos, image_size, image_size, 3), jnp.float32)

    def kept(params: Any, stats: Any, images: jax.Array) -> Any:
        def forward(params: Any) -> jax.Array:
            logits, _ = model.apply(
                as_variables(params, stats), images, train=True, mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(0)},
            )  # fmt: skip
            return logits

        return jax.vjp(forward, params)[1]

    found = jax.eval_shape(kept, variables["params"], variables.get("batch_stats", {}), images)
    residuals, params = _bytes(found), _bytes(variables["params"])
    return int(SCRATCH * max(residuals - params, 0)) + COPIES * params


def measure_step(
    model: nn.Module,
    spec: ModelSpec,
    variables: dict[str, Any],
    train: Subset,
    recipe: Recipe,
    settings: Settings,
    *,
    steps: int = 3,
) -> StepCost:
    """Takes a few training steps, whose result is thrown away.

    Args:
      model: A network of `skinjax.models`.
      spec: Its specification.
      variables: Of the network.
      train: The photos, a batch at least.
      recipe: Hyper-parameters.
      settings: The rest.
      steps: Steps that are timed, after one that compiles.
    """
    method, parallel = settings.method, settings.parallel
    traced = jax.tree.map(jnp.float32, recipe)
    head = Head.of(model, method)
    weights = head.widen_weights(jnp.asarray(class_weights(train.labels, model.num_classes, settings)))
    optimizer = make_optimizer(traced, method, rate_factors(variables["params"], spec, method))
    state = create_state(variables, optimizer, settings.seed, averaged=method.average_decay > 0)
    placed = parallel.place_state(head.widen(parallel.place(state)))
    if parallel.backend != "pmap":
        traced, weights = parallel.place((traced, weights))
    step, times = compiled_train_step(head.model, spec, method, parallel), []
    for batch in training_batches(
        train, settings.batch_size, settings.seed, steps=steps + 1, threads=settings.threads
    ):
        photos = parallel.place_batch({name: batch[name] for name in STEP_INPUTS if name in batch})
        began = time.monotonic()
        placed, loss = step(placed, photos, traced, weights)
        jax.block_until_ready(loss)
        times.append(time.monotonic() - began)
    seconds = statistics.median(times[1:])
    return StepCost(max(times[0] - seconds, 0.0), seconds, peak_memory())


def peak_memory() -> int:
    """Returns the largest memory so far in bytes: of the first device, or on a CPU resident memory of the process."""
    told = jax.local_devices()[0].memory_stats()
    if told and "peak_bytes_in_use" in told:
        return int(told["peak_bytes_in_use"])
    import resource  # Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def available_memory() -> int | None:
    """Returns the bytes that training may take: of one device, or on a CPU of the machine; None where that is unknown.

    On Linux that is what the system calls available, or a container's limit, if lower.
    """
    told = jax.local_devices()[0].memory_stats()
    if told and "bytes_limit" in told:
        return int(told["bytes_limit"])
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # it is "max" where there is no limit
            found.append(int(Path(name).read_text(encoding="ascii")))
    return min(found, default=None)


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
