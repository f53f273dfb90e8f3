import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from skinjax.models import registry
from skinjax.models.ops.layers import Conv, DepthwiseConv, SqueezeExcite, fan_in_uniform
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
    with pytest.raises(ValueError, match=r'backbone must be .*efficientnet_b6.*, got "efficientnet-b6"'):
        registry.spec("efficientnet-b6")
    with pytest.raises(ValueError, match=r'backbone must be .*efficientnet_b0.*, got "zzz"'):
        registry.create("zzz", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"dtype": jnp.int32}, "dtype must be a floating dtype, got int32"),
        ({"dropout_rate": 1.0}, r"dropout_rate must be a number in \[0, 1\), got 1.0"),
        ({"drop_path_rate": -0.1}, "drop_path_rate must be"),
        ({"bn_momentum": 99}, "bn_momentum must be"),
        ({"pretrained": True}, "pretrained must be a file, a folder, a hub name or .imagenet., .* got True"),
        ({"pretrained": ""}, "pretrained must be a file, .* got ''"),
        ({"pretrained": "nowhere.pth"}, "nowhere.pth"),
        ({"key": jax.random.key(0)}, "key must be given with pretrained"),
        ({"key": 0, "pretrained": "weights.h5"}, r"key must be a jax\.random key, .* got 0"),
    ],
)
def test_create_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        registry.create("efficientnet_b0", **{"num_classes": 2, **arguments})


@pytest.mark.parametrize(
    ("key", "got"),
    [(0, "0"), (np.int64(0), r"int64 of shape \(\)"), (jax.random.split(jax.random.key(0), 3), r".* \(3,\)")],
)
def test_what_is_no_key_is_told(key, got):
    with pytest.raises(ValueError, match=rf"key must be a jax\.random key, such as .*, got {got}$"):
        registry.init_variables(registry.create("efficientnet_nano", 2), key)


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
        x = DepthwiseConv((5, 5), name="depthwise")(x)
        x = x * SqueezeExcite(32, name="excite")(x)[:, None, None]
        x = nn.BatchNorm(use_running_average=True, name="norm")(Conv(64, (3, 3), name="conv")(x))
        return nn.Dense(200, kernel_init=fan_in_uniform, name="head")(x.mean((1, 2)))


@pytest.mark.slow
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


class Foreign(nn.Module):
    """Layers of Flax's and parameters of its own between one of skinjax's and a head of another start."""

    num_classes: int = 5

    @nn.compact
    def __call__(self, x, *, train=False):
        x = Conv(8, (3, 3), name="conv")(x)
        x = x * self.param("temperature", nn.initializers.zeros, (8,))
        x = nn.LayerNorm(scale_init=nn.initializers.zeros, name="norm")(x)
        return nn.Dense(self.num_classes, bias_init=nn.initializers.ones, name="head")(x.mean((1, 2)))


class Measured(nn.Module):
    """A start that depends on the photos."""

    @nn.compact
    def __call__(self, images, *, train=False):
        return images + self.param("scale", lambda key: 1 + images.mean((0, 1, 2)))


def test_init_takes_a_start_that_depends_on_the_photos():
    found = registry.init_variables(Measured(), jax.random.key(0))
    np.testing.assert_array_equal(found["params"]["scale"], np.ones(3))


@pytest.mark.slow
def test_init_leaves_layers_of_others_to_their_own_initialisers():
    key = jax.random.key(2)
    theirs = flat(Foreign().init(key, jnp.zeros((1, 8, 8, 3))))
    ours, fewer = (flat(registry.init_variables(Foreign(count), key)) for count in (5, 3))
    assert set(ours) == set(theirs)
    for name in ours:
        if name == "params/conv/kernel":
            assert not np.array_equal(ours[name], theirs[name])
            assert np.std(ours[name]) == pytest.approx(math.sqrt(2 / 72), rel=0.2)
        else:
            np.testing.assert_array_equal(ours[name], theirs[name])
        if "head" not in name:
            np.testing.assert_array_equal(ours[name], fewer[name])
    assert not ours["params/norm/scale"].any()
    assert ours["params/head/bias"].all()


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
    with pytest.raises(ValueError, match=r'backbone must be a registered one, such as pooled, .*got "poled"'):
        registry.spec("poled")


