"""Backbones trained alike on one split of cases, compared on its test photos (thesis, chapter 2 and section 3.2).

Which network diagnoses best, and what does it cost? All see the same training photos under the same settings;
thresholds are Youden's on the validation photos, which also choose the epoch where --choose_by asks for it. The report
has the thesis's table 3-1 for --target (without one, the mean area over classes), all ROC curves, a confusion matrix
each, paired tests of all pairs, parameters and speed. The rest of it is about the backbone that is best on the
validation photos.

    python -m experiments.benchmark_backbones                                              # built-in photos
    python -m experiments.benchmark_backbones --manifest=photos/manifest.csv --target=psoriasis --workdir=runs/mine
    python -m experiments.benchmark_backbones --dataset=ham10000 --source=HAM10000 --target=mel --workdir=runs/ham
    python -m experiments.benchmark_backbones --backbones=efficientnet_b0,xception --pretrained=weights/{backbone}.h5
    python -m experiments.benchmark_backbones --flagfile=experiments/flagfiles/benchmark_backbones.flags --manifest=...
    python -m experiments.benchmark_backbones --smoke                                      # all of it, tiny

Photos have --image_size, or each backbone its own; they are prepared once a size. Predictions are in
`predictions/<backbone>_test.parquet` and `_validation.parquet`. The same command again resumes.

PAD-UFES-20's basal cell carcinoma, 172 test photos, the thesis's four from scratch at 96 pixels, 25 minutes on two
cores: AUC 0.818 DenseNet121, 0.787 InceptionV3, 0.863 Inception-ResNet-v2, 0.860 Xception, no two told apart. More:
benchmarks/results/studies.md.
"""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pandas as pd
from absl import flags

from experiments import flags as shared
from experiments import folds, inputs, parts, pooling, processes, targets, training_flags, workdir
from experiments.inputs import Inputs, Photos
from skinjax.data import predictions
from skinjax.models import registry
from skinjax.report.sections.backbones import Answers, answers, backbones_section, best_on_validation
from skinjax.report.target_models import Intervals
from skinjax.train.log import MetricsLog
from skinjax.train.loop import Fitted
from skinjax.train.network import Network

FLAGS = flags.FLAGS

training_flags.define_all_flags(folds=False)
parts.define_parts_flag()
shared.define_readers_flag()
OWN = {"module_name": shared.SCRIPT}
FOUR = ["densenet121", "inception_v3", "inception_resnet_v2", "xception"]
flags.DEFINE_list("backbones", FOUR, "Names in the registry; --backbone is not used.", **OWN)
targets.define_target_flag([])


def check_flags() -> None:
    """Finds what is wrong with the flags before any photo is read."""
    names = FLAGS.backbones
    if FLAGS["backbone"].present:
        raise ValueError("--backbone is not used here; name the networks in --backbones")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"--backbones={','.join(names)}: different names are wanted, at least one")
    if FLAGS.readers and not FLAGS.target:
        raise ValueError("--readers wants --target, the class that their calls are about")
    folds.check_flags(names)
    parts.shares()


def prepare(read: Inputs, folder: Path) -> dict[int, Photos]:
    """Returns the photos at each size that a backbone wants."""
    sizes = dict.fromkeys(folds.image_size(name) for name in FLAGS.backbones)
    return {size: read.prepare(folder, size, f"_{size}" if len(sizes) > 1 else "") for size in sizes}


def train(
    name: str, data: Photos, divided: parts.Parts, folder: Path, log: MetricsLog
) -> tuple[Answers, dict[str, object]]:
    """Trains a backbone, or reads it where that is done; what it says, and what it took."""
    network = folds.network(name, 0, data.taxonomy.finest, data.taxonomy.classes(), name)
    start = folds.start_variables(network)
    fitted = folds.train_network(
        network, start, data, data.labels, divided.train, divided.test, folder, log, name, FLAGS.epochs,
        validation=divided.validation,
    )  # fmt: skip
    logits = folds.predict(network, fitted, parts.subset(data, divided.validation))
    frames = {
        "validation": folds.predictions_of(data, divided.validation, logits),
        "test": folds.predictions_of(data, divided.test, fitted.logits),
    }
    for part, frame in frames.items():
        if processes.is_first():
            path = folder / "predictions" / f"{name}_{part}.parquet"
            predictions.write_predictions(frame, path, data.taxonomy)
    cost = {"backbone": name, "image_size": network.image_size, **costs_of(network, fitted)}
    intervals = Intervals(seed=FLAGS.seed)
    return answers(frames["validation"], frames["test"], data.taxonomy, tuple(FLAGS.target), intervals), cost


def costs_of(network: Network, fitted: Fitted) -> dict[str, float]:
    """Counts a network's parameters, and reads from its history how long it was trained and how fast."""
    shapes = registry.variable_shapes(network.model())["params"]
    epochs = [row for row in fitted.history if row["split"] == "train"]
    rates = [row["photos"] / row["seconds"] for row in epochs if row["seconds"]]
    return {
        "parameters": sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes)),
        "epochs": len(epochs),
        "seconds": sum(row["seconds"] for row in epochs),
        "photos_per_second": float(
            np.median(rates[1:] or rates)
        ),  # the first epoch has the compilation in it
    }


def main() -> None:
    """Runs the experiment that the flags describe."""
    check_flags()
    folder = workdir.open_workdir("benchmark_backbones")
    if (folder / "report" / "index.html").exists():
        print(f"finished already: {folder / 'report' / 'index.html'}")
        return
    read = inputs.read(folder)
    if FLAGS.target:
        targets.members("target", read.taxonomy)
    targets.readers(read.frame["image"])
    prepared = prepare(inputs.audited(read, folder), folder)
    data = next(iter(prepared.values()))
    divided = parts.divide(data)
    readers = targets.readers(data.frame["image"][divided.test])
    config = workdir.write_config(folder, "benchmark_backbones", data)
    networks, costs = {}, []
    with MetricsLog(folder) as log:
        for name in FLAGS.backbones:
            networks[name], cost = train(name, prepared[folds.image_size(name)], divided, folder, log)
            costs.append(cost)
    if not processes.is_first():
        return
    best = best_on_validation(networks)
    section, verdict = backbones_section(networks, pd.DataFrame(costs), Intervals(seed=FLAGS.seed))
    pooling.report(
        folder,
        "Backbones compared",
        networks[best].test.predictions,
        None,
        data,
        config,
        [f"What does not compare backbones is about {best}.", *divided.notes],
        name=best,
        target=FLAGS.target,
        readers=readers,
        others={name: network.test.predictions for name, network in networks.items() if name != best},
        extra=[section],
        verdict=[verdict],
    )


if __name__ == "__main__":
    workdir.run_script(main)
