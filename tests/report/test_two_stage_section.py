"""The report's sections on two-stage diagnosis and on backbones, from made-up scores, held against scikit-learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score, roc_curve

from skinjax.data.invented import invent_predictions
from skinjax.data.predictions import Predictions
from skinjax.evaluate.fewest import FEWEST_CASES
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.report.blocks import Figure, Table, Text
from skinjax.report.sections import backbones
from skinjax.report.sections.backbones import backbones_section, best_on_validation
from skinjax.report.sections.two_stage import STRATEGIES, Stages, two_stage_section
from skinjax.report.tables.target_models import Intervals, Sample, warn_of_few_cases

INTERVALS = Intervals(replicates=200)
TREE = load_taxonomy("psoriasis9")


def sample(cases, seed, target_cases=None):
    """Two photos a case, every third case of the target where no number is given."""
    case = np.repeat(np.arange(cases), 2)
    labels = case % 3 == 0 if target_cases is None else case < target_cases
    return Sample(
        images=np.array([f"{seed}_{number}.jpg" for number in range(len(case))], object),
        labels=labels,
        cases=np.array([f"{seed} {number}" for number in case]),
        classes=np.where(labels, "Target", np.where(case % 2, "One other", "Another")).astype(object),
    )


def scores(samples, skill, rng):
    return {
        name: 1 / (1 + np.exp(-skill * (2 * one.labels - 1) - rng.normal(size=len(one.labels))))
        for name, one in samples.items()
    }


def stages(skill=0.9, rival=0.7, samples=None, draws=3, seed=0, alike=False):
    rng = np.random.default_rng(seed)
    samples = samples or {
        "validation": sample(90, 1), "test": sample(120, 2), "Left out": sample(30, 3, 0), "Elsewhere": sample(30, 4),
    }  # fmt: skip
    return Stages(
        target="Target",
        samples=samples,
        strategies={name: scores(samples, skill, rng) for name in STRATEGIES},
        strategy="probability",
        drawn=[scores(samples, rival, rng)] * draws
        if alike
        else [scores(samples, rival, rng) for _ in range(draws)],
        weighted=scores(samples, rival, rng),
        intervals=INTERVALS,
    )


def tables(section):
    return {block.name: block.data for block in section.blocks if isinstance(block, Table)}


def youden(labels, values):
    """The threshold, of scikit-learn's curve; the lowest of equally good ones."""
    alarms, hits, thresholds = roc_curve(labels, values, drop_intermediate=False)
    return thresholds[np.flatnonzero(np.isclose(hits - alarms, (hits - alarms).max()))[-1]]


def test_each_models_figures_are_scikit_learns_at_the_threshold_of_the_validation_photos():
    given = stages()
    validation, test = given.samples["validation"], given.samples["test"]
    found = tables(two_stage_section(given)[0])["two_stage"]
    mixed = {name: np.mean([one[name] for one in given.drawn], axis=0) for name in given.samples}
    for row, one in ((0, given.strategies["probability"]), (2, mixed), (3, given.weighted)):
        figures = found.iloc[row]
        threshold = youden(validation.labels, one["validation"])
        called = one["test"] >= threshold
        assert figures["threshold_low"] == figures["threshold_high"] == pytest.approx(threshold)
        assert figures["auc"] == pytest.approx(roc_auc_score(test.labels, one["test"]))
        assert figures["sensitivity"] == pytest.approx(recall_score(test.labels, called))
        assert figures["misdiagnosed"] == pytest.approx(called[~test.labels].mean())
        assert figures["missed"] == pytest.approx(1 - figures["sensitivity"])
        assert figures["index"] == pytest.approx(figures["sensitivity"] + figures["specificity"] - 1)
        assert figures["auc_low"] < figures["auc"] < figures["auc_high"]
        assert figures["index_low"] < figures["index"] < figures["index_high"]
    thesis = found.iloc[1]
    assert thesis["networks"] == 3
    assert thesis["auc"] == pytest.approx(
        np.mean([roc_auc_score(test.labels, one["test"]) for one in given.drawn])
    )
    each = tables(two_stage_section(given)[0])["single_stage_draws"]
    for name in ("auc", "sensitivity", "specificity", "index"):
        assert thesis[name] == pytest.approx(each[name].mean())


def test_differences_are_those_of_the_table_and_corrected():
    found = tables(two_stage_section(stages())[0])
    models, pairs = found["two_stage"], found["two_stage_differences"]
    np.testing.assert_allclose(pairs["auc_difference"], models["auc"][0] - models["auc"][1:].to_numpy())
    np.testing.assert_allclose(pairs["index_difference"], models["index"][0] - models["index"][1:].to_numpy())
    assert (pairs["auc_holm_p_value"] >= pairs["auc_p_value"]).all()


