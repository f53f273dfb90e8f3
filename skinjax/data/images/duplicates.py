"""Finds photos that are the same picture: byte for byte, or to the eye.

**The hash.** A photo is reduced to 32 x 32 grey levels and transformed by the discrete cosine transform
(Zauner 2010). The signs of the 16 x 16 lowest coefficients that vary both across and down the photo are its
256 bits. The 8 x 8 lowest of them come first: a 64-bit word that finds candidates; all 256 bits decide. Signs
change with neither brightness nor contrast, and low frequencies survive re-encoding and resizing.

**Why not 64 bits alone.** Close-up photos of skin look alike, a dark spot in the middle: among the 8,625
photos of HAM10000 in hand (37 million pairs of different lesions, 2,763 pairs of one lesion), 64-bit hashes
take many different lesions for one photo long before they find more of the true pairs.

====================================  ==================  =========================
hash, radius                          one lesion, found   different lesions, matched
====================================  ==================  =========================
difference hash, 64 bits, 4           3.1 %               21,204
DCT hash over the median, 64 bits, 4  3.5 %               221
these 64 bits alone, 4 / 7            3.1 % / 4.8 %       20 / 320
both words, 7 and 32 of 256           3.3 %               1
**both words, 7 and 40 of 256**       **3.8 %**           **2**
both words, 7 and 48 of 256           4.3 %               4
both words, 11 and 56 of 256          4.9 %               14
====================================  ==================  =========================

The two matched at 7 and 40 are not errors: seen by eye, each is one lesion published under two lesion
numbers. (Most photos of one lesion are separate takes, and no duplicates.) In PAD-UFES-20 (575 photos)
nothing of different lesions matches at that radius. Copies of 200 photos of each set that are found at 7 and
40: JPEG quality 50, half size, contrast up 30 %, brightness down 30 %, edges cut by 1 %: all; brightness up
30 %, JPEG quality 20: 98 to 100 %; turned by one degree: 83 to 91 %; edges cut by 2 %: 78 to 80 %; by 5 %: 2
% or less. Mirrored copies are not looked for.

**The search** is multi-index hashing (Norouzi, Punjani and Fleet 2012): the word is cut into 4 bands of 16
bits; two words within radius r agree in at least one band up to r // 4 bits, so only photos in such buckets are
compared. 50,000 random hashes take about 0.2 s on one core and 1,000,000 about 6 s, against 2 s and 12 minutes
for all pairs; the worst case, 50,000 photos of one word that all differ beside it, takes 90 s and no memory.

References:
  C. Zauner (2010). Implementation and benchmarking of perceptual image hash functions. Hagenberg.
  M. Norouzi, A. Punjani, D. J. Fleet (2012). Fast search in Hamming space with multi-index hashing. CVPR.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

__all__ = [
    "RADIUS",
    "WORD_RADIUS",
    "cluster",
    "fingerprint",
    "hamming_pairs",
    "is_stand_in",
    "near_pairs",
    "perceptual_hash",
    "stand_in_cases",
]

#: Two photos are near-duplicates if at most this many of all 256 bits differ ...
RADIUS = 40
#: ... and at most this many of the first 64.
WORD_RADIUS = 7

#: A side in pixels that is enough to hash by; see `skinjax.data.images.photos.decode(target=...)`.
HASH_SIDE = 128

_GREY_SIDE = 32
_COEFFICIENTS = 16
# Grey levels of standard deviation below which a photo shows nothing, and its hash would be noise.
_FLAT = 1.0
_BAND_BITS = 16
# Comparisons made at once: few enough that their arrays stay in the processor's cache.
_CHUNK = 1 << 18

_frequencies = np.arange(1, _COEFFICIENTS + 1)[:, None] * (2 * np.arange(_GREY_SIDE) + 1)[None, :]
_COSINES = np.cos(np.pi * _frequencies / (2 * _GREY_SIDE)) * np.sqrt(2 / _GREY_SIDE)

_STAND_IN = re.compile(r"look_(?:[0-9a-f]{16}|flat)")


def fingerprint(data: bytes) -> str:
    """Names a file by its bytes: SHA-256, 64 hexadecimal digits.

    >>> fingerprint(b"")[:12]
    'e3b0c44298fc'
    """
    return hashlib.sha256(data).hexdigest()


def perceptual_hash(image: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hashes what a photo looks like.

    Args:
      image: uint8[H, W, 3].

    Returns:
      uint64[4], 256 bits, the coarsest 64 first; all zero for a flat photo, which looks like nothing.

    >>> ramp = np.add.outer(np.arange(64) ** 2 // 20, np.arange(64)).astype(np.uint8)
    >>> photo = np.stack([ramp, ramp.T, ramp], axis=2)
    >>> int(np.bitwise_count(perceptual_hash(photo) ^ perceptual_hash(photo // 2)).sum()) < RADIUS
    True
    >>> perceptual_hash(np.full((64, 64, 3), 200, np.uint8)).tolist()
    [0, 0, 0, 0]
    """
    picture = Image.fromarray(image).convert("L")
    small = picture.resize((_GREY_SIDE, _GREY_SIDE), Image.Resampling.BILINEAR)
    grey = np.asarray(small, np.float64)
    if grey.std() < _FLAT:
        return np.zeros(4, np.uint64)
    # The small threshold keeps coefficients that are zero by symmetry from following rounding errors.
    bits = _COSINES @ grey @ _COSINES.T > 1e-6
    half = _COEFFICIENTS // 2
    blocks = [bits[:half, :half], bits[:half, half:], bits[half:, :half], bits[half:, half:]]
    packed = np.concatenate([np.packbits(block) for block in blocks])
    return packed.view(">u8").astype(np.uint64)


