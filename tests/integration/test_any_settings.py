"""Whatever database and role set, in any combination: the same bytes for what was written, or a refusal by name."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID, uuid5

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import strategies as st

from projector.tail.triggers import inspect, install
from readmodel.postgres.client import Connection, connect
from readmodel.postgres.settings import NEWER
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.integration.test_owners_settings import HOSTILE
from tests.support.builders import api, api_config
from tests.support.drawing import drawn
from tests.support.projecting import INSERT_EVENT, INSERT_SESSION, Bench, bench
from tests.support.servers import connected, fresh_database
from tests.support.whole import Whole

OTHERS = {
    "work_mem": ["64kB"],
    "temp_buffers": ["800kB"],
    "hash_mem_multiplier": ["1"],
    "enable_gathermerge": ["off"],
    "enable_parallel_append": ["off"],
    "enable_parallel_hash": ["off"],
    "enable_partition_pruning": ["off"],
    "enable_partitionwise_join": ["on"],
    "constraint_exclusion": ["on"],
    "cursor_tuple_fraction": ["0"],
    "from_collapse_limit": ["1"],
    "join_collapse_limit": ["1"],
    "geqo_threshold": ["2"],
    "random_page_cost": ["1000"],
    "seq_page_cost": ["0"],
    "cpu_tuple_cost": ["100"],
    "parallel_setup_cost": ["0"],
    "parallel_tuple_cost": ["0"],
    "min_parallel_table_scan_size": ["0"],
    "debug_parallel_query": ["on", "regress"],
    "parallel_leader_participation": ["off"],
    "synchronous_commit": ["off"],
    "session_replication_role": ["replica", "local"],
    "timezone_abbreviations": ["India"],
    "lc_messages": ["C"],
    "lc_numeric": ["C"],
    "default_text_search_config": ["pg_catalog.german"],
    "escape_string_warning": ["off"],
    "default_toast_compression": ["pglz"],
    "lo_compat_privileges": ["on"],
    "password_encryption": ["md5"],
    "gin_fuzzy_search_limit": ["1"],
    "gin_pending_list_limit": ["64kB"],
    "log_statement": ["all"],
    "log_min_messages": ["debug5"],
    "log_error_verbosity": ["verbose"],
    "log_duration": ["on"],
    "debug_print_plan": ["on"],
    "track_activities": ["off"],
    "track_counts": ["off"],
    "track_functions": ["all"],
    "compute_query_id": ["on"],
    "tcp_keepalives_idle": ["1"],
    "client_connection_check_interval": ["10ms"],
    "deadlock_timeout": ["1ms"],
    "commit_siblings": ["0"],
    "event_triggers": ["off"],
    "plpgsql.variable_conflict": ["use_column", "use_variable"],
    "plpgsql.extra_errors": ["all"],
    "plpgsql.extra_warnings": ["all"],
    "plpgsql.check_asserts": ["off"],
    "plpgsql.print_strict_params": ["on"],
    "readside.schemas": ["{nonsense"],  # settings of our own while we install
    "readside.events": ["1"],
}
"""What we leave to the owners, and what only a superuser sets for them."""
SINCE = {"debug_parallel_query": 16, "event_triggers": 17, **{name: since for name, (since, _) in NEWER.items()}}
WRITERS_OWN = {
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "exit_on_error": "off",
    "default_transaction_deferrable": "off",
    "search_path": "public",
}
"""What applications set for themselves on their connections: under the other values they could not write at all."""
VALUES = {**HOSTILE, **OTHERS}
SETTING = st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name])))
COMBINATION = st.fixed_dictionaries(
    {
        scope: st.lists(SETTING, min_size=least, max_size=30, unique_by=lambda setting: setting[0]).map(dict)
        for scope, least in (("database", 5), ("role", 0), ("both", 0))
    }
)
TIMES = ["2026-01-13T14:30:00.123456Z", "1970-01-01T00:00:00Z", "2026-03-29T02:30:00.1+01:00"]
ODD = ["infinity", "-infinity", "4713-11-24 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00", *TIMES]
DATA = '{"deep": [[[1.10, 12345678901234567890, 1e-7]]], "text": "back\\\\slash é \\" 😀", "": null}'
MESSAGE = 'naïve \\ "q"'
EVEN_ID, ODD_ID = "00000000-0000-4000-8000-00000000000e", "00000000-0000-4000-8000-00000000000d"
QUERIES = ["", "?limit=2", "?event_type=step_failed", "?since=2026-01-13T14:30:00.123455Z", "?limit=2&page=2"]


Combination: TypeAlias = Mapping[str, dict[str, str]]
"""Settings by scope: of the database, of the role, of the role in this database."""


class Role(NamedTuple):
    """A role of a database of its own: it owns the tables, writes, installs, and everything of ours runs as it."""

    url: str
    name: str


@asynccontextmanager
async def owned_database(server: EmbeddedPostgres) -> AsyncIterator[Role]:
    """A fresh database whose tables a role owns that nobody else uses."""
    async with fresh_database(server) as url, connected(url) as owner:
        name = f"owner_{secrets.token_hex(4)}"
        database = urlsplit(url).path[1:]
        await owner.execute(f"""
            CREATE ROLE {name} LOGIN PASSWORD 'owner'; GRANT CREATE ON DATABASE {database} TO {name};
            ALTER TABLE sessions OWNER TO {name}; ALTER TABLE events OWNER TO {name}""")
        place = urlsplit(url).netloc.rpartition("@")[2]
        try:
            yield Role(urlsplit(url)._replace(netloc=f"{name}:owner@{place}").geturl(), name)
        finally:
            await owner.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


async def _set(connection: Connection, role: Role, combination: Combination) -> None:
    database = urlsplit(role.url).path[1:]
    major = connection.get_server_version().major
    if any(values.get("default_table_access_method") for values in combination.values()):
        await connection.execute("CREATE ACCESS METHOD another TYPE TABLE HANDLER heap_tableam_handler")
    await connection.execute("LOAD 'plpgsql'")
    whom = {"database": f"DATABASE {database}", "role": f"ROLE {role.name}"}
    whom["both"] = f"{whom['role']} IN DATABASE {database}"
    for scope, values in combination.items():
        for name, value in values.items():
            if major >= SINCE.get(name, 0):
                text = value if name == "search_path" else f"'{value}'"
                await connection.execute(f"ALTER {whom[scope]} SET {name} = {text}")


async def _write(url: str, major: int) -> None:
    """Write two sessions, as an application under these settings does: always the same rows."""
    own = {name: value for name, value in WRITERS_OWN.items() if major >= SINCE.get(name, 0)}
    connection = await asyncpg.connect(url, server_settings=own)
    try:
        for session_id, times in ((EVEN_ID, TIMES), (ODD_ID, ODD)):
            await connection.execute(INSERT_SESSION, session_id, "in_progress")
            for at in times:
                event_id = str(uuid5(UUID(session_id), at))
                await connection.execute(INSERT_EVENT, event_id, session_id, "step_failed", DATA, MESSAGE, at)
            await connection.execute("UPDATE sessions SET status = 'paused' WHERE id = $1::uuid", session_id)
    finally:
        connection.terminate()


async def _answers(stage: Bench, role: Role) -> dict[str, bytes]:
    """What every source says of them; Redis and Postgres must agree."""
    async with stage.projector() as telemetry, api(api_config(role.url, stage.config.redis_url)) as client:
        await stage.caught_up()
        await _write(role.url, stage.writer.connection.get_server_version().major)
        whole, answers = Whole(stage, client), {}
        await stage.hot(EVEN_ID)
        await stage.same(EVEN_ID)
        for query in QUERIES:
            for session_id in (EVEN_ID, ODD_ID):
                answer = await whole.poll(session_id, query, readside_max_staleness="0")
                assert answer.status_code == 200, answer.text
                answers[session_id + query] = answer.content
            memory = await whole.served(EVEN_ID, "memory", query)
            assert memory.content == answers[EVEN_ID + query]
        assert telemetry.connections == 1
    return answers


async def _of(server: EmbeddedPostgres, redis_url: str, combination: Combination) -> dict[str, bytes]:
    """What is answered under these settings; the test's own connections were opened before they were set."""
    async with (
        owned_database(server) as role,
        bench(role.url, redis_url, installed=False) as stage,
        connected(server.url(urlsplit(role.url).path[1:])) as superuser,
    ):
        await stage.view.redis.flushall()  # it may hold the view of the database before
        await _set(superuser, role, combination)
        connection = await connect(role.url, application_name="test", owners_path=True)
        try:
            assert await install(connection, warn=pytest.fail)
            assert await inspect(connection) is None
        finally:
            connection.terminate()
        return await _answers(stage, role)


