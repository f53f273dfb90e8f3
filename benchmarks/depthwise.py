"""Depthwise convolution on CPU: ours against XLA's grouped convolution, alone and inside EfficientNet-B0.

    python -m benchmarks.depthwise             # about five minutes on two cores
    python -m benchmarks.depthwise --quick     # single operations only

The two are timed in turn, round by round, so that whatever else the machine does falls on both; the speed-up
is the median over the rounds of the ratio within a round. Compilation is timed once and not counted.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skinjax.models.ops import depthwise, layers
from skinjax.models.registry import create, init_variables

# Batch, rows and columns, channels, kernel, stride: depthwise convolutions of B0 at 224 px.
OPERATIONS = (
    (8, 112, 32, 3, 1),
    (8, 112, 96, 3, 2),
    (8, 56, 144, 5, 2),
    (8, 28, 240, 5, 1),
    (8, 14, 672, 5, 1),
    (8, 7, 1152, 5, 1),
)


def grouped_conv(x: jax.Array, kernel: jax.Array, strides: int = 1, padding: Any = "SAME") -> jax.Array:
    """Computes XLA's grouped convolution behind the same arguments."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[3],
    )


CONVOLUTIONS = {"grouped": grouped_conv, "ours": depthwise.depthwise_conv}


def compare(name: str, programs: Mapping[str, Callable[[], Any]], rounds: int) -> None:
    """Prints a row: milliseconds of both, the speed-up, seconds until both had run for the first time."""
    first = {}
    for label, program in programs.items():
        start = time.perf_counter()
        jax.block_until_ready(program())
        first[label] = time.perf_counter() - start
    times: dict[str, list[float]] = {label: [] for label in programs}
    for _ in range(rounds):
        for label, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program())
            times[label].append(1000 * (time.perf_counter() - start))
    ratios = [a / b for a, b in zip(times["grouped"], times["ours"], strict=True)]
    grouped, ours = (statistics.median(times[label]) for label in ("grouped", "ours"))
    print(
        f"| {name} | {grouped:.1f} | {ours:.1f} | {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f} to {max(ratios):.1f}) | {first['grouped']:.1f} | {first['ours']:.1f} |",
        flush=True,
    )


def gradients(convolve: Any, stride: int, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes the forward pass, and both gradients of half the sum of squares."""
    y, pullback = jax.vjp(lambda x, kernel: convolve(x, kernel, stride), x, kernel)
    dx, dkernel = pullback(y)
    return dx, dkernel


def operations(rounds: int) -> None:
    for batch, size, channels, k, stride in OPERATIONS:
        generator = np.random.default_rng(0)
        x = jnp.asarray(generator.standard_normal((batch, size, size, channels)), jnp.float32)
        kernel = jnp.asarray(generator.standard_normal((k, k, 1, channels)), jnp.float32)
        forward, backward = {}, {}
        for label, convolve in CONVOLUTIONS.items():
            forward[label] = functools.partial(jax.jit(convolve, static_argnums=2), x, kernel, stride)
            backward[label] = functools.partial(
                jax.jit(functools.partial(gradients, convolve, stride)), x, kernel
            )
        shape = f"{batch} × {size}² × {channels}, {k} × {k} / {stride}"
        compare(f"{shape}, forward", forward, rounds)
        compare(f"{shape}, forward and backward", backward, rounds)


def network(batch: int, size: int, rounds: int) -> None:
    model = create("efficientnet_b0", num_classes=19)
    variables = init_variables(model, jax.random.key(0))
    images = jnp.asarray(np.random.default_rng(0).standard_normal((batch, size, size, 3)), jnp.float32)
    forward, step = {}, {}
    for label, convolve in CONVOLUTIONS.items():
        # The layer finds the operation by its name; programs are compiled here, before it is put back.
        layers.depthwise_conv = convolve  # type: ignore[assignment]

        def loss(params: Any, key: jax.Array) -> Any:
            logits, changed = model.apply(
                {**variables, "params": params},
                images,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            return -jax.nn.log_softmax(logits)[:, 0].mean(), changed

        def train(params: Any, key: jax.Array, loss: Callable[..., Any] = loss) -> Any:
            gradients, changed = jax.grad(loss, has_aux=True)(params, key)
            return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradients), changed

        key = jax.random.key(0)
        params = variables["params"]
        start = time.perf_counter()
        forward_compiled = jax.jit(lambda v, x: model.apply(v, x)).lower(variables, images).compile()
        middle = time.perf_counter()
        step_compiled = jax.jit(train).lower(params, key).compile()
        end = time.perf_counter()
        print(f"<!-- {label}: compiling forward {middle - start:.1f} s, step {end - middle:.1f} s -->")
        forward[label] = functools.partial(forward_compiled, variables, images)
        step[label] = functools.partial(step_compiled, params, key)
    layers.depthwise_conv = depthwise.depthwise_conv
    compare(f"EfficientNet-B0, {batch} × {size}², forward", forward, rounds)
    compare(f"EfficientNet-B0, {batch} × {size}², training step", step, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="single operations only")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each comparison")
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, {options.rounds} rounds\n")
    print(
        "| | grouped, ms | ours, ms | speed-up, median (range) | first run grouped, s | first run ours, s |"
    )
    print("|---|---|---|---|---|---|")
    operations(options.rounds)
    if not options.quick:
        network(batch=8, size=224, rounds=options.rounds)


if __name__ == "__main__":
    main()
