"""Reading weight files: what was written comes back, whatever wrote it; what is damaged is told in one sentence."""

import importlib.util
import io
import os
import pickle
import random
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from skinjax.models import hub
from skinjax.models.stored_hdf5 import Hdf5
from skinjax.models.stored_pickle import read_pickle
from skinjax.models.stored_weights import StoredWeights, open_weights

_spec = importlib.util.spec_from_file_location("stored_files", Path(__file__).with_name("stored_files.py"))
files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(files)

RNG = np.random.default_rng(0)
WEIGHTS = {
    "conv.weight": RNG.normal(size=(4, 3, 2, 2)).astype(np.float32),
    "norm.running_mean": RNG.normal(size=4).astype(np.float32),
    "head.weight": RNG.normal(size=(5, 4)).astype(np.float32),
}
KERAS = {
    "conv2d_1": {"conv2d_1/kernel:0": np.ones((2, 2, 3, 4), np.float32)},
    "pool": {},
    "bn_1": {
        "bn_1/gamma:0": np.arange(4, dtype=np.float32),
        "bn_1/moving_variance:0": np.full(4, 2, np.float32),
    },
    "predictions": {"predictions/kernel:0": np.eye(4, 5, dtype=np.float32)},
}
KERAS3 = {
    "layers/conv2d": ("stem", [np.ones((3, 3, 3, 2), np.float32)]),
    "layers/conv2d_10": ("last", [np.full((2, 2), 10, np.float32), np.zeros(2, np.float32)]),
    "layers/conv2d_2": ("middle", [np.full((2, 2), 2, np.float32)]),
    "layers/activation": ("relu", []),
    "layers/seq/layers/dense": ("", [np.arange(6, dtype=np.float16).reshape(2, 3)]),
    "optimizer": ("adam", [np.array(3), np.ones((2, 2), np.float32)]),
}


def assert_holds(stored: StoredWeights, arrays: dict[str, np.ndarray]):
    assert stored.shapes == {name: array.shape for name, array in arrays.items()}
    values = stored.read(arrays)
    assert list(values) == list(arrays) or set(values) == set(arrays)
    for name, array in arrays.items():
        assert values[name].dtype == array.dtype, name
        assert values[name].dtype.isnative
        np.testing.assert_array_equal(values[name], array)


def attempt(path: Path) -> str | None:
    """Opens and reads a whole file; the sentence if it is refused. Nothing but a ValueError may come of it."""
    try:
        stored = open_weights(path)
        values = stored.read(stored.shapes)
    except ValueError as error:
        return str(error)
    assert {name: array.shape for name, array in values.items()} == stored.shapes
    return None


def refusal(path: Path) -> str:
    """The sentence that opening, or else reading, a file ends with, without the path."""
    sentence = attempt(path)
    assert sentence is not None
    assert sentence.startswith(f"{path} ")
    assert sentence.isprintable()
    return sentence.removeprefix(f"{path} ")


