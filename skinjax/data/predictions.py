"""The predictions file: what a network said of each photo. The second of the project's two data contracts.

A Parquet or CSV file (or another table of `skinjax.labels.delimited`), one row per photo. Version 1. Predictions of
any model in any framework can be written so and reported on.

| column | | holds |
|---|---|---|
| `image` | required | the photo, as in the manifest; each once |
| `case_id` | advised | whose photo it is; intervals and tests resample cases |
| `label` | required | the true class, of the taxonomy's finest level |
| `fold` | optional | integer, the fold whose test part the photo was in; 0 throughout where missing |
| `p_<class>` | required | probability of each finest class, in [0, 1], a row summing to 1 to rounding |
| `logit_<class>` | instead | the same before the softmax, any finite number |
| `<level>:p_<class>` | optional | probabilities of a coarser level's own network, one column per class |
| `<level>:logit_<class>` | instead | likewise |

A row's sum may be 0.001 from 1, or what rounding can do: half a unit of the last decimal that the file shows, times the
number of classes, and no more than 0.05. Rows off by more than 0.0001 are divided by their sum, and the log says so.

The answers of `skinjax predict`, `predictions.csv`, are read as well, once a column `label` (or `true_label`) is
added: their column `photo` is the image, and photos with an `error` are left out. A file without `case_id` has each
photo as a case of its own, which the log and the page say. Files with other names of columns are read by a map and a
prefix (`skinjax.data.column_names`); labels and classes that differ by case or blanks are resolved by
`skinjax.data.prediction_tables.as_spelled`.

Any other column, such as the manifest's `skin_tone`, is kept. Names that begin with `p_`, `logit_`,
`<level>:p_` or `<level>:logit_` are for classes alone. In Parquet, the file's key-value metadata hold the
version under `skinjax.predictions` and the taxonomy, as JSON, under `skinjax.taxonomy`; files of others may
lack both.

In memory, predictions are a pandas frame: probabilities and logits float64, `fold` int64, `skin_tone` Int64
with missing values, and all other columns text, empty where not known. `Predictions` holds the same, checked and
parsed once into arrays.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skinjax.data.column_names import ColumnNames
from skinjax.data.manifest import known_cells, skin_tones
from skinjax.data.photo_paths import relative_paths
from skinjax.data.prediction_checks import REQUIRED, PredictionsError, is_whole, validate
from skinjax.data.prediction_columns import CLASS_COLUMN, columns, kind_of
from skinjax.data.prediction_tables import NO_CASES, of_answers
from skinjax.data.rounding import renormalized, renormalized_frame
from skinjax.data.spelling import alike_ids
from skinjax.data.tables import Table, faulty_rows, missing_columns, read_table
from skinjax.files.atomic import replacing
from skinjax.files.missing import names_of
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
"""Version of the schema that this module writes; it reads this one."""

_LOG = logging.getLogger(__name__)
_VERSION_KEY = b"skinjax.predictions"
_TAXONOMY_KEY = b"skinjax.taxonomy"
_RESERVED = re.compile(r"(^|:)(p|logit)_")  # begins a column of probabilities


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """One model's predictions of N photos, checked and parsed into arrays.

    Attributes:
      image: str[N], the photos' paths.
      case_id: str[N], the case of each photo.
      label: int32[N], the true classes of the finest level, numbered in taxonomy order.
      fold: int64[N], the fold whose test part each photo was in.
      probs: Level -> float64[N, K], for the levels that a network answered for; the finest is always there.
      frame: N rows of all columns that hold no probabilities: `image`, `case_id`, `label`, `fold` and those of the
        manifest.
      taxonomy: Names the classes.
    """

    image: npt.NDArray[np.object_]
    case_id: npt.NDArray[np.object_]
    label: npt.NDArray[np.int32]
    fold: npt.NDArray[np.int64]
    probs: Mapping[str, npt.NDArray[np.float64]]
    frame: pd.DataFrame
    taxonomy: Taxonomy

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, taxonomy: Taxonomy) -> Predictions:
        """Checks and parses a predictions frame.

        Args:
          frame: As `read_predictions` or `from_arrays` returns it; its index is not looked at.
          taxonomy: The classes of its columns.

        Returns:
          The predictions; `fold` is 0 throughout where the frame has none.

        Raises:
          PredictionsError: As `validate`.

        >>> from skinjax.labels.taxonomy import Taxonomy
        >>> tree = Taxonomy("pair", ("class",), (("a",), ("b",)))
        >>> frame = from_arrays(["1.png"], ["case 1"], ["b"], 0, [[0.25, 0.75]], tree)
        >>> parsed = Predictions.from_frame(frame, tree)
        >>> parsed.label.tolist(), parsed.probabilities().tolist(), list(parsed.frame)
        ([1], [[0.25, 0.75]], ['image', 'case_id', 'label', 'fold'])
        """
        validate(frame, taxonomy)
        levels = [level for level in taxonomy.levels if kind_of(frame, taxonomy, level) is not None]
        facts = [name for name in frame if CLASS_COLUMN.fullmatch(str(name)) is None]
        rest = frame[facts].reset_index(drop=True)
        if "fold" not in rest:
            rest = rest.assign(fold=np.int64(0))
        probs = {level: probabilities(frame, taxonomy, level) for level in levels}
        for level in levels:
            if kind_of(frame, taxonomy, level) == "p":
                _tell(renormalized(frame[columns(taxonomy, level)].to_numpy(np.float64))[1])
        return cls(
            image=rest["image"].to_numpy(object),
            case_id=rest["case_id"].to_numpy(object),
            label=taxonomy.encode(rest["label"]),
            fold=rest["fold"].to_numpy(np.int64),
            probs=probs,
            frame=rest,
            taxonomy=taxonomy,
        )

    def __len__(self) -> int:
        """Returns the number of photos, N."""
        return len(self.label)

    @property
    def label_names(self) -> npt.NDArray[np.object_]:
        """Returns the true classes by name, str[N]."""
        return self.frame["label"].to_numpy(object)

    def probabilities(self, level: str | None = None) -> npt.NDArray[np.float64]:
        """Returns the probabilities of one level's network, float64[N, K] in taxonomy order.

        Args:
          level: A level with a network of its own; the finest by default.

        Raises:
          ValueError: The level is unknown or no network answered for it.
        """
        level = self.taxonomy.finest if level is None else level
        if level not in self.probs:
            there = ", ".join(self.probs)
            raise ValueError(f"level must be one of those with a network, {there}, got {level!r}")
        return self.probs[level]

    def has_network(self, level: str | None) -> bool:
        """Returns whether a network of its own answered for a level coarser than the finest."""
        return level is not None and level != self.taxonomy.finest and level in self.probs

    def take(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Predictions:
        """Returns the predictions of some photos.

        Args:
          rows: int[M] places, in the order of the result, or bool[N].
        """
        return dataclasses.replace(
            self,
            image=self.image[rows],
            case_id=self.case_id[rows],
            label=self.label[rows],
            fold=self.fold[rows],
            probs={level: values[rows] for level, values in self.probs.items()},
            frame=self.frame.iloc[np.flatnonzero(rows) if rows.dtype == bool else rows].reset_index(
                drop=True
            ),
        )


def from_arrays(
    image: npt.ArrayLike,
    case_id: npt.ArrayLike,
    label: npt.ArrayLike,
    fold: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    taxonomy: Taxonomy,
    coarser: Mapping[str, npt.ArrayLike] | None = None,
    extra: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Builds a predictions frame from arrays and checks it.

    Args:
      image: N photo paths.
      case_id: N case ids, none of them missing.
      label: N names of true classes, of the finest level.
      fold: N integers, or one for all.
      probabilities: float[N, K] of the finest level, columns in taxonomy order.
      taxonomy: Names the classes.
      coarser: Level name -> float[N, M] of that level's own network.
      extra: Further columns, N rows in the same order; the contract's own columns in it, and columns that would be
        read as probabilities (`p_...`, `logit_...`), are left out.

    Returns:
      The frame.

    Raises:
      ValueError: A shape does not fit.
      PredictionsError: As `validate`.

    >>> from skinjax.labels.taxonomy import Taxonomy
    >>> tree = Taxonomy("pair", ("class",), (("a",), ("b",)))
    >>> from_arrays(["1.png"], ["case 1"], ["b"], 0, [[0.25, 0.75]], tree)
       image case_id label  fold   p_a   p_b
    0  1.png  case 1     b     0  0.25  0.75
    """
    import pandas as pd

    names = _texts(image)
    parts: dict[str, Any] = {"image": names}
    for key, values in (("case_id", case_id), ("label", label)):
        texts = _texts(values)
        if len(texts) != len(names):
            raise ValueError(f"{key} must have one entry per photo, got {len(texts)} for {len(names)} photos")
        parts[key] = texts
    parts["fold"] = np.broadcast_to(np.asarray(fold, np.int64), len(names))
    frame = pd.DataFrame(parts)
    blocks = [frame]
    for level, values in ((None, probabilities), *(coarser or {}).items()):
        array = np.asarray(values, np.float64)
        shape = (len(names), len(taxonomy.classes(level)))
        if array.shape != shape:
            name = level or taxonomy.finest
            raise ValueError(f"probabilities of level {name!r} must be {shape}, got {array.shape}")
        array, note = renormalized(array)
        _tell(note)
        blocks.append(pd.DataFrame(array, columns=columns(taxonomy, level)))
    if extra is not None:
        if len(extra) != len(names):
            raise ValueError(f"extra must have one row per photo, got {len(extra)} for {len(names)} photos")
        taken = {name for block in blocks for name in block}
        kept = [name for name in extra if name not in taken and not _RESERVED.search(str(name))]
        blocks.append(extra.reset_index(drop=True)[kept])
    frame = pd.concat(blocks, axis=1)
    validate(frame, taxonomy)
    return frame


