"""The folder that readers are handed: photos under blinded names, a page to answer on, and sheets for paper.

Photos are decoded and saved anew, upright and without metadata, so that neither name, date nor header of a file tells
its label. The page opens from the folder, asks no other host for anything and keeps the answers in the browser until
they are saved as a CSV, which `skinjax.data.readers` reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from skinjax.data.images.photos import PhotoError, decode
from skinjax.data.reading_kit import Kit
from skinjax.files.atomic import replacing
from skinjax.report.rendering import render

TIME = 946_684_800  # of every file: 2000-01-01, since a file's date can tell where its photo comes from
_QUALITY = 92


def write_kit(
    folder: str | os.PathLike[str],
    kit: Kit,
    root: str | os.PathLike[str],
    question: str,
    *,
    synthetic: bool = False,
    longest_side: int = 1600,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Writes what readers are handed.

    Args:
      folder: Where to write, made if missing; nothing in it tells a label.
      kit: The photos.
      root: Folder that their paths start from.
      question: The question that a reader says yes or no to.
      synthetic: Whether the photos are rendered, which the page then says.
      longest_side: Photos are scaled down so that no side is longer, in pixels; 0 keeps their size.
      progress: Called with the number of photos done.

    Returns:
      The path of the page.

    Raises:
      ValueError: Photos that cannot be read; all of them are counted and the first is named.
    """
    out = Path(folder)
    (out / "photos").mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    for number, (name, image) in enumerate(zip(kit.photos["photo"], kit.photos["image"], strict=True)):
        try:
            _copy(Path(root) / image, out / "photos" / name, longest_side)
        except PhotoError as error:
            faults.append(f"{image} {error.reason}")
        progress(number + 1)
    if faults:
        raise ValueError(
            f"all {len(kit.photos)} photos of the kit must be readable, got {len(faults)} that are not, the first: "
            f"{faults[0]} (in {root})"
        )
    names = kit.photos["photo"].tolist()
    shown = {"kit": kit.id, "question": question, "photos": names, "synthetic": synthetic}
    texts = {
        "sheet.csv": "\n".join(["kit,reader,image,call", *(f"{kit.id},,{name}," for name in names)]) + "\n",
        "sheet.html": render("reading_sheet.html.j2", **shown),
        "instructions.txt": render("reading_instructions.txt.j2", **shown),
        "index.html": render("reading_kit.html.j2", **shown),
    }
    for name, text in texts.items():
        with replacing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for path in out.rglob("*"):
        os.utime(path, (TIME, TIME))
    os.utime(out, (TIME, TIME))
    return out / "index.html"


def _copy(source: Path, target: Path, longest_side: int) -> None:
    picture = Image.fromarray(decode(source))
    if longest_side and max(picture.size) > longest_side:
        picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    with replacing(target) as temporary:
        picture.save(temporary, "JPEG", quality=_QUALITY, subsampling=0)
