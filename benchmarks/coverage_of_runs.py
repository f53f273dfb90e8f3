"""Do intervals over cases and training runs hold the truth in 95 % of studies, and how do others fare?

    python -m benchmarks.coverage_of_runs > table.md     # about 10 minutes on one core

Each simulated study is of five classes in cases of one to six photos (`benchmarks.studies`), answered by R trainings
that share half of their noise. What a training adds of its own is drawn with each: the strength of its signal and a
leaning towards each class, as spread as `SPREADS` says. The truth is the mean over a thousand trainings on many
photos. A difference is between two methods that are equally good, each trained R times. At the end, the corrected
resampled t-test (`nadeau_bengio`) and the plain one over random splits, of two learners that are equally good; and
before, of normal figures with the variances that are named, how variances and degrees of freedom may be put together.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import platform
import sys
import time
from collections import defaultdict
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import ttest_1samp

from benchmarks import studies
from skinjax.evaluate import metrics
from skinjax.evaluate.bootstrap import by_case
from skinjax.evaluate.resampling import over_draws
from skinjax.evaluate.training_runs import by_case_and_run, nadeau_bengio, paired_by_case_and_run

SHARES = np.array([0.35, 0.25, 0.20, 0.12, 0.08])
SPREADS = (0.0, 0.15, 0.4)
CASES, RUNS = (100, 400), (3, 5)
METRICS = {"accuracy": metrics.accuracy, "macro F1": metrics.macro_f1}
OURS, OURS_PAIRED = "by_case_and_run", "difference (paired_by_case_and_run)"


@dataclasses.dataclass(frozen=True, eq=False)
class Trainings:
    """Photos with the answers of several trainings: labels int[N], cases int[N], answers int[R, N]."""

    labels: NDArray[np.int64]
    cases: NDArray[np.int64]
    answers: NDArray[np.int64]


def draw(
    rng: np.random.Generator, num_cases: int, runs: int, spread: float, most_photos: int = 6
) -> Trainings:
    """Draws the photos of a study and what each training answers."""
    cases = studies.draw_cases(rng, num_cases, most_photos, heavy=False)
    labels = studies.draw_labels(rng, cases, SHARES)
    noise = studies.draw_noise(rng, cases, [studies.CORRELATION] * runs, len(SHARES))
    signal = studies.SIGNAL * np.exp(spread / 2 * rng.normal(size=(runs, 1, 1)))
    leaning = spread * rng.normal(size=(runs, 1, len(SHARES)))
    scores = np.log(SHARES) + leaning + signal * (signal * np.eye(len(SHARES))[labels] + noise)
    return Trainings(labels, cases, scores.argmax(axis=2))


@functools.cache
def truths(spread: float, seed: int, draws: int = 40) -> dict[str, tuple[float, float]]:
    """Returns each metric's mean over trainings, and its standard deviation between them."""
    found = defaultdict(list)
    for number in range(draws):
        large = draw(np.random.default_rng([seed, number]), 8000, 25, spread, most_photos=1)
        for name, metric in METRICS.items():
            found[name] += [metric(large.labels, one) for one in large.answers]
    return {name: (float(np.mean(values)), float(np.std(values))) for name, values in found.items()}


