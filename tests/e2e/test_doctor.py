"""`readside doctor` as people run it: all is well, then one thing is not, and it says which and what to do."""

import asyncio
import os
import pty
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from projector.tail.connection import lock_key
from projector.tail.triggers import install
from readmodel.redis.client import connect, target
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support import fork_server
from tests.support.commanding import Ended, Site
from tests.support.pgbouncers import pgbouncer
from tests.support.proxy import proxied
from tests.support.redis_users import restricted
from tests.support.servers import connected, fresh_database
from tests.support.signing import key_set, p256, shared

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


@dataclass(frozen=True)
class Database:
    """One with everything of ours, its owner's URL, and a role that may only read."""

    owner_url: str
    role: str
    password: str


@asynccontextmanager
async def database(server: EmbeddedPostgres, template: str) -> AsyncIterator[Database]:
    """A fresh one."""
    role, password = f"reader_{secrets.token_hex(4)}", secrets.token_hex(8)
    await server.start()  # a test may have stopped it
    async with fresh_database(server, template) as owner_url, connected(owner_url) as owner:
        await owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        await install(owner, warn=pytest.fail, role=role)
        try:
            yield Database(owner_url, role, password)
        finally:
            await owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@asynccontextmanager
async def patient_of(at: Database, redis_url: str) -> AsyncIterator[Patient]:
    """All is as it should be, but that no projector runs: a user of Redis with its list too."""
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
        await redis.config_set("maxmemory", "100mb")
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        database_url = f"postgresql://{at.role}:{at.password}@{at.owner_url.rpartition('@')[2]}"
        user_url = await restricted(redis_url, "projector", PREFIX)
        settings = {"REDIS_PREFIX": PREFIX, "API_KEYS": f"console:{KEY}:read+ops,page:{KEY}2", "MAX_CONNECTIONS": "100"}
        try:
            yield Patient(Site.of(database_url, user_url, **settings), at.owner_url, redis_url, at.role)
        finally:
            await redis.config_set("maxmemory", "0")
            await redis.config_set("maxmemory-policy", "noeviction")
            await redis.replicaof("NO", "ONE")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database_of_module(postgres_server: EmbeddedPostgres, installed_once: str) -> AsyncIterator[Database]:
    """One that no test changes."""
    async with database(postgres_server, installed_once) as made:
        yield made


@pytest.fixture
async def patient(database_of_module: Database, redis_of_module: str) -> AsyncIterator[Patient]:
    """All is well; the test leaves the database as it is."""
    async with patient_of(database_of_module, redis_of_module) as made:
        yield made


@pytest.fixture
async def patient_alone(
    postgres_server: EmbeddedPostgres, installed_once: str, redis_of_module: str
) -> AsyncIterator[Patient]:
    """The same with a database of the test's own."""
    async with database(postgres_server, installed_once) as own, patient_of(own, redis_of_module) as made:
        yield made


@asynccontextmanager
async def living(patient: Patient) -> AsyncIterator[None]:
    """A projector that leads."""
    async with patient.site.projector() as projector:
        await projector.says("live")
        await patient.site.becomes("live")
        yield


async def test_all_is_well(patient: Patient) -> None:
    """Exit code 0, and each line is ok: aligned, without colours where nobody looks at a terminal, and no secret."""
    async with living(patient):
        seen, told = await asyncio.gather(patient.look(), patient.site.run("doctor"))

    assert seen.not_ok() == []
    assert seen.code == 0
    assert [each["check"] for each in seen.findings] == [
        "settings", "API keys", "tokens", "open files", "memory",
        "database", "database TLS", "tables", "rights", "triggers", "letters", "connections", "doorbell",
        "database clock", "listener", "listener TLS",
        "Redis", "Redis TLS", "Redis rights", "Redis memory", "Redis clock", "view", "lead",
    ]  # fmt: skip
    assert told.code == 0
    assert all(line[16:].startswith("ok       ") for line in told.out.splitlines()), told.out
    assert "\x1b" not in told.out
    assert not any(secret in told.out for secret in (KEY, *passwords(patient.site)))


async def test_on_a_terminal_the_states_are_in_colours(patient: Patient) -> None:
    """There alone."""
    shown = await on_a_terminal(patient.site, "doctor")

    assert "\x1b[32mok" in shown
    assert "\x1b[1;31mproblem" in shown


