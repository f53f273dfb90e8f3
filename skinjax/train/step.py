"""The training step, written once: a pure function of state, batch and recipe.

It is jitted here over whatever devices its arguments lie on: a batch sharded along its first axis over a
mesh trains data-parallel,
BatchNorm statistics and gradients over the whole batch included, with no change to the function.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from skinjax.augment import augment
from skinjax.models.compilation import compiler_options
from skinjax.models.pixels import normalize
from skinjax.models.registry import ModelSpec
from skinjax.train.losses import cross_entropy, weighted_mean
from skinjax.train.optimizers import sgd_momentum
from skinjax.train.schedules import Decay, thesis_schedule
from skinjax.train.state import Recipe, Totals, TrainState

Batch = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch, Recipe, jax.Array], TrainState]
WeightDecay = Literal["l2", "decoupled"]


def make_optimizer(
    recipe: Recipe, weight_decay: WeightDecay = "l2", learning_rate_decay: Decay = "cosine"
) -> optax.GradientTransformation:
    """Returns the optimiser that a recipe describes; the recipe's values may be traced."""
    schedule = thesis_schedule(
        recipe.learning_rate,
        recipe.final_learning_rate,
        recipe.burn_in,
        recipe.total_steps,
        decay=learning_rate_decay,
    )
    return sgd_momentum(schedule, recipe.momentum, recipe.weight_decay, decay=weight_decay)


def train_step(
    model: nn.Module,
    spec: ModelSpec,
    weight_decay: WeightDecay,
    learning_rate_decay: Decay,
    state: TrainState,
    batch: Batch,
    recipe: Recipe,
    class_weights: jax.Array,
) -> TrainState:
    """Augments, normalises, goes forward and back, and updates.

    Args:
      model: a network of `skinjax.models`.
      spec: its specification, which says the pixel range.
      weight_decay: which of equations 4-3 and 4-4.
      learning_rate_decay: the form of the fall of the learning rate.
      state: before the update.
      batch: `image` uint8[B, H, W, 3], `label` int32[B]; other entries are ignored.
      recipe: hyper-parameters.
      class_weights: float32[K], the weight of a photo by its class; ones for none.

    Returns:
      The state after the update.
    """
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    images = normalize(augment(augment_key, batch["image"], recipe.strengths), spec)

    def loss_function(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        logits, updates = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        losses = cross_entropy(logits, batch["label"])
        return weighted_mean(losses, class_weights[batch["label"]]), (logits, updates["batch_stats"])

    gradient = jax.grad(loss_function, has_aux=True)
    gradients, (logits, batch_stats) = gradient(state.params)
    optimizer = make_optimizer(recipe, weight_decay, learning_rate_decay)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    correct = jnp.argmax(logits, axis=-1) == batch["label"]
    return dataclasses.replace(
        state,
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
        totals=Totals(
            loss=state.totals.loss + jnp.sum(cross_entropy(logits, batch["label"])),
            correct=state.totals.correct + jnp.sum(correct),
            photos=state.totals.photos + batch["label"].shape[0],
        ),
    )


@functools.lru_cache(maxsize=16)
def compiled_train_step(
    model: nn.Module, spec: ModelSpec, weight_decay: WeightDecay = "l2", learning_rate_decay: Decay = "cosine"
) -> TrainStep:
    """Returns the jitted step of a network; the same function for the same arguments, so folds share one compilation.

    The state's buffers are given to the result: do not use a state again after stepping from it.
    """
    return jax.jit(
        functools.partial(train_step, model, spec, weight_decay, learning_rate_decay),
        donate_argnums=0,
        compiler_options=compiler_options(),
    )


@functools.lru_cache(maxsize=16)
def compiled_predict(model: nn.Module, spec: ModelSpec) -> Callable[[Any, jax.Array], jax.Array]:
    """Returns the jitted function (variables, uint8[B, H, W, 3]) -> logits float32[B, K]."""

    def predict(variables: Any, images: jax.Array) -> jax.Array:
        logits = model.apply(variables, normalize(images, spec), train=False)
        return logits.astype(jnp.float32)

    return jax.jit(predict, compiler_options=compiler_options())
