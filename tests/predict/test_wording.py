"""Answers in words: every language says everything, and every sentence of an answer has a phrase."""

from __future__ import annotations

import dataclasses
import re
import string

import numpy as np
import pytest

from skinjax.data.images.headers import PhotoError, format_of
from skinjax.data.images.quality import Quality, QualityLimits, faults
from skinjax.evaluate.calls import UNKNOWN
from skinjax.labels import degrees
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict import wording
from skinjax.predict.advice import NOT_KNOWN, AdviceRecord, advise
from skinjax.predict.answers import Answer
from skinjax.predict.cases import CaseAnswer
from skinjax.predict.conclusions import Malignancy
from skinjax.predict.photos import NOT_RENDERED
from skinjax.predict.target_call import SampleSize, TargetCall, TargetDecision, TargetRates

TREE = load_taxonomy("pad_ufes_20")
CLASSES = TREE.classes()
OTHERS = [language for language in wording.languages() if language != wording.ENGLISH]
NAMES = re.compile(r"a\.jpg|AVIF|BigTIFF|JPEG|PDF|PNG|Photoshop|TIFF|WebP|ZIP")  # the same in every language
LATE = {"rate": 0.031, "low": 0.012, "high": 0.07, "photos": 120, "cases": 80}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def probabilities(**of_class: float) -> dict[str, np.ndarray]:
    fine = np.array([of_class.get(name, 0.0) for name in CLASSES], np.float32)
    coarse = np.zeros(len(TREE.classes(TREE.levels[0])), np.float32)
    np.add.at(coarse, TREE.parents(*reversed(TREE.levels)), fine)
    return {TREE.levels[0]: coarse, TREE.finest: fine}


def answer(kind=Answer, name: str = "clinic/a.jpg", **more):
    given = {
        "probabilities": probabilities(MEL=0.87, NEV=0.126, SEK=0.004),
        "conformal_set": ("MEL", "NEV"),
        "malignancy": Malignancy(84.2, 2, np.array([0.1, 0.1, 0.8], np.float32)),
        "advice": advise(2, 2, [], 3, AdviceRecord(LATE, LATE, {"routine": LATE})),
    }
    return kind(name, **{**given, **more})


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_the_keys_and_places_of_english(language):
    english, other = wording.phrases("en"), wording.phrases(language)
    assert list(other) == list(english)
    for key, text in english.items():
        assert fields(other[key]) == fields(text), key
        assert other[key].strip()


def unread() -> list[str]:
    """Why files are no photos, by their first bytes."""
    beginnings = (
        b"%PDF", b"PK\3\4", b"8BPS", b"MM\0+", b"\xff\x0a", b"\xff\x4f\xff\x51", b"\0\0\0\1ftypmp42",
        b"\0\0\0\1ftypavif", b"\0\0", b"<html>", b"text",
    )  # fmt: skip
    found = []
    for data in beginnings:
        with pytest.raises(PhotoError) as caught:
            format_of(data)
        found.append(caught.value.reason)
    return found


def every_sentence() -> list[str]:
    """All reasons and advice that answers can hold, from the functions that make them."""
    at = QualityLimits(sharpness=2, grain=50, darkest=20, brightest=200, dark=0.5, bright=0.5)
    kinds = [
        Quality(sharpness=1, brightness=10, dark=0, bright=0),
        Quality(sharpness=60, brightness=100, dark=0.7, bright=0.7),
        Quality(sharpness=3, brightness=230, dark=0, bright=0),
    ]
    found = [fault for quality in kinds for fault in faults(quality, at)]
    found += [degrees.advice(degree, 3) for degree in (-1, 0, 1, 2)]
    found += [degrees.withheld_advice(urgency) for urgency in (None, 1, 2)]
    found += [
        NOT_RENDERED,
        "unlike the photos of the run (1.93 times as far as is usual)",
        "not certain enough (41%, must be at least 55.2%)",
        "no class can be ruled out",
        "5 classes cannot be ruled out (at most 3 may remain)",
        "the photos disagree (0.62, must be at most 0.41)",
        NOT_KNOWN,
        "none of 2 photos can be read; the first, a.jpg: does not exist",
        *unread(),
    ]
    return found


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_of_an_answer_is_translated_with_its_figures(language):
    sentences = every_sentence()
    assert len(sentences) == 32
    for sentence in sentences:
        told = wording.translated(sentence, language)
        assert not re.search(r"[A-Za-z]{3,}", NAMES.sub("", told)), told
        assert set(re.findall(r"\d+(?:\.\d+)?", told)) == set(re.findall(r"\d+(?:\.\d+)?", sentence)), told
        assert wording.translated(sentence, "en") == sentence
    assert wording.translated("something new", language) == "something new"


