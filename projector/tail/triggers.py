"""Installs, inspects and removes what tells us what changed: triggers, their functions, letters and sequences.

All of it lives in one schema (READSIDE_SCHEMA), but for the triggers themselves, which sit on the two tables found as
`sessions` and `events` through the connection's search_path. It belongs to the owner of `events`.

To install, a role must

- own both tables (or be a member of the role that does): Postgres lets nobody else make a trigger ENABLE ALWAYS;
- hold CREATE on the database, unless the schema is there and belongs to the owner of `events`.

Writers need no right at all: the functions run with their owner's. Inheritance trees, partitions named as tables, views
and foreign tables are refused: rows can reach them (or leave them) past a trigger on the table that we would read. A
partitioned table has row triggers beside the others, which Postgres puts on each partition (decision 0042).

Nothing of anybody's runs while we install: the tables' OIDs are found first, and from then on the transaction finds
names in pg_catalog alone (`trigger_locks.opening`). What somebody else made beforehand is refused by name.

Whoever watches the triggers reads `fingerprint_sql` first and calls `inspect` after it: a change between the two then
shows in the next fingerprint.

Every function here also lets through what asyncpg raises when the connection fails: wrap it in
`readmodel.postgres.client.translated`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from projector.tail.sql import statement
from projector.tail.trigger_catalog import (
    OF_VERSION_0_1,
    RELATIONS,
    Catalog,
    Partition,
    Relation,
    Table,
    differences,
    functions,
    late_partitions,
    sentence,
    triggers,
)
from projector.tail.trigger_locks import (
    LOCK_TIMEOUTS_MS,
    Names,
    Sleep,
    Warn,
    literal,
    opening,
    pinned,
    refusals,
    with_locks,
)
from readmodel.errors import (
    ConfigurationError,
    NotInstalled,
    RightsMissing,
    SchemaMissing,
    ServerInRecovery,
    StoreRefused,
)
from readmodel.postgres.client import OLDEST_SERVER, Connection
from readmodel.postgres.schema import SCHEMA, SCHEMA_NAME, is_schema_name

_HEADER = """\
-- What `readside install` runs, once for each try, on the tables that the search_path finds as sessions and events.
-- Run it as the owner of both, with CREATE on the database:  psql -X -v ON_ERROR_STOP=1 -f this-file
-- `readside uninstall` removes it all.

BEGIN;

-- While this waits for the tables, so does every later writer: if it fails with "lock timeout", run it again.
-- The advisory lock keeps two installations apart.
"""
_GRANTING = """
-- What projector, API and `verify` need, and no more.
SELECT set_config('readside.role', {role}, true);
DO $$
DECLARE
  change text;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_setting('readside.role')) THEN
    RAISE undefined_object USING MESSAGE = format('role %s does not exist', current_setting('readside.role'));
  END IF;
  FOR change IN
{grants}
  LOOP
    EXECUTE change;
  END LOOP;
