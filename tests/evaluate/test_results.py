"""Results show themselves: every interval and comparison in one grammar, everything else as a list."""

import dataclasses
import inspect
import math
import pkgutil

import numpy as np
import pytest

import skinjax.evaluate
from skinjax.evaluate import bootstrap, delong, multiclass
from skinjax.evaluate.calls import call_figures
from skinjax.evaluate.confusion import confusion_matrix, summary
from skinjax.evaluate.mcnemar import mcnemar
from skinjax.evaluate.mrmc import Contrast
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.results import Comparison, ComparisonResult, Interval, IntervalResult, Result
from skinjax.evaluate.roc import youden
from skinjax.evaluate.shift import independent_difference
from skinjax.evaluate.subgroups import Gap

RNG = np.random.default_rng(0)
LABELS = np.tile([0, 1, 1, 0, 1], 20)
SCORES = LABELS + RNG.normal(size=100)
OTHERS = LABELS + 2 * RNG.normal(size=100)
CASES = np.arange(100) // 2


def interval_text(value, low, high, level="90% CI "):
    return f"{value:.3f} ({level}{low:.3f} to {high:.3f})"


def test_every_interval_says_its_figure_level_and_limits():
    probs = RNG.dirichlet(np.ones(3), 100)
    classes = np.arange(100) % 3
    found = {
        "bootstrap": bootstrap.by_case(bootstrap.mean, (SCORES,), CASES, 200, 0.9),
        "share": proportion_by_case(LABELS, CASES, 0.9),
        "area": delong.auc_interval(LABELS, SCORES, 0.9, CASES),
        "macro area": multiclass.macro_auc_interval(classes, probs, 0.9, CASES),
        "calls": call_figures(LABELS, SCORES > 0.5, CASES, 200, 0.9).sensitivity,
    }
    for name, one in found.items():
        assert isinstance(one, IntervalResult), name
        start = "mean of 3 classes " if name == "macro area" else ""
        assert str(one) == start + interval_text(one.estimate, one.low, one.high), name
        assert one._repr_html_() == str(one), name
    assert found["area"].estimate == found["area"].auc
    lost = independent_difference(found["share"], found["area"])
    assert str(lost).startswith(f"{found['share'].estimate - found['area'].auc:.3f} (90% CI ")


def test_every_comparison_says_its_difference_limits_and_p_value():
    for one in (
        bootstrap.paired_by_case(bootstrap.accuracy, LABELS, SCORES > 0.5, OTHERS > 0.5, CASES, 200),
        delong.compare(LABELS, SCORES, OTHERS, CASES),
    ):
        assert isinstance(one, ComparisonResult)
        p = "p < 0.001" if one.p_value < 0.001 else f"p = {one.p_value:.3f}"
        assert str(one) == f"difference {one.difference:+.3f} (95% CI {one.low:+.3f} to {one.high:+.3f}), {p}"
    assert issubclass(Gap, ComparisonResult)


def test_what_is_not_known_is_said():
    nan = math.nan
    assert str(Interval(nan, nan, nan)) == "not defined"
    assert str(Interval(0.5, nan, nan, 0.95)) == "0.500 (no interval)"
    assert str(Comparison(-0.25, -0.5, 0.0, nan)) == "difference -0.250 (-0.500 to +0.000)"
    assert str(Contrast(0.5, 0.25, 0.75, 0.95, p_value=0.0004)) == "0.500 (95% CI 0.250 to 0.750), p < 0.001"
    assert str(Contrast(0.5, nan, nan)) == "0.500 (no interval)"


def test_other_results_list_what_they_hold():
    point = youden([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    assert str(point).split("\n")[:2] == ["threshold: 0.35", "sensitivity: 1"]
    found = call_figures(LABELS, SCORES > 0.5, CASES, 200)
    assert f"specificity: {found.specificity}" in str(found).split("\n")
    shown = str(summary(confusion_matrix([0, 1, 2], [0, 1, 1], 3)))
    assert "recall: float64[3]" in shown
    assert "accuracy: 0.6667" in shown
    assert "method: mid_p" in str(mcnemar([0, 1], [0, 1], [1, 1], [0, 1]))


def test_pages_are_escaped():
    @dataclasses.dataclass(frozen=True)
    class Named(Result):
        name: str
        parts: tuple

    one = Named("<b>", (Interval(1.0, 0.5, 1.5), "x"))
    assert str(one) == "name: <b>\nparts:\n  0: 1.000 (0.500 to 1.500)\n  1: x"
    assert one._repr_html_() == (
        "name: &lt;b&gt;<br>parts:<br>&nbsp;&nbsp;0: 1.000 (0.500 to 1.500)<br>&nbsp;&nbsp;1: x"
    )


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(skinjax.evaluate.__path__)])
def test_every_public_dataclass_of_results_is_of_the_family(name):
    module = __import__(f"skinjax.evaluate.{name}", fromlist=["_"])
    for key, value in vars(module).items():
        public = inspect.isclass(value) and value.__module__ == module.__name__ and not key.startswith("_")
        if (
            public
            and dataclasses.is_dataclass(value)
            and key
            not in (
                "WeightedMetric",
                "RankedPhotos",
                "Placements",
                "Spread",
                "Sampled",
                "Runs",
                "RunVariance",
            )
        ):
            assert issubclass(value, Result), key
