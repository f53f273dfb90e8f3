import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from skinjax.models import registry
from skinjax.models.layers import Conv, DepthwiseConv, SqueezeExcite, fan_in_uniform
from skinjax.models.pixels import normalize


def flat(tree):
    return traverse_util.flatten_dict(tree, sep="/")


def test_every_model_has_a_whole_spec():
    names = registry.list_models()
    assert len(names) == len(set(names))
    for name in names:
        spec = registry.spec(name)
        assert spec.name == name
        assert spec.paper
        assert spec.weights
        assert len(spec.mean) == len(spec.std) == 3
        assert len(set(spec.block_names)) == len(spec.block_names) > 0
        assert 0 < spec.bn_epsilon < 0.1
        assert 0 < spec.bn_momentum < 1
        assert registry.create(name, 3).num_classes == 3


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r'no backbone "efficientnet-b6"; .*efficientnet_b6'):
        registry.spec("efficientnet-b6")
    with pytest.raises(ValueError, match=r'no backbone "zzz"; .*efficientnet_b0'):
        registry.create("zzz", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes wants at least 1, not 0"),
        ({"dtype": jnp.int32}, "dtype wants a floating dtype, not int32"),
        ({"dropout_rate": 1.0}, r"dropout_rate wants a number in \[0, 1\), not 1.0"),
        ({"drop_path_rate": -0.1}, "drop_path_rate wants"),
        ({"bn_momentum": 99}, "bn_momentum wants"),
    ],
)
def test_create_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        registry.create("efficientnet_b0", **{"num_classes": 2, **arguments})


def test_create_overrides_what_the_spec_says():
    model = registry.create("efficientnet_b6", 2)
    assert (model.dropout_rate, model.drop_path_rate, model.bn_momentum) == (0.5, 0.2, 0.99)
    model = registry.create("efficientnet_b6", 2, dropout_rate=0.0, drop_path_rate=0.1, bn_momentum=0.9)
    assert (model.dropout_rate, model.drop_path_rate, model.bn_momentum) == (0.0, 0.1, 0.9)


def test_init_follows_its_key_and_leaves_the_trunk_to_itself():
    nineteen, six = (registry.create("efficientnet_nano", classes) for classes in (19, 6))
    first = flat(registry.init_variables(nineteen, jax.random.key(3)))
    again = flat(registry.init_variables(nineteen, jax.random.PRNGKey(3)))
    other = flat(registry.init_variables(nineteen, jax.random.key(4)))
    coarse = flat(registry.init_variables(six, jax.random.key(3)))
    kernels = [name for name in first if name.endswith("kernel")]
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        assert isinstance(value, jax.Array)
        assert (name in kernels) == (not np.array_equal(value, other[name]))
        if "head" not in name:
            np.testing.assert_array_equal(value, coarse[name])
    assert len({np.asarray(first[name]).ravel()[0].item() for name in kernels}) == len(kernels)


def test_init_has_the_tree_of_the_layers_own():
    model = registry.create("efficientnet_nano", 500)
    ours = jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), registry.init_variables(model, jax.random.key(0))
    )
    theirs = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert ours == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), theirs)


class Layers(nn.Module):
    """One of each kind."""

    @nn.compact
    def __call__(self, x):
        x = SqueezeExcite(32, name="excite")(DepthwiseConv((5, 5), name="depthwise")(x))
        x = nn.BatchNorm(use_running_average=True, name="norm")(Conv(64, (3, 3), name="conv")(x))
        return nn.Dense(200, kernel_init=fan_in_uniform, name="head")(x.mean((1, 2)))


def test_init_draws_from_the_distributions_of_the_layers_own():
    theirs = flat(jax.jit(Layers().init)(jax.random.key(0), jnp.zeros((1, 4, 4, 128))))
    deviations = {
        "params/depthwise/kernel": math.sqrt(2 / 25),  # every output channel is a group of its own
        "params/excite/reduce/kernel": math.sqrt(2 / 32),
        "params/excite/expand/kernel": math.sqrt(2 / 128),
        "params/conv/kernel": math.sqrt(2 / (9 * 64)),
        "params/head/kernel": 1 / math.sqrt(3 * 64),  # even within ± 1 / sqrt(64)
    }
    for name, value in theirs.items():
        ours = registry._draw(name, value.shape, np.random.default_rng(0))
        for values in (ours, np.asarray(value)):
            if name in deviations:
                # The deviation of n normal numbers is known to 1 / sqrt(2 n) of itself.
                tolerance = 5 / math.sqrt(2 * values.size)
                assert abs(values.std() / deviations[name] - 1) < tolerance, name
                assert abs(values.mean()) < 5 * values.std() / math.sqrt(values.size), name
            else:
                np.testing.assert_array_equal(values, float(name.endswith(("scale", "var"))))
        if name == "params/head/kernel":
            assert 0.99 / 8 < np.abs(ours).max() <= 1 / 8
    assert set(deviations) < set(theirs)


