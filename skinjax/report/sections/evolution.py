"""Results of a search for hyper-parameters, and the test of its gain (thesis, section 4.2.2)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from skinjax.evolve import Gene, History
from skinjax.evolve.gain import Gain
from skinjax.report.blocks import Block, Column, Figure, Section, Table, Text
from skinjax.report.cases import Unit, photos_of
from skinjax.report.figures import evolution_plots
from skinjax.report.figures.pictures import Picture, panel
from skinjax.report.formatting import cell, decimals, listed, p_value, signed, with_range

_MEASURES = {
    "fitness": "Fitness",
    "recall": "Macro recall",
    "precision": "Macro precision",
    "f1": "Macro F1",
    "auc": "Macro AUC",
    "accuracy": "Accuracy",
}
GENE_PANEL = (222.0, 150.0, (36.0, 22.0, 22.0, 22.0))
"""Width and height of a gene's panel, and its margins left, bottom, right and top, in points."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evolution:
    """A search and what followed it.

    Attributes:
      genes: That evolved.
      history: History of the search.
      repeats: float64[r], the start set's fitness under other seeds, on the search's cases.
      gains: The comparison of both sets trained again, fitness first; empty where all mutated sets diverged.
      test_photos: How many photos that comparison rests on.
      test_cases: Number of cases of the test photos.
      seeds: Under how many seeds each set was trained again.
      diverged: How many of these trainings diverged, of the start set and of the evolved one.
      searched: Name of the search's network.
      retrained: Name of the network that was trained again.
      measured: On what the search measures fitness, in words that follow "measured".
      drawn: Whether each generation, and each repeat of the start set, drew folds of its own.
      unseen: Whether both sets were trained again on cases that the search never saw, or on its own.
      confidence: Confidence of the comparison's intervals.
      unit: What the cases are.
    """

    genes: Sequence[Gene]
    history: History
    repeats: NDArray[np.float64]
    gains: Sequence[Gain]
    test_photos: int
    test_cases: int
    seeds: int
    diverged: tuple[int, int]
    searched: str
    retrained: str
    measured: str = "on one fold"
    drawn: bool = False
    unseen: bool = True
    confidence: float = 0.95
    unit: Unit = "case"

    @property
    def noise(self) -> tuple[float, float]:
        """Returns mean and standard deviation of the start set's fitness over seeds, on the search's cases, or NaN."""
        values = np.append(self.history.fitness[:1], self.repeats)
        values = values[np.isfinite(values)]
        if len(values) < 2:
            return float("nan"), float("nan")
        return float(values.mean()), float(values.std(ddof=1))


def answer(found: Evolution) -> list[str]:
    """Returns the result in words: whether the gain is real, and what the search alone would have said.

    Args:
      found: The search and what followed.
    """
    if not np.isfinite(found.history.fitness).any():
        return [
            "No training of the search has a fitness: all diverged, where a lower learning rate or a longer burn-in "
            "may help, or the photos that measure it are of one class."
        ]
    if not found.gains:
        return [
            "The training of every mutated set diverged, so there is nothing to compare the start set with."
        ]
    return [_verdict(found), _in_search(found)]


def _verdict(found: Evolution) -> str:
    gain = found.gains[0]
    saw = "never saw" if found.unseen else "saw too"
    where = f"{photos_of(found.test_photos, found.test_cases, found.unit)} that the search {saw}"
    if np.isnan(gain.low):
        if np.isnan(gain.difference):
            return f"Whether the gain is real is not known: on {where} fitness is not defined."
        return (
            f"Whether the gain is real is not known: on {where} the fitness of the evolved set differs by "
            f"{signed(gain.difference)} from the start set’s, without an interval: {gain.reason}."
        )
    shown = (
        f"{signed(gain.difference)} ({100 * found.confidence:g}% interval over cases and {found.seeds} seeds "
        f"{signed(gain.low)} to {signed(gain.high)}, {p_value(gain.p_value)})"
    )
    if not found.unseen:
        return _verdict_on_seen(gain, where, shown)
    if gain.verdict == "better":
        return (
            f"The gain is real: on {where} the evolved set’s fitness differs from the start set’s by {shown}."
        )
    if gain.verdict == "worse":
        return f"The gain is not real; the evolved set is worse: on {where} its fitness differs by {shown}."
    return f"The gain does not stand out from the noise: on {where} the evolved set’s fitness differs by {shown}."


