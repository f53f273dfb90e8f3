"""Dependence of explanations on what was learned: the model parameter randomisation test.

An explanation that stays the same when weights are replaced by random ones shows the photo, and not the network. From
the head down to the stem, one block after another is given fresh weights while those above stay random, and the maps
are compared with the trained network's: their similarity has to fall (Adebayo et al. 2018,
doi:10.48550/arXiv.1810.03292, "cascading randomization").

    rank correlation   Spearman's, over the places of a map; of a constant map 0, as it says nothing
    SSIM               of both maps scaled to [0, 1], bilinearly enlarged to 64 × 64, means over windows of 7 × 7
                       (Wang et al. 2004, doi:10.1109/TIP.2003.819861)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from numpy.typing import NDArray
from PIL import Image

from skinjax.models import registry
from skinjax.models.spec import ModelSpec
from skinjax.predict.gradcam import grad_cam

_SIDE, _WINDOW = 64, 7


@dataclasses.dataclass(frozen=True)
class Similarity:
    """Similarity of the maps of the trained network and of one with random weights from the head down to a block.

    Attributes:
      down_to: The last part that was randomised.
      rank_correlation: Mean over photos, in [-1, 1].
      ssim: Mean over photos, in [-1, 1].
    """

    down_to: str
    rank_correlation: float
    ssim: float


def randomization_check(
    key: jax.Array,
    model: nn.Module,
    variables: Any,
    spec: ModelSpec,
    images: NDArray[np.uint8],
    members: NDArray[np.bool_],
    layer: str | None = None,
    table: NDArray[np.floating] | None = None,
) -> list[Similarity]:
    """Compares the maps of a network with those of the same network under ever more random weights.

    Args:
      key: JAX random key of the weights.
      model: A network of `skinjax.models`.
      variables: As trained.
      spec: Its specification.
      images: uint8[N, H, W, 3].
      members: bool[N, K], which classes are explained.
      layer: The feature map, the last by default.
      table: float[N, D], encoded columns of a network that reads them; None for none.

    Returns:
      One entry per part, from the head to the stem.

    Raises:
      ValueError: As `skinjax.predict.gradcam.grad_cam`.
    """
    trained = np.asarray(grad_cam(model, variables, spec, images, members, layer, table))
    results = []
    for part, changed in randomized(variables, registry.init_variables(model, key), spec):
        maps = np.asarray(grad_cam(model, changed, spec, images, members, layer, table))
        pairs = list(zip(trained, maps, strict=True))
        results.append(
            Similarity(
                part,
                float(np.mean([rank_correlation(a, b) for a, b in pairs])),
                float(np.mean([ssim(enlarged(a), enlarged(b)) for a, b in pairs])),
            )
        )
    return results


def randomized(variables: Any, fresh: Any, spec: ModelSpec) -> Iterator[tuple[str, Any]]:
    """Yields each part from the head to the stem, and the variables with it and all parts above it random.

    Args:
      variables: As trained, two levels deep: collection, then top-level name.
      fresh: Of the same shapes, random.
      spec: Whose names say the order.
    """
    top = (spec.head, *reversed(spec.top))
    known = {*top, *spec.block_names, *spec.stem}
    blocks = [(name, (name,)) for name in (*top, *reversed(spec.block_names))]
    stem = [("stem", spec.stem)] if spec.stem else []
    others = sorted({name for collection in variables.values() for name in collection} - known)
    changed = {collection: dict(values) for collection, values in variables.items()}
    for part, names in (*blocks, *stem, *((name, (name,)) for name in others)):
        found = [(c, n) for c in changed for n in names if n in changed[c]]
        for collection, name in found:
            changed[collection][name] = fresh[collection][name]
        if found:
            yield part, {collection: dict(values) for collection, values in changed.items()}


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Returns Spearman's rank correlation of two maps, ties at their mean rank; 0 where one is constant.

    >>> round(rank_correlation(np.array([1.0, 2, 3]), np.array([10.0, 30, 20])), 3)
    0.5
    """
    x, y = (_ranks(np.ravel(values)) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    norm = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / norm) if norm else 0.0


def ssim(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Computes the mean structural similarity of two pictures [H, W] with values in [0, 1], over windows of 7 × 7.

    >>> picture = np.linspace(0, 1, 64).reshape(8, 8)
    >>> round(ssim(picture, picture), 12)
    1.0
    """
    windows = [
        np.lib.stride_tricks.sliding_window_view(np.asarray(values, np.float64), (_WINDOW, _WINDOW))
        for values in (a, b)
    ]
    mean_a, mean_b = (w.mean(axis=(2, 3)) for w in windows)
    count = _WINDOW**2
    variance_a, variance_b = (w.var(axis=(2, 3), ddof=1) for w in windows)
    covariance = ((windows[0] * windows[1]).mean(axis=(2, 3)) - mean_a * mean_b) * count / (count - 1)
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean())


def enlarged(values: NDArray[np.floating], size: tuple[int, int] = (_SIDE, _SIDE)) -> NDArray[np.float32]:
    """Scales a map to [0, 1] by its largest value and resizes it bilinearly to (rows, columns); zeros stay zeros.

    >>> enlarged(np.array([[0.0, 2.0]]), (1, 4)).round(2).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    largest = float(np.max(values))
    scaled = np.asarray(values, np.float32) / (largest if largest > 0 else 1)
    picture = Image.fromarray(np.ascontiguousarray(scaled)).resize(
        (size[1], size[0]), Image.Resampling.BILINEAR
    )
    return np.asarray(picture, np.float32)


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle: NDArray[np.float64] = (last - counts + last - 1) / 2
    return middle[place]