def intervals(
    metric: metrics.WeightedMetric, study: Trainings, replicates: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Returns the 95 % interval of a study's metric by each way."""
    labels, cases, answers = study.labels, study.cases, list(study.answers)
    values = np.array([metric(labels, one) for one in answers])
    reach = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
    ours = by_case_and_run(metric, labels, answers, cases, replicates, seed=seed)
    first = by_case(metric, (labels, answers[0]), cases, replicates, seed=seed)
    draws = np.array(
        over_draws([(metric, [labels, one], None) for one in answers], cases, replicates, seed)[0]
    )
    picked = np.random.default_rng(seed).integers(len(answers), size=draws.shape)
    pigeonhole = np.quantile(draws[picked, np.arange(replicates)].mean(axis=0), (0.025, 0.975))
    return {
        OURS: (ours.low, ours.high),
        "cases and trainings resampled": (pigeonhole[0], pigeonhole[1]),
        "Student's t over trainings": (values.mean() - reach, values.mean() + reach),
        "by_case of one training": (first.low, first.high),
    }


def difference(
    metric: metrics.WeightedMetric, study: Trainings, replicates: int, seed: int
) -> tuple[float, float]:
    """Returns the 95 % interval of the difference of two methods that are equally good."""
    first, second = np.split(study.answers, 2)
    found = paired_by_case_and_run(
        metric,
        study.labels,
        list(first),
        list(second),
        study.cases,
        replicates,
        seed=seed,
    )
    return found.low, found.high


def simulate(count: int, seed: int, replicates: int, spread: float, num_cases: int, runs: int) -> dict:
    """Returns whether each interval held and how wide it was, float[count, 2], by metric and way."""
    true, found = truths(spread, seed), defaultdict(list)
    for number in range(count):
        study = draw(np.random.default_rng([seed, num_cases, runs, number]), num_cases, 2 * runs, spread)
        single = dataclasses.replace(study, answers=study.answers[:runs])
        for name, metric in METRICS.items():
            given = intervals(metric, single, replicates, number)
            for way, (low, high) in given.items():
                found[name, way].append((low <= true[name][0] <= high, high - low))
            low, high = difference(metric, study, replicates, number)
            found[name, OURS_PAIRED].append((low <= 0 <= high, high - low))
    return {key: np.array(values, np.float64) for key, values in found.items()}


def splits(rng: np.random.Generator, photos: int, count: int, share: float) -> tuple[NDArray, int, int]:
    """Returns differences of two equally good learners over random splits, and the sizes of the parts.

    Each learner calls the class with the nearer mean, by three features of its own.
    """
    labels = rng.integers(2, size=photos)
    features = rng.normal(size=(photos, 6)) + 0.5 * labels[:, None]
    test = round(share * photos)
    found = []
    for _ in range(count):
        order = rng.permutation(photos)
        held, kept = order[:test], order[test:]
        means = np.stack([features[kept][labels[kept] == k].mean(axis=0) for k in (0, 1)])
        away = (features[held, None] - means) ** 2
        right = [
            (part.sum(axis=2).argmin(axis=1) == labels[held]).mean() for part in np.split(away, 2, axis=2)
        ]
        found.append(right[0] - right[1])
    return np.array(found), photos - test, test


def rejections(count: int, seed: int, num_splits: int = 15, share: float = 0.2) -> tuple[float, float]:
    """Returns how often the corrected and the plain t-test over splits find equally good learners to differ."""
    corrected, plain = [], []
    for number in range(count):
        differences, train, test = splits(np.random.default_rng([seed, number]), 120, num_splits, share)
        corrected.append(nadeau_bengio(differences, train, test).p_value <= 0.05)
        plain.append(ttest_1samp(differences, 0).pvalue <= 0.05)
    return float(np.mean(corrected)), float(np.mean(plain))


def normal_figures(
    rng: np.random.Generator, runs: int, cases: float, trainings: float, draws: int, degrees: int = 80
) -> dict[str, float]:
    """Returns how often 95 % intervals hold by each formula; variances are those of a training, `both` is 1.

    The case bootstrap's variances are as uncertain as those of `degrees` + 1 cases.
    """
    values = rng.normal(size=(draws, runs)) * np.sqrt(1 + trainings)
    error = values.mean(axis=1) + rng.normal(size=draws) * np.sqrt(cases)
    of_cases, both = (size * rng.chisquare(degrees, draws) / degrees for size in (cases, 1.0))
    between = values.var(axis=1, ddof=1)
    least, more = np.maximum(between, both) / runs, np.maximum(between - both, 0) / runs
    by_cases = of_cases + both / runs
    formulas = {
        "cases + max(S2, both) / R, degrees by S2": (of_cases, least, between / runs),
        "the same, degrees by max(S2, both)": (of_cases, least, least),
        "the same, degrees by Vc and S2 - both": (by_cases, more, more),
        "cases + S2 / R (Obuchowski and Rockette)": (of_cases, between / runs, between / runs),
        "Vc + S2 / R": (by_cases, between / runs, between / runs),
    }
    held = {}
    for name, (first, second, loose) in formulas.items():
        total = first + second
        freedom = total**2 / (first**2 / degrees + loose**2 / (runs - 1))
        held[name] = float(np.mean(np.abs(error) <= stdtrit(freedom, 0.975) * np.sqrt(total)))
    return held


def normal_table(seed: int, draws: int = 40_000) -> str:
    """Returns the coverage of each formula as Markdown: the least and the most over the variances of trainings."""
    columns = [(runs, cases) for runs in (*RUNS, 10) for cases in (0.0, 0.1, 1.0)]
    lines = ["| | " + " | ".join(f"R = {runs}, cases {cases:g}" for runs, cases in columns) + " |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    rows: dict[str, list[str]] = defaultdict(list)
    for runs, cases in columns:
        found = defaultdict(list)
        for trainings in (0, 0.3, 1, 3, 10, 100):
            held = normal_figures(np.random.default_rng(seed), runs, cases, trainings, draws)
            for name, share in held.items():
                found[name].append(100 * share)
        for name, shares in found.items():
            rows[name].append(f"{min(shares):.1f} to {max(shares):.1f}")
    return "\n".join(lines + [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=200, help="of each kind")
    parser.add_argument("--replicates", type=int, default=199, help="of every bootstrap")
    parser.add_argument("--seed", type=int, default=0, help="of the studies")
    parser.add_argument("--spreads", default=",".join(map(str, SPREADS)), help="of the trainings")
    given = parser.parse_args()
    chosen = tuple(map(float, given.spreads.split(",")))
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    print(f"{given.studies:,} studies, {given.replicates:,} replicates, seed {given.seed}; Python", end=" ")
    print(f"{platform.python_version()}, {packages}\n")
    kinds = [(spread, cases, runs) for spread in chosen for cases in CASES for runs in RUNS]
    tables: dict[tuple[str, str], list[str]] = defaultdict(list)
    for spread, cases, runs in kinds:
        start = time.perf_counter()
        found = simulate(given.studies, given.seed, given.replicates, spread, cases, runs)
        for key, values in found.items():
            tables[key].append(f"{100 * values[:, 0].mean():.1f} ({values[:, 1].mean():.3f})")
        print(f"{spread}, {cases} cases, {runs} runs: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    spreads = " | ".join(f"{truths(spread, given.seed)['accuracy'][1]:.3f}" for spread, *_ in kinds)
    print(f"| SD of accuracy between trainings, on all photos | {spreads} |")
    print("|---" * (1 + len(kinds)) + "|")
    print("| | " + " | ".join(f"{cases} cases, {runs} trainings" for _, cases, runs in kinds) + " |")
    for (name, way), cells in tables.items():
        print(f"| {name}: {way} | " + " | ".join(cells) + " |")
    print("", normal_table(given.seed), sep="\n")
    corrected, plain = rejections(5 * given.studies, given.seed)
    print(f"\np ≤ 0.05 over 15 random splits: corrected {100 * corrected:.1f} %, plain {100 * plain:.1f} %")


if __name__ == "__main__":
    main()
