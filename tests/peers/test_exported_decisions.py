"""Exported decisions inside PyTorch and Keras, by the recipes, answer as the run does."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from skinjax.predict.decisions import DecisionOptions, decide
from skinjax.predict.export.decision import exported_decision
from skinjax.predict.export.onnx_file import write_onnx
from skinjax.predict.export.stablehlo_file import write_stablehlo
from skinjax.predict.networks import load_predictor
from skinjax.predict.reading import read_photo
from skinjax.predict.run_decisions import run_decisions
from tests.support import small_backbones
from tests.support.small_runs import TREE, make_pair, make_photos

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the libraries' own


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run of two levels, its decision in both forms, four photos, and what the run says of them."""
    with small_backbones.registered():
        folder = tmp_path_factory.mktemp("peers")
        photos = make_photos(folder / "photos", 4)
        make_pair(folder / "pair", photos)
        predictor, options = load_predictor(folder / "pair", transforms="flips"), DecisionOptions()
        decisions = run_decisions(predictor, options)
        exported = exported_decision(predictor, options, decisions)
        if importlib.util.find_spec("onnx"):
            write_onnx(exported, folder / "pair.onnx")
        write_stablehlo(exported, folder / "pair.stablehlo")
        files = sorted(photos.iterdir())
        # As the recipes resize: without this package.
        images = np.stack([np.asarray(Image.open(file).convert("RGB").resize((32, 32))) for file in files])
        own = decide(predictor.forward(images).probabilities(), TREE, options, decisions)
        assert read_photo(files[0], 32, "stretch").image.shape == images[0].shape
        yield folder, [str(file) for file in files], images, own


def told(probs, certain):
    names, best = TREE.classes(), probs.argmax(axis=1)
    ends = ["" if one else ", not certain enough" for one in certain]
    return [f"{names[k]} {100 * row[k]:.1f}%{end}" for row, k, end in zip(probs, best, ends, strict=True)]


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("torch", "onnx", "onnxruntime"))),
    reason='torch and onnxruntime are not installed: pip install -e ".[peers,export]"',
)
def test_in_torch(place, capsys):
    import torch

    from experiments.recipes import decisions_in_torch

    folder, files, images, own = place
    found = decisions_in_torch.Decision(folder / "pair.onnx")(torch.from_numpy(images))
    assert isinstance(found["set"], torch.Tensor)
    np.testing.assert_allclose(found["probabilities_disease"].numpy(), own["probs"]["disease"], atol=1e-4)
    np.testing.assert_array_equal(found["set"].numpy(), own["set"])
    decisions_in_torch.main([str(folder / "pair.onnx"), *files])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2] for line in lines] == told(own["probs"]["disease"], own["certain"])


@pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason='keras is not installed: pip install -e ".[peers]"'
)
def test_in_keras(place, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    from experiments.recipes import decisions_in_keras

    folder, files, images, own = place
    model = decisions_in_keras.decision_model(folder / "pair.stablehlo")
    found = model.predict(images, verbose=0)
    assert set(found) == set(json.loads((folder / "pair.stablehlo.json").read_text())["outputs"])
    np.testing.assert_allclose(found["probabilities_kind"], own["probs"]["kind"], atol=1e-4)
    np.testing.assert_array_equal(found["set"], own["set"])
    decisions_in_keras.main([str(folder / "pair.stablehlo"), *files])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2] for line in lines] == told(own["probs"]["disease"], own["certain"])
