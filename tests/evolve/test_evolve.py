"""Genes, mutation, parents, fitness and the search, against the thesis's equations and scikit-learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from skinjax.augment import TABLE_4_1
from skinjax.evolve import (
    Gene,
    History,
    Parts,
    Weights,
    evolve,
    fitness,
    measure,
    mutate,
    propose,
    select_parents,
    table_4_1,
)
from skinjax.train.state import Recipe

WIDE = [Gene(name, 1.0, 0.0, 1e9) for name in "abcdef"]
RECIPE = Recipe()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Genes.


def test_the_genes_are_table_4_1s_by_the_names_of_the_recipe():
    genes = table_4_1()
    thesis = {
        "learning_rate": 0.00465, "final_learning_rate": 1e-5, "momentum": 0.951, "weight_decay": 0.000355,
        "hsv_h": 0.0138, "hsv_s": 0.678, "hsv_v": 0.36, "rotation": 10, "translation": 0.15, "scale": 0.358,
        "shear": 0.9, "burn_in": 50,
    }  # fmt: skip
    assert {gene.name: gene.start for gene in genes} == thesis
    assert {gene.gain for gene in genes} == {1.0}
    named = RECIPE._asdict() | TABLE_4_1._asdict()
    assert {name: named[name] for name in thesis} == thesis
    apart = {
        "flip_horizontal",
        "flip_vertical",
        "cutout",
        "cutout_size",
    }  # named in chapters 3 and 4, not in the table
    assert set(TABLE_4_1._fields) - thesis.keys() == apart
    assert (TABLE_4_1.flip_horizontal, TABLE_4_1.flip_vertical, TABLE_4_1.cutout) == (0, 0, 0)


def test_limits_move_to_a_start_beyond_them_and_a_start_of_zero_stands_still():
    genes = {
        gene.name: gene
        for gene in table_4_1({"learning_rate": 0.5, "hsv_h": 0, "burn_in": 70}, longest_burn_in=60)
    }
    assert genes["learning_rate"].high == 0.5
    assert genes["hsv_h"].gain == 0
    assert not genes["hsv_h"].moves
    assert genes["burn_in"].high == 70
    assert table_4_1(longest_burn_in=60)[-1].high == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", 0.0, 0.0, 1.0), "starts at 0, which no multiplication moves"),
        (("x", 2.0, 0.0, 1.0), "0 <= low <= start <= high"),
        (("x", 1.0, -1.0, 1.0), "0 <= low <= start <= high"),
        (("x", float("nan"), 0.0, 1.0), "finite"),
        (("x", 1.0, 0.0, 2.0, -1.0), "gain of at least 0"),
    ],
)
def test_genes_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Gene(*arguments)
    with pytest.raises(ValueError, match="which is no gene of Table 4-1"):
        table_4_1({"cutout": 0.5})


# Mutation.


def by_hand(generator, values, probability, sigma, shared, gains, low, high):
    """Equation 4-7, gene by gene, from the same random numbers."""
    uniform = generator.random(len(values))
    normal = generator.standard_normal(len(values))
    factor = generator.random() if shared else 1.0
    result = []
    for i, sp in enumerate(values):
        g = 1 if uniform[i] < probability else 0
        m = min(3, max(gains[i] * g * normal[i] * factor * sigma + 1, 0.3))
        result.append(min(max(sp * m, low[i]), high[i]))
    return result


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("sigma", [0.2, 2.0])
def test_mutation_is_equation_4_7(sigma, shared):
    genes = [Gene(str(i), 1.0 + i, 0.5, 4.0 + i, gain=1 + i / 4) for i in range(6)]
    start = [gene.start for gene in genes]
    for seed in range(50):
        expected = by_hand(
            rng(seed), start, 0.9, sigma, shared, [g.gain for g in genes], [0.5] * 6, [g.high for g in genes]
        )
        found = mutate(rng(seed), genes, start, 0.9, sigma, shared)
        np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_factors_are_normal_within_bounds_and_a_tenth_of_the_genes_rests():
    generator = rng(1)
    factors = np.array([mutate(generator, WIDE, np.ones(6)) for _ in range(3000)]).ravel()
    moved = factors[factors != 1]
    assert abs(len(moved) / len(factors) - 0.9) < 0.01
    assert stats.kstest(moved, stats.norm(1, 0.2).cdf).pvalue > 0.001
    wild = np.array([mutate(generator, WIDE, np.ones(6), sigma=5.0) for _ in range(200)])
    assert wild.min() == 0.3
    assert wild.max() == 3.0


def test_a_shared_factor_makes_some_mutations_small_throughout():
    generator = rng(2)
    changes = np.array([mutate(generator, WIDE, np.ones(6), shared_factor=True) - 1 for _ in range(4000)])
    # x_r u with u uniform has variance 1/3.
    assert np.var(changes[changes != 0]) == pytest.approx(0.04 / 3, rel=0.06)
    sizes = np.log(np.abs(changes[:, :2][(changes[:, :2] != 0).all(axis=1)]))
    assert np.corrcoef(sizes.T)[0, 1] > 0.2


def test_a_mutation_that_changes_nothing_is_drawn_again():
    genes = [Gene("stuck", 1.0, 0.5, 1.0), Gene("fixed", 2.0, 0.0, 4.0, gain=0.0)]
    for seed in range(200):  # half of the draws would be clipped back, and most would mutate nothing
        value, fixed = mutate(rng(seed), genes, [1.0, 2.0], probability=0.1)
        assert 0.5 <= value < 1
        assert fixed == 2


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"values": [1.0]}, "values must be float"),
        ({"probability": 0.0}, "probability must lie in"),
        ({"sigma": 0.0}, "sigma must be above 0"),
        ({"values": np.zeros(6)}, "genes must have one that can change"),
        (
            {"genes": [dataclasses.replace(gene, gain=0.0) for gene in WIDE]},
            "genes must have one that can change",
        ),
    ],
)
def test_mutations_that_cannot_be_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        mutate(rng(), **({"genes": WIDE, "values": np.ones(6)} | how))


# Parents.


def test_parents_are_drawn_in_proportion_to_fitness_above_the_worst_of_the_best_five():
    scores = np.array([0.9, 0.1, 0.5, 0.7, 0.2, 0.6, 0.3, np.nan, -np.inf])
    sets = np.arange(9.0)[:, None]
    generator, count = rng(), 20000
    drawn = np.bincount([select_parents(generator, sets, scores)[1] for _ in range(count)], minlength=9)
    weights = np.array([0.6, 0, 0.2, 0.4, 0, 0.3, 0, 0, 0]) / 1.5  # above 0.3, the fifth best
    assert (drawn[weights == 0] == 0).all()
    used = weights > 0
    assert stats.chisquare(drawn[used], count * weights[used]).pvalue > 0.001
    mean, row = select_parents(generator, sets, scores, "mean")
    assert row == -1
    np.testing.assert_allclose(mean, weights @ np.arange(9.0))


def test_equally_fit_sets_are_equally_often_parents_and_a_lone_one_always():
    generator = rng()
    sets = np.arange(7.0)[:, None]
    drawn = np.bincount([select_parents(generator, sets, np.ones(7))[1] for _ in range(5000)], minlength=7)
    assert (drawn[5:] == 0).all()  # of equals the earliest five
    assert stats.chisquare(drawn[:5]).pvalue > 0.001
    assert select_parents(generator, sets, np.ones(7), "mean")[0][0] == 2
    assert select_parents(generator, sets[:1], [0.3])[1] == 0


def test_where_all_diverged_the_start_set_is_the_parent():
    assert select_parents(rng(), [[1.0], [2.0]], [np.nan, -np.inf])[1] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "n at least 1"),
        (([[1.0]], [1.0, 2.0]), "n at least 1"),
        (([[1.0]], [1.0], "best"), "mode must be one of draw, mean"),
        (([[1.0]], [1.0], "draw", 0), "best must be at least 1"),
    ],
)
def test_parents_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        select_parents(rng(), *arguments)


# Fitness.


def test_fitness_equals_scikit_learns_parts_weighed():
    generator = rng(4)
    labels = generator.integers(4, size=80)
    probs = generator.dirichlet(np.ones(4), size=80) + np.eye(4)[labels] * 0.2
    probs /= probs.sum(axis=1, keepdims=True)
    predicted = probs.argmax(axis=1)
    macro = {"average": "macro", "zero_division": 0}
    expected = (
        recall_score(labels, predicted, **macro),
        precision_score(labels, predicted, **macro),
        f1_score(labels, predicted, **macro),
        roc_auc_score(labels, probs, multi_class="ovr"),
    )
    found = measure(labels, probs)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert fitness(found) == pytest.approx(np.mean(expected))
    weights = Weights(1, 2, 3, 4)
    assert fitness(found, weights) == pytest.approx(np.dot(weights, expected))
    assert fitness(Parts(0.5, 0.5, 0.5, float("nan")), Weights(1, 0, 0, 0)) == 0.5
    assert np.isnan(fitness(Parts(0.5, 0.5, 0.5, float("nan"))))


def test_fitness_of_nonsense_is_refused():
    with pytest.raises(ValueError, match="finite"):
        measure([0, 1], [[np.nan, 1], [0, 1]])
    with pytest.raises(ValueError, match="got shapes"):
        measure([0, 1, 1], [[1, 0], [0, 1]])
    for weights in (Weights(0, 0, 0, 0), Weights(-1, 1, 1, 1), Weights(float("nan"), 1, 1, 1)):
        with pytest.raises(ValueError, match="weights must be at least 0 and not all 0"):
            fitness(Parts(0, 0, 0, 0), weights)


# The search.


def bowl(values, generation=0):
    """Highest, 0, where every gene is twice its start."""
    return -(np.log2(values / 2) ** 2).sum(axis=1)


@pytest.mark.parametrize("parents", ["draw", "mean"])
@pytest.mark.parametrize("population", [1, 3])
def test_a_search_climbs(population, parents):
    found = evolve(bowl, WIDE, 60, population=population, parents=parents, seed=1)
    assert len(found) == 1 + 60 * population
    np.testing.assert_array_equal(found.values[0], 1)
    assert found.fitness[found.best] > -2.5  # from -6
    assert (np.diff(found.running_best) >= 0).all()
    assert found.best == found.evolved
    if parents == "draw":
        moved = found.values[1:] / found.values[found.parent[1:]]
        assert ((moved >= 0.3 - 1e-12) & (moved <= 3 + 1e-12)).all()
    else:
        assert (found.parent[1:] == -1).all() or (found.parent[1:] == 0).any()


@pytest.mark.parametrize("population", [1, 3])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(population):
    whole = evolve(bowl, WIDE, 12, population=population, seed=5)
    for generations in (0, 1, 7):
        count = 1 + generations * population
        part = History(*(getattr(whole, field.name)[:count] for field in dataclasses.fields(History)))
        calls: list[int] = []

        def noted(values, generation, calls=calls):
            calls.append(generation)
            return bowl(values)

        again = evolve(noted, WIDE, 12, population=population, seed=5, history=part)
        assert calls == list(range(generations + 1, 13))
        for field in dataclasses.fields(History):
            np.testing.assert_array_equal(getattr(again, field.name), getattr(whole, field.name))


def test_the_seed_decides_and_the_callback_sees_every_generation():
    seen: list[int] = []
    first = evolve(bowl, WIDE, 5, seed=1, on_generation=lambda history: seen.append(len(history)))
    assert seen == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(first.values, evolve(bowl, WIDE, 5, seed=1).values)
    assert (first.values != evolve(bowl, WIDE, 5, seed=2).values).any()
    sets, rows = propose(WIDE, History.empty(6))
    assert sets.tolist() == [[1.0] * 6]
    assert rows.tolist() == [-1]


def test_sets_that_diverge_are_no_parents_and_never_the_best():
    def cliff(values, generation):
        return np.where(values[:, 0] > 1, np.nan, values[:, 0])

    found = evolve(cliff, WIDE, 30, population=2, seed=3)
    assert np.isnan(found.fitness).any()
    assert np.isfinite(found.fitness[found.parent[1:]]).all()
    assert np.isfinite(found.fitness[found.best])
    lost = evolve(lambda values, generation: np.full(len(values), -np.inf), WIDE, 3)
    assert lost.best == lost.evolved == 0
    assert (lost.parent[1:] == 0).all()


def test_what_is_no_search_is_refused():
    whole = evolve(bowl, WIDE, 4, population=2)

    def cut(rows):
        return History(*(getattr(whole, field.name)[rows] for field in dataclasses.fields(History)))

    for options, message in (
        ({"generations": -1}, "generations must be at least 0"),
        ({"population": 0}, "population must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"genes": []}, "genes must have names"),
        ({"genes": [WIDE[0], WIDE[0]]}, "genes must have names"),
        ({"history": cut(slice(0, 4))}, "whole generations of 2"),
        ({"history": cut([0, 2, 1])}, "whole generations of 2"),
        ({"history": whole, "generations": 3}, "at most 3 generations after the start set, got "),
        ({"history": dataclasses.replace(whole, parent=whole.parent + 9)}, "parent must be an earlier row"),
        ({"history": whole, "genes": WIDE[:2]}, "values has shape"),
        ({"fitness": lambda values, generation: np.zeros(3)}, "fitness must return float"),
    ):
        arguments = {"fitness": bowl, "genes": WIDE, "generations": 4, "population": 2} | options
        with pytest.raises(ValueError, match=message):
            evolve(**arguments)
