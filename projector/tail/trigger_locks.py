"""Runs DDL on tables that others write to: short waits for locks, bounded tries, and refusals as sentences."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg

from projector.tail.sql import statement
from readmodel.errors import EventLogUnavailable, RightsMissing, ServiceError
from readmodel.postgres.client import Connection
from readmodel.runtime.backoff import delays

Warn = Callable[[str], None]
Sleep = Callable[[float], Awaitable[None]]

LOCK_TIMEOUTS_MS = (100, 200, 400, 800, 1500, 1500, 1500, 1500)
"""How long each try waits for the tables. While it waits, so does every later writer: hence the short first tries.

The last ones are longer than deadlock_timeout (1 s), when a waiting DDL sends an autovacuum away, and shorter than
twice that, so that in a deadlock with a writer it is nearly always us who give up first.
"""

_WAITING = """SET LOCAL lock_timeout = '{lock_timeout_ms}ms';
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('readside install', 0));
"""
_LOOKING = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
_CHANGING = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;"  # a standby refuses the latter


@dataclass(frozen=True, slots=True)
class Names:
    """How the two tables are found: as the connection's own search_path does, unless they are named in full."""

    sessions: str = "sessions"
    events: str = "events"


def opening(names: Names, lock_timeout_ms: int | None = None) -> str:
    """What our transactions begin with: the tables' OIDs are found, then nobody's names and settings count."""
    found = statement("triggers_opening", sessions=literal(names.sessions), events=literal(names.events))
    if lock_timeout_ms is None:
        return f"{_LOOKING}\n{found}"
    return f"{_CHANGING}\n{found}{_WAITING.format(lock_timeout_ms=lock_timeout_ms)}"


def literal(text: str) -> str:
    """Quote a string for SQL."""
    return "'" + text.replace("'", "''") + "'"


@asynccontextmanager
async def pinned(
    connection: Connection, names: Names | None = None, lock_timeout_ms: int | None = None
) -> AsyncIterator[None]:
    """Open a transaction in which nothing but pg_catalog is found, and `readside.events` holds the table's OID."""
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(opening(names or Names(), lock_timeout_ms))
        yield


async def with_locks(
    connection: Connection,
    attempt: Callable[[], Awaitable[bool]],
    *,
    table_oids: Sequence[int],
    harmless: Sequence[str],
    warn: Warn,
    lock_timeouts_ms: Sequence[int],
    sleep: Sleep,
) -> bool:
    """Run `attempt` in a transaction, again after each lock timeout, until the timeouts are used up.

    `warn` hears once by whom the tables are locked: by whoever holds a lock mode that is not `harmless` here.
    """
    waits = delays(0.25, 5.0)
    failure: Exception | None = None
    held_by = ""
    for number, lock_timeout_ms in enumerate(lock_timeouts_ms):
        if number > 0:
            await sleep(next(waits))
        try:
            async with pinned(connection, lock_timeout_ms=lock_timeout_ms):
                return await attempt()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as exc:
            failure = exc
        async with pinned(connection):
            blockers = await connection.fetch(statement("triggers_blockers"), table_oids, harmless)
        held_by = f" (held by {', '.join(row['blocker'] for row in blockers)})" if blockers else ""
        if number == 0:
            warn(f"The locks on the tables are taken{held_by}; trying again.")
    raise EventLogUnavailable(
        f"No lock on the tables in {len(lock_timeouts_ms)} tries{held_by}: nothing was changed; run it again later."
    ) from failure


@contextmanager
def refusals(verb: str, refusal: type[ServiceError]) -> Iterator[None]:
    """Turn what Postgres says against DDL into RightsMissing or `refusal`."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as exc:
        raise RightsMissing(f"Our role may not {verb} the triggers: {exc}.") from exc
    except (
        asyncpg.SyntaxOrAccessError,
        asyncpg.ObjectNotInPrerequisiteStateError,
        asyncpg.DependentObjectsStillExistError,
        asyncpg.ReadOnlySQLTransactionError,
    ) as exc:
        raise refusal(f"Postgres refused to {verb} the triggers: {exc}.") from exc
