"""Commands as a user gives them: each in a process of its own, with its exit code and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {
    "PYTHONPATH": str(REPOSITORY)
}


def run_python(
    *command: str, code: int = 0, folder: Path = REPOSITORY, **environment: str
) -> subprocess.CompletedProcess:
    """Runs Python in a folder, with one device, and checks that it ends with a code and without a traceback."""
    result = subprocess.run(
        [sys.executable, *command],
        capture_output=True, text=True, cwd=folder, env=ENVIRONMENT | environment, check=False,
    )  # fmt: skip
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


def run_experiment(
    name: str, *flags: str, code: int = 0, folder: Path = REPOSITORY, **environment: str
) -> subprocess.CompletedProcess:
    """Runs an experiment; see `run_python`."""
    return run_python("-m", f"experiments.{name}", *flags, code=code, folder=folder, **environment)


def run_with_small_backbones(
    name: str, *flags: str, code: int = 0, **environment: str
) -> subprocess.CompletedProcess:
    """Runs an experiment that knows the backbones `small` and `smaller` as well; see `run_python`."""
    script = str(REPOSITORY / "tests" / "small_backbones.py")
    return run_python(script, name, *flags, code=code, **environment)
