"""Tables that are nearly predictions: columns in other spellings than their classes."""

import numpy as np
import pandas as pd

from skinjax.data import spelling
from skinjax.data.prediction_tables import as_spelled
from skinjax.data.tables import read_table
from skinjax.labels.taxonomy import Taxonomy


def table_of(folder, classes, level_classes=()):
    columns = {f"p_{name}": [1 / len(classes)] for name in classes}
    columns |= {f"group:p_{name}": [0.5] for name in level_classes}
    pd.DataFrame({"image": ["a"], "case_id": ["1"], "label": [classes[0]], **columns}).to_csv(
        folder / "t.csv", index=False
    )
    return read_table(folder / "t.csv")


def test_columns_of_every_level_are_read_in_other_spellings(tmp_path):
    tree = Taxonomy("tree", ("group", "class"), (("good", "nevus"), ("bad", "basal cell"), ("bad", "p_odd")))
    table = table_of(tmp_path, ["Nevus ", "Basal_Cell", "p_odd"], ["GOOD", "bad"])
    found = as_spelled(table, tree).frame
    assert list(found)[3:] == ["p_nevus", "p_basal cell", "p_p_odd", "group:p_good", "group:p_bad"]
    assert found["label"].tolist() == ["nevus"]
    # Two columns of one class are left as they are, for the checks to tell.
    twice = table_of(tmp_path, ["NEVUS", "Nevus", "basal cell", "p_odd"])
    assert {"p_NEVUS", "p_Nevus"} <= set(as_spelled(twice, tree).frame)


def test_names_are_compared_in_proportion_to_the_classes(tmp_path, monkeypatch):
    read = []
    plain = spelling.name_key
    monkeypatch.setattr(spelling, "name_key", lambda name: read.append(name) or plain(name))
    counts = []
    for size in (20, 40):
        classes = [f"class {n:03d}" for n in range(size)]
        table = table_of(tmp_path, [name.upper() for name in classes])
        read.clear()
        found = as_spelled(table, Taxonomy("flat", ("class",), tuple((name,) for name in classes))).frame
        assert list(found)[3:] == [f"p_{name}" for name in classes]
        counts.append(len(read))
    assert counts[1] < 2.5 * counts[0]
    assert np.all(np.array(counts) > 0)
