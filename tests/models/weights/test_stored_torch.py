"""PyTorch's files: what was written comes back, and nothing in a pickle is run."""

import argparse
import io
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from skinjax.models.weights.formats import open_weights
from skinjax.models.weights.pickles import read_pickle
from tests.support import stored_files as files


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
    halves, arrays["brain"] = files.bfloat16(np.random.default_rng(0).normal(size=(3, 5)))
    content["brain"] = files.tensor(halves, "bfloat16")
    stored = open_weights(write(tmp_path / "any", content, protocol=protocol))
    assert stored.kind == "torch"
    assert stored.note == ""
    files.assert_holds(stored, arrays)


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
    files.assert_holds(stored, expected)
    assert stored.read(["corner"]).keys() == {"corner"}
    with pytest.raises(KeyError):
        stored.read(["absent"])


@WRITERS
@pytest.mark.parametrize("how", ["_rebuild_tensor", "_rebuild_parameter", "Parameter"])
def test_parameters_and_tensors_of_old_versions(tmp_path, write, how):
    content = {name: files.tensor(array, how=how) for name, array in files.WEIGHTS.items()}
    files.assert_holds(open_weights(write(tmp_path / "old", content)), files.WEIGHTS)


def test_storages_of_a_gpu(tmp_path):
    array = np.arange(3, dtype=np.float32)
    content = {"x": files.Tensor(files.Storage(array, module="torch.cuda"), 0, (3,), (1,))}
    files.assert_holds(open_weights(write_pickle(tmp_path / "gpu", content)), {"x": array})


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "net.", "_orig_mod.module."])
def test_a_prefix_that_all_names_have_is_left_off(tmp_path, prefix):
    content = {prefix + name: files.tensor(array) for name, array in files.WEIGHTS.items()}
    stored = open_weights(write_zip(tmp_path / "prefixed", content))
    files.assert_holds(stored, files.WEIGHTS)
    assert "prefix" in stored.note
    content["n_averaged"] = files.tensor(np.array(3))  # which PyTorch's AveragedModel adds
    averaged = open_weights(write_zip(tmp_path / "prefixed", content))
    files.assert_holds(averaged, files.WEIGHTS | {"n_averaged": np.array(3)})
    content["other.weight"] = files.tensor(np.ones(1, np.float32))
    kept = open_weights(write_zip(tmp_path / "prefixed", content))
    assert set(kept.shapes) == set(content)


def test_what_holds_no_state_dict(tmp_path):
    tensors = {name: files.tensor(array) for name, array in files.WEIGHTS.items()}
    path = write_zip(tmp_path / "x", {"a": {"x": {"y": {"z": tensors}}}, "b": {"lr": 0.1}})
    assert files.refusal(path) == "holds no arrays where a state dict would have them: its entries are a, b"
    assert (
        files.refusal(write_zip(tmp_path / "x", list(tensors.values())))
        == "holds a list and no table of arrays"
    )
    assert "its entries are none" in files.refusal(write_zip(tmp_path / "x", {}))
    numbered = {1: files.tensor(np.ones(1))}
    assert "whose name is not a text" in files.refusal(write_zip(tmp_path / "x", numbered))
    unprintable = {"a\nb": files.tensor(np.ones(1))}
    assert files.refusal(write_zip(tmp_path / "x", unprintable)).endswith(r"cannot be printed: a\nb")


