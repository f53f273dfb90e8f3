"""Do 95 % intervals hold the truth in 95 % of studies, and are p-values uniform where nothing differs?

    python -m benchmarks.coverage > table.md     # about ten minutes on one core; writes the figure as well

Draws studies of photos that come in cases (`benchmarks.studies`), gives each to every interval and test of
`skinjax.evaluate` (`benchmarks.coverage_checks`), and counts. Beside each stands the same with every photo taken
for a case of its own, in every fourth study, and at the end a rank test over bootstrap replicates. One seed
gives one table and one figure.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import kstest

from benchmarks.coverage_checks import interval_checks, null_checks, rank_test_over_replicates
from benchmarks.studies import NEAR_SIGNAL, SIGNAL, many_classes, two_classes

SIZES, UNITS, PHOTO_EVERY = (30, 100, 300), ("case", "photo"), 4
BAR, LEVEL = (0.93, 0.97), 0.05
FEWEST = 20  # studies with an interval or p-value, below which none is printed
RANK_SIZE, RANK_REPLICATES = 100, (100, 1000)
LARGE = 1_000_000
COLOURS = {"case": "#0072B2", "photo": "#D55E00"}  # Okabe and Ito's, distinguished by colour-blind readers
SHARES = {
    "five": np.array([0.35, 0.25, 0.20, 0.12, 0.08]),
    "nineteen": (1 / np.arange(5, 24)) / (1 / np.arange(5, 24)).sum(),
}

KINDS = ("two", *SHARES, "heavy", "heavy five", "near")
Found = dict[tuple[str, int, str], list[float]]


def draw(kind: str, rng: np.random.Generator, num_cases: int, **options: int) -> Any:
    """Draws a study of a kind; "near" has five classes told right nearly always, "heavy" heavy-tailed case sizes."""
    heavy = kind.startswith("heavy") and "most_photos" not in options  # never where the truth is worked out
    if kind in ("two", "heavy"):
        return two_classes(rng, num_cases, heavy=heavy, **options)
    signal = NEAR_SIGNAL if kind == "near" else SIGNAL
    shares = SHARES.get(kind, SHARES["five"])
    return many_classes(rng, num_cases, shares, options.get("most_photos", 6), heavy, signal)


def truths(seed: int) -> dict[str, Any]:
    """Returns the true value that each interval is to hold."""
    found: dict[str, Any] = {}
    for number, kind in enumerate(KINDS):
        options = {"most_photos": 1} | ({"num_readers": 0} if kind in ("two", "heavy") else {})
        photos = LARGE // 3 if kind == "nineteen" else LARGE
        large = draw(kind, np.random.default_rng([seed, number]), photos, **options)
        found |= {check.name: check.truth(large) for check in interval_checks() if check.kind == kind}
    return found


def simulate(studies: int, seed: int, replicates: int, sizes: tuple[int, ...] = SIZES) -> tuple[Found, Found]:
    """Returns how often each interval held, and every p-value, by (name, cases, unit) in the order of the studies."""
    true = truths(seed)
    held: Found = defaultdict(list)
    p_values: Found = defaultdict(list)
    for num_cases in sizes:
        start = time.perf_counter()
        for study in range(studies):
            drawn = {
                kind: draw(kind, np.random.default_rng([seed, num_cases, study, number]), num_cases)
                for number, kind in enumerate(KINDS)
            }
            for unit in UNITS if study % PHOTO_EVERY == 0 else UNITS[:1]:
                if unit == "photo":
                    drawn = {
                        kind: dataclasses.replace(photos, cases=np.arange(len(photos.cases)))
                        for kind, photos in drawn.items()
                    }
                for check in interval_checks():
                    limits = check.limits(drawn[check.kind], replicates, study)
                    held[check.name, num_cases, unit].append(share_held(*limits, true[check.name]))
                for test in null_checks():
                    p_value = test.p_value(drawn[test.kind], replicates, study)
                    p_values[test.name, num_cases, unit].append(p_value)
                for count in RANK_REPLICATES if study % PHOTO_EVERY == 0 and num_cases == RANK_SIZE else ():
                    p_value = rank_test_over_replicates(drawn["two"], count, study)
                    p_values[f"rank {count}", num_cases, unit].append(p_value)
        print(f"{num_cases} cases: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return held, p_values


def share_held(low: Any, high: Any, truth: Any) -> float:
    """Returns the share of one study's intervals that hold; NaN where none could be had."""
    low, high, truth = np.broadcast_arrays(low, high, truth)
    defined = ~np.isnan(low) & ~np.isnan(high)
    return float(np.mean(((low <= truth) & (truth <= high))[defined])) if defined.any() else np.nan


