"""Which files a backbone reads, and what is said of the others.

The files are tables of contents whose arrays are one number throughout.
"""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from skinjax.models import pretrained, registry
from skinjax.models.pretrained import load_with_report
from skinjax.models.weights import matching
from skinjax.models.weights.keras_names import keras_layers, keras_names
from skinjax.models.weights.keras_pixels import stem_factors
from skinjax.models.weights.nearest import nearest_backbones
from skinjax.models.weights.stored import StoredWeights
from skinjax.models.weights.torch_names import torch_names

ROWS = registry.list_models()
KERAS = [row for row in ROWS if "_torch" not in row and "_lite" not in row]
TORCH = [row for row in ROWS if row not in ("inception_v3", "inception_resnet_v2", "xception")]
WEIGHTS = {
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "depthwise_conv2d": ("depthwise_kernel",),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "normalization": ("mean", "variance", "count"),
}


@pytest.fixture(scope="module", autouse=True)
def every_network_is_traced_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "variable_shapes", functools.cache(registry.variable_shapes))
        yield


@functools.cache
def shapes_of(row, num_classes=4):
    shapes = registry.variable_shapes(registry.create(row, num_classes))
    return {name: leaf.shape for name, leaf in traverse_util.flatten_dict(shapes, sep="/").items()}


def stored(kind, shapes, values=None, layer_names=None):
    def read(names):
        return {
            name: np.broadcast_to(np.float32((values or {}).get(name, 1)), shapes[name]) for name in names
        }

    return StoredWeights("weights", kind, shapes, read, layer_names or {})


def torch_file(row, values=None):
    names = {}
    for name, variable in torch_names(registry.spec(row)).items():
        names.setdefault(variable, name)
    shapes = {}
    for variable, name in names.items():
        shape = shapes_of(row)[variable]
        shapes[name] = (*shape[:1:-1], *shape[:2]) if len(shape) == 4 else shape[::-1]
    return stored("torch", shapes | {"bn.num_batches_tracked": ()}, values)


def keras_variables(row, first=0):
    """The variables of the arrays of an `.h5` whose numbered layers begin at `first`."""

    def name_of(layer):
        base, _, rank = layer.name.partition("#")
        number = first + int(rank or 0)
        return base if not rank or not number else f"{base}_{number}"

    candidates = [
        f"{name_of(layer)}/{w}" for layer in keras_layers(registry.spec(row)) for w in WEIGHTS[layer.kind]
    ]
    return keras_names(registry.spec(row), candidates, {})


def keras_shapes(row, first=0):
    shapes = {}
    for array, variable in keras_variables(row, first).items():
        shape = shapes_of(row).get(variable, () if variable.endswith("count") else (3,))
        swap = array.endswith("depthwise_kernel")
        shapes[array] = (*shape[:2], shape[3], shape[2]) if swap else shape
    return shapes


def pixels(row, mean=None, variance=None):
    spec = registry.spec(row)
    return {
        "mean": spec.mean if mean is None else mean,
        "variance": spec.std if variance is None else variance,
    }


def keras_file(row, mean=None, variance=None, first=0):
    shapes = keras_shapes(row, first)
    values = {
        array: pixels(row, mean, variance)[array.rsplit("/", 1)[1]]
        for array in shapes
        if array.startswith("normalization") and not array.endswith("count")
    }
    return stored("keras_legacy", shapes, values)


# Of the others the names are enough.
BY_SHAPE = (
    *("efficientnet_b1", "efficientnet_b2", "efficientnet_b1_torch", "efficientnet_b2_torch"),
    *("efficientnet_lite1", "efficientnet_lite2"),
    "inception_resnet_v2_torch",
)


