"""Degrees of malignancy: which class of a taxonomy is how malignant, and what each degree is called.

Degrees are the integers 0 (the most benign) to D - 1. The thesis (chapter 5) sorts ten skin tumours into three
degrees; which ones cannot be read, so **the ten, their degrees and every map of the catalogue are our own choice**:

    0  benign   nevi, seborrheic keratosis, dermatofibroma, vascular tumours and the like
    1  low      seldom or not yet spreads: actinic keratosis, Bowen's disease, basal cell carcinoma
    2  high     spreads to other organs: squamous cell carcinoma, melanoma, Merkel cell carcinoma

A class that mixes degrees gets the one that favours the patient, or that most of it has; its map says so. Classes
that are no tumours have none. The files in `catalogue/degrees` are JSON objects with `"taxonomy"`, `"degrees"` (class
-> degree), `"no_tumour"` (the other classes) and `"notes"` (sentences for the report).

A degree comes with an urgency, how soon to see a doctor, and with advice in a sentence: our own wording, not tested on
patients, and no diagnosis.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path

from skinjax.labels.taxonomy import Taxonomy

_CATALOGUE = Path(__file__).parent / "catalogue" / "degrees"

NAMES = ("benign", "low", "high")
"""The three degrees."""

NO_TUMOUR = -1
"""Stands for the degree of a class that is no tumour, and of a photo in which none is called."""

NONE_CALLED = "no tumour"
"""Name of `NO_TUMOUR`."""

URGENCIES = ("routine", "soon", "urgent")
"""How soon to see a doctor: at the next visit, within weeks, within days."""

_ADVICE = (
    "Looks benign: show it to a doctor at the next visit, and sooner if it grows, changes, itches or bleeds.",
    "May need treatment: see a doctor, best a dermatologist, within the next few weeks.",
    "May be dangerous: see a dermatologist within days.",
)
_ADVICE_NO_TUMOUR = (
    "Does not look like a tumour: not urgent for that reason. See a doctor if it hurts, spreads, does not "
    "heal or comes with fever, and if it grows, changes or bleeds."
)
_ADVICE_WITHHELD = {
    None: "No answer is possible: take another photo, sharp and in good light, or show it to a doctor.",
    "soon": "This is not certain, and may need treatment: see a doctor, best a dermatologist, within the "
    "next few weeks, whatever another photo says.",
    "urgent": "This is not certain, and may be dangerous: see a dermatologist within days, whatever "
    "another photo says.",
}


@dataclasses.dataclass(frozen=True)
class DegreeMap:
    """The degrees of a taxonomy's classes.

    Attributes:
      taxonomy: Name of the taxonomy.
      degrees: `(class, degree)` pairs of the tumours among its finest classes.
      no_tumour: The other classes.
      notes: How mixed classes were decided, in sentences.
    """

    taxonomy: str
    degrees: tuple[tuple[str, int], ...]
    no_tumour: tuple[str, ...]
    notes: tuple[str, ...]


def degree_catalogue() -> tuple[str, ...]:
    """Returns names of the taxonomies whose degrees come with the library, in alphabetical order.

    >>> degree_catalogue()
    ('fitzpatrick17k', 'ham10000', 'isic2019', 'pad_ufes_20', 'psoriasis9', 'synthetic19', 'tumours10')
    """
    return tuple(sorted(path.stem for path in _CATALOGUE.glob("*.json")))


def load_degrees(name: str) -> DegreeMap:
    """Returns the degrees of the classes of a taxonomy in the catalogue.

    Args:
      name: One of `degree_catalogue()`.

    Raises:
      ValueError: There is none of that name.

    >>> dict(load_degrees("pad_ufes_20").degrees)
    {'NEV': 0, 'SEK': 0, 'ACK': 1, 'BCC': 1, 'SCC': 2, 'MEL': 2}
    """
    if name not in degree_catalogue():
        raise ValueError(
            f"degrees of {name!r} are not in the catalogue, which has {', '.join(degree_catalogue())}"
        )
    document = json.loads((_CATALOGUE / f"{name}.json").read_text(encoding="utf-8"))
    return DegreeMap(
        document["taxonomy"],
        tuple(document["degrees"].items()),
        tuple(document["no_tumour"]),
        tuple(document["notes"]),
    )


def degree_names(num_degrees: int) -> tuple[str, ...]:
    """Returns what degrees are called: `NAMES` for three, "benign" and "malignant" for two, else numbered.

    Args:
      num_degrees: D, at least 2.

    Raises:
      ValueError: There are fewer than two.

    >>> degree_names(2), degree_names(4)[3]
    (('benign', 'malignant'), 'degree_3')
    """
    if num_degrees < 2:
        raise ValueError(f"num_degrees must be at least 2, got {num_degrees}")
    if num_degrees == len(NAMES):
        return NAMES
    return (
        ("benign", "malignant")
        if num_degrees == 2
        else tuple(f"degree_{degree}" for degree in range(num_degrees))
    )


def is_premalignant(name: str) -> bool:
    """Says whether a class is known by its name or title as a precursor of cancer, such as actinic keratosis.

    Args:
      name: Name or title of a class, such as those of PAD-UFES-20 (`ACK`) and HAM10000 (`akiec`).

    >>> [is_premalignant(name) for name in ("Actinic keratosis", "ACK", "akiec", "Seborrheic keratosis", "Melanoma")]
    [True, True, True, False, False]
    """
    return bool(re.search(r"\b(actinic|solar)[ _-]keratos[ei]s\b|^(ack|ak|akiec)$", name, re.IGNORECASE))


def urgency_of(degree: int, num_degrees: int) -> int:
    """Returns how soon a degree must be seen by a doctor, as a place in `URGENCIES`.

    Args:
      degree: In [0, num_degrees), or `NO_TUMOUR`, which has no hurry.
      num_degrees: D, at least 2; all between the lowest and the highest have the same urgency.

    Raises:
      ValueError: There is no such degree.

    >>> [URGENCIES[urgency_of(degree, 4)] for degree in (NO_TUMOUR, 0, 1, 2, 3)]
    ['routine', 'routine', 'soon', 'soon', 'urgent']
    """
    if not NO_TUMOUR <= degree < num_degrees or num_degrees < 2:
        raise ValueError(
            f"degree must lie in 0 to num_degrees - 1 of at least two, or be {NO_TUMOUR} for no tumour, "
            f"got {degree} of {num_degrees}"
        )
    return 0 if degree <= 0 else 2 if degree == num_degrees - 1 else 1


def advice(degree: int, num_degrees: int) -> str:
    """Returns how soon to see a doctor, in a sentence; our own wording, and no diagnosis.

    Args:
      degree: In [0, num_degrees), or `NO_TUMOUR`.
      num_degrees: D, at least 2; all between the lowest and the highest get the same advice.

    Raises:
      ValueError: There is no such degree.

    >>> advice(2, 3)
    'May be dangerous: see a dermatologist within days.'
    """
    place = urgency_of(degree, num_degrees)
    return _ADVICE_NO_TUMOUR if degree == NO_TUMOUR else _ADVICE[place]


def urgent_advice(urgency: int) -> str:
    """Returns the advice of an urgency above that of the degree, as where the most probable class is of a higher one.

    Args:
      urgency: A place in `URGENCIES`.

    >>> urgent_advice(1)
    'May need treatment: see a doctor, best a dermatologist, within the next few weeks.'
    """
    return _ADVICE[urgency]


def withheld_advice(urgency: int | None) -> str:
    """Returns what to do where the network cannot tell; it never reassures.

    Args:
      urgency: A place in `URGENCIES` above the first, where what the network sees is alarming all the same; else None.

    >>> withheld_advice(None)
    'No answer is possible: take another photo, sharp and in good light, or show it to a doctor.'
    """
    return _ADVICE_WITHHELD[None if urgency is None else URGENCIES[urgency]]


def tumour_taxonomy(taxonomy: Taxonomy, degrees: Mapping[str, int]) -> Taxonomy:
    """Returns the tumours of a taxonomy under their degrees: the levels `degree` and the taxonomy's finest.

    Args:
      taxonomy: Any; its finest classes without a degree are left out, the others keep their order within a degree.
      degrees: Class of the finest level -> degree, from 0 without a gap, at least two.

    Returns:
      A taxonomy of two levels, whose classes of `degree` are `degree_names` in their order.

    Raises:
      ValueError: A class that the taxonomy lacks, or degrees that are fewer than two or leave one out.

    >>> from skinjax.labels.taxonomy import load_taxonomy
    >>> tree = tumour_taxonomy(load_taxonomy("synthetic19"), dict(load_degrees("synthetic19").degrees))
    >>> tree.levels, tree.classes("degree"), len(tree.classes())
    (('degree', 'sub'), ('benign', 'low', 'high'), 10)
    """
    known = taxonomy.classes()
    if unknown := [name for name in degrees if name not in known]:
        raise ValueError(
            f"degrees must be of classes of {taxonomy.name!r}, got {unknown[0]!r}{taxonomy.hint(unknown[0])}"
        )
    given = sorted(set(degrees.values()))
    if given != list(range(len(given))) or len(given) < 2:
        raise ValueError(f"degrees must run from 0 without a gap and be two or more, got {given}")
    names = degree_names(len(given))
    classes = sorted((name for name in known if name in degrees), key=lambda name: degrees[name])
    titles = {name: title for name, title in taxonomy.titles if name in degrees}
    own = {name: f"{name.capitalize()} malignancy" for name in names if name in ("low", "high")}
    finest = taxonomy.finest if taxonomy.finest != "degree" else "tumour"
    return Taxonomy(
        f"{taxonomy.name}, tumours by degree",
        ("degree", finest),
        tuple((names[degrees[name]], name) for name in classes),
        tuple((own | titles).items()),
        f"{taxonomy.source}; degrees of malignancy: skinjax's own choice".lstrip("; "),
        taxonomy.licence,
    )
