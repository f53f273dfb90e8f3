"""Degrees of malignancy from a file: both formats, and every fault named at once."""

import json

import pandas as pd
import pytest

from skinjax.data.degrees import DegreesError, read_degrees
from skinjax.data.photo_set import PhotoSet
from skinjax.labels.degrees import (
    NO_TUMOUR,
    advice,
    degree_catalogue,
    load_degrees,
    tumour_taxonomy,
    urgency_of,
    urgent_advice,
    withheld_advice,
)
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.predict.degrees import degrees_of
from skinjax.studies.steps.tumours import tumours_of

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
        "column 'degree', 1 row that is no integer of 0 or more and not none: row 5 'high'",
        "class 'melanom' is no tumour of taxonomy 'tumours', did you mean 'melanoma'?",
        "class 'nevus' is listed 2 times",
        "no degree for 'keratosis', 'melanoma'; a class that is no tumour must say none",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"nevus": 0, "nevus": 1, "keratosis": 0, "carcinoma": 1, "melanoma": 2}',
            "'nevus' is listed 2 times",
        ),
        (
            '{"nevus": 0.5, "keratosis": 0, "carcinoma": 1, "melanoma": true}',
            r"class 'nevus' must be an integer of 0 or more, or null for no tumour, got 0\.5",
        ),
        ('{"nevus": 0, "keratosis": 0, "carcinoma": 1, "melanoma": 3}', "from 0 without a gap, got 0, 1, 3"),
        (
            '{"nevus": 0, "keratosis": 0, "carcinoma": 0, "melanoma": 0}',
            "must be at least two different ones",
        ),
        ('{"nevus": null, "keratosis": null, "carcinoma": null, "melanoma": "none"}', "got none"),
        ('{"nevus": 0, "keratosis": "", "carcinoma": 1, "melanoma": 2}', "'keratosis' must be an integer"),
        ('{"degrees": {"nevus": 0, "carcinoma": 1}, "no_tumour": ["keratosis"]}', "no degree for 'melanoma'"),
        ('{"degrees": {"nevus": 0, "carcinoma": 1}, "no_tumour": "keratosis"}', "no_tumour must be a list"),
        ('[["nevus", 0]]', "must be a JSON object"),
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


def test_the_catalogue_decides_on_every_class_of_its_taxonomy():
    for name in degree_catalogue():
        found, tree = load_degrees(name), load_taxonomy(name)
        assert found.taxonomy == name
        decided = [label for label, _ in found.degrees] + list(found.no_tumour)
        assert sorted(decided) == sorted(tree.classes())
        assert {degree for _, degree in found.degrees} == {0, 1, 2}


def test_degrees_agree_with_the_published_sets_own_grouping_and_between_sets():
    """What a taxonomy calls benign is degree 0 and nothing else is; one disease has one degree wherever it stands."""
    published = load_taxonomy("fitzpatrick17k")
    for three, _, label in published.paths:
        degree = dict(load_degrees("fitzpatrick17k").degrees).get(label)
        assert {"benign": degree == 0, "malignant": degree in (1, 2), "non-neoplastic": degree is None}[three]
    for name in ("pad_ufes_20", "ham10000", "isic2019"):
        tree, degrees = load_taxonomy(name), dict(load_degrees(name).degrees)
        parents = tree.parents(tree.finest, "malignancy")
        for label, parent in zip(tree.classes(), parents, strict=True):
            assert (degrees[label] == 0) == (tree.classes("malignancy")[parent] == "benign")
    same = (
        (
            "melanoma",
            {
                "pad_ufes_20": "MEL",
                "ham10000": "mel",
                "isic2019": "MEL",
                "synthetic19": "melanoma",
                "fitzpatrick17k": "melanoma",
            },
        ),
        (
            "basal_cell_carcinoma",
            {
                "pad_ufes_20": "BCC",
                "ham10000": "bcc",
                "isic2019": "BCC",
                "psoriasis9": "basal_cell_carcinoma",
            },
        ),
        ("actinic_keratosis", {"pad_ufes_20": "ACK", "ham10000": "akiec", "isic2019": "AK"}),
        ("squamous_cell_carcinoma", {"pad_ufes_20": "SCC", "isic2019": "SCC"}),
    )
    ours = dict(load_degrees("tumours10").degrees)
    for disease, labels in same:
        for name, label in labels.items():
            assert dict(load_degrees(name).degrees)[label] == ours[disease]
    tree = load_taxonomy("tumours10")
    assert tree.parents("tumour", "degree").tolist() == list(ours.values())


def test_a_class_may_be_no_tumour_in_every_form_and_must_say_so(tmp_path):
    expected = {"nevus": 0, "keratosis": None, "carcinoma": None, "melanoma": 1}
    (tmp_path / "d.csv").write_text(
        "class,degree\nnevus,0\nkeratosis,none\ncarcinoma, No Tumour\nmelanoma,1\n"
    )
    (tmp_path / "d.json").write_text(json.dumps(expected))
    own = {"taxonomy": "any", "degrees": {"nevus": 0, "melanoma": 1}, "no_tumour": ["keratosis", "carcinoma"]}
    (tmp_path / "own.json").write_text(json.dumps(own))
    for name in ("d.csv", "d.json", "own.json"):
        assert read_degrees(tmp_path / name, TREE) == expected
    (tmp_path / "d.csv").write_text("class,degree\nnevus,0\nkeratosis,\ncarcinoma,1\nmelanoma,2\n")
    with pytest.raises(DegreesError, match="1 row that is no integer of 0 or more and not none: row 3 ''"):
        read_degrees(tmp_path / "d.csv", TREE)


