"""The two access lists that suffice: all works under them, each command in them is needed, nothing else is let."""

import re
import shlex
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from readmodel.view.rights import API, PROJECTOR, Program, base, rules
from tests.support.builders import api, api_config, events_path, stream_path
from tests.support.commanding import Site
from tests.support.projecting import Bench, bench
from tests.support.redis_users import refusals, restricted
from tests.support.signing import SESSION
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


PREFIX = "readside"
OURS = base(PREFIX)
PAGE = (Path(__file__).parents[2] / "specs" / "operate" / "redis.md").read_text()
FOREIGN: dict[Program, list[tuple[str, ...]]] = {
    "projector": [
        ("GET", f"{OURS}x"), ("SET", f"{OURS}x", "1"), ("KEYS", "*"), ("SCAN", "0"), ("FLUSHALL",), ("FLUSHDB",),
        ("CONFIG", "GET", "*"), ("CONFIG", "SET", "maxmemory", "1"), ("ACL", "LIST"), ("ACL", "WHOAMI"),
        ("CLIENT", "LIST"), ("CLIENT", "KILL", "ID", "1"), ("MONITOR",), ("SHUTDOWN",), ("SAVE",),
        ("REPLICAOF", "h", "1"),
        ("EVAL", "return 1", "0"), ("SCRIPT", "FLUSH"), ("FUNCTION", "LIST"),
        ("MIGRATE", "h", "1", "k", "0", "1"),
        ("HGET", "others:key", "f"), ("ZADD", "others:key", "1", "m"), ("DEL", "others:key"),
        ("RENAME", f"{OURS}hot", "others:key"), ("SUBSCRIBE", "others"), ("PSUBSCRIBE", "*"),
        ("PUBLISH", "others", "m"),
        ("SWAPDB", "0", "1"), ("MODULE", "LIST"), ("OBJECT", "ENCODING", f"{OURS}hot"), ("DUMP", f"{OURS}hot"),
    ],
    "api": [
        ("HSET", f"{OURS}position", "term", "x"), ("HDEL", f"{OURS}projectors", "x"), ("ZADD", f"{OURS}hot", "1", "m"),
        ("DEL", f"{OURS}position"), ("UNLINK", f"{OURS}position"), ("EXPIRE", f"{OURS}position", "1"),
        ("HSET", f"{OURS}s:{SESSION}", "status", "x"), ("PUBLISH", f"{OURS}changes:0", "m"),
        ("PUBLISH", f"{OURS}replies:0:x", "m"), ("SUBSCRIBE", f"{OURS}requests:0"),
        ("RENAME", f"{OURS}hot", f"{OURS}x"),
        ("HGETALL", "others:key"), ("HSET", "others:apis", "a", "b"), ("EVAL", "return 1", "0"), ("FLUSHALL",),
        ("CONFIG", "GET", "*"), ("KEYS", "*"), ("CLIENT", "LIST"), ("MONITOR",),
    ],
}  # fmt: skip
WRITE_BY_SCRIPT = "return redis.call('HSET', KEYS[1], 'term', 'x')"


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, and readers who may everything; the projector's URL is that of its restricted user.

    In another database than the first, which is selected by a command.
    """
    elsewhere = second(redis_url)
    async with bench(database_url, elsewhere, drift_round_seconds=0.02) as made:
        made.config = replace(made.config, redis_url=await restricted(elsewhere, "projector"), hot_ttl_seconds=2.0)
        yield made


def second(redis_url: str) -> str:
    """The same server's database 1."""
    return redis_url.rpartition("/")[0] + "/1"


