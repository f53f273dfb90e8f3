"""Exported files answer as the run does: ONNX by ONNX Runtime, StableHLO by JAX alone, safetensors to the bit."""

from __future__ import annotations

import dataclasses
import json
import re

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

import skinjax
from skinjax.data.columns import Column, ColumnCoding
from skinjax.models import registry
from skinjax.predict.decisions import DecisionOptions, decide
from skinjax.predict.export import to_onnx, to_safetensors, to_stablehlo
from skinjax.predict.export.decision import exported_decision
from skinjax.predict.export.onnx_file import onnx_model, write_onnx
from skinjax.predict.export.stablehlo_file import write_stablehlo
from skinjax.predict.load import load_run
from skinjax.predict.networks import load_predictor
from skinjax.predict.run_decisions import run_decisions
from tests.support import small_backbones
from tests.support.small_runs import TREE, make_pair, make_photos

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
OF_OUTCOME = {"tumour_probability": "tumour", "degree_probabilities": "degree_probs", "set_kind": "above"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with small_backbones.registered():
        folder = tmp_path_factory.mktemp("exported")
        make_pair(folder / "pair", make_photos(folder / "photos", 1))
        yield folder


def images(count):
    return np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), np.uint8)


def answers(path, *inputs):
    session = onnxruntime.InferenceSession(path if isinstance(path, bytes) else str(path))
    names = [one.name for one in session.get_inputs()]
    outputs = [one.name for one in session.get_outputs()]
    return dict(zip(outputs, session.run(None, dict(zip(names, inputs, strict=True))), strict=True))


@pytest.mark.parametrize(
    ("transforms", "rule"),
    [
        ("none", "least_cost"),
        ("flips", "cutpoints"),
        pytest.param("dihedral", "argmax", marks=pytest.mark.slow),
    ],
)
def test_the_whole_decision_of_two_levels_is_the_runs_own(place, transforms, rule):
    predictor = load_predictor(place / "pair", transforms=transforms)
    options = DecisionOptions(degree_of_class=(0, -1, 1), rule=rule, set_limit=2)
    decisions = run_decisions(predictor, options)
    exported = exported_decision(predictor, options, decisions)
    model = onnx_model(exported).SerializeToString()
    for count in (1, 5):
        photos = images(count)
        expected = decide(predictor.forward(photos).probabilities(), TREE, options, decisions)
        found = answers(model, photos)
        for name in exported.outputs:
            level = name.removeprefix("probabilities_")
            own = expected["probs"][level] if level != name else expected[OF_OUTCOME.get(name, name)]
            assert found[name].dtype == own.dtype
            np.testing.assert_allclose(found[name], own, atol=1e-4, err_msg=name)
    assert set(expected) - {"probs", "above", "tumour", "degree_probs"} <= set(exported.outputs)


def test_a_file_says_what_it_is(place, tmp_path):
    predictor = load_predictor(place / "pair")
    options = DecisionOptions()
    decisions = run_decisions(predictor, options)
    path = write_onnx(exported_decision(predictor, options, decisions), tmp_path / "pair.onnx")
    model = onnx.load(path)
    said = {one.key: one.value for one in model.metadata_props}
    document = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert "not a medical device" in said["notice"]
    assert json.loads(said["levels"]) == {"kind": ["rash", "growth"], "disease": ["a", "b", "c"]}
    assert document["opset"] == model.opset_import[0].version == 18
    assert document["decision"]["set_threshold"] == pytest.approx(decisions.set_threshold)
    assert document["decision"]["temperatures"] == dict(decisions.temperatures)
    assert "made square: stretch" in document["inputs"]["images"]
    assert [one.name for one in model.graph.output] == list(document["outputs"])
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert shape[0].dim_param == "N"
    assert [one.dim_value for one in shape[1:]] == [32, 32, 3]
    assert any("blurred" in sentence for sentence in document["not_included"])
    assert "patient_" not in path.with_name(f"{path.name}.json").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sub", "meta"])
def test_one_network_as_onnx(place, tmp_path, stage):
    run = load_run(place / "pair", stage)
    found = answers(to_onnx(run, tmp_path / "one.onnx"), images(3))
    level = run.network.level
    np.testing.assert_allclose(found[f"probabilities_{level}"], run.predict_fn(images(3)), atol=1e-5)
    np.testing.assert_allclose(found["logits"], run.apply(images(3)), atol=1e-4)
    assert not json.loads((tmp_path / "one.onnx.json").read_text())["calibrated"]


