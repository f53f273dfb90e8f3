"""Abstention: no diagnosis where the network is not certain enough, and the photo goes to a doctor.

How certain a distribution p over K classes is, in [0, 1], higher for more certain:

    confidence  max_k p_k
    margin      the largest less the second largest p_k
    entropy     1 + sum_k p_k log p_k / log K            0 where all are equal, 1 where one has everything

A diagnosis is given where **certainty >= threshold**. A lower threshold diagnoses more photos (coverage) and
is wrong on more of those it diagnoses (risk); the curve of one against the other and its area are those of
selective classification (El-Yaniv and Wiener 2010; Geifman, Uziel and El-Yaniv 2019,
doi:10.48550/arXiv.1805.08206).

`certainty` and `diagnose` take and give `jax.numpy` arrays, eager, under `jit` and under `vmap`, with finite
gradients; the curve and the fit run on the host.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from skinjax.decide.probabilities import class_probabilities, log_probabilities
from skinjax.decide.validation import score_vector

CertaintyMeasure = Literal["confidence", "margin", "entropy"]
"""Measures of a distribution's certainty; see the module's docstring."""

ABSTAINED = -1
"""Answer of `diagnose` in place of a class."""


@dataclasses.dataclass(frozen=True)
class RiskCoverage:
    """Risk against coverage, a point for every threshold that makes a difference, from the strictest on.

    Attributes:
      threshold: float64[T], falling: the certainties of the photos, each once.
      coverage: float64[T] in (0, 1], rising to 1: the share of photos at or above the threshold.
      risk: float64[T], the mean error of those photos.
      area: Mean of the risk over coverage, each photo with its own threshold's; photos that are equally
        certain all with the risk they have together.
    """

    threshold: NDArray[np.float64]
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    area: float


def certainty(probs: ArrayLike, measure: CertaintyMeasure = "confidence") -> jax.Array:
    """Returns how certain the network is of a photo.

    Args:
      probs: float[..., K], K at least 2, which sum to 1.
      measure: "confidence", "margin" or "entropy".

    Returns:
      float[...] in [0, 1], to rounding; higher is more certain.

    Raises:
      ValueError: An unknown measure, or fewer than two classes.

    Example:
      >>> probs = jnp.array([0.5, 0.25, 0.25])
      >>> certainty(probs).item(), certainty(probs, "margin").item()
      (0.5, 0.25)
    """
    if measure not in get_args(CertaintyMeasure):
        raise ValueError(f"measure must be one of {', '.join(get_args(CertaintyMeasure))}, got {measure!r}")
    probs = class_probabilities("probs", probs)
    num_classes = probs.shape[-1]
    if num_classes < 2:
        raise ValueError(f"probs must have at least two classes, got shape {probs.shape}")
    if measure == "confidence":
        return jnp.max(probs, axis=-1)
    if measure == "margin":
        largest = jax.lax.top_k(probs, 2)[0]
        return largest[..., 0] - largest[..., 1]
    return 1 + jnp.sum(probs * log_probabilities(probs), axis=-1) / np.log(num_classes)


def diagnose(probs: ArrayLike, threshold: ArrayLike, measure: CertaintyMeasure = "confidence") -> jax.Array:
    """Returns the most probable class, or no diagnosis.

    Args:
      probs: float[..., K], K at least 2, which sum to 1.
      threshold: The least certainty of a diagnosis, a number or float[...]; see `fit_certainty_threshold`.
      measure: "confidence", "margin" or "entropy".

    Returns:
      int32[...] in [0, K), the first of equals, or -1 where certainty < threshold.

    Raises:
      ValueError: An unknown measure, or fewer than two classes.

    Example:
      >>> diagnose(jnp.array([[0.5, 0.25, 0.25], [0.0, 0.75, 0.25]]), threshold=0.75).tolist()
      [-1, 1]
    """
    certain = certainty(probs, measure) >= jnp.asarray(threshold)
    return jnp.where(certain, jnp.argmax(jnp.asarray(probs), axis=-1), ABSTAINED).astype(jnp.int32)


def risk_coverage(errors: ArrayLike, certainties: ArrayLike) -> RiskCoverage:
    """Returns how wrong the diagnoses are against how many are given.

    Args:
      errors: float[N], 1 where the most probable class is wrong, else 0; or any cost.
      certainties: float[N], of `certainty` or another score.

    Returns:
      The curve.

    Raises:
      ValueError: Errors or certainties that are no finite numbers, or not one per photo each.

    Example:
      >>> curve = risk_coverage([0, 1, 0, 0], [0.9, 0.5, 0.7, 0.7])
      >>> curve.coverage.tolist(), curve.risk.tolist()
      ([0.25, 0.75, 1.0], [0.0, 0.0, 0.25])
    """
    wrong, values = score_vector("errors", errors), score_vector("certainties", certainties)
    if len(wrong) != len(values):
        raise ValueError(f"errors and certainties must be of one length, got {len(wrong)} and {len(values)}")
    distinct, place, counts = np.unique(-values, return_inverse=True, return_counts=True)
    answered = np.cumsum(counts)
    risk = np.cumsum(np.bincount(place, wrong)) / answered
    return RiskCoverage(-distinct, answered / len(values), risk, float((risk * counts).sum() / len(values)))


def fit_certainty_threshold(
    errors: ArrayLike, certainties: ArrayLike, *, coverage: float | None = None, risk: float | None = None
) -> float:
    """Returns the threshold on validation photos that gives the coverage, or keeps to the risk, that is asked for.

    Fit it on validation photos only. What is asked for holds on those; on other photos it holds about, and
    the risk is rather higher, as the threshold was chosen for looking good.

    Args:
      errors: float[N], 1 where the most probable class is wrong, else 0; or any cost.
      certainties: float[N], of `certainty`.
      coverage: In (0, 1], the least share of photos to diagnose; the highest such threshold is taken.
      risk: The highest mean error among the photos that are diagnosed; of the thresholds that keep to it
        the lowest is taken, which diagnoses most.

    Returns:
      The threshold; infinity, and no diagnosis at all, where no threshold keeps to the risk.

    Raises:
      ValueError: Both or neither of `coverage` and `risk`, one that cannot be, or errors and certainties
        that cannot be used.

    Example:
      >>> fit_certainty_threshold([0, 1, 0, 0], [0.9, 0.5, 0.7, 0.6], risk=0.1)
      0.6
      >>> fit_certainty_threshold([0, 1, 0, 0], [0.9, 0.5, 0.7, 0.6], coverage=0.5)
      0.7
    """
    if (coverage is None) == (risk is None):
        raise ValueError(f"coverage or risk must be given, not both, got {coverage} and {risk}")
    curve = risk_coverage(errors, certainties)
    if coverage is not None:
        if not 0 < coverage <= 1:
            raise ValueError(f"coverage must lie in (0, 1], got {coverage}")
        return float(curve.threshold[np.argmax(curve.coverage >= coverage - 1e-9)])
    assert risk is not None
    if not 0 <= risk < np.inf:
        raise ValueError(f"risk must be at least 0 and finite, got {risk}")
    kept = np.flatnonzero(curve.risk <= risk + 1e-12)
    return float(curve.threshold[kept[-1]]) if kept.size else float("inf")
