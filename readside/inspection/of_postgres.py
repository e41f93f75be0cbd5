"""What `readside doctor` finds at Postgres: who answers, what our role may do, and whether all that we need is there.

It changes nothing: it reads the catalog, and sends one notification to itself, on a channel that nobody else knows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from projector.reads import POOL_SIZE, Reads
from projector.tail.connection import Tail
from projector.tail.lead_holders import LeadHolder, lead_holders
from projector.tail.triggers import inspect, late_partitions_of, missing_rights
from readmodel.errors import ConfigurationError, EventLogUnavailable, ServiceError
from readmodel.postgres.client import (
    Connection,
    Server,
    check_rows_visible,
    check_server,
    connect,
    create_pool,
    target,
    tls_version,
    translated,
)
from readmodel.postgres.sql import Tables
from readmodel.postgres.tables import find_tables
from readmodel.postgres.url import address_of
from readside.inspection.clocks import judge_clock
from readside.inspection.findings import Finding, fine, problem, unknown, warning
from readside.inspection.sql import statement
from readside.inspection.transport import judge_postgres_tls
from readside.settings import PREFIX, Settings, default_sslmode

NAME = "readside-cli"
STORE_SECONDS = 3.0
"""A store that has not answered by then is away."""
OF_DATABASE = ("database TLS", "tables", "rights", "triggers", "letters", "connections", "doorbell", "database clock")
PROJECTOR_CONNECTIONS = POOL_SIZE + 3
"""A projector's pool, the connection that it leads on, its doorbell, and one that looks at the triggers."""
_NO_LISTENER = "the database cannot be asked"


@dataclass
class PostgresReport:
    """What was found, the database's identity ("" where it is unknown), and who holds the lead's lock.

    `holders` None: that could not be asked.
    """

    findings: list[Finding] = field(default_factory=list)
    database: str = ""
    holders: list[LeadHolder] | None = None


@dataclass(frozen=True)
class _Database:
    """A checked connection with the owners' search_path, and where it leads."""

    connection: Connection
    url: str
    server: Server


async def of_postgres(settings: Settings, lead_key: int | None) -> PostgresReport:
    """Look at the database and at the listener's way to it; `lead_key` is the lead's lock, None where it is unknown."""
    report = PostgresReport()
    try:
        url = settings.require_database_url()
        async with _opened(url) as database:
            report.database = database.server.database
            report.findings.append(await _who_answers(database))
            await _look(settings, database, report)
            if lead_key is not None:
                with translated(url):
                    report.holders = await lead_holders(database.connection, lead_key)
    except ConfigurationError as error:
        return _without_database(report, unknown("database", str(error).rstrip(".")))
    except ServiceError as error:
        return _without_database(report, problem("database", str(error)))
    return report


def _without_database(report: PostgresReport, why: Finding) -> PostgresReport:
    told = {finding.check for finding in report.findings}
    if "database" not in told:
        report.findings.append(why)
    missing = [check for check in (*OF_DATABASE, "listener", "listener TLS") if check not in told]
    report.findings += [unknown(check, _NO_LISTENER) for check in missing]
    return report


async def _look(settings: Settings, database: _Database, report: PostgresReport) -> None:
    url = database.url
    report.findings.append(_tls("database TLS", database.connection, url))
    try:
        with translated(url):
            tables = await find_tables(database.connection, url)
    except ServiceError as error:
        report.findings.append(problem("tables", str(error)))
        report.findings += [unknown(check, "the tables were not found") for check in OF_DATABASE[2:]]
    else:
        report.findings.append(await _within("tables", _of_tables(database.connection, tables)))
        report.findings += await _of_role(settings, database, tables)
    report.findings += await _of_listener(settings, database)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[_Database]:
    connection = await connect(url, application_name=NAME, timeout_seconds=STORE_SECONDS, owners_path=True)
    try:
        async with _answering(url):
            yield _Database(connection, url, await check_server(connection, url))
    finally:
        connection.terminate()


