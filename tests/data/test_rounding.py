"""Probabilities rounded as people round them."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from skinjax.data.prediction_checks import PredictionsError, validate
from skinjax.data.predictions import Predictions, from_arrays, probabilities, read_predictions, read_unchecked
from skinjax.data.rounding import decimals_of, rounding_bound
from skinjax.labels.taxonomy import Taxonomy


def flat(classes):
    return Taxonomy("flat", ("class",), tuple((f"c{i}",) for i in range(classes)))


def save(folder, values, decimals, name="p.csv"):
    names = [f"p_c{i}" for i in range(values.shape[1])]
    lines = [",".join(["image", "case_id", "label", *names])]
    lines += [
        ",".join([f"{n}.png", f"{n}", "c0", *[f"{value:.{decimals}f}" for value in row]])
        for n, row in enumerate(values)
    ]
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("classes", "decimals"), [(2, 3), (3, 3), (9, 3), (114, 4), (8, 2), (3, 2), (19, 4)])
def test_rounded_rows_are_read_and_sum_to_one(tmp_path, caplog, classes, decimals):
    rng = np.random.default_rng(classes)
    exact = rng.dirichlet(np.ones(classes), 400)
    rounded = exact.round(decimals)
    table, problems = read_unchecked(save(tmp_path, exact, decimals))
    assert problems == []
    frame = table.frame
    validate(frame, flat(classes))
    parsed = Predictions.from_frame(frame, flat(classes))
    np.testing.assert_allclose(parsed.probabilities().sum(1), 1, atol=2e-4)
    np.testing.assert_allclose(parsed.probabilities(), exact, atol=10.0**-decimals * classes)
    off = np.abs(rounded.sum(1) - 1) > 1e-4 + 1e-9
    if off.any():
        assert table.notes[0].startswith(f"{off.sum():,} row")
    with caplog.at_level(logging.WARNING):
        built = from_arrays(
            [f"{n}" for n in range(400)],
            [f"{n}" for n in range(400)],
            ["c0"] * 400,
            0,
            rounded,
            flat(classes),
        )
    np.testing.assert_allclose(probabilities(built, flat(classes)), parsed.probabilities(), atol=1e-12)
    assert ("divided by" in caplog.text) == bool(off.any())


def test_the_issue_s_row_and_the_bound_itself(tmp_path):
    rows = np.array([[0.334, 0.334, 0.333], [0.2, 0.3, 0.5]])
    values = probabilities(read_predictions(save(tmp_path, rows, 3)), flat(3))
    np.testing.assert_allclose(values[0], rows[0] / 1.001, rtol=1e-12)
    np.testing.assert_array_equal(values[1], rows[1])
    at = np.array([[0.26, 0.26, 0.25, 0.25], [0.11, 0.19, 0.3, 0.4]])  # 4 times 0.005 off
    assert read_unchecked(save(tmp_path, at, 2))[1] == []
    frame = from_arrays(["a", "b"], ["a", "b"], ["c0", "c1"], 0, at, flat(4))
    np.testing.assert_allclose(probabilities(frame, flat(4)).sum(1), 1, atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "decimals"),
    [
        ([[0.336, 0.334, 0.333], [0.201, 0.3, 0.499]], 3),
        ([[0.33, 0.33, 0.33]], 3),  # "0.330": three decimals are shown, so that rounding explains 0.0015
        ([[0.27, 0.26, 0.25, 0.25], [0.11, 0.19, 0.3, 0.4]], 2),
        ([[0.5, 0.6]], 1),  # rounding could, but no more than 0.05 is excused
        ([[1, 1]], 0),
        ([[0.3333333, 0.3333333, 0.3303333]], 7),
    ],
)
def test_rows_beyond_rounding_are_refused(tmp_path, rows, decimals):
    values = np.array(rows, float)
    path = save(tmp_path, values, decimals)
    tree = flat(values.shape[1])
    with pytest.raises(PredictionsError, match=r"1 row whose probabilities do not sum to 1: row"):
        validate(read_predictions(path), tree)
    if rows != [[0.33, 0.33, 0.33]]:  # floats do not show their zeros
        with pytest.raises(PredictionsError, match=r"1 row whose probabilities do not sum to 1: row 1"):
            from_arrays([*"ab"[: len(rows)]], [*"ab"[: len(rows)]], ["c0"] * len(rows), 0, values, tree)


def test_decimals_of_single_precision_and_of_exponents(tmp_path):
    assert decimals_of(np.array([[0.334, 0.333]], np.float32).astype(float)) == 3
    assert decimals_of(np.array([[1.0, 0.0]])) == 0
    assert rounding_bound(np.array([[0.2, 0.3, 0.5]])) == pytest.approx(1e-3)
    path = tmp_path / "p.csv"
    path.write_text("image,case_id,label,p_a,p_b,p_c\nx,1,a,1e-3,0.5,0.5\ny,2,a,0.334,0.334,0.333\n")
    assert probabilities(
        read_predictions(path), Taxonomy("t", ("c",), (("a",), ("b",), ("c",)))
    ).sum() == pytest.approx(2)
