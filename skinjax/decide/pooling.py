"""Case pooling: one distribution over classes from the photos of a case.

A doctor asks about a lesion, not about its third photo. With the distributions p_1 .. p_n of a case's n photos:

    mean_log  q_k proportional to exp(mean_i log p_ik)   the logarithmic opinion pool: a class that one photo rules out
                                                         is ruled out
    mean      q_k = mean_i p_ik                          the linear opinion pool: no photo can rule a class out alone
    max       q   = p_j, j the photo of the highest      the most malignant photo stands for its case; without scores
              score s_j                                  q_k proportional to max_i p_ik

The pools and what sets them apart: Genest and Zidek 1986 (doi:10.1214/ss/1177013825). Photos of a case resemble each
other, so mean_log takes the mean and not the sum of logarithms: n photos alike say as much as one. How sure the pooled
distribution may be is left to a temperature that is fitted on cases. Of "max" with scores, a case with more photos
looks more malignant for that alone.

**Disagreement** of a case's photos is the generalised Jensen-Shannon divergence of their distributions, the entropy of
the mean less the mean of the entropies, over the largest value that it can have (Lin 1991, doi:10.1109/18.61115):

    (H(mean_i p_i) - mean_i H(p_i)) / log min(n, K)      0 where all are alike, or the case has one photo; 1 where all
                                                         are sure, of as many different classes as there can be

`pool` takes and gives `jax.numpy` arrays, eager, under `jit` (with `num_cases` and `rule` static) and under `vmap`;
`pool_by_case` reads case ids on the host and computes by it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from skinjax.decide.probabilities import class_probabilities, log_probabilities
from skinjax.decide.validation import class_matrix, numbered_cases, score_vector

PoolingRule = Literal["mean_log", "mean", "max"]
"""Rules by which photos become one distribution; see the module's docstring."""

_SMALLEST_SHAPE = (
    8  # photos and cases are padded to a power of two from here on, so that few shapes are compiled
)


@dataclasses.dataclass(frozen=True, eq=False)
class CasePrediction:
    """Pooled distributions of C cases, from N photos.

    Attributes:
      cases: [C], the case ids, in the order in which they first occur.
      probs: float[C, K], each row summing to 1; that of a case of one photo is the photo's, unchanged.
      photos: int64[C], photos of each case.
      index: int64[N] in [0, C), the case of each photo.
      disagreement: float[C] in [0, 1]; 0 for a case of one photo.
    """

    cases: NDArray
    probs: NDArray[np.floating]
    photos: NDArray[np.int64]
    index: NDArray[np.int64]
    disagreement: NDArray[np.floating]

    def __len__(self) -> int:
        """Returns the number of cases, C."""
        return len(self.photos)


