"""A model against people who read the same photos.

A reader who answers yes or no is one point in the ROC plane. The mean reader's point lies below the curve
that the readers would follow if they only differed in how easily they say yes, so a model's curve that passes
above the mean point is not yet better. Here the model is compared with each reader where that reader stands:
its sensitivity at the reader's own specificity minus the reader's sensitivity (and the other way round), and
these differences are averaged. The model's sensitivity is read at the middle of its curve's step there: the
top would favour the model by half a step (`roc_band.sensitivities_at`).

Readers and cases both count as samples: the differences go through Obuchowski and Rockette's analysis for one
modality with Hillis's degrees of freedom (`mrmc.mean_over_readers`), in which the model's own error is part
of the covariance of the differences. That covariance comes from resampled cases where the model's threshold
follows the reader, and from sums over cases (Obuchowski 1997, doi:10.2307/2533958) where it is given.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from skinjax.evaluate.delong import auc_covariance, unbiased
from skinjax.evaluate.mrmc import Contrast, mean_over_readers
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.results import Result
from skinjax.evaluate.roc_band import sensitivities_at
from skinjax.evaluate.samples import binary_labels, binary_sample, case_codes, case_weights, check_confidence


@dataclasses.dataclass(frozen=True)
class MeanReader(Result):
    """The readers' mean point.

    Attributes:
      sensitivity: Its sensitivity with interval.
      specificity: Its specificity with interval.
    """

    sensitivity: Contrast
    specificity: Contrast


@dataclasses.dataclass(frozen=True)
class ThresholdComparison(Result):
    """The model at one threshold against the readers, model minus readers.

    Attributes:
      sensitivity: The difference in sensitivity.
      specificity: The difference in specificity.
      balanced: The difference in the mean of the two, which is the area under a curve of one point.
    """

    sensitivity: Contrast
    specificity: Contrast
    balanced: Contrast


@dataclasses.dataclass(frozen=True)
class ReaderComparison(Result):
    """A model against readers; all differences are model minus readers.

    Attributes:
      mean_reader: The readers' mean point.
      sensitivity: The model's sensitivity at each reader's specificity minus the reader's, averaged.
      specificity: The model's specificity at each reader's sensitivity minus the reader's, averaged.
      at_threshold: The model at the given threshold; None without one.
      above: Readers whom the model surpasses in sensitivity at their own specificity.
      num_readers: R.
      num_photos: N.
      num_cases: How many cases the photos are of.
    """

    mean_reader: MeanReader
    sensitivity: Contrast
    specificity: Contrast
    at_threshold: ThresholdComparison | None
    above: int
    num_readers: int
    num_photos: int
    num_cases: int


def reader_points(labels: ArrayLike, calls: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns each reader's sensitivity and specificity.

    Args:
      labels: [N] of 0 and 1.
      calls: [R, N] of 0 and 1, what each reader called each photo; every reader called every photo.

    Returns:
      float64[R] sensitivity and float64[R] specificity in [0, 1]; NaN where a class has no photo.

    Raises:
      ValueError: Labels or calls other than 0 and 1, or shapes that do not fit.

    Example:
      >>> sensitivity, specificity = reader_points([1, 1, 0, 0], [[1, 0, 0, 0], [1, 1, 1, 0]])
      >>> sensitivity.tolist(), specificity.tolist()
      ([0.5, 1.0], [1.0, 0.5])
    """
    positive, values = _calls(labels, calls)
    if not len(positive):
        return np.full(len(values), np.nan), np.full(len(values), np.nan)
    return _shares(values, positive), _shares(1 - values, ~positive)


def mean_reader(
    labels: ArrayLike,
    calls: ArrayLike,
    cases: ArrayLike | None = None,
    confidence: float = 0.95,
    random_readers: bool = True,
) -> MeanReader:
    """Returns the readers' mean sensitivity and specificity, with intervals for other readers and cases.

    The intervals are symmetric in log odds, so that they stay within (0, 1): shares near a bound are skewed,
    and of 8 simulated readers 95 % intervals symmetric in the share itself held in 92 % of the studies, these
    in 95 %. Readers who are all right, or all wrong, have the limits of one reader
    (`skinjax.evaluate.proportions`).

    Args:
      labels: [N] of 0 and 1.
      calls: [R, N] of 0 and 1.
      cases: [N], the case of each photo, integers or strings; None where each photo is a case of its own.
      confidence: Confidence level of the interval, in (0, 1).
      random_readers: Whether the intervals are for other readers too; it takes at least two.

    Returns:
      The mean point; its tests are against 0 and mean nothing.

    Raises:
      ValueError: As `reader_points`, or one random reader.

    Example:
      >>> labels = np.tile([1, 1, 0, 0], 10)
      >>> calls = [np.tile([1, 0, 0, 0], 10), np.tile([1, 1, 1, 0], 10)]
      >>> found = mean_reader(labels, calls)
      >>> found.sensitivity.estimate, found.specificity.estimate
      (0.75, 0.75)
    """
    positive, values = _calls(labels, calls)
    codes = case_codes(cases, len(positive))
    right = values == positive

    def share(mask: NDArray[np.bool_]) -> Contrast:
        mean = mean_over_readers(*_share_covariance(right, mask, codes), confidence, random_readers)
        if mean.std_error == 0 and mean.estimate in (0, 1):
            unanimous = proportion_by_case(right[0, mask], codes[mask], confidence)
            return dataclasses.replace(mean, low=unanimous.low, high=unanimous.high)
        return _in_log_odds(mean)

    return MeanReader(share(positive), share(~positive))


