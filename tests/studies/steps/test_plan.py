"""The plan of a run: its tasks are the networks that are trained, and its advice is what would help."""

import dataclasses
import logging
import re

import numpy as np
import pytest
from scipy import optimize, special

from skinjax.runs.folder import RunFolder
from skinjax.studies import cross_dataset, hierarchy, malignancy, training, two_stage
from skinjax.studies.steps import course, crossed, networks, plan, reporting
from skinjax.studies.steps.course import Course
from skinjax.studies.steps.plan import Task
from skinjax.train import cost, losses
from skinjax.train.loop import Fitted
from tests.support.commands import run_small
from tests.support.small_photos import write_photos


class EnoughError(Exception):
    """All networks are trained."""


def enough(*_, **__):
    raise EnoughError


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "more", "end"),
    [
        (training, {}, (reporting, "report")),
        (training, {"columns": ("sex",)}, (reporting, "report")),
        (hierarchy, {"transfer_variants": ("random", "2")}, (reporting, "pool")),
        (two_stage, {}, (two_stage, "run_target")),
        (malignancy, {}, (reporting, "pool")),
        (cross_dataset, {}, (crossed, "report")),
    ],
)
def test_what_is_planned_is_what_is_trained(study, more, end, tmp_path, monkeypatch):
    planned, trained = [], []

    def announced(config, folder, sets, tasks):
        planned.extend(
            (task.photos, config.epochs_for(task.epochs, task.photos), task.classes) for task in tasks
        )
        return Course([1] * len(tasks))

    def train(self, network, variables, data, labels, train, held_out, title, epochs, **_):
        count = int(train.sum())
        trained.append((count, self.config.epochs_for(epochs, count), len(network.classes)))
        return Fitted(variables, [], answers(network, held_out.sum()))

    def answers(network, count):
        return np.zeros((int(count), len(network.classes)), np.float32)

    monkeypatch.setattr(plan, "announce", announced)
    monkeypatch.setattr(networks.Trainer, "train", train)
    monkeypatch.setattr(
        networks, "predict", lambda config, network, fitted, photos: answers(network, len(photos))
    )
    monkeypatch.setattr(*end, enough)
    config = study.Config(smoke=True, **more).shrunk(set(more))
    with pytest.raises(EnoughError):
        study.run(None, config, tmp_path)
    assert len(trained) > 0
    assert planned == trained


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, cases=4)
    return folder


def command(photos, workdir, *flags, code=0):
    places = [f"--manifest={photos / 'manifest.csv'}", f"--taxonomy={photos / 'taxonomy.csv'}"]
    small = [
        "--preset=laptop",
        "--backbone=small",
        "--pretrained=",
        "--image_size=32",
        "--noaudit",
        f"--workdir={workdir}",
    ]
    return run_small("train", *places, *small, *flags, code=code)


@pytest.mark.slow
def test_a_plan_is_printed_and_nothing_is_trained(photos, tmp_path):
    ended = command(photos, tmp_path, "--plan")
    assert not (tmp_path / "config.json").exists()
    assert not (tmp_path / "checkpoints").exists()
    text = (tmp_path / "plan.txt").read_text()
    assert text.strip() in ended.stdout
    assert "photos: 40 of 20 cases, 5 classes" in text
    assert re.search(r"network: 1 × 20 photos, 20 epochs, 20 updates, of which 2 \(10%\) are burn-in", text)
    assert re.search(r"memory: about \d\.\d GiB in the process", text)
    assert re.search(r"time: about \d+:\d\d for all networks, \d+ photos per second", text)
    assert "--epochs=100: 20 updates of a network are few; at least 100 are advised" in text
    assert "--preset=laptop: networks learn more" in text


@pytest.mark.slow
def test_a_network_that_learns_nothing_is_told_of_on_the_page_too(photos, tmp_path):
    ended = command(photos, tmp_path, "--epochs=1", "--learning_rate=0.0000001", "--final_learning_rate=0")
    told = "has learnt next to nothing"
    assert told in ended.stderr
    assert told in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_chance_is_the_loss_of_the_frequencies():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 1000, p=[0.7, 0.2, 0.1])
    shares = np.bincount(labels) / 1000
    by_hand = -np.mean(np.log(shares[labels]))  # of answering every photo so
    assert losses.is_chance(labels, by_hand)
    assert not losses.is_chance(labels, 0.9 * by_hand)
    assert not losses.is_chance(np.zeros(5, int), 0.0)  # one class has nothing to learn


@pytest.mark.parametrize("evenly", [False, True])
def test_chance_is_what_one_answer_to_all_photos_comes_to_under_weights(evenly):
    labels = np.repeat([0, 1, 3], [700, 200, 100])  # no photo of class 2
    weights = np.array([0.5, 1.0, 2.0, 4.0])
    drawn = np.repeat([0, 1, 3], 100) if evenly else labels

    def trained(logits):  # weighted cross-entropy of one answer to all photos
        return np.average(-special.log_softmax(np.append(logits, 0.0))[classes], weights=weights[drawn])

    classes = np.searchsorted([0, 1, 3], drawn)
    best = optimize.minimize(trained, np.zeros(2)).x
    by_hand = -special.log_softmax(np.append(best, 0.0))[classes].mean()
    assert losses.is_chance(labels, 0.975 * by_hand, weights, sampled_evenly=evenly)
    assert not losses.is_chance(labels, 0.965 * by_hand, weights, sampled_evenly=evenly)


