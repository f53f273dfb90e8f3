"""What `experiments.evolve` does step by step: trains candidates, keeps what they measured, trains two sets again."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from absl import flags

from experiments import folds, parts, processes, training_flags
from experiments.flags import METHODS, RECIPE
from experiments.inputs import Inputs, Photos
from experiments.search_cases import Division
from skinjax.augment import Strengths
from skinjax.data import predictions
from skinjax.data.loader import steps_per_epoch
from skinjax.data.tables import replacing
from skinjax.evolve import Gene, History, Parts, Weights, evolve, fitness, measure, table_4_1
from skinjax.train.loop import StoppedError
from skinjax.train.network import Network
from skinjax.train.population import AtOnce, Population, default_at_once, train_population
from skinjax.train.progress import Progress
from skinjax.train.state import Recipe

NOTHING = Parts(*[float("nan")] * len(Parts._fields))  # measured of a training that diverged
MEASURED = (*Parts._fields, "fitness", "seconds")
SETS = ("start", "evolved")
FIXED = ("evaluate_every", "validation_fraction", "choose_by", "patience", "test_time_augmentation")
"""Flags of training that a candidate has no use for: it is trained to the last epoch and predicts once."""


def check_flags() -> None:
    """Refuses flags that this experiment has no use for, and numbers out of range, before any photo is read.

    Raises:
      ValueError: one of them.
    """
    for name in FIXED:
        flag = flags.FLAGS[name]
        if flag.value != flag.default:
            raise ValueError(
                f"--{name}={flag.value} is not used here: a candidate predicts after its last epoch"
            )
    weights()
    if processes.are_several():
        raise ValueError("evolve runs in one process; --at_once=devices spreads candidates over its devices")
    size, small = folds.image_size(), folds.image_size(flags.FLAGS.search_backbone)
    if flags.FLAGS.prepared and size != small:
        raise ValueError(
            f"--prepared holds photos of one size, but --search_backbone wants {small} pixels and --backbone {size}; "
            "give --image_size, or no --prepared"
        )


def weights() -> Weights:
    """Returns the weights of --fitness_weights.

    Raises:
      ValueError: they are not four numbers of at least 0, some above.
    """
    given = flags.FLAGS.fitness_weights
    try:
        return Weights(*map(float, given)).check()
    except (TypeError, ValueError):
        raise ValueError(
            f"--fitness_weights={','.join(given)}: up to four numbers of at least 0 and not all 0 are wanted, of "
            f"{', '.join(Weights._fields)}"
        ) from None


def of_one_size(data: Photos, audited: Inputs, folder: Path, backbone: str) -> Photos:
    """Returns the photos in the size of the search's network: the same ones, or prepared a second time.

    Raises:
      ValueError: other photos could be read this time.
    """
    if folds.image_size(backbone) == folds.image_size():
        return data
    small = audited.prepare(folder / "search", folds.image_size(backbone))
    if list(small.frame["image"]) != list(data.frame["image"]):
        raise ValueError(
            f"{folder / 'search'} holds other photos than {folder / 'prepared'}; name another --workdir"
        )
    return small


def base_recipe(division: Division) -> Recipe:
    """Returns the start set, as the flags have it, for a candidate of the search."""
    photo_count = int(division.search_train.sum())
    steps = steps_per_epoch(photo_count, training_flags.batch_size(photo_count))
    return training_flags.recipe(flags.FLAGS.epochs * steps)


def genes_of(recipe: Recipe) -> dict[str, float]:
    """Returns what a recipe says of each gene."""
    named = recipe._asdict() | recipe.strengths._asdict()
    return {gene.name: float(named[gene.name]) for gene in table_4_1()}


def recipe_of(genes: Sequence[Gene], values: np.ndarray, base: Recipe) -> Recipe:
    """Returns a recipe with the values of a set, float[G], and what is no gene from another."""
    chosen = dict(zip((gene.name for gene in genes), values.tolist(), strict=True))
    strengths = {name: chosen.pop(name) for name in Strengths._fields if name in chosen}
    return base._replace(**chosen, strengths=base.strengths._replace(**strengths))


def way() -> AtOnce:
    """Returns how candidates are trained, from --at_once; all populations of a run alike, so that they share a step."""
    values = flags.FLAGS
    return default_at_once(values.population) if values.at_once == "auto" else values.at_once


def train(
    described: Network,
    data: Photos,
    chosen: np.ndarray,
    held_out: np.ndarray,
    recipes: Sequence[Recipe],
    title: str,
    note: Callable[[Population], str] = lambda population: "",
) -> Population:
    """Trains candidates on chosen photos, bool[N], from what the network's stage and fold seed.

    Args:
      described: the network.
      data: all photos.
      chosen: those to train on.
      held_out: those to predict.
      recipes: one a candidate.
      title: of the progress line.
      note: what the line ends with.

    Raises:
      StoppedError: SIGTERM came; this population begins anew.
    """
    seed, values = folds.seed_of(described.stage, described.fold), flags.FLAGS
    photos, unseen = parts.subset(data, chosen), parts.subset(data, held_out)
    settings = training_flags.settings(seed, values.epochs, len(photos))
    updates = values.epochs * steps_per_epoch(len(photos), settings.batch_size)
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
            folds.start_variables(described),
            photos,
            unseen,
            recipes,
            settings,
            at_once=way(),
            slots=values.population,
            on_step=on_step,
        )
        progress.update(updates, note(population))
    return population


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where fitness is measured.

    Attributes:
      data: photos of the search's size.
      division: of them.
      network: description of a network by its stage.
      base: the start set's recipe.
    """

    data: Photos
    division: Division
    network: Callable[[str], Network]
    base: Recipe

    def measure(
        self, stage: str, recipes: Sequence[Recipe], title: str, before: Sequence[float] = ()
    ) -> list[dict[str, Any]]:
        """Trains candidates and returns a row of `MEASURED` each.

        Args:
          stage: what seeds them.
          recipes: one a candidate.
          title: of the progress line.
          before: fitness of earlier candidates, of which the line names the best.
        """
        began, held_out = time.monotonic(), self.division.search_held_out
        labels, shares = self.data.labels[held_out], weights()
        found: list[dict[str, Any]] = []

        def note(population: Population) -> str:
            for logits, update in zip(population.logits, population.diverged, strict=True):
                measured = NOTHING if update else measure(labels, np.asarray(jax.nn.softmax(logits)))
                found.append(measured._asdict() | {"fitness": fitness(measured, shares)})
            told = ", ".join(
                "diverged" if np.isnan(row["fitness"]) else f"{row['fitness']:.4f}" for row in found
            )
            known = [value for value in [*before, *(row["fitness"] for row in found)] if np.isfinite(value)]
            return f"fitness {told}" + (f", best so far {max(known):.4f}" if known and before else "")

        train(self.network(stage), self.data, self.division.search_train, held_out, recipes, title, note)
        seconds = round((time.monotonic() - began) / len(found), 2)
        return [row | {"seconds": seconds} for row in found]


