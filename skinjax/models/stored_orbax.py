"""Folders that Orbax wrote: array names are the paths in the saved tree, joined by "/"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skinjax.models.stored_arrays import FORMATS, StoredWeights, UnreadableWeightsError, refusing


def open_orbax(path: Path) -> StoredWeights:
    """Reads the table of contents of a folder.

    Args:
      path: what Orbax saved a pytree into, a step of a checkpoint manager, or the manager's folder.

    Returns:
      Kind "orbax"; dicts and lists of the tree are parts of the names.

    Raises:
      UnreadableWeightsError: it is no such folder, holds several trees, or is damaged.
    """
    import orbax.checkpoint as ocp
    from etils import epath

    with refusing(path, "Orbax checkpoint"):
        folder = _item_folder(path)
        # The handler, not a Checkpointer, which would warn that an item's folder has no metadata of a whole step.
        tree = ocp.PyTreeCheckpointHandler().metadata(epath.Path(folder.absolute())).tree
        shapes = {name: tuple(leaf.shape) for name, leaf in _flatten(tree)}

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted = {name: shapes[name] for name in names}
        with refusing(path, "Orbax checkpoint"):
            item = _subtree(tree, set(wanted))
            restore = _map_leaves(item, lambda _: ocp.RestoreArgs(restore_type=np.ndarray))
            arguments = ocp.args.PyTreeRestore(item=item, restore_args=restore, partial_restore=True)
            # A handler of its own: one that has served a full tree refuses a part of it.
            restored = ocp.PyTreeCheckpointHandler().restore(epath.Path(folder.absolute()), args=arguments)
            return {name: np.asarray(leaf) for name, leaf in _flatten(restored)}

    return StoredWeights(folder, "orbax", shapes, read)


def _item_folder(path: Path) -> Path:
    """The folder that holds the tree of variables: this one, an item of a step, or of the latest step."""
    if (path / "_METADATA").is_file():
        return path
    steps = sorted((child for child in path.iterdir() if child.name.isdecimal()), key=lambda c: int(c.name))
    step = steps[-1] if steps else path
    if (step / "_METADATA").is_file():
        return step
    items = (
        sorted(child for child in step.iterdir() if (child / "_METADATA").is_file()) if step.is_dir() else []
    )
    if not items:
        raise UnreadableWeightsError(
            f"{path} is not an Orbax checkpoint folder; pretrained weights want {FORMATS}"
        )
    if len(items) > 1:
        names = ", ".join(item.name for item in items)
        raise UnreadableWeightsError(
            f"{step} holds several trees ({names}): give the path of the one that is meant"
        )
    return items[0]


def _flatten(tree: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Leaves of nested dicts and lists with their paths; empty places (None) are no leaves."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _flatten(value, f"{prefix}/{key}" if prefix else str(key))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from _flatten(value, f"{prefix}/{index}" if prefix else str(index))
    elif tree is not None:
        yield prefix, tree


def _subtree(tree: Any, wanted: set[str], prefix: str = "") -> dict[str, Any]:
    """The part of nested dicts whose leaves are wanted."""
    part = {}
    for key, value in tree.items():
        path = f"{prefix}/{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            below = _subtree(value, wanted, path)
            if below:
                part[key] = below
        elif path in wanted:
            part[key] = value
    return part


def _map_leaves(tree: Mapping[str, Any], function: Callable[[Any], Any]) -> dict[str, Any]:
    return {
        key: _map_leaves(value, function) if isinstance(value, Mapping) else function(value)
        for key, value in tree.items()
    }
