"""The built-in photos: determinism, class content, the leak by case, and the folder's safety."""

import csv
import os

import numpy as np
import pytest
from PIL import Image

import skinjax
from skinjax import synthetic
from skinjax.synthetic import (
    CLASS_NAMES,
    SyntheticSpec,
    camera,
    dataset,
    render_case,
    shapes,
    skin,
    write_dataset,
)
from skinjax.synthetic.surface import EXTENT

TINY = SyntheticSpec(cases_per_class=1, photos_per_case=(1, 2), size=32, seed=5)


def rows_of(manifest):
    with open(manifest, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def bytes_below(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def decoded(path):
    with Image.open(path) as photo:
        return np.asarray(photo)


def case(class_name, seed=0, photos=1, size=48, skin_tone=2):
    return render_case(np.random.default_rng(seed), class_name, photos, size, skin_tone)


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_every_class_renders_on_every_skin_tone(class_name):
    for skin_tone in range(1, 7):
        photos = case(class_name, seed=skin_tone, photos=2, size=40, skin_tone=skin_tone)
        assert photos.shape == (2, 40, 40, 3)
        assert photos.dtype == np.uint8
        # Neither black, nor burnt out, nor a flat colour.
        assert 20 < photos.mean() < 235
        assert photos.std(axis=(1, 2)).min() > 2


def test_same_generator_state_gives_the_same_photos_and_another_gives_others():
    np.testing.assert_array_equal(case("eczema", seed=3, photos=2), case("eczema", seed=3, photos=2))
    assert np.abs(case("eczema", seed=3).astype(int) - case("eczema", seed=4)).mean() > 5


def test_a_longer_case_begins_with_the_photos_of_a_shorter_one():
    np.testing.assert_array_equal(case("tinea", photos=4)[:2], case("tinea", photos=2))


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_size_changes_the_sampling_and_not_the_picture(class_name):
    small = case(class_name, seed=11, size=32).astype(float)
    large = case(class_name, seed=11, size=128).astype(float)
    reduced = large.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    other = case(class_name, seed=12, size=32)
    assert np.abs(small - reduced).mean() < 0.5 * np.abs(small - other).mean()


def test_photos_of_a_case_are_nearer_to_each_other_than_to_other_cases():
    groups = [case("psoriasis", seed=seed, photos=3, skin_tone=None).astype(float) for seed in range(8)]
    colours = np.stack([group.mean(axis=(1, 2)) for group in groups])
    within = colours.std(axis=1).mean()
    between = colours.mean(axis=1).std(axis=0).mean()
    assert within < 0.6 * between
    assert within > 0.5, "the views of one case must differ"


def test_darker_types_are_darker_and_healthy_skin_has_skin_colours():
    means = []
    for skin_tone in range(1, 7):
        patches = [skin.bare_skin(np.random.default_rng(seed), 32, skin_tone).albedo() for seed in range(6)]
        red, green, blue = np.mean(patches, axis=(0, 1, 2))
        assert red > green > blue
        means.append((red + green + blue) / 3)
    assert (np.diff(means) < 0).all()


def test_erythema_turns_light_skin_red_and_dark_skin_violet_brown():
    def change(skin_tone):
        patch = skin.bare_skin(np.random.default_rng(0), 32, skin_tone)
        before = patch.albedo().mean(axis=(0, 1))
        patch.redden(np.ones_like(patch.x))
        after = patch.albedo().mean(axis=(0, 1))
        return after / before, after

    light_ratio, light = change(1)
    dark_ratio, dark = change(6)
    assert light_ratio[0] > 2 * light_ratio[1], "on light skin red light survives and green does not"
    assert dark_ratio[0] < 0.75 * light_ratio[0], "dark inflamed skin darkens in red light too"
    assert light[0] - light[1] > 5 * (dark[0] - dark[1]), "it is far less red"


@pytest.mark.parametrize(
    ("redder", "than"),
    [
        ("cherry_angioma", "melanocytic_nevus"),
        ("psoriasis", "epidermal_cyst"),
        ("squamous_cell_carcinoma", "skin_tag"),
    ],
)
def test_the_meta_class_shows_in_colour(redder, than):
    def reddest_against_skin(name):
        values = []
        for seed in range(12):
            photo = case(name, seed=seed, skin_tone=2)[0].astype(float)
            redness = photo[..., 0] / (photo[..., 1] + 1.0)
            values.append(np.quantile(redness, 0.98) / np.median(redness))
        return np.mean(values)

    assert reddest_against_skin(redder) > 1.1 * reddest_against_skin(than)


@pytest.mark.slow
def test_splitting_by_photo_flatters(tmp_path):
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    manifest = write_dataset(
        tmp_path, SyntheticSpec(cases_per_class=6, photos_per_case=(3, 3), size=48, seed=1)
    )
    rows = rows_of(manifest)
    labels = np.array([row["label"] for row in rows])
    cases = np.array([row["case_id"] for row in rows])
    photos = np.stack([decoded(manifest.parent / row["image"]) for row in rows]).astype(float)
    features = photos.reshape(len(rows), 6, 8, 6, 8, 3).mean(axis=(2, 4)).reshape(len(rows), -1)
    model = KNeighborsClassifier(1)
    by_photo = cross_val_predict(model, features, labels, cv=StratifiedKFold(5, shuffle=True, random_state=0))
    grouped = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    by_case = cross_val_predict(model, features, labels, cv=grouped, groups=cases)
    hits_by_photo, hits_by_case = by_photo == labels, by_case == labels
    # Paired difference a case, and its standard error over the 114 cases.
    differences = np.array(
        [(hits_by_photo[cases == c].mean() - hits_by_case[cases == c].mean()) for c in set(cases)]
    )
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    assert differences.mean() > 0.15
    assert differences.mean() > 4 * error


def test_manifest_lists_every_photo_and_gives_nothing_away(tmp_path):
    spec = SyntheticSpec(cases_per_class=2, photos_per_case=(1, 3), size=32, seed=2)
    manifest = write_dataset(tmp_path, spec)
    rows = rows_of(manifest)
    assert manifest == tmp_path / "manifest.csv"
    assert {tmp_path / row["image"] for row in rows} == set((tmp_path / "images").iterdir())
    assert {row["label"] for row in rows} == set(CLASS_NAMES)
    by_case = {}
    for row in rows:
        by_case.setdefault(row["case_id"], []).append(row)
        assert not any(name in row["image"] or name in row["case_id"] for name in CLASS_NAMES)
        assert int(row["skin_tone"]) in range(1, 7)
        assert row["sex"] in ("female", "male")
        assert 1 <= int(row["age"]) <= 95
        assert row["source"] == "synthetic"
        with Image.open(tmp_path / row["image"]) as photo:
            assert (photo.format, photo.mode, photo.size) == ("JPEG", "RGB", (32, 32))
    assert len(by_case) == 2 * len(CLASS_NAMES)
    assert {len(case_rows) for case_rows in by_case.values()} == {1, 2, 3}
    for case_rows in by_case.values():
        assert (
            len(
                {
                    (row["label"], row["skin_tone"], row["sex"], row["age"], row["body_site"])
                    for row in case_rows
                }
            )
            == 1
        )


def test_same_spec_writes_the_same_bytes_and_a_case_does_not_depend_on_the_others(tmp_path):
    write_dataset(tmp_path / "a", TINY)
    write_dataset(tmp_path / "b", TINY)
    first = bytes_below(tmp_path / "a")
    assert first == bytes_below(tmp_path / "b")
    more = SyntheticSpec(cases_per_class=2, photos_per_case=(1, 2), size=32, seed=5)
    larger = bytes_below(write_dataset(tmp_path / "c", more).parent)
    for name, content in first.items():
        if name.endswith(".jpg"):
            assert larger[name] == content


def test_second_call_does_nothing(tmp_path, monkeypatch):
    manifest = write_dataset(tmp_path, TINY)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def refuse(*_args, **_keywords):
        raise AssertionError("rendered again")

    monkeypatch.setattr(dataset, "render_case", refuse)
    assert write_dataset(tmp_path, TINY) == manifest
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@pytest.mark.parametrize("damage", ["no manifest", "cut manifest", "photo gone", "photo empty"])
def test_half_written_folder_is_rendered_again(tmp_path, damage):
    manifest = write_dataset(tmp_path, TINY)
    whole = bytes_below(tmp_path)
    photo = next((tmp_path / "images").iterdir())
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "cut manifest":
        manifest.write_bytes(manifest.read_bytes()[:-40])
    elif damage == "photo gone":
        photo.unlink()
    else:
        photo.write_bytes(b"")
    write_dataset(tmp_path, TINY)
    assert bytes_below(tmp_path) == whole


def test_a_run_that_is_killed_leaves_no_manifest(tmp_path, monkeypatch):
    calls = []

    def die(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return render_case(*arguments, **keywords)

    monkeypatch.setattr(dataset, "render_case", die)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path, TINY)
    assert len(list((tmp_path / "images").iterdir())) > 0
    assert not (tmp_path / "manifest.csv").exists()
    monkeypatch.undo()
    assert len(rows_of(write_dataset(tmp_path, TINY))) == len(list((tmp_path / "images").iterdir()))


def test_another_spec_replaces_the_photos(tmp_path):
    write_dataset(tmp_path, TINY)
    other = SyntheticSpec(cases_per_class=1, photos_per_case=(1, 1), size=40, seed=6)
    rows = rows_of(write_dataset(tmp_path, other))
    assert {tmp_path / row["image"] for row in rows} == set((tmp_path / "images").iterdir())
    assert decoded(tmp_path / rows[0]["image"]).shape == (40, 40, 3)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "manifest.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"synthetic\.json"):
        write_dataset(tmp_path, TINY)
    assert os.listdir(tmp_path) == ["manifest.csv"]
    assert (tmp_path / "manifest.csv").read_text() == "mine"


def test_imbalance_is_the_ratio_of_the_largest_class_to_the_smallest(tmp_path):
    spec = SyntheticSpec(cases_per_class=8, photos_per_case=(1, 1), size=32, imbalance=4.0)
    rows = rows_of(write_dataset(tmp_path, spec))
    counts = sorted(sum(row["label"] == name for row in rows) for name in CLASS_NAMES)
    assert (counts[0], counts[-1]) == (2, 8)
    assert 3 < np.median(counts) < 5


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"cases_per_class": 0}, "cases_per_class must be at least 1, got 0"),
        ({"photos_per_case": (3, 2)}, r"photos_per_case must be .*, got \(3, 2\)"),
        ({"photos_per_case": (0, 2)}, r"photos_per_case must be .*, got \(0, 2\)"),
        ({"size": 31}, "size must be 32 to 1024 pixels, got 31"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"imbalance": 0.5}, "imbalance must be 1 or more, got 0.5"),
        ({"imbalance": float("nan")}, "imbalance must be 1 or more, got nan"),
    ],
)
def test_spec_refuses_what_cannot_be_rendered(values, word):
    with pytest.raises(ValueError, match=word):
        SyntheticSpec(**values)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("acne", 1, 64), "class_name must be one of .*, got 'acne'"),
        (("eczema", 0, 64), "photos must be at least 1, got 0"),
        (("eczema", 1, 2000), "size must be 32 to 1024 pixels, got 2000"),
        (("eczema", 1, 64, 7), "skin_tone must be a Fitzpatrick type from 1 to 6, got 7"),
    ],
)
def test_render_case_refuses_bad_arguments(arguments, word):
    with pytest.raises(ValueError, match=word):
        render_case(np.random.default_rng(0), *arguments)


