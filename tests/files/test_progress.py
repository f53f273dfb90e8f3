"""Progress: a bar on a terminal, a plain line now and then in a log."""

import io
import threading
from types import SimpleNamespace

import pytest
import tqdm.std

from skinjax.files import progress
from skinjax.files.progress import Progress, clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def now(monkeypatch):
    """The time in seconds, as a list of one number that a test sets."""
    seconds = [1000.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    monkeypatch.setattr(tqdm.std, "time", lambda: seconds[0])
    return seconds


def test_a_log_has_a_line_every_15_seconds_and_one_at_the_end(now):
    log = io.StringIO()
    with Progress("reading", 100, stream=log) as shown:
        for done in range(1, 101):
            now[0] += 0.5
            shown.update(done)
    lines = log.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "reading: 30/100 photos",
        "reading: 60/100 photos",
        "reading: 90/100 photos",
        "reading: 100/100 photos",
    ]
    assert lines[0].endswith("2.00 photos/s, 00:35 left")
    assert lines[-1] == "reading: 100/100 photos, in 0:50"
    assert log.getvalue().endswith("\n")
    assert "\r" not in log.getvalue()


def test_the_rate_counts_from_the_first_update(now):
    """The first update pays for compilation: a minute here. All of the time counts at the end."""
    log = io.StringIO()
    with Progress("training", 50, unit="updates", stream=log) as shown:
        now[0] += 60
        shown.update(10)
        for done in range(11, 51):
            now[0] += 1
            shown.update(done)
    lines = log.getvalue().splitlines()
    assert lines[0] == "training: 10/50 updates"
    assert lines[1] == "training: 25/50 updates,  1.00 updates/s, 00:25 left"
    assert lines[-1] == "training: 50/50 updates, in 1:40"


def test_a_task_that_goes_on_says_so_at_once_and_counts_its_own_updates(now):
    """30 of 50 are of an earlier process; compilation takes a minute, then one update per second."""
    log = io.StringIO()
    with Progress("training", 50, unit="updates", stream=log) as shown:
        shown.wait("resumed, compiling", 30)
        now[0] += 60
        for done in range(31, 51):
            now[0] += 1
            shown.update(done)
    lines = log.getvalue().splitlines()
    assert lines[0] == "training: 30/50 updates, resumed, compiling"
    assert lines[2] == "training: 46/50 updates,  1.00 updates/s, 00:04 left"
    assert lines[-1] == "training: 50/50 updates, in 1:20"


def test_a_note_stays_until_the_next_one(now):
    log = io.StringIO()
    with Progress("training", 4, stream=log) as shown:
        for done, note in enumerate(("loss 2", "", "loss 1", ""), 1):
            now[0] += 20
            shown.update(done, note)
    assert [line.rsplit(", ")[-1] for line in log.getvalue().splitlines()] == [
        "loss 2",
        "loss 2",
        "loss 1",
        "loss 1",
        "loss 1",
    ]


def test_a_terminal_has_one_line_drawn_over(now):
    terminal = Terminal()
    with Progress("reading", 100, stream=terminal) as shown:
        for done in range(1, 101):
            now[0] += 0.0625
            shown.update(done)
    text = terminal.getvalue()
    drawn = text.split("\r")
    assert text.count("\n") == 1
    assert text.endswith("\n")
    # Nothing, the empty bar, every fourth update after the first, and the end.
    assert len(drawn) == 1 + 1 + 24 + 1
    assert drawn[13].startswith(
        "[###########7            ] reading: 49/100 photos, 16.00 photos/s, 00:03 left"
    )
    assert drawn[-1].startswith("reading: 100/100 photos, in 0:06")


def test_a_task_that_fails_shows_how_far_it_came(now):
    log = io.StringIO()

    def read():
        with Progress("reading", 10, stream=log) as shown:
            shown.update(3)
            now[0] += 2
            shown.update(7)
            now[0] += 2
            shown.update(8)
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        read()
    assert log.getvalue() == "reading: 8/10 photos,  1.25 photos/s, 00:01 left\n"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_no_time_is_told_while_it_compiles_nor_in_the_first_seconds(now, stream):
    shown_to = stream()
    with Progress("training", 1000, stream=shown_to) as shown:
        shown.wait("compiling")
        assert "compiling" in shown_to.getvalue()
        now[0] += 60
        shown.update(1)
        now[0] += 2
        shown.update(2)
        assert "left" not in shown_to.getvalue()
        assert "compiling" not in str(shown._bar)
        now[0] += 18
        shown.update(21)
        assert shown_to.getvalue().rstrip().endswith("1.00 photos/s, 16:19 left")


def test_nothing_to_do_and_no_thread():
    log = io.StringIO()
    threads = threading.active_count()
    with Progress("reading", 0, stream=log):
        assert threading.active_count() == threads
    assert log.getvalue() == "reading: 0/0 photos, in 0:00\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (600, "10:00"), (36_061, "10:01:01")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text
