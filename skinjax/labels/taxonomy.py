"""Hierarchies of diagnoses: an immutable, validated tree of classes of any depth.

A taxonomy has named levels, coarsest first. Each class of a level has exactly one parent in the level above
it, and each coarse class has at least one class below it, so the whole tree is the list of paths from the
coarsest to the finest class:

    level    meta           sub
    path     inflammatory   psoriasis
    path     inflammatory   eczema
    path     vascular       purpura

The order of the paths is the order of the finest classes in every array of the library; a coarser level's
classes are ordered by first appearance. A class is a name within its level: one name may stand in two levels.

Two file formats are read:

- **JSON**: an object with `"name"`, `"levels"`, `"paths"` and optionally `"titles"` (class name -> name for
  people), `"source"` and `"licence"`. The files in `skinjax/labels/catalogue` are of this kind.
- **CSV** (or another table of `skinjax.labels.delimited`, such as an Excel workbook): one column per level,
  coarsest first; the header gives the level names and each row is a path. A name that holds the delimiter stands in
  double quotes.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinjax.labels.delimited import not_utf8, read_delimited

_CATALOGUE = Path(__file__).parent / "catalogue"
_TABLES = (
    ".csv",
    ".tsv",
    ".tab",
    ".gz",
    ".xlsx",
    ".xlsm",
    ".xls",
    ".ods",
)  # workbooks are told how to be saved
_JSON_KEYS = {"name", "levels", "paths", "titles", "source", "licence"}


@dataclasses.dataclass(frozen=True)
class Taxonomy:
    """A tree of classes with named levels, validated when it is made; equal and hashable by value.

    Attributes:
      name: What the taxonomy is called, for messages and reports.
      levels: Names of the levels, coarsest first; at least one.
      paths: One tuple a finest class, `(coarsest, ..., finest)`, each as long as `levels`.
      titles: `(class name, title)` pairs for class names that are not fit for people as they are.
      source: Who published the labels, in words.
      licence: Under which licence.

    Raises:
      ValueError: Naming every orphan, duplicate, class with two parents, and empty or padded name.

    >>> taxonomy = Taxonomy("tumours", ("degree", "tumour"), (("benign", "nevus"), ("malignant", "melanoma")))
    >>> taxonomy.classes("degree")
    ('benign', 'malignant')
    >>> taxonomy.finest, taxonomy.coarsest
    ('tumour', 'degree')
    """

    name: str
    levels: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]
    titles: tuple[tuple[str, str], ...] = ()
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.levels, str) or any(isinstance(path, str) for path in self.paths):
            raise ValueError(
                f"taxonomy {self.name!r}: levels and each path must be tuples of names, got a string"
            )
        # Lists are welcome, but only tuples can be hashed.
        object.__setattr__(self, "levels", tuple(self.levels))
        object.__setattr__(self, "paths", tuple(tuple(path) for path in self.paths))
        object.__setattr__(self, "titles", tuple((name, title) for name, title in self.titles))
        problems = _problems(self)
        if problems:
            raise ValueError(f"taxonomy {self.name!r}: " + "; ".join(problems))

    @classmethod
    def from_pairs(
        cls,
        pairs: Iterable[tuple[str, str]],
        name: str = "custom",
        levels: tuple[str, str] = ("meta", "sub"),
    ) -> Taxonomy:
        """Returns a two-level taxonomy from (meta-class, sub-class) pairs.

        >>> Taxonomy.from_pairs([("vascular", "purpura"), ("pigmented", "lentigo")]).classes("sub")
        ('purpura', 'lentigo')
        """
        return cls(name, tuple(levels), tuple((meta, sub) for meta, sub in pairs))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Taxonomy:
        """Returns the inverse of `to_dict`.

        Raises:
          ValueError: A key is missing or unknown, a value is of another type, or the tree is not valid.
        """
        missing = {"name", "levels", "paths"} - set(document)
        unknown = set(document) - _JSON_KEYS
        if missing or unknown:
            found = ", ".join(sorted(map(str, document))) or "none"
            raise ValueError(
                f"a taxonomy must have the keys name, levels and paths (optional: titles, source, licence), got {found}"
            )
        levels, paths, titles = document["levels"], document["paths"], document.get("titles", {})
        if not isinstance(levels, list):
            raise ValueError(f"taxonomy key 'levels' must be a list of names, got {levels!r}")
        if not isinstance(paths, list) or not all(isinstance(path, list) for path in paths):
            raise ValueError("taxonomy key 'paths' must be a list of lists of class names, coarsest first")
        if not isinstance(titles, Mapping):
            raise ValueError(f"taxonomy key 'titles' must map class names to titles, got {titles!r}")
        return cls(
            name=document["name"],
            levels=tuple(levels),
            paths=tuple(tuple(path) for path in paths),
            titles=tuple(titles.items()),
            source=document.get("source", ""),
            licence=document.get("licence", ""),
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the taxonomy as plain lists and strings, in the layout of the JSON files."""
        return {
            "name": self.name,
            "source": self.source,
            "licence": self.licence,
            "levels": list(self.levels),
            "paths": [list(path) for path in self.paths],
            "titles": dict(self.titles),
        }

    def to_json(self) -> str:
        """Returns the taxonomy as the text of a JSON file that `load_taxonomy` reads back to an equal value."""
        head = {key: value for key, value in self.to_dict().items() if key != "paths"}
        paths = ",\n    ".join(json.dumps(path, ensure_ascii=False) for path in self.paths)
        # One path a line: a changed class is then one changed line.
        text = json.dumps(head, ensure_ascii=False, indent=2).removesuffix("\n}")
        return f'{text},\n  "paths": [\n    {paths}\n  ]\n}}\n'

    def without(self, classes: Collection[str]) -> Taxonomy:
        """Returns the taxonomy that is left when classes of the finest level are taken out, and what then holds none.

        Raises:
          ValueError: One of them is no class of the finest level, or none would be left.

        >>> load_taxonomy("psoriasis9").without(["pemphigus", "psoriasis"]).classes("relation")
        ('near_relative', 'distant_relative')
        """
        self.encode(classes)
        paths = tuple(path for path in self.paths if path[-1] not in classes)
        left = {name for path in paths for name in path}
        titles = tuple((name, title) for name, title in self.titles if name in left)
        return dataclasses.replace(self, paths=paths, titles=titles)

    @property
    def finest(self) -> str:
        """Returns the name of the last level, the one that manifests are labelled in."""
        return self.levels[-1]

    @property
    def coarsest(self) -> str:
        """Returns the name of the first level; the same as `finest` in a flat taxonomy."""
        return self.levels[0]

    def depth(self, level: str) -> int:
        """Returns position of a level, 0 for the coarsest.

        Raises:
          ValueError: There is no such level; the message lists those there are.
        """
        if level not in self.levels:
            raise ValueError(
                f"taxonomy {self.name!r} has no level {level!r}; its levels are {', '.join(self.levels)}"
            )
        return self.levels.index(level)

    def classes(self, level: str | None = None) -> tuple[str, ...]:
        """Class names of a level (the finest by default), in the order of every array of that level."""
        return self._classes[-1 if level is None else self.depth(level)]

    def parents(self, child_level: str, parent_level: str) -> npt.NDArray[np.int32]:
        """Returns for each class of `child_level`, the index of the `parent_level` class that holds it.

        Args:
          child_level: Name of a level with S classes.
          parent_level: Name of the same or a coarser level, with M classes.

        Returns:
          int32[S], values in 0..M-1.

        Raises:
          ValueError: A level is unknown or `parent_level` is the finer of the two.

        >>> load_taxonomy("psoriasis9").parents("disease", "relation").tolist()
        [0, 1, 1, 1, 1, 2, 2, 2, 2]
        """
        child, parent = self.depth(child_level), self.depth(parent_level)
        if parent > child:
            raise ValueError(
                f"parent_level must not be finer than child_level, got child_level={child_level!r}, "
                f"parent_level={parent_level!r} of levels {', '.join(self.levels)}"
            )
        above = {path[child]: path[parent] for path in self.paths}
        index = {name: i for i, name in enumerate(self._classes[parent])}
        return np.array([index[above[name]] for name in self._classes[child]], dtype=np.int32)

    def membership(self, child_level: str, parent_level: str) -> npt.NDArray[np.float32]:
        """Returns `parents` as a 0/1 matrix, which sums sub-classes into meta-classes: `membership @ sub_probs`.

        Returns:
          float32[M, S], each column holding a single 1.

        Raises:
          ValueError: As `parents`.
        """
        parents = self.parents(child_level, parent_level)
        count = len(self.classes(parent_level))
        return np.equal(np.arange(count)[:, None], parents[None, :]).astype(np.float32)

    def encode(self, labels: Iterable[str], level: str | None = None) -> npt.NDArray[np.int32]:
        """Class names as indices into `classes(level)`.

        Args:
          labels: N class names.
          level: A level's name; the finest by default.

        Returns:
          int32[N].

        Raises:
          ValueError: Naming the unknown labels, with the nearest spelling.

        >>> load_taxonomy("pad_ufes_20").encode(["ACK", "NEV"]).tolist()
        [2, 0]
        """
        index = {name: i for i, name in enumerate(self.classes(level))}
        names = [str(label) for label in labels]
        unknown = Counter(name for name in names if name not in index)
        if unknown:
            shown = "; ".join(
                f"{name!r} ({n} times)" + self.hint(name, level) for name, n in unknown.most_common(10)
            )
            more = f"; {len(unknown) - 10} more" if len(unknown) > 10 else ""
            raise ValueError(
                f"labels not in level {level or self.finest!r} of taxonomy {self.name!r}: {shown}{more}"
            )
        return np.fromiter((index[name] for name in names), np.int32, len(names))

    def hint(self, label: str, level: str | None = None) -> str:
        """Returns `", did you mean '...'?"` where a class is spelled much like `label`, else an empty string.

        >>> load_taxonomy("synthetic19").hint("Psoriasis ")
        ", did you mean 'psoriasis'?"
        """
        spelled = {_plain(name): name for name in reversed(self.classes(level))}
        # A name with a comma is parted by a flag of several names.
        parted = [name for name in self.classes(level) if _plain(label) in map(_plain, name.split(",")[:-1])]
        near = difflib.get_close_matches(_plain(label), spelled, n=1, cutoff=0.7)
        if not near and not parted:
            return ""
        found = spelled[near[0]] if near and not (parted and spelled[near[0]] not in parted) else parted[0]
        if found in parted:
            return f", did you mean {found!r}? (In a flag put a name with a comma in double quotes: '\"{found}\"')"
        same = unicodedata.normalize("NFC", found) == unicodedata.normalize("NFC", label)
        form = " (the same letters in another Unicode form, NFC or NFD)" if same and found != label else ""
        return f", did you mean {found!r}{form}?"

    def title(self, class_name: str) -> str:
        """Returns a class's name for people: its entry in `titles`, else the name with spaces and a capital.

        >>> load_taxonomy("ham10000").title("akiec"), load_taxonomy("synthetic19").title("lichen_planus")
        ("Actinic keratosis and Bowen's disease", 'Lichen planus')
        """
        title = dict(self.titles).get(class_name)
        if title is not None:
            return title
        words = class_name.replace("_", " ")
        return words[:1].upper() + words[1:]

    @functools.cached_property
    def _classes(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(dict.fromkeys(column)) for column in zip(*self.paths, strict=True))


