"""Answers of a run's networks to new photos, and how far fits on the run's own photos hold on them."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.data import predictions
from skinjax.data.columns import unknown_columns
from skinjax.data.evaluation_data import level_of
from skinjax.data.predictions import Predictions, read_predictions
from skinjax.decide.two_stage import fit_threshold
from skinjax.files.progress import Progress
from skinjax.predict.decisions import (
    DecisionOptions,
    Decisions,
    decide,
    fit_decisions,
    fuse_levels_of,
)
from skinjax.predict.networks import Predictor
from skinjax.predict.probabilities import PhotoProbabilities, photo_probabilities
from skinjax.predict.run_decisions import predictions_path
from skinjax.predict.run_target import predictor_target
from skinjax.report.blocks import Section
from skinjax.report.cases import unit_of
from skinjax.report.sections.new_photos import FittedAnswers, new_photos_section
from skinjax.report.tables.target_models import Intervals
from skinjax.runs.folder import RunFolder
from skinjax.studies.steps.label_space import LabelSpace

if TYPE_CHECKING:
    from skinjax.studies.evaluation import Config
    from skinjax.studies.steps.new_photos import Chosen

_LOG = logging.getLogger(__name__)
Probabilities = Mapping[str, NDArray[np.floating]]


@dataclasses.dataclass(frozen=True, eq=False)
class NewAnswers:
    """Answers of a run's networks for new photos.

    Attributes:
      frames: Predictions by name of the model, the main one first; not calibrated.
      predictor: The networks of the main model.
      probs: Level of the run -> float32[n, K], what they say.
      flow: What became of the photos; see `Chosen`.
      notes: Sentences to be read beside the results.
    """

    frames: dict[str, pd.DataFrame]
    predictor: Predictor
    probs: Probabilities
    flow: tuple[tuple[str, int, int], ...]
    notes: tuple[str, ...]


def answers_of(
    config: Config, folder: RunFolder, loaded: Mapping[str, Predictor], chosen: Chosen
) -> NewAnswers:
    """Answers photos by the networks of a run; those that turn out not to be readable are left out.

    Args:
      config: The options.
      folder: Of the run.
      loaded: The networks that answer together, by name of the model.
      chosen: The photos.

    Raises:
      ValueError: No photo can be read.
    """
    photos = chosen.photos
    paths = [photos.root / image for image in photos.frame["image"]]
    said: dict[str, PhotoProbabilities] = {}
    for name, predictor in loaded.items():
        with Progress(f"answering, {name}" if len(loaded) > 1 else "answering", len(paths)) as progress:
            said[name] = photo_probabilities(
                predictor, paths, photos.frame, batch_size=config.batch_size, threads=config.threads,
                progress=progress.update,
            )  # fmt: skip
    rows = sorted(set.intersection(*(set(one.rows.tolist()) for one in said.values())))
    if not rows:
        raise ValueError(f"no photo of {len(paths):,} can be read")
    flow, notes = chosen.flow, list(chosen.notes)
    if len(rows) < len(paths):
        lost = {row: why for one in said.values() for row, why in one.unreadable.items()}
        for row, why in sorted(lost.items()):
            _LOG.warning("left out %s: %s", photos.frame["image"].iloc[row], why)
        notes.append(f"Photos that cannot be decoded are left out: {len(lost):,}.")
        cases = int(photos.frame["case_id"].iloc[rows].nunique())
        flow = (*flow[:-1], ("Cannot be decoded", len(lost), 0), ("Evaluated", len(rows), cases))
    frame = photos.frame.iloc[rows].reset_index(drop=True)
    frames: dict[str, pd.DataFrame] = {}
    first: Probabilities = {}
    for name, one in said.items():
        probs = {level: values[np.isin(one.rows, rows)] for level, values in one.probs.items()}
        first = first or probs
        finest, coarser = chosen.space.probabilities(probs)
        frames[name] = predictions.from_arrays(
            frame["image"], frame["case_id"], frame["label"], 0, finest, chosen.space.taxonomy, coarser, frame
        )
    for predictor in loaded.values():
        told = unknown_columns(predictor.coding, frame)
        notes += [f"{note[0].upper()}{note[1:]}." for note in told]
    notes = list(dict.fromkeys(notes))
    if folder.synthetic:
        notes.append("The networks learned from rendered photos: nothing they say is medical evidence.")
    return NewAnswers(frames, next(iter(loaded.values())), first, flow, tuple(notes))


def fitted_section(
    config: Config, folder: RunFolder, found: NewAnswers, chosen: Chosen
) -> tuple[Section, list[str]]:
    """Builds the section of new photos; see `skinjax.report.sections.new_photos`.

    Args:
      config: The options, with the target.
      folder: Of the run.
      found: Answers for the photos.
      chosen: The photos.

    Returns:
      The section, and sentences for the top of the page.
    """
    space, how = chosen.space, Intervals(config.replicates, config.confidence, config.seed)
    new = own_answers = None
    title = threshold = ""
    own = _own(found.predictor)
    frame = next(iter(found.frames.values()))
    if own is not None:
        options = DecisionOptions()
        own_probs = {level: own.probabilities(level) for level in found.predictor.levels}
        fits = fit_decisions(own_probs, own.label, own.case_id, space.run, options)
        labels = space.taxonomy.encode(frame["label"])
        target = _target(config, found.predictor, space, own, own_probs)
        if target is not None:
            title, threshold = target.title, target.origin
        new = _answers(found.probs, labels, frame["case_id"].to_numpy(object), space, fits, options, target)
        own_answers = _answers(
            own_probs, space.class_of[own.label], own.case_id, space, fits, options, target
        )
    section, verdict = new_photos_section(
        found.flow, list(_networks(folder, found.predictor)), new, own_answers,
        {"covered": DecisionOptions.coverage, "answered": DecisionOptions.answered}, title, threshold, how,
        unit_of(frame["case_id"], frame["image"]),
    )  # fmt: skip
    return section, verdict


def _networks(folder: RunFolder, predictor: Predictor) -> list[str]:
    made_of = ", ".join(f"{level} ({stage})" for level, stage in predictor.stages.items())
    count = len(predictor.members)
    several = f"the mean of {count} folds" if count > 1 else "its only fold"
    which = f"fold {predictor.fold + 1}" if predictor.fold >= 0 else several
    name = predictor.members[0][predictor.taxonomy.finest].network.backbone
    lines = [
        f"Networks of the run {folder.path.resolve().name}, {which}: {made_of}; {name} at {predictor.image_size} "
        "pixels, restored from their checkpoints."
    ]
    if predictor.fold < 0:
        lines.append(
            "No photo of the run is unseen by all folds: its own photos were answered by the one fold that has not "
            "seen them, whose answers are more certain than the mean of all."
        )
    return lines


def _own(predictor: Predictor) -> Predictions | None:
    """Returns the stored predictions of photos that the predictor's networks were not trained on."""
    path = predictions_path(predictor)
    if path is None:
        return None
    own = Predictions.from_frame(read_predictions(path), predictor.taxonomy)
    if predictor.fold >= 0:
        own = own.take(own.fold == predictor.fold)
    return own if len(own) else None


