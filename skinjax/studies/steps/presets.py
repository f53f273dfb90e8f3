"""Presets: values for the options of training that a user does not give.

`laptop`, which commands take, starts EfficientNet-Lite0 from ImageNet weights and trains as `Recipe.finetune` says;
`quick` looks at smaller photos and fewer passes, `gpu` at larger photos and more. `thesis` is Table 4-1 and whatever
else the defaults of a configuration in Python are; the flagfiles of the thesis's chapters say so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from skinjax.train.method import Method
from skinjax.train.state import Recipe

Preset = Literal["thesis", "quick", "laptop", "gpu"]

EPOCHS: Mapping[str, tuple[int, int, int]] = {
    "quick": (10, 6, 3),
    "laptop": (20, 15, 10),
    "gpu": (30, 20, 15),
}
"""Passes over fewer than 250 training photos, over fewer than 2,500, and over more, by preset."""
FEW, MANY = 250, 2500
BURN_IN_SHARE = 0.1
"""Largest share of the updates that burn-in takes outside of the preset `thesis`."""

_COMMON = {
    "backbone": "efficientnet_lite0",
    "pretrained": "imagenet",
    "image_size": 192,
    "batch_size": 32,
    "epochs": 0,
    "batch_norm_momentum": 0.9,
    "drop_path_rate": 0.0,
    "prior_adjustment": 0.5,
    "test_time_augmentation": "dihedral",
}
_OWN: Mapping[str, Mapping[str, Any]] = {
    "quick": {"image_size": 96, "test_time_augmentation": "flips"},
    "laptop": {},
    "gpu": {"image_size": 224, "batch_size": 128, "precision": "bfloat16"},
}


def values_of(preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a preset says of the options that are not given.

    AdamW's learning rate grows with the square root of the photos per update (Malladi et al. 2022,
    doi:10.48550/arXiv.2205.10287); it is 0.001 for 32.

    Args:
      preset: Its name; `thesis` says nothing.
      given: Options by name, which keep their values.

    >>> values_of("laptop", {"batch_size": 8})["learning_rate"]
    0.0005
    >>> [values_of("laptop", given).get("prior_adjustment") for given in ({}, {"class_balance": "sampling"})]
    [0.5, None]
    >>> values_of("thesis", {})
    {}
    """
    if preset == "thesis":
        return {}
    recipe, method = Recipe.finetune(), Method.finetune()
    values = {**recipe._asdict(), **recipe.strengths._asdict(), **dataclasses.asdict(method)}
    values |= {"decay": method.weight_decay, "weight_decay": recipe.weight_decay}
    values |= {**_COMMON, **_OWN[preset]}
    batch = given.get("batch_size", values["batch_size"])
    values["learning_rate"] = recipe.learning_rate * math.sqrt(max(batch, 1) / 32)
    if given.get("optimizer", "adamw") != "adamw":  # its rates are those of another optimiser
        for name in ("learning_rate", "final_learning_rate", "momentum", "weight_decay", "layer_decay"):
            del values[name]
    if given.get("class_balance", "none") != "none":  # classes would be evened out twice
        del values["prior_adjustment"]
    return {name: value for name, value in values.items() if name not in given}


def epochs_for(preset: str, photo_count: int) -> int:
    """Returns the passes over so many training photos.

    Args:
      preset: Its name.
      photo_count: Photos that one network is trained on.

    Raises:
      ValueError: The preset is `thesis`, which has no number of its own.

    >>> [epochs_for("laptop", count) for count in (100, 1000, 10000)]
    [20, 15, 10]
    """
    if preset not in EPOCHS:
        raise ValueError(
            f"epochs=0 takes the preset's number of epochs, and preset={preset} has none; give epochs=1 or more"
        )
    few, some, many = EPOCHS[preset]
    return few if photo_count < FEW else some if photo_count < MANY else many
