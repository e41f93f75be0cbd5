"""What the catalog of a database holds where an installation could leave something."""

from __future__ import annotations

from typing import Any

from readmodel.postgres.client import Connection

TRACES = {
    "pg_class": "SELECT oid::text, relname::text, relhastriggers::text FROM pg_class WHERE oid >= 16384",
    "pg_proc": "SELECT oid::text, proname::text FROM pg_proc",
    "pg_trigger": "SELECT oid::text, tgname::text, tgenabled::text FROM pg_trigger",
    "pg_namespace": "SELECT oid::text, nspname::text FROM pg_namespace",
    "pg_depend": "SELECT classid::text, objid::text, refclassid::text, refobjid::text, deptype::text FROM pg_depend",
    "pg_description": "SELECT classoid::text, objoid::text FROM pg_description",
    "pg_shdepend": """SELECT classid::text, objid::text, refobjid::text FROM pg_shdepend
                       WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())""",
}

INSTALLED = """
SELECT tgname::text, relname::text, tgtype, tgenabled::text, proname::text, tgoldtable::text, tgnewtable::text,
       pg_get_triggerdef(pg_trigger.oid), prosrc, proconfig::text, prosecdef
  FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
 WHERE NOT tgisinternal ORDER BY 2, 1
"""


async def rows(connection: Connection, sql: str) -> list[tuple[Any, ...]]:
    """What a query gives, as plain values."""
    return [tuple(row) for row in await connection.fetch(sql)]


async def traces(connection: Connection) -> dict[str, set[tuple[Any, ...]]]:
    """All that the catalog holds where we could have left something."""
    return {name: set(await rows(connection, sql)) for name, sql in TRACES.items()}
