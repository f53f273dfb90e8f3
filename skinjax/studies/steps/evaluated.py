"""From options to the subject of a report: a run's or anybody's predictions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skinjax.data import evaluation_data
from skinjax.data.column_names import ColumnNames
from skinjax.data.evaluation_data import EvaluationData, read_evaluation_data
from skinjax.data.predictions import read_taxonomy
from skinjax.data.readers import kit_of
from skinjax.data.reading_kit import Kit
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.report.formatting import listed
from skinjax.runs.folder import RunFolder
from skinjax.runs.provenance import provenance

if TYPE_CHECKING:
    from skinjax.data.audit import AuditReport
    from skinjax.report.blocks import Section
    from skinjax.report.study import Noun
    from skinjax.studies.evaluation import Config

PACKAGES = ("jax", "matplotlib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")
SMOKE_CASES = 200
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """The subject of a report.

    Attributes:
      out: Folder to write.
      title: The page's heading.
      data: The predictions of all models, and what is to be found out about them.
      coarse_level: Level that is fused with the finest, or None.
      document: Of the run and this evaluation, or of this evaluation alone; what `config.json` holds.
      run: The run, where one is reported on again.
      photo_root: Folder of the photos, or None.
      files: The predictions' file of each model.
      kept: Whether these files are kept beside the page, under their names.
      audit: Audit of the photos, where they are new; it is kept beside the page too.
      extra: Further sections of the page.
      afterword: Sentences behind the answer at the top of the page.
      noun: What answered, for people.
    """

    out: Path
    title: str
    data: EvaluationData
    coarse_level: str | None
    document: dict[str, Any]
    run: RunFolder | None
    photo_root: Path | None
    files: Mapping[str, Path]
    kept: bool = False
    audit: AuditReport | None = None
    extra: Sequence[Section] = ()
    afterword: Sequence[str] = ()
    noun: Noun = "network"

    @property
    def name(self) -> str:
        """Returns the name of the model that is reported on."""
        return next(iter(self.data.models))

    @property
    def predictions(self) -> pd.DataFrame:
        """Returns the predictions of that model."""
        return self.data.models[self.name]


def read(config: Config, predictions: Mapping[str, Path] | None, out: Path | None) -> Subject:
    """Reads and checks the files that the options name, all of them before anything is written.

    Args:
      config: The options.
      predictions: Name of a model -> its file; None takes those of the options.
      out: Folder to write; None takes that of the options.

    Raises:
      ValueError: Options that do not fit together, or everything that is wrong with the files, in one list.
    """
    out = out or (Path(config.out) if config.out else None)
    files = dict(predictions) if predictions is not None else named_files(config.predictions)
    if config.workdir and files:
        raise ValueError(
            f"workdir={config.workdir} and predictions are both given; to compare a run, name its Parquet file in the "
            "latter"
        )
    if config.workdir:
        return _run(config, Path(config.workdir), out)
    if files:
        return _files(config, files, out)
    if config.smoke:
        return _invented(config, Path("runs/evaluate_smoke"), out)
    raise ValueError("predictions must be named by predictions=FILE, or a run by workdir=FOLDER")


def named_files(entries: Sequence[str]) -> dict[str, Path]:
    """Returns the predictions' files by the name of the model: `name=file`, or the file's stem.

    Raises:
      ValueError: Two models of one name, or an empty one.
    """
    files: dict[str, Path] = {}
    for entry in entries:
        name, equals, path = entry.partition("=")
        if not equals or Path(entry).exists():
            name, path = Path(entry).stem, entry
        if not name or not path:
            raise ValueError(f"predictions={entry} must be a file, or name=file")
        if name in files:
            raise ValueError(
                f"predictions={path}: two models are called {name!r}; name them, as in ours={path}"
            )
        files[name] = Path(path).expanduser()
    return files


def check_out(folder: Path) -> Path:
    """Returns the folder to write; one that holds anything but an evaluation is refused.

    Raises:
      ValueError: It is a file, or holds what this script did not write.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out={folder} must be a folder, but is a file")
    if folder.is_dir() and any(folder.iterdir()):
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            ours = "evaluation" in config
        except (OSError, ValueError, TypeError):
            ours = False
        if not ours:
            raise ValueError(f"out={folder} holds other things than an evaluation; name another folder")
    return folder


