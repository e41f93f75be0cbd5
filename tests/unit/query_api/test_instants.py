"""Polls that wait for an instant: woken in time, let go, bounded, and told apart by the part they wait for."""

import asyncio

import pytest

from query_api.requests.instants import Instants
from query_api.requests.places import WaitingPlaces
from readmodel.errors import NoPlaceFree

HOUR = 3_600.0


async def turns() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_beat_wakes_who_waits_for_an_instant_up_to_its_own() -> None:
    """In whatever order they came; the others wait on."""
    instants = Instants(WaitingPlaces(10))
    tasks = {us: asyncio.create_task(instants.wait(0, us, HOUR)) for us in (30, 10, 20)}
    await turns()
    instants.passed(0, 20)
    await turns()

    assert {us: task.done() for us, task in tasks.items()} == {30: False, 10: True, 20: True}
    assert instants.held == 1
    instants.passed(0, 31)
    await tasks[30]


async def test_a_beat_of_another_part_wakes_nobody() -> None:
    """Each part has an as-of of its own."""
    instants = Instants(WaitingPlaces(10))
    task = asyncio.create_task(instants.wait("a", 10, HOUR))
    await turns()
    instants.passed("b", 99)
    await turns()

    assert not task.done()
    instants.passed("a", 10)
    await task


async def test_nobody_waits_longer_than_it_said() -> None:
    """It returns, and holds no place; a beat that comes later finds nobody."""
    instants = Instants(WaitingPlaces(10))
    await instants.wait(0, 10, 0.0)

    assert instants.held == 0
    instants.passed(0, 99)


async def test_past_the_bound_nobody_waits() -> None:
    """Who waits already goes on."""
    instants = Instants(WaitingPlaces(1))
    task = asyncio.create_task(instants.wait(0, 10, HOUR))
    await turns()
    with pytest.raises(NoPlaceFree):
        await instants.wait(0, 10, HOUR)
    instants.passed(0, 10)
    await task


async def test_who_leaves_is_ended_and_nobody_else() -> None:
    """A task that is not held here goes on."""
    instants = Instants(WaitingPlaces(10))
    held, other = asyncio.create_task(instants.wait(0, 10, HOUR)), asyncio.create_task(asyncio.sleep(0))
    await turns()
    instants.leave(held)
    instants.leave(other)
    await asyncio.gather(held, other, return_exceptions=True)

    assert (held.cancelled(), other.cancelled(), instants.held) == (True, False, 0)
    instants.passed(0, 99)


async def test_who_is_let_go_leaves_nothing_behind() -> None:
    """However many ask for an instant that no beat passes."""
    instants = Instants(WaitingPlaces(10))
    for _ in range(10):
        await instants.wait(0, 10, 0.0)

    assert not any(instants._waiting.values())
