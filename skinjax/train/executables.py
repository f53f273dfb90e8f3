"""Compiled programs that the further processes of a run on CPUs keep and find again.

JAX keeps what the first process compiles, and on GPUs all processes find that: the program is the same. On CPUs JAX's
keys differ by process, and only the first one writes. The others would compile the training step anew in every start;
here they keep their own in the folder of JAX's cache, by `jax.experimental.serialize_executable`.

Such a file is read by `pickle` and holds machine code, as those of JAX do: whoever can write into the folder can run
code as its user.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable

from skinjax.files.atomic import replacing
from skinjax.models.compilation import compiler_options, is_outermost

_LOG = logging.getLogger(__name__)
FOLDER = "processes"


def kept(compute: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Returns a jitted function whose compiled programs this process finds again, where JAX does not see to it.

    Args:
      compute: By `skinjax.models.compilation.jit`.
      name: Of the function, in the names of the files.

    Returns:
      `compute` itself in a single or a first process, on other devices than CPUs, or where JAX has no cache folder.
    """
    cache = getattr(jax.config, "jax_compilation_cache_dir", None)
    if jax.process_index() == 0 or jax.default_backend() != "cpu" or not cache:
        return compute
    return Kept(compute, name, Path(cache) / FOLDER)


class Kept:
    """A jitted function, called with positional arguments, that keeps its compiled programs in files.

    Args:
      compute: By `skinjax.models.compilation.jit` or `jax.jit`, of positional arguments alone.
      name: Of the function.
      folder: Of the files, made if missing.
    """

    def __init__(self, compute: Any, name: str, folder: Path) -> None:
        self._compute = compute
        self._name = name
        self._folder = folder
        self._programs: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Computes, by a program that is compiled or read when arguments of these shapes and places come first."""
        if not is_outermost():
            return self._compute(*arguments)
        leaves, tree = jax.tree.flatten(arguments)
        kind = (tree, tuple((jax.typeof(leaf), getattr(leaf, "sharding", None)) for leaf in leaves))
        if kind not in self._programs:
            self._programs[kind] = self._program(arguments)
        return self._programs[kind](*arguments)

    def _program(self, arguments: tuple[Any, ...]) -> Callable[..., Any]:
        lowered = self._compute.lower(*arguments)
        path = self._folder / f"{self._name}-{_digest(lowered)}"
        try:
            program, given, found = pickle.loads(path.read_bytes())
            return serialize_executable.deserialize_and_load(
                program, given, found, execution_devices=_devices(arguments)
            )
        except FileNotFoundError:
            pass
        except Exception as error:  # whatever a file of another machine or a damaged one brings about
            _LOG.warning("%s cannot be read and is made anew (%s)", path, str(error).splitlines()[:1])
        program = lowered.compile()
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(pickle.dumps(serialize_executable.serialize(program)))
        except OSError as error:
            _LOG.warning("%s cannot be written (%s)", path, error)
        return program


def _devices(arguments: Any) -> list[jax.Device]:
    """Returns the devices that a program with these arguments runs on, in its order."""
    places = [leaf.sharding for leaf in jax.tree.leaves(arguments) if isinstance(leaf, jax.Array)]
    place = max(places, key=lambda one: len(one.device_set), default=None)
    if isinstance(place, jax.sharding.NamedSharding):
        return list(place.mesh.devices.flat)
    return sorted(place.device_set, key=lambda one: one.id) if place else jax.local_devices()[:1]


def _digest(lowered: Any) -> str:
    """Identifies a program, what compiles it, and the devices of which process it is for."""
    device = jax.local_devices()[0]
    known = [
        lowered.as_text(),
        [compiler_options(), compiler_options(gradients=True)],
        jax.__version__,
        device.client.platform_version,
        device.device_kind,
        _processor(),
        [jax.process_index(), jax.process_count(), jax.device_count(), jax.local_device_count()],
    ]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:40]


def _processor() -> str:
    """Returns what the processor can do, since programs are machine code for it; empty where that is not known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
