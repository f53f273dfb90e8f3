"""The report's sections: every figure against an independent computation from the stored predictions."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from sklearn import metrics

from skinjax.data.predictions import Predictions, from_arrays
from skinjax.evaluate.readers import compare_with_readers
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.report import crossfit, study
from skinjax.report.figures import roc_plots
from skinjax.report.sections.models import other_studies
from tests.report.test_report import draw_predictions, write

READ = 60  # cases that readers read


@pytest.fixture(scope="module")
def taxonomy():
    return load_taxonomy("synthetic19")


@pytest.fixture(scope="module")
def predictions(taxonomy):
    frame = draw_predictions(taxonomy, "meta", cases=100)
    case = frame["case_id"].str[1:].astype(int)
    rng = np.random.default_rng(1)
    frame["skin_tone"] = np.where(case % 9 == 0, np.nan, 1 + case % 6)
    frame["sex"] = np.where(case % 2, "f", "m")
    frame["age"] = rng.integers(5, 95, len(frame))
    frame["source"] = np.where(case < 3, "Clinic of Dr X", "elsewhere")
    return frame


@pytest.fixture(scope="module")
def readers(taxonomy, predictions):
    positive = positives(taxonomy, predictions)
    rng = np.random.default_rng(2)
    rows = []
    for reader in range(4):
        right = rng.random(len(predictions)) < 0.8
        rows.append(
            pd.DataFrame(
                {
                    "reader": f"r{reader}",
                    "image": predictions["image"],
                    "call": np.where(right, positive, ~positive).astype(int),
                }
            )[predictions["case_id"].str[1:].astype(int) < READ]
        )
    rows[0] = rows[0].iloc[1:]  # a photo that one reader left out
    return pd.concat(rows).sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def written(tmp_path_factory, taxonomy, predictions, readers):
    folder = tmp_path_factory.mktemp("report")
    others = {
        "rival": blur(predictions, 0.5).sample(frac=1, random_state=1),
        "third": blur(predictions.drop(columns=[n for n in predictions if n.startswith("meta:")]), 0.8),
    }
    page = write(
        folder,
        predictions,
        taxonomy,
        "meta",
        config={
            "study": "hierarchy",
            "config": {
                "backbone": "efficientnet_b0",
                "image_size": 224,
                "manifest": "/home/someone/photos.csv",
            },
            "versions": {"jax": "0"},
        },
        target=("inflammatory",),
        readers=readers,
        degrees={name: k % 3 for k, name in enumerate(taxonomy.classes())},
        subgroups=("skin_tone", "sex", "age", "source"),
        others=others,
        name="ours",
        replicates=200,
        confidence=0.95,
    )
    return folder, page, others


def blur(frame, share):
    """Probabilities drawn towards other photos' ones."""
    columns = [name for name in frame if re.search(r"(^|:)p_", name)]
    mixed = frame[columns].to_numpy() * (1 - share) + share * frame[columns].to_numpy()[::-1]
    return frame.assign(**dict(zip(columns, mixed.T, strict=True)))


def fused(taxonomy, frame):
    """Soft fusion, renormalised, from its definition."""
    fine = frame[[f"p_{name}" for name in taxonomy.classes()]].to_numpy()
    coarse = frame[[f"meta:p_{name}" for name in taxonomy.classes("meta")]].to_numpy()
    probs = fine * coarse[:, taxonomy.parents("sub", "meta")]
    return probs / probs.sum(axis=1, keepdims=True)


def truth(taxonomy, frame):
    return np.array([taxonomy.classes().index(name) for name in frame["label"]])


def positives(taxonomy, frame):
    return taxonomy.parents("sub", "meta")[truth(taxonomy, frame)] == 0


def scores(taxonomy, frame):
    return fused(taxonomy, frame)[:, taxonomy.parents("sub", "meta") == 0].sum(axis=1)


def table(written, name, folder="tables"):
    return pd.read_csv(written[0] / folder / f"{name}.csv")


