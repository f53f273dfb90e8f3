"""From a run's probabilities to answers: calibrated, with a conformal set, a degree, and a certainty that is enough.

What is fitted is fitted on photos that the network has not seen: its own part of the run's stored predictions.

    fused        soft fusion of the finest level with a coarser one (thesis, 4-10), rescaled to sum to 1
    temperature  one per level with a network, and one of the fused probabilities
    set          LAC on the fused probabilities *before* calibration, so that the one fit does not weaken the other's
                 guarantee; a temperature keeps the order of a photo's classes, so the sets fit what is shown
    certainty    the largest calibrated probability, which --answered of the run's own photos reach
    degree       of calibrated probabilities; cut-points cost least on the run's own photos
    urgency      of degree, certainty and the most probable class (`skinjax.decide.advice`)

A level without a network is the sum of the calibrated finest classes. Where folds are averaged (`fold=-1`), no photo is
unseen by all networks: the folds' own predictions stand in. Their mean is less certain than they are, so that its
answers are under-confident: larger sets, and fewer photos answered than asked.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from skinjax.decide import advice
from skinjax.decide.abstain import certainty, fit_certainty_threshold
from skinjax.decide.conformal import (
    ConformalRule,
    back_off,
    fit_conformal,
    meta_sets,
    prediction_sets,
)
from skinjax.decide.hierarchy import fuse, marginalize
from skinjax.decide.malignancy import (
    GradeRule,
    call_degree,
    degree_probabilities,
    fit_cutpoints,
    grading_cost,
    merged_probabilities,
    reference_score,
    tumour_probability,
)
from skinjax.decide.probabilities import log_probabilities
from skinjax.labels.taxonomy import Taxonomy


@dataclasses.dataclass(frozen=True)
class DecisionOptions:
    """Options of the answers.

    Attributes:
      coverage: Coverage of the conformal sets, in (0, 1).
      answered: Share of the run's own photos that get a diagnosis, in (0, 1].
      set_limit: The largest set with which a photo gets a diagnosis; larger ones back off to the level above.
      degree_of_class: The degree of malignancy of each finest class, 0 the most benign, -1 for one that is no tumour;
        None for no degrees.
      rule: How a degree is chosen; the default favours the patient.
    """

    coverage: float = 0.9
    answered: float = 0.9
    set_limit: int = 3
    degree_of_class: tuple[int, ...] | None = None
    rule: GradeRule = "least_cost"

    def __post_init__(self) -> None:
        if not 0 < self.coverage < 1:
            raise ValueError(f"coverage must lie in (0, 1), got {self.coverage}")
        if not 0 < self.answered <= 1:
            raise ValueError(f"answered must lie in (0, 1], got {self.answered}")
        if self.set_limit < 1:
            raise ValueError(f"set_limit must be at least 1, got {self.set_limit}")

    @property
    def num_degrees(self) -> int:
        """Returns D; 0 without degrees."""
        return max(self.degree_of_class) + 1 if self.degree_of_class else 0


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Fitted values of the decisions.

    Attributes:
      temperatures: By level with a network; the finest is that of the fused probabilities.
      set_threshold: Threshold of the conformal rule; infinite where the cases are too few for the coverage.
      certainty: The least calibrated probability of a diagnosis.
      cutpoints: On the reference score; None without degrees.
      photos: How many were fitted on; 0 for none, and answers that are not calibrated.
      cases: Whose.
    """

    temperatures: Mapping[str, float]
    set_threshold: float = math.inf
    certainty: float = 0.0
    cutpoints: tuple[float, ...] | None = None
    photos: int = 0
    cases: int = 0


Outcome = dict[str, Any]
"""Result of `compiled_decide`; see there."""


