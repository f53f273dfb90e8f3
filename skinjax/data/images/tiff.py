"""TIFF directories: those of TIFF photos, and the ones in which EXIF stands inside the other formats.

Pillow reads both, but of a damaged directory it warns and goes on, and a warning can neither be told from a
finding nor be silenced for one thread. So a directory is walked here first:

- `exif_orientation` says which way the camera was held, and whether the EXIF block is damaged.
- `open_tiff` refuses a directory that Pillow would warn about, says that the pixels lie behind the end of the
  file (the C library below Pillow gives only a number), and counts pages without reading them.

References:
  TIFF 6.0 (Adobe 1992), CIPA DC-008 (EXIF).
"""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

from PIL import TiffImagePlugin

from skinjax.data.images.headers import PhotoError, Stored

__all__ = ["exif_orientation", "open_tiff"]

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_ORIENTATION = 0x0112
_INTEGERS = {3: "H", 4: "I", 8: "h", 9: "i"}
# Tags that Pillow reads as one number, and warns about where there are several.
_SCALARS = (256, 257, 259, 262, 266, 277, 278, 284, 317, 322, 323)
_MAX_SAMPLES = 6  # Pillow reads no more, and writes a line into the log
# Tags that the decoder does without: orientation, which is applied later, and resolution.
_NOT_PIXELS = (_ORIENTATION, 282, 283, 296)


class _Entry(NamedTuple):
    type: int
    number: int
    start: int  # of the value in the file
    size: int


def _directory(data: bytes, offset: int, order: str) -> dict[int, _Entry]:
    """Reads the entries of one directory, by tag."""
    (count,) = struct.unpack_from(order + "H", data, offset)
    entries: dict[int, _Entry] = {}
    for place in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, place)
        size = _TYPE_BYTES.get(kind, 1) * number
        start = place + 8 if size <= 4 else struct.unpack_from(order + "I", data, place + 8)[0]
        entries.setdefault(tag, _Entry(kind, number, start, size))
    return entries


def exif_orientation(exif: bytes) -> tuple[int, str]:
    r"""Finds the orientation in an EXIF block, as far as the block can be read.

    Args:
      exif: The block, with or without its leading mark `Exif`; some programs write the mark twice.

    Returns:
      The orientation, 1 (upright) to 8, and 1 where there is none; and the word "EXIF" if the block is
      damaged, else an empty string.

    >>> exif_orientation(b"Exif\0\0II*\0\x08\0\0\0")
    (1, 'EXIF')
    """
    exif = exif.removeprefix(b"Exif\0\0").removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1, "EXIF"
    try:
        entries = _directory(exif, struct.unpack_from(order + "I", exif, 4)[0], order)
        damaged = any(entry.start + entry.size > len(exif) for entry in entries.values())
        orientation, damage = _orientation(exif, entries, order)
    except struct.error:
        return 1, "EXIF"
    return orientation, "EXIF" if damaged else damage


def _orientation(data: bytes, entries: dict[int, _Entry], order: str) -> tuple[int, str]:
    entry = entries.get(_ORIENTATION)
    # As Pillow does: a list counts by its first number, a byte does not.
    if entry is None or entry.number < 1 or entry.type not in _INTEGERS:
        return 1, ""
    (value,) = struct.unpack_from(order + _INTEGERS[entry.type], data, entry.start)
    # Some cameras write 0 for "not known".
    return (value, "") if 1 <= value <= 8 else (1, "EXIF" if value else "")


class _TiffFile(TiffImagePlugin.TiffImageFile):
    """The first page of a TIFF photo as it is stored: neither turned nor searched for what is not pixels."""

    def _setup(self) -> None:
        for tag in _NOT_PIXELS:
            del self.tag_v2[tag]
        if self.tag_v2.get(277, 1) > _MAX_SAMPLES:
            raise PhotoError("damaged", "claims more channels than a photo has")
        super()._setup()

    def load_end(self) -> None:
        """Leaves the pixels as they are, where Pillow would turn them and read EXIF, GPS and XMP."""


def open_tiff(data: bytes) -> Stored:
    """Opens the first page of a TIFF photo and counts the pages.

    Args:
      data: The whole file.

    Returns:
      The page, not yet decoded.

    Raises:
      PhotoError: The directory does not add up, or the pixels lie behind the end of the file.
      struct.error: The file ends inside the directory.
    """
    order = "<" if data[:2] == b"II" else ">"
    (offset,) = struct.unpack_from(order + "I", data, 4)
    entries = _directory(data, offset, order)
    for tag, entry in entries.items():
        if entry.start + entry.size > len(data):
            raise PhotoError("truncated", f"ends early: the value of TIFF tag {tag} lies behind the end")
    if sum(entry.size for entry in entries.values()) > len(data):
        raise PhotoError("damaged", "claims more in its TIFF directory than the file holds")
    if any(entries[tag].number != 1 for tag in _SCALARS if tag in entries):
        raise PhotoError("damaged", "has a list in its TIFF directory where one number belongs")
    pages = {offset}
    following = _following(data, offset, order)
    while following and following not in pages:
        try:
            after = _following(data, following, order)
        except struct.error:
            break
        pages.add(following)
        following = after
    image = _TiffFile(io.BytesIO(data))
    for where, length in ((273, 279), (324, 325)):
        pieces = zip(image.tag_v2.get(where, ()), image.tag_v2.get(length, ()), strict=False)
        if any(start + size > len(data) for start, size in pieces):
            raise PhotoError("truncated", "ends early: part of the pixels lies behind its end")
    orientation, damage = _orientation(data, entries, order)
    return Stored(
        image,
        bits=max(image.tag_v2.get(258, (1,))),
        orientation=orientation,
        frames=len(pages),
        profile=image.info.get("icc_profile", b""),
        damage="later TIFF pages" if following else damage,
    )


def _following(data: bytes, offset: int, order: str) -> int:
    """Returns where the directory after the one at `offset` begins, 0 after the last."""
    (count,) = struct.unpack_from(order + "H", data, offset)
    return int(struct.unpack_from(order + "I", data, offset + 2 + 12 * count)[0])
