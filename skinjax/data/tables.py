"""Reading and writing tables as people save them: text first, faults by row and column, writes atomic.

Every cell is read as text, so that `007` keeps its zeros, `12` never becomes `12.0` and the word `NA` stays a
word; an empty cell is the empty string. Columns that are asked for as numbers become float64.

Rows are numbered in messages as a spreadsheet numbers them: in a CSV the header is row 1 and the first record
row 2; in a Parquet file, which has no header row, the first record is row 1.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import difflib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa  # type: ignore[import-untyped]

SHOWN = 10
"""How many faulty rows a message names before it only counts."""


class TableError(ValueError):
    """Everything that is wrong with one table.

    Attributes:
      where: The file, or what else was read.
      problems: One sentence a fault, each naming its column and rows.
    """

    def __init__(self, where: str, problems: Sequence[str]):
        self.where = where
        self.problems = tuple(problems)
        head = f"{where}: {len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(
            "\n- ".join((head, *self.problems)) if len(problems) != 1 else f"{where}: {problems[0]}"
        )


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as read.

    Attributes:
      frame: The columns, text (or float64 where numbers were asked for), no missing values in text columns.
      rows: int64[N], the number of each record's row in the file, for messages.
    """

    frame: pd.DataFrame
    rows: npt.NDArray[np.int64]


def faulty_rows(
    column: str,
    fault: str,
    mask: npt.ArrayLike,
    rows: npt.NDArray[np.int64],
    values: Any = None,
    explain: Callable[[Any], str] = lambda value: "",
) -> list[str]:
    """One sentence about the rows of a column where `mask` holds, or nothing where it never does.

    Args:
      column: Name of the column.
      fault: What is wrong and what is wanted, following "2 rows".
      mask: bool[N].
      rows: int64[N], row numbers to name.
      values: N cells to quote; none are quoted if missing.
      explain: Text to append to a quoted value, such as a likely spelling.

    Returns:
      A list of one sentence or none, to be added to a list of problems.

    >>> import numpy as np
    >>> faulty_rows("age", "not a number", [False, True], np.array([2, 3]), ["41", "old"])
    ["column 'age', 1 row not a number: row 3 'old'"]
    """
    at = np.flatnonzero(np.asarray(mask))
    if not at.size:
        return []
    shown = []
    for i in at[:SHOWN]:
        if values is None:
            shown.append(f"row {rows[i]}")
        else:
            value = values[i].item() if isinstance(values[i], np.generic) else values[i]
            shown.append(f"row {rows[i]} {value!r}{explain(value)}")
    if at.size > SHOWN:
        shown.append(f"and {at.size - SHOWN:,} more")
    return [f"column {column!r}, {at.size:,} row{'s' if at.size != 1 else ''} {fault}: {', '.join(shown)}"]


def missing_columns(wanted: Sequence[str], columns: Iterable[object]) -> list[str]:
    """One sentence a wanted column that is missing, with the column that is spelled much like it.

    >>> missing_columns(("image", "case_id", "label"), ["image", "Case ID", "diagnosis"])
    ["no column 'case_id', but one 'Case ID'", "no column 'label'"]
    """
    there = [str(name) for name in columns]
    spelled = {_letters(name): name for name in reversed(there) if name not in wanted}
    problems = []
    for name in wanted:
        if name not in there:
            near = difflib.get_close_matches(_letters(name), spelled, n=1, cutoff=0.75)
            problems.append(f"no column {name!r}" + (f", but one {spelled[near[0]]!r}" if near else ""))
    return problems


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def read_table(
    path: str | Path,
    error: type[TableError] = TableError,
    is_number: Callable[[str], bool] = lambda column: False,
) -> Table:
    """Reads a CSV (comma, semicolon or tab; with or without a byte order mark) or a Parquet file.

    Args:
      path: The file; `.parquet` or `.pq` is read as Parquet, anything else as CSV in UTF-8.
      error: The `TableError` to raise.
      is_number: Says by its name whether a column holds numbers; empty cells of one are NaN.

    Returns:
      The table, blank lines left out.

    Raises:
      TableError: If there is no such file, it is empty, not UTF-8, a row has too many or too few cells, a
        column's name is empty or repeated, or a number cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise error(str(path), ["no such file"])
    if path.suffix.lower() in (".parquet", ".pq"):
        table, rows = _read_parquet(path, error)
    else:
        table, rows = _read_csv(path, error)
    problems: list[str] = []
    columns = {}
    for name in table.column_names:
        if is_number(name):
            columns[name] = _numbers(table[name], name, rows, problems)
        else:
            columns[name] = _text(table[name], name, problems)
    if problems:
        raise error(str(path), problems)
    return Table(_to_pandas(columns), rows)


def to_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Every column of a frame as text: missing becomes empty, whole floats lose their `.0`.

    Raises:
      ValueError: If a column holds lists or other things that are no single value.

    >>> import pandas as pd
    >>> to_text(pd.DataFrame({"case_id": [12.0, None], "label": ["NA", "b"]})).to_dict("list")
    {'case_id': ['12', ''], 'label': ['NA', 'b']}
    """
    import pyarrow as pa

    problems: list[str] = []
    columns = {}
    for name, series in frame.items():
        try:
            values = pa.Array.from_pandas(series)
        except (pa.ArrowInvalid, pa.ArrowTypeError):  # an object column of several types
            cells = [
                None if missing else str(cell) for cell, missing in zip(series, series.isna(), strict=True)
            ]
            values = pa.array(cells, pa.large_string())
        chunks = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
        columns[str(name)] = _text(chunks, str(name), problems)
    if problems:
        raise TableError("table", problems)
    return _to_pandas(columns)


