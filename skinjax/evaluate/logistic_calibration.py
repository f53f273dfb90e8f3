"""Calibration by logistic regression: slope and intercept, and a smooth curve with ICI, E50 and E90.

**Probabilities of 0 and 1** have no log-odds. A network's number type or a file's digits made them of
probabilities near 0 and 1, and how near shows in the others: a random forest of a hundred trees says 0.01 or
0. So they count as half of the smallest distance that the other probabilities keep from 0 or 1
(`apart_from_bounds`), here as wherever the report takes a logarithm. A fixed distance of 1e-12 would let a
few photos rule the slope.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, stdtrit

from skinjax.evaluate.calibration import binary_probabilities
from skinjax.evaluate.results import Result
from skinjax.evaluate.samples import check_photos, effective_cases

LEAST = 1e-12
"""The least distance from 0 and 1 that a probability counts as."""

_KNOTS = (0.05, 0.35, 0.65, 0.95)  # quantiles, as Harrell (2015, table 2.3) has them for four


@dataclasses.dataclass(frozen=True)
class CalibrationLine(Result):
    """Calibration of a binary target's log-odds, with intervals by case; NaN where no line can be fitted.

    Attributes:
      slope: Slope of the target's log-odds on the predicted ones; below 1 the probabilities are too extreme.
      slope_low: Lower limit.
      slope_high: Upper limit.
      intercept: With the slope held at 1 (calibration in the large); above 0 the probabilities are too low.
      intercept_low: Lower limit.
      intercept_high: Upper limit.
      confidence: Confidence level of every interval, in (0, 1).
    """

    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    intercept_low: float
    intercept_high: float
    confidence: float


@dataclasses.dataclass(frozen=True, eq=False)
class SmoothCalibration(Result):
    """A smooth calibration curve of class 1, and the distances of the probabilities from it.

    Attributes:
      ici: Mean distance over the photos (the integrated calibration index); NaN where no curve can be fitted.
      e50: Median distance.
      e90: Distance that 90 % of the photos do not exceed.
      predicted: float64[G], rising probabilities, from the 1st to the 99th percentile of the photos'.
      observed: float64[G], the curve there.
    """

    ici: float
    e50: float
    e90: float
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]


def apart_from_bounds(probs: ArrayLike) -> NDArray[np.float64]:
    """Moves probabilities of 0 and 1 away from these by half of the smallest distance of the others; see the module.

    Args:
      probs: float[...] in [0, 1].

    Returns:
      float64[...] in (0, 1); where none of the others is nearer than 2e-12, or all are 0 and 1, they move by 1e-12.

    Example:
      >>> apart_from_bounds([0.0, 0.02, 0.5, 1.0]).tolist()
      [0.01, 0.02, 0.5, 0.99]
    """
    values = np.asarray(probs, np.float64)
    distance = np.minimum(values, 1 - values)
    inside = distance[distance > 0]
    least = max(float(inside.min()) / 2, LEAST) if inside.size else LEAST
    return np.where(values <= 0, least, np.where(values >= 1, 1 - least, values))


def calibration_line(
    labels: ArrayLike, probs: ArrayLike, cases: ArrayLike, confidence: float = 0.95
) -> CalibrationLine:
    """Returns calibration slope and intercept (Cox 1958, doi:10.1093/biomet/45.3-4.562), by maximum likelihood.

    The intervals rest on variances by case (the sandwich of Liang and Zeger 1986, doi:10.1093/biomet/73.1.13,
    times C / (C - 1)) and Student's quantile with one degree of freedom less than the smaller class has
    cases, a few of many photos counted as few (`skinjax.evaluate.samples.effective_cases`). See Van Calster
    and others 2019, doi:10.1186/s12916-019-1466-7, on how to read them.

    Args:
      labels: 0 or 1, [N].
      probs: float[N], the probability of class 1; 0 and 1 count as `apart_from_bounds` has them.
      cases: [N], the case of each photo.
      confidence: Confidence level of every interval, in (0, 1).

    Returns:
      Slope and intercept. NaN where one class is missing; the slope also where the probabilities part the
      classes wholly or are all equal; limits with one case.

    Raises:
      ValueError: Labels other than 0 and 1, probabilities outside [0, 1], lengths that differ, or a
        confidence outside (0, 1).

    Example:
      >>> probs = np.tile([0.2, 0.8], 50)
      >>> labels = np.r_[np.tile([1, 0], 10), np.tile([0, 1], 40)]
      >>> line = calibration_line(labels, probs, cases=np.arange(100))
      >>> round(line.slope, 6), abs(round(line.intercept, 6))
      (1.0, 0.0)
    """
    (truth, given), codes = check_photos([("labels", labels), ("probs", probs)], cases)
    truth, given = binary_probabilities(truth, given)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    odds = logit(apart_from_bounds(given))
    ones = np.ones((len(odds), 1))
    (slope, *_), slope_error = _fit_logistic(np.column_stack([odds, ones]), np.zeros(len(odds)), truth, codes)
    (intercept,), intercept_error = _fit_logistic(ones, odds, truth, codes)
    fewest = min(effective_cases(codes[truth == side]) for side in (0, 1))
    quantile = float(-stdtrit(max(fewest - 1, 1), (1 - confidence) / 2))
    slope, intercept = float(slope), float(intercept)
    return CalibrationLine(
        slope=slope,
        slope_low=slope - quantile * slope_error,
        slope_high=slope + quantile * slope_error,
        intercept=intercept,
        intercept_low=intercept - quantile * intercept_error,
        intercept_high=intercept + quantile * intercept_error,
        confidence=confidence,
    )


def smooth_calibration(labels: ArrayLike, probs: ArrayLike, points: int = 99) -> SmoothCalibration:
    """Returns a smooth calibration curve and the indices made of it.

    The curve is a logistic regression on a restricted cubic spline of the log-odds with four knots (Harrell 2015,
    doi:10.1007/978-3-319-19425-7); the indices are Austin and Steyerberg's (2019, doi:10.1002/sim.8281). Unlike the
    calibration error they have no bins; like it they are above 0 in every finite sample, so they have no interval.

    Args:
      labels: 0 or 1, [N].
      probs: float[N], the probability of class 1; 0 and 1 count as `apart_from_bounds` has them.
      points: G.

    Returns:
      The curve; NaN where a class has fewer than 10 photos, fewer than 5 distinct probabilities, or a threshold
      parts the classes.

    Raises:
      ValueError: Labels other than 0 and 1, probabilities outside [0, 1], or lengths that differ.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> probs = rng.random(5000)
      >>> found = smooth_calibration(rng.random(5000) < probs**2, probs)
      >>> abs(found.ici - 1 / 6) < 0.01  # the mean of p - p^2
      True
    """
    truth, given = binary_probabilities(np.asarray(labels), np.asarray(probs))
    grid = np.quantile(given, np.linspace(0.01, 0.99, points))
    nothing = SmoothCalibration(np.nan, np.nan, np.nan, grid, np.full(points, np.nan))
    kept = apart_from_bounds(given)
    knots = np.unique(np.quantile(logit(kept), _KNOTS))
    few = min(truth.sum(), len(truth) - truth.sum()) < 10 or len(np.unique(given)) < 5
    if few or len(knots) < 3 or _parted(given, truth):
        return nothing
    basis = _spline(logit(kept), knots)
    fitted, _ = _fit_logistic(basis, np.zeros(len(truth)), truth, np.arange(len(truth)))
    away = np.abs(expit(basis @ fitted) - given)
    inner = np.clip(grid, kept.min(), kept.max())
    return SmoothCalibration(
        float(away.mean()),
        float(np.quantile(away, 0.5)),
        float(np.quantile(away, 0.9)),
        grid,
        expit(_spline(logit(inner), knots) @ fitted),
    )


def _spline(values: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns x, 1, and the restricted cubic splines' terms of K knots, [N, K], which are straight beyond the knots."""
    last, before = knots[-1], knots[-2]
    terms = [values, np.ones(len(values))]
    for knot in knots[:-2]:
        cubes = [np.maximum(values - at, 0) ** 3 for at in (knot, before, last)]
        bent = cubes[0] + (cubes[2] * (before - knot) - cubes[1] * (last - knot)) / (last - before)
        terms.append(bent / (last - knots[0]) ** 2)
    return np.stack(terms, axis=1)


