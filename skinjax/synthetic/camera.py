"""Lights a synthetic skin patch and photographs it.

What belongs to the room (light, its colour, the limb's curve, the cloth behind it, the camera) is drawn
once per case; where the camera stands, its focus and its exposure are drawn once per photo.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from skinjax.synthetic.shapes import noise
from skinjax.synthetic.surface import EXTENT, Field, Surface


@dataclasses.dataclass(frozen=True)
class Scene:
    """A room, its light and a camera, which all photos of a case share.

    Attributes:
      azimuth: Where the light stands, in radians in the plane of the skin.
      elevation: How high it stands, in radians above the skin.
      ambient: Share of the light that comes from everywhere, 0 to 1.
      light: Colour of the light, three factors on linear RGB about 1.
      falloff: How much brighter the patch is towards the light, a unit of length.
      curve_angle: Direction across the limb, in radians.
      curve_radius: The limb's radius in half photo widths; ``inf`` for flat skin.
      background: Linear RGB of the cloth behind the limb.
      saturation: The camera's factor on colour differences.
      contrast: Strength of the camera's tone curve, 0 (none) to 1.
      sharpness: Standard deviation of the lens's blur as a share of the photo's width.
      grain: Standard deviation of sensor noise in middle grey, as a share of full scale.
      turn: How the camera is held, in radians.
    """

    azimuth: float
    elevation: float
    ambient: float
    light: tuple[float, float, float]
    falloff: float
    curve_angle: float
    curve_radius: float
    background: tuple[float, float, float]
    saturation: float
    contrast: float
    sharpness: float
    grain: float
    turn: float


@dataclasses.dataclass(frozen=True)
class View:
    """Position and settings of the camera for one photo.

    Attributes:
      turn: Rotation, in radians.
      distance: Distance as a factor: 1 shows [-1, 1], larger shows more.
      shift: Where the camera points, (x, y).
      tilt: How obliquely it looks, (x, y): the share by which one side is nearer.
      exposure: Factor on the light.
      balance: Error of the white balance, three factors about 1.
      defocus: Further blur as a share of the photo's width.
      vignette: Share of light lost in the corners.
      seed: Seed of the sensor noise.
    """

    turn: float
    distance: float
    shift: tuple[float, float]
    tilt: tuple[float, float]
    exposure: float
    balance: tuple[float, float, float]
    defocus: float
    vignette: float
    seed: int


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draws a consulting room: its light, the body part's curve and the camera."""
    warmth = rng.normal(0.0, 0.07)
    green = rng.normal(0.0, 0.02)
    curved = rng.random() < 0.45
    cloth = rng.choice([0.02, 0.1, 0.35, 0.65]) * rng.uniform(0.7, 1.2)
    hue = rng.dirichlet((6.0, 7.0, 8.0)) * 3.0
    return Scene(
        azimuth=rng.uniform(0.0, 2.0 * math.pi),
        elevation=rng.uniform(0.55, 1.0),
        ambient=rng.uniform(0.3, 0.6),
        light=(math.exp(warmth), math.exp(green), math.exp(-1.3 * warmth)),
        falloff=rng.uniform(0.02, 0.2),
        curve_angle=rng.uniform(0.0, math.pi),
        curve_radius=rng.uniform(1.15, 2.6) if curved else math.inf,
        background=(float(cloth * hue[0]), float(cloth * hue[1]), float(cloth * hue[2])),
        saturation=rng.uniform(0.8, 1.08),
        contrast=rng.uniform(0.0, 0.5),
        sharpness=rng.uniform(0.0015, 0.005),
        grain=math.exp(rng.uniform(math.log(0.004), math.log(0.02))),
        turn=rng.uniform(-0.5, 0.5),
    )


def draw_view(rng: np.random.Generator) -> View:
    """Draws where the camera stands for one photo, and how well it focuses and exposes."""
    return View(
        turn=rng.normal(0.0, 0.16),
        distance=math.exp(rng.uniform(-0.3, 0.2)),
        shift=(rng.normal(0.0, 0.1), rng.normal(0.0, 0.1)),
        tilt=(rng.normal(0.0, 0.07), rng.normal(0.0, 0.07)),
        exposure=math.exp(rng.normal(0.0, 0.16)),
        balance=(math.exp(rng.normal(0.0, 0.025)), 1.0, math.exp(rng.normal(0.0, 0.03))),
        defocus=abs(rng.normal(0.0, 0.0055)),
        vignette=rng.uniform(0.03, 0.28),
        seed=int(rng.integers(2**63)),
    )