async def on_a_terminal(site: Site, *arguments: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {f"READSIDE_{name}": value for name, value in site.settings.items()}
    environment |= {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": "200"}
    process = await fork_server.start(*arguments, environment=environment, stdout=theirs)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux' way to say that nobody holds the other end any more
        while part := await asyncio.to_thread(os.read, ours, 4096):
            shown += part
    os.close(ours)
    await process.communicate()
    return shown.decode()


def passwords(site: Site) -> list[str]:
    """What the URLs hold."""
    return [site.settings[name].split("@")[0].rpartition(":")[2] for name in ("DATABASE_URL", "REDIS_URL")]


Ail = Callable[[Patient], Awaitable[dict[str, str | None]]]
"""Makes something not well; gives the settings to look with."""


def settings(**changes: str | None) -> Ail:
    """Other settings."""

    async def ail(_: Patient) -> dict[str, str | None]:
        return changes

    return ail


def sql(statement: str) -> Ail:
    """A statement of the owner's; {role} is ours."""

    async def ail(patient: Patient) -> dict[str, str | None]:
        await patient.sql(statement.replace("{role}", patient.role))
        return {}

    return ail


def redis_command(*words: str) -> Ail:
    """A command of whoever rules over Redis."""

    async def ail(patient: Patient) -> dict[str, str | None]:
        async with patient.redis() as redis:
            await redis.execute_command(*words)
        return {}

    return ail


async def many_letters(patient: Patient) -> dict[str, str | None]:
    """Letters that nobody empties, beside a low bound."""
    await patient.sql(MANY_LETTERS)
    return {"LETTERS_MAX_MB": "1"}


async def as_owner(patient: Patient) -> dict[str, str | None]:
    """The role that owns the tables, a superuser."""
    return {"DATABASE_URL": patient.owner_url}


async def as_default_user(patient: Patient) -> dict[str, str | None]:
    """The user of Redis that may everything."""
    return {"REDIS_URL": patient.redis_url}


async def without_zadd(patient: Patient) -> dict[str, str | None]:
    """A user of Redis whose list lacks a command that the projector needs, and one that the API needs."""
    url = await restricted(patient.redis_url, "projector", PREFIX, without="zadd")
    async with patient.redis() as redis:
        await redis.execute_command("ACL", "SETUSER", "readside-projector", "-zcount")
    return {"REDIS_URL": url}


async def elsewhere(patient: Patient) -> dict[str, str | None]:
    """A listener's URL that leads to another database."""
    place, _, _ = patient.site.database_url.rpartition("/")
    return {"LISTEN_URL": f"{place}/postgres"}


async def wrong_password(patient: Patient) -> dict[str, str | None]:
    """A password that is none."""
    return {"DATABASE_URL": patient.site.database_url.replace(f"{patient.role}:", f"{patient.role}:x")}


async def nobody_listens(patient: Patient) -> dict[str, str | None]:
    """A port at which there is no Redis."""
    return {"REDIS_URL": "redis://127.0.0.1:1/0"}


async def foreign(patient: Patient) -> dict[str, str | None]:
    """The view of another database under our prefix."""
    async with living(patient), patient.redis() as redis:
        await redis.hset(f"{PREFIX}:{{0}}:position", "database", "another/1")
    return {}


MANY_LETTERS = """
INSERT INTO readside.letters_0 (txid, kind) SELECT pg_current_xact_id(), 'x' FROM generate_series(1, 20000)
"""
Ills = dict[str, tuple[Ail, str, str, str]]
"""What makes it so, the check that tells, its state and some of its words."""
ILLS: Ills = {
    "two settings cannot be read": (
        settings(HEARTBEAT_SECONDS="soon", MAX_HEAD_KB="1"),
        "settings",
        "problem",
        "READSIDE_MAX_HEAD_KB is wrong",
    ),
    "a setting that there is not": (
        settings(REDIS_PREFX="x"),
        "settings",
        "warning",
        "Is READSIDE_REDIS_PREFIX meant?",
    ),
    "beats too far apart": (settings(HEARTBEAT_SECONDS="9"), "settings", "problem", "beats must be less far apart"),
    "a short key": (
        settings(API_KEYS=f"a:{KEY},b:short"),
        "API keys",
        "problem",
        "16",
    ),
    "no key is asked for": (settings(AUTH="none"), "API keys", "warning", "The API asks for no key"),
    "no key is set": (settings(API_KEYS=""), "API keys", "problem", "the API refuses to start"),
    "too few open files": (
        settings(MAX_CONNECTIONS="1000000"),
        "open files",
        "warning",
        "connections of READSIDE_MAX_CONNECTIONS=1000000",
    ),
    "too large a memory": (
        settings(RESPONSE_CACHE_MB="900000"),
        "memory",
        "warning",
        "Lower READSIDE_RESPONSE_CACHE_MB",
    ),
    "a wrong password": (wrong_password, "database", "problem", "refuses us: password authentication failed"),
    "a superuser": (as_owner, "rights", "warning", "Role postgres is a superuser; one that may only read suffices"),
    "a listener elsewhere": (
        elsewhere,
        "listener",
        "problem",
        "READSIDE_LISTEN_URL leads to another server or database",
    ),
    "no Redis": (nobody_listens, "Redis", "problem", "Redis at 127.0.0.1:1/0 does not answer"),
    "a replica": (redis_command("REPLICAOF", "127.0.0.1", "1"), "Redis", "problem", "takes no batches"),
    "a user of Redis that may everything": (as_default_user, "Redis rights", "warning", "Our user may do everything"),
    "a user of Redis that may too little": (without_zadd, "Redis rights", "problem", "may not use zcount"),
    "no bound of memory": (redis_command("CONFIG", "SET", "maxmemory", "0"), "Redis memory", "warning", "no bound"),
    "nothing is evicted": (
        redis_command("CONFIG", "SET", "maxmemory-policy", "noeviction"),
        "Redis memory",
        "warning",
        "go cold",
    ),
    "nobody leads": (settings(), "lead", "problem", "No projector leads"),
}
ILLS_OF_DATABASES: Ills = {
    "the tables are gone": (sql("DROP TABLE events, sessions"), "tables", "problem", "Table sessions was not found"),
    "rows are hidden": (
        sql("ALTER TABLE events ENABLE ROW LEVEL SECURITY"),
        "tables",
        "problem",
        "Row-level security hides rows",
    ),
    "a role that may write": (
        sql("GRANT INSERT, DELETE ON events TO {role}"),
        "rights",
        "warning",
        "may write the tables (DELETE, INSERT)",
    ),
    "a role that may not read": (
        sql("REVOKE SELECT ON events FROM {role}"),
        "rights",
        "problem",
        "GRANT SELECT ON TABLE public.events TO reader_",
    ),
    "a role that may not lead": (
        sql("REVOKE UPDATE ON SEQUENCE readside.presence FROM {role}"),
        "rights",
        "problem",
        "GRANT UPDATE ON SEQUENCE readside.presence TO reader_",
    ),
    "a trigger is disabled": (
        sql("ALTER TABLE events DISABLE TRIGGER ALL"),
        "triggers",
        "problem",
        "run `readside install`",
    ),
    "letters lie about": (many_letters, "letters", "warning", "keeps them from being emptied"),
    "few connections": (
        sql("ALTER ROLE {role} CONNECTION LIMIT 6"),
        "connections",
        "warning",
        "the connection limit of role reader_",
    ),
    "another's view": (foreign, "view", "problem", "of another database"),
}


@pytest.mark.parametrize("ill", ILLS)
async def test_what_is_not_well_is_told_with_what_to_do(patient: Patient, ill: str) -> None:
    """Under its own name, and the exit code is not 0."""
    await is_told(patient, *ILLS[ill])


@pytest.mark.parametrize("ill", ILLS_OF_DATABASES)
async def test_what_is_not_well_in_the_database_is_told_with_what_to_do(patient_alone: Patient, ill: str) -> None:
    """The same."""
    await is_told(patient_alone, *ILLS_OF_DATABASES[ill])


async def is_told(patient: Patient, ail: Ail, check: str, state: str, words: str) -> None:
    """Check that the doctor tells of what ails."""
    seen = await patient.look(**await ail(patient))

    assert words in seen.of_check(check, state), seen.not_ok()
    assert seen.code > 0


async def test_every_wrong_setting_is_named(patient: Patient) -> None:
    """Not the first alone; the stores are looked at all the same."""
    seen = await patient.look(HEARTBEAT_SECONDS="soon", MAX_HEAD_KB="1", DATABASE_URL="mysql://h/d", SCHEMA="No!")
    said = seen.of_check("settings", "problem")

    assert all(name in said for name in ("HEARTBEAT_SECONDS", "MAX_HEAD_KB", "DATABASE_URL", "SCHEMA")), said
    assert seen.of_check("Redis", "ok")


async def test_what_could_not_be_looked_at_is_told(patient: Patient) -> None:
    """A store that is away leaves the rest of its lines unknown: exit code 2; the other store is looked at."""
    seen = await patient.look(DATABASE_URL="postgresql://x@127.0.0.1:1/x", LISTEN_URL=None)

    assert seen.code == 2
    assert seen.of_check("triggers", "unknown") == "Not checked: the database cannot be asked."
    assert seen.of_check("Redis rights", "ok")


async def test_stores_that_hang_are_away(patient: Patient) -> None:
    """They take connections, and never say a word."""
    site = patient.site
    async with proxied(site.database_url) as postgres, proxied(site.settings["REDIS_URL"]) as redis:
        postgres.stall(new=True)
        redis.stall(new=True)
        seen = await patient.look(
            DATABASE_URL=postgres.url(site.database_url), REDIS_URL=redis.url(site.settings["REDIS_URL"])
        )

    assert seen.code == 2
    assert "does not answer" in seen.of_check("database", "problem")
    assert "does not answer" in seen.of_check("Redis", "problem")


async def test_a_secret_that_others_may_read(patient: Patient, tmp_path: Path) -> None:
    """The file is named, with its mode."""
    path = tmp_path / "secret"
    path.write_text(secrets.token_hex(32))
    path.chmod(0o644)

    said = (await patient.look(JWT_SECRET_FILE=str(path))).of_check("secret files", "warning")
    assert said.startswith(f"READSIDE_JWT_SECRET_FILE: every user of this machine may read {path}.")
    path.chmod(0o600)
    assert (await patient.look(JWT_SECRET_FILE=str(path))).of_check("secret files", "ok")
    path.unlink()
    assert "cannot be read" in (await patient.look(JWT_SECRET_FILE=str(path))).of_check("secret files", "problem")


async def test_who_signs_tokens(patient: Patient, tmp_path: Path) -> None:
    """A key set is read as the API would read it: keys that cannot be used are told, and a set that cannot be had."""
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(p256()))
    assert "signed by 1 key of" in (await patient.look(JWT_JWKS=str(path))).of_check("tokens", "ok")
    path.write_bytes(key_set(p256(), shared()))
    assert "Some keys of READSIDE_JWT_JWKS" in (await patient.look(JWT_JWKS=str(path))).of_check("tokens", "warning")
    nowhere = await patient.look(JWT_JWKS="http://127.0.0.1:1/keys?token=of-the-query")

    assert "cannot be fetched" in nowhere.of_check("tokens", "problem")
    assert "of-the-query" not in str(nowhere.findings)


async def test_the_api_s_user_suffices_for_the_api(patient: Patient) -> None:
    """Where the doctor runs beside the API; it says that the projector needs more."""
    seen = await patient.look(REDIS_URL=await restricted(patient.redis_url, "api", PREFIX))

    assert "and not what the projector needs" in seen.of_check("Redis rights", "ok")


async def test_a_pooler_in_the_way_of_the_listener(patient: Patient) -> None:
    """LISTEN does not work through it."""
    async with pgbouncer(patient.owner_url) as url:
        seen = await patient.look(LISTEN_URL=url)

    assert "a pooler in transaction mode is in the way" in seen.of_check("listener", "problem")


async def test_a_pooler_with_a_way_around_it(patient: Patient) -> None:
    """All that is asked of the database can be asked through one."""
    direct = patient.site.database_url
    async with pgbouncer(direct) as url:
        seen = await patient.look(DATABASE_URL=url, LISTEN_URL=direct, STATEMENT_CACHE_SIZE="0")

    assert [each["check"] for each in seen.not_ok()] == ["view", "lead"]  # no projector runs


async def test_a_stranger_in_the_lead(patient: Patient) -> None:
    """Whoever holds the lock is named."""
    redis = connect(patient.site.settings["REDIS_URL"], name="test")
    async with connected(patient.owner_url) as stranger:
        await stranger.execute(f"SELECT pg_advisory_lock({lock_key(PREFIX, target(redis))})")
        pid = await stranger.fetchval("SELECT pg_backend_pid()")
        seen = await patient.look()
    await redis.aclose()

    assert f"SELECT pg_terminate_backend({pid}) ends it" in seen.of_check("lead", "problem")


async def test_it_changes_nothing(patient: Patient) -> None:
    """Neither store holds anything else afterwards, keys, letters and sequences included."""
    before = await contents(patient)
    assert (await patient.look()).code == 1

    assert await contents(patient) == before


async def contents(patient: Patient) -> list[object]:
    """All keys of Redis with what they hold, and all that is in our schema."""
    async with patient.redis() as redis, connected(patient.owner_url) as connection:
        keys = sorted(await redis.keys("*"))
        tables = [await connection.fetch(f"SELECT * FROM readside.letters_{n}") for n in range(3)]
        sequences = await connection.fetch("SELECT * FROM pg_sequences ORDER BY sequencename")
        return [[(key, await redis.dump(key)) for key in keys], tables, sequences, await redis.acl_list()]
