"""Features of a PyTorch network, as a file that `skinjax probe` reads: heads, fused levels and the report in minutes.

Any network serves that gives a vector per photo: a hospital's own, one of timm's, PanDerm, DINOv3 or MONET. The network
here is drawn at random and small, so that the recipe runs anywhere PyTorch is installed (pip install "skinjax[peers]");
put another in the place of `network` and its preprocessing in the place of `batch_of`.

    python -m experiments.recipes.torch_features                                    # built-in photos
    python -m experiments.recipes.torch_features --manifest=photos/manifest.csv --out=features.parquet
    skinjax probe --features=features.parquet --taxonomy=classes.csv --workdir=runs/theirs
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

import skinjax

SIZE, WIDTH, BATCH = 64, 128, 32


def network(seed: int) -> torch.nn.Module:
    """Returns a network from float[B, 3, SIZE, SIZE] to a vector per photo, float[B, WIDTH]."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, WIDTH, 8, stride=4),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    ).eval()


def batch_of(paths: Sequence[Path]) -> torch.Tensor:
    """Returns photos as the network reads them, float32[B, 3, SIZE, SIZE]."""
    pixels = []
    for path in paths:
        with Image.open(path) as photo:
            pixels.append(np.asarray(photo.convert("RGB").resize((SIZE, SIZE)), np.float32) / 127.5 - 1)
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def vectors(model: torch.nn.Module, paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Yields the vectors of one batch after another."""
    with torch.inference_mode():
        for first in range(0, len(paths), BATCH):
            yield model(batch_of(paths[first : first + BATCH])).numpy()


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the manifest with the vectors behind it: that is the whole contract."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", default="", help="The photos; empty for the built-in ones.")
    parser.add_argument("--out", default="runs/torch_features/features.parquet", help="The features file.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the network and of the built-in photos.")
    options = parser.parse_args(arguments)
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    photos = (
        skinjax.read_photos(options.manifest)
        if options.manifest
        else skinjax.synthetic_photos(out.parent / "photos", cases_per_class=6, size=64, seed=options.seed)
    )
    values = np.concatenate(
        list(vectors(network(options.seed), [photos.root / name for name in photos.frame["image"]]))
    )
    columns = pd.DataFrame(values, columns=[f"f_{number:04d}" for number in range(values.shape[1])])
    pd.concat([photos.frame, columns], axis=1).to_parquet(out, index=False)
    print(f"{len(values)} photos with {values.shape[1]} features each: {out}")


if __name__ == "__main__":
    main()