def utf8(column: pd.Series) -> tuple[bytes, npt.NDArray[np.int64]]:
    """A text column's cells run together as UTF-8, and the length of each.

    >>> import pandas as pd
    >>> text, lengths = utf8(pd.Series(["ab", "", "é"], dtype=str))
    >>> text.decode(), lengths.tolist()
    ('abé', [2, 0, 2])
    """
    import pyarrow as pa

    cells = pa.array(column, pa.large_string())
    if isinstance(cells, pa.ChunkedArray):
        cells = pa.concat_arrays([*cells.chunks, pa.array([], pa.large_string())])
    if not len(cells):
        return b"", np.zeros(0, np.int64)
    _, offsets, text = cells.buffers()
    bounds = np.frombuffer(offsets, np.int64)[cells.offset : cells.offset + len(cells) + 1]
    # A column cut from a longer one shares its buffer.
    return memoryview(text)[bounds[0] : bounds[-1]].tobytes() if text else b"", np.diff(bounds)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`: it takes that one's place when the block ends well, else it is removed.

    A reader sees the old file or the new one, never a part.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp's files are for the owner alone; a new file gets the rights any other would.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_csv(path: Path, error: type[TableError]) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]
    from pyarrow import csv as arrow_csv

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            file.seek(0)
            header = next(csv.reader(file, delimiter=delimiter), [])
    except UnicodeDecodeError as fault:
        raise error(str(path), [_not_utf8(path)]) from fault
    names = [name.strip() for name in header]
    if not any(names):
        raise error(str(path), ["the first row is empty; it must hold the names of the columns"])
    advice = "name the column or leave it out (in pandas, to_csv(index=False))"
    problems = [f"the header's cell {i + 1} is empty; {advice}" for i, name in enumerate(names) if not name]
    repeated = {name: count for name, count in Counter(names).items() if count > 1 and name}
    problems += [f"column {name!r} appears {count} times" for name, count in repeated.items()]
    if problems:
        raise error(str(path), problems)

    broken: list[tuple[int, int]] = []

    def note(row: Any) -> str:
        broken.append((row.number, row.actual_columns))
        return "skip"

    try:
        table = arrow_csv.read_csv(
            path,
            # Rows are only numbered when one thread reads them.
            read_options=arrow_csv.ReadOptions(use_threads=False),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=note,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.large_string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as fault:
        if "UTF8" in str(fault):
            raise error(str(path), [_not_utf8(path)]) from fault
        raise error(str(path), [f"cannot be read as CSV ({fault})"]) from fault
    if broken:
        shown = [f"row {number} has {found}" for number, found in broken[:SHOWN]]
        shown += [f"and {len(broken) - SHOWN:,} more"] if len(broken) > SHOWN else []
        raise error(str(path), [f"the header has {len(names)} cells, but {', '.join(shown)}"])
    table = table.rename_columns(names)
    rows = np.arange(2, table.num_rows + 2, dtype=np.int64)
    blank = np.ones(table.num_rows, bool)
    for column in table.columns:
        if not blank.any():
            break
        blank &= pc.equal(column, "").to_numpy()
    if blank.any():
        table, rows = table.filter(pa.array(~blank)), rows[~blank]
    return table, rows


def _read_parquet(path: Path, error: type[TableError]) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as fault:
        raise error(str(path), [f"cannot be read as Parquet ({fault})"]) from fault
    # pandas writes its row labels as columns of this name when they are not 0, 1, 2, ...
    table = table.drop_columns([name for name in table.column_names if name.startswith("__index_level_")])
    return table, np.arange(1, table.num_rows + 1, dtype=np.int64)


def _not_utf8(path: Path) -> str:
    data = path.read_bytes()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        return f"line {line} is not UTF-8 text; save the file as UTF-8"
    return "the file is not UTF-8 text; save it as UTF-8"


def _text(column: pa.ChunkedArray, name: str, problems: list[str]) -> pa.ChunkedArray:
    """A column of any type as text without nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        problems.append(f"column {name!r} is of type {kind}; wanted text or numbers")
        return pa.chunked_array([], pa.large_string())
    if pa.types.is_floating(kind):
        # Ids that passed through a float column (an integer column with gaps, in pandas) are integers again.
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**53))
        if pc.all(whole).as_py() is not False:
            column = pc.cast(pc.if_else(pc.is_nan(column), None, column), pa.int64())
        else:
            column = pc.if_else(pc.is_nan(column), None, column)
    elif pa.types.is_null(kind):
        return pa.chunked_array([pa.array([""] * len(column), pa.large_string())])
    return pc.fill_null(column.cast(pa.large_string()), "")


def _numbers(
    column: pa.ChunkedArray, name: str, rows: npt.NDArray[np.int64], problems: list[str]
) -> npt.NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        trimmed = pc.utf8_trim_whitespace(column)
        trimmed = pc.if_else(pc.equal(trimmed, ""), None, trimmed)
        try:
            column = trimmed.cast(pa.float64())
        except pa.ArrowInvalid:
            cells = column.to_pylist()
            numbers = [_number(cell) for cell in cells]
            bad = [number is None for number in numbers]
            problems += faulty_rows(name, "not a number", bad, rows, cells)
            return np.array([np.nan if number is None else number for number in numbers])
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def _number(cell: str | None) -> float | None:
    """A cell as Python reads it, which takes a few spellings that Arrow does not; None if it is no number."""
    try:
        return float((cell or "").strip() or "nan")
    except ValueError:
        return None


def _to_pandas(columns: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            name: column if isinstance(column, np.ndarray) else column.to_pandas()
            for name, column in columns.items()
        }
    )
