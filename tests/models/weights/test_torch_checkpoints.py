"""Checkpoints of PyTorch's: which of their tables is taken, and what of their settings is passed over."""

import collections
import datetime
import sys
import types
from pathlib import PurePosixPath

import numpy as np
import pytest

from skinjax.models.weights.formats import open_weights
from tests.models.weights.test_stored_torch import WRITERS
from tests.support import stored_files as files


@WRITERS
def test_checkpoints_are_entered(tmp_path, write):
    tensors = {name: files.tensor(array) for name, array in files.WEIGHTS.items()}
    others = {name: files.tensor(array + 1) for name, array in files.WEIGHTS.items()}
    training = {
        "epoch": 3,
        "best_acc1": files.tensor(np.array(0.5)),
        "arch": "densenet121",
        "optimizer": {"state": {}},
    }
    for content, taken in (
        (training | {"state_dict": tensors}, "state_dict"),
        (training | {"model": tensors}, "model"),
        (training | {"model_state_dict": tensors}, "model_state_dict"),
        (training | {"net": tensors}, "net"),
        ({"state_dict": others, "state_dict_ema": tensors}, "state_dict_ema"),
        ({"model": others, "model_ema": tensors}, "model_ema"),
        ({"ema_state_dict": tensors, "state_dict": others}, "ema_state_dict"),
        ({"model": {"state_dict": tensors, "version": 1}}, "state_dict"),
    ):
        stored = open_weights(write(tmp_path / "checkpoint", content))
        files.assert_holds(stored, files.WEIGHTS)
        assert f"its entry {taken} was taken, of " in stored.note
    stored = open_weights(
        write(tmp_path / "beside", tensors | {"epoch": 1, "lr": 0.1, "name": "x", "none": None})
    )
    files.assert_holds(stored, files.WEIGHTS)


@WRITERS
def test_several_state_dicts_keep_the_names_of_their_entries(tmp_path, write):
    tensors = {name: files.tensor(array) for name, array in files.WEIGHTS.items()}
    others = {name: files.tensor(array + 1) for name, array in files.WEIGHTS.items()}
    optimizer = {
        "state": {0: {"exp_avg": files.tensor(np.ones(3, np.float32))}},
        "param_groups": [{"lr": 0.1}],
    }
    path = write(tmp_path / "two", {"encoder": tensors, "head": others, "optimizer": optimizer, "epoch": 3})
    arrays = {f"encoder.{name}": array for name, array in files.WEIGHTS.items()}
    files.assert_holds(open_weights(path), arrays | {f"head.{n}": a + 1 for n, a in files.WEIGHTS.items()})
    files.assert_holds(open_weights(f"{path}#head"), {n: a + 1 for n, a in files.WEIGHTS.items()})
    assert open_weights(f"{path}#head").part == ""
    assert open_weights(f"{path}#head.net").part == "net"


@WRITERS
def test_averages_that_are_not_whole_are_not_taken(tmp_path, write):
    tensors = {name: files.tensor(array) for name, array in files.WEIGHTS.items()}
    shadow = {name: tensors[name] for name in ("conv.weight", "head.weight")}
    content = {"model": tensors, "ema": {"decay": 0.99, "shadow": shadow}, "arch": "tf_efficientnet_b0"}
    stored = open_weights(write(tmp_path / "ema", content))
    files.assert_holds(stored, files.WEIGHTS)
    assert stored.architecture == "tf_efficientnet_b0"
    settings = {"model": {"name": "b0", "depth": 3}, "weights": tensors}
    files.assert_holds(open_weights(write(tmp_path / "settings", settings)), files.WEIGHTS)


class Settings(dict):
    """A table that is an object, as Lightning's AttributeDict is."""


Settings.__module__, Settings.__qualname__ = "easydict", "EasyDict"


@WRITERS
@pytest.mark.parametrize("protocol", [2, 4])
def test_settings_beside_the_arrays_are_passed_over(tmp_path, write, protocol, monkeypatch):
    module = types.ModuleType(Settings.__module__)
    module.EasyDict = Settings
    monkeypatch.setitem(sys.modules, module.__name__, module)
    content = {
        "state_dict": {name: files.tensor(array) for name, array in files.WEIGHTS.items()},
        "hyper_parameters": Settings(
            folder=PurePosixPath("runs/a"), when=datetime.date(2026, 1, 2), kind=int
        ),
        "callbacks": {"best": {"scores": np.arange(3.0), "last": collections.deque([1, 2], maxlen=2)}},
        "counts": collections.defaultdict(int, {"a": 1}),
        "classes": {"a", "b"},
    }
    files.assert_holds(open_weights(write(tmp_path / "x", content, protocol=protocol)), files.WEIGHTS)
