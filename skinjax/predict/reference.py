"""Features of a run's own photos, measured once: the measure of what is out of the ordinary.

A reference is made from the photos that the run's stored predictions name, read from where the run read them. Quality,
light, colour and texture are taken from all of them, since the early maps hardly know which photos a network has
trained on; the last map's features from those that the network has not trained on. It is kept in the run's folder as
`novelty_<stage>_fold_<k>.npz`, and made anew when the predictions or the network have changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinjax.data.images.photos import PhotoError
from skinjax.data.images.quality import ABSOLUTE, MEASURES, QualityLimits, as_row, limits_of
from skinjax.data.predictions import Predictions, read_predictions
from skinjax.files.atomic import replacing
from skinjax.files.digests import file_hash
from skinjax.predict.networks import Predictor
from skinjax.predict.novelty import FeatureSpace, cross_fitted_distances, far_limit, fit_feature_space
from skinjax.predict.reading import Decoded, ahead, batches, read_photo
from skinjax.predict.run_decisions import predictions_path
from skinjax.runs.folder import RunFolder

VERSION = 2
LIMITS = "limits.npz"
"""File of the limits in a published folder."""
MOST_PHOTOS = 2000
"""Photos that a reference is made from at most, drawn at random; more would change little and take their time."""
LEAST_PHOTOS = 20
"""Fewer say nothing of what is usual."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """Features and quality of a run's photos, by one network.

    Attributes:
      spaces: Spaces of its features, one per map.
      distances: float64[L, N], of photos in each space, which was fitted on other cases for it; NaN in the last map's
        space for photos that the network has trained on.
      cases: int64[N], the case of each photo.
      qualities: float64[N, 4], columns as `skinjax.data.images.quality.MEASURES`.
    """

    spaces: tuple[FeatureSpace, ...]
    distances: NDArray[np.float64]
    cases: NDArray[np.int64]
    qualities: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class ReferenceLimits:
    """Limits of quality and novelty beyond which a photo gets no diagnosis.

    Attributes:
      quality: Limits of the photo's quality.
      spaces: Spaces of features, one per map for each fold that answers; empty where nothing is known.
      distances: The limit of each space, likewise.
      photos: How many of the run's photos this comes from; 0 for absolute limits alone.
    """

    quality: QualityLimits = ABSOLUTE
    spaces: tuple[tuple[FeatureSpace, ...], ...] = ()
    distances: tuple[tuple[float, ...], ...] = ()
    photos: int = 0

    def novelty(self, features: list[tuple[NDArray[np.floating], ...]]) -> NDArray[np.float64] | None:
        """Returns distance over its limit at the map where that is largest, the mean over folds; above 1 is far.

        Args:
          features: Features of each fold's network, float[B, C] per map.

        Returns:
          float64[B]; None where nothing is known.
        """
        if not self.spaces:
            return None
        ratios = [
            np.max([space.distances(x) / limit for space, limit, x in zip(*of_fold, strict=True)], axis=0)
            for of_fold in zip(self.spaces, self.distances, features, strict=True)
        ]
        return np.asarray(np.mean(ratios, axis=0), np.float64)


def reference_limits(references: list[Reference], unusual: float) -> ReferenceLimits:
    """Derives the limits from references, one per fold.

    Args:
      references: References of the folds that answer; none gives absolute limits of quality alone.
      unusual: Share of the run's own photos beyond each limit of quality, and beyond the limits of distance in all,
        one per map; in (0, 0.5).

    Returns:
      The limits.
    """
    if not references:
        return ReferenceLimits()
    qualities = np.concatenate([reference.qualities for reference in references])
    return ReferenceLimits(
        quality=limits_of(qualities, unusual),
        spaces=tuple(reference.spaces for reference in references),
        distances=tuple(
            tuple(
                far_limit(distances[there], r.cases[there], unusual / len(r.distances))
                for distances, there in zip(r.distances, np.isfinite(r.distances), strict=True)
            )
            for r in references
        ),
        photos=_different(references),
    )


def _different(references: Sequence[Reference]) -> int:
    """Returns how many different photos the references of several folds come from."""
    rows = np.unique(np.concatenate([reference.qualities for reference in references]), axis=0)
    return max(len(rows), *(len(reference.qualities) for reference in references))


def run_limits(
    predictor: Predictor, photo_root: Path | None, unusual: float, **reference_options: Any
) -> ReferenceLimits:
    """Returns the limits of the networks that answer: from the run's references, or as they were published.

    Args:
      predictor: Networks of the run.
      photo_root: The folder that the photos' paths start from; None where they are not there any more.
      unusual: Share of the run's own photos beyond each limit; a published folder has its own.
      reference_options: Arguments of `run_references`.
    """
    if not RunFolder.read(predictor.workdir).published:
        return reference_limits(run_references(predictor, photo_root, **reference_options), unusual)
    say = reference_options.get("say", lambda sentence: None)
    found = read_limits(predictor.workdir / LIMITS)
    if found is None:
        say("no limits were published: what is usual is not known, and only absolute limits of quality hold")
        return ReferenceLimits()
    limits, published = found
    if published != unusual:
        say(f"limits of quality and novelty are the published ones, of unusual={published:g}")
    return limits


def write_limits(path: Path, limits: ReferenceLimits, unusual: float) -> None:
    """Writes limits without the photos' values that they come from.

    Args:
      path: The file.
      limits: The limits.
      unusual: Share of the run's own photos beyond each.
    """
    arrays = {
        f"{name}_{fold}_{number}": value
        for fold, spaces in enumerate(limits.spaces)
        for number, space in enumerate(spaces)
        for name, value in dataclasses.asdict(space).items()
    }
    facts = {
        "unusual": unusual,
        "photos": limits.photos,
        "quality": dataclasses.asdict(limits.quality),
        "distances": limits.distances,
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, facts=np.array(json.dumps(facts)), **arrays)


def read_limits(path: Path) -> tuple[ReferenceLimits, float] | None:
    """Reads what `write_limits` wrote, and the share; None where it is not there, or damaged.

    Args:
      path: The file.
    """
    try:
        with path.open("rb") as file, np.load(file) as stored:
            facts = json.loads(str(stored["facts"]))
            distances = tuple(map(tuple, facts["distances"]))
            spaces = tuple(
                tuple(_space(stored, f"{fold}_{number}") for number in range(len(of_fold)))
                for fold, of_fold in enumerate(distances)
            )
            limits = ReferenceLimits(QualityLimits(**facts["quality"]), spaces, distances, facts["photos"])
            return limits, facts["unusual"]
    except Exception:  # as of `_read`
        return None


def _space(stored: Any, ending: str) -> FeatureSpace:
    return FeatureSpace(
        stored[f"directions_{ending}"],
        stored[f"gains_{ending}"],
        float(stored[f"rest_{ending}"]),
        stored[f"means_{ending}"],
    )


def run_references(
    predictor: Predictor,
    photo_root: Path | None,
    *,
    batch_size: int = 16,
    threads: int = 2,
    progress: Callable[[str, int, int], None] = lambda title, done, total: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[Reference]:
    """Returns the references of the folds that answer, from the run's folder, or made now from the run's photos.

    Args:
      predictor: Networks of the run.
      photo_root: The folder that the photos' paths start from; None where they are not there any more.
      batch_size: Photos at a time.
      threads: For reading photos.
      progress: Called with (title, photos done, photos in all).
      say: Called with a sentence where something cannot be had.

    Returns:
      One per fold; empty where one of them can neither be read nor made, and `say` has said why.
    """
    path = predictions_path(predictor)
    if path is None:
        say(
            "the run has no stored predictions: what is usual is not known, and only absolute limits of quality hold"
        )
        return []
    digest = file_hash(path)
    references: list[Reference] = []
    predictions = None
    for number, member in enumerate(predictor.members):
        network = member[predictor.taxonomy.finest].network
        described = json.dumps(network.to_dict(), sort_keys=True)
        key = hashlib.sha256(f"{VERSION} {digest} {predictor.fit} {described}".encode()).hexdigest()
        stored = predictor.workdir / f"novelty_{network.stage}_fold_{network.fold}.npz"
        reference = _read(stored, key)
        if reference is None:
            if photo_root is None:
                say("the run's photos are not there any more: only absolute limits of quality hold")
                return []
            if predictions is None:
                predictions = Predictions.from_frame(read_predictions(path), predictor.taxonomy)
            alone = dataclasses.replace(predictor, members=(predictor.members[number],), fold=network.fold)
            made = _make(alone, predictions, photo_root, batch_size, threads, progress)
            if isinstance(made, str):
                say(f"{made}: only absolute limits of quality hold")
                return []
            _write(stored, key, made)
            reference = made
        references.append(reference)
    return references


def _make(
    predictor: Predictor,
    predictions: Predictions,
    root: Path,
    batch_size: int,
    threads: int,
    progress: Callable[[str, int, int], None],
) -> Reference | str:
    """Makes a reference from the photos of a run, or says what stands in the way."""
    order = np.random.default_rng(0).permutation(len(predictions))
    order = order[
        np.argsort(predictions.fold[order] != predictor.fold, kind="stable")
    ]  # those it has not seen first
    predictions = predictions.take(np.sort(order[:MOST_PHOTOS]))
    if fault := _too_few(predictions, predictor.fold):  # before photos are read, which takes its time
        return fault
    names, total = predictions.image.tolist(), len(predictions)
    finest = predictor.taxonomy.finest
    single = {finest: predictor.members[0][finest]}  # only its features are needed
    alone = dataclasses.replace(predictor, members=(single,), transforms=predictor.transforms[:1])
    title = f"measuring the run's own photos, fold {predictor.fold + 1}"
    features, qualities, kept = [], [], []

    def read(name: str) -> Decoded | PhotoError:
        return read_photo(root / name, predictor.image_size, predictor.fit)

    def readable(pool: ThreadPoolExecutor) -> Iterator[tuple[int, Decoded]]:
        for place, photo in enumerate(ahead(pool, read, names, 2 * batch_size)):
            if not isinstance(photo, PhotoError):
                yield place, photo
            progress(title, place + 1, total)

    with ThreadPoolExecutor(threads) as pool:
        for some in batches(readable(pool), batch_size):
            images = np.zeros((batch_size, predictor.image_size, predictor.image_size, 3), np.uint8)
            images[: len(some)] = [photo.image for _, photo in some]
            features.append([x[: len(some)] for x in alone.forward(images).features()[0]])
            qualities += [as_row(photo.quality) for _, photo in some]
            kept += [place for place, _ in some]
    predictions = predictions.take(np.asarray(kept, int))
    if fault := _too_few(predictions, predictor.fold, f" that can be read in {root}"):
        return fault
    labels, by_map = predictions.label, [np.concatenate(some) for some in zip(*features, strict=True)]
    _, cases = np.unique(predictions.case_id.astype(str), return_inverse=True)
    unseen = predictions.fold == predictor.fold
    spaces, distances = [], np.full((len(by_map), len(labels)), np.nan)
    for number, x in enumerate(by_map):
        used = unseen if number == len(by_map) - 1 else np.ones(len(labels), bool)
        spaces.append(fit_feature_space(x[used], labels[used]))
        distances[number, used] = cross_fitted_distances(x[used], labels[used], cases[used])
    return Reference(
        spaces=tuple(spaces),
        distances=distances,
        cases=cases.astype(np.int64),
        qualities=np.asarray(qualities, np.float64),
    )


def _too_few(predictions: Predictions, fold: int, which: str = "") -> str:
    """Says why photos that a fold held out are too few for a reference; empty where they are not."""
    unseen = predictions.fold == fold
    if (count := int(unseen.sum())) < LEAST_PHOTOS:
        held_out = f"fold {fold + 1} held out {count} photo{'s' * (count != 1)}{which}"
        return f"{held_out}, and {LEAST_PHOTOS} are needed to know what photos usually look like"
    return (
        ""
        if len(np.unique(predictions.case_id[unseen].astype(str))) > 1
        else f"all photos that fold {fold + 1} held out are of one case"
    )


def _write(path: Path, key: str, reference: Reference) -> None:
    spaces = {
        f"{name}_{number}": value
        for number, space in enumerate(reference.spaces)
        for name, value in dataclasses.asdict(space).items()
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            key=np.array(key),
            distances=reference.distances,
            cases=reference.cases,
            qualities=reference.qualities,
            **spaces,
        )


def _read(path: Path, key: str) -> Reference | None:
    """Reads what `_write` wrote under this key; None where it is not there, of another key, or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            if str(stored["key"]) != key:
                return None
            spaces = tuple(_space(stored, str(number)) for number in range(len(stored["distances"])))
            reference = Reference(spaces, stored["distances"], stored["cases"], stored["qualities"])
    except Exception:  # numpy and zipfile raise nearly every type there is on a damaged file
        return None
    return reference if reference.qualities.shape[1:] == (len(MEASURES),) else None
