"""From a run's probabilities to answers: calibrated, with a conformal set, a degree, and a certainty that is enough.

What is fitted is fitted on photos that the network has not seen: its own part of the run's stored predictions.

    fused        soft fusion of the finest level with a coarser one (thesis, 4-10), rescaled to sum to 1
    temperature  one a level with a network, and one of the fused probabilities
    set          LAC on the fused probabilities *before* calibration, so that the one fit does not weaken the other's
                 guarantee; a temperature keeps the order of a photo's classes, so the sets fit what is shown
    certainty    the largest calibrated probability, which --answered of the run's own photos reach
    degree       of calibrated probabilities; cut-points cost least on the run's own photos

A level without a network is the sum of the calibrated finest classes. Where folds are averaged (`fold=-1`), no photo is
unseen by all networks: the folds' own predictions stand in. Their mean is less certain than they are, so that its
answers are under-confident: larger sets, and fewer photos answered than asked.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from skinjax.data.predictions import probabilities, read_predictions, validate
from skinjax.data.tables import replacing
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
    degree_probabilities,
    fit_cutpoints,
    grade,
    grading_cost,
    reference_score,
)
from skinjax.decide.probabilities import log_probabilities
from skinjax.labels.taxonomy import Taxonomy
from skinjax.predict.networks import DEFAULT_STAGES, Predictor

FILE, VERSION = "decisions.json", 1
"""Where the fits are kept in a run's folder, and the version of what stands there."""

