r"""How much a training run moves the figures: runs of one study under several seeds, with other studies beside.

    python -m benchmarks.training_runs --runs fused=runs/h0,runs/h1,runs/h2 --runs probe=runs/p0,runs/p1,runs/p2

`--runs NAME=FOLDER,FOLDER,...` names finished runs of `skinjax train`, `hierarchy`, `probe` and the like that differ
in `--seed`; NAME:FILE takes another file of their `predictions`, named without its ending, than the main one, as
`own:b_on_b` of `cross_dataset`. The folds may be other ones under every seed: photos are matched by `image`, and those
count that every run answered when held out. Prints Markdown: each figure's mean over trainings with an interval over
cases and trainings (`skinjax.evaluate.training_runs`), how far other cases and another training would move the figure
of a single run, and differences of the names (paired by seed where they have the same seeds) and, where a coarser
network answered too, of fused answers from flat ones. P-values are each by itself, not corrected for their number.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinjax.data.predictions import Predictions, read_predictions
from skinjax.evaluate import metrics
from skinjax.evaluate.multiclass import weighted_macro_auc
from skinjax.evaluate.results import p_clause
from skinjax.evaluate.training_runs import (
    RunsComparison,
    RunsInterval,
    by_case_and_run,
    paired_by_case_and_run,
)
from skinjax.report.study import Study
from skinjax.report.tables.methods import Answers
from skinjax.runs.folder import RunFolder

FIGURES = {
    "accuracy": metrics.accuracy,
    "balanced accuracy": metrics.balanced_accuracy,
    "macro F1": metrics.macro_f1,
    "macro AUC": weighted_macro_auc,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Trainings:
    """Runs of one study, in the order of their seeds.

    Attributes:
      name: What they are called in tables.
      seeds: Of each run.
      predictions: Of each run, photos sorted by `image`.
    """

    name: str
    seeds: tuple[int, ...]
    predictions: tuple[Predictions, ...]

    def of(self, images: NDArray) -> Trainings:
        """Returns the predictions of some photos, in the order of `images`."""
        taken = [one.take(np.searchsorted(one.image.astype(str), images)) for one in self.predictions]
        return dataclasses.replace(self, predictions=tuple(taken))


def read(given: str) -> Trainings:
    """Reads `NAME=FOLDER,FOLDER,...` or `NAME:FILE=FOLDER,FOLDER,...`.

    Raises:
      ValueError: No name, fewer than two runs, one seed twice, runs of several studies, or an unknown file.
    """
    title, equals, paths = given.partition("=")
    name, colon, file = title.partition(":")
    folders = [Path(path) for path in paths.split(",") if path]
    if not (name and equals) or bool(colon) != bool(file) or len(folders) < 2:
        raise ValueError(f"runs must be NAME[:FILE]=FOLDER,FOLDER,... of at least two folders, got {given!r}")
    runs = [RunFolder.read(folder) for folder in folders]
    seeds = [int(run.options["seed"]) for run in runs]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"runs of {name} must each have a seed of their own, got seeds {seeds}")
    for run in runs[1:]:
        keys = runs[0].options | run.options
        differ = sorted(key for key in keys if run.options.get(key) != runs[0].options.get(key))
        if run.study != runs[0].study:
            raise ValueError(f"runs of {name} must be of one study, got {runs[0].study} and {run.study}")
        if others := [key for key in differ if key != "seed"]:
            print(
                f"{run.path} and {runs[0].path} differ in more than the seed: {', '.join(others)}",
                file=sys.stderr,
            )
    order = np.argsort(seeds)
    found = tuple(_predictions(runs[place], file) for place in order)
    return Trainings(name, tuple(seeds[place] for place in order), found)


def _predictions(run: RunFolder, file: str) -> Predictions:
    path = run.predictions_file(file) if file else next(iter(run.predictions.values()))
    if not path.is_file():
        there = ", ".join(sorted(each.stem for each in path.parent.glob("*.parquet")))
        raise ValueError(f"file must be one of the predictions of {run.path}, {there}, got {file!r}")
    found = Predictions.from_frame(read_predictions(path), run.taxonomy)
    return found.take(np.argsort(found.image.astype(str)))


def align(named: Sequence[Trainings]) -> list[Trainings]:
    """Returns the trainings on the photos that all of them answered, in one order.

    Raises:
      ValueError: One name twice, classes, labels or cases that differ, or no photo in common.
    """
    names = [one.name for one in named]
    if len(set(names)) < len(names):
        raise ValueError(f"runs must each have a name of their own, got {', '.join(names)}")
    every = [(one.name, part) for one in named for part in one.predictions]
    images = every[0][1].image.astype(str)
    for name, part in every[1:]:
        if part.taxonomy != every[0][1].taxonomy:
            raise ValueError(f"runs must have the same classes, got others in runs of {name}")
        images = np.intersect1d(images, part.image.astype(str))
    if not len(images):
        raise ValueError("runs must have held-out photos in common, got none")
    aligned = [one.of(images) for one in named]
    first = aligned[0].predictions[0]
    for name, part in [(one.name, part) for one in aligned for part in one.predictions]:
        for column in ("label", "case_id"):
            differ = np.flatnonzero(getattr(part, column) != getattr(first, column))
            if differ.size:
                raise ValueError(
                    f"runs must agree on the {column} of {images[differ[0]]}, got another in {name}"
                )
    return aligned


def answers_of(one: Trainings, level: str) -> list[Answers]:
    """Returns the answers of each training at a level, by all methods that there are."""
    found = []
    for part in one.predictions:
        coarse = next((name for name in part.taxonomy.levels if part.has_network(name)), None)
        found.append(Study.from_predictions(part, coarse_level=coarse).answers[level])
    return found


def methods_of(answers: Sequence[Answers]) -> list[str]:
    """Returns the methods that every training has."""
    return [name for name in answers[0].scores if all(name in one.scores for one in answers)]


def arrays_of(answers: Sequence[Answers], method: str, figure: str) -> list[NDArray]:
    """Returns what a figure is of: each training's probabilities or classes."""
    return [one.scores[method] if figure == "macro AUC" else one.predicted(method) for one in answers]


