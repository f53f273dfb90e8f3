"""Whether an evolved set is better on other cases and seeds, and what the report says of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from skinjax.evaluate.training_runs import paired_by_case_and_run
from skinjax.evolve import evolve, fitness, measure
from skinjax.evolve.gain import MEASURES, Gain, compare_sets
from skinjax.report.sections.evolution import Evolution, answer, sections
from tests.evolve.test_evolve import WIDE, bowl


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# The gain.


def answers(generator, labels, cases, skill, spread):
    """Probabilities of one network: right to its own degree, in agreement within a case."""
    logits = generator.normal(size=(len(labels), 3)) + generator.normal(size=(len(labels), 3))[cases]
    logits[np.arange(len(labels)), labels] += skill + spread * generator.normal()
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def study(generator, gain, seeds=3, spread=0.3, cases=40, replicates=100):
    case = np.repeat(np.arange(cases), 2)
    labels = generator.integers(3, size=cases)[case]
    start, best = (
        np.stack([answers(generator, labels, case, 1 + more, spread) for _ in range(seeds)])
        for more in (0, gain)
    )
    return labels, start, best, case, compare_sets(labels, start, best, case, replicates=replicates)


def test_a_comparison_adds_the_noise_of_cases_and_of_seeds():
    labels, start, best, case, found = study(rng(7), gain=0.5)
    assert [gain.measure for gain in found] == list(MEASURES)
    accuracy = np.array([[(one.argmax(axis=1) == labels).mean() for one in kind] for kind in (start, best)])
    last = found[-1]
    assert last.start == pytest.approx(accuracy[0].mean())
    assert last.evolved_spread == pytest.approx(accuracy[1].std(ddof=1))
    assert last.difference == pytest.approx((accuracy[1] - accuracy[0]).mean())
    assert last.seed_sd == pytest.approx((accuracy[1] - accuracy[0]).std(ddof=1))
    scores = np.array([[fitness(measure(labels, one)) for one in kind] for kind in (start, best)])
    assert found[0].difference == pytest.approx((scores[1] - scores[0]).mean())
    by_hand = {
        "fitness": lambda labels, probs: fitness(measure(labels, probs)),
        "f1": lambda labels, probs: f1_score(labels, probs.argmax(axis=1), average="macro"),
        "auc": lambda labels, probs: roc_auc_score(labels, probs, multi_class="ovr"),
    }
    for gain in (gain for gain in found if gain.measure in by_hand):
        one = paired_by_case_and_run(by_hand[gain.measure], labels, list(best), list(start), case, 100)
        assert (gain.low, gain.high, gain.p_value) == pytest.approx(
            (one.low, one.high, one.p_value), rel=1e-6
        )
        assert gain.low < gain.difference < gain.high


def test_the_error_over_cases_is_that_of_independent_cases():
    # One photo a case and accuracy: the standard error of a mean of differences.
    generator = rng(8)
    labels = generator.integers(3, size=300)
    start, best = (np.eye(3)[generator.integers(3, size=(2, 300))] for _ in range(2))
    found = compare_sets(labels, start, best, np.arange(300), replicates=2000)[-1]
    hits = (best.argmax(axis=2) == labels) * 1.0 - (start.argmax(axis=2) == labels)
    of_one_seed = np.sqrt((hits.var(axis=1, ddof=1) / 300).mean())
    assert found.case_sd == pytest.approx(of_one_seed, rel=0.06)


@pytest.mark.slow
def test_where_nothing_differs_few_gains_are_called_real_and_a_great_one_is():
    generator = rng(9)
    verdicts = [study(generator, gain=0.0)[-1][0].verdict for _ in range(80)]
    assert verdicts.count("unclear") >= 70  # 4 of 80 at the nominal level; 10 or more have a chance of 0.8 %
    assert study(generator, gain=2.0, cases=80, seeds=4)[-1][0].verdict == "better"
    assert study(generator, gain=-2.0, cases=80, seeds=4)[-1][0].verdict == "worse"


def test_one_seed_or_one_case_gives_no_interval():
    one_seed = study(rng(1), gain=3.0, seeds=1)[-1][0]
    assert np.isnan([one_seed.low, one_seed.high, one_seed.p_value]).all()
    assert (one_seed.verdict, one_seed.reason) == ("unclear", "there is one seed")
    probs = np.stack([np.eye(2), np.eye(2)])
    one_case = compare_sets([0, 1], probs, probs, [5, 5])[0]
    assert np.isnan(one_case.low)
    assert "a single case" in one_case.reason
    with pytest.raises(ValueError, match="of one shape"):
        compare_sets([0, 1], probs, probs[:1], [0, 1])
    with pytest.raises(ValueError, match="evolved must hold finite numbers"):
        compare_sets([0, 1], probs, probs * np.nan, [0, 1])


# The report.


def found(difference: float, low: float, high: float, **other) -> Evolution:
    history = evolve(bowl, WIDE, 4, population=2, seed=1)
    history = dataclasses.replace(
        history, fitness=np.where(np.arange(9) == 5, np.nan, 0.5 + history.fitness / 100)
    )
    gains = [
        Gain(
            measure,
            0.5,
            0.5 + difference,
            0.01,
            0.02,
            difference,
            low,
            high,
            0.02,
            0.01,
            0.005,
            "" if low == low else "there is one seed",
        )
        for measure in MEASURES
    ]
    given = {
        "genes": WIDE, "history": history, "repeats": np.array([0.42, 0.46]), "gains": gains, "test_photos": 90,
        "test_cases": 40, "seeds": 3, "diverged": (0, 1), "searched": "small", "retrained": "large",
    }  # fmt: skip
    return Evolution(**(given | other))


def test_the_answer_says_whether_the_gain_is_real():
    assert answer(found(0.1, 0.02, 0.18))[0].startswith("The gain is real: on 90 photos of 40 cases")
    assert answer(found(-0.1, -0.18, -0.02))[0].startswith("The gain is not real; the evolved set is worse")
    assert "does not stand out from the noise" in answer(found(0.1, -0.02, 0.22))[0]
    unknown = found(0.1, np.nan, np.nan, seeds=1)
    assert answer(unknown)[0].endswith("from the start set’s, without an interval: there is one seed.")
    assert answer(found(np.nan, np.nan, np.nan))[0].endswith("fitness is not defined.")
    assert "nothing to compare" in answer(found(0, 0, 0, gains=()))[0]
    lost = dataclasses.replace(unknown.history, fitness=np.full(9, np.nan))
    assert (
        "No training of the search has a fitness: all diverged"
        in answer(found(0, 0, 0, gains=(), history=lost))[0]
    )


def test_on_cases_that_the_search_saw_no_gain_is_claimed():
    words = answer(found(0.1, 0.02, 0.18, unseen=False))[0]
    assert words.startswith(
        "Whether the gain is real on other cases is not known, as the search saw all of them."
    )
    assert "on 90 photos of 40 cases that the search saw too: this is optimistic" in words
    assert (
        "The gain is not real; the evolved set is worse: even on"
        in answer(found(-0.1, -0.18, -0.02, unseen=False))[0]
    )
    assert "does not stand out from the noise: even on" in answer(found(0.1, -0.02, 0.22, unseen=False))[0]
    page = sections(found(0.1, 0.02, 0.18, unseen=False, measured="on folds", drawn=True))
    assert page[0].title == "Trained again, on the same cases"
    assert "still by cases that happen to suit it" in page[0].blocks[1].words
    assert "Sets of one generation share folds and seeds" in page[1].blocks[0].picture.caption
    assert "Under 3 seeds, each with folds of its own, the start" in answer(found(0, 0, 0, drawn=True))[1]
    for section in page:
        assert "never saw" not in " ".join(block.words for block in section.blocks if block.kind == "text")


def test_the_answer_says_how_high_luck_alone_would_reach():
    evolution = found(0.1, 0.02, 0.18)
    start = evolution.history.fitness[0]
    values = np.array([start, 0.42, 0.46])
    assert evolution.noise == pytest.approx((values.mean(), values.std(ddof=1)))
    told = float(answer(evolution)[1].rsplit("expected at ", 1)[1].rstrip("."))
    # Eight sets were measured: the mean of the largest of eight, simulated.
    largest = rng().standard_normal((100_000, 8)).max(axis=1).mean()
    assert told == pytest.approx(values.mean() + largest * values.std(ddof=1), abs=0.001)


def test_the_sections_hold_what_was_found_and_draw_what_diverged():
    evolution = found(0.1, 0.02, 0.18)
    shown = {section.id: section for section in sections(evolution)}
    words = " ".join(
        block.words for section in shown.values() for block in section.blocks if block.kind == "text"
    )
    assert "of the evolved set’s 1" in words
    assert "The search itself trained small" in words
    panels = shown["genes_scatter"].blocks[0].picture.panels
    assert [panel.name for panel in panels] == [f"gene_{gene.name}" for gene in WIDE]
    assert len(sections(found(0, 0, 0, gains=()))) == 4
    lost = dataclasses.replace(evolution.history, fitness=np.full(9, np.nan))
    assert len(sections(found(0, 0, 0, gains=(), history=lost, repeats=np.zeros(0)))) == 4
