"""Report of an import, with the publisher's counts."""

from __future__ import annotations

import dataclasses

from skinjax.labels.taxonomy import Taxonomy


@dataclasses.dataclass(frozen=True)
class CountCheck:
    """One published count and the one found in the table with the labels.

    Attributes:
      what: What is counted, such as `"photos"` or `"label BCC"`.
      published: The publisher's count.
      found: Ours.
    """

    what: str
    published: int
    found: int


@dataclasses.dataclass(frozen=True)
class MissingPhoto:
    """A row of the publisher's table whose photo is not below the source folder.

    Attributes:
      image: File name that was looked for.
      url: Where the publisher points for it; empty if nowhere.
    """

    image: str
    url: str = ""


@dataclasses.dataclass(frozen=True)
class ImportReport:
    """Imported photos and missing ones.

    Attributes:
      dataset: Name of the data set.
      taxonomy: The taxonomy whose finest level the labels are of.
      rows: Rows in the publisher's table, or photos in a tree of folders.
      photos: Rows of the manifest: those whose photo is there.
      cases: Cases in the manifest; None where the data set names none.
      counts: Published counts beside those found in the table, whether or not the photos are there.
      missing: The rows without a photo, in the table's order.
      notes: Sentences on what a user of the data should know.
    """

    dataset: str
    taxonomy: Taxonomy
    rows: int
    photos: int
    cases: int | None
    counts: tuple[CountCheck, ...] = ()
    missing: tuple[MissingPhoto, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Says whether every photo is there and every count is the published one."""
        return not self.missing and all(check.found == check.published for check in self.counts)

    def text(self, shown: int = 10) -> str:
        """Returns the report for a terminal, naming at most `shown` missing photos."""
        cases = "no case ids" if self.cases is None else f"{self.cases:,} cases"
        lines = [f"{self.dataset}: {self.photos:,} photos of {self.rows:,} rows, {cases}"]
        for check in self.counts:
            if check.found != check.published:
                lines.append(f"  {check.what}: {check.found:,} found, {check.published:,} published")
        if self.counts and all(check.found == check.published for check in self.counts):
            lines.append(f"  all {len(self.counts)} published counts are met")
        if self.missing:
            lines.append(f"  {len(self.missing):,} photos are not there and were left out:")
            lines += [f"    {photo.image} {photo.url}".rstrip() for photo in self.missing[:shown]]
            if len(self.missing) > shown:
                lines.append(f"    and {len(self.missing) - shown:,} more")
        return "\n".join(lines + [f"  {note}" for note in self.notes])
