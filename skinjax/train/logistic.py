"""Multinomial logistic regression with an L2 penalty, many penalties and subsets of photos at once.

    minimise over B, b   sum_i w_i CE(softmax(B' x_i + b), y_i) / sum_i w_i  +  lambda / 2 |B|^2

scikit-learn's `LogisticRegression(C=1 / (lambda * sum w), solver="lbfgs")` solves the same, one problem after another:
choosing lambda on inner folds of 5,500 photos with 1,280 features takes seconds per problem there. Here all problems
share each product with the features, and accelerated gradient steps run in coordinates where the Hessian is near the
identity: the eigenvectors of the features' second moments, scaled by Böhning's bound of the Hessian (1992,
doi:10.1007/BF00048682).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

ITERATIONS = 300
TOLERANCE = 2e-5
"""Largest norm of the gradient, in the scaled coordinates, at which a problem is solved."""

_Carry = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]
"""Kernels, those ahead by their momentum, its age, the largest norm of a gradient, and how many steps were made."""

_BIAS_PENALTY = 1e-6  # keeps the bias of a class without photos finite
_ROWS = 512  # rows are filled up to a multiple, so that folds of nearly equal size share one compiled program


def fit_all(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    weights: NDArray[np.floating],
    penalties: NDArray[np.floating],
    num_classes: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Solves S problems that share photos and labels and differ in weights and penalty.

    Args:
      features: float[N, F], of about unit variance.
      labels: int[N] in [0, K).
      weights: float[S, N], at least 0, of each photo in each problem; 0 leaves it out.
      penalties: float[S], lambda of each problem, above 0.
      num_classes: K.

    Returns:
      float32[S, F, K] and float32[S, K]: B and b.
    """
    rows, width = features.shape
    filled = -(-rows // _ROWS) * _ROWS
    shares = np.zeros((len(weights), filled), np.float32)
    shares[:, :rows] = weights / weights.sum(axis=1, keepdims=True)
    values, basis = _eigenbasis(features, shares[:, :rows].mean(axis=0))
    rank = min(-(-len(values) // _ROWS) * _ROWS, width)  # filled up likewise
    inputs = np.zeros((filled, rank + 1), np.float32)
    inputs[:rows, : len(values)] = features @ basis
    inputs[:rows, rank] = 1
    curvature = np.zeros(rank + 1)  # Böhning's bound, less the penalty
    curvature[: len(values)], curvature[rank] = 0.5 * values, 0.5
    penalty = np.repeat(np.asarray(penalties, np.float32)[:, None], rank + 1, axis=1)
    penalty[:, rank] = _BIAS_PENALTY
    targets = np.zeros((filled, num_classes), np.float32)
    targets[np.arange(rows), labels] = 1
    with jax.default_matmul_precision("highest"):
        solved = np.asarray(_solve(inputs, targets, shares, penalty, curvature.astype(np.float32)))
    return basis @ solved[:, : len(values)], solved[:, rank]


def _eigenbasis(features: NDArray[Any], shares: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns eigenvalues float32[R] and eigenvectors float32[F, R] of the weighted second moments, R = min(N, F).

    B has no part outside of the space that the photos span, as the penalty would only grow by it.
    """
    if len(features) < features.shape[1]:
        _, sizes, rows = np.linalg.svd(
            features * np.sqrt(shares / shares.sum())[:, None], full_matrices=False
        )
        return (sizes**2).astype(np.float32), rows.T.astype(np.float32)
    moments = features.T @ (features * (shares / shares.sum())[:, None])
    values, vectors = np.linalg.eigh(moments)
    return np.maximum(values, 0).astype(np.float32), vectors.astype(np.float32)


@jax.jit
def _solve(
    inputs: jax.Array, targets: jax.Array, shares: jax.Array, penalty: jax.Array, curvature: jax.Array
) -> jax.Array:
    """Returns the minima float32[S, F + 1, K] in the coordinates of `inputs`.

    A step of 1 in the scaled coordinates never overshoots, so there is no line search; Nesterov's momentum starts
    anew where it points uphill (O'Donoghue and Candes 2015, doi:10.1007/s10208-013-9150-3).
    """
    problems, width, classes = len(shares), inputs.shape[1], targets.shape[1]
    inverse = 1 / (curvature + penalty)  # [S, F + 1]

    def slope(kernel: jax.Array) -> jax.Array:
        logits = (inputs @ kernel.transpose(1, 0, 2).reshape(width, -1)).reshape(-1, problems, classes)
        errors = (jax.nn.softmax(logits) - targets[:, None]) * shares.T[..., None]  # [N, S, K]
        products = (inputs.T @ errors.reshape(len(inputs), -1)).reshape(width, problems, classes)
        return products.transpose(1, 0, 2) + penalty[..., None] * kernel

    def step(carry: _Carry) -> _Carry:
        before, ahead, age, _, count = carry
        gradient = slope(ahead)
        kernel = ahead - inverse[..., None] * gradient
        moved = kernel - before
        uphill = jnp.sum(gradient * moved, axis=(1, 2)) > 0
        age = jnp.where(uphill, 1.0, age)
        older = (1 + jnp.sqrt(1 + 4 * age**2)) / 2
        ahead = kernel + jnp.where(uphill, 0.0, (age - 1) / older)[:, None, None] * moved
        size = jnp.sqrt(jnp.sum(inverse[..., None] * gradient**2, axis=(1, 2)))
        return kernel, ahead, older, size.max(), count + 1

    def unsolved(carry: _Carry) -> jax.Array:
        return (carry[4] < ITERATIONS) & (carry[3] > TOLERANCE)

    start = jnp.zeros((problems, width, classes), jnp.float32)
    kernel, *_ = jax.lax.while_loop(
        unsolved, step, (start, start, jnp.ones(problems), jnp.asarray(jnp.inf), jnp.asarray(0))
    )
    return kernel
