"""Installs, inspects and removes the triggers that tell us what changed.

All of it lives in schema `readside`, but for the triggers themselves, which sit on the two tables found as `sessions`
and `events` through the connection's search_path. To install, a role must

- own both tables (or be a member of the role that does): Postgres lets nobody else make a trigger ENABLE ALWAYS;
- hold CREATE on the database, or CREATE and USAGE on a schema `readside` that somebody made for it.

Writers need no right at all: Postgres checks none when it fires a trigger, and the functions touch nothing but the
statement's own rows. Partitioned tables, partitions, inheritance trees, views and foreign tables are refused: rows can
reach them (or leave them) past a statement trigger on the table that we would read.

Whoever watches the triggers takes FINGERPRINT_SQL first and calls `inspect` after it: a change between the two then
shows in the next fingerprint.

Every function here also lets through what asyncpg raises when the connection fails: wrap it in
`readmodel.postgres_client.translated`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from projector.tail.sql import statement
from projector.tail.trigger_catalog import Table, differences, functions, sentence
from projector.tail.trigger_locks import LOCK_TIMEOUTS_MS, OPENING, Sleep, Warn, refusals, with_locks
from readmodel.errors import (
    ConfigurationError,
    NotInstalled,
    RightsMissing,
    SchemaMissing,
    ServerInRecovery,
    StoreRefused,
)
from readmodel.postgres_client import OLDEST_SERVER, Connection

FINGERPRINT_SQL = """(
  SELECT md5(concat_ws(' ', string_agg(concat_ws(' ', t.oid, t.xmin, t.tgenabled, p.oid, p.xmin), ' ' ORDER BY t.oid),
                       (SELECT string_agg(concat_ws(' ', c.oid, c.relkind, c.relispartition, c.relhassubclass,
                                 EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = c.oid)), ' ' ORDER BY c.oid)
                          FROM pg_class AS c WHERE c.oid IN (to_regclass('sessions'), to_regclass('events')))))
    FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
   WHERE t.tgrelid IN (to_regclass('sessions'), to_regclass('events'))
     AND NOT t.tgisinternal AND starts_with(t.tgname::text, 'readside_')
)"""
"""A scalar SQL expression: 32 hex digits that differ after anything that could make our triggers miss a row.

xmin is the last transaction that wrote a catalog row, so even "disable, write, enable" in one transaction shows.
"""

_HEADER = """\
-- What `readside install` runs, once for each try, on the tables that the search_path finds as sessions and events.
-- Run it as the owner of both, with CREATE on the database:  psql -v ON_ERROR_STOP=1 -f this-file
-- `readside uninstall` removes it all.

BEGIN;

