"""Our networks under plain `jax.jit`, under `skinjax.models.compilation.jit`, and under `jax.jit` with `XLA_FLAGS`.

    python -m benchmarks.compilation                               # all families, some twenty minutes on two cores
    python -m benchmarks.compilation --backbones efficientnet_b0 --rounds 3

The programs are those of `benchmarks.models`: the forward pass of eight photos and a training step with momentum. Each
lives in a process of its own with glibc's huge pages, nothing compiled before, and they take turns. A speed is the
median over the rounds of plain `jax.jit`'s time over the other's (above 1: faster than plain).
"""

import argparse
import os
import platform
import statistics
from datetime import date
from importlib.metadata import version

from benchmarks.models import ROWS
from benchmarks.workers import Worker
from skinjax.files.host import restart_tuned
from skinjax.models.compilation import xla_flags
from skinjax.models.registry import spec

BACKBONES = (
    "efficientnet_b0",
    "inception_v3_torch",
    "densenet121",
    "inception_resnet_v2_torch",
    "xception_torch",
)


def compare(name: str, batch: int, train: bool, rounds: int) -> None:
    """Prints a row of the table."""
    arguments = (name, batch, spec(name).image_size, int(train))
    workers = [
        Worker("benchmarks.models", "plain", *arguments),
        Worker("benchmarks.models", "skinjax", *arguments),
        Worker("benchmarks.models", "plain", *arguments, XLA_FLAGS=xla_flags()),
    ]
    turns = [[worker.run()[0] for worker in workers] for _ in range(rounds)]
    for worker in workers:
        worker.stop()
    speeds = [[turn[0] / turn[way] for turn in turns] for way in (1, 2)]
    cells = [
        name.removesuffix("_torch"),
        "step" if train else "forward",
        f"{batch} × {spec(name).image_size}²",
        " / ".join(f"{statistics.median(times):.0f}" for times in zip(*turns, strict=True)),
        *(f"{statistics.median(s):.2f} ({min(s):.2f} to {max(s):.2f})" for s in speeds),
        " / ".join(f"{worker.ready:.0f}" for worker in workers),
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", choices=ROWS, default=list(BACKBONES))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(
        f"{date.today()}; {os.cpu_count()} cores, {platform.machine()}; Python {platform.python_version()}, "
        f"jax {version('jax')}; float32; {given.rounds} rounds; XLA_FLAGS={xla_flags()}\n"
    )
    print("| backbone | what | photos | ms, plain / compilation.jit / XLA_FLAGS | speed of compilation.jit to plain "
          "| speed of XLA_FLAGS to plain | until run once, s |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for name in given.backbones:
        for train in (False, True):
            compare(name, ROWS[name].step_batch if train else 8, train, given.rounds)


if __name__ == "__main__":
    restart_tuned()
    main()
