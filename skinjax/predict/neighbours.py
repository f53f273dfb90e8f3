"""Photos that a network has trained on and finds most like a new one.

Two photos are alike by the cosine of the features that the finest network's head reads (the means of its last map).
What the network has learned to overlook does not count, so neighbours show what an answer rests on, not what a person
would call alike. Features of the run's photos are computed once, and kept in the run's folder as
`neighbours_<stage>_fold_<k>.npz`; the photos themselves are read from where the run read them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skinjax.data.images.photos import PhotoError
from skinjax.data.predictions import Predictions, read_predictions
from skinjax.files.atomic import replacing
from skinjax.files.digests import file_hash
from skinjax.predict.networks import Predictor
from skinjax.predict.novelty import unit
from skinjax.predict.reading import Decoded, ahead, batches, read_photo
from skinjax.predict.run_decisions import predictions_path

VERSION = 1
MOST_PHOTOS = 5000
"""Photos that are compared at most, drawn at random."""


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A photo of the run that is like another.

    Attributes:
      path: Its file.
      class_name: Its diagnosis, a class of the finest level.
      case: Its case.
      similarity: Cosine of its features with those of the photos asked about, in [-1, 1].
    """

    path: Path
    class_name: str
    case: str
    similarity: float


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """Photos of a run by their features.

    Attributes:
      features: float32[N, C], of length 1.
      images: Paths of the N photos, from `root`.
      classes: N finest classes.
      cases: N cases.
      root: Folder of the photos.
    """

    features: NDArray[np.float32]
    images: tuple[str, ...]
    classes: tuple[str, ...]
    cases: tuple[str, ...]
    root: Path

    def nearest(self, features: NDArray[np.floating], count: int = 4) -> list[Neighbour]:
        """Returns the photos of other cases that are most like the photos of one case, at most one for each case.

        Args:
          features: float[n, C], of the photos of a case; the mean of their directions is compared.
          count: How many at most.

        Returns:
          The most similar first.

        Example:
          >>> features, cases = np.eye(3, dtype=np.float32), ("1", "2", "2")
          >>> known = Neighbours(features, ("a", "b", "c"), ("x", "y", "y"), cases, Path("."))
          >>> [one.path.name for one in known.nearest(np.array([[1.0, 3.0, 2.0]]))]
          ['b', 'a']
        """
        asked = unit(unit(features).mean(axis=0)[None])[0]
        similarity = self.features @ asked.astype(np.float32)
        found: list[Neighbour] = []
        seen: set[str] = set()
        for place in np.argsort(-similarity, kind="stable").tolist():
            if len(found) == count:
                break
            if self.cases[place] in seen:
                continue
            seen.add(self.cases[place])
            path = self.root / self.images[place]
            found.append(Neighbour(path, self.classes[place], self.cases[place], float(similarity[place])))
        return found


def photo_features(predictor: Predictor, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns what photos are compared by, of the first fold's finest network.

    Args:
      predictor: Networks of a run.
      images: uint8[B, image_size, image_size, 3].

    Returns:
      float32[B, C].
    """
    loaded = predictor.members[0][predictor.taxonomy.finest]
    return np.asarray(loaded.run(images).features[-1], np.float32)


def run_neighbours(
    predictor: Predictor,
    photo_root: Path | None,
    *,
    batch_size: int = 16,
    threads: int = 2,
    progress: Callable[[str, int, int], None] = lambda title, done, total: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Neighbours | None:
    """Returns the photos that a run's networks have trained on, from the run's folder, or by their features made now.

    Args:
      predictor: Networks of the run.
      photo_root: The folder that the photos' paths start from; None where they are not there any more.
      batch_size: Photos at a time.
      threads: For reading photos.
      progress: Called with (title, photos done, photos in all).
      say: Called with a sentence where they cannot be had.

    Returns:
      The photos; None where they cannot be had, and `say` has said why.
    """
    path = predictions_path(predictor)
    if path is None or photo_root is None:
        say("no similar photos are shown: the run's photos are not there any more")
        return None
    network = predictor.members[0][predictor.taxonomy.finest].network
    predictions = _trained_on(
        Predictions.from_frame(read_predictions(path), predictor.taxonomy), network.fold
    )
    names = predictions.image.astype(str).tolist()
    described = json.dumps(network.to_dict(), sort_keys=True)
    key = hashlib.sha256(f"{VERSION} {file_hash(path)} {predictor.fit} {described}".encode()).hexdigest()
    stored = predictor.workdir / f"neighbours_{network.stage}_fold_{network.fold}.npz"
    features = _read(stored, key, len(names))
    if features is None:
        features = _make(predictor, photo_root, names, batch_size, threads, progress)
        with replacing(stored) as temporary, temporary.open("wb") as file:
            np.savez(file, key=np.array(key), features=features)
    there = np.flatnonzero(np.isfinite(features).all(axis=1))
    if not len(there):
        say(f"no similar photos are shown: none of the run's photos can be read in {photo_root}")
        return None
    classes = np.asarray(predictor.taxonomy.classes())[predictions.label]
    return Neighbours(
        features=unit(features[there]).astype(np.float32),
        images=tuple(names[place] for place in there),
        classes=tuple(classes[there].tolist()),
        cases=tuple(predictions.case_id.astype(str)[there].tolist()),
        root=photo_root,
    )


def _trained_on(predictions: Predictions, fold: int) -> Predictions:
    """Returns the photos that the network of a fold has trained on, or all where that is not known."""
    trained = np.flatnonzero(predictions.fold != fold)
    rows = trained if len(trained) else np.arange(len(predictions))
    return predictions.take(np.sort(np.random.default_rng(0).permutation(rows)[:MOST_PHOTOS]))


def _make(
    predictor: Predictor,
    root: Path,
    names: list[str],
    batch_size: int,
    threads: int,
    progress: Callable[[str, int, int], None],
) -> NDArray[np.float32]:
    """Computes features float32[N, C]; NaN for photos that cannot be read."""
    size = predictor.image_size
    found: list[NDArray[np.float32]] = []
    places: list[int] = []

    def read(name: str) -> Decoded | PhotoError:
        return read_photo(root / name, size, predictor.fit)

    def readable(pool: ThreadPoolExecutor) -> Iterator[tuple[int, Decoded]]:
        for place, photo in enumerate(ahead(pool, read, names, 2 * batch_size)):
            if not isinstance(photo, PhotoError):
                yield place, photo
            progress("looking at the run's own photos", place + 1, len(names))

    with ThreadPoolExecutor(threads) as pool:
        for some in batches(readable(pool), batch_size):
            images = np.zeros((batch_size, size, size, 3), np.uint8)
            images[: len(some)] = [photo.image for _, photo in some]
            found.append(photo_features(predictor, images)[: len(some)])
            places += [place for place, _ in some]
    width = found[0].shape[1] if found else 1
    features = np.full((len(names), width), np.nan, np.float32)
    if found:
        features[places] = np.concatenate(found)
    return features


def _read(path: Path, key: str, count: int) -> NDArray[np.float32] | None:
    """Reads the features that were stored under this key; None where they are not there, of another key, or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            features = stored["features"] if str(stored["key"]) == key else None
    except Exception:  # numpy and zipfile raise nearly every type there is on a damaged file
        return None
    return None if features is None or len(features) != count else np.asarray(features, np.float32)
