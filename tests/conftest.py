"""What several tests share: where real data would lie, and two virtual devices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before jax starts: tests of data parallelism need several devices, and a CPU can pose as them.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("real data is not here: ../shared/data is absent")
    return SHARED_DATA


@pytest.fixture(scope="session")
def compilations(tmp_path_factory) -> Path:
    """A folder of compiled steps for all experiments that are run as commands, so that equal networks compile once."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "compilations"
