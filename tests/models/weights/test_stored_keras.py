"""Keras's files: what h5py and Keras write comes back, and no link out of a file is followed."""

import struct
import time

import h5py
import numpy as np
import pytest

from skinjax.models.weights.formats import open_weights
from skinjax.models.weights.hdf5_files import Hdf5
from tests.support import stored_files as files


@pytest.mark.parametrize("options", [{}, {"model": True}, {"pieces": 3}, {"model": True, "pieces": 2}])
def test_keras_legacy(tmp_path, options):
    stored = open_weights(files.write_keras_legacy(tmp_path / "weights.h5", files.KERAS, **options))
    assert stored.kind == "keras_legacy"
    assert not stored.layer_names
    names = ["conv2d_1/kernel", "bn_1/gamma", "bn_1/moving_variance", "predictions/kernel"]
    assert list(stored.shapes) == names
    values = [value for weights in files.KERAS.values() for value in weights.values()]
    files.assert_holds(stored, dict(zip(names, values, strict=True)))


def test_keras_legacy_models_as_layers(tmp_path):
    one, two = np.ones((2, 2), np.float32), np.zeros((3,), np.float32)
    layers = {
        "densenet": {"conv1/conv/kernel:0": one, "densenet/conv2/kernel:0": one + 1, "conv1/bn/gamma:0": two},
        "dense": {"outer/dense/kernel": one, "outer/dense/bias": two},
        "top_level_model_weights": {"outer/scale": two},
    }
    names = [name for name in layers if name != "top_level_model_weights"]
    path = files.write_keras_legacy(tmp_path / "nested.h5", layers, layer_names=names)
    expected = {
        "densenet/conv1/conv/kernel": one,
        "densenet/conv2/kernel": one + 1,
        "densenet/conv1/bn/gamma": two,
        "dense/kernel": one,
        "dense/bias": two,
        "top_level_model_weights/scale": two,
    }
    files.assert_holds(open_weights(path), expected)
    again = files.write_keras_legacy(tmp_path / "twice.h5", files.KERAS, layer_names=["bn_1", "bn_1"])
    assert files.refusal(again) == "has two arrays that are called bn_1/gamma"
    absent = files.write_keras_legacy(tmp_path / "absent.h5", files.KERAS, layer_names=["bn_1", "bn_2"])
    assert "its bn_2 is missing" in files.refusal(absent)


def test_keras3(tmp_path):
    expected = {
        "layers/conv2d/vars/0": files.KERAS3["layers/conv2d"][1][0],
        "layers/conv2d_2/vars/0": files.KERAS3["layers/conv2d_2"][1][0],
        "layers/conv2d_10/vars/0": files.KERAS3["layers/conv2d_10"][1][0],
        "layers/conv2d_10/vars/1": files.KERAS3["layers/conv2d_10"][1][1],
        "layers/seq/layers/dense/vars/0": files.KERAS3["layers/seq/layers/dense"][1][0],
    }
    names = ["stem", "middle", "last", "last"]
    for path in (
        files.write_keras3(tmp_path / "x.weights.h5"),
        files.write_keras_archive(tmp_path / "x.keras"),
    ):
        stored = open_weights(path)
        assert stored.kind == "keras3"
        assert list(stored.shapes) == list(expected)
        files.assert_holds(stored, expected)
        assert stored.layer_names == dict(zip(expected, names, strict=False))
    old = {
        name.replace("layers/", "_layer_checkpoint_dependencies/", 1): layer
        for name, layer in files.KERAS3.items()
    }
    files.assert_holds(open_weights(files.write_keras3(tmp_path / "old.h5", old)), expected)