@asynccontextmanager
async def _answering(url: str) -> AsyncIterator[None]:
    """Bound what may take for ever: a server that hangs in the middle."""
    try:
        async with asyncio.timeout(5 * STORE_SECONDS):
            yield
    except TimeoutError:
        raise EventLogUnavailable(f"PostgreSQL at {target(url)} does not answer in time.") from None


async def _within(check: str, looking: Awaitable[Finding]) -> Finding:
    """What was found, or why it could not be looked at."""
    try:
        return await looking
    except ServiceError as error:
        return unknown(check, str(error).rstrip("."))


async def _who_answers(database: _Database) -> Finding:
    with translated(database.url):
        role = await database.connection.fetchval("SELECT current_user::text")
    version = database.server.version
    return fine("database", f"PostgreSQL {version // 10000}.{version % 10000} at {target(database.url)}, as {role}")


def _tls(check: str, connection: Connection, url: str) -> Finding:
    return judge_postgres_tls(check, url, mode=sslmode(url), version=tls_version(connection))


def sslmode(url: str) -> str | None:
    """The sslmode that a URL, or else libpq's own variable, asks for."""
    named = parse_qs(urlsplit(address_of(url).urls[0]).query).get("sslmode")
    return named[-1] if named else default_sslmode()


async def _of_tables(connection: Connection, tables: Tables) -> Finding:
    try:
        await check_rows_visible(connection, tables)
    except ServiceError as error:
        return problem("tables", str(error))
    return fine("tables", f"{tables.sessions} and {tables.events}, no row of them hidden from us")


async def _of_role(settings: Settings, database: _Database, tables: Tables) -> list[Finding]:
    connection, url = database.connection, database.url
    try:
        with translated(url):
            before = time.time()
            row = await connection.fetchrow(statement("role", tables), tables.sessions, tables.events)
            after = time.time()
            lacking = await missing_rights(connection, settings.database_schema, tables.sessions, tables.events)
            wrong = await inspect(connection, settings.database_schema, tables.sessions, tables.events)
            late = await late_partitions_of(connection, settings.database_schema, tables.sessions, tables.events)
            letters = await connection.fetchval(statement("letters_size", tables), settings.database_schema)
    except ServiceError as error:
        return [unknown(check, str(error).rstrip(".")) for check in OF_DATABASE[2:]]
    facts: Mapping[str, Any] = dict(row) if row else {}
    return [
        judge_rights(settings.database_schema, facts, lacking),
        judge_triggers(wrong, [partition.full_name for partition in late]),
        judge_letters(settings, letters),
        judge_connections(settings, facts),
        judge_doorbell(settings, facts["prepared"]),
        judge_clock("database clock", facts["now_us"] / 1_000_000, before, after),
    ]


def judge_rights(schema: str, facts: Mapping[str, Any], lacking: list[str]) -> Finding:
    """Judge what our role may do: all that it must, and no more."""
    role = facts["role"]
    if lacking:
        return problem(
            "rights",
            f"Role {role} may not do what it must.",
            f"`readside install --role {role}`, as the tables' owner: {'; '.join(lacking)}.",
        )
    if facts["is_superuser"] or facts["writes"]:
        may = "is a superuser" if facts["is_superuser"] else f"may write the tables ({facts['writes']})"
        return warning(
            "rights",
            f"Role {role} {may}; one that may only read suffices:",
            f"make a role, `readside install --role ROLE` as the tables' owner, put it into {PREFIX}DATABASE_URL.",
        )
    return fine("rights", f"role {role} may read both tables and what is in {schema}, and write no row of theirs")


def judge_triggers(wrong: str | None, late: list[str]) -> Finding:
    """Judge the triggers: what is wrong with them, and which partitions they see row by row."""
    if wrong:
        return problem("triggers", wrong)
    if late:
        named = f"{', '.join(late[:3])}{f' and {len(late) - 3} more' if len(late) > 3 else ''}"
        return warning(
            "triggers",
            f"Partitions that came after the installation ({named}) are told of row by row: writers pay more there.",
            "A leading projector sees to it, where their locks are free for 0.1 s; `readside install` does the same.",
        )
    return fine("triggers", "whole, enabled, and of this version")


