"""Zip archives whose records are stored as they are, as PyTorch and Keras write them: read in place.

A record that is compressed or encrypted is refused: neither library writes one, and a compressed one could
swell to any size.
"""

from __future__ import annotations

import dataclasses
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

_COMPRESSIONS = {8: "deflate", 9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstandard"}


@dataclasses.dataclass(frozen=True)
class Record:
    """Where a record's bytes lie in the archive.

    Attributes:
      name: its name in the archive.
      start: place of its first byte in the file.
      size: number of bytes.
      checksum: their CRC-32.
    """

    name: str
    start: int
    size: int
    checksum: int


class StoredZip:
    """A zip archive's table of contents.

    Args:
      path: the file.

    Raises:
      zipfile.BadZipFile: or another exception of `zipfile`, which has many: the table is damaged.
      ValueError: two records have one name.

    Attributes:
      path: the file.
      names: names of the records, in the archive's order.
    """

    path: Path
    names: tuple[str, ...]

    def __init__(self, path: Path):
        self.path = path
        self._file_size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            self._entries = {entry.filename: entry for entry in archive.infolist()}
            self.names = tuple(self._entries)
            if len(archive.infolist()) > len(self.names):
                raise ValueError("it has two records of one name")

    def record(self, name: str) -> Record:
        """Finds a record.

        Args:
          name: one of `names`.

        Returns:
          Its place, which lies within the file.

        Raises:
          ValueError: there is no such record, it is compressed or encrypted, or the archive's table and the
            record's own header disagree.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise ValueError(f"its record {name} is missing")
        if entry.flag_bits & 1:
            raise ValueError(f"its record {name} is encrypted")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            method = _COMPRESSIONS.get(entry.compress_type, f"method {entry.compress_type}")
            raise ValueError(f"its record {name} is compressed ({method}), which is not read")
        with self.path.open("rb") as file:
            file.seek(entry.header_offset)
            # The lengths of name and extra field are the record's own: PyTorch pads here, to align the values.
            signature, name_length, extra_length = struct.unpack("<4s22xHH", file.read(30))
            same = file.read(name_length) == entry.orig_filename.encode(
                "utf-8" if entry.flag_bits & 0x800 else "cp437"
            )
        start = entry.header_offset + 30 + name_length + extra_length
        if signature != b"PK\x03\x04" or not same or start + entry.file_size > self._file_size:
            raise ValueError(f"its record {name} is not where its table says")
        return Record(name, start, entry.file_size, entry.CRC)

    def read(self, record: Record) -> bytes:
        """Reads a whole record.

        Args:
          record: what `record` gave.

        Returns:
          Its bytes.

        Raises:
          ValueError: they are not the ones that were written.
          OSError: the file cannot be read any more.
        """
        content = b"".join(self._pieces(record))
        self._check(record, zlib.crc32(content))
        return content

    def check(self, record: Record) -> None:
        """Compares a record with its checksum, without keeping it.

        Args:
          record: what `record` gave.

        Raises:
          ValueError: its bytes are not the ones that were written.
          OSError: the file cannot be read any more.
        """
        checksum = 0
        for piece in self._pieces(record):
            checksum = zlib.crc32(piece, checksum)
        self._check(record, checksum)

    def _pieces(self, record: Record) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(record.start)
            left = record.size
            while left and (piece := file.read(min(left, 1 << 20))):
                left -= len(piece)
                yield piece

    def _check(self, record: Record, checksum: int) -> None:
        if checksum != record.checksum:
            raise ValueError(f"its record {record.name} does not have the checksum that was written with it")
