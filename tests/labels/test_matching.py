"""Which classes of two data sets are one: the catalogue's matchings, files of one's own, and faults told."""

from __future__ import annotations

import pytest

from skinjax.labels.matching import default_matching, load_matching, match_by_name, matching_catalogue
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy

HERE = Taxonomy("here", ("d",), (("NEV",), ("SEK",), ("LEN",), ("MEL",)), (("MEL", "Melanoma"),))
THERE = Taxonomy("there", ("d",), (("mel",), ("bkl",), ("nv",)))


def test_the_catalogue_matches_classes_that_there_are_and_each_shared_class_on_both_sides():
    for name in matching_catalogue():
        first, second = (load_taxonomy(n) for n in ("pad_ufes_20", name.removeprefix("pad_ufes_20_")))
        found = load_matching(name, first, second)
        for pairs, tree in ((found.first, first), (found.second, second)):
            assert {own for own, _ in pairs} <= set(tree.classes())
            assert {shared for _, shared in pairs} == set(found.classes)
        assert found.taxonomy().classes() == found.classes


def test_the_catalogue_is_found_whichever_set_comes_first():
    pad, ham = load_taxonomy("pad_ufes_20"), load_taxonomy("ham10000")
    there, back = default_matching(pad, ham), default_matching(ham, pad)
    assert there.classes == back.classes
    assert (there.first, there.second) == (back.second, back.first)
    assert dict(there.second)["akiec"] == dict(there.first)["ACK"] == "actinic_keratosis"
    assert "SCC" not in dict(there.first)  # HAM10000 has none


def test_a_file_may_put_several_classes_into_one_and_leave_cells_empty(tmp_path):
    path = tmp_path / "shared.csv"
    path.write_text(
        "class,a,b,note\nnevus,NEV,nv,\nkeratosis,SEK,bkl,bkl is wider.\nkeratosis,LEN,,\nmelanoma,MEL,mel,\n"
    )
    found = load_matching(path, HERE, THERE)
    assert found.classes == ("nevus", "keratosis", "melanoma")
    assert found.translate(["LEN", "SEK", "MEL"], 0).tolist() == ["keratosis", "keratosis", "melanoma"]
    assert found.translate(["bkl", "zzz"], 1).tolist() == ["keratosis", None]
    assert found.notes == ("bkl is wider.",)


def test_classes_of_one_name_match_whatever_their_case():
    found = match_by_name(HERE, Taxonomy("other", ("d",), (("mel",), ("nev",), ("bcc",))))
    assert found.classes == ("NEV", "MEL")
    assert dict(found.second) == {"nev": "NEV", "mel": "MEL"}
    assert found.taxonomy().title("MEL") == "Melanoma"
    same = default_matching(HERE, HERE)
    assert same.classes == HERE.classes()
    with pytest.raises(ValueError, match="at least two class names in common, got one of"):
        default_matching(HERE, THERE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,x,y\nnevus,NEV,nv\n", r"columns must be class, a and b .*got class, x, y"),
        ("", "got none"),
        ("class,a,b\nnevus,NEV,nv\n", "shared classes must be at least two, got 1"),
        ("class,a,b\nnevus,NEVUS,nv\nmelanoma,MEL,mel\n", "'NEVUS' is no d of taxonomy 'here'"),
        ("class,a,b\nnevus,NEV,nv\nmelanoma,NEV,mel\n", "'NEV' of 'here' stands under 2 shared classes"),
        ("class,a,b\nnevus,NEV,nv\nmelanoma,MEL,\n", "shared class 'melanoma' has no class of 'there'"),
        ("class,a,b\nnevus,NEV,nv\n,MEL,mel\n", "column 'class' is empty"),
    ],
)
def test_faults_are_told(text, message, tmp_path):
    path = tmp_path / "shared.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_matching(path, HERE, THERE)
    assert str(caught.value).startswith(str(path))


def test_an_unknown_name_lists_the_catalogue():
    with pytest.raises(ValueError, match="neither a file nor in the catalogue \\(pad_ufes_20_ham10000"):
        load_matching("nosuch", HERE, THERE)