def _run(config: Config, workdir: Path, out: Path | None) -> Subject:
    run = RunFolder.read(workdir)
    models = run.predictions
    data, level = read_data(config, models, _taxonomy(config) or run.taxonomy)
    document = run.document or {}
    notes = [*document.get("notes", ())]
    if run.study == "cross_dataset":
        notes.append("The photos are those of the first set, A; predictions/ has those of the second, too.")
    return Subject(
        out=out or workdir / "evaluation",
        title=f"Evaluation of the run {workdir.resolve().name}",
        data=dataclasses.replace(data, notes=(*notes, *data.notes)),
        coarse_level=level,
        document={**document, **evaluation_document(config, data, models)},
        run=run,
        photo_root=_photo_root(config, data) or run.photo_root,
        files=models,
        noun="head" if run.study == "probe" else "network",
    )


def _files(config: Config, files: Mapping[str, Path], out: Path | None, synthetic: bool = False) -> Subject:
    data, level = read_data(config, files, _taxonomy(config))
    first = next(iter(files.values()))
    beside = first.parent / str(next(iter(data.models.values()))["image"].iloc[0])
    return Subject(
        out=out or first.parent / "evaluation",
        title=f"Evaluation of {listed(list(files))}",
        data=data,
        coarse_level=level,
        document={
            "study": "evaluation",
            "synthetic": synthetic,
            **evaluation_document(config, data, files),
            **provenance(PACKAGES),
        },
        run=None,
        photo_root=_photo_root(config, data) or (first.parent if beside.is_file() else None),
        files=files,
        noun="model",
    )


def _photo_root(config: Config, data: EvaluationData) -> Path | None:
    """Returns the folder of photos that the options name; None for none.

    Raises:
      ValueError: It is no folder, or none of the predictions' photos lies there.
    """
    if not config.photos:
        return None
    root, images = Path(config.photos), next(iter(data.models.values()))["image"]
    if not root.is_dir():
        raise ValueError(f"photos={config.photos} must be a folder, got none of that name")
    if not any((root / image).is_file() for image in images):
        raise ValueError(
            f"photos={config.photos} must be the folder that the photos' paths start from, got one without "
            f"{images.iloc[0]} or any other of {len(images):,}"
        )
    return root


