"""Does acting on the model do more good than harm? Net benefit over thresholds, by case.

Whoever treats from a probability t on holds one treatment in vain to be worth t / (1 - t) of one that was
needed. Net benefit = TP / N - FP / N · t / (1 - t) counts both in needed treatments per photo (Vickers and Elkin
2006, doi:10.1177/0272989X06295361). Beside the model stand treating all and treating none, whose net benefit
is 0. The threshold is the patient's or doctor's choice: it is not to be fitted.

**Intervals.** A low threshold is crossed by every cancer of a small sample, and resampling such a sample
never sees one missed. So net benefit and the gains over treating all, (TN · t / (1 - t) - FN) / N, and none
are taken for differences of two shares of the photos, each with its limits by case
(`skinjax.evaluate.proportions`, which have a width at 0), and the limits of a difference are made of theirs
(the method of variance estimates recovery; Zou and Donner 2008, doi:10.1002/sim.3095). Shares of the same
photos exclude each other, so their correlation over the cases enters (Zou 2007,
doi:10.1037/1082-989X.12.4.399); with a given prevalence the two are shares of different photos, which are
related where cases hold both classes. The gain over the better of both is the smaller of the two gains, and
so are its limits: the lower one is above 0 where both gains' are.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.evaluate.bootstrap import Band
from skinjax.evaluate.proportions import proportion_by_case, shares_of_sums
from skinjax.evaluate.results import Result
from skinjax.evaluate.samples import check_confidence, check_photos

_Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class DecisionCurve(Result):
    """Net benefit at each of T thresholds.

    Attributes:
      thresholds: float64[T] in (0, 1).
      model: Net benefit of treating the photos whose probability reaches the threshold.
      treat_all: Net benefit of treating all.
      gain: Gain of the model over the better of treating all and treating none, at each threshold; where its
        lower limit is above 0 the model beats both.
      prevalence: Prevalence of class 1, as counted or as given.
    """

    thresholds: NDArray[np.float64]
    model: Band
    treat_all: Band
    gain: Band
    prevalence: float


def net_benefit(
    labels: ArrayLike, probs: ArrayLike, thresholds: ArrayLike, prevalence: float | None = None
) -> NDArray[np.float64]:
    """Returns the model's net benefit at each threshold; a probability of at least the threshold is treated.

    Args:
      labels: 0 or 1, [N].
      probs: float[N], calibrated probabilities of class 1.
      thresholds: float[T], rising, in (0, 1).
      prevalence: Prevalence of class 1 where the model is used, in (0, 1), if the photos were not gathered as they
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
    counts = _step_counts(levels, *values)
    # Those at or above the t-th threshold are all steps from t + 1 on.
    false, true = (np.cumsum(steps[:0:-1])[::-1] for steps in counts)
    num_zeros, num_ones = (int(steps.sum()) for steps in counts)
    odds = levels / (1 - levels)
    if prevalence is None:
        return (true - false * odds) / (num_zeros + num_ones)
    with np.errstate(divide="ignore", invalid="ignore"):
        return true * np.divide(prevalence, num_ones) - false * np.divide(1 - prevalence, num_zeros) * odds


