"""Checks a manifest and its photos, and writes what it found (thesis, chapter 2: a data set that can be trusted).

Unreadable and damaged photos, duplicates across cases and labels, labels that the taxonomy lacks, cases that contradict
themselves, and columns that give the label away.

    python -m experiments.audit_data --manifest=photos/manifest.csv --taxonomy=classes.csv --workdir=runs/audit
    python -m experiments.audit_data --dataset=ham10000 --source=HAM10000
    python -m experiments.audit_data --smoke

Writes `audit/audit.txt` (printed too), `audit.csv`, `audit.json` and `audit_photos.csv` to --workdir. Exit
code 0 whatever it finds. Times: benchmarks/results/ground.md.
"""

from __future__ import annotations

from absl import flags

from experiments import flags as shared
from experiments import inputs, workdir

FLAGS = flags.FLAGS

shared.define_data_flags()
shared.define_run_flags()


def main() -> None:
    """Runs the experiment that the flags describe."""
    folder = workdir.open_workdir("audit_data")
    data = inputs.audited(inputs.read(folder), folder, again=True)
    print(data.audit)
    print(f"written to {folder / 'audit'}")


if __name__ == "__main__":
    workdir.run_script(main)
