"""The passing of time, and what all connections hold together, over transports that are none."""

import asyncio
import time
from typing import cast

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from query_api.doorway.census import Census, Reason
from query_api.doorway.connections import CONNECTIONS, KEPT_UNUSED, STARTED_A_TURN, Connections
from query_api.doorway.front import Front
from query_api.doorway.protocol import LINGER_BYTES, LINGER_SECONDS, TURNED_AWAY, TURNED_AWAY_SECONDS, Doorway
from query_api.http.cors import Cors
from query_api.http.problems import problem
from query_api.http.reply import Reply
from query_api.polls.events import Events, EventsRequest, Question
from query_api.streams.stream import Stream
from tests.support.builders import socket_bounds
from tests.support.waiting import eventually

BOUNDS = socket_bounds(max_connections=3, waiting_bytes=80_000)
SLACK_SECONDS = 60.0
"""Past a bound: a machine may stand still between two lines of a test."""
HALF = b"GET /health/live HTTP/1.1\r\n"


class FakeTransport(asyncio.Transport):
    """Keeps what is written; `waiting` bytes of it are not taken."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.waiting = 0
        self.is_open = True

    def write(self, data: object) -> None:
        self.written += cast("bytes", data)

    def write_eof(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return not self.is_open

    def close(self) -> None:
        self.is_open = False

    def abort(self) -> None:
        self.is_open = False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Opened:
    """A connection of a process, made now."""

    def __init__(self, shared: Connections) -> None:
        self.transport = FakeTransport()
        self.doorway = Doorway(
            Config("nowhere", log_config=None),
            ServerState(),
            {CONNECTIONS: shared},
            cast("asyncio.AbstractEventLoop", None),
        )
        self.doorway.connection_made(self.transport)
        self.made_at = time.monotonic()

    def pauses(self, waiting: int) -> None:
        """Its client stops reading, with so much to be taken."""
        self.transport.waiting = waiting
        self.doorway.pause_writing()


@pytest.fixture
async def shared() -> Connections:
    """The connections of a process, none yet."""
    return connections_of(SlowEvents())


def ended(shared: Connections) -> dict[Reason, int]:
    """How many were ended, by those reasons that there were."""
    return {reason: count for reason, count in shared.census.ended.items() if count}


async def test_an_idle_connection_ends(shared: Connections) -> None:
    """Not before its time."""
    one = Opened(shared)
    shared.sweep(one.made_at + BOUNDS.idle_seconds / 2)
    assert one.transport.is_open
    shared.sweep(one.made_at + BOUNDS.idle_seconds + SLACK_SECONDS)

    assert (one.transport.is_open, one.transport.written, ended(shared)) == (False, b"", {"idle": 1})


async def test_a_head_must_be_whole_in_time(shared: Connections) -> None:
    """A byte now and then wins nothing."""
    one = Opened(shared)
    one.doorway.data_received(HALF)
    shared.sweep(one.made_at + BOUNDS.head_seconds / 2)
    one.doorway.data_received(b"x")
    assert one.transport.written == b""
    shared.sweep(one.made_at + BOUNDS.head_seconds + SLACK_SECONDS)

    assert one.transport.written.startswith(b"HTTP/1.1 408 ")
    assert (ended(shared), shared.waiting_bytes) == ({"head_too_slow": 1}, 0)


async def test_a_wall_clock_that_jumps_ends_nothing(shared: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward or back, by a year."""
    idle, half = Opened(shared), Opened(shared)
    half.doorway.data_received(HALF)
    now = time.time()
    for jump in (3e7, -3e7):
        monkeypatch.setattr(time, "time", lambda jump=jump: now + jump)
        shared.sweep(time.monotonic())

    assert (idle.transport.is_open, half.transport.written, ended(shared)) == (True, b"", {})


async def test_a_client_that_takes_nothing_is_ended(shared: Connections) -> None:
    """One that takes a little has as long again."""
    stuck, slow = Opened(shared), Opened(shared)
    for one in (stuck, slow):
        one.pauses(1_000)
        one.doorway.check(one.made_at)
    slow.transport.waiting = 999
    slow.doorway.check(slow.made_at + BOUNDS.untaken_seconds / 2)
    shared.sweep(stuck.made_at + BOUNDS.untaken_seconds * 1.25)

    assert (stuck.transport.is_open, slow.transport.is_open, ended(shared)) == (False, True, {"untaken": 1})


