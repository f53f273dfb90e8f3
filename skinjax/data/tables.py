"""Reading and writing tables as people save them: text first, faults by row and column, writes atomic.

Every cell is read as text, so that `007` keeps its zeros, `12` never becomes `12.0` and the word `NA` stays a
word; an empty cell is the empty string. Columns that are asked for as numbers become float64. Which encodings,
delimiters and packings are read, and which files are refused with advice, says `skinjax.labels.delimited`.

Rows are numbered in messages as a spreadsheet numbers them: in a CSV the header is row 1 and the first record
row 2; in a Parquet file, which has no header row, the first record is row 1.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skinjax.data.column_names import ColumnNames
from skinjax.data.spelling import unknown
from skinjax.labels.delimited import DelimitedText, is_index, not_utf8, read_delimited

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa  # type: ignore[import-untyped]

SHOWN = 10
"""Number of faulty rows that a message names before it only counts."""


ENDINGS = (
    ".csv", ".tsv", ".tab", ".txt", ".gz", ".xlsx", ".xlsm", ".xls", ".ods", ".parquet", ".pq",
)  # fmt: skip
"""Endings of the names of table files; for those that cannot be read, the error says why."""

ANY_DECIMALS = 17
"""Stands for the decimals of a column that shows exponents."""

_SAMPLE_CELLS = 1000
_MANY_DECIMALS = 7


class TableError(ValueError):
    """Everything that is wrong with one table.

    Attributes:
      where: The file, or what else was read.
      problems: One sentence per fault, each naming its column and rows.

    Args:
      where: As the attribute.
      problems: As the attribute.
      advice: A sentence on what to do about all of them, which ends the message.
    """

    def __init__(self, where: str, problems: Sequence[str], advice: str = ""):
        self.where = where
        self.problems = tuple(problems)
        head = f"{where}: {len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        message = "\n- ".join((head, *self.problems)) if len(problems) != 1 else f"{where}: {problems[0]}"
        super().__init__(f"{message}\n{advice}" if advice else message)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as read.

    Attributes:
      frame: The columns, text (or float64 where numbers were asked for), no missing values in text columns.
      rows: int64[N], the number of each record's row in the file, for messages.
      notes: Sentences about what was done to the table, to be read beside results.
      decimals: Column of numbers -> the most decimals that a cell shows, where the table is text.
      sheet: Which sheet of several it is, as a phrase; empty for a file that is a single table.
      index: Names of columns that only numbered the rows, and are left out.
      renamed: Column -> the table's own name of it, where that is another.
    """

    frame: pd.DataFrame
    rows: npt.NDArray[np.int64]
    notes: tuple[str, ...] = ()
    decimals: Mapping[str, int] = dataclasses.field(default_factory=dict)
    sheet: str = ""
    index: tuple[str, ...] = ()
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)


def is_table(path: Path) -> bool:
    """Returns whether a file is a table by its name.

    >>> is_table(Path("today.CSV.gz")), is_table(Path("arm.jpg"))
    (True, False)
    """
    return path.suffix.lower() in ENDINGS and not path.is_dir()


