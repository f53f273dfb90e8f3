"""All pairs of several models on the same photos, corrected for their number by what the resampled cases say.

Holm's correction multiplies the smallest of P p-values by P. A p-value over R replicates is never under 2 /
(R + 1), so that with 2,000 replicates and 11 models, 55 pairs, nothing could ever be distinguished. The
single-step maxT (Westfall and Young 1993) has no such floor: each pair's difference is divided by its
standard error over the replicates, each replicate gives the largest such ratio of the differences about their
estimates, and a pair's corrected p-value is the share of replicates, the sample counted among them, that
reach its own ratio. It keeps the level for all pairs together and, since it knows how the pairs move
together, is seldom worse than Holm's. Ratios are shrunk as Student's are to normal ones where cases are few
(`skinjax.evaluate.bootstrap`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from skinjax.evaluate.bootstrap import BootstrapComparison, Sampled, compare_sampled
from skinjax.evaluate.percentiles import Spread
from skinjax.evaluate.resampling import Metric, check_replicates
from skinjax.evaluate.samples import check_photos


def all_pairs_by_case(
    metric: Metric,
    labels: ArrayLike,
    answers: Mapping[str, ArrayLike],
    cases: ArrayLike,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[tuple[str, str], tuple[BootstrapComparison, float]]:
    """Compares every two of several models on the same photos over resampled cases.

    Args:
      metric: As in `skinjax.evaluate.bootstrap.paired_by_case`.
      labels: [N, ...], the truth.
      answers: Each model's answers [N, ...] by its name; at least two.
      cases: [N], the case of each photo, integers or strings.
      replicates: R.
      confidence: Confidence level of the intervals, each by itself, in (0, 1).
      seed: Seed of the resampling.

    Returns:
      For each pair of names, in order, `paired_by_case` of the two and the p-value corrected for all pairs:
      at least the pair's own, NaN where that is.

    Raises:
      ValueError: Fewer than two models, or as `paired_by_case`.

    Example:
      >>> from skinjax.evaluate.metrics import accuracy
      >>> rng = np.random.default_rng(0)
      >>> labels = np.zeros(200, int)
      >>> answers = {str(share): (rng.random(200) < share).astype(int) for share in (0.1, 0.1, 0.4)}
      >>> found = all_pairs_by_case(accuracy, labels, answers, np.arange(200), replicates=199)
      >>> comparison, corrected = found["0.1", "0.4"]
      >>> comparison.p_value <= corrected < 0.05
      True
    """
    if len(answers) < 2:
        raise ValueError(f"answers must be of at least two models, got {len(answers)}")
    names = list(answers)
    arrays = [("labels", labels), *((f"answers[{name!r}]", answers[name]) for name in names)]
    (truth, *given), codes = check_photos(arrays, cases)
    check_replicates(replicates, confidence)
    models = [Sampled.of(metric, truth, one, codes, replicates, seed) for one in given]
    pairs = list(itertools.combinations(range(len(names)), 2))
    compared = [compare_sampled(models[a], models[b], confidence) for a, b in pairs]
    corrected = np.array([one.p_value for one in compared])
    if len(pairs) > 1 and len(models[0].draws):
        corrected = _corrected(
            np.array([models[a].draws - models[b].draws for a, b in pairs]),
            np.array([one.difference for one in compared]),
            corrected,
            [Spread.of(codes, models[a].left_out - models[b].left_out) for a, b in pairs],
        )
    return {
        (names[a], names[b]): (one, float(p_value))
        for (a, b), one, p_value in zip(pairs, compared, corrected, strict=True)
    }


def _corrected(
    draws: NDArray[np.float64],
    estimates: NDArray[np.float64],
    own: NDArray[np.float64],
    spreads: list[Spread],
) -> NDArray[np.float64]:
    """Returns the p-values float64[P] corrected by maxT, from the differences' replicates float64[P, R]."""
    kept = draws[:, ~np.isnan(draws).any(axis=0)]
    std_error = kept.std(axis=1, ddof=1) if kept.shape[1] > 1 else np.zeros(len(own))
    tested = (std_error > 1e-12) & ~np.isnan(own)
    if not tested.any():
        return own
    moves = np.abs(kept[tested] - estimates[tested, None]) / std_error[tested, None]
    largest = np.sort(moves.max(axis=0))
    found = own.copy()
    for place in np.flatnonzero(tested):
        spread = spreads[place]
        ratio = abs(estimates[place]) / std_error[place]
        normal = -float(ndtri(max(spread.tail(-ratio), 1e-300)))
        beyond = len(largest) - np.searchsorted(largest, normal * (1 - 1e-12))
        found[place] = max(own[place], (1 + beyond) / (len(largest) + 1))
    return found
