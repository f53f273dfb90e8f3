"""Areas under the ROC curve of many weightings of the photos, and without each group of them in turn.

The area is a mean over pairs of a photo of class 1 and one of class 0. Photos are ranked once for all weightings; of
each the weights of class 0, added up between the scores of class 1, say how much every photo of class 1 wins.

Without a group the area is the sum over all pairs, less the pairs that its photos are in, so that two sorts give the
areas without each of B groups: O(N log N), where computing each anew takes O(B N).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

ROWS_AT_ONCE = 32
"""Weightings in a block that stays in the processor's cache."""


@dataclasses.dataclass(frozen=True, eq=False)
class RankedPhotos:
    """N photos by the order of their scores, for the areas of any weighting.

    Photos of class 0 between two neighbouring scores of class 1 are one run, of which only the whole weight counts.

    Attributes:
      positives: int32[P], the photos of class 1, by rising score.
      runs: Sparse float64[S + 1, N], 1 where a photo of class 0 is in a run; those of class 1 are in the last row.
      below: int32[P], how many runs score less than each photo of class 1.
      upto: int32[P], how many score as much or less.
    """

    positives: NDArray[np.int32]
    runs: csc_array
    below: NDArray[np.int32]
    upto: NDArray[np.int32]

    @classmethod
    def of(cls, positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> RankedPhotos:
        """Ranks photos.

        Args:
          positive: bool[N], the photos of class 1.
          scores: float64[N].
        """
        negatives, positives = np.flatnonzero(~positive), np.flatnonzero(positive)
        negatives = negatives[np.argsort(scores[negatives], kind="stable")]
        positives = positives[np.argsort(scores[positives], kind="stable")]
        below = np.searchsorted(scores[negatives], scores[positives], side="left")
        upto = np.searchsorted(scores[negatives], scores[positives], side="right")
        starts = np.unique(np.concatenate([below, upto, np.zeros(1, np.int64)]))
        starts = starts[starts < len(negatives)]
        run = np.full(len(positive), len(starts), np.int32)
        run[negatives] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(negatives)))
        ones, columns = _one_each(len(positive))
        runs = csc_array((ones, run, columns), shape=(len(starts) + 1, len(positive)))
        places = (np.searchsorted(starts, found).astype(np.int32) for found in (below, upto))
        return cls(positives.astype(np.int32), runs, *places)

    def areas(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the area of each weighting.

        Args:
          weights: float64[R, N] of at least 0, how often each photo stands in each replicate.

        Returns:
          float64[R]; NaN where a class has no weight.
        """
        return np.concatenate([np.empty(0), *(self.areas_of_block(block) for block in side_by_side(weights))])

    def areas_of_block(self, block: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the areas of a few weightings.

        Args:
          block: float64[N, r], as `side_by_side` gives it.
        """
        beaten = np.zeros((self.runs.shape[0], block.shape[1]))
        np.cumsum((self.runs @ block)[:-1], axis=0, out=beaten[1:])
        own = block[self.positives]
        won = beaten[self.below]
        tied = self.below != self.upto
        won[tied] = (won[tied] + beaten[self.upto[tied]]) / 2
        pairs = own.sum(axis=0) * beaten[-1]
        wins = np.einsum("ir,ir->r", own, won)
        return np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


@functools.lru_cache(maxsize=1)
def _one_each(num_photos: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Returns the values and the columns of a sparse matrix with one 1 per photo, which all classes share."""
    return np.ones(num_photos), np.arange(num_photos + 1, dtype=np.int32)


def side_by_side(weights: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yields weightings float64[R, N] as blocks float64[N, r], in which those of a photo stand together."""
    for start in range(0, len(weights), ROWS_AT_ONCE):
        yield np.ascontiguousarray(weights[start : start + ROWS_AT_ONCE].T)


def weighted_areas(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the area under the curve for many weightings of the photos.

    Args:
      positive: bool[N], the photos of class 1.
      scores: float64[N].
      weights: float64[R, N] of at least 0, how often each photo stands in each replicate.

    Returns:
      float64[R]; NaN where a class has no weight.

    Example:
      >>> weighted_areas(np.array([False, True]), np.array([0.2, 0.7]), np.array([[1.0, 2.0], [1.0, 0.0]]))
      array([ 1., nan])
    """
    return RankedPhotos.of(positive, scores).areas(weights)


def areas_without(
    positive: NDArray[np.bool_],
    scores: NDArray[np.float64],
    groups: NDArray[np.int64],
    num_groups: int,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Returns the area under the curve without each group of photos.

    Args:
      positive: bool[N], the photos of class 1.
      scores: float64[N].
      groups: int64[N] in [0, B), the group of each photo.
      num_groups: B.
      weights: float64[N] above 0, how much each photo counts; None where each counts once.

    Returns:
      float64[B], where ties count a half; NaN where no photo of a class is left.

    Example:
      >>> areas_without(np.array([False, True, False]), np.array([0.2, 0.4, 0.7]), np.array([0, 1, 2]), 3)
      array([ 0., nan,  1.])
    """
    counts = np.ones(len(scores)) if weights is None else weights
    ones, zeros = positive, ~positive
    own = (groups[ones], groups[zeros])
    left = [np.bincount(of, minlength=num_groups) for of in own]
    if not all(len(of) for of in own):
        return np.full(num_groups, np.nan)
    by_score = np.unique(scores, return_inverse=True)[1]
    won, lost = _outcomes(by_score[ones], by_score[zeros], counts[ones], counts[zeros])
    total = float(won.sum())
    gone = np.bincount(own[0], won, num_groups) + np.bincount(own[1], lost, num_groups)
    # Pairs within a group have gone twice. A group's scores stand together, above those of the groups before it.
    mixed = np.flatnonzero((left[0] > 0)[groups] & (left[1] > 0)[groups])
    if len(mixed):
        places = groups[mixed] * (int(by_score.max()) + 1) + by_score[mixed]
        inside = np.unique(places, return_inverse=True)[1]
        first, second = positive[mixed], ~positive[mixed]
        of, weight = groups[mixed], counts[mixed]
        won, _ = _outcomes(inside[first], inside[second], weight[first], weight[second])
        others = np.bincount(of[second], weight[second], num_groups)
        before = np.cumsum(others) - others
        won -= weight[first] * before[of[first]]
        gone -= np.bincount(of[first], won, num_groups)
    pairs = np.prod([counts[which].sum() - np.bincount(of, counts[which], num_groups)
                     for which, of in zip((ones, zeros), own, strict=True)], axis=0)  # fmt: skip
    some = np.all([len(of) > held for of, held in zip(own, left, strict=True)], axis=0)
    return np.divide(total - gone, pairs, out=np.full(num_groups, np.nan), where=some)


def _outcomes(
    ones: NDArray[np.int64],
    zeros: NDArray[np.int64],
    weight_of_ones: NDArray[np.float64],
    weight_of_zeros: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the weight of the pairs that each photo of class 1 wins, and that each of class 0 loses; ties half."""
    below_ones = _weight_below(zeros, weight_of_zeros, ones)
    above_zeros = weight_of_ones.sum() - _weight_below(ones, weight_of_ones, zeros)
    return weight_of_ones * below_ones, weight_of_zeros * above_zeros


def _weight_below(
    places: NDArray[np.int64], weights: NDArray[np.float64], limits: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns for each limit the weight of the places below it, and half of that at it; places are ranks from 0."""
    sums = np.concatenate([[0.0], np.cumsum(np.bincount(places, weights, int(limits.max()) + 1))])
    return (sums[limits] + sums[limits + 1]) / 2
