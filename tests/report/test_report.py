"""The report's page: every figure against scikit-learn, and every odd input it must survive."""

import dataclasses
import html.parser
import json
import os
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics

from skinjax.data.predictions import Predictions
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.report.figures import canvas, performance_plots
from skinjax.report.figures.contact_sheet import MOST_EXPLAINED, contact_sheet
from skinjax.report.page import ReportContext, write_report
from skinjax.report.page_summary import read_summary
from skinjax.report.study import Study
from skinjax.report.tables import methods as tables

SECTIONS = ("methods", "data", "curves", "confusion", "classes", "photos", "configuration")
MEDICAL = "it is not a medical device"
STUDY_ARGUMENTS = ("name", "target", "replicates", "confidence", "seed", "noun")


def draw_predictions(taxonomy, coarse_level=None, cases=40, folds=4, seed=0, classes=None):
    """Predictions that are right about half of the time, their cases spread evenly over the classes."""
    rng = np.random.default_rng(seed)
    names = taxonomy.classes()
    parents = taxonomy.parents(taxonomy.finest, taxonomy.coarsest)
    rows = []
    for case in range(cases):
        label = case % (classes or len(names))
        for photo in range(int(rng.integers(1, 4))):
            logits = rng.normal(size=len(names))
            logits[label] += 2
            row = {"image": f"c{case}/{photo}.jpg", "case_id": f"c{case}", "label": names[label]}
            row["fold"] = case % folds
            row |= {f"p_{name}": p for name, p in zip(names, _softmax(logits), strict=True)}
            if coarse_level:
                logits = rng.normal(size=parents.max() + 1)
                logits[parents[label]] += 2
                coarse = zip(taxonomy.classes(coarse_level), _softmax(logits), strict=True)
                row |= {f"{coarse_level}:p_{name}": p for name, p in coarse}
            rows.append(row)
    return pd.DataFrame(rows)


def _softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


def draw_curves(stages=("sub", "meta"), folds=2, epochs=3):
    rows = [
        {
            "stage": stage,
            "fold": fold,
            "epoch": epoch,
            "split": split,
            "loss": 2 / epoch,
            "accuracy": epoch / 9,
        }
        for stage in stages
        for fold in range(folds)
        for epoch in range(1, epochs + 1)
        for split in ("train", "test")
    ]
    return pd.DataFrame(rows)


