"""The basis of a run's answers, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from skinjax.runs.folder import RunFolder

if TYPE_CHECKING:
    from skinjax.predict.cases import CaseContext
    from skinjax.predict.networks import Predictor
    from skinjax.predict.photos import AnswerContext


def run_notes(
    predictor: Predictor, context: AnswerContext, folder: RunFolder, cases: CaseContext | None = None
) -> Iterator[str]:
    """Returns what answers rest on, in sentences.

    Args:
      predictor: Networks of the run.
      context: Settings of the answers for photos.
      folder: The run.
      cases: Those of the answers for cases, where answers are by case.
    """
    from skinjax.predict.advice import record_notes

    made_of = ", ".join(f"{level} ({stage})" for level, stage in predictor.stages.items())
    count = len(predictor.members)
    several = f"the mean of {count} folds" if count > 1 else "its only fold"
    which = f"fold {predictor.fold + 1} (fold={predictor.fold})" if predictor.fold >= 0 else several
    yield f"networks of {folder.path}, {which}: {made_of}"
    if folder.synthetic:
        yield "they learned from made-up photos: nothing they say is medical evidence"
    decisions, options = context.decisions, context.options
    if cases is not None:
        yield from case_notes(cases, predictor.fold >= 0)
    elif decisions.photos:
        share = f"{100 * options.coverage:g}%"
        calibrated = f"calibrated on {decisions.photos:,} of the run's photos of {decisions.cases:,} cases"
        if predictor.fold >= 0:
            yield f"{calibrated} that they have not seen; sets hold the true class of {share} of new photos like those"
        else:
            yield (
                f"{calibrated}, each answered by the one fold that has not seen it; the mean of folds is less certain "
                f"than one, so expect sets that hold the true class oftener than {share}, and fewer answers than asked"
            )
        if np.isinf(decisions.set_threshold):
            yield f"{decisions.cases} cases are too few for that: sets hold every class"
    else:
        from skinjax.predict.table import NOT_CALIBRATED

        yield NOT_CALIBRATED
    if context.target is not None and cases is None:
        yield context.target.note()
    if not options.degree_of_class:
        yield "no advice: no degrees of malignancy are known of these classes; give degrees=FILE, or a catalogue name"
    elif cases is None:
        yield from record_notes(context.record)
    if context.limits.photos:
        yield (
            "usual sharpness, brightness and appearance of photos: measured on "
            f"{context.limits.photos:,} of the run's photos"
        )


def case_notes(cases: CaseContext, unseen: bool) -> Iterator[str]:
    """Returns what answers for cases rest on, in sentences.

    Args:
      cases: Settings of these answers.
      unseen: Whether the networks that answer have not seen the cases that they were calibrated on; otherwise the one
        fold that has not seen each answered it, and the mean of folds is less certain than that.
    """
    from skinjax.predict.advice import record_notes
    from skinjax.predict.table import NOT_CALIBRATED

    found, options = cases.decisions, cases.photo.options
    decisions = found.decisions
    if found.mixed:
        yield (
            "nothing was fitted on cases whose photos have different diagnoses and no lesion_id to tell them apart: "
            f"{found.mixed:,} of the run's"
        )
    if not decisions.photos:
        yield NOT_CALIBRATED
        return
    share = f"{100 * options.coverage:g}%"
    sentence = (
        f"calibrated on {decisions.photos:,} of the run's cases with {found.photos:,} photos, {found.several:,} of "
        "them with several, "
    )
    if unseen:
        yield f"{sentence}that the networks have not seen; sets hold the true class of {share} of new cases like those"
    else:
        yield (
            f"{sentence}each answered by the one fold that has not seen it; the mean of folds is less certain than "
            f"one, so expect sets that hold the true class oftener than {share}, and fewer answers than asked"
        )
    if np.isinf(decisions.set_threshold):
        yield f"{decisions.cases} cases are too few for that: sets hold every class"
    if np.isinf(found.disagreement):
        yield "too few of them have several photos to tell how far photos of one case may disagree"
    if options.degree_of_class:
        yield from record_notes(cases.record, "cases")
