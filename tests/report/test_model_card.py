"""Model cards: read back by a YAML reader, a Markdown parser and the Hub's own library."""

import ast
import dataclasses
import math
import re
import unicodedata

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from skinjax.predict.load import Run, load_run
from skinjax.report.model_card import Calibration, CardFacts, Metric, model_card
from skinjax.runs.networks import Network

WORD = "placeholder"
MEDICAL = "This is research software; it is not a medical device."
EVIDENCE = "nothing in this card is medical evidence"
NASTY = (
    "a|b\\|c\\", "---", "\n---\nlicense: mit\n---\n", "`x``` ```", "<script>alert(1)</script>", "</details>&amp;&#35;",
    "湿疹（亚急性）｜牛皮癣", "# head", "- item", "1. item", "2)", "> quote", "==", "[x](http://a.b) ![y][z]",
    "**bold** _em_ ~~gone~~", "$$x$$ :smile: www.a.b a@b.c https://a.b/c", "null", "1e5", "'\"", "{{ 1 }} {% if %}",
    "a \u2028 b\u2029c\x85d\ufeff", "\x00\x07\x1b[31m", "\u202eright", "\ud800", "\U0001f9d1 é e\u0301", "\t tab\r\n",
    "%YAML 1.2", "? : , [ ] { } & * ! @", "[to be filled in: x]", "| --- |", "[x]: /url", "***", "+", "- - -", "\x1b",
)  # fmt: skip
BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
# Halves of surrogate pairs, too: a path that is no UTF-8 holds them in Python.
TEXTS = (
    st.sampled_from(NASTY) | st.lists(st.sampled_from(NASTY), min_size=2, max_size=4).map("".join) | st.text()
)
EXAMPLES = settings(max_examples=100, deadline=None, derandomize=True)
FIGURES = st.floats(-1e300, 1e300)


def facts_with(text=WORD, **changes):
    """Facts in which every text is the given one."""
    # Columns of objects: pandas's own texts hold no halves of surrogate pairs.
    groups = pd.DataFrame([[text, 9, 0.123456], ["II", 1234, np.nan]], dtype=object)
    groups.columns = pd.Index([text, "cases", "auc"], dtype=object)
    facts = CardFacts(
        name=text, synthetic=False, backbone=text, image_size=224, taxonomy=text,
        levels={"coarse": [text, "b"], "fine": ["c", text, "d"]}, photos=12_345, cases=678, folds=5,
        metrics=[Metric(text, 0.61234567, 0.5, 0.7), Metric("Macro F1", 0.25, 0.125, 0.375, 0.9)],
        method=text, dataset=text, licence=text, stages=["meta", text],
        subgroups=groups,
        calibration=Calibration(0.0912345, 0.0312345, 1.75), config={text: 1, "outer": {"inner": text}},
        versions={"jax": text}, notes=[text, text],
    )  # fmt: skip
    return dataclasses.replace(facts, **changes)


def parts(card):
    """The front matter as data, and the Markdown."""
    assert card.startswith("---\n")
    front, body = card[4:].split("\n---\n", 1)
    return yaml.safe_load(front), body


def parse(body):
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)


def plain(inline):
    return "".join("\n" if child.type == "softbreak" else child.content for child in inline.children)


def shown(text):
    """How a text is to be read in the card, by Unicode's own classes."""
    kept = [letter for letter in text if unicodedata.bidirectional(letter) not in BIDIRECTIONAL]
    classes = {"Cc": " ", "Cs": "\ufffd"}
    return (
        " ".join("".join(classes.get(unicodedata.category(letter), letter) for letter in kept).split()) or "–"
    )


def tables(body):
    """Every table's rows of plain texts."""
    found = []
    for token in parse(body):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and token.level >= 4 and found and len(found[-1][-1]) < 3:
            found[-1][-1].append(plain(token))
    return found


def whole(text):
    return "".join("\ufffd" if unicodedata.category(letter) == "Cs" else letter for letter in text)


@pytest.mark.slow
@EXAMPLES
@given(text=TEXTS.filter(lambda text: text.strip()))
@example("".join(NASTY))
def test_no_text_changes_the_structure_of_the_card(text):
    _, body = parts(model_card(facts_with(text)))
    _, benign = parts(model_card(facts_with()))
    found, expected = parse(body), parse(benign)
    assert [(token.type, token.tag, token.level) for token in found] == [
        (token.type, token.tag, token.level) for token in expected
    ]
    for token, model in zip(found, expected, strict=True):
        if token.type == "inline":
            assert [child.type for child in token.children if child.type != "text"] == [
                child.type for child in model.children if child.type != "text"
            ]
            wanted = plain(model).replace(WORD, shown(text))
            assert "".join(plain(token).split()) == "".join(wanted.split())
        elif token.type == "fence":
            stage = next(
                node.value.value
                for node in ast.walk(ast.parse(token.content))
                if isinstance(node, ast.keyword)
            )
            assert stage == text


