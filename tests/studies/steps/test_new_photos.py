"""New photos checked before a run's networks answer them; the networks themselves are made up here."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from skinjax.data.predictions import from_arrays
from skinjax.data.reading_kit import make_kit, write_key
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.report.blocks import Section
from skinjax.studies.evaluation import Config
from skinjax.studies.steps import evaluated, new_photos
from skinjax.studies.steps.new_answers import NewAnswers
from tests.support.small_photos import write_photos


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> SimpleNamespace:
    """A run without networks' weights, new photos, and a kit of some that asks about melanoma, with two answers."""
    root = tmp_path_factory.mktemp("places")
    run, new = root / "run", root / "new"
    frame = write_photos(new, 2)
    frame["sex"] = np.where(frame["label"] == "nevus", "female", "male")
    frame.to_csv(new / "manifest.csv", index=False)
    (run / "checkpoints" / "fold_0").mkdir(parents=True)
    (run / "taxonomy.json").write_text(load_taxonomy(str(new / "taxonomy.csv")).to_json())
    document = {"schema": 2, "study": "hierarchy", "config": {}, "data_fingerprint": "x"}
    (run / "config.json").write_text(json.dumps(document))
    kit = make_kit(frame, np.arange(12, 20), frame["label"] == "melanoma", ["melanoma"])
    (root / "apart").mkdir()
    write_key(kit, root / "apart" / "key.csv")
    (root / "answers").mkdir()
    for reader, call in (("A", kit.photos["target"]), ("B", 1)):
        answers = pd.DataFrame({"kit": kit.id, "reader": reader, "image": kit.photos["photo"], "call": call})
        answers.to_csv(root / "answers" / f"{reader}.csv", index=False)
    return SimpleNamespace(root=root, run=run, manifest=new / "manifest.csv", kit=kit)


def read(places, tmp_path: Path, **options) -> evaluated.Subject:
    config = Config(workdir=str(places.run), manifest=str(places.manifest), **options)
    return new_photos.read(config, None, tmp_path / "out", tmp_path)


@pytest.fixture
def evenly(monkeypatch):
    """Lets made-up networks answer evenly, only photos whose label is not left out."""

    def made(*left_out: str) -> None:
        def answers(config, folder, loaded, chosen):
            photos = chosen.photos.frame
            photos = photos[~photos["label"].isin(left_out)].reset_index(drop=True)
            tree = chosen.space.taxonomy
            even = np.full((len(photos), len(tree.classes())), 1 / len(tree.classes()))
            frame = from_arrays(
                photos["image"], photos["case_id"], photos["label"], 0, even, tree, extra=photos
            )
            return NewAnswers({"even": frame}, None, {}, chosen.flow, chosen.notes)

        monkeypatch.setattr(new_photos, "load_predictor", lambda *of, **options: None)
        monkeypatch.setattr(new_photos, "answers_of", answers)
        monkeypatch.setattr(new_photos, "fitted_section", lambda *of: (Section("new", "New", ()), []))

    return made


def test_what_a_kits_readers_were_asked_is_the_target(places, evenly, tmp_path):
    kit = {"readers": str(places.root / "answers"), "readers_key": str(places.root / "apart" / "key.csv")}
    with pytest.raises(ValueError, match=r"target=eczema must be what the readers of kit_.* melanoma"):
        read(places, tmp_path, target=("eczema",), **kit)
    evenly()
    data = read(places, tmp_path, prevalence=0.1, **kit).data
    assert data.target == ("melanoma",)
    assert places.kit.note in data.notes
    assert data.readers is not None
    assert set(data.readers["image"]) == set(places.kit.photos["image"])
    evenly("nevus")  # of which the kit has four
    data = read(places, tmp_path, **kit).data
    assert "Of the 8 photos that the readers called, 4 are not evaluated and left out." in data.notes
    assert data.readers is not None
    assert data.readers["image"].nunique() == 4


def test_a_kit_is_found_beside_the_photos(places, evenly, tmp_path):
    key = places.manifest.parent / "reader_kit" / "key" / "key.csv"
    key.parent.mkdir(parents=True)
    write_key(places.kit, key)
    evenly()
    try:
        found = read(places, tmp_path, readers=str(places.root / "answers"))
    finally:
        key.unlink()
    assert found.data.target == ("melanoma",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"readers_key": "key.csv"}, "readers_key=key.csv needs readers=FILE"),
        (
            {"coarse_level": "disease"},
            "coarse_level=disease must be one of the coarser levels, which are kind",
        ),
        ({"prevalence": 0.1}, "prevalence=0.1 needs target=CLASS"),
    ],
)
def test_options_are_refused_before_anything_is_answered(places, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        read(places, tmp_path, **options)


def test_a_subgroup_of_which_one_group_is_left_is_told_and_no_fault(places, evenly, tmp_path):
    evenly()
    assert read(places, tmp_path, subgroups=("sex",)).data.subgroups == ("sex",)
    evenly("nevus")
    found = read(places, tmp_path, subgroups=("sex",)).data
    assert found.subgroups == ()
    assert "The photos that are left are of one group by sex." in found.notes
