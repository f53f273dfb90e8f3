"""`skinjax` in a process of its own, with the backbones `small` and `smaller`: for tests of kills, signals and disks.

python -m tests.support.small_command train --backbone=small --smoke --workdir=FOLDER ...
"""

from __future__ import annotations

import os
import subprocess
import sys

from skinjax.cli.main import entry
from tests.support import small_backbones
from tests.support.commands import ENVIRONMENT, REPOSITORY, plain


def start_small(name: str, *flags: str, **environment: str) -> subprocess.Popen:
    """Starts a command with one device, or with those that `XLA_FLAGS` says; both its outputs are pipes of text."""
    command = [
        sys.executable,
        "-m",
        "tests.support.small_command",
        name,
        *plain(name),
        "--backbone=small",
        *flags,
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=REPOSITORY, env=ENVIRONMENT | environment, **pipes)


def devices_of_this_process() -> dict[str, str]:
    """What makes a process's results the same to the bit as this one's: the same devices."""
    return {"XLA_FLAGS": os.environ["XLA_FLAGS"]}


if __name__ == "__main__":
    with small_backbones.registered():
        entry()