@EXAMPLES
@given(text=TEXTS.filter(lambda text: text.strip()))
@example("".join(NASTY))
def test_every_text_comes_back_from_the_front_matter(text):
    front, _ = parts(model_card(facts_with(text)))
    assert set(front) - {"license_name"} == {"license", "library_name", "pipeline_tag", "tags", "model-index"}
    (index,) = front["model-index"]
    (result,) = index["results"]
    assert index["name"] == whole(text)
    assert result["dataset"] == {"type": "custom", "name": whole(text), "split": "out-of-fold"}
    assert result["metrics"][0]["name"] == f"{whole(text)} (interval by case 0.5000 to 0.7000, 95%)"
    model_card(facts_with(text)).encode("utf-8")


@EXAMPLES
@given(
    values=st.lists(FIGURES, min_size=2, max_size=2),
    limits=st.lists(FIGURES, min_size=2, max_size=2).map(sorted),
    confidence=st.floats(0.01, 0.99),
)
@example([1e-05, 1e16], [-1e-300, 1e22], 0.5)
def test_figures_are_those_given(values, limits, confidence):
    metrics = [Metric("a", values[0], *limits, confidence), Metric("b", np.float64(values[1]))]
    front, body = parts(model_card(facts_with(metrics=metrics, subgroups=pd.DataFrame({"x": values}))))
    first, second = front["model-index"][0]["results"][0]["metrics"]
    assert first["args"] == {
        "confidence": confidence, "low": limits[0], "high": limits[1], "resampled": "cases"
    }  # fmt: skip
    assert [first["value"], second["value"]] == values
    assert "args" not in second
    written, groups = tables(body)[:2]
    for text, value in [
        (written[1][1], values[0]), (written[2][1], values[1]), (groups[1][0], values[0]), (groups[2][0], values[1]),
        *zip(re.match("(.+) to (.+), ", written[1][2]).groups(), limits, strict=True),
    ]:  # fmt: skip
        assert float(text) == pytest.approx(value, abs=5.001e-5, rel=5.001e-4)
    assert written[2][2] == ""


def test_every_table_and_count_is_the_one_given():
    _, body = parts(model_card(facts_with()))
    assert tables(body) == [
        [
            ["Metric", "Value", "Interval by case"],
            [WORD, "0.6123", "0.5000 to 0.7000, 95%"],
            ["Macro F1", "0.2500", "0.1250 to 0.3750, 90%"],
        ],
        [[WORD, "cases", "auc"], [WORD, "9", "0.1235"], ["II", "1,234", "–"]],
        [
            ["Figure", "Value"],
            ["Expected calibration error", "0.0912"],
            ["Expected calibration error after temperature scaling", "0.0312"],
            ["Temperature", "1.7500"],
        ],
        [["Setting", "Value"], [WORD, "1"], ["outer.inner", WORD]],
        [["Package", "Version"], ["jax", WORD]],
    ]
    assert "- **Photos:** 12,345\n- **Cases:** 678\n- **Folds:** 5\n" in body
    assert f"- **Level** fine, 3 classes: c, {WORD}, d\n" in body
    assert "the probabilities of 3 classes" in body
    assert "uint8[N, 224, 224, 3]" in body


def test_sections_are_those_of_model_cards():
    # Mitchell et al. 2019, section 4, with the Hub's ways of loading and citing a model.
    _, body = parts(model_card(facts_with()))
    tokens = parse(body)
    headings = [
        tokens[place + 1].content
        for place, token in enumerate(tokens)
        if token.type == "heading_open" and token.tag == "h2"
    ]
    assert headings == [
        "Model details", "Intended uses", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations", "How to load it",
        "Technical specifications", "Citation and contact",
    ]  # fmt: skip


@pytest.mark.parametrize("synthetic", [True, False])
def test_what_is_said_of_medicine(synthetic):
    card = model_card(facts_with(synthetic=synthetic))
    assert card.count("medical device") == card.count(MEDICAL) == 1
    assert (EVIDENCE in card) is synthetic
    assert ("synthetic-photos" in parts(card)[0]["tags"]) is synthetic
    assert ("consent" in card) is not synthetic


