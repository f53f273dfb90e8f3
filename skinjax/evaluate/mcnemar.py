"""Tests whether two models are right equally often: McNemar's test, by case.

Let d_k be the photos of case k that only the first model got right, less those that only the second did. If
the two were equal, each case's difference might as well have had the other sign, so the sum of the d_k is held
against all sums of ±|d_k|. For independent photos, one per case, this is McNemar's test in its exact form. Three
p-values of that one distribution:

- "exact": twice its tail, the observed sum included. Never too small, mostly too large.
- "mid_p": the observed sum counts half, which mends that without exceeding the level in practice (Fagerland,
  Lydersen and Laake 2013, doi:10.1186/1471-2288-13-91). The default.
- "asymptotic": the normal approximation, chi² = (Σ d_k)² / Σ d_k², which is Yang, Sun and Hardin's (2010,
  doi:10.1002/bimj.201000035) for clustered matched pairs and McNemar's (1947, doi:10.1007/BF02295996) for
  independent ones.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import fftconvolve
from scipy.special import ndtr
from scipy.stats import binom

from skinjax.evaluate.results import Result
from skinjax.evaluate.samples import check_photos

_DIRECT_SIZE = 4096  # distributions beyond which Fourier transforms multiply them; tails then end at 1e-16


@dataclasses.dataclass(frozen=True)
class McNemar(Result):
    """McNemar's test of two models on the same photos, by case.

    Attributes:
      difference: The first model's accuracy less the second's.
      only_first: Photos that only the first got right.
      only_second: Photos that only the second got right.
      statistic: Chi² = (Σ d_k)² / Σ d_k² over cases, with one degree of freedom; NaN where no case tells the
        two apart.
      p_value: Two-sided, in (0, 1]; 1 where no case tells the two apart.
      method: "mid_p", "exact" or "asymptotic".
      num_photos: N.
      num_cases: C.
      discordant_cases: Those with d_k other than 0, which the test rests on.
    """

    difference: float
    only_first: int
    only_second: int
    statistic: float
    p_value: float
    method: str
    num_photos: int
    num_cases: int
    discordant_cases: int


def mcnemar(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    cases: ArrayLike,
    method: Literal["mid_p", "exact", "asymptotic"] = "mid_p",
) -> McNemar:
    """Tests whether two models are right on equally many photos.

    Args:
      labels: [N], the true classes.
      first: [N], the first model's answers.
      second: [N], the second's.
      cases: [N], the case of each photo; `np.arange(N)` where every photo is a case of its own.
      method: "mid_p", "exact" or "asymptotic"; see the module.

    Returns:
      The test.

    Raises:
      ValueError: Lengths that differ, no photo, a missing case, or an unknown method.

    Example:
      >>> labels, first = np.zeros(21, int), np.repeat([0, 1], [13, 8])
      >>> second = np.repeat([0, 1, 0], [12, 2, 7])
      >>> found = mcnemar(labels, first, second, cases=np.arange(21))
      >>> found.only_first, found.only_second, round(found.p_value, 3)
      (1, 7, 0.039)
    """
    (truth, a, b), codes = check_photos([("labels", labels), ("first", first), ("second", second)], cases)
    for name, values in (("labels", truth), ("first", a), ("second", b)):
        if values.ndim != 1:
            raise ValueError(f"{name} must hold one class per photo, got shape {values.shape}")
    if method not in ("mid_p", "exact", "asymptotic"):
        raise ValueError(f"method must be mid_p, exact or asymptotic, got {method!r}")
    change = (a == truth).astype(np.int64) - (b == truth)
    by_case = np.bincount(codes, change).astype(np.int64)
    total, square = int(by_case.sum()), int((by_case**2).sum())
    statistic = total**2 / square if square else np.nan
    if not square:
        p_value = 1.0
    elif method == "asymptotic":
        p_value = float(2 * ndtr(-np.sqrt(statistic)))
    else:
        beyond, level = _tail(np.abs(by_case), abs(total))
        p_value = min(1.0, 2 * beyond + (level if method == "mid_p" else 2 * level))
    return McNemar(
        difference=total / len(codes),
        only_first=int((change > 0).sum()),
        only_second=int((change < 0).sum()),
        statistic=statistic,
        p_value=p_value,
        method=method,
        num_photos=len(codes),
        num_cases=len(by_case),
        discordant_cases=int((by_case != 0).sum()),
    )


def _tail(sizes: NDArray[np.int64], total: int) -> tuple[float, float]:
    """Returns P(sum > total) and P(sum = total) of a sum of sizes with random signs."""
    steps, counts = np.unique(sizes[sizes > 0], return_counts=True)
    if len(steps) == 1:
        ups = (total // int(steps[0]) + int(counts[0])) // 2
        return float(binom.sf(ups, counts[0], 0.5)), float(binom.pmf(ups, counts[0], 0.5))
    # Of the cases with step s, u go up: they add (2 u - n) s. So half of sum plus Σ n s counts Σ u s.
    distribution = np.ones(1)
    for step, count in zip(steps.tolist(), counts.tolist(), strict=True):
        ups_of_step = np.zeros(step * count + 1)
        ups_of_step[::step] = binom.pmf(np.arange(count + 1), count, 0.5)
        small = max(len(distribution), len(ups_of_step)) <= _DIRECT_SIZE
        distribution = (np.convolve if small else fftconvolve)(distribution, ups_of_step)
    place = (total + int((steps * counts).sum())) // 2
    distribution = np.maximum(distribution, 0)
    return float(distribution[place + 1 :].sum()), float(distribution[place])
