"""Groups photos by case: by a table's column, by the folder that was named, or by a pattern of their paths."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skinjax.data.spelling import unknown

if TYPE_CHECKING:
    from skinjax.data.photo_tables import PhotoTable

MOST_OF_A_FOLDER = 40
"""Photos of one folder from which on it is hardly one case."""


@dataclasses.dataclass(frozen=True, eq=False)
class CaseGroups:
    """Photos by case.

    Attributes:
      pairs: Each case with its photos, in the order in which cases first occur.
      order: int64[N], the photos in that order, as places among those that were given.
    """

    pairs: tuple[tuple[str, tuple[Path, ...]], ...]
    order: NDArray[np.int64]


def case_groups(
    paths: Sequence[Path], table: PhotoTable | None, pattern: str = "", alone: Collection[Path] = ()
) -> CaseGroups:
    """Groups photos by case.

    Args:
      paths: The photos.
      table: What is known of them: its column `case_id` or `lesion_id` names the case, and both do where both are
        there, as a patient may have several lesions. None where photos and folders were given.
      pattern: A regular expression with one group, which is looked for in each photo's path and names the case; empty
        for a case per folder.
      alone: Photos that were named one by one: without a table and a pattern each is a case of its own, whatever folder
        it lies in, since nobody has said that they are of one case.

    Returns:
      The cases.

    Raises:
      ValueError: A table without these columns or with an empty cell, a pattern that does not fit, or folders that
        cannot be cases: with photos beside folders of photos, or with more than `MOST_OF_A_FOLDER`.
    """
    if table is not None:
        names = _by_column(table, pattern)
    elif pattern:
        names = _by_pattern(paths, pattern)
    else:
        of_folders = [path for path in paths if path not in alone]
        name_of = dict(zip(of_folders, _by_folder(of_folders), strict=True))
        names = [name_of.get(path, str(path)) for path in paths]
    grouped: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        grouped.setdefault(name, []).append(place)
    order = [place for places in grouped.values() for place in places]
    pairs = tuple((name, tuple(paths[place] for place in places)) for name, places in grouped.items())
    return CaseGroups(pairs, np.array(order, np.int64))


def compiled_pattern(pattern: str) -> re.Pattern[str]:
    """Returns a pattern of one group.

    Raises:
      ValueError: No regular expression, or another number of groups.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"case_pattern={pattern} must be a regular expression: {error}") from None
    if compiled.groups != 1:
        raise ValueError(
            rf"case_pattern={pattern} must have one group in brackets, which is the case, such as '(\w+)_\d+\.jpg', "
            f"got {compiled.groups}"
        )
    return compiled


def _by_column(table: PhotoTable, pattern: str) -> list[str]:
    if pattern:
        raise ValueError(f"case_pattern={pattern} is for photos and folders, whose table names no case")
    there = [name for name in ("case_id", "lesion_id") if name in table.frame]
    if not there:
        raise ValueError(
            "by=case needs a column case_id or lesion_id in the table of photos, got "
            f"{', '.join(map(str, table.frame))}"
        )
    cells = [table.frame[name].fillna("").astype(str).str.strip() for name in there]
    columns = [unknown(one) for one in cells]
    for name, cell, column in zip(there, cells, columns, strict=True):
        if (empty := column.eq("")).any():
            word = cell[empty].iloc[0]
            raise ValueError(
                f"column {name!r} must name the case of every photo, got "
                f"{f'{word!r}, which counts as empty,' if word else 'an empty cell'} for "
                f"{table.frame['image'][empty].iloc[0]}"
            )
    if len(columns) == 1 or columns[0].equals(columns[1]):
        return columns[0].tolist()
    return [f"{case}: {lesion}" for case, lesion in zip(*columns, strict=True)]


def _by_pattern(paths: Sequence[Path], pattern: str) -> list[str]:
    compiled = compiled_pattern(pattern)
    found = [compiled.search(path.as_posix()) for path in paths]
    names = [match.group(1) if match else None for match in found]
    missing = [path for path, name in zip(paths, names, strict=True) if not name]
    if missing:
        raise ValueError(
            f"case_pattern={pattern} must match the path of every photo, got {len(missing)} of {len(paths)} that it "
            f"does not match; the first: {missing[0]}"
        )
    return [name for name in names if name]


def _by_folder(paths: Sequence[Path]) -> list[str]:
    folders = [path.parent for path in paths]
    different = dict.fromkeys(folders)
    for folder in different:
        inside = next((other for other in different if folder in other.parents), None)
        if inside is not None:
            raise ValueError(
                f"{folder} must hold either photos of one case or a folder per case, got both: photos beside "
                f"{inside.relative_to(folder)}; give case_pattern=REGEX, or a table with a column case_id"
            )
        if (count := folders.count(folder)) > MOST_OF_A_FOLDER:
            raise ValueError(
                f"{folder} holds {count} photos, which are hardly of one case; give a folder per case, "
                "case_pattern=REGEX, or a table with a column case_id"
            )
    short = [folder.name or folder.resolve().name for folder in different]
    names = short if len(set(short)) == len(short) else [str(folder) for folder in different]
    return [dict(zip(different, names, strict=True))[folder] for folder in folders]
