"""Evolution of hyper-parameters (thesis, section 4.2.2).

Which of Table 4-1's twelve hyper-parameters suit these photos? From the start set (the recipe's flags), each generation
mutates one of the best five sets so far (equation 4-7), trains it, and measures its fitness (equation 4-6). Where:

* as the thesis (`--search_folds=2 --search_fraction=1`), all cases are dealt into five folds, each generation draws two
  of them, and the mean of the results on both is its fitness;
* by default, which is ours, on one fold of a fifth of the cases, the same throughout: one training instead of two, on a
  fifth of the photos. It is the default because it leaves cases that no set was chosen by.

Since the best of many noisy measurements looks better than it is, the start set and the fittest mutated one are then
trained again under several seeds, on cases that the search never saw: `report/index.html` says whether the gain is
real. Where the search has seen all cases, they are trained again on these, and the page claims no gain: it tells how
much of it new seeds leave, and that even this flatters. `evolved.flags` holds the fittest set for `hierarchy` and
`train`, `evolution.csv` all of them (its columns: `skinjax.studies.steps.candidates`).

    skinjax evolve --flagfile=experiments/flagfiles/evolve.flags --manifest=...      # as the thesis
    skinjax evolve --search_folds=2 --search_fraction=0.5 --manifest=...             # two folds, and cases left
    skinjax evolve --dataset=ham10000 --source=HAM10000 --backbone=efficientnet_nano --image_size=64
    skinjax evolve --smoke                                                           # all of it, tiny
    skinjax hierarchy --flagfile=runs/evolve_run/evolved.flags --manifest=...

The same command again resumes after the last whole generation, with the same sets as if it had not been stopped. By
default it makes 55 trainings on a sixth of the photos, then six on two thirds of them; as the thesis 110 on four
fifths, then six. --smoke takes half a minute on two idle cores.

HAM10000's 8,625 photos, a small network at 64 pixels, 17 s a training on two cores: the search's fitness rose from
0.480 to 0.526, and on cases that it never saw the evolved set's differs by -0.032 (-0.101 to +0.036). More:
benchmarks/results/studies.md; beside Optuna under one budget: benchmarks/results/search.md.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import ClassVar, Literal

import numpy as np

from skinjax.data.photo_set import PhotoSet, PreparedPhotos
from skinjax.evolve import Weights, table_4_1
from skinjax.evolve.gain import Gain, compare_sets
from skinjax.report.cases import unit_of
from skinjax.report.sections.evolution import Evolution, answer, sections
from skinjax.report.study_page import write_study
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import candidates, inputs, networks, plan, retraining, running, search_cases
from skinjax.studies.steps.options import OneFoldConfig
from skinjax.studies.steps.presets import Preset

NAME = "evolution"
FIXED = (
    "evaluate_every", "validation_fraction", "choose_by", "patience", "test_time_augmentation", "prior_adjustment",
)  # fmt: skip
"""Options of training that a candidate has no use for: it is trained to the last epoch and predicts once."""

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(OneFoldConfig):
    """Options of the study."""

    group: ClassVar[str] = "this study"
    command_preset: ClassVar[Preset] = "thesis"
    unfilled: ClassVar[frozenset[str]] = frozenset(FIXED)

    generations: int = option(50, "Number of generations after the start set.", low=1, smoke=3)
    population: int = option(1, "Candidates per generation.", low=1, smoke=2)
    at_once: Literal["auto", "one", "vmap", "devices"] = option(
        "auto",
        "Train the candidates of a generation one by one (one), stacked on one device (vmap) or "
        "spread over devices. auto: one by one on a CPU, where that is fastest.",
    )
    parents: Literal["draw", "mean"] = option(
        "draw", "Parent of a mutation: one drawn from the best five candidates (draw), or their mean."
    )
    shared_factor: bool = option(
        False, "Draw one factor from U(0, 1) for all genes of a candidate, in place of one per gene."
    )
    mutation_probability: float = option(0.9, "Probability that a gene mutates.", low=1e-3, high=1)
    mutation_sigma: float = option(
        0.2, "Standard deviation of a mutation (s of equation 4-7).", low=1e-6, high=10
    )
    fitness_weights: tuple[float, ...] = option(
        (0.25,) * 4, "Weights of recall, precision, F1 and AUC in the fitness (w1 to w4 of equation 4-6)."
    )
    search_fraction: float = option(
        0.2,
        "Share of the cases that the search sees. The thesis has 1, which leaves no case to test the "
        "gain on.",
        low=0.01,
        high=1,
        smoke=0.5,
    )
    # 0 is what the run of an earlier version, which lacks this option, means when it is resumed.
    search_folds: int = option(
        0,
        "Number of folds that each generation draws at random and averages the fitness over; the "
        "thesis has 2. 0: the fold of --fold in every generation.",
        low=0,
    )
    search_backbone: str = option("", "Network that the search trains. Default: --backbone.", smoke="")
    repeats: int = option(
        4,
        "Number of trainings of the start set under other seeds, which measure the noise of the fitness.",
        low=0,
        smoke=1,
    )
    retrain_seeds: int = option(
        3,
        "Number of seeds under which the start set and the evolved set are trained again on unseen cases.",
        low=1,
        smoke=2,
    )
    replicates: int = option(
        2000, "Number of bootstrap replicates, each of which draws cases.", low=100, smoke=200
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in FIXED:
            value = getattr(self, name)
            if value != type(self).__dataclass_fields__[name].default:
                raise ValueError(
                    f"{name}={value} is not used here: a candidate is judged by its network as its last epoch leaves it"
                )
        if self.columns:
            raise ValueError(
                f"columns={','.join(self.columns)} is not used here: candidates are trained on photos alone"
            )
        if self.search_folds > self.folds:
            raise ValueError(f"search_folds must be at most folds={self.folds}, got {self.search_folds}")
        self.weights()

    def weights(self) -> Weights:
        """Returns the weights of the fitness.

        Raises:
          ValueError: These are not up to four numbers of at least 0, some above.
        """
        try:
            return Weights(*self.fitness_weights).check()
        except (TypeError, ValueError):
            given = ",".join(f"{weight:g}" for weight in self.fitness_weights)
            raise ValueError(
                f"fitness_weights={given} must be up to four numbers of at least 0, not all 0, for "
                f"{', '.join(Weights._fields)}"
            ) from None


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """Gain of the evolved set where both sets were trained again; `evolved.flags` in `workdir` holds the set."""

    main_table: str = "retraining"


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Searches hyper-parameters and trains the fittest again on other cases, or resumes where that was begun.

    Args:
      photos: The photos; None takes those that the options name, or the built-in ones.
      config: The options.
      workdir: Folder of the run, made if missing.

    Returns:
      The result, read from the folder where the run has finished.

    Raises:
      ValueError: Options, photos or the folder do not fit; the message names what was found and what must be.
    """
    config = inputs.named_by(config, photos) if photos is not None else config
    backbone = config.search_backbone or config.backbone
    networks.check(config, [config.backbone, backbone])
    if processes.are_several():
        raise ValueError("evolve runs in one process; at_once=devices spreads candidates over its devices")
    size, small = networks.image_size(config), networks.image_size(config, backbone)
    if config.prepared and size != small:
        raise ValueError(
            f"prepared={config.prepared} holds photos of one size, but search_backbone={backbone} takes {small} pixels "
            f"and backbone={config.backbone} {size}; give image_size=PIXELS, or no prepared photos"
        )
    return running.carry_out(
        Result, NAME, config, workdir, lambda folder: _evolve(photos, config, folder, backbone), photos
    )


