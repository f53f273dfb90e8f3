"""The training step and loop: what changes, what must not, and that devices, folds and kills change nothing."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from sklearn.metrics import f1_score, log_loss

from skinjax.augment import NO_AUGMENTATION
from skinjax.data.pipeline.loader import Subset
from skinjax.models import registry
from skinjax.models.pixels import normalize
from skinjax.predict.load import load_run
from skinjax.runs.folder import RunFolder
from skinjax.runs.metrics import MetricsLog
from skinjax.runs.networks import Network
from skinjax.runs.options import Options
from skinjax.train import checkpoints as checkpoints_module
from skinjax.train import loop
from skinjax.train.checkpoints import Checkpoints, Record
from skinjax.train.loop import Settings, StoppedError, TrainingError, fit, predict_logits
from skinjax.train.method import Method
from skinjax.train.parallel import Parallel
from skinjax.train.state import Recipe, create_state
from skinjax.train.step import compiled_train_step, make_optimizer, rate_factors
from tests.support import small_backbones
from tests.support.small_backbones import SMALL, build

pytestmark = pytest.mark.slow
CLASSES = ("red", "green", "blue")
SETTINGS = Settings(epochs=2, batch_size=8, seed=1, checkpoint_seconds=0)
PLAIN = Method()
RECIPE = Recipe(learning_rate=0.05, momentum=0.9, burn_in=2, strengths=NO_AUGMENTATION)


def coloured(count: int, seed: int = 0) -> Subset:
    """Photos of which the strongest channel is the class."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 3).astype(np.int32)
    images = rng.integers(0, 120, (count, 32, 32, 3), dtype=np.uint8)
    images[np.arange(count), :, :, labels] += 100
    return Subset([{"image": image} for image in images], np.arange(count), labels)


@pytest.fixture(scope="module", autouse=True)
def backbones():
    with small_backbones.registered():
        yield


@pytest.fixture(scope="module")
def network() -> Network:
    return Network("sub", 0, "small", "class", CLASSES, 32)


@pytest.fixture(scope="module")
def model(network):
    return network.model()


@pytest.fixture(scope="module")
def variables(model):
    return registry.init_variables(model, jax.random.key(0))


@pytest.fixture(scope="module")
def small():
    """A network that compiles in a second, and its variables."""
    model = build(SMALL, 3, bn_momentum=SMALL.bn_momentum, axis_name=None, dtype=jnp.float32)
    return model, model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


