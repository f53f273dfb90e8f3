"""From a command line to a study's result on the terminal."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from absl import flags

from skinjax import __version__
from skinjax.cli.commands import COMMANDS, Command, command
from skinjax.cli.flags import as_flags, define, explain, help_of, read, typed
from skinjax.cli.guesses import meant_argument
from skinjax.cli.launch import (
    AnsweringOptions,
    CommandOptions,
    ProcessOptions,
    WorkdirOptions,
    guarded,
    use_compilation_cache,
)
from skinjax.files.host import compute_in_calling_thread, restart_tuned
from skinjax.files.installed import explained
from skinjax.runs.options import option_types

_HELP = {"--help", "-help", "-h", "-?", "--helpshort"}
_FULL_HELP = {"--helpfull", "-helpfull"}
_USAGE = """skinjax: hierarchical diagnosis of skin disease from clinical photos, in JAX. Not a medical device.

    skinjax COMMAND --flag=value ...        run a command; the same command again resumes it
    skinjax COMMAND --help                  what it does, and its most used flags
    skinjax COMMAND --helpfull              all of its flags
    skinjax COMMAND --smoke                 all of it on tiny settings and built-in photos
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command.

    Args:
      arguments: The command's name and its flags, such as `["hierarchy", "--smoke"]`; None takes the process's own.

    Raises:
      SystemExit: The command failed and printed one sentence on standard error; the code is 2, 75 where the run was
        stopped and the same command resumes it, 130 where it was interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in _HELP | _FULL_HELP | {"help"}:
        print(_usage())
        return
    if words[0] == "--version":
        print(f"skinjax {__version__}")
        return
    try:
        chosen = command(words[0])
    except ValueError as error:
        _refuse("skinjax", str(error))
    _run(chosen, words[1:])


def entry() -> None:
    """Runs a command as the process's own: with a tuned allocator, and ended at once when it has ended."""
    if _computes(sys.argv[1:2]):
        restart_tuned()
    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    except BrokenPipeError:  # whoever read the output has left
        code = 1
    if code in (0, None):
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Threads of libraries that were in the middle of something would print tracebacks of their own.
    os._exit(code if isinstance(code, int) else 1)


def _computes(words: Sequence[str]) -> bool:
    try:
        return any(command(word).computes != "nothing" for word in words)
    except ValueError:
        return False


def script(name: str) -> None:
    """Runs a command as a script of the checkout, whose process has the flags alone as arguments.

    Args:
      name: Of the command.
    """
    sys.argv = ["skinjax", name, *sys.argv[1:]]
    entry()


def _usage() -> str:
    rows = [
        f"  {one.name:<22}{one.summary}{f' (thesis, {one.chapter})' if one.chapter else ''}"
        for one in COMMANDS
    ]
    return "\n".join([_USAGE, "commands:", *rows])


def _run(chosen: Command, words: list[str]) -> None:
    try:
        study = importlib.import_module(chosen.module)
    except ModuleNotFoundError as error:
        if not (sentence := explained(error)):
            raise
        _refuse(chosen.name, sentence)
    launch = _launch(chosen)
    if (_HELP | _FULL_HELP) & set(words):
        values = _defined(study, launch)
        print(study.__doc__)
        print(help_of([study.Config, launch], values, () if _FULL_HELP & set(words) else chosen.used))
        if chosen.used and not _FULL_HELP & set(words):
            count = len({*option_types(study.Config), *option_types(launch)})
            print(f"all {count} flags: skinjax {chosen.name} --helpfull")
        return
    values = _defined(study, launch)
    names = {*option_types(study.Config), *option_types(launch)}
    try:
        rest = values([chosen.name, *words])[1:]
        if rest:
            hint = meant_argument(rest[0], names) or "settings are given as --flag=value"
            _refuse(chosen.name, f"unknown argument {rest[0]!r}; {hint}")
        options, _ = read(launch, values)
        config, _ = read(study.Config, values)
        if getattr(config, "smoke", False):
            # A flagfile's settings are those of the real run, and so is its folder.
            kept = typed(words, _defined(study, launch))
            config = config.shrunk(kept)
            if isinstance(options, WorkdirOptions) and "workdir" not in kept:
                options = dataclasses.replace(options, workdir="")
    except flags.Error as error:
        _refuse(chosen.name, f"{explain(error, [study.Config, launch])}; --help lists the flags")
    except ValueError as error:
        _refuse(chosen.name, as_flags(str(error), names))
    flags.FLAGS.mark_as_parsed()  # libraries ask absl's own

    def work() -> None:
        if chosen.computes != "nothing" and getattr(config, "computes", True):
            # Of predictions small programs too, as a start has to be quick.
            least = 0.0 if chosen.computes == "predictions" else 0.5
            use_compilation_cache(options.compilation_cache, least)
            if chosen.computes == "training":
                compute_in_calling_thread()
        print(as_flags(str(study.run(None, config, _workdir(chosen, options, config))), names))

    guarded(work, chosen.name, options, names)


def _launch(chosen: Command) -> type[CommandOptions]:
    if chosen.study in ("evaluation", "reader_kit"):
        return CommandOptions
    if chosen.computes == "predictions":
        return AnsweringOptions
    return ProcessOptions if chosen.computes == "training" else WorkdirOptions


def _defined(study: ModuleType, launch: type[CommandOptions]) -> flags.FlagValues:
    values = flags.FlagValues()
    define(study.Config, values)
    define(launch, values)
    return values


def _workdir(chosen: Command, options: CommandOptions, config: object) -> Path | None:
    if not isinstance(options, WorkdirOptions):
        return None
    if options.workdir:
        return Path(options.workdir)
    if chosen.computes == "predictions":
        return None
    return Path(f"runs/{chosen.name}_{'smoke' if getattr(config, 'smoke', False) else 'run'}")


def _refuse(who: str, message: str) -> None:
    print(f"{who}: {message}", file=sys.stderr)
    raise SystemExit(2)
