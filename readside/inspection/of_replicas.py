"""What `readside doctor` finds at the hot standbys: which stand by for our database, can be read, and keep up."""

from __future__ import annotations

import asyncio
import time

from projector.tail.sql import statement as tail_statement
from readmodel.errors import ConfigurationError, ServiceError
from readmodel.postgres.client import OLDEST_SERVER, Connection, connect, place_of, tls_version, translated
from readmodel.postgres.sql import statement
from readmodel.postgres.standby_log import another_cluster, another_timeline, hidden_timeline, promoted
from readmodel.postgres.tables import check_tables, find_tables
from readmodel.values.wal import WalPosition, parse_wal
from readside.inspection.findings import Finding, fine, problem, unknown, warning
from readside.inspection.of_postgres import sslmode
from readside.inspection.transport import judge_postgres_tls
from readside.settings import Settings

CHECK, TLS = "hot standby", "hot standby TLS"
PATIENCE_SECONDS = 3.0
"""One that has not answered by then is away."""
STEP_SECONDS = 0.02


async def of_replicas(settings: Settings, name: str) -> list[Finding]:
    """Look at each; nothing is said where none is named. `name` is our connections' application_name."""
    try:
        urls = settings.checked_replica_urls()
        primary_url = settings.require_database_url() if urls else ""
    except ConfigurationError:
        return []  # it is among the settings
    return [finding for url in urls for finding in await _of_one(url, primary_url, settings, name)]


async def _of_one(url: str, primary_url: str, settings: Settings, name: str) -> list[Finding]:
    try:
        at, database = await _position(primary_url, name)
    except ServiceError as error:
        return [unknown(CHECK, str(error).rstrip("."))]
    try:
        connection = await connect(url, application_name=name, timeout_seconds=PATIENCE_SECONDS, owners_path=True)
    except ServiceError as error:
        return [problem(CHECK, str(error)), unknown(TLS, f"{place_of(url)} cannot be reached")]
    try:
        async with asyncio.timeout(3 * PATIENCE_SECONDS + settings.max_staleness_seconds):
            told = await _look(connection, url, at, database, settings.max_staleness_seconds)
    except TimeoutError:
        told = problem(CHECK, f"PostgreSQL at {place_of(url)} does not answer in time.")
    except ServiceError as error:
        told = problem(CHECK, str(error))
    finally:
        tls = _tls(connection, url)
        connection.terminate()
    return [told, tls]


def _tls(connection: Connection, url: str) -> Finding:
    return judge_postgres_tls(TLS, url, mode=sslmode(url), version=tls_version(connection))


async def _position(url: str, name: str) -> tuple[WalPosition, str]:
    """Ask the primary how far its log has come, and which database it is."""
    connection = await connect(url, application_name=name, timeout_seconds=PATIENCE_SECONDS)
    try:
        with translated(url):
            server = await connection.fetchrow(statement("server"))
            at = parse_wal(await connection.fetchval(tail_statement("wal_position")) or "")
    finally:
        connection.terminate()
    if server is None or at is None:
        raise ConfigurationError("The primary did not say how far its log has come.")
    return at, str(server["database"])


async def _look(connection: Connection, url: str, at: WalPosition, database: str, bound_seconds: float) -> Finding:
    place, began = place_of(url), time.monotonic()
    with translated(url):
        found = await connection.fetchrow(statement("standby"))
    if found is None or not found["in_recovery"]:
        raise promoted(place)
    if found["version"] < OLDEST_SERVER:
        return problem(CHECK, f"PostgreSQL at {place} is {found['version'] // 10000}; readside needs 15 or newer.")
    if found["database"] != database:
        raise another_cluster(place, found["database"], database)
    await check_tables(connection, await find_tables(connection, url), url)
    if found["receivers"] and found["timeline"] is None:
        return problem(CHECK, hidden_timeline(place))
    if found["timeline"] != at.timeline:
        raise another_timeline(place, found["timeline"], at.timeline)
    with translated(url):
        while (await connection.fetchrow(statement("replayed")))["replayed"] < at.lsn:  # type: ignore[index]  # a row
            if time.monotonic() - began > bound_seconds:
                return warning(
                    CHECK,
                    f"PostgreSQL at {place} is more than {bound_seconds:g} s behind the primary: the primary answers.",
                    "See pg_stat_replication there, and whether replay was paused or is held up by a query.",
                )
            await asyncio.sleep(STEP_SECONDS)
    seconds = time.monotonic() - began
    return fine(CHECK, f"{place} stands by for our database, and has what the primary had {seconds:.2f} s ago")
