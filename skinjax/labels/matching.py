"""Label spaces matched: which classes of two data sets mean the same.

A matching names shared classes, each of one or more finest classes of a first and of a second taxonomy; the other
classes of either have no counterpart. It is read from a CSV file with one row per pair:

    class,a,b
    nevus,NEV,nv
    keratosis,SEK,bkl

A class may stand in several rows of its shared class, and a cell may be empty where its counterpart stands in another
row. In place of `a` and `b` the header may name the two taxonomies, in either order, and a column `note` may say how
a pair is not quite the same. The catalogue (`catalogue/matches`) holds such files; the matching in them is ours.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skinjax.labels.delimited import read_delimited
from skinjax.labels.taxonomy import Taxonomy

_CATALOGUE = Path(__file__).parent / "catalogue" / "matches"


@dataclasses.dataclass(frozen=True)
class Matching:
    """The shared classes of two taxonomies.

    Attributes:
      name: What the matching is called.
      classes: The shared classes, at least two, in the order of every array.
      first: `(class, shared class)` of the first taxonomy's finest classes.
      second: Likewise of the second's.
      notes: How pairs are not quite the same, in sentences.
      titles: `(shared class, title)` where the name is not fit for people.
    """

    name: str
    classes: tuple[str, ...]
    first: tuple[tuple[str, str], ...]
    second: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    titles: tuple[tuple[str, str], ...] = ()

    def taxonomy(self) -> Taxonomy:
        """Returns the shared classes as a taxonomy of one level, `diagnosis`."""
        return Taxonomy(
            self.name, ("diagnosis",), tuple((name,) for name in self.classes), self.titles, "", ""
        )

    def translate(self, labels: npt.ArrayLike, side: int) -> npt.NDArray[np.object_]:
        """Labels of a side as shared classes.

        Args:
          labels: str[N], finest classes of the side's taxonomy.
          side: 0 for the first, 1 for the second.

        Returns:
          object[N]; None where the class has no counterpart.

        >>> one = Taxonomy("one", ("d",), (("NEV",), ("MEL",), ("X",)))
        >>> two = Taxonomy("two", ("d",), (("MEL",), ("NEV",)))
        >>> match_by_name(one, two).translate(["MEL", "X"], side=0).tolist()
        ['MEL', None]
        """
        shared = dict((self.first, self.second)[side])
        return np.array([shared.get(str(label)) for label in np.asarray(labels)], object)


def matching_catalogue() -> tuple[str, ...]:
    """Returns names of the matchings that come with the library, in alphabetical order.

    >>> matching_catalogue()
    ('pad_ufes_20_ham10000', 'pad_ufes_20_isic2019')
    """
    return tuple(sorted(path.stem for path in _CATALOGUE.glob("*.csv")))


def match_by_name(first: Taxonomy, second: Taxonomy) -> Matching:
    """Matches finest classes of one name, letter case aside.

    Args:
      first: Whose order the shared classes have, and whose spelling and titles.
      second: The other.

    Raises:
      ValueError: Fewer than two classes have one name.
    """
    there = {name.casefold(): name for name in second.classes()}
    shared = [name for name in first.classes() if name.casefold() in there]
    if len(shared) < 2:
        raise ValueError(
            "taxonomies must have at least two class names in common, got "
            f"{'one' if shared else 'none'} of {first.name!r} and {second.name!r}; give a file that matches them "
            "(class, a, b)"
        )
    return Matching(
        f"{first.name} and {second.name} by name" if first.name != second.name else first.name,
        tuple(shared),
        tuple((name, name) for name in shared),
        tuple((there[name.casefold()], name) for name in shared),
        titles=tuple((name, title) for name, title in first.titles if name in shared),
    )


def default_matching(first: Taxonomy, second: Taxonomy) -> Matching:
    """Returns the catalogue's matching of two taxonomies, in either order, or that of equal names.

    Args:
      first: One taxonomy.
      second: The other.

    Raises:
      ValueError: As `match_by_name`.

    >>> from skinjax.labels.taxonomy import load_taxonomy
    >>> found = default_matching(load_taxonomy("ham10000"), load_taxonomy("pad_ufes_20"))
    >>> found.classes, found.first[0], found.second[0]
    (('nevus', 'keratosis', 'actinic_keratosis', 'basal_cell_carcinoma', 'melanoma'), ('nv', 'nevus'), ('NEV', 'nevus'))
    """
    for name in (f"{first.name}_{second.name}", f"{second.name}_{first.name}"):
        if name in matching_catalogue():
            return load_matching(name, first, second)
    return match_by_name(first, second)


def load_matching(
    name_or_path: str | Path, first: Taxonomy, second: Taxonomy, *, part: bool = False
) -> Matching:
    """Returns a matching by its catalogue name or from a CSV file.

    Args:
      name_or_path: One of `matching_catalogue()`, or a file.
      first: The first taxonomy; column `a`, or the column of its name.
      second: The second; column `b`, or the column of its name.
      part: Whether the second has only some of the classes that may be matched, as where it was made of the labels
        that occur.

    Raises:
      ValueError: There is no such file or name, or everything that is wrong with it, after the file's path.
    """
    path = Path(name_or_path)
    if not path.is_file():
        if str(name_or_path) not in matching_catalogue():
            names = ", ".join(matching_catalogue())
            raise ValueError(
                f"shared taxonomy {str(name_or_path)!r} is neither a file nor in the catalogue ({names})"
            )
        path = _CATALOGUE / f"{name_or_path}.csv"
    try:
        records = read_delimited(path).records()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    header = records[0] if len(records) > 1 else []
    rows = [dict(zip(header, [*cells, *[""] * len(header)], strict=False)) for cells in records[1:]]
    columns = _columns(header, first, second)
    if columns is None:
        raise ValueError(
            f"{path}: columns must be class, a and b (or in place of a and b {first.name} and {second.name}), "
            f"got {', '.join(header) or 'none'}"
        )
    pairs = [[(row[column], row["class"]) for row in rows if row[column]] for column in columns]
    shared = tuple(dict.fromkeys(row["class"] for row in rows))
    problems = [] if all(shared) else ["column 'class' is empty in a row"]
    for side, taxonomy, some in zip(pairs, (first, second), (False, part), strict=True):
        problems += _side_problems(dict.fromkeys(side), shared, taxonomy, some)
    if len(shared) < 2:
        problems.append(f"shared classes must be at least two, got {len(shared)}")
    if problems:
        raise ValueError(f"{path}: " + "; ".join(problems))
    notes = tuple(dict.fromkeys(row["note"] for row in rows if row.get("note")))
    return Matching(path.stem, shared, tuple(dict.fromkeys(pairs[0])), tuple(dict.fromkeys(pairs[1])), notes)


def _columns(header: list[str], first: Taxonomy, second: Taxonomy) -> tuple[str, str] | None:
    if "class" not in header:
        return None
    for pair in ((first.name, second.name), ("a", "b")):
        if set(pair) <= set(header) and len(set(pair)) == 2:
            return pair
    return None


def _side_problems(
    pairs: dict[tuple[str, str], None], shared: tuple[str, ...], taxonomy: Taxonomy, part: bool
) -> list[str]:
    known = {name for name, _ in pairs} if part else taxonomy.classes()
    problems = [
        f"{name!r} is no {taxonomy.finest} of taxonomy {taxonomy.name!r}{taxonomy.hint(name)}"
        for name in dict.fromkeys(name for name, _ in pairs)
        if name not in known
    ]
    problems += [
        f"{name!r} of {taxonomy.name!r} stands under {count} shared classes"
        for name, count in Counter(name for name, _ in pairs).items()
        if count > 1
    ]
    matched = {name for _, name in pairs}
    problems += [
        f"shared class {name!r} has no class of {taxonomy.name!r}" for name in shared if name not in matched
    ]
    return problems
