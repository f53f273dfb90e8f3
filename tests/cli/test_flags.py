"""Flags and configurations: one for one, with every name that there ever was."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import re
from pathlib import Path
from typing import ClassVar

import pytest
from absl import flags

from skinjax.cli.commands import COMMANDS, Command, command
from skinjax.cli.flags import as_flags, define, explain, help_of, read, typed
from skinjax.runs.options import Options, details, group_of, option, option_types
from tests.support.commands import REPOSITORY

command_line = importlib.import_module("skinjax.cli.main")  # the package names its function alike
BY_NAME = pytest.mark.parametrize("name", [one.name for one in COMMANDS])
RUN = "compilation_cache seed smoke traceback workdir "
PHOTOS = RUN + (
    "audit dataset fit image_size manifest max_bad_fraction prepared source synthetic_cases taxonomy threads "
)
TRAINING = PHOTOS + (
    "accumulate average_decay backbone batch_norm batch_norm_momentum batch_size burn_in checkpoint_seconds choose_by "
    "class_balance clip_norm coordinator cutout cutout_size decay decay_all drop_path_rate epochs evaluate_every "
    "final_learning_rate flip_horizontal flip_vertical focal_gamma frozen_blocks hsv_h hsv_s hsv_v label_smoothing "
    "layer_decay learning_rate learning_rate_decay loss momentum optimizer parallel patience precision pretrained "
    "process_index processes rotation scale shear test_time_augmentation translation validation_fraction weight_decay "
    "workers "
)
# Flags that command lines and flagfiles of users have.
FORMER = {
    "audit": PHOTOS,
    "preview": PHOTOS + "hsv_h preset rotation shown versions",
    "prepare_data": PHOTOS,
    "train": TRAINING + "fold folds",
    "benchmark_backbones": TRAINING + "backbones parts readers target",
    "psoriasis": TRAINING + "draw_epochs draws foreign foreign_map leave_out parts readers relatives strategy target",
    "hierarchy": TRAINING + "fold folds meta_epochs meta_level transfer_blocks transfer_variants",
    "evolve": TRAINING + (
        "at_once fitness_weights fold folds generations mutation_probability mutation_sigma parents population repeats "
        "replicates retrain_seeds search_backbone search_fraction shared_factor"
    ),
    "malignancy": TRAINING + "cost degrees fold folds readers",
    "features": PHOTOS + "backbone batch_size out precision pretrained",
    "probe": PHOTOS + (
        "backbone batch_size columns features folds inner_folds meta_level precision pretrained prior_adjustment"
    ),
    "cross_dataset": TRAINING + (
        "equal_size fold folds other_dataset other_manifest other_source other_taxonomy shared_taxonomy"
    ),
    "evaluate": RUN + (
        "coarse_level confidence degrees out predictions readers replicates subgroups target taxonomy"
    ),
    "reader_kit": RUN + (
        "dataset longest_side manifest out per_case photo_root photos plan_correlation plan_difference plan_pilot "
        "plan_power plan_reader_sd plan_readers plan_sensitivity predictions question source target taxonomy"
    ),
    "predict": RUN + (
        "answered batch_size check_explanations coverage degrees explain explain_class explain_layer explain_level "
        "fold grade_rule map out photos stages threads unusual"
    ),
    "export": RUN + "answered coverage degrees ensemble fold format grade_rule largest_set licence out stages unusual",
    "app": "compilation_cache degrees ensemble fold host keep neighbours port smoke traceback workdir",
}  # fmt: skip


def configs(name: str) -> list[type[Options]]:
    """The configuration of a command's study and that of its start."""
    chosen = command(name)
    return [importlib.import_module(chosen.module).Config, command_line._launch(chosen)]


def defined(name: str) -> flags.FlagValues:
    chosen = command(name)
    return command_line._defined(importlib.import_module(chosen.module), command_line._launch(chosen))


def parsed(config: type[Options], *words: str) -> tuple[Options, frozenset[str]]:
    values = flags.FlagValues()
    define(config, values)
    assert values(["command", *words]) == ["command"]
    return read(config, values)


@BY_NAME
def test_every_flag_is_an_option_and_every_option_a_flag(name):
    study, start = configs(name)
    options = [field.name for config in (study, start) for field in dataclasses.fields(config)]
    assert len(options) == len(set(options))
    assert set(defined(name)) == set(options)


@BY_NAME
def test_every_flag_that_there_was_is_still_there(name):
    assert set(FORMER[name].split()) <= set(defined(name))


