"""The reading kit: which photos readers are shown, under which names, and how their answers find the photos again.

Readers who know a photo's file name, folder or neighbours may know its label, so they get copies with names that say
nothing, in an order that says nothing. The *key* tells which photo each name stands for; it is kept apart from what is
handed out. It is a CSV file, one row per photo of the kit:

| column | holds |
|---|---|
| `kit` | identity of the kit, the same in every row and in the readers' answers |
| `photo` | the blinded name, such as `photo_001.jpg` |
| `image` | the photo, as in the predictions or the manifest |
| `case_id`, `label` | its case and its class |
| `target` | 1 where it shows what the readers are asked about, else 0 |
| `question` | the class or classes that they are asked about, as a JSON list; in former keys, parted by commas |

Answers with a column `kit` are of blinded names; `skinjax.data.readers` translates them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinjax.data.bootstrap_draws import even_counts
from skinjax.data.tables import TableError, missing_columns, read_table
from skinjax.files.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd

FILE = "key.csv"
FOLDER = "key"
COLUMNS = ("kit", "photo", "image", "case_id", "label", "target", "question")


@dataclasses.dataclass(frozen=True, eq=False)
class Kit:
    """The photos of a kit and what readers are asked of them.

    Attributes:
      id: Identity, which answers carry.
      question: Class or classes of one level that a reader says yes or no to.
      photos: Columns `photo`, `image`, `case_id`, `label` (text) and `target` (int64, 0 or 1), by blinded name.
    """

    id: str
    question: tuple[str, ...]
    photos: pd.DataFrame

    @property
    def asked(self) -> str:
        """Returns the classes that readers are asked about, in words."""
        return " or ".join(self.question)

    @property
    def note(self) -> str:
        """Returns what a reader of the comparison must know of the photos."""
        shown, cases = int(self.photos["target"].sum()), self.photos["case_id"].nunique()
        return (
            f"The readers’ {len(self.photos)} photos, of {cases} cases, are a balanced draw ({self.id}): {shown} of "
            f"{self.asked} and {len(self.photos) - shown} of the rest, evenly over classes, whatever their shares "
            "among all photos. Sensitivity and specificity hold for such a mixture of classes; predictive values would "
            "not."
        )


def draw_photos(
    labels: ArrayLike,
    positive: ArrayLike,
    cases: ArrayLike,
    count: int,
    *,
    per_case: int = 1,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Draws photos for readers: half of the target, half of the rest, each half as evenly over its classes as it can.

    Args:
      labels: [N], class of each photo.
      positive: bool[N], whether it shows the target.
      cases: [N], the case of each photo.
      count: Photos to draw, at least 2; of an odd number the rest has one more.
      per_case: Most photos of one case; 0 for no limit. Of a case with photos of both sides, those of the target come
        first.
      seed: Seed of the draw and of its order.

    Returns:
      int64[count], rows in an order that says nothing.

    Raises:
      ValueError: There are too few photos of one side.

    >>> labels = ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    >>> rows = draw_photos(labels, [label == "a" for label in labels], range(12), 8)
    >>> sorted(np.array(labels)[rows].tolist())
    ['a', 'a', 'a', 'a', 'b', 'b', 'c', 'c']
    """
    names, truth = np.asarray(labels), np.asarray(positive, bool)
    if count < 2:
        raise ValueError(f"count must be at least 2, got {count}")
    import pandas as pd

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    order = order[np.argsort(~truth[order], kind="stable")]
    seen = pd.Series(np.asarray(cases)[order])
    kept = order[(seen.groupby(seen).cumcount() < per_case).to_numpy()] if per_case else order
    sides = {side: kept[truth[kept] == side] for side in (True, False)}
    needed = {True: count // 2, False: count - count // 2}
    if any(len(sides[side]) < needed[side] for side in sides):
        limit = f", at most {per_case} per case" if per_case else ""
        most = 2 * min(map(len, sides.values()))
        raise ValueError(
            f"photos={count} needs {needed[True]} photos of the target and {needed[False]} of the rest{limit}, got "
            f"{len(sides[True])} and {len(sides[False])}; at most photos={most} can be drawn"
        )
    drawn = [_evenly(sides[side], names, needed[side], rng) for side in sides]
    return rng.permutation(np.concatenate(drawn)).astype(np.int64)


def make_kit(frame: pd.DataFrame, rows: ArrayLike, positive: ArrayLike, question: Sequence[str]) -> Kit:
    """Gives drawn photos their blinded names.

    Args:
      frame: Columns `image`, `case_id` and `label`, N rows.
      rows: int[n], the photos in the order of reading.
      positive: bool[N], whether each of the N shows the target.
      question: The classes that readers are asked about.

    Returns:
      The kit; the same photos in the same order make the same one.
    """
    chosen = np.asarray(rows)
    photos = frame.iloc[chosen][["image", "case_id", "label"]].astype(str).reset_index(drop=True)
    width = max(3, len(str(len(chosen))))
    photos.insert(0, "photo", [f"photo_{number + 1:0{width}d}.jpg" for number in range(len(chosen))])
    photos["target"] = np.asarray(positive)[chosen].astype(np.int64)
    content = photos.to_csv(index=False) + ",".join(question)
    # Letters in front, or a spreadsheet may take the identity for a number.
    identity = f"kit_{hashlib.sha256(content.encode()).hexdigest()[:10]}"
    return Kit(identity, tuple(question), photos)


def write_key(kit: Kit, path: str | Path) -> None:
    """Writes the key of a kit.

    Args:
      kit: The kit.
      path: The file.
    """
    table = kit.photos.assign(kit=kit.id, question=json.dumps(kit.question, ensure_ascii=False))
    with replacing(path) as temporary:
        table[list(COLUMNS)].to_csv(temporary, index=False, encoding="utf-8")


def read_key(path: str | Path) -> Kit:
    """Reads the key of a kit.

    Args:
      path: The file.

    Raises:
      TableError: It is no key: columns are missing, it is empty, of several kits, or a name is there twice.
    """
    frame = read_table(path).frame
    problems = missing_columns(COLUMNS, frame)
    if not problems:
        frame = frame[list(COLUMNS)].apply(lambda column: column.str.strip())
    if not problems and (frame["kit"].nunique() != 1 or frame["question"].nunique() != 1):
        problems = [f"must be the key of one kit, got {frame['kit'].nunique()}"]
    if not problems and not (frame["photo"].is_unique and frame["target"].isin(["0", "1"]).all()):
        problems = ["must name each photo once, with a target of 0 or 1"]
    if problems:
        raise TableError(str(path), problems)
    photos = frame[["photo", "image", "case_id", "label"]].assign(target=frame["target"].astype("int64"))
    return Kit(str(frame["kit"].iloc[0]), _question(frame["question"].iloc[0]), photos)


def find_key(identity: str, places: Iterable[Path]) -> Kit | None:
    """Looks for the key of a kit.

    Args:
      identity: Of the kit.
      places: Files, or folders in which it may lie: their own `key.csv` or `key/key.csv`, or those of a folder
        `reader_kit...` in them.

    Returns:
      The kit; None where no place has its key.
    """
    for place in places:
        files = [place] if place.is_file() else [place / FILE, place / FOLDER / FILE]
        if place.is_dir():
            files += sorted(place.glob(f"reader_kit*/{FOLDER}/{FILE}"))
        for file in filter(Path.is_file, files):
            try:
                kit = read_key(file)
            except TableError:
                continue  # another table of that name
            if kit.id == identity:
                return kit
    return None


def _question(cell: str) -> tuple[str, ...]:
    """Returns the classes that a key's cell names, as a JSON list or, in former keys, parted by commas."""
    try:
        names = json.loads(cell)
    except ValueError:
        names = None
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return tuple(names)
    return tuple(cell.split(","))


def _evenly(
    rows: NDArray[np.int64], labels: NDArray, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Returns `count` of the rows, the first of each class, as many of each as there are or as the others have."""
    classes = sorted(set(labels[rows].tolist()))
    groups = [rows[labels[rows] == name] for name in classes]
    taken = even_counts([len(group) for group in groups], count, rng)
    return np.concatenate([group[:number] for group, number in zip(groups, taken, strict=True)])
