"""The backbones against timm and Keras, whose outputs are stored; see golden/make_golden.py."""

import functools

import jax
import numpy as np
import pytest
from flax import traverse_util

from skinjax.models import registry
from skinjax.models.pretrained import load_with_report
from skinjax.models.weights.keras_names import keras_layers, keras_names
from skinjax.models.weights.torch_names import torch_names
from tests.golden import make_golden as make
from tests.support import stored_files


def _timm_file(case, path):
    """A file with the case's arrays, and the arrays' names by our variables."""
    row = registry.spec(case.row)
    if case.row == "inception_resnet_v2":  # timm's has scales, which are 1 here
        row = registry.spec("inception_resnet_v2_torch")
    shapes = _shapes(row.name)
    names = {}
    for name, variable in torch_names(row).items():
        names.setdefault(variable, name)  # of several the first is the library's present one
    arrays = {}
    for variable, name in names.items():
        shape = shapes[variable]
        # [k, k, in, out] was [out, in, k, k], [in, out] was [out, in].
        shape = (*shape[:1:-1], *shape[:2]) if len(shape) == 4 else shape[::-1]
        arrays[name] = make.draw_for(case, name, shape)
    return stored_files.write_safetensors(path / "weights.safetensors", arrays), names


def _keras_file(case, path):
    row = registry.spec(case.row)
    shapes = _shapes(row.name)
    weights = {
        "conv2d": ("kernel", "bias"),
        "dense": ("kernel", "bias"),
        "separable_conv2d": ("depthwise_kernel", "pointwise_kernel"),
        "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    }
    candidates = [
        f"{layer.name.replace('#0', '').replace('#', '_')}/{weight}"
        for layer in keras_layers(row)
        for weight in weights[layer.kind]
    ]
    names = keras_names(row, candidates, {})
    layers = {}
    for name, variable in names.items():
        layer, weight = name.split("/")
        shape = shapes[variable]
        if weight == "depthwise_kernel":
            shape = (*shape[:2], shape[3], shape[2])
        layers.setdefault(layer, {})[f"{name}:0"] = make.draw_for(case, name, shape)
    path = stored_files.write_keras_legacy(path / "weights.h5", layers)
    return path, {variable: name for name, variable in names.items()}


@functools.cache
def _shapes(name):
    shapes = registry.variable_shapes(registry.create(name, make.NUM_CLASSES))
    return {variable: leaf.shape for variable, leaf in traverse_util.flatten_dict(shapes, sep="/").items()}


def _load(case, path):
    path, names = (_keras_file if case.library == "keras" else _timm_file)(case, path)
    variables, report = load_with_report(case.row, path, make.NUM_CLASSES)
    assert not report.new
    return variables, names


def _assert_close(value, expected, tolerance):
    np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def _cases():
    quick = ("efficientnet_b0",)  # the others take long to compile
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in quick)) for name in make.CASES]


@pytest.mark.parametrize("name", _cases())
def test_equals_the_peer(name, tmp_path):
    case, expected = make.CASES[name], np.load(make.FOLDER / f"{name}.npz")
    variables, _ = _load(case, tmp_path)
    model = registry.create(case.row, make.NUM_CLASSES)
    features = jax.jit(functools.partial(model.apply, features=True))(variables, make.draw_images(case.shape))
    for key in case.maps:
        for kind, value in make.summary(key, np.asarray(features[key])).items():
            _assert_close(value, expected[kind], 2e-5)
    for key in ("pooled", "logits"):
        _assert_close(features[key], expected[key], 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", make.TRAINING)
def test_a_training_step_equals_the_peer_s(name, tmp_path):
    case, expected = make.CASES[name], np.load(make.FOLDER / f"{name}.npz")
    variables, names = _load(case, tmp_path)
    momentum = 0.9 if case.library == "timm" else 0.99
    model = registry.create(case.row, make.NUM_CLASSES, dropout_rate=0.0, bn_momentum=momentum)
    images = make.draw_images(make.TRAINING[name])
    weights = make.draw_weights((len(images), make.NUM_CLASSES))

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def step(params):
        run = functools.partial(model.apply, train=True, features=True, mutable=["batch_stats"])
        named, changed = run({**variables, "params": params}, images)
        return (named["logits"] * weights).sum(), changed

    gradients, changed = step(variables["params"])
    statistics = traverse_util.flatten_dict(changed, sep="/")
    gradients = traverse_util.flatten_dict({"params": gradients}, sep="/")
    assert not [name for name, value in gradients.items() if not (np.isfinite(value).all() and np.any(value))]
    ours = {name: variable for variable, name in names.items()}
    assert len(expected["statistics_names"]) == len(statistics)
    for key, value in zip(expected["statistics_names"], expected["statistics"], strict=True):
        found = np.asarray(statistics[ours[str(key)]], np.float64)
        np.testing.assert_allclose(
            found.sum(), value, rtol=1e-4, atol=1e-4 * np.abs(found).sum(), err_msg=key
        )
    for key, value in zip(expected["gradients_names"], expected["gradients"], strict=True):
        found = np.linalg.norm(np.asarray(gradients[ours[str(key)]], np.float64))
        # A few values fall on the other side of a rectifier's kink than in double precision, which alone changes
        # norms by up to 5e-3; tests/peers compares every gradient in double precision.
        np.testing.assert_allclose(found, value, rtol=2e-2, err_msg=key)
