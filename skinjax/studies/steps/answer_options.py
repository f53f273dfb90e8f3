"""Options of what a run's networks say: which of them answer, and how that becomes a decision."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from skinjax.runs.options import Options, option

if TYPE_CHECKING:
    from skinjax.predict.decisions import DecisionOptions
    from skinjax.predict.networks import Predictor


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecidingOptions(Options):
    """Options of the networks that answer and of their decisions."""

    group: ClassVar[str] = "this study"

    fold: int = option(0, "The fold whose networks answer.", low=0)
    ensemble: bool = option(False, "Answer by the mean over the networks of all folds.")
    stages: tuple[str, ...] = option((), "Networks that answer, one per level. Default: sub and meta.")
    coverage: float = option(
        0.9, "Probability that a conformal set holds the true class.", low=0.01, high=0.999
    )
    answered: float = option(
        0.9,
        "Share of the run's own held-out photos that are certain enough for a diagnosis; the least certainty follows "
        "from it. It is no probability of being right.",
        low=0.01,
        high=1,
    )
    largest_set: int = option(
        3, "Classes that cannot be ruled out, with more of which a photo gets no diagnosis.", low=1
    )
    unusual: float = option(
        0.02,
        "Share of the run's own photos that lie beyond each limit of quality and novelty.",
        low=0.0001,
        high=0.4,
    )
    degrees: str = option(
        "", "Degrees of malignancy: a file or catalogue name. Default: the run's.", path=True
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
