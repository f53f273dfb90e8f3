"""Trains one network, from where its newest checkpoint left off, and predicts what it has not seen."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import NamedSharding, PartitionSpec

from skinjax.data.loader import Subset, evaluation_batches, steps_per_epoch, training_batches
from skinjax.evaluate.confusion import confusion_matrix, summary
from skinjax.models.registry import ModelSpec
from skinjax.train.checkpoints import Checkpoints
from skinjax.train.losses import balanced_class_weights
from skinjax.train.schedules import Decay, thesis_schedule
from skinjax.train.state import Recipe, Totals, TrainState, create_state
from skinjax.train.step import WeightDecay, compiled_predict, compiled_train_step, make_optimizer

Row = dict[str, Any]
Variables = dict[str, Any]


class TrainingError(ValueError):
    """Training cannot go on; the message says at which epoch and why."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a network is trained, apart from the recipe's traced values.

    Attributes:
      epochs: passes over the training photos.
      batch_size: photos an update.
      seed: of the data order, augmentation and dropout.
      class_balance: `"weights"` weighs the loss inversely to class frequency, `"sampling"` draws classes equally often.
      weight_decay: `"l2"` or `"decoupled"`, see `skinjax.train.optimizers.sgd_momentum`.
      learning_rate_decay: see `skinjax.train.schedules.thesis_schedule`.
      evaluate_every: epochs between evaluations on the held-out photos; the last epoch always has one.
      checkpoint_seconds: shortest time between checkpoints; the last epoch always has one.
      threads: for reading photos.
    """

    epochs: int = 20
    batch_size: int = 32
    seed: int = 0
    class_balance: Literal["none", "weights", "sampling"] = "none"
    weight_decay: WeightDecay = "l2"
    learning_rate_decay: Decay = "cosine"
    evaluate_every: int = 1
    checkpoint_seconds: float = 60.0
    threads: int = 2


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A trained network.

    Attributes:
      variables: of the last epoch; no epoch is chosen by looking at held-out photos.
      history: rows for `metrics.csv`.
      logits: float32[n, K] of the held-out photos, in their order.
    """

    variables: Variables
    history: list[Row]
    logits: np.ndarray


