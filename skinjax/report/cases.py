"""Words for what intervals resample: cases, or what stands for them where nobody says whose photos are whose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from skinjax.data.images.duplicates import is_stand_in
from skinjax.report.blocks import Column
from skinjax.report.formatting import cell

Unit = Literal["case", "photo", "look"]
"""A case, a photo that counts by itself, or a group of near-duplicate photos."""

_NAMES = {
    "case": ("case", "cases"),
    "photo": ("photo", "photos"),
    "look": ("group of near-duplicates", "groups of near-duplicates"),
}


def unit_of(case_id: ArrayLike, image: ArrayLike | None = None) -> Unit:
    """Returns what case ids tell apart.

    Args:
      case_id: [N], the photos' case ids.
      image: [N], the photos' paths; None where they are not known.

    >>> unit_of(["p1", "p1"], ["a", "b"]), unit_of(["a", "b"], ["a", "b"]), unit_of(["look_0a8d611e5380531c"])
    ('case', 'photo', 'look')
    """
    ids = np.asarray(case_id, object)
    if image is not None and len(ids) and bool((ids == np.asarray(image, object)).all()):
        return "photo"
    return "look" if len(ids) and all(is_stand_in(str(one)) for one in set(ids.tolist())) else "case"


def counted(number: int, unit: Unit) -> str:
    """Returns a number of cases in words.

    >>> counted(1200, "case"), counted(205, "photo"), counted(1, "look")
    ('1,200 cases', '205 photos', '1 group of near-duplicates')
    """
    return f"{number:,} {_NAMES[unit][number != 1]}"


def photos_of(photos: int, cases: int, unit: Unit) -> str:
    """Returns numbers of photos and of their cases in words.

    >>> photos_of(205, 120, "case"), photos_of(205, 205, "photo")
    ('205 photos of 120 cases', '205 photos without case ids')
    """
    return f"{photos:,} photos " + ("without case ids" if unit == "photo" else f"of {counted(cases, unit)}")


def case_heading(*units: Unit) -> str:
    """Returns the heading of a column of numbers of cases, whose rows may be of several sets.

    Args:
      units: What they count in each set.

    >>> case_heading("case", "case"), case_heading("look"), case_heading("look", "case")
    ('Cases', 'Groups', 'Cases or groups')
    """
    headings = {"case": "cases", "look": "groups", "photo": "photos"}
    return " or ".join(words for unit, words in headings.items() if unit in units).capitalize()


def case_columns(numbers: Sequence[float], unit: Unit) -> tuple[Column, ...]:
    """Returns a table's column of numbers of cases; none where these are the photos.

    Args:
      numbers: One per row.
      unit: What they count.
    """
    if unit == "photo":
        return ()
    return (Column(case_heading(unit), [cell(number) for number in numbers], number=True),)