@pytest.fixture(scope="module")
def fitted(network, model, variables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    return fit(model, network.spec, variables, coloured(26), coloured(11, 1), RECIPE, SETTINGS, folder)


def test_history_equals_scikit_learn_on_the_logits(fitted):
    labels = coloured(11, 1).labels
    last = fitted.history[-1]
    assert (last["epoch"], last["split"], last["photos"]) == (2, "test", 11)
    assert last["accuracy"] == pytest.approx(np.mean(fitted.logits.argmax(1) == labels))
    assert last["macro_f1"] == pytest.approx(
        f1_score(labels, fitted.logits.argmax(1), average="macro", zero_division=0)
    )
    probabilities = np.asarray(jax.nn.softmax(fitted.logits), float)
    assert last["loss"] == pytest.approx(
        log_loss(labels, probabilities / probabilities.sum(1, keepdims=True)), rel=1e-5
    )
    assert fitted.history[0]["photos"] == 24  # three full batches of eight


def test_a_run_stopped_after_each_epoch_ends_with_the_same_bits(network, model, variables, fitted, tmp_path):
    class StoppedError(Exception):
        pass

    def stop_at(epoch: int):
        def on_epoch(history, new):
            if new and new[0]["epoch"] == epoch:
                raise StoppedError

        return on_epoch

    arguments = (model, network.spec, variables, coloured(26), coloured(11, 1), RECIPE, SETTINGS, tmp_path)
    for epoch in (1, 2):
        with pytest.raises(StoppedError):
            fit(*arguments, on_epoch=stop_at(epoch))
    resumed = fit(*arguments)
    np.testing.assert_array_equal(resumed.logits, fitted.logits)
    for left, right in zip(
        jax.tree.leaves(resumed.variables), jax.tree.leaves(fitted.variables), strict=True
    ):
        np.testing.assert_array_equal(left, right)
    without_time = [[{**row, "seconds": 0} for row in run.history] for run in (resumed, fitted)]
    assert without_time[0] == without_time[1]
    again = fit(*arguments)  # finished: nothing is trained, all of it is still known
    np.testing.assert_array_equal(again.logits, fitted.logits)


def test_one_compilation_serves_every_recipe_and_fold(model, network, variables, tmp_path):
    step = compiled_train_step(model, network.spec)
    assert step is compiled_train_step(network.model(), registry.spec(network.backbone))
    before = step._cache_size()
    for number, rate in enumerate((0.01, 0.02)):
        recipe = RECIPE._replace(learning_rate=rate)
        fit(
            model,
            network.spec,
            variables,
            coloured(16),
            coloured(9),
            recipe,
            SETTINGS,
            tmp_path / str(number),
        )
    assert step._cache_size() - before <= 1


def one_step(model, spec, variables, devices: int, method: Method = PLAIN, **changes):
    parallel = Parallel(device_count=devices)
    subset = coloured(16)
    batch = {"image": np.stack([subset[i]["image"] for i in range(16)]), "label": subset.labels}
    recipe = jax.tree.map(jnp.float32, RECIPE._replace(**changes))
    optimizer = make_optimizer(recipe, method, rate_factors(variables["params"], spec, method))
    state = create_state(variables, optimizer, 3, averaged=method.average_decay > 0)
    step = compiled_train_step(model, spec, method, parallel)
    state, loss = step(
        parallel.place_state(state),
        parallel.place_batch(batch),
        parallel.place(recipe),
        parallel.place(jnp.ones(3)),
    )
    assert np.isfinite(float(loss))
    return state


def test_two_devices_make_the_same_update_as_one_with_global_batch_norm(network, variables):
    """Parameters and BatchNorm statistics agree to the rounding of sums taken in another order."""
    if jax.device_count() < 2:
        pytest.skip("one device only")
    model = registry.create(network.backbone, 3, dropout_rate=0.0)
    one, two = (one_step(model, network.spec, variables, devices) for devices in (1, 2))
    for left, right in zip(jax.tree.leaves(one.batch_stats), jax.tree.leaves(two.batch_stats), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)
    for left, right in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5)
    assert int(one.totals.correct) == int(two.totals.correct)


def test_every_parameter_moves_and_the_key_does_not(network, model, variables):
    after = one_step(model, network.spec, variables, 1)
    still = [
        jax.tree_util.keystr(path)
        for (path, new), old in zip(
            jax.tree_util.tree_leaves_with_path(after.params),
            jax.tree.leaves(variables["params"]),
            strict=True,
        )
        if np.array_equal(new, old)
    ]
    assert still == []
    assert int(after.step) == 1
    np.testing.assert_array_equal(after.key, create_state(variables, make_optimizer(RECIPE), 3).key)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_photos(network, model, variables, tmp_path):
    recipe = RECIPE._replace(
        learning_rate=1e30, burn_in=1
    )  # the second update sees weights that are infinite
    with pytest.raises(TrainingError, match=r"the loss of update [23] is (nan|inf)") as caught:
        fit(model, network.spec, variables, coloured(16), coloured(9), recipe, SETTINGS, tmp_path)
    assert len(caught.value.photos) == 8
    assert set(caught.value.photos) <= set(range(16))


def test_asked_to_stop_it_saves_and_goes_on_from_there(network, model, variables, fitted, tmp_path):
    arguments = (model, network.spec, variables, coloured(26), coloured(11, 1), RECIPE)
    settings = dataclasses.replace(SETTINGS, checkpoint_seconds=1000)
    with pytest.raises(StoppedError, match="stopped after update 4 of 6"):
        fit(*arguments, settings, tmp_path, should_stop=lambda update: update == 4)
    seen = []
    resumed = fit(*arguments, settings, tmp_path, on_step=lambda done, total, note: seen.append((done, note)))
    assert seen[0] == (4 * 8, "resumed")
    np.testing.assert_array_equal(resumed.logits, fitted.logits)


