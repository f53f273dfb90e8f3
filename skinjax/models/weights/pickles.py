"""PyTorch's pickles, read by a restricted unpickler: nothing in them is imported, called or built.

A pickle is a program that may import and call anything. Here `find_class` imports nothing and gives the stand-ins
of `skinjax.models.weights.tensors` for the few functions that PyTorch's state dicts name.

That alone would not do. The standard library's unpickler in C takes 32 GB for the memo of a pickle of nine bytes,
and both of its unpicklers hash any key, even a tuple that takes for ever, and set attributes of any object. So this
is its unpickler in Python, reduced to the instructions that tables of tensors need, four of which are replaced.
Work and memory are then bounded by the pickle's length.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from skinjax.models.weights.tensors import Storage, check_key, stand_in, storage_of

_NEEDED = """
    PROTO FRAME STOP MARK PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    EMPTY_LIST APPEND APPENDS EMPTY_DICT GLOBAL STACK_GLOBAL INST REDUCE BINPERSID
""".split()  # noqa: SIM905


class ForbiddenError(ValueError):
    """A pickle names something that tables of tensors do not need, and would run it."""


class Pickle(NamedTuple):
    """Content of a pickle.

    Attributes:
      content: Dicts (ordered ones too), lists (sets too), tuples, numbers, strings, bytes, None, and a `Tensor`
        or `Storage` for each of PyTorch's. Attributes that were pickled with an object are left out.
      storages: All storages that it mentions, by their keys.
    """

    content: Any
    storages: Mapping[str, Storage]


def read_pickle(file: io.BytesIO) -> Pickle:
    """Reads one pickle, behind which the file then stands.

    Args:
      file: Bytes in memory, as many as a pickle may have.

    Returns:
      What it describes.

    Raises:
      ForbiddenError: It names something else; the sentence says what.
      ValueError: It is damaged, or describes an impossible tensor. Other exceptions may occur, too, since a
        damaged program may do anything that the unpickler does not know to be wrong.

    Example:
      >>> import os
      >>> read_pickle(io.BytesIO(pickle.dumps({"epoch": 3}))).content
      {'epoch': 3}
      >>> read_pickle(io.BytesIO(pickle.dumps(os.getcwd, protocol=2)))
      Traceback (most recent call last):
      skinjax.models.weights.pickles.ForbiddenError: it would run posix.getcwd, which no array needs
    """
    unpickler = _Unpickler(file, encoding="latin-1")  # of Python 2's strings, which may be any bytes
    return Pickle(unpickler.load(), unpickler.storages)


class _Unpickler(pickle._Unpickler):
    """Python's unpickler with stand-ins for every function and class, and with fewer instructions."""

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: io.BytesIO, *, encoding: str):
        super().__init__(file, encoding=encoding)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        found = stand_in(module, name)
        if found is None:
            raise ForbiddenError(f"it would run {f'{module}.{name}'[:100]}, which no array needs")
        return found

    def persistent_load(self, identity: Any) -> Storage:
        whole, view = storage_of(identity)
        self.storages.setdefault(whole.key, whole)
        return view

    def _set_item(self) -> None:
        self._fill([self.stack.pop(-2), self.stack.pop()])

    def _set_items(self) -> None:
        self._fill(self.pop_mark())

    def _fill(self, items: list[Any]) -> None:
        table = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            check_key(key)
            table[key] = value

    def _build(self) -> None:
        self.stack.pop()  # attributes, which arrays do not have: a state dict's versions, a parameter's hooks

    dispatch: ClassVar[dict[int, Any]] = {
        code: pickle._Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in _NEEDED)
    }
    dispatch |= {
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.BUILD[0]: _build,
        pickle.NEWOBJ[0]: dispatch[pickle.REDUCE[0]],
        # Of a set nothing is hashed, so that no work hides in it.
        pickle.EMPTY_SET[0]: dispatch[pickle.EMPTY_LIST[0]],
        pickle.ADDITEMS[0]: dispatch[pickle.APPENDS[0]],
    }
