"""Orbax checkpoints of the training state, the data iterator and the history, as one.

A save is asynchronous and becomes visible only when whole: a kill in the middle of one leaves the save before it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp

from skinjax.train.state import TrainState

KEPT = 2


class Checkpoints:
    """The checkpoints of one network in one folder; use as a context manager, which waits for the last save."""

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

    def save(
        self,
        state: TrainState,
        batches: grain.DatasetIterator,
        history: list[dict[str, Any]],
        *,
        force: bool = False,
    ) -> None:
        """Saves, if the last save is old enough or `force` is set and this step is not saved yet.

        Args:
          state: saved as it is now; may be donated to the next step at once.
          batches: the training iterator, having given the batch of the last update and no more.
          history: rows for `metrics.csv`, one a finished epoch and split.
          force: save whatever the time.

        Raises:
          OSError: this save, or the one before it, could not be written.
        """
        if not force and time.monotonic() - self._saved_at < self._seconds:
            return
        step = int(state.step)
        if self._manager.latest_step() == step:
            return
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    batches=grain.checkpoint.CheckpointSave(batches),
                    history=ocp.args.JsonSave({"rows": history}),
                ),
            )
        except Exception as error:  # Orbax raises whatever its storage layers raise
            raise self._cannot_write(error) from error
        self._saved_at = time.monotonic()

    def _cannot_write(self, error: Exception) -> OSError:
        full = "space left" in str(error) or "ENOSPC" in str(error) or "quota" in str(error).lower()
        reason = "no space is left on the device" if full else str(error).splitlines()[0]
        return OSError(
            f"{self._folder}: a checkpoint could not be written, {reason}; those before it are whole"
        )

    def restore(
        self, state: TrainState, batches: grain.DatasetIterator
    ) -> tuple[TrainState, list[dict[str, Any]]] | None:
        """Restores the newest checkpoint.

        Args:
          state: of the shapes, dtypes and devices that are wanted.
          batches: set to the position that was saved.

        Returns:
          The state and the history, or None where nothing is saved.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(jax.tree.map(ocp.tree.to_shape_dtype_struct, state)),
                batches=grain.checkpoint.CheckpointRestore(batches),
                history=ocp.args.JsonRestore(),
            ),
        )
        return restored["state"], restored["history"]["rows"]
