"""Normalisation of pixels in Keras's EfficientNet files, and how it changes the stem.

A model of `keras.applications.efficientnet` reads photos of 0 to 255. It divides by 255; subtracts the `mean` that
its normalisation layer stores and divides by the square root of the stored `variance`; and, if it was made with
weights="imagenet", divides once more by the square roots of 0.229, 0.224 and 0.225. That last step is in the code
and not in the file, for this reason: the published files store those three numbers, which are ImageNet's standard
deviations, as the variance (TensorFlow issue 49930). Both steps together give (x / 255 - mean) / std, what the weights
were trained with and what `skinjax.models.pixels.normalize` computes.

So the stored variance tells which of the two it is:

* the standard deviations: the published weights, or some that started from them;
* anything else: a model that was made with weights=None and divides by the root once. Where that root is another
  one than `std`, the ratio goes into the stem's kernel, which is exact: its padding is of zeros, before and after.

Another mean than `normalize` subtracts cannot be taken into the kernel, because the padding would have to change
with it. Such a file is refused; a model that was made with weights=None and never adapted has a mean of 0.
"""

from __future__ import annotations

import numpy as np

from skinjax.models.spec import ModelSpec

_TOLERANCE = 1e-5  # of numbers that files have in single precision


def stem_factors(mean: np.ndarray, variance: np.ndarray, spec: ModelSpec) -> np.ndarray | None:
    """Returns factors of the stem's input channels that make up for another normalisation of pixels.

    Args:
      mean: The file's, 3 numbers on the scale where white is 1.
      variance: The file's, 3 numbers.
      spec: The backbone, whose `mean` and `std` the pixels are normalised by here.

    Returns:
      float64 [3], or None where the normalisations are the same.

    Raises:
      ValueError: The mean is another, or the numbers are no mean and variance of three channels.

    Example:
      >>> from skinjax.models.registry import spec
      >>> b0 = spec("efficientnet_b0")
      >>> stem_factors(np.array(b0.mean), np.array(b0.std), b0)  # as published
      >>> stem_factors(np.array(b0.mean), np.square(b0.std) / 4, b0)
      array([2., 2., 2.])
    """
    mean, variance = (np.asarray(values, np.float64).ravel() for values in (mean, variance))
    if mean.size != 3 or variance.size != 3 or not np.isfinite([mean, variance]).all() or variance.min() <= 0:
        raise ValueError("has a normalisation of pixels that is not a mean and a variance of three channels")
    if not np.allclose(mean, spec.mean, rtol=0, atol=_TOLERANCE):
        never = (
            " (made with weights=None and never adapted)" if not mean.any() and (variance == 1).all() else ""
        )
        raise ValueError(
            f"subtracts {_numbers(mean)} from pixels{never}, and {spec.name} {_numbers(np.array(spec.mean))}, "
            "which no change of the stem's kernel can make up for, since its padding is of zeros"
        )
    if np.allclose(variance, spec.std, rtol=0, atol=_TOLERANCE):
        return None
    factors = np.array(spec.std) / np.sqrt(variance)
    return None if np.allclose(factors, 1, rtol=0, atol=1e-6) else factors


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