def catalogue() -> tuple[str, ...]:
    """Returns names of the taxonomies that come with the library, in alphabetical order.

    >>> catalogue()
    ('fitzpatrick17k', 'ham10000', 'isic2019', 'pad_ufes_20', 'psoriasis9', 'synthetic19', 'tumours10')
    """
    return tuple(sorted(path.stem for path in _CATALOGUE.glob("*.json")))


def load_taxonomy(name_or_path: str | Path | Taxonomy) -> Taxonomy:
    """Returns a taxonomy by its catalogue name, or from a `.json` or `.csv` (`.tsv`, `.csv.gz`, `.xlsx`) file.

    A CSV's taxonomy is named after the file. A taxonomy is returned as it is.

    Raises:
      ValueError: There is neither such a catalogue name nor such a file, or the file is not a valid
        taxonomy; the message starts with the file's path.

    >>> taxonomy = load_taxonomy("synthetic19")
    >>> len(taxonomy.classes("sub")), len(taxonomy.classes("meta"))
    (19, 6)
    """
    if isinstance(name_or_path, Taxonomy):
        return name_or_path
    if str(name_or_path) in catalogue():
        return _load_catalogue(str(name_or_path))
    path = Path(name_or_path)
    if not path.is_file():
        names = ", ".join(catalogue())
        raise ValueError(f"taxonomy {str(name_or_path)!r} is neither a file nor in the catalogue ({names})")
    ending = path.suffix.lower()
    if ending not in (".json", *_TABLES):
        raise ValueError(f"{path}: a taxonomy file must end in .json or .csv, got {path.suffix!r}")
    try:
        if ending == ".json":
            return _from_json(path.read_text(encoding="utf-8-sig"))
        return _from_csv(read_delimited(path).records(), Path(path.name.removesuffix(".gz")).stem)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {not_utf8(path.read_bytes())}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@functools.cache
