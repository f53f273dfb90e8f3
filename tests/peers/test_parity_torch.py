"""The backbones against timm's, moved through files that PyTorch writes."""

import functools
import importlib.util
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from skinjax.models import registry
from skinjax.models.backbones import backbone
from skinjax.models.ops import pooling
from skinjax.models.pretrained import load_pretrained, load_with_report
from skinjax.models.weights.torch_names import from_torch, reason_to_leave_out, torch_names
from skinjax.predict.gradcam import grad_cam
from tests.golden import make_golden as make
from tests.peers import adapters

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # the libraries' own
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None or importlib.util.find_spec("timm") is None,
        reason='torch and timm are not installed: pip install -e ".[peers]"',
    ),
]

MAPS = {
    "efficientnet_b0": {
        "stem": "bn1",
        "block_00": "blocks.0",
        "block_04": "blocks.2",
        "block_10": "blocks.4",
        "block_15": "blocks.6",
        "top": "bn2",
    },
    "efficientnet_b3": {"block_01": "blocks.0", "block_07": "blocks.2", "block_25": "blocks.6", "top": "bn2"},
    "efficientnet_lite0": {"stem": "bn1", "block_00": "blocks.0", "block_15": "blocks.6", "top": "bn2"},
    "inception_v3_torch": {
        "stem": "Pool2",
        "mixed_00": "Mixed_5b",
        "mixed_03": "Mixed_6a",
        "mixed_07": "Mixed_6e",
        "mixed_08": "Mixed_7a",
        "mixed_10": "Mixed_7c",
    },
    "inception_resnet_v2_torch": {
        "stem": "maxpool_5a",
        "mixed_5b": "mixed_5b",
        "block35_10": "repeat.9",
        "mixed_6a": "mixed_6a",
        "block17_20": "repeat_1.19",
        "mixed_7a": "mixed_7a",
        "block8_10": "block8",
        "top": "conv2d_7b",
    },
    "xception_torch": {
        "block_01": "act2",
        "block_02": "block1",
        "block_04": "block3",
        "block_08": "block7",
        "block_13": "block12",
        "block_14": "act4",
    },
    "densenet121": {
        "stem": "features.pool0",
        "dense_1_06": "features.denseblock1",
        "transition_1": "features.transition1",
        "dense_3_24": "features.denseblock3",
        "transition_3": "features.transition3",
        "top": "features",
    },
}
MODELS = {
    "inception_v3_torch": "inception_v3",
    "inception_resnet_v2_torch": "inception_resnet_v2",
    "xception_torch": "legacy_xception",
}
SUFFIXES = {"efficientnet_b0": ".safetensors", "xception_torch": ".safetensors"}
CLASSES = 7


def model_name(row):
    return MODELS.get(row, f"tf_{row}" if row.startswith("efficientnet") else row)


def opened(row):
    case = make.Case(row, "timm", model_name(row), (), {}, 1.0 if row.startswith("xception") else 2.0)
    peer = adapters.open_peer("timm", case.model, (), CLASSES)
    peer.set({name: make.draw_for(case, name, shape) for name, shape in peer.shapes().items()})
    return peer


def relative_error(value, expected, least=0.0):
    """Largest difference over the largest value, or over `least` where that is smaller."""
    return np.abs(np.asarray(value, np.float64) - expected).max() / max(np.abs(expected).max(), least)


def step_errors(ours, theirs):
    """Relative errors by name; of both dicts the names are the same.

    Gradients of what a normalisation takes out again, as a bias before it, are 0 but for rounding; what is a
    millionth of the largest counts as such.
    """
    assert set(ours) == set(theirs)
    least = 1e-6 * max(np.abs(value).max() for value in theirs.values())
    return {name: relative_error(ours[name], value, least) for name, value in theirs.items()}