def mean_and_error(values: list[float]) -> tuple[float, float, float]:
    """Returns the mean of those that are defined, its standard error, and the share of studies that are not."""
    known = np.array(values)[~np.isnan(values)]
    if len(known) < FEWEST:
        return np.nan, np.nan, 1.0
    return float(known.mean()), float(known.std() / np.sqrt(len(known))), 1 - len(known) / len(values)


def coverage_cell(values: list[float], judged: bool) -> str:
    mean, _, undefined = mean_and_error(values)
    if np.isnan(mean):
        return "–"
    text = f"{100 * mean:.1f}"
    text = f"**{text}**" if judged and not BAR[0] <= round(mean, 3) <= BAR[1] else text
    return text + (f" ({100 * undefined:.0f} % without)" if undefined >= 0.005 else "")


def p_value_cell(values: list[float], judged: bool) -> str:
    known = np.array(values)[~np.isnan(values)]
    if len(known) < FEWEST:
        return "–"
    rejected, distance = np.mean(known <= LEVEL), kstest(known, "uniform").statistic
    text = f"{100 * rejected:.1f}"
    text = f"**{text}**" if judged and round(rejected, 3) > 1 - BAR[0] else text
    return f"{text} ({distance:.2f})"


def table(found: Found, cell: Callable[[list[float], bool], str]) -> str:
    names = list(dict.fromkeys(name for name, *_ in found if not name.startswith("rank ")))
    head = [f"{size} cases" for size in SIZES] + [f"{size}, by photo" for size in SIZES]
    lines = ["| | " + " | ".join(head) + " |", "|---" * (1 + len(head)) + "|"]
    for name in names:
        cells = [cell(found[name, size, unit], unit == "case") for unit in UNITS for size in SIZES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rank_rows(p_values: Found) -> list[tuple[str, NDArray[np.float64]]]:
    ranks = [
        (f"Wilcoxon over {count:,} replicates, by {unit}", f"rank {count}", unit)
        for unit in reversed(UNITS)
        for count in RANK_REPLICATES
    ]
    ours = [(f"{name}, by case", name, "case") for name in ("paired_by_case, AUC", "delong.compare")]
    return [(told, np.array(p_values[name, RANK_SIZE, unit])) for told, name, unit in ranks + ours]


def rank_table(p_values: Found) -> str:
    lines = [f"| {RANK_SIZE} cases | p ≤ 0.05 in | median p | smallest tenth under |", "|---|---|---|---|"]
    for told, values in rank_rows(p_values):
        middle, tenth = np.quantile(values, [0.5, 0.1])
        lines.append(f"| {told} | {100 * np.mean(values <= LEVEL):.0f} % | {middle:.2g} | {tenth:.2g} |")
    return "\n".join(lines)


def draw_figure(held: Found, p_values: Found, path: Path) -> None:
    """Draws the coverage of each interval on the left; p-values where nothing differs on the right."""
    style = {"svg.hashsalt": "coverage", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 8}
    with mpl.rc_context(style):
        figure = Figure(figsize=(11, 12), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1.55, 1))
        draw_coverage(left.subplots(), held)
        by_case, by_photo, by_rank = right.subplots(3)
        for axes, unit in ((by_case, "case"), (by_photo, "photo")):
            curves = [
                np.array(p_values[name, size, unit])
                for name in dict.fromkeys(name for name, *_ in p_values if not name.startswith("rank "))
                for size in SIZES
            ]
            draw_p_values(axes, curves, COLOURS[unit])
            axes.set_title(f"Every test by {unit}, two equally good models", loc="left", fontsize=9)
        draw_ranks(by_rank, p_values)
        figure.savefig(path, metadata={"Date": None})