def test_all_reasons_in_the_source_have_phrases():
    """The sentences above are those that `conclude` and its callers write."""
    from inspect import getsource

    from skinjax.predict import cases, conclusions, photos

    text = " ".join(getsource(module) for module in (cases, conclusions, photos))
    for start in (
        "not certain enough (",
        "no class can be ruled out",
        "classes cannot be ruled out (at most ",
        "the photos disagree (",
        "unlike the photos of the run (",
        "the networks learned from rendered photos, and this is not one of the run's",
    ):
        assert start in text


def test_the_set_is_said_in_words():
    assert wording.set_sentence(answer(), TREE, 0.9) == (
        "One of these two, nine times in ten for photos like those it was tested on: Melanoma or Nevus."
    )
    one = answer(CaseAnswer, conformal_set=("MEL",), probabilities=probabilities(MEL=0.97, NEV=0.03))
    assert wording.set_sentence(one, TREE, 0.95) == (
        "Only Melanoma cannot be ruled out. For cases like those it was tested on, such answers include the true "
        "class 19 times in 20."
    )
    unsure = answer(conformal_set=("NEV",))
    assert wording.set_sentence(unsure, TREE, 0.9) == (
        "Cannot be ruled out: Nevus. Such answers hold the true class nine times in ten on average over photos like "
        "those it was tested on; for this one, the probability of that is 13%."
    )
    wide = answer(conformal_set=CLASSES[:4], backed_off=("benign", "premalignant"))
    assert "one of this group, nine times in ten" in wording.set_sentence(wide, TREE, 0.9)
    assert wording.set_sentence(answer(conformal_set=CLASSES), TREE, 0.9) == "No class can be ruled out."
    assert wording.set_sentence(answer(conformal_set=()), TREE, 0.9) == "No class that the run knows fits."
    assert "not measured" in wording.set_sentence(answer(), TREE, None)
    assert "黑色素瘤" in wording.set_sentence(answer(), TREE, 0.9, "zh")


def test_heading_and_probabilities():
    assert wording.heading(answer(), TREE) == "Melanoma, 87%"
    assert wording.heading(answer(reasons=("no class can be ruled out",)), TREE) == "No diagnosis"
    assert wording.heading(Answer("a.jpg", error="does not exist"), TREE) == "cannot be read: does not exist"
    assert wording.most_probable(answer(), TREE, TREE.finest) == "most probable: Melanoma 87%, Nevus 13%"
    assert wording.heading(answer(), TREE, "zh") == "黑色素瘤，87%"


def test_malignancy_is_said_only_where_it_means_something():
    assert wording.malignancy_sentence(answer()) == "Malignancy 84 of 100: high malignancy."
    half = answer(malignancy=Malignancy(84.2, 2, np.array([0.1, 0.1, 0.8], np.float32), 0.5))
    assert wording.malignancy_sentence(half).startswith("A tumour with a probability of 50%; as such,")
    none = answer(malignancy=Malignancy(84.2, -1, np.array([0.1, 0.1, 0.8], np.float32), 0.1))
    assert wording.malignancy_sentence(none) == "No tumour is called; the probability of one is 10%."
    assert wording.malignancy_sentence(answer(malignancy=None, advice=None)) is None
    withheld = answer(reasons=("too dark",), advice=advise(-1, 0, ["too dark"], 3))
    assert wording.malignancy_sentence(withheld) is None


