"""Presets: what they fill, what they leave, and that commands and Python agree."""

import dataclasses
import importlib

import pytest
from absl import flags

from skinjax.cli.commands import COMMANDS, command
from skinjax.cli.flags import define, read
from skinjax.studies import backbones, evolution, hierarchy, training
from skinjax.studies.steps import presets
from skinjax.train.method import Method
from skinjax.train.state import Recipe
from tests.support.commands import run_command

TRAINING = [
    one.name for one in COMMANDS if one.computes == "training" and one.name not in ("probe", "features")
]


def configured(study, *words):
    values = flags.FlagValues()
    define(study.Config, values)
    values(["command", *words])
    return read(study.Config, values)[0]


@pytest.mark.parametrize("preset", ["thesis", "quick", "laptop", "gpu"])
@pytest.mark.parametrize("name", TRAINING)
def test_commands_and_python_fill_the_same(name, preset, monkeypatch, tmp_path):
    module, found = importlib.import_module(command(name).module), []
    monkeypatch.setattr(module, "run", lambda *arguments: found.append(arguments[1]) or "done")
    run_command(name, f"--preset={preset}", "--seed=3", folder=tmp_path)
    assert found == [module.Config.of_preset(preset, seed=3)]


@pytest.mark.parametrize("study", [training, hierarchy])
def test_the_laptop_is_what_a_command_takes_and_trains_by_the_recipe_for_fine_tuning(study):
    config = configured(study)
    assert config == study.Config.of_preset("laptop")
    assert (config.backbone, config.pretrained) == ("efficientnet_lite0", "imagenet")
    assert (config.recipe(2000), config.method()) == (Recipe.finetune(2000), Method.finetune())


def test_the_thesis_is_what_a_configuration_of_python_has():
    for study in (training, hierarchy, evolution, backbones):
        assert study.Config.of_preset("thesis") == study.Config()
    assert configured(evolution) == evolution.Config()
    assert configured(training, "--preset=thesis").recipe(1000).learning_rate == 0.00465  # Table 4-1


def test_what_is_given_stays():
    config = configured(training, "--epochs=3", "--image_size=64", "--prior_adjustment=0")
    expected = training.Config.of_preset("laptop", epochs=3, image_size=64, prior_adjustment=0.0)
    assert config == expected
    assert (config.epochs, config.image_size, config.prior_adjustment) == (3, 64, 0.0)


def test_adamw_s_rate_grows_with_the_root_of_the_batch_and_sgd_keeps_its_own():
    rates = [configured(training, f"--batch_size={size}").learning_rate for size in (8, 32, 128)]
    assert rates == pytest.approx([0.0005, 0.001, 0.002])
    assert configured(training, "--learning_rate=0.01", "--batch_size=8").learning_rate == 0.01
    sgd = configured(training, "--optimizer=sgd")
    assert (sgd.learning_rate, sgd.momentum) == (0.00465, 0.951)


@pytest.mark.parametrize(("photos", "epochs", "burn_in"), [(80, 20, 4), (460, 15, 20), (6880, 10, 20)])
def test_epochs_and_burn_in_follow_the_photos(photos, epochs, burn_in):
    config = training.Config.of_preset("laptop")
    updates = epochs * (photos // 32)
    assert config.updates(config.epochs, photos) == updates
    assert config.settings(0, config.epochs, photos).epochs == epochs
    assert config.recipe(updates).burn_in == pytest.approx(burn_in)
    assert config.recipe(updates).burn_in <= updates / 10


def test_fewer_photos_than_a_batch_are_one_batch_but_for_the_thesis():
    assert training.Config.of_preset("laptop").updates(0, 20) == 20
    with pytest.raises(ValueError, match="batch_size must be at most 20, the photos to train on, got 32"):
        training.Config().updates(1, 20)


def test_the_thesis_has_no_number_of_epochs_of_its_own():
    with pytest.raises(ValueError, match=r"epochs=0 .* preset=thesis has none; give epochs=1 or more"):
        training.Config(epochs=0)


def test_smoke_is_of_no_preset_unless_one_is_typed():
    assert configured(training, "--smoke") == dataclasses.replace(training.Config(), smoke=True)
    assert configured(training, "--smoke", "--preset=quick").optimizer == "adamw"


def test_a_preset_leaves_what_a_study_has_no_use_for():
    assert configured(backbones, "--preset=laptop").backbone == ""
    assert evolution.Config.of_preset("laptop").test_time_augmentation == "none"


def test_every_filled_value_is_one_of_training():
    config = training.Config.of_preset("gpu").to_dict()
    filled = presets.values_of("gpu", {})
    assert filled.keys() - config.keys() == {
        "total_steps",
        "strengths",
    }  # of the recipe's form, not of the options
    assert all(config[name] == filled[name] for name in filled.keys() & config.keys())
