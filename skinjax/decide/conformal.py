"""Conformal sets: the diagnoses that cannot be ruled out, which hold the true one as often as asked for.

Every class of a photo gets a score that is low where it fits; a class is in the set where its score is at
most the threshold, a quantile of the true classes' scores on calibration photos.

    lac  -p_k                            small sets (Sadinle, Lei and Wasserman 2019,
                                         doi:10.1080/01621459.2017.1395341, who write 1 - p_k, which
                                         rounds small p_k away)
    aps  sum of p_i before k, + u p_k    sets that grow with the photo's difficulty (Romano, Sesia and
                                         Candes 2020, doi:10.48550/arXiv.2006.02544)

Before k come the classes that are more probable, or as probable and earlier. u is 0, or uniform in [0, 1) and
drawn anew for each photo where sets are randomised. The most probable class is always in the set.

**What is guaranteed.** The photos of a case resemble each other, so it is cases that must be exchangeable:
those that the threshold was fitted on and a new one, none of them seen in training, temperature scaling or
any other fit. Then for a photo drawn evenly from those of the new case

    P(the true class is in the set) >= coverage

whatever the network, the number of photos in a case and their dependence, on average over cases and
calibration sets; not for each class, nor for each skin tone. It comes of weighing each case alike: a photo of
a case of n counts 1/n of a case, and the new case counts as infinitely far off (hierarchical conformal
prediction: Lee, Barber and Willett 2023, doi:10.48550/arXiv.2306.06342; the problem: Dunn, Wasserman and
Ramdas 2022, doi:10.1080/01621459.2022.2060112). With one photo per case it is split conformal prediction. Fewer
than coverage / (1 - coverage) cases cannot give the guarantee but by the set of all classes, which is what
they get.

**Backing off.** A set that has grown past a limit becomes all sub-classes of the meta-classes that it
touches. It only grows, so the guarantee stays, and it holds for the meta-classes too.

What is applied takes and gives `jax.numpy` arrays, eager, under `jit` and under `vmap`; the fit runs on the
host.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from skinjax.decide.probabilities import class_indices, class_probabilities
from skinjax.decide.validation import class_labels, class_matrix, numbered_cases, score_vector
from skinjax.files.keys import check_key

ConformityScore = Literal["lac", "aps"]
"""Non-conformity scores of a class for a photo; see the module's docstring."""

# Sums of probabilities differ by less between eager, jit and devices; sets only grow by it.
_ROUNDING = 1e-6


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["threshold"],
    meta_fields=["score", "randomized", "coverage", "num_cases"],
)
@dataclasses.dataclass(frozen=True)
class ConformalRule:
    """Rule by which classes are in a photo's set; a pytree, so that it may be an argument under `jit`.

    Attributes:
      threshold: The highest score that is in; infinite where there are too few cases for the coverage.
      score: "lac" or "aps".
      randomized: Whether `prediction_sets` needs a key.
      coverage: What was asked for, in (0, 1).
      num_cases: How many cases it was fitted on.
    """

    threshold: float
    score: ConformityScore
    randomized: bool
    coverage: float
    num_cases: int


def class_scores(
    probs: ArrayLike, score: ConformityScore = "lac", uniform: ArrayLike | None = None
) -> jax.Array:
    """Returns the non-conformity scores of every class for a photo.

    Args:
      probs: float[..., K], which sum to 1.
      score: "lac" or "aps".
      uniform: U of randomised APS, float[...] in [0, 1); by default 0.

    Returns:
      float[..., K], in [-1, 0] for LAC and [0, 1] for APS; low where the class fits.

    Raises:
      ValueError: An unknown score, or `uniform` with LAC or with other leading axes.

    Example:
      >>> class_scores(jnp.array([0.25, 0.5, 0.25]), "aps").tolist()
      [0.5, 0.0, 0.75]
    """
    if score not in get_args(ConformityScore):
        raise ValueError(f"score must be one of {', '.join(get_args(ConformityScore))}, got {score!r}")
    probs = class_probabilities("probs", probs)
    if score == "lac":
        if uniform is not None:
            raise ValueError("uniform is for the score 'aps', got the score 'lac'")
        return -probs
    order = jnp.argsort(-probs, axis=-1, stable=True)
    ordered = jnp.take_along_axis(probs, order, axis=-1)
    before = jnp.cumsum(ordered, axis=-1)[..., :-1]
    before = jnp.concatenate([jnp.zeros_like(before, shape=(*before.shape[:-1], 1)), before], axis=-1)
    if uniform is not None:
        uniform = jnp.asarray(uniform)
        if uniform.shape != probs.shape[:-1]:
            raise ValueError(f"uniform must be of shape {probs.shape[:-1]}, got {uniform.shape}")
        before = before + uniform[..., None] * ordered
    return jnp.take_along_axis(before, jnp.argsort(order, axis=-1), axis=-1)