END
$$;
"""


def fingerprint_sql(schema: str, sessions: str = "sessions", events: str = "events") -> str:
    """A scalar SQL expression: 32 hex digits that differ after anything that could make us miss a row.

    xmin is the last transaction that wrote a catalog row, so even "disable, write, enable" in one transaction shows.
    Emptying writes the rows of our own tables in pg_class: of those it is the values that count. Ours are the unlogged
    ones, for which nothing may hide letters from a reader (row-level security) or keep them from being written (rules,
    triggers). Any ALTER gives a sequence another file.
    `sessions` and `events` are the tables' names as SQL would write them: in full where the search_path is ours.
    """
    return f"({statement('fingerprint', schema=schema, tables=_tables(sessions, events)).strip()})"


def tree_sql(schema: str, sessions: str = "sessions", events: str = "events") -> str:
    """A scalar SQL expression: 32 hex digits that differ after anything that happened to partitions.

    As `fingerprint_sql` does for the tables themselves. A row that was missed meanwhile is found by comparing.
    """
    return statement("tree", schema=schema, tables=_tables(sessions, events)).strip()


def _tables(sessions: str, events: str) -> str:
    return f"to_regclass({literal(sessions)}), to_regclass({literal(events)})".replace("to_", "pg_catalog.to_")


def install_sql(schema: str = SCHEMA, role: str | None = None) -> str:
    """Return what `install` runs, as a commented script for psql in one transaction."""
    check_schema(schema)
    grants = "" if role is None else _GRANTING.format(role=literal(role), grants=_grants(schema))
    left = statement("triggers_left", schema=schema).rstrip()
    script = _script(schema) + statement("triggers_adoption", left=left, schema=schema)
    return f"{_HEADER}{opening(Names(), LOCK_TIMEOUTS_MS[-1])}\n{script}{grants}\nCOMMIT;\n"


def check_schema(schema: str) -> None:
    """Raise ConfigurationError unless a schema of ours may be called so."""
    if not is_schema_name(schema):
        raise ConfigurationError(f"{schema!r} cannot be READSIDE_SCHEMA: {SCHEMA_NAME}.")


async def install(
    connection: Connection,
    *,
    warn: Warn,
    schema: str = SCHEMA,
    role: str | None = None,
    doorbell: bool = True,
    lock_timeouts_ms: Sequence[int] = LOCK_TIMEOUTS_MS,
    sleep: Sleep = asyncio.sleep,
) -> bool:
    """Install the triggers and return True, or return False when they are there exactly (no lock is taken then).

    `role` is granted what projector, API and `verify` need. `warn` gets a sentence for what works and yet should be
    known. Raises ServerInRecovery, ConfigurationError (server older than 15, no such role), SchemaMissing,
    RightsMissing (also where something of our names belongs to others), EventLogUnavailable (no lock in all its
    tries), NotInstalled.
    """
    check_schema(schema)
    with refusals("install", NotInstalled):
        async with pinned(connection):
            tables = await _to_install(
                connection, schema, role, await _check_server(connection, warn, doorbell=doorbell)
            )
        if tables is None:
            return False

        async def create() -> bool:
            changed = await _make(connection, schema)
            return await _grant(connection, schema, role) or changed

        locking = partial(
            with_locks,
            connection,
            harmless=("AccessShareLock", "RowShareLock"),  # readers and SELECT FOR UPDATE go on
            warn=warn,
            lock_timeouts_ms=lock_timeouts_ms,
            sleep=sleep,
        )
        changed = await locking(create, table_oids=_oids(tables))
        return await _adopt_all(connection, schema, locking) or changed


async def _to_install(
    connection: Connection, schema: str, role: str | None, schemas: Sequence[str]
) -> Sequence[Table] | None:
    """Refuse what cannot be installed. The tables that get the triggers; None where nothing is left to install."""
    catalog = await _fit_catalog(connection, schema, schemas)
    await _check_role(connection, role)
    if await _is_whole(connection, schema, role, catalog):
        return None
    await _refuse_strangers(connection, schema)
    await _check_rights(connection, schema, catalog.tables)
    return catalog.tables


async def _is_whole(connection: Connection, schema: str, role: str | None, catalog: Catalog) -> bool:
    """Tell whether nothing is left to install."""
    if differences(schema, catalog) or catalog.late(schema):
        return False
    return not (await _left(connection, schema) or await _missing_grants(connection, schema, role))


async def _adopt_all(connection: Connection, schema: str, locking: Callable[..., Awaitable[bool]]) -> bool:
    """Adopt late partitions, and rid those that were detached of our triggers; tells whether there was any."""
    async with pinned(connection):
        late: list[Partition | Relation] = [*(await _catalog(connection, schema)).late(schema)]
        late += await _left(connection, schema)
    for each in late:  # a transaction each: nobody waits for more than one partition
        await locking(partial(_adopt, connection, schema, each), table_oids=[each.oid])
    return bool(late)


async def uninstall(
    connection: Connection,
    *,
    schema: str = SCHEMA,
    warn: Warn = lambda _: None,
    lock_timeouts_ms: Sequence[int] = LOCK_TIMEOUTS_MS,
    sleep: Sleep = asyncio.sleep,
) -> bool:
    """Remove triggers, functions, letters, sequences and schema; return whether there was anything to remove.

    Finds the triggers by their functions, wherever the tables have gone. Raises ServerInRecovery, RightsMissing,
    EventLogUnavailable (no lock in all its tries), StoreRefused (the schema holds objects of others: nothing removed).
    """
    check_schema(schema)
    names = [f"{function.name}{function.arguments}" for function in functions(schema)], RELATIONS

    with refusals("uninstall", StoreRefused):
        async with pinned(connection):
            await _check_server(connection, warn=lambda _: None, doorbell=False)
            rows = await connection.fetch(statement("triggers_removal", schema=schema), *names)
        if not rows:
            return False
        oids = [row["table_oid"] for row in rows if row["table_oid"] is not None]
        return await with_locks(
            connection,
            partial(_remove, connection, schema, names),
            table_oids=oids,
            harmless=(),  # DROP TRIGGER waits even for readers
            warn=warn,
            lock_timeouts_ms=lock_timeouts_ms,
            sleep=sleep,
        )


async def _remove(connection: Connection, schema: str, names: tuple[Sequence[str], Sequence[str]]) -> bool:
    """Remove what is ours, functions and relations of these `names`; tells whether there was anything."""
    steps = await connection.fetch(statement("triggers_removal", schema=schema), *names)
    foreign = await connection.fetch(statement("triggers_foreign", schema=schema), *names)
    if foreign and all(step["step"] == _SCHEMA_STEP for step in steps):
        return False
    await _refuse_strangers(connection, schema)
    if foreign:
        listed = ", ".join(row["description"] for row in foreign[:3])
        raise StoreRefused(f"Schema {schema} holds objects that are not ours ({listed}): nothing was removed.")
    for step in steps:
        await connection.execute(step["statement"])
    return bool(steps)


_SCHEMA_STEP = 4


async def inspect(
    connection: Connection, schema: str = SCHEMA, sessions: str = "sessions", events: str = "events"
) -> str | None:
    """Return None when all is exactly ours and fires always, else a sentence: what is wrong, how to mend.

    `sessions` and `events` are the tables' names as SQL would write them: in full where the search_path is ours.
    """
    async with pinned(connection, Names(sessions, events)):
        schemas: list[str] = await connection.fetchval("SELECT current_setting('readside.schemas')::text[]")
        catalog = await _catalog(connection, schema)
    for table in catalog.tables:
        if (reason := table.unfit(schemas)) is not None:
            return reason
    if catalog.is_of_version_0_1(schema):
        return OF_VERSION_0_1
    wrong = differences(schema, catalog)
    return sentence(wrong) if wrong else None


async def late_partitions_of(
    connection: Connection, schema: str = SCHEMA, sessions: str = "sessions", events: str = "events"
) -> list[Partition]:
    """The partitions that are seen row by row, and that the owner of events may alter; parents first.

    `sessions` and `events` are the tables' names as SQL would write them: in full where the search_path is ours.
    """
    async with pinned(connection, Names(sessions, events)):
        rows = await _rows(connection, "triggers_tree", schema)
    return late_partitions(schema, [Partition.read(row) for row in rows])


async def left_partitions_of(
    connection: Connection, schema: str = SCHEMA, sessions: str = "sessions", events: str = "events"
) -> list[Relation]:
    """The tables that were partitions of events and bear triggers of ours still.

    `sessions` and `events` are the tables' names as SQL would write them: in full where the search_path is ours.
    """
    async with pinned(connection, Names(sessions, events)):
        return await _left(connection, schema)


async def missing_rights(
    connection: Connection, schema: str = SCHEMA, sessions: str = "sessions", events: str = "events"
) -> list[str]:
    """What the connection's own role lacks, as GRANT statements; [] for a role that owns it all, or a superuser.

    `sessions` and `events` are the tables' names as SQL would write them: in full where the search_path is ours.
    """
    async with pinned(connection, Names(sessions, events)):
        return [str(row["statement"]) for row in await _rows(connection, "triggers_lacking", schema)]


async def _make(connection: Connection, schema: str) -> bool:
    """Make what is missing or altered, in the caller's transaction; False when there is nothing to do."""
    catalog = await _catalog(connection, schema)
    if not differences(schema, catalog):
        return False
    await _refuse_strangers(connection, schema)
    altered = [row for row in catalog.relations if not row["is_whole"]]
    for row in altered:
        kind = {"S": "SEQUENCE", "r": "TABLE"}.get(row["kind"])
        if kind is None:
            raise NotInstalled(f"{row['full_name']} is there and is none of ours: remove it first.")
        await connection.execute(f"DROP {kind} {row['full_name']}")
    await connection.execute(_script(schema))
    for grant in (grant for row in altered for grant in row["grants"]):
        await connection.execute(grant)
    for row in (await _catalog(connection, schema)).loose:
        await connection.execute(row["statement"])
    if wrong := differences(schema, await _catalog(connection, schema)):
        raise NotInstalled(f"The triggers are not as they were made: {', '.join(wrong)}.")
    return True


