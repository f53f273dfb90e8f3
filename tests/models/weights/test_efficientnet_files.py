"""EfficientNet's files of timm, torchvision, efficientnet_pytorch and Keras: which rows read them.

B0's values are drawn by variable, so that one network is written in the names of each library.
"""

import dataclasses
import functools
import json
import re
import zlib

import jax
import numpy as np
import pytest
from flax import traverse_util

from skinjax.models import pretrained, registry
from skinjax.models.pretrained import load_with_report
from skinjax.models.weights import matching
from skinjax.models.weights.keras_names import keras_layers
from skinjax.models.weights.nearest import nearest_backbones
from skinjax.models.weights.stored import StoredWeights
from skinjax.models.weights.torch_names import torch_names
from tests.support import stored_files as files

B0, EVEN = "efficientnet_b0", "efficientnet_b0_torch"
ROW = {"timm": B0, "efficientnet_pytorch": B0, "torchvision": EVEN}
# As the libraries' own state dicts have them: of a block that does not expand, of some that do, and of the ends.
NAMES = {
    "torchvision": {
        "features.0.1.running_var": "batch_stats/stem_norm/var",
        "features.1.0.block.0.0.weight": "params/block_00/depthwise/kernel",
        "features.1.0.block.1.fc1.bias": "params/block_00/squeeze_excite/reduce/bias",
        "features.1.0.block.2.1.bias": "params/block_00/project_norm/bias",
        "features.2.1.block.0.1.weight": "params/block_02/expand_norm/scale",
        "features.2.1.block.1.0.weight": "params/block_02/depthwise/kernel",
        "features.6.3.block.2.fc2.weight": "params/block_14/squeeze_excite/expand/kernel",
        "features.7.0.block.3.0.weight": "params/block_15/project/kernel",
        "features.8.0.weight": "params/top/kernel",
        "features.8.1.weight": "params/top_norm/scale",
        "classifier.1.weight": "params/head/kernel",
    },
    "efficientnet_pytorch": {
        "_bn0.running_mean": "batch_stats/stem_norm/mean",
        "_blocks.0._depthwise_conv.weight": "params/block_00/depthwise/kernel",
        "_blocks.0._bn1.bias": "params/block_00/depthwise_norm/bias",
        "_blocks.0._bn2.weight": "params/block_00/project_norm/scale",
        "_blocks.1._expand_conv.weight": "params/block_01/expand/kernel",
        "_blocks.1._bn0.running_var": "batch_stats/block_01/expand_norm/var",
        "_blocks.14._se_reduce.weight": "params/block_14/squeeze_excite/reduce/kernel",
        "_blocks.15._se_expand.bias": "params/block_15/squeeze_excite/expand/bias",
        "_blocks.15._project_conv.weight": "params/block_15/project/kernel",
        "_conv_head.weight": "params/top/kernel",
        "_bn1.weight": "params/top_norm/scale",
        "_fc.bias": "params/head/bias",
    },
    "timm": {
        "blocks.0.0.conv_pw.weight": "params/block_00/project/kernel",
        "blocks.1.0.conv_pw.weight": "params/block_01/expand/kernel",
        "blocks.6.0.bn3.running_mean": "batch_stats/block_15/project_norm/mean",
        "bn2.bias": "params/top_norm/bias",
    },
}


@functools.cache
def shapes_of(row, num_classes=4):
    shapes = registry.variable_shapes(registry.create(row, num_classes))
    return {name: leaf.shape for name, leaf in traverse_util.flatten_dict(shapes, sep="/").items()}


@pytest.fixture(scope="module", autouse=True)
def every_network_is_traced_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "variable_shapes", functools.cache(registry.variable_shapes))
        yield


def library_of(name):
    if name.startswith("_"):
        return "efficientnet_pytorch"
    return "torchvision" if name.startswith(("features.", "classifier.1.")) else "timm"


def values(variable):
    generator = np.random.default_rng(zlib.crc32(variable.encode()))
    return generator.random(shapes_of(B0)[variable], np.float32)


