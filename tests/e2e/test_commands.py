"""Every command as people run it, on a view that is live: what it prints, and its exit code."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
import pytest
from redis.asyncio import Redis

from readmodel.view.keys import Keys
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.commanding import Ended, Site, execute
from tests.support.projecting import Writer
from tests.support.servers import connected, fresh_database
from tests.support.waiting import STEP_SECONDS, eventually

COMMANDS = [
    *("install", "uninstall", "projector", "api", "demo", "status", "doctor", "explain", "warm", "rebuild", "verify"),
    "token",
]
NOWHERE = Site({})
_REPLACE = "if redis.call('DEL', KEYS[1]) == 1 then redis.call('ZADD', KEYS[1], 1, ARGV[1]) end"


@pytest.fixture
async def site(postgres_server: EmbeddedPostgres, redis_of_module: str) -> AsyncIterator[Site]:
    """A fresh database and a prefix of its own; nothing installed, nothing running."""
    async with fresh_database(postgres_server) as url:
        yield Site.of(url, redis_of_module)


@asynccontextmanager
async def live(site: Site) -> AsyncIterator[Writer]:
    """Triggers and a projector; gives a writer."""
    await site.install()
    async with site.projector() as projector, connected(site.database_url) as connection:
        await projector.says("live")
        await site.becomes("live")  # it reports a moment later
        yield Writer(connection)


STATISTICS = ["relpages", "reltuples", "relallvisible", "relallfrozen", "relfrozenxid", "relminmxid", "relhasindex"]
"""What autovacuum writes into pg_class on its own."""


async def catalog(url: str) -> list[object]:
    """Everything that an installation could leave in a database."""
    async with connected(url) as connection:
        return [
            await connection.fetch(f"SELECT to_jsonb(t) - $1::text[] AS said FROM {table} t ORDER BY oid", STATISTICS)
            for table in ("pg_namespace", "pg_proc", "pg_trigger", "pg_class", "pg_type", "pg_event_trigger")
        ]


async def names_of(url: str) -> list[object]:
    """The names of the same, without what Postgres itself writes into their rows."""
    async with connected(url) as connection:
        return [
            await connection.fetch(f"SELECT oid, {name} FROM {table} ORDER BY oid")
            for table, name in (
                ("pg_namespace", "nspname"),
                ("pg_proc", "proname"),
                ("pg_trigger", "tgname"),
                ("pg_class", "relname"),
                ("pg_type", "typname"),
            )
        ]


async def test_help_and_version_of_everything() -> None:
    """Worth reading, exit code 0, no setting needed."""
    commands: list[list[str]] = [[], *([name] for name in COMMANDS)]
    helps = await asyncio.gather(*(NOWHERE.run(*command, "--help") for command in commands))
    versions = await asyncio.gather(*(NOWHERE.run(*command, "--version") for command in commands))

    for command, ended in zip(commands, helps, strict=True):
        assert (ended.code, ended.err) == (0, ""), command
        assert " ".join(["Usage: readside", *command]) in ended.out
        assert len(ended.out) > 300
    assert all(f" {name} " in helps[0].out for name in COMMANDS)
    assert {(ended.code, ended.err) for ended in versions} == {(0, "")}
    assert {bool(re.fullmatch(r"readside \d+\.\d+\.\d+\n", ended.out)) for ended in versions} == {True}


async def test_what_cannot_be_typed() -> None:
    """Exit code 2, told on stderr; nothing is done."""
    wrong = [
        ["nope"],
        ["warm"],
        ["status", "--jsno"],
        ["api", "--port", "0"],
        ["api", "--workers", "x"],
        ["install", "x"],
    ]
    for arguments, ended in zip(
        wrong, await asyncio.gather(*(NOWHERE.run(*arguments) for arguments in wrong)), strict=True
    ):
        assert (ended.code, ended.out) == (2, ""), arguments
        assert "Usage: readside" in ended.err
        assert "Error" in ended.err


async def test_install_twice_and_uninstall(site: Site) -> None:
    """The second time changes nothing, not even a row of the catalog; uninstalling leaves no trace."""
    before = await names_of(site.database_url)
    dry = await site.with_settings(DATABASE_URL=None, REDIS_URL=None).run("install", "--dry-run")
    assert (dry.code, dry.err) == (0, "")
    assert 'CREATE SCHEMA "readside"' in dry.out
    assert dry.out.rstrip().endswith("COMMIT;")
    assert await names_of(site.database_url) == before

    first = await site.run("install")
    installed = await catalog(site.database_url)
    second = await site.run("install")
    assert (first.code, first.out, first.err) == (0, "Installed the triggers.\n", "")
    assert (second.code, second.out) == (0, "The triggers are installed already; nothing was changed.\n")
    assert await catalog(site.database_url) == installed

    assert await site.run("uninstall") == (0, "Removed the triggers and the schema readside.\n", "")
    assert await site.run("uninstall") == (0, "There was nothing to remove.\n", "")
    assert await names_of(site.database_url) == before


async def test_what_dry_run_prints_can_be_run(site: Site) -> None:
    """An administrator may run it in our place: `install` finds nothing to do."""
    await execute(site.database_url, (await NOWHERE.run("install", "--dry-run")).out)

    assert (await site.run("install")).out == "The triggers are installed already; nothing was changed.\n"


async def test_status_for_people_and_for_machines(site: Site) -> None:
    """A line each; the same as JSON."""
    async with live(site) as writer:
        await writer.session()

        async def is_hot() -> bool:
            return bool((await site.status())["hot_sessions"] == 1)

        await eventually(is_hot, "the session is hot")
        told, projection = await site.run("status"), await site.status()

        assert (told.code, told.err) == (0, "")
        rows = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in told.out.splitlines())
        assert (rows["projection"], rows["hot sessions"], rows["set aside"]) == ("live", "1", "0")
        assert re.fullmatch(r"\d+ ms", rows["lag"])
        assert "pid" in rows["leader"]
        assert (projection["status"], projection["reason"]) == ("live", None)
        assert 0 <= projection["lag_ms"] < 60_000
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", projection["as_of"])
        assert projection["leader"]["role"] == "leader"
        assert projection["standbys"] == []
        assert projection["database"].count("/") == 1


async def test_warm_and_rebuild(site: Site) -> None:
    """What they print where no terminal is: progress on stderr, the outcome on stdout."""
    async with live(site) as writer:
        session_id, unknown = await writer.session("completed"), str(uuid4())
        await writer.events(session_id, 5)
        warmed = await site.run("warm", session_id)
        missing, rebuilt, everything = await asyncio.gather(
            site.run("warm", unknown, session_id), site.run("rebuild"), site.run("rebuild", "--all")
        )

    assert warmed == (0, "1 of 1 sessions are hot.\n", "Warming: 1 of 1 sessions\n")
    assert (missing.code, missing.out) == (1, "1 of 2 sessions are hot.\n")
    assert missing.err.splitlines()[-1] == f"1 do not exist in Postgres: {unknown}"
    assert (rebuilt.code, rebuilt.out) == (0, "1 of 1 sessions are hot.\n")
    assert rebuilt.err.splitlines()[-1] == "Rebuilding: 1 of 1 sessions"
    assert (everything.code, everything.out) == (0, "1 of 1 sessions are hot.\n")


@asynccontextmanager
async def damaged_again_and_again(site: Site, session_id: str) -> AsyncIterator[None]:
    """Replace a session's events by what is none, however often the projector finds it and loads the session anew."""
    key, member = Keys(site.settings["REDIS_PREFIX"]).events(session_id), f'{{"id":"{uuid4()}"}}'

    async def damage() -> None:
        async with Redis.from_url(site.settings["REDIS_URL"]) as client:
            redis: Any = client
            while True:
                await redis.eval(_REPLACE, 1, key, member)
                await asyncio.sleep(STEP_SECONDS)

    damaging = asyncio.create_task(damage())
    try:
        yield
    finally:
        damaging.cancel()
        await asyncio.gather(damaging, return_exceptions=True)


