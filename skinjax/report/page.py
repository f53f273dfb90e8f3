"""The report: one page that opens offline, written from stored predictions alone.

    from skinjax.data.predictions import Predictions, read_predictions
    from skinjax.report.page import ReportContext, write_report
    from skinjax.report.study import Study

    predictions = Predictions.from_frame(read_predictions("theirs.csv"), load_taxonomy("ham10000"))
    write_report("report", Study.from_predictions(predictions, target=["mel"]), ReportContext(title="Their model"))

`write_report` writes `index.html` with all pictures inside, and beside it the same figures as SVG with their data as
CSV (`figures/`), the tables as CSV (`tables/`), a model card (`model_card.md`) and, for programs, the answer and the
headline figure (`summary.json`, which `skinjax.report.page_summary.read_summary` reads).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinjax.report.blocks import Section
from skinjax.report.card import card_facts
from skinjax.report.checklists import SECTIONS
from skinjax.report.context import ReportContext
from skinjax.report.figures.contact_sheet import contact_sheet
from skinjax.report.figures.pictures import draw_curves, draw_methods
from skinjax.report.headline import headline
from skinjax.report.model_card import Metric, model_card
from skinjax.report.origin import NOT_SET, page_origin
from skinjax.report.rendering import render, write_folder
from skinjax.report.sections.by_case import by_case_section
from skinjax.report.sections.calibration import calibrated, calibration_section, decision_section
from skinjax.report.sections.classes import METHODS, class_areas, class_section, confusion_section
from skinjax.report.sections.conformal import conformal_section
from skinjax.report.sections.limits import checklist_tables, limits_section
from skinjax.report.sections.malignancy import check_degrees, malignancy_section
from skinjax.report.sections.models import models_blocks, other_studies
from skinjax.report.sections.readers import check_readers, readers_section
from skinjax.report.sections.roc import precision_recall_section, roc_section, target_facts
from skinjax.report.sections.subgroups import check_subgroups, subgroups_section
from skinjax.report.study import Study
from skinjax.report.tables import methods as tables

_METRICS = {
    "macro_f1": "Macro F1",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "top_3": "Top-3 accuracy",
}


def write_report(folder: str | os.PathLike[str], study: Study, context: ReportContext) -> Path:
    """Writes the report on one model's predictions.

    All text is escaped, so that names of classes, files and settings may hold anything. The page appears
    whole or not at all: an older one stands until the new one is complete. A section that cannot be computed
    says why in a sentence.

    What is fitted (thresholds, temperatures, cut-points, conformal sets) is fitted on other cases than those it is
    used on: on the other folds, or on the other of five parts of the cases where there are no folds.

    Args:
      folder: Where to write; made if it is not there.
      study: The model, and how intervals are made.
      context: What else the page says and shows.

    Returns:
      The path of `index.html`.

    Raises:
      ValueError: The curves or readers lack a column, or readers, degrees, subgroups or other models do not fit
        the predictions.
    """
    _check_curves(context.curves)
    check_subgroups(context.subgroups, study.predictions.frame)
    if context.readers is not None:
        check_readers(context.readers, study.predictions.frame)
    degree_of_class = None if context.degrees is None else check_degrees(context.degrees, study.taxonomy)
    rivals = other_studies(study, context.others)
    warning = _warning(study)

    found = _tables(study, context)
    several = len(found["methods"]) > 1
    pictures = [draw_methods(found["methods"], METHODS, study.confidence)] if several else []
    curves = context.curves
    if curves is not None and len(curves):
        pictures.append(draw_curves(curves, _stage_titles(study)))

    areas, facts, scaled = class_areas(study), target_facts(study), calibrated(study)
    clause, groups = "", None
    results: list[Section | None] = [
        roc_section(study, facts, areas, context.prevalence),
        precision_recall_section(study),
    ]
    if context.readers is not None:
        section, clause = readers_section(study, context.readers)
        results.append(section)
    results += [
        confusion_section(study),
        class_section(study, areas),
        calibration_section(study, scaled),
        decision_section(study, scaled),
    ]
    if context.subgroups:
        section, groups = subgroups_section(study, context.subgroups)
        results.append(section)
    results.append(conformal_section(study))
    if degree_of_class is not None:
        results.append(malignancy_section(study, degree_of_class))
    results += context.details
    found_sections = [section for section in results if section is not None]
    # What a study gives an answer to comes before the methods, and anything else behind them.
    first, then = (context.extra, []) if context.verdict or context.afterword else ([], context.extra)
    by_case = by_case_section(study, degree_of_class)
    if by_case is not None:  # the answer that is asked for, of a case, before that of its photos
        first = [*first, by_case[0]]
    sections = [*first, *then, *found_sections]
    synthetic = context.config.get("synthetic") is True
    limits = limits_section(study, synthetic, warning, len(context.subgroups))
    compared, on_models = models_blocks(study, rivals) if rivals else ([], "")
    checklists = checklist_tables(_present(study, sections, found, context))

    blocks = [*compared, *(block for section in sections for block in section.blocks), *checklists]
    stages = []
    if curves is not None and "study" in context.config:
        stages = [str(stage) for stage in curves["stage"].unique()]
    card = card_facts(
        study, found["methods"], areas[study.taxonomy.finest], facts, scaled, groups, context.config, stages,
        context.notes,
    )  # fmt: skip
    answer = [
        *context.verdict,
        *([by_case[1]] if by_case is not None else []),
        *headline(study, found["methods"], facts, clause, on_models),
        *context.afterword,
    ]
    settings = found["configuration"]
    origin = page_origin(context.config)
    root = Path(context.photo_root) if context.photo_root else None
    page = render(
        "report.html.j2",
        title=context.title,
        answer=answer,
        synthetic=synthetic,
        notes=list(context.notes),
        warning=warning,
        found=found,
        pictures={picture.name: picture for picture in pictures},
        compared=compared,
        origin=origin,
        several=several,
        first=first,
        sections=[*then, *found_sections],
        folds=fold_titles(study.predictions.fold),
        training=_with_fold_titles(found.get("training"), study),
        settings=settings[~settings["value"].isin(NOT_SET)],
        limits=limits,
        checklists=checklists,
        strips=contact_sheet(
            study.predictions, study.fine, study.method, root, 14, study.seed, context.explain
        ),
        study=study,
        method_titles=METHODS,
        metric_titles=_METRICS,
        no_fusion=_why_no_fusion(study),
        commonest=float(np.bincount(study.labels).max() / len(study.labels)),
        num_folds=study.num_folds,
        seen_classes=len(np.unique(study.labels)),
    )
    pages = {"model_card.md": model_card(card), "index.html": page}
    return write_folder(
        Path(folder), pages, found, pictures, blocks, answer, _accuracy(study, found["methods"]),
        () if by_case is None else by_case[2],
    )  # fmt: skip


def fold_titles(folds: NDArray[np.integer]) -> dict[int, str]:
    """Returns the numbers that people read for folds, from 1 in order, by those that files hold.

    Args:
      folds: int[N], the fold of each photo.

    >>> fold_titles(np.array([0, 2, 0]))
    {0: '1', 2: '2'}
    """
    return {int(fold): str(place + 1) for place, fold in enumerate(np.unique(folds))}


def _with_fold_titles(training: pd.DataFrame | None, study: Study) -> pd.DataFrame | None:
    """Returns the table of networks with its folds as the page numbers them."""
    if training is None or "fold" not in training:
        return training
    titles = fold_titles(study.predictions.fold)
    shown = [titles.get(int(fold), str(int(fold) + 1)) for fold in training["fold"]]
    return training.assign(fold=shown)


def _stage_titles(study: Study) -> dict[str, str]:
    """Returns names of a hierarchy's two networks for people: those of the levels that they tell apart."""
    titles = {"sub": f"Level “{study.taxonomy.finest}”"}
    if study.coarse_level is not None:
        titles["meta"] = f"Level “{study.coarse_level}”"
    return titles


