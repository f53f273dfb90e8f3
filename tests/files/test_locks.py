"""Locks between processes: who is let in beside whom, and that a lock ends with its process."""

import signal
import subprocess
import sys

import pytest

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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks bytes of files only")
def test_a_folder_may_be_locked(tmp_path):
    with Lock(tmp_path), Other(tmp_path, "exclusive") as other:
        assert other.answer == "refused"
    assert list(tmp_path.iterdir()) == []
