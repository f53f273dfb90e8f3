"""Calibration: probabilities that come true as often as they say, by few parameters.

    temperature  softmax(z / T)      Guo et al. 2017, doi:10.48550/arXiv.1706.04599
    vector       softmax(scale_k log p_k + bias_k), p = softmax(z)

z are logits. Where only probabilities are known, their logarithms serve (`log_probabilities`, which says what
becomes of zeros): both forms then answer the same as for the logits, as their softmax is the same. Vector
scaling is usually written on z itself; there it depends on a constant added to a photo's logits, which means
nothing.

A temperature never changes which class is the most probable; vector scaling may, as its bias makes up for
classes that are rarer or commoner among the validation photos than the network believes.

Fits run on the host in float64 and count every photo alike. What is applied takes and gives `jax.numpy`
arrays, eager, under `jit` and under `vmap`, with finite gradients.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax, logsumexp, softmax

from skinjax.decide.validation import class_labels, class_matrix

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.01, 100.0
"""Between these a temperature is looked for."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class VectorScaling:
    """Parameters of vector scaling; a pytree, so that it may be an argument under `jit`.

    Attributes:
      scale: float[K], at least 0, what each class's log-probability is multiplied by.
      bias: float[K], what is added to it then.
    """

    scale: np.ndarray
    bias: np.ndarray


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Returns the temperature under which the labels of validation photos are most likely.

    The log-likelihood is concave in 1 / T, so the one zero of its slope is the answer, found to 1e-12. Where
    there is none the nearer limit is given: 0.01 where every photo's label has the largest logit, 100 where
    logits say no more than chance. Logits that are equal throughout give 1.

    Args:
      logits: float[N, K], finite; of probabilities give `log_probabilities(probs)`.
      labels: int[N] in [0, K).

    Returns:
      T in [0.01, 100]; above 1 for a network that is too sure of itself.

    Raises:
      ValueError: Shapes that do not fit, logits that are not finite, or labels that are no classes.

    Example:
      >>> logits = np.log([[0.9, 0.1]] * 3 + [[0.1, 0.9]])  # says 90 %, right in 3 of 4
      >>> temperature = fit_temperature(logits, [0, 0, 1, 1])
      >>> round(temperature, 6), np.asarray(apply_temperature(logits[0], temperature)).round(3)
      (2.0, array([0.75, 0.25], dtype=float32))
    """
    values, true = _validation(logits, labels)
    values = values - values.max(axis=1, keepdims=True)
    chosen = values[np.arange(len(values)), true].mean()

    def slope(log_inverse: float) -> float:
        return float((softmax(np.exp(log_inverse) * values, axis=1) * values).sum(axis=1).mean() - chosen)

    low, high = -np.log(HIGHEST_TEMPERATURE), -np.log(LOWEST_TEMPERATURE)
    if not values.any():
        return 1.0
    if slope(low) >= 0:
        return HIGHEST_TEMPERATURE
    if slope(high) <= 0:
        return LOWEST_TEMPERATURE
    return float(np.exp(-brentq(slope, low, high, xtol=1e-12)))


def apply_temperature(logits: ArrayLike, temperature: ArrayLike) -> jax.Array:
    """Returns calibrated probabilities, softmax(logits / T).

    Args:
      logits: float[..., K].
      temperature: T, one number above 0; for one per photo use `jax.vmap`.

    Returns:
      float[..., K], which sum to 1.

    Raises:
      ValueError: No axis of classes, or a temperature that is not one number above 0.

    Example:
      >>> apply_temperature(jnp.array([0.0, 0.0]), 2.0).tolist()
      [0.5, 0.5]
    """
    values = _logits(logits)
    if np.shape(temperature) != ():
        raise ValueError(f"temperature must be one number, got shape {np.shape(temperature)}")
    if not isinstance(temperature, jax.core.Tracer) and not np.all(np.asarray(temperature) > 0):
        raise ValueError(f"temperature must be above 0, got {temperature}")
    return jax.nn.softmax(values / temperature, axis=-1)


def fit_vector_scaling(logits: ArrayLike, labels: ArrayLike, regularization: float = 10.0) -> VectorScaling:
    """Fits a scale and a bias for every class on validation photos, as far from 1 / T and 0 as those ask.

    Minimises, with T of `fit_temperature`, the sum over photos of -log P(label) + regularization / 2 times

        sum_k (T scale_k - 1)^2 + bias_k^2

    so that a class with few photos, or none, keeps the scale 1 / T and the bias 0. That is a Gaussian prior; by
    default its standard deviation is a third (of 1 / T for a scale), which costs 20 photos of 19 classes next to
    nothing where a temperature is enough. The problem is strictly convex; L-BFGS-B in float64.

    Args:
      logits: float[N, K], finite; of probabilities give `log_probabilities(probs)`.
      labels: int[N] in [0, K).
      regularization: Above 0; the prior's inverse variance.

    Returns:
      The scaling.

    Raises:
      ValueError: Shapes that do not fit, logits that are not finite, labels that are no classes, or a
        regularisation that is not above 0.

    Example:
      >>> logits = np.log([[0.5, 0.5]] * 100)  # knows nothing, but class 0 is nine times as common
      >>> scaling = fit_vector_scaling(logits, [0] * 90 + [1] * 10)
      >>> np.asarray(apply_vector_scaling(logits[0], scaling)).round(2)
      array([0.84, 0.16], dtype=float32)
    """
    values, true = _validation(logits, labels)
    if not 0 < regularization < np.inf:
        raise ValueError(f"regularization must be above 0 and finite, got {regularization}")
    inverse = 1 / fit_temperature(values, true)
    # Scales are looked for in units of 1 / T, so that both halves of the parameters are of the order of 1.
    logs = inverse * log_softmax(values, axis=1)
    num_photos, num_classes = logs.shape
    rows = np.arange(num_photos)
    prior = np.repeat([1.0, 0.0], num_classes)
    penalty = regularization / num_photos

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        shifted = logs * parameters[:num_classes] + parameters[num_classes:]
        total = logsumexp(shifted, axis=1, keepdims=True)
        away = parameters - prior
        value = (total[:, 0] - shifted[rows, true]).mean() + penalty * (away**2).sum() / 2
        residual = np.exp(shifted - total)
        residual[rows, true] -= 1
        gradient = np.concatenate([(residual * logs).sum(axis=0), residual.sum(axis=0)]) / num_photos
        return value, gradient + penalty * away

    found = minimize(
        loss,
        prior,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * num_classes + [(None, None)] * num_classes,
        options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-15, "gtol": 1e-9},
    ).x
    return VectorScaling(inverse * found[:num_classes], found[num_classes:])


def apply_vector_scaling(logits: ArrayLike, scaling: VectorScaling) -> jax.Array:
    """Returns calibrated probabilities, softmax(scale log softmax(logits) + bias).

    Args:
      logits: float[..., K].
      scaling: The scaling that `fit_vector_scaling` returned.

    Returns:
      float[..., K], which sum to 1.

    Raises:
      ValueError: Another number of classes than the scaling's.

    Example:
      >>> scaling = VectorScaling(scale=np.ones(2), bias=np.log([3.0, 1.0]))
      >>> np.asarray(apply_vector_scaling(jnp.array([0.0, 0.0]), scaling)).round(2)
      array([0.75, 0.25], dtype=float32)
    """
    values = _logits(logits)
    scale, bias = jnp.asarray(scaling.scale, values.dtype), jnp.asarray(scaling.bias, values.dtype)
    if scale.shape != values.shape[-1:]:
        raise ValueError(f"logits must have the scaling's {scale.shape[0]} classes, got shape {values.shape}")
    return jax.nn.softmax(scale * jax.nn.log_softmax(values, axis=-1) + bias, axis=-1)


def _validation(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values = class_matrix("logits", logits)
    return values, class_labels("labels", labels, *values.shape)


def _logits(logits: ArrayLike) -> jax.Array:
    array = jnp.asarray(logits)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"logits must have a last axis of classes, got shape {array.shape}")
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
