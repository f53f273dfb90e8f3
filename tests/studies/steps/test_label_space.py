"""Labels of new photos in the classes of a run, and what becomes of its probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinjax.data.photo_set import PhotoSet
from skinjax.labels.matching import load_matching
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.studies.steps.label_space import label_space

HAM, PAD = load_taxonomy("ham10000"), load_taxonomy("pad_ufes_20")


def labelled(labels: list[str], taxonomy: Taxonomy | None = None) -> PhotoSet:
    frame = pd.DataFrame({"image": [f"{n}.png" for n in range(len(labels))], "label": labels})
    flat = Taxonomy("labels of the manifest", ("label",), tuple((name,) for name in sorted(set(labels))))
    return PhotoSet(frame, Path(), taxonomy or flat)


def test_labels_of_another_data_set_are_matched_by_the_catalogue():
    with pytest.raises(ValueError, match=r"1 of 3 photos of others: SCC \(1\)"):
        label_space(labelled(["MEL", "NEV", "SCC"], PAD), HAM)
    space = label_space(labelled(["MEL", "NEV", "SCC"], PAD), HAM, others="leave_out")
    assert space.labels.tolist() == ["mel", "nv", None]
    assert space.taxonomy == HAM
    assert any("akiec holds Bowen" in note for note in space.notes)


def test_labels_of_either_set_fit_a_run_across_both():
    shared = load_matching("pad_ufes_20_ham10000", PAD, HAM).taxonomy()
    for taxonomy, labels in ((PAD, ["MEL", "NEV"]), (HAM, ["mel", "nv"])):
        assert label_space(labelled(labels, taxonomy), shared).labels.tolist() == ["melanoma", "nevus"]


def test_several_classes_of_the_run_become_one_where_the_labels_tell_no_more(tmp_path):
    (tmp_path / "shared.csv").write_text("class,a,b\nmole,nv,mole\nkeratosis,akiec,ker\nkeratosis,bkl,ker\n")
    space = label_space(labelled(["mole", "ker"]), HAM, str(tmp_path / "shared.csv"))
    names = space.taxonomy.classes()
    assert set(names) == {"nv", "keratosis", "bcc", "df", "mel", "vasc"} - {"nv"} | {"mole"}
    probs = np.random.default_rng(0).dirichlet(np.ones(7), 5).astype(np.float32)
    summed, coarser = space.probabilities({HAM.finest: probs})
    place = HAM.classes().index
    expected = probs[:, place("akiec")] + probs[:, place("bkl")]
    np.testing.assert_allclose(summed[:, names.index("keratosis")], expected, rtol=1e-6)
    np.testing.assert_allclose(summed[:, names.index("mole")], probs[:, place("nv")], rtol=1e-6)
    assert coarser == {}


def test_a_file_may_match_labels_that_no_photo_carries(tmp_path):
    file = tmp_path / "shared.csv"
    file.write_text("class,a,b\nmole,nv,mole\nkeratosis,akiec,ker\nkeratosis,bkl,ker\nvessel,vasc,angioma\n")
    some = label_space(labelled(["mole", "mole"]), HAM, str(file))
    every = label_space(labelled(["mole", "ker", "angioma"]), HAM, str(file))
    assert some.labels.tolist() == ["mole", "mole"]
    assert some.taxonomy == every.taxonomy  # whichever classes the photos happen to be of
    assert some.notes[-1] == "“shared” matches labels that no photo carries: angioma, ker."
    assert not any("no photo carries" in note for note in every.notes)
    with pytest.raises(ValueError, match=r"1 of 2 photos of others: molle \(1\)"):
        label_space(labelled(["mole", "molle"]), HAM, str(file))
    named = Taxonomy("clinic", ("class",), (("mole",), ("ker",)))
    with pytest.raises(ValueError, match="'angioma' is no class of taxonomy 'clinic'"):
        label_space(labelled(["mole", "mole"], named), HAM, str(file))


def test_a_coarser_level_is_answered_by_its_own_network_or_by_the_sum_of_its_classes():
    tree = load_taxonomy("synthetic19")
    coarse = tree.coarsest
    space = label_space(labelled([tree.classes(coarse)[0].upper()]), tree)
    assert space.taxonomy.levels == tree.levels[:1]
    rng = np.random.default_rng(0)
    fine = rng.dirichlet(np.ones(19), 4).astype(np.float32)
    own = rng.dirichlet(np.ones(len(tree.classes(coarse))), 4).astype(np.float32)
    np.testing.assert_array_equal(space.probabilities({tree.finest: fine, coarse: own})[0], own)
    summed = np.zeros_like(own)
    for k, parent in enumerate(tree.parents(tree.finest, coarse)):
        summed[:, parent] += fine[:, k]
    np.testing.assert_allclose(space.probabilities({tree.finest: fine})[0], summed, rtol=1e-5)


def test_labels_that_are_no_class_are_named_with_the_nearest_spelling():
    with pytest.raises(ValueError, match=r"2 of 2 photos of others: melanom \(1\).*did you mean.*wart \(1\)"):
        label_space(labelled(["melanom", "wart"]), load_taxonomy("synthetic19"), others="leave_out")