def data_mesh() -> jax.sharding.Mesh:
    """Returns a mesh of all devices with one axis, `data`."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def predict_logits(
    model: nn.Module, spec: ModelSpec, variables: Variables, subset: Subset, batch_size: int, threads: int = 2
) -> np.ndarray:
    """Returns the logits of every photo of a subset, once each and in order.

    Args:
      model: a network of `skinjax.models`.
      spec: its specification.
      variables: of the network.
      subset: the photos.
      batch_size: photos at a time.
      threads: for reading photos.

    Returns:
      float32[n, K].
    """
    predict = compiled_predict(model, spec)
    logits = []
    for batch in evaluation_batches(subset, batch_size, threads=threads):
        logits.append(np.asarray(predict(variables, jnp.asarray(batch["image"])))[batch["mask"]])
    return np.concatenate(logits)


def fit(
    model: nn.Module,
    spec: ModelSpec,
    variables: Variables,
    train: Subset,
    held_out: Subset,
    recipe: Recipe,
    settings: Settings,
    folder: Path,
    *,
    on_step: Callable[[int, int, str], None] = lambda done, total, note: None,
    on_epoch: Callable[[list[Row], list[Row]], None] = lambda history, new: None,
) -> Fitted:
    """Trains a network, or goes on training it from the newest checkpoint in `folder`.

    Deterministic on CPU: with the same arguments the result is the same to the bit, however often it was
    killed and started again.

    Args:
      model: a network of `skinjax.models`, its classes in the order of the labels.
      spec: its specification.
      variables: to start from, where there is no checkpoint to resume.
      train: the photos to train on.
      held_out: photos that are evaluated but never trained on, and on which nothing is chosen.
      recipe: hyper-parameters; `total_steps` is set here.
      settings: the rest.
      folder: of this network's checkpoints.
      on_step: called with (photos done, photos in all, a note) after every update.
      on_epoch: called with (all rows so far, the new ones) after every epoch, and once on resuming.

    Returns:
      The network after the last epoch.

    Raises:
      ValueError: a setting is out of range.
      TrainingError: the loss is no longer a number.
    """
    if settings.epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {settings.epochs}")
    if settings.batch_size % jax.device_count():
        raise ValueError(
            f"batch_size {settings.batch_size} does not divide by the {jax.device_count()} devices"
        )
    mesh = data_mesh()
    by_photo, everywhere = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    num_classes = model.num_classes
    epoch_steps = steps_per_epoch(len(train), settings.batch_size)
    recipe = jax.tree.map(jnp.float32, recipe._replace(total_steps=epoch_steps * settings.epochs))
    class_weights = jnp.ones(num_classes)
    if settings.class_balance == "weights":
        class_weights = jnp.asarray(balanced_class_weights(train.labels, num_classes))
    step = compiled_train_step(model, spec, settings.weight_decay, settings.learning_rate_decay)
    schedule = thesis_schedule(*recipe[:2], recipe.burn_in, recipe.total_steps, settings.learning_rate_decay)
    batches = iter(
        training_batches(
            train,
            settings.batch_size,
            settings.seed,
            balanced=settings.class_balance == "sampling",
            threads=settings.threads,
        )
    )
    with Checkpoints(folder, seconds=settings.checkpoint_seconds) as checkpoints:
        optimizer = make_optimizer(recipe, settings.weight_decay, settings.learning_rate_decay)
        state = jax.device_put(create_state(variables, optimizer, settings.seed), everywhere)
        state, history = checkpoints.restore(state, batches) or (state, [])
        done = int(state.step)
        on_epoch(history, [])
        total_photos = epoch_steps * settings.epochs * settings.batch_size
        note = "resumed" if done else ""
        on_step(done * settings.batch_size, total_photos, note)
        logits = None
        epoch_began = time.monotonic()
        for count in range(done + 1, epoch_steps * settings.epochs + 1):
            batch = {name: jax.device_put(value, by_photo) for name, value in next(batches).items()}
            state = step(state, batch, recipe, class_weights)
            if count % epoch_steps == 0:
                epoch = count // epoch_steps
                new = [
                    _training_row(epoch, state, float(schedule(count - 1)), time.monotonic() - epoch_began)
                ]
                state = dataclasses.replace(state, totals=jax.device_put(Totals.zero(), everywhere))
                if epoch % settings.evaluate_every == 0 or epoch == settings.epochs:
                    evaluation_began = time.monotonic()
                    logits = predict_logits(
                        model, spec, state.variables, held_out, settings.batch_size, settings.threads
                    )
                    new.append(
                        _held_out_row(epoch, logits, held_out.labels, time.monotonic() - evaluation_began)
                    )
                history = [*history, *new]
                on_epoch(history, new)
                note = f"epoch {epoch}/{settings.epochs} loss {new[0]['loss']:.3f} held-out accuracy " + (
                    f"{new[-1]['accuracy']:.3f}" if len(new) > 1 else "not yet known"
                )
                epoch_began = time.monotonic()
            checkpoints.save(state, batches, history, force=count == epoch_steps * settings.epochs)
            on_step(count * settings.batch_size, total_photos, note)
    if logits is None:
        logits = predict_logits(model, spec, state.variables, held_out, settings.batch_size, settings.threads)
    return Fitted(state.variables, history, logits)


def _training_row(epoch: int, state: TrainState, learning_rate: float, seconds: float) -> Row:
    totals = jax.device_get(state.totals)
    loss = float(totals.loss) / int(totals.photos)
    if not np.isfinite(loss):
        raise TrainingError(
            f"the loss of epoch {epoch} is {loss}; a lower learning rate or a longer burn-in is wanted"
        )
    return {
        "epoch": epoch,
        "split": "train",
        "loss": loss,
        "accuracy": int(totals.correct) / int(totals.photos),
        "learning_rate": learning_rate,
        "photos": int(totals.photos),
        "seconds": round(seconds, 3),
    }


def _held_out_row(epoch: int, logits: np.ndarray, labels: np.ndarray, seconds: float) -> Row:
    matrix = confusion_matrix(labels, logits.argmax(axis=1), logits.shape[1])
    result = summary(matrix)
    log_probabilities = jax.nn.log_softmax(logits.astype(np.float32))
    loss = -float(np.mean(np.asarray(log_probabilities)[np.arange(len(labels)), labels]))
    return {
        "epoch": epoch,
        "split": "test",
        "loss": loss,
        "accuracy": result.accuracy,
        "macro_f1": result.macro_f1,
        "photos": len(labels),
        "seconds": round(seconds, 3),
    }
