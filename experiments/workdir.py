"""A run's folder: its configuration, and how a script that trains starts, resumes, refuses and fails."""

from __future__ import annotations

import glob
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from experiments import processes, script
from experiments.inputs import PHOTOS_SEEN, Photos
from experiments.provenance import provenance
from experiments.script import script_flags
from skinjax.data.tables import replacing
from skinjax.train.loop import StoppedError

# Flags that change no result (the photos have a fingerprint): a run may be resumed with other values of them.
FREE_FLAGS = {
    "workdir", "manifest", "source", "prepared", "audit", "threads", "checkpoint_seconds", "traceback",
    "compilation_cache", "workers", "coordinator", "processes", "process_index",
}  # fmt: skip


def run_script(main: Callable[[], None]) -> None:
    """Runs a script that may train: caches set, processes joined, errors told in one sentence with exit code 2."""

    def guarded() -> None:
        try:
            _hush_closed_loops()
            script.use_compilation_cache()
            if "coordinator" in flags.FLAGS:
                processes.join()
            main()
        except StoppedError as stopped:
            _fail(f"{stopped}; the same command again resumes", stopped, processes.STOPPED_CODE)
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

    script.run_script(guarded, who=processes.name)


def _fail(message: str, error: Exception, code: int = 2) -> None:
    script.fail(message, error, code, who=processes.name())


def _hush_closed_loops() -> None:
    """Drops what Tensorstore prints, once a file, when a write fails after Orbax has given up.

    The failure itself is told.
    """
    show = sys.unraisablehook

    def hook(error: sys.UnraisableHookArgs) -> None:
        if not (error.exc_type is RuntimeError and str(error.exc_value) == "Event loop is closed"):
            show(error)

    sys.unraisablehook = hook


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
    processes.hold(workdir, flags.FLAGS["fold"].value if "fold" in free else -1)
    before = _read_config(workdir)
    if before is None:
        return workdir
    # A flag that the run's version did not have yet stood at its default there.
    stood = {name: before["flags"].get(name, flags.FLAGS[name].default) for name in script_flags()}
    differences = [
        f"--{name} was {stood[name]!r}, is {value!r}"
        for name, value in script_flags().items()
        if name not in FREE_FLAGS and name not in free and stood[name] != value
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


def write_config(workdir: Path, experiment: str, data: Photos, *others: Photos) -> dict[str, Any]:
    """Writes `taxonomy.json`, `config.json` and which photos these are, or checks that the run had the same.

    `others` are further sets of photos, of the same classes.

    Raises:
      ValueError: the photos, their labels, cases or classes have changed.
    """
    return processes.first_alone("configuration", lambda: _write_config(workdir, experiment, [data, *others]))


def _write_config(workdir: Path, experiment: str, sets: Sequence[Photos]) -> dict[str, Any]:
    before, data = _read_config(workdir), sets[0]
    fingerprint = "+".join(one.fingerprint for one in sets)
    if before is not None:
        if before["data_fingerprint"] != fingerprint:
            raise ValueError(
                f"--workdir={workdir} cannot be resumed: photos, labels, cases or classes have changed since it began; "
                "name another folder"
            )
        return before
    config = {
        "experiment": experiment,
        "flags": script_flags(),
        "synthetic": any(one.inputs.synthetic for one in sets),
        "taxonomy": data.taxonomy.name,
        "photos": sum(len(one.frame) for one in sets),
        "cases": sum(int(one.frame["case_id"].nunique()) for one in sets),
        "data_fingerprint": fingerprint,
        "notes": list(dict.fromkeys(note for one in sets for note in one.inputs.notes)),
        **provenance(),
    }
    with replacing(workdir / PHOTOS_SEEN) as temporary:
        seen = frozenset[str]().union(*(one.identities() for one in sets))
        temporary.write_text("".join(f"{identity}\n" for identity in sorted(seen)), encoding="utf-8")
    with replacing(workdir / "taxonomy.json") as temporary:
        temporary.write_text(data.taxonomy.to_json(), encoding="utf-8")
    with replacing(workdir / "config.json") as temporary:
        temporary.write_text(json.dumps(config, indent=1), encoding="utf-8")
    return config
