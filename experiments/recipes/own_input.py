"""An input pipeline of one's own in Grain: classes drawn evenly, augmentation on the host, resuming by Grain's state.

    python -m experiments.recipes.own_input                                    # built-in photos, 20 s
    python -m experiments.recipes.own_input --manifest=mine/manifest.csv --image_size=224

What it makes are batches for any training loop. The studies' own are as even and several times as fast
(`benchmarks/results/input.md`), so take this where the pipeline is the thing to change.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

import skinjax
from skinjax.data.split import kfold_by_case


def flip_and_cut(example: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Flips a photo at random and cuts a square of seven eighths out of it."""
    image = example["image"][:, :: rng.choice([-1, 1])]
    side = len(image) * 7 // 8
    top, left = rng.integers(0, len(image) - side + 1, 2)
    return example | {"image": image[top : top + side, left : left + side]}


def evenly(dataset: grain.MapDataset, chosen: np.ndarray, labels: np.ndarray, seed: int) -> grain.MapDataset:
    """Returns the chosen photos without end, their classes drawn equally often and reshuffled after each pass."""
    classes = [np.flatnonzero(chosen & (labels == label)) for label in np.unique(labels[chosen])]
    numbers = [
        grain.MapDataset.source(rows).seed(seed + label).shuffle().repeat()
        for label, rows in enumerate(classes)
    ]
    return grain.MapDataset.mix(numbers).map(dataset.__getitem__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepares photos, reads some batches, and resumes after half of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", default="", help="CSV or Parquet file beside the photos.")
    parser.add_argument("--image_size", type=int, default=64, help="Side of the prepared photos in pixels.")
    parser.add_argument("--batch_size", type=int, default=16, help="Photos per batch.")
    parser.add_argument("--workdir", default="runs/own_input", help="Folder of the decoded photos.")
    given = parser.parse_args(arguments)
    folder = Path(given.workdir)
    if given.manifest:
        found = skinjax.read_photos(given.manifest)
    else:
        found = skinjax.synthetic_photos(folder / "photos", cases_per_class=2, size=64)
    photos = found.prepare(folder / "prepared", given.image_size)
    training = kfold_by_case(photos.labels, photos.cases, 5, 0) != 0  # fold 0 is held out
    pipeline = (
        evenly(skinjax.as_grain(photos), training, photos.labels, 0)
        .random_map(flip_and_cut, seed=1)
        .batch(given.batch_size)
        .to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
    )
    iterator = iter(pipeline)
    first = [next(iterator) for _ in range(4)]
    state = iterator.get_state()  # goes into the checkpoint, beside the network's
    rest = [next(iterator) for _ in range(4)]
    resumed = iter(pipeline)
    resumed.set_state(state)
    again = [next(resumed) for _ in range(4)]
    same = all(np.array_equal(a["image"], b["image"]) for a, b in zip(rest, again, strict=True))
    counts = np.bincount(np.concatenate([batch["label"] for batch in first + rest]))
    seen = {str(case) for batch in first + rest for case in batch["case_id"]}
    print(f"photos of a class drawn: {counts.min()} to {counts.max()}, from {len(seen)} cases")
    print(f"held-out cases among them: {len(seen & set(photos.cases[~training]))}")
    print(f"resumed batches are {'the same' if same else 'other ones'}")


if __name__ == "__main__":
    main()
