"""Losses over logits, a value per photo, and class weights.

Means are taken with a weight per photo, so that padding and class weights need no case of their own.
`smoothing` and `gamma` may be traced values. Labels out of range are refused where they can be read; traced
ones, as under `jit`, are not checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from skinjax.decide.validation import class_labels

Loss = Literal["cross_entropy", "focal", "binary"]
Scalar = float | jax.Array


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: Scalar = 0.0) -> jax.Array:
    """Computes the cross-entropy of each photo (thesis equation 3-2 before its mean).

    With smoothed labels, where asked for: the label's class has the target 1 - s + s / K and every other class s / K.

    Args:
      logits: float[..., K].
      labels: int32[...] in 0..K-1.
      smoothing: The share s in [0, 1]; may be traced.

    Returns:
      float32[...], in nats.

    Raises:
      ValueError: Shapes do not fit, or a label is no class.

    References:
      Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2016, section 7.

    >>> cross_entropy(jnp.zeros((1, 4)), jnp.array([2])).round(4)
    Array([1.3863], dtype=float32)
    >>> cross_entropy(jnp.log(jnp.array([[0.8, 0.2]])), jnp.array([0]), smoothing=0.1).round(4)
    Array([0.2925], dtype=float32)
    """
    logits, labels = _checked(logits, labels)
    if isinstance(smoothing, int | float) and smoothing == 0:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return optax.softmax_cross_entropy(logits, _smoothed(labels, logits.shape[-1], smoothing))


def focal(logits: jax.Array, labels: jax.Array, gamma: Scalar, smoothing: Scalar = 0.0) -> jax.Array:
    """Computes the focal loss of each photo: -sum_k y_k (1 - p_k)^gamma log p_k.

    y are the targets and p the softmax of the logits. Without smoothing it is -(1 - p_t)^gamma log p_t, t the label:
    photos that the network is sure of count less.

    Args:
      logits: float[..., K].
      labels: int32[...] in 0..K-1.
      gamma: Exponent of at least 0; 0 gives `cross_entropy`; may be traced.
      smoothing: Smoothing of the targets, see `cross_entropy`; may be traced.

    Returns:
      float32[...]. Values and gradients are finite for finite logits, however far apart.

    Raises:
      ValueError: Shapes do not fit, or a label is no class.

    References:
      Lin et al., Focal Loss for Dense Object Detection, 2017, equation 4, there for two classes.

    >>> focal(jnp.log(jnp.array([[0.75, 0.25]])), jnp.array([0]), gamma=2.0).round(4)  # 0.25^2 * 0.2877
    Array([0.018], dtype=float32)
    """
    logits, labels = _checked(logits, labels)
    log_p = jax.nn.log_softmax(logits)
    # 1 - p, kept off 0, where the gradient of its power is not finite.
    rest = jnp.maximum(-jnp.expm1(log_p), jnp.finfo(jnp.float32).tiny)
    return -jnp.sum(_smoothed(labels, logits.shape[-1], smoothing) * rest**gamma * log_p, axis=-1)


def binary_cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: Scalar = 0.0) -> jax.Array:
    """Computes the binary cross-entropy of each photo: -y log p - (1 - y) log(1 - p).

    This is thesis equation 3-3 before its mean. p is the sigmoid of a score: of the only logit of a head of one, of the
    second minus the first of a head of two, where this equals `cross_entropy`.

    Args:
      logits: float[..., 1] or float[..., 2].
      labels: int32[...], 0 or 1.
      smoothing: The share s in [0, 1]: y is then (1 - s) label + s / 2; may be traced.

    Returns:
      float32[...], in nats.

    Raises:
      ValueError: There are more logits, or none; shapes do not fit, or a label is neither 0 nor 1.

    >>> binary_cross_entropy(jnp.array([[0.0], [jnp.log(3.0)]]), jnp.array([0, 1])).round(4)
    Array([0.6931, 0.2877], dtype=float32)
    """
    logits, labels = _checked(logits, labels, 2)
    if logits.shape[-1] not in (1, 2):
        raise ValueError(f"logits must be 1 or 2 per photo for binary cross-entropy, got {logits.shape[-1]}")
    score = logits[..., 0] if logits.shape[-1] == 1 else logits[..., 1] - logits[..., 0]
    return optax.sigmoid_binary_cross_entropy(score, (1 - smoothing) * labels + smoothing / 2)


def make_loss(
    name: Loss, *, smoothing: Scalar = 0.0, gamma: Scalar = 2.0
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Returns a loss by its name.

    Args:
      name: `"cross_entropy"`, `"focal"` or `"binary"`.
      smoothing: Smoothing of the labels, in [0, 1]; may be traced.
      gamma: Exponent of the focal loss, at least 0; may be traced; the others do not read it.

    Returns:
      A function (logits float[..., K], labels int32[...]) -> float32[...], a loss per photo.

    Raises:
      ValueError: `name` is none of the three.

    >>> make_loss("cross_entropy", smoothing=0.1)(jnp.zeros((1, 4)), jnp.array([2])).round(4)
    Array([1.3863], dtype=float32)
    """
    if name == "cross_entropy":
        return lambda logits, labels: cross_entropy(logits, labels, smoothing)
    if name == "focal":
        return lambda logits, labels: focal(logits, labels, gamma, smoothing)
    if name == "binary":
        return lambda logits, labels: binary_cross_entropy(logits, labels, smoothing)
    raise ValueError(f"loss must be one of {', '.join(get_args(Loss))}, got {name!r}")