class Page(html.parser.HTMLParser):
    """What a browser would see: elements, attributes and text; unbalanced elements fail."""

    VOID = ("meta", "br", "img", "link", "hr", "input")

    def __init__(self, path):
        super().__init__()
        self.open, self.elements, self.words, self.ids = [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


def write(folder, predictions, taxonomy, coarse_level=None, **changes):
    arguments = {"title": "A report", "replicates": 60, "confidence": 0.9} | changes
    of_study = {k: arguments.pop(k) for k in STUDY_ARGUMENTS if k in arguments}
    others = {
        name: Predictions.from_frame(frame, taxonomy) for name, frame in arguments.pop("others", {}).items()
    }
    study = Study.from_predictions(
        Predictions.from_frame(predictions, taxonomy), coarse_level=coarse_level, **of_study
    )
    path = write_report(folder, study, ReportContext(others=others, **arguments))
    page = Page(path)
    there = set(SECTIONS) - ({"curves"} if arguments.get("curves") is None else set())
    for section in there - ({"configuration"} if not arguments.get("config") else set()):
        assert section in page.ids
    assert page.text.count(MEDICAL) == 1
    for tag, attributes in page.elements:  # it opens offline: nothing is fetched, nothing runs
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
        assert not any(name.startswith("on") for name in attributes)
        assert tag != "img" or attributes["alt"]
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
    assert len(page.ids) == len(set(page.ids))
    return page


@pytest.fixture(scope="module")
def taxonomy():
    return load_taxonomy("synthetic19")


@pytest.fixture(scope="module")
def predictions(taxonomy):
    return draw_predictions(taxonomy, "meta", cases=76)


@pytest.fixture(scope="module")
def written(tmp_path_factory, taxonomy, predictions):
    folder = tmp_path_factory.mktemp("run") / "report"
    root = tmp_path_factory.mktemp("photos")
    for image in predictions["image"]:
        (root / image).parent.mkdir(exist_ok=True)
        Image.new("RGB", (160, 120), (210, 150, 120)).save(root / image)
    (root / predictions["image"][0]).write_bytes(b"no photo")
    page = write(
        folder,
        predictions,
        taxonomy,
        "meta",
        curves=draw_curves(),
        config={"synthetic": True, "seed": 3, "config": {"epochs": 5}, "data": {"fingerprint": "9f2c"}},
        photo_root=root,
        notes=["A sentence of the run."],
        training=pd.DataFrame({"stage": ["sub"], "epochs": [5], "seconds": [1.25]}),
        audit=pd.DataFrame({"finding": ["near duplicate"], "photos": [4]}),
        replicates=200,
    )
    return folder, page


def test_the_figures_equal_scikit_learn_on_the_stored_predictions(written, taxonomy, predictions):
    folder, page = written
    names = list(taxonomy.classes())
    fine = predictions[[f"p_{name}" for name in names]].to_numpy()
    coarse = predictions[[f"meta:p_{name}" for name in taxonomy.classes("meta")]].to_numpy()
    parents = taxonomy.parents("sub", "meta")
    labels = np.array([names.index(label) for label in predictions["label"]])
    gate = coarse[:, parents]
    mass = np.stack([fine[:, parents == parent].sum(axis=1) for parent in parents], axis=1)
    answers = {
        "flat": fine,
        "soft": gate * fine,
        "hard": fine * (parents == coarse.argmax(axis=1)[:, None]),
        "conditional": gate * fine / mass,
    }
    methods = pd.read_csv(folder / "tables" / "methods.csv", index_col="method")
    assert list(methods.index) == list(answers)
    for method, scores in answers.items():
        f1 = metrics.f1_score(labels, scores.argmax(axis=1), average="macro", zero_division=0)
        right = metrics.accuracy_score(labels, scores.argmax(axis=1))
        assert methods.loc[method, "macro_f1"] == pytest.approx(f1)
        assert methods.loc[method, "accuracy"] == pytest.approx(right)
        assert f"{100 * f1:.1f}%" in page.text
        assert f"{100 * right:.1f}%" in page.text
    assert methods.loc["soft", "accuracy_difference"] == pytest.approx(
        methods.loc["soft", "accuracy"] - methods.loc["flat", "accuracy"]
    )

    at_meta = pd.read_csv(folder / "tables" / "methods_coarse.csv", index_col="method")
    summed = np.stack([fine[:, parents == m].sum(axis=1) for m in range(6)], axis=1)
    for method, scores in {"marginalized": summed, "network": coarse}.items():
        right = metrics.accuracy_score(parents[labels], scores.argmax(axis=1))
        assert at_meta.loc[method, "accuracy"] == pytest.approx(right)

    soft = answers["soft"].argmax(axis=1)
    classes = pd.read_csv(folder / "tables" / "classes.csv")
    expected = metrics.precision_recall_fscore_support(labels, soft, labels=range(19), zero_division=0)
    for column, values in zip(("precision", "recall", "f1", "photos"), expected, strict=True):
        np.testing.assert_allclose(classes[column].fillna(0), values)
    assert classes["cases"].tolist() == [predictions[labels == k]["case_id"].nunique() for k in range(19)]

    order = np.argsort(parents, kind="stable")
    matrix = pd.read_csv(folder / "figures" / "confusion_fine.csv", index_col="true")
    assert list(matrix.columns) == list(matrix.index) == [names[k] for k in order]
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(labels, soft, labels=order))

    worst = pd.read_csv(folder / "tables" / "confusions.csv").iloc[0]
    wrong = metrics.confusion_matrix(labels, soft) * (1 - np.eye(19, dtype=int))
    assert worst["photos"] == wrong.max()


def test_it_says_what_was_trained_on_what(written, predictions):
    folder, page = written
    folds = pd.read_csv(folder / "tables" / "folds.csv", index_col="fold")
    assert folds["photos"].sum() == len(predictions)
    assert folds["cases"].tolist() == [19] * 4
    assert folds["other_cases"].tolist() == [57] * 4
    by_class = pd.read_csv(folder / "tables" / "folds_by_class.csv")
    assert by_class["photos"].sum() == len(predictions)
    assert by_class["cases_2"].sum() == 19
    for words in ("near duplicate", "A sentence of the run.", "config.epochs", "9f2c", "1.25"):
        assert words in page.text
    assert "nothing here is medical evidence" in page.text
    assert re.search(r"Soft fusion .* predicts the right one of 19 classes for \d+\.\d% of", page.text)