def test_areas_of_classes_at_both_levels_are_scikit_learns(written, taxonomy, predictions):
    labels, probs = truth(taxonomy, predictions), fused(taxonomy, predictions)
    expected = [metrics.roc_auc_score(labels == k, probs[:, k]) for k in range(19)]
    np.testing.assert_allclose(table(written, "classes")["auc"], expected, atol=1e-9)
    coarse = predictions[[f"meta:p_{name}" for name in taxonomy.classes("meta")]].to_numpy()
    parents = taxonomy.parents("sub", "meta")[labels]
    expected = [metrics.roc_auc_score(parents == k, coarse[:, k]) for k in range(6)]
    np.testing.assert_allclose(table(written, "classes_coarse")["auc"], expected, atol=1e-9)
    recall = metrics.recall_score(parents, coarse.argmax(axis=1), average=None)
    found = table(written, "classes_coarse")
    np.testing.assert_allclose(found["recall"], recall, atol=1e-9)
    assert (found["recall_low"] < found["recall"]).all()
    assert f"Macro AUC {np.mean(expected):.3f}" in written[1].text


def test_the_curve_and_its_area_are_scikit_learns(written, taxonomy, predictions):
    positive, score = positives(taxonomy, predictions), scores(taxonomy, predictions)
    area = metrics.roc_auc_score(positive, score)
    assert f"an area under the ROC curve of {area:.3f}" in written[1].text
    data = table(written, "roc", "figures")
    curve = data[data["part"] == "curve"]
    false, true, _ = metrics.roc_curve(positive, score, drop_intermediate=False)
    np.testing.assert_allclose(curve["one_minus_specificity"], false, atol=1e-9)
    np.testing.assert_allclose(curve["sensitivity"], true, atol=1e-9)
    band = data[data["part"] == "band"]
    assert ((band["low"] <= band["sensitivity"] + 1e-9) & (band["sensitivity"] <= band["high"] + 1e-9)).all()


def test_thresholds_are_fitted_on_the_other_folds(written, taxonomy, predictions):
    positive, score = positives(taxonomy, predictions), scores(taxonomy, predictions)
    called, values = np.zeros(len(score), bool), []
    for fold in range(4):
        rest = (predictions["fold"] != fold).to_numpy()
        false, true, thresholds = metrics.roc_curve(positive[rest], score[rest], drop_intermediate=False)
        best = np.flatnonzero(true - false >= (true - false).max() - 1e-12)[-1]
        values.append(thresholds[best])
        called[~rest] = score[~rest] >= thresholds[best]
    row = table(written, "operating_points").iloc[0]
    assert row["threshold_low"] == pytest.approx(min(values), abs=1e-9)
    assert row["threshold_high"] == pytest.approx(max(values), abs=1e-9)
    assert row["sensitivity"] == pytest.approx(metrics.recall_score(positive, called), abs=1e-9)
    assert row["specificity"] == pytest.approx(metrics.recall_score(~positive, ~called), abs=1e-9)
    assert row["positive_predictive_value"] == pytest.approx(
        metrics.precision_score(positive, called), abs=1e-9
    )
    assert row["sensitivity_low"] < row["sensitivity"] < row["sensitivity_high"]


def test_average_precision_is_scikit_learns(written, taxonomy, predictions):
    positive, score = positives(taxonomy, predictions), scores(taxonomy, predictions)
    row = table(written, "average_precision").iloc[0]
    assert row["average_precision"] == pytest.approx(
        metrics.average_precision_score(positive, score), abs=1e-9
    )
    assert row["average_precision_low"] < row["average_precision"] < row["average_precision_high"]


def test_calibration_before_and_after(written, taxonomy, predictions):
    labels, probs = truth(taxonomy, predictions), fused(taxonomy, predictions)
    after, logs = np.empty_like(probs), np.log(probs)

    def softmax(logits):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    for fold in range(4):
        rest = (predictions["fold"] != fold).to_numpy()

        def loss(inverse, rest=rest):
            return metrics.log_loss(labels[rest], softmax(inverse * logs[rest]), labels=range(19))

        inverse = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-10}).x
        after[~rest] = softmax(inverse * logs[~rest])
    found = table(written, "calibration").set_index("stage")
    positive = positives(taxonomy, predictions)
    member = taxonomy.parents("sub", "meta") == 0
    for stage, values, tolerance in (("before", probs, 1e-9), ("after", after, 1e-6)):
        event = values[:, member].sum(axis=1)
        squares = ((values - np.eye(19)[labels]) ** 2).sum(axis=1).mean()
        expected = {
            "brier": squares,
            "log_loss": metrics.log_loss(labels, values, labels=range(19)),
            "score": metrics.brier_score_loss(positive, event),
            "ece": gap_in_bins(positive, event, 15),
        }
        for name, value in expected.items():
            assert found.loc[stage, name] == pytest.approx(value, abs=tolerance), (stage, name)
        assert found.loc[stage, "score_low"] < found.loc[stage, "score"] < found.loc[stage, "score_high"]
    assert found["uncertainty"].iloc[0] == pytest.approx(positive.mean() * (1 - positive.mean()), abs=1e-9)
    curve = table(written, "reliability", "figures")
    before = curve[curve["stage"] == "before"]
    order = np.argsort(probs[:, member].sum(axis=1))
    bins = np.array_split(order, 10)  # the sample has no ties, so equal mass is this but for a photo a bin
    assert before["num_photos"].sum() == len(labels)
    np.testing.assert_allclose(before["num_photos"], [len(part) for part in bins], atol=1)
    share = before["num_photos"] / len(labels)
    reliability = (share * (before["predicted"] - before["observed"]) ** 2).sum()
    resolution = (share * (before["observed"] - positive.mean()) ** 2).sum()
    assert found.loc["before", "reliability"] == pytest.approx(reliability, abs=1e-9)
    assert found.loc["before", "resolution"] == pytest.approx(resolution, abs=1e-9)


