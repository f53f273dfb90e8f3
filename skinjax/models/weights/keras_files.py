"""Keras's HDF5 files: the `.h5` of Keras 1 to 3, and the `.weights.h5` of Keras 3, alone or in a `.keras`.

An `.h5` names its layers in attributes: `layer_names` of the root (weights alone) or of `/model_weights` (a
model), and each layer's `weight_names`. A `.weights.h5` follows the objects of the model: `/layers/conv2d_1`
is the second Conv2D of the list of layers, and its variables are `vars/0`, `vars/1`; since Keras 3 `vars` has
the layer's own name as an attribute. The layouts are those of `legacy_h5_format.py` and `saving_lib.py`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from skinjax.models.weights.hdf5_files import Group, Hdf5
from skinjax.models.weights.hdf5_messages import Dataset
from skinjax.models.weights.stored import StoredWeights, UnreadableWeightsError, native, refusing
from skinjax.models.weights.zip_files import open_zip, read_record

ARCHIVED = "model.weights.h5"  # the record of a .keras archive that holds the weights
_OLD_LAYERS = "_layer_checkpoint_dependencies/"  # what Keras 2.12 and 2.13 called "layers/"
_TOP = "top_level_model_weights"
_Found = Iterator[tuple[str, str, Dataset]]  # an array's name, its layer or "", and where it is


def open_hdf5(path: Path) -> StoredWeights:
    """Reads the table of contents of an HDF5 file of Keras.

    Args:
      path: The file.

    Returns:
      Kind "keras_legacy", names like "conv2d_1/kernel" in the order of layers; or kind "keras3", names like
      "layers/conv2d_1/vars/0" in natural order. The optimizer's arrays are left out.

    Raises:
      UnreadableWeightsError: It is not Keras's, or is damaged.
    """
    return _open(path, "Keras file", lambda: path.open("rb"))


def open_keras_archive(path: Path) -> StoredWeights:
    """Reads the table of contents of a `.keras` archive, a zip archive with a `.weights.h5` in it.

    Args:
      path: The archive, which must have the record `ARCHIVED`. The record is held in memory while it is read.

    Returns:
      Kind "keras3".

    Raises:
      UnreadableWeightsError: As for `open_hdf5`.
    """

    def record() -> BinaryIO:
        with open_zip(path) as archive:
            return io.BytesIO(read_record(archive, ARCHIVED))

    return _open(path, "Keras archive", record)


def _open(path: Path, kind: str, opened: Callable[[], BinaryIO]) -> StoredWeights:
    arrays: dict[str, Dataset] = {}
    layer_names = {}
    with refusing(path, kind), opened() as file:
        hdf5 = Hdf5(file)
        root = hdf5.root()
        model = root.children.get("model_weights", root)
        model = model if isinstance(model, Group) else root
        legacy = _has_texts(model, "layer_names")
        for name, layer, array in _legacy(hdf5, model) if legacy else _objects(hdf5, root):
            if name in arrays:
                raise UnreadableWeightsError(f"{path} has two arrays that are called {name}")
            if array.problem:
                raise UnreadableWeightsError(f"{path} is not read: its array {name} {array.problem}")
            arrays[name] = array
            if layer:
                layer_names[name] = layer
    if not legacy and not any("vars" in name.split("/") for name in arrays):
        raise UnreadableWeightsError(f"{path} is an HDF5 file, but has no weights where Keras stores them")

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        requested = {name: arrays[name] for name in names}
        values = {}
        with refusing(path, kind), opened() as file:
            for name, array in requested.items():
                file.seek(array.start)
                stored = np.frombuffer(file.read(array.size), array.dtype)
                values[name] = native(stored.reshape(array.shape))
        return values

    shapes = {name: array.shape for name, array in arrays.items()}
    return StoredWeights(path, "keras_legacy" if legacy else "keras3", shapes, read, layer_names)


def _legacy(hdf5: Hdf5, model: Group) -> _Found:
    """Yields the arrays of an `.h5` in the order of layers."""
    layers = _texts(hdf5, model, "layer_names")
    if _TOP in model.children:
        layers.append(_TOP)
    for layer in layers:
        group = _member(model, layer)
        if not isinstance(group, Group):
            raise ValueError(f"its layer {layer} is no group")
        weights = _texts(hdf5, group, "weight_names")
        paths = [weight.removesuffix(":0") for weight in weights]
        parts = [path.split("/")[-1] for path in paths]
        if len(set(parts)) < len(parts):  # a model as a layer: several of its layers have a kernel
            parts = [path.removeprefix(f"{layer}/") for path in paths]
        for weight, part in zip(weights, parts, strict=True):
            array = _member(group, weight)
            if not isinstance(array, Dataset):
                raise ValueError(f"its {layer}/{part} is no array")
            yield f"{layer}/{part}", "", array


def _objects(hdf5: Hdf5, root: Group) -> _Found:
    """Yields the arrays of a `.weights.h5` in natural order."""
    found: list[tuple[str, str, Dataset]] = []
    groups = [("", root)]
    while groups:
        prefix, group = groups.pop()
        layer = (_texts(hdf5, group, "name") or [""])[0] if prefix.endswith("vars/") else ""
        for key in group.children:
            child = _member(group, key)
            if isinstance(child, Dataset):
                found.append((prefix + key, layer, child))
            elif prefix + key != "optimizer":
                groups.append((f"{prefix}{key}/", child))
    for name, layer, array in sorted(found, key=lambda item: _natural(item[0])):
        yield re.sub(f"^{_OLD_LAYERS}", "layers/", name), layer, array


def _natural(name: str) -> list[list[str | int]]:
    """Returns a key that sorts conv2d, conv2d_2, conv2d_10: part by part, numbers as numbers."""
    return [
        [int(piece) if piece.isdecimal() else piece for piece in re.split("([0-9]{1,9})", part)]
        for part in name.split("/")
    ]


def _member(group: Group, path: str) -> Group | Dataset:
    child: object = group
    for part in path.split("/"):
        child = child.children.get(part) if isinstance(child, Group) else None
    if not isinstance(child, Group | Dataset):
        what = "is missing" if child is None else "is a link to elsewhere, which is not followed"
        raise ValueError(f"its {path} {what}")
    return child


def _has_texts(group: Group, name: str) -> bool:
    return name in group.attributes or f"{name}0" in group.attributes


def _texts(hdf5: Hdf5, group: Group, name: str) -> list[str]:
    """Reads an attribute of texts; a long one is stored in pieces, with 0, 1, … behind its name."""
    if name in group.attributes:
        return hdf5.texts(group.attributes[name])
    texts: list[str] = []
    piece = 0
    while f"{name}{piece}" in group.attributes:
        texts += hdf5.texts(group.attributes[f"{name}{piece}"])
        piece += 1
    return texts
