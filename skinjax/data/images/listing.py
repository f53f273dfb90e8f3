"""Photos of a folder: files named like a photo, and those that are passed over, for a warning to name."""

from __future__ import annotations

import collections
import dataclasses
import os
from pathlib import Path

from skinjax.data.images.headers import FORMATS

__all__ = ["ENDINGS", "Listing", "list_photos"]

ENDINGS = tuple(sorted(ending for endings in FORMATS.values() for ending in endings))
"""Endings of files that are taken for photos, in lower case."""

_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Listing:
    """Files below a folder; paths are relative to it, with `/`, in sorted order.

    Attributes:
      photos: Files that are called like a photo.
      passed: Other files. Hidden ones, and those that systems leave behind, are in neither list.
      links: Links to folders, which are not followed.
      bare: Folders without a photo in or below them.
    """

    photos: tuple[str, ...]
    passed: tuple[str, ...]
    links: tuple[str, ...]
    bare: tuple[str, ...]

    def told(self) -> list[str]:
        """Returns sentences about what is passed over; none where nothing is."""
        sentences = []
        if self.passed:
            kinds: dict[str, list[str]] = collections.defaultdict(list)
            for path in self.passed:
                kinds[Path(path).suffix.lower() or "without an ending"].append(path)
            ranked = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
            shown = [f"{len(paths):,} {ending} (such as {paths[0]})" for ending, paths in ranked[:_SHOWN]]
            shown += [f"{len(ranked) - _SHOWN} more kinds"] if len(ranked) > _SHOWN else []
            some = "1 file is" if len(self.passed) == 1 else f"{len(self.passed):,} files are"
            sentences.append(f"{some} not called like a photo and passed over: {', '.join(shown)}.")
        for paths, what in (
            (self.links, "not followed, being a link: give the place that it leads to, or copy it"),
            (self.bare, "without a photo"),
        ):
            if paths:
                some = "1 folder is" if len(paths) == 1 else f"{len(paths):,} folders are"
                more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
                sentences.append(f"{some} {what}: {', '.join(paths[:_SHOWN])}{more}.")
        return sentences


def list_photos(root: Path) -> Listing:
    """Lists the files below a folder, at any depth.

    Hidden files and folders, and what systems leave behind (`__MACOSX`, `Thumbs.db`, `desktop.ini`), are not looked
    at, and links to folders are not followed.

    Args:
      root: The folder; it may itself be a link.
    """
    photos: list[str] = []
    passed: list[str] = []
    links: list[str] = []
    folders: list[str] = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith((".", "__MACOSX")))
        place = Path(folder).relative_to(root)
        for name in names:
            inside = (place / name).as_posix()
            (links if os.path.islink(os.path.join(folder, name)) else folders).append(inside)
        for file in sorted(files):
            if not file.startswith(".") and file.lower() not in ("thumbs.db", "desktop.ini"):
                inside = (place / file).as_posix()
                (photos if file.lower().endswith(ENDINGS) else passed).append(inside)
    full = {str(parent) for path in photos for parent in Path(path).parents}
    bare = [folder for folder in folders if str(Path(folder)) not in full]
    return Listing(tuple(photos), tuple(passed), tuple(links), tuple(bare))
