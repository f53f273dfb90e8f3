"""Validation photos and their cases as arguments of what is fitted: read on the host, checked, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.files.missing import case_names


def score_vector(name: str, values: ArrayLike, infinite: bool = False) -> NDArray[np.float64]:
    """Returns one number per photo.

    Args:
      name: What the argument is called in errors.
      values: float[N], N at least 1.
      infinite: Whether infinities may stand among them.

    Returns:
      float64[N].

    Raises:
      ValueError: Another shape, no photo, NaN, or an infinity that may not be.

    Example:
      >>> score_vector("scores", [1, 2])
      array([1., 2.])
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(
            f"{name} must be one number per photo, [N] with N at least 1, got shape {array.shape}"
        )
    wrong = np.isnan(array) if infinite else ~np.isfinite(array)
    if wrong.any():
        raise ValueError(f"{name} must be {'no NaN' if infinite else 'finite'}, got {_told(array, wrong)}")
    return array


def class_matrix(name: str, values: ArrayLike, probabilities: bool = False) -> NDArray[np.float64]:
    """Returns one row of classes per photo.

    Args:
      name: What the argument is called in errors.
      values: float[N, K], N at least 1 and K at least 2.
      probabilities: Whether the values must lie in [0, 1].

    Returns:
      float64[N, K].

    Raises:
      ValueError: Another shape, values that are not finite, or that are no probabilities.

    Example:
      >>> class_matrix("logits", [[1, 2]])
      array([[1., 2.]])
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or not array.shape[0] or array.shape[1] < 2:
        raise ValueError(
            f"{name} must be one row per photo, [N, K] with N at least 1 and K at least 2, "
            f"got shape {array.shape}"
        )
    wrong = ~np.isfinite(array)
    if wrong.any():
        raise ValueError(f"{name} must be finite, got {_told(array, wrong)}")
    wrong = (array < 0) | (array > 1 + 1e-6)
    if probabilities and wrong.any():
        raise ValueError(f"{name} must lie in [0, 1], got {_told(array, wrong)}")
    return array


def class_labels(name: str, values: ArrayLike, num_photos: int, num_classes: int) -> NDArray[np.int64]:
    """Returns one class per photo.

    Args:
      name: What the argument is called in errors.
      values: int[N] in [0, num_classes).
      num_photos: N.
      num_classes: K; 2 asks for 0 and 1.

    Returns:
      int64[N].

    Raises:
      ValueError: Another shape, no integers, or one outside [0, num_classes).

    Example:
      >>> class_labels("labels", [0, 1, 1], 3, 2)
      array([0, 1, 1])
    """
    array = np.asarray(values)
    if array.shape != (num_photos,) or not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise ValueError(
            f"{name} must be integers of shape ({num_photos},), one per photo, "
            f"got {array.dtype} of shape {array.shape}"
        )
    array = array.astype(np.int64)
    wrong = (array < 0) | (array >= num_classes)
    if wrong.any():
        raise ValueError(f"{name} must lie in [0, {num_classes}), got {_told(array, wrong)}")
    return array


def numbered_cases(values: ArrayLike, num_photos: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Numbers the cases of photos in the order in which they first occur.

    Args:
      values: [N], the case of each photo, of any type that can be hashed; none is missing.
      num_photos: N.

    Returns:
      The ids of the C cases, and int64[N] in [0, C).

    Raises:
      ValueError: Another shape, or a case that is None, NaN or another missing value.

    Example:
      >>> names, index = numbered_cases(["b", "a", "b"], 3)
      >>> names.tolist(), index.tolist()
      (['b', 'a'], [0, 1, 0])
    """
    ids = case_names(values, num_photos)
    place: dict[Any, int] = {}
    index = np.array([place.setdefault(one, len(place)) for one in ids.tolist()], np.int64)
    _, first = np.unique(index, return_index=True)
    return ids[first], index


def _told(array: NDArray, wrong: NDArray[np.bool_]) -> str:
    places = np.argwhere(wrong)
    shown = ", ".join(f"{array[tuple(place)]} at {'/'.join(map(str, place))}" for place in places[:5])
    return f"{len(places)} others: {shown}"
