"""A page of an experiment's own sections, where the report on one model's predictions is not what answers it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skinjax.report.blocks import Section
from skinjax.report.origin import NOT_SET, page_origin
from skinjax.report.rendering import render, write_folder
from skinjax.report.tables import methods as tables


def write_study(
    folder: str | os.PathLike[str],
    *,
    title: str,
    answer: Sequence[str],
    sections: Sequence[Section],
    config: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Path:
    """Writes `index.html`, with the figures as SVG, all tables as CSV and `summary.json` beside it.

    All text is escaped. The page appears whole or not at all.

    Args:
      folder: Where to write; made if it is not there.
      title: The page's heading.
      answer: The result in words, a sentence or two; the first stands out.
      sections: What is shown, from the top; their ids are anchors and must differ.
      config: The run's configuration, shown last. With `"synthetic": True` the page says that its photos are
        rendered.
      notes: Sentences to be read beside the result.

    Returns:
      The path of `index.html`.

    Raises:
      ValueError: There is no answer, or two sections have one id.

    >>> import tempfile
    >>> from skinjax.report.blocks import Text
    >>> section = Section("shift", "Another clinic", (Text("Accuracy falls by a third."),))
    >>> with tempfile.TemporaryDirectory() as out:
    ...     path = write_study(out, title="Shift", answer=["It falls."], sections=[section], config={"seed": 1})
    ...     "Accuracy falls by a third." in path.read_text()
    True
    """
    if not answer:
        raise ValueError("answer must have a sentence at least, got none")
    ids = [section.id for section in sections]
    if len(set(ids)) < len(ids) or "configuration" in ids:
        raise ValueError(f"sections must have ids that differ, and none called configuration, got {ids}")
    settings = tables.flatten_config(config)
    page = render(
        "study.html.j2",
        title=title,
        answer=list(answer),
        sections=list(sections),
        notes=list(notes),
        origin=page_origin(config),
        synthetic=config.get("synthetic") is True,
        settings=settings[~settings["value"].isin(NOT_SET)],
    )
    blocks = [block for section in sections for block in section.blocks]
    return write_folder(Path(folder), {"index.html": page}, {"configuration": settings}, [], blocks, answer)
