"""Test-time augmentation: the mean prediction over a photo's mirror images and quarter turns.

The transforms move pixels and change none, so uint8 stays uint8 and there is no border.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Images = TypeVar("Images", np.ndarray, jax.Array)
Probabilities = TypeVar("Probabilities", np.ndarray, jax.Array)


@dataclasses.dataclass(frozen=True)
class Symmetry:
    """A symmetry of the square, as a function of photos.

    Attributes:
      quarter_turns: Counter-clockwise, 0 to 3.
      mirror: Whether left and right are exchanged before turning.
    """

    quarter_turns: int
    mirror: bool

    def __call__(self, images: Images) -> Images:
        """Transforms photos.

        Args:
          images: Any dtype[N, H, W, C], of numpy or jax; of numpy, the result is a view.

        Returns:
          The same dtype; [N, W, H, C] after one or three quarter turns, else [N, H, W, C].

        >>> Symmetry(quarter_turns=1, mirror=False)(np.array([[1, 2], [3, 4]])[None, :, :, None])[0, :, :, 0]
        array([[2, 4],
               [1, 3]])
        """
        # Not by indexing, which of a symbolic number of photos gathers.
        flip = np.flip if isinstance(images, np.ndarray) else jnp.flip
        if self.mirror:
            images = flip(images, 2)
        if self.quarter_turns in (2, 3):
            images = flip(images, (1, 2))
        if self.quarter_turns in (1, 3):
            images = flip(images.swapaxes(1, 2), 1)
        return images


FLIPS = (Symmetry(0, False), Symmetry(0, True), Symmetry(2, True), Symmetry(2, False))
"""As it is, left and right exchanged, up and down exchanged, both."""

DIHEDRAL = tuple(Symmetry(turns, mirror) for mirror in (False, True) for turns in range(4))
"""All eight symmetries of the square; for photos that are none, `predict` must take both shapes."""


def predict_augmented(
    predict: Callable[[Images], Probabilities],
    images: Images,
    transforms: Sequence[Callable[[Images], Images]] = DIHEDRAL,
) -> Probabilities:
    """Returns the mean of the probabilities that a network gives a photo under each transform.

    A photo and its transformed copy get the same prediction, to rounding, where the transforms are a group, as
    `FLIPS` and `DIHEDRAL` are.

    Args:
      predict: uint8[N, H, W, 3] -> float32[N, K] probabilities, such as the `predict_fn` of a
        `skinjax.predict.load.Run`; it runs once per transform.
      images: uint8[N, H, W, 3], of numpy or jax.
      transforms: Functions of photos; `FLIPS` (4), `DIHEDRAL` (8), or any others.

    Returns:
      float32[N, K], an array of the kind that `predict` gives; rows sum to 1 where those of `predict` do.

    Raises:
      ValueError: `images` are no uint8 photos, or there is no transform.

    References:
      Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural Networks, 2012,
      section 4.1.

    >>> left = lambda images: images[:, :, :1].mean((1, 2)) / 255  # of the photo's left column
    >>> photo = np.zeros((1, 2, 2, 3), np.uint8)
    >>> photo[:, :, 0] = 255
    >>> left(photo).tolist(), predict_augmented(left, photo, FLIPS).tolist()
    ([[1.0, 1.0, 1.0]], [[0.5, 0.5, 0.5]])
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ValueError(f"images must be uint8[N, H, W, 3], got {images.dtype}{list(images.shape)}")
    if not transforms:
        raise ValueError("transforms must name at least one transform, got none")
    total = predict(transforms[0](images))
    for transform in transforms[1:]:
        total = total + predict(transform(images))
    return total / len(transforms)