def gap_in_bins(labels, probs, bins):
    """The calibration error from its definition, for probabilities without ties."""
    rank = np.argsort(np.argsort(probs))
    place = ((rank + 0.5) / len(probs) * bins).astype(int)
    return sum(
        abs(probs[place == b].mean() - labels[place == b].mean()) * (place == b).mean()
        for b in np.unique(place)
    )


def test_net_benefit_from_its_definition(written, taxonomy, predictions):
    curve = table(written, "decision_curve", "figures")
    positive = positives(taxonomy, predictions)
    np.testing.assert_allclose(
        curve["treat_all"],
        positive.mean() - (1 - positive.mean()) * curve["threshold"] / (1 - curve["threshold"]),
        atol=1e-9,
    )
    gain = curve["model"] - np.maximum(curve["treat_all"], 0)
    np.testing.assert_allclose(curve["gain"], gain, atol=1e-9)
    assert len(curve) == 99


def test_subgroups_are_counted_and_small_ones_marked(written, taxonomy, predictions):
    hits = fused(taxonomy, predictions).argmax(axis=1) == truth(taxonomy, predictions)
    found = table(written, "subgroups").set_index(["column", "group"])
    for tone in range(1, 7):
        inside = predictions["skin_tone"] == tone
        row = found.loc[("skin_tone", str(tone))]
        assert row["accuracy"] == pytest.approx(hits[inside].mean(), abs=1e-9)
        assert row["photos"] == inside.sum()
        assert row["cases"] == predictions.loc[inside, "case_id"].nunique()
        assert row["accuracy_small"] == (row["cases"] < 20)
        of_target = positives(taxonomy, predictions)[inside]
        rarer = min(predictions.loc[inside, "case_id"][of_target == side].nunique() for side in (0, 1))
        assert row["auc_small"] == (row["cases"] < 20 or rarer < 5)
    inside = (predictions["sex"] == "f").to_numpy()
    area = metrics.roc_auc_score(
        positives(taxonomy, predictions)[inside], scores(taxonomy, predictions)[inside]
    )
    assert found.loc[("sex", "f"), "auc"] == pytest.approx(area, abs=1e-9)
    assert found.loc["age"].index.tolist() == ["under 18", "18 to 40", "40 to 60", "60 to 80", "80 and over"]
    gaps = table(written, "subgroup_gaps").set_index(["metric", "column"])
    pair = [hits[inside].mean(), hits[~inside].mean()]
    assert gaps.loc[("accuracy", "sex"), "difference"] == pytest.approx(max(pair) - min(pair), abs=1e-9)
    assert gaps.loc[("accuracy", "source")].isna().sum() == 8  # one of the two groups is small
    assert "too few groups" in written[1].text
    assert f"skin_tone {predictions['skin_tone'].isna().sum()}" in written[1].text


