"""A session's header in Redis: what must be there of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from readmodel.values.event import ENCODING_VERSION

_WHOLE = re.compile(rb"-?[0-9]+")
FIELDS = ["term", "version", "status", "count", "hi", "lo", "held", "bytes", "floor", "newest", "polled"]


class StoredEvents(Protocol):
    """A session's events in Postgres: their count, and the two halves of the sum of their hashes."""

    @property
    def count(self) -> int: ...

    @property
    def hi(self) -> int: ...

    @property
    def lo(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Header:
    """What must be there of one session.

    `complete`: every field is there and fits the others, and event set and type index have the size that it records.
    """

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

    def holds(self, stored: StoredEvents) -> bool:
        """Tell whether the view holds the very events that Postgres holds, by count and sum of row hashes."""
        return self.complete and (self.count, self.hi, self.lo) == (stored.count, stored.hi, stored.lo)


def read_header(sid: str, fields: Sequence[bytes | None], events: int | None, indexed: bytes | None) -> Header | None:
    """Read the values of FIELDS, the size of the event set (None: it is no set) and of the index; None: no header."""
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
        complete=_fits(fields) and number(held) == events == number(indexed or b"0"),
        polled_ms=number(polled),
    )


def _fits(fields: Sequence[bytes | None]) -> bool:
    """Tell whether the fields can be those of a session that the projector wrote: readers refuse all others."""
    _, version, status, *numbers, floor, newest, _ = fields
    if text(version) != ENCODING_VERSION or status is None or any(number(raw) is None for raw in numbers):
        return False
    count, _, _, held, _ = (number(raw) or 0 for raw in numbers)
    windowed = floor is not None
    if (windowed and number(floor) is None) or (held > 0 and number(newest) is None):
        return False
    return count > held if windowed else count == held


def number(raw: bytes | None) -> int | None:
    """Read a whole number; what others wrote is as good as missing, and compared as such."""
    return int(raw) if raw is not None and _WHOLE.fullmatch(raw) else None


def text(raw: bytes | None) -> str:
    """Read a text; nothing is the empty one."""
    return (raw or b"").decode("utf-8", "replace")
