"""A run's folder: its configuration, and how a script starts, resumes, refuses and fails."""

from __future__ import annotations

import glob
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from experiments import processes
from experiments.flags import GROUPS, PATHS, shrink
from experiments.inputs import Photos
from skinjax.data.tables import replacing
from skinjax.train.loop import StoppedError

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "array-record",
    "numpy", "pillow", "scikit-learn", "pandas",
)  # fmt: skip
# Flags that change no result (the photos have a fingerprint): a run may be resumed with other values of them.
FREE_FLAGS = {
    "workdir", "manifest", "source", "prepared", "audit", "threads", "checkpoint_seconds", "traceback",
    "compilation_cache", "workers", "coordinator", "processes", "process_index",
}  # fmt: skip


def run_script(main: Callable[[], None]) -> None:
    """Runs a script: flags parsed, caches set, errors told in one sentence with exit code 2."""

    def guarded(arguments: list[str]) -> None:
        try:
            if len(arguments) > 1:
                raise ValueError(f"unknown argument {arguments[1]!r}; settings are given as --flag=value")
            # Libraries log whole tracebacks of errors that are raised, and told, anyway.
            logging.set_verbosity(logging.WARNING if flags.FLAGS.traceback else logging.FATAL)
            _hush_closed_loops()
            _expand_paths()
            _use_compilation_cache()
            if "coordinator" in flags.FLAGS:
                processes.join()
            if flags.FLAGS.smoke:
                shrink()
            main()
        except StoppedError as stopped:
            _fail(f"{stopped}; the same command again resumes", stopped, processes.STOPPED_CODE)
        except (ValueError, OSError) as error:
            _fail(str(error), error)
        except RuntimeError as error:  # what XLA raises is one
            if "RESOURCE_EXHAUSTED" in str(error):
                _fail("the device has not enough memory; try a smaller --batch_size or --image_size", error)
            if not processes.are_several():
                raise
            _fail(
                "another process of this run has ended; start all of them again, which resumes from the last "
                f"checkpoint ({str(error).splitlines()[0][:200]})",
                error,
                processes.STOPPED_CODE,
            )
        except KeyboardInterrupt:
            print("interrupted; the same command again resumes", file=sys.stderr)
            sys.exit(130)

    if {"--help", "-help", "-h", "-?"} & set(sys.argv[1:]):
        _show_help()
    else:
        app.run(guarded, flags_parser=_parse)


def _parse(arguments: list[str]) -> list[str]:
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        print(f"{Path(arguments[0]).stem}: {error}; --help lists the flags", file=sys.stderr)
        sys.exit(2)


def _fail(message: str, error: Exception, code: int = 2) -> None:
    if flags.FLAGS.traceback:
        raise error
    print(f"{Path(sys.argv[0]).stem}{processes.name()}: {message}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: threads of libraries that were in the middle of something would print tracebacks of their own.
    os._exit(code)


def _show_help() -> None:
    import __main__

    groups = [group for group in GROUPS if flags.FLAGS.get_key_flags_for_module(group)]
    print(__main__.__doc__)
    print("".join(flags.FLAGS.module_help(group) for group in groups))


def _hush_closed_loops() -> None:
    """Drops what Tensorstore prints, once a file, when a write fails after Orbax has given up.

    The failure itself is told.
    """
    show = sys.unraisablehook

    def hook(error: sys.UnraisableHookArgs) -> None:
        if not (error.exc_type is RuntimeError and str(error.exc_value) == "Event loop is closed"):
            show(error)

    sys.unraisablehook = hook


def _expand_paths() -> None:
    for name in PATHS:
        if name in flags.FLAGS and flags.FLAGS[name].value.startswith("~"):
            setattr(flags.FLAGS, name, os.path.expanduser(flags.FLAGS[name].value))


def _use_compilation_cache() -> None:
    import jax

    if not flags.FLAGS.compilation_cache or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    folder = Path(flags.FLAGS.compilation_cache) / "jax"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"no compilation cache: {folder} cannot be made ({error.strerror})", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def open_workdir(experiment: str, free: tuple[str, ...] = ()) -> Path:
    """Returns the folder of the run, made if missing.

    Args:
      experiment: name of the script.
      free: flags that this experiment may be resumed with other values of, beside `FREE_FLAGS`.

    Raises:
      ValueError: the folder holds another run, every difference named, or cannot be used.
    """
    name = "smoke" if flags.FLAGS.smoke else "run"
    workdir = Path(flags.FLAGS.workdir or f"runs/{experiment}_{name}")
    if glob.has_magic(
        str(workdir.absolute())
    ):  # Orbax takes these for patterns, and finds no checkpoint again
        raise ValueError(
            f"--workdir={workdir.absolute()} has one of the characters *, ? and [ in it; name another"
        )
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"--workdir={workdir} is a file, a folder is wanted")
    workdir.mkdir(parents=True, exist_ok=True)
    processes.hold(workdir, flags.FLAGS["fold"].value if "fold" in flags.FLAGS else -1)
    before = _read_config(workdir)
    if before is None:
        return workdir
    differences = [
        f"--{name} was {before['flags'].get(name)!r}, is {value!r}"
        for name, value in script_flags().items()
        if name not in FREE_FLAGS and name not in free and before["flags"].get(name) != value
    ]
    if before["experiment"] != experiment:
        differences.insert(0, f"it holds a run of {before['experiment']}")
    if differences:
        raise ValueError(
            f"--workdir={workdir} cannot be resumed: {'; '.join(differences)}; name another folder"
        )
    return workdir


def _read_config(workdir: Path) -> dict[str, Any] | None:
    path = workdir / "config.json"
    if not path.exists():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        config = None
    if not isinstance(config, dict) or not {"experiment", "flags", "data_fingerprint"} <= set(config):
        raise ValueError(f"{path} is not the configuration of a run; name another --workdir")
    return config


def script_flags() -> dict[str, Any]:
    """Returns the values of the flags that this project defines."""
    by_group = flags.FLAGS.flags_by_module_dict()
    own = [flag for group in GROUPS for flag in by_group.get(group, [])]
    return {flag.name: flag.value for flag in sorted(own, key=lambda flag: flag.name)}


def write_config(workdir: Path, experiment: str, data: Photos) -> dict[str, Any]:
    """Writes `taxonomy.json` and `config.json`, or checks that the run in this folder had the same photos.

    Raises:
      ValueError: the photos, their labels, cases or classes have changed.
    """
    return processes.first_alone("configuration", lambda: _write_config(workdir, experiment, data))


def _write_config(workdir: Path, experiment: str, data: Photos) -> dict[str, Any]:
    before = _read_config(workdir)
    if before is not None:
        if before["data_fingerprint"] != data.fingerprint:
            raise ValueError(
                f"--workdir={workdir} cannot be resumed: photos, labels, cases or classes have changed since it began; "
                "name another folder"
            )
        return before
    config = {
        "experiment": experiment,
        "flags": script_flags(),
        "synthetic": data.inputs.synthetic,
        "taxonomy": data.taxonomy.name,
        "photos": len(data.frame),
        "cases": int(data.frame["case_id"].nunique()),
        "data_fingerprint": data.fingerprint,
        "git_revision": _git_revision(),
        "python": sys.version.split()[0],
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    with replacing(workdir / "taxonomy.json") as temporary:
        temporary.write_text(data.taxonomy.to_json(), encoding="utf-8")
    with replacing(workdir / "config.json") as temporary:
        temporary.write_text(json.dumps(config, indent=1), encoding="utf-8")
    return config


def _git_revision() -> str:
    """Returns the revision of this checkout, marked where it was changed since; "unknown" outside of git."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
