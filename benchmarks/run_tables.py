r"""One column of a report's table over runs of one study under several seeds.

    python -m benchmarks.run_tables --runs runs/h0,runs/h1,runs/h2 --table transfer --rows variant \
        --column accuracy_best --reference 0
    python -m benchmarks.run_tables --runs runs/p0,runs/p1,runs/p2 --table two_stage_differences --rows second \
        --column auc_difference --train 5 --test 3

Prints Markdown: a row per row of the table with its value in each run, their mean and standard deviation. `--reference`
names a row that is taken off the others, run by run. Where each seed tests other cases, `--train` and `--test` give the
sizes of the parts in any unit, and the column, or the difference from the reference, gets Nadeau and Bengio's corrected
95% interval (`skinjax.evaluate.folds`); where all seeds test the same cases, `benchmarks.training_runs` has intervals
over cases and trainings.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.evaluate.folds import nadeau_bengio
from skinjax.runs.folder import RunFolder


def read(folders: Sequence[Path], table: str, rows: str, column: str) -> pd.DataFrame:
    """Reads a column of each run's table.

    Args:
      folders: Of the runs, which must be of one study and of seeds of their own.
      table: Name of the table, without `.csv`.
      rows: Column that names its rows.
      column: Column of values.

    Returns:
      A row per row that all runs have, in the order of the first; a column per run.

    Raises:
      ValueError: Fewer than two runs, runs of several studies, one seed twice, or a table or column that is missing.
    """
    if len(folders) < 2:
        raise ValueError(f"runs must name at least two folders, got {len(folders)}")
    runs = [RunFolder.read(folder) for folder in folders]
    if len(studies := {run.study for run in runs}) > 1:
        raise ValueError(f"runs must be of one study, got {', '.join(sorted(studies))}")
    seeds = [int(run.options["seed"]) for run in runs]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"runs must each have a seed of their own, got seeds {seeds}")
    found = []
    for folder, seed in zip(folders, seeds, strict=True):
        path = folder / "report" / "tables" / f"{table}.csv"
        if not path.exists():
            raise ValueError(f"table must be one of the report of {folder}, got {table!r}")
        frame = pd.read_csv(path, dtype={rows: str})
        for name in (rows, column):
            if name not in frame:
                raise ValueError(f"{path}: columns are {', '.join(frame)}, got {name!r}")
        found.append(frame.set_index(rows)[column].rename(f"seed {seed}"))
    shared = pd.concat(found, axis=1, join="inner")
    return shared.loc[[name for name in found[0].index if name in shared.index]]


def markdown(
    values: pd.DataFrame, column: str, reference: str = "", sizes: tuple[float, float] | None = None
) -> str:
    """Returns the values as a Markdown table.

    Args:
      values: As `read` returns them.
      column: Its heading.
      reference: Row that is taken off the others, run by run; empty for none.
      sizes: Sizes of the parts trained on and tested, where each seed tests other cases.

    Raises:
      ValueError: The reference is not a row.
    """
    if reference and reference not in values.index:
        raise ValueError(f"reference must be one of {', '.join(values.index)}, got {reference!r}")
    heads = ["", column, *values.columns, "SD"]
    heads += [f"less {reference}"] if reference else []
    heads += ["corrected 95% CI"] if sizes else []
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, row in values.iterrows():
        cells = [str(name), f"{row.mean():.3f}", *(f"{value:.3f}" for value in row), f"{row.std(ddof=1):.3f}"]
        tested: NDArray = row.to_numpy()
        if reference:
            tested = tested - values.loc[reference].to_numpy()
            cells.append(f"{tested.mean():+.3f} ({', '.join(f'{value:+.3f}' for value in tested)})")
        if sizes:
            test = nadeau_bengio(tested, *sizes) if np.ptp(tested) else None
            cells.append(f"{test.low:+.3f} to {test.high:+.3f}, p = {test.p_value:.2f}" if test else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", required=True, help="FOLDER,FOLDER,...")
    parser.add_argument("--table", required=True, help="table of the report, without .csv")
    parser.add_argument("--rows", required=True, help="column that names the rows")
    parser.add_argument("--column", required=True, help="column of values")
    parser.add_argument("--reference", default="", help="row that is taken off the others")
    parser.add_argument("--train", type=float, default=0, help="size of a training part")
    parser.add_argument("--test", type=float, default=0, help="size of a test part")
    given = parser.parse_args()
    sizes = (given.train, given.test) if given.train and given.test else None
    try:
        values = read([Path(path) for path in given.runs.split(",")], given.table, given.rows, given.column)
        print(markdown(values, given.column, given.reference, sizes))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
