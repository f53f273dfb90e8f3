"""The audit and the preparation of photos, which run by themselves too."""

from __future__ import annotations

import re

import pandas as pd

import skinjax
from skinjax.studies import audit, preparation
from tests.support.commands import run_command
from tests.support.small_photos import write_photos


def test_the_built_in_photos_are_audited_and_prepared_by_commands(tmp_path):
    flags = ("--smoke", "--synthetic_cases=2", f"--workdir={tmp_path}", "--image_size=32")
    told = run_command("audit", *flags[:3])
    assert re.match(r"\d+ photos, ", told.stdout)
    assert f"written to {tmp_path / 'audit'}" in told.stdout
    assert told.stdout.rstrip().endswith(f"report: {tmp_path / 'audit' / 'index.html'}")
    assert (tmp_path / "audit" / "audit.json").exists()
    prepared = run_command("prepare_data", *flags)
    assert re.search(r"^\d+ photos prepared in .*prepared, 0 left out$", prepared.stdout, flags=re.M)
    assert not (tmp_path / "config.json").exists()  # the folder is free for a run


def test_photos_of_ones_own_are_audited_and_prepared_in_a_notebook(tmp_path):
    """The damaged one is found, named and left out."""
    frame = write_photos(tmp_path / "photos", cases=4)
    damaged = tmp_path / "photos" / frame["image"][3]
    damaged.write_bytes(damaged.read_bytes()[:200])
    photos = skinjax.read_photos(tmp_path / "photos" / "manifest.csv")
    found = audit.run(photos, audit.Config(), tmp_path / "run")
    assert "unreadable" in str(found) or "truncated" in str(found)
    assert frame["image"][3] in set(pd.read_csv(tmp_path / "run" / "audit" / "audit.csv")["image"])
    config = preparation.Config(image_size=32, max_bad_fraction=0.1, prepared=str(tmp_path / "kept"))
    made = preparation.run(photos, config, tmp_path / "run")
    assert made.headline == (f"39 photos prepared in {tmp_path / 'kept'}, 1 left out",)
    assert str(made) == made.headline[0]
