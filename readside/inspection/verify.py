"""Comparing sessions of the view with Postgres, event by event, with no false alarm while writers write."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from uuid import UUID

from readmodel.errors import ServiceError
from readmodel.postgres.client import Pool, translated
from readmodel.postgres.sql import Tables
from readmodel.values.event import ENCODING_VERSION, type_name
from readmodel.values.ids import member_id
from readmodel.view.type_index import pack_entry, unpack_index
from readmodel.view.whole import WholeView
from readside.inspection.sql import statement
from readside.inspection.verdict import EventInLog, SessionInLog, SessionInView, Verdict, judge

PASS_SECONDS = 5.0
ATTEMPTS = 5
"""Rounds for a session that is dropped and loaded again while it is compared."""
MORE_EVENTS = 1_000
"""Events past those that the view held: so many may be written meanwhile and all be compared."""


class NotLive(ServiceError):
    """As-of does not move: late cannot be told from lost."""


class Verifier:
    """Compares sessions. Raises the stores' errors, and NotLive when as-of stands still."""

    def __init__(self, view: WholeView, pool: Pool, url: str, tables: Tables) -> None:
        self._tables = tables
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
            await self._passed(session_id, stored.now_us or await self._now_us())
            second = await self._viewed(session_id)
            if second is not None:
                again = await self._stored(session_id, max(first.header.held, second.header.held))
                return judge(session_id, first, stored, second, again)
        return Verdict(session_id, "cold")

    async def _viewed(self, session_id: str) -> SessionInView | None:
        """Read a session as it is served now; None when it is cold (evicted keys included)."""
        whole = await self._view.part_of(session_id).whole(session_id)
        if whole is None or whole.header.term != whole.term or whole.header.version != ENCODING_VERSION:
            return None
        if whole.header.held and not (whole.members and whole.type_index):
            return None
        return SessionInView(whole.header, digests(whole.members), unpack_index(whole.type_index), whole.types)

    async def _stored(self, session_id: str, held: int) -> SessionInLog:
        limit = held + MORE_EVENTS
        with translated(self._url):
            rows = await self._pool.fetch(statement("verify", self._tables), UUID(session_id), limit)
        if not rows:
            return SessionInLog(None)
        head = rows[0]
        events = {
            row["id"]: EventInLog(
                row["digest"], type_name(row["event_type"]), pack_entry(row["score"], row["id"]), row["version"]
            )
            for row in rows
            if row["id"] is not None and row["score"] is not None
        }
        return SessionInLog(
            status=head["status"],
            now_us=head["now_us"],
            version=head["session_version"],
            totals=(head["count"], head["hi"], head["lo"]),
            events=events,
            floor=min(row.score for row in events.values()) if events and head["count"] > limit else None,
        )

    async def _now_us(self) -> int:
        with translated(self._url):
            return int(
                await self._pool.fetchval(
                    "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000::numeric)::bigint"
                )
            )

    async def _passed(self, session_id: str, instant_us: int) -> None:
        deadline = time.monotonic() + PASS_SECONDS
        while True:
            position = await self._view.part_of(session_id).position()
            if position is not None and position.live and (position.as_of_us or 0) >= instant_us:
                return
            if time.monotonic() > deadline:
                raise NotLive(
                    "The projection is not live (as-of does not move), so what is late cannot be told from "
                    "what is lost; see `readside status`."
                )
            await asyncio.sleep(0.05)


def digests(members: Iterable[tuple[bytes, float]]) -> dict[bytes, tuple[bytes, float]]:
    """(MD5, score) of each member by event id; an id that is there twice has a digest like no other."""
    found: dict[bytes, tuple[bytes, float]] = {}
    for member, score in members:
        match = member_id(member)
        name = UUID(match[1].decode()).bytes if match else member
        found[name] = (b"", score) if name in found else (hashlib.md5(member).digest(), score)  # noqa: S324
    return found
