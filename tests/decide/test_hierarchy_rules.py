"""Fusion rules against the thesis's equations written out class by class, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinjax.decide.hierarchy import fuse, fuse_levels, marginalize

PARENTS = np.array([2, 0, 0, 1, 2, 2, 0])
RULES = ("soft", "hard", "conditional")


def softmax(logits):
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def by_hand(meta, sub, parents, rule):
    """Equations 4-8 to 4-10 and the law of total probability, one photo and one class at a time."""
    scores = np.zeros_like(sub)
    for photo in np.ndindex(sub.shape[:-1]):
        for j, parent in enumerate(parents):
            gate = meta[photo][parent]
            if rule == "hard":
                gate = float(parent == list(meta[photo]).index(max(meta[photo])))
            siblings = [k for k in range(len(parents)) if parents[k] == parent]
            mass = sum(sub[photo][k] for k in siblings)
            share = sub[photo][j] / mass if mass else 1 / len(siblings)
            scores[photo][j] = gate * (share if rule == "conditional" else sub[photo][j])
    return scores


@pytest.fixture(scope="module")
def probabilities():
    rng = np.random.default_rng(3)
    return softmax(2 * rng.normal(size=(4, 5, 3))), softmax(2 * rng.normal(size=(4, 5, 7)))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_equals_the_equations_with_any_leading_axes(probabilities, rule):
    meta, sub = probabilities
    for photos in ((), (0,), (slice(None), 1), (0, 0)):
        expected = by_hand(meta[photos], sub[photos], PARENTS, rule)
        np.testing.assert_allclose(
            fuse(meta[photos], sub[photos], PARENTS, rule), expected, rtol=2e-6, atol=1e-9
        )
        rescaled = expected / expected.sum(-1, keepdims=True)
        got = fuse(meta[photos], sub[photos], PARENTS, rule, normalize=True)
        np.testing.assert_allclose(got, rescaled, rtol=4e-6, atol=1e-9)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_eager_jit_and_vmap_agree(probabilities, rule, normalize):
    meta, sub = (jnp.asarray(p[0]) for p in probabilities)
    eager = fuse(meta, sub, PARENTS, rule, normalize)
    traced_parents = jax.jit(fuse, static_argnums=(3, 4))(meta, sub, jnp.asarray(PARENTS), rule, normalize)
    mapped = jax.vmap(lambda m, s: fuse(m, s, PARENTS, rule, normalize))(meta, sub)
    np.testing.assert_allclose(traced_parents, eager, rtol=1e-6)
    np.testing.assert_allclose(mapped, eager, rtol=1e-6)


def own(meta, sub, parents):
    """Soft fusion that believes the coarse network by half."""
    return sub * jnp.sqrt(meta[..., parents])


@pytest.mark.parametrize("normalize", [False, True])
def test_a_rule_of_ones_own_is_its_function_eager_jitted_and_vmapped(probabilities, normalize):
    meta, sub = probabilities
    expected = sub * np.sqrt(meta[..., PARENTS])
    expected = expected / expected.sum(-1, keepdims=True) if normalize else expected
    jitted = jax.jit(lambda m, s: fuse(m, s, PARENTS, own, normalize))
    for found in (
        fuse(meta, sub, PARENTS, own, normalize),
        jitted(meta, sub),
        jax.vmap(jitted)(meta, sub),
        fuse_levels([meta, sub], [PARENTS], own, normalize),
    ):
        np.testing.assert_allclose(found, expected, rtol=4e-6, atol=1e-9)
    fixed = fuse(meta, sub, PARENTS, lambda meta, sub, parents: meta[..., parents] * sub, normalize)
    np.testing.assert_array_equal(fixed, fuse(meta, sub, PARENTS, "soft", normalize))


def test_a_rule_of_ones_own_goes_down_a_chain_of_levels(probabilities):
    meta, sub = probabilities
    top = softmax(np.random.default_rng(4).normal(size=(4, 5, 2)))
    found = fuse_levels([top, meta, sub], [np.array([0, 1, 1]), PARENTS], own)
    middle = meta * np.sqrt(top[..., [0, 1, 1]])
    np.testing.assert_allclose(found, sub * np.sqrt(middle[..., PARENTS]), rtol=4e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("rule", "got"),
    [
        (lambda meta, sub, parents: meta, r"float32 of shape \(4, 5, 3\)"),
        (lambda meta, sub, parents: sub.argmax(-1), r"int32 of shape \(4, 5\)"),
        (lambda meta, sub, parents: sub > 0, r"bool of shape \(4, 5, 7\)"),
    ],
)
def test_a_rule_that_gives_no_score_per_sub_class_is_refused(probabilities, rule, got):
    expected = rf"^rule must give a score per sub-class, floats of shape \(4, 5, 7\), got {got}$"
    with pytest.raises(ValueError, match=expected):
        fuse(*probabilities, PARENTS, rule)


@functools.cache
def score_and_gradients(rule, normalize):
    return jax.jit(jax.value_and_grad(lambda m, s: fuse(m, s, PARENTS, rule, normalize)[2], argnums=(0, 1)))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3),
    st.lists(st.sampled_from([0.0, 1e-38, 1e-30, 1e-19, 1e-3, 0.5, 1.0]), min_size=7, max_size=7),
    st.sampled_from(RULES),
    st.booleans(),
)
def test_never_nan_and_gradients_are_finite(meta, sub, rule, normalize):
    meta, sub = jnp.asarray(meta, jnp.float32), jnp.asarray(sub, jnp.float32)
    value, gradients = score_and_gradients(rule, normalize)(meta, sub)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["soft", "conditional"])
def test_gradients_equal_differences_in_float64(probabilities, rule):
    meta, sub = (p[0, 0] for p in probabilities)
    weights = np.arange(7) / 3
    gradient = jax.grad(lambda s: jnp.sum(fuse(meta, s, PARENTS, rule, normalize=True) * weights))(
        jnp.asarray(sub)
    )

    def value(s):
        scores = by_hand(meta, s, PARENTS, rule)
        return (scores / scores.sum() * weights).sum()

    steps = 1e-6 * np.eye(7)
    expected = [(value(sub + step) - value(sub - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_conditional_is_a_distribution_that_keeps_the_meta_probabilities(probabilities):
    meta, sub = probabilities
    fused = fuse(meta, sub, PARENTS, "conditional")
    np.testing.assert_allclose(marginalize(fused, PARENTS, 3), meta, rtol=1e-5)
    # A meta network that says what the sub network says already changes nothing.
    np.testing.assert_allclose(
        fuse(marginalize(sub, PARENTS, 3), sub, PARENTS, "conditional"), sub, rtol=1e-5
    )


def test_mass_that_is_nowhere_is_spread_evenly():
    meta, sub = jnp.array([1.0, 0.0]), jnp.array([0.0, 0.0, 1.0])
    parents = [0, 0, 1]
    np.testing.assert_array_equal(fuse(meta, sub, jnp.array(parents), "conditional"), [0.5, 0.5, 0.0])
    for rule in ("soft", "hard"):
        np.testing.assert_array_equal(fuse(meta, sub, jnp.array(parents), rule), [0.0, 0.0, 0.0])
        np.testing.assert_array_equal(
            fuse(meta, sub, jnp.array(parents), rule, normalize=True), [0.5, 0.5, 0.0]
        )


def test_tiny_probabilities_keep_their_ratios():
    fused = fuse(jnp.array([1.0, 0.0]), jnp.array([1e-30, 3e-30, 1.0]), jnp.array([0, 0, 1]), "conditional")
    np.testing.assert_allclose(fused, [0.25, 0.75, 0], rtol=1e-6)


def test_hard_gives_a_tie_to_the_first_meta_class():
    sub = jnp.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(
        fuse(jnp.array([0.4, 0.4, 0.2]), sub, jnp.array([0, 1, 2]), "hard"), [0.2, 0, 0]
    )


def test_marginalize_equals_a_grouped_sum_and_half_precision_is_widened(probabilities):
    sub = probabilities[1]
    expected = np.stack([sub[..., m == PARENTS].sum(-1) for m in range(4)], axis=-1)
    np.testing.assert_allclose(marginalize(sub, PARENTS, 4), expected, rtol=1e-6)
    assert marginalize(jnp.asarray(sub, jnp.bfloat16), PARENTS, 4).dtype == jnp.float32
    assert fuse(jnp.ones(3, jnp.float16), jnp.ones(7, jnp.float16), PARENTS).dtype == jnp.float32


def test_wrong_parents_are_refused_inside_jit_where_they_can_be_read():
    with pytest.raises(ValueError, match="parents must lie in"):
        jax.jit(lambda meta, sub: fuse(meta, sub, PARENTS + 1))(np.ones(3), np.ones(7))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rule": "mean"}, "rule must be one of soft, hard, conditional or a function, got 'mean'"),
        ({"meta_probs": np.ones((2, 3))}, r"same leading axes, got shapes \(2, 3\) and \(7,\)"),
        ({"parents": np.zeros(6, int)}, r"parents must be integers of shape \(7,\).*shape \(6,\)"),
        ({"parents": PARENTS.astype(float)}, "parents must be integers .* got float64"),
        ({"parents": PARENTS + 1}, r"parents must lie in \[0, 3\), got 3 outside: 3 at 0, 3 at 4, 3 at 5"),
        ({"sub_probs": 0.5}, r"sub_probs must have a last axis of classes, got shape \(\)"),
    ],
)
def test_bad_arguments_are_named(change, told):
    arguments = {"meta_probs": np.ones(3), "sub_probs": np.ones(7), "parents": PARENTS} | change
    with pytest.raises(ValueError, match=told):
        fuse(**arguments)
    with pytest.raises(ValueError, match="num_parents must be at least 1"):
        marginalize(np.ones(7), PARENTS, 0)


CHAIN = [np.array([0, 0, 1, 2]), np.array([3, 0, 1, 2, 0, 1, 3])]


def chain_by_hand(levels, rule):
    """Every class of the finest level, its ancestors looked up and its score written out."""
    scores = []
    for j in range(7):
        path = [CHAIN[0][CHAIN[1][j]], CHAIN[1][j], j]
        siblings = [np.arange(3), *(np.flatnonzero(c == p) for c, p in zip(CHAIN, path, strict=False))]
        if rule == "soft":
            factors = [level[k] for level, k in zip(levels, path, strict=True)]
        elif rule == "conditional":
            factors = [
                level[k] / (level[s].sum() if i else 1)
                for i, (level, k, s) in enumerate(zip(levels, path, siblings, strict=True))
            ]
        else:
            factors = [
                float(k == s[np.argmax(level[s])])
                for level, k, s in zip(levels[:2], path, siblings, strict=False)
            ]
            factors.append(levels[2][j])
        scores.append(np.prod(factors))
    return np.array(scores)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_three_levels_equal_their_definition_eager_jit_and_vmap(rule):
    rng = np.random.default_rng(9)
    levels = [softmax(2 * rng.normal(size=(40, k))) for k in (3, 4, 7)]
    expected = np.stack([chain_by_hand([level[i] for level in levels], rule) for i in range(40)])
    got = fuse_levels(levels, CHAIN, rule)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-8)
    rescaled = fuse_levels(levels, CHAIN, rule, normalize=True)
    np.testing.assert_allclose(rescaled, expected / expected.sum(-1, keepdims=True), rtol=1e-5, atol=1e-8)
    traced = jax.jit(lambda *levels: fuse_levels(levels, CHAIN, rule))(*levels)
    mapped = jax.vmap(lambda *levels: fuse_levels(levels, CHAIN, rule))(*levels)
    np.testing.assert_allclose(traced, got, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(mapped, got, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_a_chain_of_two_levels_is_fuse(probabilities, rule, normalize):
    meta, sub = probabilities
    np.testing.assert_array_equal(
        fuse_levels([meta, sub], [PARENTS], rule, normalize), fuse(meta, sub, PARENTS, rule, normalize)
    )
    np.testing.assert_array_equal(fuse_levels([sub], [], rule), sub.astype(np.float32))


@functools.cache
def chain_score_and_gradient(rule, normalize):
    def score(values):
        return fuse_levels([values[:3], values[3:7], values[7:]], CHAIN, rule, normalize)[2]

    return jax.jit(jax.value_and_grad(score))


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1e-38, 1e-19, 0.5, 1.0]), min_size=14, max_size=14),
    st.sampled_from(RULES),
    st.booleans(),
)
def test_chains_are_never_nan_and_gradients_are_finite(values, rule, normalize):
    value, gradient = chain_score_and_gradient(rule, normalize)(jnp.asarray(values, jnp.float32))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_a_walk_to_a_class_without_children_ends_in_zeros():
    levels = [jnp.array([0.9, 0.1]), jnp.array([0.5, 0.5]), jnp.array([0.5, 0.5])]
    chain = [np.array([1, 1]), np.array([0, 1])]
    assert fuse_levels(levels, chain, "hard").tolist() == [0, 0]


def test_normalised_chains_do_not_underflow():
    levels = [jnp.array([1e-20, 1e-20]), jnp.array([1.0, 1.0]), jnp.array([3e-20, 1e-20])]
    fused = fuse_levels(levels, [np.array([0, 1]), np.array([0, 1])], "soft", normalize=True)
    np.testing.assert_allclose(fused, [0.75, 0.25], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rule": "mean"}, "rule must be one of soft, hard, conditional or a function, got 'mean'"),
        ({"parents_per_level": []}, "parents_per_level one fewer, got 2 and 0"),
        (
            {"probs_per_level": [np.ones(3), np.ones((2, 7))]},
            r"probs_per_level\[1\] must have the leading axes",
        ),
        ({"parents_per_level": [PARENTS + 1]}, r"parents_per_level\[0\] must lie in \[0, 3\)"),
    ],
)
def test_bad_chains_are_named(change, told):
    with pytest.raises(ValueError, match=told):
        fuse_levels(
            **({"probs_per_level": [np.ones(3), np.ones(7)], "parents_per_level": [PARENTS]} | change)
        )
