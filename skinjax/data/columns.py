"""Turns columns of a manifest into numbers that a model reads beside a photo: age, sex, body site and the like.

A column whose known cells are all numbers is a number: its distance from the mean of the training photos, in standard
deviations, and whether it is unknown. Any other is a set of categories, those of the training photos: one feature for
each, and whether it is unknown. Empty cells and the words of `UNKNOWN_WORDS` are unknown, and so are categories that no
training photo has, text in a column of numbers, and a column that the frame lacks.

That a cell is unknown can itself give the label away, as where a history was taken before a biopsy alone
(`skinjax.data.column_leaks`). Of such a column, which is called silent, an unknown cell is encoded as the average of
the training photos, which is zero, with no feature that says so. The same goes for a column that every training photo
has: nothing can be learned of its being unknown. Since no known cell is just average, a network could learn what an
exact zero means; so the photos that it is trained on have the cells of other photos there (`encode_training`), and it
meets the average only in photos that it answers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skinjax.data.spelling import MISSING, unknown
from skinjax.data.tables import missing_columns, to_text

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN_WORDS = ("unknown", "unk", *MISSING)
"""Cells that mean not known, beside the empty one; letter case counts neither here nor in categories."""

NOT_FOR_MODELS = ("image", "label", "case_id", "lesion_id", "split", "fold")
"""Columns that say which photo it is, or what is asked of it."""

FARTHEST = 6.0
"""Deviations from the mean that a number is encoded as at most, so that a slip of the pen does not decide."""

_MOST_NAMES = 10  # a text column of more values than this, and than half of the cases, tells photos apart
_MOST_SHOWN = 3  # faulty cells that a message names
_MOSTLY_NUMBERS = 0.8
"""Share of a column's known cells from which on it is a column of numbers, and the others are faults in it."""


