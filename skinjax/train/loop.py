"""Trains one network, from where its newest checkpoint left off, and predicts what it has not seen."""

from __future__ import annotations

import collections
import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import NamedSharding, PartitionSpec

from skinjax.data.pipeline.loader import Subset, evaluation_batches, steps_per_epoch, training_batches
from skinjax.files.host import give_back_free_memory
from skinjax.models.ops.layers import DATA_AXIS
from skinjax.models.registry import ModelSpec
from skinjax.train import history, stopping
from skinjax.train.checkpoints import Checkpoints, Record
from skinjax.train.heads import Head
from skinjax.train.history import Row
from skinjax.train.losses import balanced_class_weights, effective_number_weights
from skinjax.train.method import Method
from skinjax.train.parallel import Parallel, gather_rows, local_copy, local_mesh
from skinjax.train.priors import weigh_classes
from skinjax.train.state import Recipe, Totals, TrainState, create_state
from skinjax.train.step import compiled_predict, compiled_train_step, make_optimizer, rate_factors

Variables = dict[str, Any]
RESUMED = "resumed"  # the note of a training that goes on from a checkpoint
STEP_INPUTS: tuple[str, ...] = ("image", "label", "table")
"""Entries of a batch that the training step reads."""

ClassBalance = Literal["none", "weights", "effective", "sampling"]
"""Ways to even out classes of unequal size; see `Settings`."""


class TrainingError(ValueError):
    """The loss is no longer a number; the message says at which update.

    Attributes:
      photos: int64[b], the photos of that update as rows of the source, this process's part.
    """

    def __init__(self, message: str, photos: np.ndarray) -> None:
        super().__init__(message)
        self.photos = photos


class StoppedError(Exception):
    """Training was asked to stop, and its state is saved."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a training, apart from the recipe's traced values.

    Attributes:
      epochs: Passes over the training photos.
      batch_size: Photos per update, over all devices and processes.
      seed: Seed of the data order, augmentation and dropout.
      class_balance: `"weights"` weighs the loss inversely to class frequency, `"effective"` by the effective number of
        photos (Cui et al. 2019), `"sampling"` draws classes equally often.
      prior_adjustment: Share s in [0, 1] of balanced accuracy in what the trained network's answers maximise, accuracy
        having the rest; the classes' weights (`skinjax.train.priors`) go into its head's bias. 1 answers as if classes
        were equally common.
      method: Optimiser, loss and the like.
      parallel: Devices, and how they work together.
      evaluate_every: Epochs between evaluations; the last epoch always has one.
      choose_by: Metric of the validation photos by which the best epoch's network is taken; None takes the last.
      patience: Epochs without a better metric after which training ends, at the next evaluation; 0 for never.
      checkpoint_seconds: Shortest time between checkpoints; the last epoch always has one.
      threads: Threads that read photos.
      workers: Processes that read photos; 0 reads in threads of this one.
    """

    epochs: int = 20
    batch_size: int = 32
    seed: int = 0
    class_balance: ClassBalance = "none"
    prior_adjustment: float = 0.0
    method: Method = dataclasses.field(default_factory=Method)
    parallel: Parallel = dataclasses.field(default_factory=Parallel)
    evaluate_every: int = 1
    choose_by: stopping.Metric | None = None
    patience: int = 0
    checkpoint_seconds: float = 60.0
    threads: int = 2
    workers: int = 0


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A trained network.

    Attributes:
      variables: Variables of the last epoch, or of the best one by the validation photos where `choose_by` asks for it;
        the moving averages where they are kept. Nothing is ever chosen by looking at held-out photos.
      history: Rows for `metrics.csv`.
      logits: float32[n, K] of the held-out photos, in their order.
      best: The epoch that was chosen, or None.
    """

    variables: Variables
    history: list[Row]
    logits: np.ndarray
    best: stopping.Best | None = None


def updates_ahead() -> int:
    """Returns how many updates may be under way when another is given to the device; each holds memory on a CPU."""
    return 0 if jax.default_backend() == "cpu" else 2


GIVING_BACK = (2, 3, 4, 8)
"""Calls of a compiled function before which free memory is given back: first what its compilation has left, then places
in which its scratch memory lay before (docs/decisions/007)."""


def _give_back_memory() -> None:
    if jax.default_backend() == "cpu":
        give_back_free_memory()


@functools.lru_cache(maxsize=128)  # once per compiled function, which all folds share
def _give_back_after_compilation(compiled: Callable[..., Any], call: int) -> None:
    _give_back_memory()


def _save(checkpoints: Checkpoints, update: int, state: TrainState, record: Record) -> None:
    """Saves a state, and on a CPU waits: what is written later takes the place of the next update's scratch memory."""
    checkpoints.save(update, state, record)
    if jax.default_backend() == "cpu":
        checkpoints.wait()
    _give_back_memory()


