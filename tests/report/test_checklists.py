"""Reporting guidelines against their published numbering, and what a report may claim to answer."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skinjax
from skinjax.evaluate.roc import sensitivity_at
from skinjax.report.checklists import CLAIM, FACTS, GUIDELINES, SECTIONS, TRIPOD_AI, blank, checklist, items

# The numbering of the published checklists: Collins et al. 2024, table 2; Tejani et al. 2024, table.
TRIPOD_AI_PARTS = {
    "Title": "1",
    "Abstract": "2",
    "Introduction": "3a 3b 3c 4",
    "Methods": "5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 16 17",
    "Open science": "18a 18b 18c 18d 18e 18f",
    "Patient and public involvement": "19",
    "Results": "20a 20b 20c 21 22 23a 23b 24",
    "Discussion": "25 26 27a 27b 27c",
}
CLAIM_PARTS = {
    "Title and abstract": (1, 2),
    "Introduction": (3, 4),
    "Methods: study design": (5, 6),
    "Methods: data": (7, 13),
    "Methods: reference standard": (14, 18),
    "Methods: data partitions": (19, 20),
    "Methods: testing data": (21, 21),
    "Methods: model": (22, 24),
    "Methods: training": (25, 27),
    "Methods: evaluation": (28, 34),
    "Results: data": (35, 36),
    "Results: model performance": (37, 39),
    "Discussion": (40, 41),
    "Other information": (42, 44),
}
# A word of each item's subject, from the published lists, so that no topic slips to another number.
TRIPOD_AI_WORDS = {
    "3c": "inequalit", "4": "aims", "5b": "dates", "6a": "centres", "6c": "treatments", "7": "quality", "8c": "blind",
    "9a": "predictors", "10": "size", "11": "missing", "12a": "split", "12c": "tuned", "12d": "clusters",
    "12e": "measures", "12f": "recalibration", "12g": "predictions", "13": "classes", "14": "fairness",
    "15": "thresholds", "16": "differ", "17": "ethics", "18a": "funding", "18b": "conflicts", "18c": "protocol",
    "18d": "registered", "18e": "data", "18f": "code", "19": "public", "20a": "participants", "20b": "demographics",
    "20c": "distributed", "21": "events", "22": "model", "23a": "intervals", "23b": "clusters", "24": "changed",
    "25": "mean", "26": "limitations", "27a": "input", "27b": "users", "27c": "research",
}  # fmt: skip
CLAIM_WORDS = {
    "1": "artificial intelligence", "2": "abstract", "3": "background", "4": "hypotheses", "5": "retrospective",
    "6": "study", "7": "data", "8": "excluded", "9": "preparation", "10": "selected", "11": "unrecognisable",
    "12": "missing", "13": "images", "14": "reference standard", "15": "reference standard", "16": "annotated",
    "17": "test set", "18": "agree", "19": "partitions", "20": "share", "21": "sample size", "22": "model",
    "23": "software", "24": "parameters", "25": "trained", "26": "final model", "27": "together", "28": "performance",
    "29": "uncertainty", "30": "conditions", "31": "explained", "32": "same source", "33": "elsewhere",
    "34": "registration", "35": "included", "36": "demographic", "37": "performance", "38": "accuracy", "39": "wrong",
    "40": "limitations", "41": "practice", "42": "protocol", "43": "software", "44": "funding",
}  # fmt: skip
# What no table of predictions can know.
AUTHORS_ALONE = {
    TRIPOD_AI: "1 3a 3b 3c 4 5a 5b 6a 6b 6c 8a 8b 8c 14 17 18a 18b 18c 18d 18e 18f 19 25 27a 27b 27c",
    CLAIM: "1 3 4 5 6 7 8 11 13 14 15 16 17 18 33 34 41 42 43 44",
}
SECTION_SETS = st.sets(st.sampled_from((*SECTIONS, *FACTS)))


def test_the_numbers_of_tripod_ai_are_the_published_ones():
    numbers = [item.number for item in items(TRIPOD_AI)]
    assert numbers == " ".join(TRIPOD_AI_PARTS.values()).split()
    assert len(numbers) == 52
    assert len({re.sub("[a-z]", "", number) for number in numbers}) == 27
    for part, expected in TRIPOD_AI_PARTS.items():
        found = [item.number for item in items(TRIPOD_AI) if item.part.split(":")[0] == part]
        assert found == expected.split(), part


def test_the_numbers_of_claim_are_the_published_ones():
    assert [item.number for item in items(CLAIM)] == [str(number) for number in range(1, 45)]
    for part, (first, last) in CLAIM_PARTS.items():
        found = [int(item.number) for item in items(CLAIM) if item.part == part]
        assert found == list(range(first, last + 1)), part


@pytest.mark.parametrize(("guideline", "words"), [(TRIPOD_AI, TRIPOD_AI_WORDS), (CLAIM, CLAIM_WORDS)])
def test_each_topic_stands_at_its_number(guideline, words):
    topics = {item.number: item.topic.lower() for item in items(guideline)}
    assert {number: topics[number] for number, word in words.items() if word not in topics[number]} == {}


@pytest.mark.parametrize("guideline", GUIDELINES)
def test_items_are_well_formed(guideline):
    for item in items(guideline):
        assert item.guideline == guideline
        assert item.section is None or item.section in (*SECTIONS, *FACTS)
        assert item.section is not None or item.remains == ""
        for text in (item.topic, item.remains, item.part):
            assert text == text.strip()
            assert not text.endswith(".")
        assert 0 < len(item.topic) <= 110


@pytest.mark.parametrize("guideline", GUIDELINES)
def test_a_whole_report_leaves_the_authors_what_only_they_know(guideline):
    table = checklist(guideline, (*SECTIONS, *FACTS)).set_index("item")
    for number in AUTHORS_ALONE[guideline].split():
        assert table.loc[number, "answered"] == "", number
        assert table.loc[number, "left"] == blank(), number


@pytest.mark.parametrize("guideline", GUIDELINES)
def test_an_empty_report_answers_nothing(guideline):
    table = checklist(guideline, ())
    assert set(table["answered"]) == {""}
    assert set(table["left"]) == {blank()}


@settings(deadline=None, derandomize=True)
@given(guideline=st.sampled_from(GUIDELINES), present=SECTION_SETS)
def test_every_item_is_answered_or_left(guideline, present):
    table = checklist(guideline, present)
    assert list(table.columns) == ["item", "topic", "answered", "left"]
    assert list(table["item"]) == [item.number for item in items(guideline)]
    for item, answered, left in zip(items(guideline), table["answered"], table["left"], strict=True):
        if item.section in present:
            assert answered == FACTS.get(item.section, item.section)
            assert left == (f"[to be filled in by the authors: {item.remains}]" if item.remains else "")
        else:
            assert (answered, left) == ("", "[to be filled in by the authors]")


@pytest.mark.parametrize(
    ("guideline", "present", "message"),
    [
        ("STARD", SECTIONS, "guideline must be one of TRIPOD\\+AI, CLAIM 2024, got 'STARD'"),
        (CLAIM, {"data", "datas"}, "present must hold ids of .*, got 'datas'"),
        (CLAIM, "data", "present must be a collection of ids of sections, got the text 'data'"),
    ],
)
def test_bad_input_is_named(guideline, present, message):
    with pytest.raises(ValueError, match=message):
        checklist(guideline, present)


@pytest.mark.slow
def test_of_a_bare_table_of_predictions_nothing_is_answered_that_it_does_not_tell(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=120)
    probs = rng.dirichlet(np.ones(3), 120)
    table = pd.DataFrame(probs, columns=["p_a", "p_b", "p_c"]).assign(
        image=[f"{k}.jpg" for k in range(120)], case_id=[f"case {k // 2}" for k in range(120)],
        label=np.array(["a", "b", "c"])[labels], sex=np.tile(["f", "m"], 60), age=np.tile([30, 50, 70], 40),
    )  # fmt: skip
    table.to_csv(tmp_path / "theirs.csv", index=False)
    skinjax.evaluate(tmp_path / "theirs.csv", out=tmp_path / "out", replicates=100)
    answered = {}
    for name in ("tripod_ai", "claim_2024"):
        items = pd.read_csv(
            tmp_path / "out" / "tables" / f"checklist_{name}.csv", dtype=str, keep_default_na=False
        )
        answered[name] = set(items.loc[items["answered"] != "", "item"])
    # Nothing of how their networks were made, what became of missing data, or how photos were parted; and groups by sex
    # and age are no hospitals.
    assert answered["tripod_ai"] == {"2", "12e", "12f", "15", "20a", "20b", "20c", "21", "23a", "24", "26"}
    assert answered["claim_2024"] == {"2", "28", "29", "35", "36", "37", "38", "39", "40"}


def test_predictive_values_hold_at_the_prevalence_that_is_given(tmp_path):
    rng = np.random.default_rng(1)
    labels = np.arange(200) % 2
    scores = np.clip(0.5 + 0.25 * (2 * labels - 1) + rng.normal(0, 0.25, 200), 0.01, 0.99)
    table = pd.DataFrame({"p_a": 1 - scores, "p_b": scores}).assign(
        image=[f"{k}.jpg" for k in range(200)], case_id=np.arange(200).astype(str), label=np.array(["a", "b"])[labels]
    )  # fmt: skip
    table.to_csv(tmp_path / "theirs.csv", index=False)
    skinjax.evaluate(
        tmp_path / "theirs.csv", target="b", prevalence=0.02, replicates=100, out=tmp_path / "out"
    )
    points = pd.read_csv(tmp_path / "out" / "tables" / "operating_points.csv")
    for row in points.to_dict("records"):
        true, false = 0.02 * row["sensitivity"], 0.98 * (1 - row["specificity"])
        assert row["positive_predictive_value"] == pytest.approx(true / (true + false))
        assert row["positive_predictive_value_low"] < row["positive_predictive_value"] < 0.5
    assert "2.0% of photos are positive, which was given" in (tmp_path / "out" / "index.html").read_text(
        encoding="utf-8"
    )
    at = pd.read_csv(tmp_path / "out" / "tables" / "fixed_specificity.csv")
    expected = [sensitivity_at(labels, scores, specificity) for specificity in (0.8, 0.9, 0.95)]
    np.testing.assert_allclose(at["sensitivity"], expected)
