"""Inputs of a report: predictions of one or more models on the same photos, and what is asked of them.

All files are read and checked together, so that one list names everything that is wrong with any of them.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from skinjax.data.column_names import ColumnNames
from skinjax.data.degrees import read_degrees
from skinjax.data.prediction_checks import problems as prediction_problems
from skinjax.data.prediction_columns import CLASS_COLUMN, kind_of
from skinjax.data.prediction_tables import NO_CASES, as_spelled
from skinjax.data.predictions import read_taxonomy, read_unchecked
from skinjax.data.readers import read_by_all, read_readers
from skinjax.data.reading_kit import Kit
from skinjax.data.spelling import near_id
from skinjax.data.tables import SHOWN, TableError, faulty_rows, missing_columns, read_table
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

    from skinjax.data.tables import Table

Found = TypeVar("Found")
_LOG = logging.getLogger(__name__)

SUBGROUPS = ("skin_tone", "sex", "age", "body_site", "source")
"""The columns that are looked at by subgroup where none are named."""

MOST_GROUPS = 40
"""Of one column: more say that it tells photos or people apart, not groups."""


class EvaluationDataError(TableError):
    """Everything that is wrong with files and names; `.problems` has one sentence per fault, with its file."""

    def __init__(self, problems: Sequence[str]):
        super().__init__("the files of the evaluation", problems)
        if len(self.problems) == 1:
            self.args = (self.problems[0],)


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationData:
    """Inputs of a report.

    Attributes:
      taxonomy: Taxonomy of the labels.
      models: Name -> valid predictions, of the same photos; the first is the one that is reported on.
      target: Classes of one level that together are positive; empty for none.
      degrees: Class of the finest level -> degree, or None for no tumour; None for no degrees.
      readers: Columns `reader`, `image` and `call`, of photos that all readers called, or None.
      subgroups: Columns of the first model's predictions; `age`, where it holds numbers, as float64 with NaN.
      notes: Sentences to be read beside the results.
    """

    taxonomy: Taxonomy
    models: Mapping[str, pd.DataFrame]
    target: tuple[str, ...] = ()
    degrees: Mapping[str, int | None] | None = None
    readers: pd.DataFrame | None = None
    subgroups: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_evaluation_data(
    paths: Mapping[str, Path],
    taxonomy: Taxonomy | None = None,
    target: Sequence[str] = (),
    degrees: str | Path | None = None,
    readers: str | Path | None = None,
    subgroups: Sequence[str] | None = None,
    kit: Kit | None = None,
    names: ColumnNames | None = None,
) -> EvaluationData:
    """Reads and checks the files of an evaluation.

    Args:
      paths: Name of a model -> its predictions file, Parquet or CSV; all on the same photos, in any order.
      taxonomy: Taxonomy of the labels. Where missing, the one that a Parquet file holds; where there is none, a
        flat one of the first file's columns `p_<class>` or `logit_<class>`.
      target: Classes of one level.
      degrees: File or catalogue name of `skinjax.data.degrees`.
      readers: File of `skinjax.data.readers`; needs a target.
      subgroups: Columns; where None, those of `SUBGROUPS` that tell two groups or more apart.
      kit: The reading kit that the readers' answers are of; None for none, or one whose key lies near them.
      names: The files' own names of columns; of several files, each needs those that it has.

    Returns:
      What they hold.

    Raises:
      EvaluationDataError: Naming every fault of every file at once.
    """
    problems: list[str] = []
    tables: dict[str, Table] = {}
    found: dict[str, list[str]] = {}
    several = len(paths) > 1
    for name, path in paths.items():
        read = _attempt(functools.partial(read_unchecked, path, names, several), problems)
        if read is not None:
            tables[name], found[name] = read
    frames = {name: table.frame for name, table in tables.items()}
    tree = taxonomy or _attempt(lambda: _taxonomy(paths, frames), problems)
    if tree:
        tables = {name: as_spelled(table, tree) for name, table in tables.items()}
    tables = _with_cases(tables, paths) if several else tables
    frames = {name: table.frame for name, table in tables.items()}
    for name, table in tables.items():
        # Both passes tell of a column that is missing.
        wrong = found[name] + (prediction_problems(table.frame, tree, table.rows) if tree else [])
        problems += [f"{paths[name]}: {problem}" for problem in dict.fromkeys(wrong)]
    notes = tuple(dict.fromkeys(note for table in tables.values() for note in table.notes))
    calls = tumours = None
    first = frames.get(next(iter(paths)))
    if tree:
        problems += _target_problems(target, tree)
        if degrees:
            tumours = _attempt(lambda: read_degrees(degrees, tree), problems)
    if readers:
        if not target:
            problems.append(
                "readers must come with a target, the class or classes that their calls are about"
            )
        images = first["image"] if first is not None and "image" in first else None
        calls = _attempt(lambda: read_readers(readers, images, kit), problems)
    if calls is not None:
        if kit:
            notes += (kit.note,)
        complete = _attempt(functools.partial(read_by_all, calls), problems)
        if complete is not None:
            calls, left_out = complete
            if left_out:
                notes += (f"{left_out} photos that not all readers called are left out of the reader study.",)
    chosen: list[str] = []
    if first is not None:
        rows = tables[next(iter(paths))].rows
        chosen, wrong = _subgroup_columns(first, subgroups, rows)
        problems += [f"{next(iter(paths.values()))}: {problem}" for problem in wrong]
    problems += _differences(frames)
    if problems:
        raise EvaluationDataError(list(dict.fromkeys(problems)))
    assert tree is not None
    if "age" in chosen:
        frames[next(iter(paths))] = _with_numeric_age(frames[next(iter(paths))])
    return EvaluationData(tree, frames, tuple(target), tumours, calls, tuple(chosen), notes)


def coarse_level(data: EvaluationData) -> str | None:
    """Returns the level that is fused with the finest: the finest one that has a network's columns, else the one above.

    None where the taxonomy has a single level.
    """
    above = data.taxonomy.levels[-2::-1]
    frame = next(iter(data.models.values()))
    for level in above:
        if kind_of(frame, data.taxonomy, level) is not None:
            return level
    return above[0] if above else None


def level_of(target: Sequence[str], taxonomy: Taxonomy) -> str | None:
    """Returns the finest level that has all of these classes, or None.

    >>> from skinjax.labels.taxonomy import load_taxonomy
    >>> level_of(["near_relative"], load_taxonomy("psoriasis9"))
    'relation'
    """
    for level in reversed(taxonomy.levels):
        if set(target) <= set(taxonomy.classes(level)):
            return level
    return None


def compare_photos(name: str, frame: pd.DataFrame, other: str, other_frame: pd.DataFrame) -> list[str]:
    """Lists where two models differ in photos, labels or cases, as sentences; empty where they do not.

    Args:
      name: Name of the first model.
      frame: Its predictions.
      other: Name of the second.
      other_frame: Its predictions, rows in any order.

    >>> import pandas as pd
    >>> a = pd.DataFrame({"image": ["1", "2"], "label": ["x", "y"], "case_id": ["p", "q"]})
    >>> compare_photos("a", a, "b", a[::-1].assign(label=["y", "y"]))
    ["models 'a' and 'b' differ in the label of 1 photo: '1' ('x' and 'y')"]
    """
    import pandas as pd

    if any(column not in each for each in (frame, other_frame) for column in ("image", "label", "case_id")):
        return []
    if not frame["image"].is_unique or not other_frame["image"].is_unique:
        return []
    place = pd.Index(other_frame["image"]).get_indexer(pd.Index(frame["image"]))
    there = place >= 0
    problems = []
    lacking = frame["image"].array[~there]
    more = other_frame["image"].array[np.setdiff1d(np.arange(len(other_frame)), place[there])]
    hint = near_id(more) if len(lacking) and len(more) else None
    for who, whose, images in ((other, name, lacking), (name, other, more)):
        if len(images):
            close = next(filter(None, map(hint, images)), "") if hint and images is lacking else ""
            problems.append(f"model {who!r} lacks {_photos(images)} of model {whose!r}{close}")
    for column, what in (("label", "label"), ("case_id", "case")):
        ours, theirs = frame[column].array[there], other_frame[column].array[place[there]]
        wrong = np.flatnonzero(np.asarray(ours != theirs, bool))
        if wrong.size:
            images = frame["image"].array[there]
            shown = [f"{images[i]!r} ({ours[i]!r} and {theirs[i]!r})" for i in wrong[:SHOWN]]
            shown += [f"and {wrong.size - SHOWN:,} more"] if wrong.size > SHOWN else []
            count = f"{wrong.size:,} photo{'s' if wrong.size != 1 else ''}"
            problems.append(
                f"models {name!r} and {other!r} differ in the {what} of {count}: {', '.join(shown)}"
            )
    return problems


def select(data: EvaluationData, images: Sequence[str]) -> EvaluationData:
    """Returns the same of some of its photos.

    Args:
      data: Any.
      images: Photos of it.
    """
    models = {
        name: frame[frame["image"].isin(images)].reset_index(drop=True) for name, frame in data.models.items()
    }
    readers = data.readers
    if readers is not None:
        readers = readers[readers["image"].isin(images)].reset_index(drop=True)
        readers = readers if len(readers) else None
    return dataclasses.replace(data, models=models, readers=readers)


def _with_cases(tables: Mapping[str, Table], paths: Mapping[str, Path]) -> dict[str, Table]:
    """Returns tables whose cases are those of another model's table where they have none of their own, and says so."""
    lacking = [name for name, table in tables.items() if NO_CASES in table.notes]
    known = [name for name in tables if name not in lacking and "image" in tables[name].frame]
    found = dict(tables)
    for name in lacking:
        table, other = tables[name], tables[known[0]].frame if known else None
        cases = None
        if other is not None and other["image"].is_unique and "case_id" in other:
            cases = table.frame["image"].map(other.set_index("image")["case_id"])
        if cases is None or cases.isna().any():
            _LOG.warning("%s: %s", paths[name], NO_CASES)
        else:
            _LOG.warning(
                "%s: the table has no column case_id: the cases are those of %s", paths[name], paths[known[0]]
            )
            note = f"The cases of model {name!r}, which has none, are those of {known[0]!r}."
            notes = tuple(note if one == NO_CASES else one for one in table.notes)
            found[name] = dataclasses.replace(table, frame=table.frame.assign(case_id=cases), notes=notes)
    return found


