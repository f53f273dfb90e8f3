"""Folders that Orbax wrote: array names are the paths in the saved tree, joined by "/"."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from skinjax.models.weights.orbax_reads import wait_for_all_reads
from skinjax.models.weights.stored import FORMATS, StoredWeights, UnreadableWeightsError, native, refusing

_KIND = "Orbax checkpoint"


def open_orbax(path: Path) -> StoredWeights:
    """Reads the table of contents of a folder that Orbax wrote.

    Args:
      path: What Orbax saved a pytree into, a step of a checkpoint manager, or the manager's folder.

    Returns:
      Kind "orbax"; dicts and lists of the tree are parts of the names. Texts in the tree are left out.

    Raises:
      UnreadableWeightsError: It is no such folder, holds several trees, or is damaged.
    """
    import orbax.checkpoint as ocp
    from etils import epath

    wait_for_all_reads()
    with refusing(path, _KIND):
        folder = _item_folder(path)
        # The handler, not a Checkpointer, which would warn that an item's folder has no metadata of a whole step.
        tree = ocp.PyTreeCheckpointHandler().metadata(epath.Path(folder.absolute())).tree
        leaves = [(_name(place), leaf) for place, leaf in jax.tree_util.tree_leaves_with_path(tree)]
        shapes = {name: tuple(leaf.shape) for name, leaf in leaves if hasattr(leaf, "shape")}

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        requested = {name: shapes[name] for name in names}
        with refusing(path, _KIND):
            item = jax.tree_util.tree_map_with_path(
                lambda place, leaf: leaf if _name(place) in requested else ocp.PLACEHOLDER, tree
            )
            restore = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
            arguments = ocp.args.PyTreeRestore(item=item, restore_args=restore)
            # A handler of its own: one that has served a full tree refuses a part of it.
            restored = ocp.PyTreeCheckpointHandler().restore(epath.Path(folder.absolute()), args=arguments)
            values = {_name(place): leaf for place, leaf in jax.tree_util.tree_leaves_with_path(restored)}
            return {name: native(np.asarray(values[name])) for name in requested}

    return StoredWeights(folder, "orbax", shapes, read)


def _name(place: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(place, simple=True, separator="/")


def _item_folder(path: Path) -> Path:
    """Finds the folder that holds the tree of variables: this one, an item of a step, or of the latest step."""
    for folder in (path, path / "final"):  # the latter of a network that skinjax has trained to its end
        if (folder / "_METADATA").is_file():
            return folder
    steps = [child for child in path.iterdir() if child.name.isdecimal() and child.is_dir()]
    step = max(steps, key=lambda child: int(child.name), default=path)
    if (step / "_METADATA").is_file():
        return step
    items = sorted(child for child in step.iterdir() if (child / "_METADATA").is_file())
    if not items:
        raise UnreadableWeightsError(f"{path} must be {FORMATS}, got a folder that Orbax did not write")
    if len(items) > 1:
        names = ", ".join(item.name for item in items)
        raise UnreadableWeightsError(
            f"{step} holds several trees ({names}): give the path of the one that is meant"
        )
    return items[0]
