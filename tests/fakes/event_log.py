"""An event log in memory: what Postgres does with a poll, said again in Python, down to the bytes."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from itertools import accumulate
from uuid import UUID, uuid4

from readmodel.errors import AnswerTooLarge, ServiceError
from readmodel.postgres.event_log import LogPage
from readmodel.values.event import EventRow
from readmodel.values.freshness import rfc3339
from readmodel.values.poll import Poll
from tests.support.viewing import DATABASE

FIRST_TXID = 100


def jsonb(value: object) -> str:
    """Print a value as Postgres prints jsonb: shorter keys first, then by bytes; a space after `:` and `,`."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {jsonb(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(jsonb, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Row:
    """One row of `events`."""

    session_id: str
    timestamp_us: int
    event_type: str = "step_created"
    data: object = None
    message: str | None = None
    step_id: str | None = None
    id: UUID = field(default_factory=uuid4)

    def member(self) -> bytes:
        """Encode the event as the one encoder, in SQL, does."""
        step = "null" if self.step_id is None else f'"{self.step_id}"'
        return (
            f'{{"id":"{self.id}","session_id":"{self.session_id}","step_id":{step},'
            f'"event_type":{json.dumps(self.event_type, ensure_ascii=False)},"event_data":{jsonb(self.data)},'
            f'"message":{json.dumps(self.message, ensure_ascii=False)},"timestamp":"{rfc3339(self.timestamp_us)}"}}'
        ).encode()

    def event(self) -> EventRow:
        """The row as the view takes it; the hash is made up, since only the projector compares it."""
        return EventRow(self.session_id, self.id.bytes, self.timestamp_us, self.event_type, 1, 2, self.member())


@dataclass
class FakeEventLog:
    """Sessions and their rows. `hold()` makes queries wait, `error` makes them fail."""

    statuses: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    error: ServiceError | None = None
    queries: list[Poll] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    database: str = DATABASE
    _txids: dict[UUID, int] = field(default_factory=dict)

    @property
    def next_txid(self) -> int:
        """Each row that there was is of a transaction of its own."""
        for row in self.rows:
            self._txids.setdefault(row.id, FIRST_TXID + len(self._txids))
        return FIRST_TXID + len(self._txids)

    def txid(self, row: Row) -> int:
        """The transaction that wrote a row, once `next_txid` was asked for after it."""
        return self._txids[row.id]

    def __post_init__(self) -> None:
        self._gate = asyncio.Event()
        self._gate.set()

    def hold(self) -> None:
        """Make queries wait until `release()`."""
        self._gate.clear()

    def release(self) -> None:
        """Let the queries go on."""
        self._gate.set()

    async def answer(self, poll: Poll, max_bytes: int) -> LogPage:
        """Answer a poll as of the moment at which the query began."""
        self.queries.append(poll)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        as_of_us, (status, page, total, shortened_to) = time.time_ns() // 1000, self._look(poll, max_bytes)
        try:
            await self._gate.wait()
        finally:
            self.running -= 1
        if self.error:
            raise self.error
        return LogPage(status, page, total, as_of_us, self.database, shortened_to)

    def _look(self, poll: Poll, max_bytes: int) -> tuple[str | None, bytes, int, int | None]:
        matching = sorted(
            (
                row
                for row in self.rows
                if row.session_id == poll.session_id
                and (poll.since_us is None or row.timestamp_us > poll.since_us)
                and (not poll.types or row.event_type in poll.types)
                and (not poll.steps or row.step_id in poll.steps)
            ),
            key=lambda row: (row.timestamp_us, row.id.bytes),
            reverse=not poll.oldest_first,
        )
        shortened_to, status, members = None, self.statuses.get(poll.session_id), [row.member() for row in matching]
        if poll.may_shorten:
            first = members[: poll.limit]
            fitting = _fitting(first, max_bytes)
            if fitting == 0 < len(first):
                raise AnswerTooLarge(0, max_bytes)
            if fitting < len(first):
                poll, shortened_to = poll._replace(limit=fitting), fitting
        page = members[poll.offset : poll.offset + poll.limit]
        if _fitting(page, max_bytes) < len(page):
            raise AnswerTooLarge(_fitting(page, max_bytes), max_bytes)
        return status, b",".join(page), len(matching), shortened_to


def _fitting(members: list[bytes], max_bytes: int) -> int:
    lengths = accumulate(len(member) + 1 for member in members)
    return sum(length <= max_bytes for length in lengths)
