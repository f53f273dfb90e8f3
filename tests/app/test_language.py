"""Every language says everything that the page says."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from skinjax.app import language
from skinjax.app.questions import Question
from skinjax.data.importers import published
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.labels.titles import title_in
from skinjax.predict import wording

APP = Path(language.__file__).parent
ENGLISH = language.page_phrases("en")


def places(phrase: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(phrase) if name is not None)


def test_english_and_chinese_are_there():
    assert list(language.languages()) == ["en", "zh"]


@pytest.mark.parametrize("code", language.languages())
def test_every_language_has_every_phrase_with_the_same_places(code):
    phrases = language.page_phrases(code)
    assert set(phrases) == set(ENGLISH)
    assert {key: places(phrase) for key, phrase in phrases.items()} == {
        key: places(phrase) for key, phrase in ENGLISH.items()
    }
    assert all(phrase.strip() for phrase in phrases.values())
    assert not set(phrases) & set(wording.phrases(code)), "a phrase has one place"


def test_every_phrase_is_used_and_every_used_one_is_there():
    text = "".join(
        path.read_text(encoding="utf-8") for path in APP.rglob("*") if path.suffix in (".py", ".j2")
    )
    asked = set(re.findall(r"""say\(\s*["'](\w+)["'][,)\s]""", text)) | set(
        re.findall(r"""UploadError\(\s*["'](\w+)["']""", text)
    )
    made = ("level_", "column_", "group_by_", "about_", "value_")
    assert asked - set(made) <= set(ENGLISH) | set(wording.phrases("en"))
    quoted = set(re.findall(r"""["'](\w+)["']""", text))
    assert {key for key in ENGLISH if key not in quoted and not key.startswith(made)} == set()


@pytest.mark.parametrize("key", [key for key in ENGLISH if re.match("error_(?!title)", key)])
def test_every_refusal_is_a_sentence_whatever_it_names(key):
    names = dict.fromkeys(places(ENGLISH[key]), "a.jpg")
    if "value" in names:
        names["name"] = Question("biopsed", ()).title(language.languages()["en"])
    assert re.fullmatch(r"[A-Z].*\.", language.languages()["en"](key, **names))


def test_chinese_phrases_are_chinese():
    han = re.compile("[\u4e00-\u9fff]")
    assert {key for key, phrase in language.page_phrases("zh").items() if not han.search(phrase)} == {
        "tag",
        "entry",
    }


def test_columns_and_categories_of_the_importers_have_phrases():
    columns = {*published.PAD_UFES_20_COLUMNS, "age", "sex", "body_site", "skin_tone"}
    # As HAM10000, ISIC 2019, PAD-UFES-20 and the built-in photos name them.
    sites = (
        "abdomen", "acral", "back", "chest", "ear", "face", "foot", "genital", "hand", "lower_extremity",
        "neck", "scalp", "trunk", "upper_extremity", "anterior_torso", "head/neck", "lateral_torso",
        "oral/genital", "palms/soles", "posterior_torso", "arm", "forearm", "lip", "nose", "thigh",
        "upper_arm", "lower_leg",
    )  # fmt: skip
    values = {*sites, "female", "male", "true", "false"}
    for code in language.languages():
        phrases = language.page_phrases(code)
        assert {f"about_{one}" for one in columns} | {f"value_{one}" for one in values} <= set(phrases)


@pytest.mark.parametrize("name", ["synthetic19", "pad_ufes_20", "ham10000", "isic2019", "tumours10"])
def test_every_class_of_the_catalogue_has_a_chinese_title_of_its_own(name):
    taxonomy = load_taxonomy(name)
    for level in taxonomy.levels:
        titles = [title_in(taxonomy, one, "zh") for one in taxonomy.classes(level)]
        assert len(set(titles)) == len(titles)
        assert all(re.search("[\u4e00-\u9fff]", title) for title in titles), titles


def test_a_class_that_no_list_knows_keeps_its_english_title():
    taxonomy = load_taxonomy("fitzpatrick17k")
    assert title_in(taxonomy, taxonomy.classes()[0], "zh") == taxonomy.title(taxonomy.classes()[0])
    assert title_in(load_taxonomy("pad_ufes_20"), "MEL", "xx") == "Melanoma"