@pytest.mark.parametrize("row", MAPS)
def test_features(row, tmp_path):
    peer = opened(row)
    path = peer.save(tmp_path / f"weights{SUFFIXES.get(row, '.pth')}")
    variables, report = load_with_report(row, path, CLASSES)
    assert not report.new
    assert set(report.left_out.values()) <= {"PyTorch's count of batches, which nothing here needs"}
    run = jax.jit(functools.partial(registry.create(row, CLASSES).apply, features=True))
    errors = {}
    for shape in ((2, 96, 107), (1, 139, 128)):
        images = make.draw_images(shape)
        ours = run(variables, images)
        for name, expected in peer.features(images, MAPS[row]).items():
            assert ours[name].shape == expected.shape, name
            errors[name, shape[1:]] = relative_error(ours[name], expected)
    print(row, "largest relative error of feature maps", max(errors.values()))
    assert max(errors.values()) < 1e-4, errors


@pytest.fixture
def double(monkeypatch):
    """Double precision where networks otherwise ask for single by name.

    Which side of a rectifier's kink a value near 0 falls on is rounding. In single precision a dozen do otherwise
    than in double, each changes gradients by up to 1e-2, and that would hide an error.
    """

    wide = types.SimpleNamespace(**{**vars(jnp), "float32": jnp.float64})
    for module in (backbone, pooling):
        monkeypatch.setattr(module, "jnp", wide)
    with jax.enable_x64(True):
        yield


LITE = {"efficientnet_lite0": 15, "efficientnet_lite1": 20, "efficientnet_lite2": 20}
LITE |= {
    "efficientnet_lite3": 23,
    "efficientnet_lite4": 29,
}  # of 24 and 30 blocks; single precision adds up to 1e-3


@pytest.mark.parametrize("row", LITE)
def test_features_in_double_precision(row, tmp_path, double):
    peer, maps = (
        opened(row),
        {"stem": "bn1", "block_00": "blocks.0", f"block_{LITE[row]}": "blocks.6", "top": "bn2"},
    )
    variables = load_pretrained(row, peer.save(tmp_path / "weights.safetensors"), CLASSES)
    variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
    images = make.draw_images((1, 65, 80)).astype(np.float64)
    model = registry.create(row, CLASSES, dtype=jnp.float64)
    ours = jax.jit(functools.partial(model.apply, features=True))(variables, images)
    errors = {
        name: relative_error(ours[name], expected) for name, expected in peer.features(images, maps).items()
    }
    print(row, "largest relative error in double precision", max(errors.values()))
    assert max(errors.values()) < 1e-11, errors


def train_step(row, variables, images, weights, momentum):
    """Running statistics and gradients, both by variable, in double precision."""
    model = registry.create(
        row,
        CLASSES,
        dtype=jnp.float64,
        dropout_rate=0.0,
        drop_path_rate=0.0,
        bn_momentum=momentum,
    )
    variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def step(params):
        logits, changed = model.apply(
            {**variables, "params": params}, images.astype(np.float64), train=True, mutable=["batch_stats"]
        )
        return (logits * weights).sum(), changed

    gradients, changed = jax.tree.map(np.asarray, step(variables["params"]))
    flatten = functools.partial(traverse_util.flatten_dict, sep="/")
    return flatten(changed), flatten({"params": gradients})


TRAINING = {
    "efficientnet_b0": (4, 64, 75),
    "efficientnet_lite0": (4, 64, 75),
    "inception_v3_torch": (6, 96, 107),
    "inception_resnet_v2_torch": (6, 96, 107),
    "xception_torch": (4, 72, 91),
    "densenet121": (4, 64, 75),
}


@pytest.mark.parametrize("row", TRAINING)
def test_training_step(row, tmp_path, double):
    peer = opened(row)
    variables = load_pretrained(row, peer.save(tmp_path / "weights.pth"), CLASSES)
    images, weights = make.draw_images(TRAINING[row]), make.draw_weights((TRAINING[row][0], CLASSES))
    expected_statistics, expected_gradients = peer.train_step(images, weights)
    statistics, gradients = train_step(row, variables, images, weights, momentum=0.9)
    names = torch_names(registry.spec(row))
    errors = {}
    for ours, theirs in ((statistics, expected_statistics), (gradients, expected_gradients)):
        theirs = {
            names[name]: value.transpose(from_torch(tuple(range(value.ndim))))
            for name, value in theirs.items()
        }
        errors |= step_errors(ours, theirs)
    worst = sorted(errors, key=errors.get)[-3:]
    print(row, "largest relative errors of a training step", {name: errors[name] for name in worst})
    assert errors[worst[-1]] < 1e-3, {name: errors[name] for name in worst}


