"""Excel workbooks as text tables: the first sheet, each cell as the text that it shows, rows under their own numbers.

A workbook is read by openpyxl (the extra `excel`); formulas count as the values that Excel stored with them.
"""

from __future__ import annotations

import csv
import datetime
import io
import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_LOG = logging.getLogger(__name__)
_MISSING = (
    "is an Excel workbook (.xlsx), which openpyxl reads; pip install 'skinjax[excel]', or open it, save it as "
    "'CSV UTF-8' and give that file"
)
_UNKNOWN = ("#N/A",)  # Excel's word for a value that is not available


def read_workbook(path: Path) -> tuple[bytes, str]:
    """Reads the first sheet that is shown of an Excel workbook as a table parted by tabs.

    Args:
      path: A file that is a workbook (`.xlsx`, `.xlsm`), whatever its name says.

    Returns:
      The table as UTF-8, and a sentence that names the sheets where there are several, or an empty text.

    Raises:
      ValueError: openpyxl is not installed, or the file cannot be read; the sentence says what to do.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise ValueError(_MISSING) from error
    try:
        with path.open("rb") as file, warnings.catch_warnings():  # openpyxl would refuse a name such as .csv
            warnings.simplefilter("ignore")  # of styles and validations that are not looked at
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            try:
                sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
                if not sheets:
                    raise ValueError("it has no sheet with cells")
                sheets[0].reset_dimensions()  # which some programs write wrong
                rows = [_cells(row) for row in sheets[0].iter_rows(values_only=True)]
                names = [sheet.title for sheet in sheets]
            finally:
                book.close()
    except Exception as error:  # of a file made by anybody, openpyxl raises what its parsers happen to raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"is an Excel workbook (.xlsx) that cannot be read ({reason}); open it, save it as 'CSV UTF-8' and give "
            "that file"
        ) from error
    told = ""
    if len(names) > 1:
        others = ", ".join(map(repr, names[1:]))
        told = f"of {len(names)} sheets the first, {names[0]!r}, is read, and not {others}"
        _LOG.warning("%s: %s", path, told)
    return _delimited(rows), told


def _delimited(rows: Iterable[list[str]]) -> bytes:
    """Returns rows as text parted by tabs, each with as many cells as the longest."""
    table = list(rows)
    while table and not any(table[-1]):
        table.pop()
    width = max(map(len, table), default=0)
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerows([*row, *[""] * (width - len(row))] for row in table)
    return text.getvalue().encode("utf-8", "replace")


def _cells(row: Iterable[Any]) -> list[str]:
    cells = [_text(cell) for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _text(cell: Any) -> str:
    """Returns a cell as text: whole numbers without a point, days without the time of midnight.

    >>> [_text(cell) for cell in (None, 7.0, 0.25, True, "a ", datetime.datetime(2024, 5, 1))]
    ['', '7', '0.25', 'True', 'a ', '2024-05-01']
    """
    if cell is None or cell in _UNKNOWN:
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    return cell.isoformat() if isinstance(cell, datetime.datetime | datetime.date) else str(cell)