def _answers(
    probs: Probabilities,
    labels: NDArray[np.integer],
    cases: NDArray[Any],
    space: LabelSpace,
    fits: Decisions,
    options: DecisionOptions,
    target: _Target | None,
) -> FittedAnswers:
    outcome = decide(probs, space.run, options, fits)
    finest = space.taxonomy.finest
    whole = finest in space.run.levels and space.run.classes(finest) == space.taxonomy.classes()
    after = outcome["probs"][finest] if whole else space.summed(outcome["probs"][space.run.finest])
    fused = np.asarray(fuse_levels_of(probs, space.run))
    before = space.probabilities(probs)[0] if finest != space.run.finest else space.summed(fused)
    holds = outcome["set"] & np.equal(space.class_of[None, :], labels[:, None])
    return FittedAnswers(
        labels=labels,
        cases=cases,
        before=np.asarray(before, np.float64),
        after=np.asarray(after, np.float64),
        covered=holds.any(axis=1),
        set_size=outcome["set"].sum(axis=1),
        certain=np.asarray(outcome["certain"], bool),
        target=None if target is None else target.member[labels],
        called=None if target is None else target.calls(probs),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Target:
    """The target with a threshold that was fitted on the run's own photos.

    Attributes:
      title: For people.
      member: bool[C], which classes of the evaluation are of the target.
      calls: From probabilities of the run's networks to bool[n], which photos are called the target.
      origin: Where the threshold comes from, as a phrase.
    """

    title: str
    member: NDArray[np.bool_]
    calls: Callable[[Probabilities], NDArray[np.bool_]]
    origin: str


def _target(
    config: Config, predictor: Predictor, space: LabelSpace, own: Predictions, own_probs: Probabilities
) -> _Target | None:
    """Takes the threshold of a two-stage run's own target, or fits one.

    Returns:
      None without a target, or where the run's photos are all or none of it.
    """
    level = level_of(config.target, space.taxonomy) if config.target else None
    if level is None:
        return None
    chosen = np.isin(space.taxonomy.classes(level), config.target)
    member = chosen[space.taxonomy.parents(space.taxonomy.finest, level)]
    of_run = member[space.class_of]
    title = ", ".join(space.taxonomy.title(name) for name in config.target)
    stored = predictor_target(predictor)
    if stored is not None and np.array_equal(np.isin(space.run.classes(), stored.classes), of_run):

        def stored_calls(probs: Probabilities) -> NDArray[np.bool_]:
            called = stored.called(stored.scores(probs[space.run.finest], space.run))
            assert called is not None
            return called

        if math.isnan(stored.threshold):
            return None
        origin = f"that of the strategy “{stored.strategy}”, from the run's validation photos"
        return _Target(title, member, stored_calls, origin)
    labels = of_run[own.label]
    if labels.all() or not labels.any() or of_run.all():
        return None

    def scores(probs: Probabilities) -> NDArray[np.floating]:
        fused = np.asarray(fuse_levels_of(probs, space.run))
        return np.minimum(fused[:, of_run].sum(axis=1), 1)

    threshold = fit_threshold(labels, scores(own_probs))
    return _Target(
        title, member, lambda probs: scores(probs) >= threshold, "Youden's on the run's own photos"
    )
