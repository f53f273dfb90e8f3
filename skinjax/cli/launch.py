"""Start and failure of a command: processes joined, caches set, errors told in one sentence with exit code 2."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import ClassVar, NoReturn

from skinjax.cli.flags import as_flags
from skinjax.files.installed import explained
from skinjax.runs.options import Options, option

STOPPED_CODE = 75  # the sysexits code for "try again": the state is saved and the same command goes on


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandOptions(Options):
    """Options of every command."""

    group: ClassVar[str] = "running"

    traceback: bool = option(False, "Show the full Python traceback of an error.")
    compilation_cache: str = option(
        "~/.cache/skinjax",
        "Folder that keeps compiled programs, so that the next start is quicker. Empty: keep none.",
        path=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkdirOptions(CommandOptions):
    """A command that works in a run's folder."""

    group: ClassVar[str] = "running"

    workdir: str = option(
        "", "Folder of the run, created where missing. The same command again resumes the run.", path=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnsweringOptions(WorkdirOptions):
    """A command that reads a finished run."""

    group: ClassVar[str] = "running"

    workdir: str = option(
        "",
        "Folder of the finished run; predict and app also take its name on the Hub, hf:owner/name.",
        path=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProcessOptions(WorkdirOptions):
    """A command that several processes may run together."""

    group: ClassVar[str] = "devices and processes"

    coordinator: str = option(
        "",
        "Address of the first process of a run on several processes, as host:port. Under SLURM none of "
        "these three flags is needed.",
    )
    processes: int | None = option(None, "Number of processes of the run.", low=1)
    process_index: int | None = option(None, "Number of this process, counted from 0.", low=0)


def guarded(work: Callable[[], None], command: str, options: CommandOptions, names: Collection[str]) -> None:
    """Does the work of a command; an error ends the process with one sentence that describes it.

    Args:
      work: The work.
      command: Name of the command, which messages begin with.
      options: How it runs.
      names: Of all flags.
    """

    def fail(message: str, error: BaseException, code: int = 2) -> NoReturn:
        if options.traceback:
            raise error
        _end(f"{command}{_process()}: {as_flags(message, names)}", code)

    _show_messages(names)
    _hush_closed_loops()
    joined = False
    try:
        if isinstance(options, ProcessOptions):
            from skinjax.runs import processes

            processes.join(options.coordinator, options.processes, options.process_index)
            joined = True
            if not processes.is_first():
                logging.getLogger("skinjax").setLevel(logging.CRITICAL)  # only the first talks
                sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        work()
    except BrokenPipeError:  # whoever read the output has left, which `entry` ends quietly for
        raise
    except KeyboardInterrupt:
        _end("interrupted; the same command again resumes", 130)
    except Exception as error:
        # A type whose module only a command that trains imports.
        if type(error).__name__ == "StoppedError":
            fail(f"{error}; the same command again resumes", error, STOPPED_CODE)
        several = joined and bool(_process())
        runtime = isinstance(error, RuntimeError)  # what XLA raises is one
        if runtime and "RESOURCE_EXHAUSTED" in str(error):
            fail("the device has not enough memory; try a smaller --batch_size or --image_size", error)
        if several and (runtime or processes.another_ended(error)):
            fail(
                "another process of this run has ended; start all of them again, which resumes from the last "
                f"checkpoint ({processes.first_line(error)[:200]})",
                error,
                STOPPED_CODE,
            )
        if isinstance(error, ValueError | OSError):
            fail(str(error), error)
        if isinstance(error, ModuleNotFoundError) and (sentence := explained(error)):
            fail(sentence, error)
        raise


def use_compilation_cache(folder: str, least_seconds: float = 0.5) -> None:
    """Keeps what XLA compiles, unless JAX_COMPILATION_CACHE_DIR names another place.

    Args:
      folder: Where; empty for nowhere.
      least_seconds: Compilations that take less are not kept.
    """
    import jax

    jax.config.update("jax_persistent_cache_min_compile_time_secs", least_seconds)
    if not folder or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    place = Path(folder).expanduser() / "jax"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"no compilation cache: {place} cannot be made ({error.strerror})", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(place))


class _Messages(logging.StreamHandler):
    """Shows the library's messages, options written as flags, on what is standard error by then."""

    names: Collection[str] = ()

    def format(self, record: logging.LogRecord) -> str:
        return as_flags(super().format(record), self.names)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _show_messages(names: Collection[str]) -> None:
    logger = logging.getLogger("skinjax")
    if not any(isinstance(handler, _Messages) for handler in logger.handlers):
        logger.addHandler(_Messages())
    for handler in logger.handlers:
        if isinstance(handler, _Messages):
            handler.names = names
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # whole tracebacks of errors that are told anyway


def _process() -> str:
    """Returns the name of this process in messages, where there are several."""
    if "jax" not in sys.modules or "skinjax.runs.processes" not in sys.modules:
        return ""
    from skinjax.runs import processes

    return processes.name()


def _end(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(code)


def _hush_closed_loops() -> None:
    """Drops what Tensorstore prints, once per file, when a write fails after Orbax has given up.

    The failure itself is still reported.
    """
    show = sys.unraisablehook
    if getattr(show, "__name__", "") == "hook_of_skinjax":
        return

    def hook_of_skinjax(error: sys.UnraisableHookArgs) -> None:
        if not (error.exc_type is RuntimeError and str(error.exc_value) == "Event loop is closed"):
            show(error)

    sys.unraisablehook = hook_of_skinjax
