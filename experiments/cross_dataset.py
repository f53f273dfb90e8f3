"""Another population: trained on A, tested on A and on B, and the other way round (thesis, chapter 2).

Does a network lose accuracy on photos of another population, and which diseases and skin types lose most? Both sets
are divided by case into folds. For every fold a network learns from the rest of A, one from the rest of B, and both
answer the fold's photos of A and of B: each photo is tested once by networks of each set, none of which has seen its
case. So the same network is seen at home and away (what the thesis asks), and the same photos are answered by a network
of the place and by a foreign one (which tells a harder set from a foreign one). How the thesis divided its sets cannot
be read.

    python -m experiments.cross_dataset --dataset=pad_ufes_20 --source=PAD-UFES-20 --other_dataset=ham10000
        --other_source=HAM10000 --workdir=runs/pad_ham                               # (one line)
    python -m experiments.cross_dataset --manifest=a/manifest.csv --taxonomy=a.csv --other_manifest=b/manifest.csv
        --other_taxonomy=b.csv --shared_taxonomy=shared.csv                          # (one line)
    python -m experiments.cross_dataset --flagfile=experiments/flagfiles/cross_dataset.flags --dataset=...
    python -m experiments.cross_dataset --workdir=runs/skin                          # built-in: light and dark skin
    python -m experiments.cross_dataset --smoke                                      # all of it, tiny

Classes that one of the sets lacks are left out, and said to be. The same command again resumes a run that was stopped.

561 photos of PAD-UFES-20 and 8,411 of HAM10000, EfficientNet-B0 from scratch at 96 pixels, three folds, 25 minutes on
two cores: balanced accuracy falls from 45.9 to 22.0 % away from PAD, from 34.8 to 25.7 % away from HAM. More:
benchmarks/results/studies.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from absl import flags

from experiments import crossed, folds, parts, populations, processes, training_flags, workdir
from experiments.inputs import Photos, audited
from experiments.populations import SIDES
from skinjax.data import predictions, split
from skinjax.train.log import MetricsLog

FLAGS = flags.FLAGS

training_flags.define_all_flags(folds=True)
populations.define_other_flags()


def run_fold(
    fold: int, sets: tuple[Photos, Photos], fold_of: list[np.ndarray], folder: Path, log: MetricsLog
) -> None:
    """Trains a fold's network of each set, and stores what both say of the fold's photos of both sets."""
    masks = populations.train_masks(sets, fold_of, fold, FLAGS.equal_size, FLAGS.seed)
    for side, (data, train) in enumerate(zip(sets, masks, strict=True)):
        level = data.taxonomy.finest
        network = folds.network(SIDES[side], fold, level, data.taxonomy.classes())
        title = f"fold {fold + 1} of {FLAGS.folds}, {SIDES[side].upper()}"
        fitted = folds.train_network(
            network, folds.start_variables(network), data, data.labels, train, fold_of[side] == fold, folder, log,
            title, FLAGS.epochs,
        )  # fmt: skip
        for on, other in enumerate(sets):
            held_out = fold_of[on] == fold
            photos = parts.subset(other, held_out)
            logits = fitted.logits if on == side else folds.predict(network, fitted, photos)
            frame = folds.predictions_of(other, held_out, logits, fold)
            if processes.is_first():
                predictions.write_predictions(
                    frame, crossed.predictions_file(folder, side, on, fold), other.taxonomy
                )


def main() -> None:
    """Runs the experiment that the flags describe."""
    folds.check_flags()
    folder = workdir.open_workdir("cross_dataset", free=("fold", "other_manifest", "other_source"))
    if (folder / "report" / "index.html").exists():
        print(f"finished already: {folder / 'report' / 'index.html'}")
        return
    found = populations.read(folder)
    size = folds.image_size()
    first, second = (
        audited(one, folder / side).prepare(folder, size, f"_{side}")
        for side, one in zip(SIDES, found.inputs, strict=True)
    )
    sets = (first, second)
    fold_of = [folds.case_folds(data, FLAGS.epochs) for data in sets]
    config = workdir.write_config(folder, "cross_dataset", *sets)
    if FLAGS.equal_size:
        print("training on equally many photos of both sets", file=sys.stderr)
    with MetricsLog(folder) as log:
        for fold in range(FLAGS.folds) if FLAGS.fold < 0 else [FLAGS.fold]:
            run_fold(fold, sets, fold_of, folder, log)
    notes = [*found.notes]
    for name, data, of in zip(found.names, sets, fold_of, strict=True):
        remarks = (*data.inputs.notes, *split.split_warnings(data.labels_by_name, data.cases, of))
        notes += [f"{name}: {remark}" for remark in remarks]
    if processes.is_first():
        crossed.report(folder, sets, found, config, notes)


if __name__ == "__main__":
    workdir.run_script(main)
