"""Progress for people: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

_BAR = 24
_REDRAW_SECONDS = 0.2
_LINE_SECONDS = 15.0


def clock(seconds: float) -> str:
    """Writes a duration as minutes and seconds, with hours where there are any.

    >>> clock(75), clock(3700)
    ('1:15', '1:01:40')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class Progress:
    """Shows how far one task is; use as a context manager.

    On a terminal a line is redrawn in place; elsewhere a line is printed every 15 seconds and at the end, so that a log
    file stays readable.
    """

    def __init__(self, title: str, total: int, *, unit: str = "photos", stream: TextIO | None = None):
        """Starts at 0 of `total` units."""
        self._title, self._total, self._unit = title, total, unit
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._first: tuple[float, int] | None = None
        self._began = time.monotonic()
        self._shown = self._began if not self._terminal else 0.0
        self._done = 0
        self._note = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._show()
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()

    def update(self, done: int, note: str = "") -> None:
        """Says that `done` units are done; `note` is shown behind them."""
        now = time.monotonic()
        if self._first is None:  # the first update pays for compilation, so the rate counts from there
            self._first = (now, done)
        self._done, self._note = done, note or self._note
        if now - self._shown >= (_REDRAW_SECONDS if self._terminal else _LINE_SECONDS):
            self._show()

    def _show(self) -> None:
        self._shown = now = time.monotonic()
        share = self._done / self._total if self._total else 1.0
        began, first = self._first or (now, 0)
        rate = (self._done - first) / (now - began) if now > began else 0.0
        parts = [f"{self._title}: {self._done}/{self._total} {self._unit}"]
        if self._done >= self._total:
            parts.append(f"in {clock(now - self._began)}")
        elif rate > 0:
            parts.append(f"{rate:.0f}/s, {clock((self._total - self._done) / rate)} left")
        if self._note:
            parts.append(self._note)
        text = ", ".join(parts)
        if self._terminal:
            filled = int(_BAR * share)
            self._stream.write(f"\r\x1b[K[{'#' * filled}{'.' * (_BAR - filled)}] {text}")
        else:
            self._stream.write(text + "\n")
        self._stream.flush()
