"""Answers as a table for the terminal, a block of rows per photo or per case, in the words of the page."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    from skinjax.predict.answers import Answer
    from skinjax.predict.cases import CaseAnswer
    from skinjax.predict.conclusions import Conclusion

MOST = 40
"""Photos or cases that are shown; the files have all of them."""
TOP = 3
_PHOTO, _FINE, _COARSE, _ANSWER, _WIDTH = 24, 30, 22, 44, 110


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
        photo = _shortened(answer.photo)
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
        return [row.rstrip() for row in (*table, *_wrapped(_sentences(answer, taxonomy)))]

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


class CaseTable:
    """The table of the first `MOST` cases, each with its photos below.

    Args:
      taxonomy: Of their classes.
      coverage: What conformal sets were fitted for; None where nothing was fitted.

    Attributes:
      lines: Of the table, with the columns' names above.
    """

    lines: list[str]

    def __init__(self, taxonomy: Taxonomy, coverage: float | None) -> None:
        self._taxonomy, self._coverage = taxonomy, coverage
        self._count = 0
        self.lines = []

    def add(self, answer: CaseAnswer) -> None:
        """Adds one case, where there is room for it."""
        self._count += 1
        if self._count == 1:
            heads = f"{'case':<{_PHOTO}}  {'answer':<{_ANSWER}}  {'see a doctor':<18}photos"
            self.lines += ["", heads, "-" * len(heads)]
        if self._count <= MOST:
            self.lines += self.rows(answer)
        elif self._count == MOST + 1:
            self.lines.append(f"... only the first {MOST} cases are shown")

    def rows(self, answer: CaseAnswer) -> list[str]:
        """Returns the rows of one case: its answer, what there is to say of it, and its photos."""
        from skinjax.predict import wording

        taxonomy = self._taxonomy
        urgency = wording.urgency_title(answer) or ""
        first = (
            f"{_shortened(answer.case):<{_PHOTO}}  {wording.heading(answer, taxonomy):<{_ANSWER}}  "
            f"{urgency:<18}{len(answer.photos)}"
        )
        lines: list[str] = []
        if answer.error is None:
            lines.append(wording.most_probable(answer, taxonomy, taxonomy.finest))
            lines.append(wording.set_sentence(answer, taxonomy, self._coverage))
            lines += _sentences(answer, taxonomy)
            lines += wording.case_sentences(answer)
        rows = [first, *_wrapped(lines)]
        for place, photo in enumerate(answer.photos):
            told = wording.photo_line(answer, place, taxonomy)
            name = _shortened(photo.photo, _PHOTO - 2)
            indent = " " * (_PHOTO + 2)
            wrapped = textwrap.wrap(told, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ") or [
                ""
            ]
            rows += [f"  {name:<{_PHOTO - 2}}  {wrapped[0].strip()}", *wrapped[1:]]
        return [row.rstrip() for row in rows]


def _sentences(answer: Conclusion, taxonomy: Taxonomy) -> list[str]:
    """Returns target, reasons, malignancy and advice."""
    from skinjax.predict import wording

    target = wording.target_sentence(answer, taxonomy)
    lines = [target] if target else []
    lines += [f"no diagnosis: {'; '.join(wording.reasons(answer))}"] if answer.reasons else []
    malignancy = wording.malignancy_sentence(answer)
    return [*lines, *([malignancy] if malignancy else []), *wording.advice_sentences(answer)]


def _wrapped(lines: list[str]) -> list[str]:
    indent = " " * (_PHOTO + 2)
    return [
        row
        for line in lines
        for row in textwrap.wrap(line, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
    ]


def _shortened(name: str, width: int = _PHOTO) -> str:
    """Returns a name as a terminal may show it: of printable letters, its end where it is long."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= width else "…" + shown[1 - width :]
