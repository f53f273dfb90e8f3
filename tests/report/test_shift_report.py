"""Two populations, of invented predictions: every figure of the tables recomputed, and what the page says of it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from skinjax.data.invented import invent_predictions
from skinjax.data.predictions import Predictions
from skinjax.evaluate.bootstrap import by_case, paired_by_case
from skinjax.evaluate.metrics import balanced_accuracy
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report.blocks import Table, Text
from skinjax.report.sections.shift import sets_section, shift_sections
from skinjax.report.tables.shift import Shift, answers_of, class_table, loss_table, matrix_table, tone_table
from skinjax.studies.steps.populations import train_masks

TREE = Taxonomy("shared", ("diagnosis",), (("nevus",), ("keratosis",), ("carcinoma",), ("melanoma",)))
NAMES = ("here", "there")


@pytest.fixture(scope="module")
def frames():
    """Networks at home are good, elsewhere bad; B has no skin types, and its rows stand in two orders."""
    found = {}
    for on, cases in ((0, 90), (1, 60)):
        own, foreign = invent_predictions(TREE, cases, skills=(3.0, 0.8), seed=on)
        if on == 1:
            own, foreign = (
                frame.drop(columns="skin_tone") for frame in (own, foreign.sample(frac=1, random_state=2))
            )
        found[on, on], found[1 - on, on] = own, foreign
    return found


def answers_of_frame(frame):
    return answers_of(Predictions.from_frame(frame, TREE))


@pytest.fixture(scope="module")
def shift(frames):
    answers = {pair: answers_of_frame(frame) for pair, frame in frames.items()}
    return Shift(NAMES, TREE, answers, replicates=300)


@pytest.fixture(scope="module")
def matrix(shift):
    return matrix_table(shift)


def answers(frame):
    frame = frame.sort_values("image", ignore_index=True)
    probs = frame[[f"p_{name}" for name in TREE.classes()]].to_numpy()
    return TREE.encode(frame["label"]), probs, frame["case_id"].to_numpy(), frame


def test_each_pairs_figures_are_scikit_learns(frames, matrix):
    assert len(matrix) == 4
    for row in matrix.itertuples():
        labels, probs, cases, _ = answers(frames[NAMES.index(row.trained), NAMES.index(row.tested)])
        predicted = probs.argmax(axis=1)
        assert (row.photos, row.cases) == (len(labels), len(set(cases)))
        assert row.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
        assert row.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
        assert row.macro_f1 == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
        probs = probs / probs.sum(axis=1, keepdims=True)
        assert row.macro_auc == pytest.approx(metrics.roc_auc_score(labels, probs, multi_class="ovr"))


def test_columns_of_groups_that_stand_in_for_cases_are_called_so(frames, shift):
    stand_in = {case: f"look_{place:016x}" for place, case in enumerate(frames[0, 0]["case_id"].unique())}
    grouped = {
        pair: frame.assign(case_id=frame["case_id"].map(stand_in)) if pair[1] == 0 else frame
        for pair, frame in frames.items()
    }
    mixed = dataclasses.replace(
        shift, tested={pair: answers_of_frame(frame) for pair, frame in grouped.items()}
    )
    for given, both, sides in (
        (shift, "Cases", ["Cases", "Cases"]),
        (mixed, "Cases or groups", ["Groups", "Cases"]),
    ):
        _, sections = shift_sections(given)
        tables = {block.name: block for one in sections for block in one.blocks if isinstance(block, Table)}
        assert both in [column.heading for column in tables["shift_matrix"].columns]
        assert sides[0] in [
            column.heading for column in tables["shift_tones"].columns
        ]  # of the first set alone
        assert f"{both} at home" in [column.heading for column in tables["shift_classes"].columns]
        sets = sets_section(given, ({}, {}), None)
        table = next(block for block in sets.blocks if isinstance(block, Table) and block.columns)
        assert [column.heading for column in table.columns if column.heading in ("Cases", "Groups")] == sides


def test_other_photos_are_independent_samples_and_the_same_photos_are_paired(frames, shift, matrix):
    found = loss_table(shift, matrix).set_index(["kind", "trained", "tested", "metric"])
    assert len(found) == 2 * 2 * 4
    for trained in (0, 1):
        row = found.loc[("other photos", NAMES[trained], NAMES[1 - trained], "balanced_accuracy")]
        sides = []
        for on in (trained, 1 - trained):
            labels, probs, cases, _ = answers(frames[trained, on])
            sides.append(by_case(balanced_accuracy, (labels, probs.argmax(axis=1)), cases, 300))
        at_home, away = sides
        assert row["loss"] == pytest.approx(at_home.estimate - away.estimate)
        assert row["loss"] - row["loss_low"] == pytest.approx(
            np.hypot(at_home.estimate - at_home.low, away.high - away.estimate)
        )
        assert np.isnan(row["p_value"])
        row = found.loc[("same photos", NAMES[1 - trained], NAMES[trained], "balanced_accuracy")]
        labels, probs, cases, _ = answers(frames[trained, trained])
        other = answers(frames[1 - trained, trained])[1]
        pair = paired_by_case(
            balanced_accuracy, labels, probs.argmax(axis=1), other.argmax(axis=1), cases, 300
        )
        assert (row["loss"], row["loss_low"], row["p_value"]) == (pair.difference, pair.low, pair.p_value)
        area = found.loc[("same photos", NAMES[1 - trained], NAMES[trained], "macro_auc")]
        assert area["loss"] == pytest.approx(area["own"] - area["other"])
    assert (found["loss_low"] > 0).all()  # the invented networks are far better at home


def test_recall_of_each_class_at_home_and_away(frames, shift):
    found = class_table(shift).set_index(["trained", "class"])
    for trained in (0, 1):
        recalls = []
        for on in (trained, 1 - trained):
            labels, probs, _, _ = answers(frames[trained, on])
            recalls.append(metrics.recall_score(labels, probs.argmax(axis=1), average=None))
        rows = found.loc[NAMES[trained]]
        np.testing.assert_allclose(rows["own"], recalls[0])
        np.testing.assert_allclose(rows["other"], recalls[1])
        np.testing.assert_allclose(rows["loss"], recalls[0] - recalls[1], atol=1e-12)
        assert ((rows["loss_low"] < rows["loss"]) & (rows["loss"] < rows["loss_high"])).all()


def test_a_class_that_one_set_lacks_has_no_loss(frames):
    frame = {
        pair: answers_of_frame(f[f["label"] != "melanoma"] if pair[1] else f) for pair, f in frames.items()
    }
    rows = class_table(Shift(NAMES, TREE, frame, replicates=100)).set_index(["trained", "class"])
    for trained in NAMES:
        row = rows.loc[(trained, "melanoma")]
        assert np.isnan(row[["loss", "loss_low", "loss_high"]].astype(float)).all()
    row = rows.loc[("here", "melanoma")]
    assert row["photos_own"] > 0
    assert row["photos_other"] == 0


def test_skin_types_where_they_are_known(frames, shift):
    found = tone_table(shift)
    assert set(found["tested"]) == {"here"}
    labels, probs, _, frame = answers(frames[0, 0])
    foreign = answers(frames[1, 0])[1]
    for row in found.itertuples():
        mine = (frame["skin_tone"] == int(row.skin_tone)).to_numpy()
        right = [(p.argmax(axis=1) == labels)[mine].mean() for p in (probs, foreign)]
        assert (row.own, row.other) == pytest.approx(tuple(right))
        assert row.loss == pytest.approx(right[0] - right[1])
        assert row.photos == mine.sum()
    assert found["photos"].sum() == len(labels)


def test_the_page_says_what_falls_and_what_is_left_out(shift):
    words, sections = shift_sections(shift)
    assert len(words) == 2
    assert words[0].count("balanced accuracy falls from") == 2
    assert words[1].count("a network trained there has a macro AUC of") == 2
    assert [section.id for section in sections] == ["matrix", "loss", "classes", "skin_tone", "confusion"]
    own = sets_section(shift, [{"Squamous cell carcinoma": 12}, {}], None)
    shown = next(block for block in own.blocks if isinstance(block, Table))
    np.testing.assert_allclose(shown.data[["share_0", "share_1"]].sum(), 1)
    told = " ".join(block.words for block in own.blocks if isinstance(block, Text))
    assert "here: left out as the other set has no counterpart: Squamous cell carcinoma (12 photos)." in told
    assert "label shift" in told


def test_nothing_is_said_to_fall_where_chance_can_tell_it(frames):
    alike = {pair: answers_of_frame(frames[0, 0].assign(case_id=frames[0, 0]["case_id"])) for pair in frames}
    words, sections = shift_sections(Shift(NAMES, TREE, alike, replicates=100))
    assert words[0].count("balanced accuracy does not clearly change") == 2
    losses = next(block.data for block in sections[1].blocks if isinstance(block, Table))
    assert (losses["loss"] == 0).all()


def test_one_case_tells_nothing_of_others(frames):
    one = {pair: answers_of_frame(frame.assign(case_id="a")) for pair, frame in frames.items()}
    words, _ = shift_sections(Shift(NAMES, TREE, one, replicates=100))
    assert words[0].count("these cases say nothing of others.") == 2
    assert "clearly" not in words[0]


def test_without_skin_types_the_section_says_so(frames):
    bare = {
        pair: answers_of_frame(frame.drop(columns="skin_tone", errors="ignore"))
        for pair, frame in frames.items()
    }
    section = shift_sections(Shift(NAMES, TREE, bare, replicates=100))[1][3]
    assert not section.answered
    assert section.blocks == (Text("The skin type of no photo is known."),)


def test_equal_size_draws_whole_cases_of_the_larger_set_from_its_training_part():
    rng = np.random.default_rng(0)
    sets, folds = [], []
    for count in (300, 90):
        cases = np.sort(rng.integers(count // 3, size=count))
        sets.append(SimpleNamespace(cases=cases.astype(str), labels=(cases % 3).astype(np.int32)))
        folds.append(cases % 2)
    plain = train_masks(sets, folds, 0, False, 0)
    equal = train_masks(sets, folds, 0, True, 0)
    for mask, fold in zip(plain, folds, strict=True):
        np.testing.assert_array_equal(mask, fold == 1)
    np.testing.assert_array_equal(equal[1], plain[1])
    assert not (equal[0] & ~plain[0]).any()
    assert equal[0].sum() == pytest.approx(equal[1].sum(), rel=0.1)
    drawn = pd.Series(equal[0][plain[0]]).groupby(sets[0].cases[plain[0]]).nunique()
    assert (drawn == 1).all()
    shares = [np.bincount(sets[0].labels[mask]) / mask.sum() for mask in (plain[0], equal[0])]
    np.testing.assert_allclose(*shares, atol=0.08)
    np.testing.assert_array_equal(train_masks(sets, folds, 0, True, 0)[0], equal[0])