def compare_with_readers(
    labels: ArrayLike,
    scores: ArrayLike,
    calls: ArrayLike,
    cases: ArrayLike | None = None,
    threshold: float | None = None,
    confidence: float = 0.95,
    random_readers: bool = True,
    replicates: int = 2000,
    seed: int = 0,
) -> ReaderComparison:
    """Compares a model with readers, for other readers and other cases.

    Args:
      labels: [N] of 0 and 1.
      scores: [N], the model's, finite or infinite; higher for class 1.
      calls: [R, N] of 0 and 1, what each reader called each photo; every reader called every photo.
      cases: [N], the case of each photo, integers or strings; None where each photo is a case of its own.
      threshold: Threshold of the model, chosen on other photos; `score >= threshold` is positive. None for none.
      confidence: Confidence level of every interval, in (0, 1).
      random_readers: Whether the conclusions are for other readers too; it takes at least two.
      replicates: How often cases are drawn for the covariance of the matched differences.
      seed: Seed of the draws.

    Returns:
      The differences with interval and test. Those whose covariance cannot be estimated (a class whose
      photos are all of one case) have NaN limits and p.

    Raises:
      ValueError: As `reader_points`, scores that are NaN, a class without a photo, one random reader, or
        fewer than 100 replicates.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> labels = np.tile([0, 1], 100)
      >>> calls = rng.random((6, 200)) < np.where(labels, 0.8, 0.2)
      >>> found = compare_with_readers(labels, labels + rng.normal(0, 0.3, 200), calls, threshold=0.5)
      >>> found.above, found.sensitivity.estimate > 0.1, found.sensitivity.p_value < 0.001
      (6, True, True)
    """
    check_confidence(confidence)
    positive, answers = _calls(labels, calls)
    values = binary_sample(labels, scores)[1]
    if values.ndim != 1:
        raise ValueError(f"scores must have shape [N], got shape {values.shape}")
    if replicates < 100:
        raise ValueError(f"replicates must be at least 100, got {replicates}")
    if positive.all() or not positive.any():
        raise ValueError(
            f"labels must hold both classes, got {int(positive.sum())} photos of 1 among {len(positive)}"
        )
    codes = case_codes(cases, len(positive))
    matched = _matched(positive, values, answers, np.ones((1, len(codes))))
    covariances = _drawn_covariances(positive, values, answers, codes, replicates, seed)
    differences = [
        mean_over_readers(matched[side][0], covariances[side], confidence, random_readers) for side in (0, 1)
    ]
    return ReaderComparison(
        mean_reader=mean_reader(labels, calls, cases, confidence, random_readers),
        sensitivity=differences[0],
        specificity=differences[1],
        at_threshold=None
        if threshold is None
        else _at_threshold(positive, values >= threshold, answers, codes, confidence, random_readers),
        above=int(np.count_nonzero(matched[0][0] > 1e-12)),
        num_readers=len(answers),
        num_photos=len(positive),
        num_cases=int(codes.max()) + 1,
    )


def compare_ratings(
    labels: ArrayLike,
    scores: ArrayLike,
    ratings: ArrayLike,
    cases: ArrayLike | None = None,
    confidence: float = 0.95,
    random_readers: bool = True,
) -> Contrast:
    """Returns the model's area minus the readers' mean area, where readers rate photos (degrees, or 0 to 100).

    Args:
      labels: [N] of 0 and 1.
      scores: [N], the model's; higher for class 1.
      ratings: [R, N], the readers', on any scale; higher for class 1.
      cases: [N], the case of each photo, integers or strings; None where each photo is a case of its own.
      confidence: Confidence level of the interval, in (0, 1).
      random_readers: Whether the conclusion is for other readers too; it takes at least two.

    Returns:
      The difference with interval and test.

    Raises:
      ValueError: Labels other than 0 and 1, shapes that do not fit, NaN, or one random reader.

    Example:
      >>> labels = np.tile([0, 1, 0, 1], 20)
      >>> ratings = [np.tile([1, 2, 2, 3], 20), np.tile([1, 1, 2, 2], 20)]
      >>> round(compare_ratings(labels, np.tile([1, 2, 1, 2], 20), ratings).estimate, 4)
      0.3125
    """
    readers = binary_sample(labels, ratings, name="ratings")[1]
    model = binary_sample(labels, scores)[1]
    if readers.ndim != 2 or model.ndim != 1:
        raise ValueError(
            f"scores must have shape [N] and ratings [R, N], got shapes {model.shape} and {readers.shape}"
        )
    aucs, covariance = auc_covariance(labels, np.vstack([model, readers]), cases)
    return _against_first(aucs, covariance, confidence, random_readers)