def test_hdf5_types_and_sizes(tmp_path):
    arrays = [
        np.arange(-3, 3).reshape(2, 3).astype(kind)
        for kind in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
    ]
    arrays += [array.astype(array.dtype.newbyteorder(">")) for array in arrays]
    arrays += [np.array(2.5, np.float32), np.zeros((2, 0), np.float32)]
    halves, brain = files.bfloat16(np.random.default_rng(0).normal(size=(2, 3)))
    path = files.write_keras3(
        tmp_path / "x.weights.h5", {"layers/any": ("any", [*arrays, halves.view("V2")])}
    )
    expected = [array.astype(array.dtype.newbyteorder("=")) for array in arrays] + [brain]
    files.assert_holds(
        open_weights(path), {f"layers/any/vars/{n}": array for n, array in enumerate(expected)}
    )
    # A thousand layers: indices of several levels, attributes that do not fit the first block.
    many = {f"layer_{n}_{'x' * 60}": {f"layer_{n}/kernel:0": np.full(1, n, np.float32)} for n in range(1500)}
    path = files.write_keras_legacy(tmp_path / "many.h5", many, pieces=5)
    stored = open_weights(path)
    values = stored.read(stored.shapes)
    assert [float(value[0]) for value in values.values()] == list(range(1500))
    with h5py.File(path) as file, path.open("rb") as raw:
        root = Hdf5(raw).root()
        assert set(root.children) == set(file)


