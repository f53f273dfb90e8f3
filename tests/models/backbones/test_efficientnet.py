import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from skinjax.models import registry
from skinjax.models.backbones import efficientnet
from skinjax.models.backbones.efficientnet import EVEN, VARIANTS, Block, EfficientNet, MBConv, plan_blocks
from skinjax.models.ops.layers import DropPath
from skinjax.models.ops.normalization import Norm
from skinjax.models.pixels import normalize

# MBConv blocks; what they hold is counted in test_backbones.py.
BLOCKS = {
    "efficientnet_b0": 16,
    "efficientnet_b1": 23,
    "efficientnet_b2": 23,
    "efficientnet_b3": 26,
    "efficientnet_b4": 32,
    "efficientnet_b5": 39,
    "efficientnet_b6": 45,
    "efficientnet_b7": 55,
}
BLOCKS |= {f"{name}_torch": count for name, count in BLOCKS.items()}
BLOCKS |= {f"efficientnet_{b}_torchvision": BLOCKS[f"efficientnet_{b}"] for b in ("b5", "b6", "b7")}
BLOCKS |= {f"efficientnet_lite{n}": count for n, count in enumerate((16, 21, 21, 24, 30))}
BLOCKS |= {"efficientnet_nano": 7}


def test_every_variant_has_its_number_of_blocks():
    assert {name: len(registry.spec(name).block_names) for name in VARIANTS} == BLOCKS


def test_b0_is_the_paper_s_table():
    rows = [(b.expansion, b.kernel, b.stride, b.features) for b in plan_blocks(1.0, 1.0)]
    assert rows == [
        (1, 3, 1, 16),
        (6, 3, 2, 24),
        (6, 3, 1, 24),
        (6, 5, 2, 40),
        (6, 5, 1, 40),
        (6, 3, 2, 80),
        (6, 3, 1, 80),
        (6, 3, 1, 80),
        (6, 5, 1, 112),
        (6, 5, 1, 112),
        (6, 5, 1, 112),
        (6, 5, 2, 192),
        (6, 5, 1, 192),
        (6, 5, 1, 192),
        (6, 5, 1, 192),
        (6, 3, 1, 320),
    ]


# One block, written out by hand.


