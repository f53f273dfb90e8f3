"""Checks of a sample of photos: 0/1 labels, scores that are numbers, and the case of each photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.files.missing import case_names

_BLOCK_VALUES = 4_000_000  # weights held at once: 32 MB however many replicates there are ...
_FEWEST_ROWS = (
    8  # ... and photos, up to half a million; with fewer rows at once, gathering them takes longest
)


def binary_labels(labels: ArrayLike) -> NDArray[np.bool_]:
    """Labels of two classes as a mask of class 1.

    Args:
      labels: [N] of 0 and 1 (integers, booleans or floats).

    Returns:
      bool[N], true where the label is 1.

    Raises:
      ValueError: Another shape, or a value that is neither 0 nor 1.

    Example:
      >>> binary_labels([0, 1, 1]).tolist()
      [False, True, True]
    """
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(f"labels must have shape [N], got shape {values.shape}")
    if values.size and (values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all()):
        wrong = [value for value in np.unique(values).tolist() if value not in (0, 1)]
        raise ValueError(f"labels must be 0 or 1, got {wrong[:5]}")
    return values.astype(bool)


def binary_sample(
    labels: ArrayLike, scores: ArrayLike, name: str = "scores"
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels of two classes and the scores of the same photos.

    Args:
      labels: [N] of 0 and 1.
      scores: [..., N], finite or infinite; photos are the last axis.
      name: What an error calls the scores.

    Returns:
      bool[N], true for class 1, and float64[..., N].

    Raises:
      ValueError: Labels other than 0 and 1, lengths that differ, or a score that is NaN.

    Example:
      >>> positive, scores = binary_sample([0, 1], [0.25, 0.75])
      >>> scores[positive].tolist()
      [0.75]
    """
    positive = binary_labels(labels)
    values = np.asarray(scores, np.float64)
    if values.ndim == 0 or values.shape[-1] != len(positive):
        raise ValueError(
            f"labels and {name} must have one length N, got shapes {positive.shape} and {values.shape}"
        )
    if np.isnan(values).any():
        raise ValueError(f"{name} must hold numbers, got {int(np.isnan(values).sum())} NaN")
    return positive, values


def case_codes(cases: ArrayLike | None, num_photos: int) -> NDArray[np.int64]:
    """Numbers the cases of photos from 0.

    Args:
      cases: [N], the case of each photo, integers or strings; None where each photo is a case of its own.
      num_photos: N.

    Returns:
      int64[N] in [0, number of cases).

    Raises:
      ValueError: Another length than N, a missing case, or integers and strings mixed.

    Example:
      >>> case_codes(["b", "a", "b"], num_photos=3).tolist()
      [1, 0, 1]
    """
    if cases is None:
        return np.arange(num_photos)
    names = case_names(cases, num_photos)
    try:
        return np.unique(names, return_inverse=True)[1].astype(np.int64)
    except TypeError as error:
        raise ValueError("cases must be all integers or all strings, got a mixture") from error


def check_photos(
    arrays: Sequence[tuple[str, ArrayLike]], cases: ArrayLike
) -> tuple[list[NDArray], NDArray[np.int64]]:
    """Returns the arrays as numpy, and the cases as integers from 0, all of one length.

    Args:
      arrays: Pairs of a name for messages and values with a first axis of N photos.
      cases: [N], the case of each photo, integers or strings.

    Returns:
      The arrays, and int64[N] in [0, number of cases).

    Raises:
      ValueError: No photo, no array, lengths that differ, or a case that is missing or of a mixed type.

    Example:
      >>> check_photos([("labels", [0, 1, 1])], ["b", "a", "b"])[1].tolist()
      [1, 0, 1]
    """
    shape = np.shape(cases)
    if len(shape) != 1 or not shape[0]:
        raise ValueError(f"cases must name the case of each of at least one photo, got shape {shape}")
    if not arrays:
        raise ValueError("arrays must hold the metric's arguments, got none")
    values = [np.asarray(array) for _, array in arrays]
    for (name, _), value in zip(arrays, values, strict=True):
        if value.ndim == 0 or len(value) != shape[0]:
            raise ValueError(f"{name} must have one row per photo, {shape[0]}, got shape {value.shape}")
    return values, case_codes(cases, shape[0])