def pool(
    probs: ArrayLike,
    index: ArrayLike,
    num_cases: int,
    rule: PoolingRule = "mean_log",
    scores: ArrayLike | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Pools the photos of each case.

    Args:
      probs: float[N, K], each row summing to 1; zeros count as `skinjax.decide.probabilities.SMALLEST` in logarithms.
      index: int[N], the case of each photo; photos outside [0, num_cases) are left out.
      num_cases: C, static under `jit`.
      rule: "mean_log", "mean" or "max", static under `jit`.
      scores: float[N], how malignant each photo looks, for "max": the photo of the highest score, the first of
        equals, stands for its case.

    Returns:
      Probabilities float[C, K] and disagreement float[C]; a case without photos has zeros.

    Raises:
      ValueError: An unknown rule, shapes that do not fit, or `scores` with another rule.

    Example:
      >>> probs, apart = pool(jnp.array([[1.0, 0.0], [0.0, 1.0], [0.25, 0.75]]), jnp.array([0, 0, 1]), 2, "mean")
      >>> probs.tolist(), apart.tolist()
      ([[0.5, 0.5], [0.25, 0.75]], [1.0, 0.0])
    """
    _check_rule(rule, scores)
    probs, index = class_probabilities("probs", probs), jnp.asarray(index)
    if probs.ndim != 2 or index.shape != probs.shape[:1] or not jnp.issubdtype(index.dtype, jnp.integer):
        raise ValueError(
            f"probs must be [N, K] with an integer case for each photo, got shapes {probs.shape} and {index.shape}, "
            f"{index.dtype}"
        )
    if index.dtype.itemsize < 4:  # might not hold num_cases, nor a case's photos
        index = index.astype(jnp.int32)
    index = jnp.where((index >= 0) & (index < num_cases), index, num_cases)  # dropped by the sums
    by_case = functools.partial(jax.ops.segment_sum, segment_ids=index, num_segments=num_cases)
    photos = by_case(jnp.ones(index.shape, jnp.int32))
    count = jnp.maximum(photos, 1).astype(probs.dtype)
    total = by_case(probs)
    mean = total / count[:, None]
    if rule == "mean":
        pooled = mean
    elif rule == "mean_log":
        pooled = jax.nn.softmax(by_case(log_probabilities(probs)) / count[:, None], axis=-1)
    elif scores is None:
        largest = jnp.maximum(
            jax.ops.segment_max(probs, index, num_cases), 0
        )  # -inf of a case without photos
        pooled = largest / jnp.maximum(largest.sum(axis=-1, keepdims=True), jnp.finfo(probs.dtype).tiny)
    else:
        score, rows = jnp.asarray(scores), jnp.arange(len(index))
        if score.shape != index.shape:
            raise ValueError(f"scores must be one per photo, {index.shape}, got shape {score.shape}")
        highest = jax.ops.segment_max(score, index, num_cases)
        best = score == highest[jnp.minimum(index, num_cases - 1)]
        chosen = jax.ops.segment_min(jnp.where(best, rows, len(rows)), index, num_cases)
        pooled = probs[jnp.minimum(chosen, len(rows) - 1)]
    # Exactly the photo's own where there is one: logarithms and their softmax would round.
    pooled = jnp.where(photos[:, None] == 1, total, jnp.where(photos[:, None] == 0, 0, pooled))
    most = jnp.log(jnp.clip(count, 2, max(probs.shape[-1], 2)))
    divergence = (_entropy(mean) - by_case(_entropy(probs)) / count) / most
    return pooled, jnp.where(photos > 1, jnp.clip(divergence, 0, 1), 0)


def pool_by_case(
    probs: ArrayLike,
    cases: ArrayLike,
    rule: PoolingRule = "mean_log",
    scores: ArrayLike | None = None,
) -> CasePrediction:
    """Pools the photos of each case, named by case ids of any type.

    Args:
      probs: float[N, K], each row summing to 1; float64 is computed in float64, anything else in float32.
      cases: [N], the case of each photo; none is missing.
      rule: "mean_log", "mean" or "max".
      scores: float[N], how malignant each photo looks, for "max"; see `pool`.

    Returns:
      The cases, in the order in which they first occur.

    Raises:
      ValueError: Probabilities outside [0, 1], an unknown rule, another number of cases or scores than of photos, or a
        case that is missing.

    Example:
      >>> found = pool_by_case([[0.5, 0.5], [0.2, 0.8], [0.8, 0.2]], ["b", "a", "b"])
      >>> found.cases.tolist(), found.photos.tolist(), found.index.tolist(), found.probs.round(3).tolist()
      (['b', 'a'], [2, 1], [0, 1, 0], [[0.667, 0.333], [0.2, 0.8]])
    """
    _check_rule(rule, scores)
    wide = np.asarray(probs).dtype == np.float64
    values = class_matrix("probs", probs, probabilities=True)
    names, index = numbered_cases(cases, len(values))
    score = None if scores is None else score_vector("scores", scores)
    if score is not None and score.shape != index.shape:
        raise ValueError(f"scores must be one per photo, [{len(values)}], got {len(score)}")
    photos, num_cases = _padded(len(values)), _padded(len(names))
    with jax.enable_x64(wide):
        pooled, apart = jax.device_get(
            _compiled(num_cases, rule)(
                np.pad(values, [(0, photos - len(values)), (0, 0)]).astype(
                    np.float64 if wide else np.float32
                ),
                np.pad(index, (0, photos - len(index)), constant_values=num_cases).astype(np.int32),
                None if score is None else np.pad(score, (0, photos - len(score))),
            )
        )
    count = len(names)
    return CasePrediction(names, pooled[:count], np.bincount(index, minlength=count), index, apart[:count])


@functools.lru_cache(maxsize=64)
def _compiled(num_cases: int, rule: PoolingRule) -> Callable[..., tuple[jax.Array, jax.Array]]:
    return jax.jit(lambda probs, index, scores: pool(probs, index, num_cases, rule, scores))


def _padded(count: int) -> int:
    return max(_SMALLEST_SHAPE, 1 << (count - 1).bit_length())


def _entropy(probs: jax.Array) -> jax.Array:
    return -jnp.sum(probs * log_probabilities(probs), axis=-1)


def _check_rule(rule: str, scores: ArrayLike | None) -> None:
    if rule not in get_args(PoolingRule):
        raise ValueError(f"rule must be one of {', '.join(get_args(PoolingRule))}, got {rule!r}")
    if scores is not None and rule != "max":
        raise ValueError(f"scores are for the rule 'max', got the rule {rule!r}")
