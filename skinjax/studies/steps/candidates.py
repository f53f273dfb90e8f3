"""The steps of the evolution: trains candidates and keeps their measurements, in `evolution.csv` and `repeats.csv`.

`evolution.csv` has one row per set: `generation`, `candidate`, `parent` (a row, counted from 0, or -1), the genes,
`recall`, `precision`, `f1`, `auc`, `fitness`, and the `seconds` of its training. Where folds are drawn
(`search_folds`), the measurements are means over them, and between genes and measurements stand, for k from 1,
`fold_k`, the k-th fold of the generation, counted from 0, and `fitness_k`, the fitness on it. A set that diverged on
one fold has no fitness.
`repeats.csv` has the same columns, without the genes, of the start set under other seeds.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd

from skinjax.augment import Strengths
from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.evolve import Gene, History, Parts, evolve, fitness, measure, table_4_1
from skinjax.files.atomic import replacing
from skinjax.files.progress import Progress
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.networks import Network
from skinjax.studies.steps import inputs, networks
from skinjax.studies.steps.options import MethodOptions, MirrorAndCutoutOptions, RecipeOptions
from skinjax.studies.steps.search_cases import Division, folds_of, possible_folds, protocol
from skinjax.train.loop import StoppedError
from skinjax.train.population import AtOnce, Population, default_at_once, train_population
from skinjax.train.state import Recipe

if TYPE_CHECKING:
    from skinjax.studies.evolution import Config

NOTHING = Parts(*[float("nan")] * len(Parts._fields))  # measured of a training that diverged


def of_one_size(
    config: Config, data: PreparedPhotos, audited: PhotoSet, folder: RunFolder, backbone: str
) -> PreparedPhotos:
    """Returns the photos in the size of the search's network: the same ones, or prepared a second time.

    Args:
      config: The study's options.
      data: The photos in the size of the option `backbone`.
      audited: The photos before they were decoded.
      folder: Of the run.
      backbone: The search's network.

    Raises:
      ValueError: Other photos could be read this time.
    """
    size = networks.image_size(config, backbone)
    if size == networks.image_size(config):
        return data
    small = inputs.prepared(audited, config, folder, size, "_search")
    if list(small.frame["image"]) != list(data.frame["image"]):
        raise ValueError(
            f"{folder.prepared(config, '_search')} holds other photos than {folder.prepared(config)}; name another "
            "workdir"
        )
    return small


def base_recipe(config: Config, division: Division) -> Recipe:
    """Returns the start set, as the options have it, for a candidate of the search.

    Args:
      config: The study's options.
      division: Of the photos.
    """
    photo_count = division.fewest(possible_folds(config))
    return config.recipe(config.updates(config.epochs, photo_count))


def genes_of(recipe: Recipe) -> dict[str, float]:
    """Returns what a recipe says of each gene."""
    named = recipe._asdict() | recipe.strengths._asdict()
    return {gene.name: float(named[gene.name]) for gene in table_4_1()}


def recipe_of(genes: Sequence[Gene], values: np.ndarray, base: Recipe) -> Recipe:
    """Returns a recipe with the values of a set, float[G], and what is no gene from another."""
    chosen = dict(zip((gene.name for gene in genes), values.tolist(), strict=True))
    strengths = {name: chosen.pop(name) for name in Strengths._fields if name in chosen}
    return base._replace(**chosen, strengths=base.strengths._replace(**strengths))


def way(config: Config) -> AtOnce:
    """Returns how candidates are trained; all populations of a run alike, so that they share a step.

    Args:
      config: The study's options.
    """
    return default_at_once(config.population) if config.at_once == "auto" else config.at_once


def train(
    config: Config,
    described: Network,
    data: PreparedPhotos,
    chosen: np.ndarray,
    held_out: np.ndarray,
    recipes: Sequence[Recipe],
    title: str,
    note: Callable[[Population], str] = lambda population: "",
) -> Population:
    """Trains candidates on chosen photos, bool[N], from what the network's stage and fold seed.

    Args:
      config: The study's options.
      described: The network.
      data: All photos.
      chosen: Those to train on.
      held_out: those to predict.
      recipes: One per candidate.
      title: of the progress line.
      note: what the line ends with.

    Raises:
      StoppedError: SIGTERM came; this population begins anew.
    """
    seed = networks.seed_of(config, described.stage, described.fold)
    photos, unseen = networks.subset(data, chosen), networks.subset(data, held_out)
    settings = config.settings(seed, config.epochs, len(photos))
    updates = config.updates(config.epochs, len(photos))
    with (
        Progress(title, updates, unit="updates", stream=processes.progress_stream()) as progress,
        processes.Termination() as asked,
    ):

        def on_step(done: int, total: int) -> None:
            progress.update(done)
            if asked(done):
                raise StoppedError(f"stopped in {title}, which begins anew")

        population = train_population(
            described.model(),
            described.spec,
            networks.start_variables(config, described),
            photos,
            unseen,
            recipes,
            settings,
            at_once=way(config),
            slots=config.population,
            on_step=on_step,
        )
        progress.update(updates, note(population))
    return population


@dataclasses.dataclass(frozen=True)
class Bench:
    """Data and networks on which fitness is measured.

    Attributes:
      config: The study's options.
      data: Photos of the search's size.
      division: Of them.
      network: Description of a network by its stage and the fold that seeds it.
      base: The start set's recipe.
    """

    config: Config
    data: PreparedPhotos
    division: Division
    network: Callable[[str, int], Network]
    base: Recipe

    @property
    def columns(self) -> list[str]:
        """Returns the names of what `measure` finds; see the module."""
        drawn = [
            f"{name}_{k}" for k in range(1, self.config.search_folds + 1) for name in ("fold", "fitness")
        ]
        return [*drawn, *Parts._fields, "fitness", "seconds"]

    def measure(
        self, stage: str, number: int, recipes: Sequence[Recipe], title: str, before: Sequence[float] = ()
    ) -> list[dict[str, float]]:
        """Trains candidates once per fold of the iteration and returns a row of `columns` each.

        Args:
          stage: `search`, whose networks are seeded alike in all generations, or `repeat`, each with a seed of its own.
          number: Of the generation or repeat, which decides the folds that are drawn.
          recipes: One per candidate.
          title: Of the progress lines.
          before: Fitness of earlier candidates, of which the last line names the best.
        """
        began, config = time.monotonic(), self.config
        folds, seeded = folds_of(config, stage, number), stage if stage == "search" else f"{stage}_{number}"
        found: list[list[Parts]] = []  # a list per fold, one entry per candidate

        def scores() -> np.ndarray:
            return np.array([[fitness(parts, config.weights()) for parts in on_fold] for on_fold in found])

        def note(population: Population) -> str:
            labels = self.data.labels[self.division.search_masks(folds[len(found)])[1]]
            found.append(
                [
                    NOTHING if update else measure(labels, np.asarray(jax.nn.softmax(logits)))
                    for logits, update in zip(population.logits, population.diverged, strict=True)
                ]
            )
            means = scores().mean(axis=0)
            told = ", ".join("diverged" if np.isnan(mean) else f"{mean:.4f}" for mean in means)
            known = [value for value in [*before, *means] if np.isfinite(value)]
            best = f", best so far {max(known):.4f}" if known and before and len(found) == len(folds) else ""
            return f"fitness {told}{' on average' if len(found) > 1 else ''}{best}"

        for fold in folds:
            train(
                config,
                self.network(seeded, fold if config.search_folds else 0),
                self.data,
                *self.division.search_masks(fold),
                recipes,
                f"{title}, fold {fold + 1} of {config.search_folds}" if config.search_folds else title,
                note,
            )
        seconds = round((time.monotonic() - began) / len(recipes), 2)
        drawn = list(zip(folds, scores(), strict=True)) if config.search_folds else []
        rows = []
        for index, mean in enumerate(scores().mean(axis=0)):
            values = [value for fold, on_fold in drawn for value in (fold, on_fold[index])]
            values += [*np.mean([on_fold[index] for on_fold in found], axis=0), mean, seconds]
            rows.append(dict(zip(self.columns, values, strict=True)))
        return rows


def history_of(frame: pd.DataFrame, genes: Sequence[Gene]) -> History:
    """Returns the search that `evolution.csv` tells of."""
    return History(
        generation=frame["generation"].to_numpy(np.int64),
        candidate=frame["candidate"].to_numpy(np.int64),
        parent=frame["parent"].to_numpy(np.int64),
        values=frame[[gene.name for gene in genes]].to_numpy(np.float64),
        fitness=frame["fitness"].to_numpy(np.float64),
    )


def search(folder: RunFolder, bench: Bench, genes: Sequence[Gene]) -> History:
    """Evolves, or goes on from the generations that `evolution.csv` holds.

    Args:
      folder: Of the run.
      bench: Where fitness is measured.
      genes: The hyper-parameters.
    """
    config, path, names = bench.config, folder.path / "evolution.csv", [gene.name for gene in genes]
    columns = ["generation", "candidate", "parent", *names, *bench.columns]
    before = read_csv(path, columns)
    rows: list[dict[Any, Any]] = before[bench.columns].to_dict("records")

    def measured(sets: np.ndarray, generation: int) -> list[float]:
        recipes = [recipe_of(genes, row, bench.base) for row in sets]
        title = f"generation {generation} of {config.generations}"
        new = bench.measure("search", generation, recipes, title, [row["fitness"] for row in rows])
        rows.extend(new)
        return [row["fitness"] for row in new]

    def save(history: History) -> None:
        frame = pd.DataFrame(history.values, columns=names)
        numbers = {name: getattr(history, name) for name in ("generation", "candidate", "parent")}
        write_csv(frame.assign(**numbers).join(pd.DataFrame(rows))[columns], path)

    return evolve(
        measured,
        genes,
        config.generations,
        population=config.population,
        seed=config.seed,
        parents=config.parents,
        probability=config.mutation_probability,
        sigma=config.mutation_sigma,
        shared_factor=config.shared_factor,
        history=history_of(before, genes),
        on_generation=save,
    )


def header(config: Config, history: History, backbone: str) -> list[str]:
    """Returns what `evolved.flags` says of itself.

    Args:
      config: The study's options.
      history: The search.
      backbone: Its network.
    """
    best, told = history.best, "is in report/index.html beside this file"
    if config.search_fraction == 1:
        told = "cannot be distinguished from that run, whose search saw all cases"
    return [
        f"Written by skinjax evolve: the set of generation {history.generation[best]} of {config.generations}, the "
        f"fittest of {len(history)} for {backbone}:",
        f"fitness {history.fitness[best]:.4f}, the start set's {history.fitness[0]:.4f}, measured",
        f"{protocol(config)}.",
        f"Whether that gain holds on other cases {told}.",
        "A run with these values on the same photos is also judged on the cases that chose them.",
    ]


def repeats(folder: RunFolder, bench: Bench) -> pd.DataFrame:
    """Trains the start set under other seeds, and returns a row of measurements each.

    Args:
      folder: Of the run.
      bench: Where fitness is measured.
    """
    path, columns = folder.path / "repeats.csv", ["repeat", *bench.columns]
    count = bench.config.repeats
    rows: list[dict[Any, Any]] = read_csv(path, columns)[bench.columns].to_dict("records")
    for number in range(len(rows), count):
        title = f"start set under another seed, {number + 1} of {count}"
        rows += bench.measure("repeat", number, [bench.base], title)
        write_csv(pd.DataFrame(rows).assign(repeat=range(len(rows)))[columns], path)
    return pd.DataFrame(rows, columns=bench.columns)


def write_flagfile(
    path: Path, config: Config, genes: Sequence[Gene], values: np.ndarray, header: Sequence[str]
) -> None:
    """Writes the whole recipe with the values of a set, for `--flagfile=` of the other studies.

    Args:
      path: The file.
      config: The study's options, whose optimiser and recipe the file holds.
      genes: The hyper-parameters.
      values: float[G].
      header: Lines of comment.
    """
    chosen = dict(zip((gene.name for gene in genes), values.tolist(), strict=True))
    groups = (MethodOptions, RecipeOptions, MirrorAndCutoutOptions)
    names = (field.name for group in groups for field in dataclasses.fields(group))
    recipe = {name: getattr(config, name) for name in names}
    lines = [f"# {line}" for line in header] + [
        f"--{name}={value}" for name, value in (recipe | chosen).items()
    ]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Reads what `write_csv` wrote, every digit; a table without rows where there is no file.

    Raises:
      ValueError: It has other columns, or a cell that is no number.
    """
    if not path.exists():
        return pd.DataFrame(columns=list(columns), dtype=np.float64)
    text = pd.read_csv(path, dtype=str)
    try:
        if list(text.columns) != list(columns):
            raise ValueError
        return pd.DataFrame(text.to_numpy(object).astype(np.float64), columns=list(columns))
    except ValueError:
        raise ValueError(
            f"{path} is not of this search: it must have numbers in the columns {', '.join(columns)}"
        ) from None


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Writes a table whole or not at all."""
    folds = {name: np.int64 for name in frame.columns if name.startswith("fold_")}  # read back as floats
    with replacing(path) as temporary:
        frame.astype(folds).to_csv(temporary, index=False)
