"""TIFF directories: those of TIFF photos, and the ones in which EXIF stands inside the other formats.

References:
    TIFF 6.0 (Adobe 1992), CIPA DC-008 (EXIF).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from skinjax.data.headers import Header, PhotoError

__all__ = ["exif_orientation", "read_tiff"]

_TIFF_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_ORIENTATION = 0x0112
# Tags that must hold one number for the pixels to be found.
_TIFF_SCALARS = (256, 257, 259, 262, 266, 277, 278, 284, 317, 322, 323)
_MAX_TIFF_SAMPLES = 6
# Tags hidden from the decoder: resolution, XMP, sub-directories, EXIF, GPS, interoperability.
_TIFF_HIDDEN = (282, 283, 296, 700, 330, 34665, 34853, 40965)


@dataclass(frozen=True)
class _Entry:
    position: int  # of the 12 bytes in the file
    type: int
    count: int
    start: int  # of the value in the file
    size: int


def _tiff_directory(data: bytes, offset: int, order: str) -> tuple[dict[int, _Entry], int]:
    """Reads one directory: its entries by tag, and the offset of the next directory."""
    (count,) = struct.unpack_from(order + "H", data, offset)
    entries: dict[int, _Entry] = {}
    for position in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, position)
        size = _TIFF_TYPE_BYTES.get(kind, 1) * number
        start = position + 8 if size <= 4 else struct.unpack_from(order + "I", data, position + 8)[0]
        entries.setdefault(tag, _Entry(position, kind, number, start, size))
    (following,) = struct.unpack_from(order + "I", data, offset + 2 + 12 * count)
    return entries, following


def _numbers(data: bytes, entry: _Entry, order: str) -> tuple[int, ...]:
    code = {1: "B", 3: "H", 4: "I", 13: "I"}.get(entry.type)
    if code is None:
        raise PhotoError("damaged", "has a number of the wrong type in its TIFF directory")
    return struct.unpack_from(f"{order}{min(entry.count, 65535)}{code}", data, entry.start)


def _byte_order(data: bytes) -> str:
    return "<" if data[:2] == b"II" else ">"


def exif_orientation(exif: bytes) -> tuple[int, str]:
    r"""Finds the orientation in an EXIF block, as far as the block can be read.

    Args:
        exif: the block, with or without its leading `Exif`.

    Returns:
        The orientation, 1 (upright) to 8, and 1 where there is none; and the word "EXIF" if the block is
        damaged, else an empty string.

    >>> exif_orientation(b"Exif\0\0II*\0\x08\0\0\0")
    (1, 'EXIF')
    """
    exif = exif.removeprefix(b"Exif\0\0")
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return 1, "EXIF"
    order = _byte_order(exif)
    try:
        (offset,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, offset)
        value, damage = 1, ""
        for position in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", exif, position)
            size = _TIFF_TYPE_BYTES.get(kind, 1) * number
            start = position + 8 if size <= 4 else struct.unpack_from(order + "I", exif, position + 8)[0]
            if start + size > len(exif):
                damage = "EXIF"
            if tag == _ORIENTATION and kind in (1, 3, 4) and number == 1:
                (value,) = struct.unpack_from(order + {1: "B", 3: "H", 4: "I"}[kind], exif, start)
    except struct.error:
        return 1, "EXIF"
    # Some cameras write 0 for "not known".
    return (value, damage) if 1 <= value <= 8 else (1, damage if value == 0 else "EXIF")


def read_tiff(data: bytes) -> Header:
    """Reads a TIFF photo's first directory, and counts the further ones.

    The payload is the file with the directory's entries for orientation, resolution, XMP and sub-directories
    made harmless: the decoder would turn the photo itself, and warn about damage in the others.

    Args:
        data: the whole file.

    Returns:
        The header.

    Raises:
        PhotoError: the directory does not add up, or the pixels lie behind the end of the file.
        struct.error: the file ends inside the directory.
    """
    order = _byte_order(data)
    (offset,) = struct.unpack_from(order + "I", data, 4)
    entries, following = _tiff_directory(data, offset, order)
    for tag, entry in entries.items():
        if entry.start + entry.size > len(data):
            raise PhotoError("truncated", f"ends early: the value of TIFF tag {tag} lies behind the end")
    if any(entries[tag].count != 1 for tag in _TIFF_SCALARS if tag in entries):
        raise PhotoError("damaged", "has a list where its TIFF directory wants one number")
    if 277 in entries and _numbers(data, entries[277], order)[0] > _MAX_TIFF_SAMPLES:
        raise PhotoError("damaged", "claims more channels than a photo has")
    if not {256, 257} <= entries.keys():
        raise PhotoError("damaged", "has no size in its TIFF directory")
    for where, length in ((273, 279), (324, 325)):
        if where in entries and length in entries:
            pieces = zip(
                _numbers(data, entries[where], order), _numbers(data, entries[length], order), strict=False
            )
            if any(start + size > len(data) for start, size in pieces):
                raise PhotoError("truncated", "ends early: part of the pixels lies behind its end")
    pages, seen, damage = 1, {offset}, ""
    while following:
        if following in seen or following + 6 > len(data):
            damage = "later TIFF pages"
            break
        seen.add(following)
        try:
            following = _tiff_directory(data, following, order)[1]
        except struct.error:
            damage = "later TIFF pages"
            break
        pages += 1
    payload = bytearray(data)
    for tag in _TIFF_HIDDEN:
        if tag in entries:
            struct.pack_into(order + "H", payload, entries[tag].position, 0xFFFF)
    orientation = 1
    if _ORIENTATION in entries:
        orientation = _numbers(data, entries[_ORIENTATION], order)[0]
        struct.pack_into(order + "HII", payload, entries[_ORIENTATION].position + 2, 3, 1, 0)
        struct.pack_into(order + "H", payload, entries[_ORIENTATION].position + 8, 1)
        if not 1 <= orientation <= 8:
            orientation, damage = 1, damage or "EXIF"
    profile = entries.get(34675)
    return Header(
        "TIFF",
        width=_numbers(data, entries[256], order)[0],
        height=_numbers(data, entries[257], order)[0],
        bits=max(_numbers(data, entries[258], order)) if 258 in entries else 1,
        orientation=orientation,
        frames=pages,
        profile=data[profile.start : profile.start + profile.size] if profile else b"",
        damage=damage,
        payload=bytes(payload),
    )