def _effective(combination: Combination) -> set[tuple[str, str]]:
    """What a connection of the role begins with."""
    return {*{**combination["database"], **combination["role"], **combination["both"]}.items()}


def _combinations(count: int) -> Sequence[Combination]:
    """Draw combinations, and add what none of them has: each value is effective in one at least."""
    combinations = drawn(COMBINATION, count)
    tried = set().union(*map(_effective, combinations))
    left = [(name, value) for name, values in VALUES.items() for value in values if (name, value) not in tried]
    for place, (name, value) in enumerate(left):
        turns = (combinations[(place + turn) % count] for turn in range(count))
        next(one for one in turns if name not in {**one["database"], **one["role"], **one["both"]})["both"][name] = (
            value
        )
    return combinations


TOGETHER = 2
"""Combinations of one test."""
COMBINATIONS = _combinations(10)


def test_each_value_is_in_a_combination() -> None:
    """What is added to the lists is tried together with others."""
    values = {(name, value) for name, values in VALUES.items() for value in values}

    assert set().union(*map(_effective, COMBINATIONS)) == values


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain(postgres_server: EmbeddedPostgres, lasting_redis_url: str) -> dict[str, bytes]:
    """What is answered under no settings."""
    await postgres_server.start()  # a test may have stopped it
    return await _of(postgres_server, lasting_redis_url, {})


@pytest.mark.parametrize("first", range(0, len(COMBINATIONS), TOGETHER))
async def test_any_combination_gives_the_same_bytes(
    postgres_server: EmbeddedPostgres, redis_url: str, plain: dict[str, bytes], first: int
) -> None:
    """Installed, written, projected and polled under it, by one role that owns the tables."""
    for combination in COMBINATIONS[first : first + TOGETHER]:
        assert await _of(postgres_server, redis_url, combination) == plain, combination
