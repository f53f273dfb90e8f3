"""A run's folder: its configuration, and how a script starts, resumes, refuses and fails."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from experiments.flags import GROUPS
from experiments.inputs import Photos
from skinjax.data.tables import replacing

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "array-record",
    "numpy", "pillow", "scikit-learn", "pandas",
)  # fmt: skip
# Flags that change no result (the photos have a fingerprint): a run may be resumed with other values of them.
FREE_FLAGS = {
    "workdir",
    "threads",
    "checkpoint_seconds",
    "traceback",
    "compilation_cache",
    "audit",
    "prepared",
    "fold",
}


def run_script(main: Callable[[], None]) -> None:
    """Runs a script: flags parsed, caches set, errors told in one sentence with exit code 2."""

    def guarded(arguments: list[str]) -> None:
        try:
            if len(arguments) > 1:
                raise ValueError(f"unknown argument {arguments[1]!r}; settings are given as --flag=value")
            logging.set_verbosity(logging.WARNING)
            _use_compilation_cache()
            main()
        except (ValueError, OSError) as error:
            if flags.FLAGS.traceback:
                raise
            print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("interrupted; the same command again resumes", file=sys.stderr)
            sys.exit(130)

    if {"--help", "-help", "-h", "-?"} & set(sys.argv[1:]):
        import __main__

        print(__main__.__doc__)
        print(
            "".join(
                flags.FLAGS.module_help(group)
                for group in GROUPS
                if flags.FLAGS.get_key_flags_for_module(group)
            )
        )
        return
    app.run(guarded)


def _use_compilation_cache() -> None:
    import jax

    if flags.FLAGS.compilation_cache and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folder = Path(flags.FLAGS.compilation_cache).expanduser() / "jax"
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def open_workdir(experiment: str) -> Path:
    """Returns the folder of the run, made if missing."""
    name = "smoke" if flags.FLAGS.smoke else "run"
    workdir = Path(flags.FLAGS.workdir or f"runs/{experiment}_{name}").expanduser()
    workdir.mkdir(parents=True, exist_ok=True)
    return workdir


def script_flags() -> dict[str, Any]:
    """Returns the values of the flags that this project defines."""
    by_group = flags.FLAGS.flags_by_module_dict()
    own = [flag for group in GROUPS for flag in by_group.get(group, [])]
    return {flag.name: flag.value for flag in sorted(own, key=lambda flag: flag.name)}


def write_config(workdir: Path, experiment: str, data: Photos) -> dict[str, Any]:
    """Writes `taxonomy.json` and `config.json`, or checks that the run in this folder had the same settings and photos.

    Raises:
      ValueError: the folder holds another run; every difference is named.
    """
    flag_values = script_flags()
    config = {
        "experiment": experiment,
        "flags": flag_values,
        "synthetic": data.inputs.synthetic,
        "taxonomy": data.taxonomy.name,
        "photos": len(data.frame),
        "cases": int(data.frame["case_id"].nunique()),
        "data_fingerprint": data.fingerprint,
        "git_revision": _git_revision(),
        "python": sys.version.split()[0],
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    path = workdir / "config.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        differences = [
            f"--{name} was {before['flags'].get(name)!r}, is {value!r}"
            for name, value in flag_values.items()
            if name not in FREE_FLAGS and before["flags"].get(name) != value
        ]
        if before["experiment"] != experiment:
            differences.insert(0, f"it holds a run of {before['experiment']}")
        elif not differences and before["data_fingerprint"] != data.fingerprint:
            differences.append("the photos or their labels have changed")
        if differences:
            raise ValueError(
                f"--workdir={workdir} cannot be resumed: {'; '.join(differences)}; name another folder"
            )
        return before
    with replacing(workdir / "taxonomy.json") as temporary:
        temporary.write_text(data.taxonomy.to_json(), encoding="utf-8")
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(config, indent=1, default=str), encoding="utf-8")
    return config


def _git_revision() -> str:
    """Returns the revision of this checkout, marked where it was changed since; "unknown" outside of git."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