def predict_logits(
    model: nn.Module, spec: ModelSpec, variables: Variables, subset: Subset, batch_size: int, threads: int = 2
) -> np.ndarray:
    """Returns the logits of every photo of a subset, once each and in order.

    Args:
      model: A network of `skinjax.models`.
      spec: Its specification.
      variables: Variables of the network.
      subset: The photos.
      batch_size: Photos at a time, over all processes; rounded up to a multiple of the devices.
      threads: Threads that read photos.

    Returns:
      float32[n, K].
    """
    head = Head.of(model)
    compute, wide = compiled_predict(head.model, spec), head.widen_variables(variables)
    return predict_rows(compute, wide, subset, batch_size, threads)[:, : head.classes]


def predict_rows(
    compute: Callable[..., jax.Array], variables: Variables, subset: Subset, batch_size: int, threads: int = 2
) -> np.ndarray:
    """Returns a row for every photo of a subset, once each and in order.

    Each process computes its share on its own devices, and all get the whole.

    Args:
      compute: Jitted, (variables, uint8[B, H, W, 3], columns if the subset has any) -> [B, K].
      variables: Variables of the network.
      subset: The photos.
      batch_size: Photos at a time, over all processes; rounded up to a multiple of the devices.
      threads: Threads that read photos.

    Returns:
      [n, K], of the dtype that `compute` returns.
    """
    by_photo = NamedSharding(local_mesh(), PartitionSpec(DATA_AXIS))
    processes, index = jax.process_count(), jax.process_index()
    batch_size = -(-batch_size // jax.device_count()) * jax.device_count()
    variables = local_copy(variables)
    found, waiting = [], collections.deque[jax.Array]()
    batches = evaluation_batches(
        subset, batch_size, process_index=index, process_count=processes, threads=threads
    )
    for number, batch in enumerate(batches, 1):
        inputs = [jax.device_put(batch[name], by_photo) for name in ("image", "table") if name in batch]
        while len(waiting) > updates_ahead():
            found.append(np.asarray(waiting.popleft()))
        if number in GIVING_BACK:
            _give_back_after_compilation(compute, number)
        waiting.append(compute(variables, *inputs))
    found.extend(np.asarray(result) for result in waiting)
    # A batch's rows are one process's after another's.
    rows = np.stack(found)  # [batches, rows of this process, K]
    whole = gather_rows(rows).reshape(processes, *rows.shape).swapaxes(0, 1)
    return whole.reshape(-1, rows.shape[-1])[: len(subset)]


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
    validation: Subset | None = None,
    on_step: Callable[[int, int, str], None] = lambda done, total, note: None,
    on_epoch: Callable[[list[Row], list[Row]], None] = lambda history, new: None,
    should_stop: Callable[[int], bool] = lambda update: False,
) -> Fitted:
    """Trains a network, or goes on training it from the newest checkpoint in `folder`.

    Deterministic on CPU: with the same arguments the result is the same to the bit, however often it was
    killed and started again. It may be resumed on another number of devices or processes; photos keep their order.

    Args:
      model: A network of `skinjax.models`, its classes in the order of the labels.
      spec: Its specification.
      variables: Variables to start from, where there is no checkpoint to resume.
      train: The photos to train on.
      held_out: Photos that are evaluated but never trained on, and on which nothing is chosen.
      recipe: Hyper-parameters; `total_steps` is set here.
      settings: The rest.
      folder: Folder of this network's checkpoints.
      validation: Photos by which the best epoch is chosen, in neither of the others; None for none.
      on_step: Function called with (photos done, photos in all, a note) before the first update, with `RESUMED` as its
        note where an earlier process did some of them, and after every update.
      on_epoch: Function called with (all rows so far, the new ones) after every epoch, and once on resuming.
      should_stop: Function called with the update count after every update; True saves and ends with `StoppedError`.
        All processes must get the same answers.

    Returns:
      The trained network.

    Raises:
      ValueError: If a setting is out of range.
      TrainingError: If the loss is no longer a number.
      StoppedError: If `should_stop` said so.
      OSError: If a checkpoint could not be written.
    """
    return _Training(model, spec, train, held_out, validation, recipe, settings).run(
        variables, folder, on_step, on_epoch, should_stop
    )