def illuminate(surface: Surface, scene: Scene, rng: np.random.Generator) -> tuple[Field, Field]:
    """Lights a surface.

    Args:
      surface: The painted skin.
      scene: The light.
      rng: Source of the cloth's weave.

    Returns:
      The light that leaves the patch diffusely, float32[C, C, 3] linear RGB, and the mirror reflection,
      float32[C, C].
    """
    pixel = 2.0 * EXTENT / surface.resolution
    slope_y, slope_x = np.gradient(surface.height, pixel)
    flat = math.cos(scene.elevation)
    towards = (flat * math.cos(scene.azimuth), flat * math.sin(scene.azimuth), math.sin(scene.elevation))
    across = surface.x * math.cos(scene.curve_angle) + surface.y * math.sin(scene.curve_angle)
    if math.isfinite(scene.curve_radius):
        bend = np.clip(across / scene.curve_radius, -1.0, 1.0)
        rise = np.sqrt(np.maximum(1.0 - bend * bend, 0.02))
        # The limb's own slope, tempered: rooms have more than one lamp.
        slope = -0.55 * bend / rise
        slope_x = slope_x + slope * math.cos(scene.curve_angle)
        slope_y = slope_y + slope * math.sin(scene.curve_angle)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1.0)
    facing = (towards[2] - slope_x * towards[0] - slope_y * towards[1]) / (length * towards[2])
    lit = np.clip(facing, 0.0, 1.9) * _unshadowed(surface, towards, pixel)
    # Pits get less of the light that comes from everywhere.
    openness = np.clip(
        1.0 + 7.0 * (surface.height - ndimage.gaussian_filter(surface.height, 0.05 / pixel)), 0.55, 1.2
    )
    gradient = 1.0 + scene.falloff * (
        surface.x * math.cos(scene.azimuth) + surface.y * math.sin(scene.azimuth)
    )
    brightness = (scene.ambient * openness + (1.0 - scene.ambient) * lit) * gradient
    diffuse = surface.albedo() * brightness[..., None]
    half = np.array([towards[0], towards[1], towards[2] + 1.0])
    half /= np.linalg.norm(half)
    aligned = np.clip((half[2] - slope_x * half[0] - slope_y * half[1]) / length, 0.0, 1.0)
    mirror = surface.gloss * (0.03 + 0.42 * aligned**36) * (1.0 - 0.7 * surface.opacity)
    if math.isfinite(scene.curve_radius):
        outside = np.clip((np.abs(across) - 0.97 * scene.curve_radius) / 0.05, 0.0, 1.0)
        weave = 1.0 + 0.12 * noise(rng, surface.resolution, 0.4, octaves=2)
        cloth = np.multiply.outer(weave * gradient, np.asarray(scene.background))
        diffuse = diffuse * (1.0 - outside)[..., None] + cloth * outside[..., None]
        mirror = mirror * (1.0 - outside)
    diffuse *= np.asarray(scene.light, np.float32)
    return diffuse.astype(np.float32), mirror.astype(np.float32)


def photograph(diffuse: Field, mirror: Field, scene: Scene, view: View, size: int) -> NDArray[np.uint8]:
    """Takes one photo of a lit patch.

    Args:
      diffuse: float32[C, C, 3], linear RGB.
      mirror: float32[C, C], mirror reflection of the light.
      scene: The room and the camera.
      view: Where the camera stands.
      size: Width and height of the photo in pixels.

    Returns:
      uint8[size, size, 3], sRGB.
    """
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2.0 - 1.0
    u, v = np.meshgrid(axis, axis)
    nearness = view.distance / (1.0 + view.tilt[0] * u + view.tilt[1] * v)
    angle = scene.turn + view.turn
    across = (u * math.cos(angle) - v * math.sin(angle)) * nearness + view.shift[0]
    down = (u * math.sin(angle) + v * math.cos(angle)) * nearness + view.shift[1]
    resolution = mirror.shape[0]
    where = (np.stack([down, across]) + EXTENT) * (resolution / (2.0 * EXTENT)) - 0.5
    glint = (1.0 + 2.0 * math.hypot(*view.tilt)) * mirror
    image = np.empty((size, size, 3), np.float32)
    sigma = math.hypot(scene.sharpness, view.defocus) * size
    for channel in range(3):
        patch = diffuse[..., channel] + glint * scene.light[channel]
        seen = ndimage.map_coordinates(patch, where, order=1, mode="mirror")
        image[..., channel] = ndimage.gaussian_filter(seen, sigma, truncate=2.5)
    # A phone lifts a dark frame part of the way to middle grey, and so does this camera.
    gain = (0.3 / max(float(image.mean()), 1e-3)) ** 0.28 * view.exposure
    corner = 1.0 - view.vignette * 0.5 * (u * u + v * v)
    image *= corner[..., None] * (gain * np.asarray(view.balance, np.float32))
    sensor = np.random.default_rng(view.seed)
    level = np.sqrt(np.maximum(image, 0.0) + 0.02)
    luma = ndimage.gaussian_filter(sensor.standard_normal((size, size), dtype=np.float32), 0.45)
    chroma = sensor.standard_normal((size, size, 3), dtype=np.float32)
    image += scene.grain * level * (1.3 * luma[..., None] + 0.35 * chroma)
    return _develop(image, scene)


def _develop(image: Field, scene: Scene) -> NDArray[np.uint8]:
    """Turns linear light into sRGB bytes, through a soft shoulder, the tone curve and the saturation."""
    light = np.maximum(image, 0.0)
    # Highlights roll off from 0.7 instead of clipping, as they do in a phone's photo.
    over = np.maximum(light - 0.7, 0.0)
    light = np.minimum(light, 0.7) + 0.3 * (1.0 - np.exp(-over / 0.3))
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1.0 / 2.4) - 0.055)
    coded = coded + scene.contrast * (coded * coded * (3.0 - 2.0 * coded) - coded)
    grey = coded @ np.array([0.299, 0.587, 0.114], np.float32)
    coded = grey[..., None] + scene.saturation * (coded - grey[..., None])
    return np.clip(coded * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)


def _unshadowed(surface: Surface, towards: tuple[float, float, float], pixel: float) -> Field:
    """Returns the share of the lamp that each point sees, 0.35 to 1: relief in between casts a soft shadow."""
    shadow = np.zeros_like(surface.height)
    steep = towards[2] / math.hypot(towards[0], towards[1])
    for reach in (0.03, 0.06, 0.1, 0.15):
        offset = (round(-towards[1] * reach / pixel), round(-towards[0] * reach / pixel))
        between = np.roll(surface.height, offset, axis=(0, 1))
        np.maximum(shadow, between - surface.height - 0.55 * reach * steep, out=shadow)
    return 1.0 - 0.65 * np.clip(ndimage.gaussian_filter(shadow, 1.0) / 0.04, 0.0, 1.0)
