"""Context of a report's page beside the model's predictions."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from skinjax.data.predictions import Predictions
from skinjax.report.blocks import Section
from skinjax.report.figures.contact_sheet import Explain


@dataclasses.dataclass(frozen=True, eq=False)
class ReportContext:
    """Context that `skinjax.report.page.write_report` shows around a `skinjax.report.study.Study`.

    Attributes:
      title: The page's heading.
      config: The run's configuration. With `"synthetic": True` the page says that its photos are rendered.
      photo_root: The folder that the photos' paths start from; None shows placeholders.
      notes: Sentences to be read beside the result.
      audit: Findings of the data audit, one row per finding, shown as they are.
      training: One row per trained network, shown as it is (such as stage, fold, epochs, photos, seconds).
      curves: Rows of `stage`, `fold`, `epoch`, `split` ("train" or "test"), `loss`, `accuracy` and perhaps `macro_f1`;
        None where the training is not known.
      readers: What people called the photos: `reader`, `image` and `call` (0 or 1, whether it is the target), one row
        per reader and photo; photos that only some readers called are left out.
      degrees: Class of the finest level -> degree of malignancy, 0 to D - 1, 0 the most benign; None for no
        tumour.
      subgroups: Names of columns of the predictions whose groups are compared.
      prevalence: Share of the target where the model will be used, for predictive values; None for these photos' own.
      others: Name -> predictions of another model for the same photos, in any order. All are compared pairwise.
      extra: Sections of the caller's own, with ids of their own: shown before all others where there is a verdict,
        else after the methods.
      verdict: Sentences of the caller's own, before the answer at the top.
      afterword: Sentences of the caller's own behind the answer.
      explain: Draws where the network looked (`skinjax.report.figures.contact_sheet.Explain`); None for no pictures.
      details: Sections of the caller's own on how it was done, shown after the results.
    """

    title: str
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    photo_root: str | os.PathLike[str] | None = None
    notes: Sequence[str] = ()
    audit: pd.DataFrame | None = None
    training: pd.DataFrame | None = None
    curves: pd.DataFrame | None = None
    readers: pd.DataFrame | None = None
    degrees: Mapping[str, int | None] | None = None
    subgroups: Sequence[str] = ()
    prevalence: float | None = None
    others: Mapping[str, Predictions] = dataclasses.field(default_factory=dict)
    extra: Sequence[Section] = ()
    verdict: Sequence[str] = ()
    afterword: Sequence[str] = ()
    details: Sequence[Section] = ()
    explain: Explain | None = None