@pytest.mark.parametrize(
    ("skill", "rival", "words", "not_said"),
    [
        (2.5, 0.3, "is better than the mean of 3 single-stage networks (", "worse"),
        (0.3, 2.5, "is worse than the mean of 3 single-stage networks (", "better"),
        (1.0, 1.0, "cannot be distinguished from the mean of 3 single-stage networks (", "worse"),
    ],
)
def test_the_verdict_follows_from_the_tests(skill, rival, words, not_said):
    section, verdict = two_stage_section(stages(skill, rival, seed=2, alike=skill == rival))
    assert words in verdict
    assert not_said not in verdict
    assert section.answered
    # It stands in the head of the page alone.
    assert verdict not in [block.words for block in section.blocks if isinstance(block, Text)]


def test_photos_from_outside_are_called_at_the_same_thresholds():
    given = stages()
    found = tables(two_stage_section(given)[0])
    threshold = youden(given.samples["validation"].labels, given.weighted["validation"])
    left_out, elsewhere = given.samples["Left out"], given.samples["Elsewhere"]
    row = found["outside_0"].iloc[3]
    called = given.weighted["Left out"] >= threshold
    assert row["misdiagnosed"] == pytest.approx(called.mean())
    assert row["accuracy"] == pytest.approx(1 - called.mean())
    assert np.isnan(row["sensitivity"])
    first = given.strategies["probability"]
    main = first["Left out"] >= youden(given.samples["validation"].labels, first["validation"])
    assert row["less_difference"] == pytest.approx(called.mean() - main.mean())
    classes = found["outside_0_classes"].set_index("class")
    for name in ("One other", "Another"):
        assert classes.loc[name, "called"] == pytest.approx(main[left_out.classes == name].mean())
        assert classes.loc[name, "photos"] == (left_out.classes == name).sum()
    row = found["outside_1"].iloc[3]
    called = given.weighted["Elsewhere"] >= threshold
    assert row["accuracy"] == pytest.approx(accuracy_score(elsewhere.labels, called))
    assert row["sensitivity"] == pytest.approx(recall_score(elsewhere.labels, called))


def test_readers_stand_in_the_figure_where_their_calls_put_them():
    given = stages()
    test = given.samples["test"]
    calls = np.random.default_rng(0).integers(0, 2, (2, 40))
    readers = pd.DataFrame(
        {"reader": np.repeat(["A", "B"], 40), "image": np.tile(test.images[:40], 2), "call": calls.ravel()}
    )
    section, _ = two_stage_section(dataclasses.replace(given, readers=readers))
    data = next(block.picture.data for block in section.blocks if isinstance(block, Figure))
    dots = data[data["model"].str.startswith("reader")].set_index("model")
    for name, row in zip("AB", calls, strict=True):
        dot = dots.loc[f"reader {name}"]
        assert dot["sensitivity"] == pytest.approx(recall_score(test.labels[:40], row))
        assert 1 - dot["one_minus_specificity"] == pytest.approx(recall_score(~test.labels[:40], 1 - row))


@pytest.mark.parametrize(
    ("validation", "test", "said"),
    [
        (0, 20, "The validation photos hold none of Target, so no threshold can be fitted."),
        (20, 0, "The test photos hold none of Target, so nothing can be distinguished."),
        (2, 20, "The validation photos hold 2 cases of Target: thresholds fitted on them are rough."),
        (20, 1, "The test photos hold 1 case of Target: figures on them are rough"),
    ],
)
def test_few_or_no_cases_of_the_target_are_told_and_nothing_is_made_up(validation, test, said):
    samples = {
        "validation": sample(60, 1, validation),
        "test": sample(60, 2, test),
        "Left out": sample(9, 3, 0),
    }
    section, verdict = two_stage_section(stages(samples=samples))
    assert any(said in block.words for block in section.blocks if isinstance(block, Text))
    found = tables(section)
    if not validation:
        assert found["two_stage"]["sensitivity"].isna().all()
        assert found["outside_0"]["accuracy"].isna().all()
    if test < 2:
        assert ("is not compared" if test else "cannot be compared") in verdict
        assert found["two_stage_differences"]["index_p_value"].isna().all()
        assert found["two_stage_differences"]["auc_p_value"].isna().all()
    assert section.answered == bool(test)


def test_enough_cases_need_no_warning():
    assert warn_of_few_cases(sample(60, 1, FEWEST_CASES), sample(60, 2, FEWEST_CASES), "Target") == []


@pytest.fixture(scope="module")
def networks():
    """Two made-up networks, one better than the other, on validation and test photos."""
    validation = invent_predictions(TREE, 120, skills=(3.0, 1.0), seed=1)
    test = invent_predictions(TREE, 120, skills=(3.0, 1.0), seed=2)
    return {
        name: (validation[number], test[number])
        for number, name in enumerate(("good_network", "poor_network"))
    }


