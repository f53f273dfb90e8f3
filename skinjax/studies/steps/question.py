"""The question of the two-stage study, and what its report shows that no training depends on."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinjax.data.manifest import ManifestError, read_manifest
from skinjax.data.photo_set import PhotoSet, refuse_shared_cases
from skinjax.data.spelling import as_classes
from skinjax.files.atomic import replacing
from skinjax.files.digests import file_hash
from skinjax.labels.taxonomy import Taxonomy
from skinjax.runs.folder import RunFolder
from skinjax.studies.steps import targets

if TYPE_CHECKING:
    from skinjax.studies.two_stage import Config

RELATION = "relation"
"""Level that groups classes by how alike they are to the target, where a taxonomy has it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """The question that the options put.

    Attributes:
      target: classes of the finest level that count as positive.
      title: of the target, for people.
      left_out: classes of the finest level that are not trained on.
      foreign: the manifest of photos from elsewhere, or None.
      taxonomy: of the classes that are trained on.
      relatives: the level by which the other classes are grouped, or None.
    """

    target: tuple[str, ...]
    title: str
    left_out: tuple[str, ...]
    foreign: PhotoSet | None
    taxonomy: Taxonomy
    relatives: str | None

    @property
    def binary(self) -> Taxonomy:
        """Returns the taxonomy of the single-stage networks."""
        titles = (("target", self.title), ("other", f"Not {self.title}"))
        return Taxonomy("target against the rest", ("target",), (("other",), ("target",)), titles)


def ask(config: Config, read: PhotoSet) -> Question:
    """Returns the study's question, before any photo is decoded.

    Args:
      config: The study's options.
      read: The photos.

    Raises:
      ValueError: A target, left-out class or level that is none, classes that leave nothing to tell apart, or readers
        or photos from elsewhere that cannot be used.
    """
    taxonomy = read.taxonomy
    target = targets.members("target", config.target, taxonomy)
    left_out = targets.members("leave_out", config.leave_out, taxonomy) if config.leave_out else ()
    if both := [name for name in target if name in left_out]:
        raise ValueError(
            f"leave_out={','.join(config.leave_out)} leaves out {both[0]}, which is of the target"
        )
    if not set(taxonomy.classes()) - set(target) - set(left_out):
        raise ValueError(
            f"target={','.join(config.target)} and leave_out={','.join(config.leave_out)} must leave another class "
            "to train on"
        )
    known = taxonomy.without(left_out)
    targets.readers(config.readers, read.frame["image"])
    return Question(
        target=target,
        title=", ".join(taxonomy.title(name) for name in config.target),
        left_out=left_out,
        foreign=_foreign(config, known, read),
        taxonomy=known,
        relatives=_relatives(config.relatives, known),
    )


def _foreign(config: Config, taxonomy: Taxonomy, own: PhotoSet) -> PhotoSet | None:
    if not config.foreign:
        if config.foreign_map:
            raise ValueError(f"foreign_map={','.join(config.foreign_map)} must be given with foreign=FILE")
        return None
    path = Path(config.foreign)
    try:
        frame = read_manifest(path, map=config.foreign_map)
    except ManifestError as error:
        told = re.sub(r"\bmap=", "foreign_map=", str(error))
        raise ValueError(f"foreign={told}") from error
    except ValueError as error:  # an entry that is no pair
        raise ValueError(f"foreign_{error}") from error
    notes: tuple[str, ...] = ()
    if "case_id" not in frame:
        frame = frame.assign(case_id=frame["image"])
        notes = (f"{path.name} has no case_id: each photo counts as a case of its own.",)
    meant = as_classes(frame["label"].unique(), taxonomy.classes(), dict(taxonomy.titles))
    if meant:
        told = ", ".join(f"{given!r} for {found!r}" for given, found in meant.items())
        notes += (
            f"Labels of {path.name} that differ from a class by case, blanks or such were taken for it: {told}.",
        )
        frame = frame.assign(label=frame["label"].replace(meant))
    tree = widened(taxonomy, frame["label"])
    found = PhotoSet(frame, path.resolve().parent, tree, notes=notes)
    if found.root == own.root:
        refuse_shared_cases(f"foreign={path} and the photos that are trained on", found, own)
    _refuse_own_photos(path, found, own)
    return found


def _refuse_own_photos(path: Path, found: PhotoSet, own: PhotoSet) -> None:
    """Refuses photos from elsewhere that are, to the byte, photos of the run, whatever their names and cases."""
    theirs = {image: file for image in found.frame["image"] if (file := found.root / image).is_file()}
    sizes = {file.stat().st_size for file in theirs.values()}
    files = (own.root / image for image in own.frame["image"])
    ours = {file_hash(file) for file in files if file.is_file() and file.stat().st_size in sizes}
    same = [image for image, file in theirs.items() if ours and file_hash(file) in ours]
    if same:
        raise ValueError(
            f"foreign={path} must hold no photo of the run's own, got {len(same):,} that are, such as {same[0]}"
        )


def _relatives(level: str, taxonomy: Taxonomy) -> str | None:
    """Returns the level that is asked for, or by default `relation`, or else the one above the finest."""
    if level and level not in taxonomy.levels:
        raise ValueError(
            f"relatives={level} must be a level of {taxonomy.name}, which are {', '.join(taxonomy.levels)}"
        )
    coarser = taxonomy.levels[:-1]
    return level or (RELATION if RELATION in coarser else coarser[-1] if coarser else None)


def widened(taxonomy: Taxonomy, labels: Iterable[str]) -> Taxonomy:
    """Returns a flat taxonomy of the classes that a network knows, and of labels that it does not."""
    names = dict.fromkeys([*taxonomy.classes(), *labels])
    titles = tuple((name, title) for name, title in taxonomy.titles if name in names)
    return Taxonomy(f"{taxonomy.name} and others", ("class",), tuple((name,) for name in names), titles)


def is_shown(folder: RunFolder, config: Config) -> bool:
    """Returns whether a finished run's report is the one that the options ask for.

    Args:
      folder: Of the run.
      config: The study's options.
    """
    if not folder.finished:
        return False
    asked = _asked(config)
    if not folder.shown.is_file():  # of an earlier version
        before = {**folder.options, "foreign_map": ",".join(folder.options.get("foreign_map", ()))}
        return all(before.get(name, "") == value["option"] for name, value in asked.items())
    shown = json.loads(folder.shown.read_text(encoding="utf-8"))
    return all(_same(value, shown.get(name, {})) for name, value in asked.items())


def note_shown(folder: RunFolder, config: Config) -> None:
    """Writes down what the report was asked to show.

    Args:
      folder: Of the run, whose report has just been written.
      config: The study's options.
    """
    with replacing(folder.shown) as temporary:
        temporary.write_text(json.dumps(_asked(config), indent=1), encoding="utf-8")


def _asked(config: Config) -> dict[str, dict[str, Any]]:
    """Returns the options that the report alone depends on, files with what identifies their content."""
    asked: dict[str, dict[str, Any]] = {
        name: {"option": getattr(config, name)} for name in ("strategy", "relatives")
    }
    asked["foreign_map"] = {"option": ",".join(config.foreign_map)}
    for name in ("foreign", "readers"):
        path = getattr(config, name)
        content = file_hash(Path(path)) if path and Path(path).is_file() else None
        asked[name] = {"option": path, "content": content}
    return asked


def _same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Says whether an option is as it was; of a file, its content counts as long as it is there."""
    content = now.get("content")
    return bool(
        now["option"] == before.get("option", "") if content is None else content == before.get("content")
    )