@dataclasses.dataclass(frozen=True)
class Column:
    """The encoding of one column.

    Attributes:
      name: Of the column.
      kind: `"number"` or `"category"`.
      mean: Of the known numbers of the training photos.
      deviation: Their standard deviation; 1 where they do not vary.
      values: The categories of the training photos, sorted.
      shares: Share of each category in the known cells.
      indicator: Whether a feature says that it is unknown.
    """

    name: str
    kind: str
    mean: float = 0.0
    deviation: float = 1.0
    values: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    indicator: bool = True

    @property
    def features(self) -> tuple[str, ...]:
        """Returns the names of its features."""
        own = (self.name,) if self.kind == "number" else tuple(f"{self.name} = {v}" for v in self.values)
        return (*own, f"{self.name} unknown") if self.indicator else own

    def knows(self, cells: pd.Series) -> npt.NDArray[np.bool_]:
        """Returns bool[N], which cells are known and, of categories, among the training photos'."""
        if self.kind == "number":
            return np.isfinite(parsed_numbers(cells))
        return np.asarray(cells.isin(self.values), bool)

    def encode(self, cells: pd.Series) -> npt.NDArray[np.float32]:
        """Returns the features of known or unknown cells, float32[N, features]; `cells` as `known_text` gives them."""
        known = self.knows(cells)
        if self.kind == "number":
            distance = np.clip((parsed_numbers(cells) - self.mean) / self.deviation, -FARTHEST, FARTHEST)
            own = np.where(known, distance, 0)[:, None]
        else:
            hot = cells.to_numpy(object)[:, None] == np.array(self.values, object)[None]
            own = np.where(known[:, None], hot - np.array(self.shares), 0)
        parts = [own, ~known[:, None]] if self.indicator else [own]
        return np.concatenate(parts, axis=1).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class ColumnCoding:
    """The encoding of columns, as the training photos have them.

    Attributes:
      columns: Each column's, in order.
      silent: Columns whose being unknown gives the label away, and is not encoded.
    """

    columns: tuple[Column, ...]
    silent: tuple[str, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        """Returns the columns that are read."""
        return tuple(column.name for column in self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the names of the D features."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def width(self) -> int:
        """Returns D, the number of features."""
        return len(self.names)

    def encode(self, frame: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Encodes photos.

        Args:
          frame: A row per photo; a column that it lacks is unknown throughout.

        Returns:
          float32[N, D]: distances within `FARTHEST`; categories as 0 or 1 less their share of the training photos, so
          that the average is 0; 0 or 1 for unknown.

        >>> import pandas as pd
        >>> frame = pd.DataFrame({"age": ["40", "60", "NA"], "sex": ["female", "male", "male"]})
        >>> coding = fit_columns(frame, ["age", "sex"])
        >>> coding.names
        ('age', 'age unknown', 'sex = female', 'sex = male')
        >>> coding.encode(frame).round(2).tolist()[0]
        [-1.0, 0.0, 0.6700000166893005, -0.6700000166893005]
        >>> coding.encode(pd.DataFrame({"age": ["", "1e9"]})).tolist()
        [[0.0, 1.0, 0.0, 0.0], [6.0, 0.0, 0.0, 0.0]]
        """
        if not self.columns:
            return np.zeros((len(frame), 0), np.float32)
        text = known_text(frame, self.column_names)
        return np.concatenate([column.encode(text[column.name]) for column in self.columns], axis=1)

    def encode_training(self, frame: pd.DataFrame, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Encodes the photos that a model is trained on: what is unknown of silent columns is taken from other photos.

        A photo has all that it lacks from one other, drawn from those that lack nothing of the silent columns; where
        there are none, each column from another photo that has it.

        Args:
          frame: A row per training photo.
          rng: Draws the other photos.

        Returns:
          float32[N, D], as `encode` but for these cells.
        """
        features = self.encode(frame)
        silent = [column for column in self.columns if column.name in self.silent]
        if not silent:
            return features
        text = known_text(frame, self.column_names)
        known = {column.name: column.knows(text[column.name]) for column in silent}
        complete = np.flatnonzero(np.all(list(known.values()), axis=0))
        whole = complete[rng.integers(len(complete), size=len(frame))] if len(complete) else None
        filled, start = features.copy(), 0
        for column in self.columns:
            place = slice(start, start + len(column.features))
            start = place.stop
            if column.name not in self.silent:
                continue
            lacking, having = np.flatnonzero(~known[column.name]), np.flatnonzero(known[column.name])
            if len(having):
                drawn = having[rng.integers(len(having), size=len(lacking))]
                filled[lacking, place] = features[drawn if whole is None else whole[lacking], place]
        return filled

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ColumnCoding:
        """Returns the encoding that `to_dict` gave, also where JSON made lists of its tuples.

        Args:
          values: That dict.

        >>> coding = ColumnCoding((Column("sex", "category", values=("f", "m"), shares=(0.5, 0.5)),), ("sex",))
        >>> ColumnCoding.from_dict(coding.to_dict()) == coding
        True
        """
        columns = tuple(
            Column(**(column | {name: tuple(column[name]) for name in ("values", "shares")}))
            for column in values["columns"]
        )
        return cls(columns, tuple(values["silent"]))


def fit_columns(
    frame: pd.DataFrame, names: Sequence[str], silent: Collection[str] = (), *, check: bool = True
) -> ColumnCoding:
    """Finds the encoding of columns from the training photos.

    Args:
      frame: A row per training photo.
      names: Columns to encode.
      silent: Those among them whose unknown cells are encoded as the average.
      check: Whether to refuse what `check_columns` does; a fold of checked photos need not be checked again.

    Returns:
      The encoding.

    Raises:
      ValueError: A column cannot be encoded; see `check_columns`.
    """
    if check:
        check_columns(frame, names, silent)
    text = known_text(frame, names)
    columns = tuple(_fit(text[name], name, name in silent) for name in names)
    return ColumnCoding(columns, tuple(name for name in names if name in silent))


def check_columns(frame: pd.DataFrame, names: Sequence[str], silent: Collection[str] = ()) -> None:
    """Refuses columns that are not there, that are no description, or that say nothing.

    Args:
      frame: A row per photo; identifiers are found by its `case_id`, or by photo where it has none.
      names: Columns to encode.
      silent: As for `fit_columns`.

    Raises:
      ValueError: A column is missing, named twice, part of what is asked (`NOT_FOR_MODELS`), the same in all photos,
        numbers with some cells that are none, or text with more values than half the cases.
    """
    check_names(frame, names)
    text = known_text(frame, names)
    case_count = frame["case_id"].nunique() if "case_id" in frame else len(frame)
    for name in names:
        cells = text[name]
        known = cells[cells != ""]
        different = known.nunique()
        counts_unknown = name not in silent and len(known) < len(cells)
        if different + counts_unknown < 2:
            only = f"{known.iloc[0]!r} in {len(known):,}" if len(known) else "nothing known in any"
            raise ValueError(f"columns must vary, got {name!r} with {only} of {len(cells):,} photos")
        if faults := _faults_among_numbers(frame, name, cells):
            raise ValueError(
                f"columns must be groups or numbers, got {name!r}, which holds numbers but for {faults}; mend or empty "
                "these cells"
            )
        if _kind(cells) == "category" and different > max(_MOST_NAMES, case_count / 2):
            raise ValueError(
                f"columns must be groups or numbers, got {name!r} with {different:,} values in {case_count:,} cases, "
                f"such as {', '.join(map(repr, known.unique()[:3]))}, which tell people apart"
            )


def check_names(frame: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuses names of columns that the table lacks, that are named twice, or that are no description.

    Args:
      frame: A row per photo.
      names: Columns to encode.

    Raises:
      ValueError: A column is missing, named twice, or part of what is asked (`NOT_FOR_MODELS`).
    """
    there = [str(name) for name in frame.columns]
    for name in names:
        if list(names).count(name) > 1:
            raise ValueError(
                f"columns must name each column once, got {name!r} {list(names).count(name)} times"
            )
        if name in NOT_FOR_MODELS or name.split(":")[-1].startswith(("p_", "logit_")):
            raise ValueError(
                f"columns must describe the person or the lesion, got {name!r}, which says which photo it is or what "
                "is asked of it"
            )
        if name not in there:
            near = missing_columns([name], there)[0].partition(", but one ")[2]
            hint = f"; did you mean {near}?" if near else ""
            raise ValueError(f"columns must be in the table, got {name!r}{hint} (it has {', '.join(there)})")


def unknown_columns(coding: ColumnCoding | None, frame: pd.DataFrame | None) -> list[str]:
    """Returns a sentence that says what networks read beside photos and do not find; none where nothing is missing.

    Text in a column of numbers and a category that no training photo has are unknown too, and named.

    Args:
      coding: Encoding of the columns that they read; None for none.
      frame: What is given, a row per photo; None for nothing.

    >>> import pandas as pd
    >>> sex = Column("sex", "category", values=("f", "m"), shares=(0.5, 0.5))
    >>> coding = ColumnCoding((Column("age", "number"), sex))
    >>> unknown_columns(coding, pd.DataFrame({"age": ["61", ""]}))
    ['the networks read age and sex beside a photo: unknown are age of 1 of 2 photos, sex of all']
    >>> unknown_columns(coding, pd.DataFrame({"age": ["61", "old"], "sex": ["F", "male"]}))[0].partition("unknown")[2]
    " are age of 1 of 2 photos ('old' is no number), sex of 1 of 2 photos ('male' is in no training photo)"
    """
    if coding is None or not coding.columns:
        return []
    told, names = [], coding.column_names
    text = None if frame is None else known_text(frame, names)
    for column in coding.columns:
        if text is None:
            told.append(f"{column.name} of all")
            continue
        cells = text[column.name]
        lost = ~column.knows(cells)
        if not lost.any():
            continue
        strange = sorted(set(cells[lost]) - {""})
        fault = "is no number" if column.kind == "number" else "is in no training photo"
        words = f" ({strange[0]!r} {fault})" if strange else ""
        of = "all" if lost.all() else f"{int(lost.sum()):,} of {len(text):,} photos"
        told.append(f"{column.name} of {of}{words}")
    read = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return [f"the networks read {read} beside a photo: unknown are {', '.join(told)}"] if told else []


def known_text(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Returns columns as stripped text in lower case, empty where not known or where the frame lacks the column.

    Args:
      frame: Any frame.
      names: Columns.

    >>> import pandas as pd
    >>> known_text(pd.DataFrame({"sex": [" F", "UNK", None]}), ["sex", "age"]).to_dict("list")
    {'sex': ['f', '', ''], 'age': ['', '', '']}
    """
    import pandas as pd

    there = [name for name in names if name in frame]
    text = to_text(frame[there].reset_index(drop=True)) if there else pd.DataFrame(index=range(len(frame)))
    columns = {}
    for name in names:
        if name in there:
            columns[name] = unknown(text[name], missing=UNKNOWN_WORDS).str.lower()
        else:
            columns[name] = pd.Series([""] * len(frame), dtype=str)
    return pd.DataFrame(columns, index=range(len(frame)))


def parsed_numbers(cells: pd.Series) -> npt.NDArray[np.float64]:
    """Returns text as numbers, NaN where it is none; a comma may stand for the point.

    Args:
      cells: Of `known_text`.
    """
    import pandas as pd

    pointed = cells.str.replace(r"^([+-]?\d+),(\d+)$", r"\1.\2", regex=True)
    return pd.to_numeric(pointed.replace("", None), errors="coerce").to_numpy(float)


def _kind(cells: pd.Series) -> str:
    known = cells[cells != ""]
    return "number" if len(known) and np.isfinite(parsed_numbers(known)).all() else "category"


def _faults_among_numbers(frame: pd.DataFrame, name: str, cells: pd.Series) -> str:
    """Names row, photo and value of the cells that are no numbers in a column of numbers; empty for none.

    Rows are counted as a spreadsheet counts them, whose first row is the header.
    A column of many different numbers is one, so that a slip in one cell does not make groups of all its numbers.
    """
    known = (cells != "").to_numpy(bool)
    numbers = np.isfinite(parsed_numbers(cells))
    faulty = np.flatnonzero(known & ~numbers)
    many = cells[numbers].nunique() > _MOST_NAMES and numbers.sum() >= _MOSTLY_NUMBERS * known.sum()
    if not len(faulty) or not many:
        return ""
    images = frame["image"].tolist() if "image" in frame else None
    shown = [
        f"{str(frame[name].iloc[row])!r} in row {row + 2}" + (f" ({images[row]})" if images else "")
        for row in faulty[:_MOST_SHOWN]
    ]
    more = len(faulty) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _fit(cells: pd.Series, name: str, silent: bool) -> Column:
    known = cells[cells != ""]
    indicator = not silent and 0 < len(known) < len(cells)
    if _kind(cells) == "number":
        numbers = parsed_numbers(known)
        deviation = float(numbers.std())
        return Column(name, "number", float(numbers.mean()), deviation or 1.0, indicator=indicator)
    values, counts = np.unique(known.to_numpy(str), return_counts=True)
    shares = tuple((counts / max(len(known), 1)).tolist())
    return Column(name, "category", values=tuple(values.tolist()), shares=shares, indicator=indicator)
