"""Tables of photos to answer whose columns are called otherwise."""

from __future__ import annotations

import datetime
import re

import pytest

from skinjax.data.photo_tables import PhotoTableError, read_photo_table
from skinjax.data.visits import read_visits
from skinjax.studies import prediction
from skinjax.studies.steps.lesions import table_of, visits_of

MAP = ("image=File name", "case_id=Patient ID", 'age="Age, years"')


@pytest.fixture
def clinic(tmp_path):
    path = tmp_path / "clinic.csv"
    path.write_text('File name,Patient ID,"Age, years",age\na.jpg,p1,61,old\nb.jpg,p2,,young\n')
    return path


def test_columns_are_found_under_their_own_names(clinic, tmp_path):
    table = read_photo_table(clinic, MAP)
    assert [path.name for path in table.paths] == ["a.jpg", "b.jpg"]
    assert table.frame["case_id"].tolist() == ["p1", "p2"]
    assert table.frame["age"].tolist() == ["61", ""]
    assert table_of([clinic], "case", MAP).frame.equals(table.frame)
    visits = tmp_path / "visits.csv"
    visits.write_text("photo,mole,day\na.jpg,left arm,2026-01-31\n")
    names = ("image=photo", "lesion_id=mole", "date=day")
    (visit,) = read_visits(visits, names)
    assert (visit.path.name, visit.lesion, visit.date) == ("a.jpg", "left arm", datetime.date(2026, 1, 31))
    assert visits_of([visits], "lesion", names) == (visit,)


def test_a_map_that_does_not_fit_is_told(clinic):
    with pytest.raises(
        PhotoTableError, match=re.escape("map=image=File names: no column 'File names', but one 'File name'")
    ):
        read_photo_table(clinic, ["image=File names"])
    with pytest.raises(ValueError, match=re.escape("map=image=File name must be given with photos=TABLE")):
        table_of([clinic.parent / "a.jpg"], "photo", ["image=File name"])
    with pytest.raises(ValueError, match="map=File must be NAME=COLUMN"):
        prediction.Config(map=("File",))
    assert prediction.Config(map=('age="Age', 'years"')).map == ("age=Age,years",)