def arrays(library, row=None):
    """B0's arrays as a library names them."""
    found = {}
    for name, variable in torch_names(registry.spec(row or ROW[library])).items():
        if library_of(name) == library:
            value = values(variable)
            found[name] = np.ascontiguousarray(
                {4: lambda v: v.transpose(3, 2, 0, 1), 2: np.transpose, 1: np.asarray}[value.ndim](value)
            )
    counters = [name.replace("running_var", "num_batches_tracked") for name in found if "running_var" in name]
    return found | dict.fromkeys(counters, np.array(5))


def save(path, state_dict, write=files.write_torch_zip, **more):
    content = {name: files.tensor(array) for name, array in state_dict.items()}
    return write(path, {"state_dict": content, **more} if more else content)


def table(row, library="timm", prefix=""):
    """A table of contents of a row's file, without values."""
    shapes = {}
    for name, variable in torch_names(registry.spec(row)).items():
        if library_of(name) == library:
            shape = shapes_of(row)[variable]
            shapes[prefix + name] = (*shape[:1:-1], *shape[:2]) if len(shape) == 4 else shape[::-1]
    return StoredWeights("weights", "torch", shapes, lambda names: {})


@pytest.mark.parametrize("library", NAMES)
def test_names_of_the_library(library):
    names = torch_names(registry.spec(ROW[library]))
    assert {name: names[name] for name in NAMES[library]} == NAMES[library]
    own = {name: variable for name, variable in names.items() if library_of(name) == library}
    assert sorted(own.values()) == sorted(shapes_of(B0))


@pytest.mark.parametrize(
    ("library", "row", "write"),
    [
        ("timm", B0, files.write_torch_zip),
        ("timm", EVEN, files.write_torch_pickle),
        ("efficientnet_pytorch", B0, files.write_torch_pickle),
        ("torchvision", EVEN, files.write_torch_zip),
    ],
)
def test_a_file_of_every_library_is_the_same_network(tmp_path, library, row, write):
    variables, report = load_with_report(row, save(tmp_path / "x", arrays(library, row), write), 4)
    assert not report.new
    assert set(report.left_out.values()) == {"PyTorch's count of batches, which nothing here needs"}
    for variable, value in traverse_util.flatten_dict(variables, sep="/").items():
        np.testing.assert_array_equal(value, values(variable), err_msg=variable)
    taken = [note for note in report.notes if "taken for timm's" in note]
    assert len(taken) == (library == "timm")
    if taken and row == B0:
        assert taken == [
            "taken for timm's tf_efficientnet_b0, whose names are those of its efficientnet_b0 too, which "
            "efficientnet_b0_torch is for"
        ]


@pytest.mark.parametrize(("library", "row"), [("torchvision", B0), ("efficientnet_pytorch", EVEN)])
def test_the_row_that_computes_as_the_library_is_named(tmp_path, library, row):
    path = save(tmp_path / "x", arrays(library))
    other = ROW[library]
    message = rf"x holds {other}, which differs from {row} in the padding .* epsilon: load it as {other}$"
    with pytest.raises(ValueError, match=message):
        load_with_report(row, path, 4)


def test_keras_s_file_is_refused_for_padding_on_both_sides(monkeypatch):
    shapes = {f"{layer.name.replace('#0', '')}/kernel": (1, 1) for layer in keras_layers(registry.spec(B0))}
    keras = StoredWeights("weights", "keras_legacy", shapes, lambda names: {})
    assert not matching.reads(registry.spec(EVEN), keras)
    assert matching.reads(registry.spec(B0), keras)


@pytest.mark.parametrize(
    ("says", "row", "sentence"),
    [
        ("efficientnet_b0", B0, "as timm's efficientnet_b0: load it as efficientnet_b0_torch$"),
        ("tf_efficientnet_b0", EVEN, "as timm's tf_efficientnet_b0: load it as efficientnet_b0$"),
        ("tf_efficientnet_b0.ap_in1k", B0, "reads pixels of mean 0.5 and deviation 0.5$"),
        ("efficientnet_b0.ra4_e3600_r224_in1k", EVEN, "reads pixels of mean 0.5 and deviation 0.5$"),
    ],
)
def test_what_a_checkpoint_says_it_is(tmp_path, says, row, sentence):
    path = save(tmp_path / "x", arrays("timm"), arch=says)
    with pytest.raises(ValueError, match=sentence):
        load_with_report(row, path, 4)
    other = EVEN if row == B0 else B0
    if "pixels" not in sentence:
        path = save(tmp_path / "x", arrays("timm"), arch=says, epoch=3)
        _, report = load_with_report(other, path, 4)
        assert not [note for note in report.notes if "taken for timm's" in note]


