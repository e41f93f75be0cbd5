"""Comparing sessions of the view with Postgres, event by event, with no false alarm while writers write.

A session is read from Redis (A), from Postgres (P) and, where they differ, from Redis again (B) when as-of has passed
P's instant, and from Postgres again (Q). Then B holds all that was committed before P, so that

    an event of P and Q that B lacks was lost,
    an event of A and B that P lacks should not be there,
    an event that P and Q hold alike and B otherwise is stale,
    totals are wrong when A and B say the same and P does not.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from readmodel.errors import ReadsideError
from readmodel.event import ENCODING_VERSION, index_member
from readmodel.postgres_client import Pool, translated
from readmodel.redis_client import translated as redis_translated
from readmodel.sql import statement
from readmodel.view import Header, ViewReader

PASS_SECONDS = 5.0
ATTEMPTS = 5
"""Rounds for a session that is dropped and loaded again while it is compared."""


class NotLive(ReadsideError):
    """As-of does not move: late cannot be told from lost."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one session: `same`, `different` or `cold` (the view does not hold it now).

    The lists hold event ids: missing from the view, in the view and not in Postgres, with other content, and not
    found by type. `totals` tells that count, id hash or status are wrong.
    """

    session_id: str
    state: str
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unindexed: list[str] = field(default_factory=list)
    totals: bool = False


@dataclass(frozen=True, slots=True)
class Viewed:
    """A session in Redis: digest by event id, index entries, header."""

    header: Header
    digests: dict[bytes, bytes]
    entries: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Stored:
    """A session in Postgres: (digest, index entry) by event id; totals; whether it exists."""

    exists: bool
    now_us: int
    totals: tuple[str, int, int, int]
    events: dict[bytes, tuple[bytes, bytes]]


class Verifier:
    """Compares sessions. Raises the stores' errors, and NotLive when as-of stands still."""

    def __init__(self, view: ViewReader, pool: Pool, url: str) -> None:
        self._view = view
        self._pool = pool
        self._url = url

    async def verify(self, session_ids: Sequence[str]) -> AsyncIterator[Verdict]:
        """Yield a verdict for each session, in order."""
        for session_id in session_ids:
            yield await self._verify(session_id)

    async def _verify(self, session_id: str) -> Verdict:
        for _ in range(ATTEMPTS):
            first = await self._viewed(session_id)
            if first is None:
                return Verdict(session_id, "cold")
            stored = await self._stored(session_id, first.header.held)
            if judge(session_id, first, stored, first, stored).state == "same":
                return Verdict(session_id, "same")
            await self._passed(stored.now_us or await self._now_us())
            second = await self._viewed(session_id)
            if second is not None:
                again = await self._stored(session_id, max(first.header.held, second.header.held))
                return judge(session_id, first, stored, second, again)
        return Verdict(session_id, "cold")

    async def _viewed(self, session_id: str) -> Viewed | None:
        keys, redis = self._view.keys, self._view.redis
        pipeline: Any = redis.pipeline(transaction=True)
        pipeline.hget(keys.position, "term")
        pipeline.zrange(keys.events(session_id), 0, -1)
        pipeline.zrange(keys.index(session_id), 0, -1)
        with redis_translated(redis):
            term, members, entries = await pipeline.execute()
        (header,) = await self._view.headers([session_id])
        if header is None or term is None or header.term != term.decode() or header.version != ENCODING_VERSION:
            return None
        if not header.complete or header.held != len(members):
            return None  # damaged, or changed between the two reads: never served as it is
        digests = {UUID(member[7:43].decode()).bytes: hashlib.md5(member).digest() for member in members}  # noqa: S324
        return Viewed(header, digests, frozenset(entries))

    async def _stored(self, session_id: str, held: int) -> Stored:
        with translated(self._url):
            rows = await self._pool.fetch(statement("verify"), UUID(session_id), held + 1000)
        if not rows:
            return Stored(exists=False, now_us=0, totals=("", 0, 0, 0), events={})
        head = rows[0]
        events = {
            row["id"]: (row["digest"], index_member(row["event_type"], row["score"], row["id"]))
            for row in rows
            if row["id"] is not None and row["score"] is not None
        }
        return Stored(True, head["now_us"], (head["status"], head["count"], head["hi"], head["lo"]), events)

    async def _now_us(self) -> int:
        with translated(self._url):
            return int(await self._pool.fetchval("SELECT (extract(epoch FROM now()) * 1000000)::bigint"))

    async def _passed(self, instant_us: int) -> None:
        deadline = time.monotonic() + PASS_SECONDS
        while True:
            position = await self._view.position()
            if position is not None and position.live and (position.as_of_us or 0) >= instant_us:
                return
            if time.monotonic() > deadline:
                raise NotLive(
                    "The projection is not live (as-of does not move), so what is late cannot be told from "
                    "what is lost; see `readside status`."
                )
            await asyncio.sleep(0.05)


def judge(session_id: str, first: Viewed, stored: Stored, second: Viewed, again: Stored) -> Verdict:
    """Tell what is different for certain: A, P, B and Q of the module's docstring."""
    if not stored.exists and not again.exists:
        return Verdict(session_id, "different", extra=_texts(second.digests), totals=True)
    floor = second.header.floor
    expected = {
        event_id: event
        for event_id, event in stored.events.items()
        if event_id in again.events and (floor is None or _score(event[1]) > floor)
    }
    missing = [event_id for event_id in expected if event_id not in second.digests]
    extra = [
        event_id
        for event_id in second.digests
        if event_id in first.digests and event_id not in stored.events and event_id not in again.events
    ]
    changed = [
        event_id
        for event_id, event in expected.items()
        if event_id in second.digests and second.digests[event_id] != event[0] and again.events[event_id] == event
    ]
    unindexed = [
        event_id
        for event_id, event in expected.items()
        if event_id in second.digests and event[1] not in second.entries and again.events[event_id] == event
    ]
    totals = _totals(first.header) == _totals(second.header) and _totals(first.header) != stored.totals
    different = bool(missing or extra or changed or unindexed or totals)
    return Verdict(
        session_id,
        "different" if different else "same",
        _texts(missing),
        _texts(extra),
        _texts(changed),
        _texts(unindexed),
        totals,
    )


def _totals(header: Header) -> tuple[str, int, int, int]:
    return header.status, header.count, header.hi, header.lo


def _score(entry: bytes) -> int:
    return int.from_bytes(entry[-24:-16], "big") - 2**53


def _texts(event_ids: Sequence[bytes] | dict[bytes, bytes]) -> list[str]:
    return [str(UUID(bytes=event_id)) for event_id in event_ids]
