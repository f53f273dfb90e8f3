"""Networks in ONNX Runtime: what the same networks give in JAX, whatever is asked of them afterwards."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from skinjax.data.columns import Column, ColumnCoding
from skinjax.models import registry
from skinjax.predict.export.onnx_session import onnx_session
from skinjax.predict.networks import Loaded, load_predictor
from skinjax.runs.networks import Network
from skinjax.studies import prediction
from tests.predict.export.test_families import FAMILIES, random_run
from tests.support import small_backbones
from tests.support.commands import run_command
from tests.support.small_runs import make_pair, make_photos

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
CLASSES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def _registered():
    with small_backbones.registered():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions")
    with small_backbones.registered():
        make_pair(folder / "pair", make_photos(folder / "photos", 60))
    return folder


def images(count, size=32):
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), np.uint8)


def assert_same(network, variables, photos, columns=None):
    own = Loaded(network, variables).run(photos, columns)
    found = Loaded(network, variables, "onnx").run(photos, columns)
    probs = np.asarray(own.probs)
    assert probs.std() > 1e-4
    np.testing.assert_allclose(found.probs, probs, atol=1e-4)
    assert len(found.features) == len(own.features)
    for one, other in zip(found.features, own.features, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * max(1, np.abs(other).max()))
    assert (found.last_map is None) == (own.last_map is None)
    if own.last_map is not None:
        np.testing.assert_allclose(
            found.last_map, own.last_map, atol=1e-4 * max(1, np.abs(own.last_map).max())
        )


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_a_family_has_the_probabilities_features_and_maps_of_jax(name, size):
    run = random_run(name, size)
    assert_same(run.network, run.variables, images(3, size))


def test_a_registered_network_is_computed_whole():
    network = Network("sub", 0, "small", "disease", CLASSES, 32)
    assert_same(network, registry.init_variables(network.model(), jax.random.key(0)), images(4))


@pytest.mark.parametrize("fusion", ["concat", "metablock"])
def test_columns_are_read_beside_the_photos(fusion):
    coding = ColumnCoding((Column("age", "number", 50.0, 10.0),))
    network = Network("sub", 0, "small", "disease", CLASSES, 32, columns=coding, columns_fusion=fusion)
    variables = registry.init_variables(network.model(), jax.random.key(0))
    table = pd.DataFrame({"age": ["20", "", "80", "50"]})
    assert_same(network, variables, images(4), table)
    young, old = (
        Loaded(network, variables, "onnx").run(images(1), pd.DataFrame({"age": [age]})).probs
        for age in ("20", "80")
    )
    assert np.abs(young - old).max() > 1e-3


@pytest.mark.slow
def test_half_precision_is_computed_in_single():
    network = Network("sub", 0, "efficientnet_nano", "disease", CLASSES, 64)
    variables = random_run("efficientnet_nano", 64, classes=3).variables
    half = dataclasses.replace(network, precision="bfloat16")
    photos = images(2, 64)
    expected = Loaded(network, variables, "onnx").run(photos).probs
    np.testing.assert_array_equal(Loaded(half, variables, "onnx").run(photos).probs, expected)


@pytest.mark.slow
def test_levels_and_mirrored_photos_are_those_of_jax_for_any_number_of_photos(place):
    own = load_predictor(place / "pair", transforms="flips")
    predictor = load_predictor(place / "pair", transforms="flips", runtime="onnx")
    for count in (5, 1, 16):
        expected = own.forward(images(count)).probabilities()
        found = predictor.forward(images(count)).probabilities()
        assert list(found) == ["kind", "disease"]
        for level, probs in expected.items():
            np.testing.assert_allclose(found[level], probs, atol=1e-5)


@pytest.mark.slow
def test_answers_pictures_and_reasons_are_those_of_jax(place, tmp_path):
    """By the whole study: limits, novelty, calibration, sets and explanations at both maps."""
    for layer in ("", "block_0"):
        tables = {}
        for runtime in ("jax", "onnx"):
            config = prediction.Config(
                runtime=runtime, explain=True, explain_layer=layer, out=str(tmp_path / f"{runtime}{layer}")
            )
            photos = [place / "photos" / f"{number}.png" for number in range(12)]
            tables[runtime] = prediction.run(photos, config, place / "pair").answers
        pd.testing.assert_frame_equal(tables["onnx"], tables["jax"], rtol=1e-3, atol=1e-3)
        pictures = [sorted(p.name for p in (tmp_path / f"{r}{layer}").rglob("*.png")) for r in tables]
        assert pictures[0] == pictures[1]
        assert len(pictures[0]) == 12


@pytest.mark.slow
def test_new_photos_are_evaluated_and_cases_pooled_as_by_jax(place, tmp_path):
    manifest, tables, cases = _manifest(place, tmp_path), {}, {}
    for runtime in ("jax", "onnx"):
        flags = (f"--workdir={place / 'pair'}", f"--runtime={runtime}", f"--out={tmp_path / runtime}")
        run_command("evaluate", f"--manifest={manifest}", "--replicates=100", *flags, folder=tmp_path)
        tables[runtime] = pd.read_parquet(tmp_path / runtime / "predictions.parquet")
        document = json.loads((tmp_path / runtime / "config.json").read_text(encoding="utf-8"))
        assert document["evaluation"]["runtime"] == runtime
        config = prediction.Config(runtime=runtime, by="case", out=str(tmp_path / f"{runtime}_cases"))
        cases[runtime] = prediction.run([tmp_path / "new"], config, place / "pair").cases
    pd.testing.assert_frame_equal(tables["onnx"], tables["jax"], atol=1e-5)
    pd.testing.assert_frame_equal(cases["onnx"], cases["jax"], rtol=1e-3, atol=1e-3)


def test_a_tree_of_results_keeps_its_form():
    session = onnx_session(
        lambda photos, table: {"mean": photos.astype(jnp.float32).mean((1, 2, 3)), "rest": (None, table * 2)},
        4,
        2,
    )
    photos, table = images(3, 4), np.float32([[1, 2], [3, 4], [5, 6]])
    found = session(photos, table)
    np.testing.assert_allclose(found["mean"], photos.mean((1, 2, 3)), rtol=1e-6)
    assert found["rest"][0] is None
    np.testing.assert_array_equal(found["rest"][1], 2 * table)


def test_an_operation_that_onnx_lacks_is_named_with_the_way_out():
    with pytest.raises(ValueError, match=r"got sort.*runtime=jax"):
        onnx_session(lambda photos: jnp.sort(photos.astype(jnp.float32).mean((2, 3)), axis=1), 4)


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_missing_package_is_one_sentence_before_any_work(place, tmp_path, monkeypatch, command):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *of: None if name == "onnxruntime" else found(name, *of)
    )
    flags = {
        "predict": [f"--photos={place / 'photos' / '0.png'}", f"--out={tmp_path / 'out'}"],
        "evaluate": [f"--manifest={_manifest(place, tmp_path)}", f"--out={tmp_path / 'out'}"],
    }
    ended = run_command(
        command, f"--workdir={place / 'pair'}", "--runtime=onnx", *flags[command], code=2, folder=tmp_path
    )
    assert 'needs onnxruntime: pip install "skinjax[export]"' in ended.stderr
    assert "--runtime=onnx" in ended.stderr
    assert not (tmp_path / "out").exists()


def _manifest(place, folder):
    """A manifest of new patients' photos."""
    make_photos(folder / "new", 6)
    rows = [
        "image,case_id,label",
        *(f"new/{number}.png,new_{number},{'abc'[number % 3]}" for number in range(6)),
    ]
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder / "manifest.csv"