@pytest.mark.parametrize(
    "row",
    [
        *(f"efficientnet_b{i}" for i in range(8)),
        *(f"efficientnet_lite{i}" for i in range(5)),
        "densenet121",
        "densenet169",
        "densenet201",
    ],
)
def test_names_and_shapes(row):
    timm = adapters.import_timm()
    import torch

    with torch.device("meta"):
        state = timm.create_model(model_name(row), num_classes=CLASSES).state_dict()
    names = torch_names(registry.spec(row))
    shapes = traverse_util.flatten_dict(registry.variable_shapes(registry.create(row, CLASSES)), sep="/")
    theirs = {
        names[name]: from_torch(tuple(value.shape))
        for name, value in state.items()
        if reason_to_leave_out(name) is None
    }
    assert theirs == {name: leaf.shape for name, leaf in shapes.items()}


def test_the_names_on_the_hub_are_of_weights_that_read_the_row_s_pixels():
    from timm.models import get_pretrained_cfg

    adapters.import_timm()
    names = [
        spec for spec in map(registry.spec, registry.list_models()) if spec.imagenet.startswith("hf:timm/")
    ]
    assert len(names) > 20
    for spec in names:
        config = get_pretrained_cfg(spec.imagenet.removeprefix("hf:timm/"))
        assert config.hf_hub_id == spec.imagenet.removeprefix("hf:"), spec.name
        # Lite's were trained on (x - 127) / 128, which timm rounds.
        np.testing.assert_allclose(
            (config.mean, config.std), (spec.mean, spec.std), atol=0.003, err_msg=spec.name
        )


def test_files_as_torchvision_publishes_them(tmp_path):
    """InceptionV3 with its auxiliary classifier, DenseNet with dots in names."""
    import torch

    state = opened("inception_v3_torch").model.float().state_dict()
    torch.save(state | {"AuxLogits.fc.bias": torch.ones(CLASSES)}, tmp_path / "inception.pth")
    _, report = load_with_report("inception_v3_torch", tmp_path / "inception.pth", 3)
    assert "auxiliary classifier" in report.left_out["AuxLogits.fc.bias"]
    assert report.new == ("params/head/bias", "params/head/kernel")
    state = opened("densenet121").model.float().state_dict()
    dotted = {
        name.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2."): value
        for name, value in state.items()
    }
    torch.save(dotted, tmp_path / "dotted.pth")
    torch.save(state, tmp_path / "plain.pth")
    first, second = (
        load_pretrained("densenet121", tmp_path / f"{name}.pth", 3) for name in ("dotted", "plain")
    )
    jax.tree.map(np.testing.assert_array_equal, first, second)


GRADCAM = {"efficientnet_b0": "block_10", "densenet121": "top"}


@pytest.mark.parametrize("row", GRADCAM)
def test_grad_cam(row, tmp_path):
    """PyTorch's, by hand: a hook keeps a map and its gradient."""
    peer = opened(row)
    variables = load_pretrained(row, peer.save(tmp_path / "weights.pth"), CLASSES)
    photos = np.random.default_rng(0).integers(0, 256, (CLASSES, 64, 75, 3), dtype=np.uint8)
    spec = registry.spec(row)
    inputs = (photos / 255 - np.asarray(spec.mean)) / np.asarray(spec.std)
    layer, kept = GRADCAM[row], []

    def keep(module, inputs, output):
        output.retain_grad()
        kept.append(output)

    peer.model.get_submodule(MAPS[row][layer]).register_forward_hook(keep)
    peer.model(peer._inputs(inputs)).diagonal().sum().backward()  # of each photo another class
    activations, gradient = kept[0].detach().numpy(), kept[0].grad.numpy()
    expected = np.maximum((activations * gradient.mean((2, 3), keepdims=True)).sum(1), 0)
    assert expected.max() > 0
    members = np.eye(CLASSES, dtype=bool)
    found = grad_cam(registry.create(row, CLASSES), variables, spec, photos, members, layer)
    assert relative_error(found, expected) < 1e-3
