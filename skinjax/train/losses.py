"""Losses over logits, with a weight a photo, so that padding and class weights need no case of their own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of each photo (thesis equation 3-2 before its mean).

    Args:
      logits: float[..., K].
      labels: int32[...] in 0..K-1.

    Returns:
      float32[...], in nats.

    >>> cross_entropy(jnp.zeros((1, 4)), jnp.array([2])).round(4)
    Array([1.3863], dtype=float32)
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels)


def weighted_mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Returns the mean of `values` under non-negative `weights` of the same shape; 0 where all weights are 0."""
    total = jnp.sum(weights)
    return jnp.sum(values * weights) / jnp.where(total > 0, total, 1.0)


def balanced_class_weights(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns weights inverse to class frequency, scaled so that the mean weight of a photo is 1.

    Args:
      labels: int[N] in 0..num_classes-1.
      num_classes: how many classes; one without a photo has weight 0.

    Returns:
      float32[num_classes].

    >>> balanced_class_weights(np.array([0, 0, 0, 1]), 2).round(3).tolist()
    [0.6669999957084656, 2.0]
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = np.count_nonzero(counts)
    return np.where(counts > 0, counts.sum() / (present * np.maximum(counts, 1)), 0.0).astype(np.float32)
