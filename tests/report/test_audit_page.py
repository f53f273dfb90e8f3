"""The page of an audit: its photos, its limits, and names that are nobody's markup."""

from __future__ import annotations

import base64
import io
import re

import pandas as pd
import pytest
from PIL import Image

from skinjax.data.audit import audit_manifest
from skinjax.data.findings import Finding
from skinjax.data.mending import mend
from skinjax.report.audit_page import MOST_TILES, write_audit


@pytest.fixture
def photos(tmp_path):
    """Forty photos, of which thirty are no photos."""
    frame = pd.DataFrame(
        {"image": [f"{n:02d}.png" for n in range(40)], "label": ["<b>wart</b>", "nevus"] * 20}
    )
    for n, name in enumerate(frame["image"]):
        if n < 10:
            Image.effect_noise((48, 48), 20 + 5 * n).convert("RGB").save(tmp_path / name)
        else:
            (tmp_path / name).write_text("not a photo")
    return frame, tmp_path


def page_of(frame, root, tmp_path, **more):
    report = audit_manifest(frame, root, **more.pop("audit", {}))
    path = write_audit(
        tmp_path / "page",
        title="Audit of <clinic>",
        frame=frame,
        root=root,
        report=report,
        config={"seed": 0},
        **more,
    )
    return report, path.read_text(encoding="utf-8")


def test_a_page_shows_some_photos_of_many_and_says_how_many_more(photos, tmp_path):
    frame, root = photos
    report, page = page_of(frame, root, tmp_path)
    assert report.counts["not_a_photo"] == 30
    assert page.count('<span class="absent">') >= MOST_TILES
    assert f"And {30 - MOST_TILES} more, in audit.csv." in page
    assert "40 photos with 2 labels: 3" in page  # errors: 30 files, and what else of them there is
    assert "30 of the photos cannot be used." in page
    assert "--fix=mended.csv writes a manifest without them" in page
    assert "<b>wart" not in page
    assert "&lt;b&gt;wart" in page
    assert "Audit of &lt;clinic&gt;" in page
    table = pd.read_csv(tmp_path / "page" / "tables" / "findings.csv")
    assert int(table.loc[table["kind"] == "not_a_photo", "findings"].iloc[0]) == 30


def test_the_photos_of_a_finding_are_those_that_it_names(photos, tmp_path):
    frame, root = photos
    frame = frame[:10].assign(label="nevus")
    message = "has the label 'Nevus', which is taken for 'nevus' (2 photos)"
    told = Finding("label_resolved", "note", message, "03.png", 4, ("07.png",))
    _, page = page_of(frame, root, tmp_path, audit={"found": [told]})
    notes = page[page.index('<section id="notes">') :]
    shown = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"[^>]*alt="([^"]+)"', notes)
    assert [name for _, name in shown][:2] == ["03.png", "07.png"]
    picture = Image.open(io.BytesIO(base64.b64decode(shown[0][0])))
    assert picture.size == (128, 128)
    assert "nothing that keeps them from being trained on" in page


def test_what_was_mended_is_a_section(photos, tmp_path):
    frame, root = photos
    mended = mend(frame, audit_manifest(frame, root))
    _, page = page_of(frame, root, tmp_path, mended=mended, told="The mended manifest lists 10 photos.")
    assert "The mended manifest lists 10 photos." in page
    assert "Left out: 30 photos that cannot be used (not a photo 30)." in page
    assert "--fix=mended.csv" not in page
