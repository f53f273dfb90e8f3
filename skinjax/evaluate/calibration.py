"""Do probabilities keep their word? Reliability, calibration error, the parts of the Brier score, slope.

Bins hold equally many photos ("mass") or equally much of [0, 1] ("width"). Photos of one probability are never
parted: a photo's bin of equal mass follows from its mid-rank, and a bin may stay empty where many tie.

The expected calibration error is the mean over bins, weighted by photos, of |mean probability - share that
came true| (Pakdaman Naeini, Cooper and Hauskrecht 2015, doi:10.1609/aaai.v29i1.9602). It is never 0 for a
finite sample, grows with the number of bins and shrinks with the photos, so compare it only between models on
the same photos. Of several classes, "top_label" looks at the highest probability and whether that class was
right; "class_wise" is the mean over classes of each against the rest.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import expit, logit, stdtrit
from scipy.stats import rankdata

from skinjax.evaluate.metrics import WeightedMetric, photo_table
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.resampling import check_photos

Strategy = Literal["mass", "width"]

_LEAST = 1e-12  # a probability of 0 or 1 counts as this far from it where its log-odds are wanted


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability curve: what was promised and what came true in each bin that holds photos.

    Attributes:
        predicted: float64[B], the mean probability.
        observed: float64[B], the share of photos of class 1.
        low: float64[B], lower limit of `observed` by case (`proportion_by_case`); NaN in a bin of one case.
        high: float64[B], upper limit, likewise.
        num_photos: int64[B].
        num_cases: int64[B].
        confidence: the intervals' nominal coverage in (0, 1).
    """

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    num_photos: NDArray[np.int64]
    num_cases: NDArray[np.int64]
    confidence: float


