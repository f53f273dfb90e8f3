"""How strongly photos are augmented: Table 4-1 of the thesis, as values that a jitted step takes as arguments.

The thesis names HSV jitter, rotation, translation, scaling, shear, flips and Cutout, and gives starting
values for all but
flips and Cutout. What the numbers mean (hue as a shift, scale as a symmetric range, shear in degrees) and the values of
flips and Cutout are our reading.
"""

from __future__ import annotations

from typing import NamedTuple

import jax


class Strengths(NamedTuple):
    """Augmentation strengths; every field is a number or a traced scalar, so changing one never recompiles.

    A zero switches its part off: with `NO_AUGMENTATION`, `augment` returns the photo itself, scaled to [0,
    1], to rounding.

    Attributes:
      hsv_h: hue shift, drawn from ±hsv_h in turns of the colour circle; in [0, 0.5].
      hsv_s: saturation factor, drawn from 1 ± hsv_s; in [0, 1].
      hsv_v: value (brightness) factor, drawn from 1 ± hsv_v; in [0, 1].
      rotation: drawn from ±rotation degrees; in [0, 180].
      translation: drawn from ±translation of the side, on either axis; in [0, 1].
      scale: zoom factor, drawn from 1 ± scale; in [0, 0.9].
      shear: drawn from ±shear degrees, on either axis; in [0, 40].
      flip_horizontal: probability of a left-right flip.
      flip_vertical: probability of an up-down flip.
      cutout: probability, for each of two rectangles, that it is erased to the photo's mean colour.
      cutout_size: longest side of such a rectangle as a share of the photo's; the shortest is a quarter of it.
    """

    hsv_h: float | jax.Array = 0.0138
    hsv_s: float | jax.Array = 0.678
    hsv_v: float | jax.Array = 0.36
    rotation: float | jax.Array = 10.0
    translation: float | jax.Array = 0.15
    scale: float | jax.Array = 0.358
    shear: float | jax.Array = 0.9
    flip_horizontal: float | jax.Array = 0.5
    flip_vertical: float | jax.Array = 0.5
    cutout: float | jax.Array = 0.5
    cutout_size: float | jax.Array = 0.4


TABLE_4_1 = Strengths()
NO_AUGMENTATION = Strengths(*[0.0] * len(Strengths._fields))