def balanced_class_weights(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns weights inverse to class frequency, scaled so that the mean weight of a photo is 1.

    Args:
      labels: int[N] in 0..num_classes-1.
      num_classes: Number of classes; one without a photo has weight 0.

    Returns:
      float32[num_classes].

    Raises:
      ValueError: Labels are no integers in that range.

    >>> balanced_class_weights(np.array([0, 0, 0, 1]), 2).round(3).tolist()
    [0.6669999957084656, 2.0]
    """
    counts = _counts(labels, num_classes)
    present = np.count_nonzero(counts)
    return np.where(counts > 0, counts.sum() / (present * np.maximum(counts, 1)), 0.0).astype(np.float32)


def effective_number_weights(labels: np.ndarray, num_classes: int, beta: float = 0.999) -> np.ndarray:
    """Returns weights inverse to each class's effective number of photos, scaled so that a photo's mean weight is 1.

    n photos count as (1 - beta^n) / (1 - beta), since each further one adds less than the one before: 1 / (1 - beta) at
    the most. beta 0 weighs all photos alike; towards 1 the weights go to `balanced_class_weights`.

    Args:
      labels: int[N] in 0..num_classes-1.
      num_classes: Number of classes; one without a photo has weight 0.
      beta: Number in [0, 1).

    Returns:
      float32[num_classes].

    Raises:
      ValueError: `beta` is out of range, or labels are no integers in theirs.

    References:
      Cui et al., Class-Balanced Loss Based on Effective Number of Samples, 2019, proposition 1.

    >>> effective_number_weights(np.array([0, 0, 0, 1]), 2, beta=0.5).round(3).tolist()
    [0.8420000076293945, 1.4739999771118164]
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be at least 0 and below 1, got {beta}")
    counts = _counts(labels, num_classes)
    effective = (1 - beta**counts) / (1 - beta)  # 1 or more, and 0 of no photo
    weights = np.where(counts > 0, 1 / np.maximum(effective, 1), 0.0)
    return (weights * counts.sum() / np.sum(weights * counts)).astype(np.float32)


def _counts(labels: np.ndarray, num_classes: int) -> np.ndarray:
    return np.bincount(class_labels("labels", labels, len(labels), num_classes), minlength=num_classes)


def _checked(
    logits: jax.Array, labels: jax.Array, num_classes: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """Returns logits in float32, and labels of their shape and, where they are no tracer, in range."""
    if not np.ndim(logits):
        raise ValueError("logits must be of shape [..., K], got a single number")
    expected, classes = np.shape(logits)[:-1], num_classes or np.shape(logits)[-1]
    kind = labels.dtype if hasattr(labels, "dtype") else np.asarray(labels).dtype
    if kind.kind not in "iub":
        raise ValueError(f"labels must be integers, got {kind}")
    if np.shape(labels) != expected:
        raise ValueError(f"labels must be one per row of logits, {expected}, got shape {np.shape(labels)}")
    if not isinstance(labels, jax.core.Tracer) and getattr(labels, "is_fully_addressable", True):
        values = np.asarray(labels)
        wrong = values[(values < 0) | (values >= classes)]
        if wrong.size:
            raise ValueError(f"labels must lie in [0, {classes}), got {wrong.size} others: {wrong[0]} first")
    return jnp.asarray(logits).astype(jnp.float32), jnp.asarray(labels)


def _smoothed(labels: jax.Array, num_classes: int, smoothing: Scalar) -> jax.Array:
    """Returns targets float32[..., K] that sum to 1."""
    return optax.smooth_labels(jax.nn.one_hot(labels, num_classes), smoothing)


def is_chance(
    labels: np.ndarray, loss: float, weights: np.ndarray | None = None, *, sampled_evenly: bool = False
) -> bool:
    """Says whether a training loss is no better than that of the best answer that is the same for every photo.

    Of an unweighted loss that answer is the frequencies of the classes; weights, and classes drawn equally often, shift
    it towards equal shares, of which the unweighted cross-entropy is higher.

    Args:
      labels: int[N] of the training photos.
      loss: Mean cross-entropy of the last epoch, unweighted, in nats.
      weights: float[K], weights of the classes in the loss that was trained with; None for none.
      sampled_evenly: Whether the photos of an epoch were drawn so that classes are equally common.

    >>> is_chance(np.array([0, 1]), 0.69), is_chance(np.array([0, 1]), 0.4)
    (True, False)
    >>> rare = np.repeat([0, 1], [90, 10])
    >>> is_chance(rare, 0.5), is_chance(rare, 0.5, weights=np.array([1.0, 9.0]))
    (True, False)
    """
    shares = np.bincount(labels, minlength=0 if weights is None else len(weights)) / len(labels)
    there = shares > 0
    seen = there / there.sum() if sampled_evenly else shares
    answer = seen if weights is None else seen * weights
    answer = answer[there] / answer[there].sum()
    return bool(loss >= 0.97 * -np.sum(seen[there] * np.log(answer)) > 0)
