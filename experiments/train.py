"""Trains one network on one case-grouped fold, or on the manifest's own `split` column (thesis, chapters 3 and 4).

    python -m experiments.train --manifest=photos/manifest.csv --taxonomy=classes.csv --backbone=efficientnet_b0
    python -m experiments.train --dataset=ham10000 --source=HAM10000 --fold=0 --folds=5 --workdir=runs/ham
    python -m experiments.train --smoke
    python -m experiments.train --coordinator=host:1234 --processes=2 --process_index=0 ...   # and 1 on another host

Where the manifest has a `split` column, the photos marked `train` are trained on and those marked `test` are held out;
else --fold of --folds is held out. The report is on the held-out photos alone. The same command again resumes.

HAM10000, fold 0 of 5, EfficientNet-B0 from scratch at 96 pixels (flagfiles/ham_from_scratch.flags), 12 epochs of 3.8 s
on an H100: accuracy 0.779, macro AUC 0.925; timm by the same recipe 0.737 and 0.900. More:
benchmarks/results/studies.md.
"""

from __future__ import annotations

import sys

import numpy as np
from absl import flags

from experiments import folds, inputs, pooling, processes, training_flags, workdir
from skinjax.data import predictions, split
from skinjax.train.log import MetricsLog

FLAGS = flags.FLAGS

training_flags.define_all_flags(folds=True)


def parts(data: inputs.Photos, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns which photos are trained on and which are held out, bool[N] each, no case in both."""
    if "split" not in data.frame:
        fold_of = folds.case_folds(data, FLAGS.epochs)
        return fold_of != fold, fold_of == fold
    print("the manifest's column split is used; --folds and --fold are not", file=sys.stderr)
    train, test = (data.frame["split"].to_numpy() == part for part in ("train", "test"))
    for name, part in (("train", train), ("test", test)):
        if not part.any():
            raise ValueError(f"the manifest's column split marks no photo as {name}")
    if both := sorted(set(data.cases[train]) & set(data.cases[test])):
        raise ValueError(
            f"the manifest's column split puts {len(both)} cases into train and test at once: {', '.join(both[:10])}"
        )
    folds.refuse_weights_of_these_photos(data)
    return train, test


def main() -> None:
    """Runs the experiment that the flags describe."""
    folds.check_flags()
    folder = workdir.open_workdir("train")
    if (folder / "report" / "index.html").exists():
        print(f"finished already: {folder / 'report' / 'index.html'}")
        return
    data = inputs.audited(inputs.read(folder), folder).prepare(folder, folds.image_size())
    level, fold = data.taxonomy.finest, max(FLAGS.fold, 0)
    train, test = parts(data, fold)
    config = workdir.write_config(folder, "train", data)
    network = folds.network("sub", fold, level, data.taxonomy.classes(level))
    variables = folds.start_variables(network)
    with MetricsLog(folder) as log:
        fitted = folds.train_network(
            network, variables, data, data.labels, train, test, folder, log, network.backbone, FLAGS.epochs
        )
    frame = folds.predictions_of(data, test, fitted.logits, fold)
    if processes.is_first():
        predictions.write_predictions(frame, folder / "predictions" / "held_out.parquet", data.taxonomy)
    used = train | test
    part = test[used].astype(int)
    notes = split.split_warnings(data.labels_by_name[used], data.cases[used], part, list(np.bincount(part)))
    pooling.report(folder, f"One network: {network.backbone}", frame, None, data, config, notes)


if __name__ == "__main__":
    workdir.run_script(main)
