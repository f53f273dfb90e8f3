"""Candidates trained together: as each alone, apart from its neighbours, in one compilation."""

from __future__ import annotations

import logging
import re

import jax
import numpy as np
import pytest

from skinjax.augment import DEFAULT_STRENGTHS
from skinjax.models import registry
from skinjax.train.loop import Settings, fit
from skinjax.train.method import Method
from skinjax.train.population import Population, default_at_once, train_population
from skinjax.train.state import Recipe
from tests.support.fitting import Coloured, small

pytestmark = pytest.mark.slow
SPEC = registry.spec("efficientnet_nano")
MODEL = small()
WAYS = ["one", "vmap", "devices"]
RECIPES = [
    Recipe(learning_rate=0.02, momentum=0.9, burn_in=2.0),
    Recipe(learning_rate=0.05, momentum=0.6, burn_in=1.0, weight_decay=0.01),
    Recipe(
        learning_rate=0.01,
        momentum=0.8,
        burn_in=3.0,
        strengths=DEFAULT_STRENGTHS._replace(rotation=40.0, hsv_s=0.1),
    ),
]
DIVERGES = Recipe(learning_rate=1e30, momentum=0.9, burn_in=1.0)
METHOD = Method(average_decay=0.5, label_smoothing=0.013)  # one that no other test compiles
PHOTOS = Coloured(50, 0).subset(), Coloured(19, 1).subset()


def settings(**other) -> Settings:
    return Settings(**{"epochs": 2, "batch_size": 16, "seed": 3, "method": METHOD} | other)


@pytest.fixture(scope="module")
def variables():
    return registry.init_variables(MODEL, jax.random.key(0))


def population(variables, recipes, how=None, **options) -> Population:
    return train_population(MODEL, SPEC, variables, *PHOTOS, recipes, how or settings(), **options)


class Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage() + "\n"


@pytest.fixture(scope="module")
def trained(variables) -> dict[str, tuple[list[Population], list[str]]]:
    """By way: three generations, of one, three and three candidates, and what was compiled for them."""
    found = {}
    for way in WAYS:
        messages = Messages()
        logging.getLogger("jax").addHandler(messages)
        with jax.log_compiles():
            generations = [
                population(variables, recipes, at_once=way, slots=3)
                for recipes in (RECIPES[:1], RECIPES, [RECIPES[0], DIVERGES, RECIPES[1]])
            ]
        logging.getLogger("jax").removeHandler(messages)
        found[way] = generations, re.findall(r"Finished XLA compilation of jit\((\w+)\)", messages.text)
    return found


def test_a_candidate_is_what_fit_trains(variables, trained, tmp_path):
    (alone, among, _), _ = trained["one"]
    for number, recipe in enumerate(RECIPES):
        fitted = fit(MODEL, SPEC, variables, *PHOTOS, recipe, settings(), tmp_path / str(number))
        np.testing.assert_allclose(among.logits[number], fitted.logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(alone.logits[0], among.logits[0])
    assert np.abs(among.logits[0] - among.logits[1]).max() > 0.01  # the recipes matter


@pytest.mark.parametrize("way", WAYS)
def test_a_candidate_alone_equals_the_same_one_among_others(trained, way):
    (alone, among, _), _ = trained[way]
    expected = trained["one"][0][1].logits
    np.testing.assert_allclose(alone.logits, expected[:1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(among.logits, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(among.diverged, 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_candidate_that_diverges_leaves_its_neighbours_alone(trained, way):
    mixed = trained[way][0][2]
    assert mixed.diverged[1] > 0
    np.testing.assert_array_equal(mixed.diverged[[0, 2]], 0)
    assert np.isnan(mixed.logits[1]).all()
    np.testing.assert_allclose(mixed.logits[[0, 2]], trained["one"][0][1].logits[:2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_one_compilation_serves_all_candidates_and_generations(trained, way):
    compiled = trained[way][1]
    assert len([name for name in compiled if "train_step" in name]) == 1, compiled
    assert compiled.count("predict") == 1, compiled
    assert compiled.count("start") <= 1, compiled


def test_where_all_diverge_training_ends_and_says_so(variables, trained):
    seen = []
    lost = population(variables, [DIVERGES], on_step=lambda done, total: seen.append((done, total)))
    assert 0 < lost.diverged[0] <= 6
    assert {total for _, total in seen} == {6}
    assert np.isnan(lost.logits).all()


def test_the_way_follows_the_platform():
    assert default_at_once(1) == "one"
    assert default_at_once(4) == "one"  # on a CPU


@pytest.mark.parametrize(
    ("recipes", "how", "options", "message"),
    [
        ([], settings(), {}, "recipes must hold one at least"),
        (RECIPES, settings(choose_by="auc"), {}, "choose_by is auc"),
        (RECIPES, settings(prior_adjustment=0.5), {}, "prior_adjustment must be 0 in a population, got 0.5"),
        (RECIPES, settings(method=Method(accumulate=3)), {}, "accumulate's 3 parts"),
        (RECIPES, settings(epochs=0), {}, "epochs must be at least 1, got 0"),
        (RECIPES, settings(), {"at_once": "pmap"}, "at_once must be one of one, vmap, devices"),
    ],
)
def test_what_a_population_cannot_do_is_refused(variables, recipes, how, options, message):
    with pytest.raises(ValueError, match=message):
        population(variables, recipes, how, **options)
