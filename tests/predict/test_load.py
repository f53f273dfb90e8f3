"""A loaded run: shown in a line, applied as a pure function, and answering photos as a table."""

from __future__ import annotations

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinjax.predict import table
from skinjax.predict.load import FITS, load_run
from skinjax.predict.photos import prepare_answers
from tests.support import small_backbones
from tests.support.small_runs import TREE, make_pair, make_photos, make_run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with small_backbones.registered():
        folder = tmp_path_factory.mktemp("load")
        make_photos(folder / "photos", 6)
        make_pair(folder / "pair", folder / "photos")
        make_run(folder / "several", "backbones", [("one", "disease"), ("two", "disease")], folder / "photos")
        yield folder


def images(place, count=3):
    files = [place / "photos" / f"{number}.png" for number in range(count)]
    return np.stack([np.asarray(Image.open(file).resize((32, 32))) for file in files])


def test_it_shows_itself_in_one_line(place):
    text = repr(load_run(place / "pair"))
    assert text.count("\n") == 0
    assert "sub of fold 0, small at 32 pixels, 3 classes of level disease" in text
    assert len(text) < 200 + len(str(place))


@pytest.mark.slow
def test_apply_is_pure_and_traces_under_jit_grad_and_vmap(place):
    run, pixels = load_run(place / "pair", stage="meta"), jnp.asarray(images(place))
    expected = np.asarray(run.predict_fn(pixels))
    logits = run.apply(pixels)
    assert logits.shape == (3, 2)
    np.testing.assert_allclose(jax.nn.softmax(logits), expected, atol=1e-6)
    np.testing.assert_allclose(jax.jit(run.apply)(pixels), logits, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(run.apply)(pixels), logits, atol=1e-5)
    scaled = pixels / 255.0
    slope = jax.grad(lambda x: run.apply(x)[0, 1])(scaled)
    assert slope.shape == scaled.shape
    assert float(jnp.abs(slope[0]).max()) > 0
    assert float(jnp.abs(slope[1:]).max()) == 0  # a photo's logits depend on that photo alone
    with pytest.raises(ValueError, match=r"images must be of shape \[\.\.\., H, W, 3\], got \[3\]"):
        run.apply(jnp.zeros(3))
    with pytest.raises(ValueError, match=r"images must be uint8 in 0\.\.255, got float32"):
        run.predict_fn(scaled)
    for wrong in (255 * scaled, scaled - 1):
        with pytest.raises(ValueError, match=r"images must be floating in \[0, 1\] .* got float32 from "):
            run.apply(wrong)


