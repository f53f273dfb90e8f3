"""A checkpoint of other people's from the command line: chosen, told in one sentence, trained from."""

import pytest

from tests.models.weights.test_beside_the_network import below, headless, network
from tests.support import stored_files as files
from tests.support.commands import run_command


@pytest.mark.slow
def test_a_checkpoint_with_two_networks(tmp_path, compilations):
    student, teacher = headless(network(1)), headless(network(2))
    content = {
        name: files.tensor(array * 0.1)
        for name, array in (below("student.", student) | below("teacher.", teacher)).items()
    }
    path = files.write_torch_zip(tmp_path / "last.ckpt", {"epoch": 3, "state_dict": content})
    flags = [
        "--smoke",
        f"--workdir={tmp_path / 'run'}",
        "--backbone=efficientnet_nano",
        f"--compilation_cache={compilations}",
    ]
    refused = run_command("train", *flags, f"--pretrained={path}", code=2).stderr
    assert "add #student or #teacher to the path" in refused
    ended = run_command("train", *flags, f"--pretrained={path}#teacher")
    assert "2 variables new (params/head/bias, params/head/kernel)" in ended.stdout + ended.stderr
