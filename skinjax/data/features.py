"""The features file: a vector per photo, of any network. The third of the project's data contracts.

A Parquet or CSV file (or another table of `skinjax.labels.delimited`), one row per photo. Version 1.

| column | | holds |
|---|---|---|
| `image` | required | the photo, as in the manifest; each once |
| `case_id` | required | whose photo it is; probes are fitted and tested by case |
| `label` | required | the true class, of the taxonomy's finest level |
| `f_0000`, `f_0001`, ... | required | the vector, finite numbers; numbered from 0 without a gap, any number of digits |

Any other column, such as the manifest's `age`, is kept. A program in any framework can write one:

    frame = manifest.copy()                      # image, case_id, label, ...
    vectors = model(photos)                      # float[N, F], a row per row of the manifest
    frame[[f"f_{i:04d}" for i in range(vectors.shape[1])]] = vectors
    frame.to_parquet("features.parquet", index=False)

In Parquet, the file's key-value metadata hold the version under `skinjax.features`, the taxonomy under
`skinjax.taxonomy` and, of files that skinjax wrote, the network under `skinjax.network`, as JSON; files of others may
lack all three.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skinjax.data.manifest import known_cells
from skinjax.data.prediction_checks import photo_problems
from skinjax.data.tables import TableError, faulty_rows, read_table, to_text
from skinjax.files.atomic import replacing
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
"""Version of the schema that this module writes; it reads this one."""

FEATURE_COLUMN = re.compile(r"f_(\d+)")

_VERSION_KEY, _TAXONOMY_KEY, _NETWORK_KEY = b"skinjax.features", b"skinjax.taxonomy", b"skinjax.network"
_LARGEST = float(np.finfo(np.float32).max)


class FeaturesError(TableError):
    """Everything that is wrong with a features file; `.problems` has one sentence per fault."""


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Vectors of N photos, with what the manifest says of them.

    Attributes:
      frame: N rows: `image`, `case_id`, `label` and the manifest's other columns, text as in a manifest.
      values: float32[N, F], finite.
      taxonomy: Names the classes; None where it is not known.
      network: Of the vectors, where skinjax made them: `backbone`, `pretrained`, `image_size`, `fit` and `precision`;
        empty where others did.
    """

    frame: pd.DataFrame
    values: npt.NDArray[np.float32]
    taxonomy: Taxonomy | None = None
    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        """Returns the number of photos, N."""
        return len(self.values)

    def __repr__(self) -> str:
        cases = self.frame["case_id"].nunique()
        return f"Features({len(self):,} photos, {cases:,} cases, {self.values.shape[1]:,} features)"

    def in_order_of(self, images: Sequence[str], who: str) -> Features:
        """Returns the same photos in another order.

        Args:
          images: The N photos in the order that is needed.
          who: Names this file, for the message.

        Raises:
          ValueError: The photos are others.
        """
        place = {image: row for row, image in enumerate(self.frame["image"])}
        missing = [image for image in images if image not in place]
        more = len(place) - (len(images) - len(missing))
        if missing or more:
            named = f"lacks {len(missing):,} of them, such as {missing[0]}" if missing else "has all of them"
            needed = set(images)
            other = next((image for image in place if image not in needed), "")
            extra = f" and {more:,} others, such as {other}" if more else ""
            raise ValueError(
                f"{who} must have the same photos as the first features file, but {named}{extra}"
            )
        rows = np.array([place[image] for image in images])
        return dataclasses.replace(
            self, frame=self.frame.iloc[rows].reset_index(drop=True), values=self.values[rows]
        )


def feature_names(count: int) -> list[str]:
    """Returns the names of the columns of a vector.

    Args:
      count: Numbers in a vector, F.

    >>> feature_names(2)
    ['f_0000', 'f_0001']
    """
    return [f"f_{number:04d}" for number in range(count)]


def as_features(
    frame: pd.DataFrame, taxonomy: Taxonomy | None = None, network: Mapping[str, Any] | None = None
) -> Features:
    """Checks a frame of the contract's columns and parses it.

    Args:
      frame: `image`, `case_id`, `label`, the features and any other columns, in any order.
      taxonomy: Where given, labels must be classes of its finest level.
      network: See `Features.network`.

    Raises:
      FeaturesError: With everything that is wrong.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"image": ["a.png", "b.png"], "case_id": [1, 2], "label": ["wart", "nevus"]})
    >>> as_features(frame.assign(f_0=[0.5, 1], f_1=[2, 3]))
    Features(2 photos, 2 cases, 2 features)
    """
    rows = np.arange(1, len(frame) + 1)
    return _checked("features", frame, rows, taxonomy, network or {})