def test_what_is_not_known_is_a_marked_blank():
    bare = CardFacts(
        name="m", synthetic=False, backbone="", image_size=None, taxonomy="t", levels={"class": ["a"]},
        photos=1, cases=1, folds=1, metrics=[Metric("Accuracy", math.nan)],
    )  # fmt: skip
    card = model_card(bare)
    front, body = parts(card)
    assert front["license"] == "unknown"
    assert card.splitlines()[1].endswith("# [to be filled in: the licence of the model]")
    assert "library_name" not in front
    assert front["model-index"] == [{"name": "m", "results": []}]
    blanks = re.findall(r"\[to be filled in: [^]]+\]", body)
    assert len(set(blanks)) == len(blanks)
    for subject in (
        "licence", "architecture", "size of the photos", "source", "training data", "skin tone", "probabilities",
        "how it is run", "how to cite", "who is to use", "advise against", "ethics",
    ):  # fmt: skip
        assert any(subject in blank for blank in blanks), subject
    assert tables(body) == [[["Metric", "Value", "Interval by case"], ["Accuracy", "–", ""]]]
    known = parts(model_card(facts_with()))[1]
    assert set(re.findall(r"\[to be filled in: [^]]+\]", known)) < set(blanks)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("openrail++", {"license": "openrail++"}),
        ("Hospital licence, v1.0", {"license": "other", "license_name": "hospital-licence-v1.0"}),
        ("许可证", {"license": "other", "license_name": "custom"}),
    ],
)
def test_licences_are_identifiers_of_the_hub_or_others(licence, expected):
    front, body = parts(model_card(facts_with(licence=licence)))
    assert {key: value for key, value in front.items() if key.startswith("license")} == expected
    assert f"**Licence:** {licence}\n" in body


def test_the_code_loads_what_a_run_holds():
    (fence,) = (token for token in parse(parts(model_card(facts_with()))[1]) if token.type == "fence")
    tree = ast.parse(fence.content)
    (imported,) = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    assert (imported.module, imported.names[0].name) == (load_run.__module__, load_run.__name__)
    (call,) = (
        node for node in ast.walk(tree) if getattr(getattr(node, "func", None), "id", "") == "load_run"
    )
    arguments = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert arguments == {"stage": WORD, "fold": 0}
    assert set(arguments) <= set(load_run.__annotations__)
    assert {"predict_fn", "network"} <= {field.name for field in dataclasses.fields(Run)}
    assert "classes" in {field.name for field in dataclasses.fields(Network)}


@EXAMPLES
@given(text=TEXTS.filter(lambda text: text.strip()))
def test_the_hubs_own_library_reads_the_card(text):
    hub = pytest.importorskip("huggingface_hub")
    content = model_card(facts_with(text))
    card = hub.ModelCard(content)
    assert card.data.model_name == whole(text)
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.library_name == "skinjax"
    first, second = card.data.eval_results
    assert (first.metric_value, second.metric_value) == (0.61234567, 0.25)
    assert first.metric_args == {"confidence": 0.95, "low": 0.5, "high": 0.7, "resampled": "cases"}
    assert (second.dataset_name, second.task_type) == (whole(text), "image-classification")
    assert card.text == parts(content)[1]


def test_the_hubs_own_library_writes_the_card_back():
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(model_card(facts_with("湿疹 | `a` <b>")))
    again = hub.ModelCard(str(card))
    assert (again.text, again.data.to_dict()) == (card.text, card.data.to_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, "name must not be empty"),
        ({"photos": 0}, "photos must be at least 1, got 0"),
        ({"cases": -1}, "cases must be at least 1, got -1"),
        ({"folds": 0}, "folds must be at least 1, got 0"),
        ({"image_size": 0}, "image_size must be at least 1, got 0"),
        ({"levels": {}}, "levels must name at least one level"),
        ({"levels": {"class": []}}, "levels must name at least one level"),
        ({"backbone": ""}, "stages can be loaded only with a backbone"),
        ({"image_size": None}, "stages can be loaded only with a backbone and an image_size"),
        ({"metrics": [Metric("AUC", 0.5, 0.4, 0.6, 95)]}, r"confidence of 'AUC' must be in \(0, 1\), got 95"),
        ({"metrics": [Metric("AUC", 0.5, 0.6, 0.4)]}, "low of 'AUC' must not be above high, got 0.6, 0.4"),
        ({"calibration": Calibration(0.1, 0.1, 0.0)}, "temperature must be above 0, got 0"),
        ({"subgroups": pd.DataFrame()}, "subgroups must have columns"),
    ],
)
def test_facts_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        model_card(facts_with(**changes))
