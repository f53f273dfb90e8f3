"""Conformal sets against their definitions, and their coverage over simulated studies with several photos a case."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from skinjax.decide.conformal import (
    ConformalRule,
    back_off,
    case_quantile,
    class_scores,
    fit_conformal,
    meta_sets,
    prediction_sets,
)

PARENTS = np.array([0, 0, 0, 1, 1, 2])


@pytest.fixture(scope="module")
def probabilities():
    return np.random.default_rng(2).dirichlet(np.full(6, 0.5), size=(3, 4)).astype(np.float32)


def test_scores_equal_their_definitions(probabilities):
    uniform = np.random.default_rng(3).random((3, 4)).astype(np.float32)
    fixed, drawn = class_scores(probabilities, "aps"), class_scores(probabilities, "aps", uniform)
    for photo in np.ndindex(3, 4):
        p = probabilities[photo]
        for k in range(6):
            before = sum(float(p[i]) for i in range(6) if p[i] > p[k])
            assert fixed[photo][k] == pytest.approx(before, abs=1e-6)
            assert drawn[photo][k] == pytest.approx(before + uniform[photo] * p[k], abs=1e-6)
    np.testing.assert_array_equal(class_scores(probabilities, "lac"), -probabilities)


def test_of_equal_classes_the_first_comes_first():
    np.testing.assert_allclose(class_scores(jnp.full(4, 0.25), "aps"), [0, 0.25, 0.5, 0.75])


def test_the_quantile_equals_its_definition():
    rng = np.random.default_rng(4)
    for _ in range(30):
        cases = rng.integers(0, 8, 25)
        scores = np.round(rng.normal(size=25), 1)
        level = rng.uniform(0.05, 0.95)
        names, sizes = np.unique(cases, return_counts=True)
        weight = dict(zip(names, 1 / sizes, strict=True))
        reached = [
            s
            for s in scores
            if sum(weight[c] for c, other in zip(cases, scores, strict=True) if other <= s)
            >= level * (len(names) + 1)
        ]
        assert case_quantile(scores, cases, level) == min(reached, default=np.inf)


def test_with_one_photo_a_case_it_is_split_conformal_prediction():
    scores = np.random.default_rng(5).normal(size=99)
    for num in (9, 19, 99):
        for level in (0.5, 0.8, 0.9, 0.95):
            rank = int(np.ceil(round((num + 1) * level, 9)))
            expected = np.sort(scores[:num])[rank - 1] if rank <= num else np.inf
            assert case_quantile(scores[:num], np.arange(num), level) == expected


def test_too_few_cases_give_the_set_of_all_classes(probabilities):
    probs = probabilities.reshape(-1, 6)[:8]
    for score in ("lac", "aps"):
        rule = fit_conformal(probs, np.arange(8) % 6, np.arange(8), coverage=0.9, score=score)
        assert rule.threshold == np.inf
        assert rule.num_cases == 8
        assert prediction_sets(rule, probabilities).all()


@pytest.mark.slow
@pytest.mark.parametrize(("score", "threshold"), [("lac", -0.3), ("aps", 0.7)])
def test_eager_jit_and_vmap_agree(probabilities, score, threshold):
    rule = ConformalRule(threshold, score, randomized=False, coverage=0.9, num_cases=50)
    eager = prediction_sets(rule, probabilities)
    np.testing.assert_array_equal(jax.jit(prediction_sets)(rule, probabilities), eager)
    np.testing.assert_array_equal(jax.vmap(lambda p: prediction_sets(rule, p))(probabilities), eager)
    expected = np.asarray(class_scores(probabilities, score)) <= threshold + 1e-6
    expected |= probabilities == probabilities.max(-1, keepdims=True)
    np.testing.assert_array_equal(eager, expected)
    wide = back_off(eager, PARENTS, 3, 1)
    mapped = jax.vmap(lambda s: back_off(s, PARENTS, 3, 1))(eager)
    for got in (jax.jit(lambda s: back_off(s, PARENTS, 3, 1))(eager), mapped):
        np.testing.assert_array_equal(got[0], wide[0])
        np.testing.assert_array_equal(got[1], wide[1])


@pytest.mark.slow
def test_randomised_sets_are_drawn_from_the_generator_and_the_key(probabilities):
    rng = np.random.default_rng(6)
    probs = rng.dirichlet(np.full(6, 0.4), 200).astype(np.float32)
    labels = np.array([rng.choice(6, p=p / p.sum()) for p in probs.astype(float)])
    rule = fit_conformal(probs, labels, np.arange(200), 0.8, "aps", np.random.default_rng(0))
    uniform = np.random.default_rng(0).random(200, np.float32)
    scores = np.asarray(class_scores(probs, "aps", uniform), np.float64)[np.arange(200), labels]
    assert rule.threshold == np.sort(scores)[160]  # the 161st: 0.8 of 201, rounded up
    assert rule.randomized

    key = jax.random.key(1)
    sets = prediction_sets(rule, probabilities, key)
    drawn = class_scores(probabilities, "aps", jax.random.uniform(key, (3, 4)))
    top = probabilities == probabilities.max(-1, keepdims=True)
    np.testing.assert_array_equal(sets, (np.asarray(drawn) <= rule.threshold + 1e-6) | top)
    np.testing.assert_array_equal(jax.jit(prediction_sets)(rule, probabilities, key), sets)
    assert (prediction_sets(rule, probs, key) != prediction_sets(rule, probs, jax.random.key(2))).any()
    keys = jax.random.split(key, 200)
    mapped = jax.vmap(lambda k, p: prediction_sets(rule, p, k))(keys, jnp.asarray(probs))
    uniforms = jax.vmap(lambda k: jax.random.uniform(k))(keys)
    expected = np.asarray(class_scores(probs, "aps", uniforms)) <= rule.threshold + 1e-6
    np.testing.assert_array_equal(mapped, expected | (probs == probs.max(-1, keepdims=True)))


def test_extreme_probabilities_give_sets():
    probs = jnp.array([[1.0, 0, 0], [0, 0, 0], [1e-30, 1.0, 0]], jnp.float32)
    for score, threshold in (("lac", -0.5), ("aps", 0.0)):
        rule = ConformalRule(threshold, score, randomized=False, coverage=0.9, num_cases=50)
        sets = prediction_sets(rule, probs)
        assert sets[0].tolist() == [True, False, False]
        assert sets.any(-1).all()
    # Tiny probabilities stay apart, which 1 - p would round away.
    rule = ConformalRule(-2e-12, "lac", randomized=False, coverage=0.9, num_cases=50)
    assert prediction_sets(rule, jnp.array([1.0, 3e-12, 1e-12])).tolist() == [True, True, False]


def test_backing_off_names_all_sub_classes_of_the_meta_classes_touched(probabilities):
    sets = np.random.default_rng(7).random((50, 6)) < 0.4
    touched = meta_sets(sets, PARENTS, 3)
    for limit in (1, 2, 6):
        wide, backed_off = back_off(sets, PARENTS, 3, limit)
        for i, kept in enumerate(sets):
            metas = {PARENTS[k] for k in np.flatnonzero(kept)}
            assert set(np.flatnonzero(touched[i])) == metas
            assert backed_off[i] == (kept.sum() > limit)
            expected = np.isin(PARENTS, list(metas)) if kept.sum() > limit else kept
            np.testing.assert_array_equal(wide[i], expected)
        assert (wide | ~sets).all()


def photos(rng, sizes):
    """Cases of these many photos, each with a look of its own. Those of eight photos are the hard ones."""
    case = np.repeat(np.arange(len(sizes)), sizes)
    label = rng.integers(0, 6, len(sizes))
    signal = np.where(sizes == 8, 0.5, 3.0)[:, None] * np.eye(6)[label]
    logits = (signal + rng.normal(size=(len(sizes), 6)))[case] + 0.5 * rng.normal(size=(len(case), 6))
    return softmax(1.5 * logits, axis=1).astype(np.float32), label[case], case


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lac", "aps", "randomised aps"])
def test_a_new_case_is_covered_as_often_as_promised(kind):
    """Each of 61 cases in turn is the new one, over 50 studies; counting photos alike covers far more.

    Cases of one size are alike, so the new case is one of each size, weighed by how many there are of it.
    """
    rng = np.random.default_rng(8)
    sizes = np.repeat([1, 2, 8], [20, 23, 18])
    sets_of, wider = jax.jit(prediction_sets), jax.jit(lambda sets: back_off(sets, PARENTS, 3, 2)[0])
    covered, backed_off, by_photos = np.zeros((3, 50))
    score = kind.split()[-1]
    for study in range(50):
        draws = np.random.default_rng(study) if kind.startswith("randomised") else None
        key = None if draws is None else jax.random.key(study)
        for size in (1, 2, 8):
            others = np.delete(sizes, np.argmax(sizes == size))
            probs, labels, cases = photos(rng, others)
            rule = fit_conformal(probs, labels, cases, 0.8, score, draws)
            pooled = fit_conformal(probs, labels, np.arange(len(labels)), 0.8, score, draws)
            new, true, new_case = photos(rng, np.full(400, size))
            first = np.unique(new_case, return_index=True)[1]
            new, true = new[first], true[first]
            sets = sets_of(rule, new, key)
            share = np.mean(sizes == size)
            covered[study] += share * np.asarray(sets)[np.arange(400), true].mean()
            backed_off[study] += share * np.asarray(wider(sets))[np.arange(400), true].mean()
            by_photos[study] += share * np.asarray(sets_of(pooled, new, key))[np.arange(400), true].mean()
    error = 3 * np.std(covered) / np.sqrt(50)
    assert error < 0.02
    assert covered.mean() > 0.8 - error
    assert (backed_off >= covered).all()
    if kind == "lac":
        assert covered.mean() < 0.8 + 2 / 61 + error
    assert by_photos.mean() > covered.mean() + 0.05


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: class_scores(np.ones(3), "raps"), "score must be one of lac, aps, got 'raps'"),
        (lambda: class_scores(np.ones(3), "lac", 0.5), "uniform is for the score 'aps', got the score 'lac'"),
        (lambda: class_scores(np.ones((2, 3)), "aps", 0.5), r"uniform must be of shape \(2,\), got \(\)"),
        (
            lambda: case_quantile([1, 2], ["a"], 0.5),
            r"cases must name the case of each of 2 photos, got shape \(1,\)",
        ),
        (
            lambda: case_quantile([1, np.nan], ["a", "b"], 0.5),
            "scores must be no NaN, got 1 others: nan at 1",
        ),
        (lambda: case_quantile([1, 2], ["a", "b"], 1), r"level must lie in \(0, 1\), got 1"),
        (
            lambda: fit_conformal(np.ones((2, 3)), [0, 1], [0, 1], 1.0),
            r"coverage must lie in \(0, 1\), got 1.0",
        ),
        (lambda: fit_conformal(np.ones((2, 3)), [0, 3], [0, 1]), r"labels must lie in \[0, 3\)"),
        (
            lambda: fit_conformal(np.ones((2, 3)), [0, 1], [0, 1], rng=np.random.default_rng(0)),
            "rng is for the score 'aps'",
        ),
        (
            lambda: prediction_sets(ConformalRule(0.5, "aps", True, 0.9, 9), np.ones(3)),
            "key must be given for a randomised rule, got None",
        ),
        (
            lambda: prediction_sets(ConformalRule(0.5, "aps", False, 0.9, 9), np.ones(3), jax.random.key(0)),
            "key is for randomised rules only",
        ),
        (
            lambda: prediction_sets(ConformalRule(0.5, "aps", True, 0.9, 9), np.ones(3), 0),
            r"key must be a jax.random key, such as jax.random.key\(0\), got 0",
        ),
        (
            lambda: fit_conformal(np.full((2, 2), 0.5), [0, 1], ["a", "b"], score="aps", rng=0),
            r"rng must be a numpy Generator, such as np.random.default_rng\(0\), got 0",
        ),
        (
            lambda: fit_conformal(np.full((2, 2), 0.5), [0, 1], ["a", None]),
            "cases must name every photo's case, got 1 missing, at photo 1",
        ),
        (lambda: case_quantile([1, 2], [np.nan, np.nan], 0.5), "got 2 missing, at photo 0, 1"),
        (lambda: back_off(np.ones(6, bool), PARENTS, 3, 0), "limit must be at least 1, got 0"),
        (lambda: back_off(np.ones(6), PARENTS, 3, 1), "sets must be bool .* got float"),
        (
            lambda: back_off(np.ones(6, bool), PARENTS, 2, 1),
            r"parents must lie in \[0, 2\), got 1 outside: 2 at 5",
        ),
    ],
)
def test_bad_arguments_are_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
