"""Another framework's predictions, as a table, to the report; compared by case with a run's network where one is given.

The other framework is scikit-learn: a logistic regression on the colours of a photo. PyTorch's or Keras's predictions
would take the same way, which begins at `from_arrays`; a CSV of them alone goes to `skinjax evaluate`.

    python -m experiments.recipes.other_framework                             # built-in photos, 30 s
    python -m experiments.recipes.other_framework --workdir=runs/demo        # a run's photos and folds, and its network
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skinjax
from skinjax.data.predictions import from_arrays, read_predictions, write_predictions
from skinjax.data.split import kfold_by_case
from skinjax.runs.folder import RunFolder


def colours(path: Path) -> np.ndarray:
    """Returns the quantiles of red, green and blue of a whole photo and of its middle, float64[30]."""
    with Image.open(path) as photo:
        pixels = np.asarray(photo.convert("RGB").resize((64, 64)), np.float64)
    parts = [part.reshape(-1, 3) for part in (pixels, pixels[16:48, 16:48])]
    quantiles = [np.quantile(part, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0).ravel() for part in parts]
    return np.concatenate(quantiles)


def predict_folds(features: np.ndarray, labels: np.ndarray, fold_of: np.ndarray, classes: int) -> np.ndarray:
    """Returns float64[N, classes]: each fold's photos as told by a model that was fitted on the other folds."""
    probs = np.zeros((len(labels), classes))
    for fold in np.unique(fold_of):
        rest, held_out = fold_of != fold, np.flatnonzero(fold_of == fold)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        model.fit(features[rest], labels[rest])
        probs[np.ix_(held_out, model.classes_)] = model.predict_proba(features[held_out])
    return probs


def main(arguments: Sequence[str] | None = None) -> None:
    """Fits, predicts, writes the table and reports on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", default="", help="Folder of a finished run of several folds.")
    parser.add_argument("--out", default="runs/other_framework", help="Folder of photos, table and report.")
    parser.add_argument("--synthetic_cases", type=int, default=8, help="Cases per class that are rendered.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of photos, folds and the bootstrap.")
    options = parser.parse_args(arguments)
    out, others = Path(options.out), {}
    if options.workdir:
        run = RunFolder.read(options.workdir)
        frame, root = read_predictions(next(iter(run.predictions.values()))), run.photo_root
        taxonomy, synthetic, others = run.taxonomy, run.synthetic, {"the run’s network": frame}
        if root is None or frame["fold"].nunique() < 2:
            parser.error(f"--workdir={options.workdir} must have its photos still, and more than one fold")
    else:
        count, seed = options.synthetic_cases, options.seed
        photos = skinjax.synthetic_photos(out / "photos", cases_per_class=count, size=64, seed=seed)
        root, taxonomy, synthetic = photos.root, photos.taxonomy, True
        labels, cases = taxonomy.encode(photos.frame["label"]), photos.frame["case_id"].to_numpy()
        frame = photos.frame.assign(fold=kfold_by_case(labels, cases, min(5, count), seed))
    features = np.stack([colours(root / name) for name in frame["image"]])
    labels, fold_of = taxonomy.encode(frame["label"]), frame["fold"].to_numpy()
    probs = predict_folds(features, labels, fold_of, len(taxonomy.classes()))
    table = from_arrays(frame["image"], frame["case_id"], frame["label"], fold_of, probs, taxonomy)
    write_predictions(table, out / "predictions.csv", taxonomy)
    print(f"{len(table)} predictions: {out / 'predictions.csv'}")
    more = {"photo_root": root, "synthetic": synthetic, "seed": options.seed, "out": out / "report"}
    print(skinjax.evaluate({"scikit-learn": table, **others}, taxonomy=taxonomy, **more))


if __name__ == "__main__":
    main()
