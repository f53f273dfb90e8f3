"""Predictions and readers' calls made of random numbers, to try out whatever reads them; no evidence of anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from skinjax.data.prediction_columns import columns
from skinjax.labels.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd


def invent_predictions(
    taxonomy: Taxonomy, num_cases: int, skills: Sequence[float] = (2.0,), seed: int = 0
) -> list[pd.DataFrame]:
    """Predictions of models that answer for the same photos, three per case, which look alike.

    Args:
      taxonomy: Taxonomy of the labels; each class has as many cases as the others, to one.
      num_cases: At least 1.
      skills: One per model: how far the true class's logit lies above the others, whose spread is 1.
      seed: Seed of everything that is drawn.

    Returns:
      One frame per model: `image`, `case_id`, `label`, `fold`, `p_<class>`, `skin_tone`, `sex` and `age`.

    >>> from skinjax.labels.taxonomy import load_taxonomy
    >>> sure, unsure = invent_predictions(load_taxonomy("psoriasis9"), num_cases=30, skills=(9, 0))
    >>> len(sure), bool(sure["p_psoriasis"][sure["label"] == "psoriasis"].min() > 0.5)
    (90, True)
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    classes = taxonomy.classes()
    case = np.repeat(np.arange(num_cases), 3)
    true = (rng.permutation(num_cases) % len(classes))[case]
    facts = pd.DataFrame(
        {
            "image": [f"invented/{number:07d}.jpg" for number in range(len(case))],
            "case_id": [f"case_{number}" for number in case],
            "label": np.array(classes)[true],
            "fold": case % 5,
        }
    )
    people = pd.DataFrame(
        {
            "skin_tone": pd.array(rng.integers(1, 7, num_cases)[case], "Int64"),
            "sex": np.array(["female", "male"])[rng.integers(2, size=num_cases)[case]],
            "age": rng.integers(1, 95, num_cases)[case].astype(str),
        }
    )
    frames = []
    for skill in skills:
        shared = rng.normal(size=(num_cases, len(classes)))[case]
        logits = np.sqrt(0.5) * (shared + rng.normal(size=shared.shape))
        logits[np.arange(len(case)), true] += skill
        powers = np.exp(logits)
        answers = pd.DataFrame(powers / powers.sum(axis=1, keepdims=True), columns=columns(taxonomy))
        frames.append(pd.concat([facts, answers, people], axis=1))
    return frames


def invent_readers(
    predictions: pd.DataFrame, target: Sequence[str], num_readers: int, seed: int = 0
) -> pd.DataFrame:
    """Readers who call every photo, right in 70 to 90 % of them.

    Args:
      predictions: Whose photos they read.
      target: Classes that count as positive, of the labels.
      num_readers: At least 1.
      seed: Seed of the calls.

    Returns:
      Columns `reader`, `image` and `call`.

    >>> from skinjax.labels.taxonomy import load_taxonomy
    >>> (frame,) = invent_predictions(load_taxonomy("psoriasis9"), num_cases=30)
    >>> readers = invent_readers(frame, ["psoriasis"], num_readers=2)
    >>> len(readers), list(readers)
    (180, ['reader', 'image', 'call'])
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    truth = predictions["label"].isin(target).to_numpy(int)
    parts = []
    for number in range(num_readers):
        wrong = rng.random(len(truth)) > rng.uniform(0.7, 0.9)
        call = np.where(wrong, 1 - truth, truth)
        parts.append(
            pd.DataFrame({"reader": f"reader {number + 1}", "image": predictions["image"], "call": call})
        )
    return pd.concat(parts, ignore_index=True)


def invent_degree_readers(
    images: Sequence[str], degrees: Sequence[int], num_degrees: int, num_readers: int, seed: int = 0
) -> pd.DataFrame:
    """Readers who give every photo a degree of malignancy, the true one in 60 to 85 %, else one beside it.

    Args:
      images: N photos.
      degrees: Their true degrees, in [0, num_degrees).
      num_degrees: D, at least 2.
      num_readers: At least 1.
      seed: Seed of the degrees given.

    Returns:
      Columns `reader`, `image` and `degree`.

    >>> readers = invent_degree_readers(["a", "b"], [0, 2], num_degrees=3, num_readers=4)
    >>> len(readers), list(readers), bool(readers["degree"].between(0, 2).all())
    (8, ['reader', 'image', 'degree'], True)
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    true = np.asarray(degrees, np.int64)
    parts = []
    for number in range(num_readers):
        step = np.where(true == 0, 1, np.where(true == num_degrees - 1, -1, rng.choice([-1, 1], len(true))))
        wrong = rng.random(len(true)) > rng.uniform(0.6, 0.85)
        parts.append(
            pd.DataFrame(
                {"reader": f"reader {number + 1}", "image": list(images), "degree": true + wrong * step}
            )
        )
    return pd.concat(parts, ignore_index=True)
