"""Held polls at the socket: who leaves, who asks more behind one, and what of a connection's bounds holds meanwhile."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.doorway.raw import LIVE, RawClient, raw_client
from tests.support.builders import BOTH_KEY, events_path, socket_bounds
from tests.support.stands import Stand, fake_stand, rows
from tests.support.waiting import eventually

SID = "11111111-1111-4111-8111-111111111111"
UNUSUAL = b"connection: close\r\n"
"""Such a request goes on to uvicorn, and is held by the application."""


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    """A hot session in memory, behind a socket whose connections may idle for a minute."""
    bounds = socket_bounds(idle_seconds=60.0, head_seconds=60.0, untaken_seconds=60.0)
    async with fake_stand("doorway", max_staleness_seconds=600.0, sockets=bounds) as made:
        await made.write(SID, rows(SID, 3, "step_created"))
        await made.heat(SID)
        await made.poll_from("memory", SID)
        yield made


@pytest.fixture
async def client(stand: Stand) -> AsyncIterator[RawClient]:
    """One connection."""
    port = stand.client.base_url.port
    assert port is not None
    async with raw_client(port) as made:
        yield made


def request(etag: str, more: bytes = b"", wait: str = "60", method: str = "GET") -> bytes:
    """A poll that is held."""
    head = f"{method} {events_path(SID)}?wait={wait} HTTP/1.1\r\nhost: api\r\nx-api-key: {BOTH_KEY}\r\n"
    return f"{head}if-none-match: {etag}\r\n".encode() + more + b"\r\n"


async def etag_of(stand: Stand) -> str:
    """What a client that has polled holds."""
    return (await stand.poll_from("memory", SID)).headers["etag"]


async def held(stand: Stand, polls: int = 1) -> None:
    """Wait until so many are held."""
    registry = stand.held
    await eventually(lambda: registry.held == polls, f"{polls} polls are held")


def endings(stand: Stand) -> dict[str, int]:
    """Why polls were held no longer."""
    return {str(ending): count for ending, count in stand.held.endings.items()}


async def test_what_is_asked_behind_a_held_poll_waits_for_it(stand: Stand, client: RawClient) -> None:
    """In order, whoever answers it."""
    etag = await etag_of(stand)
    client.send(request(etag) + request('"another"', wait="0") + LIVE + request(etag, wait="0.1", method="GET"))
    await held(stand)
    await stand.add(rows(SID, 1, "step_created")[0])
    answers = [await client.answer() for _ in range(4)]

    assert [answer.status for answer in answers] == [200, 200, 200, 200]
    assert answers[0].body == answers[1].body
    assert answers[0].fields["etag"] != etag


async def test_no_bound_of_a_connection_ends_a_held_poll(stand: Stand, client: RawClient) -> None:
    """It is neither idle nor late, and leaves nothing untaken."""
    client.send(request(await etag_of(stand)))
    await held(stand)
    for seconds in (61.0, 1_000.0):
        stand.app.connections.sweep(time.monotonic() + seconds)
    await stand.add(rows(SID, 1, "step_created")[0])

    assert (await client.answer()).status == 200


@pytest.mark.parametrize("more", [b"", UNUSUAL])
async def test_who_leaves_frees_the_place_at_once(stand: Stand, client: RawClient, more: bytes) -> None:
    """By a reset."""
    client.send(request(await etag_of(stand), more))
    await held(stand)
    client._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.leave()
    await held(stand, 0)

    assert endings(stand) == {"left": 1}


@pytest.mark.parametrize("more", [b"", UNUSUAL])
async def test_who_sends_no_more_gets_what_there_is(stand: Stand, client: RawClient, more: bytes) -> None:
    """It may be gone, as a closed socket looks alike: its place is free at once, and its connection ends."""
    client.send(request(await etag_of(stand), more))
    await held(stand)
    client._writer.write_eof()
    answer = await client.answer()

    assert (answer.status, await client.ended()) == (304, b"")
    assert endings(stand) == {"half_closed": 1}


async def test_who_sent_no_more_before_it_was_held_gets_what_there_is(stand: Stand, client: RawClient) -> None:
    """The second of two polls is held when the end has been read already."""
    etag = await etag_of(stand)
    client.send(request(etag) + request(etag))
    await held(stand)
    client._writer.write_eof()

    assert [(await client.answer()).status for _ in range(2)] == [304, 304]
    assert await client.ended() == b""


async def test_what_was_asked_behind_held_polls_is_answered_before_the_end(stand: Stand, client: RawClient) -> None:
    """Though the last of them is held, and let go, while requests are taken, and the one behind it needs a store."""
    etag = await etag_of(stand)
    other = f"GET {events_path(str(uuid4()))} HTTP/1.1\r\nhost: api\r\nx-api-key: {BOTH_KEY}\r\n\r\n"
    client.send(request(etag) + request(etag) + other.encode())
    await held(stand)
    client._writer.write_eof()

    assert [(await client.answer()).status for _ in range(3)] == [304, 304, 404]
    assert await client.ended() == b""


@pytest.mark.parametrize("more", [b"", UNUSUAL])
async def test_a_server_that_stops_answers_held_polls_at_once(stand: Stand, client: RawClient, more: bytes) -> None:
    """And says that the connection ends."""
    client.send(request(await etag_of(stand), more))
    await held(stand)
    for connection in list(stand.app.connections._open):
        connection.shutdown()  # type: ignore[attr-defined]
    answer = await client.answer()

    assert (answer.status, answer.fields["connection"], await client.ended()) == (304, "close", b"")
    assert endings(stand) == {"drained": 1}


async def test_a_held_poll_asked_again_is_read_from_memory_of_heads(stand: Stand, client: RawClient) -> None:
    """Its head is known from the moment when it is held, and its answers come in order."""
    etag, polls = await etag_of(stand), stand.app.connections.polls
    head = request(etag, wait="0.1")
    for _ in range(2):
        client.send(head)
        assert (await client.answer()).status == 304
        assert head in polls
    assert endings(stand) == {"time_over": 2}


async def test_many_held_polls_are_answered_by_one_read(stand: Stand) -> None:
    """While others poll, each of these in its turn."""
    etag, port = await etag_of(stand), stand.client.base_url.port
    assert port is not None
    registry = stand.held
    async with asyncio.TaskGroup() as group:

        async def follow() -> None:
            async with raw_client(port) as own:
                own.send(request(etag))
                assert (await own.answer()).status == 200

        followers = [group.create_task(follow()) for _ in range(200)]
        await held(stand, len(followers))
        await stand.add(rows(SID, 1, "step_created")[0])

    assert (registry.reads, endings(stand)) == (1, {"news": len(followers)})
