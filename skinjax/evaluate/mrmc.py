"""Multi-reader multi-case analysis of variance: conclusions for other readers and other cases.

Obuchowski and Rockette (1995, doi:10.1080/03610919508813243) model a reader's figure of merit (AUC,
sensitivity, ...) as modality + reader + interaction + error, where the errors of readers who saw the same
cases are correlated. Their covariances are estimated beforehand, by `delong.auc_covariance` or by resampling
cases, and averaged into four: the error variance; Cov1, one reader in two modalities; Cov2, two readers in
one modality; Cov3, two readers in two modalities. F tests use the denominator degrees of freedom of Hillis
(2007, doi:10.1002/sim.2532).

Readers count as random by default. With `random_readers=False` the conclusions hold for these readers only,
and the reference distribution is the normal or chi-square one.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, fdtrc, ndtr, ndtri, stdtr, stdtrit

from skinjax.evaluate.results import Interval, Result, p_clause
from skinjax.evaluate.samples import check_confidence


@dataclasses.dataclass(frozen=True)
class Contrast(Interval):
    """A figure that is compared with a number, mostly a difference with 0.

    Attributes:
      estimate: The figure.
      low: Lower limit.
      high: Upper limit.
      confidence: Confidence level of the interval, in (0, 1).
      std_error: Standard error of the figure.
      degrees_of_freedom: Degrees of freedom of the t distribution behind limits and p; infinite for the normal one.
      statistic: (estimate - number) / std_error.
      p_value: Two-sided.
    """

    std_error: float = math.nan
    degrees_of_freedom: float = math.nan
    statistic: float = math.nan
    p_value: float = math.nan

    def __str__(self) -> str:
        """Returns the figure, its interval and its p-value in words."""
        return super().__str__() + p_clause(self.p_value)


@dataclasses.dataclass(frozen=True, eq=False)
class ObuchowskiRockette(Result):
    """A comparison of modalities read by the same readers on the same cases.

    Attributes:
      statistic: F, or chi-square over its degrees of freedom where readers are fixed.
      numerator_df: Modalities - 1.
      denominator_df: Hillis's; infinite where readers are fixed.
      p_value: Two-sided p-value of the hypothesis that all modalities are alike.
      means: Each modality's mean over readers, from its own data alone; tested against 0.
      differences: First minus second of every pair of modalities, by their indices.
      error_variance: Mean variance of a figure over cases.
      cov1: Mean covariance of one reader in two modalities.
      cov2: Mean covariance of two readers in one modality.
      cov3: Mean covariance of two readers in two modalities.
      reader_variance: Variance component of readers, an ANOVA estimate that may be negative.
      interaction_variance: Variance component of readers by modalities, likewise.
    """

    statistic: float
    numerator_df: int
    denominator_df: float
    p_value: float
    means: tuple[Contrast, ...]
    differences: dict[tuple[int, int], Contrast]
    error_variance: float
    cov1: float
    cov2: float
    cov3: float
    reader_variance: float
    interaction_variance: float


def obuchowski_rockette(
    estimates: ArrayLike,
    covariance: ArrayLike,
    confidence: float = 0.95,
    random_readers: bool = True,
) -> ObuchowskiRockette:
    """Compares modalities over readers (all readers read all cases in all modalities).

    Args:
      estimates: [M, R], the figure of merit of R readers in M modalities.
      covariance: [M, R, M, R], or [M * R, M * R] in the same order, their covariance over cases.
      confidence: Confidence level of every interval, in (0, 1).
      random_readers: Whether the conclusions are for other readers too.

    Returns:
      The test, the means and the differences.

    Raises:
      ValueError: Fewer than two modalities or readers, shapes that do not fit, NaN, or a covariance that
        is not symmetric.

    Example:
      >>> estimates = [[0.80, 0.84, 0.82], [0.86, 0.88, 0.90]]
      >>> found = obuchowski_rockette(estimates, 1e-4 * (np.eye(6) + np.ones((6, 6))))
      >>> found.differences[0, 1].estimate.__round__(2), found.p_value < 0.05
      (-0.06, True)
    """
    check_confidence(confidence)
    values = np.asarray(estimates, np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(
            f"estimates must have shape [M, R] with at least 2 modalities and 2 readers, got {values.shape}"
        )
    modalities, readers = values.shape
    table = _covariance(covariance, values).reshape(modalities, readers, modalities, readers)
    error, cov1, cov2, cov3 = _averages(table)
    center = values.mean()
    of_modality, of_reader = values.mean(axis=1), values.mean(axis=0)
    ms_modality = readers * float(((of_modality - center) ** 2).sum()) / (modalities - 1)
    ms_reader = modalities * float(((of_reader - center) ** 2).sum()) / (readers - 1)
    rest = values - of_modality[:, None] - of_reader + center
    degrees = (modalities - 1) * (readers - 1)
    ms_interaction = float((rest**2).sum()) / degrees
    if random_readers:
        denominator = ms_interaction + readers * max(cov2 - cov3, 0.0)
        denominator_df = _hillis(denominator, ms_interaction, degrees)
        statistic = _ratio(ms_modality, denominator)
        p_value = _f_tail(statistic, modalities - 1, denominator_df)
    else:
        denominator = error - cov1 + (readers - 1) * max(cov2 - cov3, 0.0)
        denominator_df = np.inf
        statistic = _ratio(ms_modality, denominator)
        p_value = _f_tail(statistic, modalities - 1, np.inf)
    std_error = float(np.sqrt(2 * denominator / readers))
    return ObuchowskiRockette(
        statistic=statistic,
        numerator_df=modalities - 1,
        denominator_df=denominator_df,
        p_value=p_value,
        means=tuple(
            mean_over_readers(values[i], table[i, :, i], confidence, random_readers)
            for i in range(modalities)
        ),
        differences={
            (i, j): _contrast(
                float(of_modality[i] - of_modality[j]), 0, std_error, denominator_df, confidence
            )
            for i in range(modalities)
            for j in range(i + 1, modalities)
        },
        error_variance=error,
        cov1=cov1,
        cov2=cov2,
        cov3=cov3,
        reader_variance=(ms_reader - ms_interaction) / modalities - cov1 + cov3,
        interaction_variance=ms_interaction - error + cov1 + cov2 - cov3,
    )


def mean_over_readers(
    estimates: ArrayLike,
    covariance: ArrayLike,
    confidence: float = 0.95,
    random_readers: bool = True,
    null: float = 0.0,
) -> Contrast:
    """Returns the mean over readers of one figure, tested against a number (Hillis 2007, section 5.3).

    With the differences of a model and each reader as the figure, this compares the model with the readers:
    the model's figure moves with the cases, which the covariance of the differences contains, and not with
    the readers.

    Args:
      estimates: [R], each reader's figure of merit, or its difference from a model's.
      covariance: [R, R], their covariance over cases.
      confidence: Confidence level of the interval, in (0, 1).
      random_readers: Whether the conclusion is for other readers too; it takes at least two.
      null: What the mean is compared with.

    Returns:
      The mean, its interval and test. NaN where the covariance is.

    Raises:
      ValueError: No reader, one random reader, or shapes that do not fit.

    Example:
      >>> found = mean_over_readers([0.02, 0.05, 0.08], 1e-4 * np.eye(3))
      >>> round(found.estimate, 3), round(found.degrees_of_freedom, 1)
      (0.05, 2.0)
    """
    check_confidence(confidence)
    values = np.asarray(estimates, np.float64)
    if values.ndim != 1 or len(values) < (2 if random_readers else 1):
        least = "at least 2 random readers" if random_readers else "at least 1 reader"
        raise ValueError(f"estimates must have shape [R] with {least}, got shape {values.shape}")
    readers = len(values)
    table = _covariance(covariance, values, allow_nan=True)
    error = float(np.trace(table)) / readers
    cov2 = float(table.sum() - np.trace(table)) / (readers * (readers - 1)) if readers > 1 else 0.0
    if np.isnan(error) or np.isnan(cov2):
        variance, degrees = np.nan, np.nan
    elif random_readers:
        spread = float(values.var(ddof=1))
        variance = spread + readers * max(cov2, 0.0)
        degrees = _hillis(variance, spread, readers - 1)
    else:
        variance, degrees = error + (readers - 1) * max(cov2, 0.0), np.inf
    std_error = float(np.sqrt(variance / readers))
    return _contrast(float(values.mean()), null, std_error, degrees, confidence)


def _averages(table: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Returns the error variance, Cov1, Cov2 and Cov3 of a covariance [M, R, M, R]."""
    modalities, readers = table.shape[:2]
    same_modality = np.eye(modalities, dtype=bool)[:, None, :, None]
    same_reader = np.eye(readers, dtype=bool)[None, :, None, :]
    masks = (
        same_modality & same_reader,
        ~same_modality & same_reader,
        same_modality & ~same_reader,
        ~same_modality & ~same_reader,
    )
    error, cov1, cov2, cov3 = (float(table[np.broadcast_to(mask, table.shape)].mean()) for mask in masks)
    return error, cov1, cov2, cov3


