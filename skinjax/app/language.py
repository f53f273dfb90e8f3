"""The page's texts by language: a JSON file of phrases each, which a translator can copy and fill.

Sentences about answers are those of the terminal, `skinjax.predict.wording`; what the page says beside them stands in
`phrases/<language>.json` here. Both map a key to a sentence with places to fill in braces, with the keys and places of
`en.json`. A new language is a file in either folder, and one of titles (`skinjax.labels.titles`), and no code.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path

from skinjax.predict import wording

_PHRASES = Path(__file__).parent / "phrases"


@dataclasses.dataclass(frozen=True)
class Language:
    """The page's texts in one language.

    Attributes:
      code: Such as "en" or "zh".
      phrases: Sentence by key, those of answers among them.
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
def page_phrases(code: str) -> Mapping[str, str]:
    """Returns what the page says beside answers, by key; empty in a language that it has no file of.

    Args:
      code: Of the language.
    """
    path = _PHRASES / f"{code}.json"
    found: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


@functools.cache
def languages() -> Mapping[str, Language]:
    """Returns the languages that both answers and pages are written in, English first, by code."""
    return {
        code: Language(code, {**wording.phrases(code), **page_phrases(code)})
        for code in wording.languages()
        if page_phrases(code)
    }


def sentence(text: str) -> str:
    """Returns a text as it stands alone on the page: with a capital, unless it begins with a name of code or a file.

    Args:
      text: Such as a reason of an answer, or a note, which the command line writes after a colon.

    >>> sentence("none of 2 photos can be read"), sentence("scan.jpg: too dark"), sentence("two_stage: 5 folds")
    ('None of 2 photos can be read', 'scan.jpg: too dark', 'two_stage: 5 folds')
    >>> sentence("my left-arm.jpg: too dark"), sentence("not one of two; the first, scan.jpg: too dark")
    ('my left-arm.jpg: too dark', 'Not one of two; the first, scan.jpg: too dark')
    """
    file = re.match(r"[^,;:]+\.\w+: ", text)
    plain = not file and re.match(r"[^\W\d_]+(?![\w.=/])", text)
    return text[:1].upper() + text[1:] if plain else text


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
    return known[wording.ENGLISH]
