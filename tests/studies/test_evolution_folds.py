"""Evolution as the thesis has it: each generation draws folds, and fitness is the mean of the results on them."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from absl import flags as absl_flags
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from skinjax.cli.flags import define, read
from skinjax.cli.launch import STOPPED_CODE
from skinjax.evolve import evolve, table_4_1
from skinjax.studies import evolution
from skinjax.studies.steps import candidates, search_cases
from skinjax.train.loop import StoppedError
from tests.support.both_ways import TINY, assert_evaluated, flags_of
from tests.support.commands import REPOSITORY, run_small
from tests.support.small_photos import write_photos

THESIS = {"folds": 3, "search_folds": 2, "search_fraction": 1}
TRAINED = {"generations": 2, "population": 2, "repeats": 1, "retrain_seeds": 2, "replicates": 100}


# Folds.


def drawn(count: int, iterations: int = 3000, stage: str = "search", seed: int = 0) -> list[tuple[int, ...]]:
    config = evolution.Config(folds=5, search_folds=count, seed=seed)
    return [search_cases.folds_of(config, stage, number) for number in range(iterations)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_folds_of_an_iteration_differ_and_all_choices_are_equally_likely(count):
    found = drawn(count)
    choices = list(itertools.combinations(range(5), count))
    assert set(found) == set(choices)
    assert stats.chisquare([found.count(choice) for choice in choices]).pvalue > 0.001
    # Each iteration anew: what the last one drew says nothing of the next one.
    table = np.zeros((len(choices), len(choices)))
    for last, this in itertools.pairwise(found):
        table[choices.index(last), choices.index(this)] += 1
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_an_iteration_draws_the_same_folds_again_and_seeds_and_repeats_draw_others():
    assert drawn(2, 50) == drawn(2, 50)
    assert drawn(2, 50) != drawn(2, 50, seed=1)
    assert drawn(2, 50) != drawn(2, 50, stage="repeat")
    assert set(drawn(5, 20)) == {(0, 1, 2, 3, 4)}


@pytest.mark.parametrize(("fold", "held"), [(-1, 0), (3, 3)])
def test_without_draws_one_fold_is_held_out_throughout(fold, held):
    config = evolution.Config(fold=fold)
    assert {search_cases.folds_of(config, "search", number) for number in range(50)} == {(held,)}


def test_more_folds_than_there_are_cannot_be_drawn():
    with pytest.raises(ValueError, match="search_folds must be at most folds=5, got 6"):
        evolution.Config(search_folds=6)


def test_the_flagfile_holds_the_thesiss_protocol():
    values = absl_flags.FlagValues()
    define(evolution.Config, values)
    path = REPOSITORY / "experiments" / "flagfiles" / "evolve.flags"
    lines = path.read_text(encoding="utf-8").splitlines()
    values(["evolve", *(line for line in lines if line[:2] == "--" and not line.startswith("--workdir="))])
    config, _ = read(evolution.Config, values)
    protocol = {
        "search_folds": 2, "folds": 5, "search_fraction": 1, "search_backbone": "efficientnet_b3",
        "backbone": "efficientnet_b6", "generations": 50, "mutation_probability": 0.9, "mutation_sigma": 0.2,
        "shared_factor": False, "epochs": 20,
    }  # fmt: skip
    assert {name: getattr(config, name) for name in protocol} == protocol
    genes = table_4_1()
    assert {gene.name: getattr(config, gene.name) for gene in genes} == {
        gene.name: gene.start for gene in genes
    }
    assert inspect.signature(evolve).parameters["best"].default == 5
    assert search_cases.protocol(config) == (
        "as the mean over 2 of 5 folds of all cases, drawn at random for each generation"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "on one fold of a share of 0.2 of the cases"),
        (
            {"search_folds": 1},
            "on one of 5 folds of a share of 0.2 of the cases, drawn at random for each generation",
        ),
        ({"search_folds": 5, "search_fraction": 1}, "as the mean over all 5 folds of all cases"),
    ],
)
def test_the_protocol_is_told_in_words(options, words):
    assert search_cases.protocol(evolution.Config(**options)) == words


@dataclasses.dataclass
class Photos:
    """As much of prepared photos as a division needs: three classes, 60 cases of two photos."""

    cases = np.repeat(np.arange(60), 2)
    labels = cases % 3
    labels_by_name = np.array(["a", "b", "c"])[labels]
    frame = pd.DataFrame({"image": [f"{i}.png" for i in range(120)]})


@pytest.mark.parametrize("share", [0.5, 1])
@pytest.mark.parametrize("search_folds", [0, 2])
def test_all_cases_are_searched_or_the_others_are_never_seen(share, search_folds):
    config = evolution.Config(search_fraction=share, search_folds=search_folds, burn_in=1, fold=1)
    division = search_cases.divide(config, Photos())  # type: ignore[arg-type]
    seen = {fold: set(Photos.cases[division.search_fold == fold]) for fold in range(-1, 5)}
    folds = [seen[fold] for fold in range(5)]
    assert sum(map(len, folds)) == len(set().union(*folds)) == 60 * share
    assert {len(fold) for fold in folds} == {60 * share / 5}
    again = set(Photos.cases[division.train]), set(Photos.cases[division.test])
    assert not again[0] & again[1]
    assert again[0] | again[1] == (seen[-1] if share < 1 else set(range(60)))
    if share == 1:
        assert again[1] == folds[1]
    for fold in range(5):
        train, held_out = division.search_masks(fold)
        assert set(Photos.cases[held_out]) == folds[fold]
        assert set(Photos.cases[train]) == set().union(*folds) - folds[fold]
    assert not division.notes


# The study.


class Trained:
    """Stands before the training of candidates and keeps what it was asked and what it answered."""

    def __init__(self, stop_in: int = 0) -> None:
        self.calls, self.stop_in, self.train = [], stop_in, candidates.train_population

    def __call__(self, model, spec, variables, train, held_out, recipes, settings, **more):
        if len(self.calls) + 1 == self.stop_in:
            raise StoppedError("stopped in the middle of a generation")
        found = self.train(model, spec, variables, train, held_out, recipes, settings, **more)
        self.calls.append((train, held_out, found, settings))
        return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "mine"
    frame = write_photos(folder, 9)
    frame.drop(columns="split").to_csv(folder / "manifest.csv", index=False)
    return folder


def flags(photos: Path, workdir: Path, **more) -> list[str]:
    files = [f"--{name}={photos / name}.csv" for name in ("manifest", "taxonomy")]
    return [*files, f"--workdir={workdir}", "--compilation_cache=", *flags_of(TINY | THESIS | TRAINED | more)]


def search(photos: Path, workdir: Path, stop_in: int = 0, **more) -> Trained:
    trained = Trained(stop_in)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "train_population", trained)
        run_small("evolve", *flags(photos, workdir, **more), code=STOPPED_CODE if stop_in else 0)
    return trained


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory) -> tuple[Path, Trained]:
    workdir = tmp_path_factory.mktemp("thesis") / "run"
    return workdir, search(photos, workdir)


def by_scikit_learn(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Returns recall, precision, F1 and AUC, all of the mean over classes."""
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, probs.argmax(axis=1), average="macro", zero_division=0
    )
    area = np.mean([roc_auc_score(labels == k, probs[:, k]) for k in np.unique(labels)])
    return np.array([recall, precision, f1, area])


