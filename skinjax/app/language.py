"""The page's texts by language: a JSON file of phrases each, which a translator can copy and fill.

`phrases/<language>.json` maps a key to a sentence with places to fill in braces; every file has the same keys and
places as `en.json` (`tests/app/test_language.py`). A new language is a new file, with nothing to change in code; titles
of classes come from `skinjax.labels.titles`, sentences about answers from `skinjax.predict.wording`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path

_PHRASES = Path(__file__).parent / "phrases"

FALLBACK = "en"
"""The language where none that is asked for is there."""


@dataclasses.dataclass(frozen=True)
class Language:
    """The page's texts in one language.

    Attributes:
      code: Such as "en" or "zh".
      phrases: Sentence by key.
    """

    code: str
    phrases: Mapping[str, str] = dataclasses.field(repr=False)

    def __call__(self, key: str, **values: object) -> str:
        """Returns the sentence of a key with its places filled.

        Args:
          key: Of the phrases.
          values: By place.
        """
        return self.phrases[key].format(**values)

    @property
    def tag(self) -> str:
        """Returns the value of the HTML attribute `lang`."""
        return self.phrases["tag"]


@functools.cache
def languages() -> Mapping[str, Language]:
    """Returns the languages by code, the fallback first."""
    codes = sorted((path.stem for path in _PHRASES.glob("*.json")), key=lambda code: (code != FALLBACK, code))
    return {
        code: Language(code, json.loads((_PHRASES / f"{code}.json").read_text(encoding="utf-8")))
        for code in codes
    }


def chosen(cookie: str, accepted: str) -> Language:
    """Returns the language to answer in.

    Args:
      cookie: The code that the user chose by a link; empty or unknown for no choice.
      accepted: The browser's `Accept-Language`.

    >>> chosen("", "de-DE,zh-CN;q=0.9,en;q=0.8").code, chosen("en", "zh").code, chosen("xx", "de").code
    ('zh', 'en', 'en')
    """
    known = languages()
    if cookie in known:
        return known[cookie]
    ranked = []
    for place, part in enumerate(accepted.split(",")[:20]):
        tag, _, weight = part.strip().partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            quality = 0.0
        ranked.append((-quality, place, tag.split("-")[0].casefold()))
    for quality, _, code in sorted(ranked):
        if code in known and quality < 0:
            return known[code]
    return known[FALLBACK]