def test_conformal_sets_from_the_definition(written, taxonomy, predictions):
    labels, probs = truth(taxonomy, predictions), fused(taxonomy, predictions)
    cases = predictions["case_id"].to_numpy()
    weights = 1 / predictions.groupby("case_id")["image"].transform("size").to_numpy()
    parents = taxonomy.parents("sub", "meta")
    for row in table(written, "conformal").itertuples():
        sets = np.zeros(probs.shape, bool)
        for fold in range(4):
            rest = (predictions["fold"] != fold).to_numpy()
            own = -probs[rest, labels[rest]]
            wanted = row.nominal_coverage * (len(set(cases[rest])) + 1)
            reached = [s for s in np.sort(own) if weights[rest][own <= s].sum() >= wanted - 1e-6]
            sets[~rest] = -probs[~rest] <= (reached[0] if reached else np.inf)
        sets[np.arange(len(sets)), probs.argmax(axis=1)] = True
        covered = sets[np.arange(len(sets)), labels]
        assert row.coverage == pytest.approx(covered.mean(), abs=1e-9)
        assert row.coverage_of_cases == pytest.approx(
            pd.Series(covered).groupby(cases).mean().mean(), abs=1e-9
        )
        assert row.mean_size == pytest.approx(sets.sum(axis=1).mean(), abs=1e-9)
        assert row.backed_off == pytest.approx((sets.sum(axis=1) > 3).mean(), abs=1e-9)
        touched = [len(set(parents[one])) for one in sets]
        assert row.meta_mean_size == pytest.approx(np.mean(touched), abs=1e-9)


def test_degrees_and_their_kappa(written, taxonomy, predictions):
    labels, probs = truth(taxonomy, predictions), fused(taxonomy, predictions)
    degree = np.arange(19) % 3
    by_degree = np.stack([probs[:, degree == d].sum(axis=1) for d in range(3)], axis=1)
    answers = by_degree.argmax(axis=1)
    found = table(written, "malignancy").set_index("rule")
    kappa = metrics.cohen_kappa_score(degree[labels], answers, weights="quadratic")
    assert found.loc["argmax", "kappa"] == pytest.approx(kappa, abs=1e-9)
    assert found.loc["argmax", "too_low"] == pytest.approx((answers < degree[labels]).mean(), abs=1e-9)
    assert found.loc["least_cost", "too_low"] < found.loc["argmax", "too_low"]
    drawn = table(written, "malignancy_scores", "figures")
    score = 50 * by_degree[:, 1] + 100 * by_degree[:, 2]
    for d in range(3):
        expected = np.quantile(score[degree[labels] == d], (0.05, 0.25, 0.5, 0.75, 0.95))
        np.testing.assert_allclose(drawn.iloc[d, 2:].astype(float), expected, atol=1e-9)
    counts = table(written, "degrees", "figures")
    matrix = counts[counts["rule"] == "argmax"][["given_0", "given_1", "given_2"]].to_numpy()
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(degree[labels], answers))


def test_readers_points_and_the_photos_that_all_read(written, taxonomy, predictions, readers):
    calls = readers.pivot(index="image", columns="reader", values="call").dropna()
    frame = predictions.set_index("image").loc[calls.index].reset_index()
    positive = positives(taxonomy, frame)
    found = table(written, "readers").set_index("reader")
    for reader in calls:
        expected = (
            metrics.recall_score(positive, calls[reader]),
            metrics.recall_score(~positive, 1 - calls[reader]),
        )
        np.testing.assert_allclose(found.loc[reader, ["sensitivity", "specificity"]].astype(float), expected)
    assert found.loc["(mean)", "sensitivity"] == pytest.approx(
        found["sensitivity"].iloc[:-1].mean(), abs=1e-9
    )
    area = metrics.roc_auc_score(positive, scores(taxonomy, frame))
    assert f"on the {len(calls)} photos that all readers read (area {area:.3f}" in written[1].text
    assert "1 photos that only some readers read were left out" in written[1].text
    compared = compare_with_readers(
        positive, scores(taxonomy, frame), calls.T.to_numpy(), frame["case_id"]
    ).sensitivity
    told_apart = compared.low > 0 or compared.high < 0
    assert (
        f"cannot be distinguished from that of {len(calls.columns)} readers" in written[1].text
    ) != told_apart
    assert f"that of {len(calls.columns)} readers, on {len(calls)} photos" in written[1].text


