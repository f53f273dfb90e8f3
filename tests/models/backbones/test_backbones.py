"""Every backbone of the registry: counts, named features, dtypes, refusals, gradients, transfer."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from skinjax.models import registry
from skinjax.models.transfer import transfer
from skinjax.models.weights.matching import variable_names

# Parameters and running statistics with 1,000 classes, as the libraries count them that the rows follow (Keras for
# EfficientNet without the 7 numbers of its normalisation of pixels, and PyTorch without its counters).
COUNTS = {
    "efficientnet_b0": 5_330_564,
    "efficientnet_b1": 7_856_232,
    "efficientnet_b2": 9_177_562,
    "efficientnet_b3": 12_320_528,
    "efficientnet_b4": 19_466_816,
    "efficientnet_b5": 30_562_520,
    "efficientnet_b6": 43_265_136,
    "efficientnet_b7": 66_658_680,
    "efficientnet_b0_torch": 5_330_564,
    "efficientnet_b1_torch": 7_856_232,
    "efficientnet_b2_torch": 9_177_562,
    "efficientnet_b3_torch": 12_320_528,
    "efficientnet_b4_torch": 19_466_816,
    "efficientnet_b5_torch": 30_562_520,
    "efficientnet_b6_torch": 43_265_136,
    "efficientnet_b7_torch": 66_658_680,
    "efficientnet_b5_torchvision": 30_562_520,
    "efficientnet_b6_torchvision": 43_265_136,
    "efficientnet_b7_torchvision": 66_658_680,
    "efficientnet_lite0": 4_694_024,
    "efficientnet_lite1": 5_470_344,
    "efficientnet_lite2": 6_150_168,
    "efficientnet_lite3": 8_273_768,
    "efficientnet_lite4": 13_118_936,
    "efficientnet_nano": 1_065_592,
    "inception_v3": 23_851_784,
    "inception_v3_torch": 23_869_000,
    "inception_resnet_v2": 55_873_736,
    "inception_resnet_v2_torch": 55_904_008,
    "xception": 22_910_480,
    "xception_torch": 22_910_480,
    "densenet121": 8_062_504,
    "densenet169": 14_307_880,
    "densenet201": 20_242_984,
}
# Parameters alone, as torchvision publishes them (`num_params` of its weights) and timm's rows have them too; Lite's
# are timm's.
PARAMETERS = {
    "efficientnet_b0_torch": 5_288_548,
    "efficientnet_b1_torch": 7_794_184,
    "efficientnet_b2_torch": 9_109_994,
    "efficientnet_b3_torch": 12_233_232,
    "efficientnet_b4_torch": 19_341_616,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
    "efficientnet_b5_torchvision": 30_389_784,
    "efficientnet_b6_torchvision": 43_040_704,
    "efficientnet_b7_torchvision": 66_347_960,
}
# The cheapest row of every family: the shapes of some maps for photos of 97 × 112, and the smallest photo.
FAMILIES = {
    "efficientnet_nano": ({"stem": (49, 56, 16), "block_02": (13, 14, 24), "top": (4, 4, 640)}, 1),
    "inception_v3": ({"stem": (9, 11, 192), "mixed_00": (9, 11, 256), "mixed_10": (1, 2, 2048)}, 75),
    "inception_resnet_v2": ({"mixed_5b": (9, 11, 320), "mixed_6a": (4, 5, 1088), "top": (1, 2, 1536)}, 75),
    "xception": ({"block_01": (46, 53, 64), "block_02": (23, 27, 128), "block_14": (3, 4, 2048)}, 71),
    "densenet121": ({"stem": (25, 28, 64), "dense_1_06": (25, 28, 256), "top": (3, 3, 1024)}, 32),
}
IMAGES = jax.ShapeDtypeStruct((2, 97, 112, 3), jnp.float32)


def slow_but(*quick, of):
    """The names as parameters, all but the quick ones marked slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in quick)) for name in of]


@functools.cache
def shapes_of(name, num_classes):
    return dict(registry.variable_shapes(registry.create(name, num_classes)))


def filled(name, num_classes, value):
    """Variables of the right tree that are `value` throughout, in one number an array."""
    return jax.tree.map(
        lambda leaf: np.broadcast_to(np.float32(value), leaf.shape), shapes_of(name, num_classes)
    )


def test_every_backbone_is_in_the_table():
    assert tuple(COUNTS) == registry.list_models()
    assert {registry.spec(name).family for name in FAMILIES} == {registry.spec(n).family for n in COUNTS}


@pytest.mark.parametrize(
    "name", slow_but(*FAMILIES, "efficientnet_b0", "efficientnet_b6", "xception_torch", of=COUNTS)
)
def test_counts_and_names(name):
    shapes, spec = shapes_of(name, 1000), registry.spec(name)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == COUNTS[name]
    layers = [*spec.stem, *spec.block_names, *spec.top, spec.head]
    assert sorted(layers) == sorted(shapes["params"])
    assert shapes["params"][spec.head]["kernel"].shape == (spec.feature_width, 1000)
    assert set(shapes["batch_stats"]) < set(layers)
    assert set(traverse_util.flatten_dict(shapes, sep="/")) == variable_names(spec)


