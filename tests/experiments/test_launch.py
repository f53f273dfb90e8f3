"""The files for schedulers say what `skinjax` and the schedulers understand."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from skinjax.cli.main import _launch, command
from skinjax.runs.options import option_types
from skinjax.studies import training
from tests.support.commands import REPOSITORY

LAUNCH = REPOSITORY / "experiments" / "launch"

# What the manifest uses of the API jobset.x-k8s.io/v1alpha2 and of Kubernetes' batch/v1 and v1: each field's type, or
# for a list the type of its entries; a field that is not here is one that the API server would refuse.
CONTAINER = {
    "name": str,
    "image": str,
    "command": [str],
    "args": [str],
    "env": [{"name": str, "value": str, "valueFrom": {"fieldRef": {"fieldPath": str}}}],
    "ports": [{"containerPort": int}],
    "resources": {"limits": {"nvidia.com/gpu": str}},
    "volumeMounts": [{"name": str, "mountPath": str}],
}
POD = {
    "restartPolicy": {"Never", "OnFailure"},  # of a job's pods
    "terminationGracePeriodSeconds": int,
    "containers": [CONTAINER],
    "volumes": [
        {"name": str, "persistentVolumeClaim": {"claimName": str}, "emptyDir": {"medium": {"", "Memory"}}}
    ],
}
JOB = {
    "completionMode": {"Indexed", "NonIndexed"},
    "parallelism": int,
    "completions": int,
    "backoffLimit": int,
    "podFailurePolicy": {
        "rules": [
            {
                "action": {"FailJob", "FailIndex", "Ignore", "Count"},
                "onExitCodes": {"containerName": str, "operator": {"In", "NotIn"}, "values": [int]},
            }
        ]
    },
    "template": {"spec": POD},
}
JOBSET = {
    "apiVersion": {"jobset.x-k8s.io/v1alpha2"},
    "kind": {"JobSet"},
    "metadata": {"name": str},
    "spec": {
        "coordinator": {"replicatedJob": str, "jobIndex": int, "podIndex": int},
        "failurePolicy": {
            "maxRestarts": int,
            "rules": [
                {
                    "name": str,
                    "action": {"FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"},
                    "onJobFailureReasons": [
                        {
                            "BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "MaxFailedIndexesExceeded",
                            "PodFailurePolicy",
                        }
                    ],
                }
            ],
        },
        "replicatedJobs": [{"name": str, "replicas": int, "template": {"spec": JOB}}],
    },
}  # fmt: skip


def faults(value: object, schema: object, place: str = "") -> list[str]:
    """Places where a document is not as a schema has it."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return [f"{place} must be a mapping"]
        found = [f"{place}.{name} is unknown" for name in value if name not in schema]
        return found + [
            fault
            for name, inner in value.items()
            if name in schema
            for fault in faults(inner, schema[name], f"{place}.{name}")
        ]
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{place} must be a list"]
        return [
            fault
            for number, inner in enumerate(value)
            for fault in faults(inner, schema[0], f"{place}[{number}]")
        ]
    if isinstance(schema, set):
        return [] if value in schema else [f"{place} must be one of {schema}"]
    return [] if type(value) is schema else [f"{place} must be {schema.__name__}"]


@pytest.fixture
def manifest() -> dict:
    return yaml.safe_load((LAUNCH / "jobset.yaml").read_text(encoding="utf-8"))


def test_the_jobset_is_one_that_kubernetes_takes(manifest):
    assert faults(manifest, JOBSET) == []
    (jobs,) = manifest["spec"]["replicatedJobs"]
    job = jobs["template"]["spec"]
    assert manifest["spec"]["coordinator"]["replicatedJob"] == jobs["name"]
    (container,) = job["template"]["spec"]["containers"]
    # JobSet's webhook: a pod's name, <set>-<jobs>-<job>-<pod>-<five characters>, is at most 63 characters long.
    assert len(f"{manifest['metadata']['name']}-{jobs['name']}-0-{job['completions']}-abcde") <= 63
    # Kubernetes: indexed jobs need completions, a failure policy needs pods that are never restarted in place.
    assert job["completions"] == job["parallelism"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    for rule in job["podFailurePolicy"]["rules"]:
        assert rule["onExitCodes"]["containerName"] == container["name"]
        assert rule["onExitCodes"]["values"] == sorted(set(rule["onExitCodes"]["values"]) - {0})
    volumes = {volume["name"] for volume in job["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_a_mistake_in_the_jobset_is_found(manifest):
    manifest["spec"]["failurePolicy"]["maxRestart"] = 3
    manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["completions"] = "2"
    manifest["spec"]["failurePolicy"]["rules"][0]["action"] = "Restart"
    assert len(faults(manifest, JOBSET)) == 3


def test_the_pods_of_the_jobset_start_a_command_of_so_many_processes(manifest):
    (jobs,) = manifest["spec"]["replicatedJobs"]
    job = jobs["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert env["PROCESSES"] == str(job["completions"])
    (line,) = container["args"]
    words = line.split()
    assert words[:3] == ["exec", "skinjax", "train"]
    flags = {word.partition("=")[0].removeprefix("--") for word in words[3:]}
    assert flags <= {*option_types(training.Config), *option_types(_launch(command("train")))}
    assert {"coordinator", "processes", "process_index", "workdir"} <= flags
    port = container["ports"][0]["containerPort"]
    # As the shell of the container would say it, with what JobSet and Kubernetes put into its environment.
    shown = subprocess.run(
        ["sh", "-c", line.replace("exec skinjax", "echo", 1)], capture_output=True, text=True, check=True,
        env=env | {"COORDINATOR": "skinjax-workers-0-0.skinjax", "JOB_COMPLETION_INDEX": "1"},
    ).stdout  # fmt: skip
    assert f"--coordinator=skinjax-workers-0-0.skinjax:{port} --processes=2 --process_index=1" in shown


def test_the_batch_file_is_a_shell_script_whose_options_stand_before_its_commands():
    path = LAUNCH / "slurm.sbatch"
    subprocess.run(["bash", "-n", str(path)], check=True)
    lines = path.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    options = [line for line in lines if line.startswith("#SBATCH")]
    assert options == [line for line in lines[:first] if line.startswith("#SBATCH")]
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", line) for line in options)


@pytest.mark.parametrize(
    ("code", "starts", "requeued"),
    [(0, "", False), (2, "", False), (1, "", False), (75, "", True), (137, "3", True), (75, "20", False)],
)
def test_the_batch_file_starts_again_what_another_start_can_finish(tmp_path, code, starts, requeued):
    """With stand-ins for SLURM's commands; `tests/faults/test_slurm.py` has the real ones."""
    for name, lines in (
        ("srun", f'echo "$@" > {tmp_path}/ran\nexit {code}'),
        ("scontrol", f'echo "$@" > {tmp_path}/requeued'),
        ("sleep", "exit 0"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": starts}
    words = ["train", "--manifest=a folder/photos.csv"]
    ended = subprocess.run(["bash", str(LAUNCH / "slurm.sbatch"), *words], env=environment, check=False)
    assert ended.returncode == code
    assert (tmp_path / "ran").read_text() == f"--kill-on-bad-exit=0 skinjax {' '.join(words)}\n"
    assert (tmp_path / "requeued").exists() == requeued
    if requeued:
        assert (tmp_path / "requeued").read_text() == "requeue 7\n"
