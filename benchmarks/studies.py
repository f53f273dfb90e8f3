"""Simulated studies of photos that come in cases, for `benchmarks.coverage` and its tests.

A case has one to six photos, and three cases in four hold one class; in the fourth every photo draws its own. A
score is a signal of the true class plus normal noise of variance 1. Of that noise a share, the correlation, is
the case's, and half of either part is common to all models and readers, as hard photos are hard for everybody.
A single photo's distribution depends neither on its case nor on the correlation, so what is true of a model is
known in closed form, or from very many photos of one case each.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logit, ndtr, ndtri, softmax

PREVALENCE, SIGNAL, WEAK_SIGNAL, SHARP_SIGNAL = 0.4, 1.8, 1.4, 2.9  # the signals' AUC: 0.90, 0.84, 0.98
NEAR_SIGNAL = 3.3  # of five classes of which some 97 in 100 photos are named right
HEAVY_TAIL, MOST_HEAVY = 1.2, 60  # Pareto's index of heavy-tailed case sizes, and the most photos of a case
OVERCONFIDENCE, TOO_HIGH = 1.4, 0.3  # what the probabilities' log odds are multiplied by and moved
CORRELATION, PEER_CORRELATION = 0.75, 0.5
THRESHOLD, THRESHOLD_SPREAD, SKILL_SPREAD = 0.9, 0.4, 0.3  # of the readers
GROUP_SHARES = (0.6, 0.25, 0.15)


@dataclasses.dataclass(frozen=True, eq=False)
class TwoClasses:
    """Photos of two classes with what three models and some readers say of them.

    Attributes:
        labels: 0 or 1, [N].
        cases: int[N].
        groups: int[N], a property of the case that nothing depends on.
        scores: float[N], of the model.
        peer: float[N], of a model just as good, whose errors are less alike within a case.
        weaker: float[N], of a worse model.
        sharp: float[N], of a nearly perfect one.
        probs: float[N], the model's probabilities, too extreme and too high.
        calls: bool[R, N], of readers who are as good as the model and differ in how easily they say yes.
        ratings: float[R, N], of readers who are as good on average and differ in that.
    """

    labels: NDArray[np.int64]
    cases: NDArray[np.int64]
    groups: NDArray[np.int64]
    scores: NDArray[np.float64]
    peer: NDArray[np.float64]
    weaker: NDArray[np.float64]
    sharp: NDArray[np.float64]
    probs: NDArray[np.float64]
    calls: NDArray[np.bool_]
    ratings: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class ManyClasses:
    """Photos of K classes with the probabilities of a model, of one just as good and of a worse one, [N, K]."""

    labels: NDArray[np.int64]
    cases: NDArray[np.int64]
    probs: NDArray[np.float64]
    peer: NDArray[np.float64]
    weaker: NDArray[np.float64]


def two_classes(
    rng: np.random.Generator, num_cases: int, most_photos: int = 6, num_readers: int = 8, heavy: bool = False
) -> TwoClasses:
    """Draws a study of two classes; with `heavy`, cases of heavy-tailed sizes."""
    cases = draw_cases(rng, num_cases, most_photos, heavy)
    labels = draw_labels(rng, cases, np.array([1 - PREVALENCE, PREVALENCE]))
    own, others, weak, *readers = draw_noise(
        rng, cases, [CORRELATION, PEER_CORRELATION, CORRELATION] + [PEER_CORRELATION] * num_readers, 1
    )[:, :, 0]
    latent = np.array(readers).reshape(num_readers, len(cases))
    thresholds = rng.normal(THRESHOLD, THRESHOLD_SPREAD, (num_readers, 1))
    # Skills of such a mean give a mean AUC that is the model's.
    skills = rng.normal(SIGNAL * np.sqrt(1 + SKILL_SPREAD**2 / 2), SKILL_SPREAD, (num_readers, 1))
    scores = SIGNAL * labels + own
    return TwoClasses(
        labels=labels,
        cases=cases,
        groups=rng.choice(len(GROUP_SHARES), size=num_cases, p=GROUP_SHARES)[cases],
        scores=scores,
        peer=SIGNAL * labels + others,
        weaker=WEAK_SIGNAL * labels + weak,
        sharp=SHARP_SIGNAL * labels + own,
        probs=expit(OVERCONFIDENCE * true_log_odds(scores) + TOO_HIGH),
        calls=SIGNAL * labels + latent >= thresholds,
        ratings=skills * labels + latent,
    )


def many_classes(
    rng: np.random.Generator,
    num_cases: int,
    shares: NDArray[np.float64],
    most_photos: int = 6,
    heavy: bool = False,
    signal: float = SIGNAL,
) -> ManyClasses:
    """Draws a study of as many classes as there are shares; the probabilities are too extreme."""
    cases = draw_cases(rng, num_cases, most_photos, heavy)
    labels = draw_labels(rng, cases, shares)
    noise = draw_noise(rng, cases, [CORRELATION, PEER_CORRELATION, CORRELATION], len(shares))
    true = np.eye(len(shares))[labels]
    probs = [
        softmax(OVERCONFIDENCE * log_softmax(np.log(shares) + own * (own * true + part), axis=1), axis=1)
        for own, part in zip((signal, signal, signal * WEAK_SIGNAL / SIGNAL), noise, strict=True)
    ]
    return ManyClasses(labels, cases, *probs)


def true_log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the log odds of class 1 that the model's scores mean."""
    return logit(PREVALENCE) + SIGNAL * scores - SIGNAL**2 / 2


