"""Test of a mean difference over folds or random splits, whose training parts overlap.

The differences d_j of J splits are not independent, since any two training parts share photos, so that S2 / J is
too small a variance of their mean. The corrected resampled t-test (Nadeau and Bengio 2003,
doi:10.1023/A:1024068626366) takes the correlation for test / (train + test):

    variance of the mean = (1 / J + test / train) S2,   t with J - 1 degrees of freedom.

Of k folds, repeated r times, J = k r and test / train = 1 / (k - 1) (Bouckaert and Frank 2004,
doi:10.1007/978-3-540-24775-3_3). It counts that other photos would have been trained on, which
`skinjax.evaluate.training_runs` does not, and needs the figures of the splits alone; but five differences say little,
and a single split's figure is a noisy one where classes are rare.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from skinjax.evaluate.results import Comparison
from skinjax.evaluate.samples import check_confidence

_NOTHING = 1e-20  # variance under which nothing varies


@dataclasses.dataclass(frozen=True)
class FoldsComparison(Comparison):
    """A mean difference over folds or other splits, with the corrected resampled t-test.

    Attributes:
      difference: Mean of the splits' differences.
      low: Lower limit.
      high: Upper limit.
      p_value: Two-sided.
      confidence: Confidence level of the interval, in (0, 1).
      std_error: Corrected standard error of the mean.
      degrees_of_freedom: Number of splits - 1.
      splits: Number of splits, J.
    """

    std_error: float = math.nan
    degrees_of_freedom: float = math.nan
    splits: int = 0


def nadeau_bengio(
    differences: ArrayLike, train: float, test: float, confidence: float = 0.95
) -> FoldsComparison:
    """Tests a mean difference over folds or random splits by the corrected resampled t-test; see the module.

    Args:
      differences: [J], the first method's figure less the second's on each split's test part; at least two.
      train: Size of a training part, in cases or photos; over 0.
      test: Size of a test part, likewise.
      confidence: Confidence level of the interval, in (0, 1).

    Returns:
      The mean difference, its interval and its two-sided p-value. Where all differences are equal there is no
      interval, and p is 1 where they are 0, else NaN.

    Raises:
      ValueError: Fewer than two differences, one that is not finite, sizes that are not over 0, or a confidence
        outside (0, 1).

    Example:
      >>> print(nadeau_bengio([0.02, 0.05, 0.01, 0.04, 0.03], train=80, test=20))
      difference +0.030 (95% CI +0.001 to +0.059), p = 0.047
    """
    check_confidence(confidence)
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"differences must be at least two numbers, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"differences must be finite, got {values[~np.isfinite(values)][:5].tolist()}")
    for name, size in (("train", train), ("test", test)):
        if not 0 < size < math.inf:
            raise ValueError(f"{name} must be over 0, got {size}")
    mean, splits = float(values.mean()), len(values)
    variance = float((1 / splits + test / train) * values.var(ddof=1))
    low, high, p_value = np.nan, np.nan, 1.0 if not values.any() else np.nan
    if variance > _NOTHING:
        low, high, p_value = student(mean, variance, splits - 1, confidence)
    return FoldsComparison(
        mean,
        low,
        high,
        p_value,
        confidence,
        std_error=math.sqrt(variance),
        degrees_of_freedom=splits - 1,
        splits=splits,
    )


def student(
    estimate: float, variance: float, degrees: float, confidence: float
) -> tuple[float, float, float]:
    """Returns Student's interval of a figure, and the two-sided p-value that agrees with it.

    Args:
      estimate: The figure.
      variance: Its variance, over 0.
      degrees: Degrees of freedom.
      confidence: Confidence level of the interval, in (0, 1).

    Returns:
      Lower limit, upper limit and p-value of a figure of 0.

    Example:
      >>> [round(value, 3) for value in student(2.0, 1.0, degrees=4, confidence=0.9)]
      [-0.132, 4.132, 0.116]
    """
    error = math.sqrt(variance)
    reach = float(stdtrit(degrees, (1 + confidence) / 2)) * error
    return estimate - reach, estimate + reach, 2 * float(stdtr(degrees, -abs(estimate) / error))