def case_quantile(scores: ArrayLike, cases: ArrayLike, level: float) -> float:
    """Returns the level that a photo of a new case stays at or below with at least a given probability.

    Args:
      scores: float[N], no NaN.
      cases: [N], the case of every photo; none is missing.
      level: In (0, 1).

    Returns:
      The smallest score s with sum over photos at or below s of 1 / (photos in the case) >= level (cases +
      1); infinity where there is none.

    Raises:
      ValueError: Scores that are no numbers, another number of cases, a missing one, or a level outside
        (0, 1).

    Example:
      >>> case_quantile([1, 2, 3, 4], ["a", "b", "c", "c"], level=0.5)
      2.0
      >>> case_quantile([1, 2, 3, 4], ["a", "b", "c", "c"], level=0.8)
      inf
    """
    values = score_vector("scores", scores, infinite=True)
    _, case = numbered_cases(cases, len(values))
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    photos = np.bincount(case)
    order = np.argsort(values)
    reached = np.cumsum(1 / photos[case[order]])
    # To rounding: 0.95 of 20 cases is 19 cases.
    place = np.searchsorted(reached, (level - 1e-9) * (len(photos) + 1))
    return float(values[order[place]]) if place < len(values) else float("inf")


def fit_conformal(
    probs: ArrayLike,
    labels: ArrayLike,
    cases: ArrayLike,
    coverage: float = 0.9,
    score: ConformityScore = "lac",
    rng: np.random.Generator | None = None,
) -> ConformalRule:
    """Fits the threshold on calibration photos, whose cases nothing else was fitted on.

    Args:
      probs: float[N, K], probabilities of the calibration photos.
      labels: int[N] in [0, K), their true classes.
      cases: [N], their cases, none of them missing; see the module's docstring for what is guaranteed.
      coverage: In (0, 1).
      score: "lac" or "aps".
      rng: A numpy generator, makes APS randomised and draws the calibration photos' u.

    Returns:
      The rule for `prediction_sets`.

    Raises:
      ValueError: Probabilities, labels or cases that do not fit, a coverage outside (0, 1), an unknown
        score, or `rng` with LAC or that is no generator.

    Example:
      >>> probs = np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.125, 0.875]])
      >>> rule = fit_conformal(probs, [0, 1, 1, 0], cases=["a", "b", "c", "d"], coverage=0.6)
      >>> rule.threshold, prediction_sets(rule, jnp.array([0.5, 0.5])).tolist()
      (-0.5, [True, True])
    """
    values = class_matrix("probs", probs, probabilities=True)
    true = class_labels("labels", labels, *values.shape)
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie in (0, 1), got {coverage}")
    if rng is not None and score == "lac":
        raise ValueError("rng is for the score 'aps', got the score 'lac'")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy Generator, such as np.random.default_rng(0), got {rng!r}")
    names, _ = numbered_cases(cases, len(values))
    # In the type that sets are made in, so that equal probabilities are equal.
    given = class_probabilities("probs", probs)
    uniform = None if rng is None else rng.random(len(values), np.float32)
    scores = np.asarray(class_scores(given, score, uniform), np.float64)[np.arange(len(values)), true]
    threshold = case_quantile(scores, cases, coverage)
    return ConformalRule(threshold, score, rng is not None, coverage, len(names))


