"""Small photos that are cheap to make and possible to learn: plain colours, a hue a class, a shade a case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

TAXONOMY = "kind,disease\nrash,psoriasis\nrash,eczema\nrash,lichen\ntumour,nevus\ntumour,melanoma\n"
CLASSES = ("psoriasis", "eczema", "lichen", "nevus", "melanoma")


def write_photos(folder: Path, cases: int, seed: int = 0) -> pd.DataFrame:
    """Writes two photos of every case and `manifest.csv` with `taxonomy.csv`; of every four cases of a class, two are
    for training, one for validation and one for the test."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for k, label in enumerate(CLASSES):
        for case in range(cases):
            colour = rng.normal(np.roll([200, 120, 60], k) - 25 * (k // 3), 25)
            for photo in range(2):
                name = f"images/{label}_{case}_{photo}.png"
                pixels = rng.normal(colour, 12, (40, 40, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name)
                part = ("train", "train", "validation", "test")[case % 4]
                rows.append({"image": name, "label": label, "case_id": f"{label} {case}", "split": part})
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "manifest.csv", index=False)
    (folder / "taxonomy.csv").write_text(TAXONOMY)
    return frame
