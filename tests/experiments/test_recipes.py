"""The recipes, and their figures against the stored predictions."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from experiments.recipes import new_fusion_rule, other_framework, own_input
from skinjax.data.invented import invent_predictions
from skinjax.data.predictions import columns, probabilities, read_predictions, validate
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.models import registry
from skinjax.train.loop import fit
from tests.support.commands import REPOSITORY, run_python

pytestmark = pytest.mark.slow
TREE = load_taxonomy("synthetic19")


def models(report: Path) -> pd.Series:
    return pd.read_csv(report / "tables" / "models.csv").set_index("model")["accuracy"]


def test_a_fusion_rule_of_ones_own(tmp_path, capsys):
    new_fusion_rule.main([f"--out={tmp_path / 'report'}", "--seed=3"])
    told = capsys.readouterr().out
    assert told.endswith(f"report: {tmp_path / 'report' / 'index.html'}\n")
    fine, other = invent_predictions(TREE, 200, skills=(1.8, 1.8), seed=3)
    labels, parents = TREE.encode(fine["label"]), TREE.parents("sub", "meta")
    sub = probabilities(fine, TREE)
    meta = probabilities(other, TREE) @ TREE.membership("sub", "meta").T
    exponents = np.array([float(found) for found in re.findall(r"exponent (\d\.\d+)", told)])
    assert len(exponents) == 5
    assert ((exponents > 0.5) & (exponents < 4)).all()
    own = sub * meta[:, parents] ** exponents[fine["fold"].to_numpy()][:, None]
    expected = {"product of experts": own, "soft fusion": sub * meta[:, parents], "fine network": sub}
    found = models(tmp_path / "report")
    for name, scores in expected.items():
        assert found[name] == pytest.approx(accuracy_score(labels, scores.argmax(axis=1)), abs=1e-9)
    assert found["product of experts"] > found["fine network"]
    # Fitted by likelihood on the other folds: no exponent nearby is likelier there.
    rest = fine["fold"].to_numpy() != 0

    def loss(exponent: float) -> float:
        scores = sub[rest] * meta[rest][:, parents] ** exponent
        return -np.log(
            (scores / scores.sum(axis=1, keepdims=True))[np.arange(rest.sum()), labels[rest]]
        ).mean()

    assert loss(exponents[0]) <= min(loss(exponents[0] - 0.05), loss(exponents[0] + 0.05))
    pairs = pd.read_csv(tmp_path / "report" / "tables" / "model_pairs.csv").query("metric == 'accuracy'")
    (shown,) = pairs.query("second == 'soft fusion'")["difference"]
    assert shown == pytest.approx(found["product of experts"] - found["soft fusion"], abs=1e-9)
    assert f"{found['product of experts']:.3f}" in told


def test_an_input_pipeline_of_ones_own(tmp_path, capsys):
    own_input.main([f"--workdir={tmp_path}", "--image_size=32"])
    told = capsys.readouterr().out.splitlines()
    fewest, most = map(
        int, re.match(r"photos of a class drawn: (\d+) to (\d+), from \d+ cases", told[0]).groups()
    )
    assert (fewest, most) == (6, 7)  # 8 batches of 16 over 19 classes
    assert told[1:] == ["held-out cases among them: 0", "resumed batches are the same"]


def test_an_optimizer_of_ones_own(monkeypatch, capsys):
    """Its figures are those of the answers that `fit` gave, and it learns: a class guessed is right once in 19."""
    found = {}

    def noted(*arguments, **more):
        fitted = fit(*arguments, **more)
        labels, folder = arguments[4].labels, arguments[7]
        found[folder.name] = accuracy_score(labels, fitted.logits.argmax(axis=1))
        return fitted

    # Imported here: it registers a backbone, which the other tests of this process must not find.
    monkeypatch.setattr(registry, "_FAMILIES", registry._FAMILIES)
    from experiments.recipes import new_optimizer

    monkeypatch.setattr(new_optimizer, "fit", noted)
    new_optimizer.main(["--synthetic_cases=4", "--epochs=6", "--learning_rate=0.003"])
    told = dict(re.findall(r"(\w+): accuracy (0\.\d{3})", capsys.readouterr().out))
    assert told == {name: f"{value:.3f}" for name, value in found.items()}
    assert list(told) == ["SGD", "Lion"]
    assert found["Lion"] > 2 / 19


def test_another_framework(tmp_path, capsys):
    other_framework.main([f"--out={tmp_path}", "--synthetic_cases=4"])
    told = capsys.readouterr().out
    table = read_predictions(tmp_path / "predictions.csv")
    validate(table, TREE)
    assert f"{len(table)} predictions: " in told
    manifest = pd.read_csv(tmp_path / "photos" / "manifest.csv", dtype=str)
    assert sorted(table["image"]) == sorted(manifest["image"])
    assert (table.groupby("case_id")["fold"].nunique() == 1).all()
    accuracy = accuracy_score(TREE.encode(table["label"]), probabilities(table, TREE).argmax(axis=1))
    assert accuracy > 2 / 19  # colours tell something of a class: chance is 1 in 19
    methods = pd.read_csv(tmp_path / "report" / "tables" / "methods.csv").set_index("method")
    assert methods.loc["flat", "accuracy"] == pytest.approx(accuracy, abs=1e-9)
    assert "Rendered photos" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_a_backbone_of_ones_own(tmp_path):
    workdir = tmp_path / "plain"
    flags = ["--smoke", "--noaudit", f"--workdir={workdir}", f"--compilation_cache={tmp_path / 'cache'}"]
    run_python("-m", "experiments.recipes.new_backbone", *flags, "--epochs=3")
    frame = read_predictions(workdir / "predictions" / "held_out.parquet")
    validate(frame, TREE)
    losses = pd.read_csv(workdir / "metrics.csv").query("split == 'train'")["loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    # Loaded again by whoever imports the recipe, and by nobody else.
    program = f"""
import numpy as np
from skinjax.data.images import photos
from skinjax.predict.load import load_run
try:
    load_run({str(workdir)!r})
except ValueError as error:
    print(error)
import experiments.recipes.new_backbone
run = load_run({str(workdir)!r})
image = photos.fit(photos.decode({str(workdir / "photos" / frame["image"][0])!r}, target=64), 64)
print(run.network.backbone, *np.asarray(run.predict_fn(image[None]))[0])
"""
    refused, loaded = run_python("-c", program).stdout.splitlines()
    assert 'got "plain"' in refused
    backbone, *probs = loaded.split()
    assert backbone == "plain"
    np.testing.assert_allclose(
        np.float64(probs), frame.loc[0, columns(TREE)].astype(float), rtol=1e-3, atol=1e-6
    )
    # Another recipe says what it lacks of such a run: a coarser network.
    told = run_python("-m", "experiments.recipes.new_fusion_rule", f"--workdir={workdir}", code=2).stderr
    assert f"--workdir={workdir} has no coarser network; `skinjax hierarchy` trains one" in told


@pytest.mark.parametrize("name", ["new_backbone", "new_fusion_rule", "new_optimizer", "other_framework"])
def test_recipes_are_short(name):
    path = REPOSITORY / "experiments" / "recipes" / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 80