def test_advice_says_how_often_it_was_too_late_where_it_reassures():
    urgent = wording.advice_sentences(answer())
    assert urgent == ("May be dangerous: see a dermatologist within days.",)
    assert wording.urgency_title(answer()) == "within days"
    routine = answer(advice=advise(0, 0, [], 3, AdviceRecord(LATE, None, {"routine": LATE})))
    assert wording.advice_sentences(routine)[1:] == (
        "Of 120 held-out photos of cancers, 3% were advised too late (95% interval 1% to 7%).",
        "Of 120 held-out photos that got this advice, 3% needed a doctor sooner (95% interval 1% to 7%).",
    )
    case = answer(CaseAnswer, advice=routine.advice)
    assert wording.late_sentences(case)[0].startswith("Of 120 cancers among the run's held-out cases, 3%")
    unknown = answer(advice=advise(-1, 0, [NOT_KNOWN], 3))
    assert wording.advice_sentences(unknown)[1:] == (NOT_KNOWN,)
    assert wording.late_sentences(unknown) == (wording.phrase("en", "late_unknown"),)
    assert wording.urgency_title(unknown) == "not known"
    assert wording.advice_sentences(answer(advice=None)) == wording.late_sentences(answer(advice=None)) == ()


def test_a_case_says_what_its_photos_say():
    dark = "too dark (brightness 3, must be at least 20)"
    photos = (
        answer(),
        answer(reasons=(dark,), usable=False, name="b.jpg"),
        Answer("c.jpg", error="does not exist"),
    )
    case = answer(CaseAnswer, "arm", photos=photos, counted=(True, False, False))
    lines = [wording.photo_line(case, place, TREE) for place in range(3)]
    assert lines == [
        "by itself: Melanoma 87%",
        f"by itself: Melanoma 87%; left out ({dark})",
        "cannot be read: does not exist",
    ]
    assert wording.case_sentences(case) == ("Left out two of three photos: b.jpg, c.jpg.",)
    both = dataclasses.replace(case, counted=(True, True, False), disagreement=0.127)
    assert wording.case_sentences(both)[0].startswith("Agreement of the two photos that were used: 87% (100%")
    assert wording.case_sentences(answer(CaseAnswer, "arm", photos=photos[:1], counted=(True,))) == ()
    alone = dataclasses.replace(case, photos=photos[:1], counted=(True,))
    assert wording.photo_line(alone, 0, TREE) == ""
    assert wording.photo_line(case, 1, TREE, "zh") == (
        "单独来看：黑色素瘤 87%；不计入（太暗（亮度 3，至少须为 20））"
    )


def test_the_target_of_a_two_stage_run():
    rates, size = {"probability": TargetRates(UNKNOWN, UNKNOWN)}, SampleSize(0, 0, 0, 0)
    decision = TargetDecision(
        "Melanoma", ("MEL",), "probability", {"probability": 0.25}, rates, None, size, size
    )
    called = answer(target=TargetCall(decision, 0.871, True))
    assert wording.target_sentence(called, TREE) == ("The run calls Melanoma: score 0.871, threshold 0.25.")
    assert wording.target_sentence(called, TREE, "zh").startswith("模型判断为黑色素瘤：得分 0.871")
    missed = answer(target=TargetCall(decision, 0.1, False))
    assert "does not call" in wording.target_sentence(missed, TREE)
    nothing = answer(target=TargetCall(decision, 0.1, None))
    assert wording.target_sentence(nothing, TREE).endswith("no threshold.")
    assert wording.target_sentence(answer(), TREE) is None


def test_an_unknown_language_is_named():
    with pytest.raises(ValueError, match="language must be one of en, zh, got 'xx'"):
        wording.phrases("xx")
