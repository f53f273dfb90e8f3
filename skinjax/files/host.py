"""The host's allocator, tuned for XLA on Linux, so that a step's scratch memory serves the next step too.

XLA allocates its scratch memory anew every step, and most of the system time of a training step on CPU is the kernel
handing it out in pages of 4 KiB: with huge pages a step is 1.3 times as fast (benchmarks/results/ground.md), and with
one arena 1.2 times again. glibc reads these settings when a process starts. The command `skinjax` sets them by itself;
a program of one's own calls `restart_tuned()` first of all and `compute_in_calling_thread()` before JAX computes, and
a notebook is started with the variable set:

    GLIBC_TUNABLES=$(python -m skinjax.files.host) jupyter lab
"""

from __future__ import annotations

import ctypes
import os
import sys

VARIABLE = "GLIBC_TUNABLES"
TUNABLES = ":".join(
    (
        "glibc.malloc.hugetlb=1",
        "glibc.malloc.arena_max=1",  # the scratch memory of one step serves the next, whichever thread asks for it
        "glibc.malloc.mmap_threshold=1000000000000",  # never by mmap, and never given back: both fault pages in anew
        "glibc.malloc.trim_threshold=1000000000000",
        # An aligned block leaves up to 96 bytes around it, which the next block of its size needs again. From caches
        # of small pieces they would be reused by other allocations, and the next block would go to new memory.
        "glibc.malloc.tcache_count=0",
        "glibc.malloc.mxfast=0",
    )
)


def restart_tuned() -> None:
    """Replaces this process by the same command with a tuned allocator.

    Does nothing where `GLIBC_TUNABLES` is set already, on systems other than Linux, and in interactive sessions.
    """
    command = sys.orig_argv
    interactive = hasattr(sys, "ps1") or len(command) < 2 or command[1] in ("-", "-i", "-c")
    if sys.platform == "linux" and VARIABLE not in os.environ and not interactive:
        os.execve(sys.executable, [sys.executable, *command[1:]], os.environ | {VARIABLE: TUNABLES})


def compute_in_calling_thread() -> None:
    """Has JAX compute on CPUs in the thread that calls a function, before it returns.

    In a thread of its own an update counts as done shortly before its scratch memory is free, so that the next one,
    which waits for it, may find no place and take a second set. To be called before the first computation; programs
    over several devices are computed in threads all the same.
    """
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)


def give_back_free_memory() -> None:
    """Returns free memory of the heap to the system, which the tuned allocator never does by itself.

    A compilation leaves a gigabyte of free pieces, too small for a step's scratch memory. Does nothing where the
    C library has no `malloc_trim`.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(ctypes.c_size_t(0))


if __name__ == "__main__":
    print(TUNABLES)
