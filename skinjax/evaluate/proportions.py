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

from skinjax.evaluate.resampling import check_photos


@dataclasses.dataclass(frozen=True)
class Proportion:
    """A share of photos with its interval by case.

    Attributes:
        estimate: the share in [0, 1].
        low: lower limit; NaN where there is one case of several photos, for then nothing is known of others.
        high: upper limit, likewise.
        confidence: the interval's nominal coverage in (0, 1).
        num_photos: N.
        num_cases: C.
        design_effect: at least 1; how many photos are worth one independent photo.
        effective_size: N / design_effect.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    num_photos: int
    num_cases: int
    design_effect: float
    effective_size: float


def wilson(
    successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval of shares of independent photos (Wilson 1927, doi:10.2307/2276774).

    Args:
        successes: [...], in [0, trials]; need not be whole.
        trials: [...], of at least 0; the interval of none is 0 to 1.
        confidence: nominal coverage in (0, 1).

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
    """The share of photos that something holds for, with Wilson's interval at the effective sample size.

    The design effect is at least 1, and the normal quantile gives way to Student's with C - 1 degrees of
    freedom. With one photo in every case this is Wilson's interval.

    Args:
        hits: bool[N] or 0/1; whether a photo was called right, for instance. Select positives for a
            sensitivity, calls for a precision.
        cases: [N], the case of each photo, integers or strings.
        confidence: nominal coverage in (0, 1).

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
    num_photos, num_cases = len(codes), len(sizes)
    share = float(counts.sum() / num_photos)
    quantile = float(-ndtri((1 - confidence) / 2))
    low, high = np.nan, np.nan
    effect = float(num_photos)
    if num_cases > 1:
        effect = _design_effect(counts, sizes)
    if num_cases < num_photos:
        quantile = float(-stdtrit(max(num_cases - 1, 1), (1 - confidence) / 2))
    effective = num_photos / effect
    if num_cases > 1 or num_photos == 1:
        limits = _score_interval(np.array(share * effective), np.array(effective), quantile)
        low, high = (float(limit) for limit in limits)
    return Proportion(share, low, high, confidence, num_photos, num_cases, effect, effective)


def _design_effect(counts: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    """Of the hits among the photos of each case, with half a case all hit and half a case all missed."""
    often = np.append(np.ones(len(sizes)), [0.5, 0.5])
    counts, sizes = np.append(counts, [0, sizes.mean()]), np.append(sizes, [sizes.mean()] * 2)
    num_cases, num_photos = often.sum(), often @ sizes
    share = often @ counts / num_photos
    variance = num_cases / (num_cases - 1) * (often @ (counts - sizes * share) ** 2) / num_photos**2
    return max(1.0, float(variance * (num_photos - 1) / (share * (1 - share))))


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
