"""Names that differ in spelling alone: ids by case, zeros or Unicode form, labels by case or abbreviation."""

from __future__ import annotations

import collections
import functools
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from skinjax.labels.taxonomy import Taxonomy, catalogue, load_taxonomy

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MISSING",
    "MISSING_NAMES",
    "alike",
    "alike_ids",
    "alike_labels",
    "as_classes",
    "as_commonest",
    "class_hint",
    "class_key",
    "id_key",
    "name_key",
    "near_id",
    "unknown",
]

MISSING = ("na", "n/a", "#n/a", "<na>", "nan", "null")
"""Cells that mean a missing value in any column, in lower case: of R, pandas, databases and spreadsheets."""

MISSING_NAMES = (*MISSING, "none", "-")
"""The same of columns in which nothing can be called none, such as ids and ages."""


def name_key(name: str) -> str:
    """Returns what a file's name has in common with its spellings in other case or Unicode form."""
    letters = unicodedata.normalize("NFKC", name).casefold()
    if not letters.isascii():  # without marks of no width
        letters = "".join(letter for letter in letters if unicodedata.category(letter) != "Cf")
    return " ".join(letters.split())


def id_key(name: str) -> str:
    """Returns what an id has in common with its spellings by case, zero-padding, `.0` or Unicode form.

    >>> id_key("PAT_007") == id_key("pat_7"), id_key("12.0") == id_key("12"), id_key("1") == id_key("10")
    (True, True, False)
    """
    key = re.sub(r"(?<=\d)\.0+$", "", name_key(name))
    return re.sub(r"(?<!\d)0+(?=\d)", "", key)


