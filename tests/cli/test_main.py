"""The command as a user types it: help, one sentence for what is wrong, and what reaches a study."""

from __future__ import annotations

import logging
import re
import sys
import time
from pathlib import Path

import pytest

from skinjax.cli.commands import COMMANDS
from skinjax.cli.launch import CommandOptions, ProcessOptions, guarded
from skinjax.studies import backbones, hierarchy, prediction, preparation, training
from tests.support.commands import run_command, run_python


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """What studies are called with, which then do nothing."""
    found: list[tuple] = []
    for study in (backbones, hierarchy, prediction, preparation, training):
        monkeypatch.setattr(study, "run", lambda *arguments: found.append(arguments) or "the result")
    return found


def test_trainings_compute_in_the_calling_thread_and_predictions_do_not(calls, tmp_path, monkeypatch):
    from skinjax.cli import main

    told = []
    module = sys.modules["skinjax.cli.main"]  # the package gives the function this name
    monkeypatch.setattr(module, "compute_in_calling_thread", lambda: told.append(len(calls)))
    main(["predict", f"--workdir={tmp_path}", f"--photos={tmp_path}"])
    main(["train", f"--workdir={tmp_path}"])
    assert len(calls) == 2
    assert told == [1]


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_has_a_line_per_study(words, capsys):
    from skinjax.cli import main

    main(words)
    shown = capsys.readouterr().out
    assert "Not a medical device" in shown
    listed = shown.split("commands:\n")[1].splitlines()
    assert [line.split()[0] for line in listed] == [one.name for one in COMMANDS]
    assert all(one.summary in line for one, line in zip(COMMANDS, listed, strict=True))


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.name)
def test_help_of_a_study_has_its_most_used_flags_and_names_the_way_to_all(one):
    shown = run_command(one.name, "--help").stdout
    flags = re.findall(r"^  --(?:\[no\])?(\w+)", shown, re.MULTILINE)
    every = re.findall(r"^  --(?:\[no\])?(\w+)", run_command(one.name, "--helpfull").stdout, re.MULTILINE)
    assert set(flags) <= set(every)
    if one.used:
        assert tuple(flags) == one.used
        assert len(flags) <= 10
        assert shown.endswith(f"all {len(every)} flags: skinjax {one.name} --helpfull\n")
    else:
        assert flags == every


def test_full_help_of_a_study_has_its_docstring_and_its_flags_in_groups():
    shown = run_command("hierarchy", "--epochs=3", "--helpfull").stdout
    assert shown.startswith(hierarchy.__doc__)
    headings = re.findall(r"^([a-z][^\n]*):$", shown[len(hierarchy.__doc__) :], re.MULTILINE)
    assert headings == [
        "this study", "running", "photos", "network and training", "columns beside the photos", "optimiser and loss",
        "hyper-parameters (Table 4-1 of the thesis)",
        "flips and Cutout (not in Table 4-1; values are ours)", "devices and processes",
    ]  # fmt: skip
    told = "How a training step is spread over devices: jit over a mesh, or pmap. (default jit)"
    assert f"\n  --parallel <jit|pmap>\n      {told}\n" in shown
    assert "\n  --[no]audit\n" in shown
    assert max(map(len, shown[len(hierarchy.__doc__) :].splitlines())) <= 120


