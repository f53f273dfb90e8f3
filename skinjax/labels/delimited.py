"""Text tables as people save them: which encoding, which delimiter, packed or not. Every table is read through here.

| the file | is read as |
|---|---|
| UTF-8, with or without a byte order mark | as it is |
| UTF-16 or UTF-32 (Excel's "Unicode text") | text of that encoding |
| packed by gzip (`.csv.gz`) | what is packed |
| a first line `sep=;` (written for Excel) | with that delimiter, the line left out |
| an Excel workbook (`.xlsx`) | its first sheet (`skinjax.labels.workbooks`) |
| older Excel and OpenDocument workbooks, ZIP archives | refused, with a sentence that says how to save them |

The delimiter is that of comma, semicolon, tab and `|` which parts the header into several cells, and the first records
into as many as the header; a table of one column has none.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from skinjax.labels.workbooks import read_workbook

DELIMITERS = ",;\t|"
"""Those that are looked for, the most usual first."""

_SAMPLE_BYTES = 1 << 16
_SAMPLE_ROWS = 50
_MARKS = (  # the longer first: UTF-16's mark begins UTF-32's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEP = re.compile(r'\A"?sep=(?P<delimiter>[^\r\n])"?[;,\t|]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
_INDEX = re.compile(r"(?:Unnamed: ?\d+(?:\.\d+|_level_\d+)?)?")  # of pandas, or no name at all
_HOW_TO_SAVE = "open it, save it as 'CSV UTF-8' and give that file"


@dataclasses.dataclass(frozen=True)
class DelimitedText:
    """A text table, before its records are parsed.

    Attributes:
      delimiter: Character between cells.
      data: The table as UTF-8 without a byte order mark; None where the file can be read as it is.
      path: The file.
      note: A sentence about what of the file is read, without a full stop; empty where it is all of it.
    """

    delimiter: str
    data: bytes | None
    path: Path
    note: str = ""

    @property
    def decimal_commas(self) -> bool:
        """Says whether a comma in a number can only be a decimal comma."""
        return self.delimiter != ","

    def header(self) -> list[str]:
        """Returns the cells of the first record, as they are; none where the table is empty.

        Raises:
          ValueError: The file is not UTF-8 text.
        """
        try:
            if self.data is None:
                with self.path.open(encoding="utf-8-sig", newline="") as file:
                    return next(csv.reader(file, delimiter=self.delimiter), [])
            return next(csv.reader(_lines(self.data.decode()), delimiter=self.delimiter), [])
        except UnicodeDecodeError as error:
            raise ValueError(not_utf8(self.path.read_bytes())) from error
        except csv.Error as error:
            raise ValueError(f"cannot be read as CSV ({error})") from error

    def records(self) -> list[list[str]]:
        """Returns all records that are not blank, the header first, cells stripped, without row numbers of pandas.

        Raises:
          ValueError: The file is not UTF-8 text.
        """
        data = self.path.read_bytes() if self.data is None else self.data
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(not_utf8(data)) from error
        try:
            rows = [
                [cell.strip() for cell in row] for row in csv.reader(_lines(text), delimiter=self.delimiter)
            ]
        except csv.Error as error:
            raise ValueError(f"cannot be read as CSV ({error})") from error
        rows = [row for row in rows if any(row)]
        while rows and all(len(row) == len(rows[0]) and not row[-1] for row in rows):
            rows = [row[:-1] for row in rows]  # a column that was once used in a spreadsheet
        if rows and len(rows[0]) > 1 and is_index(rows[0][0], [row[0] for row in rows[1:]]):
            rows = [row[1:] for row in rows]
        return rows


def read_delimited(path: Path) -> DelimitedText:
    """Looks at a text table's file: unpacks and recodes it where that is needed, and finds its delimiter.

    Args:
      path: An existing file.

    Returns:
      The table; a file that is plain UTF-8 is read no further than its first 64 KiB.

    Raises:
      ValueError: The file is no text table; the sentence, without the path, says what it is and what to do.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE_BYTES)
    whole = len(head) < _SAMPLE_BYTES
    data: bytes | None = None
    if head.startswith(b"\x1f\x8b"):
        data, whole = _unpacked(path), True
        head = data
    elif _is_excel(head):
        table, note = read_workbook(path)
        return DelimitedText("\t", table, path, note)
    if kind := _workbook(head):
        raise ValueError(kind)
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), None) or _unmarked(head)
    if encoding != "utf-8" or data is not None:
        raw = path.read_bytes() if data is None else data
        try:
            text = raw.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            if encoding == "utf-8":
                raise ValueError(not_utf8(raw)) from error
            raise ValueError(f"cannot be read as {encoding.upper()} text; save it as UTF-8") from error
        data, sample, whole = text.encode(), text[:_SAMPLE_BYTES], len(text) <= _SAMPLE_BYTES
    else:
        # The sample may end inside a letter; what is wrong elsewhere is told by who reads all of it.
        sample = head.decode("utf-8", "replace").removeprefix("\ufeff")
    if "\0" in sample:
        raise ValueError("is no text table; save the table as CSV in UTF-8 and give that file")
    if named := _SEP.match(sample):
        raw = path.read_bytes().removeprefix(codecs.BOM_UTF8) if data is None else data
        return DelimitedText(named["delimiter"], raw[len(named[0].encode()) :], path)
    return DelimitedText(_delimiter(sample, whole), data, path)


