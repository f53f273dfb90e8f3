"""Every family leaves as ONNX with JAX's answers, its normalisation folded away and its pools pools."""

from __future__ import annotations

from collections import Counter

import jax
import numpy as np
import pytest

from skinjax.labels.taxonomy import Taxonomy
from skinjax.models import registry
from skinjax.predict.export.decision import exported_network
from skinjax.predict.export.onnx_file import onnx_model
from skinjax.predict.load import Run
from skinjax.runs.networks import Network

onnxruntime = pytest.importorskip("onnxruntime")

SLOW = pytest.mark.slow
FAMILIES = [
    ("efficientnet_nano", 64),
    pytest.param("efficientnet_b0", 64, marks=SLOW),
    pytest.param("efficientnet_lite0", 64, marks=SLOW),
    pytest.param("inception_v3", 96, marks=SLOW),
    pytest.param("inception_v3_torch", 96, marks=SLOW),
    pytest.param("densenet121", 64, marks=SLOW),
    pytest.param("inception_resnet_v2", 96, marks=SLOW),
    pytest.param("xception", 72, marks=SLOW),
]


def random_run(name, size, classes=5):
    """A network of random numbers, statistics too."""
    tree = Taxonomy("flat", ("class",), tuple((f"c{number}",) for number in range(classes)))
    network = Network("sub", 0, name, "class", tree.classes(), size)
    rng = np.random.default_rng(0)

    def drawn(path, shape):
        kind = path[-1].key
        if kind in ("var", "scale"):
            return rng.uniform(0.8, 1.2, shape.shape).astype(np.float32)
        deviation = 0.1 if kind in ("mean", "bias") else np.sqrt(2 / np.prod(shape.shape[:-1]))
        return rng.normal(0, deviation, shape.shape).astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(drawn, registry.variable_shapes(network.model()))
    return Run(None, network.model(), variables, network.spec, tree, None, network)


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_a_family_answers_as_in_jax(name, size):
    run = random_run(name, size)
    exported = exported_network(run)
    model = onnx_model(exported)
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts["Slice"] == counts["Pad"] == counts["Expand"] == 0
    assert counts["Transpose"] == 1  # of the photos
    if not name.startswith("densenet"):  # whose normalisations stand before convolutions
        assert counts["BatchNormalization"] == 1  # of the pixels
    session = onnxruntime.InferenceSession(model.SerializeToString())
    photos = np.random.default_rng(1).integers(0, 256, (3, size, size, 3), np.uint8)
    expected = jax.device_get(jax.jit(exported.function)(photos))
    assert expected["logits"].std() > 1e-4
    tolerance = 1e-4 * max(1, np.abs(expected["logits"]).max())
    for count in (3, 1):
        found = dict(zip(exported.outputs, session.run(None, {"images": photos[:count]}), strict=True))
        np.testing.assert_allclose(found["logits"], expected["logits"][:count], atol=tolerance)
        probs = "probabilities_class"
        np.testing.assert_allclose(found[probs], expected[probs][:count], atol=1e-4)
        assert (found["logits"].argmax(1) == expected["logits"][:count].argmax(1)).all()
