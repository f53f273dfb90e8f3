"""Writes efficientnet_b0.npz: what timm's tf_efficientnet_b0 computes from weights drawn by a rule.

    python tests/golden/make_efficientnet.py          # in an environment with the `peers` extra

The weights need no file: `draw` gives every array from the seed and its name, here and in the test. The
outputs were made with timm 1.0.31 and torch 2.13.0 on CPU, in float64, and rounded to float32.
"""

import math
import sys
import types
import zlib
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np

SEED = 20240607
NUM_CLASSES = 10
OUTPUT = Path(__file__).with_name("efficientnet_b0.npz")


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of this name in timm's naming and layout, float32."""
    generator = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    normal = generator.standard_normal(shape)
    if name.endswith("running_var"):
        values = 0.5 + generator.random(shape)
    elif len(shape) > 1:  # a kernel [out, in, ...], which keeps the scale of what it reads
        values = normal * math.sqrt(2 / math.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 1 + 0.1 * normal
    else:
        values = 0.1 * normal
    return values.astype(np.float32)


def draw_images() -> np.ndarray:
    """A normalised photo of odd height and even width, float32 [1, 65, 80, 3]."""
    return np.random.default_rng(SEED).standard_normal((1, 65, 80, 3)).astype(np.float32)


class _StandIn(MetaPathFinder, Loader):
    """Empty modules in torchvision's place, which timm imports and its networks do not use."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        class Module(types.ModuleType):
            def __getattr__(self, attribute: str) -> type:
                if attribute.startswith("__"):
                    raise AttributeError(attribute)
                modes = ("NEAREST", "NEAREST_EXACT", "BILINEAR", "BICUBIC", "BOX", "HAMMING", "LANCZOS")
                return type(attribute, (), {mode: mode for mode in modes})

        return Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def main() -> None:
    sys.meta_path.insert(0, _StandIn())
    import timm
    import torch

    model = timm.create_model("tf_efficientnet_b0", num_classes=NUM_CLASSES).eval()
    state = {
        name: torch.from_numpy(draw(name, tuple(value.shape))) if value.ndim else value
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    model = model.double()
    maps = {}
    stages = {"block_00": model.blocks[0], "block_04": model.blocks[2], "block_15": model.blocks[6]}
    for name, stage in stages.items():
        stage.register_forward_hook(lambda _, __, output, name=name: maps.update({name: output}))
    with torch.no_grad():
        images = torch.from_numpy(draw_images().transpose(0, 3, 1, 2).copy()).double()
        logits = model(images)
        pooled = model.forward_head(model.forward_features(images), pre_logits=True)
    # Of a map the mean over its rows and over its columns: small, and still telling where a shift is.
    for name, value in list(maps.items()):
        maps[f"{name}_rows"], maps[f"{name}_columns"] = value.mean(3), value.mean(2)
        del maps[name]
    arrays = {"logits": logits, "pooled": pooled, **maps}
    np.savez_compressed(OUTPUT, **{name: value.numpy().astype(np.float32) for name, value in arrays.items()})


if __name__ == "__main__":
    main()
