"""The C library's allocator, told to keep what is freed: a page's buffers come and go with every poll, a load's too."""

from __future__ import annotations

import ctypes

TRIM_BYTES = 32 * 1024 * 1024
"""So much freed memory at most stays with the process at the end of its heap."""
MAPPED_BYTES = 4 * 1024 * 1024
"""Larger buffers than that are still mapped one by one, and given back at once."""

# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Keep what is freed, where the C library is glibc: elsewhere nothing happens.

    By default glibc gives back all but the last 128 kB of its heap, and maps what is larger than that by itself: each
    page of 47 kB from Redis then cost the kernel ten page faults, a tenth of what the whole poll cost.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_TRIM_THRESHOLD, TRIM_BYTES)
        set_option(_M_MMAP_THRESHOLD, MAPPED_BYTES)
