"""Pretrained weights in a network: every array used or reported, and only the head new."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from skinjax.models import registry
from skinjax.models.pretrained import load_pretrained, load_with_report
from skinjax.models.weights.torch_names import torch_names
from tests.support import stored_files as files

NANO = "efficientnet_nano"


def variables_of(name, num_classes, seed=0):
    return registry.init_variables(registry.create(name, num_classes), jax.random.key(seed))


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A plain tree, and managers with steps and items, each of nano with four classes."""
    root = tmp_path_factory.mktemp("checkpoints")
    old, new = variables_of(NANO, 4, seed=1), variables_of(NANO, 4, seed=2)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(root / "plain", old)
    state = {**new, "optimizer": (jnp.ones(3), {"trace": jnp.ones(2)}), "step": jnp.array(12)}
    with ocp.CheckpointManager(root / "managed") as manager:
        for step, tree in ((9, old), (12, state)):
            items = {"state": ocp.args.StandardSave(tree), "note": ocp.args.JsonSave({"epoch": step})}
            manager.save(step, args=ocp.args.Composite(**items))
        manager.wait_until_finished()
    return root, old, new


@pytest.mark.slow
def test_a_saved_tree_comes_back(saved):
    root, old, _ = saved
    variables, report = load_with_report(NANO, root / "plain", 4)
    assert_same(variables, old)
    assert jax.tree.structure(variables) == jax.tree.structure(old)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(variables))
    assert len(report.used) == len(jax.tree.leaves(old))
    assert not report.left_out
    assert not report.new


def test_the_latest_step_is_taken_and_the_rest_of_the_state_is_reported(saved):
    root, old, new = saved
    variables, report = load_with_report(NANO, root / "managed", 4)
    assert_same(variables, new)
    assert set(report.left_out) == {"optimizer/0", "optimizer/1/trace", "step"}
    assert report.path == root / "managed" / "12" / "state"
    assert_same(load_pretrained(NANO, root / "managed" / "9", 4), old)
    assert_same(load_pretrained(NANO, str(root / "managed" / "12" / "state"), 4), new)


def test_another_number_of_classes_gets_a_new_head_and_nothing_else(saved):
    root, old, _ = saved
    variables, report = load_with_report(NANO, root / "plain", 7, key=jax.random.key(5))
    fresh = variables_of(NANO, 7, seed=5)
    assert_same(variables["params"].pop("head"), fresh["params"]["head"])
    kept = {name: layer for name, layer in old["params"].items() if name != "head"}
    assert_same(variables, {"params": kept, "batch_stats": old["batch_stats"]})
    assert report.new == ("params/head/bias", "params/head/kernel")
    assert set(report.left_out) == set(report.new)
    assert "2 left out, 2 variables new (params/head/bias, params/head/kernel)" in str(report)


def test_another_architecture_is_told_in_one_sentence(saved):
    root, _, _ = saved
    with pytest.raises(ValueError, match=r"plain does not hold efficientnet_b0: .* missing; ") as error:
        load_pretrained("efficientnet_b0", root / "plain", 4)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500 + len(str(root))


# Safetensors.


@pytest.fixture
def timm_arrays():
    """Nano's variables in timm's names and PyTorch's layout, with its counters."""
    variables = variables_of(NANO, 4)
    arrays = {}
    for name, variable in torch_names(registry.spec(NANO)).items():
        array = np.asarray(functools.reduce(lambda tree, key: tree[key], variable.split("/"), variables))
        arrays[name] = np.einsum("hwio->oihw", array) if array.ndim == 4 else array.T
    arrays["bn1.num_batches_tracked"] = np.array(7)
    return variables, arrays


COUNTER = {"bn1.num_batches_tracked": "I64"}


def test_safetensors_names_and_layouts(tmp_path, timm_arrays):
    variables, arrays = timm_arrays
    path = files.write_safetensors(tmp_path / "nano.safetensors", arrays, COUNTER)
    loaded, report = load_with_report(NANO, path, 4)
    assert_same(loaded, variables)
    assert set(report.left_out) == {"bn1.num_batches_tracked"}
    assert len(report.used) == len(arrays) - 1
    _, report = load_with_report(NANO, path, 5)
    assert set(report.left_out) == {"bn1.num_batches_tracked", "classifier.weight", "classifier.bias"}


def test_safetensors_of_half_precision(tmp_path, timm_arrays):
    variables, arrays = timm_arrays
    name = "conv_stem.weight"
    arrays[name] = (np.ascontiguousarray(arrays[name]).view(np.uint32) >> 16).astype(np.uint16)
    arrays["bn1.weight"] = arrays["bn1.weight"].astype(np.float16)
    dtypes = COUNTER | {name: "BF16", "bn1.weight": "F16"}
    loaded = load_pretrained(NANO, files.write_safetensors(tmp_path / "half.safetensors", arrays, dtypes), 4)
    stem = loaded["params"]["stem"]["kernel"]
    assert stem.dtype == jnp.float32
    np.testing.assert_allclose(stem, variables["params"]["stem"]["kernel"], rtol=2**-7)
    np.testing.assert_array_equal(loaded["params"]["stem_norm"]["scale"], 1)


@pytest.mark.slow
def test_safetensors_are_matched_strictly(tmp_path, timm_arrays):
    _, arrays = timm_arrays
    path = tmp_path / "other.safetensors"
    files.write_safetensors(path, {**arrays, "blocks.0.1.weight": np.ones(2, np.float32)}, COUNTER)
    with pytest.raises(
        ValueError, match=r"does not hold efficientnet_nano: .*blocks\.0\.1\.weight not in it"
    ):
        load_pretrained(NANO, path, 4)
    fewer = {name: array for name, array in arrays.items() if name != "conv_stem.weight"}
    files.write_safetensors(path, fewer, COUNTER)
    with pytest.raises(ValueError, match="params/stem/kernel missing"):
        load_pretrained(NANO, path, 4)
    files.write_safetensors(path, {**arrays, "conv_stem.weight": np.ones((16, 1, 3, 3), np.float32)}, COUNTER)
    with pytest.raises(ValueError, match=r"stem/kernel is \[3, 3, 1, 16\] and not \[3, 3, 3, 16\]"):
        load_pretrained(NANO, path, 4)
    arrays["bn1.bias"] = np.full(16, np.nan, np.float32)
    files.write_safetensors(path, arrays, COUNTER)
    with pytest.raises(ValueError, match=r"values in bn1\.bias that are not finite"):
        load_pretrained(NANO, path, 4)
