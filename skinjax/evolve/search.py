"""The search: generations of mutated sets, their parents, and the history that resumes it (thesis, section 4.2.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.evolve.genes import Gene, mutate

Parents = Literal["draw", "mean"]
Fitness = Callable[[NDArray[np.float64], int], ArrayLike]


@dataclasses.dataclass(frozen=True, eq=False)
class History:
    """All sets that were tried, in order; row 0 is the start set.

    Attributes:
      generation: int64[n], from 0.
      candidate: int64[n], which of its generation, from 0.
      parent: int64[n], the row that it was mutated from; -1 for the start set and where the parent is a mean.
      values: float64[n, G], one column per gene.
      fitness: float64[n]; what is not finite stands for a training that diverged.
    """

    generation: NDArray[np.int64]
    candidate: NDArray[np.int64]
    parent: NDArray[np.int64]
    values: NDArray[np.float64]
    fitness: NDArray[np.float64]

    @classmethod
    def empty(cls, num_genes: int) -> History:
        """Returns the history before anything was tried."""
        none = np.zeros(0, np.int64)
        return cls(none, none, none, np.zeros((0, num_genes)), np.zeros(0))

    def __len__(self) -> int:
        return len(self.fitness)

    @property
    def best(self) -> int:
        """Returns the row of the highest fitness, the earliest of equals; 0 where all trainings diverged."""
        return int(np.argmax(_ranked(self.fitness)))

    @property
    def evolved(self) -> int:
        """Returns the row of the fittest mutated set, the earliest of equals; 0 where there is none or all diverged."""
        ranked = _ranked(self.fitness[1:])
        return 1 + int(np.argmax(ranked)) if np.isfinite(ranked).any() else 0

    @property
    def running_best(self) -> NDArray[np.float64]:
        """Returns float64[n], the highest fitness up to each row; -inf before the first that is finite."""
        return np.maximum.accumulate(_ranked(self.fitness))

    def with_generation(
        self, parents: NDArray[np.int64], values: NDArray[np.float64], fitness: NDArray[np.float64]
    ) -> History:
        """Returns this history and one generation more.

        Args:
          parents: int64[P].
          values: float64[P, G].
          fitness: float64[P].
        """
        number = int(self.generation[-1]) + 1 if len(self) else 0
        count = len(fitness)
        return History(
            np.append(self.generation, np.full(count, number)),
            np.append(self.candidate, np.arange(count)),
            np.append(self.parent, parents),
            np.concatenate([self.values, values]),
            np.append(self.fitness, fitness),
        )


def select_parents(
    rng: np.random.Generator,
    values: ArrayLike,
    fitness: ArrayLike,
    mode: Parents = "draw",
    best: int = 5,
) -> tuple[NDArray[np.float64], int]:
    """Returns what the next set is mutated from.

    Of the best five sets, one is drawn with probability proportional to its fitness above the worst of the five, or
    they are averaged with those weights. The thesis says only that parents are the best earlier sets: this is ours.
    Where the five are equally fit, all weigh the same.

    Args:
      rng: for the draw.
      values: float[n, G], the sets so far, at least one.
      fitness: float[n]; sets whose fitness is not finite are no parents unless there is no other, when the first is.
      mode: `"draw"` or `"mean"`.
      best: how many sets are looked at, at least 1.

    Returns:
      float64[G], and the row it is; -1 for a mean.

    Raises:
      ValueError: An argument has another shape, or is out of range.

    Example:
      >>> sets, fitness = [[1.0], [2.0], [4.0]], [0.1, 0.2, 0.4]
      >>> select_parents(np.random.default_rng(0), sets, fitness, "mean")  # weights 0, 0.1 and 0.3
      (array([3.5]), -1)
    """
    sets, scores = np.asarray(values, np.float64), np.asarray(fitness, np.float64)
    if sets.ndim != 2 or not len(sets) or scores.shape != (len(sets),):
        raise ValueError(
            f"values and fitness must be float[n, G] and float[n], n at least 1, got shapes {sets.shape} and "
            f"{scores.shape}"
        )
    if mode not in get_args(Parents):
        raise ValueError(f"mode must be one of {', '.join(get_args(Parents))}, got {mode!r}")
    if best < 1:
        raise ValueError(f"best must be at least 1, got {best}")
    ranked = _ranked(scores)
    order = np.argsort(-ranked, kind="stable")[:best]
    order = order[np.isfinite(ranked[order])]
    if not len(order):
        return sets[0].copy(), 0
    above = scores[order] - scores[order].min()
    weights = above / above.sum() if above.sum() > 0 else np.full(len(order), 1 / len(order))
    if mode == "mean":
        return weights @ sets[order], -1
    row = int(rng.choice(order, p=weights))
    return sets[row].copy(), row


def propose(
    genes: Sequence[Gene],
    history: History,
    *,
    population: int = 1,
    seed: int = 0,
    parents: Parents = "draw",
    best: int = 5,
    probability: float = 0.9,
    sigma: float = 0.2,
    shared_factor: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the sets of the next generation: a function of the seed and the history alone.

    Args:
      genes: G of them.
      history: so far; the generation after its last is proposed, and where it is empty the start set alone.
      population: P, sets per generation from the second on.
      seed: of the search.
      parents: see `select_parents`.
      best: likewise.
      probability: see `skinjax.evolve.genes.mutate`.
      sigma: likewise.
      shared_factor: likewise.

    Returns:
      float64[P, G], and int64[P], the rows of the history they were mutated from.
    """
    if not len(history):
        return np.array([[gene.start for gene in genes]]), np.array([-1])
    generation = int(history.generation[-1]) + 1
    rng = np.random.default_rng([seed, generation])
    sets, rows = [], []
    for _ in range(population):
        parent, row = select_parents(rng, history.values, history.fitness, parents, best)
        sets.append(mutate(rng, genes, parent, probability, sigma, shared_factor))
        rows.append(row)
    return np.array(sets), np.array(rows)