def test_init_refuses_what_it_has_no_rule_for():
    with pytest.raises(ValueError, match="no rule for params/layer/temperature"):
        registry._draw("params/layer/temperature", (3,), np.random.default_rng(0))


# Backbones of one's own.


class Pooled(nn.Module):
    """A head on the mean colour."""

    num_classes: int
    drop_path_rate: float

    @nn.compact
    def __call__(self, images, *, train=False):
        return nn.Dense(self.num_classes, name="head")(images.mean((1, 2)))


def build_pooled(spec, num_classes, *, dtype, axis_name, dropout_rate, drop_path_rate, bn_momentum):
    assert (dtype, axis_name, dropout_rate, bn_momentum) == (jnp.float32, None, 0.5, 0.99)
    return Pooled(num_classes, drop_path_rate)


@pytest.fixture
def own(monkeypatch):
    """A spec of another family; the registry is left as it was."""
    monkeypatch.setattr(registry, "_FAMILIES", registry._FAMILIES)
    like = registry.spec("xception")
    return dataclasses.replace(
        like, name="pooled", family="pooled", block_names=(), bn_momentum=0.99, dropout_rate=0.5
    )


def test_a_registered_backbone_is_taken_by_every_function(own):
    before = registry.list_models()
    registry.register({"pooled": own}, build_pooled)
    assert registry.list_models() == (*before, "pooled")
    assert registry.spec("pooled") is own
    model = registry.create("pooled", 4)
    variables = registry.init_variables(model, jax.random.key(0))
    images = jnp.ones((2, 8, 8, 3))
    kernel, bias = (np.asarray(variables["params"]["head"][name]) for name in ("kernel", "bias"))
    expected = np.broadcast_to(kernel.sum(axis=0) + bias, (2, 4))
    np.testing.assert_allclose(model.apply(variables, images), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r'no backbone "poled"; the nearest names are pooled'):
        registry.spec("poled")


def test_a_registered_backbone_without_stochastic_depth_refuses_it_and_one_with_it_takes_another_rate(own):
    registry.register({"pooled": own}, build_pooled)
    with pytest.raises(
        ValueError, match=r"drop_path_rate wants 0 for pooled, which has no stochastic depth, not 0.1"
    ):
        registry.create("pooled", 2, drop_path_rate=0.1)
    deep = dataclasses.replace(own, name="deep", drop_path_rate=0.3)
    registry.register({"deep": deep}, build_pooled)
    assert registry.create("deep", 2).drop_path_rate == 0.3
    assert registry.create("deep", 2, drop_path_rate=0.1).drop_path_rate == 0.1


def test_names_that_are_taken_or_not_the_spec_s_own_are_refused_and_nothing_is_registered(own):
    before = registry.list_models()
    with pytest.raises(ValueError, match="each spec under its own name, not pooled under mine"):
        registry.register({"mine": own}, build_pooled)
    taken = dataclasses.replace(own, name="xception")
    with pytest.raises(ValueError, match="there is a backbone xception already"):
        registry.register({"pooled": own, "xception": taken}, build_pooled)
    assert registry.list_models() == before
    registry.register({"pooled": own}, build_pooled)
    with pytest.raises(ValueError, match="there is a backbone pooled already"):
        registry.register({"pooled": own}, build_pooled)


# Pixels.


def test_normalize_takes_bytes_and_unit_floats_alike():
    spec = registry.spec("efficientnet_b0")
    photos = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    expected = (photos.astype(np.float64) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    for images in (photos, (photos / 255).astype(np.float32)):
        result = jax.jit(lambda images: normalize(images, spec))(images)
        assert result.dtype == jnp.float32
        np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), r"shape \[N, H, W, 3\], not \[4, 4, 3\]"),
        (np.zeros((1, 4, 4, 1), np.uint8), r"not \[1, 4, 4, 1\]"),
        (np.zeros((1, 4, 4, 3), np.int32), "not int32"),
    ],
)
def test_normalize_refuses(images, message):
    with pytest.raises(ValueError, match=message):
        normalize(images, registry.spec("efficientnet_b0"))
