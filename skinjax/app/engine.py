"""Photos in memory to an answered case with its pictures; called by the one thread that computes."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from skinjax.app.keeping import keep_case
from skinjax.app.pictures import Picture, heat_picture, photo_picture
from skinjax.app.questions import Question, questions
from skinjax.app.uploads import Upload, shown
from skinjax.data.images.photos import PhotoError
from skinjax.predict.answers import Answer
from skinjax.predict.cases import CaseAnswer, CaseContext, predict_cases
from skinjax.predict.neighbours import Neighbour, Neighbours, photo_features
from skinjax.predict.networks import Predictor
from skinjax.predict.photos import Explanation, ExplanationTarget
from skinjax.predict.reading import Decoded, read_photo

DRAWING = 2
"""Threads that make pictures for the page."""

NEIGHBOURS = 4
"""Similar photos that are shown."""

NEIGHBOUR_SIDE = 280
"""Their longer side in pixels, at most."""


@dataclasses.dataclass(frozen=True, eq=False)
class AnsweredPhoto:
    """A photo of an answered case.

    Attributes:
      answer: Its own answer.
      counted: Whether it counts towards the answer for the case.
      picture: The photo; None where it cannot be read or no pictures were asked for.
      heat: What speaks for its most probable class, to lie over it; likewise.
    """

    answer: Answer
    counted: bool
    picture: Picture | None = None
    heat: Picture | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class AnsweredCase:
    """An answered case.

    Attributes:
      answer: The answer.
      photos: Its photos.
      given: Columns that it was given with, entry by name.
      neighbours: Similar photos of the run; None where they are not asked for.
    """

    answer: CaseAnswer
    photos: tuple[AnsweredPhoto, ...]
    given: Mapping[str, str]
    neighbours: tuple[tuple[Neighbour, Picture], ...] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Engine:
    """A run that answers cases of photos in memory.

    Attributes:
      predictor: Its networks.
      context: Settings that turn network outputs into answers.
      show_neighbours: Whether similar photos of the run are shown.
      neighbours: Those; None where they cannot be had.
      keep: Folder to store photos and answers in; None stores nothing.
    """

    predictor: Predictor
    context: CaseContext
    show_neighbours: bool = False
    neighbours: Neighbours | None = None
    keep: Path | None = None

    @functools.cached_property
    def questions(self) -> tuple[Question, ...]:
        """Returns the columns that its networks read beside a photo; none where they read none."""
        return questions(self.predictor)

    def warm(self) -> None:
        """Answers a photo of nothing, so that everything is compiled and read before the first person asks."""
        file = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
        Image.fromarray(noise).save(file, "JPEG")
        uploads = [Upload(f"{number}.jpg", file.getvalue()) for number in range(2)]
        dataclasses.replace(self, keep=None).answer("warm", uploads)

    def answer(
        self,
        case: str,
        uploads: Sequence[Upload],
        pictures: bool = True,
        given: Mapping[str, str] | None = None,
    ) -> AnsweredCase:
        """Answers a case.

        Args:
          case: Its name.
          uploads: Its photos, at least one.
          pictures: Whether to make pictures of them, and find similar ones.
          given: Columns that networks may read beside its photos, entry by name; those left out are not known.
        """
        given = dict(given or {})
        maps: dict[str, Explanation] = {}

        def draw(name: str, one: Answer, explanation: Explanation) -> str:
            maps[name] = explanation
            return ""

        names = _distinct([shown(upload.name) for upload in uploads])
        answer = next(
            predict_cases(
                self.predictor,
                {case: [_named(upload.data, name) for upload, name in zip(uploads, names, strict=True)]},
                self.context,
                batch_size=1,
                explain=ExplanationTarget() if pictures else None,
                draw=draw if pictures else None,
                columns=pd.DataFrame([given] * len(uploads)) if given else None,
            )
        )

        def shown_photo(place: int) -> AnsweredPhoto:
            one, counted = answer.photos[place], answer.counted[place]
            if not pictures or one.error is not None:
                return AnsweredPhoto(one, counted)
            picture = photo_picture(uploads[place].data)
            if names[place] not in maps:
                return AnsweredPhoto(one, counted, picture)
            heat = heat_picture(maps[names[place]].values, picture, self.predictor.fit)
            return AnsweredPhoto(one, counted, picture, heat)

        with ThreadPoolExecutor(DRAWING) as pool:
            photos = tuple(pool.map(shown_photo, range(len(uploads))))
        near = None
        if pictures and self.show_neighbours:
            counted_data = [u.data for u, inside in zip(uploads, answer.counted, strict=True) if inside]
            near = tuple(self._near(counted_data))
        if self.keep is not None and answer.error is None:
            self._keep(answer, given, [upload.data for upload in uploads])
        return AnsweredCase(answer, photos, given, near)

    def _near(self, photos: Sequence[bytes]) -> list[tuple[Neighbour, Picture]]:
        if self.neighbours is None:
            return []
        size, fit = self.predictor.image_size, self.predictor.fit
        features: list[NDArray[np.float32]] = []
        for data in photos:
            photo = read_photo(_named(data, ""), size, fit)
            if isinstance(photo, Decoded):
                features.append(photo_features(self.predictor, photo.image[None]))
        found: list[tuple[Neighbour, Picture]] = []
        for one in self.neighbours.nearest(np.concatenate(features), NEIGHBOURS) if features else ():
            try:
                found.append((one, photo_picture(str(one.path), NEIGHBOUR_SIDE)))
            except PhotoError:
                continue  # taken away since it was looked at
        return found

    def _keep(self, answer: CaseAnswer, given: Mapping[str, str], photos: Sequence[bytes]) -> None:
        assert self.keep is not None
        document = answer.to_dict(self.predictor.taxonomy)
        del document["case"]  # a name of a folder or file, which may be a person's
        names = {one.photo: f"photo_{number}.jpg" for number, one in enumerate(answer.photos, 1)}
        document = _renamed(document, names)
        for photo in document["photos"]:
            photo.pop("explanation", None)
        if self.questions:
            document["columns"] = dict(given)
        keep_case(self.keep, photos, document)


def _named(data: bytes, name: str) -> io.BytesIO:
    """Returns bytes as an open file with a name."""
    file = io.BytesIO(data)
    file.name = name
    return file


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Returns JSON's values with names of photos replaced, at the beginning of texts too.

    >>> _renamed({"photo": "anna.jpg", "reasons": ["anna.jpg: too dark"]}, {"anna.jpg": "photo_1.jpg"})
    {'photo': 'photo_1.jpg', 'reasons': ['photo_1.jpg: too dark']}
    """
    if isinstance(value, dict):
        return {key: _renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    if isinstance(value, str):
        for name in sorted(names, key=len, reverse=True):
            if value == name or value.startswith(f"{name}: "):
                return names[name] + value[len(name) :]
    return value


def _distinct(names: Sequence[str]) -> list[str]:
    """Returns names that differ.

    >>> _distinct(["a.jpg", "a.jpg", "b.jpg"])
    ['a.jpg', 'a.jpg (2)', 'b.jpg']
    """
    found: list[str] = []
    for name in names:
        number, other = 1, name
        while other in found:
            number += 1
            other = f"{name} ({number})"
        found.append(other)
    return found
