"""Evolution of hyper-parameters (thesis, section 4.2.2): genes, mutation, parents and the search.

It calls a fitness function that it is given and knows no network; numpy is all it computes with.

    from skinjax.evolve import evolve, table_4_1

    history = evolve(lambda values, generation: train_and_measure(values), table_4_1(), generations=50)
    best = dict(zip((gene.name for gene in table_4_1()), history.values[history.best]))
"""

from skinjax.evolve.genes import Gene, mutate, table_4_1
from skinjax.evolve.objective import Parts, Weights, fitness, measure
from skinjax.evolve.search import History, evolve, propose, select_parents

__all__ = [
    "Gene",
    "History",
    "Parts",
    "Weights",
    "evolve",
    "fitness",
    "measure",
    "mutate",
    "propose",
    "select_parents",
    "table_4_1",
]
