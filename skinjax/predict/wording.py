"""Answers in words, for the terminal and the page alike, in every language that has a file of phrases.

`phrases/<language>.json` maps a key to a sentence with places to fill in braces; every file has the keys and places of
`en.json`, so that a translator copies that file and fills it. Reasons and advice are English sentences in answers
themselves (`Answer.reasons`, `Advice.words`); their keys begin with `reason: ` and `advice: `, and `translated` finds
the key of a sentence by its English phrase. Titles of classes are those of `skinjax.labels.titles`.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from skinjax.labels.degrees import NO_TUMOUR
from skinjax.labels.taxonomy import Taxonomy
from skinjax.labels.titles import title_in
from skinjax.predict.answers import Answer
from skinjax.predict.cases import CaseAnswer
from skinjax.predict.conclusions import Conclusion

_PHRASES = Path(__file__).parent / "phrases"
_TRANSLATED = ("reason: ", "advice: ")

_BELOW = 0.1  # by which a set's own probability must miss the coverage, to be said beside it

ENGLISH = "en"
"""The language of reasons and advice in answers, and of the terminal."""


@functools.cache
def languages() -> tuple[str, ...]:
    """Returns the languages that answers can be put into words in, English first.

    >>> languages()
    ('en', 'zh')
    """
    codes = (path.stem for path in _PHRASES.glob("*.json"))
    return tuple(sorted(codes, key=lambda code: (code != ENGLISH, code)))


@functools.cache
def phrases(language: str) -> Mapping[str, str]:
    """Returns the phrases of a language by key.

    Args:
      language: One of `languages`.

    Raises:
      ValueError: There is no such language.
    """
    if language not in languages():
        raise ValueError(f"language must be one of {', '.join(languages())}, got {language!r}")
    found: Mapping[str, str] = json.loads((_PHRASES / f"{language}.json").read_text(encoding="utf-8"))
    return found


def phrase(language: str, key: str, **places: object) -> str:
    """Returns a phrase with its places filled.

    >>> phrase("en", "titled", title="Melanoma", percent="63%")
    'Melanoma 63%'
    """
    return phrases(language)[key].format(**places)


def translated(sentence: str, language: str) -> str:
    """Returns a reason or an advice of an answer in a language; as it is where it has no phrase.

    Args:
      sentence: English, as an answer has it; a photo's name and a colon may stand before a reason.
      language: One of `languages`.

    >>> translated("not certain enough (41%, must be at least 55%)", "zh")
    '把握不足（41%，至少须为 55%）'
    >>> translated("arm.jpg: no class can be ruled out", "zh")
    'arm.jpg: 任何类别都不能排除'
    """
    if language == ENGLISH:
        return sentence
    before, rest = "", sentence
    while True:
        for key, pattern in _patterns():
            if match := pattern.fullmatch(rest):
                places = {name: translated(value, language) for name, value in match.groupdict().items()}
                return before + phrase(language, key, **places)
        name, colon, rest = rest.partition(": ")
        if not colon:
            return sentence
        before += name + colon


def percent(share: float) -> str:
    """Returns a share in whole percent, never as certain as none or all of it where it is neither.

    >>> [percent(share) for share in (0.0, 0.0004, 0.634, 0.9999, float("nan"))]
    ['0%', '<1%', '63%', '>99%', '–']
    """
    if math.isnan(share):
        return "–"
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 < share < 1 else f"{100 * share:.0f}%"


def times(share: float, language: str) -> str:
    """Returns a probability as people say it.

    >>> times(0.9, "en"), times(0.95, "en"), times(0.85, "zh"), times(0.875, "en")
    ('nine times in ten', '19 times in 20', '20 次中有 17 次', '88% of the time')
    """
    for parts, key in ((10, "times_in_ten"), (20, "times_in_twenty")):
        count = round(share * parts)
        if abs(share * parts - count) < 1e-9 and 1 < count < parts:
            return phrase(language, key, count=counted(count, language) if parts == 10 else count)
    return phrase(language, "times", percent=percent(share))


def counted(number: int, language: str) -> str:
    """Returns a number as a word, up to ten.

    >>> counted(3, "en"), counted(3, "zh"), counted(11, "en")
    ('three', '三', '11')
    """
    words = phrases(language)["number"].split()
    return words[number - 1] if 0 < number <= len(words) else f"{number:,}"


def listed(names: Sequence[str], language: str) -> str:
    """Returns names as a list of alternatives.

    >>> listed(["a", "b", "c"], "en"), listed(["a"], "en")
    ('a, b or c', 'a')
    """
    if len(names) < 2:
        return "".join(names)
    say = phrases(language)
    return say["comma"].join(names[:-1]) + say["or"] + names[-1]


def heading(answer: Conclusion, taxonomy: Taxonomy, language: str = ENGLISH) -> str:
    """Returns the answer in a few words: the diagnosis with its probability, or that there is none.

    Args:
      answer: Of a photo or a case.
      taxonomy: The taxonomy whose classes these are.
      language: One of `languages`.
    """
    if answer.error is not None:
        return phrase(language, "unreadable", reason=translated(answer.error, language))
    if answer.diagnosis(taxonomy) is None:
        return phrase(language, "no_diagnosis")
    name, probability = answer.top(taxonomy, taxonomy.finest)[0]
    title = title_in(taxonomy, name, language)
    return phrase(language, "diagnosis", title=title, percent=percent(probability))


def most_probable(
    answer: Conclusion, taxonomy: Taxonomy, level: str, count: int = 3, language: str = ENGLISH
) -> str:
    """Returns the most probable classes of a level with their probabilities; those below half a percent are not said.

    Args:
      answer: Of a photo or a case that could be read.
      taxonomy: The taxonomy whose classes these are.
      level: One of its levels.
      count: How many at most; the first is always said.
      language: One of `languages`.
    """
    top = answer.top(taxonomy, level, count)
    named = [
        phrase(language, "titled", title=title_in(taxonomy, name, language), percent=percent(share))
        for place, (name, share) in enumerate(top)
        if place == 0 or share >= 0.005
    ]
    return phrase(language, "most_probable", titles=phrases(language)["comma"].join(named))


def reasons(answer: Conclusion, language: str = ENGLISH) -> tuple[str, ...]:
    """Returns why no diagnosis is given; empty where one is."""
    return tuple(translated(reason, language) for reason in answer.reasons)


def set_sentence(
    answer: Conclusion, taxonomy: Taxonomy, coverage: float | None, language: str = ENGLISH
) -> str:
    """Returns which classes cannot be ruled out, and how often such an answer is right.

    The coverage of conformal sets holds on average: where the calibrated probability of the set's classes is far below
    it, that is said as well.

    Args:
      answer: Of a photo or a case that could be read.
      taxonomy: The taxonomy whose classes these are.
      coverage: What sets were fitted for; None where nothing was fitted.
      language: One of `languages`.
    """
    if coverage is None:
        return phrase(language, "set_unknown")
    names = answer.backed_off or answer.conformal_set
    if len(answer.conformal_set) == len(taxonomy.classes()):
        return phrase(language, "set_all")
    if not names:
        return phrase(language, "set_none")
    key = "set_groups" if answer.backed_off else "set_one" if len(names) == 1 else "set_several"
    inside = [taxonomy.classes().index(name) for name in answer.conformal_set]
    share = float(answer.probabilities[taxonomy.finest][inside].sum())
    if not answer.backed_off and share < coverage - _BELOW:
        key = "set_unsure"
    return phrase(
        language,
        key,
        percent=percent(share),
        titles=listed([title_in(taxonomy, name, language) for name in names], language),
        count=counted(len(names), language),
        times=times(coverage, language),
        unit=phrase(language, f"unit_{_unit(answer)}"),
    )


def malignancy_sentence(answer: Conclusion, language: str = ENGLISH) -> str | None:
    """Returns score and degree of malignancy; None where none are known, or where they would mean nothing.

    Of a photo that cannot be relied on, a black one among them, a network may well say that it looks benign.
    """
    found, advice = answer.malignancy, answer.advice
    if found is None or advice is None or advice.withheld:
        return None
    if found.degree == NO_TUMOUR:
        return phrase(language, "malignancy_none", percent=percent(found.tumour))
    key = "malignancy_tumour" if found.tumour < 0.995 else "malignancy"
    return phrase(
        language,
        key,
        percent=percent(found.tumour),
        score=f"{found.score:.0f}",
        degree=degree_title(found.called, language),
    )


def degree_title(name: str, language: str = ENGLISH) -> str:
    """Returns the title of a degree of malignancy.

    >>> degree_title("low"), degree_title("degree_3"), degree_title("benign", "zh")
    ('low malignancy', 'degree 3', '良性')
    """
    return phrases(language).get(f"degree_{name}", name.replace("_", " "))


def urgency_title(answer: Conclusion, language: str = ENGLISH) -> str | None:
    """Returns how soon to see a doctor in a few words; None where no degrees are known."""
    if answer.advice is None:
        return None
    return phrase(language, f"urgency_{answer.advice.urgency or 'withheld'}")


def advice_sentences(answer: Conclusion, language: str = ENGLISH) -> tuple[str, ...]:
    """Returns what to do, why that is uncertain beyond the reasons for no diagnosis, and how often it came too late.

    Args:
      answer: Of a photo or a case.
      language: One of `languages`.

    Returns:
      Sentences; none where no degrees are known.
    """
    advice = answer.advice
    if advice is None:
        return ()
    told = [translated(advice.words, language)]
    told += [translated(reason, language) for reason in advice.withheld if reason not in answer.reasons]
    if not advice.withheld and advice.urgency != "urgent":
        told += late_sentences(answer, language)
    return tuple(told)


def late_sentences(answer: Conclusion, language: str = ENGLISH) -> tuple[str, ...]:
    """Returns how often such advice came too late among the run's held-out cases or photos.

    Args:
      answer: Of a photo or a case; by case, counts are of cases.
      language: One of `languages`.
    """
    if answer.advice is None:
        return ()
    found = []
    for name, share in answer.advice.too_late.items():
        if share is None:
            continue
        low, high = share["low"], share["high"]
        limits = ""
        if low is not None and high is not None:
            limits = phrase(language, "range", low=percent(low), high=percent(high))
        found.append(
            phrase(
                language,
                f"late_{name}_{_unit(answer)}",
                photos=f"{share['photos']:,}",
                percent=percent(share["rate"]),
                range=limits,
            )
        )
    return tuple(found) or (phrase(language, "late_unknown"),)


def target_sentence(answer: Conclusion, taxonomy: Taxonomy, language: str = ENGLISH) -> str | None:
    """Returns whether a two-stage run calls its target; None for other runs."""
    call = answer.target
    if call is None:
        return None
    known = dict.fromkeys(name for level in taxonomy.levels for name in taxonomy.classes(level))
    titles = {taxonomy.title(name): title_in(taxonomy, name, language) for name in known}
    title = phrases(language)["comma"].join(titles.get(one, one) for one in call.decision.title.split(", "))
    key = {True: "target_called", False: "target_not_called", None: "target_unknown"}[call.called]
    threshold = "" if call.called is None else f"{call.decision.threshold:.3g}"
    return phrase(language, key, title=title, score=f"{call.score:.3g}", threshold=threshold)


def photo_line(case: CaseAnswer, place: int, taxonomy: Taxonomy, language: str = ENGLISH) -> str:
    """Returns what one photo of a case says by itself, or why it cannot be read, and whether it is left out.

    Of a case's only photo nothing is said that would stand beside the case's own answer, which is calibrated on cases.

    Args:
      case: The case.
      place: Which of its photos.
      taxonomy: The taxonomy whose classes these are.
      language: One of `languages`.
    """
    photo = case.photos[place]
    if photo.error is not None:
        return heading(photo, taxonomy, language)
    if len(case.photos) == 1:
        return ""
    name, share = photo.top(taxonomy, taxonomy.finest)[0]
    title = title_in(taxonomy, name, language)
    line = phrase(language, "photo_alone", title=title, percent=percent(share))
    if case.counted[place]:
        return line
    reason = phrases(language)["semicolon"].join(reasons(photo, language))
    return line + phrases(language)["semicolon"] + phrase(language, "photo_left_out", reason=reason)


def case_sentences(case: CaseAnswer, language: str = ENGLISH) -> tuple[str, ...]:
    """Returns how far the photos of a case agree, and which do not count; none where one photo is all there is.

    Args:
      case: The case.
      language: One of `languages`.
    """
    found = []
    if case.disagreement is not None:
        count, agreement = sum(case.counted), percent(1 - case.disagreement)
        found.append(phrase(language, "photos_agree", count=counted(count, language), percent=agreement))
    if case.left_out and case.error is None:
        names = phrases(language)["comma"].join(Path(one.photo).name for one in case.left_out)
        left, total = (counted(number, language) for number in (len(case.left_out), len(case.photos)))
        found.append(phrase(language, "photos_left_out", count=left, total=total, names=names))
    return tuple(found)


def _unit(answer: Conclusion) -> str:
    return "photo" if isinstance(answer, Answer) else "case"


@functools.cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Returns the English phrases that are sentences of answers, as patterns with the places as groups."""
    found = []
    for key, text in phrases(ENGLISH).items():
        if key.startswith(_TRANSLATED):
            parts = re.split(r"\{(\w+)\}", text)
            pattern = "".join(
                f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts)
            )
            found.append((key, re.compile(pattern, re.DOTALL)))
    return tuple(found)
