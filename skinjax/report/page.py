"""The report: one page that opens offline, written from stored predictions alone.

`write_report` writes `index.html` with all pictures inside, and beside it the same figures as SVG with their
data as CSV (`figures/`), the tables as CSV (`tables/`) and a model card (`model_card.md`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinjax.data.predictions import validate
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report import tables
from skinjax.report.blocks import Section
from skinjax.report.card import card_facts
from skinjax.report.checklists import SECTIONS
from skinjax.report.contact_sheet import contact_sheet
from skinjax.report.model_card import model_card
from skinjax.report.pictures import draw_curves, draw_methods
from skinjax.report.rendering import render, write_folder
from skinjax.report.sections.calibration import calibrated, calibration_section, decision_section
from skinjax.report.sections.classes import METHODS, class_areas, class_section, confusion_section
from skinjax.report.sections.conformal import conformal_section
from skinjax.report.sections.limits import checklist_tables, limits_section
from skinjax.report.sections.malignancy import check_degrees, malignancy_section
from skinjax.report.sections.models import models_blocks, other_studies
from skinjax.report.sections.readers import check_readers, readers_section
from skinjax.report.sections.roc import precision_recall_section, roc_section, target_facts
from skinjax.report.sections.subgroups import check_subgroups, subgroups_section
from skinjax.report.study import Study, study
from skinjax.report.summary import summary


def write_report(
    folder: str | os.PathLike[str],
    *,
    title: str,
    predictions: pd.DataFrame,
    taxonomy: Taxonomy,
    coarse_level: str | None,
    curves: pd.DataFrame | None,
    config: Mapping[str, Any],
    photo_root: str | os.PathLike[str] | None,
    notes: Sequence[str] = (),
    audit: pd.DataFrame | None = None,
    training: pd.DataFrame | None = None,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    name: str = "model",
    target: Sequence[str] = (),
    readers: pd.DataFrame | None = None,
    degrees: Mapping[str, int] | None = None,
    subgroups: Sequence[str] = (),
    others: Mapping[str, pd.DataFrame] | None = None,
    extra: Sequence[Section] = (),
    verdict: Sequence[str] = (),
) -> Path:
    """Writes the report on stored predictions.

    All text is escaped, so that names of classes, files and settings may hold anything. The page appears
    whole or not at all: an older one stands until the new one is complete. A section that cannot be computed
    says why in a sentence.

    What is fitted (thresholds, temperatures, cut-points, conformal sets) is fitted on other cases than those it is
    used on: on the other folds, or on the other of five parts of the cases where there are no folds.

    Args:
        folder: where to write; made if it is not there.
        title: the page's heading.
        predictions: at least one photo; the schema is that of `skinjax.data.predictions`.
        taxonomy: of the predictions' labels.
        coarse_level: the level that is fused with the finest one; None (or the finest level itself) for none.
            Fusion is reported where the columns `<coarse_level>:p_<class>` stand in the predictions.
        curves: rows of `stage`, `fold`, `epoch`, `split` ("train" or "test"), `loss`, `accuracy` and perhaps
            `macro_f1`; None where the training is not known.
        config: the run's configuration. With `"synthetic": True` the page says that its photos are rendered.
        photo_root: the folder that the photos' paths start from; None shows placeholders.
        notes: sentences to be read beside the result.
        audit: findings of the data audit, one row a finding, shown as they are.
        training: one row a trained network, shown as it is (such as stage, fold, epochs, photos, seconds).
        replicates: of the bootstrap by case. Beyond 100,000 photos there are fewer, which the page says.
        confidence: of all intervals, in (0, 1).
        seed: of the bootstrap and of the draw of photos.
        name: of the model.
        target: names of classes of one level that together count as positive; empty for none.
        readers: what people called the photos: `reader`, `image` and `call` (0 or 1, whether it is the target),
            one row a reader and photo; photos that only some readers called are left out.
        degrees: class of the finest level -> degree of malignancy, 0 to D - 1, 0 the most benign.
        subgroups: names of columns of the predictions whose groups are looked at.
        others: predictions of other models for the same photos, in any order, by name of the model. All are
            compared pairwise.
        extra: sections of the experiment's own, with ids of their own, shown before all others.
        verdict: sentences of the experiment's own, before the answer at the top.

    Returns:
        The path of `index.html`.

    Raises:
        PredictionsError: With everything that is wrong with the predictions (a ValueError).
        ValueError: The taxonomy has no such coarse level or target, the curves or readers lack a column, or
            readers, degrees, subgroups or other models do not fit the predictions.
    """
    validate(predictions, taxonomy)
    _check_curves(curves)
    check_subgroups(subgroups, predictions)
    if readers is not None:
        check_readers(readers, predictions)
    degree_of_class = None if degrees is None else check_degrees(degrees, taxonomy)
    model = study(name, predictions, taxonomy, coarse_level, target, confidence, replicates, seed)
    rivals = other_studies(model, others or {})
    warning = _warning(model)
    draws = (model.cases, model.replicates, confidence, seed)

    found: dict[str, pd.DataFrame] = {"methods": tables.compare_methods(model.fine, *draws)}
    if model.coarse_level is not None:
        found["methods_coarse"] = tables.compare_methods(model.answers[model.coarse_level], *draws)
    found["folds"] = tables.count_folds(model.predictions)
    found["folds_by_class"] = tables.count_classes(model.predictions, model.fine.classes)
    found["configuration"] = tables.flatten_config(config)
    found |= {key: frame for key, frame in (("training", training), ("audit", audit)) if frame is not None}
    pictures = [draw_methods(found["methods"], METHODS, confidence)]
    if curves is not None and len(curves):
        pictures.append(draw_curves(curves, {"sub": "Fine network", "meta": "Coarse network"}))

    areas, facts, scaled = class_areas(model), target_facts(model), calibrated(model)
    clause, groups = "", None
    results: list[Section | None] = [roc_section(model, facts, areas), precision_recall_section(model)]
    if readers is not None:
        section, clause = readers_section(model, readers)
        results.append(section)
    results += [
        confusion_section(model),
        class_section(model, areas),
        calibration_section(model, scaled),
        decision_section(model, scaled),
    ]
    if subgroups:
        section, groups = subgroups_section(model, subgroups)
        results.append(section)
    results.append(conformal_section(model))
    if degree_of_class is not None:
        results.append(malignancy_section(model, degree_of_class))
    sections = [*extra, *(section for section in results if section is not None)]
    limits = limits_section(model, config.get("synthetic") is True, warning, len(subgroups))
    compared = models_blocks(model, rivals) if rivals else []
    present = {section.id for section in sections if section.answered and section.id in SECTIONS} | {
        "summary",
        "methods",
        "data",
        "limits",
    }
    present |= {"photos"} if photo_root else set()
    present |= {key for key in ("training", "configuration") if len(found.get(key, ()))}
    present |= {"curves"} if len(pictures) > 1 else set()
    checklists = checklist_tables(present)

    blocks = [*compared, *(block for section in sections for block in section.blocks), *checklists]
    stages = (
        [] if curves is None or "experiment" not in config else [str(s) for s in curves["stage"].unique()]
    )
    card = card_facts(
        model, found["methods"], areas[taxonomy.finest], facts, scaled, groups, config, stages, notes
    )
    page = render(
        "report.html.j2",
        title=title,
        answer=[*verdict, *summary(model, found["methods"], facts, clause)],
        synthetic=config.get("synthetic") is True,
        notes=list(notes),
        warning=warning,
        found=found,
        pictures={picture.name: picture for picture in pictures},
        compared=compared,
        sections=sections,
        limits=limits,
        checklists=checklists,
        strips=contact_sheet(
            model.predictions, model.fine, model.method, Path(photo_root) if photo_root else None, 14, seed
        ),
        study=model,
        method_titles=METHODS,
        no_fusion=_why_no_fusion(taxonomy, model.coarse_level, model.method),
        commonest=float(np.bincount(model.labels).max() / len(model.labels)),
        num_folds=int(model.predictions["fold"].nunique()),
        seen_classes=len(np.unique(model.labels)),
    )
    return write_folder(
        Path(folder), {"model_card.md": model_card(card), "index.html": page}, found, pictures, blocks
    )


def _check_curves(curves: pd.DataFrame | None) -> None:
    wanted = ("stage", "fold", "epoch", "split", "loss", "accuracy")
    absent = [] if curves is None else [name for name in wanted if name not in curves.columns]
    if absent:
        raise ValueError(f"curves must have the columns {', '.join(absent)}, which are missing")


def _warning(model: Study) -> str:
    """What makes the figures wrong, as far as the predictions alone show it."""
    shared = int((model.predictions["fold"].groupby(model.cases).nunique() > 1).sum())
    if not shared:
        return ""
    return (
        f"{shared} cases have photos in more than one fold, so the networks may have seen them in training."
    )


def _why_no_fusion(taxonomy: Taxonomy, coarse_level: str | None, method: str) -> str:
    if method != "flat":
        return ""
    if len(taxonomy.levels) == 1:
        return "The taxonomy has a single level, so there is nothing to fuse."
    if coarse_level is None:
        return "No coarser level was named, so nothing was fused."
    return (
        f"The predictions hold no columns “{coarse_level}:p_…”, that is, no answers of a network for the "
        f"level “{coarse_level}”, so nothing could be fused."
    )