async def test_a_client_that_always_has_more_to_take_goes_on(shared: Connections) -> None:
    """As much waits for it as before, but of later answers: it has taken the others."""
    busy = Opened(shared)
    busy.pauses(1_000)
    busy.doorway.check(busy.made_at)
    busy.doorway.resume_writing()
    busy.pauses(1_000)
    shared.sweep(busy.made_at + BOUNDS.untaken_seconds + SLACK_SECONDS)

    assert busy.transport.is_open


async def test_who_still_takes_an_answer_is_not_idle(shared: Connections) -> None:
    """However little it takes, and however long ago it asked."""
    slow = Opened(shared)
    slow.transport.waiting = 1_000
    for second in range(0, int(BOUNDS.idle_seconds) + 20, 10):
        slow.transport.waiting -= 1
        shared.sweep(slow.made_at + second)

    assert (slow.transport.is_open, ended(shared)) == (True, {})


async def test_the_head_of_a_late_request_has_as_long(shared: Connections) -> None:
    """Its time runs from its own first byte on, however long its connection was idle."""
    late = Opened(shared)
    late.doorway._began -= BOUNDS.idle_seconds / 2
    late.doorway.data_received(HALF)
    shared.sweep(late.made_at + BOUNDS.head_seconds / 2)

    assert (late.transport.written, ended(shared)) == (b"", {})


async def test_a_connection_that_closes_does_not_wait_for_ever(shared: Connections) -> None:
    """What is written before must leave first: a client that takes nothing of it is ended, and counted once."""
    one = Opened(shared)
    one.transport.waiting = 1_000
    one.doorway.check(one.made_at)
    one.doorway.shutdown()
    aborted: list[float] = []
    one.transport.abort = lambda: aborted.append(time.monotonic())  # type: ignore[method-assign]
    for _ in range(2):
        shared.sweep(one.made_at + BOUNDS.untaken_seconds + SLACK_SECONDS)

    assert (len(aborted), ended(shared)) == (1, {"untaken": 1})


@pytest.mark.parametrize("ends", ["time", "bytes"])
async def test_who_was_refused_is_heard_for_a_moment(shared: Connections, ends: str) -> None:
    """So that the answer arrives; not for longer, and of no more than so many bytes."""
    one = Opened(shared)
    one.doorway.data_received(b"nonsense\r\n\r\n")
    one.doorway.data_received(b"a" * LINGER_BYTES)
    shared.sweep(one.made_at)
    assert one.transport.written.startswith(b"HTTP/1.1 400 ")
    assert one.transport.is_open
    if ends == "time":
        shared.sweep(one.made_at + LINGER_SECONDS + SLACK_SECONDS)
    else:
        one.doorway.data_received(b"a")

    assert not one.transport.is_open


async def test_who_has_no_place_and_is_silent_is_told_so(shared: Connections) -> None:
    """After a moment; whoever is in stays."""
    inside = [Opened(shared) for _ in range(BOUNDS.max_connections)]
    outside = Opened(shared)
    assert outside.transport.written == b""
    shared.sweep(outside.made_at + TURNED_AWAY_SECONDS + SLACK_SECONDS)

    assert outside.transport.written.startswith(b"HTTP/1.1 503 ")
    assert ended(shared) == {"full": 1}
    assert all(one.transport.is_open for one in inside)


async def test_a_crowd_without_places_is_not_heard_out(shared: Connections) -> None:
    """Each connection takes an open file: past some, those that come are told so and closed at once."""
    inside = [Opened(shared) for _ in range(BOUNDS.max_connections)]
    heard = [Opened(shared) for _ in range(TURNED_AWAY)]
    crowd = [Opened(shared) for _ in range(5)]

    assert all(one.transport.is_open for one in inside + heard)
    assert [(one.transport.written[:13], one.transport.is_open) for one in crowd] == [(b"HTTP/1.1 503 ", False)] * 5
    assert ended(shared) == {"full": 5}


async def test_an_answer_too_many_is_not_kept(shared: Connections) -> None:
    """Where untaken answers pass their bound, it is the one that came last that is ended; what it held is free."""
    first, second = Opened(shared), Opened(shared)
    first.pauses(50_000)
    second.pauses(40_000)
    assert (first.transport.is_open, second.transport.is_open) == (True, False)
    second.doorway.connection_lost(None)

    assert (shared.untaken_bytes, ended(shared)) == (50_000, {"untaken": 1})


async def test_the_largest_untaken_answers_are_ended_first(shared: Connections) -> None:
    """Those that grew since they were counted."""
    small, large = Opened(shared), Opened(shared)
    small.pauses(10_000)
    large.pauses(20_000)
    large.transport.waiting = 90_000
    shared.sweep(small.made_at)

    assert (small.transport.is_open, large.transport.is_open) == (True, False)


