"""Bootstrap intervals by case: ours beside scikit-learn in a loop, `confidenceinterval` and `MLstatkit`.

    python -m benchmarks.statistics             # about a minute
    python -m benchmarks.statistics --large     # and a million photos, ours alone: about another

`confidenceinterval` and `MLstatkit` have columns of their own where they are installed; both resample photos, not
cases, which is less work and the wrong interval for photos that come in cases. scikit-learn's loop draws cases.

The contenders take turns, round by round. Ours runs all replicates; the others run a few, and their time is
scaled up to as many (the packages' estimate counted as one more). Replicates of the loop and of ours are drawn
alike and compared.
"""

import argparse
import contextlib
import importlib
import io
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

from skinjax.evaluate.agreement import quadratic_kappa
from skinjax.evaluate.bootstrap import by_case, macro_f1
from skinjax.evaluate.resampling import over_draws
from skinjax.evaluate.roc import weighted_auc

REPLICATES, FEW, CLASSES, PEERS = 2000, 40, 19, ("confidenceinterval", "MLstatkit")


def draw_photos(photos: int) -> dict[str, NDArray]:
    """Answers of a fair model: classes, degrees, a binary target and its scores; about 2.5 photos per case."""
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=photos)
    degrees = labels % 3
    return {
        "cases": rng.integers(int(photos / 2.5), size=photos),
        "labels": labels,
        "predicted": np.where(rng.random(photos) < 0.6, labels, rng.integers(CLASSES, size=photos)),
        "degrees": degrees,
        "grades": np.clip(degrees + rng.integers(-1, 2, size=photos), 0, 2),
        "target": (labels == 0).astype(int),
        "scores": (labels == 0) + rng.normal(size=photos),
    }


def macro_f1_score(labels: NDArray, predicted: NDArray) -> float:
    return float(f1_score(labels, predicted, average="macro", zero_division=0))


def quadratic_kappa_score(labels: NDArray, grades: NDArray) -> float:
    return float(cohen_kappa_score(labels, grades, weights="quadratic"))


def loop(
    score: Callable[..., float], arrays: tuple[NDArray, ...], cases: NDArray, replicates: int
) -> list[float]:
    """Runs the bootstrap as one writes it: draw cases, gather their photos, score."""
    order = np.argsort(cases, kind="stable")
    photos_of = np.split(order, np.cumsum(np.bincount(cases))[:-1])
    photos_of = [photos for photos in photos_of if len(photos)]
    rng = np.random.default_rng(0)
    values = []
    for _ in range(replicates):
        drawn = rng.integers(len(photos_of), size=len(photos_of))
        index = np.concatenate([photos_of[case] for case in drawn])
        values.append(score(*(array[index] for array in arrays)))
    return values


def confidenceinterval_loop(score: Callable[..., float], arrays: tuple[NDArray, ...]) -> Any:
    module = importlib.import_module("confidenceinterval.bootstrap")
    return module.bootstrap_ci(*arrays, score, n_resamples=FEW, method="bootstrap_percentile")


def mlstatkit_loop(arrays: tuple[NDArray, ...]) -> Any:
    module = importlib.import_module("MLstatkit")
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        return module.Bootstrapping(*arrays, "roc_auc", n_bootstraps=FEW)


def seconds(program: Callable[[], Any]) -> float:
    start = time.perf_counter()
    program()
    return time.perf_counter() - start


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def compare(rounds: int, photos: int) -> None:
    drawn = draw_photos(photos)
    cases = np.unique(drawn["cases"], return_inverse=True)[1]
    rows = (
        ("macro F1, 19 classes", macro_f1, macro_f1_score, (drawn["labels"], drawn["predicted"])),
        ("AUC", weighted_auc, roc_auc_score, (drawn["target"], drawn["scores"])),
        ("quadratic kappa, 3 degrees", quadratic_kappa, quadratic_kappa_score, (drawn["degrees"], drawn["grades"])),
    )  # fmt: skip
    print(
        "| | ours | scikit-learn, loop by case | " + " | ".join(f"{peer}, by photo" for peer in PEERS) + " |"
    )
    print("|---|---|---|---|---|")
    for name, metric, score, arrays in rows:
        (fast,), _ = over_draws([(metric, arrays, None)], cases, FEW, seed=0)
        np.testing.assert_allclose(fast, loop(score, arrays, cases, FEW), rtol=0, atol=1e-12)
        contenders: dict[str, tuple[Callable[[], Any], float]] = {
            "ours": (lambda m=metric, a=arrays: by_case(m, a, cases, REPLICATES), 1),
            "loop": (lambda s=score, a=arrays: loop(s, a, cases, FEW), REPLICATES / FEW),
        }
        if installed("confidenceinterval"):
            contenders["confidenceinterval"] = (
                lambda s=score, a=arrays: confidenceinterval_loop(s, a),
                REPLICATES / (FEW + 1),
            )
        if installed("MLstatkit") and name == "AUC":
            contenders["MLstatkit"] = (lambda a=arrays: mlstatkit_loop(a), REPLICATES / (FEW + 1))
        times: dict[str, list[float]] = {label: [] for label in contenders}
        for _ in range(rounds):
            for label, (program, scale) in contenders.items():
                times[label].append(seconds(program) * scale)
        cells = [f"{statistics.median(times['ours']):.2f}"]
        for label in ("loop", *PEERS):
            if label in times:
                ratio = statistics.median(
                    other / own for other, own in zip(times[label], times["ours"], strict=True)
                )
                cells.append(f"{statistics.median(times[label]):.1f} (×{ratio:.0f})")
            else:
                offered = installed(label) is not None or label == "loop"
                cells.append("not offered" if offered else "not installed")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def large(photos: int) -> None:
    drawn = draw_photos(photos)
    taken = seconds(
        lambda: by_case(macro_f1, (drawn["labels"], drawn["predicted"]), drawn["cases"], REPLICATES)
    )
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"\n{photos:,} photos, macro F1, {REPLICATES:,} replicates: {taken:.1f} s; the process held {held:,.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison")
    parser.add_argument("--photos", type=int, default=10_000, help="photos, 2.5 per case")
    parser.add_argument("--large", action="store_true", help="also a million photos, ours alone")
    options = parser.parse_args()
    names = ("numpy", "scipy", "scikit-learn", *PEERS)
    versions = ", ".join(f"{name} {installed(name) or 'not installed'}" for name in names)
    print(f"{date.today()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print(
        f"{options.photos:,} photos; seconds for {REPLICATES:,} replicates, median of {options.rounds} rounds\n"
    )
    compare(options.rounds, options.photos)
    if options.large:
        large(1_000_000)


if __name__ == "__main__":
    main()
