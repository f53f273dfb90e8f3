"""From a run and new labelled photos to the subject of a report: read, compared with those seen, answered."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skinjax.data import predictions
from skinjax.data.audit import AuditReport
from skinjax.data.evaluation_data import (
    EvaluationData,
    EvaluationDataError,
    level_of,
    read_evaluation_data,
    select,
)
from skinjax.data.photo_set import PhotoSet, read_photos
from skinjax.data.reading_kit import Kit
from skinjax.files.progress import Progress
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.networks import load_predictor, no_networks
from skinjax.runs.folder import RunFolder
from skinjax.runs.provenance import provenance
from skinjax.studies.steps import evaluated
from skinjax.studies.steps.inputs import SMOKE_CASES
from skinjax.studies.steps.label_space import LabelSpace, label_space
from skinjax.studies.steps.new_answers import NewAnswers, answers_of, fitted_section
from skinjax.studies.steps.seen import Seen, seen_photos

if TYPE_CHECKING:
    from skinjax.studies.evaluation import Config

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """The photos that are evaluated.

    Attributes:
      photos: With the run's labels and with cases.
      space: The classes that they are evaluated in.
      audit: Of all photos that were named.
      flow: What became of these: words, photos and cases.
      notes: Sentences to be read beside the results.
    """

    photos: PhotoSet
    space: LabelSpace
    audit: AuditReport
    flow: tuple[tuple[str, int, int], ...]
    notes: tuple[str, ...]


def read(config: Config, given: PhotoSet | None, out: Path | None, scratch: Path) -> evaluated.Subject:
    """Answers new photos by the networks of a run, having checked everything that can be checked before.

    Args:
      config: The options; `workdir` names the run.
      given: The photos; None takes those that the options name.
      out: Folder to write; None takes that of the options, or one in the run's folder.
      scratch: Folder for files until the report is written.

    Raises:
      ValueError: There is no run with networks, the photos cannot be evaluated by it, or options that do not fit.
    """
    if not config.workdir:
        raise ValueError("new photos must come with workdir=FOLDER, the run whose networks answer them")
    folder = open_run(Path(config.workdir))
    named = ("manifest", "dataset", "source", "taxonomy", "map")
    sources: dict[str, Any] = {name: value for name in named if (value := getattr(config, name))}
    photos = given if given is not None else read_photos(**sources)
    photos = photos.few_cases(SMOKE_CASES) if config.smoke else photos
    out = evaluated.check_out(out or (Path(config.out) if config.out else _free_folder(folder.path, photos)))
    space = label_space(photos, folder.taxonomy, config.shared_taxonomy, config.other_classes)
    kit = evaluated.kit_of_readers(config, [photos.root])
    asked = config.target or (kit.question if kit else _target_of(folder, space.taxonomy))
    config = dataclasses.replace(config, target=asked)
    checked = _check_options(config, photos, space, scratch, kit)
    loaded = {
        name: load_predictor(
            folder.path, -1 if config.ensemble else config.fold, stages, runtime=config.runtime
        )
        for name, stages in _models(config, folder).items()
    }
    chosen = choose(config, folder, photos, space)
    found = answers_of(config, folder, loaded, chosen)
    files = {}
    for number, (name, frame) in enumerate(found.frames.items()):
        files[name] = scratch / ("predictions.parquet" if not number else f"predictions_{number}.parquet")
        predictions.write_predictions(frame, files[name], space.taxonomy)
    left = _of_evaluated(checked, next(iter(found.frames.values()))["image"].tolist())
    groups = config.subgroups and left.subgroups
    rest = dataclasses.replace(config, readers="", readers_key="", taxonomy="", smoke=False, subgroups=groups)
    data, level = evaluated.read_data(rest, files, space.taxonomy)
    notes = tuple(dict.fromkeys((*found.notes, *left.notes, *data.notes)))
    section, verdict = fitted_section(config, folder, found, chosen)
    return evaluated.Subject(
        out=out,
        title=f"The run {folder.path.resolve().name} on new photos",
        data=dataclasses.replace(
            data, degrees=data.degrees or _degrees(space.taxonomy), readers=left.readers, notes=notes
        ),
        coarse_level=level,
        document=_document(config, folder, photos, found, data, files, out),
        run=folder,
        photo_root=photos.root,
        files=files,
        kept=True,
        audit=chosen.audit,
        extra=(section,),
        afterword=tuple(verdict),
    )


def open_run(path: Path) -> RunFolder:
    """Opens a run whose networks are to answer.

    Args:
      path: Its folder.

    Raises:
      ValueError: It is no run's folder, or a run's that keeps no networks.
    """
    try:
        evaluation = "evaluation" in json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        evaluation = False
    if evaluation:
        raise ValueError(
            f"workdir={path} must be the folder of a run, got that of an evaluation, which has no networks"
        )
    folder = RunFolder.read(path)
    if folder.study == "evolution":
        raise ValueError(
            f"workdir={path} is a run of evolution, which keeps no networks; train one with its evolved.flags"
        )
    if not folder.folds:
        raise ValueError(no_networks(folder))
    return folder


def choose(config: Config, folder: RunFolder, photos: PhotoSet, space: LabelSpace) -> Chosen:
    """Audits new photos and leaves out those that cannot be read, of other classes, or seen.

    Args:
      config: The options.
      folder: Of the run.
      photos: The photos that were named.
      space: What their labels stand for.

    Raises:
      ValueError: Photos that the run has seen, unless they are left out, or none that is left.
    """
    has_cases = photos.has_cases
    with Progress("auditing", len(photos)) as progress:
        report = photos.audit(threads=config.threads, progress=lambda done, total: progress.update(done))
    if not has_cases:
        photos = photos.with_stand_in_cases(report)
        _LOG.warning("%s", photos.notes[-1])
    bad = (report.photos["problem"] != "").to_numpy(bool)
    for image, reason in report.photos.loc[bad, ["image", "reason"]].itertuples(index=False):
        _LOG.warning("left out %s: %s", image, reason)
    found = seen_photos(
        folder, photos, report, has_cases=has_cases, other_patients=config.other_patients,
        threads=config.threads,
    )  # fmt: skip
    candidates = space.known & ~bad
    seen = found.mask & candidates
    how = dataclasses.replace(found, how=np.where(candidates, found.how, np.array(None, object)))
    told = how.counted(photos.frame["image"].to_numpy(object))
    if seen.any() and config.seen == "refuse":
        raise ValueError(_refusal(config, folder, how, told, int(candidates.sum())))
    left = candidates & ~seen
    flow = _flow(photos, space.known, bad, seen, left)
    if not has_cases:
        flow = tuple((words, count, 0) for words, count, _ in flow)  # groups of near-duplicates are no cases
    if not left.any():
        counts = ", ".join(
            f"{count:,} {words[0].lower()}{words[1:]}" for words, count, _ in flow[1:-1] if count
        )
        raise ValueError(f"no photo of {len(photos):,} is left to evaluate: {counts}")
    notes = [*photos.notes, *space.notes, *found.notes]
    if bad.any():
        notes.append(f"Photos that cannot be read are left out: {int(bad.sum()):,}.")
    if seen.any():
        notes.append(f"Photos that the run has seen are left out: {how.counted()}.")
    for note in notes:
        _LOG.info("%s", note)
    kept = photos.chosen(np.flatnonzero(left), taxonomy=space.taxonomy, synthetic=_rendered(photos))
    frame = kept.frame
    if (frame["label"] != space.labels[left]).any():
        frame = frame.assign(given_label=frame["label"])
    kept = dataclasses.replace(kept, frame=frame.assign(label=space.labels[left]))
    return Chosen(kept, space, report, flow, tuple(notes))


def _refusal(config: Config, folder: RunFolder, how: Seen, told: str, total: int) -> str:
    message = (
        f"the photos must be new to the run in {folder.path}, got {int(how.mask.sum()):,} of {total:,} that it has "
        f"seen: {told}; leave them out by seen=leave_out"
    )
    if "case" in how.how.tolist():
        message += ", or where equal case ids are of other people's, say so by other_patients=True"
    return message


def _flow(
    photos: PhotoSet, known: NDArray[np.bool_], bad: NDArray[np.bool_], seen: NDArray[np.bool_],
    left: NDArray[np.bool_],
) -> tuple[tuple[str, int, int], ...]:  # fmt: skip
    cases = photos.frame["case_id"]
    steps = {
        "Named": np.ones(len(photos), bool),
        "Of classes that the run does not know": ~known,
        "Cannot be read": bad & known,
        "Seen by the run": seen,
        "Evaluated": left,
    }
    return tuple((words, int(mask.sum()), int(cases[mask].nunique())) for words, mask in steps.items())


def _rendered(photos: PhotoSet) -> bool:
    return photos.synthetic or (photos.root / "synthetic.json").is_file()


def _check_options(
    config: Config, photos: PhotoSet, space: LabelSpace, scratch: Path, kit: Kit | None
) -> EvaluationData:
    """Reads target, degrees, readers and groups before any photo is opened, with even probabilities for all photos."""
    frame = photos.frame[space.known]
    cases = frame["case_id"] if photos.has_cases else frame["image"]
    count = len(space.taxonomy.classes())
    even = predictions.from_arrays(
        frame["image"], cases, space.labels[space.known], 0, np.full((len(frame), count), 1 / count),
        space.taxonomy, extra=frame,
    )  # fmt: skip
    path = scratch / "manifest.parquet"
    predictions.write_predictions(even, path, space.taxonomy)
    degrees, readers = config.degrees or None, config.readers or None
    try:
        data = read_evaluation_data(
            {"new": path}, space.taxonomy, config.target, degrees, readers, config.subgroups, kit
        )
    except EvaluationDataError as error:
        name = photos.origin.get("manifest") or "the new photos"
        raise EvaluationDataError([one.replace(str(path), name) for one in error.problems]) from error
    evaluated.check_options(config, data)
    return data


def _of_evaluated(checked: EvaluationData, images: Sequence[str]) -> EvaluationData:
    """Returns what was checked of all photos for those that are evaluated: readers, groups that still differ, notes."""
    left = select(checked, images)
    frame = next(iter(left.models.values()))
    groups = [name for name in left.subgroups if name == "age" or frame[name].replace("", None).nunique() > 1]
    notes = list(left.notes)
    if lost := [name for name in left.subgroups if name not in groups]:
        notes.append(f"The photos that are left are of one group by {' and by '.join(lost)}.")
    called, kept = (0 if one.readers is None else one.readers["image"].nunique() for one in (checked, left))
    if kept < called:
        notes.append(
            f"Of the {called:,} photos that the readers called, {called - kept:,} are not evaluated and left out."
        )
    return dataclasses.replace(left, subgroups=tuple(groups), notes=tuple(notes))


def _models(config: Config, folder: RunFolder) -> Mapping[str, tuple[str, ...]]:
    """Returns the networks that answer, one per level, by name of the model."""
    if config.stages:
        return {" and ".join(config.stages): config.stages}
    if folder.study == "backbones":
        return {name: (name,) for name in folder.options.get("backbones", ())}
    if folder.study == "cross_dataset":
        return {f"trained on {side.upper()}": (side,) for side in "ab"}
    return {folder.path.resolve().name: ()}


def _target_of(folder: RunFolder, taxonomy: Taxonomy) -> tuple[str, ...]:
    """Returns the classes that the run itself counted as positive, where the photos' taxonomy has them."""
    target = tuple(folder.options.get("target") or ())
    if folder.study == "malignancy" and "degree" in taxonomy.levels:
        target = taxonomy.classes("degree")[1:]
    return target if target and level_of(target, taxonomy) is not None else ()


