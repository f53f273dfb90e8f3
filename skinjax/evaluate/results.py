"""Common forms of results: a figure with its interval, a difference with its interval and test, and their display.

Every result shows itself in a terminal (`print(result)`) and in a notebook, where the last line of a cell is enough.

>>> print(Interval(0.912, 0.871, 0.945, confidence=0.95))
0.912 (95% CI 0.871 to 0.945)
>>> print(Comparison(0.031, 0.004, 0.058, p_value=0.0207, confidence=0.95))
difference +0.031 (95% CI +0.004 to +0.058), p = 0.021
"""

from __future__ import annotations

import dataclasses
import html
import math
from typing import TYPE_CHECKING, Any

import numpy as np


class Result:
    """A result that shows itself in a terminal and a notebook; a frozen dataclass inherits from it.

    One without a text of its own lists its fields, a line each, and arrays by type and shape.
    """

    def __str__(self) -> str:
        """Returns the result in words."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # subclasses are dataclasses
        return "\n".join(_line(field.name, getattr(self, field.name)) for field in fields)

    def _repr_html_(self) -> str:
        """Returns the result for a notebook."""
        return "<br>".join(html.escape(line).replace("  ", "&nbsp;&nbsp;") for line in str(self).split("\n"))


class IntervalResult(Result):
    """A figure with its interval: `estimate`, `low`, `high` and `confidence`."""

    if TYPE_CHECKING:  # at run time they would be taken for the defaults of a dataclass's fields

        @property
        def estimate(self) -> float:
            """Returns the figure; NaN where it is not defined."""

        @property
        def low(self) -> float:
            """Returns the lower limit; NaN where nothing is known of other cases."""

        @property
        def high(self) -> float:
            """Returns the upper limit, likewise."""

        @property
        def confidence(self) -> float:
            """Returns the nominal coverage of the interval, in (0, 1); NaN where it was not said."""

    def __str__(self) -> str:
        """Returns the figure and its interval in words."""
        return _with_limits(self.estimate, self.low, self.high, self.confidence, ".3f")


class ComparisonResult(Result):
    """A difference with its interval and test: `difference`, `low`, `high`, `p_value` and `confidence`."""

    if TYPE_CHECKING:

        @property
        def difference(self) -> float:
            """Returns the first figure less the second; NaN where it is not defined."""

        @property
        def low(self) -> float:
            """Returns the lower limit; NaN where nothing is known of other cases."""

        @property
        def high(self) -> float:
            """Returns the upper limit, likewise."""

        @property
        def p_value(self) -> float:
            """Returns the two-sided p-value of a difference of 0; NaN where there is no test."""

        @property
        def confidence(self) -> float:
            """Returns the nominal coverage of the interval, in (0, 1); NaN where it was not said."""

    def __str__(self) -> str:
        """Returns the difference, its interval and its p-value in words."""
        words = _with_limits(self.difference, self.low, self.high, self.confidence, "+.3f")
        return f"difference {words}{p_clause(self.p_value)}"


@dataclasses.dataclass(frozen=True)
class Interval(IntervalResult):
    """A figure with its interval.

    Attributes:
      estimate: The figure; NaN where it is not defined.
      low: Lower limit; NaN where nothing is known of other cases.
      high: Upper limit, likewise.
      confidence: Nominal coverage of the interval, in (0, 1); NaN where it was not said.
    """

    estimate: float
    low: float
    high: float
    confidence: float = math.nan

    def complement(self) -> Interval:
        """Returns the same of one less the figure, such as the missed-diagnosis rate of a sensitivity.

        >>> print(Interval(0.75, 0.5, 1.0).complement())
        0.250 (0.000 to 0.500)
        """
        return Interval(1 - self.estimate, 1 - self.high, 1 - self.low, self.confidence)


@dataclasses.dataclass(frozen=True)
class Comparison(ComparisonResult):
    """A difference of two figures with its interval and test.

    Attributes:
      difference: The first figure less the second; NaN where it is not defined.
      low: Lower limit; NaN where nothing is known of other cases.
      high: Upper limit, likewise.
      p_value: Two-sided; NaN where there is no test.
      confidence: Nominal coverage of the interval, in (0, 1); NaN where it was not said.
    """

    difference: float
    low: float
    high: float
    p_value: float
    confidence: float = math.nan


def p_clause(p_value: float) -> str:
    """Returns ", p = 0.021" or ", p < 0.001"; empty where there is no p-value.

    >>> p_clause(0.0207), p_clause(0.0004), p_clause(math.nan)
    (', p = 0.021', ', p < 0.001', '')
    """
    if math.isnan(p_value):
        return ""
    return ", p < 0.001" if p_value < 0.001 else f", p = {p_value:.3f}"


def _with_limits(estimate: float, low: float, high: float, confidence: float, form: str) -> str:
    if math.isnan(estimate):
        return "not defined"
    if math.isnan(low) or math.isnan(high):
        return f"{estimate:{form}} (no interval)"
    level = "" if math.isnan(confidence) else f"{100 * confidence:g}% CI "
    return f"{estimate:{form}} ({level}{low:{form}} to {high:{form}})"


def _line(name: str, value: Any) -> str:
    title = name.replace("_", " ")
    if isinstance(value, np.ndarray):
        return f"{title}: {value.dtype}{list(value.shape)}"
    if isinstance(value, float):
        return f"{title}: {value:.4g}"
    if isinstance(value, tuple | dict):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return "\n".join([f"{title}:", *(_indented(_line(str(key), entry)) for key, entry in entries)])
    if isinstance(value, Result) and "\n" in str(value):
        return f"{title}:\n{_indented(str(value))}"
    return f"{title}: {value}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))
