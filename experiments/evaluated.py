"""From the flags of `evaluate` to what its report is written on: a run's or anybody's predictions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import flags

from experiments.provenance import provenance
from experiments.script import script_flags
from experiments.stored_run import StoredRun, read_run
from skinjax.data import evaluation_data
from skinjax.data.evaluation_data import EvaluationData, read_evaluation_data
from skinjax.data.predictions import read_taxonomy
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy

PACKAGES = ("jax", "matplotlib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")
SMOKE_CASES = 200


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """What is reported on.

    Attributes:
      out: folder to write.
      title: the page's heading.
      data: the predictions of all models and what is asked of them.
      coarse_level: level that is fused with the finest, or None.
      config: of the run, or of this evaluation alone.
      run: the run, where one is reported on again.
      photo_root: folder of the photos, or None.
    """

    out: Path
    title: str
    data: EvaluationData
    coarse_level: str | None
    config: dict[str, Any]
    run: StoredRun | None
    photo_root: Path | None

    @property
    def name(self) -> str:
        """Of the model that is reported on."""
        return next(iter(self.data.models))

    @property
    def predictions(self) -> pd.DataFrame:
        """Of that model."""
        return self.data.models[self.name]

    @property
    def others(self) -> dict[str, pd.DataFrame] | None:
        """Predictions of the other models by name; None where there is one alone."""
        return dict(list(self.data.models.items())[1:]) or None


def read() -> Subject:
    """Reads and checks what the flags name, all of it before anything is written.

    Raises:
      ValueError: flags that do not fit together, or everything that is wrong with the files, in one list.
    """
    values = flags.FLAGS
    if values.workdir and values.predictions:
        raise ValueError(
            "--workdir and --predictions are both given; to compare a run, name its Parquet file in the latter"
        )
    if values.workdir:
        return _run(Path(values.workdir))
    if values.predictions:
        return _files(named_files(values.predictions))
    if values.smoke:
        return _invented(Path("runs/evaluate_smoke"))
    raise ValueError("nothing to evaluate: give --predictions, or --workdir of a run")


def named_files(entries: list[str]) -> dict[str, Path]:
    """Returns the predictions' files by the name of the model: `name=file`, or the file's stem.

    Raises:
      ValueError: two models of one name, or an empty one.
    """
    files: dict[str, Path] = {}
    for entry in entries:
        name, equals, path = entry.partition("=")
        if not equals or Path(entry).exists():
            name, path = Path(entry).stem, entry
        if not name or not path:
            raise ValueError(f"--predictions: {entry!r} is neither a file nor name=file")
        if name in files:
            raise ValueError(f"--predictions: two models are called {name!r}; name them, as in ours={path}")
        files[name] = Path(path).expanduser()
    return files


def check_out(folder: Path) -> Path:
    """Returns the folder to write; one that holds anything but an evaluation is refused.

    Raises:
      ValueError: it is a file, or holds what this script did not write.
    """
    if folder.is_dir() and any(folder.iterdir()):
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            ours = "evaluation" in config
        except (OSError, ValueError, TypeError):
            ours = False
        if not ours:
            raise ValueError(f"--out={folder} holds other things than an evaluation; name another folder")
    return folder


def _run(workdir: Path) -> Subject:
    run = read_run(workdir)
    name = workdir.resolve().name
    data, level = _data({name: run.predictions}, _taxonomy() or run.taxonomy)
    notes = tuple(run.config.get("notes", ()))
    return Subject(
        out=Path(flags.FLAGS.out or workdir / "evaluation"),
        title=f"Evaluation of the run {name}",
        data=dataclasses.replace(data, notes=(*notes, *data.notes)),
        coarse_level=level,
        config={**run.config, **_config(data, {name: run.predictions})},
        run=run,
        photo_root=run.photo_root,
    )


def _files(files: Mapping[str, Path], synthetic: bool = False) -> Subject:
    data, level = _data(files, _taxonomy())
    first = next(iter(files.values()))
    beside = first.parent / str(next(iter(data.models.values()))["image"].iloc[0])
    return Subject(
        out=Path(flags.FLAGS.out or first.parent / "evaluation"),
        title=f"Evaluation of {' and '.join(files)}",
        data=data,
        coarse_level=level,
        config={
            "experiment": "evaluate",
            "synthetic": synthetic,
            **_config(data, files),
            **provenance(PACKAGES),
        },
        run=None,
        photo_root=first.parent if beside.is_file() else None,
    )


def _invented(folder: Path) -> Subject:
    """Two made-up models, readers and degrees, written as files and read as anybody's."""
    from skinjax.data.invented import invent_predictions, invent_readers

    values = flags.FLAGS
    taxonomy = load_taxonomy(values.taxonomy or "synthetic19")
    target = values.target or [taxonomy.classes(taxonomy.coarsest)[0]]
    print(f"No --predictions: making up those of two models in {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    frames = invent_predictions(taxonomy, SMOKE_CASES, skills=(2.5, 2.0), seed=values.seed)
    files = {name: folder / f"{name}.csv" for name in ("first", "second")}
    for frame, path in zip(frames, files.values(), strict=True):
        frame.to_csv(path, index=False)
    level = evaluation_data.level_of(target, taxonomy) or taxonomy.finest
    parents = taxonomy.parents(taxonomy.finest, level)
    wanted = [taxonomy.classes(level).index(name) for name in target if name in taxonomy.classes(level)]
    members = [name for name, parent in zip(taxonomy.classes(), parents, strict=True) if parent in wanted]
    invent_readers(frames[0], members, 5, values.seed).to_csv(folder / "readers.csv", index=False)
    degrees = {name: number * 3 // len(parents) for number, name in enumerate(taxonomy.classes())}
    (folder / "degrees.json").write_text(json.dumps(degrees), encoding="utf-8")
    values.taxonomy, values.target = values.taxonomy or "synthetic19", list(target)
    values.readers = values.readers or str(folder / "readers.csv")
    values.degrees = values.degrees or str(folder / "degrees.json")
    return _files(files, synthetic=True)


def _taxonomy() -> Taxonomy | None:
    return load_taxonomy(flags.FLAGS.taxonomy) if flags.FLAGS.taxonomy else None


def _data(files: Mapping[str, Path], taxonomy: Taxonomy | None) -> tuple[EvaluationData, str | None]:
    values = flags.FLAGS
    data = read_evaluation_data(
        files, taxonomy, values.target, values.degrees or None, values.readers or None, values.subgroups
    )
    levels = data.taxonomy.levels
    if values.coarse_level and values.coarse_level not in levels[:-1]:
        there = ", ".join(levels[:-1]) or "there are none"
        raise ValueError(f"--coarse_level={values.coarse_level} is none of the coarser levels: {there}")
    if values.smoke:
        data = _few_cases(data)
    notes = data.notes
    if taxonomy is None and all(read_taxonomy(path) is None for path in files.values()):
        notes += ("No taxonomy was given: the classes are the columns of the predictions, in one level.",)
    return dataclasses.replace(data, notes=notes), values.coarse_level or evaluation_data.coarse_level(data)


def _few_cases(data: EvaluationData) -> EvaluationData:
    frame = next(iter(data.models.values()))
    cases = frame["case_id"].unique()
    if len(cases) <= SMOKE_CASES:
        return data
    kept = np.random.default_rng(flags.FLAGS.seed).choice(np.asarray(cases), SMOKE_CASES, replace=False)
    few = evaluation_data.select(data, frame["image"][frame["case_id"].isin(kept)].tolist())
    note = f"--smoke: {SMOKE_CASES} of {len(cases):,} cases are looked at, drawn at random."
    return dataclasses.replace(few, notes=(*few.notes, note))


def _config(data: EvaluationData, files: Mapping[str, Path]) -> dict[str, Any]:
    frame = next(iter(data.models.values()))
    return {
        "evaluation": {
            "flags": script_flags(),
            "models": {name: {"file": str(path), "sha256": _sha256(path)} for name, path in files.items()},
            "taxonomy": data.taxonomy.name,
            "photos": len(frame),
            "cases": int(frame["case_id"].nunique()),
        }
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