def test_checkpoints_are_written_and_free_memory_is_given_back_before_the_next_update(
    network, model, variables, fitted, monkeypatch, tmp_path
):
    told, steps = [], []
    monkeypatch.setattr(loop, "GIVING_BACK", ())
    monkeypatch.setattr(Checkpoints, "is_due", lambda self, update: update in (2, 5))
    monkeypatch.setattr(
        loop,
        "give_back_free_memory",
        lambda: told.append((len(steps), sorted(path.name for path in tmp_path.iterdir()))),
    )
    arguments = (model, network.spec, variables, coloured(26), coloured(11, 1), RECIPE)
    again = fit(*arguments, SETTINGS, tmp_path, on_step=lambda done, *_: steps.append(done))
    # The first call tells where training begins, the others come after the update.
    assert told == [(2, ["2"]), (5, ["2", "5"]), (6, ["5", "6"])]
    np.testing.assert_array_equal(again.logits, fitted.logits)


def test_accumulated_gradients_equal_those_of_the_parts_by_hand(small):
    """Without BatchNorm's momentum in the way: the update of two parts is the mean of the gradients of each."""
    model, variables = small
    whole = one_step(model, SMALL, variables, 1, Method(accumulate=2), weight_decay=0.0, momentum=0.0)
    subset = coloured(16)
    images = jnp.asarray(np.stack([subset[i]["image"] for i in range(16)]))
    labels = jnp.asarray(subset.labels)

    def loss(params, stats, rows):
        logits, changes = model.apply(
            {"params": params, "batch_stats": stats},
            normalize(images[rows], SMALL),
            train=True,
            mutable=["batch_stats"],
        )
        chosen = jax.nn.log_softmax(logits)[np.arange(8), labels[rows]]
        return -chosen.mean(), changes["batch_stats"]

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    first, stats = gradient(variables["params"], variables["batch_stats"], np.arange(0, 16, 2))
    second, stats = gradient(variables["params"], stats, np.arange(1, 16, 2))
    rate = 0.05 * (1 / 2) ** 4  # the first of two batches of warm-up
    expected = jax.tree.map(lambda p, a, b: p - rate * (a + b) / 2, variables["params"], first, second)
    for left, right in zip(jax.tree.leaves(whole.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=2e-6)
    for left, right in zip(jax.tree.leaves(whole.batch_stats), jax.tree.leaves(stats), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=2e-6)


def test_averages_are_kept_and_predicted_with(small):
    model, variables = small
    after = one_step(model, SMALL, variables, 1, Method(average_decay=0.9))
    kept = 1 / 10  # of the first update, by the warm-up of the average
    expected = jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, variables["params"], after.params)
    for left, right in zip(
        jax.tree.leaves(after.variables["params"]), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-7)


def test_frozen_blocks_stay_and_the_rest_moves(network, model, variables):
    after = one_step(model, network.spec, variables, 1, Method(frozen_blocks=1))
    moved = {
        name: any(
            not np.array_equal(new, old)
            for new, old in zip(
                jax.tree.leaves(layer), jax.tree.leaves(variables["params"][name]), strict=True
            )
        )
        for name, layer in after.params.items()
    }
    frozen = {*SMALL.stem, SMALL.block_names[0]}
    assert {name for name, did in moved.items() if not did} == frozen


