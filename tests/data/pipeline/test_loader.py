"""Loading: what every epoch holds, and that the order depends on the seed and the update's number alone."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinjax.data.pipeline.loader import (
    LoadingError,
    Subset,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
    training_dataset,
)
from skinjax.data.pipeline.prepare import Prepared, prepare
from tests.support.commands import REPOSITORY


def subset(count: int, classes: int = 3, offset: int = 0) -> Subset:
    """Photos that show their own number, and labels that follow from it."""
    source = [{"image": np.full((2, 2, 3), number, np.uint8)} for number in range(count + offset)]
    return Subset(source, np.arange(count) + offset, (np.arange(count) % classes).astype(np.int32))


def uneven(count: int = 100, rare: int = 10) -> Subset:
    labels = np.where(np.arange(count) < count - rare, 0, 1).astype(np.int32)
    return Subset(subset(count).source, np.arange(count), labels)


def photos(batches: Iterator[dict]) -> list[list[int]]:
    return [batch["photo"].tolist() for batch in batches]


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(lists))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Prepared:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    names = [f"{number:02d}.png" for number in range(26)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / name)
    return prepare(pd.DataFrame({"image": names}), folder, folder / "prepared", image_size=16)


def test_an_epoch_holds_each_photo_at_most_once_in_an_order_new_every_epoch():
    steps = steps_per_epoch(22, 5)
    drawn = photos(training_batches(subset(22), 5, 3, steps=3 * steps))
    epochs = [flat(drawn[epoch * steps : (epoch + 1) * steps]) for epoch in range(3)]
    assert [len(set(epoch)) for epoch in epochs] == [20] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert photos(training_batches(subset(22), 5, 3, steps=3 * steps)) == drawn
    assert photos(training_batches(subset(22), 5, 4, steps=steps)) != drawn[:steps]


def test_rows_of_a_table_go_with_their_photos():
    table = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    ours = dataclasses.replace(subset(22, offset=7), table=table)
    for batch in training_batches(ours, 5, 0, steps=9, balanced=True):
        np.testing.assert_array_equal(batch["table"], table[batch["photo"]])
    *whole, last = evaluation_batches(ours.where(np.arange(4, 13)), 5)
    np.testing.assert_array_equal(whole[0]["table"], table[11:16])
    assert not last["table"][~last["mask"]].any()
    np.testing.assert_array_equal(ours[3]["table"], table[10])
    assert "table" not in next(training_batches(subset(22), 5, 0, steps=1))


def test_an_epoch_of_whole_batches_holds_every_photo():
    assert sorted(flat(photos(training_batches(subset(24), 6, 0, steps=4)))) == list(range(24))


@pytest.mark.parametrize("balanced", [False, True])
def test_the_order_is_the_one_that_runs_of_former_versions_saw(balanced):
    """Of a half-finished run the rest must be the rest; so the order is spelled out here a second time."""
    photos_of, batch, drawn = uneven(12, 4), 5, []
    classes = [np.arange(8), np.arange(8, 12)] if balanced else [np.arange(12)]
    for number in range(8 * batch):
        if balanced:
            turn, index = divmod(number, 2)
            passes, within = divmod(turn, len(classes[index]))
        else:
            (passes, within), index = divmod(number, 2 * batch), 0
        order = np.random.default_rng((3, index, passes)).permutation(len(classes[index]))
        drawn.append(int(classes[index][order[within]]))
    assert flat(photos(training_batches(photos_of, batch, 3, steps=8, balanced=balanced))) == drawn


@pytest.mark.parametrize("balanced", [False, True])
def test_the_batches_are_a_grain_dataset_by_the_number_of_the_update(balanced):
    dataset = training_dataset(uneven(43, 7), 8, 5, steps=14, balanced=balanced)
    whole = photos(training_batches(uneven(43, 7), 8, 5, steps=14, balanced=balanced))
    assert len(dataset) == 14
    assert photos(dataset) == whole
    assert dataset[9]["photo"].tolist() == whole[9]
    assert photos(dataset[6::2]) == whole[6::2]
    iterator = iter(dataset.to_iter_dataset())
    ahead = [next(iterator)["photo"].tolist() for _ in range(6)]
    state = iterator.get_state()
    resumed = iter(dataset.map(lambda batch: batch | {"mine": batch["photo"] + 1}).to_iter_dataset())
    resumed.set_state(state)
    rest = list(resumed)
    assert ahead + photos(rest) == whole
    np.testing.assert_array_equal(rest[0]["mine"], rest[0]["photo"] + 1)


def test_over_many_epochs_every_photo_comes_equally_often_at_every_place():
    """Of 400 epochs of 12 photos in two batches of 6, a photo stands in a given row of a batch 33 ± 5.5 times."""
    drawn = np.array(photos(training_batches(subset(12), 6, 1, steps=800))).reshape(400, 12)
    counts = np.stack([np.bincount(drawn[:, place], minlength=12) for place in range(12)])
    assert (counts.sum(axis=0) == 400).all()
    assert abs(counts - 400 / 12).max() < 5 * 5.5


def test_photos_keep_their_own_labels_and_numbers():
    for batch in training_batches(subset(30, offset=7), 6, 0, steps=10):
        np.testing.assert_array_equal(batch["label"], (batch["photo"] - 7) % 3)
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["photo"])
        assert [values.dtype for values in batch.values()] == [np.uint8, np.int32, np.int64]
        assert batch["image"].shape == (6, 2, 2, 3)


def test_balanced_sampling_draws_classes_equally():
    drawn = list(training_batches(uneven(), 10, 0, steps=40, balanced=True))
    labels = np.concatenate([batch["label"] for batch in drawn])
    assert abs(labels.mean() - 0.5) < 0.02
    seen = np.concatenate([batch["photo"] for batch in drawn])
    assert (
        np.bincount(seen[labels == 1] - 90, minlength=10).min() >= 19
    )  # each pass goes through all of the ten
    assert np.bincount(seen[labels == 0], minlength=90).min() >= 2


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("process_count", [1, 2, 4])
@pytest.mark.parametrize("first", [0, 1, 5, 6, 13, 14])
def test_a_run_resumed_at_any_update_on_any_number_of_processes_sees_the_same_rows(
    balanced, process_count, first
):
    photos_of = uneven(43, 7)
    whole = photos(training_batches(photos_of, 8, 5, steps=14, balanced=balanced))
    shares = [
        training_batches(
            photos_of,
            8,
            5,
            first=first,
            steps=14,
            balanced=balanced,
            process_index=process,
            process_count=process_count,
            threads=1 + process,
        )
        for process in range(process_count)
    ]
    together = [flat(batch["photo"].tolist() for batch in row) for row in zip(*shares, strict=True)]
    assert together == whole[first:]


def test_the_number_of_updates_to_come_changes_nothing():
    assert photos(training_batches(subset(22), 5, 3, steps=30))[:7] == photos(
        training_batches(subset(22), 5, 3, steps=7)
    )


@pytest.mark.parametrize("process_count", [1, 2, 5])
@pytest.mark.parametrize("count", [20, 21, 26, 3])
def test_evaluation_counts_every_photo_exactly_once_and_pads_the_last_batch(count, process_count):
    shares = [
        evaluation_batches(subset(count, offset=4), 10, process_index=process, process_count=process_count)
        for process in range(process_count)
    ]
    rows = list(zip(*shares, strict=True))
    together = [
        {name: np.concatenate([part[name] for part in row]) for name in ("image", "label", "photo", "mask")}
        for row in rows
    ]
    assert all(part["image"].shape == (10 // process_count, 2, 2, 3) for row in rows for part in row)
    seen = np.concatenate([batch["photo"][batch["mask"]] for batch in together])
    assert seen.tolist() == list(range(4, count + 4))
    for batch in together:
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["photo"])
        assert not any(batch[name][~batch["mask"]].any() for name in ("image", "label", "photo"))


@pytest.mark.slow
def test_worker_processes_read_what_threads_read(prepared):
    ours = Subset(prepared.source, np.arange(26), (np.arange(26) % 4).astype(np.int32))
    here = list(training_batches(ours, 4, 9, first=3, steps=14, threads=1))
    there = list(training_batches(ours, 4, 9, first=3, steps=14, workers=2))
    assert len(here) == len(there) == 11
    for expected, batch in zip(here, there, strict=True):
        assert expected.keys() == batch.keys()
        for name, values in expected.items():
            assert type(batch[name]) is np.ndarray
            assert batch[name].dtype == values.dtype
            np.testing.assert_array_equal(batch[name], values)
    np.testing.assert_array_equal(here[0]["image"][1], prepared.source[int(here[0]["photo"][1])]["image"])
    masks = [batch["mask"] for batch in evaluation_batches(ours, 10, workers=1)]
    assert np.concatenate(masks).tolist() == [True] * 26 + [False] * 4


@pytest.mark.slow
def test_batches_outlive_the_ones_after_them(prepared):
    """What comes from a worker lies in shared memory; it may not be handed out twice."""
    ours = Subset(prepared.source, np.arange(26), np.zeros(26, np.int32))
    kept = list(training_batches(ours, 13, 0, steps=30, workers=1))
    for batch in kept:
        for image, photo in zip(batch["image"], batch["photo"], strict=True):
            np.testing.assert_array_equal(image, prepared.source[int(photo)]["image"])


@pytest.mark.slow
def test_a_killed_worker_is_told_and_not_waited_for():
    batches = training_batches(subset(22), 5, 0, steps=10**6, workers=2)
    next(batches)
    began = time.monotonic()
    victim = max(multiprocessing.active_children(), key=lambda process: process.pid)
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(LoadingError, match="a worker process that reads photos has died"):
        for _ in batches:
            pass
    assert time.monotonic() - began < 30
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_stopping_early_ends_the_workers():
    batches = training_batches(subset(22), 5, 0, steps=10**6, workers=1)
    next(batches)
    assert len(multiprocessing.active_children()) == 1
    batches.close()
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_workers_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "reads.py"
    script.write_text(
        textwrap.dedent(
            """
            import multiprocessing, sys, time
            import numpy as np
            from skinjax.data.pipeline.loader import Subset, training_batches

            if __name__ == "__main__":
                source = [{"image": np.zeros((2, 2, 3), np.uint8)}] * 9
                batches = training_batches(Subset(source, np.arange(9), np.zeros(9, int)), 3, 0, steps=10**6, workers=1)
                next(batches)
                print(*[child.pid for child in multiprocessing.active_children()], flush=True)
                time.sleep(60)
            """
        )
    )
    command = [sys.executable, str(script)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        workers = [int(number) for number in process.stdout.readline().split()]
        process.kill()
    assert workers
    deadline = time.monotonic() + 20
    while (left := [worker for worker in workers if _runs(worker)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


class Torn:
    """A source that one photo of cannot be read from."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if index == 7:
            raise OSError("record 7 is torn")
        return {"image": np.zeros((2, 2, 3), np.uint8)}