def prediction_sets(rule: ConformalRule, probs: ArrayLike, key: jax.Array | None = None) -> jax.Array:
    """Returns the set of classes of each photo.

    Args:
      rule: The rule that `fit_conformal` returned.
      probs: float[..., K], probabilities of the same network, calibrated alike.
      key: A JAX random key, for a randomised rule only; under `vmap` one per photo.

    Returns:
      bool[..., K], whether the class is in the set; at least the most probable one is.

    Raises:
      ValueError: A key that is missing, that nothing is drawn with, or that is not a random key.

    Example:
      >>> rule = ConformalRule(0.5, "aps", randomized=False, coverage=0.9, num_cases=100)
      >>> prediction_sets(rule, jnp.array([0.25, 0.625, 0.125])).tolist()
      [False, True, False]
    """
    if (key is not None) != rule.randomized:
        condition = (
            "must be given for a randomised rule" if rule.randomized else "is for randomised rules only"
        )
        raise ValueError(f"key {condition}, got {key}")
    if key is not None:
        check_key("key", key)
    probs = class_probabilities("probs", probs)
    uniform = None if key is None else jax.random.uniform(key, probs.shape[:-1], probs.dtype)
    rounding = _ROUNDING if rule.score == "aps" else 0
    fits = class_scores(probs, rule.score, uniform) <= rule.threshold + rounding
    return fits | (jnp.arange(probs.shape[-1]) == jnp.argmax(probs, axis=-1, keepdims=True))


def meta_sets(sets: ArrayLike, parents: ArrayLike, num_parents: int) -> jax.Array:
    """Returns the meta-classes that sets of sub-classes touch.

    Args:
      sets: bool[..., S].
      parents: int[S], the meta-class in [0, num_parents) of every sub-class.
      num_parents: M.

    Returns:
      bool[..., M]; it holds the true meta-class wherever `sets` holds the true sub-class.

    Raises:
      ValueError: Sets that are not bool, or parents that do not fit.

    Example:
      >>> meta_sets(jnp.array([True, True, False]), jnp.array([0, 0, 1]), num_parents=2).tolist()
      [True, False]
    """
    if num_parents < 1:
        raise ValueError(f"num_parents must be at least 1, got {num_parents}")
    array = _sets(sets)
    children = class_indices("parents", parents, array.shape[-1], num_parents)
    belongs = children[:, None] == jnp.arange(num_parents)
    return jnp.any(array[..., None] & belongs, axis=-2)


def back_off(
    sets: ArrayLike, parents: ArrayLike, num_parents: int, limit: int
) -> tuple[jax.Array, jax.Array]:
    """Sets that say a meta-class where they would name too many of its sub-classes.

    For more than two levels, back off the answer again with the classes of the level above as `parents`.

    Args:
      sets: bool[..., S], of `prediction_sets`.
      parents: int[S], the meta-class in [0, num_parents) of every sub-class.
      num_parents: M.
      limit: The largest size that stays as it is, at least 1.

    Returns:
      bool[..., S], larger sets replaced by all sub-classes of the meta-classes that they touch, and
      bool[...], which photos that was done for; `meta_sets` of the first names these meta-classes.

    Raises:
      ValueError: Sets that are not bool, parents that do not fit, or a limit below 1.

    Example:
      >>> sets = jnp.array([[True, False, False, False], [True, True, False, False]])
      >>> wider, backed_off = back_off(sets, jnp.array([0, 0, 0, 1]), num_parents=2, limit=1)
      >>> wider.tolist(), backed_off.tolist()
      ([[True, False, False, False], [True, True, True, False]], [False, True])
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    array = _sets(sets)
    touched = meta_sets(array, parents, num_parents)
    backed_off = jnp.sum(array, axis=-1) > limit
    return jnp.where(
        backed_off[..., None], jnp.take(touched, jnp.asarray(parents), axis=-1), array
    ), backed_off


def _sets(sets: ArrayLike) -> jax.Array:
    array = jnp.asarray(sets)
    if array.ndim == 0 or array.dtype != bool:
        raise ValueError(
            f"sets must be bool with a last axis of classes, got {array.dtype} of shape {array.shape}"
        )
    return array
