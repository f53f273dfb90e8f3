"""A run's decision as a layer of a Keras model, on Keras's JAX backend.

    skinjax export --workdir=runs/mine --format=stablehlo --out=mine.stablehlo
    KERAS_BACKEND=jax python -m experiments.recipes.decisions_in_keras mine.stablehlo a.jpg b.jpg

Needs keras, jax and Pillow, and nothing of skinjax: the file holds networks of all levels, calibration, sets and
degrees. What it expects and gives stands in mine.json. Research software, not a medical device.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import keras
import numpy as np
from PIL import Image


def decision_model(path: str | Path) -> keras.Model:
    """Returns a model from photos uint8[N, size, size, 3] to the results of an exported decision, by name."""
    function = jax.export.deserialize(bytearray(Path(path).read_bytes()))

    class Decision(keras.layers.Layer):
        def call(self, images):  # type: ignore[no-untyped-def]
            return function.call(images.astype("uint8"))

        def compute_output_spec(self, images):  # type: ignore[no-untyped-def]
            found = jax.tree.unflatten(function.out_tree, function.out_avals)
            return {
                name: keras.KerasTensor((None, *one.shape[1:]), one.dtype.name) for name, one in found.items()
            }

    images = keras.Input(function.in_avals[0].shape[1:], dtype="uint8")
    return keras.Model(images, Decision(trainable=False, autocast=False)(images))


def main(arguments: Sequence[str]) -> None:
    """Prints the most probable class of each photo at the finest level."""
    path, *photos = arguments
    model = decision_model(path)
    side = model.input_shape[1:3]
    pixels = [np.asarray(Image.open(photo).convert("RGB").resize(side)) for photo in photos]
    answers = model.predict(np.stack(pixels), verbose=0)
    level, classes = list(json.loads(Path(f"{path}.json").read_text())["levels"].items())[-1]
    for photo, probs, certain in zip(
        photos, answers[f"probabilities_{level}"], answers["certain"], strict=True
    ):
        print(
            f"{photo}: {classes[probs.argmax()]} {100 * probs.max():.1f}%{'' if certain else ', not certain enough'}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
