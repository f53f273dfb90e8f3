"""One answer per case on the page: every figure against scikit-learn and loops over cases, and what is said of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn import metrics

from skinjax.data.predictions import Predictions, from_arrays
from skinjax.evaluate.bootstrap import ONE_CASE_OF_A_CLASS
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict.degrees import degrees_of
from skinjax.report.blocks import Text
from skinjax.report.sections.by_case import by_case_section
from skinjax.report.study import Study
from skinjax.report.tables.pooling import case_photos, compare_pooling, compare_sets, pooled_probs

TREE = load_taxonomy("ham10000")
CLASSES = np.array(TREE.classes())
DEGREES = np.array(degrees_of(TREE))


def drawn(
    cases: int = 60, own: float = 1.5, sizes=(1, 2, 3), seed: int = 0, shared: float = 0.7
) -> pd.DataFrame:
    """Predictions whose photos share a part of their error; a large own part is what pooling averages out."""
    rng = np.random.default_rng(seed)
    case = np.repeat(np.arange(cases), rng.choice(sizes, cases))
    labels = np.resize(np.arange(len(CLASSES)), cases)[case]
    logits = 2 * np.eye(len(CLASSES))[labels] + shared * rng.normal(size=(cases, len(CLASSES)))[case]
    logits += own * rng.normal(size=logits.shape)
    names = [f"{number}.png" for number in range(len(case))]
    return from_arrays(
        names, [f"c{n}" for n in case], CLASSES[labels], case % 3, softmax(logits, axis=1), TREE
    )


def study_of(frame: pd.DataFrame, **options) -> Study:
    return Study.from_predictions(Predictions.from_frame(frame, TREE), replicates=400, **options)


@pytest.fixture(scope="module")
def frame():
    return drawn()


@pytest.fixture(scope="module")
def study(frame):
    return study_of(frame, target=["mel"])


@pytest.fixture(scope="module")
def table(study):
    return compare_pooling(study, case_photos(study), np.maximum(DEGREES, 0)).set_index("rule")


def by_loop(frame: pd.DataFrame, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and pooled probabilities, a case at a time."""
    columns = [f"p_{name}" for name in CLASSES]
    labels, pooled = [], []
    for _, photos in frame.groupby("case_id", sort=False):
        probs = photos[columns].to_numpy()
        if rule == "mean":
            pooled.append(probs.mean(axis=0))
        elif rule == "mean_log":
            pooled.append(softmax(np.log(probs).mean(axis=0)))
        else:
            pooled.append(probs[np.argmax(probs @ np.maximum(DEGREES, 0))])
        labels.append(list(CLASSES).index(photos["label"].iloc[0]))
    return np.array(labels), np.array(pooled)


@pytest.mark.parametrize("rule", ["mean_log", "mean", "max"])
def test_figures_of_pooled_answers_are_scikit_learns_of_a_loop_over_cases(frame, study, table, rule):
    labels, pooled = by_loop(frame, rule)
    found = case_photos(study)
    np.testing.assert_allclose(pooled_probs(study, found, rule, np.maximum(DEGREES, 0)), pooled, atol=1e-9)
    predicted = pooled.argmax(axis=1)
    assert table.loc[rule, "accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert table.loc[rule, "balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(labels, predicted)
    )
    areas = [metrics.roc_auc_score(labels == k, pooled[:, k]) for k in range(len(CLASSES))]
    assert table.loc[rule, "macro_auc"] == pytest.approx(np.mean(areas))
    mel = list(CLASSES).index("mel")
    assert table.loc[rule, "target_auc"] == pytest.approx(areas[mel])


