"""Photos in, answers out: what the networks of a run say of photos that nobody has labelled (all chapters).

    python -m experiments.predict --workdir=runs/demo --photos=a.jpg,b.png            # a table, and pictures of why
    python -m experiments.predict --workdir=runs/demo --photos=clinic --out=answers   # a folder, at the device's speed
    python -m experiments.predict --workdir=runs/pad --photos=a.jpg --degrees=pad_ufes_20 --explain_class=MEL
    python -m experiments.predict --workdir=runs/demo --photos=a.jpg --explain --check_explanations
    python -m experiments.predict --workdir=runs/demo                                 # makes ready, answers nothing
    python -m experiments.predict --smoke                                             # all of it, on a run made for it

Each photo gets the most probable classes of every level with calibrated probabilities, a set that holds the true class
as often as --coverage says, a score and degree of malignancy where there are degrees, and a diagnosis, or why there is
none: too blurred, too grainy, too dark, too bright, unlike the run's photos, or not certain enough. What that rests on
comes from the run's photos that the networks have not seen; it is worked out the first time and kept in the run's
folder.

Writes predictions.jsonl (everything, an object a photo), predictions.csv and explanations/ (Grad-CAM) to --out. A photo
that cannot be read is named and the others are answered.

Two EfficientNet-B0 at 224 pixels on two cores: the first photo of a new process is answered and explained in 4 s, in 8
s where nothing was compiled before; then 46 a second. More: benchmarks/results/predict.md.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from experiments import answering, script
from experiments import flags as shared

FLAGS = flags.FLAGS
OWN = {"module_name": shared.SCRIPT}

flags.DEFINE_string("workdir", "", "Folder of the run whose networks answer.", **OWN)
flags.DEFINE_list("photos", [], "Photos and folders of photos, parted by commas.", **OWN)
flags.DEFINE_string("out", "", "Folder to write. Default: answers, in --workdir.", **OWN)
flags.DEFINE_integer("fold", 0, "Whose networks answer; -1: the mean over those of all folds.", -1, **OWN)
flags.DEFINE_list("stages", [], "Networks that answer, one a level. Default: sub and meta.", **OWN)
flags.DEFINE_float("coverage", 0.9, "How often a set holds the true class.", 0.01, 0.999, **OWN)
flags.DEFINE_float("answered", 0.9, "Share of the run's own photos that are certain enough.", 0.01, 1, **OWN)
flags.DEFINE_float("unusual", 0.02, "Share of the run's own photos beyond each limit.", 0.0001, 0.4, **OWN)
flags.DEFINE_string(
    "degrees", "", "Degrees of malignancy: a file or catalogue name. Default: the run's.", **OWN
)
flags.DEFINE_enum("grade_rule", "least_cost", ["argmax", "cutpoints", "least_cost"], "How to grade.", **OWN)
flags.DEFINE_bool("explain", None, "Draw where the network looked. Default: for up to 16 photos.", **OWN)
flags.DEFINE_string("explain_class", "", "The class to look for. Default: the most probable one.", **OWN)
flags.DEFINE_string("explain_level", "", "That class's level. Default: the finest.", **OWN)
flags.DEFINE_string(
    "explain_layer", "", "Feature map to look at. Default: the last, which the head reads.", **OWN
)
flags.DEFINE_bool(
    "check_explanations", False, "Whether explanations change as weights are made random.", **OWN
)
flags.DEFINE_integer("batch_size", 16, "Photos at a time, of more than 8.", 1, **OWN)
flags.DEFINE_integer("threads", 2, "Threads that read photos.", 1, **OWN)
shared.define_run_flags()


def main() -> None:
    """Answers the photos that the flags name."""
    if FLAGS.smoke and not FLAGS.workdir:
        answering.smoke(Path("runs/predict_smoke"))
    if not FLAGS.workdir:
        raise ValueError("no run to answer with: give --workdir, the folder of one")
    paths = answering.check_photos()
    script.use_compilation_cache(least_seconds=0)  # even small ones, as a start has to be quick
    session = answering.open_session(Path(FLAGS.workdir), len(paths))
    print("\n".join(session.notes))
    if paths:
        answering.answer(session, paths, Path(FLAGS.out or Path(FLAGS.workdir) / "answers"))
    else:
        print("ready; no --photos to answer")


if __name__ == "__main__":
    script.run_script(main)
