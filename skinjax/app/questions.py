"""Questions about the person and the lesion: columns that a run's networks read beside a photo, as fields of a form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd

from skinjax.app.language import Language
from skinjax.app.uploads import UploadError, printable
from skinjax.data.columns import Column, known_text
from skinjax.predict.networks import Predictor

FIELD = "about:"
"""What the names of these fields begin with; the place of the question follows, since a column may have any name."""

_LONGEST = 40  # characters of an entry that a message repeats


@dataclasses.dataclass(frozen=True)
class Question:
    """A column that may be filled in.

    Attributes:
      name: Of the column.
      values: Its categories, in lower case; none for a number.
    """

    name: str
    values: tuple[str, ...] = ()

    def title(self, say: Language) -> str:
        """Returns what the page calls it: a phrase of its own, or the column's name."""
        key = f"about_{self.name.casefold()}"
        return say(key) if key in say.phrases else self.name.replace("_", " ").capitalize()

    def value_title(self, value: str, say: Language) -> str:
        """Returns what the page calls an entry, a category or number."""
        key = f"value_{value.replace(' ', '_')}"
        return say(key) if key in say.phrases else value


def questions(predictor: Predictor) -> tuple[Question, ...]:
    """Returns the columns that any network of a run reads, with the categories of all of them.

    Args:
      predictor: Its networks.
    """
    found: dict[str, list[Column]] = {}
    for member in predictor.members:
        for loaded in member.values():
            coding = loaded.network.columns
            for column in () if coding is None else coding.columns:
                found.setdefault(column.name, []).append(column)
    return tuple(
        Question(name, tuple(sorted({value for column in columns for value in column.values})))
        for name, columns in found.items()
    )


def entries(asked: Sequence[Question], fields: Mapping[str, str], say: Language) -> dict[str, str]:
    """Returns what a form says of the columns, by name; what is left out is not known.

    Args:
      asked: The questions.
      fields: The form's fields.
      say: The language of messages.

    Raises:
      UploadError: Text in place of a number, or a category that no network knows.

    >>> from skinjax.app.language import languages
    >>> asked = (Question("age"), Question("sex", ("female", "male")), Question("itch", ("false", "true")))
    >>> entries(asked, {"about:0": " 61,5 ", "about:1": "Female", "about:2": "unknown"}, languages()["en"])
    {'age': '61,5', 'sex': 'female'}
    """
    given: dict[str, str] = {}
    for place, question in enumerate(asked):
        cell = fields.get(f"{FIELD}{place}", "")
        text = known_text(pd.DataFrame({question.name: [cell]}), [question.name])[question.name]
        if not (value := text.iloc[0]):
            continue
        column = Column(question.name, "category" if question.values else "number", values=question.values)
        if not column.knows(text)[0]:
            title, told = question.title(say), printable(cell, _LONGEST)
            if not question.values:
                raise UploadError("error_number", 422, name=title, value=told)
            known = say("comma").join(question.value_title(one, say) for one in question.values)
            raise UploadError("error_value", 422, name=title, value=told, known=known)
        given[question.name] = value
    return given


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