async def _adopt(connection: Connection, schema: str, partition: Partition | Relation) -> bool:
    """Have a partition told of by statement, in the caller's transaction; one that was detached, by nothing."""
    await connection.execute(f"LOCK TABLE ONLY {partition.full_name} IN SHARE ROW EXCLUSIVE MODE")
    return bool(await connection.fetchval(f'SELECT "{schema}".adopt_partition($1)', partition.oid))


async def _left(connection: Connection, schema: str) -> list[Relation]:
    return [Relation(**row) for row in await _rows(connection, "triggers_left", schema)]


def _script(schema: str) -> str:
    return statement("triggers", strangers=statement("triggers_strangers").rstrip(), schema=schema)


def _grants(schema: str) -> str:
    return statement("triggers_grants", schema=schema).rstrip()


async def _refuse_strangers(connection: Connection, schema: str) -> None:
    """Take over nothing that somebody else made, and remove nothing of theirs."""
    strangers = await _rows(connection, "triggers_strangers", schema)
    if strangers:
        found = str(strangers[0]["sentence"])
        raise RightsMissing(f"{found[0].upper()}{found[1:]}.")


async def _grant(connection: Connection, schema: str, role: str | None) -> bool:
    missing = await _missing_grants(connection, schema, role)
    for change in missing:
        await connection.execute(change)
    if missing and (refused := await _missing_grants(connection, schema, role)):
        raise RightsMissing(f"Our role may not do what `--role` asks: {'; '.join(refused)}.")
    return bool(missing)


