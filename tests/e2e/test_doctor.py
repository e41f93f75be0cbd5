"""`readside doctor` as people run it: all is well, then one thing is not, and it says which and what to do."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from projector.tail.triggers import install
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.commanding import Ended, Site
from tests.support.redis_users import restricted
from tests.support.servers import connected, fresh_database

KEY = secrets.token_hex(12)
PREFIX = "examined"


@dataclass
class Patient:
    """A service that is well: its settings, and what rules over both stores."""

    site: Site
    owner_url: str
    redis_url: str
    role: str

    async def look(self, **changes: str | None) -> "Look":
        """Run the doctor with these settings."""
        return Look.of(await self.site.with_settings(**changes).run("doctor", "--json"))

    async def sql(self, statement: str) -> None:
        """Run a statement as the owner."""
        async with connected(self.owner_url) as connection:
            await connection.execute(statement)

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Any]:
        """A connection that may everything."""
        async with Redis.from_url(self.redis_url) as redis:
            yield redis


@dataclass
class Look:
    """What the doctor said."""

    code: int
    findings: list[dict[str, str]]

    @classmethod
    def of(cls, ended: Ended) -> "Look":
        """Read its JSON."""
        assert ended.err == "", ended
        return cls(ended.code, orjson.loads(ended.out))

    def of_check(self, check: str, state: str) -> str:
        """All that was said of one check in this state."""
        said = [each for each in self.findings if (each["check"], each["state"]) == (check, state)]
        return "\n".join(f"{each['detail']} {each['do'] or ''}".strip() for each in said)

    def not_ok(self) -> list[dict[str, str]]:
        """What is not well."""
        return [each for each in self.findings if each["state"] != "ok"]


@pytest.fixture(scope="module")
async def role_of_module() -> str:
    """A role's name, and its password."""
    return f"reader_{secrets.token_hex(4)}"


@pytest.fixture
async def patient(postgres_server: EmbeddedPostgres, redis_of_module: str) -> AsyncIterator[Patient]:
    """All is well: a role that may only read, a user of Redis with its list, a bound of memory, a living projector."""
    role, password = f"reader_{secrets.token_hex(4)}", secrets.token_hex(8)
    async with fresh_database(postgres_server) as owner_url, Redis.from_url(redis_of_module) as redis:
        await redis.flushall()
        await redis.config_set("maxmemory", "100mb")
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        async with connected(owner_url) as owner:
            await owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
            await install(owner, warn=pytest.fail, role=role)
        database_url = f"postgresql://{role}:{password}@{owner_url.rpartition('@')[2]}"
        redis_url = await restricted(redis_of_module, "projector", PREFIX)
        settings = {"REDIS_PREFIX": PREFIX, "API_KEYS": f"console:{KEY}:read+ops,page:{KEY}2", "MAX_CONNECTIONS": "100"}
        site = Site.of(database_url, redis_url, **settings)
        try:
            async with site.projector() as projector:
                await projector.says("live")
                await site.becomes("live")
                yield Patient(site, owner_url, redis_of_module, role)
        finally:
            await redis.config_set("maxmemory", "0")
            await redis.config_set("maxmemory-policy", "noeviction")
            async with connected(owner_url) as owner:
                await owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_all_is_well(patient: Patient) -> None:
    """Exit code 0, and each line is ok."""
    seen = await patient.look()

    assert seen.not_ok() == []
    assert seen.code == 0
    assert [each["check"] for each in seen.findings] == [
        "settings", "API keys", "open files", "memory",
        "database", "database TLS", "tables", "rights", "triggers", "letters", "connections", "doorbell",
        "database clock", "listener", "listener TLS",
        "Redis", "Redis TLS", "Redis rights", "Redis memory", "Redis clock", "view", "lead",
    ]  # fmt: skip


async def test_each_thing_is_one_line(patient: Patient) -> None:
    """Aligned, without colours where nobody looks at a terminal; no secret among them."""
    ended = await patient.site.run("doctor")
    lines = ended.out.splitlines()

    assert ended.code == 0
    assert all(line[16:].startswith("ok       ") for line in lines), ended.out
    assert "\x1b" not in ended.out
    assert not any(secret in ended.out for secret in (KEY, *passwords(patient.site)))


def passwords(site: Site) -> list[str]:
    """What the URLs hold."""
    return [site.settings[name].split("@")[0].rpartition(":")[2] for name in ("DATABASE_URL", "REDIS_URL")]
