"""Files and folders replaced as a whole: a killed or failed writer leaves what was there."""

import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from skinjax.files.atomic import replacing
from skinjax.files.folders import filling


def killed(code, *arguments):
    """Runs code that kills its own process, and checks that it came that far."""
    result = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False)
    assert result.returncode == -signal.SIGKILL


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("old")
    killed(
        "import os, signal, sys\nfrom skinjax.files.atomic import replacing\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n",
        path,
    )
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("old")

    def write():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_folder_is_made_and_a_new_file_has_ordinary_rights(tmp_path):
    path = tmp_path / "a" / "b" / "metrics.csv"
    before = os.umask(0o027)
    try:
        with replacing(path) as temporary:
            assert temporary.parent == path.parent
            assert temporary.name.startswith(".")
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(path.parent.iterdir()) == [path]


def test_readers_see_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("0" * 100_000)
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            text = path.read_text()
            seen.add((len(text), len(set(text))))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(50):
        with replacing(path) as temporary:
            temporary.write_text(str(number % 10) * 100_000)
    done.set()
    reader.join()
    assert seen == {(100_000, 1)}


def test_two_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "report.html"

    def write(letter):
        for _ in range(30):
            with replacing(path) as temporary:
                temporary.write_text(letter * 10_000)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text() in ("a" * 10_000, "b" * 10_000)
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_filler_leaves_the_old_folder(tmp_path):
    out = tmp_path / "report"
    with filling(out, last="index.html") as hidden:
        (hidden / "index.html").write_text("old")
    killed(
        "import os, signal, sys\nfrom skinjax.files.folders import filling\n"
        "with filling(sys.argv[1], last='index.html') as hidden:\n"
        "    (hidden / 'index.html').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n",
        out,
    )
    assert (out / "index.html").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2  # what the killed one left goes with the next filling
    with filling(out, last="index.html") as hidden:
        assert not list(hidden.iterdir())
        (hidden / "index.html").write_text("new")
    assert (out / "index.html").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_is_filled_by_one_process_at_a_time(tmp_path):
    out = tmp_path / "report"
    code = (
        "import sys\nfrom skinjax.files.folders import filling\n"
        "with filling(sys.argv[1], last='index.html') as hidden:\n"
        "    print('begun', flush=True)\n    sys.stdin.read()\n"
        "    (hidden / 'index.html').write_text('theirs')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "begun\n"
        with (
            pytest.raises(ValueError, match="is being written by another process"),
            filling(out, last="index.html"),
        ):
            pass
        other.communicate("")
    assert (out / "index.html").read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [out]


def test_a_failed_filler_changes_nothing_and_other_files_stay(tmp_path):
    out = tmp_path / "report"
    out.mkdir()
    for name in ("index.html", "mine.txt"):
        (out / name).write_text("old")

    def fill():
        with filling(out, last="index.html") as hidden:
            (hidden / "index.html").write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fill()
    assert {path.name: path.read_text() for path in out.iterdir()} == {"index.html": "old", "mine.txt": "old"}
    with filling(out, last="index.html") as hidden:
        (hidden / "figures").mkdir()
        (hidden / "figures" / "a.svg").write_text("new")
        (hidden / "index.html").write_text("new")
    assert (out / "mine.txt").read_text() == "old"
    assert (out / "figures" / "a.svg").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "report"
    path.write_text("a file")
    with pytest.raises(ValueError, match="must be a folder"), filling(path, last="index.html"):
        pass
    assert path.read_text() == "a file"
