"""From a study's options to its photos: read or rendered, audited, with cases, decoded."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinjax.data.audit import AuditReport
from skinjax.data.column_leaks import refuse_leaks, silence_notes
from skinjax.data.columns import check_columns, check_names
from skinjax.data.photo_set import PhotoSet, PreparedPhotos, case_identity, read_photos
from skinjax.data.pipeline.prepare import prepare_share, require_records
from skinjax.files.atomic import replacing
from skinjax.files.locks import Lock
from skinjax.files.progress import Progress
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.options import Options
from skinjax.runs.provenance import PACKAGES, provenance
from skinjax.studies.steps.data_options import PreparationOptions, SourceOptions

if TYPE_CHECKING:
    from skinjax.synthetic import SyntheticSpec

SMOKE_CASES = 4  # per class, with `smoke` and photos of one's own
RANDOM_START = (
    "Networks start from random weights, as no pretrained ones were given; the thesis's started from ImageNet weights, "
    "so these figures are not of its protocol."
)
_LOG = logging.getLogger(__name__)


def synthetic_photos(folder: str | os.PathLike[str], **spec: Any) -> PhotoSet:
    """Renders the built-in photos, or opens those that lie there; nothing drawn from them is medical evidence.

    Args:
      folder: Where the photos are written.
      spec: See `skinjax.synthetic.SyntheticSpec`: `cases_per_class`, `size`, `seed` and more.

    Returns:
      The photos, of the taxonomy `synthetic19`.

    Raises:
      ValueError: A value of the spec is out of range, or the folder holds other files or photos of another spec.
    """
    from skinjax.synthetic import SyntheticSpec, other_spec

    photos = SyntheticSpec(**spec)
    if there := other_spec(folder, photos):
        raise ValueError(
            f"folder must be empty or hold photos of the spec that is asked for, "
            f"got {folder} with photos of {there}; name another folder, or delete that one"
        )
    return _synthetic(folder, photos)


def _synthetic(folder: str | os.PathLike[str], spec: SyntheticSpec) -> PhotoSet:
    """Opens the built-in photos of a folder, or renders them; photos of another spec there are replaced."""
    from skinjax.data.manifest import read_manifest
    from skinjax.synthetic import write_dataset

    path = write_dataset(Path(folder), spec)
    taxonomy = load_taxonomy("synthetic19")
    return PhotoSet(read_manifest(path, taxonomy), path.parent, taxonomy, synthetic=True)


def photos_of(
    given: PhotoSet | None,
    config: SourceOptions,
    folder: RunFolder,
    named: Mapping[str, Any] | None = None,
    inspect: bool = False,
    **spec: Any,
) -> PhotoSet:
    """Returns the photos of a study: those given, those its options name, or the built-in ones.

    Args:
      given: Photos of the caller's; None leaves it to the options.
      config: The study's options.
      folder: Of the run; built-in photos are rendered into its folder `photos`.
      named: What the photos are read from, where it is not the options' own `manifest`, `dataset`, `source`,
        `taxonomy` and `map`.
      inspect: Whether faults of the manifest become findings of the audit instead of an error.
      spec: Of the built-in photos, beside what the options say.

    Raises:
      ValueError: Options that do not fit together, or everything that is wrong with the manifest.
      ModuleNotFoundError: Photos are to be prepared, and the packages for it are not installed.
    """
    if isinstance(config, PreparationOptions) and not inspect:
        require_records()  # before photos are read and audited, which takes its time
    names = ("manifest", "dataset", "source", "taxonomy", "map")
    sources = dict(named) if named is not None else {name: getattr(config, name) for name in names}
    smoke = getattr(config, "smoke", False)
    columns = getattr(config, "columns", ()) if named is None else ()
    if given is not None:
        photos = given
    elif any(sources.values()):
        try:
            photos = read_photos(
                sources["manifest"] or None,
                dataset=sources["dataset"] or None,
                source=sources["source"] or None,
                taxonomy=sources["taxonomy"] or None,
                map=sources["map"],
                inspect=inspect,
            )
        except ValueError as error:
            if named is None:
                raise
            raise ValueError(re.sub(rf"\b({'|'.join(names)})=", r"other_\1=", str(error))) from error
    else:
        photos = processes.first_alone("photos", lambda: _rendered(config, folder, spec))
    check_names(photos.frame, columns)  # before the audit, which takes its time
    if photos.synthetic or smoke:
        return photos.few_cases(SMOKE_CASES) if smoke and not photos.synthetic else photos
    return _noted(photos, config) if named is None else photos


def _noted(photos: PhotoSet, config: SourceOptions) -> PhotoSet:
    """Notes, and says once, that networks start from random weights where weights of ImageNet are published."""
    if getattr(config, "pretrained", None) != "":
        return photos
    from skinjax.models import registry

    backbones = getattr(config, "backbones", None) or (getattr(config, "backbone", ""),)
    if not any("ImageNet" in registry.spec(name).weights for name in backbones):
        return photos
    packaged = all(registry.spec(name).imagenet_package for name in backbones)
    _LOG.warning("WARNING: %s Give --pretrained=%s.", RANDOM_START, "imagenet" if packaged else "FILE")
    return dataclasses.replace(photos, notes=(*photos.notes, RANDOM_START))


def _weight_packages(config: Any) -> tuple[str, ...]:
    """Returns the packages that `pretrained=imagenet` takes weights from, for their versions in `config.json`."""
    from skinjax.models import registry
    from skinjax.models.weights.packages import IMAGENET

    if getattr(config, "pretrained", "") != IMAGENET or getattr(config, "features", ()):
        return ()
    backbones = getattr(config, "backbones", None) or (config.backbone,)
    return tuple(registry.spec(name).imagenet_package for name in backbones)


def named_by(config: Any, photos: PhotoSet) -> Any:
    """Returns the options with what the photos were read from, so that `config.json` names them.

    Args:
      config: A study's options.
      photos: The photos that it was given, or that its options name.
    """
    return dataclasses.replace(config, **photos.origin) if photos.origin else config


def audited(
    photos: PhotoSet,
    config: SourceOptions,
    folder: RunFolder,
    check: Callable[[PhotoSet], object] = lambda photos: None,
) -> PhotoSet:
    """Audits photos where the options ask for it, and lets near-duplicates stand in for cases where there are none.

    Findings that the run told once about the same manifest are not told again when it resumes. Columns that networks
    are to read and that give the label away are refused.

    Args:
      photos: The photos.
      config: The study's options.
      folder: Of the run; findings are written into its folder `audit`.
      check: Refuses photos that the study cannot divide as its options say; it is called as soon as their cases are
        known, before they are decoded, which takes its time.
    """
    if photos.has_cases:
        check(photos)
    found = processes.first_alone("audit", lambda: _audited(photos, config, folder))
    if not photos.has_cases:
        check(found)
    return checked_columns(found, getattr(config, "columns", ()))


def prepared(
    photos: PhotoSet, config: PreparationOptions, folder: RunFolder, image_size: int, suffix: str = ""
) -> PreparedPhotos:
    """Decodes photos once, or opens them where that was done; unreadable photos are left out, and told.

    Args:
      photos: The photos.
      config: The study's options.
      folder: Of the run.
      image_size: Side of the square photos in pixels.
      suffix: Of the folder's name, which tells several preparations of a run apart.
    """
    place = folder.prepared(config, suffix)
    options: dict[str, Any] = {
        "fit": config.fit,
        "max_bad_fraction": config.max_bad_fraction,
        "threads": config.threads,
        "replace_other_settings": not config.prepared,
    }
    with Progress("preparing", len(photos), stream=processes.progress_stream()) as progress:

        def tell(done: int, total: int) -> None:
            progress.update(done * len(photos) // total)  # of several processes' photos by the first one's

        if processes.are_several():
            share = processes.number_and_count()
            prepare_share(
                photos.frame, photos.root, place, share, image_size=image_size, progress=tell, **options
            )
            processes.wait_for_all("preparation, shares")
        found = processes.first_alone(
            "preparation", lambda: photos.prepare(place, image_size, progress=tell, **options)
        )
        progress.update(len(photos))
    return found


def begin(folder: RunFolder, config: Options, *sets: PreparedPhotos) -> dict[str, Any]:
    """Writes the configuration of a run, or checks that the run which began there is the same.

    Args:
      folder: Of the run.
      config: The study's options.
      sets: The photos, of one taxonomy.

    Returns:
      What `config.json` holds.

    Raises:
      ValueError: Options, photos, labels, cases or classes have changed.
    """
    fingerprint = "+".join(one.fingerprint for one in sets)
    return begin_photos(folder, config, fingerprint, *(one.photos for one in sets))


def begin_photos(folder: RunFolder, config: Options, fingerprint: str, *sets: PhotoSet) -> dict[str, Any]:
    """Writes the configuration of a run as `begin` does, also of photos that are not decoded here.

    Args:
      folder: Of the run.
      config: The study's options.
      fingerprint: Identifies what the run is made from.
      sets: The photos, of one taxonomy.

    Returns:
      What `config.json` holds.

    Raises:
      ValueError: As `begin`.
    """

    def work() -> dict[str, Any]:
        return folder.begin(
            config,
            fingerprint,
            sets[0].taxonomy,
            frozenset[str]().union(*(one.identities() for one in sets)),
            frozenset(case_identity(case) for one in sets for case in set(one.frame["case_id"])),
            synthetic=any(one.synthetic for one in sets),
            photo_root=folder.place_of(sets[0].root),
            photos=sum(len(one) for one in sets),
            cases=sum(int(one.frame["case_id"].nunique()) for one in sets),
            notes=list(dict.fromkeys(note for one in sets for note in one.notes)),
            **provenance((*PACKAGES, *_weight_packages(config))),
        )

    return processes.first_alone("configuration", work)


def checked_columns(photos: PhotoSet, names: Sequence[str]) -> PhotoSet:
    """Refuses columns that cannot serve or give the label away, and notes those whose being unknown does."""
    if not names:
        return photos
    frame = photos.frame
    labels, cases = frame["label"], frame["case_id"]
    check_columns(frame, names)
    silent = refuse_leaks(frame, names, labels, cases)
    check_columns(frame, names, silent)
    notes = silence_notes(frame, silent, labels, cases)
    for note in notes:
        _LOG.warning("%s", note)
    return dataclasses.replace(photos, notes=(*photos.notes, *notes))


def _rendered(config: SourceOptions, folder: RunFolder, spec: Mapping[str, Any]) -> PhotoSet:
    from skinjax.synthetic import SyntheticSpec

    size = max(getattr(config, "image_size", 0), 64)
    own = {"cases_per_class": config.synthetic_cases, "size": size, "seed": getattr(config, "seed", 0)}
    rendered = SyntheticSpec(**{**own, **spec})
    _LOG.info("No --manifest: rendering the built-in synthetic photos into %s", folder.photos)
    folder.path.mkdir(parents=True, exist_ok=True)
    with (
        Lock(folder.path / ".lock_photos", wait=True),  # runs of other folds may begin at the same moment
        Progress("rendering", 1, unit="set", stream=processes.progress_stream()) as progress,
    ):
        # A run that did not get as far as its record may begin again with other options.
        photos = _synthetic(folder.photos, rendered)
        progress.update(1)
    return photos


def audit_report(photos: PhotoSet, config: SourceOptions, folder: RunFolder) -> AuditReport:
    """Audits photos and writes what was found into the run's folder `audit`.

    Args:
      photos: The photos.
      config: The study's options.
      folder: Of the run.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    with Lock(folder.path / ".lock_audit", wait=True):
        return _report(photos, config, folder)