def test_numbers_of_big_endian_machines(tmp_path):
    content = {name: files.tensor(array) for name, array in files.WEIGHTS.items()}
    files.assert_holds(open_weights(write_zip(tmp_path / "big", content, byteorder="big")), files.WEIGHTS)
    files.assert_holds(open_weights(write_zip(tmp_path / "unsaid", content, byteorder=None)), files.WEIGHTS)
    assert "its byte order is b'middle'" in files.refusal(
        write_zip(tmp_path / "odd", content, byteorder="middle")
    )
    assert "little-endian machine" in files.refusal(write_pickle(tmp_path / "big", content, little=False))
    assert "its version is 1002 and not 1001" in files.refusal(
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
    assert files.refusal(path).startswith(
        f"is refused: it would run {os.system.__module__}.system, which no array needs"
    )
    assert not (tmp_path / "touched").exists()


def test_what_a_pickle_wants_is_named(tmp_path):
    texts = {
        b"ios\nsystem\n.": "os.system",  # named and called at once, as in protocol 0
        b"\x80\x02c__builtin__\neval\nX\x04\0\0\0quit\x85R.": "__builtin__.eval",
        b"\x80\x02csubprocess\nPopen\n)\x81.": "subprocess.Popen",
        b"\x80\x02cpathlib\nos.system\n.": "pathlib.os.system",
        b"\x80\x02ctorch.storage\n_load_from_bytes\n.": "torch.storage._load_from_bytes",
        b"\x80\x02ctorch\nload\n.": "torch.load",
        b"\x80\x02ccollections\nOrderedDict.fromkeys\n.": "collections.OrderedDict.fromkeys",
    }
    for text, name in texts.items():
        assert f"would run {name}, " in files.refusal(write_zip(tmp_path / "named", text))


def test_tensors_that_are_impossible(tmp_path):
    def opened(offset, shape, strides, size=None, numbers=6):
        storage = files.Storage(np.arange(numbers, dtype=np.float32), size=size)
        return files.refusal(write_zip(tmp_path / "x", {"x": files.Tensor(storage, offset, shape, strides)}))

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
    assert "of a type, name or size that is not read" in opened(0, (1,), (1,), size=-1)


def test_pickles_that_want_endless_work_or_memory(tmp_path):
    twice = b"\x80\x02)" + b"q\0h\0\x86" * 60  # a pair of pairs of pairs: 2**60 leaves
    pairs = b"\x80\x02](" + b"K\x01K\x02\x86" * 1000 + b"eq\0"
    modulus = (1 << 61) - 1  # of which all multiples have the hash 0
    multiples = b"".join(b"\x8a\x0b" + (n * modulus).to_bytes(11, "little") + b"N" for n in range(50_000))
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
        "tables": pairs + b"ccollections\nOrderedDict\nq\1h\0\x85R" + b"h\1h\0\x85R" * 1000 + b".",
        "hashes": b"\x80\x02}(" + multiples + b"u.",
    }
    for name, bomb in bombs.items():
        path = write_zip(tmp_path / name.replace(" ", "_"), bomb)
        tracemalloc.start()
        files.refusal(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 30e6, name
    long = write_zip(tmp_path / "long", b"\x80\x02" + b"N" * (5 << 20) + b".")
    assert "more than any table of arrays" in files.refusal(long)


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
    file = io.BytesIO(pickle.dumps(content, 2) + b"rest")
    assert read_pickle(file).content == content
    assert file.read() == b"rest"
    python2 = (
        b"\x80\x02}q\x01U\x05epochq\x02U\x02\xff\xfes."  # where a number of numpy's is a string of bytes
    )
    assert read_pickle(io.BytesIO(python2)).content == {"epoch": "ÿþ"}


def test_zip_archives_that_are_not_whole(tmp_path):
    content = {name: files.tensor(array) for name, array in files.WEIGHTS.items()}
    assert "its record x/data/1 is missing" in files.refusal(
        write_zip(tmp_path / "x", content, leave_out=("data/1",))
    )
    assert "neither PyTorch's data.pkl nor Keras's" in files.refusal(
        write_zip(tmp_path / "x", content, leave_out=("data.pkl",))
    )
    packed = write_zip(tmp_path / "x", content, compression=zipfile.ZIP_DEFLATED)
    assert "is compressed (deflate), which is not read" in files.refusal(packed)
    assert "several data.pkl" in files.refusal(
        write_zip(tmp_path / "x", content, add={"more/data.pkl": b"."})
    )
    assert "TorchScript" in files.refusal(write_zip(tmp_path / "x", content, add={"constants.pkl": b"."}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns while the test writes
        assert "it has two records of one name" in files.refusal(
            _with_two(write_zip(tmp_path / "x", content))
        )

    whole = write_zip(tmp_path / "x", content)
    for name, find, change in (
        ("encrypted", "PK\1\2", 8),
        ("its record x/data.pkl is damaged", "PK\3\4", 30),
    ):
        raw = bytearray(whole.read_bytes())
        raw[raw.index(find.encode()) + change] ^= 1
        (tmp_path / "changed.pth").write_bytes(raw)
        assert name in files.refusal(tmp_path / "changed.pth")
    raw = bytearray(whole.read_bytes())
    raw[raw.index(files.WEIGHTS["head.weight"].tobytes()) + 3] ^= 1
    (tmp_path / "changed.pth").write_bytes(raw)
    stored = open_weights(tmp_path / "changed.pth")  # no number is read before it is wanted
    np.testing.assert_array_equal(stored.read(["conv.weight"])["conv.weight"], files.WEIGHTS["conv.weight"])
    with pytest.raises(ValueError, match=r"its record x/data/2 is damaged"):
        stored.read(["head.weight"])


def _with_two(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/byteorder", "big")
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch(tmp_path, zipped):
    torch = pytest.importorskip("torch", reason=f"PyTorch {files.PEERS}")
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
    beside = {
        "epoch": 3,
        "size": torch.Size([2]),
        "args": argparse.Namespace(lr=0.1, milestones=[3, 5]),
        "best": np.float64(0.5),
    }
    torch.save(
        beside | {"state_dict": state},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    files.assert_holds(open_weights(path), expected)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=zipped)
    files.assert_holds(
        open_weights(path), {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    )
    torch.save(module, path, _use_new_zipfile_serialization=zipped)
    assert "would run torch.nn.modules.container.Sequential" in files.refusal(path)
