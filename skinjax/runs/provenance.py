"""Provenance of a result: versions of packages, revision of the checkout."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "array-record",
    "numpy", "pillow", "scikit-learn", "pandas",
)  # fmt: skip


def provenance(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Returns the checkout's revision, Python's version and those of packages."""
    return {
        "git_revision": _git_revision(),
        "python": sys.version.split()[0],
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def _git_revision() -> str:
    """Returns the revision of this checkout, marked where it was changed since; "unknown" outside of git."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():  # an installed package may lie inside of somebody else's repository
        return "unknown"
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