def answers(validation, test, target, intervals):
    parsed = (Predictions.from_frame(frame, TREE) for frame in (validation, test))
    return backbones.network_studies(*parsed, target, intervals)


COSTS = pd.DataFrame(
    {
        "backbone": ["poor_network", "good_network"], "image_size": [64, 96], "parameters": [1_000_000, 25_000_000],
        "epochs": [3, 3], "seconds": [90.0, 9000.0], "photos_per_second": [30.0, 2.5],
    }
)  # fmt: skip


def test_table_3_1_is_scikit_learns_on_the_target(networks):
    order = ("poor_network", "good_network")
    made = {name: answers(*networks[name], ("psoriasis",), INTERVALS) for name in order}
    assert best_on_validation(made) == "good_network"
    section, verdict = backbones_section(made, COSTS, INTERVALS)
    assert "good_network is best on the validation photos" in verdict
    assert "is above that of poor_network" in verdict
    found = tables(section)["backbones"].set_index("backbone")
    assert list(found.index) == list(order)
    for name, (validation, test) in networks.items():
        labels, scores_of = test["label"] == "psoriasis", test["p_psoriasis"]
        threshold = youden(validation["label"] == "psoriasis", validation["p_psoriasis"])
        called = scores_of >= threshold
        row = found.loc[name]
        assert row["auc"] == pytest.approx(roc_auc_score(labels, scores_of))
        assert row["threshold"] == pytest.approx(threshold)
        assert row["sensitivity"] == pytest.approx(recall_score(labels, called))
        assert row["specificity"] == pytest.approx(recall_score(~labels, ~called))
        predicted = [
            TREE.classes()[k] for k in test[[f"p_{c}" for c in TREE.classes()]].to_numpy().argmax(axis=1)
        ]
        assert row["accuracy"] == pytest.approx(accuracy_score(test["label"], predicted))
        assert row["macro_f1"] == pytest.approx(f1_score(test["label"], predicted, average="macro"))
        for figure in ("auc", "sensitivity", "specificity", "accuracy", "macro_f1"):
            assert row[f"{figure}_low"] < row[f"{figure}_high"]
            assert row[f"{figure}_low"] <= row[figure] <= row[f"{figure}_high"]
    panels = [
        panel for block in section.blocks if isinstance(block, Figure) for panel in block.picture.panels
    ]
    assert {panel.name for panel in panels} == {"backbones_roc", *(f"confusion_{name}" for name in order)}
    shown = next(
        block for block in section.blocks if isinstance(block, Table) and block.name == "backbone_costs"
    )
    cells = {column.heading: list(column.cells) for column in shown.columns}
    assert cells["Training"] == ["1.5 min", "2.5 h"]
    assert cells["Parameters"] == ["1.00 M", "25.00 M"]


def test_without_a_target_the_area_is_the_mean_over_classes(networks):
    made = {name: answers(*frames, (), INTERVALS) for name, frames in networks.items()}
    section, verdict = backbones_section(made, COSTS, INTERVALS)
    assert "its macro area under the ROC curve" in verdict
    found = tables(section)["backbones"].set_index("backbone")
    for name, (_, test) in networks.items():
        probs = test[[f"p_{c}" for c in TREE.classes()]].to_numpy()
        labels = TREE.encode(test["label"])
        areas = [roc_auc_score(labels == k, probs[:, k]) for k in range(9)]
        assert found.loc[name, "auc"] == pytest.approx(np.mean(areas))
    assert "threshold" not in found
    data = next(block.picture.data for block in section.blocks if isinstance(block, Figure))
    for name, curve in data.groupby("model"):
        area = np.trapezoid(curve["sensitivity"], curve["one_minus_specificity"])
        assert f"{area:.2f}" == f"{found.loc[name.split()[0], 'auc']:.2f}"


def test_a_single_backbone_or_a_target_without_test_photos_is_told_without_comparison(networks):
    one = {"good_network": answers(*networks["good_network"], (), INTERVALS)}
    _, verdict = backbones_section(one, COSTS[1:], INTERVALS)
    assert "cannot" not in verdict
    validation, test = networks["good_network"]
    rest = test[test["label"] != "psoriasis"]
    made = {name: answers(validation, rest, ("psoriasis",), INTERVALS) for name in networks}
    section, verdict = backbones_section(made, COSTS, INTERVALS)
    assert "–" in verdict
    told = [block.words for block in section.blocks if isinstance(block, Text)]
    assert any("The test photos hold none of Psoriasis" in words for words in told)
    assert tables(section)["backbones"]["sensitivity"].isna().all()
