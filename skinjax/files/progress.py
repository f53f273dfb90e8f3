"""Shows progress to people: tqdm's bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import threading
import time
from types import TracebackType
from typing import TextIO

from tqdm import tqdm  # type: ignore[import-untyped]

_REDRAW_SECONDS = 0.2
_LINE_SECONDS = 15.0
_RATE_SECONDS = 3.0  # of updates before a rate and the time left are shown
_COUNT = "{desc}: {n_fmt}/{total_fmt}{unit}"


def clock(seconds: float) -> str:
    """Writes a duration as minutes and seconds, with hours where there are any.

    >>> clock(75), clock(3700)
    ('1:15', '1:01:40')
    """
    return tqdm.format_interval(round(seconds)).removeprefix("0")


class _Bar(tqdm):
    monitor_interval = 0  # no thread of its own


_Bar.set_lock(threading.RLock())  # nor a semaphore between processes


class Progress:
    """Shows how far one task is; use as a context manager.

    On a terminal a bar is redrawn in place; elsewhere a line is printed every 15 seconds and at the end, so that a log
    file stays readable.

    Args:
      title: What is being done.
      total: How many units there are.
      unit: Their name, in the plural.
      stream: Where to write, by default the standard error stream.
    """

    def __init__(self, title: str, total: int, *, unit: str = "photos", stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._began = self._shown = time.monotonic()
        self._started = False
        head = "[{bar:24}] " + _COUNT if self._terminal else _COUNT
        self._early, self._format = head + "{postfix}", head + ", {rate_noinv_fmt}, {remaining} left{postfix}"
        self._bar = _Bar(
            desc=title,
            total=total,
            unit=f" {unit}",
            file=self._stream,
            bar_format=self._early,
            delay=0 if self._terminal else math.inf,  # in a log tqdm itself draws nothing
            mininterval=_REDRAW_SECONDS,
            miniters=0,
            smoothing=0,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar.n >= self._bar.total:
            self._bar.bar_format = f"{_COUNT}, in {clock(time.monotonic() - self._began)}{{postfix}}"
        if not self._terminal:
            self._write_line()
        self._bar.close()

    def wait(self, note: str, done: int = 0) -> None:
        """Says what the first update waits for, such as a compilation, and how many units were done before."""
        self._bar.n = self._bar.initial = done
        self._bar.set_postfix_str(note, refresh=self._terminal)
        if not self._terminal:
            self._write_line()

    def update(self, done: int, note: str = "") -> None:
        """Says that `done` units are done; `note` is shown behind them."""
        if not self._started:  # the first update pays for compilation, so the rate counts from there
            self._started = True
            self._counted = time.monotonic()
            self._bar.unpause()
            self._bar.initial = done
            self._bar.set_postfix_str("", refresh=False)
        elif time.monotonic() - self._counted >= _RATE_SECONDS:
            self._bar.bar_format = self._format
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)
        if not self._terminal and time.monotonic() - self._shown >= _LINE_SECONDS:
            self._write_line()

    def _write_line(self) -> None:
        self._shown = time.monotonic()
        self._stream.write(f"{self._bar}\n")
        self._stream.flush()
