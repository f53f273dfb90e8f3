"""Trains a small network on coloured photos in a process of its own, for tests of devices, processes and kills.

    python -m tests.support.fitting FOLDER RESULT [--backend=pmap] [--stop_after=3] [--coordinator=host:port ...]

RESULT.npz holds every variable and the logits of held-out photos that do not fill their last batch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np

from skinjax.augment import DEFAULT_STRENGTHS
from skinjax.data.pipeline.loader import Subset
from skinjax.models import registry
from skinjax.models.backbones.backbone import Backbone, FeatureMaps
from skinjax.models.metadata import with_columns
from skinjax.models.ops.layers import DepthwiseConv, DropPath
from skinjax.models.ops.normalization import conv_norm
from skinjax.train.loop import Settings, StoppedError, fit
from skinjax.train.method import Method
from skinjax.train.parallel import Parallel
from skinjax.train.state import Recipe
from tests.support import small_backbones

STOPPED = 75


class Small(Backbone):
    """A network that compiles fast and has what devices could disagree on: BatchNorm, dropout, stochastic depth."""

    def run(self, images: jax.Array, maps: FeatureMaps, *, train: bool) -> jax.Array:
        """Computes the only map, [N, H / 2, W / 2, 8]."""
        x = conv_norm(images, "stem", 8, (3, 3), self.norm, train=train, stride=2)
        y = DepthwiseConv((3, 3), name="depthwise")(x)
        y = self.norm(y, "norm", train=train, activation="swish")
        return maps.record("last", x + DropPath(0.2, name="drop_path")(y, train=train))


def small() -> Small:
    """Returns the network of three classes."""
    return Small(registry.spec("efficientnet_nano"), 3, dropout_rate=0.2, bn_momentum=0.9)


class Coloured:
    """Photos of which the strongest channel is the class."""

    def __init__(self, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.labels = (np.arange(count) % 3).astype(np.int32)
        self.images = rng.integers(0, 120, (count, 32, 32, 3), dtype=np.uint8)
        self.images[np.arange(count), :, :, self.labels] += 100

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"image": self.images[index]}

    def subset(self, width: int = 0) -> Subset:
        """All photos; with a width, each with so many columns of noise."""
        table = np.random.default_rng(7).normal(size=(len(self.labels), width)).astype(np.float32)
        return Subset(self, np.arange(len(self.labels)), self.labels, table if width else None)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--backend", default="jit")
    parser.add_argument("--batch_norm", default="global")
    parser.add_argument("--average_decay", type=float, default=0.0)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--stop_after", type=int, default=0, help="updates")
    parser.add_argument("--fusion", choices=["concat", "metablock"], help="with columns beside the photos")
    parser.add_argument("--coordinator")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--index", type=int)
    options = parser.parse_args()
    if options.coordinator:
        jax.distributed.initialize(options.coordinator, options.processes, options.index)
    spec, width = registry.spec("efficientnet_nano"), 4 if options.fusion else 0
    model: nn.Module = small()
    if options.fusion:
        with small_backbones.registered():
            spec = registry.spec("small")
            model = with_columns(registry.create("small", 3), spec, width, options.fusion)
    settings = Settings(
        epochs=options.epochs,
        batch_size=16,
        seed=1,
        method=Method(average_decay=options.average_decay),
        parallel=Parallel(options.backend, options.batch_norm),
        checkpoint_seconds=0,
    )
    recipe = Recipe(learning_rate=0.02, momentum=0.9, burn_in=2, strengths=DEFAULT_STRENGTHS)
    try:
        fitted = fit(
            model,
            spec,
            registry.init_variables(model, jax.random.key(0)),
            Coloured(50, 0).subset(width),
            Coloured(19, 1).subset(width),
            recipe,
            settings,
            options.folder,
            should_stop=lambda update: update == options.stop_after,
        )
    except StoppedError:
        sys.exit(STOPPED)
    if jax.process_index() == 0:
        leaves = jax.tree_util.tree_leaves_with_path(fitted.variables)
        arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
        np.savez(options.result, logits=fitted.logits, **arrays)


if __name__ == "__main__":
    main()