def test_photos_are_inside_the_page_and_a_bad_one_has_a_placeholder(written):
    _, page = written
    pictures = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    assert 20 < len(pictures) <= 42
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in pictures)
    assert len(page.source) < 1_000_000


@pytest.mark.slow
def test_figures_stand_beside_the_page_with_their_data_and_are_deterministic(
    written, tmp_path, taxonomy, predictions
):
    folder, _ = written
    found = {path.name for path in (folder / "figures").iterdir()}
    assert {
        "confusion_fine.svg",
        "confusion_coarse.csv",
        "methods_accuracy.svg",
        "learning_curves.csv",
    } <= found
    assert not list(folder.glob("*.tmp*"))
    assert [path.name for path in folder.glob("*.html")] == ["index.html"]
    write(tmp_path, predictions, taxonomy, "meta", curves=draw_curves(), replicates=200)
    for path in (folder / "figures").glob("*.svg"):
        assert (tmp_path / "figures" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.slow
def test_hostile_and_foreign_names_are_text(tmp_path):
    pairs = [
        ("<b>bold</b>", "<script>alert(1)</script>"),
        ("<b>bold</b>", "银屑病与湿疹"),
        ("$x_1$", "100% $\\alpha$ & \"quotes' {{ 7*7 }}"),
        ("$x_1$", "عدوى"),
    ]
    taxonomy = Taxonomy.from_pairs(pairs, name="hostile")
    predictions = draw_predictions(taxonomy, "meta", cases=24)
    predictions["image"] = [f'"><img src=x onerror=alert({i})>.jpg' for i in range(len(predictions))]
    page = write(
        tmp_path,
        predictions,
        taxonomy,
        "meta",
        title="<script>title</script>",
        config={"</style><script>": "<img src=x>"},
        notes=["<script>note</script>"],
        curves=draw_curves(stages=("sub", "</svg><script>")),
        photo_root=tmp_path,
    )
    for words in (
        "<script>alert(1)</script>",
        "银屑病与湿疹",
        "<script>title</script>",
        "{{ 7*7 }}",
        "<b>bold</b>",
    ):
        assert words in page.text
    assert {path.name for path in tmp_path.iterdir()} == {
        "index.html",
        "model_card.md",
        "summary.json",
        "figures",
        "tables",
    }


def test_photos_outside_the_folder_are_not_opened(tmp_path, taxonomy, predictions):
    Image.new("RGB", (64, 64)).save(tmp_path / "secret.png")
    root = tmp_path / "photos"
    root.mkdir()
    parsed = Predictions.from_frame(predictions, taxonomy)
    answers = tables.fine_answers(parsed, None)
    for path in ("../secret.png", str(tmp_path / "secret.png")):
        outside = dataclasses.replace(parsed, image=np.full(len(parsed), path, object))
        strips = contact_sheet(outside, answers, "flat", root, count=3, seed=0)
        tiles = [tile for strip in strips for tile in strip.tiles]
        assert {(tile.picture, tile.problem) for tile in tiles} == {("", "the path leaves the photo folder")}


def test_the_most_confident_wrong_answers_are_explained_and_no_other(tmp_path, taxonomy, predictions):
    parsed = Predictions.from_frame(predictions, taxonomy)
    answers = tables.fine_answers(parsed, None)
    asked = []

    def explain(photos, classes):
        asked.append((photos, classes))
        return [None, *(Image.new("RGB", (8, 8)) for _ in photos[1:])]

    *others, worst = contact_sheet(parsed, answers, "flat", tmp_path, count=14, seed=0, explain=explain)
    ((photos, classes),) = asked
    assert len(photos) == MOST_EXPLAINED
    assert (classes == answers.predicted("flat")[photos]).all()
    assert [tile.image for tile in worst.tiles[:MOST_EXPLAINED]] == list(parsed.image[photos])
    looked = [tile.looked.startswith("data:image/jpeg;base64,") for tile in worst.tiles]
    assert looked == [False] + [True] * (MOST_EXPLAINED - 1) + [False] * (14 - MOST_EXPLAINED)
    assert not any(tile.looked for strip in others for tile in strip.tiles)
    outside = dataclasses.replace(parsed, image=np.full(len(parsed), "../secret.png", object))
    contact_sheet(outside, answers, "flat", tmp_path, count=3, seed=0, explain=explain)
    assert len(asked) == 1


def test_strips_hold_one_photo_a_case_and_what_their_headings_say(taxonomy, predictions):
    parsed = Predictions.from_frame(predictions, taxonomy)
    answers = tables.fine_answers(parsed, None)
    strips = contact_sheet(parsed, answers, "flat", None, count=10, seed=0)
    case_of = dict(zip(predictions["image"], predictions["case_id"], strict=True))
    right, wrong, worst = (strip.tiles for strip in strips)
    for tiles in (right, wrong, worst):
        assert len({case_of[tile.image] for tile in tiles}) == len(tiles) == 10
    assert all(tile.label == tile.predicted for tile in right)
    assert len({tile.label for tile in right}) == 10
    assert all(tile.label != tile.predicted for tile in (*wrong, *worst))
    assert not {tile.image for tile in wrong} & {tile.image for tile in worst}
    hits = answers.predicted("flat") == answers.labels
    assert worst[0].probability == pytest.approx(answers.scores["flat"][~hits].max())


@pytest.mark.slow
def test_114_classes_and_classes_without_photos(tmp_path):
    taxonomy = load_taxonomy("fitzpatrick17k")
    coarse_level = taxonomy.levels[-2]
    predictions = draw_predictions(taxonomy, cases=60, classes=50)
    page = write(tmp_path, predictions, taxonomy, coarse_level)
    assert "50 with photos" in page.text
    assert "Levels are not fused: the predictions hold no columns" in page.text
    classes = pd.read_csv(tmp_path / "tables" / "classes.csv")
    assert classes["recall"].isna().sum() == 64
    assert len(page.source) < 1_500_000


@pytest.mark.slow
def test_a_single_level_one_case_and_one_fold(tmp_path):
    taxonomy = Taxonomy("flat", ("disease",), (("a",), ("b",)))
    predictions = draw_predictions(taxonomy, cases=1, folds=1)
    page = write(tmp_path, predictions, taxonomy, "disease", config={})
    assert "no interval can be given" in page.text
    # Nothing is said of what there is not: no comparison, no fusion, no curves, no configuration, no folds.
    for words in ("Methods compared", "fused", "Learning curves", "Configuration", "Difference", "1 fold"):
        assert words not in page.text
    assert "nan" not in page.text.lower().split()


@pytest.mark.slow
def test_always_the_same_answer(tmp_path, taxonomy, predictions):
    constant = predictions.copy()
    columns = [name for name in constant if name.startswith("p_")]
    constant[columns] = np.eye(19)[0]
    page = write(tmp_path, constant, taxonomy, None)
    table = pd.read_csv(tmp_path / "tables" / "classes.csv")
    assert table["precision"].isna().sum() == 18
    assert "Methods compared" not in page.text
    assert "fused" not in page.text


@pytest.mark.slow
def test_logits_and_no_folds_will_do(tmp_path, taxonomy, predictions):
    folder = tmp_path / "probabilities"
    write(folder, predictions.assign(fold=0), taxonomy, "meta")
    logits = predictions.drop(columns="fold").rename(
        columns=lambda name: re.sub("^(meta:)?p_", r"\1logit_", name)
    )
    names = [name for name in logits if "logit_" in name]
    logits[names] = np.log(logits[names]) + 3
    page = write(tmp_path / "logits", logits, taxonomy, "meta")
    assert "The stored predictions do not tell what the network was trained on" in page.text
    for name in ("methods", "methods_coarse", "classes", "folds"):
        first, second = (
            pd.read_csv(tmp_path / kind / "tables" / f"{name}.csv") for kind in ("probabilities", "logits")
        )
        pd.testing.assert_frame_equal(first, second)


def test_leaking_folds_are_told(tmp_path, taxonomy, predictions):
    leaking = predictions.assign(fold=np.arange(len(predictions)) % 3)
    shared = (leaking.groupby("case_id")["fold"].nunique() > 1).sum()
    page = write(tmp_path, leaking, taxonomy, None)
    assert f"{shared} cases have photos in more than one fold" in page.text


@pytest.mark.slow
def test_a_page_that_fails_leaves_the_old_one(tmp_path, taxonomy, predictions, monkeypatch):
    write(tmp_path, predictions, taxonomy, title="The old page")

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, predictions, taxonomy, title="The new page")
    assert [path.name for path in tmp_path.glob("*.html")] == ["index.html"]
    assert "The old page" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p.drop(columns=["case_id", "label"]), "(?s)no column 'case_id'.*no column 'label'"),
        (lambda p: p.iloc[:0], "no rows"),
        (lambda p: p.drop(columns="p_eczema"), "no column 'p_eczema'"),
        (lambda p: p.assign(p_eczema=0.5), "do not sum to 1"),
        (lambda p: p.assign(label="rash"), "rash"),
    ],
)
def test_predictions_that_cannot_be_read_are_refused(tmp_path, taxonomy, predictions, change, told):
    with pytest.raises(ValueError, match=told):
        write(tmp_path / "report", change(predictions), taxonomy, "meta")
    assert not (tmp_path / "report").exists()


