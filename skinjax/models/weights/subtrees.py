"""Finds the network in a state dict: below which prefix of names, and what lies beside it.

A checkpoint names a network's arrays as the program around it does: `model.` in a Lightning module, `backbone.` or
`encoder.` under a head of one's own, `module._orig_mod.` after PyTorch's wrappers, `0.` in a Sequential. Any prefix
will do below which all names of the network are. `features.`, which torchvision's networks put before all but the head,
may be gone, as where the features alone were taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

_FEATURES = "features."
# Words in a prefix of weights that were averaged in training.
_AVERAGED = {"ema", "swa", "averaged", "average", "avg"}


class Subtree(NamedTuple):
    """A part of a state dict that is the network, or looks like it.

    Attributes:
      prefix: What its names begin with, "" or with a dot at the end.
      variables: Our variables by the names of its arrays.
      missing: How many variables it lacks, the head's aside.
      strangers: Names of arrays amid its layers that the network does not have.
    """

    prefix: str
    variables: Mapping[str, str]
    missing: int
    strangers: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Returns whether it has all of the network's names and no other amid them."""
        return not self.missing and not self.strangers

    @property
    def averaged(self) -> bool:
        """Returns whether its prefix says that it is an average over the steps of training (EMA, SWA)."""
        return bool(_AVERAGED & set(re.split(r"[._]", self.prefix.lower())))


def find_subtrees(
    arrays: Iterable[str], names: Mapping[str, str], head: str, known: Callable[[str], object]
) -> tuple[Subtree, ...]:
    """Finds the parts of a state dict that have most of a network's arrays.

    Args:
      arrays: Names in the state dict.
      names: Variable of ours by its name, or names, in a state dict of the network alone.
      head: Name of the head's layer, which may be absent.
      known: Returns something for the name of an array that every network may have beside its variables.

    Returns:
      The complete ones; where there is none, those that lack least. Empty where all lack more than half.

    Example:
      >>> names = {"conv.weight": "params/conv/kernel", "fc.weight": "params/head/kernel"}
      >>> arrays = ["net.conv.weight", "net.fc.weight", "loss.weight"]
      >>> [(found.prefix, found.complete) for found in find_subtrees(arrays, names, "head", lambda name: None)]
      [('net.', True)]
    """
    arrays = tuple(arrays)
    body = {name: variable for name, variable in names.items() if not variable.startswith(f"params/{head}/")}
    bare = {name.removeprefix(_FEATURES): body[name] for name in body if name.startswith(_FEATURES)}
    ours = set(body.values())
    found = []
    for table in (names, bare):
        by_prefix: dict[str, dict[str, str]] = {}
        for array in arrays:
            for prefix in _prefixes(array):
                if (variable := table.get(array[len(prefix) :])) is not None:
                    by_prefix.setdefault(prefix, {})[array] = variable
        for prefix, variables in by_prefix.items():
            inside = {array: name for array, name in variables.items() if name in ours}
            missing = len(ours) - len(set(inside.values()))
            found.append((missing, prefix, variables, inside))
    least = min((missing for missing, *_ in found), default=0)
    if 2 * least > len(ours):
        return ()
    subtrees: dict[frozenset[str], Subtree] = {}
    for missing, prefix, variables, inside in found:
        if missing == least:
            strangers = _strangers(arrays, prefix, variables, inside, known)
            # The first of those that share their arrays has the head.
            subtrees.setdefault(frozenset(inside), Subtree(prefix, variables, missing, strangers))
    complete = tuple(subtree for subtree in subtrees.values() if subtree.complete)
    return complete or tuple(sorted(subtrees.values(), key=lambda subtree: len(subtree.strangers)))


def in_part(prefix: str, part: str) -> bool:
    """Returns whether names of this prefix are in the part of a file that was asked for ("." for those in no module).

    Example:
      >>> in_part("model.student.net.", "student"), in_part("students.net.", "student"), in_part("", ".")
      (True, False, True)
    """
    return not prefix if part == "." else f".{part.strip('.')}." in f".{prefix}"


def _prefixes(array: str) -> Iterable[str]:
    """Yields "", "model.", "model.net." for "model.net.weight"."""
    yield ""
    for dot in re.finditer(r"\.", array):
        yield array[: dot.end()]


def _strangers(
    arrays: Iterable[str],
    prefix: str,
    variables: Mapping[str, str],
    inside: Iterable[str],
    known: Callable[[str], object],
) -> tuple[str, ...]:
    """Returns the arrays in the modules of the network that it does not have: it is another network then."""
    modules = {array[len(prefix) :].split(".")[0] for array in inside}
    return tuple(
        array
        for array in arrays
        if array.startswith(prefix)
        and array not in variables
        and array[len(prefix) :].split(".")[0] in modules
        and not known(array[len(prefix) :])
    )
