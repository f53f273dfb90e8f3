"""Trains several candidates, which differ in their hyper-parameters alone, from one start on the same photos.

Hyper-parameters are values of the compiled step, so one compilation serves every candidate of every generation. All
candidates of a population see the same batches, and the same random numbers scaled by their own strengths.

There are three ways, with one result to rounding:

* `one`: one after another, each with the step that `skinjax.train.loop.fit` uses, over all devices. An update is made
  for every candidate before the next batch is read.
* `vmap`: all at once on one device, the state stacked over a leading axis.
* `devices`: the stack spread over the devices, so many candidates on each.

On a CPU `one` is the default: a dense convolution with a kernel for each candidate becomes a grouped one, which took
XLA 1.8 times as long as one after another (four of 3 x 3, 64 channels, with gradients), and four candidates of
EfficientNet-nano at 64 px 1.2 times. Elsewhere the default is `devices` where there are several, else `vmap`; that was
not measured.

A candidate whose loss is no number has diverged. It ends there, or in a stack goes on among its neighbours, which it
cannot reach: nothing is ever summed over candidates.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from skinjax.data.pipeline.loader import Subset, evaluation_batches, steps_per_epoch, training_batches
from skinjax.models import compilation
from skinjax.models.pixels import normalize
from skinjax.models.registry import ModelSpec
from skinjax.train.heads import Head
from skinjax.train.loop import Settings, Variables, class_weights, predict_logits, updates_ahead
from skinjax.train.method import Method
from skinjax.train.state import Recipe, TrainState, create_state
from skinjax.train.step import compiled_train_step, make_optimizer, rate_factors, train_step

AtOnce = Literal["one", "vmap", "devices"]
CANDIDATE_AXIS = "candidate"


@dataclasses.dataclass(frozen=True, eq=False)
class Population:
    """Predictions of trained candidates.

    Attributes:
      logits: float32[P, n, K] of the held-out photos, in their order; NaN for a candidate that diverged.
      diverged: int64[P], the update, from 1, after which a candidate's loss was no number; 0 for none. Logits that are
        no numbers after the last update count as that update's.
    """

    logits: np.ndarray
    diverged: np.ndarray


def default_at_once(candidates: int) -> AtOnce:
    """Returns the way to train so many candidates on the devices that there are; see the module."""
    if candidates == 1 or jax.default_backend() == "cpu":
        return "one"
    return "devices" if jax.local_device_count() > 1 else "vmap"


def train_population(
    model: nn.Module,
    spec: ModelSpec,
    variables: Variables,
    train: Subset,
    held_out: Subset,
    recipes: Sequence[Recipe],
    settings: Settings,
    *,
    at_once: AtOnce | None = None,
    slots: int = 0,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Population:
    """Trains one candidate per recipe and lets each predict photos that it has not seen.

    The batch of an update is that of `fit` with the same settings. Nothing is saved: a run that is stopped begins this
    population anew.

    Args:
      model: a network of `skinjax.models`, its classes in the order of the labels.
      spec: its specification.
      variables: that every candidate starts from.
      train: the photos to train on.
      held_out: the photos to predict.
      recipes: P of them; `total_steps` is set here.
      settings: as for `fit`; of `parallel` only `one` takes notice, and an epoch cannot be chosen.
      at_once: how; None for `default_at_once`.
      slots: how many candidates the stack is compiled for, where there may be fewer than that: of `vmap` and
        `devices`. 0 for P.
      on_step: called with (updates done, updates in all) after every update; may raise to end the training.

    Returns:
      Their predictions.

    Raises:
      ValueError: No recipe, or a setting that a population does not have.
    """
    _check(recipes, settings)
    total = settings.epochs * steps_per_epoch(len(train), settings.batch_size)
    recipes = [recipe._replace(total_steps=total) for recipe in recipes]
    begin = functools.partial(_compiled_start(spec, settings.method), variables, jnp.uint32(settings.seed))
    weights = jnp.asarray(class_weights(train.labels, model.num_classes, settings))
    way = at_once or default_at_once(max(len(recipes), slots))
    candidates: _Candidates
    if way == "one":
        candidates = _OneByOne(model, spec, settings, recipes, weights, begin)
    elif way in get_args(AtOnce):
        mesh = _mesh(max(len(recipes), slots)) if way == "devices" else None
        candidates = _Stack(model, spec, settings, recipes, weights, begin, max(len(recipes), slots), mesh)
    else:
        raise ValueError(f"at_once must be one of {', '.join(get_args(AtOnce))}, got {at_once!r}")

    diverged = np.zeros(len(recipes), np.int64)
    waiting: collections.deque[tuple[int, list[jax.Array | None]]] = collections.deque()

    def settle(left: int) -> None:
        while len(waiting) > left:
            update, losses = waiting.popleft()
            found = candidates.read(losses)
            diverged[~np.isfinite(found) & (diverged == 0)] = update

    batches = training_batches(
        train,
        settings.batch_size,
        settings.seed,
        steps=total,
        balanced=settings.class_balance == "sampling",
        threads=settings.threads,
        workers=settings.workers,
    )
    for update, batch in enumerate(batches, 1):
        settle(updates_ahead())
        if diverged.all():
            break
        photos = {name: batch[name] for name in ("image", "label")}
        waiting.append((update, candidates.step(photos, diverged > 0)))
        on_step(update, total)
    settle(0)
    logits = candidates.predict(held_out, diverged > 0)
    lost = (diverged == 0) & ~np.isfinite(logits).all(axis=(1, 2))
    diverged[lost] = total
    logits[diverged > 0] = np.nan
    return Population(logits, diverged)


class _Candidates(Protocol):
    """Candidates under training."""

    def step(self, photos: dict[str, np.ndarray], ended: np.ndarray) -> list[jax.Array | None]:
        """Updates the candidates that have not ended, bool[P]; returns their losses as `read` takes them."""

    def read(self, losses: list[jax.Array | None]) -> np.ndarray:
        """Waits for losses: float[P], NaN for a candidate that had none."""

    def predict(self, subset: Subset, ended: np.ndarray) -> np.ndarray:
        """Returns float32[P, n, K], with anything for candidates that have ended."""


class _OneByOne:
    """Candidates with a state each, stepped in turn."""

    def __init__(
        self,
        model: nn.Module,
        spec: ModelSpec,
        settings: Settings,
        recipes: Sequence[Recipe],
        weights: jax.Array,
        begin: Callable[[int], TrainState],
    ) -> None:
        self.model, self.spec, self.settings, self.parallel = model, spec, settings, settings.parallel
        self.head = Head.of(model, settings.method)
        self.compiled = compiled_train_step(self.head.model, spec, settings.method, settings.parallel)
        given = [jax.tree.map(jnp.float32, recipe) for recipe in recipes]
        self.weights = self.head.widen_weights(weights)
        if self.parallel.backend == "jit":
            given, self.weights = self.parallel.place((given, self.weights))
        self.recipes = given
        self.states = [self.parallel.place_state(self.head.widen(begin(0))) for _ in recipes]

    def step(self, photos: dict[str, np.ndarray], ended: np.ndarray) -> list[jax.Array | None]:
        batch = self.parallel.place_batch(photos)
        losses: list[jax.Array | None] = []
        for index, recipe in enumerate(self.recipes):
            loss = None
            if not ended[index]:
                self.states[index], loss = self.compiled(self.states[index], batch, recipe, self.weights)
                if not updates_ahead():
                    loss.block_until_ready()  # its scratch memory is the next candidate's
            losses.append(loss)
        return losses

    def read(self, losses: list[jax.Array | None]) -> np.ndarray:
        return np.array(
            [np.nan if loss is None else np.asarray(loss.addressable_data(0)).ravel()[0] for loss in losses]
        )

    def predict(self, subset: Subset, ended: np.ndarray) -> np.ndarray:
        shape = len(self.states), len(subset), self.model.num_classes
        logits = np.full(shape, np.nan, np.float32)
        for index in np.flatnonzero(~ended):
            variables = self.head.narrow(self.parallel.take_state(self.states[index])).variables
            logits[index] = predict_logits(
                self.model, self.spec, variables, subset, self.settings.batch_size, self.settings.threads
            )
        return logits


class _Stack:
    """Candidates whose states are stacked; unused slots repeat the last."""

    def __init__(
        self,
        model: nn.Module,
        spec: ModelSpec,
        settings: Settings,
        recipes: Sequence[Recipe],
        weights: jax.Array,
        begin: Callable[[int], TrainState],
        slots: int,
        mesh: Mesh | None,
    ) -> None:
        if mesh is not None:
            slots = -(-slots // mesh.size) * mesh.size
        padded = [*recipes, *[recipes[-1]] * (slots - len(recipes))]
        self.settings, self.count, self.mesh = settings, len(recipes), mesh
        self.compiled = _compiled_stack_step(model, spec, settings.method, mesh)
        self.compiled_predict = _compiled_stack_predict(model, spec, mesh)
        self.recipes = jax.tree.map(lambda *values: jnp.array(values, jnp.float32), *padded)
        self.weights, self.state = weights, begin(slots)
        if mesh is not None:
            by_candidate, everywhere = (
                NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((CANDIDATE_AXIS,), ())
            )
            shardings = _in_stack(by_candidate, everywhere)
            self.state = TrainState(
                **{
                    field.name: jax.device_put(
                        getattr(self.state, field.name), getattr(shardings, field.name)
                    )
                    for field in dataclasses.fields(TrainState)
                }
            )
            self.recipes = jax.device_put(self.recipes, by_candidate)
            self.weights = jax.device_put(weights, everywhere)

    def _place(self, value: Any) -> Any:
        return jax.device_put(value, None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec()))

    def step(self, photos: dict[str, np.ndarray], ended: np.ndarray) -> list[jax.Array | None]:
        self.state, losses = self.compiled(self.state, self._place(photos), self.recipes, self.weights)
        return [losses]

    def read(self, losses: list[jax.Array | None]) -> np.ndarray:
        return np.asarray(losses[0])[: self.count]

    def predict(self, subset: Subset, ended: np.ndarray) -> np.ndarray:
        variables, logits = self.state.variables, []
        for batch in evaluation_batches(subset, self.settings.batch_size, threads=self.settings.threads):
            logits.append(np.asarray(self.compiled_predict(variables, self._place(batch["image"]))))
        return np.concatenate(logits, axis=1)[: self.count, : len(subset)].copy()


def _in_stack(stacked: Any, shared: Any) -> TrainState:
    """Returns a tree like a state's top: what all candidates share, and what each has of its own."""
    return TrainState(
        step=shared,
        params=stacked,
        batch_stats=stacked,
        opt_state=stacked,
        average=stacked,
        key=shared,
        totals=stacked,
    )


