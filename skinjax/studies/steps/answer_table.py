"""Answers as a table for the terminal, a block of rows per photo."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from skinjax.labels.degrees import NO_TUMOUR
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    from skinjax.predict.answers import Answer

MOST = 40
"""Photos that are shown; the files have all of them."""
TOP = 3
_PHOTO, _FINE, _COARSE, _WIDTH = 24, 30, 22, 110


class AnswerTable:
    """The table of the first `MOST` answers.

    Args:
      taxonomy: Of their classes.

    Attributes:
      lines: Of the table, with the columns' names above.
    """

    lines: list[str]

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy
        self._count = 0
        self.lines = []

    def add(self, answer: Answer) -> None:
        """Adds one answer, where there is room for it."""
        self._count += 1
        if self._count == 1:
            self.lines += ["", self._heads(), "-" * min(_WIDTH, len(self._heads()))]
        if self._count <= MOST:
            self.lines += self.rows(answer)
        elif self._count == MOST + 1:
            self.lines.append(f"... only the first {MOST} photos are shown")

    def rows(self, answer: Answer) -> list[str]:
        """Returns the rows of one answer, each at most 110 characters wide where names are not very long."""
        photo = answer.photo if len(answer.photo) <= _PHOTO else "…" + answer.photo[1 - _PHOTO :]
        if answer.error is not None:
            return [f"{photo:<{_PHOTO}}  cannot be read: {answer.error}"]
        taxonomy = self._taxonomy
        columns = [[photo]]
        for level in (taxonomy.finest, *reversed(taxonomy.levels[:-1])):
            width = _FINE if level == taxonomy.finest else _COARSE
            count = TOP if level == taxonomy.finest else 1
            columns.append([self._share(*entry, width) for entry in answer.top(taxonomy, level, count)])
        columns.append(self._set(answer))
        widths = [_PHOTO, _FINE, *[_COARSE] * (len(taxonomy.levels) - 1), 0]
        depth = max(map(len, columns))
        table = [
            "  ".join(
                f"{column[row] if row < len(column) else '':<{width}}"
                for column, width in zip(columns, widths, strict=True)
            )
            for row in range(depth)
        ]
        lines = [answer.target.line()] if answer.target else []
        lines += [f"no diagnosis: {'; '.join(answer.reasons)}"] if answer.reasons else []
        lines += _advice_lines(answer)
        indent = " " * (_PHOTO + 2)
        below = [
            row
            for line in lines
            for row in textwrap.wrap(line, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
        ]
        return [row.rstrip() for row in (*table, *below)]

    def _heads(self) -> str:
        levels = [self._taxonomy.finest, *reversed(self._taxonomy.levels[:-1])]
        widths = [_FINE, *[_COARSE] * (len(levels) - 1)]
        heads = [f"{level:<{width}}" for level, width in zip(levels, widths, strict=True)]
        return "  ".join([f"{'photo':<{_PHOTO}}", *heads, "cannot be ruled out"])

    def _share(self, name: str, probability: float, width: int) -> str:
        title = self._taxonomy.title(name)
        title = title if len(title) <= width - 5 else title[: width - 6] + "…"
        return f"{title:<{width - 5}} {100 * probability:>3.0f}%"

    def _set(self, answer: Answer) -> list[str]:
        names = answer.backed_off or answer.conformal_set
        if len(answer.conformal_set) == len(self._taxonomy.classes()):
            return ["any class"]
        titles = [self._taxonomy.title(name) for name in names]
        return titles if len(titles) <= TOP else [*titles[: TOP - 1], f"and {len(titles) - TOP + 1} more"]


def _advice_lines(answer: Answer) -> list[str]:
    """Returns degree, advice and how often such advice came too late."""
    from skinjax.predict.advice import told_share

    malignancy, advice = answer.malignancy, answer.advice
    if malignancy is None or advice is None:
        return []
    head = f"{advice.urgency.upper()}: " if advice.urgency else ""
    if advice.withheld:  # no score: of a black photo a network may well say that it looks benign
        others = [reason for reason in advice.withheld if reason not in answer.reasons]
        return [*([f"uncertain: {'; '.join(others)}"] if others else []), head + advice.words]
    # Where all classes are tumours, or as good as that, how probable one is tells nothing.
    words = f"tumour {100 * malignancy.tumour:.0f}%, " if malignancy.tumour < 0.995 else ""
    if malignancy.degree == NO_TUMOUR:
        lines = [f"{words}none is called"]
    else:
        lines = [f"{words}malignancy {malignancy.score:.0f} of 100, {malignancy.called}"]
    lines.append(head + advice.words)
    if (share := advice.too_late["this_advice"]) and advice.urgency != "urgent":
        lines.append(
            f"of {share['photos']:,} held-out photos told the same, {told_share(share)} needed to be seen sooner"
        )
    return lines