def alike(names: Iterable[str], key: Callable[[str], str]) -> list[tuple[str, ...]]:
    """Returns the groups of different names that share a key, in order of first appearance.

    >>> alike(["b", "a", "A", "a"], str.casefold)
    [('a', 'A')]
    """
    groups: dict[str, list[str]] = collections.defaultdict(list)
    for name in dict.fromkeys(names):
        groups[key(name)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def alike_ids(ids: Iterable[str]) -> str:
    """Returns a sentence about ids that may be of one case; empty where there are none.

    >>> print(alike_ids(["PAT_1", "pat_1", "2"]))  # doctest: +ELLIPSIS
    1 case id is spelled in several ways, by letter case, zeros, '.0' or ... such as 'PAT_1' and 'pat_1'.
    """
    different = [name for name in dict.fromkeys(ids) if name.lower() not in MISSING_NAMES]
    groups = [] if _keys_differ(different) else alike(different, id_key)
    if not groups:
        return ""
    some = "1 case id is" if len(groups) == 1 else f"{len(groups):,} case ids are"
    return (
        f"{some} spelled in several ways, by letter case, zeros, '.0' or Unicode form, and each spelling counts as a "
        f"case of its own, such as {_quoted(groups[0])}."
    )


def _keys_differ(ids: Sequence[str]) -> bool:
    """Says of many plain ids at once whether no two share `id_key`; False where that is not known."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    keys = pa.array(ids, pa.large_string())
    if pc.all(pc.string_is_ascii(keys)).as_py() is not True:
        return False
    keys = pc.replace_substring_regex(pc.utf8_lower(keys), r"\s+", " ")
    keys = pc.replace_substring_regex(keys, r"([0-9])\.0+$", r"\1")
    keys = pc.replace_substring_regex(keys, r"(^|[^0-9])0+([0-9])", r"\1\2")
    return len(pc.unique(keys)) == len(ids)


def near_id(ids: Iterable[str]) -> Callable[[object], str]:
    """Returns a function that gives `", did you mean '...'?"` for an unknown id that is spelled like one of these."""
    known = {id_key(name): name for name in ids}

    def hint(name: object) -> str:
        found = known.get(id_key(str(name)))
        return f", did you mean {found!r}?" if found is not None else ""

    return hint


def alike_labels(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Returns groups of labels that are one diagnosis in several spellings.

    Spellings by case, blanks, `_`, `-`, Unicode form, `ae` for `e`, whole floats; an abbreviation of initials; and the
    short names of the catalogue beside their titles.

    >>> alike_labels(["BCC", "Nevus", "basal cell carcinoma", "naevus", "melanoma"])
    [('BCC', 'basal cell carcinoma'), ('Nevus', 'naevus')]
    """
    there = list(dict.fromkeys(labels))
    plain = {name: _label_key(name) for name in there}
    known = set(plain.values())
    initials = {"".join(word[0] for word in key.split()): key for key in known if len(key.split()) > 2}

    def key(name: str) -> str:
        own = plain[name]
        titles = _titles().get(own, ())
        full = next((title for title in titles if title in known), None) or initials.get(own)
        return full if full is not None else own

    return alike(there, key)


def class_key(name: str) -> str:
    """Returns what a class's name has in common with its spellings by case, blanks, Unicode form, or `_` and `-` in it.

    >>> class_key(" Basal-cell  carcinoma") == class_key("basal_cell_Carcinoma")
    True
    >>> class_key("HER2-") == class_key("HER2")
    False
    """
    return re.sub(r"(?<=[^\W_])[_\-]+(?=[^\W_])", " ", name_key(name))


def as_classes(
    names: Iterable[str], classes: Collection[str], titles: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Returns the names that are a class but for case, blanks, `_`, `-` or Unicode form, each with that class.

    Args:
      names: Names as given.
      classes: Names as they must be; of two that are spelled so much alike none is found.
      titles: Class -> its name for people, which stands for the class too where no class is called so.

    >>> as_classes(["NEVUS ", "mel", "Melanoma", "x"], ["nevus", "mel"], {"mel": "melanoma"})
    {'NEVUS ': 'nevus', 'Melanoma': 'mel'}
    """
    keys: dict[str, list[str]] = collections.defaultdict(list)
    for name in classes:
        keys[class_key(name)].append(name)
    known = set(keys)
    for name, title in (titles or {}).items():
        if name in classes and class_key(title) not in known:
            keys[class_key(title)].append(name)
    single = {key: found[0] for key, found in keys.items() if len(found) == 1}
    there = set(classes)
    return {
        name: single[class_key(name)]
        for name in dict.fromkeys(names)
        if name not in there and class_key(name) in single
    }


def class_hint(label: str, taxonomy: Taxonomy) -> str:
    """Returns `", did you mean '...'?"` where a label is spelled much like a class or is its other name, else nothing.

    Args:
      label: A label that is no class.
      taxonomy: Whose finest classes the labels must be.

    >>> class_hint("Actinic keratosis", Taxonomy.from_pairs([("malignant", "AK"), ("benign", "NV")]))
    ", did you mean 'AK'?"
    """
    near = taxonomy.hint(label)
    classes = set(taxonomy.classes())
    meant = [
        name
        for group in alike_labels([*classes, label])
        if label in group
        for name in group
        if name in classes
    ]
    return near if near or len(meant) != 1 else f", did you mean {meant[0]!r}?"


def as_commonest(labels: pd.Series) -> dict[str, str]:
    """Returns labels that differ from a commoner one by case, blanks, `_`, `-` or Unicode form alone, with that one.

    Args:
      labels: Text; empty cells are none.

    >>> import pandas as pd
    >>> as_commonest(pd.Series(["Nevus", "nevus", "Nevus", "wart"], dtype=str))
    {'nevus': 'Nevus'}
    """
    counts = labels[labels != ""].value_counts()
    order = sorted(counts.index, key=lambda name: (-counts[name], name))
    chosen: dict[str, str] = {}
    for name in order:
        chosen.setdefault(class_key(name), name)
    return {name: chosen[class_key(name)] for name in order if chosen[class_key(name)] != name}


def unknown(
    column: pd.Series, words: Collection[str] = (), missing: Collection[str] = MISSING_NAMES
) -> pd.Series:
    """Returns a text column, its cells stripped, with words that only say that a value is missing as the empty string.

    Args:
      column: Text.
      words: What the column may hold; a word that is one of them, whatever its letter case, stays.
      missing: The words, in lower case: `MISSING_NAMES`, or `MISSING` where a value may be called none.

    >>> import pandas as pd
    >>> unknown(pd.Series([" a ", "NA", "NULL", "none", ""], dtype=str)).tolist()
    ['a', '', '', '', '']
    >>> unknown(pd.Series(["None", "nan"], dtype=str), ["none"]).tolist()
    ['None', '']
    """
    stripped = column.str.strip()
    gone = set(missing) - {word.lower() for word in words}
    return stripped.where(~stripped.str.lower().isin(gone), "")


def as_named(column: pd.Series, names: Collection[str]) -> pd.Series:
    """Returns a text column whose whole floats are written as the names are: `2.0` as `2`, where that is a name.

    Args:
      column: Text.
      names: What the column should hold.

    >>> import pandas as pd
    >>> as_named(pd.Series(["2.0", "3", "x"], dtype=str), ["2", "3"]).tolist()
    ['2', '3', 'x']
    """
    cells = [cell for cell in column.unique() if cell not in names]
    short = {_whole(name): name for name in names if _whole(name)}
    renamed = {cell: short[_whole(cell)] for cell in cells if _whole(cell) in short}
    return column.replace(renamed) if renamed else column


def _whole(text: str) -> str:
    """Returns a whole number's digits, `2` for `2`, `2.0` and `2,0`; empty for other text."""
    match = re.fullmatch(r"(\d+)(?:[.,]0*)?", text)
    return match[1] if match else ""


def _label_key(name: str) -> str:
    key = " ".join(re.sub(r"[_\-]", " ", id_key(name)).split())
    return key.replace("ae", "e").replace("oe", "e").replace("tumour", "tumor")


@functools.cache
def _titles() -> dict[str, tuple[str, ...]]:
    """Short class names of the catalogue -> their titles, both as keys."""
    titles: dict[str, dict[str, None]] = collections.defaultdict(dict)
    for name in catalogue():
        for label, title in load_taxonomy(name).titles:
            if _label_key(label) != _label_key(title):
                titles[_label_key(label)][_label_key(title)] = None
    return {label: tuple(found) for label, found in titles.items()}


def spelled(name: str, others: Iterable[str]) -> str:
    """Returns a name in quotes, by its code points where another of them looks the same in another Unicode form."""
    form = unicodedata.normalize("NFC", name)
    same = any(unicodedata.normalize("NFC", other) == form for other in others if other != name)
    return ascii(name) if same else repr(name)


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(spelled(name, names) for name in names)