def _tables(study: Study, context: ReportContext) -> dict[str, pd.DataFrame]:
    """Returns the page's tables that are of no section, by name."""
    draws = (study.cases, study.replicates, study.confidence, study.seed)
    found: dict[str, pd.DataFrame] = {"methods": tables.compare_methods(study.fine, *draws)}
    if study.coarse_level is not None:
        found["methods_coarse"] = tables.compare_methods(study.answers[study.coarse_level], *draws)
    found["folds"] = tables.count_folds(study.predictions)
    found["folds_by_class"] = tables.count_classes(study.predictions, study.fine.classes)
    found["configuration"] = tables.flatten_config(context.config)
    given = (("training", context.training), ("audit", context.audit))
    return found | {key: frame for key, frame in given if frame is not None}


def _present(
    study: Study, sections: Sequence[Section], found: Mapping[str, pd.DataFrame], context: ReportContext
) -> set[str]:
    """Ids of the sections that the page has and answers, and the facts that it tells."""
    present = {section.id for section in sections if section.answered and section.id in SECTIONS}
    present |= {"summary", "methods", "data", "limits"}
    present -= set() if len(found["configuration"]) else {"configuration"}
    present |= {"photos"} if context.photo_root else set()
    present |= {key for key in ("training", "audit") if len(found.get(key, ()))}
    # The configuration of an evaluation tells nothing of how somebody's networks were trained.
    present |= set() if context.config.get("study", "evaluation") == "evaluation" else {"configuration"}
    present |= {"partitions"} if study.num_folds > 1 or "training" in present else set()
    present |= {"clusters"} if "subgroups" in present and "source" in context.subgroups else set()
    present |= {"fusion"} if study.method != "flat" else set()
    return present | ({"curves"} if context.curves is not None and len(context.curves) else set())


def _accuracy(study: Study, methods: pd.DataFrame) -> Metric:
    row = methods[methods["method"] == study.method].iloc[0]
    value, low, high = (float(row[f"accuracy{limit}"]) for limit in ("", "_low", "_high"))
    return Metric("accuracy", value, low, high, study.confidence)


def _check_curves(curves: pd.DataFrame | None) -> None:
    needed = ("stage", "fold", "epoch", "split", "loss", "accuracy")
    absent = [] if curves is None else [name for name in needed if name not in curves.columns]
    if absent:
        raise ValueError(f"curves must have the columns {', '.join(absent)}, which are missing")


def _warning(study: Study) -> str:
    """Returns a warning of what makes the figures wrong, as far as the predictions alone show it."""
    shared = int((study.predictions.frame["fold"].groupby(study.cases).nunique() > 1).sum())
    if not shared:
        return ""
    return (
        f"{shared} cases have photos in more than one fold, so the {study.noun}s may have seen them before."
    )


def _why_no_fusion(study: Study) -> str:
    coarse_level = study.coarse_level
    if study.method != "flat" or coarse_level is None:
        return ""
    return (
        f"Levels are not fused: the predictions hold no columns “{coarse_level}:p_…”, answers of their own at "
        f"the level “{coarse_level}”."
    )
