"""The access lists for a cluster suffice, and no more; the doctor judges clusters and sentinels rightly."""

from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from projector.core.operations import Add
from readmodel.redis.servers import masters_of, open_servers
from readmodel.view.keys import Keys
from readmodel.view.rights import Program, rules
from readmodel.view.slices import slot_of
from readmodel.view.subscription import heard, publish
from readside.inspection.findings import Finding
from readside.inspection.of_redis import judge_server, of_redis
from readside.settings import Settings
from tests.support.redis_clusters import RedisCluster
from tests.support.redis_users import refusals
from tests.support.sentinels import watched_redis
from tests.support.viewing import Stage, event

KEYS = Keys("readside", 0, "0", 32, sharded=True)
SLOT = slot_of(KEYS.tag)
SESSION = "7b4f3c1e-0000-4000-8000-000000000001"
NOW_US = 1_768_400_000_000_000


async def restricted(cluster: RedisCluster, program: Program) -> str:
    """Make a program's user on every node; give the URL with it."""
    for node in cluster.nodes:
        await node.run("ACL", "SETUSER", f"readside-{program}", "reset", "on", ">secret")
        await node.run("ACL", "SETUSER", f"readside-{program}", *rules(program, "readside", slices=32, clustered=True))
        await node.run("ACL", "LOG", "RESET")
    return cluster.url(login=f"readside-{program}:secret")


async def refused(cluster: RedisCluster) -> list[str]:
    """What any node refused our users."""
    places = [f"redis://:{cluster.password}@{node.place}/0" for node in cluster.nodes]
    return [one for place in places for one in await refusals(place)]


async def test_the_projectors_list_suffices_on_a_cluster(cluster: RedisCluster) -> None:
    """Terms, loads, batches, reads, requests, and the name of the lead's lock."""
    servers = open_servers(await restricted(cluster, "projector"), name="readside-test")
    stage = Stage(servers.client(SLOT), keys=KEYS)
    await stage.begin()
    await stage.put(SESSION, [event(SESSION, NOW_US)], as_of_us=NOW_US)
    await stage.apply(Add(SESSION, (event(SESSION, NOW_US + 1),)), named=[SESSION])
    assert await stage.page(SESSION)
    requests = heard(stage.redis, KEYS.requests)
    async with aclosing(requests):
        assert await anext(requests) is None
    await publish(stage.redis, KEYS, KEYS.replies("1"), b"reply")

    assert await servers.identity()
    assert await refused(cluster) == []
    await servers.aclose()


async def test_the_apis_list_suffices_on_a_cluster_and_no_more(cluster: RedisCluster) -> None:
    """It reads, hears, asks and reports; it changes no view, and reads nobody else's keys."""
    servers = open_servers(await restricted(cluster, "api"), name="readside-test")
    redis: Any = servers.client(SLOT)
    stage = Stage(redis, keys=KEYS)
    await stage.read(SESSION)
    await redis.hset(KEYS.apis, "id", "report")
    await publish(redis, KEYS, KEYS.requests, b"request")
    changes = heard(redis, KEYS.changes)
    async with aclosing(changes):
        assert await anext(changes) is None
    assert len(await masters_of(servers)) == 3
    assert await refused(cluster) == []

    for command in (
        ("HSET", KEYS.position, "term", "x"),
        ("SPUBLISH", KEYS.changes, "x"),
        ("HGET", "others:{0}:x", "field"),
        ("CLUSTER RESET",),
        ("CLUSTER NODES",),
        ("READONLY",),
    ):
        with pytest.raises(NoPermissionError):
            await redis.execute_command(*command)
    await servers.aclose()


async def looked(url: str, slices: int = 1) -> dict[str, Finding]:
    """What the doctor finds at Redis, by its name."""
    return {one.check: one for one in (await of_redis(Settings(redis_url=url, slices=slices))).findings}


async def test_the_doctor_looks_at_every_master(cluster: RedisCluster) -> None:
    """A cluster that is whole is well; its users' rights are tried on each node."""
    found = await looked(await restricted(cluster, "projector"), 32)

    assert found["Redis"].state == "ok"
    assert found["Redis"].detail.startswith("a cluster of 3 masters")
    assert found["Redis rights"].state == "ok", found["Redis rights"]


