"""Safetensors files, with the library of that name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from skinjax.models.weights.stored import StoredWeights, native, refusing, without_prefix

OURS = "skinjax"
"""Value of `format` in the metadata of a file of our own, and the name of such a file's kind."""

_DTYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}


def open_safetensors(path: Path, part: str = "") -> StoredWeights:
    """Reads the table of contents of a `.safetensors` file.

    Args:
      path: The file.
      part: The beginning of names that is meant; "" where that is not said.

    Returns:
      Kind "safetensors"; names as in the file but for a prefix of all, in the order of the values. Of a file that
      `skinjax export` wrote, kind "skinjax", and names are those of variables.

    Raises:
      UnreadableWeightsError: The header is damaged, does not fit the file, or names a type that is not read.
    """
    entries = {}
    with _opened(path) as file:
        ours = (file.metadata() or {}).get("format") == OURS
        for name in file.offset_keys():
            entry = file.get_slice(name)
            if entry.get_dtype() not in _DTYPES:
                raise ValueError(f"its array {name} is of type {entry.get_dtype()}, which is not read")
            entries[name] = name, tuple(entry.get_shape())
    entries, note = (entries, "") if ours else without_prefix(entries, part)

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        places = {name: entries[name][0] for name in names}
        with _opened(path) as file:
            return {name: native(file.get_tensor(place)) for name, place in places.items()}

    shapes = {name: shape for name, (_, shape) in entries.items()}
    return StoredWeights(path, OURS if ours else "safetensors", shapes, read, note=note, part=part)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    # The library says what the operating system refuses in words of its own: Python's `open` is asked first.
    with refusing(path, ".safetensors file"), path.open("rb"):
        try:
            file = safe_open(path, "numpy")
        except SafetensorError as error:
            raise ValueError(f"its header is damaged ({error})") from error
        with file:
            yield file
