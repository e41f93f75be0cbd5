"""A view of several slices: each is whole by itself, and one whose Redis is away, or loses it, troubles no other."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from projector.telemetry import Telemetry
from readmodel.values.poll import Poll
from readmodel.view.reader import ViewPage
from readmodel.view.whole import WholeView
from readside.demo.embedded_redis import EmbeddedRedis
from tests.support.healing import CLOCK_US
from tests.support.projecting import MAX_BYTES, Bench, bench
from tests.support.servers import running_redis
from tests.support.several_servers import servers_at, sliced
from tests.support.slicing import session_in
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

SLICES = 8


@pytest.fixture(scope="module")
def other_redis() -> Iterator[EmbeddedRedis]:
    """The server of one half of the slices."""
    with running_redis() as server:
        yield server


@dataclass
class Stage:
    """A writer, the whole view, and a session in each slice."""

    bench: Bench
    view: WholeView
    sessions: list[str]

    async def caught_up(self, *indexes: int) -> None:
        """Wait until these slices (all by default) are as of now or later."""
        now = int(await self.bench.writer.connection.fetchval(CLOCK_US))

        async def passed() -> bool:
            positions = [await self.view.parts[index].position() for index in indexes or range(SLICES)]
            return all(at is not None and at.live and (at.as_of_us or 0) >= now for at in positions)

        await eventually(passed, "the slices have caught up")

    async def same(self, session_id: str) -> None:
        """The view answers for a session what Postgres does."""

        async def is_hot() -> bool:
            return isinstance(await self.view.read(Poll(session_id), MAX_BYTES), ViewPage)

        await eventually(is_hot, "the session is hot")
        await self.caught_up(self.view.slices.index_of(session_id))
        found = await self.view.read(Poll(session_id), MAX_BYTES)
        logged = await self.bench.log.answer(Poll(session_id), MAX_BYTES)
        assert isinstance(found, ViewPage), found
        assert (found.page, found.total, found.status) == (logged.page, logged.total, logged.status)

    async def terms(self) -> list[str]:
        """The term that each slice is at."""
        positions = [await part.position() for part in self.view.parts]
        return [position.term if position else "" for position in positions]

    @property
    def upper(self) -> list[int]:
        """The slices of the second server."""
        first = self.view.node(self.lower)
        return [index for index in range(SLICES) if self.view.node(index) != first]

    @property
    def lower(self) -> int:
        """A slice of the first server."""
        return min(range(SLICES), key=lambda index: self.view._slots[index])


@pytest.fixture
async def stage(database_url: str, redis_url: str, other_redis: EmbeddedRedis) -> AsyncIterator[Stage]:
    """Sessions in all slices, with two events each."""
    await other_redis.start()
    async with bench(database_url, redis_url) as made, sliced(redis_url, other_redis.url(), slices=SLICES) as view:
        for part in view.parts:
            await part.redis.flushall()
        sessions = [session_in(view.slices, index) for index in range(SLICES)]
        for session_id in sessions:
            await made.writer.connection.execute(
                """INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
                   VALUES ($1::uuid, 'workflow', 'in_progress', 'auto', '/p', '{}', now(), now())""",
                session_id,
            )
            await made.writer.events(session_id, 2)
        yield Stage(made, view, sessions)


@asynccontextmanager
async def projecting(stage: Stage, other: EmbeddedRedis) -> AsyncIterator[Telemetry]:
    """A projector over both servers, live in every slice."""
    servers = servers_at(stage.bench.config.redis_url, other.url(), name="readside-projector")
    async with stage.bench.projector(servers, slices=SLICES) as telemetry:
        await stage.caught_up()
        yield telemetry


async def test_every_slice_is_a_view_of_its_sessions(stage: Stage, other_redis: EmbeddedRedis) -> None:
    """New events, statuses and deletions arrive in each, from one reading of the letters."""
    writer = stage.bench.writer
    async with projecting(stage, other_redis) as telemetry:
        for session_id in stage.sessions:
            await stage.same(session_id)
        async with writer.connection.transaction():
            for session_id in stage.sessions:
                await writer.events(session_id, 3)
        await writer.connection.execute("UPDATE sessions SET status = 'completed'")
        for session_id in stage.sessions:
            await stage.same(session_id)
        await writer.delete_session(stage.sessions[0])
        await stage.caught_up()

    assert not isinstance(await stage.view.read(Poll(stage.sessions[0]), MAX_BYTES), ViewPage)
    assert len(set(await stage.terms())) == SLICES
    assert telemetry.terms == SLICES


async def test_a_slice_that_is_lost_begins_anew_alone(stage: Stage, other_redis: EmbeddedRedis) -> None:
    """The other terms go on."""
    async with projecting(stage, other_redis):
        before = await stage.terms()
        lost = stage.view.parts[5]
        await lost.redis.delete(lost.keys.position)
        await stage.caught_up()
        after = await stage.terms()
        await stage.same(stage.sessions[5])

    assert [index for index in range(SLICES) if before[index] != after[index]] == [5]


async def test_slices_whose_redis_is_away_stall_alone(stage: Stage, other_redis: EmbeddedRedis) -> None:
    """The others stay live, and these come back by themselves, with all that was written meanwhile."""
    writer = stage.bench.writer
    async with projecting(stage, other_redis) as telemetry:
        before, here = await stage.terms(), [index for index in range(SLICES) if index not in stage.upper]
        await other_redis.stop()
        for session_id in stage.sessions:
            await writer.events(session_id, 3)
        await stage.caught_up(*here)
        for index in here:
            await stage.same(stage.sessions[index])
        await eventually(lambda: all(telemetry.slices[index].reason for index in stage.upper), "they say so")
        terms = [(await stage.view.parts[index].position()) for index in here]
        await other_redis.start()
        await stage.caught_up()
        for session_id in stage.sessions:
            await stage.same(session_id)

    assert [at.term for at in terms if at] == [before[index] for index in here]


async def test_processes_with_another_number_of_slices_refuse_each_other(
    stage: Stage, other_redis: EmbeddedRedis, redis_url: str
) -> None:
    """Whoever takes the view to have more slices, or fewer, reads nothing of it."""
    async with (
        projecting(stage, other_redis),
        sliced(redis_url, slices=1) as whole,
        sliced(redis_url, other_redis.url(), slices=64) as finer,
    ):
        found = [await view.read(Poll(stage.sessions[0]), MAX_BYTES) for view in (whole, finer)]

    assert not any(isinstance(one, ViewPage) for one in found)