def _load_catalogue(name: str) -> Taxonomy:
    return _from_json((_CATALOGUE / f"{name}.json").read_text(encoding="utf-8"))


def _from_json(text: str) -> Taxonomy:
    document = json.loads(text, object_pairs_hook=_refuse_repeated_keys)
    if not isinstance(document, dict):
        raise ValueError(f"a taxonomy must be a JSON object, got {type(document).__name__}")
    return Taxonomy.from_dict(document)


def _refuse_repeated_keys(items: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = [key for key, count in Counter(key for key, _ in items).items() if count > 1]
    if repeated:
        raise ValueError(f"repeated JSON keys {', '.join(map(repr, repeated))}")
    return dict(items)


def _from_csv(rows: Sequence[Sequence[str]], name: str) -> Taxonomy:
    if len(rows) < 2:
        raise ValueError("a taxonomy CSV needs a header with the level names and at least one row of classes")
    longer = [row for row in rows if len(row) > len(rows[0])]
    if longer:
        raise ValueError(
            f"the header has {len(rows[0])} cells, but the row of {longer[0][-1]!r} has {len(longer[0])}; put a name "
            'that holds the delimiter in double quotes, such as "Melanoma, NOS"'
        )
    cells = [tuple(row) for row in rows]
    return Taxonomy(name, cells[0], tuple(cells[1:]))


def _plain(name: str) -> str:
    name = unicodedata.normalize("NFKC", name)
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _problems(taxonomy: Taxonomy) -> list[str]:
    """Returns everything that is wrong with a taxonomy's fields, as sentences."""
    levels, paths = taxonomy.levels, taxonomy.paths
    strings = [taxonomy.name, taxonomy.source, taxonomy.licence, *levels]
    strings += [cell for path in paths for cell in path] + [cell for pair in taxonomy.titles for cell in pair]
    wrong_type = next((cell for cell in strings if not isinstance(cell, str)), None)
    if wrong_type is not None:
        return [f"names, titles, source and licence are text, got {wrong_type!r}"]
    if not levels or not paths:
        return ["needs at least one level and one class"]
    problems = []
    problems += [f"level {name!r} appears twice" for name, n in Counter(levels).items() if n > 1]
    for name in dict.fromkeys((*levels, *(cell for path in paths for cell in path))):
        if not name.strip():
            problems.append(f"a level or class has an empty name (paths {_where(paths, name)})")
        elif name != name.strip() or not name.isprintable():
            problems.append(f"name {name!r} has spaces around it or characters that cannot be printed")
    # "<level>:p_<class>" is a column of the predictions file.
    problems += [f"level name {name!r} contains ':'" for name in levels if ":" in name]
    orphans = [path for path in paths if len(path) != len(levels)]
    for path in orphans[:10]:
        problems.append(
            f"orphan: path {path!r} has {len(path)} names for the {len(levels)} levels {', '.join(levels)}"
        )
    if orphans:
        return problems
    finest = Counter(path[-1] for path in paths)
    for name, count in finest.items():
        if count > 1 and len({path for path in paths if path[-1] == name}) == 1:
            problems.append(f"class {name!r} appears {count} times")
    for depth in range(1, len(levels)):
        above: dict[str, dict[str, None]] = {}
        for path in paths:
            above.setdefault(path[depth], {})[path[depth - 1]] = None
        problems += [
            f"class {name!r} of level {levels[depth]!r} has the parents {' and '.join(map(repr, found))}"
            for name, found in above.items()
            if len(found) > 1
        ]
    known = {cell for path in paths for cell in path}
    problems += [f"title for unknown class {name!r}" for name, _ in taxonomy.titles if name not in known]
    titled = Counter(name for name, _ in taxonomy.titles)
    problems += [f"class {name!r} has {count} titles" for name, count in titled.items() if count > 1]
    return problems


def _where(paths: Sequence[Sequence[str]], name: str) -> str:
    return ", ".join(str(i + 1) for i, path in enumerate(paths) if name in path)
