"""A session's header in Redis: what must be there of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

FIELDS = ["term", "version", "status", "count", "hi", "lo", "held", "bytes", "floor", "newest", "polled"]


@dataclass(frozen=True, slots=True)
class Header:
    """What must be there of one session; `complete`: both event set and type index have the size that it records."""

    session_id: str
    term: str
    version: str
    status: str
    count: int
    hi: int
    lo: int
    held: int
    bytes: int
    floor: int | None
    newest: int | None
    complete: bool
    polled_ms: int | None = field(default=None, compare=False)  # a poll changes nothing that must be there


def read_header(sid: str, fields: Sequence[bytes | None], events: int, indexed: bytes | None) -> Header | None:
    """Read the values of FIELDS, the size of the event set and that of the type index; None: no header."""
    term, version, status, count, hi, lo, held, size, floor, newest, polled = fields
    if term is None:
        return None
    return Header(
        session_id=sid,
        term=text(term),
        version=text(version),
        status=text(status),
        count=number(count) or 0,
        hi=number(hi) or 0,
        lo=number(lo) or 0,
        held=number(held) or 0,
        bytes=number(size) or 0,
        floor=number(floor),
        newest=number(newest),
        complete=number(held) == events == (number(indexed) or 0),
        polled_ms=number(polled),
    )


def number(raw: bytes | None) -> int | None:
    """Read a whole number; what others wrote is as good as missing, and compared as such."""
    try:
        return None if raw is None else int(raw)
    except ValueError:
        return None


def text(raw: bytes | None) -> str:
    """Read a text; nothing is the empty one."""
    return (raw or b"").decode("utf-8", "replace")
