"""The draw of photos for readers, their blinded names, and the way back from answers to photos."""

from __future__ import annotations

import gzip
import io
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from skinjax.data.readers import ReadersError, answer_files, kit_of, read_readers
from skinjax.data.reading_kit import Kit, draw_photos, find_key, make_kit, read_key, write_key
from skinjax.data.tables import TableError

LABELS = np.array(["a"] * 40 + ["b"] * 30 + ["c"] * 3 + ["d"] * 30)
POSITIVE = LABELS == "a"


def frame() -> pd.DataFrame:
    names = [f"{label}/{number}.png" for number, label in enumerate(LABELS)]
    return pd.DataFrame({"image": names, "case_id": [f"p{i}" for i in range(len(LABELS))], "label": LABELS})


def drawn(count: int, **options) -> Counter[str]:
    return Counter(LABELS[draw_photos(LABELS, POSITIVE, range(len(LABELS)), count, **options)].tolist())


def kit(count: int = 6, seed: int = 0) -> Kit:
    rows = draw_photos(LABELS, POSITIVE, range(len(LABELS)), count, seed=seed)
    return make_kit(frame(), rows, POSITIVE, ["a"])


# The draw.


def test_half_is_the_target_and_the_rest_is_even_over_its_classes():
    assert drawn(12) == {"a": 6, "b": 2, "c": 2, "d": 2}
    # Of 20, class c has three, and the 17 others are of b and d, eight each and one more of either.
    found = drawn(40)
    assert (found["a"], found["c"]) == (20, 3)
    assert sorted((found["b"], found["d"])) == [8, 9]
    assert drawn(13).total() == 13
    assert drawn(13)["a"] == 6


def test_which_class_has_one_more_is_drawn():
    assert {drawn(4, seed=seed)["b"] for seed in range(20)} == {0, 1}


def test_a_seed_gives_one_draw_and_another_a_different_one():
    rows = [draw_photos(LABELS, POSITIVE, range(len(LABELS)), 12, seed=seed).tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]
    # The order says nothing: over seeds, the first photo is of the target as often as not.
    first = [
        POSITIVE[draw_photos(LABELS, POSITIVE, range(len(LABELS)), 12, seed=seed)[0]] for seed in range(400)
    ]
    assert 150 < sum(first) < 250


def test_a_case_gives_one_photo_and_of_both_sides_that_of_the_target():
    cases = np.repeat(np.arange(20), 3)
    labels = np.where(cases < 10, "a", "b")
    labels[np.arange(0, 30, 3)] = "b"  # the first ten cases have a photo of the rest, too
    rows = draw_photos(labels, labels == "a", cases, 20)
    assert sorted(cases[rows]) == list(range(20))
    assert (labels[rows] == "a").sum() == 10
    rows = draw_photos(labels, labels == "a", cases, 40, per_case=2)
    assert max(Counter(cases[rows].tolist()).values()) == 2
    assert len(draw_photos(labels, labels == "a", cases, 40, per_case=0)) == 40


def test_too_few_photos_are_refused_with_how_many_there_could_be():
    message = "photos=100 needs 50 photos of the target and 50 of the rest, at most 1 per case, got 40 and 63; at most "
    with pytest.raises(ValueError, match=message + "photos=80 can be drawn"):
        drawn(100)
    with pytest.raises(ValueError, match="count must be at least 2, got 1"):
        drawn(1)


# The key.


def test_the_key_finds_every_photo_again(tmp_path):
    made = kit()
    assert made.photos["photo"].tolist() == [f"photo_00{number}.jpg" for number in range(1, 7)]
    assert made.photos["target"].tolist() == [int(label == "a") for label in made.photos["label"]]
    assert made.id == kit().id != kit(seed=1).id
    write_key(made, tmp_path / "reader_kit" / "key" / "key.csv")
    for place in ("reader_kit/key/key.csv", "reader_kit/key", "reader_kit", "."):
        found = find_key(made.id, [tmp_path / place])
        assert found is not None
        pd.testing.assert_frame_equal(found.photos, made.photos, check_dtype=False)
        assert (found.id, found.question) == (made.id, ("a",))
    assert find_key("kit_0", [tmp_path]) is None
    assert "3 of a and 3 of the rest" in made.note


