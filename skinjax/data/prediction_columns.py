"""Names the columns of a predictions file that hold probabilities or logits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

CLASS_COLUMN = re.compile(r"(?:(?P<level>[^:]+):)?(?P<kind>p|logit)_(?P<name>.*)", re.DOTALL)
"""Pattern of the names of such columns: level, kind and class."""


def columns(taxonomy: Taxonomy, level: str | None = None, kind: str = "p") -> list[str]:
    """Returns names of the columns that hold a level's probabilities (`kind="p"`) or logits, in taxonomy order.

    Raises:
      ValueError: The level is unknown.

    >>> from skinjax.labels.taxonomy import load_taxonomy
    >>> columns(load_taxonomy("psoriasis9"), "relation")
    ['relation:p_psoriasis', 'relation:p_near_relative', 'relation:p_distant_relative']
    """
    finest = level is None or taxonomy.depth(level) == len(taxonomy.levels) - 1
    return [f"{'' if finest else f'{level}:'}{kind}_{name}" for name in taxonomy.classes(level)]


def kind_of(frame: pd.DataFrame, taxonomy: Taxonomy, level: str) -> str | None:
    """Returns which of probabilities and logits a level has; probabilities where it has both."""
    for kind in ("p", "logit"):
        if any(name in frame for name in columns(taxonomy, level, kind)):
            return kind
    return None