class _Training:
    """Everything that stays the same over the updates of one network."""

    def __init__(
        self,
        model: nn.Module,
        spec: ModelSpec,
        train: Subset,
        held_out: Subset,
        validation: Subset | None,
        recipe: Recipe,
        settings: Settings,
    ) -> None:
        _check(settings, validation)
        self.model, self.spec, self.settings = model, spec, settings
        self.train, self.held_out, self.validation = train, held_out, validation
        self.epoch_steps = steps_per_epoch(len(train), settings.batch_size)
        self.total = self.epoch_steps * settings.epochs
        self.recipe = jax.tree.map(jnp.float32, recipe._replace(total_steps=self.total))
        self.head = Head.of(model, settings.method)
        weights = jnp.asarray(class_weights(train.labels, model.num_classes, settings))
        self.class_weights = self.head.widen_weights(weights)
        self.step = compiled_train_step(self.head.model, spec, settings.method, settings.parallel)

    def run(
        self,
        variables: Variables,
        folder: Path,
        on_step: Callable[[int, int, str], None],
        on_epoch: Callable[[list[Row], list[Row]], None],
        should_stop: Callable[[int], bool],
    ) -> Fitted:
        settings, parallel = self.settings, self.settings.parallel
        recipe, class_weights = (
            (self.recipe, self.class_weights)
            if parallel.backend == "pmap"
            else parallel.place((self.recipe, self.class_weights))
        )
        with Checkpoints(folder, seconds=settings.checkpoint_seconds) as checkpoints:
            state, record = self._start(variables, checkpoints)
            done = int(state.step)
            on_epoch(record.history, [])
            note, photos_in_all = "", self.total * settings.batch_size
            on_step(done * settings.batch_size, photos_in_all, RESUMED if done else note)
            logits: np.ndarray | None = None
            last = done if record.stopped else self.total
            batches = (
                ()
                if done == last
                else training_batches(
                    self.train,
                    settings.batch_size,
                    settings.seed,
                    first=done,
                    steps=last,
                    balanced=settings.class_balance == "sampling",
                    process_index=jax.process_index(),
                    process_count=jax.process_count(),
                    threads=settings.threads,
                    workers=settings.workers,
                )
            )
            placed = self._place(state)
            losses = _Losses(checkpoints)
            epoch_began = time.monotonic()
            for update, batch in enumerate(batches, done + 1):
                photos = parallel.place_batch({name: batch[name] for name in STEP_INPUTS if name in batch})
                losses.settle(updates_ahead())
                if update - done in GIVING_BACK:
                    _give_back_after_compilation(self.step, update - done)
                placed, loss = self.step(placed, photos, recipe, class_weights)
                losses.add(update, loss, batch["photo"])
                at_end = update == self.total
                if update % self.epoch_steps == 0:
                    losses.settle()
                    epoch, state = update // self.epoch_steps, self._take(placed)
                    rows, logits, record = self._end_epoch(epoch, state, epoch_began, record, checkpoints)
                    state = dataclasses.replace(state, totals=Totals.zero())
                    placed = self._place(state)
                    on_epoch(record.history, rows)
                    note = history.note(epoch, settings.epochs, rows)
                    epoch_began, at_end = time.monotonic(), at_end or record.stopped
                stop = should_stop(update) and not at_end
                if stop or at_end or checkpoints.is_due(update):
                    losses.settle()
                    state = self._take(placed)
                    _save(checkpoints, update, state, record)
                on_step(update * settings.batch_size, photos_in_all, note)
                if stop:
                    raise StoppedError(f"stopped after update {update} of {self.total}, which is saved")
                if at_end:
                    break
            state = self._take(placed)
            final = state.variables
            if record.best is not None and record.best.step != int(state.step):
                final, logits = checkpoints.load_best(record.best.step, final), None
            if settings.prior_adjustment:
                share = settings.prior_adjustment
                final, logits = weigh_classes(final, self.spec.head, self.train.labels, share), None
            checkpoints.save_final(final)
        if logits is None:
            logits = self._predict(final, self.held_out)
        return Fitted(local_copy(final), record.history, logits, record.best)

    def _start(self, variables: Variables, checkpoints: Checkpoints) -> tuple[TrainState, Record]:
        """Returns the newest checkpoint, or the state before the first update."""
        method, parallel = self.settings.method, self.settings.parallel
        optimizer = make_optimizer(self.recipe, method, rate_factors(variables["params"], self.spec, method))
        state = create_state(variables, optimizer, self.settings.seed, averaged=method.average_decay > 0)
        state = parallel.place(state)
        return checkpoints.restore(state) or (state, Record())

    def _place(self, state: TrainState) -> TrainState:
        """Puts a state where the compiled step takes it, as the step takes it."""
        placed: TrainState = self.settings.parallel.place_state(self.head.widen(state))
        return placed

    def _take(self, placed: TrainState) -> TrainState:
        """Returns the state from what the compiled step gives."""
        return self.head.narrow(self.settings.parallel.take_state(placed))

    def _predict(self, variables: Variables, subset: Subset) -> np.ndarray:
        settings = self.settings
        return predict_logits(self.model, self.spec, variables, subset, settings.batch_size, settings.threads)

    def _end_epoch(
        self, epoch: int, state: TrainState, began: float, record: Record, checkpoints: Checkpoints
    ) -> tuple[list[Row], np.ndarray | None, Record]:
        """Sums an epoch up, evaluates where that is due, and keeps the network where it is the best so far."""
        settings = self.settings
        update = epoch * self.epoch_steps
        rate = history.learning_rate(self.recipe, settings.method, state)
        rows = [history.training_row(epoch, state, rate, time.monotonic() - began)]
        logits, best, stopped = None, record.best, False
        if epoch % settings.evaluate_every == 0 or epoch == settings.epochs:
            for split, subset in (("validation", self.validation), ("test", self.held_out)):
                if subset is None:
                    continue
                evaluation_began = time.monotonic()
                logits = self._predict(state.variables, subset)
                rows.append(history.evaluation_row(epoch, split, logits, subset.labels, evaluation_began))
            if settings.choose_by is not None:
                value = rows[1][settings.choose_by]
                best = stopping.improve(best, settings.choose_by, value, epoch, update)
                if best != record.best:
                    checkpoints.save_best(update, state.variables)
                    _give_back_memory()
                stopped = stopping.should_stop(best, epoch, settings.patience)
        return rows, logits, Record([*record.history, *rows], best, stopped)