@pytest.fixture
def load(monkeypatch):
    def load(row, file, num_classes=4):
        monkeypatch.setattr(pretrained, "open_weights", lambda path: file)
        return load_with_report(row, "weights", num_classes)

    return load


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[pytest.mark.slow] * (row in BY_SHAPE)) for row in ROWS]
)
def test_nearest_is_what_the_file_is_of(row, monkeypatch):
    if row not in BY_SHAPE:
        shapes = dict.fromkeys(matching.variable_names(registry.spec(row)), (1, 1, 1, 1))
        monkeypatch.setitem(globals(), "shapes_of", lambda row: shapes)
    file = keras_file(row) if row in KERAS else torch_file(row)
    timm = (row, f"{row}_torch") if f"{row}_torch" in ROWS and row.startswith("efficientnet") else (row,)
    if row.startswith("efficientnet") and row.endswith("_torch"):
        timm = (matching.base(row), row)
    assert nearest_backbones(file) == ((row,) if row in KERAS else timm)
    if row in TORCH and row in KERAS:
        assert nearest_backbones(torch_file(row)) == timm


@pytest.mark.slow
def test_nearest_of_our_own_checkpoints():
    assert nearest_backbones(stored("orbax", shapes_of("inception_v3"))) == ("inception_v3",)
    assert nearest_backbones(stored("orbax", shapes_of("xception"))) == ("xception", "xception_torch")
    assert nearest_backbones(stored("orbax", {"params/a/kernel": (3,)})) == ()


@pytest.mark.parametrize("row", ["efficientnet_nano", pytest.param("inception_v3", marks=pytest.mark.slow)])
def test_heads(row, load):
    """Kept, of another number of classes, and absent."""
    file = keras_file(row, first=7)
    assert not load(row, file)[1].new
    variables, report = load(row, file, 9)
    assert report.new == ("params/head/bias", "params/head/kernel")
    assert {report.left_out[name] for name in ("predictions/kernel", "predictions/bias")} == {
        "the head has 9 classes here"
    }
    shapes = {name: shape for name, shape in file.shapes.items() if not name.startswith("predictions/")}
    variables, report = load(row, StoredWeights("weights", file.kind, shapes, file.read))
    assert report.new == ("params/head/bias", "params/head/kernel")
    assert variables["params"]["head"]["kernel"].shape[1] == 4


@pytest.mark.parametrize(
    ("file_of", "old", "new"),
    [("keras_file", "predictions/", "dense_3/"), ("torch_file", "classifier.", "classifier.1.")],
)
def test_heads_of_another_name(file_of, old, new, load):
    """As where a network was given new classes; but not one that reads other features."""
    file = globals()[file_of]("efficientnet_nano")

    def renamed(**more):
        shapes = {name.replace(old, new): shape for name, shape in file.shapes.items()}
        ours = {name.replace(old, new): name for name in file.shapes}

        def read(names):
            values = file.read([ours[name] for name in names])
            return {name: values[ours[name]] for name in names}

        return StoredWeights("weights", file.kind, shapes | more, read)

    _, report = load("efficientnet_nano", renamed())
    assert not report.new
    assert report.notes == (f"the layer {new[:-1]} was taken for the head",)
    _, report = load("efficientnet_nano", renamed(), 9)
    assert report.new == ("params/head/bias", "params/head/kernel")
    _, report = load("efficientnet_nano", renamed(**{"criterion/weight": (3,)}))
    assert not report.new
    assert report.left_out["criterion/weight"] == "beside the network"
    kernel = next(name for name in renamed().shapes if name.startswith(new) and not name.endswith("bias"))
    _, report = load("efficientnet_nano", renamed(**{kernel: (5, 4) if file_of == "keras_file" else (4, 5)}))
    assert report.new == ("params/head/bias", "params/head/kernel")
    assert not report.notes
    assert report.left_out[kernel] == "beside the network"


@pytest.mark.parametrize("row", ["inception_v3", "efficientnet_nano"])
def test_a_model_within_a_model(row, load):
    """Keras's `.h5` then has the inner model's name before its layers' names, numbered ones included."""
    file = keras_file(row, first=3)
    outer = {name if name.startswith("predictions") else f"inner/{name}": name for name in file.shapes}
    shapes = {name: file.shapes[inner] for name, inner in outer.items()}

    def read(names):
        values = file.read([outer[name] for name in names])
        return {name: values[outer[name]] for name in names}

    _, report = load(row, StoredWeights("weights", "keras_legacy", shapes, read))
    assert not report.new