def task(config):
    return Task("sub", 400, 100, config.epochs, 6, 128)


@pytest.mark.parametrize(
    ("config", "advice"),
    [
        (training.Config(epochs=10, burn_in=50), "--burn_in=12: 50 of 120 updates of burn-in"),
        (training.Config(epochs=5, burn_in=1), "--epochs=9: 60 updates of a network are few"),
        (training.Config(), "--prior_adjustment=0.5: the commonest class has 19 times"),
        (training.Config(), "--preset=laptop"),
    ],
)
def test_advice(config, advice):
    class Photos:
        synthetic = False

    class Data:
        photos = Photos()
        labels = np.repeat([0, 1], [380, 20])

    found = plan._advice(config, [Data()], [task(config)])
    assert sum(line.startswith(advice) for line in found) == 1
    laptop = training.Config.of_preset("laptop")
    assert plan._advice(laptop, [Data()], [task(laptop)]) == []


def test_a_step_that_does_not_fit_is_told_with_what_makes_it_fit(monkeypatch, caplog):
    monkeypatch.setattr(cost, "available_memory", lambda: 2**30)
    with caplog.at_level(logging.WARNING):
        (line,) = plan._too_large(training.Config(), 3 * 2**30)
    assert line.startswith(
        "--accumulate=4, or a smaller --image_size: a step takes about 3.0 GiB, and 1.0 GiB are"
    )
    assert line in caplog.text
    assert plan._too_large(training.Config(), 2**29) == []
    monkeypatch.setattr(cost, "available_memory", lambda: None)
    assert plan._too_large(training.Config(), 2**40) == []


def test_a_long_run_is_told_of_a_shorter_one():
    (line,) = plan._too_long(hierarchy.Config.of_preset("laptop"), 4 * 3600)
    assert line.startswith("--preset=quick")
    assert "--fold=0" in line
    assert plan._too_long(hierarchy.Config.of_preset("laptop"), 3600) == []


def test_the_time_of_all_networks_counts_those_that_are_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(course.time, "monotonic", lambda: now[0])
    way = Course([1000, 1000, 500])
    assert way.begin("fold 1") == "fold 1 (1 of 3)"
    now[0] = 60  # of compilation
    assert way.update(100) == ""
    now[0] = 70
    assert way.update(200) == "3:50 left for all"  # 10 photos per second, 2,300 to come
    way.end(1000)
    way.begin("fold 2")
    way.update(10)
    now[0] = 80
    speed = (900 + 100) / (10 + 10)  # `end` is at the time of the last update
    assert way.update(110) == f"{course.clock((1390) / speed)} left for all"
    assert Course([10]).begin("one") == "one"


def test_remarks_are_kept_once(tmp_path):
    with RunFolder.open(tmp_path, "training", training.Config()) as folder:
        for text in ("a", "b", "a"):
            folder.remark(text)
        assert folder.remarks == ("a", "b")


@pytest.mark.slow
def test_memory_grows_with_photos_and_falls_with_parts():
    from skinjax.models.registry import create, spec
    from skinjax.train.method import Method

    nano = create("efficientnet_nano", 3), spec("efficientnet_nano")
    one, four = (cost.step_bytes(*nano, Method(), batch, 64) for batch in (8, 32))
    assert 2 < four / one < 4.01
    assert cost.step_bytes(*nano, dataclasses.replace(Method(), accumulate=4), 32, 64) == one


@pytest.mark.slow
def test_memory_is_what_xla_says_to_a_third():
    import jax
    import jax.numpy as jnp

    from skinjax.models.registry import create, spec, variable_shapes
    from skinjax.train.method import Method
    from skinjax.train.state import Recipe, create_state
    from skinjax.train.step import compiled_train_step, make_optimizer

    model, row = create("efficientnet_nano", 3), spec("efficientnet_nano")
    optimizer = make_optimizer(Recipe(), Method())
    state = jax.eval_shape(
        lambda variables: create_state(variables, optimizer, 0), variable_shapes(model, row)
    )
    batch = {
        "image": jax.ShapeDtypeStruct((64, 96, 96, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((64,), jnp.int32),
    }
    recipe = jax.tree.map(jnp.float32, Recipe())
    step = compiled_train_step(model, row, Method())
    lowered = step.lower(state, batch, recipe, jnp.ones(3))
    quickly = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    found = lowered.compile(quickly).memory_analysis()  # buffers are assigned before code is optimised
    assert cost.step_bytes(model, row, Method(), 64, 96) == pytest.approx(found.temp_size_in_bytes, rel=0.35)
