"""A session's stream as Postgres has it: what a follower with any offset was not given yet, oldest first.

Nothing is ever left out. What cannot be proven to have been given comes again: `sql/stream_fresh.sql` says what can be.
Rows that were updated come again, and those that are gone do not come.

Pages of a long answer go from the follower's cut up to one of their own: what is committed meanwhile, and stands below
the place that was reached, comes behind the last page.

The primary alone is asked. A hot standby's snapshot does not tell which transactions of the primary's are open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg

from readmodel.errors import (
    AnswerTooLarge,
    NotInstalled,
    OffsetGone,
    RightsMissing,
    ServerInRecovery,
    ServiceError,
    StreamRightsMissing,
)
from readmodel.postgres.client import Connection, Pool, target, translated
from readmodel.postgres.schema import SCHEMA
from readmodel.postgres.sql import Tables, statement
from readmodel.postgres.table_reads import TableReads
from readmodel.postgres.tables import TableFinder
from readmodel.values.arrivals import Arrivals, StreamRead
from readmodel.values.cut import START, Cut, cut_of
from readmodel.values.offset import Offset, Within, origin_of
from readmodel.values.wal import Proof

MAX_AGE = 2**30
"""Transactions since a cut, past which it is not continued: rows tell their transaction in 32 bits."""
PROVEN_BEFORE = 65_536
"""Letters of transactions that began so long before a cut's first open one are looked at, and no older ones."""
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Where events of before the year 1, and of past 9999, stand in a stream: `sql/instant.sql` says the same."""
_CAME = "(SELECT attached.xid FROM attached WHERE attached.part = e.tableoid)"
_UNLOGGED_ON_STANDBY = "0A000"
"""SQLSTATE of a statement over unlogged tables on a server in recovery."""


class LogArrivals(NamedTuple):
    """What Postgres gives of a stream, as of `as_of_us` (µs since 1970), and the identity of the database that did."""

    arrivals: Arrivals
    as_of_us: int
    database: str
    proof: None = None
    """What a hot standby had passed: none is asked."""

    @property
    def status(self) -> str | None:
        """The session's; None: no such session."""
        return self.arrivals.status


class StreamLog(TableReads[StreamRead]):
    """Reads of streams. Each raises OffsetGone, StreamRightsMissing, and what those of `EventLog` raise.

    `schema` is where ours is installed.
    """

    UNANSWERED = "The stream cannot go on here, since {found}. It goes on when the event's row is mended or deleted."

    def __init__(self, pool: Pool, url: str, finder: TableFinder, schema: str = SCHEMA) -> None:
        super().__init__(pool, url, finder)
        self._schema = schema
        self._may_prove = False

    async def read(self, session_id: str, offset: Offset | None, limit: int, max_bytes: int) -> LogArrivals:
        """What comes behind an offset, None for all: at most `limit` events of at most `max_bytes`.

        Raises AnswerTooLarge where not even one fits, and BadEvents, which names the event that cannot be read.
        """
        return await self.answer(StreamRead(session_id, offset, limit), max_bytes)

    async def tail(self, session_id: str) -> LogArrivals:
        """The offset behind all that there is now, and none of it."""
        return await self.answer(StreamRead(session_id, limit=0), 0)

    async def answer(self, question: StreamRead, max_bytes: int) -> LogArrivals:
        """Answer what `read` and `tail` do."""
        row, _ = await self._answered(question, max_bytes)
        if row["incarnation"] is None:
            raise ServerInRecovery(f"PostgreSQL at {target(self._url)} was promoted or demoted while it was asked.")
        now = cut_of(row["snapshot"])
        origin = origin_of(row["database"], row["incarnation"])
        _check(question.offset, origin, now)
        return LogArrivals(_arrivals(question, row, origin, now, max_bytes), row["as_of_us"], row["database"])

    async def _fetch(
        self, question: StreamRead, tables: Tables, max_bytes: int
    ) -> tuple[asyncpg.Record | None, Proof | None]:
        asked = "stream" if question.limit else "stream_tail"
        try:
            with translated(self._url):
                sql, parameters = self._statement(asked, question, tables, max_bytes)
                return await self._pool.fetchrow(sql, *parameters), None
        except ServiceError as error:
            if getattr(error.__cause__, "sqlstate", None) == _UNLOGGED_ON_STANDBY:
                raise ServerInRecovery(f"PostgreSQL at {target(self._url)} is in recovery (a standby).") from error
            if isinstance(error, NotInstalled):
                raise StreamRightsMissing(str(error)) from error
            raise

    async def _row(self, question: StreamRead, max_bytes: int) -> tuple[asyncpg.Record, Proof | None]:
        try:
            return await super()._row(question, max_bytes)
        except StreamRightsMissing:
            raise
        except RightsMissing:  # letters were taken from us, which we do without; else this says so again
            return await super()._row(question, max_bytes)

    async def _ids(self, question: StreamRead, tables: Tables, max_bytes: int) -> Sequence[UUID]:
        sql, parameters = self._statement("stream_ids", question, tables, max_bytes)
        return [row["id"] for row in await self._pool.fetch(sql, *parameters)]

    def _statement(
        self, name: str, question: StreamRead, tables: Tables, max_bytes: int
    ) -> tuple[str, tuple[object, ...]]:
        return stream_statement(name, question, tables, self._schema, max_bytes, may_prove=self._may_prove)

    async def _look_at(self, connection: Connection, tables: Tables) -> None:
        await super()._look_at(connection, tables)
        row = await connection.fetchrow(statement("stream_rights"), self._schema)
        if row is None or not row["incarnation"]:
            raise StreamRightsMissing(
                f"Streams need the function {self._schema}.incarnation(), which is missing or which our role may not "
                "call: `readside install --role ROLE` makes and grants it."
            )
        self._may_prove = bool(row["letters"])


