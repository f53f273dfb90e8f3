"""Tracks how far a run is on its way through its networks."""

from __future__ import annotations

import time
from collections.abc import Sequence

from skinjax.files.progress import clock

_LEAST_SECONDS = 5.0  # of training before a time is shown


class Course:
    """The way of a run through its networks, one after the other; changed by `begin`, `update` and `end`."""

    def __init__(self, works: Sequence[int]) -> None:
        """Begins at the first network.

        Args:
          works: Photos that each network sees in all its epochs, in the order of training.
        """
        self._works = list(works)
        self._place = -1
        self._seen, self._seconds = 0, 0.0
        self._first: tuple[int, float] | None = None

    def begin(self, title: str) -> str:
        """Returns the title of the next network with its place among all."""
        self._place += 1
        self._first = None
        return f"{title} ({self._place + 1} of {len(self._works)})" if len(self._works) > 1 else title

    def update(self, done: int) -> str:
        """Says how long all networks that are left will take, from the speed so far; empty where that is not known.

        Args:
          done: Photos that the present network has seen.
        """
        now = time.monotonic()
        if self._first is None:  # that update paid for the compilation
            self._first = done, now
            return ""
        seen, seconds = self._seen + done - self._first[0], self._seconds + now - self._first[1]
        if seconds < _LEAST_SECONDS or seen <= 0 or self._place + 1 >= len(self._works):
            return ""
        left = sum(self._works[self._place :]) - done
        return f"{clock(max(left, 0) * seconds / seen)} left for all"

    def end(self, done: int) -> None:
        """Notes that the present network has seen so many photos and is finished."""
        if self._first is not None:
            self._seen += done - self._first[0]
            self._seconds += time.monotonic() - self._first[1]
        self._first = None
