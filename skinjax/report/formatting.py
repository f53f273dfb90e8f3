"""Numbers as the report writes them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import numpy as np
import pandas as pd


def percent(share: float, digits: int = 1) -> str:
    """Returns a share in [0, 1] for people: "61.2%", or a dash where it is missing.

    One that is not 1 or 0 is not rounded to it.

    Args:
      share: In [0, 1], or NaN.
      digits: Decimals.

    >>> percent(0.6123), percent(0.9997), percent(1.0), percent(float("nan"))
    ('61.2%', '99.97%', '100.0%', '–')
    """
    return "–" if pd.isna(share) else f"{_short_of(100 * share, (0, 100), digits)}%"


def points(difference: float, digits: int = 1) -> str:
    """Returns a difference of shares in percentage points, signed: "+2.1", or a dash where it is missing.

    Args:
      difference: In [-1, 1], or NaN.
      digits: Decimals.

    >>> points(0.0213), points(-0.01)
    ('+2.1', '−1.0')
    """
    return "–" if pd.isna(difference) else f"{100 * difference:+.{digits}f}".replace("-", "−")


def decimals(value: float, digits: int = 3) -> str:
    """Returns a number with so many decimals, a true minus sign, and a dash where it is missing.

    One that is not 1 is not rounded to it, as an area of 0.9997 would be.

    >>> decimals(0.98765), decimals(-0.5, 2), decimals(0.9997), decimals(float("nan"))
    ('0.988', '−0.50', '0.9997', '–')
    """
    return "–" if pd.isna(value) else _short_of(value, (1,), digits).replace("-", "−")


def _short_of(value: float, bounds: tuple[float, ...], digits: int) -> str:
    """Returns a number with so many decimals, or as many more as keep it apart from bounds that it does not reach."""
    for more in range(digits, digits + 4):
        text = f"{value:.{more}f}"
        if not any(float(text) == bound != value for bound in bounds):
            return text
    return f"{value:.{digits}f}"


def signed(difference: float, digits: int = 3) -> str:
    """Returns a difference with three decimals and its sign, or a dash where it is missing.

    Args:
      difference: Any number, or NaN.
      digits: Decimals.

    >>> signed(0.0213), signed(-0.01)
    ('+0.021', '−0.010')
    """
    return "–" if pd.isna(difference) else f"{difference:+.{digits}f}".replace("-", "−")


def limits_or_reason(
    low: float, high: float, write: Callable[[float], str] = decimals, reason: object = ""
) -> str:
    """Returns an interval, or the reason for which there is none; empty where neither is known.

    Args:
      low: Lower limit; NaN where there is no interval.
      high: Upper limit, likewise.
      write: Writes a limit.
      reason: Such as `skinjax.evaluate.bootstrap.BootstrapInterval.reason`; empty or missing for none.

    >>> limits_or_reason(0.88, 0.94)
    '0.880 to 0.940'
    >>> limits_or_reason(np.nan, np.nan, reason="all replicates are alike")
    'no interval: all replicates are alike'

    Limits that differ are distinguished, and an interval without width is none.

    >>> limits_or_reason(0.83324, 0.83341, percent), limits_or_reason(0.833, 0.833, percent)
    ('83.32% to 83.34%', '')
    """
    if not (pd.isna(low) or pd.isna(high)) and low != high:
        return _apart(low, high, write)
    return f"no interval: {reason}" if isinstance(reason, str) and reason else ""


def bracketed(
    low: float,
    high: float,
    write: Callable[[float], str] = decimals,
    reason: object = "",
    before: str = "",
    after: str = "",
) -> str:
    """Returns an interval in brackets, with a blank before them, to follow a figure; empty where none is known.

    Args:
      low: Lower limit; NaN where there is no interval.
      high: Upper limit, likewise.
      write: Writes a limit.
      reason: As for `limits_or_reason`.
      before: Words before the interval, in the brackets.
      after: Words behind it, likewise.

    >>> bracketed(0.88, 0.94, percent, before="95% interval ")
    ' (95% interval 88.0% to 94.0%)'
    >>> bracketed(np.nan, np.nan, percent), bracketed(np.nan, np.nan, reason="there is a single case")
    ('', ' (no interval: there is a single case)')
    """
    shown = limits_or_reason(low, high, write, reason)
    known = shown and not shown.startswith("no interval")
    return "" if not shown else f" ({before}{shown}{after})" if known else f" ({shown})"


def _apart(low: float, high: float, write: Callable[[float], str]) -> str:
    """Returns two limits that differ, with as many more decimals as show that they do."""
    texts = write(low), write(high)
    for digits in range(2, 7):
        if not _alike(*texts) or not _takes_digits(write):
            break
        texts = write(low, digits=digits), write(high, digits=digits)  # type: ignore[call-arg]
    return f"nearly {texts[0]}" if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"


def _alike(one: str, two: str) -> bool:
    """Says whether two texts show the same number; zeros of either sign are one."""
    return one == two or not re.search("[1-9]", one + two)


def _takes_digits(write: Callable[[float], str]) -> bool:
    return "digits" in inspect.signature(write).parameters


def with_range(
    shown: str, low: float, high: float, write: Callable[[float], str] = decimals, reason: object = ""
) -> str:
    r"""Returns a figure, and on a second line its interval, or the reason for which it has none.

    >>> with_range("0.91", 0.88, 0.94)
    '0.91\n0.880 to 0.940'
    """
    return "\n".join(filter(None, (shown, limits_or_reason(low, high, write, reason))))


def ranged(table: pd.DataFrame, name: str, write: Callable[[float], str] = decimals) -> list[str]:
    r"""Returns a column of figures with their intervals: `<name>_low` and `<name>_high`, or else `<name>_reason`.

    The column of reasons may be absent.

    >>> table = pd.DataFrame({"auc": [0.9, 0.8], "auc_low": [0.8, np.nan], "auc_high": [0.95, np.nan]})
    >>> ranged(table, "auc")
    ['0.900\n0.800 to 0.950', '0.800']
    >>> ranged(table.assign(auc_reason=["", "it rests on a single case"]), "auc")[1]
    '0.800\nno interval: it rests on a single case'
    """
    rows = table[[name, f"{name}_low", f"{name}_high"]].to_numpy(np.float64)
    reasons = table.get(f"{name}_reason", [""] * len(table))
    return [
        with_range(write(value), low, high, write, reason)
        for (value, low, high), reason in zip(rows, reasons, strict=True)
    ]


def p_value(value: float) -> str:
    """Returns a p-value for people, in one piece (its spaces do not break).

    >>> p_value(0.0123).split(), p_value(0.0004).split()
    (['p', '=', '0.012'], ['p', '<', '0.001'])
    """
    if pd.isna(value):
        return "–"
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{value:.3f}"


def cell(value: object) -> str:
    """Returns any value of a table for people: few digits for a fraction, a dash where it is missing.

    >>> cell(3), cell(-0.25), cell(12345), cell(None), cell("jit")
    ('3', '−0.25', '12,345', '–', 'jit')
    """
    if isinstance(value, float | np.floating):
        return "–" if np.isnan(value) else f"{value:.4g}".replace("-", "−")
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None or value is pd.NA else str(value)


def listed(names: list[str], most: int = 6) -> str:
    """Returns names in a sentence, the first few of many.

    >>> listed(["a", "b", "c"]), listed(list("abcd"), most=2)
    ('a, b and c', 'a, b and 2 others')
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} other{'s' * (len(names) - most > 1)}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def numbered(count: int, one: str, several: str = "") -> str:
    """Returns a number with its noun.

    Args:
      count: The number.
      one: The noun for 1.
      several: For any other; empty for an s after `one`.

    >>> numbered(1, "photo"), numbered(1200, "photo"), numbered(2, "class", "classes")
    ('1 photo', '1,200 photos', '2 classes')
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"