@pytest.mark.parametrize("question", [("Melanoma, NOS", "a"), ("[a]",), ("a", "b")])
def test_a_key_names_its_classes_again_whatever_their_letters(tmp_path, question):
    made = make_kit(frame(), range(6), POSITIVE, question)
    write_key(made, tmp_path / "key.csv")
    assert read_key(tmp_path / "key.csv").question == question


def test_a_former_key_is_read_and_blanks_are_passed_over(tmp_path):
    made = kit()
    old = made.photos.assign(kit=made.id, question="a,[b]", image=made.photos["image"] + " ")
    old.to_csv(tmp_path / "key.csv", index=False)
    found = read_key(tmp_path / "key.csv")
    assert found.question == ("a", "[b]")
    assert found.photos["image"].tolist() == made.photos["image"].tolist()


def test_a_table_that_is_no_key_is_refused(tmp_path):
    path = tmp_path / "key.csv"
    frame().to_csv(path, index=False)
    with pytest.raises(TableError, match="no column 'kit'"):
        read_key(path)
    write_key(kit(), path)
    text = path.read_text()
    path.write_text(text.replace("photo_002", "photo_001"))
    with pytest.raises(TableError, match="must name each photo once"):
        read_key(path)
    path.write_text(text.replace(kit().id, "kit_other", 1))
    with pytest.raises(TableError, match="must be the key of one kit, got 2"):
        read_key(path)


# The answers.


def answer(made: Kit, reader: str, **changes: str) -> str:
    """What a reader's file holds: every photo called 0, except for changes by photo."""
    rows = [
        f"{made.id},{reader},{photo},{changes.get(photo.removesuffix('.jpg'), '0')}"
        for photo in made.photos["photo"]
        if changes.get(photo.removesuffix(".jpg")) != "left out"
    ]
    return "\n".join(["kit,reader,image,call", *rows]) + "\n"


@pytest.fixture
def study(tmp_path):
    """A kit's folder with its key, and a folder for answers."""
    write_key(kit(), tmp_path / "key" / "key.csv")
    (tmp_path / "answers").mkdir()
    return tmp_path


def test_answers_come_back_under_the_photos_own_names(study):
    made = kit()
    (study / "answers" / "b.csv").write_text(answer(made, "B", photo_003="1"))
    (study / "answers" / "a.csv").write_text("\ufeff" + answer(made, "A").replace(",", ";"))
    named = f"{study / 'answers' / 'a.csv'},{study / 'answers' / 'b.csv'}"
    for path in (study / "answers", named):
        found = read_readers(path, frame()["image"])
        assert found["reader"].tolist() == ["A"] * 6 + ["B"] * 6
        assert found["image"].tolist() == made.photos["image"].tolist() * 2
        assert found["image"][found["call"] == 1].tolist() == [made.photos["image"][2]]
        assert kit_of(path).id == made.id
    # A sheet that was typed up without the kit's identity needs the key named.
    typed = pd.read_csv(study / "answers" / "b.csv").drop(columns="kit")
    typed.to_csv(study / "typed.csv", index=False)
    assert kit_of(study / "typed.csv") is None
    found = read_readers(study / "typed.csv", kit=kit_of(study / "typed.csv", study / "key" / "key.csv"))
    assert found["image"].tolist() == made.photos["image"].tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (answer(kit(), "A", photo_002="yes"), "column 'call', 1 row that must hold 0 or 1: row 3 'yes'"),
        (
            answer(kit(), "A").replace("photo_004", "photo_104"),
            "column 'image', 1 row with a photo that kit_.* does not have: row 5 'photo_104.jpg'",
        ),
        (
            answer(kit(), "A", photo_005="left out", photo_001="left out"),
            "reader 'A' must answer all 6 photos of kit_.*, got 4; missing: photo_001.jpg, photo_005.jpg",
        ),
        (
            answer(kit(), "A") + "".join(answer(kit(), "A").splitlines(True)[1:2]),
            "column 'image', 1 row with a photo that an earlier row has of the same reader",
        ),
        (
            answer(kit(seed=3), "A"),
            "answers are of kit_.*, whose key.csv was not found; give .*readers_key=FILE",
        ),
    ],
)
def test_what_is_wrong_with_answers_is_one_sentence(study, text, message):
    (study / "answers" / "a.csv").write_text(text)
    with pytest.raises(ReadersError, match=message) as caught:
        read_readers(study / "answers")
    assert len(caught.value.problems) == 1


