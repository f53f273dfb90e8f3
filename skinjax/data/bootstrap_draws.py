"""Balanced draws of training photos for networks that tell one disease from all others (thesis, chapter 3).

The other diseases together have many more photos than the target, eight times as many in the thesis, which balances
them "by bootstrap": several draws, each with as many photos of the others as there are of the target, each for a
network of its own. How the draws are made cannot be read there. Ours, in every draw:

- The smaller side (the target, mostly) is taken whole. Of the larger one as many photos are drawn.
- They are spread over the larger side's classes as evenly as their sizes allow: a class with too few photos gives all
  that it has, and the others make up for it.
- No photo is drawn twice in a draw, as it would only take another's place. Draws are independent of each other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def balanced_draws(
    positive: npt.ArrayLike, classes: npt.ArrayLike, draws: int, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Draws as many photos of the larger side as the smaller one has, evenly over its classes.

    Args:
      positive: bool[N], the photos of the target.
      classes: [N], the class of each photo, integers or text.
      draws: D, at least 1.
      rng: Of the draws.

    Returns:
      bool[D, N], the photos of each draw, as many of the target as of the others.

    Raises:
      ValueError: Shapes differ, `draws` is under 1, or one side has no photo.

    >>> positive = np.array([True, True, False, False, False, False])
    >>> drawn = balanced_draws(positive, ["t", "t", "a", "a", "b", "b"], 3, np.random.default_rng(0))
    >>> drawn[:, :2].all(), drawn[:, 2:4].sum(axis=1).tolist(), drawn[:, 4:].sum(axis=1).tolist()
    (np.True_, [1, 1, 1], [1, 1, 1])
    """
    target, names = np.asarray(positive), np.asarray(classes)
    if target.ndim != 1 or target.dtype != bool or names.shape != target.shape:
        raise ValueError(
            f"positive and classes must be bool[N] and [N], got {target.dtype}{list(target.shape)} and "
            f"{list(names.shape)}"
        )
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    ones = int(target.sum())
    zeros = len(target) - ones
    if not ones or not zeros:
        raise ValueError(
            f"positive must hold photos of both sides, got {ones} of the target and {zeros} others"
        )
    larger = ~target if zeros >= ones else target
    codes = np.unique(names[larger], return_inverse=True)[1]
    members = [np.flatnonzero(larger)[codes == code] for code in range(codes.max() + 1)]
    drawn = np.tile(~larger, (draws, 1))
    for draw in drawn:
        for photos, count in zip(
            members, even_counts([len(m) for m in members], min(ones, zeros), rng), strict=True
        ):
            draw[rng.choice(photos, count, replace=False)] = True
    return drawn


def even_counts(sizes: npt.ArrayLike, total: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Divides a total over classes as evenly as their sizes allow.

    Args:
      sizes: int[K] of at least 0, what each class has.
      total: At most their sum.
      rng: Chooses the classes that give one more where the total does not divide evenly.

    Returns:
      int64[K], each at most the class's size; two classes differ by more than 1 only where the smaller gives all.

    Raises:
      ValueError: There is less to give than the total.

    >>> even_counts([1, 10, 10], 9, np.random.default_rng(0)).tolist()
    [1, 4, 4]
    """
    available = np.asarray(sizes, np.int64)
    if not 0 <= total <= available.sum():
        raise ValueError(f"total must lie in 0 to {available.sum()}, the sum of sizes, got {total}")
    # How many classes have at least 1, 2, ... photos: their running sum is what all give at each level.
    reach = len(available) - np.cumsum(np.bincount(available))[:-1]
    level = int(np.searchsorted(np.cumsum(reach), total, side="right"))
    counts = np.minimum(available, level)
    more = np.flatnonzero(available > level)
    counts[rng.permutation(more)[: total - int(counts.sum())]] += 1
    return counts