def hamming_pairs(words: NDArray[np.uint64], radius: int) -> Iterator[NDArray[np.int64]]:
    """Finds all pairs of 64-bit words that differ in at most `radius` bits, without comparing all pairs.

    Args:
      words: uint64[N].
      radius: Largest number of differing bits, 0 to 15.

    Yields:
      int64[P, 2] of positions, the smaller one first; each pair once over all arrays. Memory does not grow
      with the number of pairs.

    Raises:
      ValueError: `words` or `radius` is not as above.

    >>> words = np.array([0, 1, 2**63, 3, 2**64 - 1], np.uint64)
    >>> sorted(map(tuple, np.concatenate(list(hamming_pairs(words, 1))).tolist()))
    [(0, 1), (0, 2), (1, 3)]
    """
    if words.dtype != np.uint64 or words.ndim != 1:
        raise ValueError(f"words must be uint64[N], got {words.dtype}{list(words.shape)}")
    if not 0 <= radius <= 15:
        raise ValueError(f"radius must be 0 to 15 bits of 64, got {radius}")
    num_bands = 64 // _BAND_BITS
    slack = radius // num_bands
    bands = [(words >> np.uint64(band * _BAND_BITS)).astype(np.uint16) for band in range(num_bands)]
    flips = [
        sum(1 << bit for bit in chosen)
        for number in range(slack + 1)
        for chosen in itertools.combinations(range(_BAND_BITS), number)
    ]
    for band, values in enumerate(bands):
        order = np.argsort(values, kind="stable")
        sorted_values, sorted_words = values[order], words[order]
        starts = np.searchsorted(sorted_values, np.arange((1 << _BAND_BITS) + 1))
        for flip in flips:
            partner = (sorted_values ^ np.uint16(flip)).astype(np.int64)
            low, high = starts[partner], starts[partner + 1]
            if flip:  # each pair of buckets from its smaller side
                high = np.where(partner > sorted_values, high, low)
            else:  # within a bucket, from the earlier position
                low = np.arange(1, len(words) + 1)
            for left, right in _ranges(low, high):
                close = np.bitwise_count(sorted_words[left] ^ sorted_words[right]) <= radius
                first, second = order[left[close]], order[right[close]]
                for earlier in bands[:band]:  # a pair that an earlier band has given
                    new = np.bitwise_count(earlier[first] ^ earlier[second]) > slack
                    first, second = first[new], second[new]
                if len(first):
                    yield np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)


