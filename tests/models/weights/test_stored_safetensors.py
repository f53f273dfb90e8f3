"""Safetensors files: what was written comes back, and a header that does not fit is refused."""

import numpy as np
from safetensors.numpy import save_file

from skinjax.models.weights.formats import open_weights
from tests.support import stored_files as files


def test_safetensors_by_content(tmp_path):
    halves, brain = files.bfloat16(files.WEIGHTS["head.weight"])
    arrays = {
        **files.WEIGHTS,
        "head.weight": halves,
        "count": np.array(3, np.int64),
        "empty": np.zeros((0, 2), np.float32),
    }
    path = files.write_safetensors(tmp_path / "blob", arrays, {"head.weight": "BF16", "count": "I64"})
    stored = open_weights(path)
    assert stored.kind == "safetensors"
    files.assert_holds(stored, arrays | {"head.weight": brain})


def test_a_prefix_that_all_names_have_is_left_off(tmp_path):
    prefixed = {f"module.model.{name}": array for name, array in files.WEIGHTS.items()}
    stored = open_weights(files.write_safetensors(tmp_path / "x", prefixed))
    files.assert_holds(stored, files.WEIGHTS)
    assert stored.note == "the prefix module.model. of all names was left off"


def test_safetensors_headers_that_do_not_fit(tmp_path):
    def opened(header, values=bytes(8)):
        path = tmp_path / "x.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header + values)
        return files.refusal(path)

    entry = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    # Which of two arrays in one place is named depends on the library's order.
    assert "invalid offset for tensor `" in opened(f'{{"a":{entry},"b":{entry}}}'.encode())
    assert "its header is damaged" in opened(
        f'{{"a":{entry},"a":{entry.replace("[0,8]", "[8,16]")}}}'.encode()
    )
    assert "file not fully covered" in opened(f'{{"a":{entry}}}'.encode(), bytes(9))
    assert "its header is damaged" in opened(b"{" + b'"a":[' * 100_000)
    other = entry.replace("F32", "F8_E5M2").replace("[2]", "[8]")
    assert "its array a is of type F8_E5M2, which is not read" in opened(f'{{"a":{other}}}'.encode())
    for wrong in ("[-2]", "[2.0]", "2", "[true,2]", "[1e3]", "[4611686018427387904,4]", "null"):
        assert "its header is damaged" in opened(f'{{"a":{entry}}}'.replace("[2]", wrong).encode())
    for wrong in ("[8,0]", "[0]", "[0,8,8]", "[-8,0]", "[0,9]", '["0",8]'):
        assert "its header is damaged" in opened(f'{{"a":{entry}}}'.replace("[0,8]", wrong).encode())
    assert "its header is damaged" in opened(b'{"a":[]}')


def test_files_of_safetensors(tmp_path):
    arrays = files.WEIGHTS | {"count": np.array(3, np.int64), "half": np.ones((2, 2), np.float16)}
    save_file(arrays, tmp_path / "x", metadata={"format": "pt"})
    stored = open_weights(tmp_path / "x")
    files.assert_holds(stored, {name: arrays[name] for name in stored.shapes})
