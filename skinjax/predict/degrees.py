"""The degree of malignancy of each class that a run tells apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from skinjax.data.degrees import read_degrees
from skinjax.labels.degrees import NO_TUMOUR, degree_catalogue, load_degrees
from skinjax.labels.taxonomy import Taxonomy


def degrees_of(taxonomy: Taxonomy, stored: str = "", asked: bool = False) -> tuple[int, ...] | None:
    """Returns the degree of each finest class: as asked for, by the taxonomy's levels, as stored, or the catalogue's.

    Args:
      taxonomy: The run's classes.
      stored: File or catalogue name of degrees: those that are asked for, or those that the run was made with.
      asked: Whether they are asked for, and must therefore be readable.

    Returns:
      int[S], 0 the most benign, -1 for a class that is no tumour; None where no degrees are known.

    Raises:
      ValueError: Degrees that are asked for are faulty.

    >>> from skinjax.labels.taxonomy import load_taxonomy
    >>> degrees_of(load_taxonomy("pad_ufes_20"))
    (0, 0, 1, 1, 2, 2)
    >>> degrees_of(load_taxonomy("synthetic19")).count(-1)
    9
    """
    degrees: Mapping[str, int | None]
    if asked:
        degrees = read_degrees(stored, taxonomy)
    elif taxonomy.coarsest == "degree" and len(taxonomy.levels) > 1:  # a run of the study of malignancy
        return tuple(taxonomy.parents(taxonomy.finest, "degree").tolist())
    elif stored and (Path(stored).is_file() or stored in degree_catalogue()):
        degrees = read_degrees(stored, taxonomy)
    elif taxonomy.name in degree_catalogue():
        known = load_degrees(taxonomy.name)
        every = dict(known.degrees) | dict.fromkeys(known.no_tumour)
        if not set(taxonomy.classes()) <= set(every):
            return None
        degrees = {name: every[name] for name in taxonomy.classes()}
        if set(degrees.values()) | {None} != set(every.values()) | {None}:
            return None  # a degree left with its classes: the others would mean something else
    else:
        return None
    of_class = (degrees[name] for name in taxonomy.classes())
    return tuple(NO_TUMOUR if degree is None else degree for degree in of_class)
