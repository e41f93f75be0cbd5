"""Followers of the real API, while everything around it fails: each event once."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from readside.demo.embedded_redis import EmbeddedRedis
from readside_client import AsyncClient, Client
from tests.clients.service import Service, late, running
from tests.support.keys import KEY
from tests.support.waiting import eventually

PAGE = 20
TIMEOUT_SECONDS = 1.5


@dataclass
class Seen:
    """What one follower was given; its thread or task adds, the test reads."""

    name: str
    ids: list[str] = field(default_factory=list)


@asynccontextmanager
async def sync_follower(service: Service) -> AsyncIterator[Seen]:
    """The synchronous client in a thread."""
    seen, errors = Seen("sync"), list[BaseException]()
    client = Client(service.url, KEY, timeout_seconds=TIMEOUT_SECONDS)

    def run() -> None:
        try:
            for event in client.follow(service.session_id):
                seen.ids.append(event.id)
        except BaseException as error:  # noqa: BLE001 (for the test's own thread to raise)
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        client.close()
        await asyncio.to_thread(thread.join, 60)
    assert not thread.is_alive()
    assert errors == []


@asynccontextmanager
async def async_follower(service: Service) -> AsyncIterator[Seen]:
    """The asynchronous client in a task; it ends by being closed."""
    seen = Seen("async")

    async def run() -> None:
        async for event in client.follow(service.session_id):
            seen.ids.append(event.id)

    async with AsyncClient(service.url, KEY, timeout_seconds=TIMEOUT_SECONDS) as client, asyncio.TaskGroup() as group:
        group.create_task(run())
        yield seen
        await client.aclose()


@asynccontextmanager
async def resuming_follower(service: Service) -> AsyncIterator[Seen]:
    """A program that begins anew after each seventh event, behind the offset of the last that it handled."""
    seen, closed = Seen("resuming"), asyncio.Event()

    async def some(offset: str) -> str:
        async with aclosing(client.follow(service.session_id, offset=offset)) as events:
            async for event in events:
                offset = event.offset or ""
                if event.id in seen.ids:
                    continue  # those that its answer gave before it come again
                seen.ids.append(event.id)
                if len(seen.ids) % 7 == 0:
                    break
        return offset

    async def run() -> None:
        offset = "-1"
        while not closed.is_set():
            offset = await some(offset)

    async with AsyncClient(service.url, KEY, timeout_seconds=TIMEOUT_SECONDS) as client, asyncio.TaskGroup() as group:
        group.create_task(run())
        yield seen
        closed.set()
        await client.aclose()


@dataclass
class Watched:
    """The service and its followers."""

    service: Service
    followers: list[Seen]
    log: pytest.LogCaptureFixture

    async def burst(self, count: int = 3 * PAGE) -> None:
        """Commit more than fits into a page."""
        await self.service.writer.events(self.service.session_id, count)

    async def meet(self, trouble: str) -> None:
        """Wait until the thread has met it, and the tasks as often as there are tasks."""

        def met() -> bool:
            threads = [record.threadName for record in self.log.records if trouble in record.getMessage()]
            return len(set(threads)) == 2 and len(threads) >= len(self.followers)

        await eventually(met, f"{trouble}: {self.log.messages}")
        self.log.clear()

    async def complete(self) -> None:
        """Wait until each has been given all; then nobody was given anything twice."""
        wanted = await self.service.ids()

        def all_have() -> bool:
            return all(len(seen.ids) >= len(wanted) for seen in self.followers)

        await eventually(all_have, f"{len(wanted)} events at each follower")
        assert {seen.name: sorted(seen.ids) for seen in self.followers} == {
            seen.name: wanted for seen in self.followers
        }


@pytest.fixture
async def service(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    """API, projector, stores."""
    async with running(database_url, redis_url, tmp_path) as made:
        yield made


async def without_stores(service: Service, redis_server: EmbeddedRedis, watched: Watched) -> None:
    """Take both stores away, until each client has met it; then have them back, and a projector."""
    await redis_server.stop()
    service.back.cut(refuse=True)
    await watched.burst()
    await watched.meet("No store can answer")
    service.back.mend()
    await redis_server.start()
    service.start_projector()
    await watched.burst()


async def test_each_event_comes_once_through_bursts_and_faults(
    service: Service, redis_server: EmbeddedRedis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To both clients, and to who resumes by offsets: late commits, the projector killed, stores away, the API too."""
    caplog.set_level("DEBUG", "readside_client")
    await service.writer.events(service.session_id, 5 * PAGE)
    async with sync_follower(service) as one, async_follower(service) as two, resuming_follower(service) as three:
        watched = Watched(service, [one, two, three], caplog)
        await watched.complete()

        async with late(service, 5, ago_seconds=4):
            await watched.burst()
        await watched.complete()

        await service.kill(service.projector)
        await watched.burst()
        await watched.complete()  # from Postgres

        await without_stores(service, redis_server, watched)
        await watched.complete()

        monkeypatch.setattr("readside_client.protocol.HOLD_SECONDS", 2.0)  # silence is noticed sooner from here on
        await service.kill(service.api)
        async with late(service, 5, ago_seconds=2):
            await watched.burst()
        await watched.meet("No answer from")
        await service.start_api()
        await watched.complete()

        service.front.stall(new=True)
        await watched.burst()
        await watched.meet("ReadTimeout")
        service.front.go_on()
        await service.is_live()
        await watched.burst()
        await watched.complete()