def written_out(params, stats, x, *, kernel, stride, train, padding="SAME", epsilon=1e-3, lite=False):
    """An expanding MBConv of equal width with XLA's convolutions; returns the output and batch statistics."""
    batch_statistics = {}

    def convolve(x, weights, stride=1, groups=1):
        numbers = ("NHWC", "HWIO", "NHWC")
        pads = "SAME" if padding == "SAME" else ((weights.shape[0] // 2,) * 2,) * 2
        return lax.conv_general_dilated(
            x, weights, (stride, stride), pads, dimension_numbers=numbers, feature_group_count=groups
        )

    def normalise(x, name):
        mean, var = stats[name]["mean"], stats[name]["var"]
        if train:
            mean = x.mean((0, 1, 2))
            var = ((x - mean) ** 2).mean((0, 1, 2))
            batch_statistics[name] = {"mean": mean, "var": var}
        return (x - mean) / jnp.sqrt(var + epsilon) * params[name]["scale"] + params[name]["bias"]

    def swish(x):
        return jnp.clip(x, 0, 6) if lite else x / (1 + jnp.exp(-x))

    y = swish(normalise(convolve(x, params["expand"]["kernel"]), "expand_norm"))
    y = convolve(y, params["depthwise"]["kernel"], stride, groups=y.shape[-1])
    y = swish(normalise(y, "depthwise_norm"))
    if lite:
        y = normalise(convolve(y, params["project"]["kernel"]), "project_norm")
        return (x + y if stride == 1 else y), batch_statistics
    gate = y.mean((1, 2))
    excite = params["squeeze_excite"]
    gate = swish(gate @ excite["reduce"]["kernel"][0, 0] + excite["reduce"]["bias"])
    gate = 1 / (1 + jnp.exp(-(gate @ excite["expand"]["kernel"][0, 0] + excite["expand"]["bias"])))
    y = normalise(convolve(y * gate[:, None, None], params["project"]["kernel"]), "project_norm")
    return (x + y if stride == 1 else y), batch_statistics


def random_variables(module, *inputs):
    """Variables in which nothing is 0 or 1, so that no term can hide."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    generator = np.random.default_rng(1)
    draw = lambda leaf: (0.5 + 0.3 * generator.standard_normal(leaf.shape)).astype(np.float32)  # noqa: E731
    variables = jax.tree.map(draw, dict(shapes))
    variables["batch_stats"] = jax.tree.map(lambda leaf: np.abs(leaf) + 0.1, variables["batch_stats"])
    return variables


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (3, 2)])
def test_block_equals_itself_written_out(kernel, stride, train):
    block = MBConv(Block("block", 0, kernel, stride, expansion=6, features=8), Norm(1e-3, 0.9))
    x = np.random.default_rng(0).standard_normal((3, 9, 8, 8)).astype(np.float32)
    variables = random_variables(block, x)
    assert variables["params"]["squeeze_excite"]["reduce"]["kernel"].shape == (1, 1, 48, 2)
    ours, changed = jax.jit(functools.partial(block.apply, train=train, mutable=["batch_stats"]))(
        variables, x
    )
    write = jax.jit(functools.partial(written_out, kernel=kernel, stride=stride, train=train))
    expected, batch = write(variables["params"], variables["batch_stats"], x)
    np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())
    for name, statistics in batch.items():
        for kind, value in statistics.items():
            running = 0.9 * variables["batch_stats"][name][kind] + 0.1 * value
            np.testing.assert_allclose(changed["batch_stats"][name][kind], running, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("train", [False, True])
def test_lite_s_block_equals_itself_written_out(train):
    block = MBConv(Block("block", 0, 5, 1, expansion=6, features=8), Norm(1e-3, 0.9), lite=True)
    x = 9 * np.random.default_rng(0).standard_normal((3, 9, 8, 8)).astype(np.float32)
    variables = random_variables(block, x)
    assert set(variables["params"]) == {
        name + part for name in ("expand", "depthwise", "project") for part in ("", "_norm")
    }
    ours, _ = jax.jit(functools.partial(block.apply, train=train, mutable=["batch_stats"]))(variables, x)
    write = jax.jit(functools.partial(written_out, kernel=5, stride=1, train=train, lite=True))
    expected, _ = write(variables["params"], variables["batch_stats"], x)
    np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_block_padded_on_both_sides_equals_itself_written_out(kernel):
    block = MBConv(Block("block", 0, kernel, 2, expansion=6, features=8), Norm(1e-5, 0.9), padding=EVEN)
    x = np.random.default_rng(0).standard_normal((2, 8, 10, 8)).astype(np.float32)
    variables = random_variables(block, x)
    small = jax.tree.map(lambda leaf: leaf * np.float32(1e-4), variables["batch_stats"])
    ours = jax.jit(block.apply)({**variables, "batch_stats": small}, x)
    write = functools.partial(written_out, kernel=kernel, stride=2, train=False, epsilon=1e-5)
    expected, _ = jax.jit(functools.partial(write, padding=EVEN))(variables["params"], small, x)
    np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())
    other, _ = jax.jit(write)(variables["params"], small, x)
    assert other.shape == ours.shape
    assert np.abs(other - ours).max() > 0.01 * np.abs(ours).max()


@pytest.mark.slow
def test_the_stem_is_padded_and_normalised_as_the_row_says(monkeypatch):
    name = "efficientnet_even"
    variant = dataclasses.replace(VARIANTS["efficientnet_nano"], padding=EVEN, bn_epsilon=1e-5)
    monkeypatch.setattr(efficientnet, "VARIANTS", {name: variant})
    model = EfficientNet(efficientnet._spec(name, variant), 2)
    variables = random_variables(model, jnp.zeros((1, 32, 32, 3)))
    variables["batch_stats"]["stem_norm"]["var"] *= np.float32(1e-4)
    images = np.random.default_rng(0).standard_normal((2, 32, 40, 3)).astype(np.float32)
    ours = jax.jit(lambda images: model.apply(variables, images, features=True)["stem"])(images)
    params, stats = variables["params"], variables["batch_stats"]["stem_norm"]
    numbers = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(
        images, params["stem"]["kernel"], (2, 2), ((1, 1), (1, 1)), dimension_numbers=numbers
    )
    z = (y - stats["mean"]) / jnp.sqrt(stats["var"] + 1e-5) * params["stem_norm"]["scale"]
    z = z + params["stem_norm"]["bias"]
    np.testing.assert_allclose(ours, z / (1 + jnp.exp(-z)), rtol=1e-3, atol=1e-3)


def test_lite_is_not_widened_at_its_ends_and_has_neither_gates_nor_swish():
    for name, width, repeats in (
        ("efficientnet_lite0", 320, [1, 2, 2, 3, 3, 4, 1]),
        ("efficientnet_lite4", 448, [1, 4, 4, 6, 6, 8, 1]),
    ):
        shapes = dict(registry.variable_shapes(registry.create(name, 2)))["params"]
        assert shapes["stem"]["kernel"].shape == (3, 3, 3, 32)
        assert shapes["top"]["kernel"].shape == (1, 1, width, 1280)
        stages = [block.stage for block in efficientnet.blocks_of(name)]
        assert [stages.count(stage) for stage in range(7)] == repeats
        assert not any("squeeze_excite" in block for block in shapes.values())
    assert [registry.spec(f"efficientnet_lite{n}").image_size for n in range(5)] == [224, 240, 260, 280, 300]


def test_lite_reads_pixels_less_127_over_128():
    photos = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    found = normalize(photos, registry.spec("efficientnet_lite0"))
    np.testing.assert_allclose(found, (photos.astype(float) - 127) / 128, rtol=0, atol=1e-6)


ROWS = {  # padding, epsilon and momentum as the libraries publish them
    "efficientnet_b0": ("SAME", 1e-3, 0.99),
    "efficientnet_b7": ("SAME", 1e-3, 0.99),
    "efficientnet_b0_torch": (EVEN, 1e-5, 0.9),
    "efficientnet_b5_torch": (EVEN, 1e-5, 0.9),
    "efficientnet_b5_torchvision": (EVEN, 1e-3, 0.99),
    "efficientnet_b7_torchvision": (EVEN, 1e-3, 0.99),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_other_padding_and_epsilon(name):
    spec = registry.spec(name)
    assert (spec.padding, spec.bn_epsilon, spec.bn_momentum) == ROWS[name]
    assert spec.mean == (0.485, 0.456, 0.406)
    assert spec.std == (0.229, 0.224, 0.225)
    assert registry.create(name, 2).norm.epsilon == ROWS[name][1]


@pytest.mark.slow
def test_batch_statistics_are_averaged_over_a_mapped_axis():
    block = MBConv(Block("block", 0, 3, 1, expansion=6, features=8), Norm(1e-3, 0.99, axis_name="data"))
    whole = MBConv(Block("block", 0, 3, 1, expansion=6, features=8), Norm(1e-3, 0.99))
    x = np.random.default_rng(0).standard_normal((4, 6, 6, 8)).astype(np.float32)
    variables = random_variables(whole, x)
    train = functools.partial(block.apply, variables, train=True, mutable=["batch_stats"])
    halves, changed = jax.jit(jax.vmap(train, axis_name="data"))(x.reshape(2, 2, 6, 6, 8))
    train_whole = functools.partial(whole.apply, train=True, mutable=["batch_stats"])
    expected, statistics = jax.jit(train_whole)(variables, x)
    np.testing.assert_allclose(halves.reshape(x.shape), expected, rtol=1e-3, atol=1e-3)
    first_half = jax.tree.map(lambda leaf: leaf[0], changed)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), first_half, statistics)


# Stochastic depth and dropout.


def test_drop_path_drops_whole_photos_and_keeps_the_expectation():
    x = jnp.ones((4000, 2, 3))
    layer = DropPath(rate=0.3)
    y = layer.apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    by_photo = np.asarray(y).reshape(4000, -1)
    assert set(np.unique(by_photo.round(5))) == {np.float32(0), np.float32(1.42857)}
    assert (by_photo == by_photo[:, :1]).all()
    assert abs((by_photo[:, 0] == 0).mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)
    assert abs(by_photo.mean() - 1) < 0.05
    np.testing.assert_array_equal(layer.apply({}, x, train=False), x)


def test_stochastic_depth_grows_in_proportion_to_the_depth(monkeypatch):
    rates = []

    class Recorded(DropPath):
        def __call__(self, x, *, train):
            rates.append(self.rate)
            return x

    monkeypatch.setattr("skinjax.models.backbones.efficientnet.DropPath", Recorded)
    registry.variable_shapes(registry.create("efficientnet_b0", 2))
    residual = [i for i, b in enumerate(plan_blocks(1, 1)) if i in (2, 4, 6, 7, 9, 10, 12, 13, 14)]
    np.testing.assert_allclose(rates, [0.2 * i / 16 for i in residual])


# The nano as a whole: compiled once for training and once for evaluation.

CLASSES = 5


@pytest.fixture(scope="module")
def nano():
    model = registry.create("efficientnet_nano", CLASSES, dropout_rate=0.5, drop_path_rate=0.2)
    images = np.random.default_rng(3).standard_normal((6, 49, 64, 3)).astype(np.float32)
    return model, registry.init_variables(model, jax.random.key(7)), images


@pytest.fixture(scope="module")
def named(nano):
    model, variables, _ = nano

    @jax.jit
    def compute(images):
        def score(offset):
            features = model.apply(variables, images, features=True, offsets={"top": offset})
            return features["logits"][:, 2].sum(), features

        return jax.grad(score, has_aux=True)(jnp.zeros((6, 2, 2, 640)))

    return compute


@pytest.fixture(scope="module")
def trained(nano):
    model, variables, images = nano

    @jax.jit
    def step(params, key):
        def loss(params):
            logits, changed = model.apply(
                {**variables, "params": params},
                images,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            labels = jnp.arange(len(images)) % CLASSES
            return -jax.nn.log_softmax(logits)[jnp.arange(len(images)), labels].mean(), (logits, changed)

        return jax.grad(loss, has_aux=True)(params)

    return functools.partial(step, variables["params"])


@pytest.mark.slow
def test_named_features(nano, named):
    _, variables, images = nano
    _, features = named(images)
    names = ["stem", *registry.spec("efficientnet_nano").block_names, "top", "pooled", "logits"]
    assert set(features) == set(names)
    # 49 × 64 halves, rounded up, at the stem and at four of the blocks.
    sizes = [features[name].shape[1:3] for name in names[:-2]]
    assert sizes == [(25, 32), (25, 32), (13, 16), (7, 8), (4, 4), (4, 4), (2, 2), (2, 2), (2, 2)]
    np.testing.assert_allclose(features["pooled"], features["top"].mean((1, 2)), rtol=1e-5, atol=1e-6)
    head = variables["params"]["head"]
    np.testing.assert_allclose(
        features["logits"], features["pooled"] @ head["kernel"] + head["bias"], rtol=1e-4, atol=1e-5
    )


def test_gradient_of_a_logit_at_a_feature_map(nano, named):
    """Of the mean over 2 × 2 places into class 2, it is the head's column over 4 everywhere."""
    _, variables, images = nano
    gradient, _ = named(images)
    column = variables["params"]["head"]["kernel"][:, 2] / 4
    np.testing.assert_allclose(gradient, np.broadcast_to(column, gradient.shape), rtol=1e-5)


def test_offsets_must_name_a_feature_map(nano):
    model, variables, images = nano
    with pytest.raises(ValueError, match=r"offsets must name feature maps, stem, .*, got block_99"):
        jax.eval_shape(model.apply, variables, images, offsets={"block_99": jnp.zeros(())})


def test_evaluation_looks_at_one_photo_at_a_time(nano, named):
    """Needs no key, gives the same twice, and a photo's logits do not depend on the others."""
    _, _, images = nano
    others = np.roll(images, 1, axis=0)
    others[2] = images[2]
    logits, beside_others = named(images)[1]["logits"], named(others)[1]["logits"]
    np.testing.assert_allclose(beside_others[2], logits[2], rtol=1e-5, atol=1e-6)
    assert not np.allclose(beside_others[3], logits[3])
    np.testing.assert_array_equal(named(images)[1]["logits"], logits)


@pytest.mark.slow
def test_training_reaches_every_parameter_and_follows_its_key(nano, trained):
    _, variables, images = nano
    gradients, (logits, changed) = trained(jax.random.key(0))
    silent = [path for path, g in jax.tree_util.tree_leaves_with_path(gradients) if not np.any(g)]
    assert not silent
    again, other = trained(jax.random.key(0))[1][0], trained(jax.random.key(1))[1][0]
    np.testing.assert_array_equal(logits, again)
    assert not np.allclose(logits, other)
    # Keras's rule for the running statistics: momentum times the old plus the rest of the batch's own.
    stem = lax.conv_general_dilated(
        images,
        variables["params"]["stem"]["kernel"],
        (2, 2),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    momentum = registry.spec("efficientnet_nano").bn_momentum
    np.testing.assert_allclose(
        changed["batch_stats"]["stem_norm"]["mean"],
        (1 - momentum) * np.mean(stem, (0, 1, 2)),
        rtol=1e-3,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        changed["batch_stats"]["stem_norm"]["var"],
        momentum + (1 - momentum) * np.var(stem, (0, 1, 2)),
        rtol=1e-4,
    )


@pytest.mark.slow
def test_bfloat16_computes_in_half_and_keeps_parameters_and_logits_in_single():
    model = registry.create("efficientnet_b0", 4, dtype=jnp.bfloat16)
    variables = registry.variable_shapes(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    images = jax.ShapeDtypeStruct((1, 33, 33, 3), jnp.float32)
    features, changed = jax.eval_shape(
        functools.partial(model.apply, train=True, features=True, mutable=["batch_stats"]),
        variables,
        images,
        rngs={"dropout": jax.random.key(0)},
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(changed)} == {jnp.dtype("float32")}
    assert features.pop("logits").dtype == features.pop("pooled").dtype == jnp.float32
    assert {value.dtype for value in features.values()} == {jnp.dtype("bfloat16")}
