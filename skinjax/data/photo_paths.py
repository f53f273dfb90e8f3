"""Paths of photos in a table: made relative to the photos' folder, one name per photo, and none that leaves it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_listed", "as_stored", "folder_of", "path_faults", "relative_paths", "tidy"]

_OUTSIDE = (
    (r"^/", "with an absolute path; it must be relative to the photos' folder, or below it"),
    (
        r"^[A-Za-z][A-Za-z0-9+.\-]*:",
        "with a drive or an address; it must be a path below the photos' folder",
    ),
    (r"(?:^|/)\.\.(?:/|$)", "with '..', which may leave the photos' folder"),
    (r"[\x00-\x1f]", "with a control character in the path"),
)


def relative_paths(image: pd.Series, root: str | os.PathLike[str] | None = None) -> pd.Series:
    r"""Returns paths with `/` between folders, absolute ones below a folder relative to it, others as they are.

    Args:
      image: Text.
      root: The photos' folder; None leaves absolute paths alone.

    >>> import pandas as pd
    >>> relative_paths(pd.Series(["a\\1.png", "/data/b/2.png", "/other/3.png"], dtype=str), "/data").tolist()
    ['a/1.png', 'b/2.png', '/other/3.png']
    """
    if image.str.contains("\\", regex=False).any():
        image = image.str.replace("\\", "/", regex=False)
    if root is None or not image.str.contains(r"^(?:/|[A-Za-z]:/)", regex=True).any():
        return image
    places = {Path(os.path.abspath(root)).as_posix(), Path(os.path.realpath(root)).as_posix()}
    for place in sorted(places, key=len, reverse=True):
        start = place.rstrip("/") + "/"
        below = image.str.startswith(start)
        image = image.where(~below, image.str.slice(len(start)))
    return image


def as_listed(image: pd.Series, known: Collection[str]) -> pd.Series:
    """Returns absolute paths that end in a known path as that path, the longest of several; others as they are.

    Args:
      image: Text.
      known: Paths of the photos.

    >>> import pandas as pd
    >>> as_listed(pd.Series(["/data/a/1.png", "D:/1.png", "/2.png"], dtype=str), ["a/1.png", "1.png"]).tolist()
    ['a/1.png', '1.png', '/2.png']
    """
    there = set(known)
    found = {}
    for cell in image[image.str.contains(r"^(?:/|[A-Za-z]:/)", regex=True)].unique() if there else ():
        parts = cell.split("/")
        ends = ("/".join(parts[place:]) for place in range(1, len(parts)))
        if end := next((end for end in ends if end in there), ""):
            found[cell] = end
    return image.replace(found) if found else image


def as_stored(image: pd.Series, folder: str | os.PathLike[str]) -> pd.Series:
    """Returns absolute paths of another disk as the path that they end in below a folder; others as they are.

    Of `C:/Users/clinic/photos/1.jpg` the longest end that is a file below the folder is taken, `photos/1.jpg` before
    `1.jpg`. A path that exists as it is stays.

    Args:
      image: Text, with `/` between folders.
      folder: The photos' folder.

    >>> import pandas as pd
    >>> as_stored(pd.Series(["D:/photos/1.png"], dtype=str), "no_such_folder").tolist()
    ['D:/photos/1.png']
    """
    listed: dict[str, frozenset[str]] = {}

    def is_stored(path: str) -> bool:
        place, _, name = path.rpartition("/")
        if place not in listed:
            listed[place] = _files(os.path.join(folder, place))
        return name in listed[place]

    found = {}
    for cell in image[image.str.contains(r"^(?:/|[A-Za-z]:/)", regex=True)].unique():
        parts = cell.split("/")
        ends = ("/".join(parts[place:]) for place in range(1, len(parts)) if ".." not in parts)
        if os.path.exists(cell):
            continue
        if end := next((end for end in ends if end and is_stored(end)), ""):
            found[cell] = end
    return image.replace(found) if found else image


def folder_of(names: Collection[str], root: str | os.PathLike[str]) -> tuple[str, int] | None:
    """Returns the folder below a root that holds most of some files, and how many; None where none holds any.

    Args:
      names: Names of files; folders before them are ignored.
      root: Where to look. Hidden folders, links to folders, and runs, whose heat maps are called like their photos, are
        not entered.

    Returns:
      The folder's path relative to the root, with `/`, and the number of the names that it holds.
    """
    sought = {name.rpartition("/")[2] for name in names}
    best: tuple[str, int] | None = None
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if ".lock" in files:  # of a run
            folders.clear()
            continue
        count = len(sought.intersection(files))
        if count > (best[1] if best else 0):
            best = (Path(os.path.relpath(place, root)).as_posix(), count)
    return best


def _files(folder: str) -> frozenset[str]:
    """Returns the names of the files in a folder; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except (OSError, ValueError):
        return frozenset()


def path_faults(image: pd.Series, folder: Path | None) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Returns what is wrong with paths, each with the mask of its rows.

    Args:
      image: Text, as `relative_paths` returns it.
      folder: The photos' folder, whose links are looked at; None looks at no disk.

    Returns:
      Sentences that follow "2 rows", and bool[N].
    """
    faults = []
    refused = np.zeros(len(image), bool)
    for pattern, fault in _OUTSIDE:
        mask = image.str.contains(pattern, regex=True).to_numpy(bool) & ~refused
        if folder is not None and pattern == "^/":
            fault += f", which is {folder.absolute()} (source=FOLDER names another)"
        faults.append((fault, mask))
        refused |= mask
    tidied = tidy(image)
    repeated = tidied.duplicated(keep="first").to_numpy(bool) & (tidied != "").to_numpy(bool)
    faults.append(("with a photo that an earlier row lists", repeated))
    if folder is not None:
        leaving = _leaves_by_link(tidied, folder, refused)
        faults.append(("with a link that leads out of the folder", leaving))
    return faults


def tidy(image: pd.Series) -> pd.Series:
    """Returns paths without `./` and doubled slashes, so that one photo has one name."""
    untidy = image.str.contains(r"^\./|//|/\./|/$", regex=True)
    return image.where(~untidy, image.map(posixpath.normpath)) if untidy.any() else image


def _leaves_by_link(image: pd.Series, folder: Path, skip: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Returns a mask of the paths that resolve, through symbolic links, to a place outside the folder.

    Each folder is listed once, which tells links from files without a system call per photo.
    """
    root = os.path.realpath(folder)
    inside = root.rstrip(os.sep) + os.sep
    leaving = np.zeros(len(image), bool)
    codes, names = image.str.replace(r"/?[^/]*$", "", n=1, regex=True).factorize()
    for code, name in enumerate(names):
        members = np.flatnonzero((codes == code) & ~skip)
        place = os.path.join(root, *name.split("/"))
        if not members.size or not os.path.isdir(place):
            continue
        if not (os.path.realpath(place) + os.sep).startswith(inside):
            leaving[members] = True
            continue
        with os.scandir(place) as entries:
            links = {entry.name for entry in entries if entry.is_symlink()}
        if links:
            for i in members:
                base = image.iloc[i].rpartition("/")[2]
                target = os.path.realpath(os.path.join(place, base))
                leaving[i] = base in links and not target.startswith(inside)
    return leaving
