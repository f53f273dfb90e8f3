"""Two-stage diagnosis of one disease from a classifier of many (thesis, chapter 3).

Stage 1 is a network for K classes, so that it learns to tell the target from its look-alikes. Stage 2 turns
its probabilities p into one score for the target t, higher where it is likelier,

    probability  p_t                                              (the thesis's)
    merged       p_t - sum_{k != t} p_k                           (the thesis's)
    rival        p_t / (p_t + max_{k != t} p_k)                   target against its strongest rival
    log_odds     log p_t - log sum_{k != t} p_k
    argmax       1 where p_t is the largest, the first of equals winning, else 0

and a threshold turns that into a diagnosis: **score >= threshold is positive**. The thesis sweeps the
threshold of the probability for the ROC curve and takes the one with the largest Youden index (3-6). Its fixed
rule merges the other classes and compares the two that are left: positive where the target has at least what all
others have together, so the threshold of `merged` is 0. That of `argmax`, which asks for the strongest single class
instead, is fixed as well (`FIXED_THRESHOLDS`). The last three scores are ours. A score that is learnt is in
`skinjax.decide.logistic_head`.

`target_score` and `binarize` take and give `jax.numpy` arrays, eager, under `jit` and under `vmap`; gradients
are finite, at probabilities of 0 and 1 too. `fit_threshold` runs on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from skinjax.decide.probabilities import SMALLEST, class_probabilities
from skinjax.decide.validation import class_labels, score_vector

ScoreRule = Literal["probability", "merged", "rival", "log_odds", "argmax"]
"""Rules by which probabilities become one score for the target; see the module's docstring."""

FIXED_THRESHOLDS: Mapping[str, float] = {"merged": 0.0, "argmax": 0.5}
"""Thresholds of the rules that decide by themselves; those of the others are fitted on validation photos."""

ThresholdRule = Literal["youden", "sensitivity", "least_cost"]
"""Criteria by which a threshold is the best; see `fit_threshold`."""


def target_score(probs: ArrayLike, target: int | ArrayLike, rule: ScoreRule = "probability") -> jax.Array:
    """Returns one score per photo for the target class against all others.

    Log-odds add up the other classes rather than taking 1 - p_t, so they stay exact where p_t is close to 1.
    A sum of less than 1.18e-38 counts as that, which keeps log-odds of probabilities in [-87.4, 87.4].

    Args:
      probs: float[..., K], K at least 2, each in [0, 1].
      target: T in [0, K); its range is not checked where it is traced.
      rule: "probability", "merged", "rival" (1/2 where target and rivals all have 0), "log_odds" or "argmax".

    Returns:
      float[...], in [0, 1], of "merged" in [-1, 1], of "log_odds" in [-87.4, 87.4].

    Raises:
      ValueError: An unknown rule, fewer than two classes, or a target that is no class.

    Example:
      >>> probs = jnp.array([0.5, 0.125, 0.375])
      >>> [target_score(probs, 0, rule).item() for rule in ("probability", "merged", "log_odds", "argmax")]
      [0.5, 0.0, 0.0, 1.0]
      >>> target_score(probs, 1, "rival").item()
      0.20000000298023224
    """
    if rule not in get_args(ScoreRule):
        raise ValueError(f"rule must be one of {', '.join(get_args(ScoreRule))}, got {rule!r}")
    probs = class_probabilities("probs", probs)
    if probs.shape[-1] < 2:
        raise ValueError(f"probs must have at least two classes, got shape {probs.shape}")
    target = _target(target, probs.shape[-1])
    if rule == "argmax":
        return (jnp.argmax(probs, axis=-1) == target).astype(probs.dtype)
    is_target = jnp.arange(probs.shape[-1]) == target
    chosen = jnp.sum(jnp.where(is_target, probs, 0), axis=-1)
    if rule == "probability":
        return chosen
    others = jnp.where(is_target, 0, probs)
    rest = jnp.sum(others, axis=-1)
    if rule == "merged":
        return chosen - rest
    if rule == "log_odds":
        return jnp.log(jnp.maximum(chosen, SMALLEST)) - jnp.log(jnp.maximum(rest, SMALLEST))
    rival = jnp.max(others, axis=-1)
    # Scaled by a constant, for the plain ratio's gradient divides by a square that underflows below 1e-19.
    scale = jax.lax.stop_gradient(jnp.maximum(chosen, rival))
    nonzero = scale >= SMALLEST
    scale = jnp.where(nonzero, scale, 1)
    chosen, rival = chosen / scale, rival / scale
    return jnp.where(nonzero, chosen / jnp.where(nonzero, chosen + rival, 1), 0.5)


def binarize(scores: ArrayLike, threshold: ArrayLike) -> jax.Array:
    """Diagnoses from scores: 1 where score >= threshold, else 0. A score that is NaN is 0.

    Args:
      scores: float[...]. Without 64-bit types switched on, JAX compares in float32.
      threshold: A number, or an array that broadcasts with `scores`; infinite makes all negative.

    Returns:
      int32[...] of 0 and 1.

    Example:
      >>> binarize(jnp.array([0.25, 0.5, 0.75]), 0.5).tolist()
      [0, 1, 1]
    """
    return (jnp.asarray(scores) >= jnp.asarray(threshold)).astype(jnp.int32)