def _verdict_on_seen(gain: Gain, where: str, shown: str) -> str:
    """Claims no gain: the cases chose the set, so what stands out on them may not do so on others."""
    if gain.verdict == "worse":
        return (
            f"The gain is not real; the evolved set is worse: even on {where} its fitness differs by {shown}."
        )
    if gain.verdict == "unclear":
        return (
            f"The gain does not stand out from the noise: even on {where} the evolved set’s fitness differs by "
            f"{shown}."
        )
    return (
        "Whether the gain is real on other cases is not known, as the search saw all of them. Under new seeds the "
        f"evolved set’s fitness differs from the start set’s by {shown} on {where}: this is optimistic, since "
        "the set was chosen on these cases. A search_fraction below 1 leaves cases to test the gain on."
    )


def _in_search(found: Evolution) -> str:
    history, row = found.history, found.history.evolved
    tried = int(np.isfinite(history.fitness).sum())
    words = (
        f"In the search itself the evolved set, of generation {history.generation[row]}, had a fitness of "
        f"{history.fitness[row]:.3f}, measured {found.measured}; the start set "
    )
    start = history.fitness[0]
    words += f"had {start:.3f}." if np.isfinite(start) else "diverged."
    if history.best == 0:
        words += " So no mutated set was fitter, and evolved.flags holds the start set."
    mean, spread = found.noise
    if np.isnan(spread):
        return words
    seeds = f"{len(found.repeats) + 1} seeds{', each with folds of its own,' * found.drawn}"
    # Blom's approximation of the expected largest of n standard normal numbers.
    luck = float(ndtri((tried - 0.375) / (tried + 0.25)))
    return words + (
        f" Under {seeds} the start set had {mean:.3f}, standard deviation {spread:.3f}; the highest of {tried} such "
        f"measurements of one and the same set would be expected at {mean + luck * spread:.3f}."
    )


def sections(found: Evolution) -> list[Section]:
    """Builds the page's sections, from the top.

    Args:
      found: The search and what followed.
    """
    return [_retrained(found), _search(found), _scatter(found), _genes(found)]


def _retrained(found: Evolution) -> Section:
    title = f"Trained again, on {'other' if found.unseen else 'the same'} cases"
    if not found.gains:
        return Section("retraining", title, (Text("There was nothing to compare."),))
    data = pd.DataFrame([dataclasses.asdict(gain) for gain in found.gains])

    def of(name: str) -> list[str]:
        return [
            decimals(mean) + ("" if np.isnan(sd) else f"\n± {decimals(sd)} over seeds")
            for mean, sd in zip(data[name], data[f"{name}_spread"], strict=True)
        ]

    columns = (
        Column("Measure", [_MEASURES[name] for name in data["measure"]]),
        Column("Start set", of("start")),
        Column("Evolved set", of("evolved")),
        Column(
            "Difference",
            [with_range(signed(gain.difference), gain.low, gain.high, signed) for gain in found.gains],
        ),
        Column("p", [p_value(gain.p_value) for gain in found.gains]),
        Column("SD by cases", [decimals(gain.case_sd) for gain in found.gains], number=True),
        Column("between seeds", [decimals(gain.seed_sd) for gain in found.gains], number=True),
    )
    seeds = f"{found.seeds} seed{'s' * (found.seeds > 1)}"
    tested = photos_of(found.test_photos, found.test_cases, found.unit)
    if found.unseen:
        where = f"on cases that the search never saw, and predicted {tested}, none of them among these."
    else:
        where = (
            f"on all folds but one, and predicted {tested} of that one. The search saw all these cases: the "
            "evolved set is no longer helped by a lucky seed here, but still by cases that happen to suit it."
        )
    words = (
        f"Both sets were trained under the same {seeds} ({found.retrained}) {where} Figures and differences are means "
        "over seeds, the last two columns are of the difference of one seed; the interval counts both what other "
        "cases and what other seeds would change. The verdict rests on fitness alone; the other rows are not "
        "corrected for their number."
    )
    blocks: list[Block] = [Table("retraining", data, columns), Text(words, small=True)]
    if any(found.diverged):
        start, best = found.diverged
        blocks.append(
            Text(
                f"Of the {found.seeds} trainings of the start set {start} diverged, of the evolved set’s {best}; a "
                "network that diverged counts as one that answers every class alike."
            )
        )
    if found.searched != found.retrained:
        blocks.append(
            Text(
                f"The search itself trained {found.searched}: a gain here is one that carries over.",
                small=True,
            )
        )
    return Section("retraining", title, tuple(blocks))


