"""Templates to pages, and pages to a folder with figures and tables beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from skinjax.files.atomic import replacing
from skinjax.report import page_summary
from skinjax.report.blocks import Block, Figure, Table
from skinjax.report.figures.pictures import Picture
from skinjax.report.formatting import cell, limits_or_reason, p_value, percent, points
from skinjax.report.model_card import Metric
from skinjax.report.page_summary import PageSummary

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **context: Any) -> str:
    """Fills a template of this package; text is escaped.

    Args:
      template: Its file's name.
      context: What it shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "p_value": p_value, "cell": cell}
    environment.globals |= {"limits_or_reason": limits_or_reason, "percent": percent, "points": points}
    return environment.get_template(template).render(**context)


def write_folder(
    folder: Path,
    pages: Mapping[str, str],
    tables: Mapping[str, pd.DataFrame],
    pictures: Iterable[Picture],
    blocks: Sequence[Block],
    answer: Sequence[str],
    metric: Metric | None = None,
    by_case: tuple[Metric, ...] = (),
) -> Path:
    """Writes tables and figures, the summary, then the pages, each whole or not at all.

    Args:
      folder: Where to write; made if it is not there.
      pages: File name -> text; the last is the one that tells that all is there.
      tables: File name, without its ending -> table.
      pictures: Figures.
      blocks: Blocks whose tables and figures are written too.
      answer: Sentences that the page shows as its answer.
      metric: The headline figure; None where there is none.
      by_case: Figures of pooled cases; none where photos are not pooled.

    Returns:
      The path of the last page.
    """
    for name in ("figures", "tables"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    frames = dict(tables) | {block.name: block.data for block in blocks if isinstance(block, Table)}
    for name, table in frames.items():
        with replacing(folder / "tables" / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, encoding="utf-8")
    for picture in [*pictures, *(block.picture for block in blocks if isinstance(block, Figure))]:
        for panel in picture.panels:
            with replacing(folder / "figures" / f"{panel.name}.svg") as temporary:
                temporary.write_text(panel.document, encoding="utf-8")
        with replacing(folder / "figures" / f"{picture.name}.csv") as temporary:
            picture.data.to_csv(temporary, index=False, encoding="utf-8")
    names = tuple(f"tables/{name}.csv" for name in frames)
    texts = {page_summary.FILE: PageSummary(tuple(answer), metric, names, by_case).to_json()} | dict(pages)
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / list(pages)[-1]
