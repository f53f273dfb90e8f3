"""Writes the .npz files here: what timm and Keras compute from weights that are drawn by a rule.

    python tests/golden/make_golden.py [name ...]          # in an environment with the `peers` extra

The weights need no file: `draw` gives every array from the seed and its name, here and in the tests. The outputs were
made with timm 1.0.31 and torch 2.13.0 (2.14.1 of lite0), and with Keras 3.15.0 on JAX, on CPU, in float64, and
rounded to float32.

Of a feature map is kept the mean over its columns ("_rows") and over its rows ("_columns"), which is small and
still tells where a shift is, of at most 320 evenly spaced channels. Of a training step are kept the sums of the
running statistics after it (of the biased variance, as Keras has it), and the norms of some gradients.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

SEED = 20240607
NUM_CLASSES = 10
MOST_CHANNELS = 320
FOLDER = Path(__file__).parent


class Case(NamedTuple):
    """A golden file.

    Attributes:
      row: the backbone here.
      library: "timm" or "keras".
      model: its name there.
      shape: of the images.
      maps: our names of feature maps, and theirs.
      depthwise_gain: what a depthwise kernel does to the mean square of what it reads.
    """

    row: str
    library: str
    model: str
    shape: tuple[int, int, int]
    maps: Mapping[str, str]
    depthwise_gain: float = 2.0


CASES = {
    "efficientnet_b0": Case(
        "efficientnet_b0",
        "timm",
        "tf_efficientnet_b0",
        (1, 65, 80),
        {"block_00": "blocks.0", "block_04": "blocks.2", "block_15": "blocks.6"},
    ),
    "efficientnet_lite0": Case(
        "efficientnet_lite0",
        "timm",
        "tf_efficientnet_lite0",
        (1, 65, 80),
        {"block_00": "blocks.0", "block_04": "blocks.2", "block_15": "blocks.6"},
    ),
    "inception_v3": Case(
        "inception_v3",
        "keras",
        "InceptionV3",
        (1, 107, 128),
        {"mixed_00": "mixed0", "mixed_05": "mixed5", "mixed_09": "mixed9"},
    ),
    "inception_v3_torch": Case(
        "inception_v3_torch",
        "timm",
        "inception_v3",
        (1, 107, 128),
        {"mixed_00": "Mixed_5b", "mixed_05": "Mixed_6c", "mixed_09": "Mixed_7b"},
    ),
    "inception_resnet_v2": Case(
        "inception_resnet_v2",
        "timm",
        "inception_resnet_v2",
        (1, 107, 128),
        {"mixed_5b": "mixed_5b", "block17_10": "repeat_1.9", "block8_10": "block8"},
    ),
    "xception": Case(
        "xception",
        "keras",
        "Xception",
        (1, 72, 91),
        {"block_02": "add", "block_08": "add_6", "block_13": "add_11"},
        depthwise_gain=1.0,
    ),
    "xception_torch": Case(
        "xception_torch",
        "timm",
        "legacy_xception",
        (1, 72, 91),
        {"block_02": "block1", "block_08": "block7", "block_13": "block12"},
        depthwise_gain=1.0,
    ),
    "densenet121": Case(
        "densenet121",
        "timm",
        "densenet121",
        (1, 65, 80),
        {
            "dense_1_06": "features.denseblock1",
            "transition_2": "features.transition2",
            "dense_4_16": "features.denseblock4",
        },
    ),
}
# One training step each, of the same networks.
TRAINING = {"inception_v3": (8, 96, 107), "densenet121": (4, 65, 80)}


def draw(name: str, shape: tuple[int, ...], fan_in: int, gain: float = 2.0) -> np.ndarray:
    """An array of a network, by its name and in its layout there.

    Args:
      name: its name in the library, like "conv1.weight" or "conv2d_1/kernel".
      shape: its shape there.
      fan_in: of a kernel, how many numbers go into one output; 0 for what is no kernel.
      gain: what the kernel does to the mean square of what it reads.

    Returns:
      float32.
    """
    generator = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    normal = generator.standard_normal(shape)
    if name.endswith(("running_var", "moving_variance")):
        values = 0.5 + generator.random(shape)
    elif fan_in:
        values = normal * math.sqrt(gain / fan_in)
    elif name.endswith(("weight", "gamma")):
        values = 1 + 0.1 * normal
    else:
        values = 0.1 * normal
    return values.astype(np.float32)


def draw_for(case: Case, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of this name and shape of the case's network."""
    if len(shape) < 2:
        ones = case.row == "inception_resnet_v2" and name.endswith("weight")
        return np.ones(shape, np.float32) if ones else draw(name, shape, 0)
    # PyTorch's kernels are [out, in, ...], Keras's [..., in, out] but depthwise ones [..., channels, 1].
    depthwise = shape[1] == 1 if case.library == "timm" else len(shape) == 4 and shape[3] == 1
    if case.library == "timm":
        fan_in = math.prod(shape[1:])
    else:
        fan_in = shape[0] * shape[1] if depthwise else math.prod(shape[:-1])
    return draw(name, shape, fan_in, case.depthwise_gain if depthwise else 2.0)


