"""Tensors as PyTorch's pickles describe them: what lies where, checked, without reading a number.

`stand_in` gives, for each function and class that a checkpoint names in a pickle, what is called here instead of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from skinjax.models.weights.stored import Shape

_MOST_AXES = 32


@dataclasses.dataclass(frozen=True)
class Storage:
    """A run of numbers that tensors lie in.

    Attributes:
      key: Its name in the file.
      dtype: Type of its numbers.
      size: How many numbers it has.
      start: Position of the first of them, where this is a view of the run of that name.
    """

    key: str
    dtype: np.dtype[Any]
    size: int
    start: int = 0


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Place of a tensor's numbers in a storage.

    Attributes:
      storage: What it lies in.
      offset: Position of its first element there.
      shape: Its shape.
      strides: Steps in the storage, in elements, by which its axes advance.
    """

    storage: Storage
    offset: int
    shape: Shape
    strides: Shape


_STORAGE_TYPES: dict[str, np.dtype[Any]] = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


def check_key(key: Any) -> None:
    """Refuses a key of a dict that could take long to hash.

    Args:
      key: What a pickle uses as a key.

    Raises:
      ValueError: It is not a text, bytes, a float, a number of 64 bits or None.
    """
    # A tuple of tuples of tuples, each twice, takes for ever to hash; long numbers may all have one hash.
    short = isinstance(key, int) and key.bit_length() < 64
    if not short and not isinstance(key, str | float | bytes | None):
        raise ValueError(f"it has a key of a kind that is not read ({type(key).__name__})")


def storage_of(identity: Any) -> tuple[Storage, Storage]:
    """Returns the storage that a persistent id means, and the view of it.

    Args:
      identity: "storage", its type, key, device and length, and in the older format the key, start and length of
        a view, or None.

    Returns:
      The storage, and its view or the storage again.

    Raises:
      ValueError: It is no such id, or the view does not lie within the storage.
    """
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise ValueError("it refers to something that is no storage")
    _, dtype, key, _, size = identity[:5]
    if not isinstance(dtype, np.dtype) or not isinstance(key, str) or not _naturals((size,)):
        raise ValueError("it has a storage of a type, name or size that is not read")
    whole = Storage(key, dtype, size)
    if len(identity) == 5 or identity[5] is None:
        return whole, whole
    _, start, part = identity[5]
    if not _naturals((start, part)) or start + part > size:
        raise ValueError("it has a view that reaches beyond its storage")
    return whole, dataclasses.replace(whole, start=start, size=part)


def tensor_of(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
    """Stands in for PyTorch's `_rebuild_tensor` and `_rebuild_tensor_v2`.

    Args:
      storage: What the tensor lies in.
      offset: Position of its first element.
      shape: Its shape.
      strides: Steps of its axes, in elements.
      rest: Whether it has gradients, its hooks and, since PyTorch 2.0, its metadata.

    Returns:
      The tensor, which lies within its storage.

    Raises:
      ValueError: The arguments are not such as PyTorch writes, or the tensor reaches beyond its storage.

    Example:
      >>> tensor_of(Storage("0", np.dtype("float32"), size=6), 0, (2, 3), (3, 1)).shape
      (2, 3)
    """
    if len(rest) > 2 and rest[2]:
        raise ValueError("it has a tensor whose values are not as they are stored (conjugate or negative)")
    if not isinstance(storage, Storage):
        raise ValueError("it has a tensor without a storage")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) != len(strides):
        raise ValueError("it has a tensor without a shape")
    if len(shape) > _MOST_AXES or not _naturals((offset, *shape, *strides)):
        raise ValueError("it has a tensor whose shape, strides or offset are no sizes")
    last = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and offset + last >= storage.size:
        raise ValueError(
            f"it has a tensor of shape {list(shape)} that reaches beyond its {storage.size} numbers"
        )
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any = None, *_: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ValueError("it has a parameter that is no tensor")
    return tensor


def _ordered_dict(pairs: Any = None) -> dict[Any, Any]:
    """Makes the table that Python 2 wrote with a list of pairs, and Python 3 writes empty and fills later."""
    if pairs is None:
        return {}
    if not isinstance(pairs, list):
        raise ValueError("it has a table that is made of no list")
    for key, _ in pairs:
        check_key(key)
    table = dict(pairs)
    pairs.clear()  # a list that made a million tables would be work without end
    return table


def _size(shape: Any) -> Any:
    return shape


def _beside_the_arrays(*_: Any) -> dict[Any, Any]:
    return {}


def _list(values: Any = None, *_: Any) -> list[Any]:
    return values if isinstance(values, list) else []


_TYPES = (
    *(
        "bool",
        "bytearray",
        "complex",
        "dict",
        "float",
        "frozenset",
        "int",
        "list",
        "long",
        "set",
        "str",
        "tuple",
    ),
    "unicode",
)
# Those that real files need: `_rebuild_tensor` and `Parameter` stand in what PyTorch before 0.4 wrote.
STAND_INS: Mapping[str, Callable[..., Any] | np.dtype[Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.deque": _list,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": tensor_of,
    "torch._utils._rebuild_tensor_v2": tensor_of,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    **{f"torch.{name}": dtype for name, dtype in _STORAGE_TYPES.items()},
    **{f"torch.cuda.{name}": dtype for name, dtype in _STORAGE_TYPES.items()},
    # What training scripts keep beside the arrays: their flags, and the best score as a number of numpy's.
    **dict.fromkeys(
        (
            *("torch.device", "torch.torch_version.TorchVersion", "argparse.Namespace", "_codecs.encode"),
            *("numpy.dtype", "numpy.ndarray", "collections.defaultdict", "collections.Counter"),
            *(
                f"{numpy}.multiarray.{name}"
                for numpy in ("numpy.core", "numpy._core")
                for name in ("scalar", "_reconstruct")
            ),
            *(f"{builtins}.{name}" for builtins in ("builtins", "__builtin__") for name in _TYPES),
        ),
        _beside_the_arrays,
    ),
}
# Packages whose objects are settings and paths, of which nothing is needed either.
_SETTINGS = (
    *("pathlib", "datetime", "typing", "omegaconf", "yacs", "easydict", "addict", "ml_collections"),
    *("pytorch_lightning", "lightning", "lightning_fabric"),
)


def stand_in(module: str, name: str) -> Callable[..., Any] | np.dtype[Any] | None:
    """Returns what is called, or stands, for a function or class that a pickle names; None for what is refused.

    Example:
      >>> stand_in("pathlib", "PosixPath")("runs", "a"), stand_in("os", "system")
      ({}, None)
    """
    found = STAND_INS.get(f"{module}.{name}")
    if found is None and module.split(".")[0] in _SETTINGS and name.isidentifier():
        return _beside_the_arrays
    return found


def _naturals(numbers: tuple[Any, ...]) -> bool:
    return all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)
