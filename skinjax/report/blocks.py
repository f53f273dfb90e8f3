"""Blocks that a section of the report is made of; `templates/sections.html.j2` shows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import pandas as pd

from skinjax.report.figures.pictures import Picture


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
      words: Plain text, which the page escapes.
      small: Whether it is a remark.
    """

    words: str
    small: bool = False
    kind: ClassVar[str] = "text"


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading below the section's own."""

    words: str
    kind: ClassVar[str] = "heading"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table, as it is shown.

    Attributes:
      heading: Its heading.
      cells: One text a row; what follows a line break is shown smaller below.
      number: Whether it is set flush right.
      link: Whether its cells are ids of sections.
      shares: One in [0, 1] a row, drawn as a bar below the cell; empty for none.
      wide: Whether its cells are longer texts, which keep some width on a narrow screen.
    """

    heading: str
    cells: Sequence[str]
    number: bool = False
    link: bool = False
    shares: Sequence[float] = ()
    wide: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A table, for the page and for its file.

    Attributes:
      name: Name of its CSV file.
      data: Its numbers in full.
      columns: What the page shows of it; none where only the file is written.
      caption: What is above it; may be empty.
      folded: Whether the page shows it only when asked to, under its caption.
      group: For each row the heading above it, alike for rows that belong together; empty for none.
    """

    name: str
    data: pd.DataFrame
    columns: tuple[Column, ...]
    caption: str = ""
    folded: bool = False
    group: Sequence[str] = ()
    kind: ClassVar[str] = "table"


@dataclasses.dataclass(frozen=True, eq=False)
class Figure:
    """A picture in its place."""

    picture: Picture
    kind: ClassVar[str] = "figure"


@dataclasses.dataclass(frozen=True)
class Tile:
    """A photo as a small picture.

    Attributes:
      image: Its path.
      words: What is said of it; may be empty.
      picture: A data URI, or an empty text where it cannot be shown.
      problem: Why not, or an empty text.
    """

    image: str
    words: str
    picture: str
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Photos as small pictures beside each other."""

    tiles: tuple[Tile, ...]
    kind: ClassVar[str] = "tiles"


@dataclasses.dataclass(frozen=True)
class Strip:
    """A row of photos under a name.

    Attributes:
      title: The name.
      words: Said below it; may be empty.
      tiles: The photos.
    """

    title: str
    words: str
    tiles: tuple[Tile, ...]


@dataclasses.dataclass(frozen=True)
class Strips:
    """Rows of photos below each other, each beside its name."""

    strips: tuple[Strip, ...]
    kind: ClassVar[str] = "strips"


Block = Text | Heading | Table | Figure | Tiles | Strips


@dataclasses.dataclass(frozen=True, eq=False)
class Section:
    """A section of the report.

    Attributes:
      id: One of `skinjax.report.checklists.SECTIONS`, or that of an experiment's own section.
      title: Its heading.
      blocks: What is in it, from the top.
      answered: Whether it holds what it is for, and not only why that could not be had.
    """

    id: str
    title: str
    blocks: tuple[Block, ...]
    answered: bool = True


def unanswered(id: str, title: str, why: str) -> Section:
    """Returns a section that says why it is empty.

    Args:
      id: As of `Section`.
      title: Likewise.
      why: A sentence.

    Example:
      >>> unanswered("roc", "ROC", "All photos are of one class.").answered
      False
    """
    return Section(id, title, (Text(why),), answered=False)
