"""Comparing what is served: the members and the type index of all hot sessions, a part in each round.

A round reads EVENTS_A_ROUND events or BYTES_A_ROUND of at most SESSIONS_A_ROUND sessions. So all are compared after
N / 50 rounds where N sessions are small, after one for each 2,000 events or 2 MB where they are not. With rounds of two
seconds 20,000 sessions of fifty events each take 1,000 s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from redis.exceptions import ResponseError

from projector.core.served_part import LogRow, ServedEntry, ServedMember, ServedPart, read_part
from projector.view.scripts import source
from readmodel.redis.client import refusal, translated
from readmodel.redis.evaluate import Script
from readmodel.values.event import ENCODING_VERSION
from readmodel.view.reader import ViewReader
from readmodel.view.type_index import CHUNK_ENTRIES, entries_of

EVENTS_A_ROUND = 2_000
"""Events whose JSON Postgres renders for one round: some tens of milliseconds of two seconds."""
BYTES_A_ROUND = 2_000_000
SESSIONS_A_ROUND = 50

Passed = Callable[[], Awaitable[bool]]
"""Waits until as-of has passed the present instant of Postgres; tells whether it did."""


class ServedRows(Protocol):
    """Where Postgres' rows come from."""

    async def served(self, ids: Iterable[bytes], *, rendered: bool) -> dict[tuple[str, bytes], LogRow]:
        """These events, those that there are, with their digests if they are to be `rendered`."""


@dataclass(slots=True)
class ServedFindings:
    """Sessions whose keys contradict themselves, which no poll is served from, and those that are served wrongly."""

    damaged: set[str] = field(default_factory=set)
    differing: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Place:
    """How far the session at the head of the turn is compared."""

    member: int = 0
    chunk: int = 0


class ServedCheck:
    """Goes round what one term serves. Every method raises ViewUnavailable, or Postgres' errors."""

    def __init__(self, view: ViewReader, reads: ServedRows, term: str) -> None:
        self._view = view
        self._reads = reads
        self._term = term
        self._script = Script(view.redis, source("served"))
        self._ahead: list[str] = []
        self._place = _Place()

    async def look(self, hot: Iterable[str], passed: Passed) -> ServedFindings:
        """Compare the next part; `hot` are all sessions, for the next turn."""
        if not self._ahead:
            self._ahead, self._place = list(hot), _Place()
        found = ServedFindings()
        parts = await self._read(found)
        rows = await self._rows(parts)
        suspects = {part.session_id: wrong for part in parts if (wrong := list(part.wrong(rows)))}
        if suspects and await passed():
            found.differing |= await self._certain(suspects, rows)
        return found

    async def _read(self, found: ServedFindings) -> list[ServedPart]:
        parts: list[ServedPart] = []
        events, size, sessions = EVENTS_A_ROUND, BYTES_A_ROUND, SESSIONS_A_ROUND
        while self._ahead and events > 0 and size > 0 and sessions > 0:
            session_id = self._ahead[0]
            part, is_whole = await self._part(session_id, events, size)
            if part is None:
                found.damaged.add(session_id)
            else:
                parts.append(part)
                events -= max(len(part.members), len(part.entries))
                size -= sum(len(one.member) for one in part.members)
            if is_whole:
                del self._ahead[0]
                self._place = _Place()
                sessions -= 1
        return parts

    async def _part(self, session_id: str, events: int, size: int) -> tuple[ServedPart | None, bool]:
        """Read on in a session; gives None where it is damaged, and whether that was the rest of it."""
        keys, place = self._view.keys, self._place
        chunks = -(-events // CHUNK_ENTRIES)
        arguments = [self._term, ENCODING_VERSION, place.member, events, size, place.chunk, chunks]
        call = ([keys.header(session_id), keys.events(session_id), keys.index(session_id)], arguments)
        with translated(self._view.redis):
            (reply,) = await self._script.run([call])
        if isinstance(reply, ResponseError):
            raise refusal(self._view.redis, reply)
        if reply[0] != b"ok":
            return (ServedPart(session_id) if reply[0] == b"cold" else None), True
        _, members, listed, held, in_all = reply
        part = read_part(session_id, members, listed)
        place.member += len(part.members)
        place.chunk += len(listed) // 4
        is_whole = (place.member >= held or not part.members) and (place.chunk >= in_all or not listed)
        return (part, is_whole) if part.ordered else (None, True)

    async def _rows(self, parts: Iterable[ServedPart]) -> Mapping[tuple[str, bytes], LogRow]:
        members = {one.id for part in parts for one in part.members if one.id}
        others = {one.id for part in parts for one in part.entries} - members
        rows = await self._reads.served(members, rendered=True) if members else {}
        return rows | (await self._reads.served(others, rendered=False) if others else {})

    async def _certain(
        self, suspects: Mapping[str, list[ServedMember | ServedEntry]], rows: Mapping[tuple[str, bytes], LogRow]
    ) -> set[str]:
        """Look again at what seemed wrong: B and Q of the core's docstring."""
        there = {sid: await self._still_there(sid, wrong) for sid, wrong in suspects.items()}
        ids = {one.id for left in there.values() for one in left if one.id}
        again = await self._reads.served(ids, rendered=False) if ids else {}
        return {sid for sid, left in there.items() if any(_same(sid, one.id, rows, again) for one in left)}

    async def _still_there(
        self, session_id: str, wrong: list[ServedMember | ServedEntry]
    ) -> list[ServedMember | ServedEntry]:
        keys = self._view.keys
        pipeline: Any = self._view.redis.pipeline(transaction=True)
        pipeline.hget(keys.header(session_id), "term")
        for one in wrong:
            if isinstance(one, ServedMember):
                pipeline.zscore(keys.events(session_id), one.member)
            else:
                pipeline.hget(keys.index(session_id), f"{one.type_name}/{one.chunk}")
        with translated(self._view.redis):
            term, *replies = await pipeline.execute(raise_on_error=False)
        if term != self._term.encode():
            return []
        return [one for one, reply in zip(wrong, replies, strict=True) if _holds(one, reply)]


def _holds(one: ServedMember | ServedEntry, reply: Any) -> bool:
    if isinstance(one, ServedMember):
        return bool(reply == one.score)
    return isinstance(reply, bytes) and one.entry in entries_of(reply)


def _same(
    session_id: str,
    event_id: bytes | None,
    rows: Mapping[tuple[str, bytes], LogRow],
    again: Mapping[tuple[str, bytes], LogRow],
) -> bool:
    """Tell whether Postgres held the same version of a row at both readings, or none at both."""
    first, second = (read.get((session_id, event_id)) if event_id else None for read in (rows, again))
    return (first and first.version) == (second and second.version)