@pytest.mark.parametrize("name", slow_but("efficientnet_b0_torch", "efficientnet_lite0", of=PARAMETERS))
def test_parameters_of_the_peers(name):
    shapes = shapes_of(name, 1000)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"])) == PARAMETERS[name]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_named_features(name, dtype):
    """All of the spec's names in its order; in half precision parameters, means and logits stay in single."""
    maps, _ = FAMILIES[name]
    spec, model = registry.spec(name), registry.create(name, 3, dtype=dtype)
    order = []

    def run(variables, images):
        named = model.apply(variables, images, features=True)
        order.extend(named)  # a dict that leaves a trace is sorted
        return named

    variables = shapes_of(name, 3)
    named = jax.eval_shape(run, variables, IMAGES)
    inside = [layer for layer in order if layer in spec.block_names]
    assert inside == list(spec.block_names)
    rest = [layer for layer in ("stem", "top") if layer in order]
    assert order == [*rest[: rest.count("stem")], *inside, *rest[rest.count("stem") :], "pooled", "logits"]
    for layer, shape in maps.items():
        assert named[layer].shape == (2, *shape), layer
    assert named["pooled"].shape == (2, spec.feature_width)
    assert named["logits"].shape == (2, 3)
    assert named.pop("logits").dtype == named.pop("pooled").dtype == jnp.float32
    assert {value.dtype for value in named.values()} == {jnp.dtype(dtype)}
    assert {leaf.dtype for leaf in jax.tree.leaves(dict(registry.variable_shapes(model)))} == {
        jnp.dtype(jnp.float32)
    }


@pytest.mark.parametrize("name", slow_but("efficientnet_nano", of=FAMILIES))
def test_the_number_of_classes_changes_the_head_alone(name):
    one, many = (traverse_util.flatten_dict(shapes_of(name, n), sep="/") for n in (1, 41))
    changed = {key for key in one if one[key].shape != many[key].shape}
    assert changed == {"params/head/kernel", "params/head/bias"}
    assert many["params/head/kernel"].shape == (registry.spec(name).feature_width, 41)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_small_photos_are_refused(name):
    smallest = FAMILIES[name][1]
    model, variables = registry.create(name, 3), shapes_of(name, 3)

    def run(rows, columns):
        return jax.eval_shape(
            model.apply, variables, jax.ShapeDtypeStruct((1, rows, columns, 3), jnp.float32)
        )

    assert run(smallest, smallest).shape == (1, 3)
    if smallest > 1:
        message = (
            rf"images must have at least {smallest} rows and columns .*got {smallest} × {smallest - 1}(\n|$)"
        )
        with pytest.raises(ValueError, match=message):
            run(smallest, smallest - 1)
    with pytest.raises(ValueError, match=r"images must be of shape \[N, H, W, 3\]"):
        jax.eval_shape(model.apply, variables, jax.ShapeDtypeStruct((1, 97, 112, 1), jnp.float32))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted(set(FAMILIES) - {"densenet121", "inception_v3", "efficientnet_nano"})
)  # which test_golden.py and test_efficientnet.py train
def test_gradients_reach_every_parameter(name):
    model = registry.create(name, 3, dropout_rate=0.0)
    variables = registry.init_variables(model, jax.random.key(1))
    size = max(FAMILIES[name][1], 80)
    images = np.random.default_rng(0).standard_normal((3, size, size + 16, 3)).astype(np.float32)

    @jax.jit
    @jax.grad
    def gradients(params):
        logits, _ = model.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
        return -jax.nn.log_softmax(logits)[jnp.arange(3), jnp.arange(3)].mean()

    flat = traverse_util.flatten_dict(gradients(variables["params"]), sep="/")
    assert all(np.isfinite(value).all() for value in flat.values())
    assert not [key for key, value in flat.items() if not np.any(value)]


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_transfer_from_every_backbone(name):
    spec = registry.spec(name)
    fine, coarse = filled(name, 19, 1), filled(name, 6, 2)
    for blocks in (0, 10, 23, 30, "all"):
        if blocks != "all" and blocks > len(spec.block_names):
            have = len(spec.block_names)
            with pytest.raises(ValueError, match=f"0 to {have} for {name}, which has {have}"):
                transfer(fine, coarse, blocks, spec)
            continue
        started, report = transfer(fine, coarse, blocks, spec)
        count = len(spec.block_names) if blocks == "all" else blocks
        expected = [*spec.stem, *spec.block_names[:count]] if count else []
        expected += spec.top if blocks == "all" else ()
        assert list(report.carried) == expected
        assert report.kept[-1] == "head"
        assert jax.tree.structure(started) == jax.tree.structure(coarse)
        values = {
            (path[1].key in expected, leaf.flat[0].item())
            for path, leaf in jax.tree_util.tree_leaves_with_path(started)
        }
        assert values <= {(True, 1.0), (False, 2.0)}
        assert started["params"]["head"]["kernel"].shape == (spec.feature_width, 6)
