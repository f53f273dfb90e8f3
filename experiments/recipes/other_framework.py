"""Another framework's predictions, as a table, to the report; compared by case with a run's network where one is given.

The other framework is scikit-learn: a logistic regression on the colours of a photo. PyTorch's or Keras's predictions
would take the same way, which begins at `from_arrays`; a CSV of them alone goes to `python -m experiments.evaluate`.

    python -m experiments.recipes.other_framework                             # built-in photos, 30 s
    python -m experiments.recipes.other_framework --workdir=runs/demo        # a run's photos and folds, and its network
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from absl import flags
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments import flags as shared
from experiments import script, stored_run
from skinjax.data.manifest import read_manifest
from skinjax.data.predictions import from_arrays, read_predictions, write_predictions
from skinjax.data.split import kfold_by_case
from skinjax.data.synthetic import SyntheticSpec, write_dataset
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.report.page import write_report

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "", "Folder of a finished run of folds.", module_name=shared.SCRIPT)
flags.DEFINE_string(
    "out", "runs/other_framework", "Folder of photos, table, report.", module_name=shared.SCRIPT
)
flags.DEFINE_integer(
    "synthetic_cases", 8, "Cases a class of the built-in photos.", 2, module_name=shared.SCRIPT
)
shared.define_run_flags()


def colours(path: Path) -> np.ndarray:
    """Returns the quantiles of red, green and blue of a whole photo and of its middle, float64[30]."""
    with Image.open(path) as photo:
        pixels = np.asarray(photo.convert("RGB").resize((64, 64)), np.float64)
    parts = [part.reshape(-1, 3) for part in (pixels, pixels[16:48, 16:48])]
    return np.concatenate(
        [np.quantile(part, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0).ravel() for part in parts]
    )


def predict_folds(features: np.ndarray, labels: np.ndarray, fold_of: np.ndarray, classes: int) -> np.ndarray:
    """Returns float64[N, classes]: each fold's photos as told by a model that was fitted on the other folds."""
    probs = np.zeros((len(labels), classes))
    for fold in np.unique(fold_of):
        rest, held_out = fold_of != fold, np.flatnonzero(fold_of == fold)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        model.fit(features[rest], labels[rest])
        probs[np.ix_(held_out, model.classes_)] = model.predict_proba(features[held_out])
    return probs


def photos(out: Path) -> tuple[pd.DataFrame, Taxonomy, Path, bool]:
    """Returns photos with case, label and fold, their taxonomy and folder, and whether they are the built-in ones."""
    if FLAGS.workdir:
        run = stored_run.read_run(Path(FLAGS.workdir))
        frame = read_predictions(run.predictions)
        if run.photo_root is None or frame["fold"].nunique() < 2:
            raise ValueError(
                f"--workdir={FLAGS.workdir} wants its photos still there, and more than one fold"
            )
        return frame, run.taxonomy, run.photo_root, run.config.get("synthetic") is True
    spec = SyntheticSpec(cases_per_class=FLAGS.synthetic_cases, size=64, seed=FLAGS.seed)
    path, taxonomy = write_dataset(out / "photos", spec), load_taxonomy("synthetic19")
    frame = read_manifest(path, taxonomy)
    labels = taxonomy.encode(frame["label"])
    fold_of = kfold_by_case(labels, frame["case_id"].to_numpy(), min(5, FLAGS.synthetic_cases), FLAGS.seed)
    return frame.assign(fold=fold_of), taxonomy, path.parent, True


def main() -> None:
    """Fits, predicts, writes the table and reports on it."""
    out = Path(FLAGS.out)
    frame, taxonomy, root, synthetic = photos(out)
    features = np.stack([colours(root / name) for name in frame["image"]])
    labels, fold_of = taxonomy.encode(frame["label"]), frame["fold"].to_numpy()
    probs = predict_folds(features, labels, fold_of, len(taxonomy.classes()))
    table = from_arrays(frame["image"], frame["case_id"], frame["label"], fold_of, probs, taxonomy)
    write_predictions(table, out / "predictions.csv", taxonomy)
    print(f"{len(table)} predictions: {out / 'predictions.csv'}")
    path = write_report(
        out / "report", title="Colours and logistic regression", predictions=table, taxonomy=taxonomy,
        coarse_level=None, curves=None, photo_root=root, name="scikit-learn", seed=FLAGS.seed,
        config={"photos of": FLAGS.workdir or "skinjax, built in", "synthetic": synthetic},
        others={"the run’s network": frame} if FLAGS.workdir else None,
    )  # fmt: skip
    print(f"report: {path}")


if __name__ == "__main__":
    script.run_script(main)
