"""No setting of a database or a role changes what is read: the service runs under each, and gives the same bytes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import pytest

from projector.tail.triggers import inspect, install, uninstall
from readmodel.postgres.client import connect
from readmodel.postgres.settings import FIXED, NEWER
from tests.support.builders import api, api_config
from tests.support.projecting import Bench, bench
from tests.support.whole import Whole

HOSTILE = {
    "timezone": ["Asia/Kathmandu"],
    "datestyle": ["German, DMY", "SQL, DMY", "Postgres, MDY"],
    "intervalstyle": ["sql_standard"],
    "extra_float_digits": ["-15"],
    "bytea_output": ["escape"],
    "array_nulls": ["off"],
    "xmlbinary": ["hex"],
    "xmloption": ["document"],
    "quote_all_identifiers": ["on"],
    "standard_conforming_strings": ["off"],
    "backslash_quote": ["off"],
    "transform_null_equals": ["on"],
    "default_transaction_isolation": ["serializable"],
    "default_transaction_read_only": ["on"],
    "default_transaction_deferrable": ["on"],
    "row_security": ["off"],
    "statement_timeout": ["1"],
    "lock_timeout": ["1"],
    "idle_in_transaction_session_timeout": ["1"],
    "idle_session_timeout": ["1"],
    "exit_on_error": ["on"],
    "client_min_messages": ["debug5"],
    "jit": ["on"],
    "plan_cache_mode": ["force_generic_plan"],
    "max_parallel_workers_per_gather": ["4"],
    "enable_bitmapscan": ["off"],
    "enable_hashagg": ["off"],
    "enable_hashjoin": ["off"],
    "enable_incremental_sort": ["off"],
    "enable_indexonlyscan": ["off"],
    "enable_indexscan": ["off"],
    "enable_material": ["off"],
    "enable_memoize": ["off"],
    "enable_mergejoin": ["off"],
    "enable_nestloop": ["off"],
    "enable_seqscan": ["off"],
    "enable_sort": ["off"],
    "enable_tidscan": ["off"],
    "check_function_bodies": ["off"],
    "default_table_access_method": ["another"],
    "default_tablespace": ["pg_global"],
    "transaction_timeout": ["1"],
    "client_encoding": ["LATIN1"],  # asyncpg sets it itself
    "search_path": ["pg_temp, public"],
}
CASES = [(name, value) for name, values in HOSTILE.items() for value in values]
ODD = ("infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "10000-01-01 00:00:00.5+00")
EVEN = "2026-01-13T14:30:00.123456Z"
DATA = '{"deep": [1.10, 12345678901234567890], "text": "back\\\\slash é"}'


def test_each_setting_of_ours_has_a_hostile_value() -> None:
    """What is added to the list is tried here as well."""
    assert {*FIXED, *NEWER} <= set(HOSTILE)


@asynccontextmanager
async def altered(stage: Bench, scope: str, name: str, value: str) -> AsyncIterator[None]:
    """A database, or our role in it, that gives each new connection this value, if the server knows such a setting."""
    if stage.writer.connection.get_server_version().major < NEWER.get(name, (0, ""))[0]:
        yield
        return
    execute = stage.writer.connection.execute
    database = urlsplit(stage.config.database_url).path[1:]
    whom = f"DATABASE {database}" if scope == "database" else f"ROLE CURRENT_USER IN DATABASE {database}"
    quoted = value if name == "search_path" else f"'{value}'"
    try:
        if value == "another":
            await execute("CREATE ACCESS METHOD another TYPE TABLE HANDLER heap_tableam_handler")
        if name == "jit":
            await execute(f"ALTER DATABASE {database} SET jit_above_cost = 0")
        await execute(f"ALTER {whom} SET {name} = {quoted}")
        yield
    finally:
        await execute(f"ALTER {whom} RESET {name}; ALTER DATABASE {database} RESET jit_above_cost")
        await execute("DROP ACCESS METHOD IF EXISTS another")


async def _judge(whole: Whole, even: str, odd: str) -> None:
    """Redis and Postgres answer for one session alike, and Postgres for the other, which Redis cannot hold."""
    redis = await whole.served(even, "redis", "?limit=7")
    postgres = await whole.poll(even, "?limit=7", readside_max_staleness="0")
    assert (redis.status_code, postgres.headers["readside-source"]) == (200, "postgres")
    assert redis.content == postgres.content
    assert f'"event_data":{DATA},"message":"naïve \\\\ \\"q\\"","timestamp":"{EVEN}"}}' in redis.text
    since = await whole.poll(even, "?since=2026-01-13T14:30:00.123455Z&event_type=step_failed&limit=5")
    assert since.json()["total"] == 1
    found = (await whole.poll(odd, readside_max_staleness="0")).json()["items"]
    assert {item["timestamp"] for item in found} == set(ODD)


async def _written(stage: Bench) -> tuple[str, str]:
    even, odd = await stage.writer.session(), await stage.writer.session()
    await stage.writer.event(even, timestamp=EVEN, data=DATA, message='naïve \\ "q"', event_type="step_failed")
    await stage.writer.events(even, 3)
    for at in ODD:
        await stage.writer.event(odd, timestamp=at)
    return even, odd


@pytest.fixture
async def stage(lasting_database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Only the database is shared, which each case leaves without a setting: reads make their connections under one."""
    async with bench(lasting_database_url, redis_url) as made:
        await made.writer.connection.execute("DELETE FROM sessions")
        yield made


@pytest.mark.parametrize(
    ("scope", "settings"),
    [pytest.param("database", [case], id="-".join(case)) for case in CASES] + [("role", CASES)],
)
async def test_the_service_under_hostile_settings(
    stage: Bench, scope: str, settings: Sequence[tuple[str, str]]
) -> None:
    """The view goes live, and every source gives the same right bytes. A role has them all at once."""
    config = stage.config
    even, odd = await _written(stage)
    async with AsyncExitStack() as stack:
        for name, value in settings:
            await stack.enter_async_context(altered(stage, scope, name, value))
        async with (
            stage.projector() as telemetry,
            api(api_config(config.database_url, config.redis_url)) as client,
        ):
            await stage.caught_up()
            await stage.hot(even)
            await stage.writer.event(even)
            await stage.same(even)
            await _judge(Whole(stage, client), even, odd)
            assert telemetry.connections == 1


async def test_installing_under_hostile_settings(database_url: str, redis_url: str) -> None:
    """Under all of them at once what is installed is the same, and found to be whole."""
    async with bench(database_url, redis_url, installed=False) as stage, AsyncExitStack() as stack:
        for name, value in CASES:
            await stack.enter_async_context(altered(stage, "database", name, value))
        connection = await connect(database_url, application_name="test", owners_path=True)
        try:
            assert await install(connection, warn=pytest.fail)
            assert await inspect(connection) is None
            assert await uninstall(connection)
        finally:
            connection.terminate()
