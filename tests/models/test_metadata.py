"""Networks that read columns beside a photo, against the published formulas written out in numpy."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models import registry
from skinjax.models.metadata import COLUMN_UNITS, with_columns
from skinjax.models.transfer import transfer
from skinjax.predict.gradcam import grad_cam
from skinjax.train.freezing import rate_factors
from tests.support import small_backbones

IMAGES = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
TABLE = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)


@pytest.fixture(params=["concat", "metablock"])
def network(request):
    """A small network with columns, its variables, and the same backbone's photos-alone network and variables."""
    with small_backbones.registered():
        spec, alone = registry.spec("small"), registry.create("small", 4)
        model = with_columns(registry.create("small", 4), spec, 5, request.param)
        key = jax.random.key(0)
        yield model, registry.init_variables(model, key), alone, registry.init_variables(alone, key)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.slow
def test_logits_are_those_of_the_formulas(network):
    model, variables, alone, without = network
    named = model.apply(variables, IMAGES, TABLE, features=True)
    pooled = np.asarray(alone.apply(without, IMAGES, features=True)["pooled"])
    np.testing.assert_allclose(
        named["pooled"], pooled, rtol=1e-5, atol=1e-6
    )  # the backbone's start is the same
    head = jax.tree.map(np.asarray, variables["params"]["head"])

    def dense(name, x):
        return x @ head[name]["kernel"] + head[name]["bias"]

    if model.fusion == "concat":
        fused = np.concatenate(
            [pooled, np.sqrt(pooled.shape[1] / 32) * np.maximum(dense("columns", TABLE), 0)], axis=1
        )
        assert head["logits"]["kernel"].shape == (32 + COLUMN_UNITS, 4)
    else:
        fused = sigmoid(np.tanh(pooled * dense("scale", TABLE)) + dense("shift", TABLE))
    np.testing.assert_allclose(named["logits"], dense("logits", fused), rtol=1e-4, atol=1e-5)
    assert np.abs(model.apply(variables, IMAGES, -TABLE) - named["logits"]).max() > 1e-3
    zeros = model.apply(variables, IMAGES, np.zeros_like(TABLE))
    np.testing.assert_array_equal(model.apply(variables, IMAGES), zeros)


@pytest.mark.slow
def test_the_backbone_keeps_its_names_so_that_transfer_and_freezing_work(network):
    model, variables, _, without = network
    assert set(variables["params"]) == set(without["params"])
    moved, report = transfer(without, variables, "all", model.spec)
    assert report.kept == ("head",)
    same = jax.tree.map(np.array_equal, moved["params"]["block_0"], without["params"]["block_0"])
    assert all(jax.tree.leaves(same))
    factors = rate_factors(variables["params"], model.spec, frozen_blocks="all")
    assert {name: set(jax.tree.leaves(one)) for name, one in factors.items()} == {
        "block_0": {0.0}, "block_1": {0.0}, "head": {1.0},
    }  # fmt: skip


def test_its_gradient_explains_an_answer_with_the_columns_it_was_given_with(network):
    model, variables, _, _ = network
    photos = np.random.default_rng(2).integers(0, 256, (3, 32, 32, 3), np.uint8)
    members = np.eye(4, dtype=bool)[:3]
    maps = [
        np.asarray(grad_cam(model, variables, model.spec, photos, members, table=t)) for t in (TABLE, -TABLE)
    ]
    assert maps[0].shape == (3, 8, 8)
    assert np.isfinite(maps[0]).all()
    # Beside the features columns add to a logit; as a gate they choose among the features.
    assert np.allclose(*maps) == (model.fusion == "concat")


def test_axis_and_shapes_are_checked(network):
    model, variables, _, _ = network
    assert model.on_axis("data").backbone.axis_name == "data"
    with pytest.raises(ValueError, match=r"table must be of shape \[3, 5\], got \[3, 4\]"):
        model.apply(variables, IMAGES, TABLE[:, :4])


class Foreign(nn.Module):
    """A network that knows nothing of skinjax."""

    num_classes: int = 2

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        return nn.Dense(self.num_classes)(jnp.mean(images, axis=(1, 2)))


def test_a_network_whose_head_cannot_be_replaced_is_refused():
    spec = registry.spec("efficientnet_nano")
    with pytest.raises(
        ValueError, match="columns need a backbone whose call takes features, offsets and head"
    ):
        with_columns(Foreign(), spec, 2)
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        with_columns(registry.create("efficientnet_nano", 2), spec, 0)
