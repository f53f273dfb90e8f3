"""Safetensors: eight bytes of header length, a JSON header, the raw little-endian arrays one after another.

The format is described in the README of the library of that name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from skinjax.models.stored_arrays import StoredWeights, from_bfloat16, refusing, without_prefix

LONGEST_HEADER = 8 << 20  # bytes; a network of a thousand arrays has an eighth of a megabyte
_KIND = ".safetensors file"
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("bool"),
}


def open_safetensors(path: Path) -> StoredWeights:
    """Reads the table of contents of a `.safetensors` file.

    Args:
      path: the file.

    Returns:
      Kind "safetensors"; names as in the file but for a prefix of all, in its header's order.

    Raises:
      UnreadableWeightsError: the header is damaged, does not fit the file, or names a type that is not read.
    """
    with refusing(path, _KIND):
        size = path.stat().st_size
        with path.open("rb") as file:
            header, start = _header(file, size)
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict):
            raise ValueError("its metadata is not a table")
        for name, entry in header.items():
            _check_entry(name, entry, size)
        end = 0
        for name in sorted(header, key=lambda name: header[name]["data_offsets"]):
            begin, behind = header[name]["data_offsets"]
            if begin != end:
                raise ValueError(
                    f"its entry for {name} begins at byte {begin} of the values and not at {end}"
                )
            end = behind
        if start + end != size:
            raise ValueError(f"its arrays want {start + end} bytes and the file has {size}")
        header, note = without_prefix(header)

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted = {name: header[name] for name in names}
        values = {}
        with refusing(path, _KIND), path.open("rb") as file:
            for name, entry in wanted.items():
                begin, end = entry["data_offsets"]
                file.seek(start + begin)
                raw = np.frombuffer(file.read(end - begin), _DTYPES[entry["dtype"]])
                raw = from_bfloat16(raw) if entry["dtype"] == "BF16" else raw
                values[name] = raw.astype(raw.dtype.newbyteorder("="), copy=False).reshape(entry["shape"])
        return values

    shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    return StoredWeights(path, "safetensors", shapes, read, note=note)


def _header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header, and where the values begin."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LONGEST_HEADER):
        raise ValueError(f"its header wants {length} bytes and the file has {size}")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets within brackets without end
        raise ValueError("its header is not JSON, or has a key twice") from error
    if not isinstance(header, dict):
        raise ValueError("its header is not a table of arrays")
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key twice")
    return table


def _check_entry(name: str, entry: Any, size: int) -> None:
    """Raises ValueError unless the shape, type and place of an array are possible and agree."""
    fits = isinstance(entry, dict) and {"dtype", "shape", "data_offsets"} <= entry.keys()
    if fits and entry["dtype"] not in list(_DTYPES):
        raise ValueError(f"its entry for {name} is of type {str(entry['dtype'])[:20]}, which is not read")
    if fits:
        shape, offsets = entry["shape"], entry["data_offsets"]
        fits = (
            _naturals(shape, size)
            and len(shape) <= 32
            and _naturals(offsets, size)
            and len(offsets) == 2
            and offsets[1] - offsets[0] == math.prod(shape) * _DTYPES[entry["dtype"]].itemsize
        )
    if not fits:
        raise ValueError(f"its entry for {name} does not fit the file")


def _naturals(numbers: Any, limit: int) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n <= limit for n in numbers)
