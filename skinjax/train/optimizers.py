"""The thesis's optimiser: SGD with momentum, with its two kinds of decay named apart (equations 4-1 to 4-4)."""

from __future__ import annotations

from typing import Literal

import jax
import optax


def sgd_momentum(
    schedule: optax.ScalarOrSchedule,
    momentum: float | jax.Array,
    weight_decay: float | jax.Array,
    decay: Literal["l2", "decoupled"] = "l2",
) -> optax.GradientTransformation:
    """SGD with momentum: v <- mu v + g, p <- p - lr v (4-1).

    With `decay="l2"`, g is the gradient of loss + lambda/2 sum(w^2) (4-2), so the decay passes through the momentum and
    the learning rate (4-3). With `"decoupled"`, weights shrink by themselves, w <- w (1 - lambda) - lr v
    (4-4): by lambda a
    step whatever the learning rate, to the letter of the thesis, so that a fitting lambda is far smaller here. Every
    parameter decays, BatchNorm's and biases too.

    Args:
      schedule: learning rate, or a function of the update count.
      momentum: mu in [0, 1); may be traced.
      weight_decay: lambda, at least 0; may be traced.
      decay: which of the two.

    Returns:
      A gradient transformation; its `update` needs the parameters.

    Raises:
      ValueError: `decay` is neither.
    """
    if decay == "l2":
        return optax.chain(
            optax.add_decayed_weights(weight_decay),
            optax.trace(decay=momentum),
            optax.scale_by_learning_rate(schedule),
        )
    if decay == "decoupled":
        return optax.chain(
            optax.trace(decay=momentum),
            optax.scale_by_learning_rate(schedule),
            optax.add_decayed_weights(-weight_decay),
        )
    raise ValueError(f"decay must be 'l2' or 'decoupled', got {decay!r}")
