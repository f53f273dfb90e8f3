"""The backbones against keras.applications', moved through files that Keras writes."""

import functools
import importlib.util

import jax
import numpy as np
import pytest

from skinjax.models import registry
from skinjax.models.pixels import normalize
from skinjax.models.pretrained import load_pretrained, load_with_report
from skinjax.models.weights.keras_names import keras_names
from tests.peers import adapters
from tests.peers import test_parity_torch as torch_parity

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # the libraries' own
    pytest.mark.skipif(
        importlib.util.find_spec("keras") is None,
        reason='keras is not installed: pip install -e ".[peers]"',
    ),
]
make, relative_error, double = torch_parity.make, torch_parity.relative_error, torch_parity.double

MODELS = {
    "inception_v3": "InceptionV3",
    "xception": "Xception",
    "inception_resnet_v2": "InceptionResNetV2",
    "densenet121": "DenseNet121",
    "efficientnet_b0": "EfficientNetB0",
}
MAPS = {
    "inception_v3": {f"mixed_{i:02d}": f"mixed{i}" for i in (0, 3, 7, 8, 9, 10)},
    "xception": {
        "block_01": "block1_conv2_act",
        "block_02": "add",
        "block_04": "add_2",
        "block_08": "add_6",
        "block_13": "add_11",
        "block_14": "block14_sepconv2_act",
    },
    "inception_resnet_v2": {
        "mixed_5b": "mixed_5b",
        "block35_10": "block35_10_ac",
        "mixed_6a": "mixed_6a",
        "block17_20": "block17_20_ac",
        "mixed_7a": "mixed_7a",
        "block8_09": "block8_9_ac",
        "top": "conv_7b_ac",
    },
    "densenet121": {
        "stem": "pool1",
        "dense_1_06": "conv2_block6_concat",
        "transition_1": "pool2_pool",
        "dense_3_24": "conv4_block24_concat",
        "top": "relu",
    },
    "efficientnet_b0": {
        "stem": "stem_activation",
        "block_00": "block1a_project_bn",
        "block_04": "block3b_add",
        "block_15": "block7a_project_bn",
        "top": "top_activation",
    },
}
CLASSES = 7


def opened(row, size, **options):
    case = make.Case(row, "keras", MODELS[row], (), {}, 1.0 if row == "xception" else 2.0)
    peer = adapters.open_peer("keras", case.model, size, options.pop("classes", CLASSES), **options)
    arrays = {name: make.draw_for(case, name, shape) for name, shape in peer.shapes().items()}
    spec = registry.spec(row)
    normalisation = {"normalization/mean": spec.mean, "normalization/variance": np.square(spec.std)}
    arrays |= {name: np.float32(value) for name, value in normalisation.items() if name in arrays}
    peer.set(arrays)
    return peer, arrays


def photos(shape):
    return np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("row", "shape", "file"),
    [
        ("inception_v3", (2, 96, 107), "w.weights.h5"),
        ("inception_v3", (1, 139, 128), "w.h5"),
        ("xception", (2, 96, 107), "w.h5"),
        ("xception", (1, 139, 128), "w.keras"),
        ("inception_resnet_v2", (1, 107, 128), "w.weights.h5"),
        ("densenet121", (2, 96, 107), "w.weights.h5"),
        ("efficientnet_b0", (2, 96, 107), "w.weights.h5"),
        ("efficientnet_b0", (1, 139, 128), "w.h5"),
    ],
)
def test_features(row, shape, file, tmp_path):
    peer, _ = opened(row, shape[1:])
    variables, report = load_with_report(row, peer.save(tmp_path / file), CLASSES)
    assert not report.new
    if row == "efficientnet_b0":  # the model itself normalises
        images = photos(shape)
        theirs, images = images, normalize(images, registry.spec(row))
    else:
        theirs = images = make.draw_images(shape)
    ours = jax.jit(functools.partial(registry.create(row, CLASSES).apply, features=True))(variables, images)
    errors = {}
    for name, expected in peer.features(theirs, MAPS[row]).items():
        assert ours[name].shape == expected.shape, name
        errors[name] = relative_error(ours[name], expected)
    print(row, "largest relative error of feature maps", max(errors.values()))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize(("row", "shape"), [("inception_v3", (6, 96, 107)), ("xception", (4, 72, 91))])
def test_training_step(row, shape, tmp_path, double):
    peer, _ = opened(row, shape[1:])
    variables = load_pretrained(row, peer.save(tmp_path / "w.weights.h5"), CLASSES)
    images, weights = make.draw_images(shape), make.draw_weights((shape[0], CLASSES))
    expected_statistics, expected_gradients = peer.train_step(images, weights)
    statistics, gradients = torch_parity.train_step(row, variables, images, weights, momentum=0.99)
    names = keras_names(registry.spec(row), [*expected_statistics, *expected_gradients], {})
    errors = {}
    for ours, theirs in ((statistics, expected_statistics), (gradients, expected_gradients)):
        theirs = {
            names[name]: value.transpose(0, 1, 3, 2) if name.endswith("depthwise_kernel") else value
            for name, value in theirs.items()
        }
        errors |= torch_parity.step_errors(ours, theirs)
    worst = sorted(errors, key=errors.get)[-3:]
    print(row, "largest relative errors of a training step", {name: errors[name] for name in worst})
    assert errors[worst[-1]] < 1e-3, {name: errors[name] for name in worst}


# What EfficientNet does to pixels.


def assert_same_logits(model, variables, images):
    ours = registry.create("efficientnet_b0", variables["params"]["head"]["bias"].size)
    logits = jax.jit(ours.apply)(variables, normalize(images, registry.spec("efficientnet_b0")))
    dtype = model.inputs[0].dtype
    with jax.enable_x64(dtype == "float64"):
        expected = np.asarray(model(images.astype(dtype)), np.float64)
    assert relative_error(logits, expected) < 1e-4


def test_pixels_of_the_published_weights(tmp_path, monkeypatch):
    """A file that stores standard deviations as the variance, in the model that is made for it."""
    peer, arrays = opened("efficientnet_b0", (224, 224), classes=1000)
    spec = registry.spec("efficientnet_b0")
    peer.set(arrays | {"normalization/variance": np.float32(spec.std)})
    path = peer.save(tmp_path / "published.weights.h5")
    from keras.src.applications import efficientnet

    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *_, **__: str(path))
    published = efficientnet.EfficientNetB0(weights="imagenet", classifier_activation=None)
    assert sum("rescaling" in layer.name for layer in published.layers) == 2
    variables, report = load_with_report("efficientnet_b0", path, 1000)
    assert not report.notes
    assert_same_logits(published, variables, photos((1, 224, 224)))


def test_pixels_of_models_made_without_weights(tmp_path):
    peer, arrays = opened("efficientnet_b0", (64, 75))
    variance = np.float32([0.04, 0.09, 0.0625])
    peer.set(arrays | {"normalization/variance": variance})
    variables, report = load_with_report("efficientnet_b0", peer.save(tmp_path / "w.h5"), CLASSES)
    assert report.notes == ("stem multiplied by 1.145, 0.7467, 0.9 for the file's normalisation of pixels",)
    assert_same_logits(peer.model, variables, photos((2, 64, 75)))
    peer.set(arrays | {"normalization/mean": np.zeros(3, np.float32), "normalization/variance": np.ones(3)})
    with pytest.raises(
        ValueError, match=r"subtracts 0, 0, 0 from pixels .*never adapted.*padding is of zeros"
    ):
        load_pretrained("efficientnet_b0", peer.save(tmp_path / "plain.h5"), CLASSES)
