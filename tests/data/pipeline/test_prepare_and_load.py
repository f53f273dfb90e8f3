"""Prepared photos: what is stored, what is noticed, what is made anew."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinjax.data.images import photos
from skinjax.data.pipeline import builder, shards
from skinjax.data.pipeline.prepare import PreparationError, prepare, prepare_share
from tests.support.commands import REPOSITORY


def write_photos(folder: Path, count: int, size: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    names = [f"{number:03d}.png" for number in range(count)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (size, size + 10, 3), dtype=np.uint8)).save(folder / name)
    return pd.DataFrame({"image": names, "label": "a", "case_id": names})


def test_records_hold_the_decoded_photos_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "SHARD_BYTES", 4 * 32 * 32 * 3)  # four photos per shard
    frame = write_photos(tmp_path, 11)
    prepared = prepare(frame, tmp_path, tmp_path / "prepared", image_size=32)
    assert prepared.rows.tolist() == list(range(11))
    assert prepared.bad == ()
    for row, name in enumerate(frame["image"]):
        expected = photos.fit(photos.decode(tmp_path / name, target=32), 32)
        np.testing.assert_array_equal(prepared.source[row]["image"], expected)
    assert "tensorflow" not in sys.modules


def test_a_second_call_decodes_nothing_and_stale_or_half_written_ones_are_redone(tmp_path, monkeypatch):
    frame = write_photos(tmp_path, 4)
    decoded = []
    real = photos.decode
    monkeypatch.setattr(photos, "decode", lambda *args, **kwargs: decoded.append(1) or real(*args, **kwargs))
    folder = tmp_path / "prepared"

    def decodes(**settings) -> int:
        decoded.clear()
        prepare(frame, tmp_path, folder, **({"image_size": 16} | settings))
        return len(decoded)

    assert decodes() == 4
    assert decodes() == 0
    assert decodes(image_size=24) == 4
    assert decodes(image_size=24, fit="crop") == 4
    os.utime(tmp_path / "002.png", ns=(1, 1))
    assert decodes(image_size=24, fit="crop") == 4
    (folder / "prepared.json").unlink()
    assert decodes(image_size=24, fit="crop") == 4
    (folder / "prepared.json").write_text('{"schema": 2, "files"')
    assert decodes(image_size=24, fit="crop") == 4


def test_a_folder_of_a_former_layout_is_decoded_anew_under_the_same_fingerprint(tmp_path):
    frame = write_photos(tmp_path, 3)
    folder = tmp_path / "prepared"
    before = prepare(frame, tmp_path, folder, image_size=16)
    sidecar = json.loads((folder / "prepared.json").read_text())
    del sidecar["layout"]
    (folder / "prepared.json").write_text(json.dumps(sidecar))
    records = folder / "prepared_photos"
    records.rename(folder / "former")
    after = prepare(frame, tmp_path, folder, image_size=16, replace_other_settings=False)
    assert after.fingerprint == before.fingerprint
    assert records.is_dir()
    assert not (folder / "former").exists()


def test_bad_photos_are_named_and_skipped_up_to_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(
        builder, "SHARD_BYTES", 3 * 16 * 16 * 3
    )  # the second shard has no readable photo at all
    frame = write_photos(tmp_path, 9)
    (tmp_path / "003.png").write_bytes(b"")
    (tmp_path / "004.png").unlink()
    (tmp_path / "005.png").write_bytes((tmp_path / "006.png").read_bytes()[:300])
    prepared = prepare(frame, tmp_path, tmp_path / "prepared", image_size=16, max_bad_fraction=0.34)
    assert [bad.image for bad in prepared.bad] == ["003.png", "004.png", "005.png"]
    assert all(bad.reason for bad in prepared.bad)
    assert prepared.rows.tolist() == [0, 1, 2, 6, 7, 8]
    expected = photos.fit(photos.decode(tmp_path / "006.png", target=16), 16)
    np.testing.assert_array_equal(prepared.source[3]["image"], expected)
    with pytest.raises(PreparationError, match=r"of 9 photos cannot be read.*003\.png: "):
        prepare(frame, tmp_path, tmp_path / "prepared", image_size=16, max_bad_fraction=0.2)
    with pytest.raises(PreparationError, match=r"003\.png: "):
        prepare(frame, tmp_path, tmp_path / "other", image_size=16, max_bad_fraction=0.2)


def test_a_shared_folder_of_other_settings_is_kept(tmp_path):
    frame = write_photos(tmp_path, 2)
    prepare(frame, tmp_path, tmp_path / "shared", image_size=16)
    message = "prepared with size 24 and fit stretch, but holds photos of size 16 and fit stretch"
    with pytest.raises(ValueError, match=message):
        prepare(frame, tmp_path, tmp_path / "shared", image_size=24, replace_other_settings=False)
    assert (
        prepare(frame, tmp_path, tmp_path / "shared", image_size=16, replace_other_settings=False).image_size
        == 16
    )


def test_a_kill_while_emptying_leaves_a_folder_that_can_be_emptied(tmp_path, monkeypatch):
    frame = write_photos(tmp_path, 2)
    prepare(frame, tmp_path, tmp_path / "prepared", image_size=16)

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(frame, tmp_path, tmp_path / "prepared", image_size=24)
    assert prepare(frame, tmp_path, tmp_path / "prepared", image_size=24).image_size == 24


def test_a_folder_of_somebody_elses_is_never_emptied(tmp_path):
    frame = write_photos(tmp_path, 2)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match="is not empty and was not made by a preparation"):
        prepare(frame, tmp_path, tmp_path, image_size=16)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_fingerprint_knows_photos_and_settings_but_not_times(tmp_path):
    frame = write_photos(tmp_path, 3)
    first = prepare(frame, tmp_path, tmp_path / "prepared", image_size=16).fingerprint
    os.utime(tmp_path / "001.png", ns=(1, 1))
    assert prepare(frame, tmp_path, tmp_path / "prepared", image_size=16).fingerprint == first
    assert prepare(frame, tmp_path, tmp_path / "prepared", image_size=24).fingerprint != first
    assert prepare(frame[:2], tmp_path, tmp_path / "prepared", image_size=16).fingerprint != first


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_photos(tmp_path):
    """Peak memory of preparing and reading 3,000 photos of 0.2 MB decoded each is that of 300."""
    Image.effect_noise((300, 300), 60).convert("RGB").resize((256, 256)).save(tmp_path / "photo.jpg")
    peaks = {}
    for count in (300, 3000):
        code = f"""
            import resource, pandas as pd, numpy as np
            from skinjax.data.pipeline import builder, prepare
            from skinjax.data.images import photos
            from skinjax.data.pipeline.loader import Subset, training_batches
            builder.SHARD_BYTES = 8 * 2**20
            one = photos.decode({str(tmp_path / "photo.jpg")!r})
            photos.decode = lambda path, target=None: one.copy()
            frame = pd.DataFrame({{"image": [f"{{i}}.jpg" for i in range({count})]}})
            ready = prepare.prepare(frame, {str(tmp_path)!r}, {str(tmp_path / f"p{count}")!r}, image_size=256)
            photos = Subset(ready.source, np.arange({count}), np.zeros({count}, int))
            for batch in training_batches(photos, 8, 0, steps={count} // 8):
                pass
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        """
        result = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            check=True,
        )
        peaks[count] = int(result.stdout.split()[-1]) / 1024
    assert peaks[3000] < peaks[300] + 120, peaks


def test_the_sidecar_is_readable_json(tmp_path):
    prepare(write_photos(tmp_path, 2), tmp_path, tmp_path / "prepared", image_size=16)
    sidecar = json.loads((tmp_path / "prepared" / "prepared.json").read_text())
    assert sidecar["records"] == [0, 1]
    assert sidecar["bad"] == []


PREPARE = """
import sys, pandas as pd
from skinjax.data.pipeline.prepare import prepare
frame = pd.DataFrame({"image": [f"{number:03d}.png" for number in range(40)]})
print(len(prepare(frame, sys.argv[1], sys.argv[2], image_size=32).rows))
"""


@pytest.mark.slow
def test_two_processes_that_prepare_one_fresh_folder_at_the_same_moment_both_end_well(tmp_path):
    (tmp_path / "photos").mkdir()
    write_photos(tmp_path / "photos", 40)
    command = [sys.executable, "-c", PREPARE, str(tmp_path / "photos"), str(tmp_path / "prepared")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    pair = [subprocess.Popen(command, cwd=REPOSITORY, **pipes) for _ in "ab"]
    for process in pair:
        out, error = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "40\n"), error


@pytest.fixture
def decoded(monkeypatch):
    """Names of the photos that are decoded, in the order that threads begin with them."""
    names = []
    real = photos.decode
    monkeypatch.setattr(
        photos, "decode", lambda path, **options: names.append(path.name) or real(path, **options)
    )
    return names


def read(prepared) -> list[bytes]:
    return [prepared.source[number]["image"].tobytes() for number in range(len(prepared.rows))]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_processes_share_the_work_and_none_of_it_is_done_twice(tmp_path, monkeypatch, decoded, count):
    monkeypatch.setattr(shards, "LEAST_PHOTOS", 2)
    monkeypatch.setattr(shards, "LEAST_SHARDS", 5)
    frame = write_photos(tmp_path, 17)
    (tmp_path / "004.png").write_bytes(b"")
    (tmp_path / "005.png").unlink()
    settings = {"image_size": 16, "max_bad_fraction": 0.2}
    expected = prepare(frame, tmp_path, tmp_path / "alone", **settings)
    decoded.clear()
    told = []
    for number in range(count):
        prepare_share(
            frame, tmp_path, tmp_path / "shared", (number, count), **settings,
            progress=lambda done, total: told.append((done, total)),
        )  # fmt: skip
    assert sorted(decoded) == sorted(frame["image"])
    assert sum(total for _, total in told) == 17
    assert all(done == total for done, total in told)
    found = prepare(frame, tmp_path, tmp_path / "shared", **settings)
    assert len(decoded) == 17
    assert found.rows.tolist() == expected.rows.tolist() == [row for row in range(17) if row not in (4, 5)]
    assert found.bad == expected.bad
    assert read(found) == read(expected)
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == sorted(
        path.name for path in (tmp_path / "alone").iterdir()
    )
    prepare_share(frame, tmp_path, tmp_path / "shared", (0, 1), **settings)  # all is there
    assert len(decoded) == 17


def test_a_killed_preparation_goes_on_with_the_shards_that_it_lacks(tmp_path, monkeypatch, decoded):
    monkeypatch.setattr(shards, "LEAST_PHOTOS", 2)
    monkeypatch.setattr(shards, "LEAST_SHARDS", 5)
    frame = write_photos(tmp_path, 10)
    expected = read(prepare(frame, tmp_path, tmp_path / "alone", image_size=16))

    def decode(path, **options):
        if path.name == "007.png":
            raise KeyboardInterrupt
        return real(path, **options)

    decoded.clear()
    real = photos.decode
    with monkeypatch.context() as patched:
        patched.setattr(photos, "decode", decode)
        with pytest.raises(KeyboardInterrupt):
            prepare(frame, tmp_path, tmp_path / "killed", image_size=16)
    assert {"006.png", "007.png"} >= {*decoded} - {f"00{number}.png" for number in range(6)}
    half = tmp_path / "killed" / next(p.name for p in (tmp_path / "killed").glob("shards_*"))
    (half / "000000002-000000004" / "shard.json").write_text(
        '{"records"'
    )  # a half-written one counts as none
    decoded.clear()
    assert read(prepare(frame, tmp_path, tmp_path / "killed", image_size=16)) == expected
    assert sorted(decoded) == [f"00{number}.png" for number in (2, 3, 6, 7, 8, 9)]
    assert not half.exists()


@pytest.mark.parametrize("moved", range(6))
def test_a_kill_while_shards_are_put_together_loses_none(tmp_path, monkeypatch, moved):
    """Also where all were moved and some of their folders deleted."""
    monkeypatch.setattr(shards, "LEAST_PHOTOS", 2)
    monkeypatch.setattr(shards, "LEAST_SHARDS", 5)
    frame = write_photos(tmp_path, 10)
    expected = read(prepare(frame, tmp_path, tmp_path / "alone", image_size=16))
    moves = itertools.count()

    def replace(source, target):
        if next(moves) == moved:
            raise KeyboardInterrupt
        os.replace(source, target)

    def rmtree(folder):
        shutil.rmtree(folder / "000000002-000000004" / "prepared_photos")
        raise KeyboardInterrupt

    prepare_share(frame, tmp_path, tmp_path / "killed", (0, 1), image_size=16)
    with monkeypatch.context() as patched:
        patched.setattr(shards, "os", types.SimpleNamespace(replace=replace))
        patched.setattr(shards, "shutil", types.SimpleNamespace(rmtree=rmtree))
        with pytest.raises(KeyboardInterrupt):
            prepare(frame, tmp_path, tmp_path / "killed", image_size=16)
    assert read(prepare(frame, tmp_path, tmp_path / "killed", image_size=16)) == expected
    assert not list((tmp_path / "killed").glob("shards_*"))


def test_no_temporary_folder_is_left(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    read(prepare(write_photos(tmp_path, 4), tmp_path, tmp_path / "prepared", image_size=16))
    assert not list((tmp_path / "temporary").iterdir())


def test_shards_of_other_photos_or_settings_are_not_gone_on_with(tmp_path, decoded):
    frame = write_photos(tmp_path, 4)
    prepare_share(frame, tmp_path, tmp_path / "prepared", (0, 1), image_size=16)
    os.utime(tmp_path / "002.png", ns=(1, 1))
    decoded.clear()
    prepare(frame, tmp_path, tmp_path / "prepared", image_size=16)
    assert len(decoded) == 4
    assert not list((tmp_path / "prepared").glob("shards_*"))


def test_too_many_bad_photos_in_one_share_are_told_by_the_one_that_puts_together(tmp_path):
    frame = write_photos(tmp_path, 4)
    for name in frame["image"][:2]:
        (tmp_path / name).write_bytes(b"")
    prepare_share(frame, tmp_path, tmp_path / "prepared", (0, 2), image_size=16)
    with pytest.raises(PreparationError, match="2 of 4 photos cannot be read"):
        prepare(frame, tmp_path, tmp_path / "prepared", image_size=16, max_bad_fraction=0.3)


def test_two_processes_may_mark_a_new_folder_at_the_same_moment(tmp_path):
    frame = write_photos(tmp_path, 2)
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / ".PREPARED.x1y2.tmp").write_text("This folder")  # as the other is writing it
    prepare_share(frame, tmp_path, tmp_path / "prepared", (0, 2), image_size=16)
    assert len(prepare(frame, tmp_path, tmp_path / "prepared", image_size=16).rows) == 2
    assert not list((tmp_path / "prepared").glob(".PREPARED.*"))


def test_a_share_is_refused_where_the_folder_is_somebody_elses(tmp_path):
    frame = write_photos(tmp_path, 2)
    with pytest.raises(ValueError, match="is not empty and was not made by a preparation"):
        prepare_share(frame, tmp_path, tmp_path, (0, 2), image_size=16)


SHARE = """
import sys, pandas as pd
from skinjax.data.images import photos
from skinjax.data.pipeline import prepare, shards
shards.LEAST_PHOTOS, count = 4, 0
real = photos.decode
def decode(*args, **options):
    global count
    count += 1
    return real(*args, **options)
photos.decode = decode
frame = pd.DataFrame({"image": [f"{number:03d}.png" for number in range(40)]})
prepare.prepare_share(frame, sys.argv[1], sys.argv[2], (int(sys.argv[3]), 2), image_size=32)
print(count)
"""


@pytest.mark.slow
def test_two_processes_write_their_shards_at_the_same_moment(tmp_path):
    (tmp_path / "photos").mkdir()
    frame = write_photos(tmp_path / "photos", 40)
    command = [sys.executable, "-c", SHARE, str(tmp_path / "photos"), str(tmp_path / "prepared")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    pair = [subprocess.Popen([*command, number], cwd=REPOSITORY, **pipes) for number in "01"]
    for process in pair:
        out, error = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "20\n"), error
    assert len(prepare(frame, tmp_path / "photos", tmp_path / "prepared", image_size=32).rows) == 40
