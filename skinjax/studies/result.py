"""The result of a study: its answer with an interval, its tables and predictions, and where they are."""

from __future__ import annotations

import dataclasses
import functools
import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import pandas as pd

    from skinjax.evaluate.results import Interval

_SHOWN_ROWS, _SHOWN_COLUMNS = 12, 8


@dataclasses.dataclass(frozen=True, eq=False)
class StudyResult:
    """A finished study, or one that waits for the folds that other processes train.

    Attributes:
      study: Name of the study.
      workdir: Folder of the run, or of the evaluation; empty where nothing was written.
      headline: The answer, a sentence or two.
      metric: Name of the figure of the headline, such as "accuracy"; empty where the answer is no single figure.
      interval: That figure with its interval by case; None where there is none.
      report: The page; None while folds are missing.
      predictions_file: What the networks said of photos that they have not seen; None where there is no such file.
      main_table: Name of the table that stands for the study.
    """

    study: str
    workdir: Path
    headline: tuple[str, ...]
    metric: str = ""
    interval: Interval | None = None
    report: Path | None = None
    predictions_file: Path | None = None
    main_table: str = "methods"

    def __init_subclass__(cls) -> None:
        cls.__repr__ = StudyResult.__repr__  # type: ignore[method-assign]  # a dataclass's has all fields

    @classmethod
    def of_page(cls, study: str, workdir: Path, page: Path, **more: Any) -> Self:
        """Makes a result of a report's page and the summary beside it.

        Args:
          study: Name of the study.
          workdir: Its folder.
          page: The report; a page of an earlier version has no summary.
          more: Further fields.
        """
        from skinjax.evaluate.results import Interval
        from skinjax.report.page_summary import FILE, PageSummary, read_summary

        there = (page.parent / FILE).is_file()
        summary = read_summary(page.parent) if there else PageSummary(("The study is finished.",))
        figure = summary.metric
        return cls(
            study,
            workdir,
            summary.headline,
            metric=figure.name if figure else "",
            interval=Interval(figure.value, figure.low, figure.high, confidence=figure.confidence)
            if figure
            else None,
            report=page,
            **more,
        )

    @functools.cached_property
    def predictions(self) -> pd.DataFrame | None:
        """Returns the predictions (`skinjax.data.predictions`), a row per photo; None where there are none."""
        from skinjax.data.predictions import read_predictions

        return None if self.predictions_file is None else read_predictions(self.predictions_file)

    @functools.cached_property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Returns the tables of the report by name, such as `methods` and `classes`."""
        import pandas as pd

        files = [] if self.report is None else sorted((self.report.parent / "tables").glob("*.csv"))
        return {path.stem: pd.read_csv(path) for path in files}

    @property
    def table(self) -> pd.DataFrame | None:
        """Returns the table that stands for the study; None where there is none yet."""
        return self.tables.get(self.main_table)

    def __str__(self) -> str:
        """Returns the headline, the main table and the path of the report."""
        lines = list(self.headline)
        if self.table is not None:
            shown = self._shown().to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="")
            lines += ["", shown, ""]
        if self.report is not None:
            lines.append(f"report: {self.report}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        place = "" if self.workdir == Path() else f", {self.workdir}"
        return f"{type(self).__name__}({self.study}{place}: {' '.join(self.headline)})"

    def _repr_html_(self) -> str:
        """Returns the headline, the main table and a link to the report, for a notebook."""
        first, *rest = (html.escape(sentence) for sentence in self.headline)
        parts = [f"<p><strong>{first}</strong> {' '.join(rest)}</p>"]
        if self.table is not None:
            parts.append(
                self._shown().to_html(index=False, float_format=lambda value: f"{value:.3f}", na_rep="")
            )
        if self.report is not None:
            shown = html.escape(str(self.report))
            parts.append(f'<p>Report: <a href="{self.report.absolute().as_uri()}">{shown}</a></p>')
        return "\n".join(parts)

    def _shown(self) -> pd.DataFrame:
        table = self.table
        assert table is not None
        said: list[Any] = []
        for name in table:
            limit, reason = str(name).endswith(("_low", "_high")), str(name).endswith("_reason")
            told = any(str(other).endswith("_reason") and table[name].equals(table[other]) for other in said)
            # Columns of missing limits are left out; a repeated reason is shown once.
            if not ((limit or reason) and table[name].isna().all()) and not (reason and told):
                said.append(name)
        return table[said].iloc[:_SHOWN_ROWS, :_SHOWN_COLUMNS]
