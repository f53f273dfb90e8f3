"""Weights as people save them: what lies beside the network is left out, and nothing is taken for what it is not.

The files are of the nano, whose arrays are drawn, in timm's names.
"""

import functools
import re

import jax
import numpy as np
import pytest
from flax import traverse_util

from skinjax.models import registry
from skinjax.models.pretrained import load_with_report
from skinjax.models.weights.keras_names import keras_layers
from skinjax.models.weights.matching import BESIDE, match
from skinjax.models.weights.stored import StoredWeights
from skinjax.models.weights.torch_names import torch_names
from tests.models.weights.test_weight_matching import keras_shapes, pixels
from tests.support import stored_files as files

NANO = "efficientnet_nano"
CLASSES, WIDTH = 4, 640


@functools.cache
def shapes_of(row, num_classes=CLASSES):
    shapes = registry.variable_shapes(registry.create(row, num_classes))
    return {name: leaf.shape for name, leaf in traverse_util.flatten_dict(shapes, sep="/").items()}


def network(seed=0, row=NANO, classes=CLASSES):
    """A state dict of the network alone; every array is drawn."""
    generator = np.random.default_rng(seed)
    names = {}
    for name, variable in torch_names(registry.spec(row)).items():
        names.setdefault(variable, name)
    arrays = {}
    for variable, name in names.items():
        shape = shapes_of(row, classes)[variable]
        shape = (*shape[:1:-1], *shape[:2]) if len(shape) == 4 else shape[::-1]
        arrays[name] = generator.random(shape, np.float32)
    return arrays | {"bn1.num_batches_tracked": np.array(3)}


def below(prefix, arrays):
    return {prefix + name: array for name, array in arrays.items()}


def drawn(*shape):
    return np.random.default_rng(9).random(shape, np.float32)


def dense(name, outputs, inputs):
    return {f"{name}.weight": drawn(outputs, inputs), f"{name}.bias": drawn(outputs)}


def headless(arrays):
    return {name: array for name, array in arrays.items() if not name.startswith("classifier.")}


@pytest.fixture(scope="module", autouse=True)
def every_network_is_traced_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "variable_shapes", functools.cache(registry.variable_shapes))
        yield


FORMATS = pytest.mark.parametrize("load", ["zip", "pickle", "safetensors"], indirect=True)


@pytest.fixture
def load(request, tmp_path):
    """Writes a state dict, in a checkpoint where the format has that, and loads it."""
    kind = getattr(request, "param", "safetensors")

    def load(arrays, row=NANO, num_classes=CLASSES, part=""):
        path = tmp_path / "weights"
        if kind == "safetensors":
            dtypes = {name: "I64" for name, array in arrays.items() if array.dtype == np.int64}
            files.write_safetensors(path, arrays, dtypes)
        else:
            write = files.write_torch_zip if kind == "zip" else files.write_torch_pickle
            optimizer = {"state": {0: {"exp_avg": files.tensor(drawn(3))}}}
            content = {name: files.tensor(array) for name, array in arrays.items()}
            write(path, {"epoch": 3, "state_dict": content, "optimizer_states": [optimizer]})
        return load_with_report(row, f"{path}{part}", num_classes)

    return load


def assert_holds(variables, arrays, head=None):
    """The variables are these arrays; the head's are those of the layer `head`, or new."""
    flat = traverse_util.flatten_dict(variables, sep="/")
    for name, variable in torch_names(registry.spec(NANO)).items():
        if variable.startswith("params/head/"):
            continue
        expected = arrays[name]
        expected = np.einsum("oihw->hwio", expected) if expected.ndim == 4 else expected.T
        np.testing.assert_array_equal(flat[variable], expected, err_msg=name)
    if head:
        np.testing.assert_array_equal(flat["params/head/kernel"], head["weight"].T)
        np.testing.assert_array_equal(flat["params/head/bias"], head["bias"])


def head_of(arrays, layer):
    return {kind: arrays[f"{layer}.{kind}"] for kind in ("weight", "bias")}


BESIDES = {
    "criterion": {"criterion.weight": drawn(CLASSES)},
    "metrics": {"val_f1.tp": np.arange(4), "val_auc.confmat": np.ones((4, 4), np.int64), "seen": np.array(3)},
    "another head": dense("projection.0", 128, WIDTH),
    "decoder": {"decoder.blocks.0.conv1.0.weight": drawn(8, 6, 3, 3), "segmentation_head.0.bias": drawn(3)},
    "another network": {"discriminator.conv1.weight": drawn(8, 3, 3, 3), "discriminator.bn1.bias": drawn(8)},
}


