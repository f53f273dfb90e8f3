"""Pickles of PyTorch, read without unpickling: what they describe, with nothing imported, called or built.

A pickle is a program for a small machine, and Python's machine may import and call anything. The one here
knows the instructions that tables of tensors need; of the few functions that PyTorch names in them it takes
the arguments down. Work and memory are bounded by the pickle's length.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple, cast

from skinjax.models.stored_tensors import ALLOWED, Named, Storage, Tensor, as_key, result_of, storage_of

# State dicts of networks with a thousand arrays take a fifth of a megabyte, their optimizers twice that again.
LONGEST_PICKLE = 4 << 20


class ForbiddenError(ValueError):
    """A pickle wants something imported that tables of tensors do not need."""


class _Bounded:
    """A file that hands out no more than a number of bytes, and allocates none that it does not have."""

    def __init__(self, file: BinaryIO, limit: int):
        self._file, self._left = file, limit

    def read(self, count: int) -> bytes:
        return self._taken(self._file.read(min(count, self._left)))

    def readline(self) -> bytes:
        return self._taken(self._file.readline(self._left))

    def _taken(self, content: bytes) -> bytes:
        self._left -= len(content)
        return content


class Pickle(NamedTuple):
    """What a pickle describes.

    Attributes:
      content: dicts (ordered ones too), lists (sets too), tuples, numbers, strings, bytes, None, and a `Tensor`
        or `Storage` for each of PyTorch's. Attributes that were pickled with an object are left out.
      storages: all storages that it mentions, by their keys.
    """

    content: Any
    storages: Mapping[str, Storage]


def read_pickle(file: BinaryIO, limit: int = LONGEST_PICKLE) -> Pickle:
    """Reads one pickle from a file, which then stands behind it.

    Args:
      file: an open file.
      limit: the most bytes that it may have.

    Returns:
      What it describes.

    Raises:
      ForbiddenError: it names something else, which it thus would run; the sentence says what.
      ValueError: it is damaged, or describes an impossible tensor; other exceptions may occur, too, since a
        damaged program may do anything that this machine does not know to be wrong.

    Example:
      >>> import io, os, pickle
      >>> read_pickle(io.BytesIO(pickle.dumps({"epoch": 3}))).content
      {'epoch': 3}
      >>> read_pickle(io.BytesIO(pickle.dumps(os.getcwd, protocol=2)))
      Traceback (most recent call last):
      skinjax.models.stored_pickle.ForbiddenError: it wants to run posix.getcwd, which no array needs
    """
    machine = _Machine()
    bounded = cast(BinaryIO, _Bounded(file, limit))
    for opcode, argument, _ in pickletools.genops(bounded):
        machine.step(opcode.name, argument)
    return Pickle(machine.stack.pop(), machine.storages)


class _Machine:
    """The stack, what was put aside for a mark, and what the instructions do to them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.storages: dict[str, Storage] = {}
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}  # a dict, since a damaged number could make a list of any length

    def step(self, name: str, argument: Any) -> None:
        """Carries out an instruction."""
        if name in _PUSHES_ITS_ARGUMENT:
            if isinstance(argument, int) and argument.bit_length() > 128:
                raise ValueError("it has a number of more than 128 bits")
            self.stack.append(argument)
        elif name in _PUSHES:
            self.stack.append(_PUSHES[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            self._check_depth(count)
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            if argument not in self._memo:
                raise ValueError("it takes more than there is")
            self.stack.append(self._memo[argument])
        elif name in _INSTRUCTIONS:
            _INSTRUCTIONS[name](self, argument)
        else:
            raise ValueError(f"it has an instruction that no table of tensors needs ({name})")

    def _check_depth(self, count: int) -> None:
        if len(self.stack) < count:
            raise ValueError("it takes more than there is")

    def _pop(self) -> Any:
        self._check_depth(1)
        return self.stack.pop()

    def _pop_marked(self) -> list[Any]:
        if not self._marked:
            raise ValueError("it takes more than there is")
        items, self.stack = self.stack, self._marked.pop()
        return items

    def _mark(self, _: Any) -> None:
        self._marked.append(self.stack)
        self.stack = []

    def _marked_tuple(self, _: Any) -> None:
        items = tuple(self._pop_marked())
        self.stack.append(items)

    def _append(self, _: Any) -> None:
        item = self._pop()
        self._top(list).append(item)

    def _extend(self, _: Any) -> None:
        items = self._pop_marked()
        self._top(list).extend(items)

    def _set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._top(dict)[as_key(key)] = value

    def _set_items(self, _: Any) -> None:
        items = self._pop_marked()
        table = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            table[as_key(key)] = value

    def _top(self, kind: type) -> Any:
        self._check_depth(1)
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"it fills a {type(self.stack[-1]).__name__} as if it were a {kind.__name__}")
        return self.stack[-1]

    def _global(self, name: str) -> None:
        if name not in ALLOWED:
            self._forbid(name)
        self.stack.append(Named(name))

    def _forbid(self, name: str) -> None:
        raise ForbiddenError(f"it wants to run {name.replace(' ', '.')[:100]}, which no array needs")

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._global(f"{module} {name}" if isinstance(name, str) and isinstance(module, str) else "?")

    def _call(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise ValueError("it calls what is no function")
        self.stack.append(result_of(function, arguments))

    def _build(self, _: Any) -> None:
        # Attributes, which arrays do not have: a state dict's versions of modules, a parameter's hooks.
        self._pop()
        self._check_depth(1)
        if not isinstance(self.stack[-1], dict | Tensor):
            raise ValueError(f"it gives attributes to a {type(self.stack[-1]).__name__}")

    def _persistent(self, _: Any) -> None:
        whole, view = storage_of(self._pop())
        self.storages.setdefault(whole.key, whole)
        self.stack.append(view)


_PUSHES_ITS_ARGUMENT = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
)
_PUSHES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,  # of a set nothing is hashed, so that no work hides in it
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, argument: None,
    "FRAME": lambda machine, argument: None,
    "STOP": lambda machine, argument: machine._check_depth(1),
    "MARK": _Machine._mark,
    "TUPLE": _Machine._marked_tuple,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._extend,
    "ADDITEMS": _Machine._extend,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "GLOBAL": _Machine._global,
    "INST": _Machine._forbid,  # an old way to name and call at once, which PyTorch never used
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._call,
    "NEWOBJ": _Machine._call,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent,
}