def test_curves_without_their_columns_are_refused(tmp_path, taxonomy, predictions):
    with pytest.raises(ValueError, match="curves must have the columns loss"):
        write(tmp_path, predictions, taxonomy, curves=draw_curves().drop(columns="loss"))


def test_drawing_keeps_no_state_and_returns_the_axes():
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context(canvas.SETTINGS):
        figure, place = canvas.blank(300, 200, (40, 40, 10, 10))
        axes = figure.subplots(gridspec_kw=place)
        assert performance_plots.confusion(axes, np.array([[3, 1], [0, 0]]), ["a", "b"]) is axes
        canvas.svg(figure, "test")
    assert dict(matplotlib.rcParams) == before
    assert [text.get_text() for text in axes.texts] == ["75", "25"]


@pytest.mark.parametrize(("spike", "cut"), [(40.0, True), (3.0, False)])
def test_a_spike_of_the_loss_is_cut_off_and_said_to_be(spike, cut):
    losses = [spike, 2.0, 1.5, 1.0, 1.0]
    curves = pd.DataFrame({"fold": 0, "epoch": range(1, 6), "split": "test", "loss": losses})
    with matplotlib.rc_context(canvas.SETTINGS):
        figure, place = canvas.blank(300, 200, (40, 40, 10, 10))
        axes = performance_plots.learning_curves(figure.subplots(gridspec_kw=place), curves, "loss")
    assert ([text.get_text() for text in axes.texts] == ["cut off above"]) is cut
    if cut:
        assert axes.get_ylim() == (0, 4 * 1.5)  # four times the median
    else:
        assert axes.get_ylim()[1] >= spike


