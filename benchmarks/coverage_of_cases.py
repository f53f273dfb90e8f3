"""Do conformal sets of pooled cases hold the true class as often as asked for?

    python -m benchmarks.coverage_of_cases > benchmarks/results/coverage_of_cases.md     # some minutes on one core

Draws cases whose photos share a part of their error, as photos of one lesion do, and a network that is too sure of
itself; pools the photos of each case (`skinjax.decide.pooling`), fits temperature and conformal threshold on some cases
as `skinjax.predict.case_decisions` does, and counts how often the sets of new cases hold the true class. Beside it
stand two other ways: the threshold fitted on photos and used on pooled cases, as somebody might who calibrates before
he pools, and sets of single photos. One seed gives one table.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import time
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from skinjax.decide.calibrate import fit_temperature
from skinjax.decide.conformal import case_quantile, fit_conformal, prediction_sets
from skinjax.decide.pooling import PoolingRule, pool_by_case
from skinjax.decide.probabilities import log_probabilities

SIZES, COVERAGE, NEW = (30, 60, 100, 300), 0.9, 300
"""Cases that are fitted on, coverage that is asked for, and new cases of every study."""

MOST = 60  # photos of a case with heavy-tailed sizes


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of study.

    Attributes:
      title: In the table.
      classes: K.
      shared: Share of the error's variance that the photos of a case have in common, in [0, 1].
      heavy: Whether sizes of cases are heavy-tailed (Pareto, up to `MOST` photos) and not one to six.
      rule: How photos are pooled.
      signal: Of the true class, in standard deviations of a photo's error; not so strong that pooled cases are right
        oftener than the coverage that is asked for, as the most probable class is in every set.
    """

    title: str
    classes: int = 7
    shared: float = 0.5
    heavy: bool = False
    rule: PoolingRule = "mean_log"
    signal: float = 2.0


