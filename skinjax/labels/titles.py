"""Titles of classes in other languages than English.

A title is found by the class's English one (`Taxonomy.title`), so that a user's own taxonomy has those of the diseases
that it shares with the catalogue. A language is a JSON file in `catalogue/titles` with `"language"`, `"source"` and
`"titles"` (English title in small letters, blanks for hyphens -> title); `third_party/labels.md` tells where they come
from.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

from skinjax.labels.taxonomy import Taxonomy

_CATALOGUE = Path(__file__).parent / "catalogue" / "titles"


def title_languages() -> tuple[str, ...]:
    """Returns the languages, beside English, that titles are known in.

    >>> title_languages()
    ('zh',)
    """
    return tuple(sorted(path.stem for path in _CATALOGUE.glob("*.json")))


def title_in(taxonomy: Taxonomy, class_name: str, language: str) -> str:
    """Returns a class's title in a language; the English one where there is no other.

    Args:
      taxonomy: The taxonomy of the class.
      class_name: Name of a class of any level.
      language: Such as "en" or "zh".

    >>> from skinjax.labels.taxonomy import load_taxonomy
    >>> title_in(load_taxonomy("pad_ufes_20"), "MEL", "zh"), title_in(load_taxonomy("ham10000"), "mel", "en")
    ('黑色素瘤', 'Melanoma')
    """
    english = taxonomy.title(class_name)
    return _titles(language).get(english.casefold().replace("-", " "), english)


@functools.cache
def _titles(language: str) -> Mapping[str, str]:
    if language not in title_languages():
        return {}
    document = json.loads((_CATALOGUE / f"{language}.json").read_text(encoding="utf-8"))
    titles: Mapping[str, str] = document["titles"]
    return titles
