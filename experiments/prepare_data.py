"""Decodes photos once into prepared ArrayRecords (thesis, chapter 2). Other experiments do this by themselves.

    python -m experiments.prepare_data --manifest=photos/manifest.csv --image_size=224 --prepared=prepared/224
    python -m experiments.prepare_data --smoke

Give the same --prepared, --image_size and --fit to the experiments that are to share it. Rate:
benchmarks/results/ground.md.
"""

from __future__ import annotations

from absl import flags

from experiments import flags as shared
from experiments import inputs, workdir

FLAGS = flags.FLAGS
DEFAULT_SIZE = 224

shared.define_data_flags()
shared.define_run_flags()


def main() -> None:
    """Runs the experiment that the flags describe."""
    folder = workdir.open_workdir("prepare_data")
    data = inputs.read(folder).prepare(folder, FLAGS.image_size or DEFAULT_SIZE)
    prepared = FLAGS.prepared or folder / "prepared"
    print(f"{len(data.frame)} photos prepared in {prepared}, {len(data.prepared.bad)} left out")


if __name__ == "__main__":
    workdir.run_script(main)
