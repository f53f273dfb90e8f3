"""Intervals and tests of `skinjax.evaluate` that `benchmarks.coverage` counts, each with its truth."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from benchmarks.studies import (
    GROUP_SHARES,
    SHARP_SIGNAL,
    SIGNAL,
    THRESHOLD,
    WEAK_SIGNAL,
    ManyClasses,
    TwoClasses,
    true_auc,
    true_mean_reader,
    true_sensitivity,
)
from skinjax.evaluate import calibration, delong, logistic_calibration, multiclass, readers
from skinjax.evaluate.agreement import kappa, quadratic_kappa
from skinjax.evaluate.bootstrap import (
    WeightedMetric,
    accuracy,
    balanced_accuracy,
    brier,
    by_case,
    log_loss,
    macro_f1,
    paired_by_case,
)
from skinjax.evaluate.decision_curve import DecisionCurve, decision_curve, net_benefit
from skinjax.evaluate.mcnemar import McNemar, mcnemar
from skinjax.evaluate.precision_recall import weighted_average_precision
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.resampling import over_draws
from skinjax.evaluate.roc import macro_auc, partial_auc, weighted_auc
from skinjax.evaluate.roc_band import RocBand, roc_band
from skinjax.evaluate.subgroups import Subgroups, subgroups

HEAVY = (
    "AUC 0.90 (auc_interval)", "AUC 0.90", "average precision", "sensitivity at specificity 0.8 (roc_band)",
    "Brier score", "calibration slope", "net benefit at 0.2 (decision_curve)", "accuracy",
    "sensitivity (proportion_by_case)", "macro F1, 5 classes", "macro AUC, 5 classes (macro_auc_interval)",
    "difference of AUC (delong.compare)", "difference of accuracy, 5 classes (paired_by_case)",
    "difference of macro F1, 5 classes (paired_by_case)",
)  # fmt: skip
NEAR = (
    "accuracy, 5 classes", "balanced accuracy, 5 classes", "macro F1, 5 classes", "kappa, 5 classes",
    "Brier score, 5 classes", "log loss, 5 classes",
)  # fmt: skip
TOLD = {"heavy": "heavy-tailed cases", "heavy five": "heavy-tailed cases", "near": "accuracy 0.97"}

Study = Any
Limits = tuple[Any, Any]

SPECIFICITIES, THRESHOLDS = (0.8, 0.95), (0.2, 0.6)
BINS = 5  # of the reliability curve and of the binary calibration error
STEEP = 0.8  # the specificity from which on the partial area is taken


@dataclasses.dataclass(frozen=True)
class IntervalCheck:
    """An interval whose coverage is counted.

    Attributes:
        name: in the table.
        kind: the study that it needs: "two", "five" or "nineteen" classes.
        limits: `limits(study, replicates, seed)`, the lower and the upper limit, one or several.
        truth: `truth(large)`, what they are to hold, from very many photos of one case each.
    """

    name: str
    kind: str
    limits: Callable[[Study, int, int], Limits]
    truth: Callable[[Study], Any]


@dataclasses.dataclass(frozen=True)
class NullCheck:
    """A test of which p-values are gathered where nothing differs; see `IntervalCheck`."""

    name: str
    kind: str
    p_value: Callable[[Study, int, int], float]


def interval_checks() -> list[IntervalCheck]:
    """Returns every interval, in the order of the table."""
    usual = [*_of_areas(), *_of_probabilities(), *_of_shares(), *_of_many_classes(), *_of_differences()]
    again = {
        "heavy": (HEAVY, "two"), "heavy five": (HEAVY, "five"), "near": (NEAR, "five"),
    }  # fmt: skip
    others = [
        dataclasses.replace(check, name=f"{check.name}; {TOLD[kind]}", kind=kind)
        for kind, (names, of_kind) in again.items()
        for check in usual
        if check.kind == of_kind and check.name in names
    ]
    return [*usual, *others]


def null_checks() -> list[NullCheck]:
    """Returns every test, in the order of the table."""
    return [
        _null_pair("accuracy, 5 classes", "five", accuracy, _answers, _peer_answers),
        _null_pair("macro F1, 5 classes", "five", macro_f1, _answers, _peer_answers),
        _null_pair("AUC", "two", weighted_auc, lambda s: s.scores, lambda s: s.peer),
        _null_pair("AUC, heavy-tailed cases", "heavy", weighted_auc, lambda s: s.scores, lambda s: s.peer),
        NullCheck(
            "delong.compare, heavy-tailed cases",
            "heavy",
            lambda s, *_: delong.compare(s.labels, s.scores, s.peer, s.cases).p_value,
        ),
        NullCheck(
            "delong.compare", "two", lambda s, *_: delong.compare(s.labels, s.scores, s.peer, s.cases).p_value
        ),
        NullCheck(
            "compare_macro_auc, 5 classes",
            "five",
            lambda s, *_: multiclass.compare_macro_auc(s.labels, s.probs, s.peer, s.cases).p_value,
        ),
        NullCheck("mcnemar, mid-p", "five", lambda s, *_: _mcnemar(s, "mid_p").p_value),
        NullCheck("mcnemar, exact", "five", lambda s, *_: _mcnemar(s, "exact").p_value),
        NullCheck("subgroups, best against worst", "two", lambda *a: _gap_p_value(_by_group(*a), "p_value")),
        NullCheck("subgroups, any two", "two", lambda *a: _gap_p_value(_by_group(*a), "any_p_value")),
        NullCheck(
            "compare_with_readers, sensitivity", "two", lambda *a: _with_readers(*a).sensitivity.p_value
        ),
        NullCheck(
            "compare_with_readers, specificity", "two", lambda *a: _with_readers(*a).specificity.p_value
        ),
        NullCheck(
            "compare_ratings",
            "two",
            lambda s, *_: readers.compare_ratings(s.labels, s.scores, s.ratings, s.cases).p_value,
        ),
    ]


def rank_test_over_replicates(study: TwoClasses, replicates: int, seed: int) -> float:
    """Returns the p-value of Wilcoxon's signed-rank test of two models' areas over bootstrap replicates.

    Not to be used: it takes replicates for observations, so that it tests whether the difference in *this* sample is
    0 to within the error of the resampling, which more replicates make as small as one likes.
    """
    codes = np.unique(study.cases, return_inverse=True)[1]
    calls = [(weighted_auc, [study.labels, scores], None) for scores in (study.scores, study.peer)]
    (first, second), _ = over_draws(calls, codes, replicates, seed)
    return float(wilcoxon(first, second).pvalue)


def _of_areas() -> list[IntervalCheck]:
    def partial(labels: NDArray, scores: NDArray) -> float:
        return partial_auc(labels, scores, STEEP)

    def area(name: str, of: str, signal: float) -> IntervalCheck:
        return IntervalCheck(
            name,
            "two",
            lambda s, *_: _ends(delong.auc_interval(s.labels, getattr(s, of), cases=s.cases)),
            lambda _: true_auc(signal),
        )

    def band(point: int) -> IntervalCheck:
        return IntervalCheck(
            f"sensitivity at specificity {SPECIFICITIES[point]} (roc_band)",
            "two",
            lambda *a: (_band(*a).low[point], _band(*a).high[point]),
            lambda _: true_sensitivity(SPECIFICITIES[point]),
        )

    return [
        area("AUC 0.90 (auc_interval)", "scores", SIGNAL),
        area("AUC 0.98 (auc_interval)", "sharp", SHARP_SIGNAL),
        _resampled("AUC 0.90", "two", weighted_auc, lambda s: (s.labels, s.scores)),
        _resampled(
            f"partial AUC from specificity {STEEP}", "two", partial, lambda s: (s.labels, s.scores), most=199
        ),
        _resampled("average precision", "two", weighted_average_precision, lambda s: (s.labels, s.scores)),
        band(0),
        band(1),
    ]


def _of_probabilities() -> list[IntervalCheck]:
    def probabilities(s: TwoClasses) -> tuple[NDArray, NDArray]:
        return s.labels, s.probs

    def reliability(s: TwoClasses, *_: int) -> Limits:
        curve = calibration.reliability_curve(s.labels, s.probs, s.cases, BINS, "width")
        low, high = np.full((2, BINS), np.nan)
        place = (curve.predicted * BINS).astype(int)
        low[place], high[place] = curve.low, curve.high
        return low, high

    def true_reliability(large: TwoClasses) -> NDArray[np.float64]:
        return calibration.reliability_curve(large.labels, large.probs, large.cases, BINS, "width").observed

    def of_line(name: str) -> IntervalCheck:
        return IntervalCheck(
            f"calibration {name}",
            "two",
            lambda s, *_: (getattr(_line(s), f"{name}_low"), getattr(_line(s), f"{name}_high")),
            lambda large: getattr(_line(large), name),
        )

    def benefit(name: str, which: str, point: int) -> IntervalCheck:
        threshold = THRESHOLDS[point]

        def limits(s: TwoClasses, replicates: int, seed: int) -> Limits:
            found = getattr(_decision(s, replicates, seed), which)
            return found.low[point], found.high[point]

        def truth(large: TwoClasses) -> float:
            share = large.labels.mean()
            default = max(share - (1 - share) * threshold / (1 - threshold), 0) if which == "gain" else 0
            return float(net_benefit(large.labels, large.probs, [threshold])[0] - default)

        return IntervalCheck(f"{name} at {threshold} (decision_curve)", "two", limits, truth)

    error = calibration.calibration_error(bins=BINS)
    return [
        _resampled("Brier score", "two", brier, probabilities),
        _resampled("log loss", "two", log_loss, probabilities),
        _resampled(f"calibration error, {BINS} bins", "two", error, probabilities),
        of_line("slope"),
        of_line("intercept"),
        IntervalCheck(f"reliability, mean of {BINS} bins", "two", reliability, true_reliability),
        benefit("net benefit", "model", 0),
        benefit("gain in net benefit", "gain", 0),
        benefit("net benefit", "model", 1),
    ]


def _of_shares() -> list[IntervalCheck]:
    def share(
        name: str, hits: Callable[[TwoClasses], NDArray], among: Callable[[TwoClasses], Any]
    ) -> IntervalCheck:
        return IntervalCheck(
            f"{name} (proportion_by_case)",
            "two",
            lambda s, *_: _ends(proportion_by_case(hits(s)[among(s)], s.cases[among(s)])),
            lambda large: np.mean(hits(large)[among(large)]),
        )

    def group(number: int) -> IntervalCheck:
        def limits(*a: Any) -> Limits:
            found = [one.interval for one in _by_group(*a).groups if one.name == str(number)]
            return _ends(found[0]) if found else (np.nan, np.nan)

        name = f"accuracy in a subgroup of {100 * GROUP_SHARES[number]:.0f} % of the cases"
        return IntervalCheck(name, "two", limits, right)

    def reader(which: str) -> IntervalCheck:
        return IntervalCheck(
            f"mean reader's {which}",
            "two",
            lambda s, *_: _ends(getattr(readers.mean_reader(s.labels, s.calls, s.cases), which)),
            lambda _: true_mean_reader()[which == "specificity"],
        )

    def right(s: TwoClasses) -> Any:
        return np.mean(_yes(s) == s.labels)

    return [
        _resampled("accuracy", "two", accuracy, lambda s: (s.labels, _yes(s))),
        share("accuracy", lambda s: _yes(s) == s.labels, lambda s: slice(None)),
        share("sensitivity", lambda s: _yes(s) == 1, lambda s: s.labels == 1),
        share("sensitivity 0.98", lambda s: s.sharp >= THRESHOLD, lambda s: s.labels == 1),
        *(group(number) for number in range(len(GROUP_SHARES))),
        reader("sensitivity"),
        reader("specificity"),
    ]


def _of_many_classes() -> list[IntervalCheck]:
    def answers(s: ManyClasses) -> tuple[NDArray, NDArray]:
        return s.labels, _answers(s)

    def probabilities(s: ManyClasses) -> tuple[NDArray, NDArray]:
        return s.labels, s.probs

    def macro(kind: str, classes: int) -> IntervalCheck:
        return IntervalCheck(
            f"macro AUC, {classes} classes (macro_auc_interval)",
            kind,
            lambda s, *_: _ends(multiclass.macro_auc_interval(s.labels, s.probs, cases=s.cases)),
            lambda large: macro_auc(large.labels, large.probs),
        )

    error = calibration.calibration_error("top_label", bins=BINS)
    return [
        _resampled("accuracy, 5 classes", "five", accuracy, answers),
        _resampled("balanced accuracy, 5 classes", "five", balanced_accuracy, answers),
        _resampled("balanced accuracy, 19 classes", "nineteen", balanced_accuracy, answers),
        _resampled("macro F1, 5 classes", "five", macro_f1, answers),
        _resampled("macro F1, 19 classes", "nineteen", macro_f1, answers),
        _resampled("kappa, 5 classes", "five", kappa, answers),
        _resampled("quadratic kappa, 5 degrees", "five", quadratic_kappa, answers),
        _resampled("Brier score, 5 classes", "five", brier, probabilities),
        _resampled("log loss, 5 classes", "five", log_loss, probabilities),
        _resampled(f"top-label calibration error, {BINS} bins", "five", error, probabilities),
        macro("five", 5),
        macro("nineteen", 19),
    ]


def _of_differences() -> list[IntervalCheck]:
    return [
        IntervalCheck(
            "difference of AUC (delong.compare)",
            "two",
            lambda s, *_: _ends(delong.compare(s.labels, s.scores, s.weaker, s.cases)),
            lambda _: true_auc(SIGNAL) - true_auc(WEAK_SIGNAL),
        ),
        IntervalCheck(
            "difference of macro AUC (compare_macro_auc)",
            "five",
            lambda s, *_: _ends(multiclass.compare_macro_auc(s.labels, s.probs, s.weaker, s.cases)),
            lambda large: macro_auc(large.labels, large.probs) - macro_auc(large.labels, large.weaker),
        ),
        _difference("AUC", "two", weighted_auc, lambda s: s.scores, lambda s: s.weaker),
        _difference("accuracy, 5 classes", "five", accuracy, _answers, _weaker_answers),
        _difference("macro F1, 5 classes", "five", macro_f1, _answers, _weaker_answers),
        _difference("log loss, 5 classes", "five", log_loss, lambda s: s.probs, lambda s: s.weaker),
    ]


def _resampled(
    name: str,
    kind: str,
    metric: Callable[..., float],
    arrays: Callable[[Study], Sequence[NDArray]],
    most: int = 10_000,
) -> IntervalCheck:
    return IntervalCheck(
        name,
        kind,
        lambda s, replicates, seed: _ends(
            by_case(metric, arrays(s), s.cases, min(replicates, most), seed=seed)
        ),
        lambda large: metric(*arrays(large)),
    )


def _difference(
    name: str, kind: str, metric: WeightedMetric, a: Callable[[Study], NDArray], b: Callable[[Study], NDArray]
) -> IntervalCheck:
    return IntervalCheck(
        f"difference of {name} (paired_by_case)",
        kind,
        lambda s, replicates, seed: _ends(
            paired_by_case(metric, s.labels, a(s), b(s), s.cases, replicates, seed=seed)
        ),
        lambda large: metric(large.labels, a(large)) - metric(large.labels, b(large)),
    )


def _null_pair(
    name: str, kind: str, metric: WeightedMetric, a: Callable[[Study], NDArray], b: Callable[[Study], NDArray]
) -> NullCheck:
    return NullCheck(
        f"paired_by_case, {name}",
        kind,
        lambda s, replicates, seed: (
            paired_by_case(metric, s.labels, a(s), b(s), s.cases, replicates, seed=seed).p_value
        ),
    )


def _ends(found: Any) -> Limits:
    return found.low, found.high


def _yes(study: TwoClasses) -> NDArray[np.int64]:
    return (study.probs >= 0.5).astype(np.int64)


def _answers(study: ManyClasses) -> NDArray[np.int64]:
    return study.probs.argmax(axis=1)


def _peer_answers(study: ManyClasses) -> NDArray[np.int64]:
    return study.peer.argmax(axis=1)


def _weaker_answers(study: ManyClasses) -> NDArray[np.int64]:
    return study.weaker.argmax(axis=1)


def _mcnemar(study: ManyClasses, method: Any) -> McNemar:
    return mcnemar(study.labels, _answers(study), _peer_answers(study), study.cases, method)


def _gap_p_value(found: Subgroups, which: str) -> float:
    return float(getattr(found.gap, which)) if found.gap else np.nan


# What several checks read from is computed once; a study is told from another by which object it is.


@functools.lru_cache(maxsize=1)
def _line(study: TwoClasses) -> logistic_calibration.CalibrationLine:
    return logistic_calibration.calibration_line(study.labels, study.probs, study.cases)


@functools.lru_cache(maxsize=1)
def _band(study: TwoClasses, replicates: int, seed: int) -> RocBand:
    return roc_band(study.labels, study.scores, study.cases, SPECIFICITIES, replicates, seed=seed)


@functools.lru_cache(maxsize=1)
def _decision(study: TwoClasses, replicates: int, seed: int) -> DecisionCurve:
    return decision_curve(study.labels, study.probs, study.cases, THRESHOLDS)


@functools.lru_cache(maxsize=1)
def _by_group(study: TwoClasses, replicates: int, seed: int) -> Subgroups:
    arrays = study.labels, _yes(study)
    return subgroups(accuracy, arrays, study.groups, study.cases, replicates=replicates, seed=seed)


@functools.lru_cache(maxsize=1)
def _with_readers(study: TwoClasses, replicates: int, seed: int) -> readers.ReaderComparison:
    return readers.compare_with_readers(
        study.labels, study.scores, study.calls, study.cases, replicates=max(100, replicates // 2), seed=seed
    )
