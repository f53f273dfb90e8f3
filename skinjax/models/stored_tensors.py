"""Tensors as PyTorch's pickles describe them: what lies where, checked, without a number read."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from skinjax.models.stored_arrays import Shape

_MOST_AXES = 32


@dataclasses.dataclass(frozen=True)
class Storage:
    """A run of numbers that tensors lie in.

    Attributes:
      key: its name in the file.
      dtype: type of a number, little-endian; uint16 for bfloat16, which numpy does not have.
      bfloat16: whether it is that.
      size: how many numbers.
      start: the first of them, where this is a view of the run of that name.
    """

    key: str
    dtype: np.dtype[Any]
    bfloat16: bool
    size: int
    start: int = 0


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where in a storage a tensor's numbers are.

    Attributes:
      storage: what it lies in.
      offset: number of its first element there.
      shape: its shape.
      strides: steps in the storage, in elements, by which its axes advance.
    """

    storage: Storage
    offset: int
    shape: Shape
    strides: Shape


@dataclasses.dataclass(frozen=True)
class Named:
    """What stands for a function or class that a pickle names.

    Attributes:
      name: its module and its name, with a space between them.
    """

    name: str


_STORAGE_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# Those that real files need: `_rebuild_tensor` and `Parameter` stand in what PyTorch before 0.4 wrote.
ALLOWED = {
    "collections OrderedDict",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch.nn.parameter Parameter",
    *(f"{module} {name}" for module in ("torch", "torch.cuda") for name in _STORAGE_TYPES),
    # What training scripts keep beside the arrays: their flags, and the best score as a number of numpy's.
    "argparse Namespace",
    "_codecs encode",
    "numpy dtype",
    "numpy.core.multiarray scalar",
    "numpy._core.multiarray scalar",
}


def as_key(key: Any) -> Any:
    """Lets a key into a dict only if hashing it is little work.

    Args:
      key: what a pickle wants to be a key.

    Returns:
      The key.

    Raises:
      ValueError: it is none of text, bytes, number of 64 bits or None.
    """
    # A tuple of tuples of tuples, each twice, takes forever to hash; long numbers may all have one hash.
    short = isinstance(key, int) and key.bit_length() < 64
    if not short and not isinstance(key, str | float | bytes | None):
        raise ValueError(f"it has a key of a kind that is not read ({type(key).__name__})")
    return key


def result_of(function: Named, arguments: tuple[Any, ...]) -> Any:
    """What a function gives, as far as it is wanted here.

    Args:
      function: one of `ALLOWED`.
      arguments: what it is called with; a list of pairs for an OrderedDict is used up.

    Returns:
      A dict for an OrderedDict, a `Tensor` for PyTorch's tensors and parameters, a tuple for a Size, an empty dict
      for what is beside the arrays.

    Raises:
      ValueError: the arguments are not such as PyTorch writes, or the tensor does not lie within its storage.

    Example:
      >>> storage = Storage("0", np.dtype("<f4"), bfloat16=False, size=6)
      >>> result_of(Named("torch._utils _rebuild_tensor"), (storage, 0, (2, 3), (3, 1))).shape
      (2, 3)
    """
    name = function.name.split(" ")[1]
    if name == "OrderedDict":
        return _ordered_dict(*arguments)
    if name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
        # storage, offset, shape, strides; then requires_grad, hooks and, from 2.0 on, metadata
        if len(arguments) > 6 and arguments[6]:
            raise ValueError(
                "it has a tensor whose values are not as they are stored (conjugate or negative)"
            )
        return _tensor(*arguments[:4])
    if name in ("_rebuild_parameter", "Parameter"):
        if not arguments or not isinstance(arguments[0], Tensor):
            raise ValueError("it has a parameter that is no tensor")
        return arguments[0]
    if name == "Size":
        return arguments[0]
    if name == "device":
        return None
    if name in ("Namespace", "encode", "dtype", "scalar"):
        return {}
    raise ValueError(f"it calls {name}")


def storage_of(identity: Any) -> tuple[Storage, Storage]:
    """The storage that a persistent id means, and the view of it.

    Args:
      identity: "storage", its type, key, device and length, and in the older format the key, start and length of
        a view, or None.

    Returns:
      The storage, and its view or the storage again.

    Raises:
      ValueError: it is no such id, its type is not read, or the view does not lie within the storage.
    """
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise ValueError("it refers to something that is no storage")
    _, kind, key, _, size = identity[:5]
    if not isinstance(kind, Named) or not isinstance(key, str):
        raise ValueError("it has a storage without a type or a name")
    kind_name = kind.name.split(" ")[1]
    if kind_name not in _STORAGE_TYPES or not _naturals((size,)):
        raise ValueError(f"it has a storage of a type or size that is not read ({kind_name})")
    dtype, bfloat16 = np.dtype(_STORAGE_TYPES[kind_name]), kind_name == "BFloat16Storage"
    whole = Storage(key, dtype, bfloat16, size)
    if len(identity) == 5 or identity[5] is None:
        return whole, whole
    _, start, part = identity[5]
    if not _naturals((start, part)) or start + part > size:
        raise ValueError("it has a view that reaches beyond its storage")
    return whole, dataclasses.replace(whole, start=start, size=part)


def _ordered_dict(pairs: Any = None) -> dict[Any, Any]:
    """What Python 2 wrote with a list of pairs in it, and Python 3 writes empty, to be filled later."""
    table = {}
    if pairs is not None:
        if not isinstance(pairs, list):
            raise ValueError("it has a table that is made of no list")
        for key, value in pairs:
            table[as_key(key)] = value
        pairs.clear()  # a list that made a million tables would be work without end
    return table


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    """A tensor that lies within its storage."""
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


def _naturals(numbers: tuple[Any, ...]) -> bool:
    return all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)