def test_classes_are_those_of_the_taxonomy():
    taxonomy = pytest.importorskip("skinjax.labels.taxonomy")
    tree = taxonomy.load_taxonomy("synthetic19")
    assert set(tree.classes(tree.finest)) == set(CLASS_NAMES)


def test_cells_agree_with_a_search_over_all_points():
    patch = skin.bare_skin(np.random.default_rng(0), 32, 3)
    size = 0.3
    nearest, gap, value = shapes.cells(np.random.default_rng(9), patch, size)
    replay = np.random.default_rng(9)
    count = int(np.ceil(2 * EXTENT / size)) + 3
    offsets = replay.random((2, count, count), dtype=np.float32)
    values = replay.random(count * count, dtype=np.float32)
    rows, columns = np.mgrid[:count, :count]
    points_x = ((columns + offsets[0]) - 1.0) * size - EXTENT
    points_y = ((rows + offsets[1]) - 1.0) * size - EXTENT
    distances = np.hypot(patch.x[..., None] - points_x.ravel(), patch.y[..., None] - points_y.ravel()) / size
    order = np.sort(distances, axis=-1)
    np.testing.assert_allclose(nearest, order[..., 0], atol=1e-4)
    # A second neighbour beyond the 3 x 3 squares is rare and only ever makes the gap look wider.
    assert (gap > order[..., 1] - order[..., 0] - 1e-4).all()
    assert np.mean(np.abs(gap - (order[..., 1] - order[..., 0])) < 1e-4) > 0.99
    assert np.mean(value == values[distances.argmin(axis=-1)]) > 0.999


