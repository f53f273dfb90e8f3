"""The recipes as a user runs them, and their figures against the stored predictions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from skinjax.data.invented import invent_predictions
from skinjax.data.predictions import columns, probabilities, read_predictions, validate
from skinjax.labels.taxonomy import load_taxonomy
from tests.commands import run_experiment, run_python

pytestmark = pytest.mark.slow
TREE = load_taxonomy("synthetic19")


def recipe(name: str, *flags: str, code: int = 0) -> subprocess.CompletedProcess:
    return run_experiment(f"recipes.{name}", *flags, code=code)


def models(report: Path) -> pd.Series:
    return pd.read_csv(report / "tables" / "models.csv").set_index("model")["accuracy"]


def test_a_fusion_rule_of_ones_own(tmp_path):
    told = recipe("new_fusion_rule", f"--out={tmp_path / 'report'}", "--seed=3").stdout
    assert told.endswith(f"report: {tmp_path / 'report' / 'index.html'}\n")
    fine, other = invent_predictions(TREE, 200, skills=(1.8, 1.8), seed=3)
    labels, parents = TREE.encode(fine["label"]), TREE.parents("sub", "meta")
    sub = probabilities(fine, TREE)
    meta = probabilities(other, TREE) @ TREE.membership("sub", "meta").T
    settings = pd.read_csv(tmp_path / "report" / "tables" / "configuration.csv").set_index("setting")["value"]
    exponents = np.array([float(settings[f"exponents.{fold}"]) for fold in range(5)])
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
    difference = found["product of experts"] - found["soft fusion"]
    shown = float(re.search(r"accuracy less that of soft fusion: ([+-]\d\.\d+)", told)[1])
    assert shown == pytest.approx(difference, abs=1e-4)


def test_another_framework(tmp_path):
    told = recipe("other_framework", f"--out={tmp_path}", "--synthetic_cases=4").stdout
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
    recipe("new_backbone", *flags, "--epochs=3")
    frame = read_predictions(workdir / "predictions" / "held_out.parquet")
    validate(frame, TREE)
    losses = pd.read_csv(workdir / "metrics.csv").query("split == 'train'")["loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    # Loaded again by whoever imports the recipe, and by nobody else.
    program = f"""
import numpy as np
from skinjax.data import photos
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
    assert 'there is no backbone "plain"' in refused
    backbone, *probs = loaded.split()
    assert backbone == "plain"
    np.testing.assert_allclose(
        np.float64(probs), frame.loc[0, columns(TREE)].astype(float), rtol=1e-3, atol=1e-6
    )
    # Another recipe says what it lacks of such a run: a coarser network.
    told = recipe("new_fusion_rule", f"--workdir={workdir}", code=2).stderr
    assert f"--workdir={workdir} has no coarser network; experiments.hierarchy trains one" in told