@FORMATS
@pytest.mark.parametrize(
    "prefix", ["", "model.", "module.net.backbone.", "encoder.", "model.model.", "0.", "a._orig_mod."]
)
def test_any_prefix_and_what_lies_beside(load, prefix):
    arrays = network()
    beside = {name: array for more in BESIDES.values() for name, array in more.items()}
    variables, report = load(below(prefix, arrays) | beside)
    assert_holds(variables, arrays, head_of(arrays, "classifier"))
    assert not report.new
    assert {name for name, reason in report.left_out.items() if reason == BESIDE} == set(beside)
    counter = f"{prefix}bn1.num_batches_tracked"
    assert report.left_out[counter] == "PyTorch's count of batches, which nothing here needs"
    assert set(report.used) == set(below(prefix, arrays)) - {counter}
    assert f"{len(beside)} lie beside the network: criterion.weight, decoder.blocks" in str(report)
    assert (f"its names in {prefix} were taken" in report.notes) == bool(prefix)


@pytest.mark.parametrize(
    ("layer", "beside"),
    [("head", "criterion"), ("model.fc", "metrics"), ("model.head.1", "another head"), ("fc", "decoder")],
)
def test_another_head_is_the_head(load, beside, layer):
    arrays = headless(network())
    head = dense(layer, CLASSES, WIDTH)
    variables, report = load(below("model.backbone.", arrays) | head | BESIDES[beside])
    assert_holds(variables, arrays, head_of(head, layer))
    assert f"the layer {layer} was taken for the head" in report.notes
    if beside != "another head":
        _, report = load(below("model.backbone.", arrays) | head | BESIDES[beside], num_classes=7)
        assert report.new == ("params/head/bias", "params/head/kernel")
        assert report.left_out[f"{layer}.weight"] == "the head has 7 classes here"


def test_a_head_of_the_classes_that_are_asked_for_replaces_the_one_before(load):
    """As where a backbone kept ImageNet's head, and a new one reads its features."""
    arrays = network(classes=1000)
    head = dense("head", CLASSES, WIDTH)
    whole = below("backbone.", arrays) | head
    variables, report = load(whole)
    assert_holds(variables, arrays, head_of(head, "head"))
    assert "the head that the network had before" in report.left_out["backbone.classifier.weight"]
    variables, report = load(whole, num_classes=1000)
    assert_holds(variables, arrays, head_of(arrays, "classifier"))
    assert report.left_out["head.weight"] == BESIDE
    for more in (dense("wrapper", CLASSES, 1000), head | dense("other", CLASSES, WIDTH)):
        _, report = load(below("backbone.", arrays) | more)
        assert report.new == ("params/head/bias", "params/head/kernel")
        assert report.left_out["backbone.classifier.weight"] == "the head has 4 classes here"


NO_HEADS = {
    "two dense layers": (dense("fc1", 512, WIDTH) | dense("fc2", CLASSES, 512), "fc2.weight is behind fc1"),
    "two of the features' width": (
        dense("fc1", WIDTH, WIDTH) | dense("fc2", CLASSES, WIDTH),
        "fc1.weight is before fc2",
    ),
    "a layer on the classes": (
        dense("head", CLASSES, WIDTH) | dense("mix", 2, CLASSES),
        "mix.weight is behind head",
    ),
    "a normalisation": (
        {"neck.weight": drawn(WIDTH), "neck.running_mean": drawn(WIDTH)} | dense("head", CLASSES, WIDTH),
        "neck.weight is before head",
    ),
    "another pooling": ({"gem.p": drawn(1)} | dense("head", CLASSES, WIDTH), "gem.p is before head"),
    "two heads": (
        dense("skin", CLASSES, WIDTH) | dense("nail", CLASSES, WIDTH),
        "skin, nail could each be it",
    ),
    "none": ({}, ""),
    "angles": ({"arcface.weight": drawn(CLASSES, WIDTH)}, ""),
}


@pytest.mark.parametrize("case", NO_HEADS)
def test_no_layer_that_is_not_plainly_the_head_is_taken_for_it(load, case):
    more, reason = NO_HEADS[case]
    arrays = headless(network())
    variables, report = load(below("encoder.", arrays) | more)
    assert_holds(variables, arrays)
    assert report.new == ("params/head/bias", "params/head/kernel")
    assert set(more) == {name for name, why in report.left_out.items() if why == BESIDE}
    said = [note for note in report.notes if "head" in note]
    assert said == ([f"no layer was taken for the head, since {reason}"] if reason else [])