KINDS = (
    Kind("7 classes, errors half shared"),
    Kind("7 classes, errors of photos independent", shared=0.0, signal=1.3),
    Kind("7 classes, errors nearly all shared", shared=0.9),
    Kind("7 classes, heavy-tailed sizes", heavy=True),
    Kind("19 classes, errors half shared", classes=19),
    Kind("7 classes, mean of probabilities", rule="mean"),
    Kind("7 classes, largest probability", rule="max"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Photos of cases, and what a network says of them.

    Attributes:
      probs: float64[N, K].
      labels: int64[C], the class of each case.
      cases: int64[N] in [0, C), ascending.
    """

    probs: NDArray[np.float64]
    labels: NDArray[np.int64]
    cases: NDArray[np.int64]


def draw(rng: np.random.Generator, num_cases: int, kind: Kind) -> Sample:
    """Draws cases of a kind; common classes are three times as common as rare ones."""
    if kind.heavy:
        sizes = np.minimum(1 + rng.pareto(1.1, num_cases), MOST).astype(int)
    else:
        sizes = rng.integers(1, 7, num_cases)
    cases = np.repeat(np.arange(num_cases), sizes)
    shares = np.linspace(3, 1, kind.classes)
    labels = rng.choice(kind.classes, num_cases, p=shares / shares.sum())
    shape = (num_cases, kind.classes)
    error = np.sqrt(kind.shared) * rng.normal(size=shape)[cases]
    error += np.sqrt(1 - kind.shared) * rng.normal(size=(len(cases), kind.classes))
    signal = kind.signal * np.eye(kind.classes)[labels[cases]]
    return Sample(softmax(2.0 * (signal + error), axis=1), labels, cases)


@dataclasses.dataclass(frozen=True)
class Counted:
    """Shares of new cases, and sizes of their sets.

    Attributes:
      pooled: Coverage of pooled cases by sets that were fitted on pooled cases.
      size: Mean size of these.
      answered: Mean of the largest calibrated probability, to compare with `right`.
      right: Share of pooled cases whose most probable class is the true one.
      calibrated_first: Coverage of pooled cases by a threshold that was fitted on photos.
      photos: Coverage of single photos, drawn evenly from each case, by sets that were fitted on photos.
      photo_size: Mean size of these.
    """

    pooled: float
    size: float
    answered: float
    right: float
    calibrated_first: float
    photos: float
    photo_size: float


def count(rng: np.random.Generator, num_cases: int, kind: Kind) -> Counted:
    """Makes one study: fits on `num_cases` cases and counts on `NEW` others."""
    known, new = draw(rng, num_cases, kind), draw(rng, NEW, kind)
    pooled = [pool_by_case(each.probs, each.cases, kind.rule).probs for each in (known, new)]
    rule = fit_conformal(pooled[0], known.labels, np.arange(num_cases), COVERAGE)
    temperature = fit_temperature(np.asarray(log_probabilities(pooled[0])), known.labels)
    scores = -known.probs[np.arange(len(known.cases)), known.labels[known.cases]]
    of_photos = dataclasses.replace(rule, threshold=case_quantile(scores, known.cases, COVERAGE))
    sets = np.asarray(prediction_sets(rule, pooled[1]))
    other = np.asarray(prediction_sets(of_photos, pooled[1]))
    rows = 1 << (len(new.probs) - 1).bit_length()  # few shapes, so that little is compiled
    padded = np.pad(new.probs, [(0, rows - len(new.probs)), (0, 0)])
    photos = np.asarray(prediction_sets(of_photos, padded))[: len(new.probs)]
    everyone, size = np.arange(NEW), np.bincount(new.cases)
    inside = photos[np.arange(len(new.cases)), new.labels[new.cases]]
    sharp = softmax(np.log(np.maximum(pooled[1], 1e-38)) / temperature, axis=1)
    return Counted(
        pooled=float(sets[everyone, new.labels].mean()),
        size=float(sets.sum(axis=1).mean()),
        answered=float(sharp.max(axis=1).mean()),
        right=float((pooled[1].argmax(axis=1) == new.labels).mean()),
        calibrated_first=float(other[everyone, new.labels].mean()),
        photos=float((np.bincount(new.cases, inside) / size).mean()),
        photo_size=float((np.bincount(new.cases, photos.sum(axis=1)) / size).mean()),
    )


def means(kind: Kind, num_cases: int, studies: int, seed: int) -> tuple[dict[str, float], float]:
    """Returns the means over studies, and the standard error of the coverage of pooled cases."""
    rng = np.random.default_rng([seed, num_cases, KINDS.index(kind) if kind in KINDS else 99])
    found = [dataclasses.asdict(count(rng, num_cases, kind)) for _ in range(studies)]
    table = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    return table, float(np.std([one["pooled"] for one in found], ddof=1) / np.sqrt(studies))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start, rows, worst, errors = time.perf_counter(), [], 0.0, []
    for kind in KINDS:
        for num_cases in SIZES:
            found, error = means(kind, num_cases, given.studies, given.seed)
            errors.append(error)
            if num_cases >= 60:
                worst = max(worst, abs(found["pooled"] - COVERAGE))
            rows.append(
                f"| {kind.title} | {num_cases} | {100 * found['pooled']:.1f} | {found['size']:.2f} | "
                f"{100 * found['right']:.1f} | {100 * found['answered']:.1f} | "
                f"{100 * found['calibrated_first']:.1f} | {100 * found['photos']:.1f} | {found['photo_size']:.2f} |"
            )
    minutes = (time.perf_counter() - start) / 60
    print("# Do conformal sets of pooled cases hold the true class?\n")
    print(
        f"`python -m benchmarks.coverage_of_cases`, {time.strftime('%Y-%m-%d')}; {minutes:.0f} minutes on one of two "
        f"cores that others used too, {platform.system()}.\n"
    )
    print(
        f"{given.studies} studies in every row, seed {given.seed}; Python {platform.python_version()}, numpy "
        f"{version('numpy')}, jax {version('jax')}. Asked for: {100 * COVERAGE:g}%. Each study fits on so many cases "
        f"of one to six photos (heavy-tailed: one to {MOST}), whose errors are shared in part, and counts on {NEW} new "
        f"cases. The standard error of a pooled coverage is at most {100 * max(errors):.1f} points.\n"
    )
    print(
        f"From 60 cases on, pooled cases are covered within {100 * worst:.1f} points of what was asked for.\n"
    )
    print(
        "| | cases | pooled, covered % | classes in the set | right % | said to be right % | fitted on photos, then "
        "pooled: covered % | single photos, covered % | classes in their sets |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    print(
        "\n“Right” is how often the most probable class of a pooled case is the true one, “said to be right” its mean "
        "probability after the temperature that was fitted on pooled cases."
    )


if __name__ == "__main__":
    main()
