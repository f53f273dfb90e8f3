"""How good a network is by the number of its training photos: shares of the cases outside of one fold, one test fold.

    python -m benchmarks.learning_curve --dataset=ham10000 --source=HAM10000 --workdir=runs/curve --shares 8 4 2 1

Trains as `skinjax train` with `--preset` does, on one in `--shares` of the cases, and tests every network on the same
fold. A smaller share is part of the larger ones. Finished networks are not trained again. Prints Markdown.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

import skinjax
from skinjax.data.photo_set import PhotoSet
from skinjax.data.predictions import Predictions
from skinjax.data.split import kfold_by_case
from skinjax.evaluate import metrics
from skinjax.evaluate.bootstrap import by_case
from skinjax.evaluate.multiclass import macro_auc_interval
from skinjax.files.host import restart_tuned
from skinjax.studies import training

METRICS = {
    "accuracy": metrics.accuracy,
    "balanced accuracy": metrics.balanced_accuracy,
    "macro F1": metrics.macro_f1,
}


def divided(photos: PhotoSet, folds: int, fold: int, share: int, least: int, seed: int) -> PhotoSet:
    """Returns photos of which the column `split` says that one in `share` of the other folds' cases are trained on.

    Args:
      photos: All photos.
      folds: Folds of whole cases.
      fold: The one that is tested on.
      share: 1 for all others.
      least: The largest such number of the curve; shares that divide it are parts of one another.
      seed: Of both divisions.
    """
    labels, cases = photos.labels, photos.frame["case_id"].to_numpy()
    test = kfold_by_case(labels, cases, folds, seed) == fold
    part = np.zeros(len(photos), int)
    if least > 1:
        part[~test] = kfold_by_case(labels[~test], cases[~test], least, seed)
    split = np.where(test, "test", np.where(part * share < least, "train", ""))
    used = split != ""
    return dataclasses.replace(
        photos, frame=photos.frame[used].assign(split=split[used]).reset_index(drop=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--shares", type=int, nargs="+", default=[8, 4, 2, 1])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    photos = skinjax.read_photos(dataset=given.dataset, source=given.source)
    names = ["photos trained on", "cases", "epochs", *METRICS, "macro AUC"]
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for share in given.shares:
        chosen = divided(photos, given.folds, given.fold, share, max(given.shares), given.seed)
        config = training.Config.of_preset(given.preset, audit=False, seed=given.seed)
        result = training.run(chosen, config, given.workdir / f"share_{share}")
        train = chosen.frame[chosen.frame["split"] == "train"]
        assert result.predictions is not None
        found = Predictions.from_frame(result.predictions, photos.taxonomy)
        row = [f"{len(train):,}", f"{train['case_id'].nunique():,}"]
        row.append(str(config.epochs_for(config.epochs, len(train))))
        print(f"| {' | '.join([*row, *figures(found)])} |", flush=True)


def figures(found: Predictions) -> list[str]:
    """Returns each figure with its 95 % interval by case."""
    labels, cases, probs = found.label, pd.Series(found.case_id), found.probabilities()
    told = []
    for metric in METRICS.values():
        one = by_case(metric, (labels, probs.argmax(axis=1)), cases)
        told.append(f"{one.estimate:.3f} ({one.low:.3f} to {one.high:.3f})")
    area = macro_auc_interval(labels, probs, cases=cases)
    return [*told, f"{area.auc:.3f} ({area.low:.3f} to {area.high:.3f})"]


if __name__ == "__main__":
    restart_tuned()
    main()
