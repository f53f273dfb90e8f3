"""A training under a real SLURM, a task of which is killed."""

from __future__ import annotations

import pytest

from tests.faults import slurm
from tests.support import small_backbones

pytestmark = pytest.mark.slow


def test_where_a_task_is_killed_the_requeued_job_resumes_to_the_same_bits(tmp_path):
    """`python -m tests.faults.slurm` prints what is seen."""
    if programs := slurm.missing():
        pytest.skip(f"not here: {', '.join(programs)}; they are in Debian's packages slurm-wlm and munge")
    with small_backbones.registered():
        told = slurm.run(tmp_path, "--backbone=small", "--epochs=20", module="tests.support.small_command")
    assert told[-1].startswith("the same to the bit")
