"""The stores as docker-compose.yml sets them up: its roles and its users of Redis suffice, and may do no more."""

import re
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from readmodel.view.rights import Program, rules
from tests.support.commanding import Site
from tests.support.servers import connected, embedded_postgres, embedded_redis, server_directory

DEVELOPMENT = Path(__file__).parents[2] / "deploy" / "development"
USERS = (DEVELOPMENT / "redis-users.acl").read_text()


def url(name: str, port: int) -> str:
    """A URL of the development's files, at a server of our own."""
    given = (DEVELOPMENT / name).read_text().strip()
    parts = urlsplit(given)
    return given.replace(f"@{parts.hostname}:{parts.port}/", f"@127.0.0.1:{port}/")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Both servers, with tables, roles and users, and the settings of the projector's container."""
    with server_directory() as directory, server_directory() as elsewhere:
        acl = elsewhere / "users.acl"
        acl.write_text(USERS)
        postgres = embedded_postgres(directory)
        redis = embedded_redis(
            elsewhere, "--aclfile", str(acl), "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"
        )
        async with redis:
            await postgres.start()
            try:
                async with connected(postgres.url()) as connection:
                    await connection.execute("CREATE DATABASE sessions")
                async with connected(postgres.url("sessions")) as connection:
                    await connection.execute(files("readside.demo").joinpath("schema.sql").read_text())
                    await connection.execute((DEVELOPMENT / "roles.sql").read_text())
                yield Site(
                    {
                        "DATABASE_URL": url("reader-url", postgres.port),
                        "REDIS_URL": url("redis-url-projector", redis.port),
                        "API_KEYS_FILE": str(DEVELOPMENT / "api-keys.json"),
                        "MAX_CONNECTIONS": "100",
                        "LOG_FORMAT": "json",
                    }
                )
            finally:
                await postgres.stop()


async def test_the_doctor_is_content(site: Site) -> None:
    """Under the projector's user and the API's; but for the key's file, which everybody may read as it is published."""
    port = urlsplit(site.settings["DATABASE_URL"]).port or 0
    owner = site.with_settings(DATABASE_URL=url("owner-url", port))
    assert (await owner.run("install", "--role", "readside")).code == 0
    async with site.projector() as projector:
        await projector.says("live")
        await site.becomes("live", REDIS_PREFIX="readside")
        for name in ("redis-url-projector", "redis-url-api"):
            redis_url = url(name, urlsplit(site.settings["REDIS_URL"]).port or 0)
            ended = await site.with_settings(REDIS_URL=redis_url).run("doctor", "--json")
            findings = orjson.loads(ended.out)

            assert [each for each in findings if each["state"] != "ok" and each["check"] != "secret files"] == []


async def test_the_reader_may_write_nothing(site: Site) -> None:
    """And a stranger may not even connect."""
    async with connected(site.settings["DATABASE_URL"]) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM events")
        public = await connection.fetchval("SELECT has_database_privilege('public', 'sessions', 'CONNECT')")

    assert public is False


async def test_without_a_password_one_may_only_ping(site: Site) -> None:
    """As the health check does."""
    port = urlsplit(site.settings["REDIS_URL"]).port
    async with Redis.from_url(f"redis://127.0.0.1:{port}/0", protocol=2) as redis:
        assert await redis.ping()
        with pytest.raises(NoPermissionError):
            await redis.get("x")


@pytest.mark.parametrize("program", ["projector", "api"])
def test_the_file_of_users_has_the_lists_that_suffice(program: Program) -> None:
    """To the letter, for the default prefix."""
    [line] = re.findall(rf"^user readside-{program} on >\S+ (.*)$", USERS, re.MULTILINE)

    assert line == " ".join(rules(program, "readside"))
