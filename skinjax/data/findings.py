"""Reports what an audit found: for people, for programs, and as tables."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from skinjax.data.images import duplicates
from skinjax.data.leakage import ColumnFigure
from skinjax.files.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SEVERITIES", "AuditReport", "Finding", "Severity"]

Severity = Literal["error", "warning", "note"]
#: The gravest first.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_EXAMPLES = 5
# One finding per column, each worth reading.
_ALWAYS_SHOWN = (
    "column_predicts_label",
    "clinical_column_predicts_label",
    "unknown_label",
    "label_spellings",
    "label_resolved",
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
      kind: A stable code such as `truncated` or `near_duplicate_across_cases`.
      severity: `error`, `warning` or `note`.
      message: One sentence, without the photo's name.
      image: The photo, or the first of them; empty where it concerns a column or the set.
      row: That photo's row in the file, as a spreadsheet numbers it, or in a frame from 1 on; 0 where there is none.
      others: Further photos it concerns.
    """

    kind: str
    severity: Severity
    message: str
    image: str = ""
    row: int = 0
    others: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class AuditReport:
    """The findings of an audit, and what it knows of each photo.

    Attributes:
      findings: Errors first, then warnings, then notes; within these by kind and row.
      photos: One row per photo: the columns of `skinjax.data.survey.photo_table`, and `look`, the number of
        the near-duplicate cluster it is in (-1 for an unusable or flat photo).
      columns: How well each column alone tells the label, the best first.
      num_cases: Distinct cases, 0 where the manifest has none.
      num_labels: Distinct labels.
      hashes: uint64[N, 4], the perceptual hashes in the frame's order.
    """

    findings: tuple[Finding, ...]
    photos: pd.DataFrame
    columns: tuple[ColumnFigure, ...]
    num_cases: int
    num_labels: int
    hashes: NDArray[np.uint64]

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """Returns the number of findings of each kind, in the order of the findings."""
        return dict(collections.Counter(finding.kind for finding in self.findings))

    @property
    def num_errors(self) -> int:
        """Returns the number of findings that are errors."""
        return sum(finding.severity == "error" for finding in self.findings)

    def stand_in_cases(self) -> list[str]:
        """Returns case names for a manifest that has none, see `skinjax.data.images.duplicates.stand_in_cases`.

        Unusable photos, which have no look, get the case `look_flat`.
        """
        return duplicates.stand_in_cases(self.hashes)

    def to_frame(self) -> pd.DataFrame:
        """Returns the findings as a table: `severity`, `kind`, `row`, `image`, `message`, `others`."""
        import pandas as pd

        names = ("severity", "kind", "row", "image", "message")
        columns = {name: [getattr(finding, name) for finding in self.findings] for name in names}
        columns["others"] = ["; ".join(finding.others) for finding in self.findings]
        return pd.DataFrame(columns)

    def text(self) -> str:
        """Describes the findings for people: counts, a few examples of each kind, columns that tell the label."""
        usable = int((self.photos["problem"] == "").sum())
        cases = f"{self.num_cases:,} cases" if self.num_cases else "no cases"
        lines = [
            f"{len(self.photos):,} photos, {usable:,} of them usable; {cases}; {self.num_labels} labels.",
            self._totals(),
        ]
        by_kind: dict[str, list[Finding]] = collections.defaultdict(list)
        for finding in self.findings:
            by_kind[finding.kind].append(finding)
        for severity in SEVERITIES:
            for kind, found in by_kind.items():
                if found[0].severity != severity:
                    continue
                lines += ["", f"{severity}: {kind.replace('_', ' ')} ({len(found):,})"]
                shown = len(found) if kind in _ALWAYS_SHOWN else _EXAMPLES
                lines += [f"  {_line(finding)}" for finding in found[:shown]]
                if len(found) > shown:
                    lines.append(f"  and {len(found) - shown:,} more")
        return "\n".join(lines) + "\n"

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Writes `audit.txt`, `audit.json`, `audit.csv` (findings) and `audit_photos.csv`.

        Each file is replaced as a whole or not at all.

        Args:
          folder: Made where it does not exist.
        """
        folder = Path(folder)
        whole = {
            "version": 1,
            "photos": len(self.photos),
            "usable": int((self.photos["problem"] == "").sum()),
            "cases": self.num_cases,
            "labels": self.num_labels,
            "counts": self.counts,
            "columns": [dataclasses.asdict(figure) for figure in self.columns],
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
        }
        texts = {
            "audit.txt": self.text(),
            "audit.json": json.dumps(whole, indent=1, ensure_ascii=False) + "\n",
            "audit.csv": self.to_frame().to_csv(index=False, lineterminator="\n"),
            "audit_photos.csv": self.photos.to_csv(index=False, lineterminator="\n"),
        }
        for name, text in texts.items():
            with replacing(folder / name) as temporary:
                # A file name that is not valid Unicode must not keep the report from being written.
                temporary.write_bytes(text.encode("utf-8", "backslashreplace"))

    def _totals(self) -> str:
        counts = collections.Counter(finding.severity for finding in self.findings)
        return ", ".join(f"{counts[name]:,} {name}{'s' * (counts[name] != 1)}" for name in SEVERITIES) + "."


def _line(finding: Finding) -> str:
    """Writes a finding on one line, whatever its file name holds."""
    where = f"{finding.image} (row {finding.row}) " if finding.row else ""
    others = f": {', '.join(finding.others[:3])}" if finding.others else ""
    more = f" and {len(finding.others) - 3} more" if len(finding.others) > 3 else ""
    line = f"{where}{finding.message}{others}{more}"
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