def _photos(images: Any) -> str:
    shown = [repr(image) for image in images[:SHOWN]]
    shown += [f"and {len(images) - SHOWN:,} more"] if len(images) > SHOWN else []
    return f"{len(images):,} photo{'s' if len(images) != 1 else ''} ({', '.join(shown)})"


def _attempt(read: Callable[[], Found], problems: list[str]) -> Found | None:
    """Returns what a reader returns, or None where it raises, its problems then added."""
    try:
        return read()
    except TableError as error:
        problems += [f"{error.where}: {problem}" for problem in error.problems]
    except ValueError as error:
        problems.append(str(error))
    return None


def _taxonomy(paths: Mapping[str, Path], frames: Mapping[str, pd.DataFrame]) -> Taxonomy | None:
    """Returns the taxonomy that a file holds, or a flat one of the first file's classes; None without a file."""
    for name in frames:
        stored = read_taxonomy(paths[name])
        if stored is not None:
            return stored
    if not frames:
        return None
    name, frame = next(iter(frames.items()))
    matches = [CLASS_COLUMN.fullmatch(str(column)) for column in frame.columns]
    classes = [match["name"] for match in matches if match and not match["level"]]
    if not classes:
        own = read_table(paths[name]).frame  # without the columns that reading adds
        there = ", ".join(repr(str(column)) for column in own.columns)
        raise ValueError(
            f"{paths[name]}: no column 'p_<class>' or 'logit_<class>' to take the classes from; the columns are {there}"
        )
    return Taxonomy(f"classes of {name}", ("class",), tuple((each,) for each in dict.fromkeys(classes)))