def _ranges(
    low: NDArray[np.int64], high: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Writes out all (i, j) with low[i] <= j < high[i], in pieces of about `_CHUNK` pairs."""
    counts = np.maximum(high - low, 0)
    rows = np.flatnonzero(counts)
    counts, low = counts[rows], low[rows]
    ends = np.cumsum(counts)
    start = 0
    while start < len(rows):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _CHUNK, side="right")))
        part = counts[start:stop]
        offset = np.arange(part.sum()) - np.repeat(np.cumsum(part) - part, part)
        yield np.repeat(rows[start:stop], part), np.repeat(low[start:stop], part) + offset
        start = stop


def near_pairs(
    hashes: NDArray[np.uint64], radius: int = RADIUS, word_radius: int = WORD_RADIUS
) -> Iterator[NDArray[np.int64]]:
    """Finds the near-duplicates among photos.

    Args:
      hashes: uint64[N, 4] of `perceptual_hash`; rows of zeros (flat or unreadable photos) pair with
        nothing.
      radius: Largest number of differing bits out of 256.
      word_radius: Largest number of differing bits out of the first 64, 0 to 15.

    Yields:
      int64[P, 2] of positions, the smaller one first. Photos with one and the same hash are each paired
      with the first of them only, and pairs of other photos are between such firsts: 50,000 copies of a
      photo give 49,999 pairs, not a billion, and `cluster` joins the same photos.

    Raises:
      ValueError: An argument is not as above.
    """
    hashes = _checked(hashes)
    shown = np.flatnonzero(hashes.any(axis=1))
    if not len(shown):
        return
    distinct, first, copy_of = np.unique(hashes[shown], axis=0, return_index=True, return_inverse=True)
    first, original = shown[first], shown[first[copy_of]]
    copies = original != shown
    if copies.any():
        yield np.stack([original[copies], shown[copies]], axis=1)
    # Sorted by rows, so photos with one first word stand together.
    words, starts = np.unique(distinct[:, 0], return_index=True)
    ends = np.append(starts[1:], len(distinct))
    own_end = np.repeat(ends, ends - starts)
    columns = [np.ascontiguousarray(column) for column in distinct.T]
    candidates = _ranges(np.arange(1, len(distinct) + 1), own_end)
    for left, right in itertools.chain(candidates, _across(hamming_pairs(words, word_radius), starts, ends)):
        differing = sum(np.bitwise_count(word[left] ^ word[right]).astype(np.int16) for word in columns)
        close = differing <= radius
        if close.any():
            yield np.sort(np.stack([first[left[close]], first[right[close]]], axis=1), axis=1)


def _across(
    pairs_of_groups: Iterable[NDArray[np.int64]], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Writes out all pairs of one member of the one group and one of the other, in pieces."""
    for pairs in pairs_of_groups:
        one, other = pairs.T
        for pair, member in _ranges(starts[one], ends[one]):
            for position, partner in _ranges(starts[other[pair]], ends[other[pair]]):
                yield member[position], partner


def cluster(pairs: ArrayLike | Iterable[NDArray[np.int64]], num_photos: int) -> NDArray[np.int64]:
    """Joins photos that are connected by pairs.

    Args:
      pairs: int[P, 2], or an iterator of such arrays as `near_pairs` gives it (none is kept).
      num_photos: N.

    Returns:
      int64[N]: the cluster of each photo, numbered from 0 in the order of their first photos.

    >>> cluster([[1, 4], [4, 2]], 5).tolist()
    [0, 1, 1, 2, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    parts = pairs if isinstance(pairs, Iterator) else [np.asarray(pairs, np.int64).reshape(-1, 2)]
    root = np.arange(num_photos)
    for part in parts:
        ends = root[np.asarray(part)]
        ends = ends[ends[:, 0] != ends[:, 1]]
        if not len(ends):
            continue
        touched, local = np.unique(ends, return_inverse=True)
        local = local.reshape(-1, 2)
        graph = coo_array((np.ones(len(local), np.int8), (local[:, 0], local[:, 1])), (len(touched),) * 2)
        groups, group = connected_components(graph, directed=False)
        smallest = np.full(groups, num_photos)
        np.minimum.at(smallest, group, touched)
        moved = np.arange(num_photos)
        moved[touched] = smallest[group]
        root = moved[root]
    return np.unique(root, return_inverse=True)[1].astype(np.int64)


def stand_in_cases(
    hashes: NDArray[np.uint64], radius: int = RADIUS, word_radius: int = WORD_RADIUS
) -> list[str]:
    """Makes case names where a data set has none: near-duplicate photos share one.

    This keeps copies of a picture in one part of a split. It cannot know which other photos are of one
    patient.

    Args:
      hashes: uint64[N, 4] of `perceptual_hash`.
      radius: As in `near_pairs`.
      word_radius: As in `near_pairs`.

    Returns:
      N names, `look_` and 16 hexadecimal digits that depend on the smallest hash of the cluster alone, so
      they stay when rows change places. Flat photos cannot be distinguished and share the case `look_flat`.

    >>> stand_in_cases(np.array([[7, 0, 0, 1], [0, 0, 0, 0], [7, 0, 0, 0]], np.uint64))
    ['look_0a8d611e5380531c', 'look_flat', 'look_0a8d611e5380531c']
    """
    hashes = _checked(hashes)
    labels = cluster(near_pairs(hashes, radius, word_radius), len(hashes))
    order = np.lexsort((*hashes.T[::-1], labels))
    smallest = order[np.unique(labels[order], return_index=True)[1]]
    names = []
    for photo in smallest:
        digest = hashlib.blake2b(hashes[photo].astype(">u8").tobytes(), digest_size=8).hexdigest()
        names.append(f"look_{digest}" if hashes[photo].any() else "look_flat")
    return [names[label] for label in labels]


def is_stand_in(case: str) -> bool:
    """Returns whether a case name is one of `stand_in_cases`.

    >>> is_stand_in("look_0a8d611e5380531c"), is_stand_in("look_flat"), is_stand_in("look_7")
    (True, True, False)
    """
    return _STAND_IN.fullmatch(case) is not None


def _checked(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    if not isinstance(hashes, np.ndarray) or hashes.dtype != np.uint64 or hashes.shape[1:] != (4,):
        found = (
            f"{hashes.dtype}{list(hashes.shape)}" if isinstance(hashes, np.ndarray) else type(hashes).__name__
        )
        raise ValueError(f"hashes must be uint64[N, 4], got {found}")
    return hashes