def test_version(capsys):
    from skinjax import __version__
    from skinjax.cli import main

    main(["--version"])
    assert capsys.readouterr().out == f"skinjax {__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hierarky"], "skinjax: there is no command 'hierarky'; did you mean hierarchy?"),
        (["Train"], "skinjax: there is no command 'Train'; did you mean train?"),
        (["xyz"], "skinjax: there is no command 'xyz'; commands are audit, prepare_data, preview, train, "),
        (["--smoke"], "skinjax: there is no command '--smoke'; commands are audit, "),
        (["train", "photos"], "train: unknown argument 'photos'; settings are given as --flag=value"),
        (["train", "--epochs=3", "photos"], "train: unknown argument 'photos'; settings are"),
        (["train", "--epohcs=3"], "train: there is no flag --epohcs; did you mean --epochs?; --help lists the flags"),
        (["train", "--lr=0.1"], "train: there is no flag --lr; did you mean --learning_rate?; --help lists the flags"),
        (["train", "--lr", "0.1"], "train: there is no flag --lr; did you mean --learning_rate?"),
        (["train", "--batch-size=3"], "train: there is no flag --batch-size; did you mean --batch_size?"),
        (["hierarchy", "--arch=resnet50"], "there is no flag --arch; did you mean --backbone?"),
        (["benchmark_backbones", "--net=resnet50"], "there is no flag --net; did you mean --backbones?"),
        (["hierarchy", "--model=resnet50"], "there is no flag --model; did you mean --backbone?"),
        (["predict", "--model=runs/a"], "there is no flag --model; did you mean --workdir?"),
        (["hierarchy", "--out=runs/a"], "there is no flag --out; did you mean --workdir?"),
        (["evaluate", "--output=a"], "there is no flag --output; did you mean --out?"),
        (["hierarchy", "--data=a.csv"], "there is no flag --data; did you mean --manifest?"),
        (["evaluate", "--data=a.csv"], "there is no flag --data; did you mean --predictions?"),
        (["predict", "--data=a.jpg"], "there is no flag --data; did you mean --photos?"),
        (["train", "--gpus=1"], "there is no flag --gpus; JAX takes the devices that it finds; JAX_PLATFORMS=cpu"),
        (["train", "a.csv"], "train: unknown argument 'a.csv'; did you mean --manifest=a.csv?"),
        (["evaluate", "a.csv"], "evaluate: unknown argument 'a.csv'; did you mean --predictions=a.csv?"),
        (["predict", "a.jpg"], "predict: unknown argument 'a.jpg'; did you mean --photos=a.jpg?"),
        (["predict", "."], "predict: unknown argument '.'; did you mean --photos=.?"),
        (["train", "."], "train: unknown argument '.'; photos are named by a table: --manifest=FILE.csv with"),
        (["train", "lr=0.1"], "train: unknown argument 'lr=0.1'; did you mean --learning_rate=0.1?"),
        (["train", "--epochs=x"], "train: --epochs must be a whole number, got 'x'; --help lists the flags"),
        (["train", "--epochs=-1"], "train: --epochs must be at least 0, got -1"),
        (["train", "--epochs=0", "--preset=thesis"], "train: --epochs=0 takes the preset's number"),
        (["train", "--momentum=2"], "train: --momentum must be between 0 and 0.9999, got 2"),
        (["train", "--loss=mse"], "train: --loss must be one of "),
        (["train", "--smoke=maybe"], "train: --smoke must be True or False, got 'maybe'"),
        (["train", "--fold=5"], "train: --fold=5 is out of range: there are 5 folds, 0 to 4"),
        (["train", "--patience=3"], "train: --patience=3 needs --choose_by=METRIC"),
        (["train", "--processes=0"], "train: --processes must be at least 1, got 0"),
        (["train", "--flagfile=nowhere.flags"], "train: Unable to open flagfile: [Errno 2] No such file"),
        (["train", "--source=here", "--preset=thesis"], "--source=here is given without --manifest=FILE or --dataset"),
        (["benchmark-backbones", "--backbone=a"], "--backbone=a is not used here; name the networks in --backbones=a"),
        (["evaluate", "--workdir=a", "--predictions=b"], "evaluate: --workdir=a and "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_and_code_2(words, message, tmp_path):
    ended = run_command(*words, code=2, folder=tmp_path)
    assert ended.stdout == ""
    (sentence,) = ended.stderr.splitlines()
    assert message in sentence
    assert (
        sorted(path.name for path in tmp_path.rglob("*") if not path.is_dir() and path.stat().st_size) == []
    )


def test_a_study_gets_its_options_and_its_folder_and_its_result_is_shown(calls, tmp_path):
    shown = run_command(
        "hierarchy", "--epochs=3", "--noaudit", f"--workdir={tmp_path / 'run'}", folder=tmp_path
    )
    assert shown.stdout == "the result\n"
    assert calls == [(None, hierarchy.Config.of_preset("laptop", epochs=3, audit=False), tmp_path / "run")]


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["train"], Path("runs/train_run")),
        (["training", "--smoke"], Path("runs/train_smoke")),
        (["benchmark-backbones"], Path("runs/benchmark_backbones_run")),
        (["prepare_data"], Path("runs/prepare_data_run")),
        (["predict", "--smoke"], None),
        (["predict", "--workdir=a"], Path("a")),
    ],
)
def test_the_folder_where_none_is_named(words, folder, calls, tmp_path):
    run_command(*words, folder=tmp_path)
    ((_, _, place),) = calls
    assert place == folder