def bfloat16(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The upper halves of float32, and the float32 that they stand for."""
    halves = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return halves, (halves.astype(np.uint32) << 16).view(np.float32)


# PyTorch's files, written by hand.


def write_zip(path, content, **options):
    return files.write_torch_zip(path.with_suffix(".zip"), content, **options)


def write_pickle(path, content, **options):
    return files.write_torch_pickle(path.with_suffix(".pickle"), content, **options)


WRITERS = pytest.mark.parametrize("write", [write_zip, write_pickle])


@WRITERS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_type_of_number_comes_back(tmp_path, write, protocol):
    arrays = {
        kind: np.arange(-3, 3).reshape(2, 3).astype(kind)
        for kind in files.STORAGE_TYPES
        if kind != "bfloat16"
    }
    arrays |= {"scalar": np.array(7.5, np.float32), "empty": np.zeros((3, 0), np.float32)}
    content = {name: files.tensor(array) for name, array in arrays.items()}
    halves, arrays["brain"] = bfloat16(RNG.normal(size=(3, 5)))
    content["brain"] = files.tensor(halves, "bfloat16")
    stored = open_weights(write(tmp_path / "any", content, protocol=protocol))
    assert stored.kind == "torch"
    assert stored.note == ""
    assert_holds(stored, arrays)


@WRITERS
def test_views_share_a_storage(tmp_path, write):
    numbers = np.arange(24, dtype=np.float32)
    storage = files.Storage(numbers)
    content = {
        "whole": files.Tensor(storage, 0, (4, 6), (6, 1)),
        "transposed": files.Tensor(storage, 0, (6, 4), (1, 6)),
        "corner": files.Tensor(storage, 8, (2, 3), (6, 1)),
        "every second": files.Tensor(storage, 1, (12,), (2,)),
        "repeated": files.Tensor(storage, 5, (3, 2), (0, 1)),
        "one": files.Tensor(storage, 23, (), ()),
        "none": files.Tensor(storage, 24, (0,), (1,)),
    }
    whole = numbers.reshape(4, 6)
    expected = {
        "whole": whole,
        "transposed": whole.T,
        "corner": whole[1:3, 2:5],
        "every second": numbers[1::2],
        "repeated": np.tile(numbers[5:7], (3, 1)),
        "one": numbers[23],
        "none": numbers[:0],
    }
    stored = open_weights(write(tmp_path / "views", content))
    assert_holds(stored, expected)
    assert stored.read(["corner"]).keys() == {"corner"}
    with pytest.raises(KeyError):
        stored.read(["absent"])


@WRITERS
@pytest.mark.parametrize("how", ["_rebuild_tensor", "_rebuild_parameter", "Parameter"])
def test_parameters_and_tensors_of_old_versions(tmp_path, write, how):
    content = {name: files.tensor(array, how=how) for name, array in WEIGHTS.items()}
    assert_holds(open_weights(write(tmp_path / "old", content)), WEIGHTS)


def test_storages_of_a_gpu(tmp_path):
    array = np.arange(3, dtype=np.float32)
    content = {"x": files.Tensor(files.Storage(array, module="torch.cuda"), 0, (3,), (1,))}
    assert_holds(open_weights(write_pickle(tmp_path / "gpu", content)), {"x": array})


@WRITERS
def test_checkpoints_are_entered(tmp_path, write):
    tensors = {name: files.tensor(array) for name, array in WEIGHTS.items()}
    others = {name: files.tensor(array + 1) for name, array in WEIGHTS.items()}
    training = {
        "epoch": 3,
        "best_acc1": files.tensor(np.array(0.5)),
        "arch": "densenet121",
        "optimizer": {"state": {}},
    }
    for content, taken in (
        (training | {"state_dict": tensors}, "state_dict"),
        (training | {"model": tensors}, "model"),
        ({"state_dict": others, "state_dict_ema": tensors}, "state_dict_ema"),
        ({"model": others, "model_ema": tensors}, "model_ema"),
        ({"model": {"state_dict": tensors, "version": 1}}, "state_dict"),
    ):
        stored = open_weights(write(tmp_path / "checkpoint", content))
        assert_holds(stored, WEIGHTS)
        assert f"its entry {taken} was taken, of " in stored.note
    stored = open_weights(
        write(tmp_path / "beside", tensors | {"epoch": 1, "lr": 0.1, "name": "x", "none": None})
    )
    assert_holds(stored, WEIGHTS)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "_orig_mod.module."])
def test_a_prefix_that_all_names_have_is_left_off(tmp_path, prefix):
    content = {prefix + name: files.tensor(array) for name, array in WEIGHTS.items()}
    stored = open_weights(write_zip(tmp_path / "prefixed", content))
    assert_holds(stored, WEIGHTS)
    assert "prefix" in stored.note
    content["other.weight"] = files.tensor(np.ones(1, np.float32))
    kept = open_weights(write_zip(tmp_path / "prefixed", content))
    assert set(kept.shapes) == set(content)


def test_what_holds_no_state_dict(tmp_path):
    tensors = {name: files.tensor(array) for name, array in WEIGHTS.items()}
    path = write_zip(tmp_path / "x", {"epoch": 1, "net": tensors})
    assert refusal(path) == "holds no arrays where a state dict would have them: its entries are epoch, net"
    assert refusal(write_zip(tmp_path / "x", list(tensors.values()))) == "holds a list and no table of arrays"
    assert "its entries are none" in refusal(write_zip(tmp_path / "x", {}))
    numbered = {1: files.tensor(np.ones(1))}
    assert "whose name is not a text" in refusal(write_zip(tmp_path / "x", numbered))
    unprintable = {"a\nb": files.tensor(np.ones(1))}
    assert refusal(write_zip(tmp_path / "x", unprintable)).endswith(r"cannot be printed: a\nb")


def test_numbers_of_big_endian_machines(tmp_path):
    content = {name: files.tensor(array) for name, array in WEIGHTS.items()}
    assert_holds(open_weights(write_zip(tmp_path / "big", content, byteorder="big")), WEIGHTS)
    assert_holds(open_weights(write_zip(tmp_path / "unsaid", content, byteorder=None)), WEIGHTS)
    assert "its byte order is b'middle'" in refusal(write_zip(tmp_path / "odd", content, byteorder="middle"))
    assert "little-endian machine" in refusal(write_pickle(tmp_path / "big", content, little=False))
    assert "its version is 1002 and not 1001" in refusal(
        write_pickle(tmp_path / "new", content, version=1002)
    )


class Malicious:
    def __init__(self, path: Path):
        self.command = f"touch {path}"

    def __reduce__(self):
        return os.system, (self.command,)


@WRITERS
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_is_run(tmp_path, write, protocol):
    content = {"x": files.tensor(np.ones(2, np.float32)), "y": Malicious(tmp_path / "touched")}
    path = write(tmp_path / "malicious", content, protocol=protocol)
    assert refusal(path).startswith(
        f"is refused: it wants to run {os.system.__module__}.system, which no array needs"
    )
    assert not (tmp_path / "touched").exists()


def test_what_a_pickle_wants_is_named(tmp_path):
    texts = {
        b"ios\nsystem\n.": "os.system",  # named and called at once, as in protocol 0
        b"\x80\x02c__builtin__\neval\nX\x04\0\0\0quit\x85R.": "__builtin__.eval",
        b"\x80\x02cargparse\nNamespace\n)\x81.": "argparse.Namespace",
        b"\x80\x02ctorch.storage\n_load_from_bytes\n.": "torch.storage._load_from_bytes",
        b"\x80\x02ctorch\nload\n.": "torch.load",
        b"\x80\x02ccollections\nOrderedDict.fromkeys\n.": "collections.OrderedDict.fromkeys",
    }
    for text, name in texts.items():
        assert f"wants to run {name}, " in refusal(write_zip(tmp_path / "named", text))


def test_tensors_that_are_impossible(tmp_path):
    def opened(offset, shape, strides, size=None, numbers=6):
        storage = files.Storage(np.arange(numbers, dtype=np.float32), size=size)
        return refusal(write_zip(tmp_path / "x", {"x": files.Tensor(storage, offset, shape, strides)}))

    for shape, strides, offset in (
        ((7,), (1,), 0),
        ((6,), (1,), 1),
        ((2, 3), (4, 1), 0),
        ((1,), (1,), 6),
        ((2,), (1 << 62,), 0),
        ((1 << 62, 1 << 62), (1, 1), 0),
    ):
        assert "reaches beyond its 6 numbers" in opened(offset, shape, strides)
    for shape, strides, offset in (((-2,), (1,), 0), ((2,), (-1,), 3), ((2,), (1,), -1), ((2.0,), (1,), 0)):
        assert "are no sizes" in opened(offset, shape, strides)
    assert "are no sizes" in opened(0, (1,) * 40, (1,) * 40)
    assert "without a shape" in opened(0, (2, 3), (1,))
    assert "larger than the file" in opened(0, (1 << 40,), (0,))
    assert "of which the file has 24" in opened(0, (6,), (1,), size=7)
    assert "type or size that is not read" in opened(0, (1,), (1,), size=-1)


def test_pickles_that_want_endless_work_or_memory(tmp_path):
    twice = b"\x80\x02)" + b"q\0h\0\x86" * 60  # a pair of pairs of pairs: 2**60 leaves
    pairs = b"\x80\x02](" + b"K\x01K\x02\x86" * 1000 + b"eq\0"
    bombs = {
        "memo": b"\x80\x02}r\xff\xff\xff\xff.",
        "text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
        "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"}.",
        "number": b"\x80\x02\x8b" + struct.pack("<I", 1 << 20) + b"\x7f" * (1 << 20) + b".",
        "key": b"\x80\x02}" + twice[2:] + b"K\x01s.",
        "identity": twice + b"Q.",
        "no opcode": b"\x80\x02\xff.",
        "no stop": b"\x80\x02}",
        "nothing": b".",
        "unmarked": b"\x80\x02}u.",
        "itself": b"\x80\x02}q\0X\x05\0\0\0modelh\0s.",
        "lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "tables": pairs + b"ccollections\nOrderedDict\nh\0\x85R0" * 1000 + b".",
    }
    for name, bomb in bombs.items():
        path = write_zip(tmp_path / name.replace(" ", "_"), bomb)
        tracemalloc.start()
        refusal(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 30e6, name
    long = write_zip(tmp_path / "long", b"\x80\x02" + b"N" * (5 << 20) + b".")
    assert "more than any table of arrays" in refusal(long)


def test_pickles_agree_with_python():
    content = {
        "a": [1, -2, 2**40, 2.5, None, True, False],
        "b": ("x", ("y", "ü"), ()),
        "c": {"d": b"bytes"},
        5: "five",
    }
    for protocol in range(1, 6):
        text = pickle.dumps(content, protocol)
        if protocol > 2:  # before, bytes are made by calling a function
            assert read_pickle(io.BytesIO(text)).content == content
    del content["c"]
    assert read_pickle(io.BytesIO(pickle.dumps(content, 2) + b"rest")).content == content


def test_zip_archives_that_are_not_whole(tmp_path):
    content = {name: files.tensor(array) for name, array in WEIGHTS.items()}
    assert "its record x/data/1 is missing" in refusal(
        write_zip(tmp_path / "x", content, leave_out=("data/1",))
    )
    assert "neither PyTorch's data.pkl nor Keras's" in refusal(
        write_zip(tmp_path / "x", content, leave_out=("data.pkl",))
    )
    packed = write_zip(tmp_path / "x", content, compression=zipfile.ZIP_DEFLATED)
    assert "is compressed (deflate), which is not read" in refusal(packed)
    assert "several data.pkl" in refusal(write_zip(tmp_path / "x", content, add={"more/data.pkl": b"."}))
    assert "TorchScript" in refusal(write_zip(tmp_path / "x", content, add={"constants.pkl": b"."}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns while the test writes
        assert "two of its records have one name" in refusal(_with_two(write_zip(tmp_path / "x", content)))

    whole = write_zip(tmp_path / "x", content)
    for name, find, change in (
        ("encrypted", "PK\1\2", 8),
        ("is not where its table says", "PK\3\4", 30),
    ):
        raw = bytearray(whole.read_bytes())
        raw[raw.index(find.encode()) + change] ^= 1
        (tmp_path / "changed.pth").write_bytes(raw)
        assert name in refusal(tmp_path / "changed.pth")
    raw = bytearray(whole.read_bytes())
    raw[raw.index(WEIGHTS["head.weight"].tobytes()) + 3] ^= 1
    (tmp_path / "changed.pth").write_bytes(raw)
    stored = open_weights(tmp_path / "changed.pth")  # no number is read before it is wanted
    np.testing.assert_array_equal(stored.read(["conv.weight"])["conv.weight"], WEIGHTS["conv.weight"])
    with pytest.raises(ValueError, match=r"does not have the checksum that was written with it"):
        stored.read(["head.weight"])


def _with_two(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/byteorder", "big")
    return path


# Keras's files, written with h5py.


@pytest.mark.parametrize("options", [{}, {"model": True}, {"pieces": 3}, {"model": True, "pieces": 2}])
def test_keras_legacy(tmp_path, options):
    stored = open_weights(files.write_keras_legacy(tmp_path / "weights.h5", KERAS, **options))
    assert stored.kind == "keras_legacy"
    assert not stored.layer_names
    names = ["conv2d_1/kernel", "bn_1/gamma", "bn_1/moving_variance", "predictions/kernel"]
    assert list(stored.shapes) == names
    values = [value for weights in KERAS.values() for value in weights.values()]
    assert_holds(stored, dict(zip(names, values, strict=True)))


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
    assert_holds(open_weights(path), expected)
    again = files.write_keras_legacy(tmp_path / "twice.h5", KERAS, layer_names=["bn_1", "bn_1"])
    assert refusal(again) == "has two arrays that are called bn_1/gamma"
    absent = files.write_keras_legacy(tmp_path / "absent.h5", KERAS, layer_names=["bn_1", "bn_2"])
    assert "its bn_2 is missing" in refusal(absent)


def _write_keras3(path, layers=KERAS3, **options):
    files.write_keras3(path, layers, **options)
    return path


def test_keras3(tmp_path):
    expected = {
        "layers/conv2d/vars/0": KERAS3["layers/conv2d"][1][0],
        "layers/conv2d_2/vars/0": KERAS3["layers/conv2d_2"][1][0],
        "layers/conv2d_10/vars/0": KERAS3["layers/conv2d_10"][1][0],
        "layers/conv2d_10/vars/1": KERAS3["layers/conv2d_10"][1][1],
        "layers/seq/layers/dense/vars/0": KERAS3["layers/seq/layers/dense"][1][0],
    }
    names = ["stem", "middle", "last", "last"]
    for path in (
        _write_keras3(tmp_path / "x.weights.h5"),
        files.write_keras_archive(tmp_path / "x.keras", KERAS3),
    ):
        stored = open_weights(path)
        assert stored.kind == "keras3"
        assert list(stored.shapes) == list(expected)
        assert_holds(stored, expected)
        assert stored.layer_names == dict(zip(expected, names, strict=False))
    old = {
        name.replace("layers/", "_layer_checkpoint_dependencies/", 1): layer for name, layer in KERAS3.items()
    }
    assert_holds(open_weights(_write_keras3(tmp_path / "old.h5", old)), expected)


def test_hdf5_types_and_sizes(tmp_path):
    arrays = [
        np.arange(-3, 3).reshape(2, 3).astype(kind)
        for kind in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
    ]
    arrays += [array.astype(array.dtype.newbyteorder(">")) for array in arrays]
    arrays += [np.array(2.5, np.float32), np.zeros((2, 0), np.float32)]
    halves, brain = bfloat16(RNG.normal(size=(2, 3)))
    path = _write_keras3(tmp_path / "x.weights.h5", {"layers/any": ("any", [*arrays, halves.view("V2")])})
    expected = [array.astype(array.dtype.newbyteorder("=")) for array in arrays] + [brain]
    assert_holds(open_weights(path), {f"layers/any/vars/{n}": array for n, array in enumerate(expected)})
    # A thousand layers: indices of several levels, attributes that do not fit the first block.
    many = {f"layer_{n}_{'x' * 60}": {f"layer_{n}/kernel:0": np.full(1, n, np.float32)} for n in range(1500)}
    path = files.write_keras_legacy(tmp_path / "many.h5", many, pieces=5)
    stored = open_weights(path)
    values = stored.read(stored.shapes)
    assert [float(value[0]) for value in values.values()] == list(range(1500))
    with h5py.File(path) as file, path.open("rb") as raw:
        root = Hdf5(raw, 0, path.stat().st_size).root()
        assert set(root.children) == set(file)


def test_hdf5_that_is_refused(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(4, np.float32).tobytes())
    other = _write_keras3(tmp_path / "other.h5")

    def changed(change, **options):
        path = _write_keras3(tmp_path / "x.h5", {"layers/conv2d": KERAS3["layers/conv2d"]})
        with h5py.File(path, "a", **options) as file:
            change(file)
        return refusal(path)

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
    assert "layers/link is a link to elsewhere" in changed(soft) or "link is a link to elsewhere" in changed(
        soft
    )
    assert "is in two places" in changed(hard)
    assert "lies in another file" in changed(outside)
    assert "a way that Keras does not write" in changed(virtual)
    assert "in chunks, perhaps compressed" in changed(enormous)
    assert "does not fit its" in changed(unwritten)
    assert "is of a type that is not read" in changed(complicated)
    with h5py.File(tmp_path / "new.h5", "w", libver="latest") as file:
        file["layers/x/vars/0"] = np.ones(2)
    assert "newer layout" in refusal(tmp_path / "new.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["measurements"] = np.ones(2)
    assert "no weights where Keras stores them" in refusal(tmp_path / "foreign.h5")


# Safetensors; tests/test_pretrained.py has more.


def test_safetensors_by_content(tmp_path):
    halves, brain = bfloat16(WEIGHTS["head.weight"])
    arrays = {
        **WEIGHTS,
        "head.weight": halves,
        "count": np.array(3, np.int64),
        "empty": np.zeros((0, 2), np.float32),
    }
    path = files.write_safetensors(tmp_path / "blob", arrays, {"head.weight": "BF16", "count": "I64"})
    stored = open_weights(path)
    assert stored.kind == "safetensors"
    assert_holds(stored, arrays | {"head.weight": brain})


def test_safetensors_headers_that_do_not_fit(tmp_path):
    def opened(header, values=bytes(8)):
        path = tmp_path / "x.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header + values)
        return refusal(path)

    entry = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    assert "a key twice" in opened(f'{{"a":{entry},"a":{entry}}}'.encode())
    assert "begins at byte 0 of the values and not at 8" in opened(f'{{"a":{entry},"b":{entry}}}'.encode())
    assert "arrays want" in opened(f'{{"a":{entry}}}'.encode(), bytes(9))
    assert "not JSON" in opened(b"{" + b'"a":[' * 100_000)
    assert "of type F8_E5M2" in opened(f'{{"a":{entry}}}'.replace("F32", "F8_E5M2").encode())
    for wrong in ("[-2]", "[2.0]", "2", "[true,2]", "[1e3]", "[4611686018427387904,4]", "null"):
        assert "does not fit" in opened(f'{{"a":{entry}}}'.replace("[2]", wrong).encode())
    for wrong in ("[8,0]", "[0]", "[0,8,8]", "[-8,0]", "[0,9]", '["0",8]'):
        assert "does not fit" in opened(f'{{"a":{entry}}}'.replace("[0,8]", wrong).encode())
    assert "its entry for a does not fit" in opened(b'{"a":[]}')


# Whatever the format.


@pytest.fixture
def whole_files(tmp_path):
    content = {name: files.tensor(array) for name, array in WEIGHTS.items()}
    return {
        "zip": (write_zip(tmp_path / "a", {"state_dict": content}), 250),
        "pickle": (write_pickle(tmp_path / "b", content), 1000),
        "safetensors": (files.write_safetensors(tmp_path / "c", WEIGHTS), 500),
        "legacy": (files.write_keras_legacy(tmp_path / "d.h5", KERAS), 1000),
        "keras3": (_write_keras3(tmp_path / "e.h5"), 1000),
        "archive": (files.write_keras_archive(tmp_path / "f.keras", KERAS3), 250),
    }


@pytest.mark.parametrize("kind", ["zip", "pickle", "safetensors", "legacy", "keras3", "archive"])
def test_cut_and_changed_files_are_refused_or_read(tmp_path, whole_files, kind):
    path, repetitions = whole_files[kind]
    whole = path.read_bytes()
    damaged = tmp_path / "damaged"
    rng = random.Random(kind)
    for length in [*range(12), *(rng.randrange(len(whole)) for _ in range(100)), len(whole) - 1]:
        damaged.write_bytes(whole[:length])
        refusal(damaged)
    # Changes hit the structures more often than the zeros between them.
    places = [place for place, byte in enumerate(whole) if byte]
    refused = 0
    for _ in range(repetitions):
        content = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 4])):
            content[rng.choice(places)] = rng.choice([0, 255, rng.randrange(256), rng.choice(whole)])
        damaged.write_bytes(content)
        sentence = attempt(damaged)
        if sentence is not None:
            assert sentence.startswith(f"{damaged} ")
            assert sentence.isprintable()
            refused += 1
    assert refused > repetitions // 10


def test_what_is_no_weight_file(tmp_path):
    contents = {
        "empty": b"",
        "text": b"These are not the weights that you are looking for.\n" * 20,
        "json": b'{"weights": []}',
        "brace": b"weights {\n" * 100,
        "zeros": bytes(1000),
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "pickle": pickle.dumps({"a": 1}),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert refusal(tmp_path / name).startswith(
            "is of a format that is not read; pretrained weights want an Orbax"
        )
    (tmp_path / "x.pth").write_bytes(b"<html>Sign in</html>")
    assert refusal(tmp_path / "x.pth") == (
        "is not a whole PyTorch file: its 20 bytes begin with the bytes 3c 68 74 6d 6c 3e 53 69, "
        "of which no such file is made"
    )
    (tmp_path / "x.h5").write_bytes(b"")
    assert refusal(tmp_path / "x.h5") == "is not a whole Keras file: its 0 bytes begin with nothing"
    (tmp_path / "tar.pth").write_bytes(b"tensors".ljust(257, b"\0") + b"ustar" + bytes(250))
    assert "PyTorch before 0.1.10" in refusal(tmp_path / "tar.pth")
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w") as archive:
        archive.writestr("a.npy", b"")
    assert "is a zip archive with neither" in refusal(tmp_path / "arrays.npz")
    assert refusal(tmp_path / "absent").startswith("does not exist; pretrained weights want")
    (tmp_path / "folder.pth").mkdir()
    assert refusal(tmp_path / "folder.pth").startswith("is not an Orbax checkpoint folder")
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in refusal(tmp_path / "pipe")


def test_damaged_orbax_folders(tmp_path):
    import jax.numpy as jnp
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "run", {"params": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}})
    stored = open_weights(tmp_path / "run")
    assert_holds(
        stored, {"params/bias": np.zeros(3, np.float32), "params/kernel": np.ones((2, 3), np.float32)}
    )
    metadata = tmp_path / "run" / "_METADATA"
    whole = metadata.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"[]", whole.replace(b"tree_metadata", b"tree")):
        metadata.write_bytes(content)
        refusal(tmp_path / "run")
    metadata.write_bytes(whole)
    for file in sorted((tmp_path / "run").rglob("*")):
        if file.is_file() and file != metadata:
            file.write_bytes(file.read_bytes()[:7])
    refusal(tmp_path / "run")


def test_a_file_that_changes_after_it_was_opened(tmp_path, whole_files):
    for path, _ in whole_files.values():
        stored = open_weights(path)
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(ValueError, match="is not a whole"):
            stored.read(stored.shapes)
        path.unlink()
        with pytest.raises(ValueError, match="is not a whole"):
            stored.read(stored.shapes)


# Files that the libraries themselves write, where they are installed.

PEERS = "is not installed: pip install 'skinjax[peers]'"


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch(tmp_path, zipped):
    torch = pytest.importorskip("torch", reason=f"PyTorch {PEERS}")
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 8, generator=generator)
    state = {
        "view": base[1:3, 2:7],
        "transposed": base.T,
        "double": base.double(),
        "half": base.half(),
        "brain": base.bfloat16(),
        "count": torch.tensor(7),
        "mask": base > 0,
        "bytes": torch.arange(5, dtype=torch.uint8),
        "expanded": torch.ones(1).expand(4),
        "empty": torch.zeros(0, 3),
        "channels_last": torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(base * 2),
    }
    expected = {name: tensor.detach() for name, tensor in state.items()}
    expected = {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        for name, tensor in expected.items()
    }
    path = tmp_path / "x.pth"
    torch.save(
        {"state_dict": state, "epoch": 3, "size": torch.Size([2])},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    assert_holds(open_weights(path), expected)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert_holds(open_weights(path), {name: tensor.numpy() for name, tensor in module.state_dict().items()})
    torch.save(module, path, _use_new_zipfile_serialization=zipped)
    assert "wants to run torch.nn.modules.container.Sequential" in refusal(path)


def test_files_of_safetensors(tmp_path):
    save_file = pytest.importorskip("safetensors.numpy", reason=f"safetensors {PEERS}").save_file
    arrays = WEIGHTS | {"count": np.array(3, np.int64), "half": np.ones((2, 2), np.float16)}
    save_file(arrays, tmp_path / "x", metadata={"format": "pt"})
    stored = open_weights(tmp_path / "x")
    assert_holds(stored, {name: arrays[name] for name in stored.shapes})


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
    model.fit(RNG.normal(size=(4, 8, 8, 3)), np.zeros((4, 2)), verbose=0)

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


# Names on the Hub.

NO_HUB = "huggingface_hub is not installed: pip install 'skinjax[hub]'"


def cached_repository(cache: Path, repository: str, contents: dict[str, bytes], ref: str = "main") -> Path:
    """A cache as huggingface_hub lays it out: names of branches, contents by hash, links to them."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (folder / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / ref).write_text(commit)
    snapshot = folder / "snapshots" / commit
    for number, (name, content) in enumerate(contents.items()):
        blob = folder / "blobs" / f"{number:040x}"
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(os.path.relpath(blob, (snapshot / name).parent))
    return snapshot


@pytest.fixture(params=["offline", "network down"])
def cache(request, tmp_path, monkeypatch):
    library = pytest.importorskip("huggingface_hub", reason=NO_HUB)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    if request.param == "offline":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    else:

        def fail(*_, **__):
            raise ConnectionError("no route\nto host")

        monkeypatch.setattr(library.HfApi, "list_repo_files", fail)
        monkeypatch.setattr(library, "hf_hub_download", fail)
    return tmp_path


def test_cached_files_of_the_hub(cache):
    everything = {
        "model.safetensors": b"s",
        "pytorch_model.bin": b"b",
        "x.weights.h5": b"h",
        "config.json": b"{}",
    }
    for dropped, picked in enumerate(list(everything)[:3]):
        held = dict(list(everything.items())[dropped:])
        snapshot = cached_repository(cache, f"org/repo{dropped}", held)
        found = hub.fetch(f"hf:org/repo{dropped}")
        assert found == snapshot / picked
        assert found.read_bytes() == everything[picked]
    snapshot = cached_repository(cache, "org/nested", {"deep/er.pth": b"p", "tf_model.h5": b"t"}, ref="v1")
    assert hub.fetch("hf:org/nested@v1:deep/er.pth") == snapshot / "deep" / "er.pth"
    assert hub.fetch(f"hf:org/nested@{snapshot.name}") == snapshot / "tf_model.h5"
    path = files.write_safetensors(cache / "weights", WEIGHTS)
    cached_repository(cache, "timm/nano", {"model.safetensors": path.read_bytes()})
    assert_holds(open_weights(hub.fetch("hf:timm/nano")), WEIGHTS)


def test_what_the_cache_does_not_have(cache):
    cached_repository(cache, "org/repo", {"README.md": b"", "a.weights.h5": b"", "b.weights.h5": b""})
    cached_repository(cache, "org/none", {"README.md": b""})
    for name, sentence in {
        "hf:org/absent": "is not in the local cache, and the Hub could not be asked",
        "hf:org/none": "is not in the local cache, and the Hub could not be asked",
        "hf:org/repo@other": "is not in the local cache, and the Hub could not be asked",
        "hf:org/repo:absent.h5": "is not in the local cache, and the Hub could not be asked",
        "hf:org/repo": "has several weight files (a.weights.h5, b.weights.h5): add :<file> to the name",
    }.items():
        with pytest.raises(ValueError, match=f"^{name} (is not in|has several)") as error:
            hub.fetch(name)
        assert str(error.value).startswith(f"{name} {sentence}")
        assert str(error.value).isprintable()


def test_files_of_the_hub_are_asked_for_by_name(monkeypatch, tmp_path):
    library = pytest.importorskip("huggingface_hub", reason=NO_HUB)
    asked = []

    def listed(_, repository, revision):
        asked.append((repository, revision))
        return ["README.md", "sub/model.safetensors", "pytorch_model.bin"]

    def downloaded(repository, file, revision):
        asked.append((repository, file, revision))
        return str(tmp_path / file)

    monkeypatch.setattr(library.HfApi, "list_repo_files", listed)
    monkeypatch.setattr(library, "hf_hub_download", downloaded)
    assert hub.fetch("hf:timm/densenet121.ra_in1k@refs/pr/2") == tmp_path / "pytorch_model.bin"
    assert (
        hub.fetch("hf:timm/densenet121.ra_in1k:sub/model.safetensors")
        == tmp_path / "sub" / "model.safetensors"
    )
    repository = "timm/densenet121.ra_in1k"
    assert asked == [
        (repository, "refs/pr/2"),
        (repository, "pytorch_model.bin", "refs/pr/2"),
        (repository, "sub/model.safetensors", None),
    ]
    monkeypatch.setattr(library.HfApi, "list_repo_files", lambda *_, **__: ["README.md"])
    with pytest.raises(
        ValueError, match=r"^hf:a/b has none of model\.safetensors, .*: add :<file> to the name$"
    ):
        hub.fetch("hf:a/b")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(
        ValueError, match=r'^hf:a/b needs the library huggingface_hub: pip install "skinjax\[hub\]"$'
    ):
        hub.fetch("hf:a/b")


NO_NAMES = """a/b hf:a hf:a/b/c hf:a/b@ hf:a/b: hf:a/b:../x hf:a/b:x/../../y hf:a/b:/x hf:/b hf:../b
    hf:a/b@../x hf:a/b:x//y hf:a/b:x\\y hf:a/b@r:s:t hf:.a/b hf:"""


@pytest.mark.parametrize("name", NO_NAMES.split())
def test_names_that_are_none(name):
    with pytest.raises(ValueError, match="is no name on the Hub, which is hf:<organization>"):
        hub.fetch(name)
