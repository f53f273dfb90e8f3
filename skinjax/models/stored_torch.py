"""PyTorch's files: a pickle that says which tensor lies where, and the numbers beside it.

Since version 1.6 `torch.save` writes a zip archive: `<name>/data.pkl`, `<name>/data/<key>` for each storage,
and `<name>/byteorder`. Before, it wrote four pickles one after another (a magic number, a version, the
machine's kind, the object), a fifth with the storages' keys, and the storages, each with its length before
it. The layouts are those of `torch/serialization.py`.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from skinjax.models.stored_arrays import (
    StoredWeights,
    UnreadableWeightsError,
    from_bfloat16,
    refusing,
    without_prefix,
)
from skinjax.models.stored_pickle import (
    LONGEST_PICKLE,
    ForbiddenError,
    Storage,
    Tensor,
    read_pickle,
)
from skinjax.models.stored_zip import StoredZip

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
MAGIC = _MAGIC_NUMBER.to_bytes(10, "little")
_PROTOCOL_VERSION = 1001
_KIND = "PyTorch file"
# Averaged weights first: where a file has them, they are the ones its figures were measured with.
_ENTRIES = (
    *("state_dict_ema", "ema_state_dict", "model_ema", "ema"),
    *("state_dict", "model_state_dict", "model"),
)


def open_torch_zip(archive: StoredZip) -> StoredWeights:
    """Reads the table of contents of what `torch.save` writes since PyTorch 1.6.

    Args:
      archive: the archive.

    Returns:
      Kind "torch".

    Raises:
      UnreadableWeightsError: it is damaged, holds no state dict, or wants to run something.
    """
    path = archive.path
    with _refusing(path):
        pickles = [name for name in archive.names if name.split("/")[-1] == "data.pkl"]
        if len(pickles) > 1:
            raise ValueError(f"it holds several data.pkl ({', '.join(pickles)})")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in archive.names:
            raise UnreadableWeightsError(
                f"{path} is a TorchScript program, which is not read: save the state_dict of its module"
            )
        order = b"little"
        if f"{folder}byteorder" in archive.names:
            order = archive.read(archive.record(f"{folder}byteorder"))
        if order not in (b"little", b"big"):
            raise ValueError(f"its byte order is {order[:10]!r}")
        record = archive.record(pickles[0])
        if record.size > LONGEST_PICKLE:
            raise ValueError(f"its data.pkl has {record.size} bytes, more than any table of arrays")
        tensors, note = _state_dict(path, read_pickle(io.BytesIO(archive.read(record))).content)
        keys = {tensor.storage.key for tensor in tensors.values()}
        records = {key: archive.record(f"{folder}data/{key}") for key in keys}
        _check_sizes(path, tensors, {key: record.size for key, record in records.items()})

    def read_storage(key: str) -> bytes:
        return archive.read(records[key])

    return _stored_weights(path, tensors, note, read_storage, big_endian=order == b"big")


def open_torch_pickle(path: Path) -> StoredWeights:
    """Reads the table of contents of what `torch.save` wrote before PyTorch 1.6.

    Args:
      path: the file.

    Returns:
      Kind "torch".

    Raises:
      UnreadableWeightsError: it is damaged, holds no state dict, or wants to run something.
    """
    with _refusing(path), path.open("rb") as file:
        if (number := read_pickle(file, 64).content) != _MAGIC_NUMBER:
            raise ValueError(f"it begins with {number!r:.30} and not with PyTorch's number")
        if (version := read_pickle(file, 64).content) != _PROTOCOL_VERSION:
            raise ValueError(f"its version is {version!r:.30} and not {_PROTOCOL_VERSION}")
        system = read_pickle(file, 4096).content
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("it was not written by a little-endian machine")
        content, storages = read_pickle(file)
        tensors, note = _state_dict(path, content)
        places = _places(file, read_pickle(file).content, storages)
        _check_sizes(path, tensors, {key: size for key, (_, size) in places.items()})

    def read_storage(key: str) -> bytes:
        start, size = places[key]
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    return _stored_weights(path, tensors, note, read_storage)


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    with refusing(path, _KIND):
        try:
            yield
        except ForbiddenError as error:
            raise UnreadableWeightsError(f"{path} is refused: {error}; save the state_dict alone") from error


def _places(file: BinaryIO, keys: Any, storages: Mapping[str, Storage]) -> dict[str, tuple[int, int]]:
    """Where each storage's numbers begin, and how many bytes they are; each has its length before it."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("it has no list of storages")
    end = os.fstat(file.fileno()).st_size
    position = file.tell()
    places = {}
    for key in keys:
        if key not in storages:
            raise ValueError(f"it has a storage {key!r:.30} that nothing mentions")
        file.seek(position)
        stored = int.from_bytes(file.read(8), "little", signed=True)
        size = storages[key].size * storages[key].dtype.itemsize
        if stored != storages[key].size or position + 8 + size > end:
            raise ValueError(
                f"its storage {key!r:.30} has not the {storages[key].size} numbers that it should"
            )
        places[key] = (position + 8, size)
        position += 8 + size
    return places


