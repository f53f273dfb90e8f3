"""A GPU computes what the CPU does; skipped where there is none."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from skinjax.models import registry
from tests.train.test_parallel import arrays, assert_same, start, wait

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(jax.default_backend() == "cpu", reason="JAX finds no accelerator here"),
]
BACKBONES = ["densenet121", "inception_v3", "inception_resnet_v2", "xception", "efficientnet_b0"]
PRECISE = {"JAX_DEFAULT_MATMUL_PRECISION": "highest", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


@pytest.mark.parametrize("name", BACKBONES)
def test_logits_are_those_of_the_cpu(name):
    model = registry.create(name, 6)
    images = np.random.default_rng(0).uniform(-1, 1, (3, 96, 96, 3)).astype(np.float32)
    logits = {}
    for backend in ("cpu", jax.default_backend()):
        with jax.default_device(jax.devices(backend)[0]), jax.default_matmul_precision("highest"):
            variables = registry.init_variables(model, jax.random.key(0))
            logits[backend] = np.asarray(jax.jit(model.apply)(variables, images))
    expected, found = logits.values()
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("backend", ["jit", "pmap"])
def test_updates_are_those_of_the_cpu(tmp_path, backend):
    """With augmentation, dropout, stochastic depth and BatchNorm."""
    wait(start(tmp_path / "cpu", tmp_path / "cpu.npz", JAX_PLATFORMS="cpu"))
    wait(start(tmp_path / "here", tmp_path / "here.npz", f"--backend={backend}", **PRECISE))
    assert_same(tmp_path / "here.npz", arrays(tmp_path / "cpu.npz"))
