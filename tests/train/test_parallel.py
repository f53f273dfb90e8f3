"""One step on many devices: jit, pmap and several processes make the updates that one device makes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from skinjax.train.parallel import Parallel, gather_rows, local_copy
from tests.support.commands import REPOSITORY
from tests.support.fitting import STOPPED

pytestmark = pytest.mark.slow


def start(folder: Path, result: Path, *flags: str, devices: int = 1, **settings: str) -> subprocess.Popen:
    environment = os.environ | {
        # Devices of a busy machine may wait long for each other, for which XLA would end the process after 40 s.
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} "
        "--xla_cpu_collective_call_terminate_timeout_seconds=240",
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
        **settings,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.fitting", str(folder), str(result), *flags],
        cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait(*processes: subprocess.Popen, code: int = 0) -> None:
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == code, output


def together(count: int, folder: Path, result: Path, *flags: str, code: int = 0) -> None:
    """Runs several processes as one."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = [f"--coordinator=localhost:{port}", f"--processes={count}", *flags]
    wait(*(start(folder, result, *shared, f"--index={index}") for index in range(count)), code=code)


def arrays(result: Path) -> dict[str, np.ndarray]:
    with np.load(result) as file:
        return dict(file)


def assert_same(result: Path, expected: dict[str, np.ndarray]) -> None:
    """Equal to the rounding of sums taken in another order, which six updates have made somewhat larger."""
    found = arrays(result)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("parallel")


@pytest.fixture(scope="module")
def one_device(place) -> dict[str, np.ndarray]:
    wait(start(place / "one", place / "one.npz"))
    return arrays(place / "one.npz")


@pytest.mark.parametrize("backend", ["jit", "pmap"])
def test_eight_devices_make_the_updates_of_one(place, one_device, backend):
    """With augmentation, dropout, stochastic depth, global BatchNorm and a ragged last batch of held-out photos."""
    wait(start(place / backend, place / f"{backend}.npz", f"--backend={backend}", devices=8))
    assert_same(place / f"{backend}.npz", one_device)


@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_make_the_updates_of_one(place, one_device, count):
    together(count, place / f"p{count}", place / f"p{count}.npz")
    assert_same(place / f"p{count}.npz", one_device)


def test_a_run_goes_on_with_other_numbers_of_devices_and_processes(place, one_device):
    """One process, then two, then eight devices under pmap; the photos and their order stay those of one device."""
    folder, result = place / "changing", place / "changing.npz"
    wait(start(folder, result, "--stop_after=1"), code=STOPPED)
    together(2, folder, result, "--stop_after=3", code=STOPPED)
    wait(start(folder, result, "--backend=pmap", devices=8))
    assert_same(result, one_device)


@pytest.mark.parametrize("fusion", ["concat", "metablock"])
def test_columns_go_with_their_photos_over_devices_and_processes(place, fusion):
    one = place / f"{fusion}.npz"
    wait(start(place / fusion, one, f"--fusion={fusion}"))
    if fusion == "concat":
        several = place / "concat_pmap.npz"
        wait(start(place / "concat_pmap", several, "--fusion=concat", "--backend=pmap", devices=4))
    else:
        several = place / "metablock_two.npz"
        together(2, place / "metablock_two", several, "--fusion=metablock")
    assert_same(several, arrays(one))


def test_batch_norm_per_device_is_the_same_under_jit_and_pmap_and_not_the_global_one(place, one_device):
    for backend in ("jit", "pmap"):
        flags = [f"--backend={backend}", "--batch_norm=per_device"]
        wait(start(place / f"{backend}_per", place / f"{backend}_per.npz", *flags, devices=2))
    per_device = arrays(place / "jit_per.npz")
    assert_same(place / "pmap_per.npz", per_device)
    assert np.abs(per_device["logits"] - one_device["logits"]).max() > 1e-3


def test_pieces_of_one_process():
    parallel = Parallel()
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 2 devices, got 7"):
        parallel.check(7)
    tree = {"a": np.arange(3.0), "b": np.float32(2)}
    pmap = Parallel("pmap")
    taken = pmap.take_state(pmap.place_state(tree))
    jax.tree.map(np.testing.assert_array_equal, taken, tree)
    jax.tree.map(np.testing.assert_array_equal, local_copy(parallel.place(tree)), tree)
    rows = np.arange(6).reshape(3, 2)
    np.testing.assert_array_equal(gather_rows(rows), rows)
    assert (Parallel().batch_norm_axis, pmap.batch_norm_axis) == (None, "data")
    assert Parallel(batch_norm="per_device").batch_norm_axis is None
