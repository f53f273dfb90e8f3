"""The section on which relatives are taken for the target, held against shares by hand."""

from __future__ import annotations

import numpy as np
import pytest

from skinjax.evaluate.proportions import proportion_by_case
from skinjax.report.blocks import Table, Text
from skinjax.report.sections.relatives import Relatives, relatives_section
from skinjax.report.tables.target_models import Sample

GROUPS = ("Psoriasis", "Near relative", "Distant relative")
CLASSES = np.array(["Psoriasis", "Eczema", "Lichen planus", "Pemphigus"], object)


def made(called=None, groups=GROUPS, of_class=(0, 1, 1, 2)):
    """Two photos a case, cases going round the classes."""
    case = np.repeat(np.arange(48), 2)
    of = case % 4
    sample = Sample(np.arange(96).astype(str), of == 0, case.astype(str), CLASSES[of])
    if called is None:
        called = np.where(of == 3, case < 8, np.where(of == 1, case % 3 == 0, of == 0))
    return Relatives("Psoriasis", "relation", groups, sample, np.array(of_class)[of], called)


def tables(section):
    return {block.name: block.data for block in section.blocks if isinstance(block, Table)}


def test_shares_and_intervals_are_those_of_each_groups_photos_by_case():
    given = made()
    section, finding = relatives_section(given)
    found = tables(section)
    for name, members in (("Near relative", CLASSES[1:3]), ("Distant relative", CLASSES[3:])):
        chosen = np.isin(given.sample.classes, members)
        share = proportion_by_case(given.called[chosen], given.sample.cases[chosen])
        row = found["relatives"].set_index("group").loc[name]
        assert row["called"] == pytest.approx(given.called[chosen].mean())
        assert (row["called_low"], row["called_high"]) == (share.low, share.high)
        assert (row["photos"], row["cases"]) == (chosen.sum(), chosen.sum() / 2)
        limits = f"({100 * share.low:.1f}% to {100 * share.high:.1f}%)"
        assert f"{name} {100 * row['called']:.1f}% {limits}" in finding
    assert list(found["relatives"]["called"]) == sorted(found["relatives"]["called"], reverse=True)
    classes = found["relatives_classes"].set_index("class")
    assert set(classes.index) == set(CLASSES[1:])
    assert classes.loc["Eczema", "called"] == pytest.approx(
        given.called[given.sample.classes == "Eczema"].mean()
    )
    words = " ".join(block.words for block in section.blocks if isinstance(block, Text))
    assert "at most 2.5%" in words
    assert "its own figures" in words


def test_a_group_that_holds_the_target_is_named_without_it():
    found = tables(relatives_section(made(groups=("Rash", "Tumour"), of_class=(0, 0, 0, 1)))[0])["relatives"]
    assert set(found["group"]) == {"Rash, other than Psoriasis", "Tumour"}
    assert found["photos"].sum() == 72


def test_what_cannot_be_known_is_told():
    given = made()
    only = Sample(*(values[given.sample.labels] for values in vars(given.sample).values()))
    for section, finding in (
        relatives_section(Relatives(*(*list(vars(given).values())[:5], None))),
        relatives_section(
            Relatives("Psoriasis", "relation", GROUPS, only, np.zeros(24, int), np.ones(24, bool))
        ),
    ):
        assert not section.answered
        assert finding == ""
