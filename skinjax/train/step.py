"""The training step, written once: a pure function of state, batch and recipe.

It sees a whole batch (`axis_name=None`), or one device's part of it under a mapped axis, whose sums it then adds up
itself. `skinjax.train.parallel` compiles it for one device or many.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from skinjax.augment import augment
from skinjax.models import compilation
from skinjax.models.metadata import WithColumns
from skinjax.models.pixels import normalize
from skinjax.models.registry import ModelSpec, variable_shapes
from skinjax.train import averaging, freezing, losses, optimizers
from skinjax.train.executables import kept
from skinjax.train.method import Method
from skinjax.train.parallel import Parallel
from skinjax.train.schedules import thesis_schedule
from skinjax.train.state import Recipe, Totals, TrainState, as_variables

Batch = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch, Recipe, jax.Array], tuple[TrainState, jax.Array]]


def make_optimizer(
    recipe: Recipe, method: Method | None = None, rates: Any = None
) -> optax.GradientTransformation:
    """Returns the optimiser that a recipe and a method describe; the recipe's values may be traced.

    Args:
      recipe: Learning rates, momentum and decay.
      method: Which optimiser.
      rates: Factors of the learning rate, a tree like the parameters; None for 1 throughout.
    """
    method = method or Method()
    return optimizers.make(
        method.optimizer,
        make_schedule(recipe, method),
        recipe.momentum,
        recipe.weight_decay,
        decay=method.weight_decay,
        decay_all=method.decay_all,
        clip_norm=method.clip_norm or None,
        rates=rates,
    )


def make_schedule(recipe: Recipe, method: Method) -> optax.Schedule:
    """Returns the learning rate by update count that a recipe and a method describe.

    Args:
      recipe: Learning rates, burn-in and updates in all; may be traced.
      method: How the rate falls.
    """
    if callable(method.learning_rate_decay):
        return method.learning_rate_decay
    return thesis_schedule(
        recipe.learning_rate,
        recipe.final_learning_rate,
        recipe.burn_in,
        recipe.total_steps,
        decay=method.learning_rate_decay,
    )


def rate_factors(params: Any, spec: ModelSpec, method: Method) -> Any:
    """Returns factors of the learning rate by parameter, or None where all are 1."""
    if not method.frozen_blocks and method.layer_decay == 1:
        return None
    return freezing.rate_factors(
        params, spec, frozen_blocks=method.frozen_blocks, layer_decay=method.layer_decay
    )


def train_step(
    model: nn.Module,
    spec: ModelSpec,
    method: Method,
    state: TrainState,
    batch: Batch,
    recipe: Recipe,
    class_weights: jax.Array,
    *,
    axis_name: str | None = None,
) -> tuple[TrainState, jax.Array]:
    """Augments, normalises, goes forward and back, and updates.

    Args:
      model: A network of `skinjax.models`.
      spec: Its specification, which says the pixel range.
      method: Optimiser, loss and the like.
      state: Before the update.
      batch: `image` uint8[B, H, W, 3], `label` int32[B]; `table` float32[B, D] where the network reads columns. Other
        entries are ignored.
      recipe: Hyper-parameters.
      class_weights: float32[K], the weight of a photo by its class; ones for none.
      axis_name: Mapped axis that the batch is spread over, B then being this device's part; None where it is whole.

    Returns:
      The state after the update, and the loss of the whole batch, float32.
    """
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    labels = batch["label"]
    count, place = len(labels), None
    if axis_name is not None:
        count *= lax.axis_size(axis_name)
        place = lax.axis_index(axis_name) * len(labels), count
    images = augment(augment_key, batch["image"], recipe.strengths, place=place)
    weights = class_weights[labels]
    total_weight = _over_devices(weights.sum(), axis_name)
    loss_of = losses.make_loss(method.loss, smoothing=method.label_smoothing, gamma=method.focal_gamma)

    def loss_function(params: Any, stats: Any, part: Any, key: jax.Array) -> Any:
        images, labels, weights, *table = part
        logits, changes = model.apply(
            as_variables(params, stats),
            normalize(images, spec),
            *table,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        loss = jnp.sum(loss_of(logits, labels) * weights) / jnp.where(total_weight > 0, total_weight, 1)
        seen = Totals(
            loss=jnp.sum(losses.cross_entropy(logits, labels)),
            correct=jnp.sum(jnp.argmax(logits, axis=-1) == labels),
            photos=jnp.int32(len(labels)),
        )
        return loss, (changes.get("batch_stats", {}), seen)

    gradient = jax.value_and_grad(loss_function, has_aux=True)

    def add_part(sums: Any, part: Any) -> tuple[Any, None]:
        (gradients, loss, seen), stats, number = sums
        key = dropout_key if method.accumulate == 1 else jax.random.fold_in(dropout_key, number)
        (part_loss, (stats, part_seen)), part_gradients = gradient(state.params, stats, part, key)
        new = part_gradients, part_loss, part_seen
        return (jax.tree.map(jnp.add, (gradients, loss, seen), new), stats, number + 1), None

    nothing = jax.tree.map(jnp.zeros_like, state.params), jnp.zeros(()), Totals.zero()
    start = nothing, state.batch_stats, jnp.int32(0)
    whole = (images, labels, weights, *([batch["table"]] if "table" in batch else ()))
    if method.accumulate == 1:
        sums, _ = add_part(start, whole)
    else:
        sums, _ = lax.scan(add_part, start, jax.tree.map(functools.partial(_parts, method.accumulate), whole))
    found, batch_stats, _ = sums
    gradients, loss, seen = _over_devices(found, axis_name)
    if axis_name is not None:  # where each device has statistics of its own, their mean is kept
        batch_stats = lax.pmean(batch_stats, axis_name)

    optimizer = make_optimizer(recipe, method, rate_factors(state.params, spec, method))
    # Some optimisers of optax look at the loss too.
    updates, opt_state = optax.with_extra_args_support(optimizer).update(
        gradients, state.opt_state, state.params, value=loss
    )
    params = optax.apply_updates(state.params, updates)
    average = state.average
    if method.average_decay:
        variables = as_variables(params, batch_stats)
        average = averaging.update(average, variables, method.average_decay, state.step)
    return dataclasses.replace(
        state,
        step=state.step + 1,
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        average=average,
        totals=jax.tree.map(jnp.add, state.totals, seen),
    ), loss


def _over_devices(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else lax.psum(tree, axis_name)


def _parts(count: int, x: jax.Array) -> jax.Array:
    """Splits [B, ...] into [count, B / count, ...] by every count-th row, so that all devices share in each part."""
    return x.reshape(len(x) // count, count, *x.shape[1:]).swapaxes(0, 1)


@functools.lru_cache(maxsize=16)
def compiled_train_step(
    model: nn.Module, spec: ModelSpec, method: Method | None = None, parallel: Parallel | None = None
) -> TrainStep:
    """Returns the compiled step of a network; the same function for the same arguments, so folds share one compilation.

    The state's buffers are given to the result: do not use a state again after stepping from it.

    Raises:
      ValueError: BatchNorm is to see all devices of `jax.pmap`, and the network has no way to take that.
    """
    parallel = parallel or Parallel()
    if (axis := parallel.batch_norm_axis) is not None:
        if isinstance(model, WithColumns) and hasattr(model.backbone, "axis_name"):
            model = model.on_axis(axis)
        elif hasattr(model, "axis_name"):
            model = model.clone(axis_name=axis)
        elif "batch_stats" in variable_shapes(model, spec):
            raise ValueError(
                f"batch_norm must be per_device for {spec.name} under pmap, as it takes no axis_name, got global"
            )
    step = parallel.compile(functools.partial(train_step, model, spec, method or Method()))
    return kept(step, "train_step")


@functools.lru_cache(maxsize=16)
def compiled_predict(model: nn.Module, spec: ModelSpec) -> Callable[..., jax.Array]:
    """Returns the jitted function (variables, uint8[B, H, W, 3]) -> logits float32[B, K].

    Of a network that reads columns they come third, float32[B, D].
    """

    def predict(variables: Any, images: jax.Array, *table: jax.Array) -> jax.Array:
        logits = model.apply(variables, normalize(images, spec), *table, train=False)
        return logits.astype(jnp.float32)

    return kept(compilation.jit(predict), "predict")
