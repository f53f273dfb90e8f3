"""Orbax checkpoints of a network in training, of its best epoch, and of what it came to.

    <folder>/<update>/        the newest two states, each with its record: history, best epoch
    <folder>/best_<update>/   variables of the best epochs, where one is chosen; the newest three
    <folder>/final/           variables of the finished network

A state knows its update count, and the data order is a function of that and the seed alone, so nothing else has to be
saved of the input. A save goes on beside the updates until `wait` is called, which trainings on a CPU do at once. It
becomes visible only when whole: a kill in the middle of one leaves those before it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from skinjax.models.weights.orbax_reads import wait_for_all_reads
from skinjax.runs.processes import another_ended, first_line
from skinjax.train.state import TrainState
from skinjax.train.stopping import Best

KEPT, BEST_KEPT = 2, 3
FINAL, BEST = "final", "best_"
_PARTS = {"params": "network", "opt_state": "optimizer", "average": "average_decay"}
UPDATES_BETWEEN_AGREEMENTS = (
    20  # of several processes on whether a checkpoint is due, as that makes them wait
)

Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Record:
    """Record of a training beside its state.

    Attributes:
      history: rows for `metrics.csv`, one per finished epoch and split.
      best: the best epoch so far, where one is chosen.
      stopped: whether training ended before its last epoch.
    """

    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best: Best | None = None
    stopped: bool = False


class Checkpoints:
    """The checkpoints of one network in one folder; use as a context manager, which waits for the last save.

    All processes of a run use it together: each writes its part, and the folder must be one that all can see.
    """

    def __init__(self, folder: Path, *, seconds: float = 60.0):
        """Opens a folder, made if missing.

        Args:
          folder: of this network alone.
          seconds: `save` does nothing while the last save is younger than this, unless forced.
        """
        self._seconds, self._folder = seconds, folder
        self._saved_at = time.monotonic()
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=KEPT, create=True, enable_async_checkpointing=True
            ),
        )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            self._manager.close()
        except Exception as error:
            if kind is None:  # else the error that ended the training is the one to tell
                raise self._cannot_write(error) from error

    @property
    def newest(self) -> int | None:
        """Returns the update of the newest checkpoint; None where there is none."""
        step: int | None = self._manager.latest_step()
        return step

    def is_due(self, update: int) -> bool:
        """Returns whether the last save is old enough for another after this update, the same in all processes."""
        due = time.monotonic() - self._saved_at >= self._seconds
        if jax.process_count() == 1:
            return due
        if update % UPDATES_BETWEEN_AGREEMENTS:
            return False
        return bool(multihost_utils.broadcast_one_to_all(np.bool_(due)))

    def save(self, update: int, state: TrainState, record: Record) -> None:
        """Saves, unless this update is saved already.

        Args:
          update: how many updates `state` has had.
          state: saved as it is now; may be donated to the next step at once.
          record: of the training up to here.

        Raises:
          OSError: This save, or the one before it, could not be written.
        """
        if self._manager.latest_step() == update:
            return
        kept = dataclasses.asdict(record) | {"arrays": _arrays(state)}
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(kept))
        try:
            self._manager.save(update, args=arguments)
        except Exception as error:  # Orbax raises whatever its storage layers raise
            raise self._cannot_write(error) from error
        self._saved_at = time.monotonic()

    def wait(self) -> None:
        """Returns when the last save is written, from when on its age counts.

        Raises:
          OSError: It could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._cannot_write(error) from error
        self._saved_at = time.monotonic()

    def _cannot_write(self, error: Exception) -> OSError:
        full = "space left" in str(error) or "ENOSPC" in str(error) or "quota" in str(error).lower()
        reason = "no space is left on the device" if full else first_line(error)
        return OSError(
            f"{self._folder}: a checkpoint could not be written, {reason}; those before it are whole"
        )

    def restore(self, state: TrainState) -> tuple[TrainState, Record] | None:
        """Restores the newest checkpoint that can be read; those that cannot are deleted, and it is said.

        Args:
          state: Of the shapes, dtypes and devices that are needed, which may be others than those it was saved from.

        Returns:
          The state and the record, or None where nothing is saved.

        Raises:
          ValueError: There are checkpoints, and none can be read, or the newest is of another network or optimiser.
        """
        wait_for_all_reads()
        steps = sorted(self._manager.all_steps(), reverse=True)
        like = ocp.args.StandardRestore(jax.tree.map(ocp.tree.to_shape_dtype_struct, state))
        mine, other, reason = _arrays(state), [], ""
        for step in steps:
            try:
                fields = self._read(step, record=ocp.args.JsonRestore())["record"]
                other = [part for part, digest in fields.get("arrays", {}).items() if digest != mine[part]]
                if other:
                    break
                restored = self._read(step, state=like)
                best = Best(**fields["best"]) if fields["best"] else None
                record = Record(fields["history"], best, fields["stopped"])
            except Exception as error:  # whatever Orbax and its storage layers make of a damaged file
                if another_ended(error):
                    raise
                reason = first_line(error)
                print(
                    f"{self._folder / str(step)}: this checkpoint cannot be read ({reason})", file=sys.stderr
                )
                continue
            for damaged in steps[: steps.index(step)]:
                print(
                    f"going on from update {step}; the damaged checkpoint {damaged} is deleted",
                    file=sys.stderr,
                )
                self._manager.delete(damaged)
            return restored["state"], record
        if other:
            raise ValueError(
                f"{other[0]} must be the one of the checkpoint {self._folder / str(step)}, got one whose arrays are "
                "others; name another folder to start anew"
            )
        if steps:
            raise ValueError(
                f"{self._folder}: none of the checkpoints can be read ({reason}); delete the folder to start anew"
            )
        return None

    def _read(self, step: int, **items: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**items))

    def save_final(self, variables: Variables) -> None:
        """Writes the variables of the finished network, and returns when that is done.

        Raises:
          OSError: They could not be written.
        """
        if not is_finished(self._folder):
            self._save_variables(FINAL, variables)

    def save_best(self, update: int, variables: Variables) -> None:
        """Writes the variables of the best epoch so far, and returns when that is done.

        Raises:
          OSError: They could not be written.
        """
        self._save_variables(f"{BEST}{update}", variables)
        updates = sorted(int(path.name.removeprefix(BEST)) for path in self._folder.glob(f"{BEST}*[0-9]"))
        if jax.process_index() == 0:
            for old in updates[:-BEST_KEPT]:
                shutil.rmtree(self._folder / f"{BEST}{old}", ignore_errors=True)

    def _save_variables(self, name: str, variables: Variables) -> None:
        try:
            with ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save((self._folder / name).absolute(), variables, force=True)
        except Exception as error:
            raise self._cannot_write(error) from error

    def load_best(self, update: int, like: Variables) -> Variables:
        """Reads what `save_best` wrote after this update, with the shapes, dtypes and devices of `like`.

        Raises:
          ValueError: It is not there, or damaged.
        """
        folder = self._folder / f"{BEST}{update}"
        wait_for_all_reads()
        try:
            with ocp.StandardCheckpointer() as checkpointer:
                shapes = jax.tree.map(ocp.tree.to_shape_dtype_struct, like)
                variables: Variables = checkpointer.restore(folder.absolute(), shapes)
        except Exception as error:
            if another_ended(error):
                raise
            raise ValueError(
                f"{folder}: the network of the best epoch cannot be read; delete {self._folder} to start anew"
            ) from error
        return variables


def _arrays(state: TrainState) -> dict[str, str]:
    """Returns a digest of the names, shapes and dtypes of the arrays by what they belong to."""
    digests = {}
    for field, part in _PARTS.items():
        leaves = jax.tree_util.tree_leaves_with_path(getattr(state, field))
        text = "\n".join(f"{jax.tree_util.keystr(path)} {leaf.dtype}{leaf.shape}" for path, leaf in leaves)
        digests[part] = hashlib.sha256(text.encode()).hexdigest()
    return digests


def is_finished(folder: Path) -> bool:
    """Returns whether the network in this folder has been trained to its end."""
    return (folder / FINAL).is_dir()
