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
        RECIPE.learning_rate,
        "Learning rate (lr of Table 4-1), reached at the end of burn-in.",
        low=0,
        smoke=0.02,
    )
    final_learning_rate: float = option(
        RECIPE.final_learning_rate, "Learning rate of the last update (lrf of Table 4-1).", low=0
    )
    momentum: float = option(RECIPE.momentum, "Momentum (mu of equation 4-1), in [0, 1).", low=0, high=0.9999)
    weight_decay: float = option(RECIPE.weight_decay, "Weight decay (lambda of equations 4-2 to 4-4).", low=0)
    burn_in: float = option(
        RECIPE.burn_in,
        "Updates over which the learning rate warms up (equation 4-5). Held to a tenth of all updates "
        "unless --preset=thesis.",
        low=0,
        smoke=4.0,
    )
    hsv_h: float = option(
        STRENGTHS.hsv_h, low=0, high=0.5,
        help="Augmentation: shift the hue of each training photo by up to this share of the colour circle "
             "either way. 0: off.",
    )  # fmt: skip
    hsv_s: float = option(
        STRENGTHS.hsv_s, low=0, high=1,
        help="Augmentation: multiply the saturation of each training photo by a factor from 1 - this to 1 "
             "+ this. 0: off.",
    )  # fmt: skip
    hsv_v: float = option(
        STRENGTHS.hsv_v, low=0, high=1,
        help="Augmentation: multiply the brightness of each training photo by a factor from 1 - this to 1 "
             "+ this. 0: off.",
    )  # fmt: skip
    rotation: float = option(
        STRENGTHS.rotation, low=0, high=180,
        help="Augmentation: rotate each training photo by up to this angle either way, in degrees. 0: off.",
    )  # fmt: skip
    translation: float = option(
        STRENGTHS.translation, low=0, high=1,
        help="Augmentation: shift each training photo by up to this share of its side. 0: off.",
    )  # fmt: skip
    scale: float = option(
        STRENGTHS.scale, low=0, high=0.9,
        help="Augmentation: zoom each training photo by a factor from 1 - this to 1 + this. 0: off.",
    )  # fmt: skip
    shear: float = option(
        STRENGTHS.shear, low=0, high=40,
        help="Augmentation: shear each training photo by up to this angle either way, in degrees. 0: off.",
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class MirrorAndCutoutOptions(Options):
    """Augmentation that the thesis names without a value (flips in chapter 3, Cutout in 4.1); traced values too."""

    group: ClassVar[str] = "flips and Cutout (not in Table 4-1; values are ours)"

    flip_horizontal: float = option(
        STRENGTHS.flip_horizontal, low=0, high=1,
        help="Augmentation: probability of mirroring a training photo left to right. 0: never.",
    )  # fmt: skip
    flip_vertical: float = option(
        STRENGTHS.flip_vertical, low=0, high=1,
        help="Augmentation: probability of mirroring a training photo top to bottom. 0: never.",
    )  # fmt: skip
    cutout: float = option(
        STRENGTHS.cutout, low=0, high=1,
        help="Augmentation: probability of erasing a rectangle of a training photo (Cutout), for each of "
             "two rectangles. 0: never.",
    )  # fmt: skip
    cutout_size: float = option(
        STRENGTHS.cutout_size, low=0, high=1,
        help="Augmentation: longest side of an erased rectangle, as a share of the photo's side.",
    )  # fmt: skip
