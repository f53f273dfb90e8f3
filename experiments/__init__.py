"""Floor 5: experiments, each run as `python -m experiments.<name> --flag=value` from the checkout.

On Linux a script first starts itself again with glibc's allocator set to use huge pages and a single arena. XLA
allocates its scratch memory anew every step, and most of the system time of a training step on CPU is the kernel
handing it out in pages of 4 KiB: with huge pages a step is 1.3 times as fast (benchmarks/results/ground.md), and
with one arena 1.2 times again. Benchmarks are started in the same way. A `GLIBC_TUNABLES` of the
user's own is left alone.
"""

import os
import sys

_TUNABLES = ":".join(
    (
        "glibc.malloc.hugetlb=1",
        "glibc.malloc.arena_max=1",  # the scratch memory of one step serves the next, whichever thread asks for it
        "glibc.malloc.mmap_threshold=1000000000000",  # never by mmap, and never given back: both fault pages in anew
        "glibc.malloc.trim_threshold=1000000000000",
    )
)


def _use_huge_pages() -> None:
    """Replaces this process by the same command with `GLIBC_TUNABLES` set; does nothing where that is done."""
    command = sys.orig_argv
    module = command[command.index("-m") + 1] if "-m" in command else ""
    runs_a_script = module.startswith(("experiments.", "benchmarks."))
    if runs_a_script and sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.execve(sys.executable, [sys.executable, *command[1:]], os.environ | {"GLIBC_TUNABLES": _TUNABLES})


_use_huge_pages()