def fit_threshold(
    labels: ArrayLike,
    scores: ArrayLike,
    rule: ThresholdRule = "youden",
    *,
    sensitivity: float | None = None,
    miss_cost: float | None = None,
    prevalence: float | None = None,
) -> float:
    """Returns the threshold on validation photos that is best by a rule, for use on other photos.

    Fit it on validation photos only: a threshold fitted on the test photos makes their sensitivity and
    specificity look better than they are. Candidates are the scores themselves and infinity (nobody is
    positive).

        youden       largest sensitivity + specificity - 1 (3-6; Youden 1950)
        sensitivity  largest specificity with at least the sensitivity asked for
        least_cost   smallest prevalence (1 - sensitivity) miss_cost + (1 - prevalence)(1 - specificity)

    Of thresholds that are equally good the lowest is taken, which misses fewest; "sensitivity" takes the
    highest.

    Args:
      labels: int[N] of 0 and 1, or bool; both must occur.
      scores: float[N], no NaN; higher where 1 is likelier.
      rule: "youden", "sensitivity" or "least_cost".
      sensitivity: In (0, 1], for the rule of that name.
      miss_cost: What a missed diagnosis costs, in false alarms; above 0, for "least_cost".
      prevalence: Share of the disease where the threshold will be used, in (0, 1), for "least_cost"; by
        default the share among `labels`.

    Returns:
      The threshold; score >= threshold is positive.

    Raises:
      ValueError: An unknown rule, an option that is missing or of another rule, or labels and scores that
        cannot be used.

    Example:
      >>> labels, scores = [0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
      >>> fit_threshold(labels, scores)
      0.3
      >>> fit_threshold(labels, scores, "sensitivity", sensitivity=0.6)
      0.5
    """
    _check_options(rule, sensitivity, miss_cost, prevalence)
    values = score_vector("scores", scores, infinite=True)
    positive = class_labels("labels", labels, len(values), 2)
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        raise ValueError(f"labels must hold both 0 and 1, got {zeros} and {ones} of them")
    distinct, place = np.unique(-values, return_inverse=True)
    thresholds = np.concatenate([[np.inf], -distinct])
    hits = np.concatenate([[0], np.cumsum(np.bincount(place, positive, len(distinct)))])
    alarms = np.concatenate([[0], np.cumsum(np.bincount(place, 1 - positive, len(distinct)))])
    if rule == "sensitivity":
        assert sensitivity is not None
        return float(thresholds[np.argmax(hits >= sensitivity * ones - 1e-9 * ones)])
    if rule == "youden":
        # Times both counts: whole numbers, so that equals are equal.
        loss, rounding = alarms * ones - hits * zeros, 0.0
    else:
        assert miss_cost is not None
        share = ones / len(positive) if prevalence is None else prevalence
        loss = share * miss_cost * (1 - hits / ones) + (1 - share) * alarms / zeros
        rounding = 1e-12 * loss.max()
    return float(thresholds[np.flatnonzero(loss <= loss.min() + rounding)[-1]])


def _check_options(
    rule: str, sensitivity: float | None, miss_cost: float | None, prevalence: float | None
) -> None:
    if rule not in get_args(ThresholdRule):
        raise ValueError(f"rule must be one of {', '.join(get_args(ThresholdRule))}, got {rule!r}")
    for name, value, owner in (
        ("sensitivity", sensitivity, "sensitivity"),
        ("miss_cost", miss_cost, "least_cost"),
        ("prevalence", prevalence, "least_cost"),
    ):
        if value is not None and rule != owner:
            raise ValueError(f"{name} is for the rule {owner!r}, got {value} with the rule {rule!r}")
    if rule == "sensitivity" and (sensitivity is None or not 0 < sensitivity <= 1):
        raise ValueError(f"sensitivity must lie in (0, 1], got {sensitivity}")
    if rule == "least_cost" and (miss_cost is None or not 0 < miss_cost < np.inf):
        raise ValueError(f"miss_cost must be above 0 and finite, got {miss_cost}")
    if prevalence is not None and not 0 < prevalence < 1:
        raise ValueError(f"prevalence must lie in (0, 1), got {prevalence}")


def _target(target: int | ArrayLike, num_classes: int) -> jax.Array:
    index = target if isinstance(target, jax.core.Tracer) else np.asarray(target)
    if index.shape != () or not jnp.issubdtype(index.dtype, jnp.integer):
        raise ValueError(f"target must be one integer, got {index.dtype} of shape {index.shape}")
    if isinstance(index, np.ndarray) and not 0 <= index < num_classes:
        raise ValueError(f"target must lie in [0, {num_classes}), got {index}")
    return jnp.asarray(index)
