"""Values that are fitted on some cases and used on others: temperatures, thresholds, cut-points, conformal sets.

A study's photos are in parts of whole cases. For every part the fit sees the other parts only, so that what it
does to a photo is not flattered by the photo's own label.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from skinjax.decide.calibrate import fit_temperature
from skinjax.decide.conformal import ConformalRule, back_off, case_quantile, prediction_sets
from skinjax.decide.two_stage import fit_threshold
from skinjax.evaluate.logistic_calibration import apart_from_bounds

MOST_FITTED = 100_000
"""Photos that a temperature is fitted on at most; of more, whole cases are drawn."""


@dataclasses.dataclass(frozen=True, eq=False)
class Thresholds:
    """A threshold for every part, fitted on the others.

    Attributes:
      values: float64[P].
      called: bool[N], whether the photo's score reaches its part's threshold.
    """

    values: NDArray[np.float64]
    called: NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class Tempered:
    """Probabilities after temperature scaling.

    Attributes:
      temperatures: float64[P], one per part, fitted on the others.
      probs: float64[N, K].
      overall: The temperature fitted on all photos, for use on photos that are not among them.
      fitted_on: How many photos the largest fit saw.
    """

    temperatures: NDArray[np.float64]
    probs: NDArray[np.float64]
    overall: float
    fitted_on: int


@dataclasses.dataclass(frozen=True, eq=False)
class Sets:
    """Conformal sets.

    Attributes:
      coverage: The coverage asked for.
      thresholds: float64[P], one per part, fitted on the others.
      covered: bool[N], whether the true class is in the set.
      size: int64[N], of the set.
      backed_off: bool[N], whether the set was over the limit and became meta-classes; None without them.
      meta_covered: bool[N], whether the true meta-class is among those touched; None likewise.
      meta_size: int64[N], how many meta-classes the set touches; None likewise.
    """

    coverage: float
    thresholds: NDArray[np.float64]
    covered: NDArray[np.bool_]
    size: NDArray[np.int64]
    backed_off: NDArray[np.bool_] | None
    meta_covered: NDArray[np.bool_] | None
    meta_size: NDArray[np.int64] | None


def log_scores(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of probabilities as logits.

    Where a probability is 0 the file rounded it, or the network's number type did: it counts as
    `skinjax.evaluate.logistic_calibration.apart_from_bounds` has it.

    Args:
      probs: float64[N, K] in [0, 1].

    Returns:
      float64[N, K].

    Example:
      >>> log_scores(np.array([[0.0, 1.0], [0.5, 0.5]])).round(2).tolist()
      [[-1.39, 0.0], [-0.69, -0.69]]
    """
    return np.log(np.where(probs <= 0, apart_from_bounds(np.clip(probs, 0, 1)), probs))


def over_parts(parts: NDArray[np.int64], fit: Callable[[NDArray[np.bool_]], Any]) -> list[Any]:
    """Returns one fit per part, on all photos but the part's.

    Args:
      parts: int64[N] in [0, P), each of which occurs.
      fit: From bool[N], the photos to be fitted on, to anything.

    Returns:
      P fits.

    Example:
      >>> over_parts(np.array([0, 0, 1]), lambda rest: int(rest.sum()))
      [1, 2]
    """
    return [fit(parts != part) for part in range(int(parts.max()) + 1)]


def thresholds(
    labels: NDArray[np.bool_], scores: NDArray[np.float64], parts: NDArray[np.int64]
) -> Thresholds | None:
    """Returns Youden's threshold of each part, fitted on the others.

    Args:
      labels: bool[N].
      scores: float64[N].
      parts: int64[N].

    Returns:
      The thresholds; None where some part's others are all of one class.

    Example:
      >>> labels, scores = np.array([False, True, False, True]), np.array([0.1, 0.9, 0.3, 0.8])
      >>> thresholds(labels, scores, np.array([0, 0, 1, 1])).values.tolist()
      [0.8, 0.9]
    """
    if not all(over_parts(parts, lambda rest: labels[rest].any() and not labels[rest].all())):
        return None
    values = np.array(over_parts(parts, lambda rest: fit_threshold(labels[rest], scores[rest])))
    return Thresholds(values, scores >= values[parts])


def tempered(
    probs: NDArray[np.float64],
    labels: NDArray[np.integer],
    cases: NDArray[np.int64],
    parts: NDArray[np.int64],
    seed: int,
) -> Tempered:
    """Returns temperature scaling, each part's temperature fitted on the others.

    Args:
      probs: float64[N, K].
      labels: int[N] in [0, K).
      cases: int64[N] from 0.
      parts: int64[N], of whole cases.
      seed: Seed of the draw of cases where there are more than `MOST_FITTED` photos.

    Returns:
      The probabilities and the temperatures.
    """
    logits = log_scores(probs)
    rank = np.random.default_rng(seed).permutation(int(cases.max()) + 1)[cases]

    def fit(rest: NDArray[np.bool_]) -> tuple[float, int]:
        photos = np.flatnonzero(rest)
        if len(photos) > MOST_FITTED:
            last = np.partition(rank[photos], MOST_FITTED - 1)[MOST_FITTED - 1]
            kept = photos[rank[photos] < last]
            photos = kept if len(kept) else photos[rank[photos] <= last]
        return fit_temperature(logits[photos], labels[photos]), len(photos)

    fits = over_parts(parts, fit)
    temperatures = np.array([temperature for temperature, _ in fits])
    overall, most = fit(np.ones(len(labels), bool))
    return Tempered(
        temperatures,
        softmax(logits / temperatures[parts][:, None], axis=1),
        overall,
        max(most, *(count for _, count in fits)),
    )


def conformal(
    probs: NDArray[np.float64],
    labels: NDArray[np.integer],
    cases: NDArray[np.int64],
    parts: NDArray[np.int64],
    coverage: float,
    limit: int,
    parents: NDArray[np.integer] | None,
) -> Sets:
    """Returns conformal sets (LAC), each part's threshold fitted on the others.

    Args:
      probs: float64[N, K].
      labels: int[N] in [0, K).
      cases: int64[N].
      parts: int64[N], of whole cases.
      coverage: In (0, 1).
      limit: The largest set that does not back off.
      parents: int[K], the meta-class of every class; None for no backing off.

    Returns:
      The sets before backing off, and what it does to them.
    """
    own = -probs[np.arange(len(labels)), labels]
    levels = np.array(over_parts(parts, lambda rest: case_quantile(own[rest], cases[rest], coverage)))
    with jax.enable_x64(True):
        # One rule for all parts: its threshold is a column, each photo's own.
        rule = ConformalRule(levels[parts][:, None], "lac", False, coverage, int(cases.max()) + 1)  # type: ignore[arg-type]
        found = np.asarray(prediction_sets(rule, probs))
    backed_off = meta_covered = meta_size = None
    if parents is not None:
        count = int(parents.max()) + 1
        backed_off = np.asarray(back_off(found, parents, count, limit)[1])
        touched = np.stack([found[:, parents == meta].any(axis=1) for meta in range(count)], axis=1)
        meta_covered = touched[np.arange(len(labels)), parents[labels]]
        meta_size = touched.sum(axis=1)
    covered = found[np.arange(len(labels)), labels]
    return Sets(coverage, levels, covered, found.sum(axis=1), backed_off, meta_covered, meta_size)