async def work(stage: Bench, redis_url: str) -> None:
    """Do all that readside does in Redis: load, follow, poll, warm, purge, lose keys, check, rebuild, and be silent."""
    api_url = await restricted(second(redis_url), "api")
    config = api_config(stage.config.database_url, api_url)
    site = site_of(stage)
    async with stage.projector(), api(config, way="doorway") as client:
        session_id, purged = await stage.writer.session(), await stage.writer.session()
        for sid in (session_id, purged):
            await stage.writer.events(sid, 3)
            await stage.hot(sid)
        await followed(stage, client, session_id)
        event_id = await stage.writer.event(session_id, event_type="workflow_started")
        await stage.caught_up()
        await polled(
            client, session_id, "?event_type=workflow_started", "?since=2020-01-01T00:00:00Z", "?page=2&per_page=2"
        )
        await stage.writer.connection.execute("UPDATE sessions SET status = 'failed' WHERE id = $1::uuid", session_id)
        await stage.writer.delete_session(purged)
        await stage.caught_up()
        for key in (stage.view.keys.events(session_id), stage.view.keys.index(session_id)):
            await stage.view.redis.delete(key)
            await client.get(events_path(session_id))
            await stage.hot(session_id)
        assert (await client.post(f"/api/v2/sessions/{session_id}/warm")).status_code == 202
        assert (await client.get("/api/v2/projection")).json()["status"] == "live"
        assert (await client.get("/api/v2/projection/sessions")).json()["total"] == 1
        await stage.hot(session_id)
        for command in (["status"], ["explain", session_id, event_id], ["warm", session_id], ["rebuild"], ["verify"]):
            ended = await site.run(*command)
            assert ended.code == 0, ended
        await stage.writer.connection.execute("UPDATE events SET message = 'm' WHERE id = $1::uuid", event_id)
        await eventually(lambda: gone(stage, session_id), "the idle session leaves")
        await eventually(lambda: has_run(redis_url, "ping"), "a subscription that hears nothing is tried")


def site_of(stage: Bench) -> Site:
    """The commands, under the projector's list."""
    return Site.of(stage.config.database_url, stage.config.redis_url, REDIS_PREFIX=PREFIX)


