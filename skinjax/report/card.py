"""The facts of a model card, from a report's study and a run's configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from skinjax.evaluate.multiclass import MacroAucInterval
from skinjax.report.model_card import Calibration, CardFacts, Metric
from skinjax.report.sections.calibration import Calibrated
from skinjax.report.sections.roc import TargetFacts
from skinjax.report.study import Study

_TEXTS = (
    "backbone", "batch_norm", "class_balance", "decay", "fit", "learning_rate_decay", "loss", "optimizer",
    "parallel", "precision", "test_time_augmentation",
)  # fmt: skip
"""Settings whose text is a word of ours; any other may name a person, a clinic or a folder."""


def card_facts(
    study: Study,
    methods: pd.DataFrame,
    area: MacroAucInterval,
    target: TargetFacts | None,
    calibrated: Calibrated | None,
    subgroups: pd.DataFrame | None,
    config: Mapping[str, Any],
    stages: Sequence[str],
    notes: Sequence[str],
) -> CardFacts:
    """Returns what the model card is written from.

    Numbers, switches and our own words of the options, `config["config"]`, are kept, and no path or other text; groups
    by source, which may name clinics, are left out.

    Args:
      study: The model's answers, and how intervals are made.
      methods: The table that `skinjax.report.tables.methods.compare_methods` returned.
      area: Areas of the finest level's classes.
      target: None without one.
      calibrated: None where there is nothing to calibrate.
      subgroups: The table of `skinjax.report.sections.subgroups`; None for none.
      config: The run's configuration.
      stages: Names of the networks that were trained.
      notes: Sentences to be read beside the figures.
    """
    options = config.get("config") if isinstance(config.get("config"), Mapping) else {}
    assert isinstance(options, Mapping)
    backbone = str(options.get("backbone") or "")
    size = options.get("image_size")
    size = int(size) if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None
    row = methods[methods["method"] == study.method].iloc[0].to_dict()
    metrics = [
        Metric(title, row[name], row[f"{name}_low"], row[f"{name}_high"], study.confidence)
        for name, title in (("accuracy", "Accuracy"), ("macro_f1", "Macro F1"))
    ]
    metrics.append(Metric("Macro AUC", area.auc, area.low, area.high, study.confidence))
    if target is not None and study.target is not None:
        found = target.auc
        title = f"AUC of {study.target.title}"
        metrics.append(Metric(title, found.auc, found.low, found.high, study.confidence))
        for name in ("sensitivity", "specificity"):
            share = target.calls.get(name)
            if share is not None:
                metrics.append(
                    Metric(f"{name.capitalize()} for {study.target.title}", share.estimate, share.low, share.high,
                           study.confidence)
                )  # fmt: skip
    scaled = None
    if calibrated is not None and calibrated.tempered is not None:
        before, after = calibrated.table["ece"]
        scaled = Calibration(before, after, calibrated.tempered.overall)
    versions = config.get("versions")
    return CardFacts(
        name=study.name,
        synthetic=config.get("synthetic") is True,
        backbone=backbone,
        image_size=size,
        taxonomy=study.taxonomy.name,
        levels={level: study.taxonomy.classes(level) for level in study.taxonomy.levels},
        photos=len(study.labels),
        cases=study.num_cases,
        folds=study.num_folds,
        metrics=metrics,
        method="soft fusion" if study.method == "soft" else "",
        licence="",
        stages=tuple(stages) if backbone and size else (),
        subgroups=None if subgroups is None else subgroups[subgroups["column"] != "source"],
        calibration=scaled,
        config={k: v for k, v in options.items() if _may_be_told(k, v)},
        versions={str(k): str(v) for k, v in versions.items()} if isinstance(versions, Mapping) else {},
        notes=notes,
        counted_cases="" if study.unit == "case" else f"not known; {study.counted_cases} count instead",
        noun=study.noun,
    )


def _may_be_told(name: str, value: object) -> bool:
    return name in _TEXTS or isinstance(value, bool | int | float)
