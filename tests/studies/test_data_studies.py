"""The audit and the preparation of photos, which run by themselves too."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

import skinjax
from skinjax.studies import audit, preparation
from tests.support.commands import run_command, run_small
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


def messy_workbook(folder):
    """A clinic's workbook: names of its own, roman skin types, backslashes, an index, and faults of its photos."""
    frame = write_photos(folder, cases=4).drop(columns="split")
    (folder / frame["image"][3]).write_bytes(b"not a photo")
    (folder / frame["image"][5]).unlink()
    frame.loc[7, "label"] = "psorasis"
    frame.loc[::4, "label"] = frame.loc[::4, "label"].str.upper()
    frame["skin_tone"] = ["I", "IV"] * (len(frame) // 2)
    frame["image"] = frame["image"].str.replace("/", "\\")
    names = {"image": "Filename", "label": "Diagnosis", "case_id": "Patient ID", "skin_tone": "Fitzpatrick"}
    frame.rename(columns=names).to_excel(folder / "Lesions 2024.xlsx")
    return frame


MAP = '--map=image=Filename,label=Diagnosis,case_id="Patient ID",skin_tone=Fitzpatrick'


def test_a_clinic_s_workbook_is_audited_shown_and_mended(tmp_path):
    folder = tmp_path / "photos"
    messy_workbook(folder)
    flags = (f"--manifest={folder / 'Lesions 2024.xlsx'}", f"--taxonomy={folder / 'taxonomy.csv'}", MAP)
    told = run_command(
        "audit", *flags, f"--fix={tmp_path / 'mended.csv'}", f"--workdir={tmp_path / 'run'}"
    ).stdout
    assert "Left out: 2 photos that cannot be used" in told
    assert "Left out: 1 photo whose label is no disease of taxonomy 'taxonomy' ('psorasis')." in told
    assert "Labels written as their class, of 10 photos: 'PSORIASIS' taken for 'psoriasis' (2 photos)" in told
    assert f"--manifest={tmp_path / 'mended.csv'}" in told
    page = (tmp_path / "run" / "audit" / "index.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/jpeg;base64,') >= 9
    for words in ("Files that are no photo", "Photos that are not there", "Labels that the taxonomy does not have",
                  "Labels in other spellings than their class", "The mended manifest"):  # fmt: skip
        assert words in page
    assert "http" not in re.sub(r'http-equiv|xmlns(:xlink)?="[^"]*"', "", page)  # opens offline
    mended = skinjax.read_photos(tmp_path / "mended.csv", taxonomy=folder / "taxonomy.csv")
    assert len(mended) == 37
    assert mended.audit().num_errors == 0
    assert set(mended.frame["skin_tone"]) == {1, 4}
    again = run_command(
        "audit", *flags, f"--workdir={tmp_path / 'run'}"
    ).stdout  # what was audited once is again
    assert "The mended manifest" not in again


def test_the_former_name_of_the_audit_is_understood(tmp_path):
    told = run_command("audit_data", "--smoke", "--synthetic_cases=2", f"--workdir={tmp_path}").stdout
    assert "0 errors" in told
    with pytest.raises(ValueError, match=r"fix=out\.xlsx must end in \.csv or \.parquet"):
        audit.Config(fix="out.xlsx")
    with pytest.raises(ValueError, match=r"fix=m\.csv must be another file than the manifest"):
        audit.Config(fix="m.csv", manifest="m.csv")


@pytest.mark.slow
def test_a_run_of_a_spreadsheet_is_that_of_the_plain_manifest(tmp_path):
    """The options differ, the photos, labels and cases do not: it is the same run, and resumes as such."""
    frame = write_photos(tmp_path, cases=4)
    names = {"image": "Filename", "label": "Diagnosis", "case_id": "Patient ID"}
    odd = frame.assign(image=f"{tmp_path}/" + frame["image"], label=frame["label"].str.upper())
    odd.rename(columns=names).to_excel(tmp_path / "Lesions.xlsx")
    flags = (
        "--backbone=small", f"--taxonomy={tmp_path / 'taxonomy.csv'}", "--epochs=1", "--burn_in=0", "--image_size=32",
        "--batch_size=8", f"--workdir={tmp_path / 'run'}", f"--compilation_cache={tmp_path / 'cache'}",
    )  # fmt: skip
    map_flag = '--map=image=Filename,label=Diagnosis,case_id="Patient ID"'
    first = run_small("train", f"--manifest={tmp_path / 'Lesions.xlsx'}", map_flag, *flags)
    document = json.loads((tmp_path / "run" / "config.json").read_text())
    assert document["config"]["map"] == ["image=Filename", "label=Diagnosis", "case_id=Patient ID"]
    second = run_small("train", f"--manifest={tmp_path / 'manifest.csv'}", *flags)
    assert "finished already" in second.stderr
    assert second.stdout == first.stdout
    assert (
        document["data_fingerprint"]
        == json.loads((tmp_path / "run" / "config.json").read_text())["data_fingerprint"]
    )
