"""The host's allocator: memory that the tuned heap keeps, uses again, and gives back when it is asked to."""

import os
import platform
import subprocess
import sys

import pytest

from skinjax.files.host import TUNABLES, VARIABLE

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
FREE_PIECES = """
import ctypes, re
from skinjax.files.host import give_back_free_memory

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10

def allocate(size, count):
    pieces = [malloc(size) for _ in range(count)]
    for piece in pieces:
        ctypes.memset(piece, 1, size)
    return pieces

malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, malloc.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = resident()
pieces = allocate(1 << 16, 6400)  # 400 MiB as a compilation's, of which every 64th stays
for place, piece in enumerate(pieces):
    if place % 64:
        free(piece)
freed = resident()
give_back_free_memory()
print(before, freed, resident())
"""


SCRATCH = """
import ctypes
libc = ctypes.CDLL(None)
malloc, free, aligned = libc.malloc, libc.free, libc.aligned_alloc
malloc.restype = aligned.restype = ctypes.c_void_p
malloc.argtypes, aligned.argtypes, free.argtypes = [ctypes.c_size_t], [ctypes.c_size_t] * 2, [ctypes.c_void_p]
places = set()
for step in range(20):
    scratch = aligned(64, 900_000_016)  # as XLA asks for it; what else a step allocates, some of which stays
    places.add(scratch)
    buffers = [malloc(50_000_000) for _ in range(2)]
    kept = [malloc(size) for size in (*range(24, 1000, 8), 100_000, 1_000_000)]
    for buffer in (*buffers, scratch):
        free(buffer)
    kept += [malloc(size) for size in (*range(24, 1000, 8), 2_400_000)]
print(len(places))
"""


def run(script: str) -> list[int]:
    told = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {VARIABLE: TUNABLES},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(number) for number in told.stdout.split()]


@glibc
def test_free_pieces_between_used_ones_are_given_back():
    before, freed, after = run(FREE_PIECES)
    assert freed - before > 390  # the heap keeps what was freed
    assert after - before < 40


@glibc
def test_scratch_memory_of_a_step_serves_the_next():
    (places,) = run(SCRATCH)  # 16 of 20 with glibc's caches of small pieces
    assert places <= 4
