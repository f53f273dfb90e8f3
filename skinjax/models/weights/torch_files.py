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
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from skinjax.models.weights.pickles import ForbiddenError, read_pickle
from skinjax.models.weights.stored import (
    StoredWeights,
    UnreadableWeightsError,
    native,
    refusing,
    without_prefix,
)
from skinjax.models.weights.tensors import Storage, Tensor
from skinjax.models.weights.zip_files import open_zip, read_record, record_size

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
MAGIC = _MAGIC_NUMBER.to_bytes(10, "little")
_PROTOCOL_VERSION = 1001
# Bytes. State dicts of networks with a thousand arrays take a fifth of a megabyte, their optimizers twice that again.
_LONGEST_PICKLE = 4 << 20
_KIND = "PyTorch file"
# Averaged weights first: where a file has them, they are the ones its figures were measured with.
_AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema")
_PLAIN = ("state_dict", "model_state_dict", "model")
_ARCHITECTURE = ("arch", "architecture", "model_name")  # entries that say of which network a checkpoint is


def open_torch_zip(path: Path, part: str = "") -> StoredWeights:
    """Reads the table of contents of what `torch.save` writes since PyTorch 1.6.

    Args:
      path: The file, a zip archive with a `data.pkl`.
      part: The entry, or the beginning of names, that is meant; "" where that is not said.

    Returns:
      Kind "torch".

    Raises:
      UnreadableWeightsError: It is damaged, holds no state dict, or would run something.
    """
    with _refusing(path), open_zip(path) as archive:
        pickles = [name for name in archive.namelist() if name.split("/")[-1] == "data.pkl"]
        if len(pickles) > 1:
            raise ValueError(f"it holds several data.pkl ({', '.join(pickles)})")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in archive.namelist():
            raise UnreadableWeightsError(
                f"{path} is a TorchScript program, which is not read: save the state_dict of its module"
            )
        order = b"little"
        if f"{folder}byteorder" in archive.namelist():
            order = read_record(archive, f"{folder}byteorder")
        if order not in (b"little", b"big"):
            raise ValueError(f"its byte order is {order[:10]!r}")
        if (size := record_size(archive, pickles[0])) > _LONGEST_PICKLE:
            raise ValueError(f"its data.pkl has {size} bytes, more than any table of arrays")
        content = read_pickle(io.BytesIO(read_record(archive, pickles[0]))).content
        tensors, said = _state_dict(path, content, part)
        keys = {tensor.storage.key for tensor in tensors.values()}
        _check_sizes(path, tensors, {key: record_size(archive, f"{folder}data/{key}") for key in keys})

    @contextlib.contextmanager
    def storages() -> Iterator[Callable[[str], bytes]]:
        with open_zip(path) as archive:
            yield lambda key: read_record(archive, f"{folder}data/{key}")

    return _stored_weights(path, tensors, said, storages, big_endian=order == b"big")


def open_torch_pickle(path: Path, part: str = "") -> StoredWeights:
    """Reads the table of contents of what `torch.save` wrote before PyTorch 1.6.

    Args:
      path: The file.
      part: As for `open_torch_zip`.

    Returns:
      Kind "torch".

    Raises:
      UnreadableWeightsError: It is damaged, holds no state dict, or would run something.
    """
    with _refusing(path), path.open("rb") as file:
        pickles = io.BytesIO(file.read(_LONGEST_PICKLE))
        if (number := read_pickle(pickles).content) != _MAGIC_NUMBER:
            raise ValueError(f"it begins with {number!r:.30} and not with PyTorch's number")
        if (version := read_pickle(pickles).content) != _PROTOCOL_VERSION:
            raise ValueError(f"its version is {version!r:.30} and not {_PROTOCOL_VERSION}")
        system = read_pickle(pickles).content
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("it was not written by a little-endian machine")
        content, mentioned = read_pickle(pickles)
        tensors, said = _state_dict(path, content, part)
        keys = read_pickle(pickles).content
        places = _places(file, pickles.tell(), keys, mentioned)
        _check_sizes(path, tensors, {key: size for key, (_, size) in places.items()})

    @contextlib.contextmanager
    def storages() -> Iterator[Callable[[str], bytes]]:
        with path.open("rb") as file:

            def read(key: str) -> bytes:
                start, size = places[key]
                file.seek(start)
                return file.read(size)

            yield read

    return _stored_weights(path, tensors, said, storages)


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    with refusing(path, _KIND):
        try:
            yield
        except ForbiddenError as error:
            raise UnreadableWeightsError(f"{path} is refused: {error}; save the state_dict alone") from error


