"""Commands as a user gives them: in this process, with their output and exit code; a few in one of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax

from skinjax.cli.commands import command
from skinjax.cli.main import main
from skinjax.models import registry
from tests.support import small_backbones

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {
    "PYTHONPATH": str(REPOSITORY)
}


@dataclasses.dataclass(frozen=True)
class Ended:
    """A command that has come to its end."""

    stdout: str
    stderr: str
    returncode: int


def run_command(name: str, *flags: str, code: int = 0, folder: Path = REPOSITORY) -> Ended:
    """Runs `skinjax NAME --flag=value ...` in this process, from a folder, and checks its exit code."""
    out, err, ended = io.StringIO(), io.StringIO(), 0
    with (
        _undone(),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main([name, *flags])
        except SystemExit as stopped:
            ended = int(stopped.code or 0)
    assert ended == code, out.getvalue() + err.getvalue()
    assert "Traceback" not in err.getvalue()
    return Ended(out.getvalue(), err.getvalue(), ended)


def run_small(name: str, *flags: str, code: int = 0, folder: Path = REPOSITORY) -> Ended:
    """Runs a command that knows the backbones `small` and `smaller` as well, by default with the preset `thesis`.

    See `run_command`.
    """
    with small_backbones.registered():
        return run_command(name, *plain(name), *flags, code=code, folder=folder)


def plain(name: str) -> list[str]:
    """Returns the flags that give a command the values which a configuration of Python has."""
    trains = hasattr(importlib.import_module(command(name).module).Config, "command_preset")
    return ["--preset=thesis"] if trains else []


def run_python(
    *command: str, code: int = 0, folder: Path = REPOSITORY, **environment: str
) -> subprocess.CompletedProcess:
    """Runs Python in a process of its own, with one device, and checks that it ends with a code and no traceback."""
    result = subprocess.run(
        [sys.executable, *command],
        capture_output=True, text=True, cwd=folder, env=ENVIRONMENT | environment, check=False,
    )  # fmt: skip
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


@contextlib.contextmanager
def _undone() -> Iterator[None]:
    """Leaves nothing of a command's in this process: neither JAX's settings, nor handlers, nor backbones."""
    settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in settings}
    logger, hook, families = logging.getLogger("skinjax"), sys.unraisablehook, registry._FAMILIES
    kept = logger.handlers[:], logger.level, logger.propagate
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        logger.handlers[:], logger.level, logger.propagate = kept
        sys.unraisablehook, registry._FAMILIES = hook, families
