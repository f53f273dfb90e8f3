"""Files of an answer: photos and cases as JSON lines and as CSV, and either as one document."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    from skinjax.predict.answers import Answer
    from skinjax.predict.cases import CaseAnswer

_LOG = logging.getLogger(__name__)


class AnswerFiles(AbstractContextManager):
    """Writes answers as JSON lines and as CSV, as they come: photos, and perhaps cases.

    Args:
      folder: Where to.
      taxonomy: Of the answers' classes.
      cases: Whether there are answers for cases.
    """

    def __init__(self, folder: Path, taxonomy: Taxonomy, cases: bool) -> None:
        from skinjax.predict.answers import csv_header
        from skinjax.predict.cases import case_header

        self._taxonomy = taxonomy
        self._opened = ExitStack()
        self._photos = self._begin(folder, "predictions", csv_header(self._taxonomy))
        self._cases = None
        if cases:
            self._cases = self._begin(folder, "cases", case_header(self._taxonomy))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def write(self, one: Answer) -> None:
        """Writes one photo's answer."""
        self._put(self._photos, one)
        if one.error:
            _LOG.warning("left out %s: %s", one.photo, one.error)

    def write_case(self, one: CaseAnswer) -> None:
        """Writes one case's answer."""
        assert self._cases is not None
        self._put(self._cases, one)

    def _begin(self, folder: Path, stem: str, header: Sequence[str]) -> tuple[TextIO, Any]:
        lines = self._opened.enter_context((folder / f"{stem}.jsonl").open("w", encoding="utf-8"))
        table = self._opened.enter_context((folder / f"{stem}.csv").open("w", encoding="utf-8", newline=""))
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(header)
        return lines, rows

    def _put(self, files: tuple[TextIO, Any], one: Answer | CaseAnswer) -> None:
        lines, rows = files
        json.dump(one.to_dict(self._taxonomy), lines, ensure_ascii=False, allow_nan=False)
        lines.write("\n")
        rows.writerow(one.to_row(self._taxonomy))


def document_of(out: Path, by: str, form: str) -> str:
    """Returns what an answer has written as one JSON list or CSV table; empty where a table is read.

    Args:
      out: Folder of the answer.
      by: What it is of: the option `by`.
      form: The option `format`.
    """
    stem = {"photo": "predictions", "case": "cases", "lesion": "history"}[by]
    if form == "csv":
        return (out / f"{stem}.csv").read_text(encoding="utf-8").rstrip("\n")
    if form == "json":
        lines = (out / f"{stem}.jsonl").read_text(encoding="utf-8").splitlines()
        return "[" + ",\n ".join(lines) + "]"
    return ""


def first_error(folder: Path) -> str:
    """Returns the first photo and why it cannot be read, of an answer whose photos cannot be read."""
    with (folder / "predictions.jsonl").open(encoding="utf-8") as file:
        first = json.loads(file.readline())
    return f"{first['photo']} {first['error']}"
