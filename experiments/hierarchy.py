"""Hierarchical diagnosis by granularity transfer (thesis, chapter 4).

Does knowing the meta-class help to tell sub-classes apart? For every case-grouped, stratified fold: a network of the
finest level; a network of a coarser level that starts from its parameters (granularity transfer, section 4.3); their
outputs fused (section 4.4: soft, hard and conditional), against the finest network alone. All predictions are of photos
whose case the network has not seen; `predictions/out_of_fold.parquet` pools them and `report/index.html` says what
they show, by case.

And does the coarser network gain by the start? --transfer_variants trains it again, in each fold with the same head,
photos and order, from other starts: at random, from --pretrained, from some of the finest network's blocks, from all
its layers. The report then has figure 4-6, and `predictions/meta_<start>.parquet` what each said.

    python -m experiments.hierarchy --flagfile=experiments/flagfiles/demo.flags             # built-in photos
    python -m experiments.hierarchy --manifest=photos/manifest.csv --taxonomy=classes.csv --workdir=runs/mine
    python -m experiments.hierarchy --dataset=pad_ufes_20 --source=PAD-UFES-20 --workdir=runs/pad
    python -m experiments.hierarchy --flagfile=experiments/flagfiles/hierarchy.flags --manifest=...     # as the thesis
    python -m experiments.hierarchy --smoke                                                 # all of it, tiny
    python -m experiments.hierarchy --smoke --transfer_variants=random,0,10/45,23/45,30/45,all     # and figure 4-6
    python -m experiments.hierarchy --fold=2 ...   # one fold; others may run in other processes, the last one reports

The same command again resumes a run that was stopped.

HAM10000's 8,625 photos, small networks from scratch at 64 pixels, three folds and five starts, 19 minutes on two
cores: a coarse network that starts from all layers ends at 81.7 %, from random ones at 80.9 %; soft fusion names 72.5
% of seven diseases right, as the flat network does. More: benchmarks/results/studies.md and ground.md.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from absl import flags

from experiments import flags as shared
from experiments import folds, inputs, pooling, processes, training_flags, transfer_variants, workdir
from skinjax.data import predictions, split
from skinjax.labels.taxonomy import Taxonomy
from skinjax.train.log import MetricsLog

FLAGS = flags.FLAGS

training_flags.define_all_flags(folds=True)
OWN = {"module_name": shared.SCRIPT}
flags.DEFINE_string(
    "meta_level", "", "Coarser level, fused with the finest. Default: the one above it.", **OWN
)
transfer_variants.define_transfer_flags()
flags.DEFINE_integer("meta_epochs", 0, "Epochs of the coarser network. 0: as many as --epochs.", 0, **OWN)


def run_fold(
    fold: int, data: inputs.Photos, held_out: np.ndarray, folder: Path, log: MetricsLog
) -> pd.DataFrame:
    """Trains the networks of a fold and returns the predictions, of the photos held out, of the two that are fused."""
    taxonomy, sub_level, meta_level = data.taxonomy, data.taxonomy.finest, coarse_level(data.taxonomy)
    sub = folds.network("sub", fold, sub_level, taxonomy.classes(sub_level))
    meta = folds.network("meta", fold, meta_level, taxonomy.classes(meta_level))
    meta_labels = taxonomy.parents(sub_level, meta_level)[data.labels]
    title = f"fold {fold + 1} of {FLAGS.folds}"
    variables = folds.start_variables(sub)
    fine = folds.train_network(
        sub, variables, data, data.labels, ~held_out, held_out, folder, log, f"{title}, sub", FLAGS.epochs
    )
    ways, epochs, seed = (
        transfer_variants.plan(),
        FLAGS.meta_epochs or FLAGS.epochs,
        folds.seed_of("meta", fold),
    )
    logits = {}
    for start in ways.starts:
        network = dataclasses.replace(meta, stage=ways.stage(start))
        logits[start] = folds.train_network(
            network, transfer_variants.variables(start, meta, fine.variables), data, meta_labels, ~held_out, held_out,
            folder, log, f"{title}, {network.stage}", epochs, seed=seed,
        ).logits  # fmt: skip
        if FLAGS.transfer_variants and processes.is_first():
            transfer_variants.write_fold(folder, start, fold, data, held_out, logits[start], meta_level)
    return folds.predictions_of(data, held_out, fine.logits, fold, {meta_level: logits[ways.fused]})


def coarse_level(taxonomy: Taxonomy) -> str:
    """Returns the level that is fused with the finest."""
    levels = taxonomy.levels
    if len(levels) < 2:
        raise ValueError(
            f"the taxonomy {taxonomy.name!r} has one level, hierarchy wants two: give --taxonomy"
        )
    if FLAGS.meta_level and FLAGS.meta_level not in levels[:-1]:
        raise ValueError(
            f"--meta_level={FLAGS.meta_level} is none of the coarser levels {', '.join(levels[:-1])}"
        )
    return FLAGS.meta_level or levels[-2]


def main() -> None:
    """Runs the experiment that the flags describe."""
    folds.check_flags()
    ways = transfer_variants.plan()
    folder = workdir.open_workdir("hierarchy", free=("fold",))
    if (folder / "report" / "index.html").exists():
        print(f"finished already: {folder / 'report' / 'index.html'}")
        return
    read = inputs.read(folder)
    meta_level = coarse_level(read.taxonomy)
    data = inputs.audited(read, folder).prepare(folder, folds.image_size())
    fold_of = folds.case_folds(data, min(FLAGS.epochs, FLAGS.meta_epochs or FLAGS.epochs))
    config = workdir.write_config(folder, "hierarchy", data)
    with MetricsLog(folder) as log:
        for fold in range(FLAGS.folds) if FLAGS.fold < 0 else [FLAGS.fold]:
            frame = run_fold(fold, data, fold_of == fold, folder, log)
            path = folder / "predictions" / f"fold_{fold}.parquet"
            if processes.is_first():
                predictions.write_predictions(frame, path, data.taxonomy)
    pooled = pooling.pool(folder, FLAGS.folds, data)
    if pooled is not None:
        notes = split.split_warnings(data.labels_by_name, data.cases, fold_of)
        curves, extra = transfer_variants.own_curves(folder), []
        if FLAGS.transfer_variants:
            variants = transfer_variants.pool(folder, ways, FLAGS.folds, data, meta_level)
            extra = [transfer_variants.section(folder, ways, variants, data, meta_level)]
        pooling.report(
            folder,
            "Hierarchical diagnosis",
            pooled,
            meta_level,
            data,
            config,
            notes,
            curves=curves,
            extra=extra,
        )


if __name__ == "__main__":
    workdir.run_script(main)
