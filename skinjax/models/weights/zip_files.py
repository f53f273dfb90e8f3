"""Zip archives as PyTorch and Keras write them, with `zipfile`: only records that are stored as they are.

A record that is compressed or encrypted is refused: neither library writes one, and a compressed one could
swell to any size.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

_COMPRESSIONS = {8: "deflate", 9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstandard"}


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens an archive whose records all have names of their own.

    Args:
      path: The file.

    Yields:
      The archive.

    Raises:
      zipfile.BadZipFile: The table of contents is damaged; `zipfile` may raise other exceptions, too.
      ValueError: Two records have one name.
    """
    with zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > len(archive.NameToInfo):
            raise ValueError("it has two records of one name")
        yield archive


def record_size(archive: zipfile.ZipFile, name: str) -> int:
    """Returns the number of bytes of a record that can be read.

    Args:
      archive: The archive.
      name: The record's name.

    Raises:
      ValueError: There is no such record, or it is compressed, encrypted or longer than the archive.
    """
    entry = archive.NameToInfo.get(name)
    if entry is None:
        raise ValueError(f"its record {name} is missing")
    if entry.flag_bits & 1:
        raise ValueError(f"its record {name} is encrypted")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        method = _COMPRESSIONS.get(entry.compress_type, f"method {entry.compress_type}")
        raise ValueError(f"its record {name} is compressed ({method}), which is not read")
    if entry.file_size > Path(str(archive.filename)).stat().st_size:
        raise ValueError(f"its record {name} is longer than the archive")
    return entry.file_size


def read_record(archive: zipfile.ZipFile, name: str) -> bytes:
    """Reads a whole record, compared with its checksum.

    Args:
      archive: The archive.
      name: The record's name.

    Raises:
      ValueError: As for `record_size`, or the record is damaged.
    """
    record_size(archive, name)
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"its record {name} is damaged") from error