def effective_cases(codes: NDArray[np.int64]) -> float:
    """Returns how many cases of one size the cases are worth: (Σ n)² / Σ n² of their n photos (Kish 1965).

    Args:
      codes: int64[N] of at least 0, the case of each photo.

    Returns:
      At least 1, at most the number of cases; 0 of no photo.

    Example:
      >>> effective_cases(np.array([0, 1, 2])), effective_cases(np.array([0, 0, 0, 1]))
      (3.0, 1.6)
    """
    sizes = np.bincount(codes).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(codes) else 0.0


def variance_degrees(contributions: NDArray[np.float64]) -> float:
    """Returns the degrees of freedom of a variance that is estimated by V = Σ u² over cases.

    They are 2 V² / Var(V), with Var(V) from the spread of the squares (Pan and Wall 2002,
    doi:10.1002/sim.1142): of normal u as many as there are cases, and few where few cases contribute most of
    it.

    Args:
      contributions: float64[I], u of each case.

    Returns:
      At least 1; infinite where all squares are equal.

    Example:
      >>> variance_degrees(np.array([1.0, 0.0, 0.0, -1.0])), variance_degrees(np.array([1.0, -1.0]))
      (8.0, inf)
    """
    squares = contributions**2
    spread = float(squares.var() * len(squares))
    return max(2 * float(squares.sum()) ** 2 / spread, 1.0) if spread > 0 else np.inf


def blocks(rows: int, num_photos: int) -> Iterator[int]:
    """Parts rows of one value per photo into blocks of at most 32 MB, or 8 rows if that is more; yields their sizes.

    Example:
      >>> list(blocks(20, num_photos=2_000_000))
      [8, 8, 4]
    """
    size = max(_FEWEST_ROWS, _BLOCK_VALUES // num_photos)
    for start in range(0, rows, size):
        yield min(size, rows - start)


def case_draws(codes: NDArray[np.int64], replicates: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Draws as many cases as there are, with replacement, over and over (the cluster bootstrap).

    Args:
      codes: int64[N], the case of each photo, from `case_codes`.
      replicates: R.
      seed: Seed of the draws.

    Yields:
      Blocks float64[r, cases] of R rows altogether: how often each case stands in each replicate.

    Example:
      >>> next(case_draws(np.array([0, 0, 1]), replicates=2, seed=0)).sum(axis=1).tolist()
      [2.0, 2.0]
    """
    num_cases = int(codes.max()) + 1
    generator = np.random.default_rng(seed)
    for size in blocks(replicates, len(codes)):
        draws = generator.integers(num_cases, size=(size, num_cases))
        cells = draws + num_cases * np.arange(size)[:, None]
        counts = np.bincount(cells.ravel(), minlength=size * num_cases)
        yield counts.reshape(size, num_cases).astype(np.float64)


def case_weights(codes: NDArray[np.int64], replicates: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Returns `case_draws` by photo.

    Args:
      codes: int64[N], the case of each photo, from `case_codes`.
      replicates: R.
      seed: Seed of the draws.

    Yields:
      Blocks float64[r, N] of R rows altogether: how often each photo stands in each replicate.

    Example:
      >>> weights = next(case_weights(np.array([0, 0, 1]), replicates=2, seed=0))
      >>> weights.shape, bool((weights[:, 0] == weights[:, 1]).all())
      ((2, 3), True)
    """
    for times in case_draws(codes, replicates, seed):
        yield np.take(times, codes, axis=1)


def check_confidence(confidence: float) -> None:
    """Refuses a nominal coverage outside (0, 1).

    Args:
      confidence: The coverage that an interval is to have.

    Raises:
      ValueError: It is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
