"""Choice of the epoch that was best on the validation photos, and early stopping."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

Metric = Literal["loss", "accuracy", "macro_f1", "auc"]


@dataclasses.dataclass(frozen=True)
class Best:
    """The best epoch so far.

    Attributes:
      value: Of the metric that chooses; not a number only while no evaluation has given one.
      epoch: Whose it is, as the caller counts them.
      step: Updates done by then, the number of its checkpoint.
    """

    value: float
    epoch: int
    step: int


def better(metric: Metric, new: float, old: float) -> bool:
    """Says whether a value is better than an older one: lower for the loss, higher for the others.

    Equal is not better, so the earliest of equal epochs stays. What is not a number is never better, and any number
    is better than it.

    Args:
      metric: What the values are of.
      new: The later value.
      old: The earlier one.

    Raises:
      ValueError: `metric` is unknown.

    >>> better("loss", 0.4, 0.5), better("auc", 0.4, 0.5), better("auc", 0.5, 0.5)
    (True, False, False)
    """
    if metric not in get_args(Metric):
        raise ValueError(f"metric must be one of {', '.join(get_args(Metric))}, got {metric!r}")
    if math.isnan(new) or math.isnan(old):
        return not math.isnan(new)
    return new < old if metric == "loss" else new > old


def improve(best: Best | None, metric: Metric, value: float, epoch: int, step: int) -> Best:
    """Returns the best epoch, now that one more is evaluated.

    Args:
      best: Of the epochs before; None where this is the first, which is taken whatever its value.
      metric: What is compared, see `better`.
      value: Of this epoch.
      epoch: Its number.
      step: Updates done by its end.

    Returns:
      `best` itself, unless this epoch is better.

    Raises:
      ValueError: `metric` is unknown.

    >>> best = improve(None, "accuracy", 0.6, epoch=1, step=100)
    >>> improve(best, "accuracy", 0.5, epoch=2, step=200)
    Best(value=0.6, epoch=1, step=100)
    """
    if better(metric, value, math.nan if best is None else best.value) or best is None:
        return Best(float(value), epoch, step)
    return best


def should_stop(best: Best | None, epoch: int, patience: int | None) -> bool:
    """Says whether `patience` epochs or more have gone by since the best one.

    Args:
      best: The best so far; None before the first evaluation, when there is no stopping.
      epoch: The last one evaluated.
      patience: Epochs to wait for a better one; None or 0 never stops.

    Raises:
      ValueError: `patience` is negative.

    References:
      Prechelt, Early Stopping, But When?, 1998.

    >>> should_stop(Best(0.6, epoch=4, step=400), epoch=6, patience=3)
    False
    >>> should_stop(Best(0.6, epoch=4, step=400), epoch=7, patience=3)
    True
    """
    if patience is None or patience == 0 or best is None:
        return False
    if patience < 0:
        raise ValueError(f"patience must be at least 0, got {patience}")
    return epoch - best.epoch >= patience
