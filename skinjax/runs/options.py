"""Configurations: frozen dataclasses whose fields are all that a user may set, and which check themselves.

A study's `Config` inherits its fields from groups, each a dataclass of its own; a field is made by `option`:

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Sampling(Options):
        group: ClassVar[str] = "sampling"
        draws: int = option(8, "Balanced draws, each of which trains one network.", low=2)

Command-line flags are made from the same fields (`skinjax.cli.flags`), `config.json` holds them, and `from_dict` makes
a configuration of them again.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
import types
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from skinjax.runs.document import read_document

_DETAILS = "skinjax"


@dataclasses.dataclass(frozen=True)
class Details:
    """Details of an option beside its name, type and default.

    Attributes:
      help: One sentence or two for `--help`.
      low: Least value of a number, included; None for no limit.
      high: Largest value of a number, included; None for no limit.
      path: Whether the value is a path of a file or folder; "~" is then expanded.
      free: Whether a run may be resumed with another value, because no result depends on it.
      smoke: The value that `shrunk` sets, or None to leave the option alone.
    """

    help: str
    low: float | None = None
    high: float | None = None
    path: bool = False
    free: bool = False
    smoke: Any = None


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    path: bool = False,
    free: bool = False,
    smoke: Any = None,
) -> Any:
    """Makes a field of a configuration; the arguments are those of `Details`.

    Args:
      default: The value where none is given; immutable.
      help: One sentence or two for `--help`.
      low: Least value of a number, included.
      high: Largest value of a number, included.
      path: Whether the value is a path.
      free: Whether a run may be resumed with another value.
      smoke: The value that `shrunk` sets.

    Returns:
      What `dataclasses.field` returns.
    """
    return dataclasses.field(
        default=default, metadata={_DETAILS: Details(help, low, high, path, free, smoke)}
    )


@dataclasses.dataclass(frozen=True)
class OptionType:
    """The type of an option, taken apart.

    Attributes:
      kind: `str`, `int`, `float` or `bool`; of the items, where there are several.
      choices: The values that are allowed; empty for any.
      optional: Whether None is allowed.
      many: Whether the value is a tuple of such items.
    """

    kind: type
    choices: tuple[Any, ...] = ()
    optional: bool = False
    many: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all configurations and of the groups that they consist of.

    Raises:
      ValueError: A value is out of its range or not of its type; the message names the option.
    """

    group: ClassVar[str] = "options"

    def __post_init__(self) -> None:
        for name, kind in option_types(type(self)).items():
            object.__setattr__(
                self, name, _checked(name, getattr(self, name), kind, details(type(self), name))
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns the options by name, as JSON holds them."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Makes a configuration from what `to_dict` gave; options that are missing have their defaults.

        Args:
          values: Options by name. Names that are none of this configuration are passed over: an older or newer
            version of the package may have written them.

        Raises:
          ValueError: A value is out of its range or not of its type.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> Self:
        """Makes the configuration of a run again.

        Args:
          path: Its `config.json`, or the folder that holds it.

        Raises:
          ValueError: There is no such file, it is no run's, or a value is out of its range.
        """
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        document = read_document(folder)
        if document is None:
            raise ValueError(f"path must be the config.json of a run or its folder, got {path}")
        package, _, study = cls.__module__.rpartition(".")
        if package == "skinjax.studies" and document["study"] != study:
            raise ValueError(f"{folder} must hold a run of {study}, but holds one of {document['study']}")
        return cls.from_dict(document["config"])

    def shrunk(self, given: Collection[str] = ()) -> Self:
        """Returns the same configuration made tiny, for a trial in about a minute.

        Args:
          given: Names of options that keep their values: on a command line those typed there, and not those of a
            flagfile.
        """
        tiny = {
            field.name: details(type(self), field.name).smoke
            for field in dataclasses.fields(self)
            if field.name not in given and details(type(self), field.name).smoke is not None
        }
        if "smoke" in self.__dataclass_fields__:
            tiny["smoke"] = True
        return dataclasses.replace(self, **tiny)

    def differences(self, before: Options) -> list[str]:
        """Returns what keeps a run that was begun with other options from being resumed with these, as phrases.

        Args:
          before: The options that the run was begun with.

        >>> import dataclasses
        >>> @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class Config(Options):
        ...     epochs: int = option(20, "Passes over the training photos.", low=1)
        ...     threads: int = option(2, "Threads for reading photos.", free=True)
        >>> Config(epochs=3, threads=4).differences(Config())
        ['epochs=3, was 20']
        """
        found = []
        for field in dataclasses.fields(self):
            now, then = getattr(self, field.name), getattr(before, field.name, field.default)
            if now != then and not details(type(self), field.name).free:
                found.append(f"{field.name}={_shown(now)}, was {_shown(then)}")
        return found


def details(config: type[Options], name: str) -> Details:
    """Returns what is known of an option.

    Args:
      config: The configuration or group.
      name: Of the option.
    """
    field = config.__dataclass_fields__[name]
    found: Details = field.metadata.get(_DETAILS, Details(""))
    return found


def group_of(config: type[Options], name: str) -> str:
    """Returns the heading that an option stands under: that of the group which defines it.

    Args:
      config: The configuration.
      name: Of the option.
    """
    for base in config.__mro__:
        if name in inspect.get_annotations(base):
            return str(getattr(base, "group", Options.group))
    raise ValueError(f"name must be an option of {config.__name__}, got {name!r}")


def option_types(config: type[Options]) -> dict[str, OptionType]:
    """Returns the type of each option of a configuration, in order.

    Args:
      config: The configuration.

    Raises:
      TypeError: A field is of a type that no option can have.
    """
    hints = typing.get_type_hints(config)
    return {field.name: _taken_apart(hints[field.name]) for field in dataclasses.fields(config)}


def _taken_apart(hint: Any) -> OptionType:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return dataclasses.replace(_taken_apart(inner), optional=True)
    if origin is tuple:
        return dataclasses.replace(_taken_apart(arguments[0]), many=True)
    if origin is Literal:
        return OptionType(type(arguments[0]), arguments)
    if hint in (str, int, float, bool):
        return OptionType(hint)
    raise TypeError(f"an option must be of a plain type, a Literal of texts or a tuple of such, got {hint}")


def _checked(name: str, value: Any, kind: OptionType, known: Details) -> Any:
    """Returns a value in its type's form; see `Options`."""
    if value is None and kind.optional:
        return None
    if kind.many:
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise ValueError(f"{name} must be a sequence of values, got {value!r}")
        one = dataclasses.replace(kind, many=False)
        return tuple(_checked(name, item, one, known) for item in value)
    if known.path and hasattr(value, "__fspath__"):
        value = str(value)
    converted = _converted(value, kind.kind)
    if converted is None:
        raise ValueError(f"{name} must be {_NAMES[kind.kind]}, got {value!r}")
    if kind.choices and converted not in kind.choices:
        there = ", ".join(str(choice) or "(empty)" for choice in kind.choices)
        raise ValueError(f"{name} must be one of {there}, got {converted!r}")
    if kind.kind in (int, float) and not _within(converted, known):
        raise ValueError(f"{name} must be {_range(known)}, got {_shown(converted)}")
    return converted


_NAMES = {str: "a text", int: "a whole number", float: "a finite number", bool: "True or False"}


def _converted(value: Any, kind: type) -> Any:
    """Returns a value as one of a type, or None where it is none."""
    if kind is bool or isinstance(value, bool):
        return value if kind is bool and isinstance(value, bool) else None
    if kind is str:
        return value if isinstance(value, str) else None
    if kind is int:
        return int(value) if hasattr(value, "__index__") else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _within(value: float, known: Details) -> bool:
    return (known.low is None or value >= known.low) and (known.high is None or value <= known.high)


def _range(known: Details) -> str:
    if known.low is not None and known.high is not None:
        return f"between {known.low:g} and {known.high:g}"
    return f"at least {known.low:g}" if known.low is not None else f"at most {known.high:g}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
