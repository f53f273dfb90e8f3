"""Kills a task of a training under SLURM, and compares what the requeued job comes to with one left alone.

    python -m tests.faults.slurm

Starts SLURM on this machine, in a temporary folder and with a key of its own, and submits
`experiments/launch/slurm.sbatch train --smoke` twice. Installs nothing: Debian's `slurm-wlm` and `munge` must be here.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BATCH_FILE = REPOSITORY / "experiments" / "launch" / "slurm.sbatch"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin"
TASKS = 2


def missing() -> list[str]:
    """Returns the programs of SLURM and munge that are not here."""
    return [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]


class Cluster:
    """SLURM with one node of two processors: this machine; use as a context manager.

    Args:
      place: Folder of its key, settings, state and logs.
      module: What runs as `skinjax`.
    """

    def __init__(self, place: Path, module: str) -> None:
        self.place, self.module = place, module
        self._daemons: list[subprocess.Popen[bytes]] = []
        bin_folder = place / "bin"
        bin_folder.mkdir(parents=True)
        command = bin_folder / "skinjax"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        self.environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {
            "PATH": f"{bin_folder}:{PATH}",
            "PYTHONPATH": str(REPOSITORY),
            "SLURM_CONF": str(place / "slurm.conf"),
        }

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _start(self) -> None:
        self.place.chmod(0o755)
        for folder in ("state", "spool"):
            (self.place / folder).mkdir()
        key = self.place / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {
            "socket": "munge.socket",
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "seed",
        }
        settings = [f"--{name}={self.place / file}" for name, file in files.items()]
        self._daemon("munged", "--foreground", "--force", f"--key-file={key}", *settings)
        self._until((self.place / "munge.socket").exists, "munge")
        (self.place / "slurm.conf").write_text(self._settings(), encoding="utf-8")
        self._daemon("slurmctld", "-D", "-f", str(self.place / "slurm.conf"))
        self._daemon("slurmd", "-D", "-f", str(self.place / "slurm.conf"))
        self._until(lambda: "State=IDLE" in self.ask("scontrol", "show", "node"), "the node")

    def _settings(self) -> str:
        name, user, place = socket.gethostname().partition(".")[0], getpass.getuser(), self.place
        lines = {
            "ClusterName": "test",
            "SlurmctldHost": f"{name}(127.0.0.1)",
            "SlurmctldPort": free_port(),
            "SlurmdPort": free_port(),
            "SlurmUser": user,
            "SlurmdUser": user,
            "AuthType": "auth/munge",
            "CredType": "cred/munge",
            # A requeued job waits until its former credential has expired.
            "AuthInfo": f"socket={place / 'munge.socket'},cred_expire=5",
            "StateSaveLocation": place / "state",
            "SlurmdSpoolDir": place / "spool",
            "SlurmctldPidFile": place / "slurmctld.pid",
            "SlurmdPidFile": place / "slurmd.pid",
            "SlurmctldLogFile": place / "slurmctld.log",
            "SlurmdLogFile": place / "slurmd.log",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_CPU",
            "SlurmdParameters": "config_overrides",  # two processors, whatever the machine has
            "ReturnToService": 2,
            "NodeName": f"localhost NodeHostname={name} NodeAddr=127.0.0.1 CPUs={TASKS} State=UNKNOWN",
            "PartitionName": "test Nodes=ALL Default=YES State=UP",
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items())

    def _daemon(self, *command: str) -> None:
        with (self.place / f"{command[0]}.out").open("wb") as out:
            self._daemons.append(
                subprocess.Popen(command, env=self.environment, stdout=out, stderr=subprocess.STDOUT)
            )

    def _until(self, true: Callable[[], bool], name: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline or any(daemon.poll() is not None for daemon in self._daemons):
                told = {
                    path.name: path.read_text(errors="replace")[-500:] for path in self.place.glob("*.out")
                }
                raise RuntimeError(f"{name} did not come up: {told}")
            time.sleep(0.1)

    def ask(self, *command: str) -> str:
        """Returns what a command of SLURM prints."""
        return subprocess.run(
            command, env=self.environment, cwd=self.place, capture_output=True, text=True, check=False
        ).stdout

    def submit(self, *arguments: str) -> str:
        """Submits the batch file and returns the job's number."""
        return self.ask("sbatch", "--parsable", str(BATCH_FILE), *arguments).strip()

    def job(self, number: str) -> dict[str, str]:
        """Returns what SLURM knows of a job."""
        words = self.ask("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def log(self, number: str) -> str:
        """Returns what a job has printed."""
        path = self.place / f"skinjax-{number}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def finish(self, number: str, seconds: float) -> dict[str, str]:
        """Waits until a job has ended for good, and returns what SLURM knows of it."""
        deadline = time.monotonic() + seconds
        while (told := self.job(number))["JobState"] in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED"):
            if time.monotonic() > deadline:
                self.ask("scancel", number)
                raise TimeoutError(f"job {number} has not ended: {told['JobState']}\n{self.log(number)}")
            time.sleep(0.5)
        return told

    def kill_task(self, number: str, task: int) -> int:
        """Kills a task's process, as a machine out of memory does; returns its id."""
        named = {f"SLURM_JOB_ID={number}", f"SLURM_PROCID={task}"}
        for folder in Path("/proc").iterdir():
            try:
                if not folder.name.isdigit() or self.module not in (folder / "cmdline").read_text():
                    continue
                if named <= set((folder / "environ").read_text(errors="replace").split("\0")):
                    os.kill(int(folder.name), signal.SIGKILL)
                    return int(folder.name)
            except OSError:  # it has ended meanwhile, or is another user's
                continue
        raise ProcessLookupError(f"job {number} has no task {task}")


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def saved(workdir: Path) -> int:
    """Returns the newest update of which a checkpoint is whole, 0 where there is none."""
    folder = workdir / "checkpoints" / "fold_0" / "sub"
    return max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=0)


