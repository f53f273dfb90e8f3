"""The hyper-parameters of a training as options: those of Table 4-1, flips and Cutout."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from skinjax.runs.options import Options, option
from skinjax.train.state import Recipe

RECIPE = Recipe()
STRENGTHS = RECIPE.strengths


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeOptions(Options):
    """The hyper-parameters of Table 4-1, traced values of the compiled step."""

    group: ClassVar[str] = "hyper-parameters (Table 4-1 of the thesis)"

    learning_rate: float = option(
        RECIPE.learning_rate, "Learning rate lr, reached at the end of burn-in.", low=0, smoke=0.02
    )
    final_learning_rate: float = option(
        RECIPE.final_learning_rate, "Learning rate lrf of the last update.", low=0
    )
    momentum: float = option(RECIPE.momentum, "Momentum mu of equation 4-1.", low=0, high=0.9999)
    weight_decay: float = option(RECIPE.weight_decay, "Lambda of equations 4-2 to 4-4.", low=0)
    burn_in: float = option(
        RECIPE.burn_in,
        "Batches of warm-up (equation 4-5); at most a tenth of all updates unless --preset=thesis.",
        low=0,
        smoke=4.0,
    )
    hsv_h: float = option(
        STRENGTHS.hsv_h, low=0, high=0.5,
        help="Augmentation: turns the hue of each training photo, up to this share of the colour circle; 0: off.",
    )  # fmt: skip
    hsv_s: float = option(
        STRENGTHS.hsv_s, low=0, high=1,
        help="Augmentation: multiplies the saturation of each training photo by 1 - this to 1 + this; 0: off.",
    )  # fmt: skip
    hsv_v: float = option(
        STRENGTHS.hsv_v, low=0, high=1,
        help="Augmentation: multiplies the brightness of each training photo by 1 - this to 1 + this; 0: off.",
    )  # fmt: skip
    rotation: float = option(
        STRENGTHS.rotation, low=0, high=180,
        help="Augmentation: rotates each training photo at random, up to so many degrees either way; 0: off.",
    )  # fmt: skip
    translation: float = option(
        STRENGTHS.translation, low=0, high=1,
        help="Augmentation: moves each training photo at random, up to this share of its side; 0: off.",
    )  # fmt: skip
    scale: float = option(
        STRENGTHS.scale, low=0, high=0.9,
        help="Augmentation: zooms each training photo by a random factor of 1 - this to 1 + this; 0: off.",
    )  # fmt: skip
    shear: float = option(
        STRENGTHS.shear, low=0, high=40,
        help="Augmentation: shears each training photo at random, up to so many degrees either way; 0: off.",
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class MirrorAndCutoutOptions(Options):
    """Augmentation that the thesis names without a value (flips in chapter 3, Cutout in 4.1); traced values too."""

    group: ClassVar[str] = "flips and Cutout (not in Table 4-1; values are ours)"

    flip_horizontal: float = option(
        STRENGTHS.flip_horizontal, low=0, high=1,
        help="Augmentation: probability of mirroring a training photo left to right; 0: off.",
    )  # fmt: skip
    flip_vertical: float = option(
        STRENGTHS.flip_vertical, low=0, high=1,
        help="Augmentation: probability of mirroring a training photo top to bottom; 0: off.",
    )  # fmt: skip
    cutout: float = option(
        STRENGTHS.cutout, low=0, high=1,
        help="Augmentation: probability of erasing a rectangle of a training photo (Cutout), for each of two; 0: off.",
    )  # fmt: skip
    cutout_size: float = option(
        STRENGTHS.cutout_size, low=0, high=1,
        help="Augmentation: longest side of an erased rectangle, as a share of the photo's.",
    )  # fmt: skip
