"""The section on degrees of malignancy, of invented predictions: recomputed, cancers named, readers compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, cohen_kappa_score

from skinjax.data.invented import invent_degree_readers, invent_predictions
from skinjax.data.predictions import Predictions
from skinjax.labels.degrees import load_degrees, tumour_taxonomy
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.report import crossfit
from skinjax.report.blocks import Figure, Table, Text
from skinjax.report.sections.grading import grading_section
from skinjax.report.sections.malignancy import check_degrees, graded, malignancy_section
from skinjax.report.study import Study

DEGREES = dict(load_degrees("pad_ufes_20").degrees)
TREE = tumour_taxonomy(load_taxonomy("pad_ufes_20"), DEGREES)
OF_CLASS = check_degrees(DEGREES, TREE)
NAMES = ("Benign", "Low malignancy", "High malignancy")
COST = np.array([[0, 1, 3], [6, 0, 1], [9, 4, 0]])


(FRAME,) = invent_predictions(TREE, num_cases=80, skills=(1.2,), seed=3)


def study(frame):
    return Study.from_predictions(Predictions.from_frame(frame, TREE), replicates=200)


@pytest.fixture(scope="module")
def model():
    return study(FRAME)


@pytest.fixture(scope="module")
def readers(model):
    true = OF_CLASS[model.labels]
    found = invent_degree_readers(list(FRAME["image"]), list(true), 3, num_readers=3, seed=1)
    return found.drop(index=[0, 5]).sample(frac=1, random_state=0)  # two photos that one reader left out


@pytest.fixture(scope="module")
def section(model, readers):
    return grading_section(model, OF_CLASS, NAMES, COST, readers)


def table(section, name):
    return next(block.data for block in section[1].blocks if isinstance(block, Table) and block.name == name)


@pytest.fixture(scope="module")
def tempered(model):
    """Each fold's probabilities at the temperature of the other folds."""
    return crossfit.tempered(
        model.probs, model.labels, model.cases, model.calibration_parts, model.seed
    ).probs


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_folds_cut_points_have_seen_neither_its_photos_nor_a_temperature_that_has(model):
    """A fold's labels are turned round: its own cut-points and scores stay as they were."""
    scaled = crossfit.tempered(model.probs, model.labels, model.cases, model.calibration_parts, model.seed)
    before = graded(model, OF_CLASS, COST, tempered=scaled)
    frame = FRAME.copy()
    mine = frame["fold"] == 2
    frame.loc[mine, "label"] = frame.loc[mine, "label"].map(
        dict(zip(TREE.classes(), TREE.classes()[::-1], strict=True))
    )
    turned = study(frame)
    scaled = crossfit.tempered(
        turned.probs, turned.labels, turned.cases, turned.calibration_parts, turned.seed
    )
    after = graded(turned, OF_CLASS, COST, tempered=scaled)
    np.testing.assert_allclose(after.cuts[2], before.cuts[2])
    np.testing.assert_allclose(after.scores[mine], before.scores[mine])
    assert not np.allclose(after.cuts, before.cuts)


@pytest.mark.slow
def test_every_cancer_that_a_rule_grades_too_low_is_named_the_worst_first(section, model, tempered):
    true = OF_CLASS[model.labels]
    listed = table(section, "under_graded")
    rules = ["argmax", "least_cost", "cutpoints"]
    assert (listed["degree"] > 0).all()
    assert (listed[rules].lt(listed["degree"], axis=0)).any(axis=1).all()
    probs = np.stack([tempered[:, d == OF_CLASS].sum(axis=1) for d in range(3)], axis=1)
    low = probs.argmax(axis=1) < true
    assert set(FRAME["image"][low]) <= set(listed["image"])
    short = listed["degree"] - listed["least_cost"]
    assert (np.diff(np.maximum(short, 0)) <= 0).all()
    score = pd.Series(50 * probs[:, 1] + 100 * probs[:, 2], index=FRAME["image"])
    np.testing.assert_allclose(listed["score"], score[listed["image"]], atol=1e-9)
    labels = FRAME.set_index("image").loc[listed["image"], ["label", "case_id"]]
    assert listed["label"].tolist() == labels["label"].tolist()
    assert listed["case_id"].tolist() == labels["case_id"].tolist()
    by_tumour = table(section, "under_graded_tumours").set_index("tumour")
    assert set(by_tumour.index) == {"ACK", "BCC", "SCC", "MEL"}
    for name, row in by_tumour.iterrows():
        mine = (FRAME["label"] == name).to_numpy()
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
    frame = FRAME.copy()
    columns = [f"p_{name}" for name in TREE.classes()]
    frame[columns] = softmax(4 * np.log(frame[columns].to_numpy()), axis=1)
    sure = study(frame)
    found = table(grading_section(sure, OF_CLASS, NAMES), "malignancy_calibration").set_index(
        ["event", "stage"]
    )
    for event in ("Low malignancy or more", "High malignancy"):
        assert found.loc[(event, "after"), "ece"] < found.loc[(event, "before"), "ece"]
        assert found.loc[(event, "before"), "slope"] < 0.5 < found.loc[(event, "after"), "slope"]


