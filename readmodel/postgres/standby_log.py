"""The event log as a hot standby has it: polls are answered as of the latest beat that it has passed.

Two statements of one READ COMMITTED transaction: how far the standby has replayed, then the poll. The second one's
snapshot holds all that the first one saw replayed. Whether the server is still a standby, and which timeline it
follows, is looked at after that snapshot: decision 0051 has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from readmodel.errors import (
    BeatNotPassed,
    ConfigurationError,
    EventLogUnavailable,
    RecoveryConflict,
    RightsMissing,
    ServiceError,
    StandbyUnfit,
)
from readmodel.postgres.client import OLDEST_SERVER, Pool, target, translated
from readmodel.postgres.event_log import EventLog, answer_statement, arguments_of
from readmodel.postgres.sql import Tables, statement
from readmodel.postgres.tables import TableFinder
from readmodel.values.poll import Poll
from readmodel.values.wal import Proof

Choose = Callable[[str, int], Proof | None]
"""The latest proof, for a session, that a server has passed which has replayed so many bytes; None: none."""
_CONFLICTS = frozenset({"40001", "40P01", "57P01"})
"""How a standby ends a query, or its connection, that replay waits for. No read fails in these ways otherwise, but that
57P01 is a shutdown too: the next look at the server finds it."""


@dataclass(frozen=True, slots=True)
class StandbyServer:
    """What a server says of itself: how far it has replayed, and which timeline it follows, None where it does not say.

    `receives`: it gets the log from another server at this moment.
    """

    version: int
    in_recovery: bool
    replayed: int
    receives: bool
    timeline: int | None
    database: str


class StandbyLog(EventLog):
    """Reads of a hot standby. Each raises what `EventLog` does, StandbyUnfit, BeatNotPassed and RecoveryConflict."""

    def __init__(self, pool: Pool, url: str, finder: TableFinder, choose: Choose) -> None:
        super().__init__(pool, url, finder)
        self._choose = choose
        self._place = target(url)

    async def look(self) -> StandbyServer:
        """Ask the server who it is, and whether our role may read the tables as they are."""
        with translated(self._url):
            row = await self._pool.fetchrow(statement("standby"))
        if row is None:
            raise EventLogUnavailable(f"PostgreSQL at {self._place} gave no answer.")
        found = StandbyServer(
            row["version"],
            row["in_recovery"],
            row["replayed"] or 0,
            row["receivers"] > 0,
            row["timeline"],
            row["database"],
        )
        if found.in_recovery:
            await self.check_standby(found)
        return found

    async def leave(self) -> None:
        """Use no connection that there is any more: another one may lead to another server."""
        self._finder.forget()
        await self._pool.expire_connections()

    async def check_standby(self, found: StandbyServer) -> None:
        """Raise ConfigurationError where the server is too old, RightsMissing or SchemaMissing where we cannot read."""
        if found.version < OLDEST_SERVER:
            raise ConfigurationError(
                f"PostgreSQL at {self._place} is {found.version // 10000}; readside needs 15 or newer."
            )
        if found.receives and found.timeline is None:
            raise RightsMissing(hidden_timeline(self._place))
        await self._check(await self._finder.tables())

    async def _fetch(self, poll: Poll, tables: Tables, max_bytes: int) -> tuple[asyncpg.Record | None, Proof | None]:
        try:
            with translated(self._url):
                async with (
                    self._pool.acquire() as connection,
                    connection.transaction(isolation="read_committed", readonly=True),
                ):
                    at = await connection.fetchrow(statement("replayed"))
                    proof = self._passed(poll, at)
                    asked = answer_statement(tables, poll, standby=True)
                    return await connection.fetchrow(asked, *arguments_of(poll, max_bytes)), proof
        except ServiceError as error:
            if getattr(error.__cause__, "sqlstate", None) in _CONFLICTS:
                raise RecoveryConflict(
                    f"PostgreSQL at {self._place} ended a query that its replay waited for."
                ) from error
            raise

    def _passed(self, poll: Poll, at: asyncpg.Record | None) -> Proof:
        if at is None or not at["in_recovery"]:
            raise promoted(self._place)
        proof = self._choose(poll.session_id, at["replayed"] or 0)
        if proof is None:
            raise BeatNotPassed(f"PostgreSQL at {self._place} has not passed any beat that was heard.")
        return proof

    def _judge(self, row: asyncpg.Record, proof: Proof | None) -> None:
        if not row["in_recovery"] or proof is None:
            raise promoted(self._place)
        if row["database"] != proof.database:
            raise another_cluster(self._place, row["database"], proof.database)
        if row["timeline"] != proof.wal.timeline:
            raise another_timeline(self._place, row["timeline"], proof.wal.timeline)


def promoted(place: str) -> StandbyUnfit:
    """Say that a server is no standby."""
    return StandbyUnfit("promoted", f"PostgreSQL at {place} is not in recovery: it is a primary, and no standby.")


def another_cluster(place: str, found: str, ours: str) -> StandbyUnfit:
    """Say that a server stands by for another database."""
    return StandbyUnfit(
        "another_cluster",
        f"PostgreSQL at {place} holds another database ({found}) than READSIDE_DATABASE_URL leads to ({ours}).",
    )


def another_timeline(place: str, found: int | None, ours: int) -> StandbyUnfit:
    """Say that a server does not follow the primary's timeline, or does not follow anybody now."""
    if found is None:
        return StandbyUnfit(
            "lagging", f"PostgreSQL at {place} receives nothing from any primary now: no WAL receiver runs."
        )
    return StandbyUnfit(
        "another_timeline", f"PostgreSQL at {place} follows timeline {found}, and the primary is on {ours}."
    )


def hidden_timeline(place: str) -> str:
    """Say which right our role lacks on a standby, and how it is given."""
    return (
        f"Our role may not see which timeline PostgreSQL at {place} follows: on the primary, run GRANT "
        "pg_read_all_stats TO our role."
    )