def fuse_levels_of(probs: Mapping[str, Any], taxonomy: Taxonomy) -> jax.Array:
    """Returns the finest level's probabilities, fused with the nearest coarser level that has a network.

    Args:
      probs: Level -> float[..., K]; the finest at least.
      taxonomy: The taxonomy whose levels these are.

    Returns:
      float[..., S], rows summing to 1.

    Example:
      >>> tree = Taxonomy("four", ("meta", "sub"), (("m", "a"), ("m", "b"), ("n", "c")))
      >>> np.asarray(fuse_levels_of({"meta": [0.75, 0.25], "sub": [0.25, 0.25, 0.5]}, tree)).round(3)
      array([0.375, 0.375, 0.25 ], dtype=float32)
    """
    finest = taxonomy.finest
    coarser = [level for level in taxonomy.levels[:-1] if level in probs]
    sub = jnp.asarray(probs[finest])
    if not coarser:
        return sub
    parents = taxonomy.parents(finest, coarser[-1])
    return fuse(probs[coarser[-1]], sub, parents, "soft", normalize=True)


def fit_decisions(
    probs: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.integer],
    cases: NDArray[Any],
    taxonomy: Taxonomy,
    options: DecisionOptions,
) -> Decisions:
    """Fits everything on photos that the networks have not seen.

    Args:
      probs: Level -> float[N, K], what each level's network says; the finest at least.
      labels: int[N], the true finest classes.
      cases: [N], the case of each photo.
      taxonomy: The taxonomy whose classes these are.
      options: What the answers must be like.

    Returns:
      The fits.

    Raises:
      ValueError: Arrays that do not fit together.
    """
    from skinjax.decide.calibrate import fit_temperature  # scipy's optimisers take most of a second to import

    finest = taxonomy.finest
    fused = np.asarray(fuse_levels_of(probs, taxonomy), np.float32)
    logs = {
        level: np.asarray(log_probabilities(fused if level == finest else probs[level])) for level in probs
    }
    temperatures = {
        level: fit_temperature(values, taxonomy.parents(finest, level)[labels])
        for level, values in logs.items()
    }
    calibrated = np.asarray(jax.nn.softmax(logs[finest] / temperatures[finest]))
    wrong = calibrated.argmax(axis=1) != labels
    rule = fit_conformal(fused, labels, cases, coverage=options.coverage)
    cutpoints = None
    if options.degree_of_class:
        degrees = np.asarray(options.degree_of_class)
        of_degree = merged_probabilities(
            tumour_probability(calibrated, degrees),
            degree_probabilities(calibrated, degrees, options.num_degrees),
        )
        scores = reference_score(of_degree, np.linspace(0, 1, options.num_degrees))
        true, cost = np.maximum(degrees, 0)[labels], grading_cost(options.num_degrees)
        cutpoints = tuple(fit_cutpoints(np.asarray(scores), true, cost).tolist())
    return Decisions(
        temperatures=temperatures,
        set_threshold=rule.threshold,
        certainty=fit_certainty_threshold(
            wrong, np.asarray(certainty(calibrated)), coverage=options.answered
        ),
        cutpoints=cutpoints,
        photos=len(labels),
        cases=rule.num_cases,
    )


