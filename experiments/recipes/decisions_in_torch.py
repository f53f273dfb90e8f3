"""A run's decision inside a PyTorch program: a module that takes uint8 photos and gives tensors by name.

    skinjax export --workdir=runs/mine --out=mine.onnx
    python -m experiments.recipes.decisions_in_torch mine.onnx a.jpg b.jpg

Needs torch, onnxruntime and Pillow, and nothing of skinjax: the file holds networks of all levels, calibration, sets
and degrees. What it expects and gives stands in mine.json. Research software, not a medical device.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image


class Decision(torch.nn.Module):
    """An exported decision as a module."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.session = onnxruntime.InferenceSession(str(path))
        self.names = [one.name for one in self.session.get_outputs()]
        self.size = self.session.get_inputs()[0].shape[1]

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Answers photos uint8[N, size, size, 3]."""
        found = self.session.run(None, {"images": images.cpu().numpy()})
        return {name: torch.from_numpy(values) for name, values in zip(self.names, found, strict=True)}


def main(arguments: Sequence[str]) -> None:
    """Prints the most probable class of each photo at the finest level."""
    path, *photos = arguments
    decision = Decision(path)
    side = (decision.size, decision.size)
    pixels = [np.asarray(Image.open(photo).convert("RGB").resize(side)) for photo in photos]
    answers = decision(torch.from_numpy(np.stack(pixels)))
    level, classes = list(json.loads(Path(f"{path}.json").read_text())["levels"].items())[-1]
    probability, best = answers[f"probabilities_{level}"].max(dim=1)
    for photo, p, number, certain in zip(photos, probability, best, answers["certain"], strict=True):
        print(f"{photo}: {classes[number]} {100 * p:.1f}%{'' if certain else ', not certain enough'}")


if __name__ == "__main__":
    main(sys.argv[1:])