def draw_coverage(axes: Axes, held: Found) -> None:
    names = list(dict.fromkeys(name for name, *_ in held))
    axes.axvspan(100 * BAR[0], 100 * BAR[1], color="#DDDDDD", lw=0)
    axes.axvline(95, color="black", lw=0.6)
    for unit in reversed(UNITS):
        for place, (size, marker) in enumerate(zip(SIZES, "os^", strict=True)):
            found = np.array([mean_and_error(held[name, size, unit])[:2] for name in names]) * 100
            axes.errorbar(
                found[:, 0],
                np.arange(len(names)) + 0.25 * (place - 1),
                xerr=1.96 * found[:, 1],
                fmt=marker,
                ms=3,
                lw=0.7,
                color=COLOURS[unit],
                mfc=COLOURS[unit] if unit == "case" else "white",
                label=f"by {unit}, {size} cases",
            )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(right=100.4)
    axes.set_xlabel("Studies whose 95 % interval holds the truth, % (bars: Monte Carlo error, 95 %)")
    axes.set_title("Coverage; grey: 93 to 97 %", loc="left", fontsize=9)
    axes.legend(loc="upper center", bbox_to_anchor=(0.1, -0.045), ncols=2, frameon=False)


def draw_p_values(axes: Axes, samples: list[NDArray[np.float64]], colour: str) -> None:
    for values in samples:
        known = values[~np.isnan(values)]
        if len(known) >= FEWEST:
            shares = np.linspace(0, 1, 101)
            axes.plot(np.quantile(known, shares), shares, color=colour, lw=0.6, alpha=0.6)
    axes.plot([0, 1], [0, 1], color="black", lw=0.8, ls="--")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="p", ylabel="Share of studies with a p-value up to p")


def draw_ranks(axes: Axes, p_values: Found) -> None:
    styles = zip(
        rank_rows(p_values),
        ("#D55E00",) * 2 + ("#E69F00",) * 2 + ("#0072B2",) * 2,
        ("-", "--") * 3,
        strict=True,
    )
    for (told, values), colour, dashes in styles:
        shares = np.linspace(0, 1, 101)
        sizes = np.quantile(-np.log10(np.maximum(values, 1e-300)), shares)
        axes.plot(sizes, 1 - shares, color=colour, ls=dashes, lw=1, label=told)
    axes.axvline(-np.log10(LEVEL), color="black", lw=0.6)
    axes.set(xlabel="−log10 p (line: 0.05)", ylabel="Share of studies beyond", ylim=(0, 1), xlim=(0, None))
    axes.set_title("A rank test over bootstrap replicates, the same models", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=6.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=800, help="of each number of cases")
    parser.add_argument("--seed", type=int, default=0, help="of the studies")
    parser.add_argument("--replicates", type=int, default=399, help="of every bootstrap")
    parser.add_argument("--figure", type=Path, default=Path("benchmarks/results/coverage.svg"))
    options = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    print(
        f"{options.studies:,} studies, {options.replicates:,} replicates, seed {options.seed}; Python",
        end=" ",
    )
    print(f"{platform.python_version()}, {packages}\n")
    held, p_values = simulate(options.studies, options.seed, options.replicates)
    print(table(held, coverage_cell), table(p_values, p_value_cell), rank_table(p_values), sep="\n\n")
    draw_figure(held, p_values, options.figure)


if __name__ == "__main__":
    main()