@pytest.mark.slow
def test_fitness_is_the_mean_of_the_results_on_the_folds_that_the_generation_drew(finished):
    workdir, trained = finished
    frame = pd.read_csv(workdir / "evolution.csv")
    assert list(frame["generation"]) == [0, 1, 1, 2, 2]
    config = evolution.Config(**THESIS)
    calls = iter(trained.calls)
    for generation, rows in frame.groupby("generation"):
        folds = search_cases.folds_of(config, "search", int(generation))
        assert (rows[["fold_1", "fold_2"]].to_numpy() == folds).all()
        parts = []
        for k in (1, 2):
            _, held_out, population, _ = next(calls)
            probs = np.asarray(jax.nn.softmax(population.logits, axis=-1))
            parts.append([by_scikit_learn(held_out.labels, one) for one in probs])
            np.testing.assert_allclose(rows[f"fitness_{k}"], np.mean(parts[-1], axis=1), rtol=1e-9)
        measured = rows[["recall", "precision", "f1", "auc"]].to_numpy()
        np.testing.assert_allclose(measured, np.mean(parts, axis=0), rtol=1e-9)
        np.testing.assert_allclose(rows["fitness"], np.mean(parts, axis=(0, 2)), rtol=1e-9)
    repeat = pd.read_csv(workdir / "repeats.csv")
    assert tuple(repeat[["fold_1", "fold_2"]].iloc[0]) == search_cases.folds_of(config, "repeat", 0)
    assert repeat["fitness"][0] == pytest.approx(repeat[["fitness_1", "fitness_2"]].iloc[0].mean())


