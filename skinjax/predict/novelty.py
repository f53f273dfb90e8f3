"""Distance of a photo from those that a network knows: Mahalanobis distance of its features.

The features are those that the finest network's head reads, and means and standard deviations of its first map and of
one a third of the way into it (`skinjax.predict.forward_pass.texture`), for light, colour and texture that the last map
no longer knows; each has a limit of its own. They are scaled to length 1: their length varies so much from photo to
photo, with a long tail, that it would hide the rest (Mueller and Hein 2025, doi:10.48550/arXiv.2505.18032). With the
mean m_k of each class and one covariance C of all photos around the means of their classes, the distance of features x
is

    d(x) = min over k of sqrt((x - m_k)^T C^-1 (x - m_k))

(Lee, Lee, Lee and Shin 2018, doi:10.48550/arXiv.1807.03888). There are about as many features as photos, so C is shrunk
towards a multiple of the identity (Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4).

Means and covariance are taken from photos that the network has *not* trained on, as new photos are. A photo's distance
to a space that was fitted on it is too small, so the limit comes from distances that were fitted on other cases
(`cross_fitted_distances`), as the quantile that a photo of a new case stays below with a given probability.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from skinjax.decide.conformal import case_quantile


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Class means under a shrunk covariance, whose inverse square root is kept by its R leading directions.

    Attributes:
      directions: float32[C, R], orthonormal.
      gains: float32[R], what whitening multiplies the directions' parts by, less `rest`.
      rest: What it multiplies everything by.
      means: float32[K, C], whitened means of the classes that there were photos of.
    """

    directions: NDArray[np.float32]
    gains: NDArray[np.float32]
    rest: float
    means: NDArray[np.float32]

    def whiten(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Features float[N, C], scaled to length 1, in a space where their covariance is the identity."""
        return self.scaled(unit(features))

    def scaled(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Returns as `whiten`, of features that are scaled already, or means of such."""
        x: NDArray[np.float32] = features.astype(np.float32)
        whitened: NDArray[np.float32] = np.float32(self.rest) * x
        whitened += (x @ self.directions * self.gains) @ self.directions.T
        return whitened

    def distances(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the distance of each photo to the nearest class, float64[N], from features float[N, C]."""
        x = self.whiten(features).astype(np.float64)
        means = self.means.astype(np.float64)
        squares = (x**2).sum(1)[:, None] - 2 * x @ means.T + (means**2).sum(1)
        return np.sqrt(np.maximum(squares.min(axis=1), 0))


def unit(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Features scaled to length 1, float64[N, C]; zeros stay zeros.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    x = np.asarray(features, np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)


def fit_feature_space(features: NDArray[np.floating], labels: NDArray[np.integer]) -> FeatureSpace:
    """Fits means and covariance.

    Args:
      features: float[N, C], N at least 2.
      labels: int[N], the classes; those without a photo have no mean.

    Returns:
      The space.

    Raises:
      ValueError: Shapes that do not fit, or features that are not finite.

    Example:
      >>> known = np.random.default_rng(0).normal([1, 1, 1, 0], 0.1, size=(500, 4))
      >>> space = fit_feature_space(known, np.zeros(500, int))
      >>> space.distances(np.array([[2.0, 2, 2, 0], [1.0, 1, 1, 1]])).round().tolist()
      [1.0, 16.0]
    """
    x, labels = np.asarray(features, np.float64), np.asarray(labels)
    if x.ndim != 2 or len(x) < 2 or labels.shape != (len(x),):
        raise ValueError(
            f"features must be [N, C] with a label each, got {list(x.shape)} and {list(labels.shape)}"
        )
    if not np.isfinite(x).all():
        raise ValueError(f"features must be finite, got {int((~np.isfinite(x)).sum())} others")
    x = unit(x)
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, place, x)
    means = sums / counts[:, None]
    centred = x - means[place]
    # Of the covariance's eigenvectors only those that the photos span differ from the rest.
    _, singular, vectors = np.linalg.svd(centred, full_matrices=False)
    variance = max(float((centred**2).mean()), float(np.finfo(np.float32).tiny))
    shrinkage = max(
        ledoit_wolf_shrinkage(centred, singular), 1e-6
    )  # never 0: directions not spanned have no spread
    spread = (1 - shrinkage) * singular**2 / len(x) + shrinkage * variance
    rest = 1 / np.sqrt(shrinkage * variance)
    space = FeatureSpace(
        directions=np.ascontiguousarray(vectors.T, np.float32),
        gains=(1 / np.sqrt(spread) - rest).astype(np.float32),
        rest=float(rest),
        means=np.zeros((0, x.shape[1]), np.float32),
    )
    return dataclasses.replace(space, means=space.scaled(means))


def ledoit_wolf_shrinkage(centred: NDArray[np.float64], singular: NDArray[np.float64]) -> float:
    """Returns the share of the identity in Ledoit and Wolf's covariance, in [0, 1] (their lemmas 3.2 to 3.5).

    Args:
      centred: float64[N, C], of mean 0.
      singular: Its singular values.
    """
    count, width = centred.shape
    squares = (singular**2).sum() / count  # trace of the sample covariance
    fourth = (singular**4).sum() / count**2  # squared Frobenius norm of it
    away = fourth - squares**2 / width
    error = (((centred**2).sum(axis=1) ** 2).sum() / count - fourth) / count
    return float(min(error / away, 1.0)) if away > 0 else 1.0


def cross_fitted_distances(
    features: NDArray[np.floating], labels: NDArray[np.integer], cases: NDArray, parts: int = 5, seed: int = 0
) -> NDArray[np.float64]:
    """Returns the distance of each photo in a space fitted on other cases.

    Args:
      features: float[N, C].
      labels: int[N].
      cases: [N], the case of each photo; at least two different ones.
      parts: Number of parts of whole cases that take turns; as many as there are cases, if those are fewer.
      seed: Seed of which case is in which part.

    Returns:
      float64[N].

    Raises:
      ValueError: A single case.
    """
    names, case = np.unique(np.asarray(cases), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"cases must be at least two different ones, got {len(names)}")
    count = min(parts, len(names))
    part = (np.random.default_rng(seed).permutation(len(names)) % count)[case]
    distances = np.empty(len(case))
    for number in range(count):
        out = part == number
        distances[out] = fit_feature_space(features[~out], labels[~out]).distances(features[out])
    return distances


def far_limit(distances: NDArray[np.float64], cases: NDArray, share: float) -> float:
    """Returns the distance that a photo of a new case from the same source exceeds with probability `share` at most.

    Args:
      distances: float64[N], of `cross_fitted_distances`.
      cases: [N], the case of each photo.
      share: In (0, 1); with n cases no share below 1 / (n + 1) can be kept to, and that one is taken.

    Returns:
      The limit.

    Raises:
      ValueError: A share out of range.

    Example:
      >>> far_limit(np.arange(1.0, 100.0), np.arange(99), share=0.1)
      90.0
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie in (0, 1), got {share}")
    count = len(np.unique(np.asarray(cases)))
    level = min(1 - share, count / (count + 1) - 1e-9)
    return case_quantile(distances, cases, level)
