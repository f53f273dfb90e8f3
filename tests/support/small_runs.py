"""Runs of small networks with random weights and made-up predictions, in a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from skinjax.data.columns import ColumnCoding
from skinjax.data.predictions import from_arrays, write_predictions
from skinjax.labels.taxonomy import Taxonomy
from skinjax.models import registry
from skinjax.runs.folder import RunFolder
from skinjax.runs.networks import Network
from skinjax.runs.options import Options
from skinjax.train.checkpoints import Checkpoints

TREE = Taxonomy("tree", ("kind", "disease"), (("rash", "a"), ("rash", "b"), ("growth", "c")))
COUNT = 60


def make_run(
    folder: Path,
    study: str,
    networks: Sequence[tuple[str, str]],
    photos: Path,
    columns: ColumnCoding | None = None,
) -> RunFolder:
    """Makes a run of random networks of `small`, a stage and a level each; the registry must know it."""
    with RunFolder.open(folder, study, Options()) as run:
        run.begin(Options(), "made up", TREE, [], photo_root=run.place_of(photos))
        for number, (stage, level) in enumerate(networks):
            network = Network(stage, 0, "small", level, TREE.classes(level), 32, columns=columns)
            run.write_network(network)
            variables = registry.init_variables(network.model(), jax.random.key(number))
            with Checkpoints(run.checkpoints(network)) as checkpoints:
                checkpoints.save_final(variables)
        return run


def make_pair(folder: Path, photos: Path, columns: ColumnCoding | None = None) -> RunFolder:
    """Makes a run of two levels, with predictions of `COUNT` photos."""
    run = make_run(folder, "hierarchy", [("sub", "disease"), ("meta", "kind")], photos, columns)
    rng = np.random.default_rng(0)
    fine = rng.dirichlet([1, 1, 1], COUNT)
    coarse = np.column_stack([fine[:, :2].sum(axis=1), fine[:, 2]])
    labels = [rng.choice(TREE.classes(), p=row) for row in fine]
    names = [f"{number}.png" for number in range(COUNT)]
    frame = from_arrays(names, [f"patient_{n}" for n in names], labels, 0, fine, TREE, {"kind": coarse})
    write_predictions(frame, run.predictions_file("out_of_fold"), TREE)
    return run


def make_photos(folder: Path, count: int) -> Path:
    """Writes photos of 96 pixels, `0.png` and so on."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(60, 200, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(folder / f"{number}.png")
    return folder
