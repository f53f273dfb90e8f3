"""Computes how many photos and readers a study needs that compares a model's sensitivity with readers'.

The analysis that is planned for is the one in `skinjax.evaluate.readers`: each reader's difference from the model,
averaged over readers, with Obuchowski and Rockette's variance (1995, doi:10.1080/03610919508813243) and Hillis's
degrees of freedom. With R readers and n photos of the target, one per case, let p be the mean reader's sensitivity, q
= p + d the model's, s the standard deviation of the readers' true sensitivities, and r the covariance of the calls of
any two who read the same photo, as a share of the largest that their sensitivities allow (of two alike, their
correlation). A difference then has over photos the variance and, between two readers, the covariance

    v = v_m + v_r - 2 c,   cov2 = v_m - 2 c + r v_r,   v_m = q (1 - q) / n,   v_r = p (1 - p) / n,
    c = r (min(p, q) - p q) / n

and the mean difference the variance w / R + cov2 with w = s² + v - cov2. Its test statistic is t with (R - 1)
(1 + R cov2 / w)² degrees of freedom (Hillis 2007, doi:10.1002/sim.2532), noncentral where there is a difference: the
power that Hillis, Obuchowski and Berbaum (2011) give for two modalities, here for one and a model. The same holds of
the specificity and the photos of the rest.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import nctdtr, stdtrit

from skinjax.evaluate.results import Result
from skinjax.evaluate.samples import check_confidence

MOST_PHOTOS, MOST_READERS = 1_000_000, 1_000


@dataclasses.dataclass(frozen=True)
class ReaderVariation(Result):
    """Assumptions of a plan about readers.

    Attributes:
      share: The mean reader's sensitivity (or specificity), in (0, 1).
      reader_sd: Standard deviation of the readers' true shares, at least 0.
      correlation: Of the calls of two who read the same photo, in [0, 1).
    """

    share: float = 0.8
    reader_sd: float = 0.1
    correlation: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie between 0 and 1, got {self.share:g}")
        if not 0 <= self.reader_sd < 0.5:
            raise ValueError(f"reader_sd must lie in [0, 0.5), got {self.reader_sd:g}")
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation must lie in [0, 1), got {self.correlation:g}")


@dataclasses.dataclass(frozen=True)
class ReaderPlan(Result):
    """Power and precision of a study of this size.

    Attributes:
      readers: R.
      photos: n, of the target.
      difference: d, the model's share less the mean reader's.
      power: Probability that the test tells it from 0.
      half_width: Half of the interval's expected width.
      std_error: Standard error of the mean difference.
      degrees_of_freedom: Of the test.
    """

    readers: int
    photos: int
    difference: float
    power: float
    half_width: float
    std_error: float
    degrees_of_freedom: float


def plan_readers(
    difference: float,
    readers: int,
    photos: int,
    variation: ReaderVariation | None = None,
    confidence: float = 0.95,
) -> ReaderPlan:
    """Returns the power and the width of the interval of a study with so many readers and photos.

    Args:
      difference: The model's share less the mean reader's.
      readers: At least 2.
      photos: Of the target (or the rest), one per case, at least 2.
      variation: What is assumed of the readers; None takes the defaults, which are a guess of ours.
      confidence: Confidence level of the interval, in (0, 1); the test is at 1 less it.

    Raises:
      ValueError: An argument is out of its range, or the model's share is not between 0 and 1.

    Example:
      >>> found = plan_readers(0.1, readers=25, photos=50)
      >>> round(found.power, 2), round(found.half_width, 2)
      (0.55, 0.09)
    """
    check_confidence(confidence)
    assumed = variation or ReaderVariation()
    if readers < 2 or photos < 2:
        raise ValueError(f"readers and photos must be at least 2, got {readers} and {photos}")
    if not 0 < assumed.share + difference < 1:
        raise ValueError(
            f"difference must leave the model's share between 0 and 1, got {difference:g} beside readers' "
            f"{assumed.share:g}"
        )
    spread, cov2 = _components(difference, photos, assumed)
    variance = spread + readers * cov2
    error = float(np.sqrt(variance / readers))
    degrees = (readers - 1) * (variance / spread) ** 2
    limit = float(stdtrit(degrees, (1 + confidence) / 2))
    shift = difference / error
    power = 1 - nctdtr(degrees, shift, limit) + nctdtr(degrees, shift, -limit)
    return ReaderPlan(readers, photos, difference, float(power), limit * error, error, float(degrees))


def photos_needed(
    difference: float,
    readers: int,
    power: float = 0.8,
    variation: ReaderVariation | None = None,
    confidence: float = 0.95,
) -> ReaderPlan:
    """Returns the smallest study with so many readers that finds a difference with a given power.

    Args:
      difference: The model's share less the mean reader's; not 0.
      readers: At least 2.
      power: In (0, 1).
      variation: As `plan_readers` takes it.
      confidence: Likewise.

    Raises:
      ValueError: No number of photos suffices, since readers differ too much for so few of them.

    Example:
      >>> photos_needed(0.1, readers=25).photos
      110
    """
    if difference == 0:
        raise ValueError("difference must not be 0: no study can detect it")
    if not 0 < power < 1:
        raise ValueError(f"power must lie between 0 and 1, got {power:g}")

    def at(photos: int, people: int = readers) -> ReaderPlan:
        return plan_readers(difference, people, photos, variation, confidence)

    if (most := at(MOST_PHOTOS).power) < power:
        enough = next((n for n in range(readers, MOST_READERS) if at(MOST_PHOTOS, n).power > power), None)
        advice = f"; {enough} readers or more can" if enough else ""
        raise ValueError(
            f"readers={readers} cannot find a difference of {difference:g} with a power of {power:g}, however many "
            f"photos they read (at most {most:.2f}){advice}"
        )
    low, high = 1, 2
    while at(high).power < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle).power >= power else (middle, high)
    return at(high)


def estimate_variation(right: ArrayLike) -> ReaderVariation:
    """Estimates what a plan assumes from a pilot, by Obuchowski and Rockette's components.

    Args:
      right: [R, n] of 0 and 1, whether each reader called each photo of the target right; one photo per case.

    Raises:
      ValueError: Fewer than two readers or photos, or readers who were all right, or all wrong, throughout.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> found = estimate_variation(rng.random((40, 500)) < rng.normal(0.75, 0.08, (40, 1)))
      >>> abs(found.share - 0.75) < 0.03, abs(found.reader_sd - 0.08) < 0.03, found.correlation < 0.05
      (True, True, True)
    """
    values = np.asarray(right, np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(
            f"right must have shape [R, n] with at least 2 readers and 2 photos, got {values.shape}"
        )
    shares = values.mean(axis=1)
    table = np.cov(values) / values.shape[1]
    error = float(np.trace(table)) / len(values)
    if error <= 0:
        raise ValueError("right must hold calls that were right and calls that were wrong, got one kind only")
    cov2 = float(table.sum() - np.trace(table)) / (len(values) * (len(values) - 1))
    correlation = float(np.clip(cov2 / error, 0, 0.99))
    between = float(shares.var(ddof=1)) - error * (1 - correlation)
    return ReaderVariation(float(shares.mean()), float(np.sqrt(max(between, 0.0))), correlation)


def _components(difference: float, photos: int, assumed: ReaderVariation) -> tuple[float, float]:
    """Returns what readers' differences vary by among themselves, and the covariance of two of them."""
    p, r = assumed.share, assumed.correlation
    q = p + difference
    model, reader = q * (1 - q) / photos, p * (1 - p) / photos
    shared = r * (min(p, q) - p * q) / photos
    cov2 = max(model - 2 * shared + r * reader, 0.0)
    return assumed.reader_sd**2 + reader * (1 - r), cov2