@pytest.mark.slow
@pytest.mark.parametrize("row", ["inception_v3", "xception"])
def test_files_of_the_other_world_are_refused(row, load):
    with pytest.raises(
        ValueError, match=rf"holds {row}_torch, as PyTorch computes it, .*load it as {row}_torch$"
    ):
        load(row, torch_file(f"{row}_torch"))
    with pytest.raises(ValueError, match=rf"holds {row}, as Keras computes it, .*load it as {row}$"):
        load(f"{row}_torch", keras_file(row))
    with pytest.raises(ValueError, match=rf"does not hold {row}: it looks like densenet121 \("):
        load(row, torch_file("densenet121"))


class MeanColour(nn.Module):
    """A registered backbone: a head on the mean colour."""

    num_classes: int

    @nn.compact
    def __call__(self, images, *, train=False):
        return nn.Dense(self.num_classes, name="head")(nn.Dense(5, name="mix")(images.mean((1, 2))))


def test_a_registered_backbone_reads_our_checkpoints_alone_and_confuses_no_other(load, monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", registry._FAMILIES)
    spec = dataclasses.replace(registry.spec("xception"), name="mean", family="mean", block_names=("mix",))
    registry.register({"mean": spec}, lambda spec, num_classes, **_: MeanColour(num_classes))
    assert nearest_backbones(torch_file("xception_torch")) == ("xception_torch",)
    ours = stored("orbax", shapes_of("mean"))
    assert nearest_backbones(ours) == ("mean",)
    variables, _ = load("mean", ours)
    assert {name for name, _ in traverse_util.flatten_dict(variables["params"])} == {"mix", "head"}
    for file in (torch_file("xception_torch"), keras_file("xception")):
        with pytest.raises(ValueError, match=r"does not hold mean.*only skinjax's own checkpoints are read"):
            load("mean", file)


@pytest.mark.slow
def test_scales_of_one_may_be_left_out(load):
    row = "inception_resnet_v2"
    file = torch_file(f"{row}_torch")
    variables, report = load(row, file)
    assert not any("scale" in name for name in traverse_util.flatten_dict(variables, sep="/"))
    assert report.left_out["conv2d_7b.bn.weight"] == f"a scale of 1, which {row} does without"
    scaled = torch_file(f"{row}_torch", {"repeat.3.branch0.bn.weight": 1.001})
    with pytest.raises(
        ValueError, match=rf"scales in repeat\.3\.branch0\.bn\.weight .*load it as {row}_torch"
    ):
        load(row, scaled)
    with pytest.raises(ValueError, match=rf"holds {row}, as Keras computes it"):
        load(f"{row}_torch", keras_file(row))


@pytest.mark.slow
def test_another_architecture_is_named(load):
    with pytest.raises(
        ValueError, match="does not hold xception: it looks like densenet121; of its arrays, "
    ):
        load("xception", keras_file("densenet121"))
    with pytest.raises(
        ValueError, match=r"does not hold efficientnet_b1: it looks like efficientnet_b2; .*shape"
    ):
        load("efficientnet_b1", torch_file("efficientnet_b2"))
    with pytest.raises(
        ValueError, match="does not hold efficientnet_b1: its arrays are of no backbone here; "
    ):
        load("efficientnet_b1", stored("torch", {"a.weight": (3, 3)}))


def test_an_array_that_is_there_twice(load):
    file = torch_file("densenet121")
    place = "features.denseblock1.denselayer1"
    shapes = file.shapes | {f"{place}.norm.1.weight": file.shapes[f"{place}.norm1.weight"]}
    with pytest.raises(
        ValueError, match=r"stands in it twice, as \S+norm1\.weight and as \S+norm\.1\.weight"
    ):
        load("densenet121", stored("torch", shapes))


def test_kernels_without_rows_and_columns(load):
    """As the first Xception weights for PyTorch had them."""
    file = torch_file("xception_torch")
    shapes = {name: shape[:2] if "pointwise" in name else shape for name, shape in file.shapes.items()}
    variables, _ = load("xception_torch", stored("torch", shapes))
    assert variables["params"]["block_02"]["pointwise_1"]["kernel"].shape == (1, 1, 64, 128)


@pytest.mark.parametrize("row", KERAS)
def test_layers_are_found_without_their_names(row):
    """By the place in the list of layers, as in files of Keras 2, and by name, as since Keras 3."""
    spec, count, by_place, own_names = registry.spec(row), {}, {}, {}
    known = keras_variables(row)
    for layer in keras_layers(spec):
        number = count[layer.kind] = count.get(layer.kind, -1) + 1
        place = f"layers/{layer.kind}_{number}" if number else f"layers/{layer.kind}"
        name = layer.name.replace("#0", "").replace("#", "_")
        present = [f"{name}/{weight}" for weight in WEIGHTS[layer.kind] if f"{name}/{weight}" in known]
        for position, array in enumerate(present):
            by_place[f"{place}/vars/{position}"] = known[array]
            own_names[f"{place}/vars/{position}"] = name
    assert keras_names(spec, by_place, {}) == by_place
    assert keras_names(spec, by_place, own_names) == by_place


# Keras's normalisation of pixels.


def test_pixels_are_folded_or_refused(load):
    row = "efficientnet_nano"
    spec = registry.spec(row)
    plain, report = load(row, keras_file(row))  # the standard deviations, as published
    assert not report.notes
    assert set(report.left_out) == {f"normalization/{kind}" for kind in ("mean", "variance", "count")}
    same, report = load(row, keras_file(row, variance=np.square(spec.std)))
    assert not report.notes
    jax.tree.map(np.testing.assert_array_equal, plain, same)
    other, report = load(row, keras_file(row, variance=np.square(spec.std) / 4))
    assert report.notes == ("stem multiplied by 2, 2, 2 for the file's normalisation of pixels",)
    np.testing.assert_allclose(
        other["params"]["stem"]["kernel"], 2 * plain["params"]["stem"]["kernel"], rtol=1e-6
    )
    with pytest.raises(
        ValueError, match=r"subtracts 0, 0, 0 from pixels \(made with weights=None and never adapted\)"
    ):
        load(row, keras_file(row, mean=(0, 0, 0), variance=(1, 1, 1)))
    with pytest.raises(ValueError, match=r"subtracts 0\.5, 0\.5, 0\.5 from pixels, and"):
        load(row, keras_file(row, mean=(0.5, 0.5, 0.5)))


@pytest.mark.parametrize(
    ("mean", "variance"), [([0.5], [1]), ([0.5] * 3, [1, 1, 0]), ([np.nan] * 3, [1] * 3)]
)
def test_pixels_that_are_none(mean, variance):
    with pytest.raises(ValueError, match="is not a mean and a variance of three channels"):
        stem_factors(np.array(mean), np.array(variance), registry.spec("efficientnet_b0"))


def test_values_too_large_for_single_precision(load):
    file = torch_file("efficientnet_nano")
    read = file.read

    def large(names):
        values = read(names)
        return {n: np.full(v.shape, 1e300) if n == "bn1.bias" else v for n, v in values.items()}

    with pytest.raises(ValueError, match=r"values in bn1\.bias that are not finite"):
        load("efficientnet_nano", StoredWeights("weights", "torch", file.shapes, large))


def test_names_of_the_hub_that_compute_otherwise():
    for row, name, what in (
        ("efficientnet_b0", "efficientnet_b0.ra_in1k", "pads otherwise.*load it as efficientnet_b0_torch$"),
        ("efficientnet_b0_torch", "tf_efficientnet_b0.in1k", "pads otherwise.*load it as efficientnet_b0$"),
        ("efficientnet_b0", "tf_efficientnet_b0.ap_in1k", "mean 0.5"),
        ("efficientnet_b0_torch", "efficientnet_b0.ra4_e3600_r224_in1k", "mean 0.5"),
    ):
        with pytest.raises(
            ValueError, match=rf"^hf:timm/{name} has arrays like those of {row}, but .*{what}"
        ):
            load_with_report(row, f"hf:timm/{name}", 4)


def test_names_of_the_hub_are_fetched(monkeypatch):
    from skinjax.models.weights import hub

    asked = []
    monkeypatch.setattr(hub, "fetch", lambda name: asked.append(name) or "fetched")
    monkeypatch.setattr(
        pretrained, "open_weights", lambda path: {"fetched": torch_file("efficientnet_nano")}[path]
    )
    load_with_report("efficientnet_nano", "hf:someone/nano", 4)
    assert asked == ["hf:someone/nano"]