def test_hdf5_that_is_refused(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(4, np.float32).tobytes())
    other = files.write_keras3(tmp_path / "other.h5")

    def changed(change, **options):
        path = files.write_keras3(tmp_path / "x.h5", {"layers/conv2d": files.KERAS3["layers/conv2d"]})
        with h5py.File(path, "a", **options) as file:
            change(file)
        return files.refusal(path)

    def external(file):
        file["layers/link"] = h5py.ExternalLink(str(other), "/layers/conv2d")

    def soft(file):
        file["layers/link"] = h5py.SoftLink("/layers/conv2d")

    def hard(file):
        file["layers/again"] = file["layers"]

    def outside(file):
        file.create_dataset("layers/x/vars/0", (4,), "f4", external=[(str(secret), 0, 16)])

    def virtual(file):
        layout = h5py.VirtualLayout((2,), "f4")
        layout[:] = h5py.VirtualSource(str(other), "layers/conv2d/vars/0", (2,))
        file.create_virtual_dataset("layers/x/vars/0", layout)

    def enormous(file):
        file.create_dataset("layers/x/vars/0", (1 << 40,), "f4", chunks=(1 << 10,), compression="gzip")

    def unwritten(file):
        file.create_dataset("layers/x/vars/0", (1 << 40,), "f4")

    def complicated(file):
        file["layers/x/vars/0"] = np.ones(3, np.complex64)

    assert "newer layout" in changed(external)
    assert "its link is a link to elsewhere, which is not followed" in changed(soft)
    assert "is in two places" in changed(hard)
    assert "lies in another file" in changed(outside)
    assert "a way that Keras does not write" in changed(virtual)
    assert "in chunks, perhaps compressed" in changed(enormous)
    assert "does not fit its" in changed(unwritten)
    assert "is of a type that is not read" in changed(complicated)
    with h5py.File(tmp_path / "new.h5", "w", libver="latest") as file:
        file["layers/x/vars/0"] = np.ones(2)
    assert "newer layout" in files.refusal(tmp_path / "new.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["measurements"] = np.ones(2)
    assert "no weights where Keras stores them" in files.refusal(tmp_path / "foreign.h5")


def test_hdf5_that_is_made_to_take_for_ever(tmp_path):
    """Structures that lead back to others: a library that follows them is busy for ever, or takes any memory."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name in "abcdefgh":
            file.create_group(name)
    whole = (tmp_path / "x.h5").read_bytes()
    end, tree, heap, table = (len(whole), *map(whole.index, (b"TREE", b"HEAP", b"SNOD")))

    def opened(*changes, behind=b""):
        content = bytearray(whole + behind)
        for place, values in ((40, [len(content)]), *changes):
            struct.pack_into(f"<{len(values)}Q", content, place, *values)
        (tmp_path / "made.h5").write_bytes(content)
        started = time.perf_counter()
        sentence = files.refusal(tmp_path / "made.h5")
        assert time.perf_counter() - started < 5
        return sentence

    # Forty levels of an index, each of whose nodes names the next one eight times: 8 ** 40 nodes.
    nodes, below = b"", tree
    for level in range(1, 40):
        node = struct.pack("<4sBBHQQ", b"TREE", 0, level, 8, 2**64 - 1, 2**64 - 1)
        nodes += node + struct.pack("<QQ", 0, below) * 8 + bytes(8)
        below = end + len(nodes) - 160
    root = int.from_bytes(whole[64:72], "little")  # its header begins with 16 bytes and 8 of a message
    assert struct.unpack_from("<QQ", whole, root + 24) == (tree, heap)
    assert "is in two places" in opened((root + 24, [below]), behind=nodes)
    # A header of 60,000 messages, each of which continues it by the same 2,000 bytes.
    header = struct.pack("<BxHII4x", 1, 60_000, 1, 24 * 60_000)
    continuation = struct.pack("<HHB3xQQ", 16, 16, 0, 0, 2000)
    assert "is in two places" in opened((64, [end]), behind=header + continuation * 60_000)
    # Names that are the ends of one text.
    names = [(table + 8 + 40 * n, [n + 1]) for n in range(8)]
    assert "a name without an end" in opened(
        (heap + 8, [8 << 20, 1, end]), *names, behind=b"a" * (8 << 20) + bytes(8)
    )


@pytest.mark.filterwarnings("ignore")
def test_files_of_keras(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras", reason="Keras is not installed: pip install keras")
    layers = keras.layers
    inner = keras.Sequential(
        [layers.Input((8, 8, 4)), layers.Conv2D(4, 3, name="c1"), layers.Conv2D(4, 3, name="c2")]
    )
    names = [f"conv_{n}" for n in range(12)]
    stages = [layers.Conv2D(4, 1, name=name) for name in names]
    outside = [layers.BatchNormalization(name="norm"), inner, layers.GlobalAveragePooling2D()]
    model = keras.Sequential([layers.Input((8, 8, 3)), *stages, *outside, layers.Dense(2, name="head")])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)

    model.save_weights(tmp_path / "x.weights.h5")
    model.save(tmp_path / "x.keras")
    model.save(tmp_path / "x.h5")
    for suffix in (".weights.h5", ".keras"):
        stored = open_weights(tmp_path / f"x{suffix}")
        values = stored.read(stored.shapes)
        assert sorted(stored.shapes.values()) == sorted(tuple(weight.shape) for weight in model.weights)
        containers = {"conv": "conv2d", "norm": "batch_normalization", "head": "dense"}
        for layer in [*stages, model.get_layer("norm"), model.get_layer("head")]:
            kind, _, number = layer.name.partition("_")
            container = containers[kind] + (f"_{number}" if number not in ("", "0") else "")
            for index, weight in enumerate(layer.weights):
                name = f"layers/{container}/vars/{index}"
                assert stored.layer_names[name] == layer.name
                np.testing.assert_array_equal(values[name], np.asarray(weight))
        convolutions = [name for name in stored.shapes if "/conv2d" in name and "sequential" not in name]
        assert [stored.layer_names[name] for name in convolutions[::2]] == names
    stored = open_weights(tmp_path / "x.h5")
    values = stored.read(stored.shapes)
    assert [name for name in stored.shapes if name.endswith("/kernel")][:12] == [
        f"{name}/kernel" for name in names
    ]
    np.testing.assert_array_equal(values["norm/moving_mean"], np.asarray(model.get_layer("norm").moving_mean))
    np.testing.assert_array_equal(values[f"{inner.name}/c2/kernel"], np.asarray(inner.layers[1].kernel))
    assert not any("adam" in name for name in stored.shapes)
