"""The API over a view of eight slices that a projector keeps: on one Redis, and on a cluster that loses a master."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count

import pytest

from readmodel.redis.client import connect
from readmodel.view.slices import Slices, slot_of
from tests.support.builders import api, api_config
from tests.support.projecting import bench
from tests.support.redis_clusters import redis_cluster
from tests.support.scraping import series
from tests.support.slicing import session_in
from tests.support.waiting import eventually
from tests.support.whole import Whole

pytestmark = pytest.mark.installed

SLICES = Slices("readside", count=8)
FROM_POSTGRES_SECONDS = 20.0
FROM_REDIS_SECONDS = 50.0
"""Ten times what is promised of a quiet machine; polls that were held up would never come."""


@dataclass
class Served:
    """Writer, projector and API, and a session in each slice."""

    whole: Whole
    sessions: list[str]

    async def source(self, index: int, limits: "count[int]") -> str:
        """Where the answer to a poll comes from that nobody has asked before."""
        page, limit = divmod(next(limits), 900)
        answer = await self.whole.poll(self.sessions[index], f"?limit={limit + 1}&page={page + 1}")
        assert answer.status_code == 200, answer.text
        return answer.headers["readside-source"]

    async def settled(self) -> None:
        """Wait until all are hot, and memory holds them as of later: no message about them is on its way."""

        async def hot() -> bool:
            projection = (await self.whole.client.get("/api/v2/projection")).json()
            return bool(projection["hot_sessions"] == len(self.sessions))

        await eventually(hot, "all are hot")
        now_us = await self.whole.now_us()

        async def kept() -> bool:
            answers = [await self.whole.poll(session_id) for session_id in self.sessions]
            return all(
                answer.headers["readside-source"] == "memory"
                and datetime.fromisoformat(answer.headers["readside-as-of"]).timestamp() * 1_000_000 > now_us
                for answer in answers
            )

        await eventually(kept, "memory holds all")


@asynccontextmanager
async def served(database_url: str, redis_url: str, view_url: str) -> AsyncIterator[Served]:
    """All live, each session hot; the view is at `view_url`."""
    async with (
        bench(database_url, redis_url) as made,
        made.projector(slices=8, redis_url=view_url),
        api(api_config(database_url, view_url, slices=8)) as client,
    ):
        stage = Served(Whole(made, client), [session_in(SLICES, index) for index in range(8)])
        for session_id in stage.sessions:
            await made.writer.connection.execute(
                """INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
                   VALUES ($1::uuid, 'workflow', 'in_progress', 'auto', '/p', '{}', now(), now())""",
                session_id,
            )
            await made.writer.events(session_id, 2)
        await stage.settled()
        yield stage


async def test_each_slice_is_served_and_never_late(database_url: str, redis_url: str) -> None:
    """From memory, and after each write from wherever the answer is right; the metrics tell of eight slices."""
    async with served(database_url, redis_url, redis_url) as stage:
        for session_id in stage.sessions:
            await stage.whole.bench.writer.events(session_id, 1)
            await stage.whole.never_late(session_id, 3)
            await stage.whole.served(session_id, "memory")
        told = series((await stage.whole.client.get("/metrics")).text)
        projection = (await stage.whole.client.get("/api/v2/projection")).json()

    assert (told["readside_slices"], told["readside_slices_heard"], told["readside_redis_nodes"]) == (8, 8, 1)
    assert (projection["status"], len(projection["slices"]), projection["hot_sessions"]) == ("live", 8, 8)
    assert len(projection["apis"]) == 1


async def test_a_missed_message_of_one_slice_leaves_the_others_in_memory(database_url: str, redis_url: str) -> None:
    """A position of which a beat is lost: the projector begins that slice anew, and the API drops what it had of it."""
    async with served(database_url, redis_url, redis_url) as stage, aclosing(connect(redis_url, name="test")) as redis:
        before = series((await stage.whole.client.get("/metrics")).text)["readside_response_cache_breaks_total"]
        await redis.delete(SLICES.keys[3].position)

        async def broken() -> bool:
            told = series((await stage.whole.client.get("/metrics")).text)
            return told["readside_response_cache_breaks_total"] > before

        await eventually(broken, "the new term is heard")
        kept = [await stage.whole.poll(session_id) for session_id in stage.sessions]
        await stage.whole.served(stage.sessions[3], "memory")

    assert [answer.headers["readside-source"] for index, answer in enumerate(kept) if index != 3] == ["memory"] * 7


async def test_a_master_that_is_killed_costs_its_own_slices_alone(database_url: str, redis_url: str) -> None:
    """Their polls come from Postgres at once, and from Redis soon after the failover; others' always."""
    async with (
        redis_cluster(3, 3, "--cluster-require-full-coverage", "no") as cluster,
        served(database_url, redis_url, cluster.url()) as stage,
    ):
        masters = [await cluster.master_of(slot_of(keys.tag)) for keys in SLICES.keys]
        others = [index for index, master in enumerate(masters) if master is not masters[0]]
        replica, limits, sources = await cluster.replica_of(masters[0]), count(), Counter[str]()
        await cluster.kill(masters[0])

        async def until(source: str) -> None:
            while await stage.source(0, limits) != source:
                sources.update([await stage.source(index, limits) for index in others])

        async with asyncio.timeout(FROM_POSTGRES_SECONDS):
            await until("postgres")

        async def promoted() -> bool:
            sources.update([await stage.source(index, limits) for index in others])
            return await replica.is_master()

        await eventually(promoted, "the replica is promoted")
        async with asyncio.timeout(FROM_REDIS_SECONDS):
            await until("redis")

    assert sources.keys() == {"redis"}