def results(workdir: Path) -> Mapping[str, bytes]:
    """Returns all that a training came to, but for the seconds that it took: arrays as bytes by name."""
    from jax.tree_util import keystr, tree_leaves_with_path

    from skinjax.predict.load import load_run

    found = {
        f"{name}.{column}": values.to_numpy().tobytes()
        if values.dtype.kind == "f"
        else repr(values.tolist()).encode()
        for name, frame in (
            ("metrics", pd.read_csv(workdir / "metrics.csv").drop(columns="seconds")),
            ("predictions", pd.read_parquet(workdir / "predictions" / "held_out.parquet")),
        )
        for column, values in frame.items()
    }
    for path, leaf in tree_leaves_with_path(load_run(workdir).variables):
        found[keystr(path)] = np.asarray(leaf).tobytes()
    return found


def run(place: Path, *flags: str, module: str = "skinjax", seconds: float = 900) -> list[str]:
    """Trains with and without a killed task; returns what was seen, a line each.

    Args:
      place: An empty folder.
      *flags: Of `skinjax train`, beside the smoke settings.
      module: What runs as `skinjax`; with the networks of the tests it is `tests.support.small_command`.
      seconds: How long either job may take.

    Raises:
      AssertionError: A job failed, was not requeued, or ended with other results.
    """
    told = []
    shared = ("train", "--smoke", "--noaudit", "--epochs=8", "--checkpoint_seconds=0", *flags)
    cache = f"--compilation_cache={place / 'compiled'}"
    with Cluster(place / "slurm", module) as cluster:
        alone = cluster.submit(*shared, cache, f"--workdir={place / 'alone'}")
        ended = cluster.finish(alone, seconds)
        assert ended["JobState"] == "COMPLETED", cluster.log(alone)
        told.append(f"job {alone}, undisturbed, {TASKS} tasks: {ended['JobState']} in {ended['RunTime']}")

        killed = cluster.submit(*shared, cache, f"--workdir={place / 'killed'}")
        deadline = time.monotonic() + seconds
        while not saved(place / "killed"):
            assert cluster.job(killed)["JobState"] in ("PENDING", "RUNNING"), cluster.log(killed)
            assert time.monotonic() < deadline, cluster.log(killed)
            time.sleep(0.02)
        process = cluster.kill_task(killed, 1)
        told.append(f"job {killed}: task 1 (process {process}) killed after update {saved(place / 'killed')}")
        ended = cluster.finish(killed, seconds)
        log = cluster.log(killed)
        assert ended["JobState"] == "COMPLETED", log
        assert ended["Restarts"] == "1", ended
        assert re.search(r" [1-9]\d*/\d+ photos, resumed", log), log
        assert "Traceback" not in log, log
        told += [
            line for line in log.splitlines() if "ended" in line or "Killed" in line or "resumed" in line
        ]
        told.append(f"job {killed}: requeued {ended['Restarts']} time, then {ended['JobState']}")
    expected, found = results(place / "alone"), results(place / "killed")
    assert set(expected) == set(found)
    different = [name for name in expected if expected[name] != found[name]]
    assert not different, different
    told.append(
        f"the same to the bit: {len(expected)} arrays of the network, its metrics and its predictions"
    )
    return told


def main() -> None:
    """Does it once in a temporary folder, or says what is missing."""
    if programs := missing():
        sys.exit(f"not here: {', '.join(programs)}; they are in Debian's packages slurm-wlm and munge")
    with tempfile.TemporaryDirectory() as place:
        print(*run(Path(place)), sep="\n")


if __name__ == "__main__":
    main()
