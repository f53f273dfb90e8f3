"""Numbers as the report writes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd


def percent(share: float) -> str:
    """A share in [0, 1] for people: "61.2%", or a dash where it is missing.

    >>> percent(0.6123), percent(float("nan"))
    ('61.2%', '–')
    """
    return "–" if pd.isna(share) else f"{100 * share:.1f}%"


def points(difference: float) -> str:
    """A difference of shares in percentage points, signed: "+2.1", or a dash where it is missing.

    >>> points(0.0213), points(-0.01)
    ('+2.1', '−1.0')
    """
    return "–" if pd.isna(difference) else f"{100 * difference:+.1f}".replace("-", "−")


def decimals(value: float, digits: int = 3) -> str:
    """A number with so many decimals, a true minus sign, and a dash where it is missing.

    >>> decimals(0.98765), decimals(-0.5, 2), decimals(float("nan"))
    ('0.988', '−0.50', '–')
    """
    return "–" if pd.isna(value) else f"{value:.{digits}f}".replace("-", "−")


def signed(difference: float) -> str:
    """A difference with three decimals and its sign, or a dash where it is missing.

    >>> signed(0.0213), signed(-0.01)
    ('+0.021', '−0.010')
    """
    return "–" if pd.isna(difference) else f"{difference:+.3f}".replace("-", "−")


def with_range(shown: str, low: float, high: float, write: Callable[[float], str] = decimals) -> str:
    r"""A figure, and on a second line its interval, if it has one.

    >>> with_range("0.91", 0.88, 0.94)
    '0.91\n0.880 to 0.940'
    """
    if pd.isna(low) or pd.isna(high):
        return shown
    return f"{shown}\n{write(low)} to {write(high)}"


def ranged(table: pd.DataFrame, name: str, write: Callable[[float], str] = decimals) -> list[str]:
    r"""A column of figures, each with its interval from the columns `<name>_low` and `<name>_high`.

    >>> ranged(pd.DataFrame({"auc": [0.9], "auc_low": [0.8], "auc_high": [0.95]}), "auc")
    ['0.900\n0.800 to 0.950']
    """
    rows = table[[name, f"{name}_low", f"{name}_high"]].to_numpy(np.float64)
    return [with_range(write(value), low, high, write) for value, low, high in rows]


def p_value(value: float) -> str:
    """A p-value for people, in one piece (its spaces do not break).

    >>> p_value(0.0123).split(), p_value(0.0004).split()
    (['p', '=', '0.012'], ['p', '<', '0.001'])
    """
    if pd.isna(value):
        return "–"
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{value:.3f}"


def cell(value: object) -> str:
    """Any value of a table for people: few digits for a fraction, a dash where it is missing.

    >>> cell(3), cell(0.25), cell(12345), cell(None), cell("jit")
    ('3', '0.25', '12,345', '–', 'jit')
    """
    if isinstance(value, float | np.floating):
        return "–" if np.isnan(value) else f"{value:.4g}"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None or value is pd.NA else str(value)


def listed(names: list[str], most: int = 6) -> str:
    """Names in a sentence, the first few of many.

    >>> listed(["a", "b", "c"]), listed(list("abcd"), most=2)
    ('a, b and c', 'a, b and 2 others')
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} other{'s' * (len(names) - most > 1)}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
