"""Near-duplicates: the search against all pairs, the hash against copies and against real photos."""

import io
import time
import tracemalloc

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from PIL import Image, ImageEnhance

from skinjax.data.images.duplicates import (
    HASH_SIDE,
    RADIUS,
    WORD_RADIUS,
    cluster,
    fingerprint,
    hamming_pairs,
    near_pairs,
    perceptual_hash,
    stand_in_cases,
)
from skinjax.data.images.photos import decode


def distance(a, b):
    return int(np.bitwise_count(a ^ b).sum())


def all_pairs(words, radius):
    """By comparing every word with every other."""
    near = np.bitwise_count(words[:, None] ^ words[None, :]) <= radius
    return set(zip(*np.nonzero(np.triu(near, 1)), strict=True))


def random_words(rng, number, flips):
    """Words of which half are others with a few bits flipped."""
    words = rng.integers(0, 2**64, number, dtype=np.uint64)
    for n in range(number // 2):
        word = words[rng.integers(number // 2, number)]
        for bit in rng.choice(64, rng.integers(0, flips + 1), replace=False):
            word ^= np.uint64(1) << np.uint64(bit)
        words[n] = word
    return words


@pytest.mark.parametrize("radius", [0, 1, 3, 4, 7, 8, 11])
def test_hamming_pairs_equal_all_pairs(radius):
    words = random_words(np.random.default_rng(radius), 1500, flips=14)
    found = np.concatenate([np.empty((0, 2), np.int64), *hamming_pairs(words, radius)])
    as_set = set(map(tuple, found.tolist()))
    assert len(as_set) == len(found)  # each pair once
    assert as_set == all_pairs(words, radius)
    assert len(as_set) > 30


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 3, 2**16, 2**32 + 1, 2**63, 2**64 - 1, 0xFF, 0xFF00FF]), max_size=30),
    st.integers(0, 9),
)
def test_hamming_pairs_with_few_distinct_words(values, radius):
    words = np.array(values, np.uint64)
    found = np.concatenate([np.empty((0, 2), np.int64), *hamming_pairs(words, radius)])
    assert sorted(map(tuple, found.tolist())) == sorted(all_pairs(words, radius))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 120))
def test_near_pairs_join_what_all_pairs_join(seed, number):
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, (number, 4), dtype=np.uint64)
    for n in range(1, number):
        if rng.random() < 0.7:
            hashes[n] = hashes[rng.integers(n)]
            for bit in rng.choice(256, rng.integers(0, 70), replace=False):
                hashes[n, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
        elif rng.random() < 0.2:
            hashes[n] = 0
    word = np.bitwise_count(hashes[:, None, 0] ^ hashes[None, :, 0])
    whole = np.bitwise_count(hashes[:, None] ^ hashes[None, :]).sum(2)
    shown = hashes.any(1)
    near = (word <= WORD_RADIUS) & (whole <= RADIUS) & shown[:, None] & shown
    wanted = np.argwhere(np.triu(near, 1))
    parts = list(near_pairs(hashes))
    found = {tuple(pair) for part in parts for pair in part.tolist()}
    assert found <= set(map(tuple, wanted.tolist()))
    np.testing.assert_array_equal(cluster(iter(parts), number), cluster(wanted, number))


def test_cluster_equals_a_plain_union_find():
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 500, (400, 2))
    parent = list(range(500))

    def root(n):
        while parent[n] != n:
            n = parent[n]
        return n

    for a, b in pairs:
        parent[root(a)] = root(b)
    roots = [root(n) for n in range(500)]
    order = {r: n for n, r in enumerate(dict.fromkeys(roots))}
    wanted = [order[r] for r in roots]
    np.testing.assert_array_equal(cluster(pairs, 500), wanted)
    np.testing.assert_array_equal(cluster(iter(np.array_split(pairs, 7)), 500), wanted)
    np.testing.assert_array_equal(cluster(np.empty((0, 2)), 3), [0, 1, 2])


def test_fifty_thousand_photos_take_seconds():
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**64, (50_000, 4), dtype=np.uint64)
    copies = rng.permutation(50_000)[:2000].reshape(-1, 2)
    hashes[copies[:, 1]] = hashes[copies[:, 0]]
    hashes[copies[:, 1], 0] ^= np.uint64(0b1000000000000000100000000000100000001)
    start = time.perf_counter()
    labels = cluster(near_pairs(hashes), 50_000)
    assert time.perf_counter() - start < 10
    assert (labels[copies[:, 0]] == labels[copies[:, 1]]).all()
    assert labels.max() + 1 == 49_000


