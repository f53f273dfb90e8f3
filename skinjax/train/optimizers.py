"""Optimisers, as optax transformations: the thesis's SGD with momentum and RMSprop, and AdamW.

Every hyper-parameter may be a traced value, so that one compiled step serves every setting. What is not one is the
structure: which optimiser, which kind of decay, which parameters decay or are frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

Optimizer = Literal["sgd", "rmsprop", "adamw"]
WeightDecay = Literal["l2", "decoupled"]
Scalar = float | jax.Array
Mask = Any | Callable[[Any], Any]


def sgd_momentum(
    schedule: optax.ScalarOrSchedule,
    momentum: Scalar,
    weight_decay: Scalar,
    decay: WeightDecay = "l2",
    *,
    mask: Mask | None = None,
) -> optax.GradientTransformation:
    """Returns SGD with momentum: v <- mu v + g, p <- p - lr v (thesis equation 4-1).

    With `decay="l2"`, g is the gradient of loss + lambda/2 sum(w^2) (4-2), so the decay passes through the momentum
    and the learning rate (4-3). With `"decoupled"`, weights shrink by themselves, w <- w (1 - lambda) - lr v (4-4): by
    lambda a step whatever the learning rate, to the letter of the thesis, so that a fitting lambda is far smaller here.

    Args:
      schedule: learning rate, or a function of the update count.
      momentum: mu in [0, 1); may be traced.
      weight_decay: lambda, at least 0; may be traced.
      decay: which of the two.
      mask: which parameters decay: bools in a tree like the parameters or a prefix of one, or a function that
        gives it, such as `decays`. Without it every parameter does, BatchNorm's and biases too.

    Returns:
      A gradient transformation; its `update` needs the parameters.

    Raises:
      ValueError: `decay` is neither.

    >>> optimizer = sgd_momentum(0.1, 0.9, 0.5)
    >>> weights = jnp.array([2.0])
    >>> updates, state = optimizer.update(jnp.array([3.0]), optimizer.init(weights), weights)
    >>> updates  # -0.1 (3 + 0.5 * 2)
    Array([-0.4], dtype=float32)
    """
    descent = optax.chain(optax.trace(decay=momentum), optax.scale_by_learning_rate(schedule))
    return _with_decay(descent, weight_decay, decay, mask)


def rmsprop(
    schedule: optax.ScalarOrSchedule,
    momentum: Scalar,
    weight_decay: Scalar,
    *,
    rho: Scalar = 0.9,
    epsilon: Scalar = 1e-3,
    decay: WeightDecay = "l2",
    mask: Mask | None = None,
) -> optax.GradientTransformation:
    """Returns RMSprop with momentum, chapter 3's optimiser, as Keras computes it.

    s <- rho s + (1 - rho) g^2, v <- mu v + lr g / sqrt(s + epsilon), p <- p - v, from s = v = 0. Two things differ in
    PyTorch's: epsilon stands outside the root, and the learning rate is applied after the momentum. TensorFlow 1
    starts from s = 1. The thesis gives no values: epsilon and rho are those of EfficientNet's program.

    Args:
      schedule: learning rate, or a function of the update count.
      momentum: mu in [0, 1); may be traced.
      weight_decay: lambda, at least 0; may be traced.
      rho: how much of the mean square is kept each step, in [0, 1); may be traced.
      epsilon: added to the mean square under the root, above 0; may be traced.
      decay: `"l2"` adds lambda w to g; `"decoupled"` takes lambda w off the weights themselves, whatever the learning
        rate, as in `sgd_momentum`.
      mask: which parameters decay, see `sgd_momentum`.

    Returns:
      A gradient transformation; its `update` needs the parameters.

    Raises:
      ValueError: `decay` is neither.

    References:
      Tieleman and Hinton, lecture 6.5 of Neural Networks for Machine Learning, 2012.

    >>> optimizer = rmsprop(0.1, 0.0, 0.0, rho=0.75, epsilon=3.0)
    >>> weights = jnp.array([2.0])
    >>> updates, state = optimizer.update(jnp.array([2.0]), optimizer.init(weights), weights)
    >>> round(float(updates[0]), 4)  # -0.1 * 2 / sqrt(0.25 * 2^2 + 3)
    -0.1
    """
    descent = optax.rmsprop(schedule, decay=rho, eps=epsilon, eps_in_sqrt=True, momentum=momentum)
    return _with_decay(descent, weight_decay, decay, mask)


def adamw(
    schedule: optax.ScalarOrSchedule,
    momentum: Scalar,
    weight_decay: Scalar,
    *,
    b2: Scalar = 0.999,
    epsilon: Scalar = 1e-8,
    mask: Mask | None = None,
) -> optax.GradientTransformation:
    """Returns AdamW: Adam with weight decay lr lambda per step, w <- w (1 - lr lambda) - lr m / (sqrt(s) + eps).

    m and s are the bias-corrected means of the gradient and of its square. Unlike the `"decoupled"` of the other two,
    the decay follows the learning rate, as in PyTorch, Keras and optax.

    Args:
      schedule: learning rate, or a function of the update count.
      momentum: beta 1, how much of the gradient's mean is kept each step, in [0, 1); may be traced.
      weight_decay: lambda, at least 0; may be traced.
      b2: beta 2, the same for its square, in [0, 1); may be traced.
      epsilon: added to the root, above 0; may be traced.
      mask: which parameters decay, see `sgd_momentum`.

    Returns:
      A gradient transformation; its `update` needs the parameters.

    References:
      Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.

    >>> optimizer = adamw(0.1, 0.9, 0.5)
    >>> weights = jnp.array([2.0])
    >>> updates, state = optimizer.update(jnp.array([3.0]), optimizer.init(weights), weights)
    >>> round(float(updates[0]), 4)  # -0.1 (1 + 0.5 * 2)
    -0.2
    """
    return optax.adamw(schedule, b1=momentum, b2=b2, eps=epsilon, weight_decay=weight_decay, mask=mask)


def decays(params: Any) -> Any:
    """Says which parameters are usually made to decay: kernels, and neither biases nor BatchNorm's scales.

    Args:
      params: a tree of arrays.

    Returns:
      The same tree of bools: whether the array has two axes or more.

    >>> decays({"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)})
    {'bias': False, 'kernel': True}
    """
    return jax.tree.map(lambda leaf: np.ndim(leaf) >= 2, params)


def make(
    name: Optimizer | optax.GradientTransformation,
    schedule: optax.ScalarOrSchedule,
    momentum: Scalar,
    weight_decay: Scalar,
    *,
    decay: WeightDecay = "l2",
    decay_all: bool = True,
    clip_norm: Scalar | None = None,
    rates: Any | None = None,
) -> optax.GradientTransformation:
    """Returns an optimiser, given or by its name, with clipping before it and a factor for each parameter after it.

    Args:
      name: `"sgd"`, `"rmsprop"` or `"adamw"`; or an optimiser, its schedule, momentum and decay inside.
      schedule: learning rate, or a function of the update count.
      momentum: in [0, 1); beta 1 of AdamW; may be traced.
      weight_decay: lambda, at least 0; may be traced.
      decay: kind of decay; AdamW has its own and reads this one only to refuse what is neither.
      decay_all: whether every parameter decays, as equation 4-2 excludes none, or only those that `decays` names.
      clip_norm: gradients whose norm, over all parameters together, is greater are scaled down to it; above 0, may be
        traced; None for no clipping.
      rates: factors of the updates, weight decay included: floats or scalars in a tree like the parameters or a
        prefix of one, such as `skinjax.train.freezing.rate_factors` gives. 0 freezes: the parameter stays as it is to
        the bit, its gradient does not count for clipping and, where the 0 is a number and no array, is not computed
        under jit.

    Returns:
      A gradient transformation; its `update` needs the parameters.

    Raises:
      ValueError: `name` or `decay` is not one of those above.

    References:
      Clipping: Pascanu, Mikolov and Bengio, On the Difficulty of Training Recurrent Neural Networks, 2013.

    >>> optimizer = make("sgd", 1.0, 0.0, 0.0, clip_norm=5.0, rates={"stem": 0.0, "head": 0.5})
    >>> params = {"stem": jnp.zeros(1), "head": jnp.zeros(2)}
    >>> gradients = {"stem": jnp.ones(1), "head": jnp.array([6.0, 8.0])}
    >>> updates, state = optimizer.update(gradients, optimizer.init(params), params)
    >>> updates["head"]
    Array([-1.5, -2. ], dtype=float32)
    >>> optax.apply_updates(params, updates)["stem"]
    Array([0.], dtype=float32)
    """
    _check_decay(decay)
    mask = None if decay_all else decays
    if isinstance(name, optax.GradientTransformation):
        optimizer = name
    elif name == "sgd":
        optimizer = sgd_momentum(schedule, momentum, weight_decay, decay, mask=mask)
    elif name == "rmsprop":
        optimizer = rmsprop(schedule, momentum, weight_decay, decay=decay, mask=mask)
    elif name == "adamw":
        optimizer = adamw(schedule, momentum, weight_decay, mask=mask)
    else:
        raise ValueError(f"optimizer must be one of {', '.join(get_args(Optimizer))}, got {name!r}")
    steps = [optimizer]
    if clip_norm is not None:
        steps.insert(0, optax.clip_by_global_norm(clip_norm))
    if rates is not None:
        steps = [_scale(rates, _drop), *steps, _scale(rates, lambda rate, update: rate * update)]
    return optax.chain(*steps)


def _with_decay(
    descent: optax.GradientTransformation, weight_decay: Scalar, decay: WeightDecay, mask: Mask | None
) -> optax.GradientTransformation:
    """Puts the decay before the descent, where it is part of the gradient, or after it."""
    _check_decay(decay)
    if decay == "l2":
        return optax.chain(optax.add_decayed_weights(weight_decay, mask), descent)
    return optax.chain(descent, optax.add_decayed_weights(-weight_decay, mask))


def _check_decay(decay: str) -> None:
    if decay not in get_args(WeightDecay):
        raise ValueError(f"decay must be 'l2' or 'decoupled', got {decay!r}")


def _scale(rates: Any, scale: Callable[[Any, jax.Array], jax.Array]) -> optax.GradientTransformation:
    """Applies `scale` to each array of the updates and its rate; `rates` may be a prefix of their tree."""
    return optax.stateless(
        lambda updates, params: jax.tree.map(
            lambda rate, subtree: jax.tree.map(lambda update: scale(rate, update), subtree), rates, updates
        )
    )


def _drop(rate: Any, gradient: jax.Array) -> jax.Array:
    """Zeros for a frozen parameter. Where the rate is a plain number, nothing is left then that needs the gradient."""
    if isinstance(rate, jax.Array):
        return jnp.where(rate == 0, jnp.zeros_like(gradient), gradient)
    return jnp.zeros_like(gradient) if rate == 0 else gradient
