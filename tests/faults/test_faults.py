"""What goes wrong in a long training: kills, damaged checkpoints, full disks, processes that die, runs that collide."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults import kills
from tests.support.commands import REPOSITORY
from tests.support.small_command import start_small
from tests.train.test_parallel import arrays, assert_same, start, together, wait

pytestmark = pytest.mark.slow


def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path):
    """`python -m tests.faults.kills` does it twenty times."""
    same, reached = kills.run(tmp_path, 3)
    assert len(reached) == 3
    assert reached == sorted(reached)
    assert same


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def whole(place):
    wait(start(place / "whole", place / "whole.npz"))
    return arrays(place / "whole.npz")


def damage(step: Path) -> None:
    """Cuts every file of a checkpoint's arrays short."""
    files = [path for path in (step / "state").rglob("*") if path.is_file() and path.stat().st_size > 200]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(place, whole):
    folder, result = place / "damaged", place / "damaged.npz"
    wait(start(folder, result, "--stop_after=4"), code=75)
    newest = kills.updates(folder)
    damage(folder / str(newest))
    again = start(folder, result)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    assert f"{newest}: this checkpoint cannot be read" in output
    assert f"going on from update {newest - 1}" in output
    assert "Traceback" not in output
    found = arrays(result)
    assert all((found[name] == whole[name]).all() for name in whole)


def test_where_no_checkpoint_can_be_read_nothing_is_deleted(place):
    folder = place / "all_damaged"
    wait(start(folder, place / "x.npz", "--stop_after=3"), code=75)
    steps = sorted(path.name for path in folder.iterdir() if path.name.isdigit())
    for step in steps:
        damage(folder / step)
    again = start(folder, place / "x.npz")
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 1
    assert "none of the checkpoints can be read" in output
    assert sorted(path.name for path in folder.iterdir() if path.name.isdigit()) == steps


def train(workdir: Path, cache: Path, *flags: str, processes: tuple[int, int, int] | None = None):
    """Starts `skinjax train --smoke` with a small network; of several processes (port, count, index) one."""
    shared = []
    if processes is not None:
        port, count, index = processes
        shared = [f"--coordinator=localhost:{port}", f"--processes={count}", f"--process_index={index}"]
    return start_small(
        "train",
        "--smoke",
        "--noaudit",
        f"--workdir={workdir}",
        f"--compilation_cache={cache}",
        *shared,
        *flags,
    )


def until_saved(workdir: Path, process: subprocess.Popen) -> None:
    """Waits for the first checkpoint."""
    folder = workdir / "checkpoints" / "fold_0" / "sub"
    deadline = time.monotonic() + 200
    while kills.updates(folder) < 1:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cache(place) -> Path:
    return place / "compiled"


def test_sigterm_saves_and_ends_with_a_code_of_its_own_and_a_second_run_is_refused(tmp_path, cache):
    flags = ["--epochs=40", "--checkpoint_seconds=0", "--evaluate_every=40"]
    first = train(tmp_path / "run", cache, *flags)
    until_saved(tmp_path / "run", first)
    second = train(tmp_path / "run", cache, *flags)
    _, error = second.communicate(timeout=200)
    assert second.returncode == 2, error
    assert "is in use by another run" in error
    first.send_signal(signal.SIGTERM)
    _, error = first.communicate(timeout=60)
    assert first.returncode == 75, error
    last = error.strip().splitlines()[-1]
    assert "is saved; the same command again resumes" in last
    assert str(kills.updates(tmp_path / "run" / "checkpoints" / "fold_0" / "sub")) in last
    assert "Traceback" not in error


PAIR_FLAGS = ("--epochs=24", "--checkpoint_seconds=0", "--evaluate_every=24")


def start_pair(workdir: Path, cache: Path) -> list[subprocess.Popen]:
    port = free_port()
    return [train(workdir, cache, *PAIR_FLAGS, processes=(port, 2, index)) for index in range(2)]


def end_pair(pair: list[subprocess.Popen], workdir: Path) -> None:
    for process in pair:
        output, error = process.communicate(timeout=300)
        assert process.returncode == 0, output + error
    assert (workdir / "report" / "index.html").exists()


@pytest.mark.parametrize("action", ["save", "wait"])
def test_a_lost_process_is_no_fault_of_the_disk_or_the_options(tmp_path, action):
    codes = set()
    for number in range(3):  # the heartbeat, which comes after 20 s, is not the first to notice each time
        port, folder = free_port(), tmp_path / str(number)
        pair = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.lost", action, folder, str(port), str(index)],
                cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for index in range(2)
        ]  # fmt: skip
        for process in reversed(pair):
            _, error = process.communicate(timeout=100)
        assert pair[1].returncode == -signal.SIGKILL
        assert_told_of_the_other(pair[0].returncode, error)
        codes.add(pair[0].returncode)
        if 75 in codes:
            return
    pytest.fail(f"the other process ended with {codes}")


def assert_told_of_the_other(code: int, error: str) -> None:
    """Either this process noticed at its next word to the other, or JAX's heartbeat did, which aborts it."""
    if code == -signal.SIGABRT:
        assert "Terminating process because the JAX distributed service detected fatal errors" in error
        return
    assert code == 75, error
    assert "another process of this run has ended; start all of them again" in error
    assert "Traceback" not in error


def test_where_one_process_of_two_is_killed_the_other_ends_and_both_resume(tmp_path, cache):
    workdir = tmp_path / "pair"
    pair = start_pair(workdir, cache)
    until_saved(workdir, pair[0])
    pair[1].kill()
    pair[1].communicate()
    begun = time.monotonic()
    _, error = pair[0].communicate(timeout=90)
    assert time.monotonic() - begun < 60
    assert_told_of_the_other(pair[0].returncode, error)
    end_pair(start_pair(workdir, cache), workdir)


def test_sigterm_to_one_process_of_two_saves_both(tmp_path, cache):
    """As a cluster asks the tasks of a job to end, which need not be all at the same moment."""
    workdir = tmp_path / "pair"
    pair = start_pair(workdir, cache)
    until_saved(workdir, pair[0])
    pair[1].send_signal(signal.SIGTERM)
    for process in pair:
        _, error = process.communicate(timeout=90)
        assert process.returncode == 75, error
        assert "is saved; the same command again resumes" in error
        assert "Traceback" not in error
    end_pair(start_pair(workdir, cache), workdir)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def test_two_processes_resume_what_one_began(place, whole):
    folder, result = place / "two", place / "two.npz"
    wait(start(folder, result, "--stop_after=3"), code=75)
    together(2, folder, result)
    assert_same(result, whole)
