"""Kills one training run again and again at random moments, and compares what it comes to with a run left alone.

    python -m tests.faults.kills --kills=20

Prints a line a kill, and at the end whether every variable and logit is the same to the bit.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EPOCHS = 12


def command(folder: Path, result: Path) -> list[str]:
    options = [f"--epochs={EPOCHS}", "--average_decay=0.9"]
    return [sys.executable, "-m", "tests.support.fitting", str(folder), str(result), *options]


def environment(cache: Path) -> dict[str, str]:
    return os.environ | {
        "XLA_FLAGS": "",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def updates(folder: Path) -> int:
    """The newest update that is saved whole."""
    return max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=0)


def run(place: Path, kills: int, seed: int = 0) -> tuple[bool, list[int]]:
    """Runs both; True where they are the same to the bit, and the newest saved update at each kill."""
    alone, killed = place / "alone.npz", place / "killed.npz"
    subprocess.run(
        command(place / "alone", alone), cwd=REPOSITORY, env=environment(place / "cache"), check=True
    )
    rng = np.random.default_rng(seed)
    reached: list[int] = []
    while len(reached) < kills:
        process = subprocess.Popen(
            command(place / "killed", killed), cwd=REPOSITORY, env=environment(place / "cache"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        before, begun = updates(place / "killed"), time.monotonic()
        # From before the first update of this start to some updates after it.
        while (
            process.poll() is None and updates(place / "killed") == before and time.monotonic() < begun + 60
        ):
            time.sleep(0.01)
        deadline = time.monotonic() + rng.uniform(0, 0.3)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        reached.append(updates(place / "killed"))
    if not killed.exists():
        subprocess.run(
            command(place / "killed", killed), cwd=REPOSITORY, env=environment(place / "cache"), check=True
        )
    with np.load(alone) as expected, np.load(killed) as found:
        same = set(expected) == set(found) and all(np.array_equal(expected[n], found[n]) for n in expected)
    return same, reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        same, reached = run(Path(place), options.kills, options.seed)
    print(f"{len(reached)} kills, newest saved update at each: {reached}")
    print("the same to the bit" if same else "DIFFERENT")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
