"""Evolution of hyper-parameters (thesis, section 4.2.2).

Which of Table 4-1's twelve hyper-parameters suit these photos? From the start set (the recipe's flags), each generation
mutates one of the best sets so far (equation 4-7), trains it on a fifth of the cases, and measures its fitness
(equation 4-6) on one fold of that fifth. Since the best of many noisy measurements looks better than it is, the start
set and the fittest mutated one are then trained again, under several seeds, on cases that the search never saw:
`report/index.html` says whether the gain is real. `evolved.flags` holds the fittest set for `hierarchy` and `train`,
`evolution.csv` all of them.

    python -m experiments.evolve --flagfile=experiments/flagfiles/evolve.flags --manifest=...      # as the thesis
    python -m experiments.evolve --dataset=ham10000 --source=HAM10000 --backbone=efficientnet_nano --image_size=64
    python -m experiments.evolve --smoke                                                           # all of it, tiny
    python -m experiments.hierarchy --flagfile=runs/evolve_run/evolved.flags --manifest=...

The same command again resumes after the last whole generation, with the same sets as if it had not been stopped. By
default it makes 55 trainings on a sixth of the photos, then six on two thirds of them; --smoke takes half a minute on
two idle cores.

HAM10000's 8,625 photos, a small network at 64 pixels, 17 s a training on two cores: the search's fitness rose from
0.480 to 0.526, and on cases that it never saw the evolved set's differs by -0.032 (-0.101 to +0.036). More:
benchmarks/results/studies.md; beside Optuna under one budget: benchmarks/results/search.md.
"""

from __future__ import annotations

import numpy as np
from absl import flags

from experiments import evolution, folds, inputs, search_cases, training_flags, workdir
from experiments import flags as shared
from skinjax.evolve import table_4_1
from skinjax.evolve.gain import Gain, compare_sets
from skinjax.report.sections.evolution import Evolution, answer, sections
from skinjax.report.study_page import write_study

FLAGS = flags.FLAGS

training_flags.define_all_flags(folds=True)
OWN = {"module_name": shared.SCRIPT}
flags.DEFINE_integer("generations", 50, "Generations after the start set.", 1, **OWN)
flags.DEFINE_integer("population", 1, "Candidates a generation; 1 in the thesis.", 1, **OWN)
flags.DEFINE_enum(
    "at_once", "auto", ["auto", "one", "vmap", "devices"],
    "A population is trained one by one, stacked on a device, or spread over devices; auto: one by one on CPUs.", **OWN,
)  # fmt: skip
flags.DEFINE_enum("parents", "draw", ["draw", "mean"], "Of the best five: one drawn, or their mean.", **OWN)
flags.DEFINE_bool("shared_factor", False, "One U(0, 1) factor for all mutations of a set.", **OWN)
flags.DEFINE_float("mutation_probability", 0.9, "That a gene mutates, above 0.", 1e-3, 1, **OWN)
flags.DEFINE_float("mutation_sigma", 0.2, "s of equation 4-7, above 0.", 1e-6, 10, **OWN)
flags.DEFINE_list("fitness_weights", ["0.25"] * 4, "w1 to w4: recall, precision, F1, AUC.", **OWN)
flags.DEFINE_float("search_fraction", 0.2, "Share of the cases that the search sees.", 0.01, 0.9, **OWN)
flags.DEFINE_string("search_backbone", "", "Network of the search. Default: --backbone.", **OWN)
flags.DEFINE_integer("repeats", 4, "Trainings of the start set under other seeds: the noise.", 0, **OWN)
flags.DEFINE_integer(
    "retrain_seeds", 3, "Seeds that start and evolved set are trained again under.", 1, **OWN
)
flags.DEFINE_integer("replicates", 2000, "Of the bootstrap by case.", 100, **OWN)


def main() -> None:
    """Runs the experiment that the flags describe."""
    backbone = FLAGS.search_backbone or FLAGS.backbone
    folds.check_flags([FLAGS.backbone, backbone])
    evolution.check_flags()
    folder = workdir.open_workdir("evolve")
    if (folder / "report" / "index.html").exists():
        print(f"finished already: {folder / 'report' / 'index.html'}")
        return
    audited = inputs.audited(inputs.read(folder), folder)
    data = audited.prepare(folder, folds.image_size())
    division = search_cases.divide(data)
    config = workdir.write_config(folder, "evolve", data)
    classes = data.taxonomy.classes(data.taxonomy.finest)
    base = evolution.base_recipe(division)
    genes = table_4_1(evolution.genes_of(base), longest_burn_in=float(base.total_steps) / 2)
    small = evolution.of_one_size(data, audited, folder, backbone)
    bench = evolution.Bench(
        small, division, lambda stage: folds.network(stage, 0, data.taxonomy.finest, classes, backbone), base
    )
    history = evolution.search(folder, bench, genes)
    repeats = evolution.repeats(folder, bench)
    flagfile, header = folder / "evolved.flags", evolution.header(history, backbone)
    evolution.write_flagfile(flagfile, genes, history.values[history.best], header)
    gains: tuple[Gain, ...] = ()
    diverged = 0, 0
    if history.evolved:
        recipes = [base, evolution.recipe_of(genes, history.values[history.evolved], base)]
        start, evolved = evolution.retrain(folder, data, division, recipes)
        labels, cases = data.labels[division.test], data.cases[division.test]
        gains = compare_sets(
            labels, start, evolved, cases, evolution.weights(), replicates=FLAGS.replicates, seed=FLAGS.seed
        )
        diverged = evolution.count_diverged(start), evolution.count_diverged(evolved)
    found = Evolution(
        genes=genes,
        history=history,
        repeats=repeats["fitness"].to_numpy(float),
        gains=gains,
        test_photos=int(division.test.sum()),
        test_cases=len(np.unique(data.cases[division.test])),
        seeds=FLAGS.retrain_seeds,
        diverged=diverged,
        searched=backbone,
        retrained=FLAGS.backbone,
    )
    page = write_study(
        folder / "report",
        title="Evolution of hyper-parameters",
        answer=answer(found),
        sections=sections(found),
        config=config,
        notes=(*data.inputs.notes, *division.notes),
    )
    print(f"{answer(found)[0]}\nfittest set: {flagfile}\nreport: {page}")


if __name__ == "__main__":
    workdir.run_script(main)