def test_a_single_photo_is_one_drawn_evenly_from_each_case(frame, study, table):
    right = frame[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(axis=1) == study.labels
    by_case = pd.Series(right).groupby(frame["case_id"]).mean()
    assert table.loc["single", "accuracy"] == pytest.approx(by_case.mean())
    of_class = by_case.groupby(frame.groupby("case_id")["label"].first()).mean()
    assert table.loc["single", "balanced_accuracy"] == pytest.approx(of_class.mean())
    weight = 1 / frame.groupby("case_id")["image"].transform("size")
    areas = [
        metrics.roc_auc_score(frame["label"] == name, frame[f"p_{name}"], sample_weight=weight)
        for name in CLASSES
    ]
    assert table.loc["single", "macro_auc"] == pytest.approx(np.mean(areas))
    for rule in ("mean_log", "mean", "max"):
        gained = table.loc[rule, "accuracy"] - table.loc["single", "accuracy"]
        assert table.loc[rule, "accuracy_difference"] == pytest.approx(gained)


def test_a_class_of_a_single_case_leaves_the_macro_auc_without_limits():
    every = drawn()
    first = every.loc[every["label"] == "mel", "case_id"].iloc[0]
    studied = study_of(every[(every["label"] != "mel") | (every["case_id"] == first)])
    row = (
        compare_pooling(studied, case_photos(studied), np.maximum(DEGREES, 0))
        .set_index("rule")
        .loc["mean_log"]
    )
    assert np.isfinite(row["macro_auc"])
    assert np.isnan([row["macro_auc_low"], row["macro_auc_high"], row["macro_auc_difference_low"]]).all()
    assert row["macro_auc_reason"] == ONE_CASE_OF_A_CLASS


@pytest.mark.slow
def test_a_gain_is_said_where_there_is_one_and_not_where_photos_are_alike():
    words = {}
    for name, own in (("noisy", 2.5), ("alike", 0.0)):
        section, sentence, figures = by_case_section(study_of(drawn(150, own, sizes=(3, 4))))
        words[name] = section.blocks[0].words
        gain = {one.name: one for one in figures}["accuracy_by_case_gain"]
        assert (gain.low > 0) == (name == "noisy")
        assert (" points above the " in sentence) == (name == "noisy")
        assert ("cannot be distinguished from the " in sentence) == (name == "alike")
        assert "% of a single photo" in sentence
    assert words["noisy"].startswith("Pooling the photos of a case raises accuracy by ")
    assert words["alike"].startswith("No gain is shown: accuracy ")
    assert "150 of 150 cases have several photos" in words["noisy"]


def test_sets_of_cases_hold_the_true_class_as_often_as_asked_for():
    study = study_of(drawn(600, seed=3))
    sets = compare_sets(study, case_photos(study), (0.8, 0.9), 3).set_index("nominal_coverage")
    for coverage in (0.8, 0.9):
        assert sets.loc[coverage, "coverage"] == pytest.approx(coverage, abs=0.04)
        assert sets.loc[coverage, "photo_coverage"] == pytest.approx(coverage, abs=0.04)
        assert sets.loc[coverage, "mean_size"] < sets.loc[coverage, "photo_mean_size"]


def test_without_several_photos_or_case_ids_there_is_no_section(frame):
    once = frame.drop_duplicates("case_id")
    assert by_case_section(study_of(once)) is None
    assert by_case_section(study_of(frame.assign(case_id=frame["image"]))) is None


@pytest.mark.slow
def test_lesions_are_told_apart_and_mixed_cases_are_left_out_and_counted(frame):
    photos = frame[frame["case_id"].isin([f"c{n}" for n in range(0, 60, 2)])].index
    mixed = frame.assign(case_id=frame["case_id"].where(~frame.index.isin(photos), "patient"))
    mixed["fold"] = 0
    section, _, _ = by_case_section(study_of(mixed))
    assert " 1 case is left out: " in section.blocks[2].words
    lesions = mixed.assign(lesion_id=frame["case_id"])
    found = case_photos(study_of(lesions))
    assert (found.mixed, found.lesions, len(found.labels)) == (0, True, 60)
    assert len(np.unique(found.cases)) == 31
    section, sentence, _ = by_case_section(study_of(lesions))
    assert sentence.startswith("By lesion, with the photos of each pooled")
    assert section.title == "One answer per lesion"
    assert (
        "A lesion is one lesion_id of a case. Elsewhere on this page a case is one case_id"
        in section.blocks[2].words
    )
    plain = by_case_section(study_of(frame))[0]
    assert plain.title == "One answer per case"
    assert not any("lesion" in block.words for block in plain.blocks if isinstance(block, Text))


def test_nothing_is_fitted_where_all_is_of_one_part(frame):
    alone = frame[frame["case_id"].isin(["c1", "c2"])].assign(fold=0)
    study = study_of(alone)
    assert compare_sets(study, case_photos(study), (0.9,), 3) is not None
    one = study_of(frame[frame["case_id"] == frame["case_id"].mode()[0]])
    assert compare_sets(one, case_photos(one), (0.9,), 3) is None


def test_where_every_answer_is_right_the_interval_is_wilsons_by_case():
    frame = drawn(12, 0.0)
    for name in CLASSES:
        frame[f"p_{name}"] = np.where(frame["label"] == name, 0.9, 0.1 / (len(CLASSES) - 1))
    study = study_of(frame)
    row = compare_pooling(study, case_photos(study)).iloc[1]
    z = 1.959964
    assert row["accuracy"] == 1
    assert row["accuracy_high"] == 1
    assert row["accuracy_low"] == pytest.approx(12 / (12 + z**2), abs=1e-4)


def test_cases_of_several_diagnoses_are_counted_in_the_headline():
    frame = drawn(60, 1.0)
    several = frame["case_id"].duplicated(keep=False)
    first = frame.loc[several, "case_id"].iloc[0]
    place = frame.index[frame["case_id"] == first][0]
    other = next(name for name in CLASSES if name != frame.loc[place, "label"])
    frame.loc[place, "label"] = other
    _, sentence, _ = by_case_section(study_of(frame))
    assert sentence.endswith("; 1 case with several diagnoses left out.")