@pytest.mark.parametrize("prefix", ["ema_model.", "model_ema.module.", "ema.", "swa_model.net."])
def test_averaged_weights_are_taken_and_said(load, prefix):
    plain, averaged = network(1), network(2)
    variables, report = load(below("model.", plain) | below(prefix, averaged))
    assert_holds(variables, averaged, head_of(averaged, "classifier"))
    assert f"its names in {prefix} were taken, which are averaged, and not those in model." in report.notes
    assert "another copy of the network" in report.left_out["model.conv_stem.weight"]
    variables, _ = load(below("model.", plain) | below(prefix, averaged), part="#model")
    assert_holds(variables, plain, head_of(plain, "classifier"))


def test_averages_of_parameters_alone_are_left_out(load):
    plain = network()
    shadow = {name: array + 1 for name, array in plain.items() if "running" not in name}
    variables, report = load(below("model.", plain) | below("ema.", shadow))
    assert_holds(variables, plain)
    assert report.left_out["ema.conv_stem.weight"] == BESIDE


@pytest.mark.parametrize(
    "names", [("student.", "teacher."), ("encoder_q.0.", "encoder_k.0."), ("", "target.")]
)
def test_two_networks_are_refused_until_one_is_chosen(load, names):
    arrays = {name: network(seed) for seed, name in enumerate(names)}
    whole = {key: array for name, network in arrays.items() for key, array in below(name, network).items()}
    choices = [f"#{name.rstrip('.') or '.'}" for name in names]
    places = " and ".join(name or "no module" for name in names)
    message = (
        rf"{NANO}: it stands in it 2 times, with names in {places}: add {' or '.join(choices)} to the path$"
    )
    with pytest.raises(ValueError, match=message):
        load(whole)
    for name, choice in zip(names, choices, strict=True):
        variables, report = load(whole, part=choice)
        assert_holds(variables, arrays[name], head_of(arrays[name], "classifier"))
        assert len(report.used) + len(report.left_out) == len(whole)
    with pytest.raises(ValueError, match=r"no names in elsewhere are like its own, but those in "):
        load(whole, part="#elsewhere")


def test_two_names_of_one_network_are_no_choice(load):
    arrays = network()
    variables, report = load(below("model.", arrays) | below("loss.extractor.", headless(arrays)))
    assert_holds(variables, arrays, head_of(arrays, "classifier"))
    assert "its names in model. were taken, which those in loss.extractor. are equal to" in report.notes


def test_a_network_of_other_widths_is_no_copy(load):
    arrays, wider = network(), network(1)
    wider["conv_stem.weight"] = drawn(32, 3, 3, 3)
    variables, _ = load(below("student.", arrays) | below("teacher.", wider))
    assert_holds(variables, arrays)


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_what_is_amid_the_network_or_lacks_is_refused(load, prefix):
    arrays = network()
    for name in ("blocks.0.1.conv_dw.weight", "conv_stem.bias", "blocks.2.0.attention.weight"):
        with pytest.raises(ValueError, match=rf"of its arrays, {prefix}{name} not in it$"):
            load(below(prefix, {**arrays, name: drawn(16)}))
    lacking = {name: array for name, array in arrays.items() if not name.startswith(("conv_head", "bn2"))}
    with pytest.raises(ValueError, match=r"of its arrays, batch_stats/top_norm/mean, .* \(5\) missing$"):
        load(below(prefix, lacking) | BESIDES["criterion"])
    other = {**arrays, "conv_head.weight": drawn(1280, 160, 1, 1)}
    message = (
        rf"1 of another shape \({prefix}conv_head\.weight for params/top/kernel is \[.*\] and not \[1, 1, "
    )
    with pytest.raises(ValueError, match=message):
        load(below(prefix, other))


def test_entries_of_a_checkpoint_that_are_networks(tmp_path):
    arrays, head = headless(network()), dense("0", CLASSES, WIDTH)
    content = {
        name: {key: files.tensor(array) for key, array in table.items()}
        for name, table in {"backbone": arrays, "head": head}.items()
    }
    variables, report = load_with_report(NANO, files.write_torch_zip(tmp_path / "two.zip", content), CLASSES)
    assert_holds(variables, arrays, head_of(head, "0"))
    assert "the layer head.0 was taken for the head" in report.notes
    content["head"] = {key: files.tensor(array) for key, array in headless(network(1)).items()}
    path = files.write_torch_zip(tmp_path / "twice.zip", content)
    with pytest.raises(ValueError, match=r"add #backbone or #head to the path$"):
        load_with_report(NANO, path, CLASSES)
    assert_holds(load_with_report(NANO, f"{path}#backbone", CLASSES)[0], arrays)


def test_a_name_with_the_sign_of_a_part_is_a_name(tmp_path):
    arrays = network()
    path = files.write_safetensors(tmp_path / "run#3", arrays, {"bn1.num_batches_tracked": "I64"})
    assert_holds(load_with_report(NANO, path, CLASSES)[0], arrays)