def _report(photos: PhotoSet, config: SourceOptions, folder: RunFolder) -> AuditReport:
    with Progress("auditing", len(photos), stream=processes.progress_stream()) as progress:
        report = photos.audit(threads=config.threads, progress=lambda done, total: progress.update(done))
    report.write(folder.audit)
    found = ", ".join(f"{count} {kind}" for kind, count in report.counts.items())
    _LOG.info("audit: %s", found or "nothing found")
    return report


def _audited(photos: PhotoSet, config: SourceOptions, folder: RunFolder) -> PhotoSet:
    folder.path.mkdir(parents=True, exist_ok=True)
    with Lock(folder.path / ".lock_audit", wait=True):
        return _audited_alone(photos, config, folder)


def _audited_alone(photos: PhotoSet, config: SourceOptions, folder: RunFolder) -> PhotoSet:
    told, now = folder.audit / "manifest.txt", photos.fingerprint
    known = told.exists() and told.read_text(encoding="utf-8") == now
    if photos.has_cases and (known or not config.audit):
        return photos
    report = _report(photos, config, folder)
    with replacing(told) as temporary:
        temporary.write_text(now, encoding="utf-8")
    if photos.has_cases:
        return photos
    photos = photos.with_stand_in_cases(report)
    _LOG.warning("%s", photos.notes[-1])
    return photos