def test_noise_has_unit_spread():
    fields = [shapes.noise(np.random.default_rng(seed), 96, 0.2, octaves=3) for seed in range(6)]
    assert abs(np.mean(fields)) < 0.1
    assert 0.85 < np.std(fields) < 1.15


def test_a_dome_is_brighter_towards_the_light():
    generator = np.random.default_rng(1)
    patch = skin.bare_skin(generator, 64, 3)
    patch.height[...] = np.sqrt(np.maximum(0.6**2 - patch.x**2 - patch.y**2, 0.0)) * 0.5
    scene = camera.draw_scene(generator)
    diffuse, _ = camera.illuminate(patch, scene, generator)
    towards = patch.x * np.cos(scene.azimuth) + patch.y * np.sin(scene.azimuth)
    on_dome = np.hypot(patch.x, patch.y) < 0.5
    lit = diffuse[on_dome & (towards > 0.2)].mean()
    assert lit > 1.15 * diffuse[on_dome & (towards < -0.2)].mean()


def test_the_module_says_that_it_is_no_evidence():
    assert "medical evidence" in synthetic.__doc__


def test_photos_of_another_spec_are_told_and_kept_and_those_of_the_same_are_opened(tmp_path):
    folder = tmp_path / "photos"
    spec = {"cases_per_class": 1, "photos_per_case": (1, 1), "size": 32}
    photos = skinjax.synthetic_photos(folder, **spec)
    before = bytes_below(folder)
    assert skinjax.synthetic_photos(folder, **spec).fingerprint == photos.fingerprint
    with pytest.raises(
        ValueError, match=r"got .*photos with photos of size=32, seed=0; name another folder, or delete"
    ):
        skinjax.synthetic_photos(folder, **spec | {"size": 40, "seed": 1})
    assert bytes_below(folder) == before
    (folder / "manifest.csv").unlink()  # as where rendering was interrupted
    assert skinjax.synthetic_photos(folder, **spec | {"size": 40}).root == folder