def test_two_readers_of_one_name_and_answers_of_two_kits_are_refused(study):
    (study / "answers" / "a.csv").write_text(answer(kit(), "A"))
    (study / "answers" / "b.csv").write_text(answer(kit(), " A"))
    with pytest.raises(
        ReadersError, match=r"reader 'A' is in a.csv and in b.csv; readers must have names of their own"
    ):
        read_readers(study / "answers")
    (study / "answers" / "b.csv").write_text(answer(kit(seed=1), "B"))
    with pytest.raises(ReadersError, match=r"answers must be of one kit, got kit_.*, kit_"):
        read_readers(study / "answers")
    write_key(kit(seed=1), study / "other.csv")
    with pytest.raises(ReadersError, match="is the key of kit_"):
        kit_of(study / "answers" / "a.csv", study / "other.csv")
    (study / "empty").mkdir()
    with pytest.raises(ReadersError, match="the folder must hold the readers' CSV files, got none"):
        answer_files(study / "empty")


def test_every_table_of_a_folder_is_read_and_the_rest_is_named(study, caplog):
    made, folder = kit(), study / "answers"
    (folder / "a.csv").write_text(answer(made, "A"))
    (folder / "b.txt").write_text(answer(made, "B").replace(",", "\t"))
    (folder / "c.TSV").write_text(answer(made, "C").replace(",", "\t"))
    (folder / "d.csv.gz").write_bytes(gzip.compress(answer(made, "D").encode()))
    (folder / ".e.csv").write_text("hidden")
    (folder / "f.xlsx").write_bytes(b"PK\x03\x04 xl/workbook.xml")
    (folder / "notes.txt").write_text("Reader A was ill.\n")
    (folder / "older").mkdir()
    assert read_readers(folder)["reader"].unique().tolist() == ["A", "B", "C", "D"]
    told = [
        record.getMessage().removeprefix(f"{folder}: not read as a readers' file: ")
        for record in caplog.records
    ]
    assert [line.split(" ")[0] for line in told] == ["f.xlsx", "notes.txt", "older"]
    assert told[1:] == ["notes.txt (no column 'reader'; no column 'image')", "older (a folder)"]
    (folder / "g.csv").write_text("Reader A was ill.\n")
    with pytest.raises(ReadersError, match=r"g\.csv: no column 'reader'"):
        read_readers(folder)
    for path in folder.iterdir():
        if path.name[0] in "abcdg":
            path.unlink()
    with pytest.raises(ReadersError, match=r"got none; passed over: f.xlsx \(.*\), notes.txt"):
        answer_files(folder)


def test_blanks_and_whole_floats_are_read_with_and_without_a_kit(study):
    made = kit()
    text = (
        answer(made, "A", photo_003="1")
        .replace(",1", ", 1.0")
        .replace(",0", ",0.0 ")
        .replace(".jpg", ".jpg ")
    )
    (study / "answers" / "a.csv").write_text(text)
    found = read_readers(study / "answers", made.photos["image"])
    assert found["image"].tolist() == made.photos["image"].tolist()
    assert found["call"].tolist() == [0, 0, 1, 0, 0, 0]
    (study / "plain.csv").write_text("reader,image,call\nA, 1.jpg ,1.0\nA,2.jpg ,0.0\n")
    found = read_readers(study / "plain.csv", ["1.jpg", "2.jpg"])
    assert found["image"].tolist() == ["1.jpg", "2.jpg"]
    assert found["call"].tolist() == [1, 0]


def test_a_kit_s_photos_must_be_among_the_predictions(study):
    (study / "answers" / "a.csv").write_text(answer(kit(), "A"))
    with pytest.raises(ReadersError, match="6 rows with a photo that the predictions do not have"):
        read_readers(study / "answers", ["other.png"])


def test_a_reader_s_workbook_is_read_like_the_others_csv(study):
    made, folder = kit(), study / "answers"
    (folder / "a.csv").write_text(answer(made, "A"))
    pd.read_csv(io.StringIO(answer(made, "B"))).to_excel(folder / "b.xlsx", index=False)
    found = read_readers(folder)
    assert found["reader"].unique().tolist() == ["A", "B"]
    first, second = (
        found[found["reader"] == name].drop(columns="reader").reset_index(drop=True) for name in "AB"
    )
    pd.testing.assert_frame_equal(first, second)