def judge_letters(settings: Settings, size_bytes: int | None) -> Finding:
    """Judge how large the tables of letters are."""
    if size_bytes is None:
        return unknown("letters", f"schema {settings.database_schema} holds no tables of letters that we may see")
    size_mb, bound = size_bytes / 1_000_000, settings.letters_max_mb
    told = f"{size_mb:.1f} MB of at most {bound:g} MB"
    if size_mb > bound / 2:
        return warning(
            "letters",
            f"{told}: something keeps them from being emptied, and past the bound none is written.",
            "End the dump, or the oldest transaction that wrote events (specs/runbook.md, ReadsideLettersClosed).",
        )
    return fine("letters", told)


def judge_connections(settings: Settings, facts: Mapping[str, Any]) -> Finding:
    """Judge whether a projector and an API process still find room beside who is connected now."""
    wanted = settings.fallback_concurrency + 2 + PROJECTOR_CONNECTIONS
    bounds = (
        ("max_connections of the server", facts["places"], facts["taken"]),
        (f"the connection limit of role {facts['role']}", facts["role_limit"], facts["taken_by_role"]),
        (f"the connection limit of database {facts['database']}", facts["database_limit"], facts["taken_of_database"]),
    )
    for name, bound, taken in bounds:
        if bound is not None and taken + wanted > bound and bound - taken < wanted:
            return warning(
                "connections",
                f"{taken} of {bound} are taken ({name}); one projector and one API process want up to {wanted}.",
                f"Raise it, lower {PREFIX}FALLBACK_CONCURRENCY, or end idle clients. What runs already is counted.",
            )
    return fine("connections", f"{facts['taken']} of {facts['places']} are taken")


def judge_doorbell(settings: Settings, prepared: int) -> Finding:
    """Judge whether writers who prepare transactions can."""
    if settings.doorbell == "on" and prepared:
        return warning(
            "doorbell",
            f"max_prepared_transactions is {prepared}: while the doorbell is on, PREPARE TRANSACTION fails for "
            "transactions that changed sessions or events.",
            f"Set {PREFIX}DOORBELL=off where any are prepared, or max_prepared_transactions to 0.",
        )
    return fine("doorbell", f"{settings.doorbell}; prepared transactions are {'possible' if prepared else 'off'}")


async def _of_listener(settings: Settings, database: _Database) -> list[Finding]:
    """Look at the way to the server that the projector leads on: to the same server, with nothing in between."""
    try:
        url = settings.checked_listen_url() or database.url
        connection = await connect(url, application_name=NAME, timeout_seconds=STORE_SECONDS)
    except ServiceError as error:
        return [problem("listener", str(error)), unknown("listener TLS", "the listener cannot be reached")]
    try:
        return [
            await _try_to_hear(connection, url, database),
            _tls("listener TLS", connection, url),
        ]
    finally:
        connection.terminate()


async def _try_to_hear(connection: Connection, url: str, database: _Database) -> Finding:
    try:
        server = await check_server(connection, url)
        if (server.started, server.database) != (database.server.started, database.server.database):
            return problem(
                "listener",
                f"{PREFIX}LISTEN_URL leads to another server or database ({target(url)}) than {PREFIX}DATABASE_URL.",
                "Both must lead to the same primary.",
            )
        pool = await create_pool(database.url, application_name=NAME, size=1, statement_cache_size=0)
        try:
            await Tail(connection, url, server, 1.0).check_no_pooler(Reads(pool, database.url, Tables("", "")))
        finally:
            pool.terminate()
    except ServiceError as error:
        return problem("listener", str(error))
    return fine("listener", f"{target(url)} is heard, with no pooler in between")
