"""The report's figures on axes of one's own: they return the axes and draw what they are given."""

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from skinjax.evaluate.calibration import reliability_curve
from skinjax.evaluate.decision_curve import decision_curve
from skinjax.evaluate.precision_recall import precision_recall_curve
from skinjax.evaluate.readers import mean_reader, reader_points
from skinjax.evaluate.roc import roc_curve
from skinjax.evaluate.roc_band import roc_band
from skinjax.report.figures import calibration_plots, canvas, evolution_plots, group_plots, roc_plots
from skinjax.report.sections import evolution

LABELS = np.tile([0, 0, 1, 1, 0, 1], 20)
SCORES = np.clip(0.3 + 0.4 * LABELS + 0.3 * np.sin(np.arange(120)), 0, 1)
CASES = np.arange(120) // 3


@pytest.fixture
def axes():
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context(canvas.SETTINGS):
        figure = Figure()
        yield figure.subplots()
        assert "<svg" in canvas.svg(figure, "test")
    assert dict(matplotlib.rcParams) == before


def points(line):
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def test_roc_with_band_and_operating_point(axes):
    curve, band = roc_curve(LABELS, SCORES), roc_band(LABELS, SCORES, CASES, replicates=50)
    assert roc_plots.roc(axes, curve, "model", band, (0.8, 0.9)) is axes
    drawn, point = [line for line in axes.lines if line.get_label() in ("model", "operating point")]
    x, y = points(drawn)
    assert np.trapezoid(y, x) == pytest.approx(np.trapezoid(curve.sensitivity, 1 - curve.specificity))
    assert points(point) == (pytest.approx([0.1]), pytest.approx([0.8]))
    assert len(axes.collections) == 1


def test_the_mean_of_classes_lies_between_them(axes):
    curves = [roc_curve(LABELS, SCORES), roc_curve(LABELS, -SCORES)]
    same, mean = roc_plots.roc_classes(axes, curves)
    assert same is axes
    np.testing.assert_allclose(
        mean[:, 1], np.mean([np.interp(mean[:, 0], *points(line)) for line in axes.lines[:2]], 0)
    )


def test_readers_and_their_mean(axes):
    calls = np.stack([SCORES > 0.4, SCORES > 0.6]).astype(int)
    sensitivity, specificity = reader_points(LABELS, calls)
    assert roc_plots.readers(axes, sensitivity, specificity, mean_reader(LABELS, calls, CASES)) is axes
    by_label = {line.get_label(): points(line) for line in axes.lines}
    np.testing.assert_allclose(by_label["readers"], (1 - specificity, sensitivity))
    np.testing.assert_allclose(
        np.ravel(by_label["mean reader"]), (1 - specificity.mean(), sensitivity.mean())
    )


def test_precision_is_drawn_as_steps_of_the_average_precision(axes):
    curve = precision_recall_curve(LABELS, SCORES)
    assert roc_plots.precision_recall(axes, [curve], prevalence=0.5) is axes
    x, y = points(axes.lines[0])
    steps = np.diff(x) @ y[1:]  # each step has the height of its right end
    assert steps == pytest.approx(np.diff(curve.recall, prepend=0) @ curve.precision)


def test_reliability_before_and_after(axes):
    curves = [reliability_curve(LABELS, SCORES, CASES), reliability_curve(LABELS, SCORES / 2, CASES)]
    assert calibration_plots.reliability(axes, curves, ["before", "after"]) is axes
    for line, curve in zip([line for line in axes.lines if len(line.get_xdata()) > 2], curves, strict=True):
        np.testing.assert_allclose(points(line), (curve.predicted, curve.observed))


def test_net_benefit_of_model_all_and_none(axes):
    curve = decision_curve(LABELS, SCORES, CASES)
    assert calibration_plots.decision(axes, curve) is axes
    by_label = {line.get_label(): points(line)[1] for line in axes.lines}
    np.testing.assert_allclose(by_label["model"], curve.model.estimate)
    np.testing.assert_allclose(by_label["treat all"], curve.treat_all.estimate)
    assert axes.get_ylim()[0] < 0 < curve.prevalence < axes.get_ylim()[1]


def test_small_groups_are_hollow_and_missing_limits_leave_a_point(axes):
    values = [[0.5, 0.4, 0.6], [0.7, np.nan, np.nan], [np.nan, np.nan, np.nan]]
    assert group_plots.forest(axes, ["a", "b", "c"], values, [False, True, False], overall=0.6) is axes
    large, small = [line for line in axes.lines if line.get_marker() == "o"]
    assert points(large)[0][0] == 0.5
    assert points(small)[0].tolist() == [0.7]
    assert small.get_markerfacecolor() == "none"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b", "c"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first stands on top


def test_sizes_and_scores(axes):
    assert group_plots.set_sizes(axes, [0.5, 0.3, 0.2]) is axes
    assert [bar.get_height() for bar in axes.patches] == [0.5, 0.3, 0.2]


def test_a_degree_without_photos_stays_empty(axes):
    quantiles = [[0, 10, 20, 30, 40], [np.nan] * 5]
    assert group_plots.degree_scores(axes, quantiles, ["degree 0", "degree 1"]) is axes
    assert axes.patches[0].get_width() == 20
    assert points(axes.lines[0])[0][0] == 20


@pytest.mark.parametrize("centre", [1e-5, 3.55e-4, 0.01, 180.0])
@pytest.mark.parametrize("factor", [1.05, 1.4, 3.0, 20.0])
def test_labels_of_a_gene_lie_inside_its_panel_and_apart(centre, factor):
    rng = np.random.default_rng(0)
    width, height, margins = evolution.GENE_PANEL
    with matplotlib.rc_context(canvas.SETTINGS):
        for _ in range(5):
            values = centre * factor ** rng.uniform(-1, 1, 7)
            figure, place = canvas.blank(width, height, margins)
            axes = figure.subplots(gridspec_kw=place)
            evolution_plots.gene_scatter(axes, values, rng.random(7), np.arange(7), 3)
            figure.draw_without_rendering()
            low, high = axes.get_xlim()
            boxes = [
                label.get_window_extent()
                for label in axes.get_xticklabels()
                if low <= label.get_position()[0] <= high
            ]
            assert len(boxes) >= 2
            assert boxes[0].x0 >= 0
            assert boxes[-1].x1 <= figure.bbox.x1
            assert all(right.x0 - left.x1 >= 3 for left, right in itertools.pairwise(boxes))