def _mesh(slots: int) -> Mesh:
    devices = jax.local_devices()[:slots]
    return Mesh(np.asarray(devices), (CANDIDATE_AXIS,), axis_types=(AxisType.Auto,))


@functools.lru_cache(maxsize=8)
def _compiled_start(spec: ModelSpec, method: Method) -> Callable[[Variables, jax.Array, int], TrainState]:
    """Returns the function (variables, seed, slots) -> the state before the first update, stacked unless slots is 0."""

    @functools.partial(jax.jit, static_argnums=2)
    def start(variables: Variables, seed: jax.Array, slots: int) -> TrainState:
        # A recipe's values are in no optimiser's first state, so any recipe will do.
        optimizer = make_optimizer(Recipe(), method, rate_factors(variables["params"], spec, method))
        state = create_state(variables, optimizer, seed, averaged=method.average_decay > 0)
        if not slots:
            return state
        stacked = jax.tree.map(lambda x: jnp.broadcast_to(x, (slots, *jnp.shape(x))), state)
        return dataclasses.replace(stacked, step=state.step, key=state.key)

    return start


@functools.lru_cache(maxsize=8)
def _compiled_stack_step(
    model: nn.Module, spec: ModelSpec, method: Method, mesh: Mesh | None
) -> Callable[..., tuple[TrainState, jax.Array]]:
    """Returns the step of stacked states and recipes: (state, batch, recipes, class_weights) -> state, losses [P]."""
    axes = _in_stack(0, None)
    step: Any = jax.vmap(
        functools.partial(train_step, model, spec, method), in_axes=(axes, None, 0, None), out_axes=(axes, 0)
    )
    if mesh is not None:
        stacked, shared = PartitionSpec(CANDIDATE_AXIS), PartitionSpec()
        specs = _in_stack(stacked, shared)
        step = jax.shard_map(
            step,
            mesh=mesh,
            in_specs=(specs, shared, stacked, shared),
            out_specs=(specs, stacked),
            check_vma=False,
        )
    return compilation.jit(step, gradients=True, donate_argnums=0)