@pytest.mark.slow
def test_a_set_is_trained_on_all_other_folds_under_the_seed_of_the_fold(finished, photos):
    workdir, trained = finished
    manifest = pd.read_csv(photos / "manifest.csv")
    frame = pd.read_csv(workdir / "evolution.csv").drop_duplicates("generation")
    order = frame[["fold_1", "fold_2"]].to_numpy().ravel()
    held, seeds = {}, {}
    for fold, (train, held_out, _, settings) in zip(order, trained.calls, strict=False):
        assert sorted([*train.indices, *held_out.indices]) == list(range(len(manifest)))
        assert not set(manifest["case_id"][train.indices]) & set(manifest["case_id"][held_out.indices])
        assert held.setdefault(fold, tuple(held_out.indices)) == tuple(held_out.indices)
        assert seeds.setdefault(fold, settings.seed) == settings.seed
    assert len(set(seeds.values())) == len(set(held.values())) == len(seeds) > 1


@pytest.mark.slow
@pytest.mark.parametrize("stop_in", [2, 6])
def test_a_search_that_is_stopped_between_the_folds_of_a_generation_goes_on_to_the_same_bits(
    finished, photos, tmp_path, stop_in
):
    whole, workdir = finished[0], tmp_path / "stopped"
    search(photos, workdir, stop_in)
    assert not (workdir / "evolved.flags").exists()
    again = search(photos, workdir)
    assert len(again.calls) == len(finished[1].calls) - 2 * ((stop_in - 1) // 2)
    for name in ("evolution.csv", "repeats.csv"):
        tables = [
            pd.read_csv(folder / name, dtype=str).drop(columns="seconds") for folder in (workdir, whole)
        ]
        pd.testing.assert_frame_equal(*tables)
    for name in ("evolved.flags", "report/tables/retraining.csv"):
        assert (workdir / name).read_text() == (whole / name).read_text()


@pytest.mark.slow
def test_the_page_claims_no_gain_on_cases_that_chose_the_set(finished, tmp_path):
    workdir = finished[0]
    page = (workdir / "report" / "index.html").read_text(encoding="utf-8")
    answer = re.search(r'<p class="answer">(.*?)</p>', page)
    assert answer is not None
    assert "cases that the search saw too" in answer[1]
    assert "The gain is real" not in page
    assert "never saw" not in page
    assert "measured as the mean over 2 of 3 folds of all cases, drawn at random for each generation" in page
    assert "Trained again, on the same cases" in page
    header = (workdir / "evolved.flags").read_text()
    assert "# as the mean over 2 of 3 folds of all cases, drawn at random for each generation.\n" in header
    assert (
        "gain holds on other cases cannot be distinguished from that run, whose search saw all cases.\n"
        in header
    )
    assert_evaluated(workdir, tmp_path / "evaluation")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["vmap", "devices"])
def test_candidates_that_are_trained_at_once_are_measured_on_the_same_folds(finished, photos, tmp_path, way):
    search(photos, tmp_path / way, at_once=way, generations=1, repeats=0, retrain_seeds=1)
    found, one = (pd.read_csv(folder / "evolution.csv")[:3] for folder in (tmp_path / way, finished[0]))
    exact = ["generation", "candidate", "fold_1", "fold_2", *(gene.name for gene in table_4_1())]
    pd.testing.assert_frame_equal(found[exact], one[exact])
    np.testing.assert_allclose(found["auc"], one["auc"], atol=2e-3)
    np.testing.assert_allclose(found["fitness"], found[["fitness_1", "fitness_2"]].mean(axis=1), rtol=1e-12)


@pytest.mark.slow
def test_a_run_of_before_folds_could_be_drawn_goes_on_as_it_began(photos, tmp_path):
    """`config.json` of such a run lacks the option, and `evolution.csv` the columns of folds."""
    workdir, former = tmp_path / "run", {"search_folds": 0, "search_fraction": 0.5, "generations": 1}
    search(photos, workdir, **former)
    columns = ["generation", "candidate", "parent", *(gene.name for gene in table_4_1())]
    measured = ["recall", "precision", "f1", "auc", "fitness", "seconds"]
    table = pd.read_csv(workdir / "evolution.csv", dtype=str)
    assert list(table.columns) == [*columns, *measured]
    path = workdir / "config.json"
    text, count = re.subn(r'\n\s*"search_folds": 0,', "", path.read_text())
    assert count == 1
    path.write_text(text)
    for name in ("report", "predictions"):
        shutil.rmtree(workdir / name)
    again = search(photos, workdir, **former)
    assert len(again.calls) == 2  # both sets together, under either seed: nothing of the search
    pd.testing.assert_frame_equal(pd.read_csv(workdir / "evolution.csv", dtype=str), table)
