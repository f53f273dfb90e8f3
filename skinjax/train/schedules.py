"""Learning-rate schedules of the thesis (section 4.2), as functions of the update count.

An update count starts at 0, as optax has it; the thesis's `n_batch` counts batches from 1. Arguments may
be traced values, so that one compiled step serves every setting.
"""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import optax

Decay = Literal["cosine", "exponential", "inverse_exponential", "multistep"]
_MILESTONES = (0.5, 0.75)  # of the way; ours, as the thesis's figure 4-3 cannot be read


def burn_in(lr0: float | jax.Array, steps: float | jax.Array, power: float | jax.Array = 4) -> optax.Schedule:
    """Returns a warm-up `lr0 * (n_batch / steps) ** power` for `steps` batches, then `lr0` (thesis equation 4-5).

    The thesis leaves the power open; 4 is Darknet's.

    Args:
      lr0: the learning rate reached at batch number `steps`.
      steps: batches of warm-up; 0 for none.
      power: of the curve.

    Returns:
      A schedule: update count -> float32 learning rate.

    >>> [round(float(burn_in(1.0, 4, power=2)(count)), 4) for count in range(5)]
    [0.0625, 0.25, 0.5625, 1.0, 1.0]
    """

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        batch = jnp.asarray(count, jnp.float32) + 1
        warm = jnp.clip(batch / jnp.maximum(jnp.asarray(steps, jnp.float32), 1.0), 0.0, 1.0)
        return jnp.asarray(lr0, jnp.float32) * warm**power

    return schedule


_warm_up = burn_in  # `thesis_schedule` has an argument of that name


def thesis_schedule(
    lr0: float | jax.Array,
    lrf: float | jax.Array,
    burn_in: float | jax.Array,
    total_steps: float | jax.Array,
    decay: Decay = "cosine",
) -> optax.Schedule:
    """Returns a burn-in to `lr0`, then a fall to `lrf` at the last update (thesis section 4.2, figure 4-3).

    With t the share of the way from the end of burn-in to the last update:

    * cosine (the default, ours): `lrf + (lr0 - lrf) (1 + cos(pi t)) / 2`;
    * exponential: `lr0 (lrf / lr0) ** t`, fast first;
    * inverse_exponential: `lr0 + lrf - lr0 (lrf / lr0) ** (1 - t)`, fast last;
    * multistep: `lr0`, the geometric mean of both from t = 1/2, `lrf` from t = 3/4.

    Args:
      lr0: the highest learning rate, above 0.
      lrf: the last, above 0.
      burn_in: batches of warm-up with power 4, see `burn_in`.
      total_steps: updates in all.
      decay: the form of the fall.

    Returns:
      A schedule: update count (from 0) -> float32 learning rate; constant at `lrf` beyond `total_steps`.

    Raises:
      ValueError: `decay` is none of the four.
    """
    if decay not in get_args(Decay):
        raise ValueError(f"decay must be one of {', '.join(get_args(Decay))}, got {decay!r}")
    warm_up = _warm_up(1.0, burn_in)

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        high, low = jnp.asarray(lr0, jnp.float32), jnp.asarray(lrf, jnp.float32)
        done = jnp.asarray(count, jnp.float32) + 1 - jnp.asarray(burn_in, jnp.float32)
        way = jnp.asarray(total_steps, jnp.float32) - jnp.asarray(burn_in, jnp.float32)
        t = jnp.clip(done / jnp.maximum(way, 1.0), 0.0, 1.0)
        if decay == "cosine":
            rate = low + (high - low) * (1 + jnp.cos(jnp.pi * t)) / 2
        elif decay == "exponential":
            rate = high * (low / high) ** t
        elif decay == "inverse_exponential":
            rate = high + low - high * (low / high) ** (1 - t)
        else:
            passed = sum((t >= milestone).astype(jnp.float32) for milestone in _MILESTONES)
            rate = high * (low / high) ** (passed / len(_MILESTONES))
        return rate * warm_up(count)

    return schedule
