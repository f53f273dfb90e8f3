"""Finding a data set's photos and tables, in whichever folders its archives were unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skinjax.data.images.listing import list_photos


def find_photos(root: Path, folders: Sequence[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Finds each photo by its name without ending.

    Args:
      root: Folder to look below.
      folders: Names of the folders that hold the data set's photos, the preferred one first; all of `root` is
        searched where there is none of them.

    Returns:
      Name without ending -> path relative to `root`; the names that stand at several places, of which the preferred,
      then the first in sorted order, was taken; and the linked folders, which are not followed.
    """
    ranked: list[tuple[int, str]] = []
    listing = list_photos(root)
    for path in listing.photos:
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
    return found, list(several), list(listing.links)


def find_table(root: Path, dataset: str, names: Sequence[str]) -> Path:
    """Finds the first of the named files that is in `root` or, failing that, anywhere below it.

    Raises:
      ValueError: There is none.
    """
    for name in names:
        if (root / name).is_file():
            return root / name
    for name in names:
        below = sorted(root.rglob(name))
        if below:
            return below[0]
    raise ValueError(
        f"source of {dataset} must hold its table {' or '.join(names)}, got {root}, which has none"
    )
