"""Does acting on the model do more good than harm? Net benefit over thresholds, by case.

Whoever treats from a probability t on holds one treatment in vain to be worth t / (1 - t) of one that was
needed. Net benefit = TP / N - FP / N · t / (1 - t) counts both in needed treatments a photo (Vickers and Elkin
2006, doi:10.1177/0272989X06295361). Beside the model stand treating all and treating none, whose net benefit
is 0. The threshold is the patient's or doctor's choice: it is not to be fitted.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from skinjax.evaluate.bootstrap import Band, curve_by_case
from skinjax.evaluate.metrics import WeightedMetric, photo_table


@dataclasses.dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit at each of T thresholds.

    Attributes:
        thresholds: float64[T] in (0, 1).
        model: of treating the photos whose probability reaches the threshold.
        treat_all: of treating all.
        gain: of the model over the better of treating all and treating none, at each threshold; where its
            lower limit is above 0 the model beats both.
        prevalence: of class 1, as counted or as given.
    """

    thresholds: NDArray[np.float64]
    model: Band
    treat_all: Band
    gain: Band
    prevalence: float


def net_benefit(
    labels: ArrayLike, probs: ArrayLike, thresholds: ArrayLike, prevalence: float | None = None
) -> NDArray[np.float64]:
    """The model's net benefit at each threshold; a probability of at least the threshold is treated.

    Args:
        labels: 0 or 1, [N].
        probs: float[N], calibrated probabilities of class 1.
        thresholds: float[T], rising, in (0, 1).
        prevalence: of class 1 where the model is to be used, in (0, 1), if the photos were not gathered as they
            come (as many of each class, for instance); None takes the photos' own.

    Returns:
        float64[T]; NaN with a given prevalence where a class has no photo.

    Raises:
        ValueError: Labels other than 0 and 1, probabilities outside [0, 1], lengths that differ, thresholds
            that do not rise or lie outside (0, 1), or such a prevalence.

    Example:
        >>> net_benefit([1, 1, 0, 0, 0], [0.9, 0.1, 0.6, 0.3, 0.2], thresholds=[0.2, 0.5]).round(3).tolist()
        [0.05, 0.0]
    """
    values = np.asarray(labels), np.asarray(probs)
    levels = _thresholds(thresholds, prevalence)
    curve = _curve("model", levels, prevalence)
    return curve.compute(*values, weights=np.ones((1, len(values[0]))))[0]


def decision_curve(
    labels: ArrayLike,
    probs: ArrayLike,
    cases: ArrayLike,
    thresholds: ArrayLike | None = None,
    prevalence: float | None = None,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> DecisionCurve:
    """Net benefit of the model and of treating all, with percentile intervals by case at each threshold.

    Args:
        labels: 0 or 1, [N].
        probs: float[N], calibrated probabilities of class 1.
        cases: [N], the case of each photo.
        thresholds: float[T], rising, in (0, 1); None takes 0.01, 0.02, ..., 0.99.
        prevalence: as in `net_benefit`.
        replicates: of the bootstrap, as in `skinjax.evaluate.bootstrap.by_case`.
        confidence: of each threshold's interval, in (0, 1).
        seed: of the bootstrap.

    Returns:
        The curves.

    Raises:
        ValueError: As `net_benefit` and `by_case`.

    Example:
        >>> curve = decision_curve([1, 0, 1, 0], [0.8, 0.2, 0.6, 0.4], cases=[1, 2, 3, 4], thresholds=[0.5])
        >>> curve.model.estimate.tolist(), curve.treat_all.estimate.tolist(), curve.gain.estimate.tolist()
        ([0.5], [0.0], [0.5])
    """
    levels = _thresholds(np.arange(1, 100) / 100 if thresholds is None else thresholds, prevalence)
    values = np.asarray(labels), np.asarray(probs)

    def band(which: str) -> Band:
        curve = _curve(which, levels, prevalence)
        return curve_by_case(curve, values, cases, replicates, confidence, seed, "percentile")

    share = float(values[0].mean()) if prevalence is None else prevalence
    return DecisionCurve(levels, band("model"), band("treat_all"), band("gain"), share)


def interventions_avoided(curve: DecisionCurve) -> NDArray[np.float64]:
    """Treatments in vain that the model spares among 100 photos, at no fewer needed ones than treating all.

    (model - treat_all) · (1 - t) / t · 100, as in Vickers and Elkin (2006).

    Args:
        curve: of `decision_curve`.

    Returns:
        float64[T].

    Example:
        >>> curve = decision_curve([1, 0, 1, 0], [0.8, 0.2, 0.6, 0.4], cases=[1, 2, 3, 4], thresholds=[0.5])
        >>> interventions_avoided(curve).tolist()
        [50.0]
    """
    odds = curve.thresholds / (1 - curve.thresholds)
    return (curve.model.estimate - curve.treat_all.estimate) / odds * 100


def _thresholds(thresholds: ArrayLike, prevalence: float | None) -> NDArray[np.float64]:
    levels = np.asarray(thresholds, np.float64)
    fits = levels.ndim == 1 and levels.size and ((levels > 0) & (levels < 1)).all()
    if not fits or (np.diff(levels) <= 0).any():
        raise ValueError(f"thresholds must rise within (0, 1), got {thresholds!r}")
    if prevalence is not None and not 0 < prevalence < 1:
        raise ValueError(f"prevalence must lie between 0 and 1, got {prevalence}")
    return levels


def _curve(which: str, levels: NDArray[np.float64], prevalence: float | None) -> WeightedMetric:
    odds = levels / (1 - levels)

    @WeightedMetric.of_sums(functools.partial(_step_sums, levels))
    def curve(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        zeros, ones = np.split(totals, 2, axis=1)
        num_zeros, num_ones = zeros.sum(axis=1, keepdims=True), ones.sum(axis=1, keepdims=True)
        # Those at or above the t-th threshold are all steps from t + 1 on.
        false, true = (np.cumsum(steps[:, :0:-1], axis=1)[:, ::-1] for steps in (zeros, ones))
        if prevalence is None:
            photos = num_zeros + num_ones
            weight_one, weight_zero, all_ones = 1 / photos, 1 / photos, num_ones / photos
        else:
            weight_one, weight_zero, all_ones = (
                prevalence / num_ones,
                (1 - prevalence) / num_zeros,
                prevalence,
            )
        model = true * weight_one - false * weight_zero * odds
        treat_all = all_ones - (1 - all_ones) * odds
        if which == "treat_all":
            return np.broadcast_to(treat_all, model.shape)
        return model if which == "model" else model - np.maximum(treat_all, 0)

    return curve


def _step_sums(levels: NDArray[np.float64], labels: NDArray, probs: NDArray) -> csr_array:
    """How many thresholds each photo reaches, zeros first, [N, 2 (T + 1)]."""
    if labels.ndim != 1 or labels.shape != probs.shape or not labels.size:
        raise ValueError(
            f"labels and probs must be [N] of at least one photo, got shapes {labels.shape} and {probs.shape}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 or 1, got other values")
    if not ((probs >= 0) & (probs <= 1)).all():
        raise ValueError("probs must lie in [0, 1], got values outside or NaN")
    steps = len(levels) + 1
    reached = np.searchsorted(levels, probs.astype(np.float64), side="right")
    return photo_table([(labels.astype(np.int64) * steps + reached, 1.0)], len(labels), 2 * steps)
