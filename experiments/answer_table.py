"""Answers as a table on the terminal, a block of rows a photo."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from skinjax.labels.degrees import advice, degree_names
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    from skinjax.predict.answers import Answer

MOST = 40
"""Photos that are shown; the files have all of them."""
TOP = 3
_PHOTO, _FINE, _COARSE, _WIDTH = 24, 30, 22, 110


class AnswerTable:
    """Prints answers as they come, up to `MOST`.

    Args:
      taxonomy: of their classes.
      num_degrees: D; 0 without degrees.
    """

    def __init__(self, taxonomy: Taxonomy, num_degrees: int) -> None:
        self._taxonomy, self._degrees = taxonomy, degree_names(num_degrees) if num_degrees else ()
        self._shown = 0

    def show(self, answer: Answer) -> None:
        """Prints one answer, below the columns' names if it is the first."""
        self._shown += 1
        if self._shown == 1:
            print(f"\n{self._heads()}\n{'-' * min(_WIDTH, len(self._heads()))}")
        if self._shown <= MOST:
            print("\n".join(self.rows(answer)))
        elif self._shown == MOST + 1:
            print(f"... only the first {MOST} photos are shown")

    def rows(self, answer: Answer) -> list[str]:
        """The rows of one answer, each at most 110 characters wide where names are not very long."""
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
        lines = []
        # No advice by what gives no diagnosis: of a black photo a network may well say that it looks benign.
        if answer.malignancy and not answer.reasons:
            degree = answer.malignancy.degree
            words = f"malignancy {answer.malignancy.score:.0f} of 100, {self._degrees[degree]}"
            lines.append(f"{words}. {advice(degree, len(self._degrees))}")
        if answer.reasons:
            lines.append(f"no diagnosis: {'; '.join(answer.reasons)}")
            if answer.malignancy:
                lines.append("take another photo, or show it to a doctor")
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