def decision_curve(
    labels: ArrayLike,
    probs: ArrayLike,
    cases: ArrayLike,
    thresholds: ArrayLike | None = None,
    prevalence: float | None = None,
    confidence: float = 0.95,
) -> DecisionCurve:
    """Returns net benefit of the model and of treating all, with intervals by case at each threshold.

    Args:
      labels: 0 or 1, [N].
      probs: float[N], calibrated probabilities of class 1.
      cases: [N], the case of each photo.
      thresholds: float[T], rising, in (0, 1); None takes 0.01, 0.02, ..., 0.99.
      prevalence: As in `net_benefit`.
      confidence: Confidence of each threshold's interval, in (0, 1).

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
    (truth, given), codes = check_photos([("labels", labels), ("probs", probs)], cases)
    check_confidence(confidence)
    net_benefit(truth, given, levels, prevalence)  # which refuses what does not fit
    positive = truth.astype(bool)
    reached = np.searchsorted(levels, np.asarray(given, np.float64), side="right")
    odds = levels / (1 - levels)

    weight_of_ones = 1.0 if prevalence is None else prevalence
    weight_of_zeros = odds if prevalence is None else (1 - prevalence) * odds

    def sides(treated: bool) -> tuple[_Shares, _Shares, _Floats]:
        """Returns the shares of class 1 and of class 0 that are treated, or not, weighted, and their correlation."""
        order = reached if treated else len(levels) - reached
        among = [np.ones(len(positive), bool)] * 2 if prevalence is None else [positive, ~positive]
        ones, zeros = (
            _Sums.of(hits, order, treated, own, other, codes, len(levels))
            for hits, own, other in zip((positive, ~positive), among, among[::-1], strict=True)
        )
        related = ones.correlation(zeros, _products(positive, order, treated, codes, len(levels)))
        shares = (
            ones.shares(confidence).times(weight_of_ones),
            zeros.shares(confidence).times(weight_of_zeros),
        )
        return *shares, related

    found, in_vain, related = sides(True)
    model = found.less(in_vain, related)
    missed, spared, related = sides(False)
    over_all = spared.less(missed, related)
    if prevalence is None:
        base = proportion_by_case(positive, codes, confidence)
        treat_all = _Shares(*(limit * (1 + odds) - odds for limit in (base.estimate, base.low, base.high)))
    else:
        fixed = prevalence - (1 - prevalence) * odds
        treat_all = _Shares(fixed, fixed, fixed)
    gain = _Shares(*(np.minimum(*pair) for pair in zip(model, over_all, strict=True)))
    bands = [Band(one.estimate, one.low, one.high, confidence) for one in (model, treat_all, gain)]
    share_of_ones = float(truth.mean()) if prevalence is None else prevalence
    return DecisionCurve(levels, bands[0], bands[1], bands[2], share_of_ones)


def interventions_avoided(curve: DecisionCurve) -> NDArray[np.float64]:
    """Treatments in vain that the model spares among 100 photos, at no fewer needed ones than treating all.

    (model - treat_all) · (1 - t) / t · 100, as in Vickers and Elkin (2006).

    Args:
      curve: The curve that `decision_curve` returned.

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


class _Shares(NamedTuple):
    """Figures at each threshold with their limits, float64[T] each."""

    estimate: _Floats
    low: _Floats
    high: _Floats

    def times(self, factor: _Floats | float) -> _Shares:
        """Returns the shares times a factor above 0."""
        return _Shares(self.estimate * factor, self.low * factor, self.high * factor)

    def less(self, other: _Shares, correlation: _Floats) -> _Shares:
        """Returns the difference, its limits those of Zou."""
        difference = self.estimate - other.estimate
        down = _length(self.estimate - self.low, other.high - other.estimate, correlation)
        up = _length(self.high - self.estimate, other.estimate - other.low, correlation)
        return _Shares(difference, difference - down, difference + up)


def _length(first: _Floats, second: _Floats, correlation: _Floats) -> _Floats:
    return np.sqrt(np.maximum(first**2 + second**2 - 2 * correlation * first * second, 0))