def test_lite_reads_timm_s_tf_and_no_keras(monkeypatch):
    row = "efficientnet_lite0"
    keras = StoredWeights("weights", "keras_legacy", {"stem_conv/kernel": (3, 3, 3, 32)}, lambda names: {})
    timm = dataclasses.replace(table(row), architecture="efficientnet_lite0.ra_in1k")
    for file, sentence in (
        (keras, "^weights must be a file of PyTorch or skinjax for efficientnet_lite0, got one of Keras"),
        (timm, "pads otherwise, as timm's efficientnet_lite0: give timm's tf_efficientnet_lite0$"),
    ):
        monkeypatch.setattr(pretrained, "open_weights", lambda path, file=file: file)
        with pytest.raises(ValueError, match=sentence):
            load_with_report(row, "weights", 4)


@pytest.mark.parametrize(
    ("prefix", "left_off"), [("encoder.", ""), ("net.0.", "features."), ("", "features.")]
)
def test_torchvision_s_features_under_another_head(tmp_path, prefix, left_off):
    """Whole, or as `model.features` and `nn.Sequential(*model.children())` have them."""
    body = {name: array for name, array in arrays("torchvision").items() if not name.startswith("classifier")}
    state_dict = {prefix + name.removeprefix(left_off): array for name, array in body.items()}
    state_dict |= {"fc.1.weight": np.ones((4, 1280), np.float32), "fc.1.bias": np.full(4, 2, np.float32)}
    variables, report = load_with_report(EVEN, save(tmp_path / "x", state_dict), 4)
    np.testing.assert_array_equal(variables["params"]["head"]["bias"], 2)
    np.testing.assert_array_equal(variables["params"]["stem"]["kernel"], values("params/stem/kernel"))
    assert "the layer fc.1 was taken for the head" in report.notes
    assert not report.new


@pytest.mark.parametrize(
    ("name", "library", "row", "sentence"),
    [
        ("efficientnet_b0_ra-3dd342df.pth", "timm", B0, "as timm's efficientnet_b0: "),
        ("tf_efficientnet_b0_aa-827b6e33.pth", "timm", EVEN, "as timm's tf_efficientnet_b0: "),
        ("tf_efficientnet_b0_ap-f262efe1.pth", "timm", B0, "reads pixels of mean 0.5"),
        ("adv-efficientnet-b0-b64d5a18.pth", "efficientnet_pytorch", B0, "reads pixels of mean 0.5"),
        ("models--timm--efficientnet_b0.ra_in1k/x.bin", "timm", B0, "as timm's efficientnet_b0: "),
        ("efficientnet-b0-355c32eb.pth", "efficientnet_pytorch", B0, ""),
        ("efficientnet_b0_rwightman-3dd342df.pth", "torchvision", EVEN, ""),
        ("tf_efficientnet_b0_aa-827b6e33.pth", "timm", B0, ""),
        ("efficientnet_b0_mine.pth", "timm", B0, ""),
    ],
)
def test_what_the_name_of_a_published_file_says(tmp_path, name, library, row, sentence):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    path = save(tmp_path / name, arrays(library))
    if sentence:
        with pytest.raises(ValueError, match=sentence):
            load_with_report(row, path, 4)
    else:
        assert not load_with_report(row, path, 4)[1].new


def test_what_the_config_beside_a_file_says(tmp_path):
    """As in a folder that one of timm's repositories was downloaded into."""
    path = save(tmp_path / "model.bin", arrays("timm"))
    config = {"architecture": "efficientnet_b0", "pretrained_cfg": {"tag": "ra_in1k"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"as timm's efficientnet_b0: load it as efficientnet_b0_torch$"):
        load_with_report(B0, path, 4)
    assert not load_with_report(EVEN, path, 4)[1].new
    config["pretrained_cfg"]["tag"] = "ra4_e3600_r224_in1k"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"reads pixels of mean 0.5 and deviation 0.5$"):
        load_with_report(EVEN, path, 4)
    for text in (
        "{",
        "[]",
        '{"architecture": null}',
        '{"backbone": "efficientnet_b0"}',
        '{"pretrained_cfg": 3}',
    ):
        (tmp_path / "config.json").write_text(text)
        assert not load_with_report(B0, path, 4)[1].new


