"""Columns that give the label away, made up so that what they tell is known, and published ones."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier

from skinjax.data.column_leaks import MOST_EXPLAINED, column_leaks, refuse_leaks, silence_notes
from skinjax.data.columns import fit_columns


@pytest.fixture
def made():
    """400 cases of three diseases; what each column tells of them is in its name."""
    rng = np.random.default_rng(0)
    label = rng.choice(["nevus", "melanoma", "wart"], 400)
    noise = rng.choice(["yes", "no"], 400)
    frame = pd.DataFrame(
        {
            "label": label,
            "case_id": [f"c{n}" for n in range(400)],
            "noise": noise,
            "diagnosis_text": np.where(rng.random(400) < 0.97, label, "wart"),
            "biopsied": np.where((label == "melanoma") | (rng.random(400) < 0.05), "yes", "no"),
            "asked": np.where((label == "melanoma") | (rng.random(400) < 0.1), noise, ""),
            "some_asked": np.where(rng.random(400) < 0.7, noise, ""),
            "age": rng.normal(50 + 8 * (label == "melanoma"), 12).round().astype(int),
        }
    )
    return frame


def test_columns_known_only_after_the_diagnosis_are_refused(made):
    for name in ("diagnosis_text", "biopsied"):
        with pytest.raises(
            ValueError, match=rf"columns must not give the label away, got '{name}': on cases not seen"
        ):
            refuse_leaks(made, ["noise", name], made["label"], made["case_id"])
    with pytest.raises(ValueError, match="give the label away") as refused:
        refuse_leaks(made, ["diagnosis_text"], made["label"], made["case_id"])
    # Beside what the column alone is right for stands what the most frequent class is right for.
    alone = (made["diagnosis_text"] == made["label"]).mean()
    commonest = made["label"].value_counts(normalize=True).iloc[0]
    said = [int(share) / 100 for share in re.findall(r"(\d+)%", str(refused.value))]
    assert said[0] == pytest.approx(alone, abs=0.02)
    assert said[1] == pytest.approx(commonest, abs=0.02)
    assert said[2] >= said[3] == MOST_EXPLAINED
    assert "always guessing the most frequent label" in str(refused.value)


def test_a_column_whose_absence_tells_is_silent_and_one_that_lacks_at_random_is_not(made):
    names = ["noise", "asked", "some_asked", "age"]
    silent = refuse_leaks(made, names, made["label"], made["case_id"])
    assert silent == ("asked",)
    (note,) = silence_notes(made, silent, made["label"], made["case_id"])
    assert "asked (" in note
    coding = fit_columns(made, names, silent)
    assert "some_asked unknown" in coding.names
    assert "asked unknown" not in coding.names
    # What a model is trained on tells nothing any more, though a tree finds what an exact average means.
    asked = [place for place, name in enumerate(coding.names) if name.startswith("asked")]
    told = []
    for encoded in (coding.encode(made), coding.encode_training(made, np.random.default_rng(1))):
        tree = DecisionTreeClassifier(max_depth=3, random_state=0)
        is_melanoma = made["label"] == "melanoma"
        told.append(cross_val_score(tree, encoded[:, asked], is_melanoma, scoring="roc_auc").mean())
    assert told[0] > 0.85
    assert abs(told[1] - 0.5) < 0.1


def test_nothing_is_known_of_few_cases(made):
    few = made.iloc[:15]
    assert refuse_leaks(few, ["biopsied"], few["label"], few["case_id"]) == ()
    assert column_leaks(few, ["biopsied"], few["label"], few["case_id"])[0].values is None


def test_pad_ufes_20_and_ham10000_have_the_leaks_that_are_known_of_them(shared_data):
    pad = pd.read_csv(shared_data / "pad_ufes_20" / "metadata.csv", dtype=str, keep_default_na=False)
    history = ["smoke", "drink", "gender", "fitspatrick", "skin_cancer_history", "diameter_1"]
    asked = ["age", "region", "itch", "bleed", "elevation", "hurt"]
    silent = refuse_leaks(pad, history + asked, pad["diagnostic"], pad["patient_id"])
    assert silent == tuple(history)
    with pytest.raises(ValueError, match=r"got 'biopsed': .* it explains 28%"):
        refuse_leaks(pad, ["biopsed"], pad["diagnostic"], pad["patient_id"])
    ham = pd.read_csv(shared_data / "ham10000" / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)
    assert refuse_leaks(ham, ["age", "sex", "localization"], ham["dx"], ham["lesion_id"]) == ()
    with pytest.raises(ValueError, match="got 'dx_type'"):
        refuse_leaks(ham, ["dx_type"], ham["dx"], ham["lesion_id"])
