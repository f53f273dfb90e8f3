"""Limits of a figure that does not vary over resampled cases, as when every photo is called right.

Resampling photos that are all right gives photos that are all right, and knows nothing of the errors that the
sample happens to lack. How common can they be? Of class k no more than the upper limit q_k of a share of
which its cases show none: Wilson's limit at the effective sample size (`skinjax.evaluate.proportions`), some
3 / (cases of the class). An error that the sample lacks is made of what it has: a photo of class k with the
answer that a photo of another class got. So a share q_k of the photos of class k is given the answers of the
photos of class j, for every other j, and the metric is computed anew. The largest change downward and upward
over j are the class's, and the changes of the K classes, whose cases are not the same, are added as
independent ones are: limit = estimate ± sqrt(Σ_k change_k²) (the method of variance estimates recovery; Zou
and Donner 2008, doi:10.1002/sim.3095). With one class's photos wrong at most, this is the proportion's own
limit.

That needs nothing of a metric but that its first array holds classes, so any function has limits so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skinjax.evaluate.metrics import WeightedMetric
from skinjax.evaluate.proportions import proportion_by_case

_NOTHING = 1e-9  # of the figure's size, within which its limits are one
_EVALUATIONS = (
    400  # of the metric, at most: of many classes fewer donors of answers are tried, the most common ones
)
_COPIES = 400  # photos that a sample is repeated to where a metric takes no weights


def unvaried_limits(
    metric: Callable[..., float],
    arrays: Sequence[NDArray],
    codes: NDArray[np.int64],
    confidence: float,
) -> tuple[float, float]:
    """Returns the limits of a metric of which all replicates are alike; see the module.

    Args:
      metric: Called as `metric(*arrays)`.
      arrays: Each with a first axis of N photos; the first holds classes, integers or texts.
      codes: int64[N], the case of each photo.
      confidence: Confidence level of the interval, in (0, 1).

    Returns:
      Lower and upper limit; NaN where the first array holds no classes, one only, or the metric does not depend on it.

    Example:
      >>> from skinjax.evaluate.metrics import balanced_accuracy
      >>> labels = np.arange(40) % 2
      >>> low, high = unvaried_limits(balanced_accuracy, (labels, labels), np.arange(40), 0.95)
      >>> round(low, 3), high
      (0.886, 1.0)
    """
    members = _members(arrays)
    if len(members) < 2:
        return math.nan, math.nan
    estimate = float(metric(*arrays))
    fall, rise = _changes(metric, arrays, codes, confidence, members, range(len(members)))
    return (
        (estimate - fall, estimate + rise)
        if fall + rise > _NOTHING * max(1.0, abs(estimate))
        else (math.nan,) * 2
    )


def with_unvaried_classes(
    metric: Callable[..., float],
    arrays: Sequence[NDArray],
    codes: NDArray[np.int64],
    confidence: float,
    limits: tuple[float, float],
) -> tuple[float, float]:
    """Widens limits by resampling where all photos of a class have one and the same answer.

    Such a class, all right as a rule, does not vary in any replicate, so that it adds nothing to the limits
    of a figure that averages over classes. Its own change is added as that of independent cases is; see the
    module.

    Args:
      metric: As in `unvaried_limits`.
      arrays: Likewise; nothing is changed where the second is no answer per photo.
      codes: Likewise.
      confidence: Likewise.
      limits: Lower and upper limit by resampling.

    Returns:
      The limits, at least as wide.

    Example:
      >>> from skinjax.evaluate.metrics import balanced_accuracy
      >>> labels, answers = np.arange(40) % 2, np.r_[0, 0, np.arange(2, 40) % 2]
      >>> low, high = with_unvaried_classes(balanced_accuracy, (labels, answers), np.arange(40), 0.95, (0.93, 1.0))
      >>> round(low, 3), high
      (0.886, 1.0)
    """
    members = _members(arrays)
    if len(members) < 2 or arrays[1].ndim != 1:
        return limits
    alike = [k for k, own in enumerate(members) if (arrays[1][own] == arrays[1][own[0]]).all()]
    if not alike:
        return limits
    estimate = float(metric(*arrays))
    fall, rise = _changes(metric, arrays, codes, confidence, members, alike)
    return estimate - math.hypot(estimate - limits[0], fall), estimate + math.hypot(
        limits[1] - estimate, rise
    )


def _members(arrays: Sequence[NDArray]) -> list[NDArray[np.int64]]:
    """Returns the photos of each class; none where the first array holds no classes, or there are no answers."""
    labels, *answers = arrays
    if labels.ndim != 1 or labels.dtype.kind not in "biuUSO" or not answers:
        return []
    of_photo = np.unique(labels, return_inverse=True)[1]
    return [np.flatnonzero(of_photo == k) for k in range(int(of_photo.max()) + 1)]


def _changes(
    metric: Callable[..., float],
    arrays: Sequence[NDArray],
    codes: NDArray[np.int64],
    confidence: float,
    members: Sequence[NDArray[np.int64]],
    classes: Sequence[int],
) -> tuple[float, float]:
    """Returns how far errors of some classes that the sample lacks may lower and raise the metric, at least 0 each."""
    estimate = float(metric(*arrays))
    most = max(1, _EVALUATIONS // len(classes))
    common = sorted(range(len(members)), key=lambda j: -len(members[j]))
    found: dict[str, list[float]] = {"fall": [], "rise": []}
    worst: dict[str, dict[int, int]] = {"fall": {}, "rise": {}}
    for k in classes:
        share = proportion_by_case(np.zeros(len(members[k])), codes[members[k]], confidence).high
        share = 1.0 if math.isnan(share) else share  # a class of one case
        donors = [j for j in common if j != k][:most]
        changes = [_with_answers_of(metric, arrays, members[k], members[j], share) - estimate for j in donors]
        for name, sign in (("fall", -1), ("rise", 1)):
            signed = [0.0 if math.isnan(change) else sign * change for change in changes]
            best = int(np.argmax(signed))
            if signed[best] > 0:
                found[name].append(signed[best])
                worst[name][k] = donors[best]
    return (
        min(math.hypot(*found["fall"]), _exchanged(metric, arrays, members, worst["fall"], found["fall"])),
        min(math.hypot(*found["rise"]), _exchanged(metric, arrays, members, worst["rise"], found["rise"])),
    )


def _exchanged(
    metric: Callable[..., float],
    arrays: Sequence[NDArray],
    members: Sequence[NDArray[np.int64]],
    donors: Mapping[int, int],
    changes: Sequence[float],
) -> float:
    """Returns the change where all photos of classes have others' answers, the most that a metric's range allows."""
    if not changes:
        return 0.0
    labels, *answers = arrays
    source = np.arange(len(labels))
    for k, j in donors.items():
        source[members[k]] = np.resize(members[j], len(members[k]))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = float(metric(labels, *(array[source] for array in answers)))
    away = abs(found - float(metric(*arrays)))
    return math.inf if math.isnan(away) else max(away, *changes)


def _with_answers_of(
    metric: Callable[..., float],
    arrays: Sequence[NDArray],
    own: NDArray[np.int64],
    others: NDArray[np.int64],
    share: float,
) -> float:
    """Returns the metric where a share of the photos `own` has the answers that the photos `others` got."""
    labels, *answers = arrays
    partner = np.resize(others, len(own))
    if isinstance(metric, WeightedMetric):
        weights = np.ones(len(labels) + len(own))
        weights[own], weights[len(labels) :] = 1 - share, share
        mixed = [np.concatenate([array, array[partner]]) for array in answers]
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(
                metric.compute(np.concatenate([labels, labels[own]]), *mixed, weights=weights[None])[0]
            )
    times = max(1, math.ceil(_COPIES / len(own)))
    wrong = round(share * times * len(own))
    photos = np.tile(np.arange(len(labels)), times)
    source = photos.copy()
    places = np.flatnonzero(np.isin(photos, own))
    source[places[:wrong]] = np.resize(others, wrong)
    return float(metric(labels[photos], *(array[source] for array in answers)))