def tables(named: Sequence[Trainings], level: str, method: str, options: Mapping[str, Any]) -> str:
    """Returns the tables as Markdown."""
    first = named[0].predictions[0]
    level = level or first.taxonomy.finest
    if level not in first.taxonomy.levels:
        raise ValueError(f"level must be one of {', '.join(first.taxonomy.levels)}, got {level!r}")
    cases = first.case_id.astype(str)
    answers = {one.name: answers_of(one, level) for one in named}
    labels = answers[named[0].name][0].labels
    shown = {}
    for name, of_runs in answers.items():
        there = methods_of(of_runs)
        if method and method not in there:
            raise ValueError(f"method must be one of {', '.join(there)} of {name}, got {method!r}")
        shown[name] = method or ("soft" if "soft" in there else there[0])
    most = max(len(part) for one in named for part in one.predictions)
    lines = [
        f"{len(labels):,} photos of {len(np.unique(cases)):,} cases, answered by every run when held out "
        f"(a run has at most {most:,}); {100 * options['confidence']:g}% intervals over cases and trainings.",
        "",
        "| runs | answers | figure | mean | of each training | SD by cases | SD between trainings |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in named:
        for figure, metric in FIGURES.items():
            given = arrays_of(answers[one.name], shown[one.name], figure)
            found = by_case_and_run(metric, labels, given, cases, **options)
            lines.append(f"| {one.name} | {shown[one.name]} | {figure} | {_interval_cells(found)} |")
    rows = [
        f"| {title} | {figure} | {_difference_cells(found)} |"
        for title, figure, found in _differences(named, answers, shown, labels, cases, options)
    ]
    if rows:
        lines += [
            "",
            "| difference | figure | mean | SD by cases | SD between trainings |",
            "|---|---|---|---|---|",
        ]
    return "\n".join(lines + rows)


def _differences(
    named: Sequence[Trainings],
    answers: Mapping[str, list[Answers]],
    shown: Mapping[str, str],
    labels: NDArray,
    cases: NDArray,
    options: Mapping[str, Any],
) -> list[tuple[str, str, RunsComparison]]:
    """Returns what is compared, the figure and the comparison: names, then a name's method with its first."""
    asked = []
    for one, other in itertools.combinations(named, 2):
        paired = one.seeds == other.seeds
        title = f"{one.name} − {other.name}" + ("" if paired else " (other seeds)")
        asked.append((title, (one.name, shown[one.name]), (other.name, shown[other.name]), paired))
    for one in named:
        way, reference = shown[one.name], methods_of(answers[one.name])[0]
        if way != reference:
            asked.append((f"{one.name}: {way} − {reference}", (one.name, way), (one.name, reference), True))
    return [
        (
            title,
            figure,
            paired_by_case_and_run(
                metric,
                labels,
                *(arrays_of(answers[name], way, figure) for name, way in (first, second)),
                cases,
                paired_runs=paired,
                **options,
            ),
        )
        for title, first, second, paired in asked
        for figure, metric in FIGURES.items()
    ]


def _interval_cells(found: RunsInterval) -> str:
    each = ", ".join(f"{value:.3f}" for value in found.values)
    limits = (
        f"({found.low:.3f} to {found.high:.3f})" if not found.reason else f"(no interval: {found.reason})"
    )
    return f"{found.estimate:.3f} {limits} | {each} | {found.case_sd:.3f} | {found.run_sd:.3f}"


def _difference_cells(found: RunsComparison) -> str:
    limits = (
        f"({found.low:+.3f} to {found.high:+.3f})" if not found.reason else f"(no interval: {found.reason})"
    )
    told = f"{found.difference:+.3f} {limits}{p_clause(found.p_value)}"
    return f"{told} | {found.case_sd:.3f} | {found.run_sd:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", action="append", required=True, help="NAME[:FILE]=FOLDER,FOLDER,...; may be repeated"
    )
    parser.add_argument("--level", default="", help="level of the taxonomy; default: the finest")
    parser.add_argument(
        "--method", default="", help="flat, soft, hard, ...; default: soft where there is one"
    )
    parser.add_argument("--replicates", type=int, default=2000, help="of the bootstrap over cases")
    parser.add_argument("--confidence", type=float, default=0.95, help="of every interval")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    given = parser.parse_args()
    options = {name: getattr(given, name) for name in ("replicates", "confidence", "seed")}
    try:
        named = align([read(one) for one in given.runs])
        print(tables(named, given.level, given.method, options))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