@functools.lru_cache(maxsize=16)
def compiled_decide(taxonomy: Taxonomy, options: DecisionOptions) -> Callable[..., Outcome]:
    """Returns the jitted function (probs, temperatures, set_threshold, certainty, cutpoints, fitted) -> outcome.

    Args:
      taxonomy: The taxonomy whose classes these are.
      options: What the answers must be like.

    Returns:
      The function. `probs` and `temperatures` are by level; the outcome holds, of B photos, `probs` (level ->
      float32[B, K], calibrated, every level of the taxonomy), `set` bool[B, S], `set_size` int32[B] before it backs
      off, `backed_off` bool[B], `above` bool[B, M] the classes of the level above that the set touches (None in a flat
      taxonomy), `certainty` float32[B], `certain` bool[B], and with degrees `tumour` float32[B], `degree_probs`
      float32[B, D] and `score` float32[B] as far as it is a tumour, `degree` int32[B] (-1 for no tumour), and the
      urgency int32[B] (-1 where withheld): `urgency` of a photo that is as photos should be, `urgency_unusable` of any
      other. Where nothing was fitted, or where the set allows no diagnosis, no photo is certain enough for an urgency
      of routine.
    """
    finest, levels = taxonomy.finest, taxonomy.levels

    def decide(
        probs: Mapping[str, jax.Array],
        temperatures: Mapping[str, jax.Array],
        set_threshold: jax.Array,
        least: jax.Array,
        cutpoints: jax.Array,
        fitted: jax.Array,
    ) -> Outcome:
        fused = fuse_levels_of(probs, taxonomy)
        calibrated = {
            level: jax.nn.softmax(log_probabilities(fused if level == finest else p) / temperatures[level])
            for level, p in probs.items()
        }
        for level in levels:
            if level not in calibrated:
                parents = taxonomy.parents(finest, level)
                calibrated[level] = marginalize(calibrated[finest], parents, len(taxonomy.classes(level)))
        # What the rule was fitted on does not matter any more, but for the threshold.
        rule = ConformalRule(set_threshold, "lac", False, options.coverage, 0)  # type: ignore[arg-type]
        sets = prediction_sets(rule, fused)
        size = sets.sum(axis=-1)
        backed_off, above = jnp.zeros(len(sets), bool), None
        if len(levels) > 1:
            parents, count = taxonomy.parents(finest, levels[-2]), len(taxonomy.classes(levels[-2]))
            above = meta_sets(sets, parents, count)
            sets, backed_off = back_off(sets, parents, count, options.set_limit)
        sure = certainty(calibrated[finest])
        outcome = {
            "probs": calibrated,
            "set": sets,
            "set_size": size,
            "backed_off": backed_off,
            "above": above,
            "certainty": sure,
            "certain": sure >= least,
        }
        if options.degree_of_class:
            count, of_class = options.num_degrees, np.asarray(options.degree_of_class)
            tumour = tumour_probability(calibrated[finest], of_class)
            of_degree = degree_probabilities(calibrated[finest], of_class, count)
            limits = cutpoints if options.rule == "cutpoints" else None
            degree = call_degree(tumour, of_degree, options.rule, cutpoints=limits)
            narrow = (size < len(taxonomy.classes())) & (size <= options.set_limit)
            told = (
                degree,
                advice.top_degree(calibrated[finest], of_class),
                (sure >= least) & fitted & narrow,
            )
            outcome |= {
                "tumour": tumour,
                "degree_probs": of_degree,
                "score": reference_score(of_degree, np.linspace(0, 1, count)),
                "degree": degree,
                "urgency": advice.urgencies(*told, True, count),
                "urgency_unusable": advice.urgencies(*told, False, count),
            }
        return outcome

    return jax.jit(decide)


def decide(
    probs: Mapping[str, NDArray], taxonomy: Taxonomy, options: DecisionOptions, decisions: Decisions
) -> Outcome:
    """Applies what was fitted; see `compiled_decide` for the outcome, here in numpy.

    Args:
      probs: Level -> float[B, K], what each level's network says.
      taxonomy: The taxonomy whose classes these are.
      options: What the answers must be like.
      decisions: What was fitted.

    Raises:
      ValueError: Degrees by cut-points, and none were fitted.
    """
    check_grade_rule(options, decisions)
    function = compiled_decide(taxonomy, options)
    levels = [level for level in taxonomy.levels if level in probs]
    return jax.device_get(
        function(
            {level: np.asarray(probs[level], np.float32) for level in levels},
            {level: np.float32(decisions.temperatures.get(level, 1.0)) for level in levels},
            np.float32(decisions.set_threshold),
            np.float32(decisions.certainty),
            np.asarray(decisions.cutpoints or np.zeros(max(options.num_degrees - 1, 0)), np.float32),
            np.bool_(decisions.photos > 0),
        )
    )


def check_grade_rule(options: DecisionOptions, decisions: Decisions) -> None:
    """Refuses degrees by cut-points where none were fitted.

    Raises:
      ValueError: As it says.
    """
    if options.degree_of_class and options.rule == "cutpoints" and decisions.cutpoints is None:
        raise ValueError(
            "grade_rule must not be cutpoints where the run has no stored predictions of these networks to fit them on"
        )