def test_models_are_compared_in_pairs_on_the_same_photos(written, taxonomy, predictions):
    labels, positive = truth(taxonomy, predictions), positives(taxonomy, predictions)
    ours, others = fused(taxonomy, predictions), written[2]
    aligned = {
        name: frame.set_index("image").loc[predictions["image"]].reset_index()
        for name, frame in others.items()
    }
    rival = fused(taxonomy, aligned["rival"])
    third = aligned["third"][[f"p_{name}" for name in taxonomy.classes()]].to_numpy()
    member = taxonomy.parents("sub", "meta") == 0
    probs = {"ours": ours, "rival": rival, "third": third}
    found = table(written, "models").set_index("model")
    assert list(found.index) == list(probs)
    for name, values in probs.items():
        assert found.loc[name, "accuracy"] == pytest.approx(
            (values.argmax(axis=1) == labels).mean(), abs=1e-9
        )
        area = metrics.roc_auc_score(positive, values[:, member].sum(axis=1))
        assert found.loc[name, "auc"] == pytest.approx(area, abs=1e-9)
    fixed = table(written, "fixed_specificity").set_index("specificity").loc[0.9]
    for column in ("sensitivity", "sensitivity_low", "sensitivity_high"):
        assert found.loc["ours", column] == pytest.approx(fixed[column], abs=1e-9)
    pairs = table(written, "model_pairs")
    assert len(pairs) == 3 * 6  # four figures of the diagnosis, area and sensitivity of the target
    for row in pairs.itertuples():
        gap = found.loc[row.first, row.metric] - found.loc[row.second, row.metric]
        assert row.difference == pytest.approx(gap, abs=1e-9)
    part = pairs[pairs["metric"] == "auc"]
    ordered = part["p_value"].sort_values()
    expected = np.minimum(1, np.maximum.accumulate(ordered.to_numpy() * [3, 2, 1]))  # Holm's
    np.testing.assert_allclose(part.loc[ordered.index, "corrected_p_value"], expected)
    assert (pairs["corrected_p_value"] >= pairs["p_value"]).all()


def test_checklists_point_to_sections_that_are_there(written):
    _, page, _ = written
    for name in ("tripod_ai", "claim_2024"):
        answered = set(table(written, f"checklist_{name}")["answered"].dropna())
        assert {"roc", "subgroups", "calibration"} & answered
        assert answered <= set(page.ids)
    links = {a["href"] for tag, a in page.elements if tag == "a"}
    assert {link.lstrip("#") for link in links} <= set(page.ids)
    assert "[to be filled in by the authors]" in page.text


def test_the_model_card_tells_the_figures_and_no_path_or_clinic(written):
    folder, _, _ = written
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    methods = table(written, "methods").set_index("method")
    told = [float(value) for value in re.findall(r"value: ([0-9.e-]+)$", card, flags=re.M)]
    for name in ("accuracy", "macro_f1"):
        assert min(abs(value - methods.loc["soft", name]) for value in told) < 1e-9
    assert "efficientnet" in card
    assert "224" in card
    assert "someone" not in card
    assert "Dr X" not in card
    assert "Dr X" in (folder / "index.html").read_text(encoding="utf-8")


def test_every_figure_has_data_and_every_table_a_file(written):
    folder, page, _ = written
    drawn = sum(tag == "svg" for tag, _ in page.elements)
    assert drawn == len(list((folder / "figures").glob("*.svg")))
    for path in [*(folder / "figures").glob("*.csv"), *(folder / "tables").glob("*.csv")]:
        assert len(pd.read_csv(path).columns), path
    assert len(page.source) < 1_500_000


@pytest.mark.slow
def test_without_a_target_classes_are_told_apart(tmp_path, taxonomy, predictions):
    page = write(
        tmp_path, predictions, taxonomy, "meta", readers=pd.DataFrame(columns=["reader", "image", "call"])
    )
    labels, probs = truth(taxonomy, predictions), fused(taxonomy, predictions)
    found = pd.read_csv(tmp_path / "tables" / "average_precision.csv")
    expected = [metrics.average_precision_score(labels == k, probs[:, k]) for k in range(19)]
    np.testing.assert_allclose(found["average_precision"], expected, atol=1e-9)
    calibration = pd.read_csv(tmp_path / "tables" / "calibration.csv")
    hits = probs.argmax(axis=1) == labels
    assert calibration["score"].iloc[0] == pytest.approx(((probs.max(axis=1) - hits) ** 2).mean(), abs=1e-9)
    assert "a target has to be named" in page.text
    assert "decision_curve" not in page.ids


def test_what_is_fitted_for_a_part_never_saw_it():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    probs = rng.dirichlet(np.ones(3), 90) + 2 * np.eye(3)[labels] * rng.random((90, 1))
    probs /= probs.sum(axis=1, keepdims=True)
    parts, cases = np.arange(90) % 3, np.arange(90)
    changed = np.where(parts == 1, (labels + 1) % 3, labels)
    before, after = (
        crossfit.tempered(probs, given, cases, parts, 0).temperatures for given in (labels, changed)
    )
    assert before[1] == after[1]
    assert before[0] != after[0]
    before, after = (
        crossfit.thresholds(given == 0, probs[:, 0], parts).values for given in (labels, changed)
    )
    assert before[1] == after[1]
    before, after = (
        crossfit.conformal(probs, given, cases, parts, 0.8, 3, None).thresholds for given in (labels, changed)
    )
    assert before[1] == after[1]
    assert before[0] != after[0]