def test_a_photo_that_cannot_be_read_is_told_with_its_batch():
    torn = Subset(Torn(), np.arange(12), np.zeros(12, np.int32))
    with pytest.raises(
        LoadingError, match=r"the photos of batch 1 cannot be read \(OSError: record 7 is torn\)"
    ):
        list(evaluation_batches(torn, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 32}, "batch_size must be at most 22, the photos to train on, got 32"),
        ({"process_count": 2}, "batch_size 5 cannot be shared evenly by process_count 2"),
        ({"process_count": 0}, "batch_size 5 cannot be shared evenly by process_count 0"),
        ({"process_index": 1}, r"process_index must lie in \[0, 1\), got 1"),
        ({"first": 5}, r"first must lie in \[0, steps\], got 5 with 4 steps"),
        ({"seed": -1}, r"seed must lie in \[0, 2\*\*32\), got -1"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_read(changes, message):
    with pytest.raises(ValueError, match=message):
        training_batches(**({"subset": subset(22), "batch_size": 5, "seed": 0, "steps": 4} | changes))


def test_a_source_that_cannot_be_pickled_is_told_before_a_process_is_started():
    ours = subset(22)
    ours.source.append(lambda: None)
    with pytest.raises(
        ValueError, match=r"the photos cannot be handed to worker processes: .*; use workers=0"
    ):
        training_batches(ours, 5, 0, steps=4, workers=1)


def test_evaluation_refuses_a_batch_that_cannot_be_shared():
    with pytest.raises(ValueError, match="batch_size 5 cannot be shared evenly by process_count 2"):
        evaluation_batches(subset(22), 5, process_count=2)


def test_nothing_left_to_do_yields_nothing():
    assert list(training_batches(subset(22), 5, 0, first=4, steps=4, workers=3)) == []
