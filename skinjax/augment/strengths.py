"""Strengths of augmentation, as values that a jitted step takes as arguments.

Table 4-1 of the thesis gives starting values for seven: HSV jitter, rotation, translation, scaling and shear. What its
numbers mean (hue as a shift, scale as a symmetric range, shear in degrees) is our reading. Flips are named in chapter 3
and Cutout in the text of chapter 4, neither with a value and neither in the table: `TABLE_4_1` leaves them out, and
`DEFAULT_STRENGTHS` adds them at values of our own.
"""

from __future__ import annotations

from typing import NamedTuple

import jax


class Strengths(NamedTuple):
    """Augmentation strengths; every field is a number or a traced scalar, so changing one never recompiles.

    A zero switches its part off: with `NO_AUGMENTATION`, `augment` returns the photo itself, scaled to [0, 1], to
    rounding. The first seven are Table 4-1's and default to its values. Flips and Cutout are not in it and default to
    off.

    Attributes:
      hsv_h: Hue shift, drawn from ±hsv_h in turns of the colour circle; in [0, 0.5].
      hsv_s: Saturation factor, drawn from 1 ± hsv_s; in [0, 1].
      hsv_v: Value (brightness) factor, drawn from 1 ± hsv_v; in [0, 1].
      rotation: Drawn from ±rotation degrees; in [0, 180].
      translation: Drawn from ±translation of the side, on either axis; in [0, 1].
      scale: Zoom factor, drawn from 1 ± scale; in [0, 0.9].
      shear: Drawn from ±shear degrees, on either axis; in [0, 40].
      flip_horizontal: Probability of a left-right flip.
      flip_vertical: Probability of an up-down flip.
      cutout: Probability, for each of two rectangles, that it is erased to the photo's mean colour.
      cutout_size: Longest side of such a rectangle as a share of the photo's; the shortest is a quarter of it.
    """

    hsv_h: float | jax.Array = 0.0138
    hsv_s: float | jax.Array = 0.678
    hsv_v: float | jax.Array = 0.36
    rotation: float | jax.Array = 10.0
    translation: float | jax.Array = 0.15
    scale: float | jax.Array = 0.358
    shear: float | jax.Array = 0.9
    # Not in Table 4-1:
    flip_horizontal: float | jax.Array = 0.0
    flip_vertical: float | jax.Array = 0.0
    cutout: float | jax.Array = 0.0
    cutout_size: float | jax.Array = 0.4


TABLE_4_1 = Strengths()
DEFAULT_STRENGTHS = TABLE_4_1._replace(flip_horizontal=0.5, flip_vertical=0.5, cutout=0.5)
NO_AUGMENTATION = Strengths(*[0.0] * len(Strengths._fields))
