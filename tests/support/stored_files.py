"""Weight files written without the libraries whose formats they are, and what tests of reading them share."""

from __future__ import annotations

import collections
import io
import json
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import h5py
import numpy as np

from skinjax.models.weights.formats import StoredWeights, open_weights

Array = np.ndarray
RNG = np.random.default_rng(0)
WEIGHTS = {
    "conv.weight": RNG.normal(size=(4, 3, 2, 2)).astype(np.float32),
    "norm.running_mean": RNG.normal(size=4).astype(np.float32),
    "head.weight": RNG.normal(size=(5, 4)).astype(np.float32),
}
KERAS = {
    "conv2d_1": {"conv2d_1/kernel:0": np.ones((2, 2, 3, 4), np.float32)},
    "pool": {},
    "bn_1": {
        "bn_1/gamma:0": np.arange(4, dtype=np.float32),
        "bn_1/moving_variance:0": np.full(4, 2, np.float32),
    },
    "predictions": {"predictions/kernel:0": np.eye(4, 5, dtype=np.float32)},
}
KERAS3 = {
    "layers/conv2d": ("stem", [np.ones((3, 3, 3, 2), np.float32)]),
    "layers/conv2d_10": ("last", [np.full((2, 2), 10, np.float32), np.zeros(2, np.float32)]),
    "layers/conv2d_2": ("middle", [np.full((2, 2), 2, np.float32)]),
    "layers/activation": ("relu", []),
    "layers/seq/layers/dense": ("", [np.arange(6, dtype=np.float16).reshape(2, 3)]),
    "optimizer": ("adam", [np.array(3), np.ones((2, 2), np.float32)]),
}
PEERS = "is not installed: pip install 'skinjax[peers]'"
STORAGE_TYPES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "bfloat16": "BFloat16Storage",
}


def assert_holds(stored: StoredWeights, arrays: dict[str, Array]) -> None:
    """Holds these arrays and no others, in their types."""
    assert stored.shapes == {name: array.shape for name, array in arrays.items()}
    values = stored.read(arrays)
    assert set(values) == set(arrays)
    for name, array in arrays.items():
        assert values[name].dtype == array.dtype, name
        assert values[name].dtype.isnative
        np.testing.assert_array_equal(values[name], array)


def attempt(path: Path) -> str | None:
    """Opens and reads a whole file; the sentence if it is refused. Nothing but a ValueError may come of it."""
    try:
        stored = open_weights(path)
        values = stored.read(stored.shapes)
    except ValueError as error:
        return str(error)
    assert {name: array.shape for name, array in values.items()} == stored.shapes
    return None


def refusal(path: Path) -> str:
    """The sentence that opening, or else reading, a file ends with, without the path."""
    sentence = attempt(path)
    assert sentence is not None
    assert sentence.startswith(f"{path} ")
    assert sentence.isprintable()
    return sentence.removeprefix(f"{path} ")


def bfloat16(array: Array) -> tuple[Array, Array]:
    """The upper halves of float32, and the float32 that they stand for."""
    halves = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return halves, (halves.astype(np.uint32) << 16).view(np.float32)


class Storage:
    """A run of numbers, as PyTorch has it: `kind` is one of STORAGE_TYPES, numbers of bfloat16 are uint16."""

    def __init__(self, numbers: Array, kind: str = "", module: str = "torch", size: int | None = None):
        self.numbers, self.kind, self.module = numbers, kind or str(numbers.dtype), module
        self.size = len(numbers) if size is None else size


class Tensor(NamedTuple):
    """A view of a storage; `how` is the function that PyTorch would rebuild it with."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    how: str = "_rebuild_tensor_v2"


def tensor(array: Array, kind: str = "", how: str = "_rebuild_tensor_v2") -> Tensor:
    """A tensor that has a storage of its own, row by row."""
    strides = tuple(int(np.prod(array.shape[n + 1 :])) for n in range(array.ndim))
    return Tensor(Storage(array.reshape(-1), kind), 0, array.shape, strides, how)


def _torch_modules() -> dict[str, types.ModuleType]:
    """What a pickler must find under PyTorch's names, to write them down."""
    modules = {
        name: types.ModuleType(name)
        for name in ("torch", "torch.cuda", "torch._utils", "torch.nn", "torch.nn.parameter")
    }
    for module in ("torch", "torch.cuda"):
        for name in STORAGE_TYPES.values():
            setattr(modules[module], name, type(name, (), {"__module__": module}))
    for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda *arguments: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(modules["torch._utils"], name, function)
    modules["torch.nn.parameter"].Parameter = type("Parameter", (), {"__module__": "torch.nn.parameter"})
    return modules


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, protocol: int, modules: dict[str, types.ModuleType], legacy: bool):
        super().__init__(file, protocol)
        self.modules, self.legacy = modules, legacy
        self.storages: dict[int, tuple[str, Storage]] = {}

    def persistent_id(self, value: object) -> object:
        if not isinstance(value, Storage):
            return None
        key = self.storages.setdefault(id(value), (str(len(self.storages)), value))[0]
        kind = getattr(self.modules[value.module], STORAGE_TYPES[value.kind])
        return ("storage", kind, key, "cpu", value.size) + ((None,) if self.legacy else ())

    def reducer_override(self, value: object) -> object:
        if not isinstance(value, Tensor):
            return NotImplemented
        utils = self.modules["torch._utils"]
        if value.how == "_rebuild_tensor":
            return utils._rebuild_tensor, value[:4]
        whole = value._replace(how="_rebuild_tensor_v2")
        if value.how == "_rebuild_parameter":
            return utils._rebuild_parameter, (whole, True, collections.OrderedDict())
        if value.how == "Parameter":  # as PyTorch 0.3 wrote it: an object, and its attributes
            kind = self.modules["torch.nn.parameter"].Parameter
            return kind, (whole,), (True, False, collections.OrderedDict())
        return utils._rebuild_tensor_v2, (*value[:4], False, collections.OrderedDict())


