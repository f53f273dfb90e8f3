"""Tumours and their degrees, the cost of wrong degrees, and degrees that people gave."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.data.degrees import read_degrees
from skinjax.data.invented import invent_degree_readers
from skinjax.data.photo_set import PhotoSet
from skinjax.data.readers import read_degree_readers
from skinjax.labels.degrees import degree_catalogue, degree_names, load_degrees, tumour_taxonomy
from skinjax.report.formatting import listed

_LOG = logging.getLogger(__name__)


def tumours_of(read: PhotoSet, given: str = "") -> tuple[PhotoSet, dict[str, int]]:
    """Keeps the photos of tumours, which are the classes with a degree, and says which are left out.

    Args:
      read: The photos of all classes.
      given: The option `degrees`: a file or catalogue name; empty for the catalogue's own.

    Returns:
      The photos of tumours, with their `skinjax.labels.degrees.tumour_taxonomy`, and the degree of each class.

    Raises:
      ValueError: No degrees are known of the classes, the file is faulty, or the photos are all of one degree.
    """
    taxonomy = read.taxonomy
    if not given and taxonomy.name not in degree_catalogue():
        raise ValueError(
            f"the catalogue has no degrees of taxonomy {taxonomy.name!r}, only of {', '.join(degree_catalogue())}: "
            "give degrees=FILE, a CSV (class, degree)"
        )
    name = given or taxonomy.name
    given_degrees = read_degrees(name, taxonomy, complete=False)
    degrees = {label: degree for label, degree in given_degrees.items() if degree is not None}
    kept = read.chosen(np.flatnonzero(read.frame["label"].isin(list(degrees))))
    frame = kept.frame
    seen = sorted({degrees[label] for label in frame["label"]})
    if len(seen) < 2:
        found = f"of degree {seen[0]} alone" if seen else "of no tumour"
        raise ValueError(f"degrees {name!r}: photos must be of two degrees at least, but are {found}")
    notes = [f"The degrees of malignancy ({name}) are a choice, {'the caller’s' if given else 'ours'}."]
    if name in degree_catalogue() and not Path(name).is_file():
        notes = [f"Which tumour has which degree ({name}) is our choice.", *load_degrees(name).notes]
    if others := [label for label in taxonomy.classes() if label not in degrees]:
        gone = len(read.frame) - len(frame)
        notes.append(
            f"{len(others)} classes without a degree are no tumours here and left out, with {gone:,} photos: "
            f"{listed([taxonomy.title(label).lower() for label in others], most=20)}."
        )
        _LOG.info("%s", notes[-1])
    tree = tumour_taxonomy(taxonomy, degrees)
    return dataclasses.replace(kept, taxonomy=tree, notes=(*read.notes, *notes)), degrees


def cost_matrix(text: str, num_degrees: int | None = None) -> NDArray[np.float64] | None:
    """Reads the option `cost`: rows of true degrees parted by semicolons, columns of given ones by commas.

    Args:
      text: The option.
      num_degrees: D; None where it is not known yet, for a square matrix of any size.

    Returns:
      float64[D, D], or None where the text is empty.

    Raises:
      ValueError: It is no such matrix, or what is right costs something, or a cost is below 0.

    >>> cost_matrix("0,1; 5,0", num_degrees=2).tolist()
    [[0.0, 1.0], [5.0, 0.0]]
    """
    if not text.strip():
        return None
    size = num_degrees or text.count(";") + 1
    must = (
        f"must be {size} rows of {size} numbers of at least 0, 0 where the degree is right, as in "
        '"0,1,2;4,0,1;8,4,0"'
    )
    try:
        rows = [[float(value) for value in row.split(",")] for row in text.split(";")]
    except ValueError as error:
        raise ValueError(f"cost={text} {must}") from error
    if [len(row) for row in rows] != [size] * size:
        raise ValueError(f"cost={text} {must}")
    cost = np.array(rows)
    if not np.isfinite(cost).all() or (cost < 0).any() or np.diagonal(cost).any():
        raise ValueError(f"cost={text} {must}")
    return cost


def degree_readers(
    read: PhotoSet, degrees: dict[str, int], path: str, *, smoke: bool = False, seed: int = 0
) -> tuple[pd.DataFrame | None, tuple[str, ...]]:
    """Returns people's degrees of the photos; of the built-in photos, on a smoke run, made-up ones.

    Args:
      read: The photos of tumours.
      degrees: Of the classes.
      path: The option `readers`: a file, or an empty text.
      smoke: Whether this is a smoke run.
      seed: Of the made-up degrees.

    Returns:
      Columns `reader`, `image` and `degree`, or None; and sentences for the report.

    Raises:
      ReadersError: Everything that is wrong with the file.
    """
    count, images = max(degrees.values()) + 1, read.frame["image"]
    if path:
        readers = read_degree_readers(path, count, None if smoke else images)
        return readers[readers["image"].isin(images)].reset_index(drop=True), ()
    if not (smoke and read.synthetic):
        return None, ()
    true = [degrees[label] for label in read.frame["label"]]
    made_up = invent_degree_readers(list(images), true, count, num_readers=5, seed=seed)
    return made_up, ("The five readers of this run are made of random numbers, to show the comparison.",)


def titles(num_degrees: int) -> tuple[str, ...]:
    """Returns the degrees' names for people.

    >>> titles(3)
    ('Benign', 'Low malignancy', 'High malignancy')
    """
    names = degree_names(num_degrees)
    return tuple(
        f"{name.capitalize()} malignancy" if name in ("low", "high") else name.replace("_", " ").capitalize()
        for name in names
    )