def faulty_rows(
    column: str,
    fault: str,
    mask: npt.ArrayLike,
    rows: npt.NDArray[np.int64],
    values: Any = None,
    explain: Callable[[Any], str] = lambda value: "",
) -> list[str]:
    """Returns one sentence about the rows of a column where `mask` holds, or nothing where it never does.

    Args:
      column: Name of the column.
      fault: What is wrong and what is needed, following "2 rows".
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


def empty_cells(cells: pd.Series) -> dict[str, npt.NDArray[np.bool_]]:
    """Returns where a column of names has none: bool[N] by the fault, following "2 rows"; nothing where all have one.

    Args:
      cells: Text; a word that only says that a value is missing is no name.

    >>> import pandas as pd
    >>> {fault: mask.tolist() for fault, mask in empty_cells(pd.Series(["a", " ", "NULL"], dtype=str)).items()}
    {'empty': [False, True, False], "with 'NULL', which counts as empty": [False, False, True]}
    """
    bare = cells.str.strip()
    words = bare[unknown(bare) == ""].unique()
    return {
        f"with {word!r}, which counts as empty" if word else "empty": (bare == word).to_numpy(bool)
        for word in sorted(words)
    }


def empty_names(column: str, cells: pd.Series, rows: npt.NDArray[np.int64]) -> list[str]:
    """Returns a sentence for each way in which cells of a column of names are empty; see `empty_cells`.

    Args:
      column: Name of the column.
      cells: Text[N].
      rows: int64[N], row numbers to name.
    """
    return [
        sentence
        for fault, mask in empty_cells(cells).items()
        for sentence in faulty_rows(column, fault, mask, rows)
    ]


def missing_columns(required: Sequence[str], columns: Iterable[object]) -> list[str]:
    """Returns one sentence per required column that is missing, with the column that is spelled much like it.

    >>> missing_columns(("image", "case_id", "label"), ["image", "Case ID", "diagnosis"])
    ["no column 'case_id', but one 'Case ID'", "no column 'label'"]
    """
    there = [str(name) for name in columns]
    spelled = {_letters(name): name for name in reversed(there) if name not in required}
    problems = []
    for name in required:
        if name not in there:
            near = difflib.get_close_matches(_letters(name), spelled, n=1, cutoff=0.75)
            problems.append(f"no column {name!r}" + (f", but one {spelled[near[0]]!r}" if near else ""))
    return problems


def uneven_rows(cells: int, broken: Sequence[tuple[int, int]]) -> str:
    """Returns the sentence for rows with more or fewer cells than the header.

    Args:
      cells: Those of the header.
      broken: Row number and cells of each such row.
    """
    shown = [f"row {number} has {found}" for number, found in broken[:SHOWN]]
    shown += [f"and {len(broken) - SHOWN:,} more"] if len(broken) > SHOWN else []
    return f"the header has {cells} cells, but {', '.join(shown)}"


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def read_table(
    path: str | Path,
    error: type[TableError] = TableError,
    is_number: Callable[[str], bool] = lambda column: False,
    names: ColumnNames | None = None,
    several: bool = False,
) -> Table:
    """Reads a text table of any of the kinds in `skinjax.labels.delimited`, or a Parquet file.

    Args:
      path: The file; `.parquet` or `.pq` is read as Parquet, anything else as text.
      error: The `TableError` to raise.
      is_number: Says by its name whether a column holds numbers; empty cells of one, and R's `NA`, are NaN. Decimal
        commas are read where the delimiter is another character.
      names: The table's own names of columns, which are renamed; None for none.
      several: Whether several tables are read by `names`, of which each need not have every column.

    Returns:
      The table, blank lines and the row numbers that pandas writes left out.

    Raises:
      TableError: There is no such file, it is empty, no table or of unknown encoding, a row has too many or too few
        cells, a column's name is empty or repeated, a column of `names` is missing, or a number cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise error(str(path), [_no_file(path)])
    decimal_commas, sheet = False, ""
    if path.suffix.lower() in (".parquet", ".pq"):
        table, rows = _read_parquet(path, error)
    else:
        try:
            source = read_delimited(path)
            decimal_commas, sheet = source.decimal_commas, source.note
            header = source.header()
        except ValueError as fault:
            raise error(str(path), [str(fault)]) from fault
        table, rows = _read_csv(source, header, error)
    problems: list[str] = []
    renaming = (names or ColumnNames()).within(filter(None, table.column_names), several)
    index = [
        name
        for name in table.column_names
        if name not in renaming.chosen.values() and _is_index(name, table[name])
    ]
    there = renaming.names(name for name in table.column_names if name not in index)
    problems += [f"{problem}{f' ({sheet})' if sheet else ''}" for problem in renaming.problems]
    columns: dict[str, Any] = {}
    decimals: dict[str, int] = {}
    for name, own in there:
        cells = table[own]
        if not is_number(name):
            columns[name] = _text(cells, name, problems)
            continue
        if _is_text(cells):
            cells = _trimmed(cells, decimal_commas)
            decimals[name] = _shown_decimals(cells)
        columns[name] = _numbers(cells, name, rows, problems)
    if problems:
        raise error(str(path), problems)
    renamed = {name: own for name, own in there if name != own}
    return Table(
        _to_pandas(columns), rows, decimals=decimals, sheet=sheet, index=tuple(index), renamed=renamed
    )


def _no_file(path: Path) -> str:
    """Returns why there is no table to read under a name."""
    if path.is_dir():
        return "is a folder; it must be the file of a table (CSV, Excel or Parquet)"
    return "is no ordinary file" if path.exists() else "no such file"


