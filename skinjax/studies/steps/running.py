"""A study's run in its folder: begun or resumed, finished once, and its result."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TypeVar

from skinjax.data.photo_set import PhotoSet
from skinjax.runs import processes
from skinjax.runs.folder import RunFolder
from skinjax.runs.options import Options
from skinjax.studies.result import StudyResult
from skinjax.studies.steps.plan import PlanShownError
from skinjax.studies.steps.reporting import result_of

Found = TypeVar("Found", bound=StudyResult)
_LOG = logging.getLogger(__name__)


def carry_out(
    kind: type[Found],
    study: str,
    config: Options,
    workdir: str | os.PathLike[str],
    work: Callable[[RunFolder], list[str]],
    *photos: PhotoSet | None,
    again: bool = False,
) -> Found:
    """Does the work of a study in its folder, unless it is finished there, and returns its result.

    Args:
      kind: Class of the result.
      study: Name of the study.
      config: Its options.
      workdir: Folder of the run, made if missing.
      work: Trains and reports; returns the names of the predictions that other processes still have to make.
      photos: Photos that the caller gave, which must be those of a finished run; None for those of the options.
      again: Whether the work of a finished run, which trains nothing any more, is done again.

    Raises:
      ValueError: The folder holds another run, is in use or cannot be used, or the work refuses something.
    """
    with RunFolder.open(workdir, study, config) as folder:
        pending: list[str] = []
        if getattr(config, "plan", False):
            return _planned(kind, study, folder, work)
        if folder.finished:
            _refuse_other_photos(folder, *photos)
        if folder.finished and not again:
            _LOG.info("finished already: %s", folder.page)
        else:
            pending = work(folder)
            processes.wait_for_all("result")  # the first of several writes the report
        return result_of(kind, folder, pending)


def _planned(
    kind: type[Found], study: str, folder: RunFolder, work: Callable[[RunFolder], list[str]]
) -> Found:
    """Returns a result whose headline is the plan of the run."""
    try:
        work(folder)
    except PlanShownError as shown:
        return kind(study, folder.path, (str(shown),))
    raise AssertionError(f"{study} trains without a plan")


def _refuse_other_photos(folder: RunFolder, *given: PhotoSet | None) -> None:
    """Refuses a finished run of other photos than the caller's, whose result would be taken for theirs."""
    sets = [photos for photos in given if photos is not None]
    if not sets or len(sets) < len(given) or not all(photos.has_cases for photos in sets):
        return
    seen = folder.photos_seen
    if missing := len(seen - frozenset[str]().union(*(photos.identities() for photos in sets))):
        raise ValueError(
            f"workdir={folder.path} holds a finished run of other photos: {missing:,} of its {len(seen):,} are not "
            "among those given; name another folder"
        )
