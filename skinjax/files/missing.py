"""Names of cases and groups as arrays in which missing ones stay missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def names_of(values: ArrayLike) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Returns values as an array, and where they are None, NaN or another missing value.

    Of a list of NaN and text numpy alone makes the text "nan", which all missing ones then share.

    Args:
      values: [...], text or numbers.

    Returns:
      The array, and bool of its shape.

    Example:
      >>> names_of(["a", None, float("nan")])[1].tolist()
      [False, True, True]
      >>> names_of([3, 1])[0].dtype.kind
      'i'
    """
    typed = hasattr(values, "dtype")
    array = np.asarray(values) if typed else np.asarray(values, object)
    if array.dtype.kind in "iubUS":
        return array, np.zeros(array.shape, bool)
    missing = np.array([_is_missing(one) for one in array.ravel().tolist()], bool).reshape(array.shape)
    return (array if typed or missing.any() else np.asarray(values)), missing


def case_names(cases: ArrayLike, num_photos: int) -> NDArray[Any]:
    """Returns the cases of photos as an array, none of them missing.

    Args:
      cases: [N], the case of each photo.
      num_photos: N.

    Raises:
      ValueError: Another shape, or a missing case.

    Example:
      >>> case_names(["b", "a", "b"], 3).tolist()
      ['b', 'a', 'b']
    """
    names, gone = names_of(cases)
    if names.shape != (num_photos,):
        raise ValueError(f"cases must name the case of each of {num_photos} photos, got shape {names.shape}")
    missing = np.flatnonzero(gone)
    if missing.size:
        shown = ", ".join(map(str, missing[:10]))
        raise ValueError(f"cases must name every photo's case, got {missing.size} missing, at photo {shown}")
    return names


def _is_missing(value: Any) -> bool:
    # pandas's NA answers no comparison with a bool; pandas itself takes a while to import.
    return value is None or type(value).__name__ == "NAType" or bool(value != value)
