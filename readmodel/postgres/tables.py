"""Where the write side's two tables are: those that a connection of the owners' finds by its search_path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from readmodel.errors import EventLogUnavailable, RightsMissing, SchemaMissing, StoreRefused, StoreUnavailable
from readmodel.postgres.client import Connection, connect, rows_hidden, target, translated
from readmodel.postgres.columns import COLUMNS, found_columns, misfit
from readmodel.postgres.sql import Tables, statement

KEPT_SECONDS = 60.0
"""A changed search_path may find other tables, though those of before are still there."""


async def find_tables(connection: Connection, url: str) -> Tables:
    """Find them on a connection that was opened with `owners_path`; raises SchemaMissing, and those of `translated`."""
    with translated(url):
        row = await connection.fetchrow(statement("tables"))
    if row is None:
        raise EventLogUnavailable(f"PostgreSQL at {target(url)} gave no answer.")
    for name in ("sessions", "events"):
        if row[name] is None:
            raise SchemaMissing(f"Table {name} was not found in {_search(row['schemas'])}.")
    return Tables.within(row["sessions"], row["events"], partitioned=row["partitioned"])


async def check_tables(connection: Connection, tables: Tables, url: str) -> None:
    """Raise SchemaMissing or RightsMissing unless our role can read the tables as they are; no sentence names a server.

    Whoever reads without the projector has only this: the projector looks at more.
    """
    with translated(url):
        rows = await connection.fetch(statement("columns"), [tables.sessions, tables.events])
    for name, row in zip(COLUMNS, rows, strict=True):
        wrong = _nature(row["name"], row["kind"]) or misfit(name, row["name"], found_columns(row["columns"]))
        if wrong is not None:
            raise SchemaMissing(wrong)
    for name, row in zip(COLUMNS, rows, strict=True):
        found = found_columns(row["columns"])
        if not all(found[column.name]["readable"] for column in COLUMNS[name]):
            raise RightsMissing(
                f"Our role may not read table {row['name']}: it needs SELECT, which `readside install --role` grants."
            )
        if row["hidden"]:
            raise rows_hidden(row["name"])


def _nature(name: str, kind: str | None) -> str | None:
    """Say why this is no table that we read, if it is none."""
    if kind is None:
        return f"Table {name} is not there any more."
    return None if kind in {"r", "p"} else f"{name} is not a table, and readside reads tables alone."


async def look_for_tables(url: str, *, application_name: str, timeout_seconds: float = 5.0) -> Tables:
    """Find them on a connection of their own; raises the errors of `find_tables`."""
    connection = await connect(
        url, application_name=application_name, timeout_seconds=timeout_seconds, owners_path=True
    )
    try:
        with translated(url):
            async with asyncio.timeout(timeout_seconds):
                return await find_tables(connection, url)
    finally:
        connection.terminate()


class TableFinder:
    """Finds the tables when they are first asked for, after `forget`, and every KEPT_SECONDS."""

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        timeout_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._application_name = application_name
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._found: Tables | None = None
        self._found_at = 0.0
        self._turn = asyncio.Lock()

    async def tables(self) -> Tables:
        """Name the tables; raises the errors of `find_tables` where they were not found before."""
        found = self._found
        if found is None or self._is_old():
            async with self._turn:
                found = self._found
                if found is None or self._is_old():
                    found = self._found = await self._look_again(found)
        return found

    def _is_old(self) -> bool:
        return self._clock() - self._found_at > KEPT_SECONDS

    async def _look_again(self, before: Tables | None) -> Tables:
        try:
            return await self._look()
        except (StoreUnavailable, StoreRefused):
            if before is None:
                raise
            self._found_at = self._clock()  # who uses the names will say what is wrong
            return before

    async def _look(self) -> Tables:
        found = await look_for_tables(
            self._url, application_name=self._application_name, timeout_seconds=self._timeout_seconds
        )
        self._found_at = self._clock()
        return found

    def forget(self, found: Tables | None = None) -> None:
        """Look again next time, whatever was found, or if it was this."""
        if found in {None, self._found}:
            self._found = None


def _search(schemas: list[str]) -> str:
    if not schemas:
        return "any schema: the search_path of this connection names none that exists"
    return f"schema{'s' if len(schemas) > 1 else ''} {', '.join(schemas)} (the search_path of this connection)"
