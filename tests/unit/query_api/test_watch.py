"""A query that takes long is given up when its store no longer answers, and never because it is slow."""

import asyncio
from contextlib import suppress

import pytest

from query_api.sources.watch import QueryWatch
from readmodel.errors import EventLogUnavailable
from tests.support.waiting import eventually


class Store:
    """Answers when it is let; counts its probes, which fail once it hangs."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.hangs = False
        self.probes = 0
        self.cancelled = 0

    async def query(self) -> str:
        """Answer when the gate opens."""
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "answer"

    async def probe(self) -> None:
        """Tell whether the store is there."""
        self.probes += 1
        if self.hangs:
            raise EventLogUnavailable("It hangs.")


async def test_a_quick_query_is_not_probed_for() -> None:
    """The common case costs nothing."""
    store = Store()
    store.gate.set()

    assert await QueryWatch(store.probe).result(store.query()) == "answer"
    assert store.probes == 0


async def test_a_slow_query_is_waited_for() -> None:
    """As long as its store answers others."""
    store = Store()
    asked = asyncio.create_task(QueryWatch(store.probe, 0.01).result(store.query()))
    await eventually(lambda: store.probes >= 3, "three probes")
    store.gate.set()

    assert await asked == "answer"


async def test_a_store_that_hangs_ends_the_query() -> None:
    """It is cancelled."""
    store = Store()
    store.hangs = True

    with pytest.raises(EventLogUnavailable):
        await QueryWatch(store.probe, 0.01).result(store.query())

    await eventually(lambda: store.cancelled == 1, "the query is cancelled")


async def test_long_queries_share_a_probe() -> None:
    """A hundred at once are one question."""
    store = Store()
    gate = asyncio.Event()

    async def probe() -> None:
        store.probes += 1
        await gate.wait()

    watch = QueryWatch(probe, 0.01)
    asked = [asyncio.create_task(watch.result(store.query())) for _ in range(100)]
    await eventually(lambda: store.probes == 1, "a probe")
    store.gate.set()
    await asyncio.gather(*asked)
    await watch.close()

    assert store.probes == 1


async def test_a_driver_that_does_not_let_go_is_not_waited_for() -> None:
    """As asyncpg, which waits for the server to confirm a cancellation; closing waits for it."""
    store = Store()
    store.hangs = True
    let_go = asyncio.Event()

    async def stubborn() -> None:
        try:
            await store.gate.wait()
        finally:
            await let_go.wait()

    watch = QueryWatch(store.probe, 0.01)
    async with asyncio.timeout(60):
        with pytest.raises(EventLogUnavailable):
            await watch.result(stubborn())
    let_go.set()
    await watch.close()


async def test_an_end_that_is_cancelled_waits_for_the_query_all_the_same() -> None:
    """Its connection would be closed under it."""
    let_go, over, probed, probe_over = (asyncio.Event() for _ in range(4))

    async def dying(until: asyncio.Event) -> None:
        """As where a driver waits for its server."""
        while not until.is_set():
            with suppress(asyncio.CancelledError):
                await until.wait()

    async def stubborn() -> None:
        await dying(let_go)
        over.set()

    async def probe() -> None:
        probed.set()
        await dying(probe_over)

    watch = QueryWatch(probe, 0.01)
    asked = asyncio.create_task(watch.result(stubborn()))
    await probed.wait()
    asked.cancel()
    await asyncio.wait({asked})
    closing = asyncio.create_task(watch.close())
    for step in (lambda: None, closing.cancel, probe_over.set, lambda: None):
        for _ in range(5):
            await asyncio.sleep(0)
        step()
    ended_before = closing.done()
    let_go.set()
    await asyncio.wait({closing})

    assert not ended_before
    assert over.is_set()
    assert closing.cancelled()


async def test_its_own_error_is_the_querys() -> None:
    """No probe hides it."""

    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await QueryWatch(Store().probe).result(broken())
