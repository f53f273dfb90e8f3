"""Photos that cannot be divided as the options say are refused when the table is read, before any is opened."""

from __future__ import annotations

import pytest

from tests.support.commands import run_small

# No such photos: whoever opened one would speak of it.
TABLE = "image,label,case_id\n" + "".join(f"{n}.jpg,{'ab'[n % 2]},c{n // 2}\n" for n in range(16))
FEW = "--folds=9 must be at most the number of cases, 8"
ONE = "photos must be of two classes at least, got 'a' alone"
PARTS = "photos must be of 3 cases at least, one for each of --parts=6,2,1, got 2"


@pytest.mark.parametrize(
    ("study", "text", "flags", "words"),
    [
        ("probe", TABLE, ["--folds=9"], FEW),
        ("probe", TABLE.replace(",b,", ",a,"), [], ONE),
        ("probe", TABLE, ["--meta_level=kind"], "taxonomy must have two levels at least"),
        ("train", TABLE, ["--folds=9"], FEW),
        ("train", TABLE.replace(",b,", ",a,"), [], ONE),
        ("evolve", TABLE, ["--folds=9", "--search_fraction=1"], FEW),
        ("psoriasis", TABLE[: TABLE.index("4.jpg")], ["--target=b"], PARTS),
        ("benchmark_backbones", TABLE[: TABLE.index("4.jpg")], ["--backbones=small"], PARTS),
    ],
)
def test_photos_that_cannot_be_divided_are_refused_at_once(tmp_path, study, text, flags, words):
    (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
    backbone = ["--backbone=small", "--pretrained="] if study != "benchmark_backbones" else []
    run = tmp_path / "run"
    told = run_small(
        study, f"--manifest={tmp_path / 'manifest.csv'}", f"--workdir={run}", *backbone, *flags, code=2
    )
    assert words in told.stderr.splitlines()[-1]
    assert {path.name for path in run.iterdir()} <= {".lock"}