class _Losses:
    """The losses of updates that the device may not have finished yet; bounds how far the host runs ahead."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._waiting: collections.deque[tuple[int, jax.Array, np.ndarray]] = collections.deque()

    def add(self, update: int, loss: jax.Array, photos: np.ndarray) -> None:
        """Notes an update that was given to the device."""
        self._waiting.append((update, loss, photos))

    def settle(self, left: int = 0) -> None:
        """Waits until no more than some are under way."""
        while len(self._waiting) > left:
            self._check(*self._waiting.popleft())

    def _check(self, update: int, loss: jax.Array, photos: np.ndarray) -> None:
        value = float(np.asarray(loss.addressable_data(0)).ravel()[0])
        if np.isfinite(value):
            return
        newest = self._checkpoints.newest
        saved = f"the last good checkpoint is that of update {newest}" if newest else "there is no checkpoint"
        raise TrainingError(
            f"the loss of update {update} is {value}; {saved}; a lower learning rate, a longer burn-in or clipped "
            "gradients may help",
            photos,
        )


def _check(settings: Settings, validation: Subset | None) -> None:
    if settings.epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {settings.epochs}")
    settings.parallel.check(settings.batch_size)
    parts = settings.method.accumulate * (len(settings.parallel.devices) if settings.parallel.mapped else 1)
    if settings.batch_size % parts:
        raise ValueError(f"batch_size {settings.batch_size} does not divide into accumulate's {parts} parts")
    if settings.choose_by is not None and validation is None:
        raise ValueError(
            f"choose_by is {settings.choose_by}, but there are no validation photos to choose by"
        )
    if settings.patience < 0:
        raise ValueError(f"patience must be at least 0, got {settings.patience}")
    if settings.patience and settings.choose_by is None:
        raise ValueError(f"patience is {settings.patience}, but choose_by names no metric to wait for")


def class_weights(labels: np.ndarray, num_classes: int, settings: Settings) -> np.ndarray:
    """Returns float32[K], the weight of a photo of each class that the settings ask for; ones for none."""
    if settings.class_balance == "weights":
        return balanced_class_weights(labels, num_classes)
    if settings.class_balance == "effective":
        return effective_number_weights(labels, num_classes)
    return np.ones(num_classes, np.float32)
