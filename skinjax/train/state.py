"""Arguments and result of a training step: the state, and the recipe of traced hyper-parameters."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from skinjax.augment import DEFAULT_STRENGTHS, Strengths


class Recipe(NamedTuple):
    """Hyper-parameters as values, so that changing one never recompiles. Defaults: Table 4-1, but flips and Cutout.

    Attributes:
      learning_rate: The rate lr, reached at the end of burn-in.
      final_learning_rate: The rate lrf, of the last update.
      momentum: The factor mu of equation 4-1.
      weight_decay: The factor lambda of equations 4-2 to 4-4.
      burn_in: Batches of warm-up (equation 4-5).
      total_steps: Updates in all.
      strengths: Strengths of the augmentation: Table 4-1's, and our flips and Cutout.
    """

    learning_rate: float | jax.Array = 0.00465
    final_learning_rate: float | jax.Array = 1e-5
    momentum: float | jax.Array = 0.951
    weight_decay: float | jax.Array = 0.000355
    burn_in: float | jax.Array = 50.0
    total_steps: float | jax.Array = 1000.0
    strengths: Strengths = DEFAULT_STRENGTHS

    @classmethod
    def finetune(cls, total_steps: float = 1000.0) -> Recipe:
        """Returns our values for fine-tuning a network with ImageNet weights; go with `Method.finetune`.

        Found by trials on photos of HAM10000 and PAD-UFES-20 that no figure was told of (benchmarks/results/marks.md).

        Args:
          total_steps: Updates in all, a multiple of `burn_in`.

        >>> recipe = Recipe.finetune(2000)
        >>> recipe.learning_rate, recipe.strengths.rotation
        (0.001, 180.0)
        """
        return cls(
            learning_rate=0.001,
            final_learning_rate=1e-5,
            momentum=0.9,
            weight_decay=0.02,
            burn_in=20.0,
            total_steps=total_steps,
            strengths=Strengths(
                hsv_h=0.01, hsv_s=0.15, hsv_v=0.1, rotation=180.0, translation=0.08, scale=0.2, shear=1.0,
                flip_horizontal=0.5, flip_vertical=0.5,
            ),
        )  # fmt: skip


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over the photos seen since the epoch began; part of the state, so that a resumed epoch reports the same."""

    loss: jax.Array
    correct: jax.Array
    photos: jax.Array

    @classmethod
    def zero(cls) -> Totals:
        """Returns sums over no photo."""
        return cls(loss=jnp.zeros(()), correct=jnp.zeros((), jnp.int32), photos=jnp.zeros((), jnp.int32))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a step changes.

    Attributes:
      step: int32, updates done.
      params: Parameters of the network.
      batch_stats: BatchNorm's running statistics; empty for a network without.
      opt_state: State of the optimiser.
      average: Moving averages of `params` and `batch_stats`, as variables; empty where none are kept.
      key: uint32[2], the run's random key; a step folds `step` into it and leaves it as it is.
      totals: The epoch's sums.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    average: Any
    key: jax.Array
    totals: Totals

    @property
    def variables(self) -> dict[str, Any]:
        """Returns the network's variables as `model.apply` takes them: the averages where they are kept."""
        return dict(self.average) or as_variables(self.params, self.batch_stats)


def as_variables(params: Any, batch_stats: Any) -> dict[str, Any]:
    """Returns variables as a network's `init` gives them: with no "batch_stats" where it has none.

    >>> as_variables({"head": 1}, {})
    {'params': {'head': 1}}
    """
    return {"params": params} | ({"batch_stats": batch_stats} if batch_stats else {})


def create_state(
    variables: dict[str, Any],
    optimizer: optax.GradientTransformation,
    seed: int | jax.Array,
    *,
    averaged: bool = False,
) -> TrainState:
    """Returns the state before the first update.

    Args:
      variables: `{"params": ..., "batch_stats": ...}`, the latter where there is batch normalisation; copied, as the
        training step consumes its state's buffers.
      optimizer: Optimiser that gives the optimiser's first state.
      seed: Seed of augmentation and dropout; may be traced.
      averaged: Whether moving averages of the variables are kept.

    Raises:
      ValueError: There are variables of other collections, which a step would leave as they are.
    """
    if others := sorted(set(variables) - {"params", "batch_stats"}):
        raise ValueError(f"variables must be params and batch_stats, got {', '.join(others)} too")

    @jax.jit  # at once, where it would be a compilation for each shape
    def begin(variables: dict[str, Any], key: jax.Array) -> TrainState:
        variables = jax.tree.map(jnp.copy, variables)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=variables["params"],
            batch_stats=variables.get("batch_stats", {}),
            opt_state=optimizer.init(variables["params"]),
            average=jax.tree.map(jnp.copy, variables) if averaged else {},
            key=key,
            totals=Totals.zero(),
        )

    return begin(variables, jax.random.key_data(jax.random.key(seed)))