def _state_dict(path: Path, content: Any) -> tuple[dict[str, Tensor], str]:
    """The tensors of a state dict or of the checkpoint around it, and what was chosen there."""
    notes = []
    for _ in range(3):  # as deep as anyone nests; a table may contain itself
        entry = _entry(content)
        if entry is None:
            break
        notes.append(f"its entry {entry} was taken, of {_entries(content)}")
        content = content[entry]
    if not isinstance(content, dict):
        raise UnreadableWeightsError(f"{path} holds a {type(content).__name__} and no table of arrays")
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UnreadableWeightsError(
            f"{path} holds no arrays where a state dict would have them: its entries are {_entries(content)}"
        )
    if not all(isinstance(name, str) for name in tensors):
        raise ValueError("it has an array whose name is not a text")
    tensors, note = without_prefix(tensors)
    return tensors, "; ".join([*notes, note] if note else notes)


def _entries(content: Mapping[Any, Any]) -> str:
    names = ", ".join(sorted(map(str, content)))
    return f"{names[:200]}…" if len(names) > 200 else names or "none"


def _entry(content: Any) -> Any:
    """The name of the entry that holds the state dict, or the table that it is in; None if `content` is it."""
    if not isinstance(content, dict):
        return None
    tables = {name: entry for name, entry in content.items() if isinstance(entry, dict)}
    for name in _ENTRIES:
        if name in tables:
            return name
    with_arrays = [name for name, table in tables.items() if _has_arrays(table)]
    return with_arrays[0] if len(with_arrays) == 1 and not _has_arrays(content) else None


def _has_arrays(table: Mapping[Any, Any]) -> bool:
    """Whether a table has tensors other than single numbers, such as the best score."""
    return any(isinstance(value, Tensor) and value.shape for value in table.values())


def _check_sizes(path: Path, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> None:
    """Raises ValueError if a tensor's storage is longer than its bytes, or a tensor larger than the file."""
    limit = path.stat().st_size
    for name, tensor in tensors.items():
        storage, width = tensor.storage, tensor.storage.dtype.itemsize
        wanted = (storage.start + storage.size) * width
        if wanted > sizes.get(storage.key, -1):
            raise ValueError(
                f"its array {name} lies in a storage of {wanted} bytes, of which the file has "
                f"{sizes.get(storage.key, 0)}"
            )
        # Strides of 0 can make any size of one number.
        if math.prod(tensor.shape) * width > limit:
            raise ValueError(f"its array {name} of shape {list(tensor.shape)} is larger than the file")


def _stored_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    note: str,
    read_storage: Callable[[str], bytes],
    big_endian: bool = False,
) -> StoredWeights:
    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        by_storage: dict[str, dict[str, Tensor]] = {}
        for name in names:
            by_storage.setdefault(tensors[name].storage.key, {})[name] = tensors[name]
        values: dict[str, np.ndarray] = {}
        with _refusing(path):
            for key, inside in by_storage.items():  # each storage once, however many arrays share it
                content = read_storage(key)
                values |= {name: _values(tensor, content, big_endian) for name, tensor in inside.items()}
        return values

    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    return StoredWeights(path, "torch", shapes, read, note=note)


def _values(tensor: Tensor, content: bytes, big_endian: bool) -> np.ndarray:
    storage = tensor.storage
    dtype = storage.dtype.newbyteorder(">" if big_endian else "<")
    if not math.prod(tensor.shape):
        numbers = np.empty(tensor.shape, dtype)
    else:
        stored = np.frombuffer(content, dtype, storage.size, storage.start * dtype.itemsize)
        steps = [stride * dtype.itemsize for stride in tensor.strides]
        # Within bounds: `Tensor`s were checked against their storages, and storages against their bytes.
        numbers = np.lib.stride_tricks.as_strided(
            stored[tensor.offset :], tensor.shape, steps, writeable=False
        )
    values = np.array(numbers, dtype.newbyteorder("="), order="C")
    return from_bfloat16(values) if storage.bfloat16 else values
