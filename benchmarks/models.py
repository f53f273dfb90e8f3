"""Every backbone beside its twin in timm/PyTorch: forward with one photo and with eight, and a training step.

    python -m benchmarks.models    # all, at their own sizes: about half an hour on two cores
    python -m benchmarks.models --backbones efficientnet_b0 --rounds 5

Needs the `peers` extra. On CPU both compute in float32, PyTorch eager with channels_last; on a GPU ours in bfloat16
and PyTorch under autocast, channels_last and torch.compile. The two are timed in turn, round by round; the speed is
the median over the rounds of their time over ours (above 1: ours is faster). Compilation is timed once and not
counted. Memory is what XLA says the program needs beside its arguments; PyTorch's is not told.

As the experiments do, a run on Linux wants glibc's huge pages, for both:

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=2000000000:glibc.malloc.trim_threshold=2000000000
"""

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from skinjax.models.compilation import compiler_options
from skinjax.models.registry import create, init_variables, spec
from tests.peers.adapters import import_timm

PEERS = {
    "efficientnet_b0": "tf_efficientnet_b0",
    "efficientnet_b3": "tf_efficientnet_b3",
    "efficientnet_b6": "tf_efficientnet_b6",
    "inception_v3_torch": "inception_v3",
    "inception_resnet_v2_torch": "inception_resnet_v2",
    "xception_torch": "legacy_xception",
    "densenet121": "densenet121",
}
CLASSES, RATE, MOMENTUM = 1000, 0.001, 0.9
GPU = jax.default_backend() == "gpu"


def ours(name: str, images: np.ndarray, train: bool) -> tuple[Callable[[], Any], float, float]:
    """The compiled program, seconds to trace and compile it, and MiB of its scratch memory."""
    model = create(name, CLASSES, dtype=jnp.bfloat16 if GPU else jnp.float32)
    variables = init_variables(model, jax.random.key(0))
    photos, labels = jnp.asarray(images), jnp.arange(len(images)) % CLASSES

    def loss(params: Any, stats: Any, key: jax.Array) -> Any:
        logits, changed = model.apply(
            {"params": params, "batch_stats": stats},
            photos,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        losses = -jax.nn.log_softmax(logits)[jnp.arange(len(images)), labels]
        return losses.mean(), changed["batch_stats"]

    def step(params: Any, stats: Any, trace: Any, key: jax.Array) -> Any:
        gradients, stats = jax.grad(loss, has_aux=True)(params, stats, key)
        trace = jax.tree.map(lambda v, g: MOMENTUM * v + g, trace, gradients)
        return jax.tree.map(lambda p, v: p - RATE * v, params, trace), stats, trace

    options = compiler_options()
    start = time.perf_counter()
    if not train:
        forward = jax.jit(lambda v, x: model.apply(v, x), compiler_options=options)
        compiled = forward.lower(variables, photos).compile()
        seconds = time.perf_counter() - start
        return lambda: jax.block_until_ready(compiled(variables, photos)), seconds, _scratch(compiled)
    params, stats = variables["params"], variables["batch_stats"]
    state = [params, stats, jax.tree.map(jnp.zeros_like, params)]
    lowered = jax.jit(step, donate_argnums=(0, 1, 2), compiler_options=options).lower(
        *state, jax.random.key(0)
    )
    compiled = lowered.compile()
    seconds = time.perf_counter() - start

    def run() -> None:
        state[:] = compiled(*state, jax.random.key(1))
        jax.block_until_ready(state)

    return run, seconds, _scratch(compiled)


def _scratch(compiled: Any) -> float:
    return float(compiled.memory_analysis().temp_size_in_bytes) / 2**20


def theirs(name: str, images: np.ndarray, train: bool) -> Callable[[], Any]:
    """The same in PyTorch."""
    timm = import_timm()
    device = "cuda" if GPU else "cpu"
    model: Any = timm.create_model(PEERS[name], num_classes=CLASSES).to(
        device, memory_format=torch.channels_last
    )
    model = model.train() if train else model.eval()
    program = torch.compile(model) if GPU else model
    photos = torch.from_numpy(images).permute(0, 3, 1, 2).to(device)
    labels = (torch.arange(len(images)) % CLASSES).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)

    def run() -> None:
        cast = torch.autocast("cuda", torch.bfloat16) if GPU else contextlib.nullcontext()
        if not train:
            with torch.no_grad(), cast:
                program(photos)
        else:
            optimizer.zero_grad(set_to_none=True)
            with cast:
                loss = torch.nn.functional.cross_entropy(program(photos), labels)
            loss.backward()
            optimizer.step()
        if GPU:
            torch.cuda.synchronize()

    return run


def compare(name: str, batch: int, size: int, train: bool, rounds: int) -> None:
    """Prints a row of the table."""
    images = np.random.default_rng(0).standard_normal((batch, size, size, 3)).astype(np.float32)
    mine, seconds, scratch = ours(name, images, train)
    peer = theirs(name, images, train)
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(rounds + 2):
        for program, kept in zip((mine, peer), times, strict=True):
            start = time.perf_counter()
            program()
            if index > 1:  # two rounds to warm up
                kept.append(1000 * (time.perf_counter() - start))
    speeds = [b / a for a, b in zip(*times, strict=True)]
    print(
        f"| {name} | {'step' if train else 'forward'} | {batch} × {size}² | {statistics.median(times[0]):.0f} | "
        f"{statistics.median(times[1]):.0f} | {statistics.median(speeds):.2f} ({min(speeds):.2f} to "
        f"{max(speeds):.2f}) | {seconds:.1f} | {scratch:.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--size", type=int, help="rows and columns of the photos; default: the backbone's own"
    )
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8], help="photos of the forward passes")
    parser.add_argument("--step_batch", type=int, default=8, help="photos of the training step; 0 for none")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    print(
        f"jax {jax.__version__}, torch {torch.__version__}, {jax.devices()[0].platform}, {options.rounds} rounds\n"
    )
    print("| backbone | what | photos | ours, ms | timm, ms | speed (range) | compiling, s | scratch, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.backbones:
        size = options.size or spec(name).image_size
        for batch in options.batches:
            compare(name, batch, size, False, options.rounds)
        if options.step_batch:
            compare(name, options.step_batch, size, True, options.rounds)


if __name__ == "__main__":
    main()