def test_a_name_of_the_catalogue_stands_for_a_file(tmp_path, monkeypatch):
    tree = load_taxonomy("synthetic19")
    assert read_degrees("pad_ufes_20", load_taxonomy("pad_ufes_20"))["SCC"] == 2
    found = read_degrees("synthetic19", tree)
    assert (found["melanoma"], found["psoriasis"], len(found)) == (2, None, 19)
    with pytest.raises(DegreesError, match="class 'NEV' is no sub"):
        read_degrees("pad_ufes_20", tree, complete=False)
    monkeypatch.chdir(tmp_path)  # a file of that name goes before
    (tmp_path / "pad_ufes_20").write_text("class,degree\nnevus,0\nkeratosis,0\ncarcinoma,1\nmelanoma,2\n")
    assert read_degrees("pad_ufes_20", TREE) == WANTED


def test_a_name_of_the_catalogue_serves_a_part_of_its_taxonomy():
    whole = load_taxonomy("synthetic19")
    degrees = read_degrees("synthetic19", whole)
    tumours = {name: degree for name, degree in degrees.items() if degree is not None}
    by_degree = tumour_taxonomy(whole, tumours)
    assert read_degrees("synthetic19", by_degree) == tumours
    part = whole.without(["melanoma", "psoriasis"])
    expected = {name: degree for name, degree in degrees.items() if name not in ("melanoma", "psoriasis")}
    assert read_degrees("synthetic19", part) == expected
    for complete in (True, False):
        with pytest.raises(DegreesError, match="no class of 'ham10000' is of degree 2: give degrees=FILE"):
            read_degrees("ham10000", load_taxonomy("ham10000").without(["mel"]), complete)
    with pytest.raises(DegreesError) as caught:
        read_degrees("tumours10", Taxonomy("some", ("class",), (("melanoma",), ("eczema",))))
    assert caught.value.problems == ("no degree for 'eczema'; a class that is no tumour must say none",)


def test_a_folder_does_not_stand_for_a_name_of_the_catalogue(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ham10000").mkdir()
    assert read_degrees("ham10000", load_taxonomy("ham10000"))["mel"] == 2
    assert degrees_of(load_taxonomy("ham10000"), "ham10000", asked=True) == degrees_of(
        load_taxonomy("ham10000"), "ham10000"
    )
    taxonomy = load_taxonomy("ham10000")
    frame = pd.DataFrame({"image": ["a", "b"], "case_id": ["a", "b"], "label": ["mel", "nv"]})
    read, _ = tumours_of(PhotoSet(frame, tmp_path, taxonomy), "ham10000")
    assert any("is our choice" in note for note in read.notes)
    (tmp_path / "results").mkdir()  # as a run's folder that once held degrees
    assert degrees_of(Taxonomy("two", ("class",), (("x",), ("y",))), "results") is None


def test_a_run_that_left_classes_out_keeps_its_degrees():
    tree = load_taxonomy("ham10000")
    whole = dict(zip(tree.classes(), degrees_of(tree), strict=True))
    part = tree.without(["df", "bcc"])
    assert degrees_of(part) == tuple(whole[name] for name in part.classes())
    assert degrees_of(tree.without(["mel"])) is None  # else what is of low malignancy would be of the highest


def test_tumours_stand_under_their_degrees_in_order():
    found = tumour_taxonomy(TREE, {"melanoma": 2, "carcinoma": 1, "nevus": 0})
    assert found.paths == (("benign", "nevus"), ("low", "carcinoma"), ("high", "melanoma"))
    assert (found.title("low"), found.levels) == ("Low malignancy", ("degree", "tumour"))
    assert tumour_taxonomy(TREE, {"melanoma": 1, "nevus": 0}).classes("degree") == ("benign", "malignant")
    for degrees, message in (
        ({"nevus": 0, "melanoma": 2}, r"from 0 without a gap and be two or more, got \[0, 2\]"),
        ({"nevus": 0, "melanom": 1}, "got 'melanom', did you mean 'melanoma'"),
    ):
        with pytest.raises(ValueError, match=message):
            tumour_taxonomy(TREE, degrees)


def test_advice_grows_more_urgent_and_there_is_none_beyond_the_degrees():
    said = [advice(degree, 3) for degree in range(3)]
    assert len(set(said)) == 3
    assert [advice(degree, 2) for degree in range(2)] == [said[0], said[2]]
    assert advice(2, 4) == said[1]
    assert advice(NO_TUMOUR, 3) not in said
    assert urgency_of(NO_TUMOUR, 2) == urgency_of(0, 2) == 0
    assert [urgent_advice(place) for place in range(3)] == said
    withheld = [withheld_advice(place) for place in (None, 1, 2)]
    assert len({*withheld, *said}) == 6
    assert not any("benign" in words for words in withheld)
    for degree in (3, -2):
        with pytest.raises(ValueError, match=f"got {degree} of 3"):
            advice(degree, 3)