def test_smoke_shrinks_what_was_not_typed(calls, tmp_path):
    """A flagfile's settings are those of the real run: they shrink, and its folder is left alone."""
    (tmp_path / "mine.flags").write_text(
        "--epochs=30\n--momentum=0.5\n--workdir=real\n--image_size=80\n--accumulate=2\n"
    )
    for flagfile in (["--flagfile=mine.flags"], ["--flagfile", "mine.flags"], ["-flagfile=mine.flags"]):
        run_command("hierarchy", "--smoke", *flagfile, "--folds=3", "--batch_size", "8", folder=tmp_path)
    given = {"momentum": 0.5, "folds": 3, "batch_size": 8, "smoke": True}
    tiny = {
        "backbone": "efficientnet_nano", "synthetic_cases": 4, "learning_rate": 0.02, "burn_in": 4.0,
        "batch_norm_momentum": 0.9, "epochs": 2, "image_size": 64,
    }  # fmt: skip
    expected = hierarchy.Config(**given, **tiny)  # type: ignore[arg-type]
    assert [call[1:] for call in calls] == [(expected, Path("runs/hierarchy_smoke"))] * 3
    run_command("hierarchy", "--smoke", "--flagfile=mine.flags", "--workdir=mine", folder=tmp_path)
    assert calls[-1][2] == Path("mine")
    run_command("hierarchy", "--flagfile=mine.flags", folder=tmp_path)
    assert (calls[-1][1].epochs, calls[-1][2]) == (30, Path("real"))


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (ValueError("epochs=3 is odd"), 2, "train: --epochs=3 is odd"),
        (FileNotFoundError(2, "No such file", "a.csv"), 2, "train: [Errno 2] No such file: 'a.csv'"),
        (KeyboardInterrupt(), 130, "interrupted; the same command again resumes"),
        (RuntimeError("RESOURCE_EXHAUSTED: 3 GB"), 2, "train: the device has not enough memory; try a smaller "),
    ],
)  # fmt: skip
def test_errors_of_a_study_are_told(raised, code, message, capsys, monkeypatch):
    logger = logging.getLogger("skinjax")
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = logger.handlers[:], logger.level, logger.propagate

    def work() -> None:
        raise raised

    try:
        with pytest.raises(SystemExit) as ended:
            guarded(work, "train", CommandOptions(), {"epochs"})
        assert ended.value.code == code
        assert capsys.readouterr().err.startswith(message)
        if code == 2:
            with pytest.raises(type(raised)):
                guarded(work, "train", CommandOptions(traceback=True), {"epochs"})
    finally:
        logger.handlers[:], logger.level, logger.propagate = before


def test_a_stopped_run_asks_to_be_started_again(capsys):
    from skinjax.train.loop import StoppedError

    logger = logging.getLogger("skinjax")
    before, hook = (logger.handlers[:], logger.level, logger.propagate), sys.unraisablehook

    def work() -> None:
        raise StoppedError("stopped at epoch 3")

    try:
        with pytest.raises(SystemExit) as ended:
            guarded(work, "train", ProcessOptions(), set())
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
        sys.unraisablehook = hook
    assert ended.value.code == 75
    assert "stopped at epoch 3; the same command again resumes" in capsys.readouterr().err


def test_help_comes_at_once_and_loads_no_study():
    code = (
        "import sys; from skinjax.cli import main; main(['--help']); "
        "print([name for name in ('jax', 'pandas', 'numpy', 'grain') if name in sys.modules])"
    )
    began = time.perf_counter()
    shown = run_python("-c", code).stdout
    assert shown.splitlines()[-1] == "[]"
    assert time.perf_counter() - began < 20  # a second, but on a busy machine


@pytest.mark.slow
def test_the_script_of_the_checkout_and_the_module_are_the_command():
    for words in (["-m", "experiments.evaluate"], ["-m", "skinjax.cli", "evaluate"]):
        ended = run_python(*words, "--replicates=0", code=2)
        assert ended.stderr == "evaluate: --replicates must be at least 100, got 0\n"


def test_a_reader_who_leaves_ends_the_command_quietly(monkeypatch):
    def leaves():
        raise BrokenPipeError(32, "Broken pipe")

    from skinjax.cli.launch import CommandOptions, guarded

    with pytest.raises(BrokenPipeError):
        guarded(leaves, "predict", CommandOptions(), ())


def test_what_a_study_says_names_flags_as_they_are_typed(monkeypatch):
    """The library says `name=value` in errors, messages and results alike; of what is no option nothing changes."""

    def run(*_):
        logging.getLogger("skinjax.studies").warning("fold=1 is left; other=2 and data/fold=3 are no options")
        return "give degrees=FILE"

    monkeypatch.setattr(prediction, "run", run)
    ended = run_command("predict", "--workdir=run")
    assert ended.stdout == "give --degrees=FILE\n"
    assert ended.stderr == "--fold=1 is left; other=2 and data/fold=3 are no options\n"


@pytest.mark.parametrize("name", ["predict", "app", "export"])
def test_commands_that_read_a_run_do_not_say_that_they_make_one(name):
    shown = " ".join(run_command(name, "--help").stdout.split())
    assert "Folder of the finished run" in shown
    assert "created where missing" not in shown