@pytest.mark.slow
def test_columns_are_a_second_input(place, tmp_path):
    run = load_run(place / "pair")
    values = Column("sex", "category", values=("f", "m"), shares=(0.5, 0.5))
    coding = ColumnCoding((Column("age", "number", 50.0, 10.0), values))
    for fusion in ("concat", "metablock"):
        network = dataclasses.replace(run.network, columns=coding, columns_fusion=fusion)
        variables = registry.init_variables(network.model(), jax.random.key(0))
        reading = dataclasses.replace(run, network=network, variables=variables, model=network.model())
        path = to_onnx(reading, tmp_path / f"{fusion}.onnx")
        table = np.random.default_rng(0).normal(size=(4, coding.width)).astype(np.float32)
        logits = network.model().apply(variables, (images(4) / 255 - 0.5) / 0.25, table, train=False)
        np.testing.assert_allclose(answers(path, images(4), table)["logits"], logits, atol=1e-4)
        said = json.loads(path.with_name(f"{path.name}.json").read_text())["inputs"]
        assert said["column_features"] == list(coding.names)


def test_networks_trained_in_half_precision_leave_in_single(place, tmp_path):
    run = load_run(place / "pair")
    half = dataclasses.replace(run, network=dataclasses.replace(run.network, precision="bfloat16"))
    found = answers(to_onnx(half, tmp_path / "half.onnx"), images(2))["logits"]
    np.testing.assert_allclose(found, run.apply(images(2)), atol=1e-4)


def test_stablehlo_runs_by_the_words_beside_it_alone(place, tmp_path):
    predictor, options = load_predictor(place / "pair", transforms="flips"), DecisionOptions()
    exported = exported_decision(predictor, options, run_decisions(predictor, options))
    path = write_stablehlo(exported, tmp_path / "pair.stablehlo")
    (code,) = re.findall(
        r"```python\n(.*?)```", path.with_name(f"{path.name}.md").read_text(), flags=re.DOTALL
    )
    assert "skinjax" not in code
    names: dict = {}
    exec(code.replace('"pair.stablehlo"', repr(str(path))), names)
    assert set(names["found"]) == set(exported.outputs)
    for count in (1, 6):
        own = jax.jit(exported.function)(images(count))
        found = names["function"].call(images(count))
        for name, values in found.items():
            np.testing.assert_allclose(np.asarray(values), own[name], atol=1e-5)
    assert set(names["function"].platforms) >= {"cpu", "cuda", "tpu"}


def test_one_network_as_stablehlo(place, tmp_path):
    run = load_run(place / "pair")
    path = to_stablehlo(run, tmp_path / "one.stablehlo")
    found = jax.export.deserialize(bytearray(path.read_bytes())).call(images(2))
    np.testing.assert_allclose(found["logits"], run.apply(images(2)), atol=1e-5)


@pytest.mark.slow
def test_safetensors_come_back_to_the_bit(place, tmp_path):
    network = dataclasses.replace(
        load_run(place / "pair").network, backbone="efficientnet_nano", image_size=64
    )
    variables = registry.init_variables(network.model(), jax.random.key(3))
    run = dataclasses.replace(load_run(place / "pair"), network=network, variables=variables)
    path = to_safetensors(run, tmp_path / "nano.safetensors")
    back = skinjax.load_pretrained("efficientnet_nano", path, 3)
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    for own, other in zip(jax.tree.leaves(variables), jax.tree.leaves(back), strict=True):
        np.testing.assert_array_equal(own, other)
    fewer = skinjax.load_pretrained("efficientnet_nano", path, 5)
    assert fewer["params"]["head"]["bias"].shape == (5,)
    np.testing.assert_array_equal(fewer["params"]["stem"]["kernel"], variables["params"]["stem"]["kernel"])
    assert "params/stem/kernel" in load_file(path)
    said = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert said["network"]["classes"] == ["a", "b", "c"]
    assert said["pixels"]["mean"] == list(network.spec.mean)
    with pytest.raises(ValueError, match="efficientnet_lite0"):
        skinjax.load_pretrained("efficientnet_lite0", path, 3)


def test_onnx_that_is_not_installed_is_named(place, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'needs the package onnx: pip install "skinjax\[export\]"'):
        to_onnx(load_run(place / "pair"), tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()
