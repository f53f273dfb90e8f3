"""Intervals of a share of photos: Wilson's, and Wilson's with the sample size that correlated photos are worth.

Photos of one case mostly fall together, so N photos tell less than N independent ones. The *design effect* is
the variance of the share by case over what it would be for independent photos; N divided by it is the
effective sample size, which takes N's place in Wilson's interval (Rao and Scott 1992, doi:10.2307/2532311;
compared with others by Saha, Miller and Wang 2016, doi:10.1515/ijb-2015-0024). Unlike a bootstrap interval it
has a width at shares of 0 and 1.

The variance by case is the ratio estimator's, C / (C - 1) Σ (x_k - n_k p)² / N², of x_k hits among the n_k photos
of case k. Where hits or misses are few it is mostly too small, so half a case of nothing but hits and half a
case of nothing but misses, of mean size, are counted in it (not in the share). That is ours: in simulated
studies of 20 to 200 cases of 5 photos, shares of 0.6 to 0.97 and correlations of 0 to 0.8, the 95 % interval
held the truth in 92 to 99 % of the samples; without the half cases in 85 to 98 %, and Wilson's own by photos
in 69 to 79 % at a correlation of 0.5.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from skinjax.evaluate.results import Interval
from skinjax.evaluate.samples import check_photos


@dataclasses.dataclass(frozen=True)
class Proportion(Interval):
    """A share of photos with its interval by case.

    Attributes:
      estimate: The share in [0, 1].
      low: Lower limit; NaN where there is one case of several photos, for then nothing is known of others.
      high: Upper limit, likewise.
      confidence: Confidence level of the interval, in (0, 1).
      num_photos: N.
      num_cases: C.
      design_effect: At least 1; how many photos are worth one independent photo.
      effective_size: N / design_effect.
    """

    num_photos: int = 0
    num_cases: int = 0
    design_effect: float = 1.0
    effective_size: float = 0.0


def wilson(
    successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns Wilson's score interval of shares of independent photos (Wilson 1927, doi:10.2307/2276774).

    Args:
      successes: [...], in [0, trials]; need not be whole.
      trials: [...], of at least 0; the interval of none is 0 to 1.
      confidence: Confidence level of the interval, in (0, 1).

    Returns:
      Lower and upper limits, float64[...] each, in [0, 1].

    Raises:
      ValueError: Successes outside [0, trials], or a confidence outside (0, 1).

    Example:
      >>> low, high = wilson(81, 263)
      >>> round(float(low), 4), round(float(high), 4)
      (0.2553, 0.3662)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    count, size = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    if not ((count >= 0) & (count <= size)).all():
        raise ValueError(f"successes must lie in [0, trials], got {successes!r} of {trials!r}")
    return _score_interval(count, size, -ndtri((1 - confidence) / 2))


def proportion_by_case(hits: ArrayLike, cases: ArrayLike, confidence: float = 0.95) -> Proportion:
    """Returns the share of photos that something holds for, with Wilson's interval at the effective sample size.

    The design effect is at least 1, and the normal quantile gives way to Student's with C - 1 degrees of
    freedom. With one photo in every case this is Wilson's interval.

    Args:
      hits: bool[N] or 0/1; whether a photo was called right, for instance. Select positives for a
        sensitivity, calls for a precision.
      cases: [N], the case of each photo, integers or strings.
      confidence: Confidence level of the interval, in (0, 1).

    Returns:
      The share, its interval and the design effect.

    Raises:
      ValueError: Hits that are neither 0 nor 1, lengths that differ, no photo, a missing case, or a
        confidence outside (0, 1).

    Example:
      >>> found = proportion_by_case([1, 1, 1, 0, 0, 0, 1, 1], cases=list("aaabbbcd"))
      >>> found.estimate, round(found.design_effect, 2), round(found.low, 2), round(found.high, 2)
      (0.625, 2.83, 0.09, 0.97)
    """
    (found,), codes = check_photos([("hits", hits)], cases)
    if found.ndim != 1 or not np.isin(found, (0, 1)).all():
        raise ValueError(f"hits must hold 0 or 1 for each photo, got {found.dtype} of shape {found.shape}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    sizes = np.bincount(codes).astype(np.float64)
    counts = np.bincount(codes, found.astype(np.float64)).astype(np.float64)
    hits, squares, products = counts.sum(), (counts**2).sum(), (counts * sizes).sum()
    found = shares_of_sums(hits, squares, products, sizes, confidence)
    share, low, high, effect = (float(value) for value in found)
    return Proportion(share, low, high, confidence, len(codes), len(sizes), effect, len(codes) / effect)


def shares_of_sums(
    hits: ArrayLike, squares: ArrayLike, products: ArrayLike, sizes: NDArray[np.float64], confidence: float
) -> NDArray[np.float64]:
    """Returns `proportion_by_case` of many shares of the same photos, from sums over the cases.

    Args:
      hits: [...], Σ x_k of the hits among each case's photos.
      squares: [...], Σ x_k².
      products: [...], Σ x_k n_k.
      sizes: float64[C], the photos n_k of each case.
      confidence: Confidence level of the interval, in (0, 1).

    Returns:
      float64[4, ...]: the share, its lower and upper limit, and the design effect.

    Example:
      >>> shares_of_sums(5, 11, 11, np.array([3.0, 3.0, 1.0, 1.0]), 0.95).round(2).tolist()
      [0.62, 0.09, 0.97, 2.83]
    """
    hits, squares, products = (np.asarray(values, np.float64) for values in (hits, squares, products))
    num_cases, num_photos = len(sizes), float(sizes.sum())
    share = hits / num_photos
    effect = np.full(share.shape, num_photos)
    if num_cases > 1:
        effect = _design_effect(hits, squares, products, sizes)
    quantile = float(-ndtri((1 - confidence) / 2))
    if num_cases < num_photos:
        quantile = float(-stdtrit(max(num_cases - 1, 1), (1 - confidence) / 2))
    if num_cases == 1 and num_photos > 1:
        return np.stack([share, *np.full((2, *share.shape), np.nan), effect])
    return np.stack([share, *_score_interval(hits / effect, num_photos / effect, quantile), effect])


def _design_effect(
    hits: NDArray[np.float64],
    squares: NDArray[np.float64],
    products: NDArray[np.float64],
    sizes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Returns the design effect of the hits among the photos of each case, half a case all hit and half all missed."""
    mean = float(sizes.mean())
    num_cases, num_photos = len(sizes) + 1, float(sizes.sum()) + mean
    share = (hits + mean / 2) / num_photos
    spread = squares - 2 * share * products + share**2 * float((sizes**2).sum())
    spread = np.maximum(spread, 0) + mean**2 * (share**2 + (1 - share) ** 2) / 2
    variance = num_cases / (num_cases - 1) * spread / num_photos**2
    return np.maximum(1.0, variance * (num_photos - 1) / (share * (1 - share)))


def _score_interval(
    count: NDArray[np.float64], size: NDArray[np.float64], quantile: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    half = quantile**2 / 2
    center = (count + half) / (size + 2 * half)
    share = np.divide(count, size, out=np.zeros(np.shape(size)), where=size > 0)
    width = quantile * np.sqrt(size * share * (1 - share) + half / 2) / (size + 2 * half)
    # At shares of 0 and 1 the limit is the share itself, but for rounding.
    low = np.where(share == 0, 0.0, np.clip(center - width, 0, 1))
    high = np.where((share == 1) | (size == 0), 1.0, np.clip(center + width, 0, 1))
    return low, high