def columns_of(genes: Sequence[Gene]) -> list[str]:
    """Returns the columns of `evolution.csv`; `parent` is a row of it, counted from 0, or -1."""
    names = [gene.name for gene in genes]
    return ["generation", "candidate", "parent", *names, *MEASURED]


def history_of(frame: pd.DataFrame, genes: Sequence[Gene]) -> History:
    """Returns the search that `evolution.csv` tells of."""
    return History(
        generation=frame["generation"].to_numpy(np.int64),
        candidate=frame["candidate"].to_numpy(np.int64),
        parent=frame["parent"].to_numpy(np.int64),
        values=frame[[gene.name for gene in genes]].to_numpy(np.float64),
        fitness=frame["fitness"].to_numpy(np.float64),
    )


def search(folder: Path, bench: Bench, genes: Sequence[Gene]) -> History:
    """Evolves, or goes on from the generations that `evolution.csv` holds."""
    values, path, columns = flags.FLAGS, folder / "evolution.csv", columns_of(genes)
    before = read_csv(path, columns)
    rows: list[dict[Any, Any]] = before[list(MEASURED)].to_dict("records")

    def measured(sets: np.ndarray, generation: int) -> list[float]:
        recipes = [recipe_of(genes, row, bench.base) for row in sets]
        title = f"generation {generation} of {values.generations}"
        new = bench.measure("search", recipes, title, [row["fitness"] for row in rows])
        rows.extend(new)
        return [row["fitness"] for row in new]

    def save(history: History) -> None:
        frame = pd.DataFrame(history.values, columns=[gene.name for gene in genes])
        numbers = {name: getattr(history, name) for name in ("generation", "candidate", "parent")}
        write_csv(frame.assign(**numbers).join(pd.DataFrame(rows))[columns], path)

    return evolve(
        measured,
        genes,
        values.generations,
        population=values.population,
        seed=values.seed,
        parents=values.parents,
        probability=values.mutation_probability,
        sigma=values.mutation_sigma,
        shared_factor=values.shared_factor,
        history=history_of(before, genes),
        on_generation=save,
    )


