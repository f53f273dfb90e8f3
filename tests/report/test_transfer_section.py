"""Figure 4-6 in the report: figures and tests by case, what is said of them, and how the curves are drawn."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from skinjax.evaluate import bootstrap
from skinjax.evaluate.subgroups import holm
from skinjax.report.blocks import Figure, Table, Text
from skinjax.report.figures import canvas
from skinjax.report.figures.transfer_plots import curves_compared, fold_means
from skinjax.report.sections.transfer import Variant, transfer_section
from skinjax.studies.steps.starts import Start

NAMES = ("random", "0", "2", "all")
STAGES = dict(zip(NAMES, ("meta_random", "meta_0", "meta_2", "meta"), strict=True))


def variants(skills, cases=60, seed=0):
    """Answers for two photos a case of three classes, right as often as the skill has it."""
    rng = np.random.default_rng(seed)
    case = np.repeat(np.arange(cases), 2)
    labels = case % 3
    found = []
    for name, skill in zip(NAMES, skills, strict=True):
        logits = rng.normal(size=(len(case), 3)) + skill * np.eye(3)[labels]
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        start = Start({"random": None, "all": "all"}.get(name, int(name) if name.isdigit() else None), 7)
        found.append(Variant(name, start.label, start.title, STAGES[name], probs))
    return found, labels, case


def learning(first, last, epochs=4):
    """Curves of two folds, the second a little above the first; straight from the first epoch's value to the last's."""
    rows = []
    for name, low, high in zip(NAMES, first, last, strict=True):
        for fold in (0, 1):
            for epoch, value in enumerate(np.linspace(low, high, epochs), 1):
                row = {
                    "stage": STAGES[name],
                    "fold": fold,
                    "epoch": epoch,
                    "auc": value / 2 + 0.4 + fold / 100,
                }
                rows += [row | {"split": split, "accuracy": value + fold / 50} for split in ("train", "test")]
    return pd.DataFrame(rows)


def section(skills=(0, 0, 1, 3), first=(0.3, 0.35, 0.4, 0.6), last=(0.4, 0.4, 0.6, 0.9), **changed):
    found, labels, cases = variants(skills)
    arguments = {
        "labels": labels, "cases": cases, "curves": learning(first, last), "level": "meta",
        "references": ["random", "0"], "chosen": "all", "replicates": 200,
    }  # fmt: skip
    return transfer_section(found, **(arguments | changed)), found, labels, cases


def tables(made):
    return {block.name: block for block in made.blocks if isinstance(block, Table)}


def words(made):
    return " ".join(block.words for block in made.blocks if isinstance(block, Text))


def test_the_table_has_scikit_learns_figures_and_the_curves_means():
    made, found, labels, _ = section()
    rows = tables(made)["transfer"].data.set_index("variant")
    assert list(rows.index) == list(NAMES)
    for one in found:
        row = rows.loc[one.name]
        assert row["accuracy"] == pytest.approx(accuracy_score(labels, one.probs.argmax(axis=1)), abs=1e-12)
        assert row["auc"] == pytest.approx(roc_auc_score(labels, one.probs, multi_class="ovr"), abs=1e-12)
        assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
        assert row["auc_low"] < row["auc"] < row["auc_high"]
    assert rows.loc["all", "accuracy_first"] == pytest.approx(0.61)  # the mean of 0.60 and 0.62
    assert rows.loc["all", "accuracy_best"] == pytest.approx(0.91)
    assert rows.loc["all", "accuracy_best_epoch"] == 4
    assert rows.loc["all", "auc_first"] == pytest.approx(0.705)
    # "0" ends at 0.41: "all" is above that from the first epoch on, "2" too (0.41), "random" at the last.
    assert rows["accuracy_epochs_to_reference"].to_list() == [4, 4, 1, 1]
    columns = tables(made)["transfer"].columns
    assert columns[0].cells[3] == "All layers, the 7 blocks and the top\nfused"
    assert len(columns[0].cells) == 2 * len(NAMES)
    assert columns[2].heading == "Best epoch (optimistic)"


def test_an_epoch_that_is_never_reached_is_a_dash():
    made, *_ = section(last=(0.4, 0.95, 0.6, 0.9))
    assert np.isnan(tables(made)["transfer"].data["accuracy_epochs_to_reference"][3])
    assert tables(made)["transfer"].columns[-1].cells[3] == "–"


def test_differences_are_paired_by_case_and_corrected_over_all_pairs():
    made, found, labels, cases = section()
    pairs = tables(made)["transfer_pairs"].data
    assert list(pairs["metric"]) == ["accuracy"] * 5 + ["auc"] * 5
    accuracy = pairs[pairs["metric"] == "accuracy"]
    expected = [("0", "random"), ("2", "random"), ("all", "random"), ("2", "0"), ("all", "0")]
    assert list(zip(accuracy["variant"], accuracy["reference"], strict=True)) == expected
    by_name = {one.name: one.probs.argmax(axis=1) for one in found}
    for row in accuracy.itertuples():
        plain = (by_name[row.variant] == labels).mean() - (by_name[row.reference] == labels).mean()
        assert row.difference == pytest.approx(plain, abs=1e-12)
    last = bootstrap.paired_by_case(
        bootstrap.accuracy, labels, by_name["all"], by_name["0"], cases, replicates=200
    )
    row = accuracy.iloc[-1]
    assert (row["low"], row["high"], row["p_value"]) == (last.low, last.high, last.p_value)
    for _, own in pairs.groupby("metric"):
        np.testing.assert_array_equal(own["holm_p_value"], holm(own["p_value"]))
        assert (own["holm_p_value"] >= own["p_value"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("skills", "first", "wanted"),
    [
        (
            (0, 0, 1, 4),
            (0.3, 0.35, 0.4, 0.6),
            ("Transfer starts higher", "ahead in 2 of 2", "so transfer ends higher"),
        ),
        (
            (0, 4, 1, 0),
            (0.3, 0.7, 0.4, 0.6),
            ("Transfer starts lower", "ahead in 0 of 2", "so transfer ends lower"),
        ),
        (
            (0, 1, 1, 1),
            (0.3, 0.6, 0.4, 0.6),
            ("Transfer starts no higher", "ahead in 0 of 2", "not shown to differ"),
        ),
    ],
)
def test_the_answer_says_whether_transfer_starts_and_ends_higher_than_the_strongest_plain_start(
    skills, first, wanted
):
    made, *_ = section(skills, first)
    answer = made.blocks[0].words
    assert "“direct” for" in answer
    for text in wanted:
        assert text in answer


@pytest.mark.parametrize(("skill", "apart"), [(0.45, False), (1.2, True)])
def test_the_verdict_is_the_corrected_test_s(skill, apart):
    made, *_ = section((0, 0, skill, skill))
    pairs = tables(made)["transfer_pairs"].data.set_index(["metric", "variant", "reference"])
    row = pairs.loc[("accuracy", "all", "0")]
    assert row["p_value"] < 0.05
    assert (row["holm_p_value"] < 0.05) == apart
    assert ("not shown to differ" in made.blocks[0].words) != apart


def test_the_highest_are_named_equal_ones_together():
    made, *_ = section(first=(0.3, 0.6, 0.4, 0.6))
    assert (
        "after the first epoch is that of “direct” and “all layers”, in the end that of “all layers”."
        in words(made)
    )


def test_what_cannot_be_compared_is_said():
    made, *_ = section(references=[])
    assert "cannot be said" in made.blocks[0].words
    assert set(tables(made)) == {"transfer"}
    found, labels, cases = variants((0, 0, 1, 4))
    made = transfer_section(
        found[:1], labels=labels, cases=cases, curves=learning((0.3,) * 4, (0.4,) * 4), level="meta",
        references=["random"], chosen="random", replicates=200,
    )  # fmt: skip
    assert "cannot be said" in made.blocks[0].words


def test_notes_and_what_flatters_are_told():
    made, *_ = section(notes=["Shares of the 7 blocks: 10/45 is 2."])
    assert "so it flatters" in words(made)
    assert "Shares of the 7 blocks: 10/45 is 2." in words(made)
    assert "rests on the finest network’s training too" in words(made)
    picture = next(block.picture for block in made.blocks if isinstance(block, Figure))
    assert [panel.name for panel in picture.panels] == ["transfer_accuracy", "transfer_auc"]
    assert set(picture.data["stage"]) == set(STAGES.values())
    assert len(picture.data) == 4 * 2 * 4  # of test photos alone
    assert "all layers" in picture.panels[0].document


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"references": ["10"]}, "references must be among the variants random, 0, 2, all, got '10'"),
        ({"chosen": "10"}, "chosen must be among the variants"),
        (
            {"curves": learning((0.3,) * 4, (0.4,) * 4).query("stage != 'meta_2'")},
            "test rows of the stage 'meta_2'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        section(**changed)


def test_variants_must_be_there_and_differ():
    found, labels, cases = variants((0, 0, 1, 4))
    rest = {"labels": labels, "cases": cases, "curves": learning((0.3,) * 4, (0.4,) * 4), "level": "meta"}
    for given, message in (
        ([], "at least|one at least"),
        ([found[0], found[0]], "must differ in their names"),
    ):
        with pytest.raises(ValueError, match=message):
            transfer_section(given, references=[], chosen="random", **rest)


def test_curves_are_drawn_one_look_a_network_and_names_do_not_overlap():
    curves = learning((0.3, 0.3, 0.3, 0.3), (0.60, 0.601, 0.602, 0.9)).query("split == 'test'")
    labels = {stage: f"start {name}" for name, stage in STAGES.items()}
    with matplotlib.rc_context(canvas.SETTINGS):
        figure, place = canvas.blank(400, 290, (38, 36, 80, 26))
        axes = curves_compared(figure.subplots(gridspec_kw=place), curves, "accuracy", labels)
    thick = [line for line in axes.lines if line.get_linewidth() == 2]
    assert len(thick) == 4
    assert len({(line.get_color(), line.get_linestyle()) for line in thick}) == 4
    assert len(axes.lines) == 4 + 4 * 2  # and a thin one a fold
    np.testing.assert_allclose(thick[0].get_ydata(), np.linspace(0.31, 0.61, 4))
    places = sorted(text.xy[1] for text in axes.texts)
    assert {text.get_text() for text in axes.texts} == set(labels.values())
    low, high = axes.get_ylim()
    points = axes.get_window_extent().height / figure.dpi * 72
    assert min(np.diff(places)) * points / (high - low) >= 12 - 1e-6
    assert places[-1] <= high
    assert places[0] >= low


def test_folds_that_stopped_early_do_not_bend_the_mean():
    curves = learning((0.3,) * 4, (0.6,) * 4).query("split == 'test' and stage == 'meta'")
    shorter = curves[(curves["fold"] == 0) | (curves["epoch"] < 3)]
    np.testing.assert_allclose(fold_means(shorter, "accuracy"), fold_means(curves, "accuracy")[:2])
    assert fold_means(curves.assign(accuracy=np.nan), "accuracy").empty