def test_a_registered_backbone_without_stochastic_depth_refuses_it_and_one_with_it_takes_another_rate(own):
    registry.register({"pooled": own}, build_pooled)
    with pytest.raises(
        ValueError, match=r"drop_path_rate must be 0 for pooled, which has no stochastic depth, got 0.1"
    ):
        registry.create("pooled", 2, drop_path_rate=0.1)
    deep = dataclasses.replace(own, name="deep", drop_path_rate=0.3)
    registry.register({"deep": deep}, build_pooled)
    assert registry.create("deep", 2).drop_path_rate == 0.3
    assert registry.create("deep", 2, drop_path_rate=0.1).drop_path_rate == 0.1
    able = dataclasses.replace(own, name="able", stochastic_depth=True)
    registry.register({"able": able}, build_pooled)
    assert registry.create("able", 2).drop_path_rate == 0
    assert registry.create("able", 2, drop_path_rate=0.1).drop_path_rate == 0.1


def test_a_registered_build_gets_the_options_that_it_takes_and_others_are_refused_where_they_would_count(own):
    registry.register({"pooled": own}, lambda spec, num_classes: Pooled(num_classes, 0.0))
    assert registry.create("pooled", 2, axis_name="data", bn_momentum=0.5, dropout_rate=0.0).num_classes == 2
    for option, message in (
        ({"dropout_rate": 0.1}, "dropout_rate must be 0 for pooled, which takes none, got 0.1"),
        ({"dtype": jnp.bfloat16}, "dtype must be float32 for pooled, which takes no other, got bfloat16"),
    ):
        with pytest.raises(ValueError, match=message):
            registry.create("pooled", 2, **option)


class Placed(nn.Module):
    """A parameter as large as the photo, and another name for the number of classes."""

    outputs: int

    @nn.compact
    def __call__(self, images, *, train=False):
        places = self.param("places", nn.initializers.normal(), images.shape[1:])
        return nn.Dense(self.outputs, name="head")((images * places).mean((1, 2)))


@pytest.mark.slow
def test_shapes_are_those_of_the_spec_s_own_size(own):
    for size in (24, 40):  # equal modules of two specs
        row = dataclasses.replace(own, name=f"placed_{size}", image_size=size)
        registry.register({row.name: row}, lambda spec, num_classes: Placed(num_classes))
    first, second = (registry.create(f"placed_{size}", 4) for size in (24, 40))
    assert first == second
    assert first.num_classes == 4
    for model, size in ((first, 24), (second, 40)):
        shape = registry.variable_shapes(model)["params"]["places"].shape
        assert registry.init_variables(model, jax.random.key(0))["params"]["places"].shape == shape
        assert shape == (size, size, 3)
    assert registry.variable_shapes(Placed(4), own)["params"]["places"].shape == (299, 299, 3)


def test_names_that_are_taken_or_not_the_spec_s_own_are_refused_and_nothing_is_registered(own):
    before = registry.list_models()
    with pytest.raises(ValueError, match="each spec under its own name, got pooled under mine"):
        registry.register({"mine": own}, build_pooled)
    taken = dataclasses.replace(own, name="xception")
    with pytest.raises(ValueError, match="got xception, which is a backbone already"):
        registry.register({"pooled": own, "xception": taken}, build_pooled)
    assert registry.list_models() == before
    registry.register({"pooled": own}, build_pooled)
    with pytest.raises(ValueError, match="got pooled, which is a backbone already"):
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
        (np.zeros((4, 4, 3), np.uint8), r"shape \[N, H, W, 3\], got \[4, 4, 3\]"),
        (np.zeros((1, 4, 4, 1), np.uint8), r"got \[1, 4, 4, 1\]"),
        (np.zeros((1, 4, 4, 3), np.int32), "got int32"),
    ],
)
def test_normalize_refuses(images, message):
    with pytest.raises(ValueError, match=message):
        normalize(images, registry.spec("efficientnet_b0"))
