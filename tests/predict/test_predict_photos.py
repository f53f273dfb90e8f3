"""Photos to answers in the library: against the networks one by one, whatever the batch, file or fold."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from benchmarks.predict import make_run
from skinjax.data.images import photos as photo_files
from skinjax.data.images.quality import measure
from skinjax.labels.taxonomy import load_taxonomy
from skinjax.predict import reference
from skinjax.predict.answers import csv_header
from skinjax.predict.augmented import FLIPS, predict_augmented
from skinjax.predict.decisions import DecisionOptions, decide
from skinjax.predict.gradcam import grad_cam
from skinjax.predict.load import load_run
from skinjax.predict.networks import load_predictor
from skinjax.predict.photos import ExplanationTarget, check_explanations, predict_photos, prepare_answers
from skinjax.predict.reading import find_photos, read_photo
from skinjax.predict.reference import run_references

pytestmark = pytest.mark.slow
SIZE, BATCH, COUNT = 32, 4, 60
TAXONOMY = load_taxonomy("synthetic19")
DEGREES = tuple(number % 3 for number in range(19))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two folds with random weights, and its photos: smooth, in three folders."""
    root = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        folder = root / "photos" / str(number % 3)
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(60, 230, (6, 8, 3), dtype=np.uint8))
        coarse.resize((60, 45), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    make_run(root / "run", "efficientnet_nano", SIZE, root / "photos", folds=2)
    return root / "run"


@pytest.fixture(scope="module")
def predictor(run):
    return load_predictor(run)


@pytest.fixture(scope="module")
def context(predictor, run):
    options = DecisionOptions(degree_of_class=DEGREES)
    return prepare_answers(predictor, options, run.parent / "photos", batch_size=BATCH)


@pytest.fixture(scope="module")
def paths(run):
    return find_photos([run.parent / "photos"])[0]


def test_too_few_held_out_photos_are_told_before_any_is_read(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("novelty_*"))
    monkeypatch.setattr(reference, "LEAST_PHOTOS", 10_000)
    monkeypatch.setattr(reference, "read_photo", lambda *_: pytest.fail("a photo was read"))
    said = []
    found = reference.run_references(load_predictor(tmp_path / "run"), run.parent / "photos", say=said.append)
    assert found == []
    assert re.fullmatch(
        r"fold 1 held out \d+ photos, and 10000 are needed to know what photos usually look like: "
        "only absolute limits of quality hold",
        said[0],
    )


def images_of(paths):
    return np.stack([read_photo(path, SIZE, "stretch").image for path in paths])


def test_answers_are_those_of_the_networks_one_by_one(predictor, context, paths, run):
    chosen = paths[:BATCH]
    probs = {
        level: np.asarray(load_run(run, stage=level).predict_fn(images_of(chosen)))
        for level in ("sub", "meta")
    }
    expected = decide(probs, TAXONOMY, context.options, context.decisions)
    for row, answer in enumerate(predict_photos(predictor, chosen, context, batch_size=BATCH)):
        assert answer.photo == str(chosen[row])
        for level in TAXONOMY.levels:
            np.testing.assert_allclose(answer.probabilities[level], expected["probs"][level][row], atol=1e-5)
        inside = np.array(TAXONOMY.classes())[expected["set"][row]]
        assert answer.conformal_set == tuple(inside)
        assert answer.malignancy.degree == expected["degree"][row]
        assert answer.malignancy.score == pytest.approx(expected["score"][row], abs=1e-2)
        assert answer.quality == measure(images_of([chosen[row]])[0])


def test_neither_the_batch_nor_an_unreadable_neighbour_changes_an_answer(predictor, context, paths, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    mixed = [bad, paths[0], tmp_path / "missing.png", *paths[1:4], bad]
    together = list(predict_photos(predictor, mixed, context, batch_size=BATCH))
    alone = [next(predict_photos(predictor, [path], context, batch_size=1)) for path in mixed]
    for one, other in zip(together, alone, strict=True):
        assert one.error == other.error
        if one.error is None:
            np.testing.assert_allclose(one.probabilities["sub"], other.probabilities["sub"], atol=1e-5)
            assert one.novelty == pytest.approx(other.novelty, rel=1e-3)
    assert [answer.error is None for answer in together] == [False, True, False, True, True, True, False]
    assert together[2].error == "does not exist"


def test_folds_are_averaged_and_mirror_images_too(predictor, paths, run):
    images = images_of(paths[:BATCH])
    networks = [load_run(run, fold=fold).predict_fn for fold in (0, 1)]
    mean = np.mean([network(images) for network in networks], axis=0)
    found = load_predictor(run, fold=-1).forward(images).probabilities()["sub"]
    np.testing.assert_allclose(found, mean, atol=1e-6)
    mirrored = load_predictor(run, transforms="flips").forward(images).probabilities()["sub"]
    expected = predict_augmented(load_run(run).predict_fn, images, FLIPS)
    np.testing.assert_allclose(mirrored, expected, atol=1e-6)


def test_explanations_are_of_the_class_the_level_and_the_map_asked_for(predictor, context, paths, run):
    drawn = []

    def draw(path, answer, explanation):
        drawn.append(explanation)
        return "name.png"

    def explain(**fields):
        drawn.clear()
        answer = next(
            predict_photos(
                predictor,
                paths[:1],
                context,
                batch_size=BATCH,
                explain=ExplanationTarget(**fields),
                draw=draw,
            )
        )
        return answer, drawn[0]

    def expected(members, layer=None):
        return grad_cam(loaded.model, loaded.variables, loaded.spec, image, members[None], layer)[0]

    image, loaded = images_of(paths[:1]), load_run(run)
    classes, parents = np.array(TAXONOMY.classes()), TAXONOMY.parents("sub", "meta")
    answer, found = explain()
    name = answer.top(TAXONOMY, "sub")[0][0]
    assert (answer.explained, answer.explanation) == ((name, "sub"), "name.png")
    np.testing.assert_allclose(found.values, expected(classes == name), atol=1e-5)
    _, found = explain(class_name="melanoma", layer="block_03")
    np.testing.assert_allclose(found.values, expected(classes == "melanoma", "block_03"), atol=1e-5)
    _, found = explain(class_name="pigmented", level="meta")
    assert (found.class_name, found.network_level) == ("pigmented", "meta")
    alone = dataclasses.replace(predictor, members=({"sub": predictor.members[0]["sub"]},))
    drawn.clear()
    of_meta = ExplanationTarget(
        "pigmented", "meta"
    )  # no network of that level: its sub-classes in the finest one's
    next(predict_photos(alone, paths[:1], context, batch_size=BATCH, explain=of_meta, draw=draw))
    members = parents == TAXONOMY.classes("meta").index("pigmented")
    np.testing.assert_allclose(drawn[0].values, expected(members), atol=1e-5)
    assert drawn[0].network_level == "sub"


def test_explanations_are_checked_on_the_same_photos(predictor, context, paths):
    import jax

    explained = ExplanationTarget()
    answers = list(
        predict_photos(
            predictor, paths[:2], context, batch_size=BATCH, explain=explained, draw=lambda *_: "x.png"
        )
    )
    rows = check_explanations(jax.random.key(9), predictor, answers)
    assert [row.down_to for row in rows][0::10] == ["head", "stem"]
    assert all(abs(row.rank_correlation) <= 1 for row in rows)
    with pytest.raises(ValueError, match="must all be explained"):
        check_explanations(jax.random.key(9), predictor, [dataclasses.replace(answers[0], explained=None)])


def test_json_and_csv_say_the_same(predictor, context, paths):
    for answer in predict_photos(predictor, paths[:3], context, batch_size=BATCH):
        document = json.loads(json.dumps(answer.to_dict(TAXONOMY), allow_nan=False))
        row = dict(zip(csv_header(TAXONOMY), answer.to_row(TAXONOMY), strict=True))
        assert row["photo"] == document["photo"]
        assert (row["diagnosis"] or None) == document["diagnosis"]
        assert row["conformal_set"].split("|") == document["conformal_set"]
        assert float(row["p_melanoma"]) == document["probabilities"]["sub"]["melanoma"]
        assert int(row["malignancy_degree"]) == document["malignancy"]["degree"]
        assert sum(document["probabilities"]["meta"].values()) == pytest.approx(1, abs=1e-5)


def test_what_was_measured_once_is_read_and_measured_anew_for_other_predictions(predictor, context, run):
    path = run / "novelty_sub_fold_0.npz"
    stored = path.read_bytes()
    said = []
    found = run_references(predictor, None, say=said.append)[0]
    assert found.distances.shape == (3, COUNT)
    assert np.isfinite(found.distances).sum(axis=1).tolist() == [COUNT, COUNT, COUNT // 2]
    assert not said
    path.write_bytes(stored[:-200])  # damaged: measured again, to the same numbers
    again = run_references(predictor, run.parent / "photos", batch_size=BATCH)[0]
    np.testing.assert_allclose(again.distances, found.distances, rtol=1e-4)
    file = run / "predictions" / "out_of_fold.parquet"
    kept = file.read_bytes()
    try:
        file.write_bytes(kept + b" ")
        assert run_references(predictor, None, say=said.append) == []
        assert "not there any more" in said[0]
    finally:
        file.write_bytes(kept)


def test_what_there_is_not_is_told(run, predictor, context, tmp_path):
    with pytest.raises(ValueError, match=r"fold=7 must be a fold with networks of .*, which are 0, 1"):
        load_predictor(run, fold=7)
    with pytest.raises(ValueError, match="has no network 'other'; there are: meta, sub"):
        load_predictor(run, stages=["other"])
    with pytest.raises(ValueError, match="has no network of the level 'sub'"):
        load_predictor(run, stages=["meta"])
    with pytest.raises(ValueError, match=r"is not the folder of a run: it has no config\.json"):
        load_predictor(tmp_path)
    with pytest.raises(
        ValueError, match=r"must be a class of level 'sub', got 'melanom', did you mean 'melanoma'"
    ):
        next(predict_photos(predictor, [], context, explain=ExplanationTarget("melanom"), draw=lambda *_: ""))
    with pytest.raises(ValueError, match=r"must be a feature map of .*, stem, .*; got 'conv'"):
        next(
            predict_photos(
                predictor, [], context, explain=ExplanationTarget(layer="conv"), draw=lambda *_: ""
            )
        )
    final = run / "checkpoints" / "fold_1" / "sub" / "final"
    hidden = final.rename(final.with_name("elsewhere"))
    try:
        with pytest.raises(ValueError, match="holds a network in training"):
            load_predictor(run, fold=1)
        shutil.copytree(run / "checkpoints" / "fold_1" / "meta" / "final", final)  # another network's
        with pytest.raises(ValueError, match="does not hold efficientnet_nano with 19 classes"):
            load_predictor(run, fold=1)
        shutil.rmtree(final)
    finally:
        hidden.rename(final)


def test_photos_are_found_in_folders_and_each_once(run, tmp_path):
    folder = tmp_path / "mixed"
    (folder / ".hidden").mkdir(parents=True)
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden/c.png", ".d.png"):
        (folder / name).touch()
    odd = tmp_path / "photo without ending"
    odd.touch()
    found, passed = find_photos([odd, folder, folder / "a.png"])
    assert [path.name for path in found] == ["photo without ending", "a.png", "b.JPG"]
    assert passed == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no photo"):
        find_photos([tmp_path / "empty"])


def test_a_photo_is_read_as_preparation_reads_it(paths):
    for fit in ("stretch", "crop", "pad"):
        expected = photo_files.fit(photo_files.decode(paths[0], target=SIZE), SIZE, mode=fit)
        np.testing.assert_array_equal(read_photo(paths[0], SIZE, fit).image, expected)
