"""No interval keeps out its own estimate or has no width: the small form of `benchmarks.odd_studies`."""

import pytest

from benchmarks.odd_studies import FAULTS, count


@pytest.mark.slow
def test_every_interval_of_odd_studies_holds_its_estimate():
    counts, faults = count(40, seed=11)
    assert not faults
    assert not sum(found[fault] for found in counts.values() for fault in FAULTS)
    assert sum(found["given"] for found in counts.values()) > 1000