def _search(found: Evolution) -> Section:
    history = found.history
    mean, spread = found.noise
    band = None if np.isnan(spread) else (mean - 2 * spread, mean + 2 * spread)
    drawing = panel(
        "fitness", (620, 310), (52, 40, 14, 28),
        lambda axes: evolution_plots.fitness_over_generations(
            axes, history.generation, history.fitness, history.running_best, band
        ),
        f"Fitness over {int(history.generation[-1])} generations.",
    )  # fmt: skip
    data = pd.DataFrame(
        {
            "generation": history.generation,
            "candidate": history.candidate,
            "fitness": history.fitness,
            "best_so_far": history.running_best,
        }
    )
    caption = (
        f"Fitness of every set, measured {found.measured}. What lies within the grey band may be luck: the start "
        f"set alone, trained under other seeds{' and on folds drawn for each' * found.drawn}, spreads so far. "
    ) + (
        "Sets of one generation share folds and seeds; those of two generations differ by their folds too."
        if found.drawn
        else "All sets of the search share one seed."
    )
    if band is None:
        caption = f"Fitness of every set, measured {found.measured}. The noise was not measured."
    return Section("search", "Search", (Figure(Picture("fitness", (drawing,), caption, data)),))


def _scatter(found: Evolution) -> Section:
    history, panels = found.history, []
    for index, gene in enumerate(found.genes):
        values = history.values[:, index]
        draw = functools.partial(
            evolution_plots.gene_scatter,
            values=values,
            fitness=history.fitness,
            generation=history.generation,
            best=history.evolved,
        )
        label = (
            f"Fitness against {gene.name}; start {cell(values[0])}, evolved {cell(values[history.evolved])}."
        )
        panels.append(panel(f"gene_{gene.name}", GENE_PANEL[:2], GENE_PANEL[2], draw, label, gene.name))
    data = pd.DataFrame(history.values, columns=[gene.name for gene in found.genes])
    data["generation"], data["fitness"] = history.generation, history.fitness
    caption = (
        "Fitness (upwards) against each hyper-parameter: one point per set, the stronger the later; the diamond is the "
        "start set, the star the fittest mutated one; a cross at the bottom diverged. All genes change together, so "
        "a slope or a hump is a hint that a gene matters, and none says only that this search did not show it."
    )
    return Section(
        "genes_scatter",
        "Fitness against each gene (figure 4-4)",
        (Figure(Picture("genes", tuple(panels), caption, data)),),
    )


def _genes(found: Evolution) -> Section:
    best = found.history.values[found.history.evolved]
    rows = []
    for gene, value in zip(found.genes, best, strict=True):
        at = "low" if value <= gene.low else "high" if value >= gene.high else ""
        rows.append(
            {
                "gene": gene.name,
                "start": gene.start,
                "evolved": float(value),
                "low": gene.low,
                "high": gene.high,
                "at_limit": at if gene.moves else "",
                "moves": gene.moves,
            }
        )
    data = pd.DataFrame(rows)
    columns = (
        Column("Gene", list(data["gene"])),
        Column("Start set", [cell(value) for value in data["start"]], number=True),
        Column("Evolved set", [cell(value) for value in data["evolved"]], number=True),
        Column(
            "Change",
            [_change(gene.start, value) for gene, value in zip(found.genes, best, strict=True)],
            number=True,
        ),
        Column(
            "Limits",
            [f"{cell(low)} to {cell(high)}" for low, high in zip(data["low"], data["high"], strict=True)],
        ),
        Column(
            "",
            [
                "stands still" if not moves else f"at its {at}est" if at else ""
                for moves, at in zip(data["moves"], data["at_limit"], strict=True)
            ],
        ),
    )
    words = (
        "The thesis gives the start set (Table 4-1) and no limits: these are ours. Mutations multiply, so a gene that "
        "starts at 0 stands still, and one that starts near a limit, such as the momentum, is often clipped to it."
    )
    limited = [str(name) for name in data["gene"][data["at_limit"] != ""]]
    blocks: list[Block] = [Table("genes_best", data, columns), Text(words, small=True)]
    if limited:
        blocks.append(Text(f"At a limit, where a wider one might do better: {listed(limited, 12)}."))
    return Section("genes", "Genes", tuple(blocks))


def _change(start: float, value: float) -> str:
    return "–" if not start else f"× {value / start:.2f}"
