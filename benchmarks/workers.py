"""Contenders of a benchmark, each in a process of its own, which take turns.

Side by side in one process they would spoil each other's heap. A benchmark's module is run with `--serve ARGUMENTS`,
builds its contender and calls `answer`; the process that compares them holds a `Worker` of each.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Worker:
    """A contender's process."""

    def __init__(self, module: str, *arguments: object, **environment: str) -> None:
        """Starts it and waits until it is ready.

        Args:
          module: that is run, such as "benchmarks.models".
          *arguments: behind `--serve`.
          **environment: added to this process's own.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "--serve", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | environment,
        )
        self.ready: Any = self._reply()

    def run(self) -> Any:
        """Lets it have its turn; what it answers."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return self._reply()

    def stop(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _reply(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker has ended; run it by itself to see why: {self._process.args}")
        return json.loads(line)


def answer(begin: Callable[[], Any], turn: Callable[[], Any]) -> None:
    """Serves a `Worker`: says what `begin` returns, then at each turn what `turn` returns; to be called once.

    What libraries print goes to standard error meanwhile.
    """
    replies, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(begin()), file=replies, flush=True)
    for _ in sys.stdin:
        print(json.dumps(turn()), file=replies, flush=True)


def peak_resident() -> float:
    """Returns the most MiB of memory that this process has held; Linux only."""
    held = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert held is not None
    return int(held[1]) / 1024


def peak_device(library: str) -> float:
    """Returns the most MiB of the GPU's memory that this process has held."""
    if library == "timm":
        import torch

        return float(torch.cuda.max_memory_allocated()) / 2**20
    import jax

    return float(jax.devices()[0].memory_stats()["peak_bytes_in_use"]) / 2**20
