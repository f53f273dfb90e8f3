"""The host's allocator: free memory that the tuned heap keeps, and gives back when it is asked to."""

import os
import platform
import subprocess
import sys

import pytest

from skinjax.files.host import TUNABLES, VARIABLE

SCRIPT = """
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library has no malloc_trim")
def test_free_pieces_between_used_ones_are_given_back():
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {VARIABLE: TUNABLES},
        capture_output=True,
        text=True,
        check=True,
    )
    before, freed, after = map(int, told.stdout.split())
    assert freed - before > 390  # the heap keeps what was freed
    assert after - before < 40