async def test_the_doctor_finds_a_right_that_one_master_lacks(cluster: RedisCluster) -> None:
    """Each node has an access list of its own."""
    url = await restricted(cluster, "projector")
    for program in ("-zadd", "-hget"):
        await (await cluster.master_of(0)).run("ACL", "SETUSER", "readside-projector", program)

    found = (await looked(url, 32))["Redis rights"]

    assert (found.state, found.detail) == ("problem", "Our user may not use hget as it must.")


async def test_the_doctor_names_a_master_without_a_replica(cluster: RedisCluster) -> None:
    """Nobody would take its place."""
    master = await cluster.master_of(SLOT)
    await cluster.kill(await cluster.replica_of(master))

    found = (await looked(cluster.url(), 32))["Redis"]

    assert (found.state, found.do) == ("warning", "Give each master a replica.")
    assert master.place in found.detail


async def test_the_doctor_warns_where_one_master_that_is_away_stops_all_others(cluster: RedisCluster) -> None:
    """Redis does so unless it is told otherwise, on each node by itself."""
    for node in cluster.nodes:
        await node.run("CONFIG", "SET", "cluster-require-full-coverage", "no")
    assert (await looked(cluster.url(), 32))["Redis cluster"].state == "ok"
    master = await cluster.master_of(SLOT)
    await master.run("CONFIG", "SET", "cluster-require-full-coverage", "yes")

    found = (await looked(cluster.url(), 32))["Redis cluster"]

    assert (found.state, found.do) == ("warning", "Set cluster-require-full-coverage no on every node.")
    assert found.detail.startswith(f"{master.place}/0 serves nothing")


async def test_a_list_that_suffices_need_not_show_the_doctor_any_setting(cluster: RedisCluster) -> None:
    """CONFIG GET shows passwords too, so our users may not: what could not be seen is named, and no warning."""
    found = (await looked(await restricted(cluster, "projector"), 32))["Redis cluster"]

    assert (found.state, "may not see cluster-require-full-coverage" in found.detail) == ("ok", True)


async def test_the_doctor_knows_sentinels() -> None:
    """The master is looked at, and a URL that leads to a sentinel itself is told."""
    async with watched_redis(replicas=1) as watched:
        assert (await looked(watched.url()))["Redis"].state == "ok"

        sentinel = watched.sentinels[0]
        found = (await looked(f"redis://:{sentinel.password}@127.0.0.1:{sentinel.port}/0"))["Redis"]

    assert (found.state, found.do) == ("problem", "Begin READSIDE_REDIS_URL with redis+sentinel://.")


async def test_the_doctor_says_which_url_fits(cluster: RedisCluster, redis_url: str) -> None:
    """A node behind a plain URL, and one server behind a cluster's."""
    node = (await looked(f"redis://:{cluster.password}@{cluster.nodes[0].place}/0"))["Redis"]
    plain = (await looked(redis_url.replace("redis://", "redis+cluster://")))["Redis"]

    assert (node.state, node.do) == ("problem", "Begin READSIDE_REDIS_URL with redis+cluster://.")
    assert plain.state == "problem"
    assert "begin READSIDE_REDIS_URL with redis://" in plain.detail


def test_a_server_that_is_no_node_any_more() -> None:
    """It may lose its cluster while we are connected."""
    found = judge_server("h:1", "redis", "7.2.0", "standalone", "master", "cluster")

    assert found.do == "Begin READSIDE_REDIS_URL with redis://."


async def test_no_secret_is_shown(cluster: RedisCluster) -> None:
    """Neither in what is found nor in what cannot be."""
    async with Redis.from_url(cluster.url().replace("redis+cluster", "redis").split(",", maxsplit=1)[0]) as redis:
        assert await redis.ping()
    found = await looked(cluster.url(login=":hunter2"))

    assert urlsplit(cluster.url()).scheme == "redis+cluster"
    assert "hunter2" not in str(found)
    assert found["Redis"].state == "problem"