def _pickled(content: object, protocol: int, legacy: bool) -> tuple[bytes, dict[str, Storage]]:
    modules = _torch_modules()
    file = io.BytesIO()
    with mock.patch.dict(sys.modules, modules):
        pickler = _Pickler(file, protocol, modules, legacy)
        pickler.dump(content)
    return file.getvalue(), dict(pickler.storages.values())


def write_torch_zip(
    path: Path,
    content: object,
    *,
    protocol: int = 2,
    byteorder: str | None = "little",
    leave_out: tuple[str, ...] = (),
    add: dict[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """As `torch.save` writes since 1.6; `content` may be the bytes of a pickle."""
    description, storages = (
        (content, {}) if isinstance(content, bytes) else _pickled(content, protocol, legacy=False)
    )
    records = {"data.pkl": description}
    if byteorder:
        records["byteorder"] = byteorder.encode()
    for key, storage in storages.items():
        numbers = storage.numbers
        swapped = numbers.astype(numbers.dtype.newbyteorder(">" if byteorder == "big" else "<"))
        records[f"data/{key}"] = swapped.tobytes()
    records |= {"version": b"3\n"} | (add or {})
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, record in records.items():
            if name not in leave_out:
                archive.writestr(f"{path.stem}/{name}", record)
    return path


def write_torch_pickle(
    path: Path, content: object, *, protocol: int = 2, little: bool = True, version: int = 1001
) -> Path:
    """As `torch.save` wrote before 1.6."""
    description, storages = _pickled(content, protocol, legacy=True)
    system = {
        "protocol_version": 1001,
        "little_endian": little,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    parts = [pickle.dumps(part, protocol) for part in (0x1950A86A20F9469CFC6C, version, system)]
    parts += [description, pickle.dumps(sorted(storages), protocol)]
    for key in sorted(storages):
        parts += [struct.pack("<q", storages[key].size), storages[key].numbers.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


def write_safetensors(path: Path, arrays: dict[str, Array], dtypes: dict[str, str] | None = None) -> Path:
    """float32 unless `dtypes` says otherwise."""
    header, buffers, end = {"__metadata__": {"format": "pt"}}, [], 0
    for name, array in arrays.items():
        raw = array.tobytes()
        dtype = (dtypes or {}).get(name, "F32")
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [end, end + len(raw)]}
        buffers.append(raw)
        end += len(raw)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(buffers))
    return path


def write_keras_legacy(
    path: Path,
    layers: dict[str, dict[str, Array]],
    *,
    model: bool = False,
    pieces: int = 1,
    layer_names: list[str] | None = None,
    **options: object,
) -> Path:
    """As `Model.save_weights("x.h5")` wrote, or with `model` as `Model.save("x.h5")`; weights by their names."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if model else file
        if model:
            file.attrs["model_config"] = "{}"
            state = file.create_group("optimizer_weights")
            state.attrs["weight_names"] = [b"adam/m:0"]
            state["adam/m:0"] = np.ones(3, np.float32)
        names = [name.encode() for name in layer_names or layers]
        if pieces == 1:
            root.attrs["layer_names"] = names
        else:
            for number, piece in enumerate(np.array_split(np.array(names), pieces)):
                root.attrs[f"layer_names{number}"] = piece
        root.attrs["backend"] = b"tensorflow"
        for name, weights in layers.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, value in weights.items():
                group.create_dataset(weight, data=value, **options)
    return path


def write_keras3(
    path: Path | io.BytesIO, layers: dict[str, tuple[str, list[Array]]] = KERAS3, **options: object
) -> Path | io.BytesIO:
    """As `Model.save_weights("x.weights.h5")` writes since Keras 3: name and variables by the object's path."""
    with h5py.File(path, "w") as file:
        file.create_group("vars").attrs["name"] = "functional"
        for place, (name, variables) in layers.items():
            group = file.create_group(f"{place}/vars")
            if name:
                group.attrs["name"] = name
            for number, value in enumerate(variables):
                group.create_dataset(str(number), data=value, **options)
    return path


def write_keras_archive(path: Path, layers: dict[str, tuple[str, list[Array]]] = KERAS3) -> Path:
    """As `Model.save("x.keras")` writes."""
    weights = io.BytesIO()
    write_keras3(weights, layers)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", weights.getvalue())
    return path