@BY_NAME
def test_type_default_choices_and_help_are_the_configurations(name):
    values = defined(name)
    study, _ = configs(name)
    defaults = study.of_preset(study.command_preset) if hasattr(study, "command_preset") else study()
    parsers = {int: "int", float: "float", bool: "bool", str: "string"}
    for config in configs(name):
        for field in dataclasses.fields(config):
            flag, kind, known = (
                values[field.name],
                option_types(config)[field.name],
                details(config, field.name),
            )
            assert flag.help.endswith(known.help)
            assert known.help.endswith(".")
            assert known.help[0].isupper() or known.help.startswith("host:port")
            if kind.many:
                assert flag.flag_type() == "comma separated list of strings"
                assert flag.default is None or [kind.kind(text) for text in flag.default] == list(
                    field.default
                )
            else:
                assert flag.default == (getattr(defaults, field.name) if config is study else field.default)
                assert flag.flag_type() == ("string enum" if kind.choices else parsers[kind.kind])
            if kind.choices:
                assert tuple(flag.parser.enum_values) == kind.choices


@BY_NAME
def test_no_flag_given_makes_the_default_configuration(name):
    for config in configs(name):
        found, given = parsed(config)
        if hasattr(config, "command_preset"):
            assert found == config.of_preset(config.command_preset)
            found, given = parsed(config, "--preset=thesis")
            given -= {"preset"}
        expanded = {"compilation_cache": os.path.expanduser("~/.cache/skinjax")}
        assert found == (
            dataclasses.replace(config(), **expanded) if config is not configs(name)[0] else config()
        )
        assert given == frozenset()


@BY_NAME
def test_numbers_beyond_their_range_are_refused(name):
    for config in configs(name):
        for option_name, kind in option_types(config).items():
            known = details(config, option_name)
            if kind.many or kind.kind not in (int, float):
                continue
            assert known.low is not None, option_name
            for end, step in ((known.low, -1), (known.high, 1)):
                if end is not None:
                    with pytest.raises(ValueError, match=rf"^{option_name} must be (at least|between) "):
                        config(**{option_name: kind.kind(end + step)})
                    assert refusal(config, option_name, kind.kind(end)) is None


def refusal(config: type[Options], name: str, value: float) -> str | None:
    """Why a value is out of its range; None where it is not, though other rules of the study may refuse it."""
    try:
        config(**{name: value})
    except ValueError as error:
        return str(error) if re.match(rf"{name} must be (at least|between) ", str(error)) else None
    return None


@pytest.mark.parametrize(
    "preset", sorted((REPOSITORY / "experiments" / "flagfiles").glob("*.flags")), ids=lambda p: p.stem
)
def test_every_preset_makes_a_configuration_that_its_json_makes_again(preset):
    name = preset.stem if preset.stem in FORMER else "hierarchy"
    study, _ = configs(name)
    values = defined(name)
    assert values([name, f"--flagfile={preset}"]) == [name]
    config, given = read(study, values)
    lines = [line.strip() for line in preset.read_text(encoding="utf-8").splitlines()]
    written = dict(
        line.removeprefix("--").split("=") if "=" in line else (line.removeprefix("--no"), "")
        for line in lines
        if line.startswith("--")
    )
    assert written
    assert given == set(written) - {"workdir"}
    for option_name in given:
        kind, value = option_types(study)[option_name], getattr(config, option_name)
        texts = written[option_name].split(",") if kind.many else [written[option_name]]
        assert [kind.kind(text) for text in texts] == (list(value) if kind.many else [value])
    assert study.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_flagfile_is_overridden_by_what_follows_it(tmp_path):
    (tmp_path / "mine.flags").write_text("# mine\n\n--epochs=7\n--noaudit\n--backbones=a,b\n")
    study, _ = configs("benchmark_backbones")
    found, given = parsed(
        study, f"--flagfile={tmp_path / 'mine.flags'}", "--epochs", "9", "--undefok=nothing"
    )
    assert (found.epochs, found.audit, found.backbones) == (9, False, ("a", "b"))
    assert given == {"epochs", "audit", "backbones"}


def test_what_is_typed_is_told_from_what_a_flagfile_says(tmp_path):
    (tmp_path / "mine.flags").write_text("--epochs=7\n--noaudit\n")
    (tmp_path / "outer.flags").write_text(f"--seed=3\n--flagfile={tmp_path / 'mine.flags'}\n")
    words = ["--smoke", f"--flagfile={tmp_path / 'outer.flags'}", "--folds", "5", "--backbone=--flagfile"]
    study, _ = configs("hierarchy")
    found, given = parsed(study, *words)
    assert (found.epochs, found.audit, found.seed) == (7, False, 3)
    assert given == {"smoke", "epochs", "audit", "seed", "folds", "backbone"}
    assert typed(words, defined("hierarchy")) == {"smoke", "folds", "backbone"}
    tiny = found.shrunk({"folds"})
    assert (tiny.epochs, tiny.folds, tiny.seed) == (2, 5, 3)
    assert tiny.backbone == details(study, "backbone").smoke == "efficientnet_nano"
    changed = {
        field.name
        for field in dataclasses.fields(study)
        if getattr(tiny, field.name) != getattr(found, field.name)
    }
    with_smoke = {
        field.name for field in dataclasses.fields(study) if details(study, field.name).smoke is not None
    }
    assert changed <= with_smoke


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample(Options):
    group: ClassVar[str] = "this study"

    place: str = option("", "A place.", path=True)
    plain: str = option("~", "No place.")
    shares: tuple[float, ...] = option((0.5, 2.0), "Shares.")
    names: tuple[str, ...] | None = option(None, "Names.")
    count: int | None = option(None, "How many.", low=1)
    sure: bool | None = option(None, "Whether.")


