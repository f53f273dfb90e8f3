"""Does an interval ever keep out its own estimate, or have no width, whatever the study?

    python -m benchmarks.odd_studies             # 10,000 studies, about a quarter of an hour on one core

Draws studies at random: 2 to 120 cases of 1 to 12 photos, or heavy-tailed; 2 to 8 classes of any shares; models from
chance to perfect, calibrated or not; scores with ties, rounded to one or two digits, or all alike. Gives each to every
interval of `skinjax.evaluate` that the report shows, and counts those with limits, those without, and those at fault:
an estimate outside of its limits, or limits that are the same where the figure could have been another.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.studies import draw_cases
from skinjax.evaluate import bootstrap, calibration, delong, logistic_calibration, multiclass, readers
from skinjax.evaluate.agreement import kappa, linear_kappa, quadratic_kappa
from skinjax.evaluate.decision_curve import decision_curve
from skinjax.evaluate.precision_recall import weighted_average_precision
from skinjax.evaluate.proportions import proportion_by_case
from skinjax.evaluate.roc import weighted_auc
from skinjax.evaluate.roc_band import roc_band
from skinjax.evaluate.subgroups import subgroups

REPLICATES, SLACK = 99, 1e-9
Limits = tuple[Any, Any, Any]  # estimate, lower and upper limit: numbers or arrays


@dataclasses.dataclass(frozen=True, eq=False)
class OddStudy:
    """Photos of K classes with what a model and three readers say of them.

    Attributes:
      labels: int64[N] in [0, K).
      cases: int64[N].
      groups: int64[N], 0 to 2, a property of the case.
      probs: float64[N, K], rows that sum to 1; 0 and 1 occur.
      calls: bool[3, N], readers' calls of class 1.
    """

    labels: NDArray[np.int64]
    cases: NDArray[np.int64]
    groups: NDArray[np.int64]
    probs: NDArray[np.float64]
    calls: NDArray[np.bool_]


def odd_study(rng: np.random.Generator) -> OddStudy:
    """Draws a study, small and strange more often than not."""
    num_cases, num_classes = int(rng.integers(2, 121)), int(rng.integers(2, 9))
    cases = draw_cases(rng, num_cases, most_photos=int(rng.integers(1, 13)), heavy=rng.random() < 0.2)
    shares = rng.dirichlet(np.full(num_classes, rng.choice([0.3, 1.0, 5.0])))
    labels = rng.choice(num_classes, size=num_cases, p=shares)[cases]
    if rng.random() < 0.3:  # cases of photos of several classes
        labels = np.where(
            rng.random(len(cases)) < 0.3, rng.choice(num_classes, size=len(cases), p=shares), labels
        )
    signal = rng.choice([0.0, 1.0, 2.0, 4.0, 20.0])
    noise = rng.normal(size=(num_cases, num_classes))[cases] + rng.normal(size=(len(cases), num_classes))
    logits = rng.choice([0.2, 1.0, 3.0]) * (signal * np.eye(num_classes)[labels] + noise)
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    if (digits := int(rng.integers(0, 6))) in (1, 2):  # as a random forest's
        units = np.floor(probs * 10**digits)
        units[np.arange(len(probs)), probs.argmax(axis=1)] += 10**digits - units.sum(axis=1)
        probs = units / 10**digits
    elif digits == 3 and rng.random() < 0.2:
        probs = np.full_like(probs, 1 / num_classes)
    groups = rng.integers(0, 3, size=num_cases)[cases]
    ease = rng.choice([0.0, 1.0, 8.0])
    calls = ease * (2 * (labels == 1) - 1) + rng.normal(size=(3, len(cases))) > 0
    return OddStudy(labels, cases, groups, probs, calls)


def figures(study: OddStudy, seed: int) -> Iterator[tuple[str, Callable[[], Limits]]]:
    """Returns the intervals of a study by name, each worked out when it is called."""
    labels, cases, probs = study.labels, study.cases, study.probs
    answers, truth, scores = probs.argmax(axis=1), (labels == 1).astype(int), probs[:, 1]
    peer = np.roll(probs, 1, axis=0)
    two_classes = 0 < truth.sum() < len(truth)

    def by_case(metric: Any, *arrays: NDArray) -> Callable[[], Limits]:
        return lambda: _limits(bootstrap.by_case(metric, arrays, cases, REPLICATES, seed=seed))

    def pair(metric: Any, first: NDArray, second: NDArray, true: NDArray = labels) -> Callable[[], Limits]:
        return lambda: _limits(
            bootstrap.paired_by_case(metric, true, first, second, cases, REPLICATES, seed=seed)
        )

    for name in (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "macro_recall",
        "macro_precision",
        "weighted_f1",
    ):
        yield name, by_case(getattr(bootstrap, name), labels, answers)
        yield f"difference of {name}", pair(getattr(bootstrap, name), answers, peer.argmax(axis=1))
    for name, metric in (
        ("kappa", kappa),
        ("linear kappa", linear_kappa),
        ("quadratic kappa", quadratic_kappa),
    ):
        yield name, by_case(metric, labels, answers)
    yield "Brier score", by_case(bootstrap.brier, labels, probs)
    yield "log loss", by_case(bootstrap.log_loss, labels, probs)
    yield "difference of log loss", pair(bootstrap.log_loss, probs, peer)
    yield "top-label calibration error", by_case(calibration.calibration_error("top_label"), labels, probs)
    yield "calibration error", by_case(calibration.calibration_error(), truth, scores)
    yield "share right", lambda: _limits(proportion_by_case(answers == labels, cases))
    yield "accuracy in a subgroup", lambda: _of_groups(bootstrap.accuracy, (labels, answers), study, seed)
    yield "reliability", lambda: _curve(calibration.reliability_curve(truth, scores, cases), "observed")
    yield "net benefit", lambda: _curve(decision_curve(truth, scores, cases).model, "estimate")
    yield "gain in net benefit", lambda: _curve(decision_curve(truth, scores, cases).gain, "estimate")
    if not two_classes:
        return
    yield "calibration slope", lambda: _of_line(truth, scores, cases, "slope")
    yield "calibration intercept", lambda: _of_line(truth, scores, cases, "intercept")
    yield "AUC (auc_interval)", lambda: _limits(delong.auc_interval(truth, scores, cases=cases))
    yield "AUC (by_case)", by_case(weighted_auc, truth, scores)
    yield "average precision", by_case(weighted_average_precision, truth, scores)
    yield "difference of AUC", lambda: _limits(delong.compare(truth, scores, peer[:, 1], cases))
    yield "difference of AUC (paired_by_case)", pair(weighted_auc, scores, peer[:, 1], truth)
    yield (
        "sensitivities (roc_band)",
        lambda: _curve(
            roc_band(truth, scores, cases, (0.5, 0.8, 0.9, 0.95), REPLICATES, seed=seed), "sensitivity"
        ),
    )
    yield (
        "mean reader's sensitivity",
        lambda: _limits(readers.mean_reader(truth, study.calls, cases).sensitivity),
    )
    yield (
        "mean reader's specificity",
        lambda: _limits(readers.mean_reader(truth, study.calls, cases).specificity),
    )
    yield "AUC in a subgroup", lambda: _of_groups(weighted_auc, (truth, scores), study, seed)
    if len(np.unique(labels)) == probs.shape[1]:
        yield "macro AUC", lambda: _limits(multiclass.macro_auc_interval(labels, probs, cases=cases))
        yield (
            "difference of macro AUC",
            lambda: _limits(multiclass.compare_macro_auc(labels, probs, peer, cases)),
        )


def count(studies: int, seed: int) -> tuple[dict[str, Counter[str]], dict[str, list[str]]]:
    """Returns, by the interval's name, how many there were of each kind, and the first studies of those at fault."""
    counts: dict[str, Counter[str]] = {}
    faults: dict[str, list[str]] = {}
    for number in range(studies):
        study = odd_study(np.random.default_rng([seed, number]))
        for name, limits in figures(study, number):
            found = counts.setdefault(name, Counter())
            for estimate, low, high in zip(*(np.atleast_1d(part) for part in limits()), strict=True):
                kind = judge(float(estimate), float(low), float(high))
                found[kind] += 1
                if kind in FAULTS and len(faults.setdefault(name, [])) < 3:
                    faults[name].append(f"study {number}: {estimate:.6g} ({low:.6g} to {high:.6g})")
    return counts, faults


