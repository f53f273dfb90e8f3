"""Curves and matrices of several models, the ISIC challenges' scores, and reasons where there is no interval."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from skinjax.evaluate import bootstrap
from skinjax.labels.taxonomy import load_taxonomy
from tests.report.test_report import draw_predictions, write
from tests.report.test_report_sections import blur

MODELS = ("ours", "rival", "third, <b>of theirs</b>")


@pytest.fixture(scope="module")
def taxonomy():
    return load_taxonomy("synthetic19")


@pytest.fixture(scope="module")
def predictions(taxonomy):
    return draw_predictions(taxonomy, cases=60)


@pytest.fixture(scope="module")
def written(tmp_path_factory, taxonomy, predictions):
    folder = tmp_path_factory.mktemp("report")
    others = {name: blur(predictions, share) for name, share in zip(MODELS[1:], (0.5, 0.8), strict=True)}
    return folder, write(folder, predictions, taxonomy, others=others, name=MODELS[0], replicates=100), others


def probabilities(taxonomy, frame):
    probs = frame[[f"p_{name}" for name in taxonomy.classes()]].to_numpy()
    return probs / probs.sum(axis=1, keepdims=True)


def truth(taxonomy, frame):
    return frame["label"].map({name: k for k, name in enumerate(taxonomy.classes())}).to_numpy()


def table(folder, name, kind="tables"):
    return pd.read_csv(folder / kind / f"{name}.csv")


def test_every_model_has_its_curve(written, taxonomy, predictions):
    folder, page, others = written
    data = table(folder, "models_roc", "figures")
    assert list(data["model"].unique()) == list(MODELS)
    labels = truth(taxonomy, predictions)
    areas = table(folder, "models").set_index("model")["auc"]
    for name, frame in zip(MODELS, (predictions, *others.values()), strict=True):
        curve, probs = data[data["model"] == name], probabilities(taxonomy, frame)
        heights = []
        for k in np.unique(labels):
            alarms, hits, _ = metrics.roc_curve(labels == k, probs[:, k], drop_intermediate=False)
            heights.append(np.interp(curve["one_minus_specificity"], alarms, hits))
        np.testing.assert_allclose(curve["sensitivity"], np.mean(heights, axis=0), atol=1e-9)
        assert np.trapezoid(curve["sensitivity"], curve["one_minus_specificity"]) == pytest.approx(
            areas[name], abs=0.01
        )
    document = (folder / "figures" / "models_roc.svg").read_text()
    assert all(f">{name} ({areas[name]:.3f})<" in document for name in MODELS[:2])
    assert len(re.findall(r"stroke-width: 2[;\"]", document.split('id="models_roc-legend_1"')[0])) == len(
        MODELS
    )
    assert "<b>of theirs</b>" not in page.source


def test_the_curves_of_a_target_are_its(tmp_path, taxonomy, predictions):
    rival = blur(predictions, 0.5)
    write(tmp_path, predictions, taxonomy, target=("eczema",), others={"rival": rival}, replicates=100)
    data = table(tmp_path, "models_roc", "figures")
    labels, place = truth(taxonomy, predictions), taxonomy.classes().index("eczema")
    for name, frame in zip(data["model"].unique(), (predictions, rival), strict=True):
        probs = probabilities(taxonomy, frame)[:, place]
        alarms, hits, _ = metrics.roc_curve(labels == place, probs, drop_intermediate=False)
        curve = data[data["model"] == name]
        np.testing.assert_allclose(curve["one_minus_specificity"], alarms, atol=1e-9)
        np.testing.assert_allclose(curve["sensitivity"], hits, atol=1e-9)
    scores = table(tmp_path, "isic_scores")
    assert list(scores["kind"]) == ["target", *["class"] * 19, "macro_average"]
    score_names = [name for name in scores if name not in ("kind", "title", "balanced_accuracy")]
    np.testing.assert_allclose(  # a target of one class
        scores.loc[0, score_names].to_numpy(float), scores.loc[1 + place, score_names].to_numpy(float)
    )


def test_every_other_model_has_its_confusion_matrix(written, taxonomy, predictions):
    folder, _, others = written
    data = table(folder, "models_confusion", "figures")
    labels, names = truth(taxonomy, predictions), list(taxonomy.classes())
    assert list(data["model"].unique()) == list(MODELS[1:])
    for number, name in enumerate(MODELS[1:], start=1):
        part = data[data["model"] == name].set_index("true").loc[names, names]
        answers = probabilities(taxonomy, others[name]).argmax(axis=1)
        expected = metrics.confusion_matrix(labels, answers, labels=np.arange(len(names)))
        np.testing.assert_array_equal(part, expected)
        assert (folder / "figures" / f"models_confusion_{number}.svg").stat().st_size
    assert not (folder / "figures" / "models_confusion_3.svg").exists()


def test_the_isic_scores_of_each_class_are_scikit_learns(written, taxonomy, predictions):
    folder, page, _ = written
    labels, probs = truth(taxonomy, predictions), probabilities(taxonomy, predictions)
    found = table(folder, "isic_scores")
    classes = found[found["kind"] == "class"]
    assert len(classes) == len(np.unique(labels))
    for row, k in zip(classes.itertuples(), np.unique(labels), strict=True):
        assert row.auc == pytest.approx(metrics.roc_auc_score(labels == k, probs[:, k]), abs=1e-9)
        assert row.ap == pytest.approx(metrics.average_precision_score(labels == k, probs[:, k]), abs=1e-9)
        assert row.sensitivity == pytest.approx((probs[labels == k, k] > 0.5).mean())
        corrected = metrics.roc_auc_score(labels != k, -probs[:, k], max_fpr=0.2)
        assert row.pauc_above_tpr == pytest.approx(0.02 + 0.18 * (corrected - 0.5) / 0.5, abs=1e-9)
    mean = found[found["kind"] == "macro_average"].iloc[0]
    assert mean["auc_sens_80"] == pytest.approx(classes["auc_sens_80"].mean())
    assert f"balanced_accuracy {mean['balanced_accuracy']:.3f}" in page.text


def test_each_dash_says_why_on_the_page_and_in_the_table(tmp_path, taxonomy, predictions):
    one_case = predictions.assign(case_id="only", fold=0, sex="female")
    others = {"rival": blur(one_case, 0.5)}
    page = write(tmp_path, one_case, taxonomy, others=others, subgroups=("sex",), replicates=100)
    shown = f"no interval: {bootstrap.ONE_CASE}"
    figures = ("macro_f1", "accuracy", "balanced_accuracy", "top_3")
    for name in ("methods", "models"):
        found = table(tmp_path, name)
        for figure in figures:
            assert found[f"{figure}_low"].isna().all()
            assert (found[f"{figure}_reason"] == bootstrap.ONE_CASE).all()
    pairs = table(tmp_path, "model_pairs")
    assert (pairs.loc[pairs["metric"] != "auc", "reason"] == bootstrap.ONE_CASE).all()
    assert list(table(tmp_path, "subgroups")["accuracy_reason"]) == [bootstrap.ONE_CASE]
    # Of the method, both models, their differences, the headline, the group and each class; areas rest on one case.
    precision = table(tmp_path, "average_precision")["average_precision_reason"]
    assert (precision == bootstrap.ONE_CASE).all()
    assert page.text.count(shown) == 4 + 2 * 4 + 4 + 1 + 1 + len(precision)
    assert page.text.count(f"no interval: {bootstrap.ONE_CASE_OF_A_CLASS}") == 2 + 1


@pytest.mark.slow
def test_a_predictive_value_without_an_interval_says_why(tmp_path, taxonomy, predictions):
    place = taxonomy.classes().index("eczema")
    labels = truth(taxonomy, predictions)
    case = predictions["case_id"].where(labels != place, "only")  # all photos of the target are of one case
    page = write(
        tmp_path,
        predictions.assign(case_id=case, fold=0),
        taxonomy,
        target=("eczema",),
        prevalence=0.1,
        replicates=100,
    )
    found = table(tmp_path, "operating_points")
    assert (found["positive_predictive_value_reason"] == bootstrap.ONE_CASE_OF_A_CLASS).all()
    assert page.text.count(f"no interval: {bootstrap.ONE_CASE_OF_A_CLASS}") >= 2 * len(found)
    assert f"It has no interval: {bootstrap.ONE_CASE_OF_A_CLASS}." in page.text  # average precision
    assert not list((tmp_path / "figures").glob("models_*"))  # of a single model


def test_where_there_is_an_interval_there_is_no_reason(written):
    found = table(written[0], "methods")
    assert found["accuracy_low"].notna().all()
    assert found["accuracy_reason"].isna().all()
    assert "no interval: " not in written[1].text.split("Classes")[0]