def _calls(labels: ArrayLike, calls: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    positive = binary_labels(labels)
    values = np.asarray(calls)
    if values.ndim != 2 or values.shape[1] != len(positive) or not len(values):
        raise ValueError(f"calls must have shape [R, N] with N = {len(positive)}, got shape {values.shape}")
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise ValueError("calls must be 0 or 1, from every reader for every photo, got other values")
    return positive, values.astype(np.float64)


def _shares(right: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return right[:, mask].mean(axis=1) if mask.any() else np.full(len(right), np.nan)


def _share_covariance(
    right: NDArray, mask: NDArray[np.bool_], codes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of right calls among the masked photos, [R], and their covariance over cases, [R, R]."""
    if not mask.any():
        raise ValueError("labels must hold both classes, got one")
    own = np.unique(codes[mask], return_inverse=True)[1]
    part = right[:, mask].astype(np.float64)
    shares = part.mean(axis=1)
    sums = np.stack([np.bincount(own, row) for row in part - shares[:, None]]) / part.shape[1]
    return shares, unbiased(sums.shape[1]) * (sums @ sums.T)


def _in_log_odds(share: Contrast) -> Contrast:
    """Returns the same width about the log odds of a share; as it is where there are none."""
    slope = share.estimate * (1 - share.estimate)
    if not slope > 0 or np.isnan(share.high):
        return share
    half = (share.high - share.estimate) / slope
    centre = logit(share.estimate)
    return dataclasses.replace(share, low=float(expit(centre - half)), high=float(expit(centre + half)))


def _against_first(
    figures: NDArray[np.float64], covariance: NDArray[np.float64], confidence: float, random_readers: bool
) -> Contrast:
    """Returns the first figure, a model's, minus each other one, averaged."""
    contrast = np.hstack([np.ones((len(figures) - 1, 1)), -np.eye(len(figures) - 1)])
    return mean_over_readers(
        contrast @ figures, contrast @ covariance @ contrast.T, confidence, random_readers
    )


def _at_threshold(
    positive: NDArray[np.bool_],
    called: NDArray[np.bool_],
    answers: NDArray[np.float64],
    codes: NDArray[np.int64],
    confidence: float,
    random_readers: bool,
) -> ThresholdComparison:
    everyone = np.vstack([called.astype(np.float64), answers])
    right = everyone == positive
    sensitivity, specificity = (
        _against_first(*_share_covariance(right, mask, codes), confidence, random_readers)
        for mask in (positive, ~positive)
    )
    balanced = _against_first(*auc_covariance(positive, everyone, codes), confidence, random_readers)
    return ThresholdComparison(sensitivity, specificity, balanced)


def _matched(
    positive: NDArray[np.bool_],
    scores: NDArray[np.float64],
    answers: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the model at each reader's point minus the reader, float64[W, R], for sensitivity and specificity."""
    totals = [(weights * mask).sum(axis=1, keepdims=True) for mask in (positive, ~positive)]
    shares = [
        np.divide(
            (weights * mask) @ right.T,
            total,
            out=np.full((len(weights), len(answers)), np.nan),
            where=total > 0,
        )
        for mask, right, total in zip((positive, ~positive), (answers, 1 - answers), totals, strict=True)
    ]
    sensitivity, specificity = shares
    return (
        sensitivities_at(positive, scores, weights, specificity, middle=True) - sensitivity,
        sensitivities_at(~positive, -scores, weights, sensitivity, middle=True) - specificity,
    )


def _drawn_covariances(
    positive: NDArray[np.bool_],
    scores: NDArray[np.float64],
    answers: NDArray[np.float64],
    codes: NDArray[np.int64],
    replicates: int,
    seed: int,
) -> list[NDArray[np.float64]]:
    """Returns the covariances over resampled cases of the differences at the readers' points, [R, R] each."""
    readers = len(answers)
    rarer = min(len(np.unique(codes[mask])) for mask in (positive, ~positive))
    if rarer < 2:
        return [np.full((readers, readers), np.nan)] * 2
    blocks = [
        _matched(positive, scores, answers, weights) for weights in case_weights(codes, replicates, seed)
    ]
    draws = [np.concatenate(side) for side in zip(*blocks, strict=True)]
    # Replicates of C cases vary by (C - 1) / C too little; the side with fewer cases loses most.
    factor = rarer / (rarer - 1)
    return [factor * np.cov(side[~np.isnan(side).any(axis=1)].T).reshape(readers, readers) for side in draws]