def test_texts_become_values(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    found, given = parsed(Sample, "--place=~/x", "--plain=~/x", "--shares=1,0.25", "--names=a,b", "--nosure")
    expected = Sample(
        place="/somewhere/x", plain="~/x", shares=(1.0, 0.25), names=("a", "b"), count=None, sure=False
    )
    assert found == expected
    assert given == {"place", "plain", "shares", "names", "sure"}
    assert parsed(Sample, "--names=")[0].names == ()


def test_what_holds_a_comma_stands_in_double_quotes(tmp_path):
    place = tmp_path / "a, b,c.csv"
    place.touch()
    found, _ = parsed(Sample, f'--names="{place}","Melanoma, NOS",nevus')
    assert found.names == (str(place), "Melanoma, NOS", "nevus")
    for value in (str(place), f"x,{place}", f"model={place}"):
        with pytest.raises(
            ValueError, match=r"^names=.*a, b,c\.csv holds a comma, so that it must stand in double"
        ):
            parsed(Sample, f"--names={value}")
    (tmp_path / "a").touch()
    assert parsed(Sample, f"--names={tmp_path / 'a'}, b,c.csv")[0].names == (
        str(tmp_path / "a"),
        "b",
        "c.csv",
    )


@pytest.mark.parametrize("hint", ["dict[str, int]", "list[str]", "bytes", "int | str"])
def test_an_option_of_another_type_is_refused(hint):
    wrong = dataclasses.make_dataclass(
        "Wrong", [("odd", eval(hint), option(None, "Odd."))], bases=(Options,), frozen=True, kw_only=True
    )
    with pytest.raises((TypeError, ValueError)):
        define(wrong, flags.FlagValues())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": "3"}, "count must be a whole number, got '3'"),
        ({"count": True}, "count must be a whole number, got True"),
        ({"shares": "1,2"}, "shares must be a sequence of values, got '1,2'"),
        ({"shares": ("a",)}, "shares must be a finite number, got 'a'"),
        ({"plain": 3}, "plain must be a text, got 3"),
        ({"sure": 1}, "sure must be True or False, got 1"),
        ({"plain": None}, "plain must be a text, got None"),
    ],
)
def test_a_value_of_another_type_is_refused(values, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Sample(**values)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--count=x", "--count must be a whole number, got 'x'"),
        ("--sure=a: b", "--sure must be True or False, got 'a: b'"),
        ("--cuont=3", "there is no flag --cuont; did you mean --count?"),
        ("--zzz", "there is no flag --zzz"),
        ("--flagfile=/nowhere.flags", "Unable to open flagfile: [Errno 2] No such file or directory: '/nowhere.flags'"),
        ("--count", "Missing value for flag --count"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_explained_in_the_words_of_the_configuration(word, message):
    values = flags.FlagValues()
    define(Sample, values)
    with pytest.raises(flags.Error) as caught:
        values(["command", word])
    assert explain(caught.value, [Sample]) == message


def test_messages_name_flags_and_leave_other_words():
    names = {"out", "fold", "folds", "photos"}
    assert as_flags("fold=3 and out=a/fold=3", names) == "--fold=3 and --out=a/fold=3"
    assert as_flags("photos must be files; the photos must be readable", names) == (
        "--photos must be files; the photos must be readable"
    )
    assert as_flags("--fold=3 is set", names) == "--fold=3 is set"
    assert as_flags("nothing=1", set()) == "nothing=1"


@BY_NAME
def test_help_has_every_flag_once_under_its_group(name):
    shown = help_of(configs(name), defined(name))
    heading, found = "", {}
    for line in shown.splitlines():
        if line and not line.startswith(" "):
            heading = line.removesuffix(":")
        elif line.startswith("  --"):
            flag = line.split()[0].removeprefix("--").removeprefix("[no]")
            assert flag not in found
            found[flag] = heading
    expected = {
        option_name: group_of(config, option_name)
        for config in configs(name)
        for option_name in option_types(config)
    }
    assert found == expected


def test_every_command_is_a_study_and_has_a_script():
    from skinjax.studies import STUDIES

    assert sorted(one.study for one in COMMANDS) == sorted(STUDIES)
    scripts = {path.stem for path in (REPOSITORY / "experiments").glob("*.py")} - {"__init__"}
    assert scripts == {one.name for one in COMMANDS} == set(FORMER)
    for one in COMMANDS:
        assert isinstance(one, Command)
        assert command(one.name) is command(one.study) is command(one.name.replace("_", "-")) is one
        text = Path(REPOSITORY / "experiments" / f"{one.name}.py").read_text(encoding="utf-8")
        assert f'script("{one.name}")' in text
        assert len(text.splitlines()) <= 80