def to_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns every column of a frame as text: missing becomes empty, whole floats lose their `.0`.

    Raises:
      ValueError: A column holds lists or other things that are no single value.

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
    """Returns a text column's cells run together as UTF-8, and the length of each.

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


def _read_csv(
    source: DelimitedText, header: Sequence[str], error: type[TableError]
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]
    from pyarrow import csv as arrow_csv

    path = source.path
    names = [name.strip() for name in header]
    if not any(names):
        raise error(str(path), ["the first row is empty; it must hold the names of the columns"])
    repeated = {name: count for name, count in Counter(names).items() if count > 1 and name}
    if repeated:
        raise error(str(path), [f"column {name!r} appears {count} times" for name, count in repeated.items()])

    broken: list[tuple[int, int]] = []

    def note(row: Any) -> str:
        broken.append((row.number, row.actual_columns))
        return "skip"

    try:
        table = arrow_csv.read_csv(
            path if source.data is None else pa.BufferReader(source.data),
            # Rows are only numbered when one thread reads them.
            read_options=arrow_csv.ReadOptions(use_threads=False),
            parse_options=arrow_csv.ParseOptions(
                delimiter=source.delimiter,
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
            raise error(str(path), [not_utf8(path.read_bytes())]) from fault
        raise error(str(path), [f"cannot be read as CSV ({fault})"]) from fault
    if broken:
        raise error(str(path), [uneven_rows(len(names), broken)])
    nameless = [i for i, name in enumerate(names) if not name]
    kept = [i for i in range(len(names)) if i not in nameless]
    if nameless[:1] == [0] and _is_index("", table.columns[0]):
        nameless, kept = nameless[1:], [0, *kept]
    advice = "name the column or leave it out (in pandas, to_csv(index=False))"
    problems = [
        f"the header's cell {i + 1} is empty; {advice}"
        for i in nameless
        if pc.any(pc.not_equal(pc.utf8_trim_whitespace(table.columns[i]), "")).as_py()
    ]
    if problems:
        raise error(str(path), problems)
    # Spreadsheets save columns that were once used, with nothing in them.
    table = table.select(kept).rename_columns([names[i] for i in kept])
    rows = np.arange(2, table.num_rows + 2, dtype=np.int64)
    blank = np.ones(table.num_rows, bool)
    for column in table.columns:
        if not blank.any():
            break
        blank &= pc.equal(pc.utf8_trim_whitespace(column), "").to_numpy()
    if blank.any():
        table, rows = table.filter(pa.array(~blank)), rows[~blank]
    return table, rows


def _is_index(name: str, column: pa.ChunkedArray) -> bool:
    """Returns whether a column only numbers the rows; see `skinjax.labels.delimited.is_index`."""
    import pyarrow.compute as pc

    if not is_index(name, ["0"]):
        return False
    cells = _text(column, name, [])
    return is_index(name, pc.unique(cells).to_pylist())


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


def _text(column: pa.ChunkedArray, name: str, problems: list[str]) -> pa.ChunkedArray:
    """Returns a column of any type as text without nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        problems.append(f"column {name!r} must hold text or numbers, got type {kind}")
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


def _is_text(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _trimmed(column: pa.ChunkedArray, decimal_commas: bool) -> pa.ChunkedArray:
    """Returns cells of numbers as Arrow reads them, null where not known."""
    import pyarrow.compute as pc

    column = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.or_(pc.equal(column, ""), pc.equal(column, "NA")), None, column)
    if decimal_commas:
        column = pc.replace_substring_regex(column, r"^([+-]?\d*),(\d+)((?:[eE][+-]?\d+)?)$", r"\1.\2\3")
    return column


def _shown_decimals(column: pa.ChunkedArray) -> int:
    """Returns the most digits behind a decimal point; `ANY_DECIMALS` where a number has an exponent."""
    import pyarrow.compute as pc

    if len(column) > _SAMPLE_CELLS:
        # Nobody needs to know how many there are beyond those that rounding can be distinguished from.
        some = _shown_decimals(column[:_SAMPLE_CELLS])
        if some >= _MANY_DECIMALS:
            return some
    if pc.any(pc.match_substring_regex(column, "[eE]")).as_py():
        return ANY_DECIMALS
    point = pc.find_substring(column, ".")
    behind = pc.subtract(pc.subtract(pc.binary_length(column), point), 1)
    return int(pc.max(pc.if_else(pc.less(point, 0), 0, behind)).as_py() or 0)


def _numbers(
    column: pa.ChunkedArray, name: str, rows: npt.NDArray[np.int64], problems: list[str]
) -> npt.NDArray[np.float64]:
    import pyarrow as pa

    try:
        return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowInvalid:
        cells = column.to_pylist()
        numbers = [_number(cell) for cell in cells]
        bad = [number is None for number in numbers]
        problems += faulty_rows(name, "not a number", bad, rows, cells)
        return np.array([np.nan if number is None else number for number in numbers])


def _number(cell: str | None) -> float | None:
    """Returns a cell as Python reads it, which takes a few spellings that Arrow does not; None if it is no number."""
    try:
        return float(cell or "nan")
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
