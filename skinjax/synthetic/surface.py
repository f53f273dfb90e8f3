"""A patch of synthetic skin as layers of chromophores, relief and opaque matter.

Colour is mixed as skin mixes it: each chromophore absorbs exponentially in linear light (Beer-Lambert), as
in the melanin and haemoglobin decomposition of N. Tsumura et al., "Image-based skin color and texture
analysis/synthesis by extracting hemoglobin and melanin information in the skin", ACM Transactions on
Graphics 22(3), 2003. The same amount of blood therefore reads as pink on skin of type I and as violet-brown
on type VI, with no rule written for it. The densities were set by eye on rendered pictures; they are not
measurements.

Lengths are in units of half a photo's width: the photo shows about [-1, 1] x [-1, 1], and the patch reaches
``EXTENT`` in each direction, so that the camera can move.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
"""A map over the patch, float32[C, C] unless it is said otherwise."""

EXTENT = 1.5
"""Half the width of the painted patch, in half photo widths."""

SKIN_TONES = (1, 2, 3, 4, 5, 6)
"""The Fitzpatrick skin types."""

_DERMIS = np.array([0.86, 0.67, 0.57], np.float32)
# Light that the horny layer scatters back before any chromophore has seen it.
_SURFACE = np.float32(0.012)
# Absorption a unit of each chromophore, in linear red, green and blue.
_ABSORPTION = np.array(
    [
        [0.74, 1.00, 1.20],  # melanin
        [0.20, 1.00, 0.90],  # blood near the surface: red
        [0.65, 1.00, 0.57],  # blood that lies deep or has lost its oxygen: violet
        [0.05, 0.34, 1.10],  # serum, keratin and haemosiderin: yellow
    ],
    np.float32,
)


@dataclasses.dataclass(frozen=True)
class Surface:
    """A square patch of skin. The arrays, float32[C, C] unless it is said otherwise, are painted in place.

    Attributes:
      x: Horizontal position, in half photo widths, growing to the right.
      y: Vertical position, in half photo widths, growing downwards.
      melanin: Density of melanin, about 0 (none) to 6 (black).
      blood: Density of oxygenated blood near the surface; 0.25 at rest, about 2 in bright erythema.
      venous: Density of deep or deoxygenated blood.
      yellow: Density of serum, keratin and haemosiderin.
      height: Relief, in half photo widths.
      gloss: Strength of the mirror reflection, 0 (matt) to 1 (wet).
      furrows: Depth of the skin's own lines, 0 (plateau) to 1 (furrow).
      cover: Opaque matter that lies on the skin, float32[C, C, 3], linear RGB times its opacity.
      opacity: How much of the skin that matter hides, 0 to 1.
      darkness: 0 for skin of type I to 1 for type VI.
    """

    x: Field
    y: Field
    melanin: Field
    blood: Field
    venous: Field
    yellow: Field
    height: Field
    gloss: Field
    furrows: Field
    cover: Field
    opacity: Field
    darkness: float

    @property
    def resolution(self) -> int:
        """Returns the number of pixels C along one side."""
        return self.x.shape[0]

    def redden(self, amount: Field) -> None:
        """Adds inflammation: red on light skin, and violet-brown with pigment on dark skin.

        Args:
          amount: float32[C, C], 0 (none) to about 1.5 (severe).
        """
        self.blood[...] += amount * (1.0 - 0.45 * self.darkness)
        self.venous[...] += amount * 0.55 * self.darkness
        self.melanin[...] += amount * 0.38 * self.darkness

    def lay(self, opacity: Field, colour: tuple[float, float, float], shade: Field | float = 1.0) -> None:
        """Covers the skin with opaque matter: scale, crust, keratin, hair.

        Args:
          opacity: float32[C, C], 0 (nothing) to 1 (skin hidden).
          colour: Linear RGB reflectance, 0 to 1.
          shade: Factor on the colour, one number or float32[C, C].
        """
        tinted = np.multiply.outer(opacity * shade, np.asarray(colour, np.float32))
        self.cover[...] = self.cover * (1.0 - opacity)[..., None] + tinted
        self.opacity[...] = 1.0 - (1.0 - self.opacity) * (1.0 - opacity)

    def albedo(self) -> Field:
        """Returns the diffuse reflectance, float32[C, C, 3], linear RGB from 0 to 1."""
        density = np.stack([self.melanin, self.blood, self.venous, self.yellow], axis=-1)
        # Blood below the resting level and skin paler than pale are possible, matter that emits light is not.
        np.maximum(density, 0.0, out=density)
        skin = _DERMIS * np.exp(-(density @ _ABSORPTION)) + _SURFACE
        return skin * (1.0 - self.opacity)[..., None] + self.cover