@pytest.mark.slow
def test_predict_fn_is_part_of_a_jitted_pipeline(place):
    run, pixels = load_run(place / "pair", stage="meta"), jnp.asarray(images(place))
    expected = np.asarray(run.predict_fn(pixels))
    np.testing.assert_allclose(jax.jit(run.predict_fn)(pixels), expected, atol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda: run.predict_fn(pixels))(), expected, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(run.predict_fn)(pixels[:, None])[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(jax.lax.map(run.predict_fn, pixels[:, None])[:, 0], expected, atol=1e-6)


def test_photos_of_another_size_pixels_for_names_and_unknown_options_are_refused(place):
    run, pixels = load_run(place / "pair", stage="meta"), images(place)
    for wrong in (pixels[:, :16], pixels[0], pixels[..., :1]):
        with pytest.raises(ValueError, match=r"\[N, image_size, image_size, 3\] with image_size 32, got \["):
            run.predict_fn(wrong)
    for some in (pixels, jnp.asarray(pixels)):
        with pytest.raises(ValueError, match=r"got an array uint8\[3, 32, 32, 3\]; predict_fn takes pixels"):
            run.predict(some)
    with pytest.raises(ValueError, match=r"options must be among coverage, answered, .* got coverag$"):
        run.predict(place / "photos" / "0.png", coverag=0.8)


@pytest.mark.slow
def test_photos_become_a_table_with_a_row_each(place):
    run = load_run(place / "pair")
    files = [place / "photos" / "0.png", place / "photos" / "gone.png"]
    found = run.predict(files)
    assert list(found["photo"]) == [str(file) for file in files]
    assert found["error"].tolist()[1] == "does not exist"
    first = found.iloc[0]
    probs = first[[f"p_{name}" for name in TREE.classes()]].astype(float)
    assert probs.sum() == pytest.approx(1, abs=1e-5)
    assert first["disease"] == TREE.classes()[int(np.argmax(probs))]
    assert first["disease_probability"] == pytest.approx(probs.max())
    assert set(str(first["conformal_set"]).split("|")) <= set(TREE.classes())
    pd.testing.assert_frame_equal(run.predict(files[0]), found[:1], check_dtype=False)
    assert len(run.predict(place / "photos")) == 6
    with pytest.raises(ValueError, match=r"coverage must lie in \(0, 1\), got 2"):
        run.predict(files, coverage=2)


@pytest.mark.slow
def test_what_answers_rest_on_is_fitted_once_for_each_runtime_and_set_of_options(place, monkeypatch):
    opened = []

    def counted(*arguments, **options):
        opened.append(arguments)
        return prepare_answers(*arguments, **options)

    monkeypatch.setattr(table, "prepare_answers", counted)
    run, file = load_run(place / "pair"), place / "photos" / "0.png"
    first = run.predict(file)
    pd.testing.assert_frame_equal(run.predict(file), first)
    assert len(opened) == 1
    smaller = run.predict(file, coverage=0.3, degree_of_class=(0, 1, 2))
    assert len(opened) == 2
    assert set(smaller["conformal_set"][0].split("|")) < set(first["conformal_set"][0].split("|"))
    assert opened[0][0] is opened[1][0]  # the same networks
    pd.testing.assert_frame_equal(run.predict(file), first)  # and not what the second call asked for
    assert len(opened) == 2
    with pytest.raises(ValueError, match=r"runtime must be one of jax, onnx, got 'torch'"):
        run.predict(file, runtime="torch")
    pytest.importorskip("onnxruntime")
    probs = [f"p_{name}" for name in TREE.classes()]
    theirs = run.predict(file, runtime="onnx")
    np.testing.assert_allclose(theirs[probs].astype(float), first[probs].astype(float), atol=1e-4)
    assert [loaded.runtime for loaded in opened[2][0].members[0].values()] == ["onnx", "onnx"]


def test_fits_of_the_last_used_options_alone_are_kept(place, monkeypatch):
    fitted = []
    monkeypatch.setattr(
        table, "answer_context", lambda predictor, options: fitted.append(options) or object()
    )
    monkeypatch.setattr(table, "answers_table", lambda *arguments: arguments[1])
    run = load_run(place / "pair")
    coverages = [0.5 + 0.01 * step for step in range(FITS + 1)]
    first = [run.predict([], coverage=coverage) for coverage in coverages]
    again = [run.predict([], coverage=coverage) for coverage in reversed(coverages)]
    assert again[:-1] == first[:0:-1]  # the last used ones
    assert again[-1] is not first[0]
    assert len(fitted) == FITS + 2
    assert load_run(place / "pair").predict([], coverage=0.5) not in first + again  # a run keeps its own


@pytest.mark.slow
def test_of_several_networks_of_a_level_the_loaded_one_answers_and_says_what_it_lacks(place, caplog):
    file, tables = place / "photos" / "1.png", {}
    for stage in ("one", "two"):
        run = load_run(place / "several", stage=stage)
        with caplog.at_level(logging.WARNING, logger="skinjax"):
            tables[stage] = run.predict(file)
        found = tables[stage].iloc[0][[f"p_{name}" for name in TREE.classes()]].astype(float)
        np.testing.assert_allclose(found, run.predict_fn(images(place, 2)[1:])[0], atol=0.05)
    assert (tables["one"]["p_a"] != tables["two"]["p_a"]).all()
    assert "probabilities are not calibrated" in caplog.text
