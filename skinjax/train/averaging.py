"""The exponential moving average of a network's weights, which often predicts better than the last weights do."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax


def update(average: Any, params: Any, decay: float | jax.Array, step: int | jax.Array) -> Any:
    """Moves the average on by one update: average <- d average + (1 - d) params.

    d = min(decay, (1 + step) / (10 + step)) forgets the untrained start fast, as TensorFlow's average and
    EfficientNet's program do. BatchNorm's running statistics belong to the weights that made them, so average them
    likewise: any tree of floats will do.

    Args:
      average: a tree of float arrays; before the first update a copy of `params`.
      params: the same tree, after the step's update.
      decay: in [0, 1), such as 0.9999; 0 gives `params`; may be traced.
      step: how many updates the average has had, from 0; may be traced.

    Returns:
      The same tree.

    References:
      Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992; warm-up:
      `tf.train.ExponentialMovingAverage`, argument `num_updates`.

    >>> update({"w": jnp.array([0.0])}, {"w": jnp.array([1.0])}, decay=0.75, step=0)
    {'w': Array([0.9], dtype=float32)}
    >>> update({"w": jnp.array([0.0])}, {"w": jnp.array([1.0])}, decay=0.75, step=1000)
    {'w': Array([0.25], dtype=float32)}
    """
    count = jnp.asarray(step, jnp.float32)
    kept = jnp.minimum(decay, (1 + count) / (10 + count))
    return optax.incremental_update(params, average, 1 - kept)