def _fit_logistic(
    columns: NDArray[np.float64],
    offset: NDArray[np.float64],
    truth: NDArray[np.float64],
    codes: NDArray[np.int64],
) -> tuple[NDArray[np.float64], float]:
    """Returns the coefficients of a logistic regression by Newton's method, and the first's standard error by case."""
    at = np.zeros(columns.shape[1])
    if (columns.shape[1] == 2 and _parted(columns[:, 0], truth)) or not 0 < truth.mean() < 1:
        return np.full(columns.shape[1], np.nan), np.nan

    def score(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        log_odds = columns @ at + offset
        likelihood = float(truth @ log_odds - np.logaddexp(0, log_odds).sum())
        chance = expit(log_odds)
        return likelihood, truth - chance, (columns * (chance * (1 - chance))[:, None]).T @ columns

    likelihood, residual, information = score(at)
    for _ in range(100):
        step = np.linalg.lstsq(information, columns.T @ residual)[0]
        while np.abs(step).max() > 1e-12 and score(at + step)[0] < likelihood - 1e-9 * abs(likelihood):
            step = step / 2
        at = at + step
        likelihood, residual, information = score(at)
        if np.abs(step).max() < 1e-10:
            break
    num_cases = int(codes.max()) + 1
    if num_cases < 2:
        return at, np.nan
    by_case = np.zeros((num_cases, columns.shape[1]))
    np.add.at(by_case, codes, columns * residual[:, None])
    bread = np.linalg.pinv(information)
    variance = (bread @ by_case.T @ by_case @ bread)[0, 0] * num_cases / (num_cases - 1)
    return at, float(np.sqrt(variance))


def _parted(odds: NDArray[np.float64], truth: NDArray[np.float64]) -> bool:
    """Returns whether a threshold parts the classes (touching it allowed), so that no line is the likeliest."""
    ones, zeros = odds[truth == 1], odds[truth == 0]
    if not len(ones) or not len(zeros):
        return True
    return bool(ones.min() >= zeros.max() or ones.max() <= zeros.min())