def header(history: History, backbone: str) -> list[str]:
    """Returns what `evolved.flags` says of itself."""
    best, values = history.best, flags.FLAGS
    return [
        f"Written by python -m experiments.evolve: the set of generation {history.generation[best]} of "
        f"{values.generations}, the fittest of {len(history)}",
        f"for {backbone}: fitness {history.fitness[best]:.4f}, the start set's {history.fitness[0]:.4f}, on one fold "
        f"of a share of {values.search_fraction:g} of the cases.",
        "Whether that gain holds on other cases is told by report/index.html beside this file. A run with these values",
        "on the same photos is also judged on the cases that chose them; that comparison is not.",
    ]


def repeats(folder: Path, bench: Bench) -> pd.DataFrame:
    """Trains the start set under --repeats other seeds, and returns a row of measurements each."""
    path, columns = folder / "repeats.csv", ["repeat", *MEASURED]
    rows: list[dict[Any, Any]] = read_csv(path, columns)[list(MEASURED)].to_dict("records")
    for number in range(len(rows), flags.FLAGS.repeats):
        title = f"start set under another seed, {number + 1} of {flags.FLAGS.repeats}"
        rows += bench.measure(f"repeat_{number}", [bench.base], title)
        write_csv(pd.DataFrame(rows).assign(repeat=range(len(rows)))[columns], path)
    return pd.DataFrame(rows, columns=list(MEASURED))


def retrain(folder: Path, data: Photos, division: Division, recipes: Sequence[Recipe]) -> np.ndarray:
    """Trains start and evolved set under --retrain_seeds seeds on cases that the search never saw.

    Predictions are stored a seed and set, and not made again. A network that diverges answers every class alike.

    Returns:
      float64[2, R, n, K], the probabilities that the sets' networks give to the test photos.
    """
    values, taxonomy = flags.FLAGS, data.taxonomy
    for seed in range(values.retrain_seeds):
        paths = [folder / "predictions" / f"{name}_{seed}.parquet" for name in SETS]
        if all(path.exists() for path in paths):
            continue
        described = folds.network(f"retrain_{seed}", 0, taxonomy.finest, taxonomy.classes(taxonomy.finest))
        title = f"start and evolved set again, seed {seed + 1} of {values.retrain_seeds}"
        population = train(described, data, division.train, division.test, recipes, title)
        for path, logits in zip(paths, np.nan_to_num(population.logits), strict=True):
            frame = folds.predictions_of(data, division.test, logits)
            predictions.write_predictions(frame, path, taxonomy)
    read = functools.partial(_probabilities, folder, data, division)
    return np.array([[read(name, seed) for seed in range(values.retrain_seeds)] for name in SETS])


def count_diverged(probs: np.ndarray) -> int:
    """Returns how many networks, float64[R, n, K], answer every class alike, as `retrain` stores what diverged."""
    return int((np.ptp(probs, axis=(1, 2)) == 0).sum())


def _probabilities(folder: Path, data: Photos, division: Division, name: str, seed: int) -> np.ndarray:
    path = folder / "predictions" / f"{name}_{seed}.parquet"
    frame = predictions.read_predictions(path)
    if list(frame["image"]) != list(data.frame["image"][division.test]):
        raise ValueError(f"{path} holds predictions of other photos; name another --workdir")
    return predictions.probabilities(frame, data.taxonomy)


def write_flagfile(path: Path, genes: Sequence[Gene], values: np.ndarray, header: Sequence[str]) -> None:
    """Writes the whole recipe with the values of a set, float[G], for `--flagfile=` of the other experiments."""
    chosen = dict(zip((gene.name for gene in genes), values.tolist(), strict=True))
    groups = flags.FLAGS.flags_by_module_dict()
    recipe = {flag.name: flag.value for group in (METHODS, RECIPE) for flag in groups[group]}
    lines = [f"# {line}" for line in header] + [
        f"--{name}={value}" for name, value in (recipe | chosen).items()
    ]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Reads what `write_csv` wrote, every digit; a table without rows where there is no file.

    Raises:
      ValueError: it has other columns, or a cell that is no number.
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
            f"{path} is not of this search: numbers in the columns {', '.join(columns)} are wanted"
        ) from None


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Writes a table whole or not at all."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False)
