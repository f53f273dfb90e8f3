"""Groups the photos of a batch by case: by their folder, by the first part of their name, or each by itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

Grouping = Literal["folder", "name", "photo"]
"""Ways of grouping."""

_PARTS = re.compile(r"^(.+?)(?:[ _.\-]+\d+|[ _\-]*\(\d+\)|[ _\-]+[a-z])$", re.IGNORECASE)


def group_photos(names: Sequence[str], by: str) -> list[tuple[str, list[int]]]:
    """Returns the cases of photos.

    Args:
      names: Names of the files, with folders parted by "/" where they are known.
      by: "folder": photos of one folder, and photos without a folder each by itself; "name": names that differ in a
        number or letter at their end alone, within a folder; "photo": each by itself.

    Returns:
      Name of the case and places of its photos in `names`, cases in the order in which they first occur.

    Raises:
      ValueError: Another way of grouping.

    Example:
      >>> group_photos(["day/anna/1.jpg", "day/anna/2.jpg", "day/ben/1.jpg"], "folder")
      [('anna', [0, 1]), ('ben', [2])]
      >>> group_photos(["p7_1.jpg", "p7_2.jpg", "p12 (1).png", "p12 (2).png", "IMG-a.jpg"], "name")
      [('p7', [0, 1]), ('p12', [2, 3]), ('IMG', [4])]
    """
    if by not in get_args(Grouping):
        raise ValueError(f"by must be one of {', '.join(get_args(Grouping))}, got {by!r}")
    groups: dict[tuple[str, str, int], list[int]] = {}
    for place, name in enumerate(names):
        folder, _, last = name.replace("\\", "/").rpartition("/")
        stem = last.rpartition(".")[0] or last
        if by == "folder" and folder:
            key = (folder, "", -1)
        elif by == "name":
            found = _PARTS.match(stem)
            key = (folder, found.group(1).rstrip(" _.-") or stem if found else stem, -1)
        else:
            key = (folder, last, place)
        groups.setdefault(key, []).append(place)
    names_of_cases = _short([(folder, name) for folder, name, _ in groups])
    return list(zip(names_of_cases, groups.values(), strict=True))


def _short(keys: list[tuple[str, str]]) -> list[str]:
    """Returns names of cases, without the folders that all begin with, so that they are called as people call them."""
    parts = [folder.split("/") for folder, _ in keys if folder]
    common = 0
    while parts and all(len(one) > common + 1 and one[common] == parts[0][common] for one in parts):
        common += 1
    short = [("/".join(folder.split("/")[common:]) if folder else "", name) for folder, name in keys]
    counts = Counter(name for _, name in short)
    return [
        f"{folder}/{name}" if name and folder and counts[name] > 1 else name or folder
        for folder, name in short
    ]
