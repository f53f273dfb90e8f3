"""A page of many classes: long tables scroll by themselves, and classes of a group stand together."""

import pandas as pd
import pytest

from skinjax.labels.taxonomy import Taxonomy
from tests.report.test_report import draw_predictions, write

INTERLEAVED = Taxonomy(
    "interleaved", ("group", "class"), tuple((f"g{n % 3}", f"c{n:02d}") for n in range(66))
)


@pytest.mark.slow
def test_long_tables_scroll_and_classes_stand_by_their_group(tmp_path):
    page = write(tmp_path, draw_predictions(INTERLEAVED, cases=66), INTERLEAVED, config={})
    boxes = [
        given["class"] for tag, given in page.elements if tag == "div" and "box" in given.get("class", "")
    ]
    assert boxes.count("box long") == 2  # the classes, and how many photos each has
    assert sum(given.get("class") == "group" for tag, given in page.elements if tag == "tr") == 3
    # The file keeps the taxonomy's order.
    assert list(pd.read_csv(tmp_path / "tables" / "classes.csv")["class"]) == list(INTERLEAVED.classes())