def test_the_best_epoch_by_the_validation_photos_is_taken_and_waiting_ends(
    network, model, variables, tmp_path
):
    settings = dataclasses.replace(SETTINGS, epochs=12, choose_by="loss", patience=2)
    recipe = RECIPE._replace(learning_rate=0.6, burn_in=1)  # too high, so that the loss goes up and down
    validation = coloured(12, 5)
    fitted = fit(
        model, network.spec, variables, coloured(26), coloured(11, 1), recipe, settings, tmp_path,
        validation=validation,
    )  # fmt: skip
    losses = {row["epoch"]: row["loss"] for row in fitted.history if row["split"] == "validation"}
    best = min(losses, key=losses.get)
    assert (fitted.best.epoch, fitted.best.step) == (best, best * 3)
    assert max(losses) == min(12, best + 2)
    logits = predict_logits(model, network.spec, fitted.variables, validation, 8)
    chosen = jax.nn.log_softmax(logits)[np.arange(12), validation.labels]
    assert -float(chosen.mean()) == pytest.approx(losses[best], rel=1e-4)
    again = fit(
        model, network.spec, variables, coloured(26), coloured(11, 1), recipe, settings, tmp_path,
        validation=validation,
    )  # fmt: skip
    np.testing.assert_array_equal(again.logits, fitted.logits)


def test_patience_counts_epochs_and_not_evaluations(small, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=12, choose_by="loss", patience=3, evaluate_every=2)
    # Nothing moves, so the first evaluation stays the best.
    recipe = RECIPE._replace(learning_rate=1e-30, final_learning_rate=1e-30, weight_decay=0.0)
    model = build(SMALL, 3, bn_momentum=1.0, axis_name=None, dtype=jnp.float32)
    validation = coloured(12, 5)
    fitted = fit(
        model, SMALL, small[1], coloured(16), coloured(9), recipe, settings, tmp_path, validation=validation
    )
    assert fitted.best.epoch == 2
    assert fitted.history[-1]["epoch"] == 6  # the first evaluation that is 3 epochs later, or more


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 64}, "batch_size must be at most 16, the photos to train on, got 64"),
        ({"batch_size": 7}, "batch_size must be a multiple of the 2 devices, got 7"),
        ({"method": Method(accumulate=3)}, "batch_size 8 does not divide into accumulate's 3 parts"),
        ({"choose_by": "loss"}, "choose_by is loss, but there are no validation photos"),
        ({"patience": -1}, "patience must be at least 0, got -1"),
        ({"patience": 3}, "patience is 3, but choose_by names no metric"),
    ],
)
def test_settings_out_of_range_are_told(network, model, variables, tmp_path, changes, message):
    settings = dataclasses.replace(SETTINGS, **changes)
    with pytest.raises(ValueError, match=message):
        fit(model, network.spec, variables, coloured(16), coloured(9), RECIPE, settings, tmp_path)


def test_class_weights_and_sampling_change_what_is_learnt(network, model, variables, tmp_path):
    uneven = coloured(30)
    uneven = Subset(
        uneven.source, uneven.indices, np.where(np.arange(30) < 24, 0, uneven.labels).astype(np.int32)
    )
    results = {}
    for balance in ("none", "weights", "effective", "sampling"):
        settings = dataclasses.replace(SETTINGS, class_balance=balance)
        arguments = (variables, uneven, coloured(9), RECIPE, settings, tmp_path / balance)
        results[balance] = fit(model, network.spec, *arguments).logits
    share = {name: np.asarray(jax.nn.softmax(logits))[:, 0].mean() for name, logits in results.items()}
    assert share["weights"] < share["none"] - 0.02
    assert share["effective"] < share["none"] - 0.02
    assert share["sampling"] < share["none"] - 0.02


def test_the_weights_of_classes_are_in_the_logits_of_the_trained_network(small, tmp_path):
    model, variables = small
    many = coloured(30)
    train = dataclasses.replace(many, indices=many.indices[:22], labels=np.minimum(many.labels[:22], 1))
    held_out, fits = coloured(9, 1), []
    for share in (0.0, 0.5):
        settings = dataclasses.replace(SETTINGS, prior_adjustment=share)
        fits.append(fit(model, SMALL, variables, train, held_out, RECIPE, settings, tmp_path / str(share)))
    weights = [0.5 + 0.5 * 22 / (2 * 8), 0.5 + 0.5 * 22 / (2 * 14), 1]  # no photo of the third class
    np.testing.assert_allclose(fits[1].logits, fits[0].logits + np.log(weights), atol=1e-5)
    again = predict_logits(model, SMALL, fits[1].variables, held_out, 4)
    np.testing.assert_allclose(again, fits[1].logits, atol=1e-5)
    kernels = [fitted.variables["params"]["head"]["kernel"] for fitted in fits]
    np.testing.assert_array_equal(*kernels)