@dataclasses.dataclass(frozen=True)
class BrierParts:
    """The Brier score of a binary target, taken apart.

    score = reliability - resolution + uncertainty + within_variance - within_covariance, exactly: the first three
    are Murphy's (1973, doi:10.1175/1520-0450(1973)012<0595:ANVPOT>2.0.CO;2), the other two come from
    probabilities that differ within a bin (Stephenson, Coelho and Jolliffe 2008, doi:10.1175/2007WAF2006116.1).

    Attributes:
        score: the mean of (p - y)².
        reliability: how far bins' probabilities stand from what came true; 0 is best.
        resolution: how far what came true differs between bins; more is better.
        uncertainty: variance of the target.
        within_variance: of the probabilities about their bin's mean.
        within_covariance: twice that of probability and target about their bin's means.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within_variance: float
    within_covariance: float


@dataclasses.dataclass(frozen=True)
class CalibrationLine:
    """Calibration of a binary target's log-odds, with intervals by case; NaN where no line can be fitted.

    Attributes:
        slope: of the target's log-odds on the predicted ones; below 1 the probabilities are too extreme.
        slope_low: lower limit.
        slope_high: upper limit.
        intercept: with the slope held at 1 (calibration in the large); above 0 the probabilities are too low.
        intercept_low: lower limit.
        intercept_high: upper limit.
        confidence: the intervals' nominal coverage in (0, 1).
    """

    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    intercept_low: float
    intercept_high: float
    confidence: float


def reliability_curve(
    labels: ArrayLike,
    probs: ArrayLike,
    cases: ArrayLike,
    bins: int = 10,
    strategy: Strategy = "mass",
    confidence: float = 0.95,
) -> Reliability:
    """The reliability curve of a binary target with intervals by case.

    Args:
        labels: 0 or 1, [N].
        probs: float[N], the probability of class 1.
        cases: [N], the case of each photo.
        bins: how many at most.
        strategy: "mass" or "width".
        confidence: of each bin's interval, in (0, 1).

    Returns:
        The curve, bins in order.

    Raises:
        ValueError: Labels other than 0 and 1, probabilities outside [0, 1], lengths that differ, or no bin.

    Example:
        >>> curve = reliability_curve([0, 0, 1, 1], [0.1, 0.3, 0.6, 0.8], cases=[1, 2, 3, 4], bins=2)
        >>> curve.predicted.round(2).tolist(), curve.observed.tolist()
        ([0.2, 0.7], [0.0, 1.0])
    """
    (truth, given), codes = check_photos([("labels", labels), ("probs", probs)], cases)
    truth, given = _binary(truth, given)
    place = _bins(given, bins, strategy)
    rows = []
    for number in np.unique(place):
        inside = place == number
        share = proportion_by_case(truth[inside], codes[inside], confidence)
        rows.append(
            (given[inside].mean(), share.estimate, share.low, share.high, share.num_photos, share.num_cases)
        )
    predicted, observed, low, high, photos, cases_in = np.array(rows).T
    return Reliability(
        predicted, observed, low, high, photos.astype(np.int64), cases_in.astype(np.int64), confidence
    )


def calibration_error(
    kind: Literal["binary", "top_label", "class_wise"] = "binary", bins: int = 15, strategy: Strategy = "mass"
) -> WeightedMetric:
    """The expected calibration error as a metric, for one sample or for the bootstrap.

    A replicate keeps the bins of the sample. Resampling adds to the error, so take the default,
    bias-corrected interval, and read it as rough: at an error of 0.04 in 5 bins, 95 % intervals held in 83 % of
    simulated studies of 40 cases, 88 % of 100 and 90 % of 300.

    Args:
        kind: "binary" takes (labels 0/1 [N], probs float[N]); "top_label" and "class_wise" take
            (labels int[N], probs float[N, K]).
        bins: how many at most.
        strategy: "mass" or "width".

    Returns:
        The metric; calling it gives a number in [0, 1].

    Raises:
        ValueError: An unknown kind or strategy, or no bin; from the metric, labels and probabilities that do
            not fit.

    Example:
        >>> round(calibration_error(bins=2)([0, 0, 1, 1], [0.1, 0.3, 0.6, 0.8]), 3)
        0.25
    """
    if kind not in ("binary", "top_label", "class_wise"):
        raise ValueError(f"kind must be binary, top_label or class_wise, got {kind!r}")
    _bins(np.zeros(1), bins, strategy)

    @WeightedMetric.of_sums(functools.partial(_bin_sums, kind, bins, strategy))
    def error(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        gaps, photos = totals[:, :-1], totals[:, -1]
        classes = gaps.shape[1] // bins
        return np.abs(gaps).sum(axis=1) / photos / classes

    return error


def brier_parts(
    labels: ArrayLike, probs: ArrayLike, bins: int = 10, strategy: Strategy = "mass"
) -> BrierParts:
    """Takes the Brier score of a binary target apart.

    Args:
        labels: 0 or 1, [N].
        probs: float[N], the probability of class 1.
        bins: how many at most.
        strategy: "mass" or "width".

    Returns:
        The parts, which add up to the score.

    Raises:
        ValueError: As `reliability_curve`; no photo.

    Example:
        >>> parts = brier_parts([0, 1, 1, 1], [0.5, 0.5, 0.75, 0.75], bins=2)
        >>> parts.reliability, parts.resolution, parts.uncertainty, parts.score
        (0.03125, 0.0625, 0.1875, 0.15625)
    """
    truth, given = _binary(np.asarray(labels), np.asarray(probs))
    place = np.unique(_bins(given, bins, strategy), return_inverse=True)[1]
    sizes = np.bincount(place)
    promised = np.bincount(place, given) / sizes
    came = np.bincount(place, truth) / sizes
    off_given, off_truth = given - promised[place], truth - came[place]
    base, share = truth.mean(), sizes / len(truth)
    return BrierParts(
        score=float(np.mean((given - truth) ** 2)),
        reliability=float(share @ (promised - came) ** 2),
        resolution=float(share @ (came - base) ** 2),
        uncertainty=float(base * (1 - base)),
        within_variance=float(np.mean(off_given**2)),
        within_covariance=float(2 * np.mean(off_given * off_truth)),
    )


def calibration_line(
    labels: ArrayLike, probs: ArrayLike, cases: ArrayLike, confidence: float = 0.95
) -> CalibrationLine:
    """Calibration slope and intercept (Cox 1958, doi:10.1093/biomet/45.3-4.562), by maximum likelihood.

    The intervals rest on variances by case (the sandwich of Liang and Zeger 1986, doi:10.1093/biomet/73.1.13,
    times C / (C - 1)) and Student's quantile with one degree of freedom less than the smaller class
    has cases. See Van Calster and others 2019, doi:10.1186/s12916-019-1466-7, on how to read them.

    Args:
        labels: 0 or 1, [N].
        probs: float[N], the probability of class 1. One of 0 or 1 counts as 1e-12 away from it.
        cases: [N], the case of each photo.
        confidence: of the intervals, in (0, 1).

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
    truth, given = _binary(truth, given)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    odds = logit(np.clip(given, _LEAST, 1 - _LEAST))
    ones = np.ones((len(odds), 1))
    slope, slope_error = _fit_logistic(np.column_stack([odds, ones]), np.zeros(len(odds)), truth, codes)
    intercept, intercept_error = _fit_logistic(ones, odds, truth, codes)
    fewest = min(len(np.unique(codes[truth == side])) for side in (0, 1))
    quantile = float(-stdtrit(max(fewest - 1, 1), (1 - confidence) / 2))
    return CalibrationLine(
        slope=slope,
        slope_low=slope - quantile * slope_error,
        slope_high=slope + quantile * slope_error,
        intercept=intercept,
        intercept_low=intercept - quantile * intercept_error,
        intercept_high=intercept + quantile * intercept_error,
        confidence=confidence,
    )


