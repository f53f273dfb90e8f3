"""A learnt second stage: logistic regression on a classifier's log-probabilities (thesis, chapter 3; ours).

    log-odds of the target = b + sum_k w_k log p_k

With w = 1 at the target and 0 elsewhere it orders photos as the thesis's own rule does, by p_t. Fitting lets
it learn which rivals speak against the target, and how strongly.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from skinjax.decide.probabilities import SMALLEST, log_probabilities
from skinjax.decide.validation import class_labels, class_matrix


@functools.partial(jax.tree_util.register_dataclass, data_fields=["weights", "bias"], meta_fields=["floor"])
@dataclasses.dataclass(frozen=True)
class LogisticHead:
    """Parameters of a learnt second stage; a pytree, so that it may be an argument under `jit`.

    Attributes:
      weights: float[K], a log-probability's weight.
      bias: Float, the log-odds where all log-probabilities are 0.
      floor: What smaller probabilities count as; see `log_probabilities`.
    """

    weights: np.ndarray
    bias: float
    floor: float = SMALLEST


def fit_head(
    labels: ArrayLike,
    probs: ArrayLike,
    target: int,
    *,
    regularization: float = 1.0,
    floor: float = SMALLEST,
) -> LogisticHead:
    """Fits the weights on validation photos, as far from the plain rule as they give reason to.

    Minimises, over weights w and bias b, the sum over photos of -log P(label) + regularization / 2 |w -
    e_t|^2, where e_t is 1 at the target and 0 elsewhere. Few photos, or a large `regularization`, leave the
    order that p_t gives; the bias is free, so the mean of the fitted probabilities is the share of the
    target. The problem is strictly convex and is solved in float64.

    Args:
      labels: int[N], 1 where the photo shows the target, else 0; both must occur.
      probs: float[N, K], the classifier's probabilities of validation photos.
      target: T in [0, K).
      regularization: Above 0.
      floor: What smaller probabilities count as; see `log_probabilities`.

    Returns:
      The head.

    Raises:
      ValueError: Labels, probabilities, a target or a number that cannot be used.

    Example:
      >>> probs = np.array([[0.7, 0.2, 0.1], [0.6, 0.1, 0.3], [0.5, 0.4, 0.1], [0.1, 0.5, 0.4]])
      >>> head = fit_head([1, 1, 0, 0], probs, target=0)
      >>> (head_log_odds(head, probs) > 0).tolist()
      [True, True, False, False]
    """
    # Takes most of a second to import, which scoring by a stored head need not wait for.
    from scipy.optimize import minimize
    from scipy.special import expit

    values = class_matrix("probs", probs, probabilities=True)
    positive = class_labels("labels", labels, len(values), 2)
    ones = int(positive.sum())
    if not 0 < ones < len(positive):
        raise ValueError(f"labels must hold both 0 and 1, got {len(positive) - ones} and {ones} of them")
    num_classes = values.shape[1]
    if not 0 <= target < num_classes:
        raise ValueError(f"target must lie in [0, {num_classes}), got {target}")
    if not 0 < regularization < np.inf:
        raise ValueError(f"regularization must be above 0 and finite, got {regularization}")
    if not 0 < floor < 1:
        raise ValueError(f"floor must lie in (0, 1), got {floor}")
    logs = np.log(np.maximum(values, floor))
    # The bias is fitted at the mean of the features, where it hardly depends on the weights.
    centre = logs.mean(axis=0)
    features = np.column_stack([logs - centre, np.ones(len(logs))])
    start = np.zeros(num_classes + 1)
    start[target], start[-1] = 1, np.log(ones / (len(positive) - ones))
    penalty = regularization * np.append(np.ones(num_classes), 0) / len(logs)
    prior = np.append(np.eye(num_classes)[target], 0)
    signs = 2.0 * positive - 1

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (features @ parameters)
        shift = parameters - prior
        value = np.logaddexp(0, -margins).mean() + (penalty * shift**2).sum() / 2
        return value, -(signs * expit(-margins)) @ features / len(logs) + penalty * shift

    def hessian(parameters: np.ndarray) -> np.ndarray:
        spread = expit(features @ parameters)
        spread *= 1 - spread
        return (features * spread[:, None]).T @ features / len(logs) + np.diag(penalty)

    found = minimize(loss, start, jac=True, hess=hessian, method="trust-exact", options={"gtol": 1e-10}).x
    return LogisticHead(found[:-1], float(found[-1] - found[:-1] @ centre), floor)


def head_log_odds(head: LogisticHead, probs: ArrayLike) -> jax.Array:
    """Returns the learnt score: log-odds of the target, of which `jax.nn.sigmoid` is its probability.

    Log-odds keep the order of photos where probabilities would all round to 1. They are finite at
    probabilities of 0, with finite gradients, eager, under `jit` and under `vmap`.

    Args:
      head: The head that `fit_head` returned.
      probs: float[..., K], probabilities of the classifier that it was fitted on.

    Returns:
      float[...].

    Raises:
      ValueError: Another number of classes than the head's.

    Example:
      >>> head_log_odds(LogisticHead(np.array([1.0, -1.0]), 0.5), jnp.array([0.5, 0.5])).tolist()
      0.5
    """
    logs = log_probabilities(probs, head.floor)
    weights = jnp.asarray(head.weights, logs.dtype)
    if weights.shape != logs.shape[-1:]:
        raise ValueError(f"probs must have the head's {weights.shape[0]} classes, got shape {logs.shape}")
    return jnp.sum(logs * weights, axis=-1) + head.bias