async def _missing_grants(connection: Connection, schema: str, role: str | None) -> list[str]:
    if role is None:
        return []
    await connection.execute(f"SELECT set_config('readside.role', {literal(role)}, true)")
    return [row["statement"] for row in await connection.fetch(_grants(schema))]


async def _check_role(connection: Connection, role: str | None) -> None:
    if role is None:
        return
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role):
        raise ConfigurationError(f"Role {role} does not exist on this server: create it, or name another with --role.")


async def _fit_catalog(connection: Connection, schema: str, schemas: Sequence[str]) -> Catalog:
    """Read what is there; raises SchemaMissing for a table that is not, or cannot have our triggers."""
    catalog = await _catalog(connection, schema)
    for table in catalog.tables:
        if (reason := table.unfit(schemas)) is not None:
            raise SchemaMissing(reason)
    return catalog


async def _catalog(connection: Connection, schema: str) -> Catalog:
    names = [trigger.name for trigger in triggers(schema)]
    tables = [Table.read(row) for row in await _rows(connection, "triggers_tables", schema)]
    return Catalog(
        tables,
        await _rows(connection, "triggers_found", schema, _oids(tables), names),
        await _rows(connection, "triggers_functions", schema),
        await _rows(connection, "triggers_relations", schema, RELATIONS),
        await _rows(connection, "triggers_loose", schema, RELATIONS, [each.name for each in functions(schema)]),
        [Partition.read(row) for row in await _rows(connection, "triggers_tree", schema)],
    )


def _oids(tables: Sequence[Table]) -> list[int]:
    return [table.oid for table in tables if table.oid is not None]


async def _rows(connection: Connection, name: str, schema: str, *arguments: object) -> list[dict[str, Any]]:
    return [dict(row) for row in await connection.fetch(statement(name, schema=schema), *arguments)]


async def _check_server(connection: Connection, warn: Warn, *, doorbell: bool) -> list[str]:
    """Refuse servers that cannot hold the triggers; return the schemas of the search_path."""
    [server] = await _rows(connection, "triggers_server", SCHEMA)
    if server["in_recovery"]:
        raise ServerInRecovery(
            f"PostgreSQL at {server['address']} is in recovery (a standby): readside needs the primary."
        )
    if server["version"] < OLDEST_SERVER:
        raise ConfigurationError(
            f"PostgreSQL at {server['address']} is {server['version'] // 10000}; readside needs 15 or newer."
        )
    if doorbell and server["max_prepared_transactions"] > 0:
        warn(
            f"max_prepared_transactions is {server['max_prepared_transactions']}: while the doorbell is on, "
            "PREPARE TRANSACTION fails for transactions that changed sessions or events; "
            "READSIDE_DOORBELL=off lets them work."
        )
    schemas: list[str] = server["schemas"]
    return schemas


async def _check_rights(connection: Connection, schema: str, tables: Sequence[Table]) -> None:
    [rights] = await _rows(connection, "triggers_rights", schema)
    missing = [
        f"own table {table.full_name} (its owner is {table.facts['owner']})"
        for table in tables
        if not table.facts["is_owned"]
    ]
    if not rights["has_schema"] and not rights["may_create_schema"]:
        missing.append(f"hold CREATE on database {rights['database']}")
    if missing:
        raise RightsMissing(f"To install the triggers, role {rights['role']} must {' and '.join(missing)}.")
