"""Configurations: what they take, refuse, keep in files and call another run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest

from skinjax.runs.options import Options, details, group_of, option, option_types
from skinjax.studies import training


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling(Options):
    group: ClassVar[str] = "sampling"

    draws: int = option(8, "Balanced draws.", low=2, smoke=3)
    share: float = option(0.5, "Share of the photos.", low=0, high=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Sampling):
    group: ClassVar[str] = "this study"

    name: str = option("", "A name.")
    place: str = option("", "A folder.", path=True, free=True)
    whole: bool = option(True, "Whether all of it.", smoke=False)
    decay: Literal["", "l2", "decoupled"] = option("l2", "A choice.")
    seed: int | None = option(None, "A seed, or none.", low=0)
    rate: float = option(0.1, "Any number.")
    parts: tuple[float, ...] = option((6.0, 2.0, 1.0), "Some numbers.", low=0, smoke=(2.0, 1.0, 1.0))
    starts: tuple[str, ...] | None = option(None, "Some texts, or none.")


def test_defaults_are_those_of_the_fields_and_names_those_of_the_groups():
    config = Config()
    assert config == Config(draws=8, share=0.5, parts=(6.0, 2.0, 1.0), starts=None)
    assert list(config.to_dict()) == [
        "draws", "share", "name", "place", "whole", "decay", "seed", "rate", "parts", "starts",
    ]  # fmt: skip
    assert group_of(Config, "draws") == "sampling"
    assert group_of(Config, "rate") == "this study"
    with pytest.raises(ValueError, match="name must be an option of Config, got 'nosuch'"):
        group_of(Config, "nosuch")
    assert details(Config, "share").help == "Share of the photos."
    assert details(Config, "seed").low == 0


def test_a_configuration_cannot_be_changed_or_given_an_option_that_it_has_not():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().draws = 3
    with pytest.raises(TypeError, match="nosuch"):
        Config(nosuch=1)
    with pytest.raises(TypeError):
        Config(8)  # by name alone


def test_types_are_read_from_the_annotations():
    types = option_types(Config)
    assert (types["draws"].kind, types["draws"].many, types["draws"].optional) == (int, False, False)
    assert types["decay"].choices == ("", "l2", "decoupled")
    assert (types["seed"].kind, types["seed"].optional) == (int, True)
    assert (types["starts"].kind, types["starts"].many, types["starts"].optional) == (str, True, True)


def test_an_option_of_a_type_that_no_flag_has_is_refused():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Odd(Options):
        table: dict = option(None, "A table.")

    with pytest.raises(TypeError, match="must be of a plain type"):
        option_types(Odd)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"draws": np.int64(3)}, {"draws": 3}),
        ({"share": 1}, {"share": 1.0}),
        ({"share": np.float32(0.25)}, {"share": 0.25}),
        ({"rate": "0.5"}, {"rate": 0.5}),
        ({"parts": [1, "2", np.float64(3)]}, {"parts": (1.0, 2.0, 3.0)}),
        ({"parts": ()}, {"parts": ()}),
        ({"place": Path("a") / "b"}, {"place": str(Path("a") / "b")}),
        ({"starts": ["x"]}, {"starts": ("x",)}),
        ({"seed": None}, {"seed": None}),
    ],
)
def test_values_are_kept_in_the_form_of_their_type(given, stored):
    config = Config(**given)
    for name, value in stored.items():
        found = getattr(config, name)
        assert found == value
        assert type(found) is type(value)
    hash(config)  # nothing in it can change


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"draws": 1}, "draws must be at least 2, got 1"),
        ({"draws": 2.5}, "draws must be a whole number, got 2.5"),
        ({"draws": 3.0}, "draws must be a whole number, got 3.0"),
        ({"draws": "3"}, "draws must be a whole number, got '3'"),
        ({"draws": True}, "draws must be a whole number, got True"),
        ({"draws": None}, "draws must be a whole number, got None"),
        ({"share": 1.25}, "share must be between 0 and 1, got 1.25"),
        ({"share": -0.1}, "share must be between 0 and 1, got -0.1"),
        ({"share": "much"}, "share must be a finite number, got 'much'"),
        ({"share": True}, "share must be a finite number, got True"),
        ({"rate": float("inf")}, "rate must be a finite number, got inf"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"name": 3}, "name must be a text, got 3"),
        ({"name": Path("a")}, "name must be a text, got "),
        ({"whole": 1}, "whole must be True or False, got 1"),
        ({"whole": "no"}, "whole must be True or False, got 'no'"),
        ({"decay": "L2"}, r"decay must be one of \(empty\), l2, decoupled, got 'L2'"),
        ({"parts": "6,2,1"}, "parts must be a sequence of values, got '6,2,1'"),
        ({"parts": 6.0}, "parts must be a sequence of values, got 6.0"),
        ({"parts": (1, -1)}, "parts must be at least 0, got -1"),
        ({"parts": None}, "parts must be a sequence of values, got None"),
        ({"starts": [1]}, "starts must be a text, got 1"),
    ],
)
def test_values_out_of_range_or_of_another_type_are_refused_by_name(given, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Config(**given)


@pytest.mark.parametrize("name", ["share", "rate", "parts"])
@pytest.mark.parametrize("text", [float("nan"), np.float32("nan"), "nan", "NaN"])
def test_what_is_not_a_number_is_refused_in_a_range_and_without_one(name, text):
    with pytest.raises(ValueError, match=rf"(?i)^{name} must be a finite number, got .*nan\b"):
        Config(**{name: (1.0, text) if name == "parts" else text})


def test_a_file_gives_the_same_configuration_again():
    config = Config(draws=3, place="a/b", parts=(1, 2), starts=("all", "random"), seed=5, rate=1e-5)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert Config.from_dict(json.loads(json.dumps(Config().to_dict()))) == Config()


def test_what_former_versions_wrote_is_read():
    """Their lists of numbers are texts; they know options that are gone, and lack those that came later."""
    config = Config.from_dict({"parts": ["6", "2", "0.5"], "replicates": 50, "share": 1})
    assert config == Config(parts=(6.0, 2.0, 0.5), share=1.0)
    with pytest.raises(ValueError, match="parts must be a finite number, got 'two'"):
        Config.from_dict({"parts": ["6", "two"]})


@pytest.mark.parametrize("key", ["config", "flags"])
def test_the_config_json_of_a_run_gives_its_configuration_again(tmp_path, key):
    config = Config(draws=3, parts=(1, 2), starts=("all",))
    document = {key: config.to_dict(), "data_fingerprint": "x", "photos": 8}
    document["study" if key == "config" else "experiment"] = "toy"
    (tmp_path / "config.json").write_text(json.dumps(document))
    assert Config.from_json(tmp_path) == Config.from_json(tmp_path / "config.json") == config


def test_the_config_json_of_another_study_is_refused(tmp_path):
    document = {"config": {}, "study": "hierarchy", "data_fingerprint": "x"}
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="must hold a run of training, but holds one of hierarchy"):
        training.Config.from_json(tmp_path)


def test_a_file_that_is_no_configuration_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"path must be the config\.json of a run or its folder, got "):
        Config.from_json(tmp_path)
    for text in ("{", "[]", "3", '{"x": 1}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"config\.json is not the configuration of a run"):
            Config.from_json(tmp_path)


def test_shrinking_leaves_alone_what_was_given_and_what_has_no_small_value():
    tiny = Config(draws=20, rate=7.0).shrunk()
    assert tiny == Config(draws=3, whole=False, parts=(2.0, 1.0, 1.0), rate=7.0)
    assert Config(draws=20).shrunk({"draws", "parts"}) == Config(draws=20, whole=False)


def test_differences_name_both_values_and_pass_over_what_no_result_depends_on():
    now = Config(draws=3, parts=(1.0, 2.5), rate=0.25, starts=("a", "b"), place="here")
    assert now.differences(Config(place="there")) == [
        "draws=3, was 8", "rate=0.25, was 0.1", "parts=1,2.5, was 6,2,1", "starts=a,b, was None",
    ]  # fmt: skip
    assert now.differences(now) == []


def test_an_option_that_the_other_run_did_not_have_counts_as_its_default():
    assert Config(draws=8, rate=0.2).differences(Sampling()) == ["rate=0.2, was 0.1"]
    assert Config().differences(Sampling(draws=9)) == ["draws=8, was 9"]
