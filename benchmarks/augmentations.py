"""Our default augmentation (Table 4-1, flips, Cutout) in OpenCV, Pillow and albumentations: peers of ours."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from skinjax.augment.strengths import DEFAULT_STRENGTHS

Photo = np.ndarray
Augmentation = Callable[[np.random.Generator, Photo], Photo]


def inverse_map(rng: np.random.Generator, size: int) -> np.ndarray:
    """Returns float64[2, 3]: (x, y, 1) of the result to (x, y) of the photo, of Table 4-1's geometry with flips."""
    strengths = DEFAULT_STRENGTHS
    angle = math.radians(rng.uniform(-1, 1) * strengths.rotation)
    zoom = 1 + rng.uniform(-1, 1) * strengths.scale
    shear = np.tan(np.radians(rng.uniform(-1, 1, 2) * strengths.shear))
    flips = np.where(rng.random(2) < [strengths.flip_horizontal, strengths.flip_vertical], -1.0, 1.0)
    turn = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.array([[1, shear[0]], [shear[1], 1]]) @ np.diag(flips))
    centre = np.full(2, (size - 1) / 2)
    move = rng.uniform(-1, 1, 2) * strengths.translation * size
    return np.column_stack([inverse, centre - inverse @ (centre + move)])


def hsv_tables(rng: np.random.Generator, turn: int) -> list[np.ndarray]:
    """Returns uint8[256] for hue (a full turn is `turn`), saturation and value."""
    levels = np.arange(256, dtype=np.float64)
    draws = rng.uniform(-1, 1, 3) * [
        DEFAULT_STRENGTHS.hsv_h,
        DEFAULT_STRENGTHS.hsv_s,
        DEFAULT_STRENGTHS.hsv_v,
    ]
    hue = np.mod(levels + draws[0] * turn, turn)
    return [
        hue.astype(np.uint8),
        *(np.clip(levels * (1 + draw), 0, 255).astype(np.uint8) for draw in draws[1:]),
    ]


def cut_out(rng: np.random.Generator, photo: Photo, mean: Any) -> None:
    """Erases up to two rectangles of a photo, in place."""
    size = len(photo)
    for _ in range(2):
        centre, sides = rng.random(2), DEFAULT_STRENGTHS.cutout_size * (0.25 + 0.75 * rng.random(2))
        if rng.random() < DEFAULT_STRENGTHS.cutout:
            low = np.clip(np.round((centre - sides / 2) * size), 0, size).astype(int)
            high = np.clip(np.round((centre + sides / 2) * size), 0, size).astype(int)
            photo[low[0] : high[0], low[1] : high[1]] = mean


def augment_with_opencv(rng: np.random.Generator, photo: Photo) -> Photo:
    import cv2

    size = len(photo)
    photo = cv2.warpAffine(
        photo,
        inverse_map(rng, size),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    channels = cv2.split(cv2.cvtColor(photo, cv2.COLOR_RGB2HSV))
    tables = hsv_tables(rng, 180)
    shifted = [cv2.LUT(channel, table) for channel, table in zip(channels, tables, strict=True)]
    photo = cv2.cvtColor(cv2.merge(shifted), cv2.COLOR_HSV2RGB)
    cut_out(rng, photo, cv2.mean(photo)[:3])
    return np.multiply(photo, np.float32(1 / 255), dtype=np.float32)


def augment_with_pillow(rng: np.random.Generator, photo: Photo) -> Photo:
    size = len(photo)
    matrix = inverse_map(rng, size)
    matrix[:, 2] += 0.5 - 0.5 * matrix[:, :2].sum(axis=1)  # Pillow counts from pixels' corners
    moved = Image.fromarray(photo).transform(
        (size, size), Image.Transform.AFFINE, tuple(matrix.ravel()), Image.Resampling.BILINEAR
    )
    channels = moved.convert("HSV").split()
    tables = hsv_tables(rng, 256)
    shifted = [channel.point(table.tolist()) for channel, table in zip(channels, tables, strict=True)]
    photo = np.array(Image.merge("HSV", shifted).convert("RGB"))
    cut_out(rng, photo, photo.mean(axis=(0, 1)))
    return np.multiply(photo, np.float32(1 / 255), dtype=np.float32)


def make_albumentations() -> Augmentation:
    import albumentations
    import cv2

    s = DEFAULT_STRENGTHS
    transform = albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=s.flip_horizontal),
            albumentations.VerticalFlip(p=s.flip_vertical),
            albumentations.Affine(
                scale=(1 - s.scale, 1 + s.scale),
                translate_percent=(-s.translation, s.translation),
                rotate=(-s.rotation, s.rotation),
                shear=(-s.shear, s.shear),
                border_mode=cv2.BORDER_REFLECT,
                p=1.0,
            ),
            albumentations.HueSaturationValue(s.hsv_h * 180, s.hsv_s * 255, s.hsv_v * 255, p=1.0),
            albumentations.CoarseDropout(
                num_holes_range=(1, 2),
                hole_height_range=(0.25 * s.cutout_size, s.cutout_size),
                hole_width_range=(0.25 * s.cutout_size, s.cutout_size),
                p=0.75,
            ),
            albumentations.ToFloat(max_value=255),
        ]
    )
    return lambda rng, photo: transform(image=photo)["image"]
