"""Reports on predictions, of a run or of anybody's model in any framework; nothing is trained (all chapters).

A table of predictions has a row a photo, with `image`, `case_id`, `label` and a column `p_<class>` a class
(skinjax/data/predictions.py has the whole of it). Several models are compared pairwise on the same photos.

    python -m experiments.evaluate --predictions=theirs.csv
    python -m experiments.evaluate --predictions=ours=a.parquet,theirs=b.csv --taxonomy=classes.csv --target=melanoma
    python -m experiments.evaluate --predictions=a.csv --target=malignant --readers=readers.csv --degrees=degrees.json
    python -m experiments.evaluate --workdir=runs/demo
    python -m experiments.evaluate --smoke                                     # two made-up models

Writes index.html with its figures and tables, and config.json, to --out; everything that is wrong with the
files is told in one list. Times: benchmarks/results/evaluation.md.
"""

from __future__ import annotations

import json
from pathlib import Path

from absl import flags

from experiments import evaluated, script
from experiments import flags as shared
from skinjax.data.folders import filling

FLAGS = flags.FLAGS
OWN = {"module_name": shared.SCRIPT}

flags.DEFINE_string("workdir", "", "Folder of a run, whose stored predictions are reported on again.", **OWN)
flags.DEFINE_list(
    "predictions", [], "Files, CSV or Parquet, each as name=file or file; the first is reported on.", **OWN
)
flags.DEFINE_string(
    "taxonomy", "", "Catalogue name or file. Default: the file's or run's own, else a flat one.", **OWN
)
flags.DEFINE_list("target", [], "Class, or classes of one level, that count as positive.", **OWN)
flags.DEFINE_string(
    "degrees", "", "CSV (class, degree) or JSON: degrees of malignancy, 0 the most benign.", **OWN
)
shared.define_readers_flag()
flags.DEFINE_list(
    "subgroups", None, "Columns. Default: those there are of skin_tone, sex, age, body_site, source.", **OWN
)
flags.DEFINE_string(
    "coarse_level", "", "Level fused with the finest. Default: one with a network, or the one above.", **OWN
)
flags.DEFINE_string(
    "out", "", "Folder to write. Default: evaluation, in --workdir or beside the first file.", **OWN
)
flags.DEFINE_integer("replicates", 2000, "Of the bootstrap by case.", 100, **OWN)
flags.DEFINE_float("confidence", 0.95, "Of all intervals.", 0.5, 0.999, **OWN)
shared.define_run_flags()


def main() -> None:
    """Reports on what the flags name."""
    subject = evaluated.read()
    run = subject.run
    with filling(evaluated.check_out(subject.out), last="index.html") as hidden:
        from skinjax.report.page import (
            write_report,
        )  # after the files were checked: it takes seconds to import

        write_report(
            hidden,
            title=subject.title,
            predictions=subject.predictions,
            taxonomy=subject.data.taxonomy,
            coarse_level=subject.coarse_level,
            curves=run.curves if run else None,
            config=subject.config,
            photo_root=subject.photo_root,
            notes=subject.data.notes,
            audit=run.audit if run else None,
            training=run.training if run else None,
            replicates=FLAGS.replicates,
            confidence=FLAGS.confidence,
            seed=FLAGS.seed,
            name=subject.name,
            target=subject.data.target,
            readers=subject.data.readers,
            degrees=subject.data.degrees,
            subgroups=subject.data.subgroups,
            others=subject.others,
        )
        (hidden / "config.json").write_text(json.dumps(subject.config, indent=1), encoding="utf-8")
    print(f"report: {Path(subject.out) / 'index.html'}")


if __name__ == "__main__":
    script.run_script(main)