def _binary(labels: NDArray, probs: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if labels.ndim != 1 or labels.shape != probs.shape or not labels.size:
        raise ValueError(
            f"labels and probs must be [N] of at least one photo, got shapes {labels.shape} and {probs.shape}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 or 1, got other values")
    given = probs.astype(np.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError("probs must lie in [0, 1], got values outside or NaN")
    return labels.astype(np.float64), given


def _bins(probs: NDArray[np.float64], bins: int, strategy: str) -> NDArray[np.int64]:
    """Each photo's bin in [0, bins)."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if strategy == "mass":
        place = (rankdata(probs) - 0.5) / len(probs) * bins
    elif strategy == "width":
        place = probs * bins
    else:
        raise ValueError(f"strategy must be mass or width, got {strategy!r}")
    return np.minimum(place.astype(np.int64), bins - 1)


def _bin_sums(kind: str, bins: int, strategy: str, labels: NDArray, probs: NDArray) -> csr_array:
    """Probability less truth in the bin of each photo, class by class, and the count, [N, classes * bins + 1]."""
    if kind == "binary":
        targets = [_binary(labels, probs)]
    else:
        if probs.ndim != 2 or labels.shape != probs.shape[:1] or labels.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be int[N] and probs float[N, K], got {labels.dtype} of shape {labels.shape} and "
                f"shape {probs.shape}"
            )
        if ((labels < 0) | (labels >= probs.shape[1])).any():
            raise ValueError(f"labels must lie in [0, {probs.shape[1]}), got others")
        if kind == "top_label":
            targets = [_binary(probs.argmax(axis=1) == labels, probs.max(axis=1))]
        else:
            targets = [_binary(labels == k, probs[:, k]) for k in range(probs.shape[1])]
    entries = [
        (k * bins + _bins(given, bins, strategy), given - truth) for k, (truth, given) in enumerate(targets)
    ]
    return photo_table([*entries, (len(targets) * bins, 1.0)], len(labels), len(targets) * bins + 1)


def _fit_logistic(
    columns: NDArray[np.float64],
    offset: NDArray[np.float64],
    truth: NDArray[np.float64],
    codes: NDArray[np.int64],
) -> tuple[float, float]:
    """The first coefficient of a logistic regression by Newton's method, and its standard error by case."""
    at = np.zeros(columns.shape[1])
    if (columns.shape[1] == 2 and _parted(columns[:, 0], truth)) or not 0 < truth.mean() < 1:
        return np.nan, np.nan

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
        return float(at[0]), np.nan
    by_case = np.zeros((num_cases, columns.shape[1]))
    np.add.at(by_case, codes, columns * residual[:, None])
    bread = np.linalg.pinv(information)
    variance = (bread @ by_case.T @ by_case @ bread)[0, 0] * num_cases / (num_cases - 1)
    return float(at[0]), float(np.sqrt(variance))


def _parted(odds: NDArray[np.float64], truth: NDArray[np.float64]) -> bool:
    """Whether a threshold parts the classes (touching it allowed), so that no line is the likeliest."""
    ones, zeros = odds[truth == 1], odds[truth == 0]
    if not len(ones) or not len(zeros):
        return True
    return bool(ones.min() >= zeros.max() or ones.max() <= zeros.min())