FAULTS = ("outside", "no width", "half")


def judge(estimate: float, low: float, high: float) -> str:
    """Returns what is so of an interval: "given", "none", or a fault.

    Example:
      >>> judge(0.5, 0.4, 0.6), judge(0.5, 0.6, 0.7), judge(0.5, 0.5, 0.5), judge(0.5, np.nan, np.nan)
      ('given', 'outside', 'no width', 'none')
    """
    if np.isnan(low) and np.isnan(high):
        return "none"
    if np.isnan(low) or np.isnan(high) or np.isnan(estimate):
        return "half"
    if not low - SLACK <= estimate <= high + SLACK:
        return "outside"
    return "given" if low < high else "no width"


def _limits(found: Any) -> Limits:
    names = ("estimate", "difference", "auc", "share", "value")
    return next(getattr(found, name) for name in names if hasattr(found, name)), found.low, found.high


def _curve(found: Any, name: str) -> Limits:
    return getattr(found, name), found.low, found.high


def _of_line(truth: NDArray, scores: NDArray, cases: NDArray, name: str) -> Limits:
    line = logistic_calibration.calibration_line(truth, scores, cases)
    return getattr(line, name), getattr(line, f"{name}_low"), getattr(line, f"{name}_high")


def _of_groups(metric: Any, arrays: tuple[NDArray, ...], study: OddStudy, seed: int) -> Limits:
    found = subgroups(metric, arrays, study.groups, study.cases, replicates=REPLICATES, seed=seed)
    rows = [(one.interval.estimate, one.interval.low, one.interval.high) for one in found.groups]
    estimate, low, high = np.array(rows).T
    return estimate, low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    counts, faults = count(options.studies, options.seed)
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    print(
        f"{options.studies:,} studies, seed {options.seed}; Python {platform.python_version()}, {packages};",
        end=" ",
    )
    print(f"{(time.perf_counter() - start) / 60:.0f} minutes\n")
    print(
        "| | with limits | without | estimate outside | no width | one limit alone |",
        "|---" * 6 + "|",
        sep="\n",
    )
    for name, found in counts.items():
        print(
            f"| {name} | {found['given']:,} | {found['none']:,} | "
            + " | ".join(str(found[k]) for k in FAULTS)
            + " |"
        )
    for name, lines in faults.items():
        print(f"\n{name}: " + "; ".join(lines))


if __name__ == "__main__":
    main()
