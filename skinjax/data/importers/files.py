"""Finding a data set's photos and tables, in whichever folders its archives were unpacked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Endings of files that are taken for photos, in lower case."""


def walk_photos(root: Path) -> Iterator[str]:
    """Paths of all photos below `root`, relative and with `/`, in sorted order of folders and names.

    Hidden files and folders and `__MACOSX`, which archives made on a Mac hold, are passed over, and so are
    links to folders.
    """
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith((".", "__MACOSX")))
        place = Path(folder).relative_to(root)
        for file in sorted(files):
            if file.lower().endswith(PHOTO_SUFFIXES) and not file.startswith("."):
                yield (place / file).as_posix()


def find_photos(root: Path, folders: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Where each photo is, by its name without ending.

    Args:
      root: Folder to look below.
      folders: Names of the folders that hold the data set's photos, the preferred one first; all of `root` is
        searched where there is none of them.

    Returns:
      Name without ending -> path relative to `root`; and the names that stand at several places, of which the
      preferred, then the first in sorted order, was taken.
    """
    ranked: list[tuple[int, str]] = []
    for path in walk_photos(root):
        parents = path.split("/")[:-1]
        ranked.append((min((i for i, f in enumerate(folders) if f in parents), default=len(folders)), path))
    if any(rank < len(folders) for rank, _ in ranked):
        ranked = [pair for pair in ranked if pair[0] < len(folders)]
    found: dict[str, str] = {}
    several: dict[str, None] = {}
    for _, path in sorted(ranked):
        stem = path.rpartition("/")[2].rpartition(".")[0]
        if stem in found:
            several[stem] = None
        found.setdefault(stem, path)
    return found, list(several)


def find_table(root: Path, dataset: str, names: Sequence[str]) -> Path:
    """The first of the named files that is in `root` or, failing that, anywhere below it.

    Raises:
      ValueError: If there is none.
    """
    for name in names:
        if (root / name).is_file():
            return root / name
    for name in names:
        below = sorted(root.rglob(name))
        if below:
            return below[0]
    raise ValueError(
        f"{root}: {dataset} needs its table {' or '.join(names)}, and there is none in the folder"
    )
