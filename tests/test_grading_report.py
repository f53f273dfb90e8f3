"""The section on degrees of malignancy, of invented predictions: recomputed, cancers named, readers compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, cohen_kappa_score

from skinjax.data.invented import invent_degree_readers, invent_predictions
from skinjax.labels.degrees import load_degrees, tumour_taxonomy
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.report import crossfit
from skinjax.report.blocks import Figure, Table, Text
from skinjax.report.sections.grading import grading_section
from skinjax.report.sections.malignancy import check_degrees, graded
from skinjax.report.study import study

DEGREES = dict(load_degrees("pad_ufes_20").degrees)
TREE = tumour_taxonomy(load_taxonomy("pad_ufes_20"), DEGREES)
OF_CLASS = check_degrees(DEGREES, TREE)
NAMES = ("Benign", "Low malignancy", "High malignancy")
COST = np.array([[0, 1, 3], [6, 0, 1], [9, 4, 0]])


@pytest.fixture(scope="module")
def model():
    (frame,) = invent_predictions(TREE, num_cases=80, skills=(1.2,), seed=3)
    return study("invented", frame, TREE, None, (), 0.95, 200, 0)


@pytest.fixture(scope="module")
def readers(model):
    true = OF_CLASS[model.labels]
    found = invent_degree_readers(list(model.predictions["image"]), list(true), 3, num_readers=3, seed=1)
    return found.drop(index=[0, 5]).sample(frac=1, random_state=0)  # two photos that one reader left out


@pytest.fixture(scope="module")
def section(model, readers):
    return grading_section(model, OF_CLASS, NAMES, COST, readers)


def table(section, name):
    return next(block.data for block in section[1].blocks if isinstance(block, Table) and block.name == name)


@pytest.fixture(scope="module")
def tempered(model):
    """Each fold's probabilities at the temperature of the other folds."""
    return crossfit.tempered(model.probs, model.labels, model.cases, model.parts, model.seed).probs


def test_rules_go_by_scaled_probabilities_and_the_cost_that_was_given(section, model, tempered):
    true = OF_CLASS[model.labels]
    probs = np.stack([tempered[:, d == OF_CLASS].sum(axis=1) for d in range(3)], axis=1)
    found = table(section, "malignancy").set_index("rule")
    for rule, given in (("argmax", probs.argmax(axis=1)), ("least_cost", (probs @ COST).argmin(axis=1))):
        row = found.loc[rule]
        assert row["kappa"] == pytest.approx(cohen_kappa_score(true, given, weights="quadratic"))
        assert row["cost"] == pytest.approx(COST[true, given].mean())
        assert row["under_graded"] == pytest.approx((given < true)[true > 0].mean())
        assert row["right"] == pytest.approx((given == true).mean())
    assert found.loc["least_cost", "under_graded"] < found.loc["argmax", "under_graded"]
    np.testing.assert_array_equal(table(section, "malignancy_cost").iloc[:, 1:], COST)
    share = f"{100 * found.loc['least_cost', 'under_graded']:.1f}%"
    assert share in section[0][0]
    assert f"{int((true > 0).sum())} photos of cancers" in section[0][0]


def test_a_folds_cut_points_have_seen_neither_its_photos_nor_a_temperature_that_has(model):
    """A fold's labels are turned round: its own cut-points and scores stay as they were."""
    scaled = crossfit.tempered(model.probs, model.labels, model.cases, model.parts, model.seed)
    before = graded(model, OF_CLASS, COST, tempered=scaled)
    frame = model.predictions.copy()
    mine = frame["fold"] == 2
    frame.loc[mine, "label"] = frame.loc[mine, "label"].map(
        dict(zip(TREE.classes(), TREE.classes()[::-1], strict=True))
    )
    turned = study("turned", frame, TREE, None, (), 0.95, 200, 0)
    scaled = crossfit.tempered(turned.probs, turned.labels, turned.cases, turned.parts, turned.seed)
    after = graded(turned, OF_CLASS, COST, tempered=scaled)
    np.testing.assert_allclose(after.cuts[2], before.cuts[2])
    np.testing.assert_allclose(after.scores[mine], before.scores[mine])
    assert not np.allclose(after.cuts, before.cuts)


