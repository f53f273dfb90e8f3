"""An optimiser and a schedule of one's own: `fit` takes any transformation of optax, here Lion with its own warm-up.

Beside it the thesis's SGD with momentum trains the same network on the same photos; both are compared by case. What
goes with the thesis's optimiser goes with any: clipping, frozen blocks, averages, parts of a batch, jit and pmap.

    python -m experiments.recipes.new_optimizer                      # built-in photos, half a minute
    python -m experiments.recipes.new_optimizer --learning_rate=0.003 --epochs=20
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import optax

import skinjax
from experiments.recipes.new_backbone import PLAIN  # a network that compiles in seconds
from skinjax.data.pipeline.loader import Subset, steps_per_epoch
from skinjax.data.split import split_by_case
from skinjax.evaluate.bootstrap import accuracy, by_case, paired_by_case
from skinjax.models import registry
from skinjax.train.loop import Settings, fit
from skinjax.train.method import Method
from skinjax.train.state import Recipe


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains with both and prints what each answers right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learning_rate", type=float, default=1e-3, help="Highest rate of Lion.")
    parser.add_argument("--epochs", type=int, default=8, help="Passes over the training photos.")
    parser.add_argument("--synthetic_cases", type=int, default=8, help="Cases per class that are rendered.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of photos, weights and bootstrap.")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        photos = skinjax.synthetic_photos(
            folder / "photos", cases_per_class=given.synthetic_cases, size=64, seed=given.seed
        )
        data = photos.prepare(folder / "prepared", 64)
        part = split_by_case(data.labels, data.cases, (3, 1), given.seed)
        train, test = (
            Subset(data.prepared.source, np.flatnonzero(part == k), data.labels[part == k]) for k in (0, 1)
        )
        settings = Settings(epochs=given.epochs, evaluate_every=given.epochs, seed=given.seed)
        steps = given.epochs * steps_per_epoch(len(train), settings.batch_size)
        rate = optax.warmup_cosine_decay_schedule(0.0, given.learning_rate, steps // 10, steps)
        methods = {"SGD": Method(), "Lion": Method(optimizer=optax.lion(rate, weight_decay=0.1))}
        recipe = Recipe(learning_rate=0.02, momentum=0.9, burn_in=steps // 10)  # the first one's alone
        model = registry.create(PLAIN.name, len(data.taxonomy.classes()))
        start, predicted = registry.init_variables(model, jax.random.key(given.seed)), {}
        for name, method in methods.items():
            fitted = fit(
                model, PLAIN, start, train, test, recipe, replace(settings, method=method), folder / name
            )
            predicted[name] = fitted.logits.argmax(axis=1)
            found = by_case(accuracy, (test.labels, predicted[name]), data.cases[part == 1], seed=given.seed)
            print(f"{name}: accuracy {found.estimate:.3f} ({found.low:.3f} to {found.high:.3f} by case)")
        gain = paired_by_case(
            accuracy, test.labels, predicted["Lion"], predicted["SGD"], data.cases[part == 1], seed=given.seed
        )
        print(f"Lion over SGD: {gain.difference:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})")


if __name__ == "__main__":
    main()
