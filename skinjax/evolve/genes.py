"""Genes, their limits, and how they mutate (thesis, section 4.2.2, Table 4-1 and equation 4-7)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

SMALLEST_FACTOR, LARGEST_FACTOR = 0.3, 3.0  # of equation 4-7


@dataclasses.dataclass(frozen=True)
class Gene:
    """A hyper-parameter that evolves.

    Attributes:
      name: what it is called, as the flag that sets it.
      start: its value in the start set.
      low: the smallest value it may take, at least 0.
      high: the largest.
      gain: factor of its mutations, ours; 1 leaves equation 4-7 as it is, 0 keeps the gene.

    Raises:
      ValueError: A number that is not finite, limits that do not hold the start, a negative limit or gain, or a start
        of 0 with a gain above 0: mutation multiplies, so that such a gene could never move.

    Example:
      >>> Gene("momentum", 0.951, 0.6, 0.98).gain
      1.0
    """

    name: str
    start: float
    low: float
    high: float
    gain: float = 1.0

    def __post_init__(self) -> None:
        numbers = (self.start, self.low, self.high, self.gain)
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"gene {self.name} must have finite numbers, got {numbers}")
        if not 0 <= self.low <= self.start <= self.high:
            raise ValueError(
                f"gene {self.name} must have 0 <= low <= start <= high, got {self.low:g}, {self.start:g}, {self.high:g}"
            )
        if self.gain < 0:
            raise ValueError(f"gene {self.name} must have a gain of at least 0, got {self.gain:g}")
        if self.start == 0 and self.gain > 0:
            raise ValueError(
                f"gene {self.name} starts at 0, which no multiplication moves; start above 0, or give it a gain of 0"
            )

    @property
    def moves(self) -> bool:
        """Returns whether any mutation can change it."""
        return self.gain > 0 and self.low < self.high


# Name, start value (Table 4-1), and limits, which the thesis does not give: ours. The limits keep the step a step (a
# momentum of 1 never forgets) and the lesion in the photo; those of the augmentation lie within what
# `skinjax.augment.Strengths` takes.
_TABLE_4_1 = (
    ("learning_rate", 0.00465, 1e-4, 0.1),
    ("final_learning_rate", 1e-5, 1e-7, 1e-3),
    ("momentum", 0.951, 0.6, 0.98),
    ("weight_decay", 0.000355, 1e-6, 0.01),
    ("hsv_h", 0.0138, 0.0, 0.1),
    ("hsv_s", 0.678, 0.0, 0.9),
    ("hsv_v", 0.36, 0.0, 0.9),
    ("rotation", 10.0, 0.0, 90.0),
    ("translation", 0.15, 0.0, 0.5),
    ("scale", 0.358, 0.0, 0.9),
    ("shear", 0.9, 0.0, 20.0),
    ("burn_in", 50.0, 1.0, 500.0),
)


def table_4_1(
    starts: Mapping[str, float] | None = None, *, longest_burn_in: float = math.inf
) -> tuple[Gene, ...]:
    """Returns the twelve genes of Table 4-1.

    Args:
      starts: other start values, by name. Where one lies outside our limits, the limit moves there; one of 0 stands
        still, with a gain of 0.
      longest_burn_in: upper limit of `burn_in` in batches: a burn-in as long as the run never reaches its learning
        rate. It moves up to the start value where that is greater.

    Raises:
      ValueError: `starts` names an unknown gene, or a value is not finite.

    Example:
      >>> genes = table_4_1({"learning_rate": 0.02, "shear": 0}, longest_burn_in=120)
      >>> [(gene.name, gene.start, gene.gain) for gene in genes if gene.name in ("learning_rate", "shear")]
      [('learning_rate', 0.02, 1.0), ('shear', 0.0, 0.0)]
      >>> genes[-1].high
      120.0
    """
    given = dict(starts or {})
    if unknown := sorted(given.keys() - {row[0] for row in _TABLE_4_1}):
        raise ValueError(f"starts names {unknown[0]!r}, which is no gene of Table 4-1")
    genes = []
    for name, start, low, high in _TABLE_4_1:
        value = float(given.get(name, start))
        high = min(high, longest_burn_in) if name == "burn_in" else high
        low, high = min(low, value), max(high, value)
        genes.append(Gene(name, value, low, float(high), gain=float(value != 0)))
    return tuple(genes)


def mutate(
    rng: np.random.Generator,
    genes: Sequence[Gene],
    values: ArrayLike,
    probability: float = 0.9,
    sigma: float = 0.2,
    shared_factor: bool = False,
) -> NDArray[np.float64]:
    """Mutates a set of values: sp <- sp m with m = min(3, max(g x_r s + 1, 0.3)) (thesis equation 4-7).

    g is 1 with the given probability and else 0, x_r is standard normal, both drawn for each gene; s is sigma, times
    the gene's gain. Results are clipped to the gene's limits. A mutation that changes nothing is drawn again.

    Args:
      rng: where the random numbers come from.
      genes: G of them.
      values: float[G], what is mutated.
      probability: that a gene mutates, in (0, 1].
      sigma: standard deviation of the relative change, above 0.
      shared_factor: whether one factor, drawn evenly from [0, 1), multiplies every x_r, as public practice has it: some
        mutations are then small throughout. Not in the thesis.

    Returns:
      float64[G], at least one of them changed.

    Raises:
      ValueError: An argument is out of its range, or no gene can change.

    Example:
      >>> genes = (Gene("rate", 0.1, 0.01, 1.0), Gene("fixed", 3.0, 0.0, 9.0, gain=0.0))
      >>> mutated = mutate(np.random.default_rng(0), genes, [0.1, 3.0])
      >>> bool(0.03 <= mutated[0] <= 0.3), float(mutated[1])
      (True, 3.0)
    """
    before = np.asarray(values, np.float64)
    if before.shape != (len(genes),):
        raise ValueError(f"values must be float[{len(genes)}], one per gene, got shape {before.shape}")
    if not 0 < probability <= 1:
        raise ValueError(f"probability must lie in (0, 1], got {probability}")
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be above 0, got {sigma}")
    low, high, gain = (
        np.array([getattr(gene, field) for gene in genes]) for field in ("low", "high", "gain")
    )
    if not any(gene.moves and value != 0 for gene, value in zip(genes, before, strict=True)):
        raise ValueError(
            "genes must have one that can change: a gain and a value above 0, and room in its limits"
        )
    while True:
        mask = rng.random(len(genes)) < probability
        x = rng.standard_normal(len(genes))
        if shared_factor:
            x = x * rng.random()
        factor = np.clip(gain * mask * x * sigma + 1, SMALLEST_FACTOR, LARGEST_FACTOR)
        after = np.clip(before * factor, low, high)
        if (after != before).any():
            return after