def test_densenet_under_a_head_with_an_activation():
    """As `densenet121.classifier = Sequential(Linear, Sigmoid)` under DataParallel, with the dots of old files."""
    shapes = {f"densenet121.{name}": shape for name, shape in densenet_shapes().items()}
    matched = match(StoredWeights("x", "torch", shapes, dict), registry.spec("densenet121"), DENSENET_HEAD)
    assert matched.notes == (
        "its names in densenet121. were taken",
        "the layer densenet121.classifier.0 was taken for the head",
    )
    assert not matched.left_out


DENSENET_HEAD = {"params/head/kernel": (1024, 14)}


def densenet_shapes():
    shapes = {
        name: (1,)
        for name in torch_names(registry.spec("densenet121"))
        if not re.search(r"(norm|conv)[12]\.", name) and not name.startswith("classifier")
    }
    return shapes | {"classifier.0.weight": (14, 1024), "classifier.0.bias": (14,)}


# Keras.


def keras_file(path, row=NANO, more=None, inside=""):
    layers = {}
    for array, shape in keras_shapes(row).items():
        layer, kind = array.split("/")
        values = pixels(row).get(kind) if layer == "normalization" else None
        value = np.ones(shape, np.float32) if values is None else np.array(values, np.float32)
        outer = layer if layer == "predictions" or not inside else inside
        layers.setdefault(outer, {})[f"{layer}/{kind}:0"] = value
    for array, value in (more or {}).items():
        layers.setdefault(array.split("/")[0], {})[f"{array}:0"] = value
    return files.write_keras_legacy(path, layers)


@pytest.mark.parametrize("inside", ["", "base"])
def test_layers_on_top_in_keras(tmp_path, inside):
    more = {
        "hidden/kernel": drawn(CLASSES, 7),
        "batch_normalization/gamma": drawn(7),
        "conv2d/kernel": drawn(3, 3, 2, 2),
        "augment/state": drawn(1),
    }
    _, report = load_with_report(NANO, keras_file(tmp_path / "x.h5", more=more, inside=inside), CLASSES)
    assert not report.new
    beside = {name for name, reason in report.left_out.items() if reason == BESIDE}
    assert {name.rsplit("/", 2)[-2] for name in beside} == {
        "hidden",
        "batch_normalization",
        "conv2d",
        "augment",
    }


@pytest.mark.parametrize("named", [True, False])
def test_a_network_inside_of_another_model_of_keras(tmp_path, named):
    """As `Sequential([base, pooling, Dense(7), Dense(4)])` saves itself in a `.weights.h5`; Keras 2 without names."""
    shapes, layers, counts = keras_shapes(NANO), {}, {}
    for layer in keras_layers(registry.spec(NANO)):
        if layer.name == "predictions":
            continue
        number = counts[layer.kind] = counts.get(layer.kind, -1) + 1
        place = f"layers/functional/layers/{layer.kind}" + (f"_{number}" if number else "")
        name = layer.name.removesuffix("#0")
        held = [(array, shape) for array, shape in shapes.items() if array.split("/")[0] == name]
        values = [np.full(shape, pixels(NANO).get(a.split("/")[1], 1), np.float32) for a, shape in held]
        layers[place] = (name if named else "", values)
    layers["layers/dense"] = ("dense" if named else "", [drawn(WIDTH, 7), drawn(7)])
    layers["layers/dense_1"] = ("dense_1" if named else "", [drawn(7, CLASSES), drawn(CLASSES)])
    path = files.write_keras3(tmp_path / "x.weights.h5", layers)
    _, report = load_with_report(NANO, path, CLASSES)
    assert report.new == ("params/head/bias", "params/head/kernel")
    assert {"layers/dense_1/vars/0", "layers/dense_1/vars/1"} <= set(report.left_out)


def test_a_deeper_network_of_keras_is_not_taken_for_its_first_layers(tmp_path):
    more = {"block2b_expand_conv/kernel": drawn(1, 1, 2, 2)}
    with pytest.raises(ValueError, match=r"of its arrays, block2b_expand_conv/kernel not in it"):
        load_with_report(NANO, keras_file(tmp_path / "x.h5", more=more), CLASSES)


def test_a_new_head_is_drawn_from_the_key(load):
    """A new head's numbers come from the key, whatever lies beside."""
    arrays = headless(network())
    fresh = registry.init_variables(registry.create(NANO, CLASSES), jax.random.key(0))
    variables, _ = load(below("encoder.", arrays) | BESIDES["criterion"])
    np.testing.assert_array_equal(variables["params"]["head"]["kernel"], fresh["params"]["head"]["kernel"])