def test_readers_stand_beside_the_rules_on_the_photos_that_all_of_them_graded(section, model, readers):
    answers = readers.pivot(index="image", columns="reader", values="degree").dropna().astype(int)
    assert len(answers) == len(model.labels) - 2
    order = FRAME.set_index("image").index.get_indexer(answers.index)
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


def test_advice_that_came_too_late_is_counted_by_the_rule_of_predict(section, model, tempered):
    """At predict's own cost, whatever the cost of the study, and never below the most probable class."""
    true, given = OF_CLASS[model.labels], np.empty(len(tempered), int)
    scaled = crossfit.tempered(model.probs, model.labels, model.cases, model.calibration_parts, model.seed)
    for fold in range(int(model.calibration_parts.max()) + 1):
        rest = model.calibration_parts != fold
        others = softmax(np.log(model.probs[rest]) / scaled.temperatures[fold], axis=1)
        least = np.sort(others.max(axis=1))[int(np.floor(0.1 * rest.sum() + 1e-9))]
        for photo in np.flatnonzero(~rest):
            p = tempered[photo]
            above = [p[degree < OF_CLASS].sum() for degree in range(3)]
            urgency = max(next(d for d in range(3) if above[d] <= 0.2), OF_CLASS[p.argmax()])
            given[photo] = urgency if urgency or p.max() >= least else -1
    found = table(section, "advice").set_index("urgency")
    for place, urgency in enumerate(("routine", "soon", "urgent")):
        told = given == place
        assert found.loc[urgency, "photos"] == told.sum()
        if told.any():
            assert found.loc[urgency, "too_late"] == pytest.approx((true[told] > place).mean())
    assert found.loc["withheld", "photos"] == (given == -1).sum()
    cancer = true > 0
    late = ((given >= 0) & (given < true))[cancer].mean()
    words = " ".join(b.words for b in section[1].blocks if isinstance(b, Text))
    assert f"{100 * late:.1f}% (" in words
    assert "would be advised too late" in words


def test_classes_that_are_no_tumours_count_as_benign_on_the_page():
    degrees = {name: None if name == "NEV" else degree for name, degree in DEGREES.items()}
    of_class = check_degrees(degrees, TREE)
    assert of_class[TREE.classes().index("NEV")] == -1
    as_benign, given = graded(study(FRAME), OF_CLASS), graded(study(FRAME), of_class)
    np.testing.assert_array_equal(given.true, as_benign.true)
    np.testing.assert_allclose(given.scores, as_benign.scores)
    counted, first = malignancy_section(study(FRAME), of_class).blocks[:2]
    assert counted.words.startswith("Counted as cancer is every class with a degree above the lowest")
    assert "no tumours count as degree 0" in first.words
    for wrong, message in (
        (dict.fromkeys(DEGREES, 0), "must be at least two"),
        (dict.fromkeys(DEGREES), "must be at least two"),
    ):
        with pytest.raises(ValueError, match=message):
            check_degrees(wrong, TREE)


@pytest.mark.slow
def test_one_case_and_no_cancer_are_reported_and_not_refused(model):
    one = FRAME.assign(case_id="same", fold=0)
    words, found = grading_section(study(one), OF_CLASS, NAMES)
    assert "cutpoints" not in table((words, found), "malignancy")["rule"].tolist()
    benign = FRAME[FRAME["label"].isin(["NEV", "SEK"])]
    words, _ = grading_section(study(benign), OF_CLASS, NAMES)
    assert words[0] == "No photo is of a cancer, so nothing can be said of how they are graded."


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