def test_every_cancer_that_a_rule_grades_too_low_is_named_the_worst_first(section, model, tempered):
    true = OF_CLASS[model.labels]
    listed = table(section, "under_graded")
    rules = ["argmax", "least_cost", "cutpoints"]
    assert (listed["degree"] > 0).all()
    assert (listed[rules].lt(listed["degree"], axis=0)).any(axis=1).all()
    probs = np.stack([tempered[:, d == OF_CLASS].sum(axis=1) for d in range(3)], axis=1)
    low = probs.argmax(axis=1) < true
    assert set(model.predictions["image"][low]) <= set(listed["image"])
    short = listed["degree"] - listed["least_cost"]
    assert (np.diff(np.maximum(short, 0)) <= 0).all()
    score = pd.Series(50 * probs[:, 1] + 100 * probs[:, 2], index=model.predictions["image"])
    np.testing.assert_allclose(listed["score"], score[listed["image"]], atol=1e-9)
    labels = model.predictions.set_index("image").loc[listed["image"], ["label", "case_id"]]
    assert listed["label"].tolist() == labels["label"].tolist()
    assert listed["case_id"].tolist() == labels["case_id"].tolist()
    by_tumour = table(section, "under_graded_tumours").set_index("tumour")
    assert set(by_tumour.index) == {"ACK", "BCC", "SCC", "MEL"}
    for name, row in by_tumour.iterrows():
        mine = (model.predictions["label"] == name).to_numpy()
        assert row["argmax"] == pytest.approx(low[mine].mean())
    shown = next(b for b in section[1].blocks if isinstance(b, Table) and b.name == "under_graded")
    assert shown.folded
    assert shown.columns[0].cells[0] == f"{listed['image'][0]}\ncase {listed['case_id'][0]}"


def test_calibration_is_told_before_and_after(section, model, tempered):
    found = table(section, "malignancy_calibration").set_index(["event", "stage"])
    true = OF_CLASS[model.labels]
    for least, event in ((1, "Low malignancy or more"), (2, "High malignancy")):
        for stage, probs in (("before", model.probs), ("after", tempered)):
            given = np.clip(probs[:, least <= OF_CLASS].sum(axis=1), 0, 1)
            expected = brier_score_loss(true >= least, given)
            assert found.loc[(event, stage), "brier"] == pytest.approx(expected)


def test_scaling_mends_what_is_too_sure_of_itself(model):
    frame = model.predictions.copy()
    columns = [f"p_{name}" for name in TREE.classes()]
    frame[columns] = softmax(4 * np.log(frame[columns].to_numpy()), axis=1)
    sure = study("sure", frame, TREE, None, (), 0.95, 200, 0)
    found = table(grading_section(sure, OF_CLASS, NAMES), "malignancy_calibration").set_index(
        ["event", "stage"]
    )
    for event in ("Low malignancy or more", "High malignancy"):
        assert found.loc[(event, "after"), "ece"] < found.loc[(event, "before"), "ece"]
        assert found.loc[(event, "before"), "slope"] < 0.5 < found.loc[(event, "after"), "slope"]


def test_readers_stand_beside_the_rules_on_the_photos_that_all_of_them_graded(section, model, readers):
    answers = readers.pivot(index="image", columns="reader", values="degree").dropna().astype(int)
    assert len(answers) == len(model.labels) - 2
    order = model.predictions.set_index("image").index.get_indexer(answers.index)
    true = OF_CLASS[model.labels][order]
    found = table(section, "graders").set_index("who")
    for reader in answers:
        kappa = cohen_kappa_score(true, answers[reader], weights="quadratic")
        assert found.loc[reader, "kappa"] == pytest.approx(kappa)
        assert found.loc[reader, "cost"] == pytest.approx(COST[true, answers[reader]].mean())
    compared = table(section, "graders_compared").set_index(["rule", "figure"])
    mine = found.loc["Least expected cost", "cost"]
    theirs = found.loc[list(answers), "cost"].mean()
    assert compared.loc[("least_cost", "cost"), "difference"] == pytest.approx(mine - theirs)
    assert (compared["low"] < compared["difference"]).all()
    words = " ".join(b.words for b in section[1].blocks if isinstance(b, Text))
    assert "2 photos that only some readers graded were left out" in words
    assert "not a diagnosis" in words
    assert {b.picture.name for b in section[1].blocks if isinstance(b, Figure)} >= {
        "graders",
        "degree_reliability",
    }


def test_one_case_and_no_cancer_are_reported_and_not_refused(model):
    one = model.predictions.assign(case_id="same", fold=0)
    words, found = grading_section(study("one", one, TREE, None, (), 0.95, 100, 0), OF_CLASS, NAMES)
    assert "cutpoints" not in table((words, found), "malignancy")["rule"].tolist()
    benign = model.predictions[model.predictions["label"].isin(["NEV", "SEK"])]
    words, _ = grading_section(study("benign", benign, TREE, None, (), 0.95, 100, 0), OF_CLASS, NAMES)
    assert words == ["No photo is of a cancer, so nothing can be said of how they are graded."]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"degree": 3}, "degrees from 0 to 2"),
        ({"image": "none.jpg"}, "grade a photo once"),
        ({"call": 1, "degree": None}, "degrees from 0 to 2"),
    ],
)
def test_readers_that_do_not_fit_are_refused(change, message, model, readers):
    with pytest.raises(ValueError, match=message):
        grading_section(model, OF_CLASS, NAMES, COST, readers.assign(**change))
    with pytest.raises(ValueError, match="names must be of the 3 degrees"):
        grading_section(model, OF_CLASS, NAMES[:2])
