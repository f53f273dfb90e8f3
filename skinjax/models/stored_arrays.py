"""What the weight formats have in common: a table of contents, and damage told in one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

FORMATS = (
    "an Orbax checkpoint folder, a PyTorch .pth, a Keras .h5, .weights.h5 or .keras, or a .safetensors file"
)
Shape = tuple[int, ...]
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.", "backbone.")
_Entry = TypeVar("_Entry")


@dataclasses.dataclass(frozen=True)
class StoredWeights:
    """The table of contents of a weight file.

    Attributes:
      path: what was opened; of a folder of steps, the step's own folder.
      kind: "orbax", "safetensors", "torch", "keras_legacy" (`.h5`) or "keras3" (`.weights.h5`, `.keras`).
      shapes: shape of every array, by its name in the file, in the file's order.
      read: gives the values of the arrays of these names, each of its shape and in the type it is stored in
        and the machine's byte order, bfloat16 as float32; the arrays may be read-only. Raises KeyError for a
        name that is not in `shapes`, ValueError if the values cannot be read.
      layer_names: the layer that holds an array, for formats whose array names do not tell ("keras3").
      note: what was chosen where the file left a choice, or "": the entry of a checkpoint that was taken, the
        prefix that all names had.
    """

    path: Path
    kind: str
    shapes: Mapping[str, Shape]
    read: Callable[[Iterable[str]], dict[str, np.ndarray]]
    layer_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    note: str = ""


class UnreadableWeightsError(ValueError):
    """A weight file is damaged, or of no format that is read.

    Args:
      sentence: what is wrong, beginning with the path. What cannot be printed in it, as names in a damaged file
        may not, is escaped.
    """

    def __init__(self, sentence: str):
        super().__init__("".join(char if char.isprintable() else ascii(char)[1:-1] for char in sentence))


@contextlib.contextmanager
def refusing(path: str | Path, what: str) -> Iterator[None]:
    r"""Turns whatever a parser raises inside into one sentence about the file.

    Args:
      path: the file, for the sentence.
      what: what it should be, like "Keras file".

    Raises:
      UnreadableWeightsError: anything was raised inside. Its kind does not matter: of bytes that are not what
        they should be, parsers raise what they happen to stumble over. Words of ours, which begin with "it" or
        "its", are in the sentence, and so is what the operating system refuses.

    Example:
      >>> with refusing("b0.h5", "Keras file"):
      ...   raise ValueError("its root is no group")
      Traceback (most recent call last):
      skinjax.models.stored_arrays.UnreadableWeightsError: b0.h5 is not a whole Keras file: its root is no group
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


def without_prefix(table: Mapping[str, _Entry]) -> tuple[dict[str, _Entry], str]:
    """Leaves off what modules around a network put before the names of all its arrays.

    Args:
      table: by name. `n_averaged`, which PyTorch's `AveragedModel` adds without a prefix, does not count.

    Returns:
      The table by the shorter names, and what was left off, for `StoredWeights.note`.

    Example:
      >>> without_prefix({"module.net.fc.weight": 1, "module.net.fc.bias": 2, "n_averaged": 3})
      ({'fc.weight': 1, 'fc.bias': 2, 'n_averaged': 3}, 'the prefix module.net. of all names was left off')
    """
    names = [name for name in table if name != "n_averaged"]
    whole = ""
    for _ in range(4):  # as deep as anyone nests
        whole += next((p for p in _PREFIXES if names and all(n.startswith(whole + p) for n in names)), "")
    note = f"the prefix {whole} of all names was left off" if whole else ""
    return {name.removeprefix(whole): entry for name, entry in table.items()}, note


def from_bfloat16(halves: np.ndarray) -> np.ndarray:
    """The values of bfloat16 numbers, which are the upper halves of float32's.

    Args:
      halves: uint16, of any shape.

    Returns:
      float32 of that shape.

    Example:
      >>> from_bfloat16(np.array([0x3F80, 0xC000], np.uint16))
      array([ 1., -2.], dtype=float32)
    """
    return (halves.astype(np.uint32) << 16).view(np.float32)