def _invented(config: Config, folder: Path, out: Path | None) -> Subject:
    """Makes up two models, readers and degrees, written as files and read as anybody's."""
    from skinjax.data.invented import invent_predictions, invent_readers

    name = config.taxonomy or "synthetic19"
    taxonomy = load_taxonomy(name)
    target = config.target or (taxonomy.classes(taxonomy.coarsest)[0],)
    _LOG.info("No --predictions: making up those of two models in %s", folder)
    folder.mkdir(parents=True, exist_ok=True)
    frames = invent_predictions(taxonomy, SMOKE_CASES, skills=(2.5, 2.0), seed=config.seed)
    files = {name: folder / f"{name}.csv" for name in ("first", "second")}
    for frame, path in zip(frames, files.values(), strict=True):
        frame.to_csv(path, index=False)
    level = evaluation_data.level_of(target, taxonomy) or taxonomy.finest
    parents = taxonomy.parents(taxonomy.finest, level)
    positive = [taxonomy.classes(level).index(name) for name in target if name in taxonomy.classes(level)]
    members = [name for name, parent in zip(taxonomy.classes(), parents, strict=True) if parent in positive]
    invent_readers(frames[0], members, 5, config.seed).to_csv(folder / "readers.csv", index=False)
    degrees = {name: number * 3 // len(parents) for number, name in enumerate(taxonomy.classes())}
    (folder / "degrees.json").write_text(json.dumps(degrees), encoding="utf-8")
    config = dataclasses.replace(
        config,
        taxonomy=name,
        target=target,
        readers=config.readers or str(folder / "readers.csv"),
        degrees=config.degrees or str(folder / "degrees.json"),
    )
    return _files(config, files, out, synthetic=True)


def _taxonomy(config: Config) -> Taxonomy | None:
    return load_taxonomy(config.taxonomy) if config.taxonomy else None


def read_data(
    config: Config, files: Mapping[str, Path], taxonomy: Taxonomy | None
) -> tuple[EvaluationData, str | None]:
    """Reads the predictions of all models and what else the options name.

    Args:
      config: The options.
      files: The predictions' file of each model.
      taxonomy: Taxonomy of the labels; None takes the files' own.

    Returns:
      What they hold, and the level that is fused with the finest.

    Raises:
      ValueError: Everything that is wrong with the files.
    """
    kit = kit_of_readers(config, [path.parent for path in files.values()])
    target = config.target or (kit.question if kit else ())
    names = ColumnNames.of(() if config.computes else config.map, config.prefix)
    data = read_evaluation_data(
        files, taxonomy, target, config.degrees or None, config.readers or None, config.subgroups, kit, names
    )
    check_options(config, data)
    if config.smoke:
        data = _few_cases(data, config.seed)
    notes = data.notes
    if taxonomy is None and all(read_taxonomy(path) is None for path in files.values()):
        notes += ("No taxonomy was given: the classes are the columns of the predictions, in one level.",)
    return dataclasses.replace(data, notes=notes), config.coarse_level or evaluation_data.coarse_level(data)


def check_options(config: Config, data: EvaluationData) -> None:
    """Refuses options that do not fit the target or the levels.

    Args:
      config: The options.
      data: What the files hold, with the target, which may come from elsewhere than the options.

    Raises:
      ValueError: There is no target for the prevalence, or no such coarser level.
    """
    if config.prevalence and not data.target:
        raise ValueError(f"prevalence={config.prevalence:g} needs target=CLASS")
    levels = data.taxonomy.levels
    if config.coarse_level and config.coarse_level not in levels[:-1]:
        there = ", ".join(levels[:-1]) or "none"
        raise ValueError(
            f"coarse_level={config.coarse_level} must be one of the coarser levels, which are {there}"
        )


def kit_of_readers(config: Config, places: Sequence[Path]) -> Kit | None:
    """Returns the reading kit that the readers' answers are of, whose question is the target.

    Args:
      config: The options.
      places: Folders in which the kit's folder may lie, beside that of the run.

    Returns:
      The kit; None where there are no readers, or of no kit.

    Raises:
      ValueError: Its key is not found or given without readers, or the target is not what they were asked about.
    """
    if not config.readers:
        if config.readers_key:
            raise ValueError(f"readers_key={config.readers_key} needs readers=FILE, the answers")
        return None
    run = [Path(config.workdir)] if config.workdir else []
    kit = kit_of(config.readers, config.readers_key or None, [*run, *places])
    if kit and config.target and set(config.target) != set(kit.question):
        raise ValueError(
            f"target={','.join(config.target)} must be what the readers of {kit.id} were asked about, "
            f"{','.join(kit.question)}"
        )
    return kit


def _few_cases(data: EvaluationData, seed: int) -> EvaluationData:
    frame = next(iter(data.models.values()))
    cases = frame["case_id"].unique()
    if len(cases) <= SMOKE_CASES:
        return data
    kept = np.random.default_rng(seed).choice(np.asarray(cases), SMOKE_CASES, replace=False)
    few = evaluation_data.select(data, frame["image"][frame["case_id"].isin(kept)].tolist())
    note = f"--smoke: {SMOKE_CASES} of {len(cases):,} cases are looked at, drawn at random."
    return dataclasses.replace(few, notes=(*few.notes, note))


def evaluation_document(config: Config, data: EvaluationData, files: Mapping[str, Path]) -> dict[str, Any]:
    """Returns what `config.json` holds of an evaluation.

    Args:
      config: The options.
      data: The predictions.
      files: The predictions' file of each model.
    """
    frame = next(iter(data.models.values()))
    return {
        "evaluation": {
            "config": config.to_dict(),
            "models": {name: {"file": str(path), "sha256": _sha256(path)} for name, path in files.items()},
            "taxonomy": data.taxonomy.name,
            "photos": len(frame),
            "cases": int(frame["case_id"].nunique()),
        }
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
