"""Probes: linear heads on stored features of a network, their penalty chosen on inner cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from skinjax.data.split import kfold_by_case
from skinjax.decide.validation import numbered_cases
from skinjax.train.logistic import fit_all
from skinjax.train.priors import log_weights

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Penalties lambda that are tried, for features of unit variance."""

INNER_FOLDS = 3
_FIRST, _NEXT = 5, 2  # penalties at once: the largest, and then while the smallest is the best
_LEAST_VARIATION = 1e-7  # standard deviation over mean, at which float32 has no more digits


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """A linear head on features: logits = features @ kernel + bias.

    Attributes:
      kernel: float32[F, K], of features as they are stored; their standardisation is part of it.
      bias: float32[K]; the logarithms of the classes' weights are part of it.
      penalty: The chosen lambda.
      inner_losses: Penalty -> mean log loss of the inner cases that were held out; of those that were tried.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    penalty: float
    inner_losses: dict[float, float]

    def logits(self, features: ArrayLike) -> NDArray[np.float32]:
        """Returns logits.

        Args:
          features: float[..., F].

        Returns:
          float32[..., K].

        Raises:
          ValueError: Another number of features than the head's.
        """
        values = np.asarray(features, np.float32)
        if values.shape[-1:] != self.kernel.shape[:1]:
            raise ValueError(
                f"features must have the head's {len(self.kernel)} features last, got shape {list(values.shape)}"
            )
        return values @ self.kernel + self.bias


def fit_probe(
    features: ArrayLike,
    labels: ArrayLike,
    cases: ArrayLike,
    *,
    num_classes: int | None = None,
    prior_adjustment: float = 0.5,
    factors: ArrayLike | None = None,
    penalties: Sequence[float] = PENALTIES,
    inner_folds: int = INNER_FOLDS,
    seed: int = 0,
) -> Probe:
    """Fits a multinomial logistic regression to features, which are standardised first.

    The penalty is the one with the least log loss on inner folds of whole cases; the head is then fitted to all photos.
    Penalties are tried from the largest down, and no longer where the smallest so far is not the best: heads with less
    take ever longer and, where the loss has begun to rise, are worse still.

    Args:
      features: float[N, F], finite.
      labels: int[N] in [0, K).
      cases: [N], the case of each photo, none missing; no case is in both parts of an inner split.
      num_classes: K; None takes one more than the largest label.
      prior_adjustment: Share in [0, 1] of balanced accuracy in what the answers maximise, accuracy having the rest; the
        classes' weights (`skinjax.train.priors`) go into the bias of the fitted head.
      factors: float[F] above 0, multiplied to the standardised features: the penalty bears less on one with a larger
        factor. None for 1 throughout.
      penalties: Values that lambda may have, each above 0; see `skinjax.train.logistic`.
      inner_folds: Folds of the choice; where there are fewer cases than that, as many as there are.
      seed: Of the inner folds.

    Returns:
      The head.

    Raises:
      ValueError: Shapes do not fit, features are not finite or none varies, a case is missing, labels or
        `prior_adjustment` are out of range, or no penalty is above 0.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 40)
    >>> features = rng.normal(size=(80, 3)) + 2 * labels[:, None]
    >>> probe = fit_probe(features, labels, np.arange(80) // 2)
    >>> float((probe.logits(features).argmax(1) == labels).mean()) > 0.9
    True
    """
    inputs, truth, case_ids, classes = _checked(features, labels, cases, num_classes)
    names, _ = numbered_cases(cases, len(truth))
    choices = sorted((float(penalty) for penalty in penalties), reverse=True)
    if not choices or min(choices) <= 0 or not np.isfinite(choices).all():
        raise ValueError(f"penalties must be finite numbers above 0, got {list(penalties)}")
    if inner_folds < 2:
        raise ValueError(f"inner_folds must be at least 2, got {inner_folds}")
    if not 0 <= prior_adjustment <= 1:
        raise ValueError(f"prior_adjustment must lie in [0, 1], got {prior_adjustment}")
    mean = inputs.mean(axis=0, dtype=np.float64)
    deviation = inputs.std(axis=0, dtype=np.float64)
    varies = deviation > _LEAST_VARIATION * np.abs(mean)
    if not varies.any():
        raise ValueError("features must vary, got the same for all photos")
    deviation = np.where(varies, deviation, np.inf)  # a constant feature counts for nothing
    if factors is not None:
        given = np.asarray(factors, np.float64)
        if given.shape != mean.shape or not (given > 0).all() or not np.isfinite(given).all():
            raise ValueError(
                f"factors must be {len(mean)} finite numbers above 0, got shape {list(given.shape)}"
            )
        deviation = deviation / given
    scaled = ((inputs - mean) / deviation).astype(np.float32)

    folds = min(inner_folds, len(names))
    inner = kfold_by_case(truth, case_ids, folds, seed) if folds > 1 and len(choices) > 1 else None
    parts = [np.ones(len(truth), bool)]
    if inner is not None:
        parts = [inner != fold for fold in range(folds)] + parts
    weights = np.stack(parts).astype(np.float64)
    tried: dict[float, Tried] = {}
    while len(tried) < len(choices) and (not tried or _best(tried) == min(tried)):
        some = choices[len(tried) :][: _NEXT if tried else _FIRST]
        tried |= _try(scaled, truth, inner, weights, some, classes)
    penalty = _best(tried)
    kernel = tried[penalty].kernel / deviation[:, None]
    bias = tried[penalty].bias - mean @ kernel + log_weights(truth, classes, prior_adjustment)
    losses = {one: tried[one].inner_loss for one in tried}
    return Probe(kernel.astype(np.float32), bias.astype(np.float32), penalty, losses)


@dataclasses.dataclass(frozen=True, eq=False)
class Tried:
    """A head on standardised features, and what its penalty is worth.

    Attributes:
      kernel: float32[F, K].
      bias: float32[K].
      inner_loss: Log loss on inner cases; NaN where there are no inner folds.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    inner_loss: float


def _best(tried: Mapping[float, Tried]) -> float:
    """Returns the penalty with the least inner loss; the first where none is known."""
    return min(tried, key=lambda penalty: tried[penalty].inner_loss)


def _try(
    scaled: NDArray[np.float32],
    truth: NDArray[np.int64],
    inner: NDArray[np.integer] | None,
    weights: NDArray[np.float64],
    penalties: Sequence[float],
    classes: int,
) -> dict[float, Tried]:
    """Fits heads with each penalty, on each inner fold's rest and on all photos, whose weights come last."""
    parts = len(weights)
    kernels, biases = fit_all(
        scaled, truth, np.tile(weights, (len(penalties), 1)), np.repeat(penalties, parts), classes
    )
    found = {}
    for place, penalty in enumerate(penalties):
        of_penalty = slice(place * parts, (place + 1) * parts)
        heads = list(zip(kernels[of_penalty], biases[of_penalty], strict=True))
        loss = float("nan") if inner is None else _held_out_loss(scaled, truth, inner, heads[:-1])
        found[penalty] = Tried(kernel=heads[-1][0], bias=heads[-1][1], inner_loss=loss)
    return found


def _checked(
    features: ArrayLike, labels: ArrayLike, cases: ArrayLike, num_classes: int | None
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.generic], int]:
    inputs, truth, case_ids = np.asarray(features, np.float32), np.asarray(labels), np.asarray(cases)
    if inputs.ndim != 2 or not inputs.size:
        raise ValueError(f"features must be of shape [N, F], neither of them 0, got {list(inputs.shape)}")
    if not np.isfinite(inputs).all():
        raise ValueError("features must be finite")
    for name, values in (("labels", truth), ("cases", case_ids)):
        if values.shape != (len(inputs),):
            raise ValueError(
                f"{name} must have one entry per row of features, {len(inputs)}, got shape {values.shape}"
            )
    if not np.issubdtype(truth.dtype, np.integer):
        raise ValueError(f"labels must be integers, got {truth.dtype}")
    classes = int(truth.max()) + 1 if num_classes is None else num_classes
    if truth.min() < 0 or truth.max() >= classes:
        raise ValueError(
            f"labels must lie in 0 to {classes - 1}, got {int(truth.min())} to {int(truth.max())}"
        )
    return inputs, truth.astype(np.int64), case_ids, classes


def _held_out_loss(
    scaled: NDArray[np.float32],
    truth: NDArray[np.int64],
    inner: NDArray[np.integer],
    heads: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> float:
    """Returns the mean log loss of every photo under the head that has not seen its case."""
    losses = np.zeros(len(truth))
    for fold, (kernel, bias) in enumerate(heads):
        held_out = inner == fold
        logits = (scaled[held_out] @ kernel + bias).astype(np.float64)
        own = np.take_along_axis(logits, truth[held_out][:, None], axis=1)[:, 0]
        losses[held_out] = logsumexp(logits, axis=1) - own
    return float(losses.mean())