def test_an_encoder_under_a_decoder(tmp_path):
    """As segmentation_models_pytorch saves efficientnet_pytorch's networks."""
    state_dict = {
        f"encoder.{name}": array
        for name, array in arrays("efficientnet_pytorch").items()
        if "_fc" not in name
    }
    state_dict["decoder.blocks.0.conv1.0.weight"] = np.ones((8, 432, 3, 3), np.float32)
    _, report = load_with_report(B0, save(tmp_path / "x", state_dict), 4)
    assert report.new == ("params/head/bias", "params/head/kernel")
    assert report.left_out["decoder.blocks.0.conv1.0.weight"] == matching.BESIDE


@pytest.mark.parametrize(
    "library",
    [
        "efficientnet_pytorch",
        pytest.param("timm", marks=pytest.mark.slow),
        pytest.param("torchvision", marks=pytest.mark.slow),
    ],
)
def test_a_deeper_network_is_not_taken_for_its_first_blocks(library):
    """All of B0's arrays are in a file of B1, with their shapes."""
    b1 = table(ROW[library].replace("b0", "b1"), library, prefix="model.")
    matched = matching.match(b1, registry.spec(ROW[library]), shapes_of(ROW[library]))
    assert not set(matched.by_variable) <= set(shapes_of(ROW[library]))
    assert (set(matched.by_variable) > set(shapes_of(ROW[library]))) == (library != "efficientnet_pytorch")
    expected = [ROW[library].replace("b0", "b1")]
    if library == "timm":
        expected.append("efficientnet_b1_torch")
    assert nearest_backbones(b1) == tuple(expected)


@pytest.mark.slow
def test_b5_of_torchvision_has_a_row_of_its_own():
    file = table("efficientnet_b5_torchvision", "torchvision")
    assert nearest_backbones(file) == ("efficientnet_b5_torchvision",)
    timm = table("efficientnet_b5_torch")
    assert nearest_backbones(timm) == ("efficientnet_b5", "efficientnet_b5_torch")


def test_every_row_knows_names_of_its_variables():
    for row in registry.list_models():
        if "_lite" in row:
            assert {library_of(name) for name in torch_names(registry.spec(row))} == {
                "timm",
                "efficientnet_pytorch",
            }
        if row.startswith("efficientnet_b"):
            known = torch_names(registry.spec(row))
            libraries = {library_of(name) for name in known}
            b5 = int(re.search(r"b(\d)", row)[1]) >= 5
            expected = {
                "": {"timm", "efficientnet_pytorch"},
                "_torch": {"timm"} if b5 else {"timm", "torchvision"},
            }
            ending = row.removeprefix(matching.base(row))
            assert libraries == expected.get(ending, {"torchvision"}), row
            assert matching.variable_names(dataclasses.replace(registry.spec(row))) == set(known.values())


@pytest.mark.slow
def test_outputs_are_those_of_the_padding(tmp_path):
    """One network in torchvision's and timm's names gives the same logits, and others where it is padded otherwise."""
    images = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype(np.float32)
    logits = {}
    for library, row in (("torchvision", EVEN), ("timm", EVEN), ("efficientnet_pytorch", B0), ("timm", B0)):
        variables, _ = load_with_report(row, save(tmp_path / "x", arrays(library, row)), 4)
        variables = jax.tree.map(lambda leaf: leaf - 0.5 if leaf.ndim > 1 else leaf, variables)
        logits[library, row] = np.asarray(jax.jit(registry.create(row, 4).apply)(variables, images))
    np.testing.assert_array_equal(logits["torchvision", EVEN], logits["timm", EVEN])
    np.testing.assert_array_equal(logits["efficientnet_pytorch", B0], logits["timm", B0])
    assert not np.allclose(logits["timm", B0], logits["timm", EVEN], rtol=1e-3)