def evolve(
    fitness: Fitness,
    genes: Sequence[Gene],
    generations: int,
    *,
    population: int = 1,
    seed: int = 0,
    parents: Parents = "draw",
    best: int = 5,
    probability: float = 0.9,
    sigma: float = 0.2,
    shared_factor: bool = False,
    history: History | None = None,
    on_generation: Callable[[History], None] = lambda history: None,
) -> History:
    """Searches for a fitter set of hyper-parameters.

    Generation 0 is the start set. Each later one has `population` sets, each mutated from a parent among the best so
    far. What is tried is a function of the seed and the history alone, so a search that was stopped after any
    generation goes on as if it had not been.

    Args:
      fitness: called with float64[P, G], one row per set (one row in generation 0), and the generation's number;
        returns float[P], higher is better; not finite where a training diverged.
      genes: G of them, with names that differ.
      generations: how many follow the start set; 50 in the thesis.
      population: P, at least 1; the thesis does not say how many.
      seed: of the search, at least 0.
      parents: see `select_parents`.
      best: likewise.
      probability: see `skinjax.evolve.genes.mutate`.
      sigma: likewise.
      shared_factor: likewise.
      history: of a search with the same genes, seed and options, whole generations, to go on from.
      on_generation: called with the history after each generation.

    Returns:
      The history of all generations.

    Raises:
      ValueError: An argument is out of range, the history is not this search's, or fitness has another shape.

    Example:
      >>> genes = [Gene("x", 1.0, 0.1, 10.0)]
      >>> found = evolve(lambda values, generation: -(np.log(values[:, 0] / 3) ** 2), genes, generations=30)
      >>> len(found), bool(abs(found.values[found.best, 0] - 3) < 0.5)
      (31, True)
    """
    if not genes or len({gene.name for gene in genes}) < len(genes):
        raise ValueError(f"genes must have names that differ, got {[gene.name for gene in genes]}")
    for name, value, least in (
        ("generations", generations, 0),
        ("population", population, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    history = History.empty(len(genes)) if history is None else history
    _check_history(history, len(genes), population, generations)
    while not len(history) or history.generation[-1] < generations:
        values, rows = propose(
            genes,
            history,
            population=population,
            seed=seed,
            parents=parents,
            best=best,
            probability=probability,
            sigma=sigma,
            shared_factor=shared_factor,
        )
        number = int(history.generation[-1]) + 1 if len(history) else 0
        measured = np.asarray(fitness(values, number), np.float64)
        if measured.shape != (len(values),):
            raise ValueError(
                f"fitness must return float[{len(values)}], one per set, got shape {measured.shape}"
            )
        history = history.with_generation(rows, values, measured)
        on_generation(history)
    return history


def _ranked(fitness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fitness with what is not finite at the bottom."""
    return np.where(np.isfinite(fitness), fitness, -np.inf)


def _check_history(history: History, num_genes: int, population: int, generations: int) -> None:
    """Refuses what `evolve` has not left behind after some generation."""
    count = len(history)
    shapes = {
        "generation": history.generation.shape == (count,),
        "candidate": history.candidate.shape == (count,),
        "parent": history.parent.shape == (count,),
        "values": history.values.shape == (count, num_genes),
    }
    for name, fits in shapes.items():
        if not fits:
            raise ValueError(
                f"history has {count} sets of {num_genes} genes, {name} has shape {getattr(history, name).shape}"
            )
    if not count:
        return
    whole, rest = divmod(count - 1, population)
    generation = np.append(0, 1 + np.arange(count - 1) // population)
    candidate = np.append(0, np.arange(count - 1) % population)
    if rest or not ((history.generation == generation) & (history.candidate == candidate)).all():
        raise ValueError(
            f"history must hold the start set and then whole generations of {population}, in order; it has {count} rows"
        )
    if whole > generations:
        raise ValueError(
            f"history must have at most {generations} generations after the start set, got {whole}"
        )
    if (history.parent >= np.arange(count)).any() or (history.parent < -1).any():
        raise ValueError("history.parent must be an earlier row, or -1 for none")
