"""What a wrong setting or a server that is away gets: one clear line on stderr, a non-zero exit, nothing half done."""

import asyncio
import json
from uuid import uuid4

import orjson
import pytest

from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.commanding import Site, execute
from tests.support.keys import KEY
from tests.support.servers import fresh_database

AWAY_POSTGRES = "postgresql://app:hunter2@127.0.0.1:1/shop"
AWAY_REDIS = "redis://:hunter2@127.0.0.1:1/3"
AWAY = Site.of(AWAY_POSTGRES, AWAY_REDIS)
SESSION = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
WITH_POSTGRES = [["install"], ["uninstall"]]
WITH_REDIS = [["warm", SESSION], ["rebuild"], ["verify"]]
SERVERS = [["projector"], ["api"]]


@pytest.fixture
async def site(database_url: str, redis_url: str) -> Site:
    """Both servers answer; nothing is installed or running."""
    return Site.of(database_url, redis_url)


async def refusals(site: Site, *commands: list[str]) -> set[str]:
    """Run commands side by side, each of which must be refused; give the lines, free of secrets."""
    ended = await asyncio.gather(*(site.run(*command) for command in commands))
    lines = {one.refusal() for one in ended}
    assert not any("hunter2" in line for line in lines)
    return lines


async def test_an_unset_url() -> None:
    """Named, with what it must be."""
    no_postgres = AWAY.with_settings(DATABASE_URL=None)
    no_redis = AWAY.with_settings(REDIS_URL=None, API_KEYS=f"k:{KEY}")

    assert await refusals(no_postgres, *WITH_POSTGRES, ["projector"]) == {
        "READSIDE_DATABASE_URL is not set; it must be a postgresql:// URL."
    }
    assert await refusals(no_redis, *WITH_REDIS, *SERVERS, ["status"]) == {
        "READSIDE_REDIS_URL is not set; it must be a redis:// URL."
    }


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("DATABASE_URL", "postgresql://app:hunter2/x@h/x", "READSIDE_DATABASE_URL cannot be read: percent-encode "),
        ("DATABASE_URL", "postgresql://app:hunter2@h:99999/x", "READSIDE_DATABASE_URL cannot be read: after "),
        ("WINDOW_MB", "inf", "READSIDE_WINDOW_MB is wrong: "),
        ("LOG_LEVEL", "loud", "READSIDE_LOG_LEVEL is wrong: Input should be 'debug', "),
    ],
)  # fmt: skip
async def test_a_wrong_value(name: str, value: str, line: str) -> None:
    """A server ends as well: waiting would not mend it."""
    (told,) = await refusals(AWAY.with_settings(**{name: value}), ["projector"])

    assert told.startswith(line)


async def test_a_wrong_redis_url() -> None:
    """Another scheme, another path, an option that there is not."""
    for value in ("http://h/0", "redis://:hunter2@h/zero", "redis://h/0?nothing=1"):
        (told,) = await refusals(AWAY.with_settings(REDIS_URL=value), ["projector"])

        assert told.startswith("READSIDE_REDIS_URL ")


async def test_no_key() -> None:
    """The API refuses to start open by mistake."""
    (told,) = await refusals(AWAY, ["api"])

    assert told.startswith("READSIDE_API_KEYS holds no key: ")


async def test_servers_that_are_away() -> None:
    """Commands exit; the place is named."""
    (postgres,) = await refusals(AWAY, *WITH_POSTGRES)
    (redis,) = await refusals(AWAY, *WITH_REDIS, ["status"])

    assert postgres.startswith("PostgreSQL at 127.0.0.1:1/shop does not answer: ")
    assert redis.startswith("Redis at 127.0.0.1:1/3 does not answer: ")


