"""The choice of the best epoch against sorting, and the end of waiting."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from skinjax.train.stopping import Best, better, improve, should_stop

NAN = math.nan


@pytest.mark.parametrize("metric", ["loss", "accuracy", "macro_f1", "auc"])
def test_the_best_of_a_history_is_what_numpy_finds(metric):
    values = np.random.default_rng(0).integers(0, 30, 200) / 30  # with ties, of which the first counts
    values[[0, 3, 50]] = NAN
    find = np.nanargmin if metric == "loss" else np.nanargmax
    best = None
    for index, value in enumerate(values):
        best = improve(best, metric, value, epoch=index + 1, step=10 * index)
        if index:
            assert best.epoch == find(values[: index + 1]) + 1
    assert best == Best(values[best.epoch - 1], best.epoch, 10 * (best.epoch - 1))
    assert type(best.value) is float


def test_what_is_no_number_is_never_better():
    for metric in ("loss", "auc"):
        assert not better(metric, NAN, 0.5)
        assert not better(metric, NAN, NAN)
        assert better(metric, 0.5, NAN)
    first = improve(None, "loss", NAN, 1, 10)
    assert math.isnan(first.value)
    assert improve(first, "loss", NAN, 2, 20) is first
    assert improve(first, "loss", math.inf, 2, 20) == Best(math.inf, 2, 20)


def test_equal_is_not_better():
    best = Best(0.5, 1, 10)
    for metric in ("loss", "accuracy"):
        assert improve(best, metric, 0.5, 2, 20) is best


def test_stops_when_patience_is_over():
    best = Best(0.5, epoch=10, step=1000)
    assert [should_stop(best, epoch, 3) for epoch in (10, 11, 12, 13, 14)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert not should_stop(best, 10_000, None)
    assert not should_stop(best, 10_000, 0)
    assert not should_stop(None, 10_000, 3)


def test_best_survives_json():
    best = Best(0.5, 10, 1000)
    assert Best(**dataclasses.asdict(best)) == best


def test_bad_arguments_are_refused():
    for metric in ("f1", "Loss"):
        with pytest.raises(ValueError, match="one of loss, accuracy, macro_f1, auc, got"):
            better(metric, 0.1, 0.2)
        with pytest.raises(ValueError, match="one of loss, accuracy, macro_f1, auc, got"):
            improve(None, metric, 0.1, 1, 10)
    with pytest.raises(ValueError, match="patience must be at least 0, got -1"):
        should_stop(Best(0.5, 1, 10), 5, -1)
