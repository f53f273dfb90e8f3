"""The report: one page that opens offline, written from stored predictions alone.

`write_report` writes `index.html` with all pictures inside, and beside it the same figures as SVG with their
data as CSV (`figures/`) and the tables as CSV (`tables/`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from skinjax.data.predictions import validate
from skinjax.data.tables import replacing
from skinjax.labels.taxonomy import Taxonomy
from skinjax.report import tables
from skinjax.report.contact_sheet import contact_sheet
from skinjax.report.pictures import Picture, draw_confusion, draw_curves, draw_methods

_TEMPLATES = Path(__file__).parent / "templates"
_METHODS = {
    "flat": "Flat",
    "soft": "Soft fusion",
    "hard": "Hard fusion",
    "conditional": "Conditional fusion",
    "marginalized": "Fine network, summed",
    "network": "Coarse network",
}


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
) -> Path:
    """Writes the report on stored predictions.

    All text is escaped, so that names of classes, files and settings may hold anything. The page appears
    whole or not at all: an older one stands until the new one is complete.

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
        replicates: of the bootstrap by case.
        confidence: of all intervals, in (0, 1).
        seed: of the bootstrap and of the draw of photos.

    Returns:
        The path of `index.html`.

    Raises:
        PredictionsError: With everything that is wrong with the predictions (a ValueError).
        ValueError: The taxonomy has no such coarse level, or the curves lack a column.
    """
    validate(predictions, taxonomy)
    _check_curves(curves)
    predictions = predictions.reset_index(drop=True)
    if "fold" not in predictions:
        predictions = predictions.assign(fold=0)
    if coarse_level == taxonomy.finest:
        coarse_level = None
    cases = predictions["case_id"].to_numpy()
    fine = tables.fine_answers(predictions, taxonomy, coarse_level)
    method = "soft" if "soft" in fine.scores else "flat"
    methods = tables.compare_methods(fine, cases, replicates, confidence, seed)
    found: dict[str, pd.DataFrame] = {"methods": methods}
    coarse = groups = None
    group_titles = [""] * len(fine.classes)
    if coarse_level is not None:
        coarse = tables.coarse_answers(predictions, taxonomy, coarse_level)
        found["methods_coarse"] = tables.compare_methods(coarse, cases, replicates, confidence, seed)
        groups = taxonomy.parents(taxonomy.finest, coarse_level)
        group_titles = [coarse.titles[group] for group in groups]
    found["classes"] = tables.describe_classes(fine, method, cases, group_titles)
    found["folds"] = tables.count_folds(predictions)
    found["folds_by_class"] = tables.count_classes(predictions, fine.classes)
    found["confusions"] = tables.rank_confusions(fine, method, count=15)
    found["configuration"] = tables.flatten_config(config)
    if training is not None:
        found["training"] = training
    if audit is not None:
        found["audit"] = audit
    pictures = _draw(fine, coarse, method, groups, found, curves, confidence)
    strips = contact_sheet(
        predictions, fine, method, Path(photo_root) if photo_root else None, count=14, seed=seed
    )
    page = _render(
        title=title,
        answer=_answer(methods, fine, cases, method, confidence, coarse_level),
        synthetic=config.get("synthetic") is True,
        notes=list(notes),
        warning=_warning(predictions),
        found=found,
        classes=list(found["classes"].groupby("group", sort=False)),
        pictures=pictures,
        strips=strips,
        taxonomy=taxonomy,
        fine=fine,
        coarse=coarse,
        coarse_level=coarse_level,
        method=method,
        method_titles=_METHODS,
        no_fusion=_why_no_fusion(taxonomy, coarse_level, method),
        commonest=float(np.bincount(fine.labels).max() / len(fine.labels)),
        num_photos=len(predictions),
        num_cases=int(predictions["case_id"].nunique()),
        num_folds=int(predictions["fold"].nunique()),
        seen_classes=int((found["classes"]["photos"] > 0).sum()),
        replicates=replicates,
        confidence=confidence,
    )
    return _write(Path(folder), page, found, pictures)


def _check_curves(curves: pd.DataFrame | None) -> None:
    wanted = ("stage", "fold", "epoch", "split", "loss", "accuracy")
    absent = [] if curves is None else [name for name in wanted if name not in curves.columns]
    if absent:
        raise ValueError(f"curves must have the columns {', '.join(absent)}, which are missing")


def _warning(predictions: pd.DataFrame) -> str:
    """What makes the figures wrong, as far as the predictions alone show it."""
    shared = int((predictions.groupby("case_id")["fold"].nunique() > 1).sum())
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


def _answer(
    methods: pd.DataFrame,
    fine: tables.Answers,
    cases: np.ndarray,
    method: str,
    confidence: float,
    coarse_level: str | None,
) -> str:
    """The result in one sentence: how often the method is right, and how it stands to the flat network."""
    row = {str(record["method"]): record for record in methods.to_dict("records")}[method]
    network = (
        "The network" if method == "flat" else f"Soft fusion of the {coarse_level} and {fine.level} networks"
    )
    photos, people = len(fine.labels), len(set(cases))
    sentence = (
        f"{network} names the right one of {len(fine.classes)} classes for {percent(row['accuracy'])} of "
    )
    if np.isnan(row["accuracy_low"]):
        return f"{sentence}{photos:,} photos; all are of {people} case, so no interval can be given."
    sentence += (
        f"{photos:,} photos ({100 * confidence:g}% interval over {people:,} cases "
        f"{percent(row['accuracy_low'])} to {percent(row['accuracy_high'])})"
    )
    if method == "flat":
        return sentence + "."
    difference, low, high = (row[f"accuracy_difference{limit}"] for limit in ("", "_low", "_high"))
    if low > 0 or high < 0:
        verdict = (
            f"{abs(100 * difference):.1f} points {'above' if difference > 0 else 'below'} the flat network"
        )
    else:
        verdict = f"which these cases cannot tell from the flat network ({points(difference)} points"
        return f"{sentence}, {verdict}, {points(low)} to {points(high)})."
    return f"{sentence}, {verdict} ({points(low)} to {points(high)}, {p_value(row['accuracy_p_value'])})."


def _draw(
    fine: tables.Answers,
    coarse: tables.Answers | None,
    method: str,
    groups: np.ndarray | None,
    found: Mapping[str, pd.DataFrame],
    curves: pd.DataFrame | None,
    confidence: float,
) -> dict[str, Picture]:
    drawn = [draw_methods(found["methods"], _METHODS, confidence)]
    if curves is not None and len(curves):
        stages = {"sub": "Fine network", "meta": "Coarse network"}
        drawn.append(draw_curves(curves, stages))
    group_titles = coarse.titles if coarse else ()
    drawn.append(draw_confusion("confusion_fine", fine, method, _METHODS[method], groups, group_titles))
    if coarse:
        shown = "network" if "network" in coarse.scores else "marginalized"
        drawn.append(draw_confusion("confusion_coarse", coarse, shown, _METHODS[shown]))
    return {picture.name: picture for picture in drawn}


def _render(**context: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "p_value": p_value, "cell": cell}
    return environment.get_template("report.html.j2").render(**context)


def _write(
    folder: Path, page: str, found: Mapping[str, pd.DataFrame], pictures: Mapping[str, Picture]
) -> Path:
    for name in ("figures", "tables"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, table in found.items():
        table.to_csv(folder / "tables" / f"{name}.csv", index=False, encoding="utf-8")
    for name, picture in pictures.items():
        for panel in picture.panels:
            (folder / "figures" / f"{panel.name}.svg").write_text(panel.document, encoding="utf-8")
        picture.data.to_csv(folder / "figures" / f"{name}.csv", index=False, encoding="utf-8")
    target = folder / "index.html"
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def percent(share: float) -> str:
    """A share in [0, 1] for people: "61.2%", or a dash where it is missing.

    >>> percent(0.6123), percent(float("nan"))
    ('61.2%', '–')
    """
    return "–" if pd.isna(share) else f"{100 * share:.1f}%"


def points(difference: float) -> str:
    """A difference of shares in percentage points, signed: "+2.1", or a dash where it is missing.

    >>> points(0.0213), points(-0.01)
    ('+2.1', '−1.0')
    """
    return "–" if pd.isna(difference) else f"{100 * difference:+.1f}".replace("-", "−")


def p_value(value: float) -> str:
    """A p-value for people, in one piece (its spaces do not break).

    >>> p_value(0.0123).split(), p_value(0.0004).split()
    (['p', '=', '0.012'], ['p', '<', '0.001'])
    """
    if pd.isna(value):
        return "–"
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{value:.3f}"


def cell(value: object) -> str:
    """Any value of a table for people: few digits for a fraction, a dash where it is missing.

    >>> cell(3), cell(0.25), cell(12345), cell(None), cell("jit")
    ('3', '0.25', '12,345', '–', 'jit')
    """
    if isinstance(value, float | np.floating):
        return "–" if np.isnan(value) else f"{value:.4g}"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None or value is pd.NA else str(value)
