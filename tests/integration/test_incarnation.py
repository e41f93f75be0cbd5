"""The number of a server's life: kept by whoever asks, and lost where commits may have been."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from projector.tail.triggers import install
from tests.support.replication import Replication, replayed_all, replication
from tests.support.servers import TEMPLATE, connected

ASK = "SELECT readside.incarnation()"


@pytest.fixture(scope="module")
def pair() -> Iterator[Replication]:
    """A primary, and what standbys of it begin with."""
    with replication(fsync="on", full_page_writes="on") as made:
        yield made


async def _asked(url: str) -> int:
    async with connected(url) as connection:
        return int(await connection.fetchval(ASK))


async def test_two_that_ask_first_at_once_are_told_the_same(database_url: str) -> None:
    """And everybody after them."""
    async with connected(database_url) as one, connected(database_url) as two:
        await install(one, warn=pytest.fail)
        async with one.transaction():
            first = await one.fetchval(ASK)
            second = asyncio.create_task(two.fetchval(ASK))
            assert await second == first  # nobody waits for the end of who drew it
        for _ in range(10):
            await one.execute("ALTER SEQUENCE readside.incarnation RESTART")
            assert len(set(await asyncio.gather(one.fetchval(ASK), two.fetchval(ASK)))) == 1


async def test_it_is_kept_by_a_restart_and_lost_by_a_crash_and_a_promotion(pair: Replication) -> None:
    """As every unlogged sequence."""
    url = pair.primary.url(TEMPLATE)
    async with connected(url) as connection:
        await install(connection, warn=pytest.fail)
    known = [await _asked(url)]
    await pair.primary.restart()
    assert await _asked(url) == known[0]
    await pair.primary.restart("immediate")
    known.append(await _asked(url))

    async with pair.standby() as standby:
        standby_url = standby.url(TEMPLATE)
        await replayed_all(url, standby_url)
        async with connected(standby_url) as connection:
            assert await connection.fetchval(ASK) is None
            await connection.execute("CHECKPOINT; SELECT pg_promote()")
            known.append(int(await connection.fetchval(ASK)))
        assert await _asked(standby_url) == known[-1]
    assert len(set(known)) == 3
