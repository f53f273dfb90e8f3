"""Sentences about an answered case, in the language of the page."""

from __future__ import annotations

from collections.abc import Sequence

from skinjax.app.language import Language
from skinjax.app.texts import percent
from skinjax.labels.degrees import NO_TUMOUR
from skinjax.labels.taxonomy import Taxonomy
from skinjax.labels.titles import title_in
from skinjax.predict.advice import Advice
from skinjax.predict.cases import CaseContext
from skinjax.predict.conclusions import Conclusion


def reasons(answer: Conclusion, say: Language) -> list[str]:
    """Returns why no diagnosis is given."""
    return list(answer.reasons)


def advice_words(advice: Advice, say: Language) -> str:
    """Returns what to do."""
    return advice.words


def late_sentences(advice: Advice, say: Language) -> list[str]:
    """Returns how often such advice was too late among the run's held-out cases."""
    found = []
    for name, share in advice.too_late.items():
        if share is not None:
            low, high = share.get("low"), share.get("high")
            limits = ""
            if low is not None and high is not None:
                limits = say("figure_range", low=percent(low), high=percent(high))
            found.append(
                say(f"late_{name}", cases=share["cases"], percent=percent(share["rate"]), range=limits)
            )
    return found or [say("late_unknown")]


def set_sentences(answer: Conclusion, taxonomy: Taxonomy, context: CaseContext, say: Language) -> list[str]:
    """Returns the conformal set in words."""
    decisions, options = context.decisions.decisions, context.photo.options
    if not decisions.photos:
        return [say("set_unknown")]
    share = percent(options.coverage)
    if answer.backed_off:
        titles = _listed([title_in(taxonomy, name, say.code) for name in answer.backed_off], say)
        return [say("set_groups", titles=titles, coverage=share)]
    count = len(taxonomy.classes())
    names = [name for name, _ in answer.top(taxonomy, taxonomy.finest, count) if name in answer.conformal_set]
    if len(names) == count:
        return [say("set_all", count=count, coverage=share)]
    titles = _listed([title_in(taxonomy, name, say.code) for name in names], say)
    key = "set_none" if not names else "set_one" if len(names) == 1 else "set_several"
    return [say(key, titles=titles, count=len(names), coverage=share)]


def malignancy_sentences(answer: Conclusion, say: Language) -> list[str]:
    """Returns score and degree of malignancy."""
    found = answer.malignancy
    assert found is not None
    told = [say("tumour", percent=percent(found.tumour))]
    if found.degree != NO_TUMOUR:
        told.append(say("degree", degree=degree_title(found.called, say), score=f"{found.score:.0f}"))
    else:
        told.append(say("no_tumour", score=f"{found.score:.0f}"))
    return told


def target_sentence(answer: Conclusion, taxonomy: Taxonomy, say: Language) -> str | None:
    """Returns whether a two-stage run calls its target; None for other runs."""
    call = answer.target
    if call is None or call.called is None:
        return None
    titles = _listed([title_in(taxonomy, name, say.code) for name in call.decision.classes], say)
    key = "target_called" if call.called else "target_not_called"
    return say(key, titles=titles, score=f"{call.score:.2f}", threshold=f"{call.decision.threshold:.2f}")


def unreadable(answer: Conclusion, say: Language) -> str:
    """Returns why a photo cannot be read."""
    return say("photo_unreadable", reason=answer.error or "")


def degree_title(name: str, say: Language) -> str:
    """Returns the title of a degree of malignancy."""
    key = f"degree_{name}"
    return say(key) if key in say.phrases else name.replace("_", " ")


def _listed(titles: Sequence[str], say: Language) -> str:
    if len(titles) < 2:
        return "".join(titles)
    return say("comma").join(titles[:-1]) + say("or") + titles[-1]
