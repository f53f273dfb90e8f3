"""Locks between processes: who is let in beside whom, and that a lock ends with its process."""

import importlib.util
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from skinjax.files import folders, locks
from skinjax.files.locks import HeldError, Lock

HOLD = """
import sys
from skinjax.files.locks import HeldError, Lock
try:
    lock = Lock(sys.argv[1], shared=sys.argv[2] == "shared")
except HeldError:
    print("refused", flush=True)
else:
    print("held", flush=True)
    sys.stdin.read()
"""


class Other:
    """Another process that takes a lock, and holds it until its input ends."""

    def __init__(self, path, kind):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        ("exclusive", "exclusive", "refused"),
        ("exclusive", "shared", "refused"),
        ("shared", "exclusive", "refused"),
        ("shared", "shared", "held"),
    ],
)
def test_who_is_let_in_beside_another_process(tmp_path, first, second, answer):
    path = tmp_path / ".lock"
    with Lock(path, shared=first == "shared"), Other(path, second) as other:
        assert other.answer == answer
    with Other(path, first) as other:
        assert other.answer == "held"
        if answer == "held":
            Lock(path, shared=second == "shared").release()
        else:
            with pytest.raises(HeldError, match=r"\.lock is locked by another process"):
                Lock(path, shared=second == "shared")


def test_a_lock_ends_with_its_process_however_it_ends(tmp_path):
    path = tmp_path / ".lock"
    with Other(path, "exclusive") as other:
        assert other.answer == "held"
        other.process.send_signal(signal.SIGKILL)
        other.process.wait()
        with Lock(path):
            pass
    with Other(path, "exclusive") as other:
        other.process.communicate("")  # an ordinary end
        assert other.process.returncode == 0
        Lock(path).release()


def test_two_locks_of_one_process_exclude_each_other_too(tmp_path):
    path = tmp_path / ".lock"
    lock = Lock(path)
    with pytest.raises(HeldError):
        Lock(path, shared=True)
    lock.release()
    lock.release()
    with Lock(path, shared=True), Lock(path, shared=True), pytest.raises(HeldError):
        Lock(path)
    Lock(path).release()


def test_a_block_that_fails_lets_others_in(tmp_path):
    with pytest.raises(RuntimeError, match="inside"), Lock(tmp_path / ".lock"):
        raise RuntimeError("inside")
    Lock(tmp_path / ".lock").release()


def test_a_lock_leaves_the_file_as_it_is(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("kept")
    with Lock(path):
        pass
    assert path.read_text() == "kept"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks a file beside the folder")
def test_a_folder_may_be_locked(tmp_path):
    with Lock(tmp_path), Other(tmp_path, "exclusive") as other:
        assert other.answer == "refused"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def windows(monkeypatch):
    """The module as Windows imports it: no fcntl, and byte ranges locked per open file, as LockFile does."""
    descriptors = pytest.importorskip("fcntl")

    def locking(descriptor, mode, count):
        assert mode == 2
        first = os.lseek(descriptor, 0, os.SEEK_CUR)
        region = struct.pack("hhqqi4x", descriptors.F_WRLCK, os.SEEK_SET, first, count, 0)
        descriptors.fcntl(descriptor, descriptors.F_OFD_SETLK, region)

    def opened(path, flags, *mode):
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return os.open(path, flags, *mode)

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    found = importlib.util.spec_from_file_location("windows_locks", locks.__file__)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    # The module's own `os` alone: shutil opens folders here in its own way.
    module.os = SimpleNamespace(**{name: getattr(os, name) for name in os.__all__} | {"open": opened})
    return module


def test_windows_needs_no_fcntl(windows, tmp_path):
    path = tmp_path / ".lock"
    with windows.Lock(path), pytest.raises(windows.HeldError):
        windows.Lock(path, shared=True)
    with windows.Lock(path, shared=True), windows.Lock(path, shared=True), pytest.raises(windows.HeldError):
        windows.Lock(path)
    windows.Lock(path).release()


def test_on_windows_the_lock_of_a_folder_lies_beside_it(windows, tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    with windows.Lock(folder), pytest.raises(windows.HeldError):
        windows.Lock(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "report.lock"]
    assert list(folder.iterdir()) == []  # so that it can be removed while the lock is held


def test_on_windows_a_folder_is_filled_by_one_process_at_a_time(windows, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "Lock", windows.Lock)
    monkeypatch.setattr(folders, "HeldError", windows.HeldError)
    for text in ("first", "second"):
        with folders.filling(tmp_path / "report", last="index.html") as hidden:
            (hidden / "index.html").write_text(text)
            with (
                pytest.raises(ValueError, match="is being written by another process"),
                folders.filling(tmp_path / "report", last="index.html"),
            ):
                pass
        assert (tmp_path / "report" / "index.html").read_text() == text