def stream_statement(
    name: str, question: StreamRead, tables: Tables, schema: str, max_bytes: int, *, may_prove: bool
) -> tuple[str, tuple[object, ...]]:
    """Write a statement about a stream, and give its parameters."""
    words: tuple[tuple[str, str], ...] = (("schema", f'"{schema}"'),)
    about = ("about", statement("stream_about", tables, words=words).rstrip())
    session = UUID(question.session_id)
    if name == "stream_tail":
        return statement(name, tables, words=(about,)), (session,)
    cut, within = (question.offset.cut, question.offset.within) if question.offset else (START, None)
    doubtful = [each for each in (cut, within.upto if within else START) if each.running]
    fresh = _fresh_sql(tables, words, proves=may_prove and bool(doubtful), is_within=within is not None)
    since = max(0, min((each.xmin for each in doubtful), default=0) - PROVEN_BEFORE)
    parameters = session, cut.xmax, _open(cut), question.limit, max_bytes, since
    sql = statement(name, tables, words=(about, ("fresh", fresh)))
    if within is None:
        return sql, parameters
    at_us = min(max(within.timestamp_us, _FIRST_US), _LAST_US)
    place = within.upto.xmax, _open(within.upto), at_us, UUID(bytes=within.id)
    return sql, (*parameters, *place)


def _open(cut: Cut) -> list[str]:
    """A cut's open ids as text, whose arrays asyncpg knows without asking the server."""
    return [str(txid) for txid in sorted(cut.running)]


def _fresh_sql(tables: Tables, words: tuple[tuple[str, str], ...], *, proves: bool, is_within: bool) -> str:
    proven = statement(
        "stream_proven" if proves else "stream_unproven", words=(*words, ("below", "$7" if is_within else "$2"))
    )
    chosen = (
        ("proven", proven.rstrip()),
        ("upto_open", "$8::text[]::bigint[]" if is_within else statement("stream_open").rstrip()),
        ("kept", "MATERIALIZED" if proves else "NOT MATERIALIZED"),
        ("behind", statement("stream_behind", tables).rstrip() if is_within else ""),
        ("upto", statement("stream_upto").rstrip() if is_within else ""),
        ("attached", statement("stream_attached").rstrip() if tables.partitioned else ""),
        ("came", _CAME if tables.partitioned else "NULL::bigint"),
    )
    return statement("stream_fresh", tables, words=chosen).rstrip()


def _check(offset: Offset | None, origin: str, now: Cut) -> None:
    """Raise OffsetGone unless an offset can be continued by a server that is at this cut."""
    if offset is None:
        return
    if offset.origin != origin:
        raise OffsetGone("it is of another database, or of before its server crashed or was promoted")
    cuts = [offset.cut] if offset.within is None else [offset.cut, offset.within.upto]
    if any(cut.xmax > now.xmax for cut in cuts):
        raise OffsetGone("it is of a later state than the database's")
    if any(cut != START and now.xmax - cut.xmax > MAX_AGE for cut in cuts):
        raise OffsetGone("too many transactions came since")


def _arrivals(question: StreamRead, row: asyncpg.Record, origin: str, now: Cut, max_bytes: int) -> Arrivals:
    if not question.limit:
        return Arrivals([], Offset(origin, now), True, row["status"])
    given, asked = row["place"], row["asked"]
    if asked and not given:
        raise AnswerTooLarge(0, max_bytes)
    events = row["events"].encode().split(b"\n")[:given] if given else []
    before = question.offset or Offset(origin, START)
    upto = before.within.upto if before.within else now
    if given < asked:
        place = Within(upto, row["timestamp_us"], row["event_id"].bytes)
        return Arrivals(events, Offset(origin, before.cut, place), False, row["status"])
    return Arrivals(events, Offset(origin, upto), before.within is None, row["status"])
