"""Two projector processes: one leads; the other takes over when it dies or freezes; who wakes up can write nothing."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from readmodel.view.projection import Projection, read_projection
from tests.support.commanding import Site
from tests.support.healing import Record, watched
from tests.support.projecting import Bench, bench
from tests.support.viewing import whole_view
from tests.support.waiting import eventually


@asynccontextmanager
async def projector_process(database_url: str, redis_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `readside projector`; kill it in the end."""
    site = Site({"DATABASE_URL": database_url, "REDIS_URL": redis_url, "HEARTBEAT_SECONDS": "0.1"})
    async with site.projector() as running:
        yield running.process
    sys.stdout.write(running.text)  # it is shown when a test fails


async def projection(stage: Bench) -> Projection:
    """Ask how the projection is."""
    return await read_projection(whole_view(stage.view), 5.0)


async def led_by(stage: Bench, process: asyncio.subprocess.Process) -> None:
    """Wait until a process leads, and is live."""

    async def leads() -> bool:
        now = await projection(stage)
        return now.status == "live" and now.leader is not None and now.leader["pid"] == process.pid

    await eventually(leads, f"process {process.pid} leads")


async def standing_by(stage: Bench, process: asyncio.subprocess.Process) -> None:
    """Wait until a process stands by."""

    async def waits() -> bool:
        standbys: list[Any] = [report["pid"] for report in (await projection(stage)).standbys]
        return process.pid in standbys

    await eventually(waits, f"process {process.pid} stands by")


async def test_a_standby_takes_over_from_the_dead(database_url: str, redis_url: str, record: Record) -> None:
    """Killed: the lock goes with the connection."""
    async with (
        bench(database_url, redis_url) as stage,
        projector_process(database_url, redis_url) as first,
    ):
        await led_by(stage, first)
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        async with projector_process(database_url, redis_url) as second:
            await standing_by(stage, second)
            started = time.monotonic()
            first.kill()
            await stage.writer.event(session_id)
            await led_by(stage, second)
            record("take_over_seconds", time.monotonic() - started)
            await stage.caught_up()  # live before a session is loaded anew
            await stage.hot(session_id)

            assert (await stage.same(session_id)).total == 1


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_frozen_leader_is_replaced_and_fenced(
    database_url: str, redis_url: str, flushed: bool, record: Record
) -> None:
    """SIGSTOP: the standby ends its connection; woken up it writes nothing, after FLUSHALL neither, and stands by."""
    async with (
        bench(database_url, redis_url) as stage,
        watched(stage) as watch,
        projector_process(database_url, redis_url) as first,
    ):
        await led_by(stage, first)
        session_id = await watch.session()
        await stage.hot(session_id)
        async with projector_process(database_url, redis_url) as second:
            await standing_by(stage, second)
            started = time.monotonic()
            first.send_signal(signal.SIGSTOP)
            for _ in range(3):  # they wait for it, and it will read them when it wakes up
                await watch.event(session_id)
            await led_by(stage, second)
            record("take_over_seconds", time.monotonic() - started)
            await stage.caught_up()  # live before a session is loaded anew
            await stage.hot(session_id)
            assert (await stage.same(session_id)).total == 9
            if flushed:
                await stage.view.redis.flushall()
            term = await term_of(stage)
            first.send_signal(signal.SIGCONT)
            await standing_by(stage, first)
            await watch.event(session_id)
            await stage.hot(session_id)

            assert (await stage.same(session_id)).total == 10
            await led_by(stage, second)
            assert flushed or await term_of(stage) == term


async def term_of(stage: Bench) -> str | None:
    """The term that wrote last."""
    position = await stage.view.position()
    return position.term if position else None


async def test_a_busy_leader_is_left_alone(database_url: str, redis_url: str) -> None:
    """Three hundred thousand notifications at once flood its doorbell: it leads on, and nobody ends it."""
    async with (
        bench(database_url, redis_url) as stage,
        projector_process(database_url, redis_url) as first,
    ):
        await led_by(stage, first)
        async with projector_process(database_url, redis_url) as second:
            await standing_by(stage, second)
            payload = orjson.dumps({"not": "ours"}).decode()
            await stage.writer.connection.execute(
                "SELECT count(pg_notify('readside', $1 || n)) FROM generate_series(1, 300000) n", payload
            )
            await stage.caught_up()
            now = await projection(stage)

            assert now.leader is not None
            assert (now.leader["pid"], now.leader["connections"]) == (first.pid, 1)
