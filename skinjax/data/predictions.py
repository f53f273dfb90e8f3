"""The predictions file: what a network said of each photo. The second of the project's two data contracts.

A Parquet or CSV file (UTF-8), one row a photo. Version 1. Predictions of any model in any framework can be
written so and reported on.

| column | | holds |
|---|---|---|
| `image` | required | the photo, as in the manifest; each once |
| `case_id` | required | whose photo it is; intervals and tests resample cases |
| `label` | required | the true class, of the taxonomy's finest level |
| `fold` | optional | integer, the fold whose test part the photo was in; 0 throughout where missing |
| `p_<class>` | required | probability of each finest class, in [0, 1], a row summing to 1 within 0.001 |
| `logit_<class>` | instead | the same before the softmax, any finite number |
| `<level>:p_<class>` | optional | probabilities of a coarser level's own network, one column a class |
| `<level>:logit_<class>` | instead | likewise |

Any other column, such as the manifest's `skin_tone`, is kept. Names that begin with `p_`, `logit_`,
`<level>:p_` or `<level>:logit_` are for classes alone. In Parquet, the file's key-value metadata hold the
version under `skinjax.predictions` and the taxonomy, as JSON, under `skinjax.taxonomy`; files of others may
lack both.

In memory, predictions are a pandas frame: probabilities and logits float64, `fold` int64, `skin_tone` Int64
with missing values, and all other columns text, empty where not known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skinjax.data.manifest import skin_tones
from skinjax.data.prediction_columns import (
    CLASS_COLUMN,
    columns,
    kind_of,
    level_problems,
    unknown_classes,
    unmarked,
)
from skinjax.data.tables import (
    Table,
    TableError,
    faulty_rows,
    missing_columns,
    read_table,
    replacing,
    to_text,
)
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
"""Version of the schema that this module writes; it reads this one."""

_REQUIRED = ("image", "case_id", "label")
_VERSION_KEY = b"skinjax.predictions"
_TAXONOMY_KEY = b"skinjax.taxonomy"


class PredictionsError(TableError):
    """Everything that is wrong with predictions; `.problems` has one sentence a fault."""


_RESERVED = re.compile(r"(^|:)(p|logit)_")  # begins a column of probabilities


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
    """A predictions frame from arrays, checked.

    Args:
      image: N photo paths.
      case_id: N case ids.
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
      ValueError: If a shape does not fit.
      PredictionsError: As `validate`.

    >>> from skinjax.labels.taxonomy import Taxonomy
    >>> tree = Taxonomy("pair", ("class",), (("a",), ("b",)))
    >>> from_arrays(["1.png"], ["case 1"], ["b"], 0, [[0.25, 0.75]], tree)
       image case_id label  fold   p_a   p_b
    0  1.png  case 1     b     0  0.25  0.75
    """
    import pandas as pd

    names = [str(path) for path in np.asarray(image)]
    parts: dict[str, Any] = {"image": names}
    for key, values in (("case_id", case_id), ("label", label)):
        texts = [str(value) for value in np.asarray(values)]
        if len(texts) != len(names):
            raise ValueError(f"{key} must be one a photo, got {len(texts)} for {len(names)} photos")
        parts[key] = texts
    parts["fold"] = np.broadcast_to(np.asarray(fold, np.int64), len(names))
    frame = pd.DataFrame(parts)
    blocks = [frame]
    for level, values in ((None, probabilities), *(coarser or {}).items()):
        array = np.asarray(values, np.float64)
        wanted = (len(names), len(taxonomy.classes(level)))
        if array.shape != wanted:
            name = level or taxonomy.finest
            raise ValueError(f"probabilities of level {name!r} must be {wanted}, got {array.shape}")
        blocks.append(pd.DataFrame(array, columns=columns(taxonomy, level)))
    if extra is not None:
        if len(extra) != len(names):
            raise ValueError(f"extra must have one row a photo, got {len(extra)} for {len(names)} photos")
        taken = {name for block in blocks for name in block}
        kept = [name for name in extra if name not in taken and not _RESERVED.search(str(name))]
        blocks.append(extra.reset_index(drop=True)[kept])
    frame = pd.concat(blocks, axis=1)
    validate(frame, taxonomy)
    return frame


def validate(frame: pd.DataFrame, taxonomy: Taxonomy) -> None:
    """Checks predictions against the schema and a taxonomy.

    Args:
      frame: A predictions frame; its index is not looked at, rows count from 1 in messages.
      taxonomy: The classes that the columns must name, no more and no fewer.

    Raises:
      PredictionsError: With everything that is wrong: missing columns, columns for unknown classes, photos
        listed twice, empty cases, unknown labels, probabilities missing, outside [0, 1] or not summing to 1.
    """
    if found := problems(frame, taxonomy):
        raise PredictionsError("predictions", found)


def problems(frame: pd.DataFrame, taxonomy: Taxonomy, rows: npt.NDArray[np.int64] | None = None) -> list[str]:
    """What `validate` raises, as sentences; empty where nothing is wrong.

    Args:
      frame: As in `validate`.
      taxonomy: As in `validate`.
      rows: int64[N], the row of each record in its file; from 1 where missing.
    """
    if rows is None:
        rows = np.arange(1, len(frame) + 1)
    problems = [] if len(frame) else ["no rows"]
    problems += missing_columns(_REQUIRED, frame)
    text = to_text(frame[[name for name in _REQUIRED if name in frame]])
    for name in text:
        problems += faulty_rows(str(name), "empty", text[name].str.strip() == "", rows)
    if "image" in text:
        repeated = (text["image"].duplicated() & (text["image"] != "")).to_numpy(bool)
        problems += faulty_rows(
            "image", "with a photo that an earlier row lists", repeated, rows, text["image"].array
        )
    if "label" in text:
        unknown = ~text["label"].isin([*taxonomy.classes(), ""])
        fault = f"with a label that is no {taxonomy.finest} of taxonomy {taxonomy.name!r}"
        problems += faulty_rows("label", fault, unknown, rows, text["label"].array, taxonomy.hint)
    if "fold" in frame and not _whole(frame["fold"]):
        problems.append(f"column 'fold' must hold integers, got type {frame['fold'].dtype}")
    problems += unknown_classes(frame, taxonomy)
    for level in reversed(taxonomy.levels):
        kind = kind_of(frame, taxonomy, level)
        if kind is not None:
            problems += level_problems(frame, taxonomy, level, kind, rows)
        elif level == taxonomy.finest:
            names = columns(taxonomy)
            problems.append(
                f"no probabilities: wanted the {len(names)} columns {names[0]!r} to {names[-1]!r}"
                + unmarked(frame, taxonomy)
            )
    return problems


def probabilities(
    frame: pd.DataFrame, taxonomy: Taxonomy, level: str | None = None
) -> npt.NDArray[np.float64]:
    """The probabilities of one level's network, in taxonomy order.

    Args:
      frame: A valid predictions frame.
      taxonomy: Names the classes.
      level: A level; the finest by default. For a coarser one its own columns are read; to sum the finest
        classes instead, use `skinjax.decide.hierarchy.marginalize`.

    Returns:
      float64[N, K], as stored (rows sum to 1 within 0.001), or the softmax of the stored logits.

    Raises:
      ValueError: If the level is unknown or the frame has no columns for it.
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
        return values
    powers = np.exp(values - values.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Reads a predictions file; `validate` then checks it against a taxonomy.

    Args:
      path: A Parquet (`.parquet`) or CSV file.

    Returns:
      The frame, with `fold` 0 where the file has none.

    Raises:
      PredictionsError: If the file cannot be read, is of a later version, lacks a required column, or has a
        cell that should be a number and is not.
    """
    table, found = read_unchecked(path)
    if found:
        raise PredictionsError(str(path), found)
    return table.frame


def read_unchecked(path: str | Path) -> tuple[Table, list[str]]:
    """`read_predictions` for a caller who has more to check before raising.

    Returns:
      The table as far as it could be read, with the row of each record, and what is wrong with it.

    Raises:
      PredictionsError: If there is no table to speak of: no such file, another version, a cell that is no number.
    """
    path = Path(path)
    version = _metadata(path).get(_VERSION_KEY)
    if version is not None and version != str(VERSION).encode():
        raise PredictionsError(
            str(path), [f"schema version {version.decode()}; this skinjax reads {VERSION}"]
        )
    table = read_table(
        path, PredictionsError, is_number=lambda n: n == "fold" or CLASS_COLUMN.fullmatch(n) is not None
    )
    frame = table.frame
    problems = missing_columns(_REQUIRED, frame)
    if "case_id" not in frame and "but one" not in " ".join(problems):
        problems.append("where every photo is of another person, give case_id the values of image")
    if "fold" not in frame:
        frame.insert(min(3, frame.shape[1]), "fold", np.int64(0))
    elif not _whole(frame["fold"]):
        wrong = ~np.equal(np.floor(frame["fold"]), frame["fold"])
        problems += faulty_rows("fold", "not an integer", wrong, table.rows, frame["fold"].array)
        frame["fold"] = np.int64(0)
    else:
        frame["fold"] = frame["fold"].astype(np.int64)
    if "skin_tone" in frame:
        frame["skin_tone"] = skin_tones(frame["skin_tone"], table.rows, problems)
    return table, problems


def read_taxonomy(path: str | Path) -> Taxonomy | None:
    """The taxonomy stored in a Parquet predictions file, or None where there is none (as in any CSV).

    Raises:
      PredictionsError: If what is stored is not a taxonomy.
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
    """A Parquet file's metadata; empty for other files, and for broken ones, whose reading then says so."""
    if path.suffix.lower() not in (".parquet", ".pq") or not path.is_file():
        return {}
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return dict(parquet.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return {}


def _whole(values: pd.Series) -> bool:
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(values):
        return False
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    return bool((np.floor(numbers) == numbers).all())
