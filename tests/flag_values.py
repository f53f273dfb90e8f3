"""Flags without a command line, for tests of what experiments read from them.

Experiments define their flags in one registry of the whole process, where a test must leave no trace; this stands in.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from experiments import training_flags


class FlagValues(SimpleNamespace):
    """What is read of `absl.flags.FLAGS`: values by name, and whether there is a flag."""

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)


def training_values(**values: Any) -> FlagValues:
    """The values that training reads, as their defaults are, and those given."""
    recipe = training_flags.DEFAULT
    defaults = {
        "seed": 0, "smoke": False, "pretrained": "", "backbone": "efficientnet_nano", "image_size": 32, "epochs": 20,
        "batch_size": 8, "precision": "float32", "batch_norm_momentum": None, "drop_path_rate": None,
        **{name: getattr(recipe, name) for name in recipe._fields if name not in ("strengths", "total_steps")},
        **recipe.strengths._asdict(),
    }  # fmt: skip
    return FlagValues(**(defaults | values))
