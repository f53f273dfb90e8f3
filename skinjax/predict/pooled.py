"""Predictions of photos pooled into predictions of cases, which everything that reads predictions can be given.

A case is what was diagnosed: a lesion where the predictions have a column `lesion_id` that is known, for a patient may
have several, and otherwise what `case_id` names. Photos of one case in several folds are pooled by fold, as different
networks said it. A case whose photos bear different diagnoses is of no class, and is left out.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from skinjax.data.predictions import Predictions
from skinjax.decide.pooling import CasePrediction, PoolingRule, pool_by_case
from skinjax.predict.decisions import fuse_levels_of

RULE: PoolingRule = "mean_log"
"""Rule by which cases are answered."""


@dataclasses.dataclass(frozen=True, eq=False)
class PooledPredictions:
    """Predictions by case.

    Attributes:
      predictions: Predictions of C cases, a row for each, with the columns of its first photo.
      photos: int64[C], photos of each case.
      disagreement: float64[C] in [0, 1], how far its photos disagree at the finest level, coarser networks' answers
        fused in; see `skinjax.decide.pooling`.
      rows: int64[n], the photos that were pooled, as rows of the photos' predictions, ascending.
      index: int64[n] in [0, C), the case of each.
      mixed: Cases left out because their photos bear different diagnoses.
      mixed_photos: Photos of those.
    """

    predictions: Predictions
    photos: NDArray[np.int64]
    disagreement: NDArray[np.float64]
    rows: NDArray[np.int64]
    index: NDArray[np.int64]
    mixed: int
    mixed_photos: int

    @property
    def several(self) -> int:
        """Returns the number of cases with several photos."""
        return int((self.photos > 1).sum())


def case_keys(predictions: Predictions) -> NDArray[np.int64]:
    """Returns which case each photo is of, int64[N] from 0 in the order in which they first occur.

    Args:
      predictions: Of N photos.
    """
    frame = predictions.frame
    lesion = frame["lesion_id"].fillna("") if "lesion_id" in frame else [""] * len(frame)
    place: dict[tuple, int] = {}
    keys = zip(predictions.case_id.tolist(), lesion, predictions.fold.tolist(), strict=True)
    return np.array([place.setdefault(key, len(place)) for key in keys], np.int64)


def pool_predictions(
    predictions: Predictions, rule: PoolingRule = RULE, severity: NDArray[np.floating] | None = None
) -> PooledPredictions:
    """Pools the photos of every case, at each level that a network answered for.

    Args:
      predictions: Of photos.
      rule: See `skinjax.decide.pooling`.
      severity: float[K], how malignant each finest class is, for "max": the photo whose mean severity is highest
        stands for its case, at every level.

    Returns:
      The cases, in the order in which they first occur.

    Raises:
      ValueError: An unknown rule, or severities with another one.
    """
    keys = case_keys(predictions)
    count = int(keys.max(initial=-1)) + 1
    lowest, highest = np.full(count, len(predictions.taxonomy.classes())), np.full(count, -1)
    np.minimum.at(lowest, keys, predictions.label)
    np.maximum.at(highest, keys, predictions.label)
    kept = (lowest == highest)[keys]
    rows = np.flatnonzero(kept)
    photos = predictions.take(rows)
    mixed = int((lowest != highest).sum())
    if not len(rows):
        none = np.zeros(0, np.int64)
        return PooledPredictions(photos, none, np.zeros(0), none, none, mixed, len(keys))
    fused = np.asarray(fuse_levels_of(photos.probs, photos.taxonomy))
    scores = None if severity is None else fused @ np.asarray(severity, fused.dtype)
    pooled = {level: pool_by_case(values, keys[kept], rule, scores) for level, values in photos.probs.items()}
    found: CasePrediction = pooled[photos.taxonomy.finest]
    apart = pool_by_case(fused, keys[kept], rule, scores).disagreement
    first = np.unique(found.index, return_index=True)[1]
    cases = dataclasses.replace(
        photos.take(first), probs={level: each.probs.astype(np.float64) for level, each in pooled.items()}
    )
    return PooledPredictions(
        cases, found.photos, apart.astype(np.float64), rows, found.index, mixed, len(keys) - len(rows)
    )
