"""What a run's own photos look like to its network, measured once: the measure of what is out of the ordinary.

A reference is made from the photos that the network has not trained on, as named in the run's stored predictions and
read from where the run read them. It is kept in the run's folder as `novelty_<stage>_fold_<k>.npz` (`_folds` for all
folds together, one file a fold), and made anew when the predictions or the network have changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinjax.data.photos import PhotoError
from skinjax.data.predictions import read_predictions, validate
from skinjax.data.quality import ABSOLUTE, MEASURES, QualityLimits, as_row, limits_of
from skinjax.data.tables import replacing
from skinjax.predict.decisions import file_hash, predictions_path
from skinjax.predict.networks import Predictor
from skinjax.predict.novelty import FeatureSpace, cross_fitted_distances, far_limit, fit_feature_space
from skinjax.predict.reading import Decoded, ahead, batches, read_photo

VERSION = 1
MOST_PHOTOS = 2000
"""Photos that a reference is made from at most, drawn at random; more would change little and take their time."""
LEAST_PHOTOS = 20
"""Fewer say nothing of what is usual."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """Of one network.

    Attributes:
      space: of its features.
      distances: float64[N], of its unseen photos, each in a space fitted on other cases.
      cases: int64[N], the case of each photo.
      qualities: float64[N, 4], columns as `skinjax.data.quality.MEASURES`.
    """

    space: FeatureSpace
    distances: NDArray[np.float64]
    cases: NDArray[np.int64]
    qualities: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Usual:
    """What counts as usual; beyond it a photo gets no diagnosis.

    Attributes:
      limits: of quality.
      spaces: of features, one a fold that answers; empty where nothing is known.
      far: the limit of each space.
      photos: how many of the run's photos this comes from; 0 for absolute limits alone.
    """

    limits: QualityLimits = ABSOLUTE
    spaces: tuple[FeatureSpace, ...] = ()
    far: tuple[float, ...] = ()
    photos: int = 0

    def novelty(self, features: list[NDArray[np.floating]]) -> NDArray[np.float64] | None:
        """Distances over their limit, the mean over folds; above 1 is far. None where nothing is known.

        Args:
          features: float[B, C] of each fold's network.
        """
        if not self.spaces:
            return None
        ratios = [
            space.distances(x) / limit
            for space, limit, x in zip(self.spaces, self.far, features, strict=True)
        ]
        return np.asarray(np.mean(ratios, axis=0), np.float64)


def usual(references: list[Reference], unusual: float) -> Usual:
    """What counts as usual by references, one a fold.

    Args:
      references: of the folds that answer; none gives absolute limits of quality alone.
      unusual: share of the run's own photos beyond each limit, in (0, 0.5).

    Returns:
      The limits.
    """
    if not references:
        return Usual()
    qualities = np.concatenate([reference.qualities for reference in references])
    return Usual(
        limits=limits_of(qualities, unusual),
        spaces=tuple(reference.space for reference in references),
        far=tuple(far_limit(r.distances, r.cases, unusual) for r in references),
        photos=len(qualities),
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
    """The references of the folds that answer, from the run's folder, or made now from the run's photos.

    Args:
      predictor: networks of the run.
      photo_root: the folder that the photos' paths start from; None where they are not there any more.
      batch_size: photos at a time.
      threads: for reading photos.
      progress: called with (title, photos done, photos in all).
      say: called with a sentence where something cannot be had.

    Returns:
      One a fold; empty where one of them can neither be read nor made, and `say` has said why.
    """
    path = predictions_path(predictor)
    if path is None:
        say(
            "the run has no stored predictions: what is usual is not known, and only absolute limits of quality hold"
        )
        return []
    digest = file_hash(path)
    references: list[Reference] = []
    frame = None
    for number, member in enumerate(predictor.members):
        network = member[predictor.taxonomy.finest].network
        described = json.dumps(dataclasses.asdict(network), sort_keys=True)
        key = hashlib.sha256(f"{VERSION} {digest} {predictor.fit} {described}".encode()).hexdigest()
        stored = predictor.workdir / f"novelty_{network.stage}_fold_{network.fold}.npz"
        reference = _read(stored, key)
        if reference is None:
            if photo_root is None:
                say("the run's photos are not there any more: only absolute limits of quality hold")
                return []
            if frame is None:
                frame = read_predictions(path)
                validate(frame, predictor.taxonomy)
            rows = frame[frame["fold"] == network.fold]
            alone = dataclasses.replace(predictor, members=(predictor.members[number],), fold=network.fold)
            made = _make(alone, rows, photo_root, batch_size, threads, progress)
            if isinstance(made, str):
                say(f"{made}: only absolute limits of quality hold")
                return []
            _write(stored, key, made)
            reference = made
        references.append(reference)
    return references


def _make(
    predictor: Predictor,
    rows: Any,
    root: Path,
    batch_size: int,
    threads: int,
    progress: Callable[[str, int, int], None],
) -> Reference | str:
    """A reference from the rows of a fold, or what stands in the way."""
    order = np.random.default_rng(0).permutation(len(rows))[:MOST_PHOTOS]
    rows = rows.iloc[np.sort(order)]
    names, total = rows["image"].tolist(), len(rows)
    finest = predictor.taxonomy.finest
    single = {finest: predictor.members[0][finest]}  # only its features are wanted
    alone = dataclasses.replace(predictor, members=(single,), transforms=predictor.transforms[:1])
    title = f"measuring the run's own photos, fold {predictor.fold}"
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
            features.append(alone.forward(images).features()[0][: len(some)])
            qualities += [as_row(photo.quality) for _, photo in some]
            kept += [place for place, _ in some]
    if len(kept) < LEAST_PHOTOS:
        return f"{len(kept)} of the run's photos can be read in {root}, {LEAST_PHOTOS} are wanted"
    rows, x = rows.iloc[kept], np.concatenate(features)
    labels = predictor.taxonomy.encode(rows["label"])
    _, cases = np.unique(rows["case_id"].to_numpy(str), return_inverse=True)
    if len(np.unique(cases)) < 2:
        return "the run's photos are of a single case"
    return Reference(
        space=fit_feature_space(x, labels),
        distances=cross_fitted_distances(x, labels, cases),
        cases=cases.astype(np.int64),
        qualities=np.asarray(qualities, np.float64),
    )


def _write(path: Path, key: str, reference: Reference) -> None:
    space = reference.space
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            key=np.array(key),
            directions=space.directions,
            gains=space.gains,
            rest=np.float64(space.rest),
            means=space.means,
            distances=reference.distances,
            cases=reference.cases,
            qualities=reference.qualities,
        )


def _read(path: Path, key: str) -> Reference | None:
    """What `_write` wrote under this key; None where it is not there, of another key, or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            if str(stored["key"]) != key:
                return None
            space = FeatureSpace(
                stored["directions"], stored["gains"], float(stored["rest"]), stored["means"]
            )
            reference = Reference(space, stored["distances"], stored["cases"], stored["qualities"])
    except Exception:  # numpy and zipfile raise nearly every type there is on a damaged file
        return None
    return reference if reference.qualities.shape[1:] == (len(MEASURES),) else None
