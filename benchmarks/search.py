"""Searches for hyper-parameters under one budget: our evolution, Optuna's TPE and random sets.

    python -m benchmarks.search                    # closed-form surfaces; about ten minutes on two cores
    python -m benchmarks.search --repetitions=10   # a quick look
    python -m benchmarks.search --real             # and the training of a small network on the built-in photos

Every search starts from Table 4-1, may measure as often as the thesis (the start set and 50 more), within the same
limits, and takes the set that measured best. What is compared is the true, noise-free fitness of that set less the
start set's.
Optuna is in the extra `peers`; without it, its column is left out.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import platform
import time
import warnings
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from skinjax.evolve import Gene, evolve, table_4_1
from skinjax.evolve.search import Parents

BUDGET = 51
GENES = table_4_1()
LOGARITHMIC = {"learning_rate", "final_learning_rate", "weight_decay", "burn_in"}
Surface = Callable[[NDArray], NDArray]
Noisy = Callable[[NDArray], NDArray]
Search = Callable[[Noisy, int, int], NDArray]  # of a fitness, a seed and how often it may be measured


def place(values: NDArray) -> NDArray:
    """Maps float[n, G] to where each gene lies in its range, 0 to 1, on the axis that it is usually searched on."""
    columns = []
    for gene, column in zip(GENES, np.asarray(values, float).T, strict=True):
        low, high = gene.low, gene.high
        if gene.name in LOGARITHMIC:
            low, high, column = np.log(low), np.log(high), np.log(column)
        columns.append((column - low) / (high - low))
    return np.stack(columns, axis=1)


START = place(np.array([[gene.start for gene in GENES]]))[0]


def bowl(rng: np.random.Generator, reach: float, genes: int) -> Surface:
    """Returns a bowl in some genes, its optimum `reach` of the range from the start; the others do nothing."""
    chosen = rng.permutation(len(GENES))[:genes]
    target = np.clip(
        START[chosen] + rng.choice([-1, 1], genes) * rng.uniform(0.5, 1.5, genes) * reach, 0.02, 0.98
    )
    weight = rng.dirichlet(np.full(genes, 2.0))

    def fitness(values: NDArray) -> NDArray:
        return 0.6 - 2 * (weight * (place(values)[:, chosen] - target) ** 2).sum(axis=1)

    return fitness


def cliff(rng: np.random.Generator) -> Surface:
    """Returns a bowl in all genes; a learning rate over 1 - momentum beyond a limit diverges."""
    inside = bowl(rng, 0.15, len(GENES))
    names = [gene.name for gene in GENES]
    rate, momentum = names.index("learning_rate"), names.index("momentum")

    def fitness(values: NDArray) -> NDArray:
        values = np.asarray(values, float)
        speed = values[:, rate] / (1 - values[:, momentum])
        return np.where(speed > 0.3, 0.05, inside(values))  # the start set's is 0.095

    return fitness


SURFACES: dict[str, Callable[[np.random.Generator], Surface]] = {
    "near optimum, 12 genes": lambda rng: bowl(rng, 0.1, 12),
    "far optimum, 12 genes": lambda rng: bowl(rng, 0.35, 12),
    "far optimum, 3 genes": lambda rng: bowl(rng, 0.35, 3),
    "near optimum and a cliff": cliff,
}
NOISES = (0.0, 0.01, 0.03)  # standard deviation of a measurement


def ours(
    fitness: Noisy, seed: int, budget: int, parents: Parents = "draw", shared_factor: bool = False
) -> NDArray:
    found = evolve(
        lambda values, generation: fitness(values),
        GENES,
        budget - 1,
        seed=seed,
        parents=parents,
        shared_factor=shared_factor,
    )
    return found.values[found.best]


def random_sets(fitness: Noisy, seed: int, budget: int) -> NDArray:
    """Returns the start set and sets drawn evenly over the same axes as TPE's."""
    rng = np.random.default_rng(seed)
    drawn = [[_draw(rng, gene) for gene in GENES] for _ in range(budget - 1)]
    values = np.array([[gene.start for gene in GENES], *drawn])
    return values[int(np.argmax(fitness(values)))]


def _draw(rng: np.random.Generator, gene: Gene) -> float:
    if gene.name in LOGARITHMIC:
        return float(np.exp(rng.uniform(np.log(gene.low), np.log(gene.high))))
    return float(rng.uniform(gene.low, gene.high))