async def test_the_bytes_of_requests_are_given_back(shared: Connections) -> None:
    """However a connection ends."""
    lost, refused = Opened(shared), Opened(shared)
    for one in (lost, refused):
        one.doorway.data_received(HALF + b"X: " + b"a" * 5_000)
    refused.doorway.data_received(b"a" * BOUNDS.head_bytes)
    held = shared.waiting_bytes
    lost.doorway.connection_lost(ConnectionResetError())

    assert (held, shared.waiting_bytes) == (len(HALF) + 5_003, 0)
    assert ended(shared) == {"waiting": 1}


class Idler:
    """A connection that notes what it is told."""

    def __init__(self, told: list["Idler"], shared: Connections) -> None:
        self._told = told
        self._shared = shared

    def check(self, now: float) -> int:
        return 0

    def end_untaken(self) -> None:
        raise AssertionError

    def go_on(self) -> None:
        assert self._shared.may_start(self, asyncio.get_running_loop())
        self._told.append(self)

    def let_go(self) -> None:
        self._shared.unused.pop(self)
        self._told.append(self)


async def test_the_application_gets_a_few_requests_a_turn(shared: Connections) -> None:
    """The others go on in the next turns, in their order, as many in each."""
    told: list[Idler] = []
    crowd, loop = [Idler(told, shared) for _ in range(3 * STARTED_A_TURN)], asyncio.get_running_loop()
    may = [shared.may_start(one, loop) for one in crowd]
    assert may == [True] * STARTED_A_TURN + [False] * 2 * STARTED_A_TURN
    await asyncio.sleep(0)
    assert told == crowd[STARTED_A_TURN : 2 * STARTED_A_TURN]
    await eventually(lambda: len(told) == 2 * STARTED_A_TURN, "all have gone on")

    assert told == crowd[STARTED_A_TURN:]
    await asyncio.sleep(0)
    assert shared.may_start(crowd[0], loop)


async def test_few_keep_what_they_do_not_use(shared: Connections) -> None:
    """The one that used it longest ago lets go."""
    told: list[Idler] = []
    crowd = [Idler(told, shared) for _ in range(KEPT_UNUSED + 2)]
    for one in crowd:
        shared.keep_unused(one)

    assert told == crowd[:2]


class SlowEvents:
    """Asks a store for each poll, which answers with `status` when it is told to."""

    def __init__(self, status: int = 200) -> None:
        self.go_on = asyncio.Event()
        self.held = self
        self._status = status

    def drain(self) -> None:
        """Nothing is held."""

    def at_once(self, question: Question, _address: str) -> EventsRequest:
        return EventsRequest(question, time.monotonic())

    async def from_stores(self, asked: EventsRequest) -> Reply:
        del asked
        await self.go_on.wait()
        return problem(self._status, "This is what the store said.")


def connections_of(events: SlowEvents) -> Connections:
    """The connections of a process whose memory has nothing."""
    front = Front(cast("Events", events), cast("Stream", None), Cors(()), "")
    return Connections(front, BOUNDS, Census(BOUNDS.max_connections))


def cold_poll(size: int) -> bytes:
    """The head of a poll, so long."""
    start, end = b"GET /api/v2/sessions/one/events HTTP/1.1\r\nx: ", b"\r\n\r\n"
    return start + b"a" * (size - len(start) - len(end)) + end


async def test_polls_that_wait_for_a_store_hold_no_more_than_their_bound() -> None:
    """What they hold is counted until they are answered; short ones always get in."""
    events = SlowEvents()
    shared = connections_of(events)
    first, second, short = [Opened(shared) for _ in range(3)]
    first.doorway.data_received(cold_poll(shared.most_waiting))
    assert (first.transport.written, shared.waiting_bytes) == (b"", shared.most_waiting)
    second.doorway.data_received(cold_poll(2_000))
    short.doorway.data_received(cold_poll(200))
    assert second.transport.written.startswith(b"HTTP/1.1 503 ")
    assert ended(shared) == {"waiting": 1}
    events.go_on.set()
    await eventually(lambda: bool(first.transport.written and short.transport.written), "both are answered")

    assert shared.waiting_bytes == 0


@pytest.mark.parametrize(("status", "remembered"), [(200, 1), (404, 1), (503, 0), (400, 0)])
async def test_a_poll_that_a_store_answered_is_remembered(status: int, remembered: int) -> None:
    """Not one that it failed: whoever may not poll fills no memory."""
    events = SlowEvents(status)
    shared = connections_of(events)
    one = Opened(shared)
    one.doorway.data_received(cold_poll(200))
    events.go_on.set()
    await eventually(lambda: bool(one.transport.written), "it is answered")

    assert len(shared.polls) == remembered
