"""From an answered case to what the templates show: texts, shares and pictures, with nothing left to work out."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from skinjax.app import sentences
from skinjax.app.engine import AnsweredCase, AnsweredPhoto, Engine
from skinjax.app.figures import ClassFigures, RunFigures
from skinjax.app.language import Language
from skinjax.app.texts import percent
from skinjax.labels.degrees import URGENCIES, degree_names
from skinjax.labels.taxonomy import Taxonomy
from skinjax.labels.titles import title_in
from skinjax.predict.cases import CaseAnswer, case_header
from skinjax.predict.conclusions import Conclusion

FIRST = 4
"""Classes of a level that are shown before the rest is folded away."""

COLUMNS = ("case", "answer", "probability", "diagnosis", "advice", "set")
"""Columns of the table of many cases; `column_<name>` are their phrases."""


def case_view(found: AnsweredCase, engine: Engine, figures: RunFigures, say: Language) -> dict[str, Any]:
    """Returns what `case.html.j2` shows of a case that could be read.

    Args:
      found: The case.
      engine: The run that answered it.
      figures: The run's own figures.
      say: The language.
    """
    taxonomy, answer = engine.predictor.taxonomy, found.answer
    name = answer.diagnosis(taxonomy)
    heading = (
        say("no_answer") if name is None else say("most_probable", title=title_in(taxonomy, name, say.code))
    )
    advice = answer.advice
    words = sentences.advice_words(advice, say) if advice else ""
    return {
        "heading": heading,
        "summary": say("ready", heading=heading, words=words),
        "reasons": sentences.reasons(answer, say),
        "advice": advice
        and {"urgency": advice.urgency, "words": words, "late": sentences.late_sentences(advice, say)},
        "sure": sentences.set_sentences(answer, taxonomy, engine.context, say),
        "levels": [_level(answer, taxonomy, level, say) for level in reversed(taxonomy.levels)],
        "malignancy": _malignancy(answer, say),
        "target": sentences.target_sentence(answer, taxonomy, say),
        "explained": any(photo.heat for photo in found.photos),
        "photos": [_photo(photo, number, taxonomy, say) for number, photo in enumerate(found.photos, 1)],
        "figures": _figures(answer, figures, taxonomy, say),
        "neighbours": None
        if found.neighbours is None
        else [
            {
                "picture": picture.source,
                "width": picture.width,
                "height": picture.height,
                "alt": say("neighbour_alt", title=title_in(taxonomy, one.class_name, say.code)),
                "title": say(
                    "neighbour_title",
                    title=title_in(taxonomy, one.class_name, say.code),
                    similarity=f"{one.similarity:.2f}",
                ),
            }
            for one, picture in found.neighbours
        ],
    }


def row_view(answer: CaseAnswer, count: int, taxonomy: Taxonomy, say: Language) -> dict[str, Any]:
    """Returns a row of the table of many cases, as `batch_rows.html.j2` shows it.

    Args:
      answer: The answer.
      count: How many photos it is of.
      taxonomy: The taxonomy of the run.
      say: The language.
    """
    row = {
        "case": answer.case,
        "photos": say("photos_count", count=count),
        "csv": csv_line(answer.to_row(taxonomy)),
    }
    if answer.error is not None:
        cells = [("–", "", ""), ("", "", ""), (answer.error, answer.error, ""), ("", "", ""), ("", "", "")]
    else:
        name, share = answer.top(taxonomy, taxonomy.finest)[0]
        title = title_in(taxonomy, name, say.code)
        told = sentences.reasons(answer, say)
        given = say("withheld", reasons=say("semicolon").join(told)) if told else say("given")
        names = answer.backed_off or answer.conformal_set
        urgency = answer.advice.urgency if answer.advice else None
        place = URGENCIES.index(urgency) if urgency else -1
        when = say(f"urgency_{urgency or 'unknown'}") if answer.advice else "–"
        cells = [
            (title, title, ""),
            (percent(share), f"{share:.6f}", "number"),
            (given, f"{bool(told):d}{given}", ""),
            (when, str(place), urgency or ""),
            (
                say("comma").join(title_in(taxonomy, one, say.code) for one in names),
                f"{len(answer.conformal_set):04d}",
                "",
            ),
        ]
    return row | {"cells": [{"text": text, "sort": sort, "kind": kind} for text, sort, kind in cells]}


def error_row(case: str, count: int, problem: str, taxonomy: Taxonomy, say: Language) -> dict[str, Any]:
    """Returns the row of a case that could not be answered.

    Args:
      case: Its name.
      count: How many photos it is of.
      problem: Why, in a sentence.
      taxonomy: The taxonomy of the run.
      say: The language.
    """
    return row_view(CaseAnswer(case, error=problem), count, taxonomy, say)


def csv_line(cells: Sequence[str]) -> str:
    """Returns cells as a line of CSV without its end.

    A cell that a spreadsheet would take for a formula is marked as text, since names of cases come from folders.

    >>> print(csv_line(["=1+1", "a, b", "0.5", "-3"]))
    '=1+1,"a, b",0.5,-3
    """
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow([_harmless(" ".join(cell.split())) for cell in cells])
    return file.getvalue()


def csv_head(taxonomy: Taxonomy) -> str:
    """Returns the line of CSV that names the columns.

    Args:
      taxonomy: The taxonomy of the run.
    """
    return csv_line(case_header(taxonomy))


def class_rows(figures: RunFigures, taxonomy: Taxonomy, say: Language) -> list[dict[str, str]]:
    """Returns the run's figures by class, as `run.html.j2` shows them.

    Args:
      figures: The figures.
      taxonomy: The taxonomy of the run.
      say: The language.
    """
    return [
        {
            "title": title_in(taxonomy, one.name, say.code),
            "recall": percent(one.recall) + _range(one, say),
            "precision": percent(one.precision),
            "photos": f"{one.photos:,}",
        }
        for one in figures.classes.values()
        if one.name in taxonomy.classes()
    ]


def _harmless(cell: str) -> str:
    if cell[:1] not in ("=", "+", "-", "@"):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _level(answer: Conclusion, taxonomy: Taxonomy, level: str, say: Language) -> dict[str, Any]:
    inside: Iterable[str] = ()
    if level == taxonomy.finest and not answer.backed_off:
        inside = answer.conformal_set
    elif len(taxonomy.levels) > 1 and level == taxonomy.levels[-2]:
        inside = answer.backed_off
    rows = [
        {
            "title": title_in(taxonomy, name, say.code),
            "share": share,
            "percent": percent(share),
            "inside": name in inside,
        }
        for name, share in answer.top(taxonomy, level, len(taxonomy.classes(level)))
    ]
    first = max([FIRST, *(place for place, row in enumerate(rows, 1) if row["inside"])])
    first = len(rows) if len(rows) <= first + 2 else first
    key = f"level_{level.casefold()}"
    title = say(key) if key in say.phrases else level.replace("_", " ").capitalize()
    return {"title": title, "first": rows[:first], "rest": rows[first:]}


def _malignancy(answer: Conclusion, say: Language) -> dict[str, Any] | None:
    found = answer.malignancy
    if found is None:
        return None
    shares = [
        (name, float(p))
        for name, p in zip(degree_names(len(found.probabilities)), found.probabilities, strict=True)
    ]
    return {
        "sentences": sentences.malignancy_sentences(answer, say),
        "rows": [
            {
                "title": sentences.degree_title(name, say),
                "share": share,
                "percent": percent(share),
                "inside": False,
            }
            for name, share in shares
        ],
    }


def _photo(photo: AnsweredPhoto, number: int, taxonomy: Taxonomy, say: Language) -> dict[str, Any]:
    answer = photo.answer
    if answer.error is not None:
        told = [sentences.unreadable(answer, say)]
    else:
        name, share = answer.top(taxonomy, taxonomy.finest)[0]
        told = [say("photo_top", title=title_in(taxonomy, name, say.code), percent=percent(share))]
        if not photo.counted:
            told.append(say("photo_left_out"))
    picture, heat = photo.picture, photo.heat
    return {
        "name": say("photo_name", number=number),
        "alt": say("photo_alt", number=number),
        "picture": picture and picture.source,
        "heat": heat and heat.source,
        "width": picture and picture.width,
        "height": picture and picture.height,
        "sentences": told,
    }


def _figures(answer: Conclusion, figures: RunFigures, taxonomy: Taxonomy, say: Language) -> list[str]:
    name = answer.top(taxonomy, taxonomy.finest)[0][0]
    title, found = title_in(taxonomy, name, say.code), figures.classes.get(name)
    if found is None or math.isnan(found.recall):
        return [say("no_figures", title=title)]
    told = [
        say(
            "figure_recall",
            photos=f"{found.photos:,}",
            cases=f"{found.cases:,}",
            title=title,
            percent=percent(found.recall),
            range=_range(found, say),
        )
    ]
    if not math.isnan(found.precision):
        told.append(say("figure_precision", title=title, percent=percent(found.precision)))
    return told


def _range(figures: ClassFigures, say: Language) -> str:
    if math.isnan(figures.low):
        return ""
    return say("figure_range", low=percent(figures.low), high=percent(figures.high))
