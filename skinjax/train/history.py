"""Rows of `metrics.csv`: what a network has come to after an epoch."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from skinjax.evaluate.confusion import confusion_matrix, summary
from skinjax.evaluate.roc import macro_auc
from skinjax.train.method import Method
from skinjax.train.parallel import local_copy
from skinjax.train.state import Recipe, TrainState
from skinjax.train.step import make_schedule

Row = dict[str, Any]


def learning_rate(recipe: Recipe, method: Method, state: TrainState) -> float | None:
    """Returns the learning rate of the last update; of an optimiser of one's own, the one that its state holds.

    Args:
      recipe: Hyper-parameters.
      method: Optimiser and schedule.
      state: After at least one update.

    Returns:
      The rate; None where the state holds none, or several. `optax.inject_hyperparams` makes it hold one.
    """
    if not method.has_own_optimizer:
        return float(_compiled_schedule(method)(recipe, int(state.step) - 1))
    found = optax.tree_utils.tree_get_all_with_path(local_copy(state.opt_state), "learning_rate")
    rates = [rate for _, rate in found if isinstance(rate, jax.Array)]
    return float(rates[0]) if len(rates) == 1 else None


@functools.lru_cache(maxsize=16)  # at once, where each of its operations would be a compilation
def _compiled_schedule(method: Method) -> Callable[[Recipe, int], jax.Array]:
    return jax.jit(lambda recipe, count: make_schedule(recipe, method)(count))


def training_row(epoch: int, state: TrainState, learning_rate: float | None, seconds: float) -> Row:
    """Returns the row of an epoch's training photos."""
    totals = jax.device_get(local_copy(state.totals))
    return {
        "epoch": epoch,
        "split": "train",
        "loss": float(totals.loss) / int(totals.photos),
        "accuracy": int(totals.correct) / int(totals.photos),
        "learning_rate": learning_rate,
        "photos": int(totals.photos),
        "seconds": round(seconds, 3),
    }


def evaluation_row(epoch: int, split: str, logits: np.ndarray, labels: np.ndarray, began: float) -> Row:
    """Returns a row of the history: what logits float32[n, K] say of photos of these labels."""
    result = summary(confusion_matrix(labels, logits.argmax(axis=1), logits.shape[1]))
    log_probabilities = np.asarray(jax.nn.log_softmax(logits.astype(np.float32)))
    return {
        "epoch": epoch,
        "split": split,
        "loss": -float(np.mean(log_probabilities[np.arange(len(labels)), labels])),
        "accuracy": result.accuracy,
        "macro_f1": result.macro_f1,
        "auc": macro_auc(labels, log_probabilities),
        "photos": len(labels),
        "seconds": round(time.monotonic() - began, 3),
    }


def note(epoch: int, epochs: int, rows: list[Row]) -> str:
    """Returns what the progress shows of an epoch that has just ended."""
    accuracy = f"{rows[-1]['accuracy']:.3f}" if len(rows) > 1 else "not yet known"
    return f"epoch {epoch}/{epochs} loss {rows[0]['loss']:.3f} held-out accuracy {accuracy}"
