"""Degrees of malignancy from a file: both formats, and every fault named at once."""

import json

import pytest

from skinjax.data.degrees import DegreesError, read_degrees
from skinjax.labels.taxonomy import Taxonomy

TREE = Taxonomy("tumours", ("tumour",), (("nevus",), ("keratosis",), ("carcinoma",), ("melanoma",)))
WANTED = {"nevus": 0, "keratosis": 0, "carcinoma": 1, "melanoma": 2}


def test_csv_and_json_give_the_same_in_taxonomy_order(tmp_path):
    rows = ["melanoma;2", " nevus;0", "carcinoma; 1", "keratosis;0"]
    (tmp_path / "d.csv").write_text("class;degree\n" + "\n".join(rows) + "\n")
    (tmp_path / "d.json").write_text(json.dumps(dict(reversed(WANTED.items()))))
    for name in ("d.csv", "d.json"):
        found = read_degrees(tmp_path / name, TREE)
        assert found == WANTED
        assert list(found) == list(TREE.classes())


def test_all_faults_of_a_table_at_once(tmp_path):
    (tmp_path / "d.csv").write_text("class,degree\nnevus,0\nnevus,1\nmelanom,2\ncarcinoma,high\n")
    with pytest.raises(DegreesError) as caught:
        read_degrees(tmp_path / "d.csv", TREE)
    assert caught.value.problems == (
        "column 'degree', 1 row that is no integer of 0 or more: row 5 'high'",
        "class 'melanom' is no tumour of taxonomy 'tumours', did you mean 'melanoma'?",
        "class 'nevus' is listed 2 times",
        "no degree for 'keratosis', 'melanoma'",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"nevus": 0, "nevus": 1, "keratosis": 0, "carcinoma": 1, "melanoma": 2}',
            "'nevus' is listed 2 times",
        ),
        ('{"nevus": 0.5, "keratosis": 0, "carcinoma": 1, "melanoma": true}', r"'nevus' has the degree 0\.5"),
        ('{"nevus": 0, "keratosis": 0, "carcinoma": 1, "melanoma": 3}', "from 0 without a gap, got 0, 1, 3"),
        ('{"nevus": 0, "keratosis": 0, "carcinoma": 0, "melanoma": 0}', "at least two are wanted"),
        ('[["nevus", 0]]', "wanted a JSON object"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_faults_of_json(text, message, tmp_path):
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(DegreesError, match=message):
        read_degrees(tmp_path / "d.json", TREE)


def test_a_misspelt_column_and_a_missing_file_are_told(tmp_path):
    (tmp_path / "d.csv").write_text("Class,degrees\nnevus,0\n")
    with pytest.raises(DegreesError) as caught:
        read_degrees(tmp_path / "d.csv", TREE)
    assert caught.value.problems == (
        "no column 'class', but one 'Class'",
        "no column 'degree', but one 'degrees'",
    )
    for name in ("none.csv", "none.json"):
        with pytest.raises(DegreesError, match="no such file"):
            read_degrees(tmp_path / name, TREE)
