"""Weight files as they lie on disk: their arrays by name and shape first, values when they are wanted.

Two formats are read: folders that Orbax wrote (skinjax's own checkpoints) and `.safetensors` files (timm's,
PyTorch's). Nothing is unpickled or executed. Which array of a file is which variable of a network is not
decided here.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = "an Orbax checkpoint folder or a .safetensors file"
Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class StoredWeights:
    """The table of contents of a weight file.

    Attributes:
      path: what was opened; of a folder of steps, the step's own folder.
      kind: "orbax" or "safetensors".
      shapes: shape of every array, by its name in the file.
      read: gives the values of the arrays of these names.
    """

    path: Path
    kind: str
    shapes: Mapping[str, Shape]
    read: Callable[[Iterable[str]], dict[str, np.ndarray]]


def open_weights(path: str | Path) -> StoredWeights:
    """Reads the table of contents of a weight file, whatever its format.

    Args:
      path: a `.safetensors` file; or a folder: what Orbax saved a pytree into, a step of a checkpoint
        manager, or the manager's folder, whose latest step is taken.

    Returns:
      Names, shapes, and a way to the values.

    Raises:
      ValueError: nothing is there, the format is unknown, or the file is damaged.
    """
    found = Path(path)
    if not found.exists():
        raise ValueError(f"{path} does not exist; pretrained weights want {FORMATS}")
    if found.is_dir():
        return _open_orbax(found)
    if found.suffix == ".safetensors":
        return _open_safetensors(found)
    raise ValueError(f"{path} is of a format that is not read; pretrained weights want {FORMATS}")


# Safetensors: eight bytes of header length, a JSON header, the raw little-endian arrays one after another.

_SAFETENSORS_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("bool"),
}


def _open_safetensors(path: Path) -> StoredWeights:
    size = path.stat().st_size
    damaged = f"{path} is not a whole .safetensors file"
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"{damaged}: its header wants {length} bytes and the file has {size}")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise ValueError(f"{damaged}: its header is not JSON") from None
    if not isinstance(header, dict):
        raise ValueError(f"{damaged}: its header is not a table of arrays")
    header.pop("__metadata__", None)
    start = 8 + length
    for name, entry in header.items():
        try:
            dtype, (begin, end) = _SAFETENSORS_DTYPES[entry["dtype"]], entry["data_offsets"]
            fits = (
                end - begin == math.prod(entry["shape"]) * dtype.itemsize
                and 0 <= begin <= end <= size - start
            )
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(f"{damaged}: its entry for {name} does not fit the file")

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        values = {}
        with path.open("rb") as file:
            for name in names:
                entry = header[name]
                begin, end = entry["data_offsets"]
                file.seek(start + begin)
                raw = np.frombuffer(file.read(end - begin), _SAFETENSORS_DTYPES[entry["dtype"]])
                if entry["dtype"] == "BF16":  # the upper half of a float32
                    raw = (raw.astype(np.uint32) << 16).view(np.float32)
                values[name] = raw.reshape(entry["shape"])
        return values

    shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    return StoredWeights(path, "safetensors", shapes, read)


# Orbax: a pytree in a folder; array names are the paths in the tree, joined by "/".


def _open_orbax(path: Path) -> StoredWeights:
    import orbax.checkpoint as ocp
    from etils import epath

    folder = _item_folder(path)
    try:
        # The handler, not a Checkpointer, which would warn that an item's folder has no metadata of a whole step.
        tree = ocp.PyTreeCheckpointHandler().metadata(epath.Path(folder.absolute())).tree
    except Exception as error:  # Orbax raises whatever its storage layers raise
        raise ValueError(f"{path} is not a whole Orbax checkpoint: {str(error).splitlines()[0]}") from error
    shapes = {name: tuple(leaf.shape) for name, leaf in _flatten(tree)}

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted = set(names)
        item = _subtree(tree, wanted)
        restore = _map_leaves(item, lambda _: ocp.RestoreArgs(restore_type=np.ndarray))
        arguments = ocp.args.PyTreeRestore(item=item, restore_args=restore, partial_restore=True)
        try:
            # A handler of its own: one that has served a full tree refuses a part of it.
            values = ocp.PyTreeCheckpointHandler().restore(epath.Path(folder.absolute()), args=arguments)
        except Exception as error:
            raise ValueError(f"{path} could not be read: {str(error).splitlines()[0]}") from error
        return {name: np.asarray(leaf) for name, leaf in _flatten(values)}

    return StoredWeights(folder, "orbax", shapes, read)


def _item_folder(path: Path) -> Path:
    """The folder that holds the tree of variables: this one, an item of a step, or of the latest step."""
    if (path / "_METADATA").is_file():
        return path
    steps = sorted((child for child in path.iterdir() if child.name.isdigit()), key=lambda c: int(c.name))
    step = steps[-1] if steps else path
    if (step / "_METADATA").is_file():
        return step
    items = (
        sorted(child for child in step.iterdir() if (child / "_METADATA").is_file()) if step.is_dir() else []
    )
    if not items:
        raise ValueError(f"{path} is not an Orbax checkpoint folder; pretrained weights want {FORMATS}")
    if len(items) > 1:
        names = ", ".join(item.name for item in items)
        raise ValueError(f"{step} holds several trees ({names}): give the path of the one that is meant")
    return items[0]


def _flatten(tree: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Leaves of nested dicts and lists with their paths; empty places (None) are no leaves."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _flatten(value, f"{prefix}/{key}" if prefix else str(key))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from _flatten(value, f"{prefix}/{index}" if prefix else str(index))
    elif tree is not None:
        yield prefix, tree


def _subtree(tree: Any, wanted: set[str], prefix: str = "") -> dict[str, Any]:
    """The part of nested dicts whose leaves are wanted."""
    part = {}
    for key, value in tree.items():
        path = f"{prefix}/{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            below = _subtree(value, wanted, path)
            if below:
                part[key] = below
        elif path in wanted:
            part[key] = value
    return part


def _map_leaves(tree: Mapping[str, Any], function: Callable[[Any], Any]) -> dict[str, Any]:
    return {
        key: _map_leaves(value, function) if isinstance(value, Mapping) else function(value)
        for key, value in tree.items()
    }