POOLED = ("out_of_fold.parquet", "held_out.parquet")
"""A run's stored predictions, by the experiment that made them."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked of the answers.

    Attributes:
      coverage: of the conformal sets, in (0, 1).
      answered: share of the run's own photos that get a diagnosis, in (0, 1].
      set_limit: the largest set that does not back off to the level above.
      degree_of_class: the degree of malignancy of each finest class, 0 the most benign; None for no degrees.
      rule: how a degree is chosen; the default favours the patient.
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
        """D; 0 without degrees."""
        return max(self.degree_of_class) + 1 if self.degree_of_class else 0


@dataclasses.dataclass(frozen=True)
class Decisions:
    """What was fitted.

    Attributes:
      temperatures: by level with a network; the finest is that of the fused probabilities.
      set_threshold: of the conformal rule; infinite where the cases are too few for the coverage.
      certainty: the least calibrated probability of a diagnosis.
      cutpoints: on the reference score; None without degrees.
      photos: how many were fitted on; 0 for none, and answers that are not calibrated.
      cases: whose.
    """

    temperatures: Mapping[str, float]
    set_threshold: float = math.inf
    certainty: float = 0.0
    cutpoints: tuple[float, ...] | None = None
    photos: int = 0
    cases: int = 0


Outcome = dict[str, Any]
"""What `compiled_decide` gives; see there."""


def fuse_levels_of(probs: Mapping[str, Any], taxonomy: Taxonomy) -> jax.Array:
    """The finest level's probabilities, fused with the nearest coarser level that has a network.

    Args:
      probs: level -> float[..., K]; the finest at least.
      taxonomy: whose levels.

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
    wanted: Wanted,
) -> Decisions:
    """Fits everything on photos that the networks have not seen.

    Args:
      probs: level -> float[N, K], what each level's network says; the finest at least.
      labels: int[N], the true finest classes.
      cases: [N], the case of each photo.
      taxonomy: whose classes.
      wanted: what is asked for.

    Returns:
      The fits.

    Raises:
      ValueError: arrays that do not fit together.
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
    rule = fit_conformal(fused, labels, cases, coverage=wanted.coverage)
    cutpoints = None
    if wanted.degree_of_class:
        degrees = np.asarray(wanted.degree_of_class)
        of_degree = degree_probabilities(calibrated, degrees, wanted.num_degrees)
        scores = reference_score(of_degree, np.linspace(0, 1, wanted.num_degrees))
        cutpoints = tuple(
            fit_cutpoints(np.asarray(scores), degrees[labels], grading_cost(wanted.num_degrees)).tolist()
        )
    return Decisions(
        temperatures=temperatures,
        set_threshold=rule.threshold,
        certainty=fit_certainty_threshold(wrong, np.asarray(certainty(calibrated)), coverage=wanted.answered),
        cutpoints=cutpoints,
        photos=len(labels),
        cases=rule.num_cases,
    )


@functools.lru_cache(maxsize=16)
def compiled_decide(taxonomy: Taxonomy, wanted: Wanted) -> Callable[..., Outcome]:
    """The jitted function (probs, temperatures, set_threshold, certainty, cutpoints) -> outcome.

    Args:
      taxonomy: whose classes.
      wanted: what is asked for.

    Returns:
      The function. `probs` and `temperatures` are by level; the outcome holds, of B photos, `probs` (level ->
      float32[B, K], calibrated, every level of the taxonomy), `set` bool[B, S], `backed_off` bool[B], `above`
      bool[B, M] the classes of the level above that the set touches (None in a flat taxonomy), `certainty` float32[B],
      `certain` bool[B], and with degrees `degree_probs` float32[B, D], `score` float32[B] and `degree` int32[B].
    """
    finest, levels = taxonomy.finest, taxonomy.levels

    def decide(
        probs: Mapping[str, jax.Array],
        temperatures: Mapping[str, jax.Array],
        set_threshold: jax.Array,
        least: jax.Array,
        cutpoints: jax.Array,
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
        rule = ConformalRule(set_threshold, "lac", False, wanted.coverage, 0)  # type: ignore[arg-type]
        sets = prediction_sets(rule, fused)
        backed_off, above = jnp.zeros(len(sets), bool), None
        if len(levels) > 1:
            parents, count = taxonomy.parents(finest, levels[-2]), len(taxonomy.classes(levels[-2]))
            above = meta_sets(sets, parents, count)
            sets, backed_off = back_off(sets, parents, count, wanted.set_limit)
        sure = certainty(calibrated[finest])
        outcome = {
            "probs": calibrated,
            "set": sets,
            "backed_off": backed_off,
            "above": above,
            "certainty": sure,
            "certain": sure >= least,
        }
        if wanted.degree_of_class:
            count = wanted.num_degrees
            of_degree = degree_probabilities(calibrated[finest], np.asarray(wanted.degree_of_class), count)
            outcome["degree_probs"] = of_degree
            outcome["score"] = reference_score(of_degree, np.linspace(0, 1, count))
            limits = cutpoints if wanted.rule == "cutpoints" else None
            outcome["degree"] = grade(of_degree, wanted.rule, cutpoints=limits)
        return outcome

    return jax.jit(decide)


def decide(probs: Mapping[str, NDArray], taxonomy: Taxonomy, wanted: Wanted, decisions: Decisions) -> Outcome:
    """Applies what was fitted; see `compiled_decide` for the outcome, here in numpy.

    Args:
      probs: level -> float[B, K], what each level's network says.
      taxonomy: whose classes.
      wanted: what is asked for.
      decisions: what was fitted.
    """
    function = compiled_decide(taxonomy, wanted)
    levels = [level for level in taxonomy.levels if level in probs]
    return jax.device_get(
        function(
            {level: np.asarray(probs[level], np.float32) for level in levels},
            {level: np.float32(decisions.temperatures.get(level, 1.0)) for level in levels},
            np.float32(decisions.set_threshold),
            np.float32(decisions.certainty),
            np.asarray(decisions.cutpoints or np.zeros(max(wanted.num_degrees - 1, 0)), np.float32),
        )
    )


def predictions_path(predictor: Predictor) -> Path | None:
    """The stored predictions of the predictor's own networks; None where the run has none."""
    folder = predictor.workdir / "predictions"
    stages = set(predictor.stages.values())
    names = POOLED if stages <= set(DEFAULT_STAGES) else ()
    stage = predictor.stages[predictor.taxonomy.finest]
    names = (*names, f"{stage}.parquet", f"{stage}_test.parquet")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def run_decisions(predictor: Predictor, wanted: Wanted) -> Decisions:
    """What was fitted on the run's own predictions, from its `decisions.json` where that is still true.

    Args:
      predictor: networks of the run.
      wanted: what is asked for.

    Returns:
      The fits; with `photos` 0 and nothing calibrated where the run has no stored predictions of these networks.

    Raises:
      ValueError: the stored predictions are not of this run's classes.
    """
    path = predictions_path(predictor)
    if path is None:
        return Decisions(dict.fromkeys(predictor.levels, 1.0))
    key = {
        "version": VERSION,
        "predictions": file_hash(path),
        "fold": predictor.fold,
        "stages": predictor.stages,
        "wanted": dataclasses.asdict(wanted),
    }
    key = json.loads(json.dumps(key))
    stored = predictor.workdir / FILE
    if (found := _read(stored, key)) is not None:
        return found
    frame = read_predictions(path)
    validate(frame, predictor.taxonomy)
    if predictor.fold >= 0:
        frame = frame[frame["fold"] == predictor.fold]
    if not len(frame):
        return Decisions(dict.fromkeys(predictor.levels, 1.0))
    probs = {level: probabilities(frame, predictor.taxonomy, level) for level in predictor.levels}
    labels = predictor.taxonomy.encode(frame["label"])
    decisions = fit_decisions(probs, labels, frame["case_id"].to_numpy(), predictor.taxonomy, wanted)
    document = {"key": key, "decisions": dataclasses.asdict(decisions)}
    with replacing(stored) as temporary:
        temporary.write_text(json.dumps(_written(document), indent=1, allow_nan=False), encoding="utf-8")
    return decisions


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, key: dict[str, Any]) -> Decisions | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["key"] != key:
            return None
        fields = document["decisions"]
        cutpoints = fields["cutpoints"]
        return Decisions(
            **(
                fields
                | {
                    "set_threshold": _number(fields["set_threshold"]),
                    "cutpoints": None if cutpoints is None else tuple(map(_number, cutpoints)),
                }
            )
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _number(value: float | None) -> float:
    return math.inf if value is None else float(value)


def _written(value: Any) -> Any:
    """JSON knows no infinity: null stands for it."""
    if isinstance(value, Mapping):
        return {name: _written(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_written(entry) for entry in value]
    return None if isinstance(value, float) and math.isinf(value) else value