def true_auc(signal: float) -> float:
    """Returns the area under the curve of two normal distributions of variance 1."""
    return float(ndtr(signal / np.sqrt(2)))


def true_sensitivity(specificity: float, signal: float = SIGNAL) -> float:
    """Returns the sensitivity at a specificity, likewise."""
    return float(ndtr(signal - ndtri(specificity)))


def true_mean_reader() -> tuple[float, float]:
    """Returns the sensitivity and specificity, averaged over readers."""
    spread = np.sqrt(1 + THRESHOLD_SPREAD**2)
    return float(ndtr((SIGNAL - THRESHOLD) / spread)), float(ndtr(THRESHOLD / spread))


def draw_cases(rng: np.random.Generator, num_cases: int, most_photos: int, heavy: bool) -> NDArray[np.int64]:
    """Draws how many photos each case has; returns the case of each photo."""
    if heavy:
        sizes = np.floor((1 - rng.random(num_cases)) ** (-1 / HEAVY_TAIL)).astype(np.int64)
        return np.repeat(np.arange(num_cases), np.minimum(sizes, MOST_HEAVY))
    return np.repeat(np.arange(num_cases), rng.integers(1, most_photos + 1, size=num_cases))


def draw_labels(
    rng: np.random.Generator, cases: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Draws a class per case, and in a quarter of the cases one per photo; returns int[N]."""
    num_cases = int(cases[-1]) + 1
    of_case = rng.choice(len(shares), size=num_cases, p=shares)
    of_photo = rng.choice(len(shares), size=len(cases), p=shares)
    mixed = rng.random(num_cases) < 0.25
    return np.where(mixed[cases], of_photo, of_case[cases])


def draw_noise(
    rng: np.random.Generator, cases: NDArray[np.int64], correlations: list[float], columns: int
) -> NDArray[np.float64]:
    """Draws noise of variance 1, [models, N, columns]."""
    models, num_cases = len(correlations), int(cases[-1]) + 1
    share = np.array(correlations)[:, None, None]
    of_cases = rng.normal(size=(models + 1, num_cases, columns))
    of_photos = rng.normal(size=(models + 1, len(cases), columns))
    of_case, of_photo = ((part[1:] + part[0]) / np.sqrt(2) for part in (of_cases, of_photos))
    return np.sqrt(share) * of_case[:, cases] + np.sqrt(1 - share) * of_photo
