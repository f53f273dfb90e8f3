"""Weight files of every format: recognised by content, refused in one sentence; and names on the Hub."""

import os
import pickle
import random
import zipfile
from pathlib import Path

import pytest

from skinjax.models.weights import hub
from skinjax.models.weights.formats import open_weights
from tests.support import stored_files as files


@pytest.fixture
def whole_files(tmp_path):
    content = {name: files.tensor(array) for name, array in files.WEIGHTS.items()}
    return {
        "zip": (files.write_torch_zip(tmp_path / "a", {"state_dict": content}), 250),
        "pickle": (files.write_torch_pickle(tmp_path / "b", content), 1000),
        "safetensors": (files.write_safetensors(tmp_path / "c", files.WEIGHTS), 500),
        "legacy": (files.write_keras_legacy(tmp_path / "d.h5", files.KERAS), 1000),
        "keras3": (files.write_keras3(tmp_path / "e.h5"), 1000),
        "archive": (files.write_keras_archive(tmp_path / "f.keras"), 250),
    }


@pytest.mark.parametrize("kind", ["zip", "pickle", "safetensors", "legacy", "keras3", "archive"])
def test_cut_and_changed_files_are_refused_or_read(tmp_path, whole_files, kind):
    path, repetitions = whole_files[kind]
    whole = path.read_bytes()
    damaged = tmp_path / "damaged"
    rng = random.Random(kind)
    for length in [*range(12), *(rng.randrange(len(whole)) for _ in range(100)), len(whole) - 1]:
        damaged.write_bytes(whole[:length])
        files.refusal(damaged)
    # Changes hit the structures more often than the zeros between them.
    places = [place for place, byte in enumerate(whole) if byte]
    refused = 0
    for _ in range(repetitions):
        content = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 4])):
            content[rng.choice(places)] = rng.choice([0, 255, rng.randrange(256), rng.choice(whole)])
        damaged.write_bytes(content)
        sentence = files.attempt(damaged)
        if sentence is not None:
            assert sentence.startswith(f"{damaged} ")
            assert sentence.isprintable()
            refused += 1
    assert refused > repetitions // 10


MUST = (
    "must be an Orbax checkpoint folder, a PyTorch .pth, a Keras .h5, .weights.h5 or .keras, "
    "or a .safetensors file, got"
)


def test_what_is_no_weight_file(tmp_path):
    contents = {
        "text": b"These are not the weights that you are looking for.\n" * 20,
        "page.pth": b"<html>Sign in</html>",
        "pointer.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "long.safetensors": (9 << 20).to_bytes(8, "little") + b"{" + bytes(100),
        "json": b'{"weights": []}',
        "brace": b"weights {\n" * 100,
        "zeros": bytes(1000),
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "pickle": pickle.dumps({"a": 1}),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert files.refusal(tmp_path / name) == f"{MUST} a file that begins with {content[:24]!r}"
    (tmp_path / "empty.h5").write_bytes(b"")
    assert files.refusal(tmp_path / "empty.h5") == f"{MUST} an empty file"
    (tmp_path / "tar.pth").write_bytes(b"tensors".ljust(257, b"\0") + b"ustar" + bytes(250))
    assert "PyTorch before 0.1.10" in files.refusal(tmp_path / "tar.pth")
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w") as archive:
        archive.writestr("a.npy", b"")
    assert "is a zip archive with neither" in files.refusal(tmp_path / "arrays.npz")
    assert files.refusal(tmp_path / "absent") == f"{MUST} a path that does not exist"
    (tmp_path / "folder.pth").mkdir()
    assert files.refusal(tmp_path / "folder.pth") == f"{MUST} a folder that Orbax did not write"
    os.mkfifo(tmp_path / "pipe")
    assert files.refusal(tmp_path / "pipe") == f"{MUST} neither a file nor a folder"
    assert files.refusal(tmp_path / ("x" * 300)) == "cannot be read: File name too long"


def test_a_file_that_changes_after_it_was_opened(tmp_path, whole_files):
    for path, _ in whole_files.values():
        stored = open_weights(path)
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(ValueError, match="is not a whole"):
            stored.read(stored.shapes)
        path.unlink()
        with pytest.raises(ValueError, match=r"cannot be read: No such file or directory$"):
            stored.read(stored.shapes)


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
    path = files.write_safetensors(cache / "weights", files.WEIGHTS)
    cached_repository(cache, "timm/nano", {"model.safetensors": path.read_bytes()})
    files.assert_holds(open_weights(hub.fetch("hf:timm/nano")), files.WEIGHTS)


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
    with pytest.raises(ValueError, match=r"^a name on the Hub must be hf:<organization>") as error:
        hub.fetch(name)
    assert str(error.value).endswith(f", got {name}")
