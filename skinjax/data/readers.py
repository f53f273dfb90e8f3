"""The readers' file: what people called the photos that a model answers for.

A CSV or Parquet file, one row per reader and photo:

| column | holds |
|---|---|
| `reader` | who read it; any text |
| `image` | the photo, as in the predictions |
| `call` | 1 where the reader said that the photo shows the target, else 0 |

Other columns are left out. Readers who give degrees of malignancy have a column `degree` in place of `call`.

Several files may be read together: a folder of them, or names parted by commas. Of a folder, every table is read
(CSV, TSV and Parquet by their names, `.gz` or not; other files where they have the columns); a warning names what is
not, such as workbooks and notes. Hidden files are passed over. Answers to a reading kit (`skinjax.data.reading_kit`)
have a column `kit` and blinded names in `image`, which the kit's key translates.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skinjax.data.photo_paths import as_listed, relative_paths
from skinjax.data.reading_kit import Kit, find_key, read_key
from skinjax.data.spelling import as_named, near_id
from skinjax.data.tables import (
    SHOWN,
    Table,
    TableError,
    empty_names,
    faulty_rows,
    missing_columns,
    read_table,
)
from skinjax.labels.degrees import degree_names

if TYPE_CHECKING:
    import pandas as pd

_LOG = logging.getLogger(__name__)
_TABLES = (".csv", ".tsv", ".tab", ".parquet", ".pq")
"""Endings of files that must be readers' files wherever they lie."""


class ReadersError(TableError):
    """Everything that is wrong with a readers' file; `.problems` has one sentence per fault."""


def read_readers(
    path: str | Path, images: Collection[str] | None = None, kit: Kit | None = None
) -> pd.DataFrame:
    r"""Reads and checks a readers' file, or several.

    Args:
      path: A CSV or Parquet file, a folder of them, or several parted by commas.
      images: Where given, the photos that may be read.
      kit: The kit that the answers are of; None looks for its key near the answers.

    Returns:
      Columns `reader` and `image` (text) and `call` (int64, 0 or 1), rows in the file's order.

    Raises:
      ReadersError: Naming every fault at once: missing columns, empty cells, photos that are not among `images`, a
        reader with two calls of one photo, calls other than 0 and 1; of a kit, photos that it lacks, readers who left
        photos out, a reader's name in two files, and a key that is not found.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "readers.csv")
    ...     _ = path.write_text("reader,image,call\nDr A,1.png,1\nDr A,2.png,0\n")
    ...     read_readers(path)
      reader  image  call
    0   Dr A  1.png     1
    1   Dr A  2.png     0
    """
    return _read(path, "call", {"0": 0, "1": 1}, "0 or 1", images, kit)


def read_degree_readers(
    path: str | Path, num_degrees: int, images: Collection[str] | None = None
) -> pd.DataFrame:
    r"""Reads and checks a file of readers who gave degrees of malignancy: `reader`, `image` and `degree`.

    Args:
      path: A CSV or Parquet file; a degree is its number, from 0, or its name as in
        `skinjax.labels.degrees.degree_names`.
      num_degrees: D, at least 2.
      images: Where given, the photos that may be read.

    Returns:
      Columns `reader` and `image` (text) and `degree` (int64 in 0..D-1), rows in the file's order.

    Raises:
      ReadersError: As `read_readers`, of degrees.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "readers.csv")
    ...     _ = path.write_text("reader,image,degree\nDr A,1.png,high\nDr A,2.png,0\n")
    ...     read_degree_readers(path, num_degrees=3)["degree"].tolist()
    [2, 0]
    """
    names = degree_names(num_degrees)
    values = {str(degree): degree for degree in range(num_degrees)}
    values |= {name: degree for degree, name in enumerate(names)}
    content = f"a number from 0 to {num_degrees - 1} ({', '.join(names)})"
    return _read(path, "degree", values, content, images)


