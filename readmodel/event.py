"""An event as both stores hold it, and how its type and instant are packed into the type index.

The one encoder of an event's JSON is SQL (`sql/event_json.sql`): Postgres renders the final bytes for the loader and
for the fallback alike, so that every source gives the same bytes and `event_data` keeps every digit.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

ENCODING_VERSION = "1"
"""Changes whenever header, members or index are written in another way; views of other versions are never read."""

SCORE_BOUND = 2**53
"""Scores are doubles: whole microseconds since 1970 are exact below this, from 1684 until June 2255."""

_TYPES = (
    "session_created",
    "status_changed",
    "step_created",
    "step_status_changed",
    "artifact_created",
    "workflow_started",
    "workflow_resumed",
    "workflow_paused",
    "workflow_completed",
    "workflow_failed",
    "workflow_error",
)
_CODES = {name: bytes([number]) for number, name in enumerate(_TYPES, start=1)}
_ASKABLE = re.compile(r"[a-z_]{1,100}")
_NEVER_ASKED = b"\x1f"


class Event(NamedTuple):
    """One row of the event log, ready for the view.

    `score` is microseconds since 1970, or None where a double cannot hold it; `hash_hi` and `hash_lo` are the 32-bit
    halves of `uuid_hash_extended(id, xmin)`; `member` is the event's final JSON, UTF-8.
    """

    session_id: str
    id: bytes
    score: int | None
    event_type: str
    hash_hi: int
    hash_lo: int
    member: bytes


def is_askable(event_type: str) -> bool:
    """Tell whether a poll can name this type (the contract's `^[a-z_]+$`, 1 to 100 characters)."""
    return _ASKABLE.fullmatch(event_type) is not None


@lru_cache(maxsize=1024)  # a load asks for the same few, once an event
def type_code(event_type: str) -> bytes:
    """Give the prefix of a type in the index: one byte for a known one, its name and NUL for another.

    No code is a prefix of another: known codes are below 0x1f, names start at `_` (0x5f). Types that no poll can name
    share a code, so that each event has exactly one entry.
    """
    if not is_askable(event_type):
        return _NEVER_ASKED
    return _CODES.get(event_type) or event_type.encode() + b"\0"


def index_member(event_type: str, score: int, event_id: bytes) -> bytes:
    """Pack (type, score, id) so that byte order is (type, timestamp, id) order."""
    return type_code(event_type) + (score + SCORE_BOUND).to_bytes(8, "big") + event_id


def index_range(event_type: str, since_us: int | None) -> tuple[bytes, bytes]:
    """Give the ZLEXCOUNT bounds of one type's events later than `since_us` (exclusive), or of all of them."""
    code = type_code(event_type)
    first = -SCORE_BOUND if since_us is None else min(max(since_us + 1, -SCORE_BOUND), SCORE_BOUND)
    return b"[" + code + (first + SCORE_BOUND).to_bytes(8, "big"), b"[" + code + b"\xff" * 25
