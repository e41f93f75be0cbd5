"""A view without Postgres: events made by hand, put and added through the project's own scripts."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import orjson
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from projector.core.operations import Add, HeaderValue, Operation, Put, StagedSession
from projector.loads.snapshot import Part, type_counts
from projector.view.writer import BatchResult, ViewWriter
from readmodel.redis.overrides import pack
from readmodel.redis.servers import OneServer
from readmodel.values.event import EventRow, type_name
from readmodel.values.freshness import rfc3339
from readmodel.values.poll import Poll
from readmodel.view.header import text
from readmodel.view.keys import Keys
from readmodel.view.reader import Cold, ViewPage, ViewReader
from readmodel.view.type_index import Entries, pack_entry
from readmodel.view.whole import WholeView

DATABASE = "7000000000000000001/16384"
SHAPE = "0" * 32
NO_PARTITIONS = "1" * 32
MAX_BYTES = 32_000_000


def whole_view(part: ViewReader) -> WholeView:
    """All slices, on one server, of the view of which this is one."""
    return WholeView(OneServer(part.redis), part.keys.prefix, part.keys.slices)


def event(
    session_id: str,
    score: int,
    event_type: str = "step_created",
    event_id: UUID | None = None,
    size: int = 0,
    step_id: str | None = None,
) -> EventRow:
    """Make an event with the JSON that the SQL encoder would give; its hash is made up from its id."""
    made = event_id or uuid4()
    member = (
        f'{{"id":"{made}","session_id":"{session_id}","step_id":{orjson.dumps(step_id).decode()},'
        f'"event_type":{orjson.dumps(event_type).decode()},'
        f'"event_data":{{"x": "{"x" * size}"}},"message":null,"timestamp":"{rfc3339(score)}"}}'
    )
    number = made.int & (2**64 - 1)
    return EventRow(session_id, made.bytes, score, event_type, number >> 32, number & 0xFFFFFFFF, member.encode())


def step_of(event: EventRow) -> str | None:
    """The step that an event belongs to."""
    step: str | None = orjson.loads(event.member)["step_id"]
    return step


def newest_first(events: Iterable[EventRow]) -> list[EventRow]:
    """Sort as the contract says: timestamp, then id, both descending."""
    return sorted(events, key=lambda e: (e.score, e.id), reverse=True)


def expected(events: Iterable[EventRow], poll: Poll) -> tuple[bytes, int]:
    """The page and the total that a poll must get."""
    matching = [
        e
        for e in newest_first(events)
        if (poll.since_us is None or (e.score or 0) > poll.since_us)
        and (not poll.types or e.event_type in poll.types)
        and (not poll.steps or step_of(e) in poll.steps)
    ]
    if poll.oldest_first:
        matching.reverse()
    return b",".join(e.member for e in matching[poll.offset : poll.offset + poll.limit]), len(matching)


def part_of(events: Sequence[EventRow]) -> Part:
    """Events as a load reads them."""
    scores = [one.score or 0 for one in events]
    entries: dict[str, bytes] = {}
    for one in events:
        name = type_name(one.event_type)
        entries[name] = entries.get(name, b"") + pack_entry(one.score or 0, one.id)
    words = [b"".join(pack((str(one.score or 0), one.member))).partition(b"\r\n")[2] for one in events]
    return Part(len(events), sum(len(one.member) for one in events), max(scores), min(scores), words, entries)


def within(events: Iterable[EventRow], window: tuple[int, int]) -> list[EventRow]:
    """The newest events, newest first, that fit into a load's window: how many, and the bytes of their JSON."""
    most_events, left = window
    kept: list[EventRow] = []
    for one in newest_first(events)[:most_events]:
        left -= len(one.member)
        if left < 0:
            break
        kept.append(one)
    return kept


def indexed(events: Iterable[EventRow]) -> Entries:
    """The type index of these events."""
    entries: dict[str, list[bytes]] = {}
    for one in reversed(newest_first(events)):
        entries.setdefault(type_name(one.event_type), []).append(pack_entry(one.score or 0, one.id))
    return entries


@dataclass
class Stage:
    """One term of a view, led by the test."""

    redis: Redis
    window_events: int = 1000
    window_bytes: int = 10_000_000
    term: str = "term-1"
    n: int = 0
    keys: Keys = field(default_factory=lambda: Keys("readside"))
    database: str = DATABASE

    def __post_init__(self) -> None:
        self.reader = ViewReader(self.redis, self.keys)
        self.writer = ViewWriter(
            self.redis,
            self.keys,
            ttl_seconds=60.0,
            window_events=self.window_events,
            window_bytes=self.window_bytes,
        )

    async def begin(
        self,
        term: str = "term-1",
        expected: str = "",
        database: str = "",
        shape: str | None = None,
        origin: str = "",
    ) -> bool:
        """Begin a term of `database`, our own by default, of rows that read as before; tell whether it is continued."""
        kept: Any = None
        with suppress(ResponseError):  # no position of ours: the writer has to say so
            kept = await self.redis.hget(self.keys.position, "shape")
        shape = shape or text(kept) or SHAPE
        continued = await self.writer.begin(term, expected, database or self.database, shape, origin)
        self.term, self.n = term, 0
        return continued

    async def apply(
        self,
        *operations: Operation,
        named: Sequence[str] = (),
        as_of_us: int | None = None,
        n: int | None = None,
        wal: str = "",
    ) -> BatchResult:
        """Apply the next batch, or batch `n`."""
        number = self.n + 1 if n is None else n
        applied = await self.writer.apply(
            self.term, number, operations, named, as_of_us=as_of_us, wal=wal, round_trip_us=1000
        )
        self.n = max(self.n, number)
        return applied

    async def staged(
        self,
        events: Sequence[EventRow],
        status: str = "in_progress",
        held: int | None = None,
        snapshot: str = "",
    ) -> StagedSession:
        """Stage a session's events (the newest `held` of them) as a load does that saw this snapshot."""
        kept = newest_first(events)[:held]
        name = uuid4().hex
        if kept:
            await self.writer.stage(name, part_of(kept), indexed(kept))
        types: dict[str, int] = {}
        for one in events:
            types[one.event_type] = types.get(one.event_type, 0) + 1
        header: dict[str, HeaderValue] = {
            "status": status,
            "count": len(events),
            "hi": sum(e.hash_hi for e in events),
            "lo": sum(e.hash_lo for e in events),
            "bytes": sum(len(e.member) for e in kept),
            **type_counts(types),
        }
        if kept:
            header["newest"] = kept[0].score or 0
        if len(kept) < len(events):
            header["floor"] = kept[-1].score or 0
        return StagedSession(self.writer.staging_key(name), len(kept), header, snapshot)

    async def put(
        self, session_id: str, events: Sequence[EventRow], as_of_us: int | None = None, **how: int
    ) -> BatchResult:
        """Put a whole session in one batch."""
        return await self.apply(Put(session_id, await self.staged(events, **how)), as_of_us=as_of_us)  # type: ignore[arg-type]

    async def add(self, session_id: str, *events: EventRow) -> BatchResult:
        """Add events in one batch."""
        return await self.apply(Add(session_id, events))

    async def read(self, session_id: str, **poll: object) -> ViewPage | Cold:
        """Read one poll."""
        return await self.reader.read(Poll(session_id, **poll), MAX_BYTES)  # type: ignore[arg-type]

    async def page(self, session_id: str, **poll: object) -> tuple[bytes, int]:
        """Read one poll that must be answered: its page and total."""
        found = await self.read(session_id, **poll)
        assert isinstance(found, ViewPage), found
        return found.page, found.total