def _degrees(taxonomy: Taxonomy) -> dict[str, int] | None:
    """Returns the degree of each class, of a run of the study of malignancy."""
    if taxonomy.coarsest != "degree" or len(taxonomy.levels) == 1:
        return None
    return dict(zip(taxonomy.classes(), taxonomy.parents(taxonomy.finest, "degree").tolist(), strict=True))


def _free_folder(workdir: Path, photos: PhotoSet) -> Path:
    """Returns a folder in the run's that is called after the photos and holds no evaluation of others."""
    manifest, dataset = photos.origin.get("manifest", ""), photos.origin.get("dataset", "")
    name = dataset if dataset not in ("", "folders") else Path(manifest).stem
    name = photos.root.name if name in ("", "manifest") else name
    folder, number = workdir / f"evaluation_{name}", 1
    while folder.exists():
        try:
            asked = json.loads((folder / "config.json").read_text(encoding="utf-8"))["evaluation"]
            if asked["photo_root"] == str(photos.root) and asked["manifest"] == photos.fingerprint:
                break
        except (OSError, ValueError, TypeError, KeyError):
            pass
        number += 1
        folder = workdir / f"evaluation_{name}_{number}"
    return folder


def _document(
    config: Config, folder: RunFolder, photos: PhotoSet, found: NewAnswers, data: EvaluationData,
    files: Mapping[str, Path], out: Path,
) -> dict[str, Any]:  # fmt: skip
    run = folder.document or {}
    kept = {name: run[name] for name in ("data_fingerprint", "photos", "cases") if name in run}
    document = evaluated.evaluation_document(config, data, files)
    asked = document["evaluation"]
    for name, path in files.items():
        asked["models"][name]["file"] = str(out / path.name)
    asked |= {"manifest": photos.fingerprint, "photo_root": str(photos.root), "runtime": config.runtime}
    asked["photos_flow"] = {words: count for words, count, _ in found.flow}
    return {
        "study": folder.study,
        "synthetic": _rendered(photos),
        "run": {"workdir": str(folder.path), **kept},
        "config": folder.options,
        **document,
        **provenance(),
    }
