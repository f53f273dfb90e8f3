"""Pages that answer their question first: the headline, the order of sections, and no test on a handful of cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from skinjax.data.invented import invent_predictions
from skinjax.data.predictions import Predictions
from skinjax.evaluate.fewest import FEWEST_CASES, too_few_cases
from skinjax.labels.degrees import is_premalignant
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.report.blocks import Section, Table, Text
from skinjax.report.formatting import bracketed, limits_or_reason, percent, points
from skinjax.report.headline import headline
from skinjax.report.page import fold_titles
from skinjax.report.sections.malignancy import check_degrees, counted_as_cancer
from skinjax.report.sections.models import models_blocks, other_studies
from skinjax.report.study import Study
from skinjax.report.tables.methods import compare_methods, top_answers
from tests.report.test_report import draw_curves, draw_predictions, write

PAD = load_taxonomy("pad_ufes_20")


def study(frame, taxonomy=PAD, **changes):
    predictions = Predictions.from_frame(frame, taxonomy)
    return Study.from_predictions(predictions, **{"replicates": 200} | changes)


def invented(cases=60, skills=(2.0,), seed=0):
    return invent_predictions(PAD, cases, skills=skills, seed=seed)


def test_top_3_is_scikit_learns():
    (frame,) = invented(cases=40, skills=(1.0,))
    found = study(frame)
    table = compare_methods(found.fine, found.cases, 100, 0.95, 0)
    expected = top_k_accuracy_score(found.labels, found.probs, k=3, labels=np.arange(6))
    assert table["top_3"][0] == pytest.approx(expected)
    assert table["top_3_low"][0] < expected < table["top_3_high"][0]
    assert table["balanced_accuracy"][0] == pytest.approx(
        balanced_accuracy_score(found.labels, found.predicted)
    )


def test_top_answers_take_the_first_of_equal_scores_as_argmax_does():
    scores = np.tile(0.25, (4, 4))
    answers = top_answers(np.arange(4), scores, count=3)
    assert answers.tolist() == [0, 1, 2, 0]
    assert (answers == np.arange(4)).tolist() == [True, True, True, False]


def test_of_three_classes_no_top_3_is_told():
    taxonomy = Taxonomy("three", ("kind",), (("a",), ("b",), ("c",)))
    found = study(draw_predictions(taxonomy, cases=20), taxonomy)
    assert "top_3" not in compare_methods(found.fine, found.cases, 100, 0.95, 0)


def row(**changes):
    """Returns a row of a table of methods, as fusion that is like the flat answers in all."""
    values = {"method": "soft"}
    for name in ("accuracy", "macro_f1", "balanced_accuracy", "top_3"):
        values |= {name: 0.5, f"{name}_low": 0.4, f"{name}_high": 0.6, f"{name}_reason": ""}
        values |= {f"{name}_difference": 0.0, f"{name}_difference_low": -0.1, f"{name}_difference_high": 0.1}
        values |= {f"{name}_difference_reason": "", f"{name}_p_value": 0.9}
    return values | changes


@pytest.fixture(scope="module")
def fused():
    taxonomy = load_taxonomy("synthetic19")
    return study(draw_predictions(taxonomy, "meta", cases=40), taxonomy, coarse_level="meta")


def test_a_verdict_that_accuracy_cannot_give_names_the_figure_that_says_otherwise(fused):
    worse = {
        "macro_f1_difference": -0.048, "macro_f1_difference_low": -0.08, "macro_f1_difference_high": -0.012,
        "macro_f1_p_value": 0.007,
    }  # fmt: skip
    (plain,) = headline(fused, pd.DataFrame([row()]), None)
    (told,) = headline(fused, pd.DataFrame([row(**worse)]), None)
    assert plain.endswith(
        "not shown to differ from the flat network in accuracy (+0.0 points, −10.0 to +10.0)."
    )
    assert "in accuracy (+0.0 points, −10.0 to +10.0), though its macro F1 is 4.8 points below" in told
    assert told.replace("\u00a0", " ").endswith("(−8.0 to −1.2, p = 0.007).")


def test_a_figure_that_agrees_is_not_told_again(fused):
    both = {}
    for name in ("accuracy", "macro_f1"):
        both |= {f"{name}_difference": 0.05, f"{name}_difference_low": 0.02, f"{name}_p_value": 0.01}
    (told,) = headline(fused, pd.DataFrame([row(**both)]), None)
    assert "5.0 points above the flat network (+2.0 to +10.0" in told
    assert "though" not in told


def test_a_missing_interval_is_left_out_or_said_with_its_reason(fused):
    none = dict.fromkeys(("accuracy_difference_low", "accuracy_difference_high"), np.nan)
    (bare,) = headline(fused, pd.DataFrame([row(**none)]), None)
    assert bare.endswith("in accuracy (+0.0 points).")
    (why,) = headline(fused, pd.DataFrame([row(**none, accuracy_difference_reason="why not")]), None)
    assert why.endswith("in accuracy (+0.0 points, no interval: why not).")
    assert "–" not in bare + why


def test_an_interval_without_width_is_none_and_a_narrow_one_keeps_its_limits_apart():
    assert limits_or_reason(0.833, 0.833, percent, "all replicates are alike").startswith("no interval: all")
    assert bracketed(0.833, 0.833, percent) == ""
    assert bracketed(0.8331, 0.8334, percent) == " (83.31% to 83.34%)"
    assert bracketed(-0.00001, 0.00002, points) == " (−0.001 to +0.002)"


def test_the_first_of_several_models_is_told_beside_the_others():
    first, second, third = invented(skills=(2.5, 0.5, 2.5), seed=1)
    main = study(first, name="one")
    others = {name: Predictions.from_frame(frame, PAD) for name, frame in (("two", second), ("three", third))}
    blocks, sentence = models_blocks(main, other_studies(main, others))
    pairs = next(block.data for block in blocks if isinstance(block, Table) and block.name == "model_pairs")
    accuracy = pairs[(pairs["metric"] == "accuracy") & (pairs["first"] == "one")].set_index("second")
    assert accuracy["corrected_p_value"]["two"] < 0.05 < accuracy["corrected_p_value"]["three"]
    right = [(frame["label"].to_numpy() == pick(frame)).mean() for frame in (first, second, third)]
    assert (
        f"“one”, right for {percent(right[0])}, is right more often than “two” with {percent(right[1])}"
        in sentence
    )
    assert f"and cannot be distinguished from “three” with {percent(right[2])}" in sentence
    told = headline(main, compare_methods(main.fine, main.cases, 100, 0.95, 0), None, models=sentence)
    assert told[0].startswith("“one” predicts the right one of 6 classes")
    assert told[1] == sentence


def pick(frame):
    columns = [name for name in frame if name.startswith("p_")]
    return frame[columns].idxmax(axis=1).str.removeprefix("p_").to_numpy()


@pytest.mark.parametrize(
    ("positive", "tested"), [(2, False), (FEWEST_CASES - 1, False), (FEWEST_CASES, True)]
)
def test_two_models_are_not_tested_for_a_target_of_few_cases(positive, tested):
    frames = invented(cases=6 * FEWEST_CASES, skills=(3.0, 0.0))
    kept = frames[0].loc[frames[0]["label"] == "MEL", "case_id"].unique()[:positive]
    rows = (frames[0]["label"] != "MEL") | frames[0]["case_id"].isin(kept)
    one, two = (frame[rows] for frame in frames)
    main = study(one, name="one", target=("MEL",))
    assert (too_few_cases(main.target.labels, main.cases) == "") == tested
    blocks, _ = models_blocks(main, other_studies(main, {"two": Predictions.from_frame(two, PAD)}))
    pairs = next(block.data for block in blocks if isinstance(block, Table) and block.name == "model_pairs")
    of_target = pairs[pairs["metric"].isin(["auc", "sensitivity"])]
    assert of_target["p_value"].notna().any() == tested
    assert of_target["low"].notna().any() == tested
    assert pairs.loc[pairs["metric"] == "accuracy", "p_value"].notna().all()
    words = " ".join(block.words for block in blocks if isinstance(block, Text))
    assert (f"there are {positive} cases of the target, and a test is made from 10 on" in words) != tested


def test_ten_cases_can_withstand_a_correction_and_five_cannot():
    """The reason for the minimum: the smallest p of a two-sided test of signs."""
    from scipy.stats import binomtest

    smallest = {n: binomtest(n, n).pvalue for n in (2, 5, FEWEST_CASES)}
    assert smallest[2] == 0.5
    assert smallest[5] > 0.05
    assert 20 * smallest[FEWEST_CASES] < 0.05


@pytest.mark.slow
def test_several_classes_of_a_target_are_joined_by_and(tmp_path):
    (frame,) = invented(cases=72, skills=(3.0,))
    found = study(frame, target=("MEL", "SCC"))
    names = f"{PAD.title('MEL')} and {PAD.title('SCC')}"
    assert found.target.title == names
    page = write(tmp_path, frame, PAD, target=("MEL", "SCC"))
    count = int(frame["label"].isin(["MEL", "SCC"]).sum())
    assert f"of the {count} photos of {names} and clear" in page.text
    assert "% of it" not in page.text


@pytest.mark.slow
def test_the_studys_own_sections_stand_first_where_it_gives_a_verdict(tmp_path):
    (frame,) = invented(cases=30)
    own, how = Section("own", "Our own", (Text("x"),)), Section("how", "How", (Text("y"),))
    page = write(tmp_path / "a", frame, PAD, extra=[own], details=[how], verdict=["It helps."])
    order = [page.ids.index(name) for name in ("own", "methods", "roc", "how", "data")]
    assert order == sorted(order)
    page = write(tmp_path / "b", frame, PAD, extra=[own], afterword=["Then."])
    assert page.ids.index("own") < page.ids.index("methods")
    assert "Then." in page.text
    page = write(tmp_path / "c", frame, PAD, extra=[own])
    assert page.ids.index("methods") < page.ids.index("own") < page.ids.index("roc")


@pytest.mark.slow
def test_what_there_is_not_is_not_headed(tmp_path):
    (frame,) = invented(cases=30)
    page = write(tmp_path, frame, PAD, config={"config": {"manifest": "", "seed": 3, "columns": []}})
    assert "curves" not in page.ids
    for words in ("Methods compared", "config.manifest", "config.columns"):
        assert words not in page.text
    assert "config.seed" in page.text
    settings = pd.read_csv(tmp_path / "tables" / "configuration.csv")
    assert "config.manifest" in set(settings["setting"])


def test_folds_are_numbered_from_1_for_people_and_as_they_are_in_files(tmp_path):
    (frame,) = invented(cases=30)
    curves = draw_curves()
    training = pd.DataFrame({"network": ["sub"] * 5, "fold": range(5), "epochs": 2})
    page = write(tmp_path, frame, PAD, curves=curves, training=training)
    assert "1 of 5" in page.text
    assert "5 of 5" in page.text
    assert "0 of 5" not in page.text
    assert pd.read_csv(tmp_path / "tables" / "folds.csv")["fold"].tolist() == list(range(5))
    assert pd.read_csv(tmp_path / "tables" / "training.csv")["fold"].tolist() == list(range(5))
    # Those of others may begin with 1 already.
    assert list(fold_titles(np.array([1, 2, 3])).values()) == ["1", "2", "3"]


def test_the_title_says_of_what_photos_and_when(tmp_path):
    (frame,) = invented(cases=30)
    page = write(tmp_path, frame, PAD, config={"config": {"dataset": "pad_ufes_20"}})
    assert "pad_ufes_20, " in page.text
    assert page.source.count("<title>A report – pad_ufes_20, ") == 1


@pytest.mark.slow
def test_curves_of_few_classes_are_named_and_of_many_are_not(tmp_path):
    (few,) = invented(cases=30)
    write(tmp_path / "few", few, PAD)
    for name in ("roc", "precision_recall"):
        drawing = (tmp_path / "few" / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        assert all(
            PAD.title(one).replace("'", "&apos;") in drawing.replace("'", "&apos;") for one in PAD.classes()
        )
    taxonomy = load_taxonomy("synthetic19")
    write(tmp_path / "many", draw_predictions(taxonomy, cases=40), taxonomy)
    drawing = (tmp_path / "many" / "figures" / "roc.svg").read_text(encoding="utf-8")
    assert "Melanoma" not in drawing


def test_words_for_heads_are_not_those_of_training(tmp_path):
    (frame,) = invented(cases=30)
    page = write(tmp_path, frame, PAD, noun="head")
    assert "by heads that were fitted on the photos of the other folds" in page.text
    assert "The head predicts the right one" in page.text
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    for text in (page.text.partition("Appendix")[0], card):
        assert "trained" not in text
    write(tmp_path / "theirs", frame, PAD, noun="model")
    assert '- "jax"' not in (tmp_path / "theirs" / "model_card.md").read_text(encoding="utf-8")
    assert '- "jax"' in card


def test_what_counts_as_cancer_is_said():
    (frame,) = invented(cases=30)
    degrees = {"NEV": 0, "SEK": 0, "ACK": 1, "BCC": 1, "SCC": 2, "MEL": 2}
    told = counted_as_cancer(study(frame), check_degrees(degrees, PAD))
    for name in ("ACK", "BCC", "SCC", "MEL"):
        assert PAD.title(name) in told
    assert PAD.title("NEV") not in told
    assert told.endswith(f"of these {PAD.title('ACK')} is premalignant.")
    told = counted_as_cancer(study(frame), check_degrees(degrees | {"ACK": 0}, PAD))
    assert "premalignant" not in told


def test_actinic_keratoses_of_all_data_sets_are_known_as_premalignant():
    for name, early in (("ham10000", "akiec"), ("pad_ufes_20", "ACK"), ("synthetic19", "actinic_keratosis")):
        classes = load_taxonomy(name).classes()
        assert [one for one in classes if is_premalignant(one)] == [early]