def test_predictions_do_not_depend_on_the_batch(network, model, variables):
    subset = coloured(11)
    whole = predict_logits(model, network.spec, variables, subset, 11)
    np.testing.assert_allclose(
        predict_logits(model, network.spec, variables, subset, 4), whole, rtol=1e-4, atol=1e-5
    )


def test_a_saved_network_is_loaded_as_it_was(network, model, variables, tmp_path):
    from skinjax.labels.taxonomy import Taxonomy

    taxonomy = Taxonomy("colours", ("class",), tuple((c,) for c in CLASSES))
    with RunFolder.open(tmp_path, "training", Options()) as folder:
        folder.begin(Options(), "made up", taxonomy, [])
        folder.write_network(network)
        checkpoints = folder.checkpoints(network)
    held_out = coloured(9, 2)
    arguments = (variables, coloured(16), held_out, RECIPE, SETTINGS, checkpoints)
    logits = fit(model, network.spec, *arguments).logits
    run = load_run(tmp_path)
    assert run.network == network
    assert run.taxonomy.classes("class") == CLASSES
    images = np.stack([held_out[i]["image"] for i in range(9)])
    np.testing.assert_allclose(run.predict_fn(images), jax.nn.softmax(logits), rtol=1e-4, atol=1e-6)
    with pytest.raises(FileNotFoundError, match=r"meta\.json is missing"):
        load_run(tmp_path, stage="meta")


def test_the_metrics_file_is_whole_whatever_order_networks_come_in(tmp_path):
    row = {"epoch": 1, "split": "train", "loss": 1.0, "accuracy": 0.5, "learning_rate": 0.1, "photos": 8}
    with MetricsLog(tmp_path) as log:
        log.record("sub", 0, [row], [row])
        log.record("sub", 0, [row, row], [row])
        log.record("meta", 0, [row, {**row, "epoch": 2}], [row])
    MetricsLog(tmp_path).record("sub", 0, [row], [])  # another process, resuming
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines[0].startswith("stage,fold,epoch,split,loss")
    assert sorted(line.split(",")[:3] for line in lines[1:]) == [
        ["meta", "0", "1"],
        ["meta", "0", "2"],
        ["sub", "0", "1"],
    ]
    events = list((tmp_path / "tensorboard" / "fold_0" / "sub").glob("events*"))
    assert len(events) == 1
    assert b"train/loss" in events[0].read_bytes()


@pytest.mark.parametrize(
    ("error", "reason"),
    [("No space left on device (os error 28)", "no space is left on the device"), ("", "RuntimeError")],
)
def test_a_checkpoint_that_cannot_be_written_is_told(
    network, model, variables, monkeypatch, tmp_path, error, reason
):
    def fail(self):
        raise RuntimeError(error)

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, create_state(variables, make_optimizer(RECIPE, PLAIN), seed=0), Record())
        with monkeypatch.context() as patched:
            patched.setattr(ocp.CheckpointManager, "wait_until_finished", fail)
            with pytest.raises(OSError, match=f"a checkpoint could not be written, {reason}; those"):
                checkpoints.wait()


def test_the_age_of_a_checkpoint_counts_from_when_it_is_written(variables, monkeypatch, tmp_path):
    now = [0.0]
    monkeypatch.setattr(checkpoints_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with Checkpoints(tmp_path, seconds=10) as checkpoints:
        now[0] = 12.0
        assert checkpoints.is_due(1)
        checkpoints.save(1, create_state(variables, make_optimizer(RECIPE, PLAIN), seed=0), Record())
        now[0] = 24.0  # as long as all of it took to write
        checkpoints.wait()
        assert not checkpoints.is_due(2)
        now[0] = 35.0
        assert checkpoints.is_due(2)