def draw_images(shape: tuple[int, int, int]) -> np.ndarray:
    """Normalised photos, float32 [*shape, 3]."""
    return np.random.default_rng(SEED).standard_normal((*shape, 3)).astype(np.float32)


def draw_weights(shape: tuple[int, ...]) -> np.ndarray:
    """The weights of the logits in the loss of a training step, float32."""
    return np.random.default_rng(SEED + 1).standard_normal(shape).astype(np.float32)


def summary(name: str, value: np.ndarray) -> dict[str, np.ndarray]:
    """What is kept of a feature map [N, h, w, c]: means [N, c', h] and [N, c', w]."""
    value = value.transpose(0, 3, 1, 2)[:, :: math.ceil(value.shape[3] / MOST_CHANNELS)]
    return {f"{name}_rows": value.mean(3), f"{name}_columns": value.mean(2)}


def main(names: list[str]) -> None:
    adapters_file = importlib.util.spec_from_file_location(
        "adapters", FOLDER.parent / "peers" / "adapters.py"
    )
    adapters = importlib.util.module_from_spec(adapters_file)
    sys.modules["adapters"] = adapters
    adapters_file.loader.exec_module(adapters)
    for name in names or CASES:
        case = CASES[name]
        peer = adapters.open_peer(case.library, case.model, case.shape[1:], NUM_CLASSES)
        peer.set({key: draw_for(case, key, shape) for key, shape in peer.shapes().items()})
        found = peer.features(draw_images(case.shape), case.maps)
        arrays = {kind: found.pop(kind) for kind in ("logits", "pooled")}
        for key, value in found.items():
            arrays |= summary(key, value)
        if name in TRAINING:
            images = draw_images(TRAINING[name])
            peer = adapters.open_peer(case.library, case.model, images.shape[1:3], NUM_CLASSES)
            peer.set({key: draw_for(case, key, shape) for key, shape in peer.shapes().items()})
            statistics, gradients = peer.train_step(images, draw_weights((len(images), NUM_CLASSES)))
            chosen = sorted(gradients)[:: math.ceil(len(gradients) / 24)]
            arrays["statistics_names"] = np.array(sorted(statistics))
            arrays["statistics"] = np.array([statistics[key].sum() for key in sorted(statistics)])
            arrays["gradients_names"] = np.array(chosen)
            arrays["gradients"] = np.array([np.linalg.norm(gradients[key]) for key in chosen])
        kept = {
            key: value if value.dtype.kind == "U" else value.astype(np.float32)
            for key, value in arrays.items()
        }
        np.savez_compressed(FOLDER / f"{name}.npz", **kept)
        print(name, (FOLDER / f"{name}.npz").stat().st_size, "bytes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
