"""One of two processes, the second of which kills itself before the first saves a network or waits for it.

python -m tests.faults.lost save|wait FOLDER PORT INDEX
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import jax.numpy as jnp
from jax.experimental import multihost_utils

from skinjax.cli.launch import ProcessOptions, guarded
from skinjax.runs.processes import wait_for_all
from skinjax.train.checkpoints import Checkpoints


def work(action: str, folder: Path, index: int) -> None:
    with Checkpoints(folder) as checkpoints:
        multihost_utils.sync_global_devices("both are ready")
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "save":
            checkpoints.save_final({"x": jnp.zeros(3)})
        else:
            wait_for_all("the second")


if __name__ == "__main__":
    action, folder, port, index = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    options = ProcessOptions(
        coordinator=f"localhost:{port}", processes=2, process_index=index, compilation_cache=""
    )
    try:
        guarded(lambda: work(action, folder, index), "train", options, [])
    except SystemExit as ended:
        sys.stderr.flush()
        os._exit(int(ended.code or 0))  # as the command does