def test_parts_keep_cases_whole_where_folds_do_not(taxonomy, predictions):
    by_fold = study.Study.from_predictions(Predictions.from_frame(predictions, taxonomy), replicates=100)
    assert by_fold.by_fold
    assert (by_fold.calibration_parts == predictions["fold"]).all()
    frame = predictions.assign(fold=np.arange(len(predictions)) % 3)
    broken = study.Study.from_predictions(Predictions.from_frame(frame, taxonomy), replicates=100)
    assert not broken.by_fold
    assert broken.calibration_parts.max() == 4
    assert (pd.Series(broken.calibration_parts).groupby(broken.cases).nunique() == 1).all()


def test_many_photos_get_fewer_replicates_and_are_told(tmp_path, taxonomy, predictions, monkeypatch):
    monkeypatch.setattr(study, "PHOTO_DRAWS", 1000)
    page = write(tmp_path, predictions, taxonomy, replicates=5000)
    assert "come from 200 bootstrap replicates" in page.text
    assert "(5,000 were asked for" in page.text


@pytest.mark.parametrize("count", [2, 3, 10, 499, 500, 501, 20_000])
def test_thinned_curves_keep_their_ends_and_their_way(count):
    rng = np.random.default_rng(count)
    x, y = np.sort(rng.random(count)), np.sort(rng.random(count))
    kept = roc_plots.thin(x, y)
    assert kept[0] == 0
    assert kept[-1] == count - 1
    assert len(kept) <= 500
    assert (np.diff(kept) > 0).all()
    if count <= 500:
        assert len(kept) == count
    drawn = np.interp(x, x[kept], y[kept])
    assert np.abs(drawn - y).max() < 0.01


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"target": ("psoriasi",)}, "did you mean 'psoriasis'"),
        ({"target": ("inflammatory", "eczema")}, "target must name classes of one level"),
        ({"target": "eczema"}, "target must be a sequence"),
        ({"subgroups": ("tone",)}, "which lack tone"),
        ({"subgroups": "sex"}, "subgroups must be a sequence"),
        ({"degrees": {"eczema": 0}}, "got none for 'psoriasis'"),
        ({"readers": pd.DataFrame({"reader": ["r"], "image": ["x.jpg"]})}, "the columns call"),
        ({"readers": pd.DataFrame({"reader": ["r"], "image": ["x.jpg"], "call": [2]})}, "calls of 0 or 1"),
        ({"readers": pd.DataFrame({"reader": ["r"], "image": ["x.jpg"], "call": [1]})}, "the first 'x.jpg'"),
        (
            {"readers": pd.DataFrame({"reader": ["r"] * 2, "image": ["c0/0.jpg"] * 2, "call": [1, 0]})},
            "'c0/0.jpg' twice from 'r'",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, taxonomy, predictions, changes, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        write(tmp_path / "report", predictions, taxonomy, **changes)
    assert not (tmp_path / "report").exists()


def test_other_models_must_answer_the_same_photos(tmp_path, taxonomy, predictions):
    for other, told in (
        (predictions.iloc[1:], "with 1 missing and 0 more"),
        (predictions.assign(label=predictions["label"].to_numpy()[::-1]), "must have the labels"),
        (predictions.drop(columns="p_eczema"), "no column 'p_eczema'"),
    ):
        with pytest.raises(ValueError, match=told):
            write(tmp_path, predictions, taxonomy, others={"other": other})
    with pytest.raises(ValueError, match="names of their own"):
        write(tmp_path, predictions, taxonomy, others={"model": predictions})


def test_other_models_must_have_the_same_classes(taxonomy, predictions):
    own = study.Study.from_predictions(Predictions.from_frame(predictions, taxonomy), replicates=200)
    pair = Taxonomy("pair", ("class",), (("a",), ("b",)))
    frame = from_arrays(["1.jpg"], ["1"], ["a"], 0, [[0.5, 0.5]], pair)
    message = "must have the taxonomy of the predictions, 'synthetic19', got 'x' with 'pair'"
    with pytest.raises(ValueError, match=message):
        other_studies(own, {"x": Predictions.from_frame(frame, pair)})
