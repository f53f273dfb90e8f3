"""Degrees of malignancy: which class is of which degree, from a CSV or JSON file.

- **CSV** (or Parquet): the columns `class` and `degree`, a row a class of the taxonomy's finest level.
- **JSON**: an object, class -> degree.
- A **name of the catalogue** (`skinjax.labels.degrees`), such as `pad_ufes_20`.

Degrees are the integers 0 (the most benign) to D - 1, each that of a class at least, and two or more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skinjax.data.tables import TableError, faulty_rows, missing_columns, read_table
from skinjax.labels.degrees import degree_catalogue, load_degrees
from skinjax.labels.taxonomy import Taxonomy


class DegreesError(TableError):
    """Everything that is wrong with a file of degrees; `.problems` has one sentence a fault."""


def read_degrees(path: str | Path, taxonomy: Taxonomy, complete: bool = True) -> dict[str, int]:
    r"""Reads the degree of each class.

    Args:
      path: A `.json`, CSV or Parquet file, or a name of the catalogue where there is no such file.
      taxonomy: Whose finest classes the file must name, each once.
      complete: Whether all of them must have a degree; else those that are no tumours may be left out.

    Returns:
      Class of the finest level -> degree in 0..D-1, in taxonomy order.

    Raises:
      DegreesError: Naming every fault at once: unknown classes, with the nearest spelling, classes that are missing
        or listed twice, degrees that are no integers, leave one out, or are all the same.

    >>> import tempfile
    >>> from skinjax.labels.taxonomy import Taxonomy
    >>> tree = Taxonomy("pair", ("tumour",), (("nevus",), ("melanoma",)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "degrees.csv")
    ...     _ = path.write_text("class,degree\nmelanoma,1\nnevus,0\n")
    ...     read_degrees(path, tree)
    {'nevus': 0, 'melanoma': 1}
    """
    path = Path(path)
    pairs: list[tuple[str, int | None]]
    problems: list[str]
    if str(path) in degree_catalogue() and not path.exists():
        pairs, problems = [*load_degrees(str(path)).degrees], []
    else:
        pairs, problems = _from_json(path) if path.suffix.lower() == ".json" else _from_table(path)
    names = [name for name, _ in pairs]
    problems += _class_problems(names, taxonomy, complete)
    degrees = {name: degree for name, degree in pairs if degree is not None}
    given = set(degrees.values())
    if not problems and given != set(range(len(given))):
        found = ", ".join(str(degree) for degree in sorted(given))
        problems.append(f"degrees must run from 0 without a gap, got {found}")
    if not problems and len(given) < 2:
        problems.append("all classes have one degree; at least two are wanted")
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
        problems.append(f"no degree for {', '.join(map(repr, missing))}")
    return problems


def _from_table(path: Path) -> tuple[list[tuple[str, int | None]], list[str]]:
    table = read_table(path, DegreesError)
    frame = table.frame
    if problems := missing_columns(("class", "degree"), frame):
        raise DegreesError(str(path), problems)
    degrees = [_degree(cell) for cell in frame["degree"]]
    wrong = [degree is None for degree in degrees]
    problems = faulty_rows(
        "degree", "that is no integer of 0 or more", wrong, table.rows, frame["degree"].array
    )
    return list(zip(frame["class"].str.strip(), degrees, strict=True)), problems


def _from_json(path: Path) -> tuple[list[tuple[str, int | None]], list[str]]:
    if not path.is_file():
        raise DegreesError(str(path), ["no such file"])
    try:
        # Pairs, since an object would drop all but the last of a repeated class.
        document = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    except ValueError as error:
        raise DegreesError(str(path), [f"cannot be read as JSON ({error})"]) from error
    if not isinstance(document, _Pairs):
        raise DegreesError(str(path), ["wanted a JSON object, class -> degree"])
    pairs = [(name, _degree(value)) for name, value in document]
    problems = [
        f"class {name!r} has the degree {value!r}, an integer of 0 or more is wanted"
        for (name, value), (_, degree) in zip(document, pairs, strict=True)
        if degree is None
    ]
    return pairs, problems


class _Pairs(list[tuple[str, Any]]):
    """The entries of a JSON object, in order."""


def _degree(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return None
