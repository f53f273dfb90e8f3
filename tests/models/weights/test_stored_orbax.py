"""Folders of Orbax: what was saved comes back, and damage is named in one sentence."""

import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from skinjax.models.weights.formats import open_weights
from tests.support import stored_files as files
from tests.support.commands import REPOSITORY


def test_every_kind_of_leaf(tmp_path):
    tree = {
        "params": {"kernel": np.ones((2, 3), np.float32), "half": jnp.ones(2, jnp.bfloat16)},
        "optimizer": (np.zeros(3), {"trace": np.ones(2)}),
        "step": 12,
        "name": "nano",
        "nothing": None,
    }
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "run", tree)
    expected = {
        "params/kernel": np.ones((2, 3), np.float32),
        "params/half": np.ones(2, np.float32),
        "optimizer/0": np.zeros(3),
        "optimizer/1/trace": np.ones(2),
        "step": np.array(12),
    }
    stored = open_weights(tmp_path / "run")
    files.assert_holds(stored, expected)
    assert stored.read(["optimizer/0"]).keys() == {"optimizer/0"}


def test_steps_with_several_trees_ask_which(tmp_path):
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        items = {name: ocp.args.StandardSave({"x": jnp.ones(1)}) for name in ("one", "two")}
        manager.save(3, args=ocp.args.Composite(**items))
        manager.wait_until_finished()
    with pytest.raises(ValueError, match=r"run/3 holds several trees \(one, two\): give the path of"):
        open_weights(tmp_path / "run")


READ_EACH = """
import sys
from pathlib import Path
from tests.support import stored_files as files
for name in sys.argv[1:]:
    files.refusal(Path(name))
"""


@pytest.mark.slow
def test_damaged_orbax_folders(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "run", {"params": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}})
    stored = open_weights(tmp_path / "run")
    files.assert_holds(
        stored, {"params/bias": np.zeros(3, np.float32), "params/kernel": np.ones((2, 3), np.float32)}
    )
    whole = (tmp_path / "run" / "_METADATA").read_bytes()
    contents = (b"", whole[: len(whole) // 2], b"[]", whole.replace(b"tree_metadata", b"tree"))
    for number, content in enumerate(contents):
        damaged = tmp_path / f"metadata_{number}"
        shutil.copytree(tmp_path / "run", damaged)
        (damaged / "_METADATA").write_bytes(content)
    shutil.copytree(tmp_path / "run", tmp_path / "arrays")
    for file in sorted((tmp_path / "arrays").rglob("*")):
        if file.is_file() and file.name != "_METADATA":
            file.write_bytes(file.read_bytes()[:7])
    damaged = [*sorted(tmp_path.glob("metadata_*")), tmp_path / "arrays"]
    assert len(damaged) == len(contents) + 1
    # In a process of its own: Orbax gives up at the first array that cannot be read, and what Tensorstore
    # finds in the others comes too late for it, as a warning in whatever test runs by then.
    ended = subprocess.run([sys.executable, "-c", READ_EACH, *map(str, damaged)], cwd=REPOSITORY)
    assert ended.returncode == 0


READ_AT_ONCE = """
import asyncio, sys, threading, time
from pathlib import Path
from tests.support import stored_files as files

def read():
    files.refusal(Path(sys.argv[1]))

async def read_in_a_notebook():
    read()

policy = asyncio.get_event_loop_policy()
threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert asyncio.get_event_loop_policy() is policy
asyncio.run(read_in_a_notebook())
time.sleep(0.5)  # for complaints that come late
"""


@pytest.mark.slow
def test_damage_leaves_no_complaints_behind(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "run", {f"kernel_{n}": jnp.ones((200, 300)) for n in range(60)})
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file() and file.name != "_METADATA":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    arguments = [sys.executable, "-c", READ_AT_ONCE, str(tmp_path / "run")]
    ended = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "loop is closed" not in ended.stderr
    assert "Traceback" not in ended.stderr