def test_fifty_thousand_copies_of_one_photo_take_no_memory():
    hashes = np.tile(np.array([1, 2, 3, 4], np.uint64), (50_000, 1))
    hashes[::2] = 0  # and as many flat ones
    tracemalloc.start()
    pairs = np.concatenate(list(near_pairs(hashes)))
    names = stand_in_cases(hashes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(pairs) == 24_999
    assert len(set(names)) == 2
    assert peak < 50e6


def test_stand_in_cases_do_not_depend_on_the_order():
    rng = np.random.default_rng(2)
    hashes = rng.integers(0, 2**64, (60, 4), dtype=np.uint64)
    hashes[30:50] = hashes[:20] ^ np.uint64(2)
    hashes[50:] = 0
    names = stand_in_cases(hashes)
    assert names[30:50] == names[:20]
    assert set(names[50:]) == {"look_flat"}
    assert len(set(names)) == 31
    order = rng.permutation(60)
    assert stand_in_cases(hashes[order]) == [names[n] for n in order]


def test_wrong_hashes_are_refused():
    with pytest.raises(ValueError, match="hashes must be uint64"):
        stand_in_cases(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="radius must be 0 to 15"):
        next(hamming_pairs(np.zeros(3, np.uint64), 16))
    with pytest.raises(ValueError, match="words must be uint64"):
        next(hamming_pairs(np.zeros(3), 3))


def test_the_hash_by_its_definition():
    """The signs of the cosine transform, from scipy's."""
    from scipy.fft import dctn

    photo = np.random.default_rng(3).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    grey = np.asarray(Image.fromarray(photo).convert("L"), float)
    signs = dctn(grey)[1:17, 1:17] > 0
    blocks = [signs[:8, :8], signs[:8, 8:], signs[8:, :8], signs[8:, 8:]]
    wanted = [int("".join("01"[bit] for bit in block.ravel().astype(int)), 2) for block in blocks]
    assert perceptual_hash(photo).tolist() == wanted


def jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def test_copies_of_real_photos_are_found(shared_data):
    """Re-encoded, resized and relit copies of both sets; the docstring's figures, on fewer photos."""
    files = sorted((shared_data / "ham10000" / "images").glob("*.jpg"))[::350]
    files += sorted((shared_data / "pad_ufes_20" / "images").glob("*.png"))[::23]
    found = {"quality": 0, "half": 0, "dark": 0, "contrast": 0, "trim": 0}
    for file in files:
        photo = decode(file)
        image, own = Image.fromarray(photo), perceptual_hash(photo)
        x, y = image.width // 100, image.height // 100
        copies = {
            "quality": decode(jpeg(image, 50)),
            "half": np.asarray(image.resize((image.width // 2, image.height // 2))),
            "dark": np.asarray(ImageEnhance.Brightness(image).enhance(0.7)),
            "contrast": np.asarray(ImageEnhance.Contrast(image).enhance(1.3)),
            "trim": np.asarray(image.crop((x, y, image.width - x, image.height - y))),
        }
        for name, copy in copies.items():
            look = perceptual_hash(copy)
            found[name] += distance(own, look) <= RADIUS and distance(own[:1], look[:1]) <= WORD_RADIUS
        # Decoding at a reduced size for speed does not change the look.
        large = jpeg(image.resize((900, 675), Image.Resampling.BICUBIC), 95)
        assert (
            distance(perceptual_hash(decode(large, target=HASH_SIDE)), perceptual_hash(decode(large))) <= 12
        )
    assert min(found.values()) >= 0.95 * len(files), found


def test_native_and_resized_photos_of_pad_ufes_match(shared_data):
    pad = shared_data / "pad_ufes_20"
    both = [
        file.name for file in (pad / "images_native").glob("*.png") if (pad / "images" / file.name).exists()
    ]
    assert len(both) >= 5
    for name in both:
        looks = [perceptual_hash(decode(pad / folder / name)) for folder in ("images", "images_native")]
        assert distance(*looks) <= RADIUS


@pytest.mark.slow
def test_different_lesions_of_ham10000_are_told_apart(shared_data):
    """Two pairs of lesion numbers do share a photo, as seen by eye; no other is taken for a copy."""
    ham = shared_data / "ham10000"
    table = pd.read_csv(ham / "HAM10000_metadata.csv")
    table = table[[(ham / "images" / f"{name}.jpg").exists() for name in table["image_id"]]]
    hashes = np.array([perceptual_hash(decode(ham / "images" / f"{name}.jpg")) for name in table["image_id"]])
    pairs = np.concatenate(list(near_pairs(hashes)))
    lesions = table["lesion_id"].to_numpy()[pairs]
    names = table["image_id"].to_numpy()[pairs]
    across = {frozenset(pair) for pair in names[lesions[:, 0] != lesions[:, 1]]}
    assert across == {
        frozenset({"ISIC_0030074", "ISIC_0025226"}),
        frozenset({"ISIC_0027027", "ISIC_0029036"}),
    }
    assert (lesions[:, 0] == lesions[:, 1]).sum() > 60


def test_fingerprint_is_sha256():
    wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fingerprint(b"abc") == wanted