-- While this waits for the tables, so does every later writer: if it fails with "lock timeout", run it again.
-- The advisory lock keeps two installations apart.
"""


def install_sql() -> str:
    """Return what `install` runs, as a commented script for psql in one transaction."""
    opening = OPENING.format(lock_timeout_ms=LOCK_TIMEOUTS_MS[-1])
    return f"{_HEADER}{opening}\n{statement('triggers')}\nCOMMIT;\n"


async def install(
    connection: Connection,
    *,
    warn: Warn,
    lock_timeouts_ms: Sequence[int] = LOCK_TIMEOUTS_MS,
    sleep: Sleep = asyncio.sleep,
) -> bool:
    """Install the triggers and return True, or return False when they are there exactly (no lock is taken then).

    `warn` gets a sentence for what works and yet should be known. Raises ServerInRecovery, ConfigurationError (server
    older than 15), SchemaMissing, RightsMissing, EventLogUnavailable (no lock in all its tries), NotInstalled.
    """
    schemas = await _check_server(connection, warn)
    tables = await _tables(connection)
    for table in tables:
        if (reason := table.unfit(schemas)) is not None:
            raise SchemaMissing(reason)
    if not await _differences(connection, tables):
        return False
    await _check_rights(connection, tables)

    async def create() -> bool:
        if not await _differences(connection, tables):
            return False
        await connection.execute(statement("triggers"))
        if wrong := await _differences(connection, tables):
            raise NotInstalled(f"The triggers are not as they were made: {', '.join(wrong)}.")
        return True

    with refusals("install", NotInstalled):
        return await with_locks(
            connection,
            create,
            table_oids=_oids(tables),
            harmless=("AccessShareLock", "RowShareLock"),  # readers and SELECT FOR UPDATE go on
            warn=warn,
            lock_timeouts_ms=lock_timeouts_ms,
            sleep=sleep,
        )


async def uninstall(
    connection: Connection,
    *,
    warn: Warn = lambda _: None,
    lock_timeouts_ms: Sequence[int] = LOCK_TIMEOUTS_MS,
    sleep: Sleep = asyncio.sleep,
) -> bool:
    """Remove triggers, functions and schema; return whether there was anything to remove.

    Finds the triggers by their functions, wherever the tables have gone. Raises ServerInRecovery, RightsMissing,
    EventLogUnavailable (no lock in all its tries), StoreRefused (the schema holds objects of others: nothing removed).
    """
    await _check_server(connection, warn=lambda _: None)
    names = [function.name for function in functions()]

    async def remove() -> bool:
        steps = await connection.fetch(statement("triggers_removal"), names)
        foreign = await connection.fetch(statement("triggers_foreign"), names)
        if foreign and all(step["step"] == 3 for step in steps):
            return False
        if foreign:
            listed = ", ".join(row["description"] for row in foreign[:3])
            raise StoreRefused(f"Schema readside holds objects that are not ours ({listed}): nothing was removed.")
        for step in steps:
            await connection.execute(step["statement"])
        return bool(steps)

    rows = await connection.fetch(statement("triggers_removal"), names)
    if not rows:
        return False
    oids = [row["table_oid"] for row in rows if row["table_oid"] is not None]
    with refusals("uninstall", StoreRefused):
        return await with_locks(
            connection,
            remove,
            table_oids=oids,
            harmless=(),  # DROP TRIGGER waits even for readers
            warn=warn,
            lock_timeouts_ms=lock_timeouts_ms,
            sleep=sleep,
        )


async def inspect(connection: Connection) -> str | None:
    """Return None when the triggers are exactly ours and fire always, else a sentence: what is wrong, how to mend."""
    schemas: list[str] = await connection.fetchval("SELECT current_schemas(false)::text[]")
    tables = await _tables(connection)
    for table in tables:
        if (reason := table.unfit(schemas)) is not None:
            return reason
    wrong = await _differences(connection, tables)
    return sentence(wrong) if wrong else None


async def _tables(connection: Connection) -> list[Table]:
    return [Table.read(row) for row in await _rows(connection, "triggers_tables")]


def _oids(tables: Sequence[Table]) -> list[int]:
    return [table.oid for table in tables if table.oid is not None]


async def _differences(connection: Connection, tables: Sequence[Table]) -> list[str]:
    found = await _rows(connection, "triggers_found", _oids(tables))
    return differences(tables, found, await _rows(connection, "triggers_functions"))


async def _rows(connection: Connection, name: str, *arguments: object) -> list[dict[str, Any]]:
    return [dict(row) for row in await connection.fetch(statement(name), *arguments)]


async def _check_server(connection: Connection, warn: Warn) -> list[str]:
    """Refuse servers that cannot hold the triggers; return the schemas of the search_path."""
    [server] = await _rows(connection, "triggers_server")
    if server["in_recovery"]:
        raise ServerInRecovery(
            f"PostgreSQL at {server['address']} is in recovery (a standby): readside needs the primary."
        )
    if server["version"] < OLDEST_SERVER:
        raise ConfigurationError(
            f"PostgreSQL at {server['address']} is {server['version'] // 10000}; readside needs 15 or newer."
        )
    if server["max_prepared_transactions"] > 0:
        warn(
            f"max_prepared_transactions is {server['max_prepared_transactions']}: with the triggers, "
            "PREPARE TRANSACTION fails for transactions that changed sessions or events."
        )
    schemas: list[str] = server["schemas"]
    return schemas


async def _check_rights(connection: Connection, tables: Sequence[Table]) -> None:
    [rights] = await _rows(connection, "triggers_rights")
    missing = [
        f"own table {table.full_name} (its owner is {table.facts['owner']})"
        for table in tables
        if not table.facts["is_owned"]
    ]
    if rights["has_schema"] and not rights["may_use_schema"]:
        missing.append("hold CREATE and USAGE on schema readside")
    elif not rights["has_schema"] and not rights["may_create_schema"]:
        missing.append(f"hold CREATE on database {rights['database']}")
    if missing:
        raise RightsMissing(f"To install the triggers, role {rights['role']} must {' and '.join(missing)}.")
