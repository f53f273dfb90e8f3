"""Grading how malignant a skin tumour looks (thesis, chapter 5; its formulae are lost, these are ours).

A network tells K kinds of growth apart; each kind belongs to one of D degrees, 0 the most benign, or is no tumour. Then

    P(tumour) = sum of p_k over the kinds k that are tumours
    P(d)      = sum of p_k over the kinds k of degree d, over P(tumour)
    score     = 100 sum_d P(d) v_d         v = 0, 0.5, 1 for benign, low and high malignancy

are the probability of a tumour and, *as far as it is one*, the degree's probabilities and the score. The degree
follows by the largest P(d), by cut-points on the score, or by least expected cost. To call a tumour more benign than
it is costs most, as the patient sees a doctor too late: **of equals the higher degree is given**, and a score at a
cut-point belongs to the degree above it. To call a cancer no tumour costs what calling it benign does.

All but the two functions that fit or build numbers take and give `jax.numpy` arrays, eager, under `jit` and
under `vmap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from skinjax.decide.hierarchy import marginalize
from skinjax.decide.probabilities import class_indices, class_probabilities
from skinjax.decide.validation import class_labels, score_vector
from skinjax.labels.degrees import NO_TUMOUR

GradeRule = Literal["argmax", "cutpoints", "least_cost"]
"""Rules by which a degree is chosen; see `grade`."""


def degree_probabilities(probs: ArrayLike, degree_of_class: ArrayLike, num_degrees: int) -> jax.Array:
    """Sums the probabilities of the kinds of tumour into degrees of malignancy, as far as it is a tumour.

    Args:
      probs: float[..., K], probabilities of the kinds.
      degree_of_class: int[K], the degree in [0, num_degrees) of every kind, 0 the most benign; `NO_TUMOUR` for kinds
        that are none.
      num_degrees: D; a degree without kinds gets 0.

    Returns:
      float[..., D], which sum to what `probs` do; where tumours have no probability at all, the lowest degree has it.

    Raises:
      ValueError: Shapes that do not fit, or degrees that are no integers in [0, num_degrees) and not `NO_TUMOUR`.

    Example:
      >>> degree_probabilities(jnp.array([0.5, 0.25, 0.25]), jnp.array([0, 2, 0]), num_degrees=3).tolist()
      [0.75, 0.0, 0.25]
      >>> degree_probabilities(jnp.array([0.5, 0.25, 0.25]), jnp.array([NO_TUMOUR, 1, 0]), num_degrees=2).tolist()
      [0.5, 0.5]
    """
    states = _states(probs, degree_of_class, num_degrees)
    of_degree = states[..., :-1]
    tumour = jnp.sum(of_degree, axis=-1, keepdims=True)
    total, any_tumour = tumour + states[..., -1:], tumour > 0
    benign = total * jax.nn.one_hot(0, num_degrees, dtype=states.dtype)
    return jnp.where(any_tumour, of_degree * (total / jnp.where(any_tumour, tumour, 1)), benign)


def tumour_probability(probs: ArrayLike, degree_of_class: ArrayLike) -> jax.Array:
    """Returns the probability that it is a tumour at all.

    Args:
      probs: float[..., K], probabilities of the kinds.
      degree_of_class: int[K], as for `degree_probabilities`.

    Returns:
      float[...] in 0..1; what rounding puts beyond is cut off.

    Raises:
      ValueError: Shapes that do not fit, or degrees that are no integers of at least 0 and not `NO_TUMOUR`.

    Example:
      >>> tumour_probability(jnp.array([0.5, 0.25, 0.25]), jnp.array([NO_TUMOUR, 1, 0])).tolist()
      0.5
    """
    probs = class_probabilities("probs", probs)
    none, _ = _degrees(degree_of_class, probs.shape[-1], np.iinfo(np.int32).max)
    tumour = jnp.sum(jnp.where(none, 0, probs), axis=-1)
    return tumour + jax.lax.stop_gradient(jnp.clip(tumour, 0, 1) - tumour)


def _states(probs: ArrayLike, degree_of_class: ArrayLike, num_degrees: int) -> jax.Array:
    """Returns the probabilities of the D degrees and, last, of no tumour, float[..., D + 1]."""
    if num_degrees < 1:
        raise ValueError(f"num_degrees must be at least 1, got {num_degrees}")
    probs = class_probabilities("probs", probs)
    none, of_class = _degrees(degree_of_class, probs.shape[-1], num_degrees)
    numeric = jnp if isinstance(of_class, jax.core.Tracer) else np
    return marginalize(probs, numeric.where(none, num_degrees, of_class), num_degrees + 1)


def _degrees(degree_of_class: ArrayLike, num_classes: int, num_degrees: int) -> tuple[Any, Any]:
    """Returns bool[K], which kinds are no tumour, and int[K], the degrees, checked where they are no tracer."""
    numeric = jnp if isinstance(degree_of_class, jax.core.Tracer) else np
    of_class = numeric.asarray(degree_of_class)
    none = of_class == NO_TUMOUR
    class_indices("degree_of_class", numeric.where(none, 0, of_class), num_classes, num_degrees)
    return none, of_class


def reference_score(degree_probs: ArrayLike, values: ArrayLike | Sequence[float] = (0, 0.5, 1)) -> jax.Array:
    """Returns the reference score of malignancy, 100 times the expected value of the degree.

    Args:
      degree_probs: float[..., D], which sum to 1.
      values: float[D] in [0, 1], what each degree counts, never falling.

    Returns:
      float[...] in 0..100; what rounding puts beyond is cut off.

    Raises:
      ValueError: Values of another length, outside [0, 1], or falling.

    Example:
      >>> reference_score(jnp.array([0.5, 0.25, 0.25])).tolist()
      37.5
    """
    probs = class_probabilities("degree_probs", degree_probs)
    counts = _ascending("values", values, probs.shape[-1], 0, 1)
    score = 100 * jnp.sum(probs * jnp.asarray(counts, probs.dtype), axis=-1)
    # Cut off without touching the gradient, which a plain clip halves at 0 and at 100.
    return score + jax.lax.stop_gradient(jnp.clip(score, 0, 100) - score)


def grading_cost(num_degrees: int, under: float = 4.0) -> NDArray[np.float64]:
    """Returns what each given degree (column) costs at each true one (row): degrees between, `under` times if too low.

    With it the least expected cost gives the lowest degree that the true one lies above with a probability
    of at most 1 / (1 + under): a fifth by default.

    Args:
      num_degrees: D.
      under: What one degree too low costs, in degrees too high; at least 1.

    Returns:
      float64[D, D], 0 on the diagonal.

    Raises:
      ValueError: No degree, or `under` below 1.

    Example:
      >>> grading_cost(3).tolist()
      [[0.0, 1.0, 2.0], [4.0, 0.0, 1.0], [8.0, 4.0, 0.0]]
    """
    if num_degrees < 1:
        raise ValueError(f"num_degrees must be at least 1, got {num_degrees}")
    if not 1 <= under < np.inf:
        raise ValueError(f"under must be at least 1 and finite, got {under}")
    too_high = np.arange(num_degrees) - np.arange(num_degrees)[:, None]
    return np.where(too_high < 0, -under * too_high, 1.0 * too_high)


def grade(
    degree_probs: ArrayLike,
    rule: GradeRule = "argmax",
    cutpoints: ArrayLike | None = None,
    cost: ArrayLike | None = None,
    values: ArrayLike | None = None,
) -> jax.Array:
    """Returns the degree of malignancy of each photo.

    Args:
      degree_probs: float[..., D], which sum to 1.
      rule: "argmax", the most probable degree; "cutpoints", how many cut-points the reference score
        reaches; or "least_cost", the degree d with the smallest sum_t P(t) cost[t, d]. Of equals the
        higher wins.
      cutpoints: float[D - 1], never falling, for the rule of that name; see `fit_cutpoints`.
      cost: float[D, D], true degree by given degree, for "least_cost"; by default `grading_cost(D)`.
      values: float[D], what each degree counts in the score, for "cutpoints"; by default evenly from 0 to
        1.

    Returns:
      int32[...] in [0, D).

    Raises:
      ValueError: An unknown rule, an option that is missing, of another rule, or cannot be used.

    Example:
      >>> probs = jnp.array([0.625, 0.0, 0.375])
      >>> grade(probs).tolist(), grade(probs, "cutpoints", cutpoints=[20, 60]).tolist()
      (0, 1)
      >>> grade(probs, "least_cost").tolist()
      2
    """
    if rule not in get_args(GradeRule):
        raise ValueError(f"rule must be one of {', '.join(get_args(GradeRule))}, got {rule!r}")
    for name, option, owner in (
        ("cutpoints", cutpoints, "cutpoints"),
        ("cost", cost, "least_cost"),
        ("values", values, "cutpoints"),
    ):
        if option is not None and rule != owner:
            raise ValueError(f"{name} is for the rule {owner!r}, got the rule {rule!r}")
    probs = class_probabilities("degree_probs", degree_probs)
    num_degrees = probs.shape[-1]
    if rule == "cutpoints":
        if cutpoints is None:
            raise ValueError("cutpoints must be given for the rule 'cutpoints', got None")
        limits = _ascending("cutpoints", cutpoints, num_degrees - 1, -np.inf, np.inf)
        score = reference_score(probs, np.linspace(0, 1, num_degrees) if values is None else values)
        return jnp.sum(score[..., None] >= jnp.asarray(limits, score.dtype), axis=-1, dtype=jnp.int32)
    if rule == "least_cost":
        costs = _cost(grading_cost(num_degrees) if cost is None else cost, num_degrees)
        gain = -jnp.matmul(probs, jnp.asarray(costs, probs.dtype), precision=jax.lax.Precision.HIGHEST)
    else:
        gain = probs
    return (num_degrees - 1 - jnp.argmax(gain[..., ::-1], axis=-1)).astype(jnp.int32)


def merged_probabilities(tumour: ArrayLike, degree_probs: ArrayLike) -> jax.Array:
    """Returns the probabilities of the degrees where no tumour counts as the lowest one.

    Args:
      tumour: float[...], of `tumour_probability`; one number serves all photos.
      degree_probs: float[..., D], of `degree_probabilities`.

    Returns:
      float[..., D], which sum to 1. Their `reference_score`, which the cut-points of `call_degree` are on, is that of
      `degree_probs` times `tumour`.

    Raises:
      ValueError: Shapes that do not fit.

    Example:
      >>> merged_probabilities(0.5, jnp.array([0.25, 0.75])).tolist()
      [0.625, 0.375]
    """
    probs = class_probabilities("degree_probs", degree_probs)
    share = _share(tumour, probs)[..., None]
    lowest = jax.nn.one_hot(0, probs.shape[-1], dtype=probs.dtype)
    return share * probs + (1 - share) * lowest


def call_degree(
    tumour: ArrayLike,
    degree_probs: ArrayLike,
    rule: GradeRule = "least_cost",
    cutpoints: ArrayLike | None = None,
    cost: ArrayLike | None = None,
) -> jax.Array:
    """Returns the degree of malignancy of each photo, or that it is called no tumour.

    By least cost and by cut-points, no tumour counts as the lowest degree. Where that comes out, the photo is called
    what is more probable of the two. By "argmax" all of them vie, each for itself. Of equals, the degree wins.

    Args:
      tumour: float[...] in [0, 1], of `tumour_probability`; one number serves all photos.
      degree_probs: float[..., D], of `degree_probabilities`.
      rule: As of `grade`.
      cutpoints: As of `grade`, on the score of `merged_probabilities`.
      cost: As of `grade`.

    Returns:
      int32[...] in [0, D), or `NO_TUMOUR`.

    Raises:
      ValueError: As `grade`, or shapes that do not fit.

    Example:
      >>> call_degree(jnp.array([0.1, 0.9, 0.9]), jnp.array([[0.5, 0.5], [0.9, 0.1], [0.5, 0.5]])).tolist()
      [-1, 0, 1]
    """
    probs = class_probabilities("degree_probs", degree_probs)
    share = _share(tumour, probs)
    merged = probs if rule == "argmax" else merged_probabilities(share, probs)
    degree = grade(merged, rule, cutpoints=cutpoints, cost=cost)
    own = share * jnp.take_along_axis(probs, degree[..., None], axis=-1)[..., 0]
    none = (1 - share > own) & (True if rule == "argmax" else degree == 0)
    return jnp.where(none, NO_TUMOUR, degree).astype(jnp.int32)


def _share(tumour: ArrayLike, probs: jax.Array) -> jax.Array:
    share = jnp.asarray(tumour, probs.dtype)
    if share.ndim and share.shape != probs.shape[:-1]:
        raise ValueError(
            f"tumour must be one number per row of degree_probs, {probs.shape[:-1]}, got shape {share.shape}"
        )
    return share


def fit_cutpoints(scores: ArrayLike, degrees: ArrayLike, cost: ArrayLike) -> NDArray[np.float64]:
    """Returns the cut-points on the score that cost least on validation photos, exactly.

    Fit them on validation photos only. Dynamic programming over the sorted scores finds the best of all ways
    to cut them into D parts, of which some may be empty (two cut-points are equal then, and a degree is never
    given). Of ways that cost the same the one with the lowest cut-points is taken, which gives the higher
    degrees.

    Args:
      scores: float[N], reference scores of validation photos.
      degrees: int[N], the true degrees in [0, D).
      cost: float[D, D], true degree by given degree, such as `grading_cost(D)`.

    Returns:
      float64[D - 1], never falling. Each is the lowest score above the cut, or infinity where no photo is.

    Raises:
      ValueError: Scores, degrees or costs that cannot be used.

    Example:
      >>> fit_cutpoints([5, 20, 40, 60, 80, 90], [0, 0, 1, 1, 2, 2], grading_cost(3)).tolist()
      [40.0, 80.0]
    """
    values = score_vector("scores", scores)
    costs = np.asarray(_cost(cost, None), np.float64)
    true = class_labels("degrees", degrees, len(values), len(costs))
    distinct, place = np.unique(values, return_inverse=True)
    # paid[d, i]: what the photos of the i lowest distinct scores cost if they are given degree d
    paid = np.zeros((len(costs), len(distinct) + 1))
    for d in range(len(costs)):
        paid[d, 1:] = np.cumsum(np.bincount(place, costs[true, d], len(distinct)))
    rounding = 1e-12 * np.abs(paid).max()
    best, cuts = paid[0], []
    for d in range(1, len(costs)):
        # Degree d begins at the first j <= i where what came before, less paid[d, j], is least.
        cut = _first_minimum(best - paid[d], rounding)
        cuts.append(cut)
        best = paid[d] + (best - paid[d])[cut]
    edges = np.append(distinct, np.inf)
    limits, end = np.empty(len(costs) - 1), len(distinct)
    for d in reversed(range(len(cuts))):
        end = cuts[d][end]
        limits[d] = edges[end]
    return limits


def _first_minimum(values: NDArray[np.float64], rounding: float) -> NDArray[np.int64]:
    """Returns, for every i, the first place up to i of the minimum of values[:i + 1], to rounding."""
    before = np.append(np.inf, np.minimum.accumulate(values)[:-1])
    return np.maximum.accumulate(np.where(values < before - rounding, np.arange(len(values)), 0))


def _ascending(
    name: str, values: ArrayLike | Sequence[float], length: int, low: float, high: float
) -> ArrayLike:
    array = values if isinstance(values, jax.core.Tracer) else np.asarray(values, np.float64)
    if array.shape != (length,):
        raise ValueError(f"{name} must hold {length} numbers, got shape {array.shape}")
    if isinstance(array, np.ndarray) and length:
        if not (array >= low).all() or not (array <= high).all():
            raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {_listed(array)}")
        if (np.diff(array) < 0).any():
            raise ValueError(f"{name} must never fall, got {_listed(array)}")
    return array


def _cost(cost: ArrayLike, num_degrees: int | None) -> ArrayLike:
    array = cost if isinstance(cost, jax.core.Tracer) else np.asarray(cost, np.float64)
    expected = num_degrees or (len(array) if array.ndim else 0)
    if array.shape != (expected, expected) or not expected:
        size = f"[{expected}, {expected}]" if num_degrees else "square"
        raise ValueError(f"cost must be {size}, true degree by given degree, got shape {array.shape}")
    if isinstance(array, np.ndarray) and not np.isfinite(array).all():
        raise ValueError(f"cost must be finite, got {array.tolist()}")
    return array


def _listed(array: Sequence[float] | np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in array)