def _evolve(photos: PhotoSet | None, config: Config, folder: RunFolder, backbone: str) -> list[str]:
    read = inputs.photos_of(photos, config, folder)
    audited = inputs.audited(read, config, folder, lambda photos: search_cases.divide(config, photos))
    data = inputs.prepared(audited, config, folder, networks.image_size(config))
    division = search_cases.divide(config, data)
    plan.announce(config, folder, [data], _tasks(config, data, division, backbone))
    document = inputs.begin(folder, config, data)
    level, classes = data.taxonomy.finest, data.taxonomy.classes()
    base = candidates.base_recipe(config, division)
    genes = table_4_1(candidates.genes_of(base), longest_burn_in=float(base.total_steps) / 2)
    small = candidates.of_one_size(config, data, audited, folder, backbone)
    bench = candidates.Bench(
        config,
        small,
        division,
        lambda stage, fold: networks.describe(config, stage, fold, level, classes, backbone),
        base,
    )
    history = candidates.search(folder, bench, genes)
    repeats = candidates.repeats(folder, bench)
    flagfile, header = folder.path / "evolved.flags", candidates.header(config, history, backbone)
    candidates.write_flagfile(flagfile, config, genes, history.values[history.best], header)
    gains: tuple[Gain, ...] = ()
    diverged = 0, 0
    if history.evolved:
        recipes = [base, candidates.recipe_of(genes, history.values[history.evolved], base)]
        start, evolved = retraining.retrain(config, folder, data, division, recipes)
        labels, cases = data.labels[division.test], data.cases[division.test]
        gains = compare_sets(
            labels, start, evolved, cases, config.weights(), replicates=config.replicates, seed=config.seed
        )
        diverged = retraining.count_diverged(start), retraining.count_diverged(evolved)
    found = Evolution(
        genes=genes,
        history=history,
        repeats=repeats["fitness"].to_numpy(float),
        gains=gains,
        test_photos=int(division.test.sum()),
        test_cases=len(np.unique(data.cases[division.test])),
        unit=unit_of(data.cases[division.test]),
        seeds=config.retrain_seeds,
        diverged=diverged,
        searched=backbone,
        retrained=config.backbone,
        measured=search_cases.protocol(config),
        drawn=0 < config.search_folds < config.folds,
        unseen=config.search_fraction < 1,
    )
    write_study(
        folder.report,
        title="Evolution of hyper-parameters",
        answer=answer(found),
        sections=sections(found),
        config=document,
        notes=(*data.photos.notes, *division.notes),
    )
    _LOG.info("fittest set: %s", flagfile)
    return []


def _tasks(
    config: Config, data: PreparedPhotos, division: search_cases.Division, backbone: str
) -> list[plan.Task]:
    """Returns the networks of a run: candidates, repetitions of the start set, and both sets trained again."""
    size, small = networks.image_size(config), networks.image_size(config, backbone)
    photos = division.fewest(search_cases.possible_folds(config))
    held_out = int((division.search_fold >= 0).sum()) - photos
    candidate = plan.Task(
        "candidate", photos, held_out, config.epochs, len(data.taxonomy.classes()), small, backbone
    )
    again = dataclasses.replace(
        candidate, kind="set trained again", photos=int(division.train.sum()), held_out=int(division.test.sum()),
        image_size=size, backbone=config.backbone,
    )  # fmt: skip
    folds = max(config.search_folds, 1)
    searched = (config.generations * config.population + 1 + config.repeats) * folds
    return [candidate] * searched + [again] * 2 * config.retrain_seeds
