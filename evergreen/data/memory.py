"""What this process does with memory that it no longer needs."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # malloc.h


def keep_freed_memory() -> None:
    """Keep what is freed for what comes next, instead of handing it back to the system.

    Of a table in memory, columns come and go by the gigabyte, and the system clears each page
    that it hands out: that takes longer than what is computed on it. The C library's allocator
    then takes large blocks from its heap, and Arrow takes its own from there. It does nothing
    where the C library is not GNU's. See mallopt(3).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    import pyarrow as pa

    library = ctypes.CDLL(None)
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)
    library.mallopt(_ARENA_MAX, 1)  # heaps of other threads are given back as soon as empty
    pa.set_memory_pool(pa.system_memory_pool())


def give_back_freed_memory() -> None:
    """Hand what was freed and kept back to the system, for other processes. See malloc_trim(3)."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
