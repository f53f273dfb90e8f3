"""Samples of one case, one class, one photo, probabilities of 0 and 1: reported, and not refused."""

import numpy as np
import pandas as pd
import pytest

from skinjax.labels.taxonomy import Taxonomy
from tests.report.test_report import draw_predictions, write


def everything(taxonomy, frame, **changes):
    """All options at once."""
    classes = taxonomy.classes()
    images = frame["image"].iloc[:4]
    calls = [{"reader": r, "image": image, "call": k % 2} for r in "ab" for k, image in enumerate(images)]
    return {
        "target": classes[:1],
        "readers": pd.DataFrame(calls),
        "degrees": {name: k % 2 for k, name in enumerate(classes)},
        "subgroups": ("sex",),
        "others": {"<b>other</b>": frame},
    } | changes


def ones_and_zeros(frame):
    columns = [name for name in frame if name.startswith("p_")]
    return frame.assign(
        **dict(zip(columns, np.eye(len(columns))[frame[columns].to_numpy().argmax(axis=1)].T, strict=True))
    )


def every_row(values):
    """Makes all photos be answered alike."""
    return lambda frame: frame.assign(**{n: values.get(n, 0.0) for n in frame if n.startswith("p_")})


ODD = {
    "plain": lambda frame: frame,
    "one case": lambda frame: frame.assign(case_id="the one"),
    "one class": lambda frame: frame[frame["label"] == frame["label"].iloc[0]],
    "no target": lambda frame: frame[frame["label"] != frame["label"].iloc[0]],
    "one photo": lambda frame: frame.iloc[:1],
    "five photos": lambda frame: frame.iloc[:5],
    "zeros and ones": ones_and_zeros,
    "always a": every_row({"p_a": 1.0}),
    "always script": every_row({"p_<script>": 1.0}),
    "uniform": every_row(dict.fromkeys(("p_a", "p_<script>", "p_银屑病", "p_$x_1$ {{ 7 }}"), 0.25)),
    "folds of one photo": lambda frame: frame.assign(fold=np.arange(len(frame))),
    "no groups": lambda frame: frame.assign(sex=None),
    "many groups": lambda frame: frame.assign(sex=np.arange(len(frame)) / 7),
}
SLOW = ("always script", "five photos", "folds of one photo", "many groups", "no groups", "no target")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, change in ODD.items()
    ],
)
def test_odd_samples_are_reported_and_not_refused(tmp_path, change):
    pairs = [("上", "<script>"), ("上", "a"), ("下", "银屑病"), ("下", "$x_1$ {{ 7 }}")]
    taxonomy = Taxonomy.from_pairs(pairs, name="odd")
    frame = draw_predictions(taxonomy, cases=24, folds=3)
    frame["sex"] = np.where(np.arange(len(frame)) % 3, "<i>f</i>", "m")
    frame = change(frame).reset_index(drop=True)
    page = write(tmp_path, frame, taxonomy, "meta", **everything(taxonomy, frame))
    assert "nan" not in page.text.lower().split()
    assert "inf" not in page.text.lower().split()
    for section in ("roc", "precision_recall", "readers", "calibration", "conformal", "malignancy", "limits"):
        assert section in page.ids


def test_a_single_class_and_a_single_level(tmp_path):
    taxonomy = Taxonomy("one", ("disease",), (("a",),))
    frame = pd.DataFrame({"image": list("xyz"), "case_id": list("112"), "label": "a", "p_a": 1.0})
    page = write(tmp_path, frame, taxonomy, None)
    assert "With a single class" in page.text
