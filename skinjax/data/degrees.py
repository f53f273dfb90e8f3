"""Degrees of malignancy: which class is of which degree, or no tumour, from a CSV or JSON file.

- **CSV** (or Parquet): the columns `class` and `degree`, a row per class of the taxonomy's finest level; `none` for a
  class that is no tumour.
- **JSON**: an object, class -> degree, null (or "none") for a class that is no tumour; or one in the form of the
  catalogue's own files, `{"degrees": {class: degree}, "no_tumour": [classes]}`.
- A **name of the catalogue** (`skinjax.labels.degrees`), such as `pad_ufes_20`; it may decide on more classes than the
  taxonomy has, as on those that a run left out.

Degrees are the integers 0 (the most benign) to D - 1, each that of a class at least, and two or more. Classes that are
no tumours must be named as such: one that was forgotten must not pass for harmless.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skinjax.data.spelling import as_named
from skinjax.data.tables import TableError, faulty_rows, missing_columns, read_table
from skinjax.labels.degrees import degree_catalogue, load_degrees
from skinjax.labels.taxonomy import Taxonomy

_DIGITS = tuple("0123456789")


class DegreesError(TableError):
    """Everything that is wrong with a file of degrees; `.problems` has one sentence per fault."""


Degree = int | None  # None for a class that is no tumour
_FAULTY = object()  # in place of a degree that cannot be read
_NONE = ("none", "no tumour", "no tumor")


def read_degrees(path: str | Path, taxonomy: Taxonomy, complete: bool = True) -> dict[str, Degree]:
    r"""Reads the degree of each class.

    Args:
      path: A `.json`, CSV or Parquet file, or a name of the catalogue where there is no such file.
      taxonomy: Whose finest classes the file must name, each once.
      complete: Whether all of them must be named; else those that are no tumours may be left out.

    Returns:
      Class of the finest level -> degree in 0..D-1, or None for one that is no tumour, in taxonomy order.

    Raises:
      DegreesError: Naming every fault at once: unknown classes, with the nearest spelling, classes that are missing
        or listed twice, degrees that are neither integers nor none, leave one out, or are all the same.

    >>> import tempfile
    >>> from skinjax.labels.taxonomy import Taxonomy
    >>> tree = Taxonomy("pair", ("tumour",), (("nevus",), ("melanoma",), ("eczema",)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "degrees.csv")
    ...     _ = path.write_text("class,degree\nmelanoma,1\nnevus,0\neczema,none\n")
    ...     read_degrees(path, tree)
    {'nevus': 0, 'melanoma': 1, 'eczema': None}
    """
    path = Path(path)
    pairs: list[tuple[str, Any]]
    problems: list[str]
    gone: set[int] = set()
    if str(path) in degree_catalogue() and not path.is_file():
        known = load_degrees(str(path))
        every = dict(known.degrees) | dict.fromkeys(known.no_tumour)
        pairs, problems = list(every.items()), []
        if complete or set(taxonomy.classes()) <= set(every):
            pairs = [(name, degree) for name, degree in pairs if name in taxonomy.classes()]
            gone = {degree for _, degree in known.degrees} - {degree for _, degree in pairs}
    else:
        pairs, problems = (
            _from_json(path) if path.suffix.lower() == ".json" else _from_table(path, taxonomy.classes())
        )
    names = [name for name, _ in pairs]
    problems += _class_problems(names, taxonomy, complete)
    degrees = dict(pairs)
    given = {degree for degree in degrees.values() if degree is not None}
    if not problems and gone:  # the others would mean something else
        found = ", ".join(str(degree) for degree in sorted(gone))
        problems.append(
            f"no class of {taxonomy.name!r} is of degree {found}: give degrees=FILE with degrees of these classes alone"
        )
    if not problems and given != set(range(len(given))):
        found = ", ".join(str(degree) for degree in sorted(given))
        problems.append(f"degrees must run from 0 without a gap, got {found}")
    if not problems and len(given) < 2:
        problems.append(f"degrees must be at least two different ones, got {len(given) or 'none'}")
    if problems:
        raise DegreesError(str(path), problems)
    return {name: degrees[name] for name in taxonomy.classes() if name in degrees}


def _class_problems(names: Sequence[str], taxonomy: Taxonomy, complete: bool) -> list[str]:
    known = taxonomy.classes()
    problems = [
        f"class {name!r} is no {taxonomy.finest} of taxonomy {taxonomy.name!r}{taxonomy.hint(name)}"
        for name in dict.fromkeys(names)
        if name not in known
    ]
    problems += [
        f"class {name!r} is listed {count} times" for name, count in Counter(names).items() if count > 1
    ]
    if complete and (missing := [name for name in known if name not in names]):
        listed = ", ".join(map(repr, missing))
        problems.append(f"no degree for {listed}; a class that is no tumour must say none")
    return problems


def _from_table(path: Path, classes: Sequence[str]) -> tuple[list[tuple[str, Any]], list[str]]:
    table = read_table(path, DegreesError)
    frame = table.frame
    if problems := missing_columns(("class", "degree"), frame):
        raise DegreesError(str(path), problems)
    degrees = [_degree(cell) for cell in as_named(frame["degree"].str.strip(), _DIGITS)]
    wrong = [degree is _FAULTY for degree in degrees]
    fault = "that is no integer of 0 or more and not none"
    problems = faulty_rows("degree", fault, wrong, table.rows, frame["degree"].array)
    return list(zip(as_named(frame["class"].str.strip(), classes), degrees, strict=True)), problems


def _from_json(path: Path) -> tuple[list[tuple[str, Any]], list[str]]:
    if not path.is_file():
        raise DegreesError(str(path), ["no such file"])
    try:
        # Pairs, since an object would drop all but the last of a repeated class.
        document = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    except ValueError as error:
        raise DegreesError(str(path), [f"cannot be read as JSON ({error})"]) from error
    if not isinstance(document, _Pairs):
        raise DegreesError(str(path), ["must be a JSON object, class -> degree"])
    parts = dict(document)
    if isinstance(parts.get("degrees"), _Pairs):  # the catalogue's own form
        others = parts.get("no_tumour", [])
        if not isinstance(others, list) or not all(isinstance(name, str) for name in others):
            raise DegreesError(str(path), ["no_tumour must be a list of classes"])
        document = _Pairs([*parts["degrees"], *((name, None) for name in others)])
    pairs = [(name, _degree(value)) for name, value in document]
    problems = [
        f"the degree of class {name!r} must be an integer of 0 or more, or null for no tumour, got {value!r}"
        for (name, value), (_, degree) in zip(document, pairs, strict=True)
        if degree is _FAULTY
    ]
    return pairs, problems


class _Pairs(list[tuple[str, Any]]):
    """The entries of a JSON object, in order."""


def _degree(value: Any) -> Any:
    """Returns a degree, None for no tumour, or `_FAULTY`."""
    if isinstance(value, str):
        text = value.strip().casefold()
        return None if text in _NONE else int(text) if text.isdecimal() else _FAULTY
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    return _FAULTY
