"""Table of contents of a weight file, of any format, and damage told in one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import jax.numpy as jnp
import numpy as np

FORMATS = (
    "an Orbax checkpoint folder, a PyTorch .pth, a Keras .h5, .weights.h5 or .keras, or a .safetensors file"
)
Shape = tuple[int, ...]
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.", "backbone.")
_Entry = TypeVar("_Entry")


@dataclasses.dataclass(frozen=True)
class StoredWeights:
    """Table of contents of a weight file.

    Attributes:
      path: What was opened; of a folder of steps, the step's own folder.
      kind: "orbax", "safetensors" ("skinjax" where it is ours), "torch", "keras_legacy" (`.h5`) or "keras3"
        (`.weights.h5`, `.keras`).
      shapes: Shape of every array, by its name in the file, in the file's order.
      read: Gives the values of the arrays of these names, each of its shape and in the type it is stored in
        and the machine's byte order, bfloat16 as float32; the arrays may be read-only. Raises KeyError for a
        name that is not in `shapes`, ValueError if the values cannot be read.
      layer_names: The layer that holds an array, for formats whose array names do not tell ("keras3").
      note: What was chosen where the file left a choice, or "": the entry of a checkpoint that was taken, the
        prefix that all names had.
      part: The part of the file that was asked for, as the beginning of its names, or "" for the whole.
      architecture: What the file says that it is of, such as timm's name of a network, or "".
    """

    path: Path
    kind: str
    shapes: Mapping[str, Shape]
    read: Callable[[Iterable[str]], dict[str, np.ndarray]]
    layer_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    note: str = ""
    part: str = ""
    architecture: str = ""


class UnreadableWeightsError(ValueError):
    """A weight file is damaged, or of no format that is read.

    Args:
      sentence: What is wrong, beginning with the path. What cannot be printed in it, as names in a damaged file
        may not, is escaped.
    """

    def __init__(self, sentence: str):
        super().__init__("".join(char if char.isprintable() else ascii(char)[1:-1] for char in sentence))


@contextlib.contextmanager
def refusing(path: str | Path, what: str) -> Iterator[None]:
    r"""Turns whatever a parser raises inside into one sentence about the file.

    Args:
      path: The file, for the sentence.
      what: What it should be, like "Keras file".

    Raises:
      UnreadableWeightsError: Anything was raised inside. Its kind does not matter: of bytes that are not what
        they should be, parsers raise what they happen to stumble over. Words of ours, which begin with "it" or
        "its", are in the sentence, and so is what the operating system refuses.

    Example:
      >>> with refusing("b0.h5", "Keras file"):
      ...   raise ValueError("its root is no group")
      Traceback (most recent call last):
      skinjax.models.weights.stored.UnreadableWeightsError: b0.h5 is not a whole Keras file: its root is no group
    """
    try:
        yield
    except UnreadableWeightsError:
        raise
    except Exception as error:
        # A damaged address may lie before the beginning of the file, which is an invalid argument.
        if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:
            raise UnreadableWeightsError(f"{path} cannot be read: {error.strerror}") from error
        known = str(error).startswith(("it ", "its "))
        reason = str(error)[:200] if known else "a part of it is missing or damaged"
        raise UnreadableWeightsError(f"{path} is not a whole {what}: {reason}") from error


def without_prefix(table: Mapping[str, _Entry], part: str = "") -> tuple[dict[str, _Entry], str]:
    """Leaves off what modules around a network put before the names of all its arrays.

    Args:
      table: By name. `n_averaged`, which PyTorch's `AveragedModel` adds without a prefix, does not count.
      part: The part of the file that was asked for, by its names; nothing is left off then, but for "" and ".".

    Returns:
      The table by the shorter names, and what was left off, for `StoredWeights.note`.

    Example:
      >>> without_prefix({"module.net.fc.weight": 1, "module.net.fc.bias": 2, "n_averaged": 3})
      ({'fc.weight': 1, 'fc.bias': 2, 'n_averaged': 3}, 'the prefix module.net. of all names was left off')
    """
    names = [name for name in table if name != "n_averaged"]
    if part not in ("", "."):
        return dict(table), ""
    whole = ""
    for _ in range(4):  # as deep as anyone nests
        whole += next((p for p in _PREFIXES if names and all(n.startswith(whole + p) for n in names)), "")
    note = f"the prefix {whole} of all names was left off" if whole else ""
    return {name.removeprefix(whole): entry for name, entry in table.items()}, note


def native(values: np.ndarray) -> np.ndarray:
    """Copies an array into the machine's byte order, row by row, bfloat16 as float32.

    Args:
      values: Numbers of any type, in any order.

    Returns:
      The same numbers and shape.

    Example:
      >>> native(np.array([1, 2], ">i2")).dtype, native(np.ones(1, jnp.bfloat16)).dtype
      (dtype('int16'), dtype('float32'))
    """
    return np.array(
        values, np.float32 if values.dtype == jnp.bfloat16 else values.dtype.newbyteorder("="), order="C"
    )
