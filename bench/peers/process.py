"""A peer's process, prepared as a process of our query API is: neither allocator nor collector holds it up."""

from readside import allocator, collector


def prepare() -> None:
    """Call it when everything is imported, before the first request."""
    allocator.keep_freed_memory()
    collector.spare()
