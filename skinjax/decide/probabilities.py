"""Class probabilities and indices as arguments: checked where they can be read, and in float32 or wider."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

SMALLEST = float(np.finfo(np.float32).tiny)
"""Smallest normal float32, 1.18e-38: what a probability of 0 counts as where its logarithm is taken."""


def class_probabilities(name: str, values: ArrayLike) -> jax.Array:
    """Probabilities in float32 or wider, checked to have an axis of classes.

    Args:
      name: What the argument is called in errors.
      values: float[..., K].

    Returns:
      float[..., K], float32 or wider.

    Raises:
      ValueError: No last axis, or one of length 0.

    Example:
      >>> class_probabilities("probs", np.array([0.5, 0.5], np.float16)).dtype
      dtype('float32')
    """
    array = jnp.asarray(values)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{name} must have a last axis of classes, got shape {array.shape}")
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def class_indices(name: str, values: ArrayLike, length: int, num_classes: int) -> jax.Array:
    """Returns the coarse class of every fine class, checked.

    Args:
      name: What the argument is called in errors.
      values: int[length]. A traced value cannot be read, so its range is not checked.
      length: How many fine classes there are.
      num_classes: How many coarse classes there are.

    Returns:
      int[length].

    Raises:
      ValueError: Another shape, no integers, or one outside [0, num_classes).

    Example:
      >>> class_indices("parents", [0, 0, 1], 3, 2).tolist()
      [0, 0, 1]
    """
    array = values if isinstance(values, jax.core.Tracer) else np.asarray(values)
    if array.shape != (length,) or not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(
            f"{name} must be integers of shape ({length},), one per class, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if isinstance(array, np.ndarray):
        wrong = np.flatnonzero((array < 0) | (array >= num_classes))
        if wrong.size:
            shown = ", ".join(f"{array[i]} at {i}" for i in wrong[:10])
            raise ValueError(f"{name} must lie in [0, {num_classes}), got {wrong.size} outside: {shown}")
    return jnp.asarray(array)


def log_probabilities(probs: ArrayLike, floor: float = SMALLEST) -> jax.Array:
    """Logarithms of probabilities, finite at 0: logits of a model of which only probabilities are known.

    The softmax of the answer is `probs` again, so a temperature fitted on it is the one of the logits.

    Args:
      probs: float[..., K], in [0, 1].
      floor: What smaller probabilities count as; its gradient there is 0. The default, 1.18e-38, suits a
        float32 softmax. For a file of rounded probabilities give half of its last digit (5e-7 for six
        decimals): a 0 there does not mean 1e-38.

    Returns:
      float[..., K], at most 0 and at least log(floor), which is -87.3 by default.

    Raises:
      ValueError: No axis of classes, or a floor outside (0, 1).

    Example:
      >>> log_probabilities(jnp.array([1.0, 0.0])).round(1).tolist()
      [0.0, -87.30000305175781]
    """
    if not 0 < floor < 1:
        raise ValueError(f"floor must lie in (0, 1), got {floor}")
    return jnp.log(jnp.maximum(class_probabilities("probs", probs), floor))