def _target_problems(target: Sequence[str], taxonomy: Taxonomy) -> list[str]:
    if not target or level_of(target, taxonomy) is not None:
        return []
    everywhere = [name for level in taxonomy.levels for name in taxonomy.classes(level)]
    unknown = [name for name in target if name not in everywhere]
    if not unknown:
        return [f"target must name classes of one level, got {', '.join(map(repr, target))} of several"]
    hints = {
        name: next(filter(None, (taxonomy.hint(name, level) for level in taxonomy.levels)), "")
        for name in unknown
    }
    return [
        f"target {name!r} is no class of taxonomy {taxonomy.name!r}{hint}" for name, hint in hints.items()
    ]


def _subgroup_columns(
    frame: pd.DataFrame, requested: Sequence[str] | None, rows: np.ndarray
) -> tuple[list[str], list[str]]:
    """Returns the columns to look at, and what is wrong with them."""
    names = (
        [name for name in SUBGROUPS if name in frame] if requested is None else list(dict.fromkeys(requested))
    )
    problems = [f"subgroups: {problem}" for problem in missing_columns(names, frame)]
    chosen = []
    for name in (name for name in names if name in frame):
        count = frame[name].replace("", None).nunique()
        if name == "age" and (wrong := _age_problems(frame, rows)):
            problems += wrong
        elif name == "age" or 2 <= count <= MOST_GROUPS or (requested is None and count > MOST_GROUPS):
            chosen.append(name)  # of one with too many groups the page says that it was not looked at
        elif requested is not None:
            problems.append(f"subgroups: column {name!r} must have 2 to {MOST_GROUPS} groups, got {count:,}")
    return chosen, problems


def _ages(frame: pd.DataFrame) -> pd.Series:
    import pandas as pd

    return pd.to_numeric(frame["age"].replace("", None), errors="coerce")


def _age_problems(frame: pd.DataFrame, rows: np.ndarray) -> list[str]:
    """Ages that are no years, where others are; where none is, the cells are taken for groups."""
    years = _ages(frame)
    known = (frame["age"] != "").to_numpy(bool)
    wrong = known & ~(years >= 0).to_numpy(bool)
    if not (known & ~wrong).any():
        return []
    return faulty_rows("age", "that must hold years of 0 or more", wrong, rows, frame["age"].array)


def _with_numeric_age(frame: pd.DataFrame) -> pd.DataFrame:
    years = _ages(frame)
    return frame.assign(age=years.astype(float)) if years.notna().any() else frame


def _differences(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    if len(frames) < 2:
        return []
    (name, first), *others = frames.items()
    return [problem for other, frame in others for problem in compare_photos(name, first, other, frame)]