def read_features(path: str | Path, taxonomy: Taxonomy | None = None) -> Features:
    """Reads and checks a features file.

    Args:
      path: A Parquet or CSV file.
      taxonomy: Of the labels; None takes the one stored in the file, if any.

    Raises:
      FeaturesError: The file cannot be read, is of a later version, or everything that is wrong with it.
    """
    path = Path(path)
    stored = _metadata(path)
    version = stored.get(_VERSION_KEY)
    if version is not None and version != str(VERSION).encode():
        raise FeaturesError(str(path), [f"schema version {version.decode()}; this skinjax reads {VERSION}"])
    table = read_table(path, FeaturesError, is_number=lambda name: FEATURE_COLUMN.fullmatch(name) is not None)
    try:
        if taxonomy is None and _TAXONOMY_KEY in stored:
            taxonomy = Taxonomy.from_dict(json.loads(stored[_TAXONOMY_KEY]))
        network = dict(json.loads(stored.get(_NETWORK_KEY, b"{}")))
    except (ValueError, TypeError) as error:
        raise FeaturesError(str(path), [f"the stored taxonomy or network is not valid ({error})"]) from error
    return _checked(str(path), table.frame, table.rows, taxonomy, network)


def write_features(features: Features, path: str | Path) -> None:
    """Writes features as Parquet or, where the path ends in `.csv`, as CSV without taxonomy and network.

    The file appears whole or not at all.

    Args:
      features: The vectors and their photos.
      path: The file to make or replace.
    """
    import pandas as pd

    values = pd.DataFrame(features.values, columns=feature_names(features.values.shape[1]))
    frame = pd.concat([features.frame.reset_index(drop=True), values], axis=1)
    with replacing(path) as temporary:
        if Path(path).suffix.lower() == ".csv":
            frame.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")
            return
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet

        ours = {
            _VERSION_KEY: str(VERSION).encode(),
            _NETWORK_KEY: json.dumps(dict(features.network)).encode(),
        }
        if features.taxonomy is not None:
            ours[_TAXONOMY_KEY] = json.dumps(features.taxonomy.to_dict()).encode()
        table = pa.Table.from_pandas(frame, preserve_index=False)
        parquet.write_table(
            table.replace_schema_metadata({**(table.schema.metadata or {}), **ours}), temporary
        )


def _checked(
    where: str,
    frame: pd.DataFrame,
    rows: npt.NDArray[np.int64],
    taxonomy: Taxonomy | None,
    network: Mapping[str, Any],
) -> Features:
    """Returns a table as features, or raises FeaturesError with everything that is wrong with it."""
    columns = {name: FEATURE_COLUMN.fullmatch(str(name)) for name in frame}
    numbered = sorted((int(match[1]), name) for name, match in columns.items() if match is not None)
    facts = frame[[name for name, match in columns.items() if match is None]]
    known = known_cells(to_text(facts), taxonomy.classes() if taxonomy is not None else ())
    problems = photo_problems(known, taxonomy, rows)
    problems += _numbering_problems(numbered, frame)
    values = np.zeros((len(frame), 0))
    try:
        values = frame[[name for _, name in numbered]].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        problems.append("the columns f_0000, f_0001, ... must hold numbers")
    unsound = ~(np.abs(values) <= _LARGEST)
    for place in np.flatnonzero(unsound.any(0))[:3]:
        name = str(numbered[place][1])
        problems += faulty_rows(
            name, "without a finite number", unsound[:, place], rows, values[:, place].tolist()
        )
    if problems:
        raise FeaturesError(where, problems)
    return Features(known.reset_index(drop=True), values.astype(np.float32), taxonomy, network)


def _numbering_problems(numbered: Sequence[tuple[int, Any]], frame: pd.DataFrame) -> list[str]:
    """Says whether feature columns are missing or numbered otherwise than 0, 1, 2, ..."""
    if not numbered:
        numbers = [str(name) for name in frame if str(name).lstrip("-").isdigit()]
        hint = f"; rename column {numbers[0]!r} to 'f_{int(numbers[0]):04d}', and so on" if numbers else ""
        return [f"no features: there must be columns f_0000, f_0001, ...{hint}"]
    numbers_found = [number for number, _ in numbered]
    if repeated := [
        name for (number, name), (before, _) in zip(numbered[1:], numbered, strict=False) if number == before
    ]:
        return [f"column {repeated[0]!r} has the number of another feature"]
    gap = next((place for place, number in enumerate(numbers_found) if number != place), None)
    if gap is None:
        return []
    return [
        f"no column 'f_{gap:04d}', though there are features to {numbered[-1][1]!r}; they must be numbered from 0 "
        "without a gap"
    ]


def _metadata(path: Path) -> dict[bytes, bytes]:
    if path.suffix.lower() not in (".parquet", ".pq") or not path.is_file():
        return {}
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return dict(parquet.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return {}