async def polled(client: httpx.AsyncClient, session_id: str, *queries: str) -> None:
    """Poll so that the view answers each."""
    for query in queries:
        answer = await client.get(events_path(session_id) + query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["readside-source"] in {"redis", "memory"}


async def followed(stage: Bench, client: httpx.AsyncClient, session_id: str) -> None:
    """Read a session's stream where the view's log of arrivals continues it; then it is full, and its oldest goes."""
    end = await client.get(stream_path(session_id), params={"offset": "now"})
    await stage.writer.event(session_id)
    await stage.caught_up()
    answers: list[httpx.Response] = []

    async def brings_it() -> bool:
        offset = end.headers["stream-next-offset"]
        answers.append(await client.get(stream_path(session_id), params={"offset": offset}))
        return len(answers[-1].json()) == 1

    await eventually(brings_it, "the stream goes on")
    assert answers[-1].headers["readside-source"] == "redis"
    await stage.view.redis.hset(stage.view.keys.header(session_id), "arrivals", "4000")
    await stage.writer.event(session_id)
    await stage.caught_up()


async def gone(stage: Bench, session_id: str) -> bool:
    """Whether nothing is left of a session."""
    return not await stage.view.redis.exists(stage.view.keys.header(session_id))


async def has_run(redis_url: str, command: str) -> bool:
    """Whether a command has been sent."""
    return command in await commands(redis_url)


async def commands(redis_url: str) -> set[str]:
    """What has been sent: Redis counts each command, those inside scripts too."""
    async with Redis.from_url(redis_url) as redis:
        return {name.removeprefix("cmdstat_") for name in await redis.info("commandstats")}


async def test_everything_works_under_the_two_lists(stage: Bench, redis_url: str) -> None:
    """Polls, warming, rebuilding, purges, losses, the checks and the commands; Redis refuses nothing meanwhile."""
    await work(stage, redis_url)

    assert await refusals(redis_url) == []


async def test_no_command_in_the_lists_goes_unused(stage: Bench, redis_url: str) -> None:
    """Whatever is let is sent; the doctor asks for what it needs itself, and is content."""
    await work(stage, redis_url)
    assert "Redis rights    ok" in (await site_of(stage).run("doctor")).out

    assert set(PROJECTOR) - await commands(redis_url) == set()
    assert set(API) <= set(PROJECTOR)


@pytest.mark.parametrize(
    ("program", "command"),
    [(program, command) for program, commands in FOREIGN.items() for command in commands],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
async def test_what_is_not_in_the_list_is_refused(redis_url: str, program: Program, command: tuple[str, ...]) -> None:
    """Keys and channels of others, the server, other clients; and for the API whatever changes the view."""
    redis: Any
    async with Redis.from_url(await restricted(redis_url, program)) as redis:
        with pytest.raises(NoPermissionError):
            await redis.execute_command(*command)


async def test_the_api_cannot_change_the_view_by_a_script(redis_url: str) -> None:
    """It may load and run scripts: what they send is held against the same list."""
    async with Redis.from_url(await restricted(redis_url, "api")) as redis:
        sha = await redis.script_load(WRITE_BY_SCRIPT)
        with pytest.raises(Exception, match=r"ACL failure in script|can't access at least one of the keys"):
            await redis.evalsha(sha, 1, f"{OURS}position")


async def test_a_list_for_one_slice_does_not_do_for_several(stage: Bench, redis_url: str) -> None:
    """The doctor says so, though the first of the slices is within reach."""
    site = site_of(stage).with_settings(REDIS_URL=await restricted(redis_url, "projector"), SLICES="8")

    assert "Redis rights    problem" in (await site.run("doctor")).out


async def test_a_right_that_is_taken_away_is_named(stage: Bench, redis_url: str) -> None:
    """The projector says which command Redis refuses."""
    stage.config = replace(stage.config, redis_url=await restricted(second(redis_url), "projector", without="evalsha"))
    async with stage.projector() as telemetry:
        await stage.writer.events(await stage.writer.session(), 1)

        await eventually(lambda: "evalsha" in str(telemetry.reason), "the projector names the command")


@pytest.mark.parametrize("program", ["projector", "api"])
async def test_another_prefix_is_out_of_reach(redis_url: str, program: Program) -> None:
    """Two deployments in one Redis, each with users of its own."""
    async with Redis.from_url(await restricted(redis_url, program, prefix="staging")) as redis:
        with pytest.raises(NoPermissionError):
            await redis.hgetall(f"{OURS}position")
        assert await redis.hgetall(f"{base('staging')}position") == {}


def words_of(command: str) -> tuple[str, ...]:
    """The words of a command as a shell takes them: a bar that is not quoted would be a pipe, and a word of its own."""
    words = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars="|&;()<>")
    words.whitespace_split = True
    return tuple(words)


@pytest.mark.parametrize("program", ["projector", "api"])
def test_the_readme_has_these_rules(program: Program) -> None:
    """As a shell takes them."""
    command = re.search(rf"ACL SETUSER readside-{program} on '>PASSWORD'((?:.*\\\n)*.*)\n", PAGE)
    assert command

    assert words_of(command[1]) == rules(program, PREFIX)


@pytest.mark.parametrize("program", ["projector", "api"])
def test_the_readme_has_the_rules_for_a_cluster(program: Program) -> None:
    """After those for one server; and so has the file."""
    commands = re.findall(rf"ACL SETUSER readside-{program} on '>PASSWORD'((?:.*\\\n)*.*)\n", PAGE)
    file = (Path(__file__).parents[2] / "deploy/development/redis-cluster-users.acl").read_text()
    expected = rules(program, PREFIX, slices=32, clustered=True)

    assert words_of(commands[1]) == expected
    assert f" {' '.join(expected)}\n" in file


def test_each_rule_is_one_word() -> None:
    """As `ACL SETUSER` and a file of users take them; a selector stands in brackets."""
    programs: list[Program] = ["projector", "api"]
    for program in programs:
        words = rules(program, PREFIX)

        assert all(" " not in word or word[0] + word[-1] == "()" for word in words)
