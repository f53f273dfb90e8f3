"""How a script starts and fails: flags parsed, `--help` in groups, errors told in one sentence with exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags, logging

from experiments.flags import GROUPS, PATHS, shrink


def run_script(main: Callable[[], None], who: Callable[[], str] = lambda: "") -> None:
    """Runs a script.

    Args:
      main: does the work once flags are parsed, paths expanded and a --smoke run made tiny; a ValueError or OSError
        of its is told in one sentence, exit code 2.
      who: what messages add to the script's name, such as the process where there are several.
    """

    def guarded(arguments: list[str]) -> None:
        try:
            if len(arguments) > 1:
                raise ValueError(f"unknown argument {arguments[1]!r}; settings are given as --flag=value")
            # Libraries log whole tracebacks of errors that are raised, and told, anyway.
            logging.set_verbosity(logging.WARNING if flags.FLAGS.traceback else logging.FATAL)
            _expand_paths()
            if flags.FLAGS.smoke:
                shrink()
            main()
        except (ValueError, OSError) as error:
            fail(str(error), error, who=who())
        except KeyboardInterrupt:
            print("interrupted; the same command again resumes", file=sys.stderr)
            sys.exit(130)

    if {"--help", "-help", "-h", "-?"} & set(sys.argv[1:]):
        _show_help()
    else:
        app.run(guarded, flags_parser=_parse)


def use_compilation_cache(least_seconds: float = 0.5) -> None:
    """Keeps what XLA compiles in --compilation_cache, unless JAX_COMPILATION_CACHE_DIR names another place.

    Args:
      least_seconds: compilations that take less are not kept.
    """
    import jax

    jax.config.update("jax_persistent_cache_min_compile_time_secs", least_seconds)
    if not flags.FLAGS.compilation_cache or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    folder = Path(flags.FLAGS.compilation_cache) / "jax"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"no compilation cache: {folder} cannot be made ({error.strerror})", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def fail(message: str, error: Exception, code: int = 2, who: str = "") -> NoReturn:
    """Ends the process with a message; with --traceback raises the error instead."""
    if flags.FLAGS.traceback:
        raise error
    print(f"{Path(sys.argv[0]).stem}{who}: {message}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: threads of libraries that were in the middle of something would print tracebacks of their own.
    os._exit(code)


def script_flags() -> dict[str, Any]:
    """Returns the values of the flags that this project defines."""
    by_group = flags.FLAGS.flags_by_module_dict()
    own = [flag for group in GROUPS for flag in by_group.get(group, [])]
    return {flag.name: flag.value for flag in sorted(own, key=lambda flag: flag.name)}


def _parse(arguments: list[str]) -> list[str]:
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        print(f"{Path(arguments[0]).stem}: {error}; --help lists the flags", file=sys.stderr)
        sys.exit(2)


def _show_help() -> None:
    import __main__

    groups = [group for group in GROUPS if flags.FLAGS.get_key_flags_for_module(group)]
    print(__main__.__doc__)
    print("".join(flags.FLAGS.module_help(group) for group in groups))


def _expand_paths() -> None:
    for name in PATHS:
        if name in flags.FLAGS and flags.FLAGS[name].value.startswith("~"):
            setattr(flags.FLAGS, name, os.path.expanduser(flags.FLAGS[name].value))
