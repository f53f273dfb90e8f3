"""How malignant does a skin tumour look: a reference score and a degree, against readers (thesis, chapter 5).

How seldom can a network call a cancer more benign than it is, and at what price? For every case-grouped, stratified
fold a network learns to tell the tumours apart with the classification loss. Its probabilities, after a temperature
fitted on the other folds, add up to the probabilities of the degrees; these give the score, 0 to 100, and the degree by
three rules: the most probable, cut-points on the score fitted on the other folds, and the least expected cost. The
report names every cancer that was graded too low. Folds and not parts 6:2:1, so that each cancer of a small set is
graded once.

    python -m experiments.malignancy --dataset=pad_ufes_20 --source=PAD-UFES-20 --workdir=runs/pad_malignancy
    python -m experiments.malignancy --manifest=photos/manifest.csv --taxonomy=tumours10 --cost="0,1,2;4,0,1;8,4,0"
    python -m experiments.malignancy --manifest=... --taxonomy=classes.csv --degrees=degrees.csv --readers=readers.csv
    python -m experiments.malignancy --flagfile=experiments/flagfiles/malignancy.flags --manifest=...
    python -m experiments.malignancy --smoke                                  # all of it, tiny, with made-up readers

Which tumours the thesis took, their degrees and its formula cannot be read: these are ours (skinjax/labels/degrees.py).
The same command again resumes a run that was stopped; of a finished one it writes the report again, with the --cost and
--readers of now.

HAM10000's 8,625 photos, EfficientNet-B0 from scratch at 96 pixels, three folds of 12 epochs of 2.6 s on an H100: of
1,669 cancers the most probable degree is too low for 63.0 %, the least cost for 20.8 %. More:
benchmarks/results/studies.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import flags

from experiments import flags as shared
from experiments import folds, inputs, pooling, processes, script, training_flags, tumours, workdir
from skinjax.data import predictions, split
from skinjax.report.sections.grading import grading_section
from skinjax.report.sections.malignancy import check_degrees
from skinjax.report.study import study
from skinjax.train.log import MetricsLog

FLAGS = flags.FLAGS

training_flags.define_all_flags(folds=True)
OWN = {"module_name": shared.SCRIPT}
flags.DEFINE_string(
    "degrees", "", "CSV (class, degree), JSON or catalogue name. Default: the taxonomy's in the catalogue.", **OWN
)  # fmt: skip
flags.DEFINE_string(
    "cost", "", 'Cost of each degree given (column) at each true one (row). Default: "0,1,2;4,0,1;8,4,0".', **OWN
)  # fmt: skip
flags.DEFINE_string("readers", "", "CSV (reader, image, degree): what people said of the photos.", **OWN)
CONFIDENCE, REPLICATES = 0.95, 2000


def run_fold(fold: int, data: inputs.Photos, held_out: np.ndarray, folder: Path, log: MetricsLog) -> None:
    """Trains the network of a fold and stores its predictions of the photos held out."""
    level = data.taxonomy.finest
    network = folds.network("sub", fold, level, data.taxonomy.classes())
    variables, title = folds.start_variables(network), f"fold {fold + 1} of {FLAGS.folds}"
    fitted = folds.train_network(
        network, variables, data, data.labels, ~held_out, held_out, folder, log, title, FLAGS.epochs
    )
    frame = folds.predictions_of(data, held_out, fitted.logits, fold)
    if processes.is_first():
        path = folder / "predictions" / f"fold_{fold}.parquet"
        predictions.write_predictions(frame, path, data.taxonomy)


def main() -> None:
    """Runs the experiment that the flags describe."""
    folds.check_flags()
    tumours.cost_matrix(FLAGS.cost)
    folder = workdir.open_workdir("malignancy", free=("fold", "cost", "readers"))
    read, degrees = tumours.tumours_of(inputs.read(folder))
    cost = tumours.cost_matrix(FLAGS.cost, max(degrees.values()) + 1)
    readers, reader_notes = tumours.degree_readers(read, degrees)
    data = inputs.audited(read, folder).prepare(folder, folds.image_size())
    fold_of = folds.case_folds(data, FLAGS.epochs)
    config = workdir.write_config(folder, "malignancy", data)
    if not (folder / "predictions" / "out_of_fold.parquet").exists():
        with MetricsLog(folder) as log:
            for fold in range(FLAGS.folds) if FLAGS.fold < 0 else [FLAGS.fold]:
                run_fold(fold, data, fold_of == fold, folder, log)
    pooled = pooling.pool(folder, FLAGS.folds, data)
    if pooled is None:
        return
    tree, names = data.taxonomy, data.taxonomy.classes("degree")
    model = study("malignancy", pooled, tree, None, names[1:], CONFIDENCE, REPLICATES, FLAGS.seed)
    if readers is not None:
        readers = readers[readers["image"].isin(pooled["image"])]
    verdict, section = grading_section(
        model, check_degrees(degrees, tree), tumours.titles(len(names)), cost, readers
    )
    notes = (*reader_notes, *split.split_warnings(data.labels_by_name, data.cases, fold_of))
    config = {**config, "flags": script.script_flags()}
    pooling.report(
        folder, "Degrees of malignancy", pooled, "degree", data, config, notes,
        target=names[1:], extra=[section], verdict=verdict,
    )  # fmt: skip


if __name__ == "__main__":
    workdir.run_script(main)