def test_configuration_is_flattened():
    config = json.loads('{"a": {"b": {"c": 1}}, "empty": {}, "list": [1, 2], "none": null}')
    assert tables.flatten_config(config).to_numpy().tolist() == [
        ["a.b.c", "1"], ["empty", "{}"], ["list", "[1, 2]"], ["none", "None"],
    ]  # fmt: skip


def test_the_summary_holds_the_answer_and_the_headline_figure(written, taxonomy, predictions):
    folder, page = written
    found = read_summary(folder)
    assert len(found.headline) == 2
    assert found.headline[0].startswith("By case, ")
    for sentence in found.headline:
        assert sentence.replace("\u00a0", " ") in page.text
    by_case = pd.read_csv(folder / "tables" / "by_case.csv").set_index("rule").loc["mean_log"]
    figures = {one.name: one for one in found.by_case}
    assert figures["accuracy_by_case"].value == pytest.approx(by_case["accuracy"], abs=1e-12)
    assert figures["accuracy_by_case_gain"].low == pytest.approx(
        by_case["accuracy_difference_low"], abs=1e-12
    )
    methods = pd.read_csv(folder / "tables" / "methods.csv").set_index("method").loc["soft"]
    assert (found.metric.name, found.metric.confidence) == ("accuracy", 0.9)
    for value, column in ((found.metric.value, ""), (found.metric.low, "_low"), (found.metric.high, "_high")):
        assert value == pytest.approx(methods[f"accuracy{column}"], abs=1e-12)
    assert {str(folder / name) for name in found.tables} == {
        str(p) for p in (folder / "tables").glob("*.csv")
    }


def test_a_figure_that_is_not_defined_is_null_in_the_summary(tmp_path, taxonomy, predictions):
    write(tmp_path, predictions.assign(case_id="one", fold=0), taxonomy)
    document = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert document["metric"]["low"] is None
    assert np.isnan(read_summary(tmp_path).metric.low)
    for text in ("[]", '{"headline": []}', "no JSON"):
        (tmp_path / "summary.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="must be a page's summary"):
            read_summary(tmp_path)