async def test_verify_finds_and_repairs(site: Site) -> None:
    """Exit code 0 when all is the same, 1 on any difference, repaired or not; then 0."""
    async with live(site) as writer:
        session_id, unknown = await writer.session(), str(uuid4())
        lost = await writer.event(session_id)
        assert (await site.run("warm", session_id)).code == 0
        same, cold = await asyncio.gather(site.run("verify"), site.run("verify", unknown, "--json"))
        async with damaged_again_and_again(site, session_id):
            told, as_json = await asyncio.gather(site.run("verify"), site.run("verify", "--json"))
            repaired = await site.run("verify", "--repair")
        ends: list[Ended] = []

        async def mended() -> bool:
            ends.append(await site.run("verify"))
            return ends[-1].out == "1 sessions compared, 0 different, 0 not hot.\n"

        await eventually(mended, "all is the same again")
        again = ends[-1]

    assert same == (0, "1 sessions compared, 0 different, 0 not hot.\n", "Comparing: 1 of 1 sessions\n")
    assert (cold.code, cold.err) == (0, "")
    assert orjson.loads(cold.out) == {"compared": 0, "cold": 1, "different": [], "repaired": {}, "not_compared": {}}
    assert (told.code, told.out) == (1, "1 sessions compared, 1 different, 0 not hot.\n")
    assert f"{session_id}: 1 events missing ({lost})" in told.err
    (difference,) = orjson.loads(as_json.out)["different"]
    assert (as_json.code, as_json.err) == (1, "")
    assert (difference["session_id"], difference["missing"]) == (session_id, [lost])
    assert (repaired.code, repaired.out.splitlines()[-1]) == (1, "1 repaired.")
    assert (again.code, again.out) == (0, "1 sessions compared, 0 different, 0 not hot.\n")


