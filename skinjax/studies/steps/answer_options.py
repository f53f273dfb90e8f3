"""Options of what a run's networks say: which of them answer, and how that becomes a decision."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from skinjax.runs.options import Options, option

if TYPE_CHECKING:
    from skinjax.predict.decisions import DecisionOptions
    from skinjax.predict.networks import Predictor


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuntimeOptions(Options):
    """The option of the library that computes the networks that answer."""

    group: ClassVar[str] = "this study"

    runtime: Literal["jax", "onnx"] = option(
        "jax",
        "Library that computes the networks that answer: jax, or onnx (ONNX Runtime on the CPU, in float32; "
        'pip install "skinjax[export]").',
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecidingOptions(Options):
    """Options of the networks that answer and of their decisions."""

    group: ClassVar[str] = "this study"

    fold: int = option(0, "Fold whose networks answer, counted from 0.", low=0)
    ensemble: bool = option(False, "Answer by the mean over the networks of all folds.")
    stages: tuple[str, ...] = option(
        (), "Stages whose networks answer, one per level. Default: sub and meta."
    )
    coverage: float = option(
        0.9,
        "Probability with which a conformal set must hold the true class, e.g. 0.9.",
        low=0.01,
        high=0.999,
    )
    answered: float = option(
        0.9,
        "Share of the run's own held-out photos that must get a diagnosis, which sets the least "
        "certainty. It is not a probability of being right.",
        low=0.01,
        high=1,
    )
    largest_set: int = option(
        3, "Largest number of classes that may remain possible; with more, no diagnosis is given.", low=1
    )
    unusual: float = option(
        0.02,
        "Share of the run's own photos that each limit of quality and novelty must exclude, e.g. 0.02.",
        low=0.0001,
        high=0.4,
    )
    degrees: str = option(
        "",
        "Degrees of malignancy of the classes: a file, or a name of the catalogue. Default: those of "
        "the run.",
        path=True,
    )
    grade_rule: Literal["argmax", "cutpoints", "least_cost"] = option(
        "least_cost", "Rule that chooses the degree of malignancy."
    )

    def decision_options(self, predictor: Predictor) -> DecisionOptions:
        """Returns the options of decisions, degrees read.

        Args:
          predictor: Networks of a run.

        Raises:
          ValueError: Degrees that are asked for are faulty.
        """
        from skinjax.predict.decisions import DecisionOptions
        from skinjax.predict.degrees import degrees_of
        from skinjax.runs.folder import RunFolder

        stored = RunFolder.read(predictor.workdir).options.get("degrees", "")
        degrees = degrees_of(predictor.taxonomy, self.degrees or stored, bool(self.degrees))
        return DecisionOptions(self.coverage, self.answered, self.largest_set, degrees, self.grade_rule)