async def test_passwords_in_the_query_of_a_url(site: Site) -> None:
    """No command shows them, whatever goes wrong: servers away, a wrong password, an option that there is not."""
    host, redis_host = (site.settings[name].rpartition("@")[2] for name in ("DATABASE_URL", "REDIS_URL"))
    commands = [*WITH_POSTGRES, *WITH_REDIS, ["status"]]
    queries = ("?user=postgres&password=hunter2%21", "?sslpassword=hunter2%21", "?PASSWORD=hunter2%21&nothing=1")
    for postgres, redis in (("127.0.0.1:1/shop", "127.0.0.1:1/3"), (host, redis_host)):
        for query in queries:
            asked = site.with_settings(
                DATABASE_URL=f"postgresql://{postgres}{query}",
                REDIS_URL=f"redis://{redis}{query.replace('user=', 'username=')}",
                LOG_LEVEL="debug",
            )
            for ended in await asyncio.gather(*(asked.run(*command) for command in commands)):
                assert ended.code == 2
                assert "hunter2" not in ended.out + ended.err


async def test_status_for_machines_without_redis() -> None:
    """The line for people as ever, and beside it JSON that says the same."""
    ended = await AWAY.run("status", "--json")
    told = json.loads(ended.out)

    assert (ended.code, told["status"], told["hot_sessions"]) == (2, "down", None)
    assert told["reason"].startswith("Redis at 127.0.0.1:1/3 does not answer: ")
    assert ended.err == f"readside: {told['reason']}\n"


async def test_wrong_passwords_and_databases(site: Site) -> None:
    """Refused by name."""
    host, redis_host = (site.settings[name].rpartition("@")[2] for name in ("DATABASE_URL", "REDIS_URL"))
    server = host.partition("/")[0]
    password = site.with_settings(DATABASE_URL=f"postgresql://postgres:hunter2@{host}")
    database = site.with_settings(DATABASE_URL=f"{site.database_url}_not_there")
    redis = site.with_settings(REDIS_URL=f"redis://:hunter2@{redis_host}")
    no_password = site.with_settings(REDIS_URL=f"redis://{redis_host}")
    told = [
        await refusals(password, ["install"]),
        await refusals(database, ["install"]),
        await refusals(redis, ["rebuild"]),
        await refusals(no_password, ["rebuild"]),
    ]

    assert told[0] == {f'PostgreSQL at {host} refuses us: password authentication failed for user "postgres".'}
    assert all(f"PostgreSQL at {server}/" in line and "does not exist" in line for line in told[1])
    assert all(line.startswith(f"Redis at {redis_host} refuses us: ") for line in told[2] | told[3])


async def test_tables_that_are_not_there(postgres_server: EmbeddedPostgres, redis_url: str) -> None:
    """Named; nothing is created."""
    async with fresh_database(postgres_server, template="template0") as url:
        site = Site.of(url, redis_url)
        (line,) = await refusals(site, ["install"])
        assert line == "Table sessions was not found in schema public (the search_path of this connection)."
        await execute(url, "CREATE TABLE sessions (id int); CREATE TABLE events (id uuid)")
        (line,) = await refusals(site, ["install"])
        assert line.startswith("Table public.sessions is not as readside needs it: column id is integer")
        assert (await site.run("uninstall")).out == "There was nothing to remove.\n"


async def test_missing_rights(site: Site) -> None:
    """The right is named, and nothing is left behind."""
    role = f"reader_{uuid4().hex[:8]}"
    await execute(
        site.database_url, f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT SELECT ON sessions, events TO {role}"
    )
    host = site.database_url.rpartition("@")[2]
    try:
        (line,) = await refusals(site.with_settings(DATABASE_URL=f"postgresql://{role}:x@{host}"), ["install"])
        assert (await site.run("uninstall")).out == "There was nothing to remove.\n"
    finally:
        await execute(site.database_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")

    assert line.startswith(
        f"To install the triggers, role {role} must own table public.sessions (its owner is postgres)"
    )
    assert "CREATE on database" in line


async def test_a_variable_that_is_no_setting() -> None:
    """It stops nothing, and is named with the one that may be meant; its value is not shown."""
    ended = await AWAY.with_settings(REDIS_PREFX="hunter2", LOG_FORMAT="json").run("status")
    warning = orjson.loads(ended.err.splitlines()[0])

    assert (warning["level"], warning["variable"], warning["meant"]) == (
        "warning",
        "READSIDE_REDIS_PREFX",
        "READSIDE_REDIS_PREFIX",
    )
    assert "hunter2" not in ended.err + ended.out
    assert ended.err.splitlines()[1].startswith("readside: Redis at ")
