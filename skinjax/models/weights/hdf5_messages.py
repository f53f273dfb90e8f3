"""Messages of HDF5: shape, type, place and attributes in an object's header.

The numbers are those of the HDF5 File Format Specification, version 3.0, whose sections are named.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from skinjax.models.weights.stored import Shape

DATASPACE, DATATYPE, EXTERNAL, LAYOUT, ATTRIBUTE = 1, 3, 7, 8, 12
_MOST_AXES = 32
# Size, then place and width of exponent and mantissa, and bias (IV.A.2.d).
_FLOATS = {(2, 10, 5, 0, 10, 15): "f2", (4, 23, 8, 0, 23, 127): "f4", (8, 52, 11, 0, 52, 1023): "f8"}
_BFLOAT16, _BFLOAT16_FIELDS = np.dtype(jnp.bfloat16), (2, 7, 8, 0, 7, 127)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The place of an array in the file.

    Attributes:
      shape: Its shape.
      dtype: Type of its numbers; None if it is not read.
      start: Its first byte, counted from the beginning of the HDF5 file.
      size: Number of its bytes, all of which the file has.
      problem: Why it cannot be read, or "".
    """

    shape: Shape
    dtype: np.dtype[Any] | None
    start: int
    size: int
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Attribute:
    """An attribute that is not decoded yet.

    Attributes:
      datatype: Its type's message.
      count: How many values.
      values: Their bytes.
    """

    datatype: bytes
    count: int
    values: bytes


def dataset_of(messages: Mapping[int, tuple[bytes, int]], file_size: int) -> Dataset:
    """Describes an array from the messages of its header.

    Args:
      messages: Content and place of each message, by its type.
      file_size: Number of bytes that the file has.

    Returns:
      The array, with its `problem` if its numbers cannot be read.

    Raises:
      ValueError: It has no shape or no type.
    """
    if DATASPACE not in messages or DATATYPE not in messages:
        raise ValueError("it has an array without a shape or without a type")
    shape, dtype = shape_of(messages[DATASPACE][0]), dtype_of(messages[DATATYPE][0])
    layout, place = messages[LAYOUT]
    version, layout_class = layout[0], layout[1]  # IV.A.2.i
    start, size, problem = 0, 0, ""
    if EXTERNAL in messages:
        problem = "lies in another file, which is not opened"
    elif layout_class == 2:
        problem = "is stored in chunks, perhaps compressed, which Keras does not write"
    elif version not in (3, 4) or layout_class > 2:
        problem = "is stored in a way that Keras does not write"
    elif dtype is None:
        problem = "is of a type that is not read"
    else:
        if layout_class == 0:  # in the header itself
            start, size = place + 4, int.from_bytes(layout[2:4], "little")
        else:
            start, size = struct.unpack("<QQ", layout[2:18])
            start = start if size else 0  # an array without numbers is nowhere
        if math.prod(shape) * dtype.itemsize != size or start + size > file_size:
            problem = f"of shape {list(shape)} does not fit its {size} bytes"
    return Dataset(shape, dtype, start, size, problem)


def shape_of(message: bytes) -> Shape:
    """Decodes a shape.

    Args:
      message: A dataspace message (IV.A.2.b).

    Returns:
      The shape; that of h5py's Empty is (0,).

    Raises:
      ValueError: It has too many axes, or is of an unknown version.

    Example:
      >>> shape_of(bytes([1, 2, 0, 0, 0, 0, 0, 0]) + (3).to_bytes(8, "little") + (5).to_bytes(8, "little"))
      (3, 5)
    """
    version, rank = message[0], message[1]
    if version not in (1, 2) or rank > _MOST_AXES:
        raise ValueError(f"it has an array of {rank} axes")
    if version == 2 and message[3] == 2:
        return (0,)  # h5py's Empty
    first = 8 if version == 1 else 4
    return struct.unpack(f"<{rank}Q", message[first : first + 8 * rank])


def dtype_of(message: bytes) -> np.dtype[Any] | None:
    """Decodes a type of numbers.

    Args:
      message: A datatype message (IV.A.2.d).

    Returns:
      The type for numpy, or None for one that is not read.

    Example:
      >>> dtype_of(bytes([0x10, 8, 0, 0, 4, 0, 0, 0, 0, 0, 32, 0]))
      dtype('int32')
    """
    kind, bits = message[0] & 15, message[1]
    size = int.from_bytes(message[4:8], "little")
    order = ">" if bits & 1 else "<"
    if kind == 0 and size in (1, 2, 4, 8) and message[8:12] == struct.pack("<HH", 0, 8 * size):
        return np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}")
    if kind == 1 and not bits & 64:
        fields = (size, *struct.unpack("<4BI", message[12:20]))
        if fields == _BFLOAT16_FIELDS and order == "<":
            return _BFLOAT16
        return np.dtype(order + _FLOATS[fields]) if fields in _FLOATS else None
    # Opaque: what h5py makes of the bfloat16 that numpy does not know.
    return _BFLOAT16 if kind == 5 and size == 2 else None


def attribute_of(message: bytes) -> tuple[str, Attribute]:
    """Decodes an attribute.

    Args:
      message: An attribute message (IV.A.2.m).

    Returns:
      Its name and itself.

    Raises:
      ValueError: It is of an unknown version, or its type is stored elsewhere.
    """
    version = message[0]
    if version not in (1, 2, 3) or (version > 1 and message[1]):
        raise ValueError("it has an attribute in a way that Keras does not write")
    widths = struct.unpack("<3H", message[2:8])
    position = 9 if version == 3 else 8
    parts = []
    for width in widths:
        parts.append(message[position : position + width])
        position += (width + 7) // 8 * 8 if version == 1 else width
    name, datatype, space = parts
    return name.rstrip(b"\0").decode("utf-8"), Attribute(
        datatype, math.prod(shape_of(space)), message[position:]
    )