def _covariance(
    covariance: ArrayLike, estimates: NDArray[np.float64], allow_nan: bool = False
) -> NDArray[np.float64]:
    size = estimates.size
    table = np.asarray(covariance, np.float64)
    if table.size != size**2 or table.shape not in ((size, size), estimates.shape * 2):
        raise ValueError(f"covariance must have shape {estimates.shape * 2}, got shape {table.shape}")
    table = table.reshape(size, size)
    if np.isnan(estimates).any() or (np.isnan(table).any() and not allow_nan):
        raise ValueError("estimates and covariance must hold numbers, got NaN")
    if not np.allclose(table, table.T, rtol=1e-6, atol=1e-12, equal_nan=True):
        raise ValueError("covariance must be symmetric, got one that is not")
    return table


def _hillis(denominator: float, mean_square: float, degrees: int) -> float:
    """Hillis's degrees of freedom; infinite where the readers do not differ, so that only cases matter."""
    return degrees * (denominator / mean_square) ** 2 if mean_square > 1e-30 else np.inf


def _ratio(mean_square: float, denominator: float) -> float:
    if denominator > 1e-30:
        return mean_square / denominator
    return 0.0 if mean_square <= 1e-30 else np.nan


def _f_tail(statistic: float, numerator: int, denominator: float) -> float:
    if np.isinf(denominator):
        return float(chdtrc(numerator, numerator * statistic))
    return float(fdtrc(numerator, denominator, statistic))


def _contrast(estimate: float, null: float, std_error: float, degrees: float, confidence: float) -> Contrast:
    if np.isnan(std_error):
        return Contrast(estimate, np.nan, np.nan, confidence, degrees_of_freedom=degrees)
    level = (1 + confidence) / 2
    half = float(ndtri(level) if np.isinf(degrees) else stdtrit(degrees, level)) * std_error
    if std_error**2 > 1e-30:
        statistic = (estimate - null) / std_error
        tail = ndtr(-abs(statistic)) if np.isinf(degrees) else stdtr(degrees, -abs(statistic))
        p_value = float(2 * tail)
    else:
        alike = abs(estimate - null) < 1e-12
        half, statistic, p_value = (np.nan, 0.0, 1.0) if alike else (np.nan, np.nan, np.nan)
    return Contrast(
        estimate, estimate - half, estimate + half, confidence, std_error, degrees, statistic, p_value
    )
