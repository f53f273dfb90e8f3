"""`--parallel=pmap` on two virtual devices trains the network that `--parallel=jit` trains."""

from __future__ import annotations

import json

import jax
import numpy as np
import pandas as pd
import pytest

from skinjax.data.predictions import probabilities, read_predictions
from skinjax.labels.taxonomy import load_taxonomy
from tests.support.commands import run_small
from tests.support.small_photos import write_photos


@pytest.mark.slow
def test_pmap_answers_as_jit_does(tmp_path, compilations):
    """BatchNorm over both devices, augmentation and momentum included."""
    assert len(jax.devices()) == 2
    write_photos(tmp_path, cases=4)
    taxonomy = load_taxonomy(tmp_path / "taxonomy.csv")
    found = {}
    for parallel in ("jit", "pmap"):
        workdir = tmp_path / parallel
        run_small(
            "train", f"--parallel={parallel}", f"--manifest={tmp_path / 'manifest.csv'}",
            f"--taxonomy={tmp_path / 'taxonomy.csv'}", "--backbone=smaller", "--batch_size=10", "--epochs=2",
            "--burn_in=1", "--noaudit", f"--workdir={workdir}", f"--compilation_cache={compilations}",
        )  # fmt: skip
        assert json.loads((workdir / "config.json").read_text())["config"]["parallel"] == parallel
        answers = read_predictions(workdir / "predictions" / "held_out.parquet").sort_values("image")
        metrics = pd.read_csv(workdir / "metrics.csv").drop(columns="seconds")
        found[parallel] = probabilities(answers, taxonomy), metrics
    np.testing.assert_allclose(found["pmap"][0], found["jit"][0], rtol=1e-3, atol=1e-5)
    pd.testing.assert_frame_equal(found["pmap"][1], found["jit"][1], rtol=1e-3)
    assert np.ptp(found["jit"][0], axis=0).max() > 0.01  # photos are distinguished
