"""From an answered case to what the templates show: texts, shares and pictures, with nothing left to work out."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from skinjax.app.engine import AnsweredCase, Engine
from skinjax.app.figures import ClassFigures, RunFigures
from skinjax.app.language import Language, sentence
from skinjax.app.pictures import Picture
from skinjax.app.questions import sentences
from skinjax.labels.degrees import URGENCIES, degree_names
from skinjax.labels.taxonomy import Taxonomy
from skinjax.labels.titles import title_in
from skinjax.predict import wording
from skinjax.predict.cases import CaseAnswer, case_header
from skinjax.predict.conclusions import Conclusion
from skinjax.predict.neighbours import Neighbour
from skinjax.predict.wording import percent

FIRST = 4
"""Classes of a level that are shown before the rest is folded away."""

SAME = 0.9999
"""Similarity above which a photo is the one that was asked about."""

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
    taxonomy, answer, code = engine.predictor.taxonomy, found.answer, say.code
    heading, advice = wording.heading(answer, taxonomy, code), wording.advice_sentences(answer, code)
    decisions, options = engine.context.decisions.decisions, engine.context.photo.options
    coverage = options.coverage if decisions.photos else None
    return {
        "heading": heading,
        "summary": say("ready", heading=heading, words=advice[0] if advice else ""),
        "reasons": wording.reasons(answer, code),
        "advice": {"urgency": answer.advice.urgency, "words": advice[0], "more": advice[1:]}
        if answer.advice
        else None,
        "usable": answer.usable,
        "sure": [
            wording.set_sentence(answer, taxonomy, coverage, code) if answer.usable else say("not_usable"),
            *wording.case_sentences(answer, code),
            *sentences(engine.questions, found.given, say),
        ],
        "levels": [_level(answer, taxonomy, level, say) for level in reversed(taxonomy.levels)],
        "malignancy": _malignancy(answer, say),
        "target": wording.target_sentence(answer, taxonomy, code),
        "explained": any(photo.heat for photo in found.photos),
        "photos": [_photo(found, place, taxonomy, say) for place in range(len(found.photos))],
        "figures": _figures(answer, figures, taxonomy, say) if answer.usable else [],
        "neighbours": None
        if found.neighbours is None
        else [_neighbour(one, picture, taxonomy, say) for one, picture in found.neighbours],
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
    code = say.code
    if answer.error is not None:
        told = sentence(wording.translated(answer.error, code))
        if len(answer.photos) == 1:
            told = say("error_photo", **unreadable(answer, say))
        cells = [("–", "", ""), ("–", "", ""), (told, f"2{told}", ""), ("–", "", ""), ("–", "", "")]
    else:
        name, share = answer.top(taxonomy, taxonomy.finest)[0]
        title = title_in(taxonomy, name, code)
        reasons = say("semicolon").join(wording.reasons(answer, code))
        urgency = answer.advice.urgency if answer.advice else None
        names = answer.backed_off or answer.conformal_set
        titles = say("comma").join(title_in(taxonomy, one, code) for one in names)
        cells = [
            (title, title, ""),
            (percent(share), f"{share:.6f}", "number"),
            (
                say("withheld", reasons=reasons) if reasons else say("given"),
                f"{bool(reasons):d}{reasons}",
                "",
            ),
            (
                wording.urgency_title(answer, code) or "–",
                str(URGENCIES.index(urgency) + 1 if urgency else 0),
                urgency or "",
            ),
            (titles, f"{len(answer.conformal_set):04d}", ""),
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


def unreadable(answer: CaseAnswer, say: Language) -> dict[str, Any]:
    """Returns what the phrase `error_photo` says of the first photo of a case that cannot be answered.

    Args:
      answer: Its `error` is not None.
      say: The language.
    """
    first = answer.photos[0]
    return {"name": first.photo, "reason": wording.translated(first.error or "", say.code)}


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
            "recall": percent(one.recall),
            "range": ""
            if math.isnan(one.low)
            else say("from_to", low=percent(one.low), high=percent(one.high)),
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
    sentence, found = wording.malignancy_sentence(answer, say.code), answer.malignancy
    if sentence is None or found is None:
        return None
    names = degree_names(len(found.probabilities))
    rows = [
        {
            "title": wording.degree_title(name, say.code).capitalize(),
            "share": float(share),
            "percent": percent(float(share)),
            "inside": False,
        }
        for name, share in zip(names, found.probabilities, strict=True)
    ]
    return {"sentence": sentence, "rows": rows}


def _photo(found: AnsweredCase, place: int, taxonomy: Taxonomy, say: Language) -> dict[str, Any]:
    photo, number = found.photos[place], place + 1
    picture, heat = photo.picture, photo.heat
    return {
        "name": say("photo_name", number=number),
        "file": photo.answer.photo,
        "alt": say("photo_alt", number=number),
        "picture": picture and picture.source,
        "heat": heat and heat.source,
        "width": picture and picture.width,
        "height": picture and picture.height,
        "line": sentence(wording.photo_line(found.answer, place, taxonomy, say.code)),
    }


def _neighbour(one: Neighbour, picture: Picture, taxonomy: Taxonomy, say: Language) -> dict[str, Any]:
    title = title_in(taxonomy, one.class_name, say.code)
    key = "neighbour_same" if one.similarity > SAME else "neighbour_title"
    return {
        "picture": picture.source,
        "width": picture.width,
        "height": picture.height,
        "alt": say("neighbour_alt", title=title),
        "title": say(key, title=title, similarity=f"{one.similarity:.2f}"),
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
    return say("range", low=percent(figures.low), high=percent(figures.high))
