"""Questions about the person and the lesion: columns that a run's networks read beside a photo, as fields of a form."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from skinjax.app.language import Language
from skinjax.app.uploads import UploadError, printable
from skinjax.data.columns import Column, known_text, parsed_numbers
from skinjax.predict.networks import Predictor

FIELD = "about:"
"""Prefix of the form fields' names; the place of the question follows, since a column may have any name."""

RUN_FIELD = "asked"
"""Name of the form field that says which questions were asked; see `digest`."""

_LONGEST_ENTRY, _LONGEST_TITLE = 40, 60


@dataclasses.dataclass(frozen=True)
class Question:
    """A column that may be filled in.

    Attributes:
      name: Of the column.
      columns: Its encoding by each network that reads it, at least one.
    """

    name: str
    columns: tuple[Column, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """Returns the categories to choose from, in natural order; none where a number may be given."""
        if any(column.kind == "number" for column in self.columns):
            return ()
        return tuple(sorted({value for column in self.columns for value in column.values}, key=_natural))

    def title(self, say: Language) -> str:
        """Returns the label on the page: a phrase of its own, or the column's name."""
        key = f"about_{self.name.casefold()}"
        if key in say.phrases:
            return say(key)
        name = printable(self.name.replace("_", " "), _LONGEST_TITLE)
        return name[:1].upper() + name[1:]

    def value_title(self, value: str, say: Language) -> str:
        """Returns what the page calls an entry, a category or number."""
        key = f"value_{value.replace(' ', '_')}"
        return say(key) if key in say.phrases else value

    def read(self, entry: str) -> str | None:
        """Returns an entry as the networks read it, empty for an unknown one, or None for one that none can read.

        Args:
          entry: Text of a form.
        """
        plain = _plain(entry)
        categories = {_plain(value).lower(): value for column in self.columns for value in column.values}
        if plain.lower() in categories:
            return categories[plain.lower()]
        text = known_text(pd.DataFrame({self.name: [plain]}), [self.name])[self.name]
        if text.iloc[0] == "":
            return ""
        if not any(column.kind == "number" and column.knows(text)[0] for column in self.columns):
            return None
        return f"{parsed_numbers(text)[0]:.12g}"


def questions(predictor: Predictor) -> tuple[Question, ...]:
    """Returns the columns that any network of a run reads.

    Args:
      predictor: Its networks.
    """
    found: dict[str, list[Column]] = {}
    for member in predictor.members:
        for loaded in member.values():
            coding = loaded.network.columns
            for column in () if coding is None else coding.columns:
                if column.kind == "number" or column.values:  # else no entry could be known
                    found.setdefault(column.name, []).append(column)
    return tuple(Question(name, tuple(dict.fromkeys(columns))) for name, columns in found.items())


def digest(asked: Sequence[Question]) -> str:
    """Returns what tells the questions of one run from those of another, for forms that outlive a restart.

    Args:
      asked: The questions.
    """
    return hashlib.sha256(repr([(one.name, one.values) for one in asked]).encode()).hexdigest()[:16]


def entries(asked: Sequence[Question], fields: Mapping[str, str], say: Language) -> dict[str, str]:
    """Parses the form's entries, by column; what is left out is not known.

    Args:
      asked: The questions.
      fields: The form's fields.
      say: The language of messages.

    Raises:
      UploadError: Text in place of a number, a category that no network knows, or a form of another run. It says so
        of the first entry, and its `faults` of each.

    >>> from skinjax.app.language import languages
    >>> sex = Column("sex", "category", values=("female", "male"), shares=(0.5, 0.5))
    >>> asked = (Question("age", (Column("age", "number"),)), Question("sex", (sex,)))
    >>> entries(asked, {"about:0": " 61,50 ", "about:1": "Female"}, languages()["en"])
    {'age': '61.5', 'sex': 'female'}
    >>> entries(asked, {"about:1": "unknown"}, languages()["en"])
    {}
    """
    raw = typed(asked, fields)
    if fields.get(RUN_FIELD, digest(asked)) != digest(asked):
        raise UploadError("error_questions", 409)
    given: dict[str, str] = {}
    refused: dict[int, UploadError] = {}
    for place, question in enumerate(asked):
        value = question.read(raw.get(question.name, ""))
        if value is None:
            told: dict[str, Any] = {"name": question.title(say)}
            told["value"] = printable(raw[question.name], _LONGEST_ENTRY)
            refused[place] = UploadError("error_number", **told)
            if question.values:
                known = say("comma").join(question.value_title(one, say) for one in question.values)
                refused[place] = UploadError("error_value", known=known, **told)
        elif value:
            given[question.name] = value
    if refused:
        first = next(iter(refused.values()))
        faults = {place: say(one.phrase, **one.values) for place, one in refused.items()}
        raise UploadError(first.phrase, 422, entered=raw, faults=faults, **first.values)
    return given


def typed(asked: Sequence[Question], fields: Mapping[str, str]) -> dict[str, str]:
    """Returns the form's entries as they were typed, by column.

    Args:
      asked: The questions.
      fields: The form's fields.
    """
    named = {one.name: fields.get(f"{FIELD}{place}", "") for place, one in enumerate(asked)}
    return {name: text for name, text in named.items() if text}


def sentences(asked: Sequence[Question], given: Mapping[str, str], say: Language) -> list[str]:
    """Returns which columns an answer was given with, and which it was given without.

    Args:
      asked: The questions.
      given: Of `entries`.
      say: The language.
    """
    told = []
    if given:
        pairs = [
            say("entry", name=one.title(say), value=one.value_title(given[one.name], say))
            for one in asked
            if one.name in given
        ]
        told.append(say("answered_with", entries=say("comma").join(pairs)))
    if left := [one.title(say) for one in asked if one.name not in given]:
        told.append(say("answered_without", names=say("comma").join(left)))
    return told


def _plain(text: str) -> str:
    r"""Returns text with plain digits and single spaces, and without what cannot be seen.

    >>> _plain("６１\u200b．５ "), _plain("Left\r\narm")
    ('61.5', 'Left arm')
    """
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    return "".join(letter for letter in text if letter.isprintable()).strip()


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Returns a key that sorts numbers within text by their size.

    >>> sorted(["100+", "5-9", "10-19", "under 5"], key=_natural)
    ['5-9', '10-19', '100+', 'under 5']
    """
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