def tpe(fitness: Noisy, seed: int, budget: int) -> NDArray:
    """Searches with Optuna's default sampler, the start set asked first."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({gene.name: gene.start for gene in GENES})

    def objective(trial: optuna.Trial) -> float:
        values = [
            trial.suggest_float(gene.name, gene.low, gene.high, log=gene.name in LOGARITHMIC)
            for gene in GENES
        ]
        return float(fitness(np.array([values]))[0])

    study.optimize(objective, n_trials=budget)
    return np.array([study.best_params[gene.name] for gene in GENES])


def contenders() -> dict[str, Search]:
    found: dict[str, Search] = {
        "evolution": ours,
        "evolution, mean parent": functools.partial(ours, parents="mean"),
        "evolution, shared factor": functools.partial(ours, shared_factor=True),
        "random sets": random_sets,
    }
    if importlib.util.find_spec("optuna"):
        found["Optuna's TPE"] = tpe
    return found


def compare(repetitions: int) -> None:
    searches = contenders()
    seconds = dict.fromkeys(searches, 0.0)
    print("| surface | noise | " + " | ".join(searches) + " |\n" + "|---" * (2 + len(searches)) + "|")
    for title, make in SURFACES.items():
        for noise in NOISES:
            gains: dict[str, list[float]] = {name: [] for name in searches}
            for repetition in range(repetitions):
                surface = make(np.random.default_rng([repetition, 1]))
                for name, search in searches.items():
                    rng = np.random.default_rng([repetition, 2])  # of the noise

                    def measured(values: NDArray, rng=rng, surface=surface, noise=noise) -> NDArray:
                        return surface(values) + noise * rng.standard_normal(len(values))

                    began = time.perf_counter()
                    chosen = search(measured, repetition, BUDGET)
                    seconds[name] += time.perf_counter() - began
                    start = np.array([[gene.start for gene in GENES]])
                    gains[name].append(float((surface(chosen[None]) - surface(start))[0]))
            cells = [_cell(values) for values in gains.values()]
            print(f"| {title} | {noise:g} | " + " | ".join(cells) + " |", flush=True)
    runs = repetitions * len(SURFACES) * len(NOISES)
    print(
        "| seconds per search | | " + " | ".join(f"{total / runs:.3f}" for total in seconds.values()) + " |"
    )


def _cell(gains: list[float]) -> str:
    """Returns the mean gain with its standard error, and how often the start set was left for a better one."""
    values = 100 * np.array(gains)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():+.2f} ± {error:.2f} ({100 * np.mean(values > 0):.0f} %)"


def compare_real(evaluations: int, epochs: int) -> None:
    """Compares the same searches on the training of `efficientnet_nano` on the built-in photos at 64 px."""
    import jax

    from skinjax.data.manifest import read_manifest
    from skinjax.data.pipeline.loader import Subset, steps_per_epoch
    from skinjax.data.pipeline.prepare import prepare
    from skinjax.data.split import split_by_case
    from skinjax.evolve import fitness, measure
    from skinjax.labels.taxonomy import load_taxonomy
    from skinjax.models import registry
    from skinjax.synthetic import SyntheticSpec, write_dataset
    from skinjax.train.loop import Settings
    from skinjax.train.population import train_population
    from skinjax.train.state import Recipe

    with TemporaryDirectory() as folder:
        root = Path(folder)
        path = write_dataset(root / "photos", SyntheticSpec(cases_per_class=9, size=64, seed=0))
        frame = read_manifest(path)
        labels = load_taxonomy("synthetic19").encode(frame["label"])
        source = prepare(frame, path.parent, root / "prepared", image_size=64, threads=2).source
        part = split_by_case(labels, frame["case_id"], (2, 1, 1), 0)
        train, seen, unseen = (Subset(source, np.flatnonzero(part == k), labels[part == k]) for k in range(3))
        spec, model = registry.spec("efficientnet_nano"), registry.create("efficientnet_nano", 19)
        steps = epochs * steps_per_epoch(len(train), 16)

        def trained(values: NDArray, held_out: Subset, seed: int) -> NDArray:
            variables = registry.init_variables(model, jax.random.key(seed))
            recipes = []
            for row in values:
                chosen = dict(zip((gene.name for gene in GENES), row.tolist(), strict=True))
                chosen["burn_in"] = min(chosen["burn_in"], steps / 2)
                base = Recipe()
                strengths = {name: chosen.pop(name) for name in base.strengths._fields if name in chosen}
                recipes.append(base._replace(**chosen, strengths=base.strengths._replace(**strengths)))
            settings = Settings(epochs=epochs, batch_size=16, seed=seed)
            found = train_population(model, spec, variables, train, held_out, recipes, settings)
            scores = [
                0.0 if lost else fitness(measure(held_out.labels, np.asarray(jax.nn.softmax(logits))))
                for logits, lost in zip(found.logits, found.diverged, strict=True)
            ]
            return np.array(scores)

        start = np.array([[gene.start for gene in GENES]])
        print(f"\n| {evaluations} trainings | in the search | on other cases, 3 seeds |\n|---|---|---|")
        at_start = trained(start, seen, 0)[0]
        again = [trained(start, unseen, seed)[0] for seed in (1, 2, 3)]
        print(
            f"| start set | {at_start:.3f} | {np.mean(again):.3f} ± {np.std(again, ddof=1):.3f} |", flush=True
        )
        for name, search in contenders().items():
            best: list[float] = []

            def measured(values: NDArray, best: list[float] = best) -> NDArray:
                scores = np.concatenate([trained(row[None], seen, 0) for row in values])
                best.append(float(scores.max()))
                return scores

            chosen = search(measured, 0, evaluations)
            again = [trained(chosen[None], unseen, seed)[0] for seed in (1, 2, 3)]
            print(
                f"| {name} | {max(best):.3f} | {np.mean(again):.3f} ± {np.std(again, ddof=1):.3f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=100, help="searches of each kind on each surface")
    parser.add_argument("--real", action="store_true", help="also train networks")
    parser.add_argument("--evaluations", type=int, default=BUDGET, help="of --real")
    parser.add_argument("--epochs", type=int, default=12, help="of a training")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    peers = [f"{name} {version(name)}" for name in ("numpy", "optuna") if importlib.util.find_spec(name)]
    print(f"{date.today()}, Python {platform.python_version()}, {', '.join(peers)}")
    print(
        f"{options.repetitions} searches of {BUDGET} measurements each. Gain of the true fitness in hundredths, mean ±"
    )
    print("standard error, and in brackets how often it was above 0.\n")
    compare(options.repetitions)
    if options.real:
        compare_real(options.evaluations, options.epochs)


if __name__ == "__main__":
    main()