def _places(
    file: BinaryIO, position: int, keys: Any, storages: Mapping[str, Storage]
) -> dict[str, tuple[int, int]]:
    """Returns where each storage's numbers begin and how many bytes they are; each has its length before it."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("it has no list of storages")
    end = os.fstat(file.fileno()).st_size
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


class _Said(NamedTuple):
    """Facts about a state dict beside its arrays; as in `StoredWeights`."""

    note: str
    part: str
    architecture: str


def _state_dict(path: Path, content: Any, part: str) -> tuple[dict[str, Tensor], _Said]:
    """Returns the tensors of a state dict, or of the one in a checkpoint, and what was chosen there."""
    notes = []
    architecture = ""
    for _ in range(3):  # as deep as anyone nests; a table may contain itself
        if isinstance(content, dict):
            architecture = next(
                (content[key] for key in _ARCHITECTURE if isinstance(content.get(key), str)), architecture
            )
        entry, part = _part_entry(content, part)
        entry = _entry(content) if entry is None else entry
        if entry is None:
            break
        notes.append(f"its entry {entry} was taken, of {_entries(content)}")
        content = content[entry]
    if not isinstance(content, dict):
        raise UnreadableWeightsError(f"{path} holds a {type(content).__name__} and no table of arrays")
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not _has_arrays(tensors):  # several state dicts, such as an encoder's and a head's
        tensors |= {
            f"{entry}.{name}": value
            for entry, table in _tables(content).items()
            for name, value in table.items()
            if isinstance(value, Tensor)
        }
    if not tensors:
        raise UnreadableWeightsError(
            f"{path} holds no arrays where a state dict would have them: its entries are {_entries(content)}"
        )
    if not all(isinstance(name, str) for name in tensors):
        raise ValueError("it has an array whose name is not a text")
    tensors, note = without_prefix(tensors, part)
    return tensors, _Said("; ".join([*notes, note] if note else notes), part, architecture)


def _entries(content: Mapping[Any, Any]) -> str:
    names = ", ".join(sorted(map(str, content)))
    return f"{names[:200]}…" if len(names) > 200 else names or "none"


def _part_entry(content: Any, part: str) -> tuple[Any, str]:
    """Returns the entry that the part of a file that was asked for begins with, or None, and the rest of that part."""
    if not isinstance(content, dict) or not part:
        return None, part
    for name, table in content.items():
        if isinstance(name, str) and isinstance(table, dict) and f"{part}.".startswith(f"{name}."):
            return name, part[len(name) + 1 :]
    return None, part


def _tables(content: Mapping[Any, Any]) -> dict[Any, dict[Any, Any]]:
    """Returns the entries of a checkpoint that have arrays by name; an optimizer's are by number."""
    return {
        name: entry
        for name, entry in content.items()
        if isinstance(entry, dict) and _has_arrays(entry) and all(isinstance(key, str) for key in entry)
    }


def _entry(content: Any) -> Any:
    """Returns the name of the entry that the state dict is, or lies in; None if `content` is it."""
    if not isinstance(content, dict):
        return None
    tables = {name: entry for name, entry in content.items() if isinstance(entry, dict)}
    counts = {name: len(_arrays_in(tables[name])) for name in _AVERAGED + _PLAIN if name in tables}
    plain = max((counts[name] for name in _PLAIN if name in counts), default=0)
    for name, count in counts.items():
        # Averages of the parameters alone lack the normalisations' means and variances.
        if count and (name in _PLAIN or count >= plain):
            return name
    with_arrays = _tables(content)
    return next(iter(with_arrays)) if len(with_arrays) == 1 and not _has_arrays(content) else None


def _arrays_in(table: Mapping[Any, Any]) -> set[Any]:
    """Returns the names of the arrays of a table, or of all the tables in it."""
    inner = {(name, key) for name, entry in table.items() if isinstance(entry, dict) for key in entry}
    return {name for name, value in table.items() if isinstance(value, Tensor) and value.shape} or inner


def _has_arrays(table: Mapping[Any, Any]) -> bool:
    """Returns whether a table has tensors other than single numbers, such as the best score."""
    return any(isinstance(value, Tensor) and value.shape for value in table.values())


def _check_sizes(path: Path, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> None:
    """Raises ValueError if a tensor's storage is longer than its bytes, or a tensor larger than the file."""
    limit = path.stat().st_size
    for name, tensor in tensors.items():
        storage, width = tensor.storage, tensor.storage.dtype.itemsize
        needed = (storage.start + storage.size) * width
        if needed > sizes.get(storage.key, -1):
            raise ValueError(
                f"its array {name} lies in a storage of {needed} bytes, of which the file has "
                f"{sizes.get(storage.key, 0)}"
            )
        # Strides of 0 can make any size of one number.
        if math.prod(tensor.shape) * width > limit:
            raise ValueError(f"its array {name} of shape {list(tensor.shape)} is larger than the file")


def _stored_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    said: _Said,
    storages: Callable[[], contextlib.AbstractContextManager[Callable[[str], bytes]]],
    big_endian: bool = False,
) -> StoredWeights:
    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        by_storage: dict[str, dict[str, Tensor]] = {}
        for name in names:
            by_storage.setdefault(tensors[name].storage.key, {})[name] = tensors[name]
        values: dict[str, np.ndarray] = {}
        with _refusing(path), storages() as read_storage:
            for key, inside in by_storage.items():  # each storage once, however many arrays share it
                content = read_storage(key)
                values |= {name: _values(tensor, content, big_endian) for name, tensor in inside.items()}
        return values

    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    return StoredWeights(path, "torch", shapes, read, {}, *said)


def _values(tensor: Tensor, content: bytes, big_endian: bool) -> np.ndarray:
    dtype = tensor.storage.dtype
    if not math.prod(tensor.shape):
        return native(np.empty(tensor.shape, dtype))
    start = (tensor.storage.start + tensor.offset) * dtype.itemsize
    steps = [stride * dtype.itemsize for stride in tensor.strides]
    # numpy refuses what does not lie within the bytes, but makes numbers up where there are none at all.
    if not content:
        raise ValueError("it became shorter while it was read")
    values: np.ndarray = np.ndarray(tensor.shape, dtype, content, start, steps)
    return native(values.byteswap() if big_endian != (sys.byteorder == "big") else values)