def read_by_all(readers: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Returns the photos that every reader called, since readers are compared on the same photos.

    Args:
      readers: As `read_readers` gives them.

    Returns:
      Their rows, and how many photos were left out.

    Raises:
      ValueError: There is no photo that all readers called.

    >>> import pandas as pd
    >>> readers = pd.DataFrame({"reader": list("aab"), "image": ["1", "2", "2"], "call": [0, 1, 1]})
    >>> complete, left_out = read_by_all(readers)
    >>> complete["image"].tolist(), left_out
    (['2', '2'], 1)
    """
    calls = readers.groupby("image")["reader"].nunique()
    everyone = readers["reader"].nunique()
    complete = calls.index[calls == everyone]
    if not len(complete):
        raise ValueError(
            f"no photo was called by all {everyone} readers; readers can only be compared on the same photos"
        )
    kept = readers[readers["image"].isin(complete)].reset_index(drop=True)
    return kept, len(calls) - len(complete)


def kit_of(path: str | Path, key: str | Path | None = None, places: Sequence[Path] = ()) -> Kit | None:
    """Returns the kit that readers' answers are of.

    Args:
      path: As `read_readers` takes it.
      key: The kit's `key.csv`; None looks for it near the answers and in `places`.
      places: Folders in which the kit's folder may lie.

    Returns:
      The kit; None where the answers are of no kit, and no key is given.

    Raises:
      ReadersError: A file cannot be read, the answers are of several kits or of another than the key's, or the key is
        not found.
    """
    files = answer_files(path)
    return _kit(path, files, [read_table(file, ReadersError) for file in files], key, places)


def answer_files(path: str | Path) -> list[Path]:
    """Returns the files that a readers' option names: a file, those of a folder, or several parted by commas.

    Args:
      path: The option.

    Raises:
      ReadersError: A folder without any.
    """
    return _listed(path)[0]


def _listed(path: str | Path) -> tuple[list[Path], list[str]]:
    """Returns the files that an option names, and what else lies in the folder, each with the reason."""
    whole = Path(path)
    if not whole.is_dir():
        if whole.exists() or "," not in str(path):
            return [whole], []
        return [Path(part.strip()).expanduser() for part in str(path).split(",") if part.strip()], []
    files, passed = [], []
    for entry in sorted(whole.iterdir()):
        if entry.name.startswith("."):
            continue
        if fault := _no_readers_file(entry):
            passed.append(f"{entry.name} ({fault})")
        else:
            files.append(entry)
    if not files:
        others = f"; passed over: {', '.join(passed)}" if passed else ""
        raise ReadersError(str(path), [f"the folder must hold the readers' CSV files, got none{others}"])
    return files, passed


def _no_readers_file(path: Path) -> str:
    """Returns why a folder's entry is not taken for a readers' file; empty where it is."""
    if path.is_dir():
        return "a folder"
    if path.name.lower().removesuffix(".gz").endswith(_TABLES):
        return ""  # the reader reports its faults
    try:
        table = read_table(path, ReadersError)
    except ReadersError as error:
        return "; ".join(error.problems)
    return "; ".join(missing_columns(("reader", "image"), table.frame))


def _read(
    path: str | Path,
    column: str,
    values: Mapping[str, int],
    content: str,
    images: Collection[str] | None,
    kit: Kit | None = None,
) -> pd.DataFrame:
    """Returns readers' files whose answers stand in a column as one of some texts."""
    import pandas as pd

    files, passed = _listed(path)
    for other in passed:
        _LOG.warning("%s: not read as a readers' file: %s", path, other)
    tables = [read_table(file, ReadersError) for file in files]
    kit = kit or _kit(path, files, tables)
    frames, problems = [], []
    for file, table in zip(files, tables, strict=True):
        frame, wrong = _checked(table, column, values, content, images, kit)
        problems += [f"{file.name}: {problem}" for problem in wrong] if len(files) > 1 else wrong
        frames.append(frame)
    if problems:
        raise ReadersError(str(path), problems)
    problems = _shared_names(files, frames) or (_left_out(kit, frames) if kit else [])
    if problems:
        raise ReadersError(str(path), problems)
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(**{column: frame[column].map(dict(values)).astype("int64")})


def _checked(
    table: Table,
    column: str,
    values: Mapping[str, int],
    content: str,
    images: Collection[str] | None,
    kit: Kit | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the rows of one file, under the photos' own names, and what is wrong with them."""
    names = ("reader", "image", column)
    if problems := missing_columns(names, table.frame):
        return table.frame, problems
    frame = table.frame[list(names)].copy()
    for name in ("reader", "image"):
        frame[name] = frame[name].str.strip()
    frame["image"] = as_listed(relative_paths(frame["image"]), () if images is None else images)
    frame[column] = as_named(frame[column].str.strip(), list(values))
    problems = [] if len(frame) else ["no rows"]
    problems += empty_names("reader", frame["reader"], table.rows)
    problems += faulty_rows("image", "empty", frame["image"] == "", table.rows)
    if kit:
        blinded = frame["image"]
        frame["image"] = blinded.map(dict(zip(kit.photos["photo"], kit.photos["image"], strict=True)))
        unknown = frame["image"].isna() & (blinded != "")
        problems += faulty_rows(
            "image", f"with a photo that {kit.id} does not have", unknown, table.rows, blinded.array
        )
        frame["image"] = frame["image"].fillna("")
    if images is not None:
        unknown = ~frame["image"].isin([*images, ""])
        fault = "with a photo that the predictions do not have"
        problems += faulty_rows("image", fault, unknown, table.rows, frame["image"].array, near_id(images))
    repeated = frame.duplicated(["reader", "image"]) & (frame["image"] != "")
    fault = "with a photo that an earlier row has of the same reader"
    problems += faulty_rows("image", fault, repeated, table.rows, frame["image"].array)
    wrong = ~frame[column].isin(list(values))
    problems += faulty_rows(column, f"that must hold {content}", wrong, table.rows, table.frame[column].array)
    return frame, problems


def _kit(
    path: str | Path,
    files: Sequence[Path],
    tables: Sequence[Table],
    key: str | Path | None = None,
    places: Sequence[Path] = (),
) -> Kit | None:
    """Returns the kit that tables of answers are of, or None."""
    named = read_key(key) if key else None
    found = {kit.strip() for table in tables if "kit" in table.frame for kit in table.frame["kit"]} - {""}
    if not found:
        return named
    if len(found) > 1:
        raise ReadersError(str(path), [f"answers must be of one kit, got {', '.join(sorted(found))}"])
    (identity,) = found
    if named is not None and named.id != identity:
        raise ReadersError(str(path), [f"answers are of {identity}, but {key} is the key of {named.id}"])
    beside = [place for file in files for place in (file.parent, file.parent.parent)]
    kit = named or find_key(identity, [*places, *beside])
    if kit is None:
        raise ReadersError(
            str(path),
            [f"answers are of {identity}, whose key.csv was not found; give evaluate readers_key=FILE"],
        )
    return kit


def _shared_names(files: Sequence[Path], frames: Sequence[pd.DataFrame]) -> list[str]:
    """Readers whom several files name, as sentences."""
    seen: dict[str, Path] = {}
    problems = []
    for file, frame in zip(files, frames, strict=True):
        for reader in frame["reader"].unique():
            if reader in seen:
                problems.append(
                    f"reader {reader!r} is in {seen[reader].name} and in {file.name}; readers must have names of their "
                    "own"
                )
            seen.setdefault(reader, file)
    return problems


def _left_out(kit: Kit, frames: Sequence[pd.DataFrame]) -> list[str]:
    """Readers who did not answer every photo of the kit, as sentences."""
    problems = []
    for frame in frames:
        for reader, rows in frame.groupby("reader", sort=False):
            lacking = kit.photos["photo"][~kit.photos["image"].isin(rows["image"])].tolist()
            if lacking:
                shown = lacking[:SHOWN] + (
                    [f"and {len(lacking) - SHOWN} more"] if len(lacking) > SHOWN else []
                )
                problems.append(
                    f"reader {reader!r} must answer all {len(kit.photos)} photos of {kit.id}, got "
                    f"{len(kit.photos) - len(lacking)}; missing: {', '.join(shown)}"
                )
    return problems