@functools.lru_cache(maxsize=8)
def _compiled_stack_predict(
    model: nn.Module, spec: ModelSpec, mesh: Mesh | None
) -> Callable[[Variables, jax.Array], jax.Array]:
    """Returns the function (stacked variables, uint8[B, H, W, 3]) -> logits float32[P, B, K]."""

    def predict(variables: Variables, images: jax.Array) -> jax.Array:
        return model.apply(variables, normalize(images, spec), train=False).astype(jnp.float32)

    stack: Any = jax.vmap(predict, in_axes=(0, None))
    if mesh is not None:
        stacked = PartitionSpec(CANDIDATE_AXIS)
        stack = jax.shard_map(
            stack, mesh=mesh, in_specs=(stacked, PartitionSpec()), out_specs=stacked, check_vma=False
        )
    return compilation.jit(stack)


def _check(recipes: Sequence[Recipe], settings: Settings) -> None:
    if not recipes:
        raise ValueError("recipes must hold one at least, got none")
    if settings.epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {settings.epochs}")
    if settings.choose_by is not None:
        raise ValueError(f"choose_by is {settings.choose_by}, but a population takes the last epoch")
    if settings.prior_adjustment:
        raise ValueError(f"prior_adjustment must be 0 in a population, got {settings.prior_adjustment}")
    settings.parallel.check(settings.batch_size)
    if settings.batch_size % settings.method.accumulate:
        raise ValueError(
            f"batch_size {settings.batch_size} does not divide into accumulate's {settings.method.accumulate} parts"
        )
    if jax.process_count() > 1:
        raise ValueError(f"a population is trained by one process, but there are {jax.process_count()}")
