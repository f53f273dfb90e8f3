"""A table's own column names under those of the contracts: `image=Filename,label=Diagnosis`, and a prefix of classes.

    names = ColumnNames.of({"image": "Filename", "case_id": "Patient ID"})
    frame = read_manifest("Lesions 2024.xlsx", names=names)

On a command line it is `--map image=Filename,case_id="Patient ID"`; a name with a comma stands in double quotes, as
in `--map 'image=Filename,"label=Diagnosis, final"'`. Names are found as they are written or, where a single column
fits, whatever their case and blanks. Probabilities in `prob_<class>` are read by `prefix="prob_"`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

COLUMNS = (
    "image", "label", "case_id", "lesion_id", "skin_tone", "sex", "age", "body_site", "source", "split", "fold",
    "date",
)  # fmt: skip
"""Columns that a map may name, beside those of classes: all of the contracts."""

_CLASS = re.compile(r"(?:[^:]+:)?(?:p|logit)_.+", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class ColumnNames:
    """Names that a table has for the columns of a contract.

    Attributes:
      sources: Contract's name -> the table's name, or the table's names where several tables are read.
      prefix: Beginning of the names of probabilities' columns; empty for the contract's own, `p_`.
    """

    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prefix: str = ""

    @classmethod
    def of(cls, entries: Mapping[str, str] | Sequence[str] = (), prefix: str = "") -> ColumnNames:
        """Reads a map.

        Args:
          entries: `{"image": "Filename"}`, or texts such as `"image=Filename"`.
          prefix: As of the class.

        Raises:
          ValueError: An entry is no pair, names no column of the contracts, or one twice.

        >>> ColumnNames.of(["image=File name", 'label="Diagnosis', 'final"']).sources
        {'image': 'File name', 'label': 'Diagnosis,final'}
        """
        sources: dict[str, str] = {}
        for entry in as_entries(entries):
            name, equals, source = entry.partition("=")
            name, source = name.strip(), source.strip()
            if not (name and equals and source):
                raise ValueError(f"map={entry} must be NAME=COLUMN, such as image=Filename")
            if name not in COLUMNS and not _CLASS.fullmatch(name):
                near = difflib.get_close_matches(name.casefold(), COLUMNS, n=1)
                near = near or [key for key in COLUMNS if key == source.casefold()]
                hint = (
                    f"; did you mean {near[0]}={name if near[0] == source.casefold() else source}?"
                    if near
                    else ""
                )
                raise ValueError(
                    f"map={entry} must name one of {', '.join(COLUMNS)} or p_<class>, got {name!r}{hint}"
                )
            if name in sources:
                raise ValueError(f"map={entry} names {name!r} twice, before as {sources[name]!r}")
            sources[name] = source
        return cls(sources, prefix)

    def __bool__(self) -> bool:
        return bool(self.sources or self.prefix)

    def within(self, columns: Iterable[str], several: bool = False) -> Renaming:
        """Returns how the columns of a table are to be renamed.

        Args:
          columns: Names of the table's columns.
          several: Whether several tables are read, of which each need not have every column that is named.
        """
        there = list(columns)
        chosen: dict[str, str] = {}
        problems: list[str] = []
        for name, source in self.sources.items():
            found = _found(source, there)
            if found is not None:
                chosen[name] = found
            elif not (several and name in there):
                near = difflib.get_close_matches(
                    _plain(source), [_plain(one) for one in there], n=1, cutoff=0.6
                )
                hint = "".join(f", but one {one!r}" for one in there if near and _plain(one) == near[0])
                shown = ", ".join(map(repr, there))
                problems.append(f"map={name}={source}: no column {source!r}{hint}; the columns are {shown}")
        if self.prefix:
            taken = set(chosen.values())
            classes = {column: _without(column, self.prefix) for column in there if column not in taken}
            renamed = {f"{level}p_{name}": column for column, (level, name) in classes.items() if name}
            if not renamed and not (several and any(_CLASS.fullmatch(one) for one in there)):
                problems.append(
                    f"prefix={self.prefix}: no column begins with it; the columns are {', '.join(map(repr, there))}"
                )
            chosen |= {name: column for name, column in renamed.items() if name not in chosen}
        classes_named = self.prefix and any(_CLASS.fullmatch(name) for name in chosen)
        used = set(chosen.values())
        aside = [
            one
            for one in there
            if one not in used and (one in chosen or (classes_named and _CLASS.fullmatch(one)))
        ]
        return Renaming(chosen, tuple(aside), tuple(problems))


@dataclasses.dataclass(frozen=True)
class Renaming:
    """A renaming of the columns of one table.

    Attributes:
      chosen: Contract's name -> the table's column; a column may serve twice.
      aside: Columns that are left out, since others take their names.
      problems: A sentence per name that the table lacks.
    """

    chosen: Mapping[str, str]
    aside: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def names(self, columns: Iterable[str]) -> list[tuple[str, str]]:
        """Returns the columns that there are afterwards, each with the one that it is made of, in the table's order."""
        new: dict[str, list[str]] = {}
        for name, column in self.chosen.items():
            new.setdefault(column, []).append(name)
        return [
            (name, column)
            for column in columns
            if column not in self.aside
            for name in new.get(column, [column])
        ]


def as_entries(given: Mapping[str, str] | Sequence[str]) -> tuple[str, ...]:
    """Returns a map as its entries, those joined that a comma in double quotes had parted.

    Args:
      given: `{"image": "Filename"}`, or texts such as `"image=Filename"`.

    >>> as_entries({"image": "Filename"}), as_entries(['label="Final', 'diagnosis"', "sex=Gender"])
    (('image=Filename',), ('label=Final,diagnosis', 'sex=Gender'))
    """
    if isinstance(given, Mapping):
        return tuple(f"{name}={source}" for name, source in given.items())
    entries: list[str] = []
    open_quote = False
    for part in given:
        if open_quote:
            entries[-1] += f",{part}"
        else:
            entries.append(part)
        open_quote = entries[-1].count('"') % 2 == 1
    return tuple(re.sub(r'^([^=]*=)"(.*)"$', r"\1\2", entry, flags=re.DOTALL) for entry in entries)


def _plain(name: str) -> str:
    return "".join(name.casefold().split())


def _found(source: str, columns: Sequence[str]) -> str | None:
    """Returns the column of this name or, where it is a single one, that of the same letters."""
    if source in columns:
        return source
    alike = [column for column in columns if _plain(column) == _plain(source)]
    return alike[0] if len(alike) == 1 else None


def _without(column: str, prefix: str) -> tuple[str, str]:
    """Returns the level, with its colon, and the class of a column of this prefix; empty texts for another column."""
    level, colon, name = column.rpartition(":")
    if colon and name.startswith(prefix):
        return level + colon, name.removeprefix(prefix)
    return ("", column.removeprefix(prefix)) if column.startswith(prefix) else ("", "")
