"""Flagfiles: whose each flag is stands above it, and what is marked as the thesis's is what the thesis has."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from pathlib import Path

import pytest
from absl import flags

from skinjax.cli.commands import command
from skinjax.cli.flags import define, read
from skinjax.data.photo_set import read_photos
from skinjax.runs.options import details
from skinjax.studies.steps import inputs, networks
from tests.support.commands import REPOSITORY, run_command, run_small
from tests.support.small_photos import write_photos

FOLDER = REPOSITORY / "experiments" / "flagfiles"
MARK = re.compile(r"# (thesis|ours)(: .+)?")

# By hand, from what can be read of the thesis. Chapter 3:
CHAPTER_3 = {
    "target": "psoriasis", "strategy": "probability", "draws": "8", "parts": "6,2,1",
    "backbone": "inception_v3", "optimizer": "rmsprop",
}  # fmt: skip
TABLE_4_1 = {
    "learning_rate": 0.00465, "final_learning_rate": 1e-5, "momentum": 0.951, "weight_decay": 0.000355,
    "hsv_h": 0.0138, "hsv_s": 0.678, "hsv_v": 0.36, "rotation": 10, "translation": 0.15, "scale": 0.358,
    "shear": 0.9, "burn_in": 50,
}  # fmt: skip
THESIS = {
    "benchmark_backbones": {
        "parts": "6,2,1", "optimizer": "rmsprop",
        "backbones": "densenet121,inception_v3,inception_resnet_v2,xception",
    },
    "cross_dataset": {},
    "evolve": {
        **TABLE_4_1, "backbone": "efficientnet_b6", "search_backbone": "efficientnet_b3", "folds": 5,
        "search_folds": 2, "search_fraction": 1, "epochs": 20, "generations": 50,
        "mutation_probability": 0.9, "mutation_sigma": 0.2,
    },
    "hierarchy": {
        **TABLE_4_1, "backbone": "efficientnet_b6", "folds": 5, "epochs": 20,
        "transfer_variants": "0,10/45,23/45,30/45,all",
    },
    "malignancy": {"loss": "cross_entropy"},
    "psoriasis": CHAPTER_3,
}  # fmt: skip
# Of the whole of it, in files that are not about a study of the thesis.
NONE_OF_IT = {"demo", "ham_from_scratch"}
DEGREES = "class,degree\npsoriasis,0\neczema,0\nlichen,0\nnevus,1\nmelanoma,2\n"
COMMAND_OF = {"demo": "hierarchy", "ham_from_scratch": "train"}


def marked(path: Path) -> dict[str, list[tuple[str, str]]]:
    """The flags of a file by the mark above them, "" where there is none."""
    found: dict[str, list[tuple[str, str]]] = {"": [], "thesis": [], "ours": []}
    mark = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := MARK.fullmatch(line):
            mark = match[1]
        elif line.startswith("-"):
            name, _, value = line.lstrip("-").partition("=")
            found[mark].append((name, value))
    return found


def alike(text: str, value: object) -> bool:
    return float(text) == value if isinstance(value, int | float) else text == value


def test_every_flagfile_is_looked_at():
    assert {path.stem for path in FOLDER.iterdir()} == THESIS.keys() | NONE_OF_IT


@pytest.mark.parametrize("name", sorted(THESIS.keys() | NONE_OF_IT))
def test_every_flag_is_marked_and_given_once(name):
    found = marked(FOLDER / f"{name}.flags")
    assert not found[""]
    names = [flag for pairs in found.values() for flag, _ in pairs]
    assert len(names) == len(set(names)) > 0
    if name in NONE_OF_IT:
        assert not found["thesis"]


@pytest.mark.parametrize("name", sorted(THESIS))
def test_what_is_marked_as_the_thesis_s_is_what_can_be_read_of_it(name):
    found = dict(marked(FOLDER / f"{name}.flags")["thesis"])
    assert found.keys() == THESIS[name].keys()
    assert [flag for flag, text in found.items() if not alike(text, THESIS[name][flag])] == []


@pytest.mark.parametrize("name", sorted(THESIS))
def test_absl_reads_the_marks_as_comments(name):
    values = flags.FlagValues()
    study = importlib.import_module(command(name).module).Config
    define(study, values)
    flags.DEFINE_string("workdir", "", "Of the command.", flag_values=values)
    file = FOLDER / f"{name}.flags"
    assert values([name, f"--flagfile={file}"]) == [name]
    _, given = read(study, values)
    assert given | {"workdir"} == {flag for pairs in marked(file).values() for flag, _ in pairs}


@pytest.mark.parametrize("name", sorted(THESIS.keys() | NONE_OF_IT))
def test_smoke_shrinks_it(name, monkeypatch, tmp_path):
    """All that has a smoke value takes it, accumulated parts and further starts among it; the rest stays."""
    chosen, found = COMMAND_OF.get(name, name), []
    module = importlib.import_module(command(chosen).module)
    monkeypatch.setattr(module, "run", lambda *arguments: found.append(arguments) or "done")
    run_command(chosen, f"--flagfile={FOLDER / name}.flags", folder=tmp_path)
    run_command(chosen, f"--flagfile={FOLDER / name}.flags", "--smoke", "--seed=3", folder=tmp_path)
    (_, config, _), (_, tiny, place) = found
    assert place == Path(f"runs/{chosen}_smoke")
    for field in dataclasses.fields(module.Config):
        small = details(module.Config, field.name).smoke
        expected = {"smoke": True, "seed": 3}.get(
            field.name, getattr(config, field.name) if small is None else small
        )
        assert getattr(tiny, field.name) == expected, field.name
    assert not any("efficientnet_b6" in str(value) or "b3" in str(value) for value in vars(tiny).values())


@pytest.mark.parametrize("name", sorted(THESIS.keys() | {"ham_from_scratch"}))
def test_without_pretrained_weights_it_warns(name, monkeypatch, tmp_path):
    """Once, at the start and in the notes, on photos of one's own; with weights, built-in photos or `--smoke` not."""
    files = {"manifest": tmp_path / "manifest.csv", "taxonomy": tmp_path / "taxonomy.csv"}
    others = {f"other_{flag}": tmp_path / "b" / path.name for flag, path in files.items()}
    for seed, folder in enumerate((tmp_path, tmp_path / "b")):
        write_photos(folder, cases=3, seed=seed)
    (tmp_path / "degrees.csv").write_text(DEGREES)
    rendered = [
        dataclasses.replace(read_photos(manifest, taxonomy=tree), synthetic=True)
        for manifest, tree in (files.values(), others.values())
    ]
    chosen, seen = COMMAND_OF.get(name, name), []

    def end(found, *_):
        seen.append(found)
        raise ValueError("enough")

    monkeypatch.setattr(inputs, "audited", end)
    monkeypatch.setattr(inputs, "_synthetic", lambda _, spec: rendered[spec.seed])
    monkeypatch.setattr(networks, "start_variables", lambda *_: None)  # reads the file of weights
    flags = [f"--flagfile={FOLDER / name}.flags", f"--workdir={tmp_path / 'run'}"]
    flags += [f"--degrees={tmp_path / 'degrees.csv'}"] if name == "malignancy" else []
    named = files | others if name == "cross_dataset" else files
    own = [f"--{flag}={path}" for flag, path in named.items()]
    told = [
        run_command(chosen, *flags, *more, code=2).stderr
        for more in (own, [*own, "--pretrained=weights.h5"], [*own, "--smoke"], [])
    ]
    assert [text.splitlines()[-1] for text in told] == [f"{chosen}: enough"] * 4
    assert [text.count("WARNING: Networks start from random weights") for text in told] == [1, 0, 0, 0]
    assert [inputs.RANDOM_START in photos.notes for photos in seen] == [True, False, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hierarchy", "psoriasis"])
def test_a_smoke_run_of_it_ends_in_a_report(name, tmp_path, compilations):
    """On a network that compiles fast; all other settings are those that shrank."""
    ended = run_small(
        name, f"--flagfile={FOLDER / name}.flags", "--smoke", "--backbone=small", f"--workdir={tmp_path}",
        f"--compilation_cache={compilations}",
    )  # fmt: skip
    assert f"report: {tmp_path / 'report' / 'index.html'}" in ended.stdout
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["config"]
    assert (config["epochs"], config["accumulate"], config["backbone"]) == (2, 1, "small")
    assert config["weight_decay"] == {"hierarchy": 0.000355, "psoriasis": 0.00004}[name]