@dataclasses.dataclass(frozen=True)
class _Sums:
    """Sums over cases of x hits among n photos, at each threshold, of which `proportions` makes shares.

    Attributes:
      hits: float64[T], Σ x.
      squares: float64[T], Σ x².
      products: float64[T], Σ x n.
      crossed: float64[T], Σ x m of the m photos that the other share is of.
      sizes: float64[C], n of each case; 0 in cases without such photos.
    """

    hits: _Floats
    squares: _Floats
    products: _Floats
    crossed: _Floats
    sizes: _Floats

    @classmethod
    def of(
        cls,
        hits: NDArray[np.bool_],
        order: NDArray[np.int64],
        treated: bool,
        among: NDArray[np.bool_],
        other: NDArray[np.bool_],
        codes: NDArray[np.int64],
        count: int,
    ) -> _Sums:
        """Adds up the hits, among some photos, that are treated, or not, at each threshold.

        Args:
          hits: bool[N].
          order: int64[N], at how many of the thresholds a photo is treated, or not.
          treated: Whether those that reach a threshold count, or those that do not.
          among: bool[N].
          other: bool[N], the photos that the other share is of.
          codes: int64[N], the case of each photo.
          count: T.
        """
        sizes, other_sizes = (
            np.bincount(codes, side, int(codes.max()) + 1).astype(np.float64) for side in (among, other)
        )
        chosen = hits & among
        case, step = _by_case(codes[chosen], order[chosen])
        number = _place_in_case(case)
        return cls(
            hits=_at_thresholds(step, np.ones(len(case)), treated, count),
            # A case's m-th hit adds m² - (m - 1)² to the sum of squares.
            squares=_at_thresholds(step, 2.0 * number + 1, treated, count),
            products=_at_thresholds(step, sizes[case], treated, count),
            crossed=_at_thresholds(step, other_sizes[case], treated, count),
            sizes=sizes,
        )

    def shares(self, confidence: float) -> _Shares:
        """Returns the shares with their limits by case."""
        sizes = self.sizes[self.sizes > 0]
        if not len(sizes):
            return _Shares(*np.full((3, len(self.hits)), np.nan))
        found = shares_of_sums(self.hits, self.squares, self.products, sizes, confidence)
        return _Shares(*found[:3])

    def correlation(self, other: _Sums, together: _Floats) -> _Floats:
        """Returns the correlation of two shares over cases; 0 where one does not vary.

        Args:
          other: The other share's.
          together: float64[T], Σ x y of both.
        """
        one, two = (part.hits / max(part.sizes.sum(), 1) for part in (self, other))
        both = float((self.sizes * other.sizes).sum())
        shared = together - two * self.crossed - one * other.crossed + one * two * both
        squares = [float((part.sizes**2).sum()) for part in (self, other)]
        spreads = [
            np.maximum(part.squares - 2 * share * part.products + share**2 * square, 0)
            for part, share, square in zip((self, other), (one, two), squares, strict=True)
        ]
        scale = np.sqrt(spreads[0] * spreads[1])
        least = 1e-9 * np.sqrt(squares[0] * squares[1])
        return np.clip(np.divide(shared, scale, out=np.zeros(len(scale)), where=scale > least), -1, 1)


def _products(
    positive: NDArray[np.bool_],
    order: NDArray[np.int64],
    treated: bool,
    codes: NDArray[np.int64],
    count: int,
) -> _Floats:
    """Returns Σ x y over cases, float64[T], of x photos of class 1 and y of class 0 that count at each threshold."""
    case, step, own = _by_case(codes, order, positive.astype(np.int64))
    place = _place_in_case(case)
    before = np.cumsum(own) - own
    ones = before - before[place == 0][np.cumsum(place == 0) - 1]
    # A photo adds as many products as photos of the other class of its case counted before it.
    return _at_thresholds(step, np.where(own == 1, place - ones, ones).astype(np.float64), treated, count)


def _by_case(
    case: NDArray[np.int64], step: NDArray[np.int64], *more: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Sorts photos by case, and within it by falling step."""
    order = np.lexsort((-step, case))
    return [values[order] for values in (case, step, *more)]


def _place_in_case(case: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers the photos of each case from 0, the cases standing together."""
    begins = np.flatnonzero(np.r_[True, case[1:] != case[:-1]]) if len(case) else np.zeros(0, np.int64)
    return np.arange(len(case)) - np.repeat(begins, np.diff(np.r_[begins, len(case)]))


def _at_thresholds(step: NDArray[np.int64], weights: NDArray[Any], treated: bool, count: int) -> _Floats:
    """Adds up, at each of T thresholds, the weights of the photos whose step is beyond it."""
    found = np.bincount(step, weights, count + 1)[:0:-1].cumsum()[::-1]
    return found if treated else found[::-1]


def _step_counts(levels: NDArray[np.float64], labels: NDArray, probs: NDArray) -> NDArray[np.int64]:
    """Counts the thresholds that photos reach, by class, int64[2, T + 1]."""
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
    return np.bincount(labels.astype(np.int64) * steps + reached, minlength=2 * steps).reshape(2, steps)