def _texts(values: npt.ArrayLike) -> list[str]:
    """Returns values as text; missing ones are empty, which the schema refuses, and not called "nan" or "None"."""
    array, missing = names_of(values)
    return ["" if gone else str(value) for value, gone in zip(array, missing, strict=True)]


def probabilities(
    frame: pd.DataFrame, taxonomy: Taxonomy, level: str | None = None
) -> npt.NDArray[np.float64]:
    """Returns the probabilities of one level's network, in taxonomy order.

    Args:
      frame: A valid predictions frame.
      taxonomy: Names the classes.
      level: A level; the finest by default. For a coarser one its own columns are read; to sum the finest
        classes instead, use `skinjax.decide.hierarchy.marginalize`.

    Returns:
      float64[N, K], as stored, rows that rounding took away from 1 divided by their sum; or the softmax of the stored
      logits.

    Raises:
      ValueError: The level is unknown or the frame has no columns for it.
    """
    level = taxonomy.finest if level is None else level
    kind = kind_of(frame, taxonomy, level)
    names = columns(taxonomy, level, kind or "p")
    missing = [name for name in names if name not in frame]
    if missing:
        raise ValueError(
            f"no column {missing[0]!r} in the predictions, one of level {level!r}'s {len(names)}"
        )
    values = frame[names].to_numpy(np.float64)
    if kind == "p":
        return renormalized(values)[0]
    powers = np.exp(values - values.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def read_predictions(path: str | Path, names: ColumnNames | None = None) -> pd.DataFrame:
    """Reads a predictions file; `validate` then checks it against a taxonomy.

    Args:
      path: A Parquet (`.parquet`) file or another table.
      names: The file's own names of columns, and the prefix of its probabilities.

    Returns:
      The frame, with `fold` 0 where the file has none, and the photo as its own case where it has no `case_id`.

    Raises:
      PredictionsError: The file cannot be read, is of a later version, lacks a required column, or has a
        cell that should be a number and is not.
    """
    table, found = read_unchecked(path, names)
    if found:
        raise PredictionsError(str(path), found)
    return table.frame


def read_unchecked(
    path: str | Path, names: ColumnNames | None = None, several: bool = False
) -> tuple[Table, list[str]]:
    """Reads a predictions file for a caller who has more to check before raising.

    Args:
      path: As in `read_predictions`.
      names: As in `read_predictions`.
      several: Whether other files are read by these names too, so that this one need not have every column.

    Returns:
      The table as far as it could be read, with the row of each record, and what is wrong with it.

    Raises:
      PredictionsError: There is no table to speak of: no such file, another version, a cell that is no number.
    """
    path = Path(path)
    version = _metadata(path).get(_VERSION_KEY)
    if version is not None and version != str(VERSION).encode():
        raise PredictionsError(
            str(path), [f"schema version {version.decode()}; this skinjax reads {VERSION}"]
        )
    table = read_table(
        path,
        PredictionsError,
        is_number=lambda n: n == "fold" or CLASS_COLUMN.fullmatch(n) is not None,
        names=names,
        several=several,
    )
    table = of_answers(table, path)
    frame = known_cells(table.frame, _classes(table.frame))
    if "image" in frame:
        frame["image"] = relative_paths(frame["image"], path.parent)
    problems = missing_columns(REQUIRED, frame)
    frame, notes, found = renormalized_frame(frame, table)
    problems += found
    if "case_id" in frame and (told := alike_ids(frame["case_id"].unique())):
        notes.append(told)
    for note in notes:
        _tell(note)
    if "case_id" not in frame and "image" in frame and "no column 'case_id'" in problems:
        problems.remove("no column 'case_id'")
        frame.insert(1, "case_id", frame["image"])
        notes.append(NO_CASES)
        if not several:  # another file may have them
            _tell(NO_CASES)
    if lacking := [name for name in REQUIRED if name not in frame]:
        pairs = ",".join(f"{name}=COLUMN" for name in lacking)
        sheet = f" ({table.sheet})" if table.sheet else ""
        problems.append(f"where columns have other names, map={pairs} tells them{sheet}")
    table = dataclasses.replace(table, frame=frame, notes=(*table.notes, *notes))
    if "fold" not in frame:
        frame.insert(min(3, frame.shape[1]), "fold", np.int64(0))
    elif not is_whole(frame["fold"]):
        wrong = ~np.equal(np.floor(frame["fold"]), frame["fold"])
        problems += faulty_rows("fold", "not an integer", wrong, table.rows, frame["fold"].array)
        frame["fold"] = np.int64(0)
    else:
        frame["fold"] = frame["fold"].astype(np.int64)
    if "skin_tone" in frame:
        frame["skin_tone"] = skin_tones(frame["skin_tone"], table.rows, problems)
    return table, problems


def _tell(note: str) -> None:
    if note:
        _LOG.warning("%s", note)


def _classes(frame: pd.DataFrame) -> list[str]:
    """Returns the finest classes that a table's columns name."""
    matches = [CLASS_COLUMN.fullmatch(str(name)) for name in frame]
    return [match["name"] for match in matches if match is not None and not match["level"]]


def read_taxonomy(path: str | Path) -> Taxonomy | None:
    """Returns the taxonomy stored in a Parquet predictions file, or None where there is none (as in any CSV).

    Raises:
      PredictionsError: What is stored is not a taxonomy.
    """
    stored = _metadata(Path(path)).get(_TAXONOMY_KEY)
    if stored is None:
        return None
    try:
        return Taxonomy.from_dict(json.loads(stored))
    except ValueError as error:
        raise PredictionsError(str(path), [f"the stored taxonomy is not valid ({error})"]) from error


def write_predictions(frame: pd.DataFrame, path: str | Path, taxonomy: Taxonomy) -> None:
    """Writes predictions as Parquet (with version and taxonomy) or, where the path ends in `.csv`, as CSV.

    The file appears whole or not at all.

    Args:
      frame: A predictions frame; it is validated first.
      path: The file to make or replace.
      taxonomy: The classes of its columns.

    Raises:
      PredictionsError: As `validate`.
    """
    validate(frame, taxonomy)
    with replacing(path) as temporary:
        if Path(path).suffix.lower() == ".csv":
            frame.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")
            return
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet

        table = pa.Table.from_pandas(frame, preserve_index=False)
        ours = {_VERSION_KEY: str(VERSION).encode(), _TAXONOMY_KEY: json.dumps(taxonomy.to_dict()).encode()}
        parquet.write_table(
            table.replace_schema_metadata({**(table.schema.metadata or {}), **ours}), temporary
        )


def _metadata(path: Path) -> dict[bytes, bytes]:
    """Returns a Parquet file's metadata; empty for other files, and for broken ones, whose reading then says so."""
    if path.suffix.lower() not in (".parquet", ".pq") or not path.is_file():
        return {}
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return dict(parquet.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return {}
