"""Names that other programs give to flags: each leads to a flag that there is."""

from __future__ import annotations

import importlib

import pytest

from skinjax.cli.commands import COMMANDS
from skinjax.cli.guesses import ANSWERS, OURS, meant_argument, meant_flag
from skinjax.cli.launch import ProcessOptions
from skinjax.runs.options import option_types


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    """Returns the names of each command's flags."""
    launch = set(option_types(ProcessOptions))
    return {
        one.name: {*option_types(importlib.import_module(one.module).Config), *launch} for one in COMMANDS
    }


def test_every_guess_leads_to_a_flag_of_some_command(flags):
    every = set().union(*flags.values())
    assert {flag for candidates in OURS for flag in candidates} <= every
    guessed = [name for names in (*OURS.values(), *ANSWERS) for name in names.split()]
    assert len(guessed) == len(set(guessed))


def test_a_flag_of_the_command_is_named_and_no_other(flags):
    for known in flags.values():
        for names in OURS.values():
            for name in names.split():
                hint = meant_flag(name, known)
                if hint.startswith("did you mean --"):
                    assert hint.removeprefix("did you mean --").removesuffix("?") in known


def test_a_folder_of_a_run_is_told_from_one_of_photos(tmp_path):
    known = {"workdir", "photos", "manifest"}
    assert meant_argument(str(tmp_path), known) == f"did you mean --photos={tmp_path}?"
    (tmp_path / "config.json").write_text("{}")
    assert meant_argument(str(tmp_path), known) == f"did you mean --workdir={tmp_path}?"
    assert meant_argument("whatever", known) == ""
