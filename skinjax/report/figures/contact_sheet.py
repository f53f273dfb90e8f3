"""A sheet of photos that were answered right and wrong, as small pictures inside the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from skinjax.data.predictions import Predictions
from skinjax.report.figures.thumbnails import data_uri, lies_inside, thumbnail
from skinjax.report.tables.methods import Answers

Explain = Callable[[NDArray[np.integer], NDArray[np.integer]], Sequence[Image.Image | None]]
"""From P photos, numbered as the predictions are, and a class of each, to P pictures of where the network looked."""

MOST_EXPLAINED = 8
"""Wrong answers that are explained, from the most confident on."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """One photo of the sheet.

    Attributes:
      image: Its path in the manifest.
      label: Title of the true class.
      predicted: Title of the predicted class.
      probability: Probability of the predicted class, in [0, 1].
      picture: A data URI of a JPEG, or an empty text where the photo could not be read.
      problem: Why not, or an empty text.
      looked: A data URI of where the network looked, or an empty text.
    """

    image: str
    label: str
    predicted: str
    probability: float
    picture: str
    problem: str
    looked: str = ""


@dataclasses.dataclass(frozen=True)
class Strip:
    """Some photos under one heading, and how they were chosen."""

    heading: str
    choice: str
    tiles: tuple[Tile, ...]


def contact_sheet(
    predictions: Predictions,
    answers: Answers,
    method: str,
    photo_root: Path | None,
    count: int,
    seed: int,
    explain: Explain | None = None,
) -> tuple[Strip, ...]:
    """Returns photos answered right, photos answered wrong, and the wrong answers given with the most confidence.

    Right and wrong photos are drawn at random, at most one per case and spread over the classes as evenly as
    they allow. No photo stands in two strips.

    Args:
      predictions: One model's predictions of N photos.
      answers: Answers of the same photos.
      method: Whose answers are shown.
      photo_root: The folder that the photos' paths start from; None shows placeholders.
      count: Largest number of photos in a strip.
      seed: Seed of the draw.
      explain: Draws where the network looked, for the first `MOST_EXPLAINED` of the most confident wrong answers; None
        for no such pictures.

    Returns:
      The three strips; one without photos is left out.
    """
    predicted = answers.predicted(method)
    probability = answers.scores[method].max(axis=1)
    cases = predictions.case_id
    right = predicted == answers.labels
    order = np.argsort(-probability, kind="stable")
    worst = _one_a_case(order[~right[order]], cases)[:count]
    others = np.setdiff1d(np.flatnonzero(~right), worst)
    generator = np.random.default_rng(seed)
    strips = (
        ("Right", "Drawn at random, spread over the classes.",
         _spread(np.flatnonzero(right), answers.labels, cases, generator)[:count]),
        ("Wrong", "Drawn at random, spread over the true classes.",
         _spread(others, answers.labels, cases, generator)[:count]),
        ("Wrong with the most confidence", "The highest probabilities given to a wrong class.", worst),
    )  # fmt: skip
    images = predictions.image
    inside = np.array([lies_inside(str(images[photo])) for photo in worst], bool)
    explained = worst[inside][:MOST_EXPLAINED] if photo_root is not None else worst[:0]
    drawn = explain(explained, predicted[explained]) if explain is not None and len(explained) else []
    explained = explained[: len(drawn)]
    looked = {
        int(photo): data_uri(picture) for photo, picture in zip(explained, drawn, strict=True) if picture
    }

    def tile(photo: int) -> Tile:
        picture, problem = thumbnail(photo_root, str(images[photo]))
        return Tile(
            image=str(images[photo]),
            label=answers.titles[answers.labels[photo]],
            predicted=answers.titles[predicted[photo]],
            probability=float(probability[photo]),
            picture=picture,
            problem=problem,
            looked=looked.get(photo, ""),
        )

    return tuple(
        Strip(heading, choice, tuple(tile(int(photo)) for photo in photos))
        for heading, choice, photos in strips
        if len(photos)
    )


def _one_a_case(photos: NDArray, cases: NDArray) -> NDArray:
    first = pd.Series(cases[photos]).drop_duplicates().index.to_numpy()
    return photos[first]


def _spread(photos: NDArray, labels: NDArray, cases: NDArray, generator: np.random.Generator) -> NDArray:
    """Photos in an order that takes one of each class, then a second of each, and so on."""
    photos = _one_a_case(generator.permutation(photos), cases)
    turn = pd.Series(labels[photos]).groupby(labels[photos]).cumcount().to_numpy()
    return photos[np.argsort(turn, kind="stable")]