def is_index(name: str, cells: Sequence[str]) -> bool:
    """Returns whether a column is the row numbers that pandas writes beside a table.

    Args:
      name: Its name, empty or such as `Unnamed: 0`.
      cells: Its cells as text.

    >>> is_index("Unnamed: 0", ["0", "1", "2"]), is_index("", ["a", "b"]), is_index("number", ["0", "1"])
    (True, False, False)
    """
    known = [cell.strip() for cell in cells if cell.strip()]
    return bool(_INDEX.fullmatch(name) and known) and all(
        re.fullmatch(r"\d+(?:\.0)?", cell) for cell in known
    )


def not_utf8(data: bytes) -> str:
    """Returns the sentence for a file that is not UTF-8 text, with the line that shows it."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        return f"line {line} is not UTF-8 text; save the file as UTF-8"
    return "the file is not UTF-8 text; save it as UTF-8"


def _lines(text: str) -> io.StringIO:
    return io.StringIO(text, newline="")  # which leaves line ends to the csv module


def _unpacked(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"cannot be unpacked by gzip ({error})") from error


def _workbook(head: bytes) -> str:
    """Returns the sentence for a file of another program; empty for what may be text."""
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return f"is an Excel workbook (.xls); {_HOW_TO_SAVE}"
    if head.startswith(b"PK\x03\x04"):
        if b"opendocument.spreadsheet" in head[:200]:
            return f"is an OpenDocument workbook (.ods); {_HOW_TO_SAVE}"
        if _is_excel(head):
            return f"is an Excel workbook (.xlsx) that was packed; unpack it, or {_HOW_TO_SAVE}"
        return "is a ZIP archive; unpack it and give the table in it"
    if head[:200].lstrip().lower().startswith((b"<html", b"<!doctype", b"<?xml")):
        return f"is a web page or XML, whatever its name says; {_HOW_TO_SAVE}"
    return ""


def _is_excel(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04") and (b"[Content_Types].xml" in head or b"xl/" in head)


def _unmarked(head: bytes) -> str:
    """Returns the encoding of text without a byte order mark: in UTF-16 every other byte of plain letters is zero."""
    start = head[:200]
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if odd > len(start) / 4 and not even:
        return "utf-16-le"
    if even > len(start) / 4 and not odd:
        return "utf-16-be"
    return "utf-8"


def _delimiter(sample: str, whole: bool) -> str:
    """Returns the delimiter that parts the header and, best of all, the records below it alike."""
    best, best_fit = DELIMITERS[0], (0.0, 1)
    for delimiter in DELIMITERS:
        try:
            rows = list(itertools.islice(csv.reader(_lines(sample), delimiter=delimiter), _SAMPLE_ROWS + 1))
        except csv.Error:
            continue
        if not whole and len(rows) <= _SAMPLE_ROWS:
            rows = rows[:-1]  # cut off
        if not rows or len(rows[0]) < 2:
            continue
        below = [len(row) == len(rows[0]) for row in rows[1:] if any(cell.strip() for cell in row)]
        fit = (sum(below) / len(below) if below else 1.0, len(rows[0]))
        if fit > best_fit:
            best, best_fit = delimiter, fit
    return best
