"""Two-stage against single-stage diagnosis of one disease (thesis, chapter 3).

Is a disease told better by a network of all diseases, or by one that only knows it from the rest?

On one split of cases, 6:2:1: a network of all classes, whose output an output strategy turns into target or not
(two-stage); the thesis's single-stage baseline, eight networks of two classes on eight balanced draws, and their mean
ROC curve; and a single-stage network on all training photos with weighted loss. Any class of any manifest, or several
of one level, may be the target. Thresholds are Youden's on the validation photos; the report compares on the test
photos.

    python -m experiments.psoriasis                                                        # built-in photos
    python -m experiments.psoriasis --manifest=photos/manifest.csv --taxonomy=psoriasis9 --workdir=runs/mine
    python -m experiments.psoriasis --dataset=pad_ufes_20 --source=PAD-UFES-20 --target=MEL --workdir=runs/pad
    python -m experiments.psoriasis --target=psoriasis --leave_out=melanoma,melanocytic_nevus --foreign=...
    python -m experiments.psoriasis --flagfile=experiments/flagfiles/psoriasis.flags --manifest=...   # as the thesis
    python -m experiments.psoriasis --smoke                                                # all of it, tiny

--leave_out keeps classes out of training and validation and asks how many of their photos are called the target;
--foreign asks the same, and the accuracy, of photos from elsewhere, whatever their labels. Everything that the networks
say is in `predictions/`. The same command again resumes, network by network.

HAM10000's melanoma, 2,523 test photos, ten small networks from scratch at 64 pixels, 17 minutes on two cores: AUC 0.847
two-stage, 0.817 the mean of eight single-stage networks, 0.834 their mean probability. More:
benchmarks/results/studies.md.
"""

from __future__ import annotations

from absl import flags

from experiments import flags as shared
from experiments import folds, inputs, parts, pooling, processes, targets, training_flags, two_stage, workdir
from skinjax.report.sections.two_stage import STRATEGIES, two_stage_section
from skinjax.train.log import MetricsLog

FLAGS = flags.FLAGS

training_flags.define_all_flags(folds=False)
parts.define_parts_flag()
targets.define_target_flag(["psoriasis"])
shared.define_readers_flag()
OWN = {"module_name": shared.SCRIPT}
flags.DEFINE_enum(
    "strategy", "probability", list(STRATEGIES), "How all classes become one score; all are reported.", **OWN
)
flags.DEFINE_integer("draws", 8, "Single-stage networks, each on a balanced draw.", 2, **OWN)
flags.DEFINE_integer(
    "draw_epochs", 0, "Epochs of each of them, over fewer photos. 0: as many as --epochs.", 0, **OWN
)
flags.DEFINE_list(
    "leave_out", [], "Classes, of one level, that are kept out of training and validation.", **OWN
)
flags.DEFINE_string("foreign", "", "Manifest of photos from elsewhere, of any labels.", **OWN)


def main() -> None:
    """Runs the experiment that the flags describe."""
    folds.check_flags()
    parts.shares()
    folder = workdir.open_workdir("psoriasis", free=("strategy",))
    if (folder / "report" / "index.html").exists():
        print(f"finished already: {folder / 'report' / 'index.html'}")
        return
    read = inputs.read(folder)
    question = two_stage.ask(read)
    whole = inputs.audited(read, folder).prepare(folder, folds.image_size())
    material = two_stage.gather(question, whole, folder)
    config = workdir.write_config(folder, "psoriasis", material.data)
    train, draw_epochs = material.parts.train, FLAGS.draw_epochs or FLAGS.epochs
    with MetricsLog(folder) as log:
        trainer = two_stage.Trainer(material, folder, log)
        frames = trainer.two_stage()
        drawn = [
            trainer.single_stage(f"single_{number}", photos, draw_epochs, "none")
            for number, photos in enumerate(material.drawn)
        ]
        weighted = trainer.single_stage("single_weighted", train, FLAGS.epochs, "weights")
    if not processes.is_first():
        return
    section, verdict = two_stage_section(two_stage.stages(material, frames, drawn, weighted, FLAGS.seed))
    pooling.report(
        folder,
        f"{question.title}: two-stage against single-stage",
        frames["test"],
        None,
        material.data,
        config,
        material.notes,
        target=FLAGS.target,
        readers=material.readers(),
        extra=[section],
        verdict=[verdict],
        name="two-stage network",
    )


if __name__ == "__main__":
    workdir.run_script(main)
