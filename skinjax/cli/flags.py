"""Flags from configurations: each option is a flag, and a flag that is no option cannot exist."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from absl import flags

from skinjax.cli.guesses import meant_flag
from skinjax.runs.options import Options, OptionType, details, group_of, option_types

Config = TypeVar("Config", bound=Options)
# Of the headings of --help; others come last.
_ORDER = (
    "this study", "running", "photos", "network and training", "columns beside the photos", "optimiser and loss",
    "hyper-parameters (Table 4-1 of the thesis)",
    "flips and Cutout (not in Table 4-1; values are ours)", "devices and processes",
)  # fmt: skip

_COMMAS = "Put a name with a comma in double quotes: '\"Melanoma, NOS\",nevus'."


def define(config: type[Options], values: flags.FlagValues) -> None:
    """Defines a flag for every option of a configuration.

    Args:
      config: The configuration.
      values: Where the flags are defined.
    """
    defaults = _defaults(config)
    for name, kind in option_types(config).items():
        known = details(config, name)
        _define(name, getattr(defaults, name), kind, known.help, group_of(config, name), values)


def read(config: type[Config], values: flags.FlagValues) -> tuple[Config, frozenset[str]]:
    """Makes a configuration of the values of its flags.

    Args:
      config: The configuration.
      values: Flags that `define` made, parsed.

    Returns:
      The configuration, paths expanded, and the names of the options that were given.

    Raises:
      ValueError: A value is out of its range.
    """
    given = {name for name in option_types(config) if values[name].present}
    found = {**_unnamed(config, values, given), **{name: values[name].value for name in given}}
    for name, value in found.items():
        if name in given and isinstance(value, list) and (path := _parted_path(value)):
            raise ValueError(
                f"{name}={path} holds a comma, so that it must stand in double quotes: '\"{path}\"'"
            )
        if details(config, name).path and str(value or "").startswith("~"):
            found[name] = os.path.expanduser(value)
    return config.from_dict(found), frozenset(given)


def _defaults(config: type[Options], preset: str = "", **given: Any) -> Options:
    """Returns the values of options that no flag names: of a study that has presets, those of a preset."""
    named = preset or getattr(config, "command_preset", "")
    return config.of_preset(named, **given) if named else config()  # type: ignore[attr-defined]


def _unnamed(config: type[Config], values: flags.FlagValues, given: Collection[str]) -> Mapping[str, Any]:
    """Returns the values of the options that are not given; a trial by --smoke takes those of no preset."""
    if "preset" not in option_types(config):
        return {name: values[name].value for name in option_types(config) if name not in given}
    smoke = "smoke" in given and values["smoke"].value
    preset = values["preset"].value if "preset" in given or not smoke else "thesis"
    named = {name: values[name].value for name in ("batch_size", "optimizer") if name in given}
    filled = _defaults(config, preset, **named).to_dict()
    return {name: value for name, value in filled.items() if name not in given}


def typed(words: Sequence[str], values: flags.FlagValues) -> frozenset[str]:
    """Returns the names of the flags that a command line gives itself, and not by a flagfile.

    Args:
      words: The command line, of flags that are right.
      values: Flags that `define` made, not parsed yet.
    """
    rest, own = iter(words), []
    for word in rest:
        name, given, _ = word.removeprefix("-").removeprefix("-").partition("=")
        if name != "flagfile" or not word.startswith("-"):
            own.append(word)
        elif not given:
            next(rest, None)
    values(["", *own])
    return frozenset(name for name in values if values[name].present)


def as_flags(message: str, names: Collection[str]) -> str:
    """Writes the options that a message names, as `name=value`, as flags.

    Args:
      message: Of an error in the library.
      names: Of the options.

    >>> as_flags("fold=5 is out of range: there are 5 folds", {"fold", "folds"})
    '--fold=5 is out of range: there are 5 folds'
    >>> as_flags("epochs must be at least 1, got 0", {"epochs"})
    '--epochs must be at least 1, got 0'
    """
    ordered = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    if not ordered:
        return message
    message = re.sub(rf"(?<![\w./\\-])({ordered})(?==)", r"--\1", message)
    return re.sub(rf"^({ordered})(?= must be)", r"--\1", message)


def explain(error: flags.Error, configs: Sequence[type[Options]]) -> str:
    """Says what is wrong with a command line, in the words that the configurations have for it.

    Args:
      error: Of absl's parser.
      configs: The configurations whose flags there are.
    """
    names = {name: config for config in configs for name in option_types(config)}
    if isinstance(error, flags.UnrecognizedFlagError):
        hint = meant_flag(error.flagname, names)
        return f"there is no flag --{error.flagname}" + (f"; {hint}" if hint else "")
    if isinstance(error, flags.IllegalFlagValueError):
        # The message is "flag --NAME=VALUE: REASON", and the reason that of the error which this one was made of.
        name, _, value = (
            str(error).removeprefix("flag --").removesuffix(f": {error.__context__}").partition("=")
        )
        try:
            names[name].from_dict({name: value})
        except (KeyError, ValueError) as better:
            return as_flags(str(better), names) if isinstance(better, ValueError) else str(error)
    return str(error).removeprefix("ERROR:: ")


def help_of(config: Sequence[type[Options]], values: flags.FlagValues, only: Sequence[str] = ()) -> str:
    """Returns the flags under the headings of their groups, those of the study itself first.

    Args:
      config: The configurations whose flags there are.
      values: The flags.
      only: Flags to show, in this order and under one heading; empty for all.
    """
    groups: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    for one in config:
        for name, kind in option_types(one).items():
            named = kind.many and kind.kind is str and not kind.choices
            texts[name] = _flag_help(values[name], details(one, name).help + (f" {_COMMAS}" if named else ""))
            groups.setdefault(group_of(one, name), []).append(texts[name])
    if only:
        return "\n".join(["most used flags:", *(texts[name] for name in only), ""])
    order = sorted(groups, key=lambda group: _ORDER.index(group) if group in _ORDER else len(_ORDER))
    return "\n".join("\n".join([f"{group}:", *groups[group], ""]) for group in order)


def _define(
    name: str, default: Any, kind: OptionType, help: str, group: str, values: flags.FlagValues
) -> None:
    shared: Mapping[str, Any] = {"flag_values": values, "module_name": group}
    if kind.many:
        flags.DEFINE_list(name, None if default is None else [_text(one) for one in default], help, **shared)
    elif kind.choices:
        flags.DEFINE_enum(name, default, list(kind.choices), help, **shared)
    elif kind.kind is bool:
        flags.DEFINE_bool(name, default, help, **shared)
    elif kind.kind is int:
        flags.DEFINE_integer(name, default, help, **shared)
    elif kind.kind is float:
        flags.DEFINE_float(name, default, help, **shared)
    else:
        flags.DEFINE_string(name, default, help, **shared)


def _parted_path(parts: Sequence[str]) -> str:
    """Returns a path that was parted at its commas: it is there, and its first part is not; else an empty string."""
    for first, last in itertools.combinations(range(len(parts) + 1), 2):
        # Blanks behind the commas are lost.
        for commas in itertools.product((",", ", "), repeat=last - first - 1) if 1 < last - first < 6 else ():
            path = "".join(itertools.chain(*zip(parts[first:last], [*commas, ""], strict=True)))
            whole, part = (os.path.expanduser(text.rpartition("=")[2]) for text in (path, parts[first]))
            if os.path.exists(whole) and not os.path.exists(part):
                return path
    return ""


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _flag_help(flag: flags.Flag, help: str) -> str:
    head = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}"
    choices = getattr(flag.parser, "enum_values", None)
    shown = f" <{'|'.join(value for value in choices if value)}>" if choices else ""
    default = flag.default_as_str.strip("'") if flag.default not in (None, "", []) else ""
    told = f"{help} (default {default})" if default else help
    return "\n".join([f"{head}{shown}", flags.text_wrap(told, length=100, indent="      ")])