async def test_nobody_leads(site: Site) -> None:
    """Exit code 2 and one line, after five seconds; verify with nothing hot has nothing to do."""
    warmed, rebuilt, verified = await asyncio.gather(
        site.run("warm", str(uuid4())), site.run("rebuild"), site.run("verify")
    )

    for ended in (warmed, rebuilt):
        assert ended.refusal() == "No leading projector answered within 5 s; see `readside status`."
    assert verified == (0, "0 sessions compared, 0 different, 0 not hot.\n", "")
    assert (await site.status())["reason"] == "No projector leads: none has reported in the last five seconds."


async def test_names_and_all_together(site: Site) -> None:
    """Refused before anybody is asked."""
    both, no_id = await asyncio.gather(site.run("rebuild", "--all", str(uuid4())), site.run("verify", "not-an-id"))

    assert both.refusal() == "Name sessions, or give --all, not both."
    assert no_id.refusal().startswith("The session id 'not-an-id' is not a UUID such as ")


async def test_a_writer_that_may_only_insert(site: Site) -> None:
    """Its role holds nothing but INSERT; what it writes arrives, and is the same in both stores."""
    role = f"writer_{uuid4().hex[:8]}"
    async with live(site) as owner:
        await owner.connection.execute(f"CREATE ROLE {role}; GRANT INSERT ON sessions, events TO {role}")
        try:
            async with connected(site.database_url) as connection:
                await connection.execute(f"SET ROLE {role}")
                writer = Writer(connection)
                session_id = await writer.session()
                for _ in range(3):
                    await writer.event(session_id)
                await writer.events(session_id, 1200)
            assert (await site.run("warm", session_id)).code == 0
            verified = await site.run("verify", session_id)
        finally:
            await owner.connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert verified.out == "1 sessions compared, 0 different, 0 not hot.\n"
