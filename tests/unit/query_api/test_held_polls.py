"""The registry of held polls: what has them looked at, what they share, how each ends, and what is left of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from query_api.http.reply import Reply
from query_api.memory.answers import AsOf
from query_api.requests.held_polls import MAX_LOOKS, HeldPolls
from query_api.requests.places import NO_PLACE, WaitingPlaces
from query_api.requests.waiter import Conclusion, Waiter
from readmodel.errors import EventLogUnavailable, ServiceError
from tests.support.clocks import move_on
from tests.support.waiting import eventually

HOUR = 3_600.0
BEAT_SECONDS = 0.05


class Value(NamedTuple):
    """What was found of a session."""

    value: int
    freshness: AsOf
    is_followed: bool = True
    source: str = "redis"

    def lean(self) -> "Value":
        """It is short."""
        return self


class World:
    """Sessions' values, a memory of them, and a store that a test may hold up."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.memory: dict[str, Value] = {}
        self.beats: list[AsOf | None] = [AsOf(1, time.monotonic())]
        self.is_followed = True
        self.error: ServiceError | None = None
        self.gate: asyncio.Event | None = None
        self.reads: list[object] = []
        self.refused = False

    def index_of(self, session_id: str) -> int:
        """One slice."""
        del session_id
        return 0

    def now(self) -> AsOf:
        """An as-of."""
        return AsOf(time.time_ns() // 1000, time.monotonic())


class Follower(Waiter[Value]):
    """Waits until a session's value is another."""

    def __init__(
        self, world: World, session_id: str, *, key: object = "", seconds: float = HOUR, staleness: float = HOUR
    ) -> None:
        super().__init__(time.monotonic())
        self.world, self.session_id, self.key, self.until = world, session_id, key, self.came + seconds
        self.staleness_seconds = self.hold_staleness_seconds = staleness
        self.holds = world.values.get(session_id, 0)
        self.replies: list[Reply] = []
        self.freshness: AsOf | None = None
        self.deliver = self.replies.append

    @property
    def ends_at(self) -> float:
        """When its time is over."""
        return self.until

    def kept(self, now: float) -> Value | None:
        """What memory has."""
        found = self.world.memory.get(self.session_id)
        return found if found is not None and now - found.freshness.since < self.staleness_seconds else None

    async def read(self) -> Value:
        """What the store has when it is asked."""
        world = self.world
        world.reads.append(self.key)
        value = world.values.get(self.session_id, 0)
        if world.gate is not None:
            await world.gate.wait()
        if world.error is not None:
            raise world.error
        found = Value(value, world.now(), world.is_followed)
        if world.is_followed and value == world.values.get(self.session_id, 0):
            world.memory[self.session_id] = found
        return found

    def refused(self, now: float) -> Conclusion | None:
        """As the world says."""
        return Conclusion("withdrawn", Reply(401, (), b"")) if self.world.refused else None

    def answer(self, found: Value, freshness: AsOf, now: float, *, is_last: bool, woken: float) -> Conclusion | None:
        """The value, if it is news."""
        assert woken <= now
        self.freshness = freshness
        if found.value != self.holds:
            return Conclusion("news", Reply(200, (), b"%d" % found.value))
        return Conclusion("time_over", Reply(304, (), b"")) if is_last else None

    def failed(self, error: ServiceError, now: float, *, woken: float) -> Reply:
        """No store answers."""
        return Reply(503, (), str(error).encode())

    @property
    def status(self) -> int | None:
        """What it was answered, None: nothing yet."""
        assert len(self.replies) <= 1
        return self.replies[0].status if self.replies else None


@pytest.fixture
def world() -> World:
    """Nothing has happened."""
    return World()


@pytest.fixture
async def held(world: World) -> AsyncIterator[HeldPolls]:
    """A registry with ten thousand places; in the end nothing is left in it."""
    made = HeldPolls(WaitingPlaces(10_000), world, BEAT_SECONDS)
    yield made
    for group in list(made._groups()):
        for waiter in list(group.waiters):
            made.leave(waiter)
    await made.close()
    assert (made.held, made._places.taken) == (0, 0)
    assert [made._sessions, made._bounds, made._ends, made._behind] == [{}, {}, {}, {}]


def change(world: World, held: HeldPolls, session_id: str = "s") -> None:
    """Commit, and let the message be heard."""
    world.values[session_id] = world.values.get(session_id, 0) + 1
    world.memory.pop(session_id, None)
    held.changed(session_id)


async def follow(world: World, held: HeldPolls, count: int = 1, **how: object) -> list[Follower]:
    """Hold polls that have seen what there is."""
    followers = [Follower(world, "s", **how) for _ in range(count)]  # type: ignore[arg-type]
    for follower in followers:
        assert held.hold(follower) is None
    await eventually(lambda: all(follower.seen for follower in followers), "all have looked")
    return followers


async def answered(*followers: Follower) -> list[int | None]:
    """Wait for the answers."""
    await eventually(lambda: all(follower.replies for follower in followers), "all are answered")
    return [follower.status for follower in followers]


async def test_a_message_wakes_its_session_and_no_other(world: World, held: HeldPolls) -> None:
    """By one read for all who ask the same."""
    followers = await follow(world, held, 1_000)
    other = Follower(world, "t")
    held.hold(other)
    await eventually(lambda: other.seen, "it has looked")
    reads = len(world.reads)
    change(world, held)

    assert set(await answered(*followers)) == {200}
    assert (len(world.reads) - reads, other.status, held.endings) == (1, None, {"news": 1_000})


async def test_a_message_during_a_read_has_it_made_again(world: World, held: HeldPolls) -> None:
    """The poll was registered before: nothing falls between."""
    world.gate = asyncio.Event()
    follower = Follower(world, "s")
    held.hold(follower)
    await eventually(lambda: world.reads, "the store is asked")
    change(world, held)
    world.gate.set()

    assert await answered(follower) == [200]
    assert len(world.reads) == 2


async def test_what_others_had_asked_for_before_the_message_is_asked_again_soon(world: World, held: HeldPolls) -> None:
    """A read may be shared with whoever asked before: it may show nothing of what the message told of."""
    (follower,) = await follow(world, held)
    world.is_followed = False
    held.changed("s")  # nothing is new to what this reads
    world.memory.clear()
    await eventually(lambda: len(world.reads) == 2 and not follower.group.is_reading, "it was read")
    assert follower.group.looks_at <= held._ticked + 3
    world.values["s"] = 1

    assert await answered(follower) == [200]


async def test_other_keys_wait_for_what_the_first_read_leaves_in_memory(world: World, held: HeldPolls) -> None:
    """Then they need none."""
    followers = [follower for key in range(50) for follower in await follow(world, held, key=key)]
    reads = len(world.reads)
    change(world, held)

    assert set(await answered(*followers)) == {200}
    assert len(world.reads) == reads + 1


async def test_other_keys_read_for_themselves_where_that_brought_nothing(world: World, held: HeldPolls) -> None:
    """A failure of the first is no failure of theirs."""
    followers = [follower for key in range(5) for follower in await follow(world, held, key=key)]
    world.is_followed = False
    change(world, held)

    assert set(await answered(*followers)) == {200}


@pytest.mark.parametrize("is_kept", [True, False])
async def test_when_its_time_is_over_it_gets_what_there_is(
    world: World, held: HeldPolls, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From memory, or, where that has no room, by what it was shown: no message has come since."""
    (follower,) = await follow(world, held, seconds=60)
    reads = len(world.reads)
    if not is_kept:
        world.memory.clear()
        world.beats = [AsOf(2**60, time.monotonic())]
    move_on(monkeypatch, 61)

    assert await answered(follower) == [304]
    assert (len(world.reads), held.endings) == (reads, {"time_over": 1})
    assert follower.freshness is not None
    assert is_kept or follower.freshness.as_of_us == 2**60


async def test_what_is_too_old_by_then_is_read_once_more(
    world: World, held: HeldPolls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where no staleness is allowed at all."""
    (follower,) = await follow(world, held, seconds=60, staleness=0)
    reads = len(world.reads)
    move_on(monkeypatch, 61)

    assert await answered(follower) == [304]
    assert len(world.reads) == reads + 1


async def test_who_allows_no_staleness_is_told_nothing_that_was_read_before(world: World, held: HeldPolls) -> None:
    """A read that began before its request came is not its own."""
    world.gate = asyncio.Event()
    first, second = Follower(world, "s", staleness=0), Follower(world, "s", staleness=0)
    held.hold(first)
    await eventually(lambda: world.reads, "the first asks")
    second.came = time.monotonic()
    held.hold(second)
    world.gate.set()
    await eventually(lambda: second.seen, "the second was told")

    assert len(world.reads) == 2


async def test_while_no_message_would_tell_it_is_looked_at_every_second(world: World, held: HeldPolls) -> None:
    """One read for all."""
    world.is_followed = False
    followers = await follow(world, held, 10)
    reads = len(world.reads)
    world.values["s"] = 1

    assert set(await answered(*followers)) == {200}
    assert (len(world.reads), held.looks) == (reads + 1, 1)


async def test_a_break_has_all_of_its_slice_looked_at(world: World, held: HeldPolls) -> None:
    """Spread over a beat."""
    followers = [Follower(world, f"s{n}") for n in range(100)]
    for follower in followers:
        held.hold(follower)
    await eventually(lambda: all(follower.seen for follower in followers), "all have looked")
    world.values = {f"s{n}": 1 for n in range(100)}
    world.memory.clear()
    held.broken(0)

    assert set(await answered(*followers)) == {200}


async def test_no_more_are_looked_at_at_a_time_than_may_be(world: World, held: HeldPolls) -> None:
    """Where the stores are slow, the rest comes later; a message's own reads wait for nobody."""
    followers = [Follower(world, f"s{n}") for n in range(MAX_LOOKS + 20)]
    for follower in followers:
        held.hold(follower)
    await eventually(lambda: all(follower.seen for follower in followers), "all have looked")
    world.values = {follower.session_id: 1 for follower in followers}
    world.memory.clear()
    world.reads.clear()
    world.gate = asyncio.Event()
    held.broken(0)
    await eventually(lambda: len(world.reads) == MAX_LOOKS, "as many as may be are read")
    late = next(follower for follower in followers if not follower.group.is_reading)
    held.changed(late.session_id)
    await eventually(lambda: len(world.reads) == MAX_LOOKS + 1, "a message's read begins")
    world.gate.set()

    assert set(await answered(*followers)) == {200}


async def test_polls_are_looked_at_when_the_beats_have_stopped(world: World, held: HeldPolls) -> None:
    """As soon as what is known is older than its bound."""
    world.beats = [AsOf(1, time.monotonic() - 10)]
    (follower,) = await follow(world, held, staleness=0.2)
    world.values["s"] = 1

    assert await answered(follower) == [200]


async def test_a_failure_is_outlasted_while_what_is_known_is_fresh(world: World, held: HeldPolls) -> None:
    """Then the store is back."""
    (follower,) = await follow(world, held)
    world.error = EventLogUnavailable("away")
    change(world, held)
    await eventually(lambda: len(world.reads) == 2, "it was read in vain")
    world.error = None

    assert await answered(follower) == [200]


@pytest.mark.parametrize("error", [EventLogUnavailable("away"), ServiceError("broken")])
async def test_a_failure_ends_who_knows_nothing(world: World, held: HeldPolls, error: ServiceError) -> None:
    """As it ends any poll."""
    world.error = error
    follower = Follower(world, "s")
    held.hold(follower)

    assert await answered(follower) == [503]
    assert held.endings == {"failed": 1}


async def test_a_fault_of_ours_ends_the_polls_and_no_more(world: World, held: HeldPolls) -> None:
    """The next ones are held as ever."""
    followers = await follow(world, held, 3)
    world.error = ValueError("a fault")  # type: ignore[assignment]
    change(world, held)

    assert set(await answered(*followers)) == {503}
    world.error = None
    await follow(world, held)


async def test_an_answer_that_cannot_leave_keeps_nobody_elses_back(world: World, held: HeldPolls) -> None:
    """The log tells of it."""
    bad, good = await follow(world, held, 2)

    def broken(_: Reply) -> None:
        raise ValueError("a fault")

    bad.deliver = broken
    change(world, held)

    assert await answered(good) == [200]
    assert held.held == 0


async def test_who_was_let_in_is_judged_before_each_answer(world: World, held: HeldPolls) -> None:
    """And soon, when the keys change."""
    followers = await follow(world, held, 3)
    world.refused = True
    held.reconsider()

    assert set(await answered(*followers)) == {401}
    assert held.endings == {"withdrawn": 3}


async def test_who_has_left_is_told_nothing(world: World, held: HeldPolls) -> None:
    """Neither by a read under way, nor twice."""
    world.gate = asyncio.Event()
    follower = Follower(world, "s")
    held.hold(follower)
    held.leave(follower)
    held.leave(follower)
    held.end_early(follower, "half_closed")
    world.gate.set()
    await eventually(lambda: not held._reads, "the read is over")

    assert (follower.status, held.endings, held.held) == (None, {"left": 1}, 0)


async def test_drained_polls_are_answered_at_once(world: World, held: HeldPolls) -> None:
    """Who has seen nothing yet gets what is being read; nobody is held any more."""
    followers = await follow(world, held, 500)
    world.memory.clear()
    world.gate = asyncio.Event()
    late = Follower(world, "t")
    held.hold(late)
    held.drain()
    assert set(await answered(*followers)) == {304}
    assert late.status is None
    world.gate.set()
    assert await answered(late) == [304]
    later = Follower(world, "s")
    held.hold(later)

    assert await answered(later) == [304]
    assert held.endings == {"drained": 502}


async def test_a_poll_that_memory_has_no_news_for_reads_nothing(world: World, held: HeldPolls) -> None:
    """Its endpoint has just looked."""
    follower = Follower(world, "s")
    follower.seen = Value(0, world.now())
    held.hold(follower)
    held.end_early(follower, "half_closed")

    assert (follower.status, world.reads, held.endings) == (304, [], {"half_closed": 1})


async def test_past_the_bound_nobody_is_held(world: World) -> None:
    """Until a place is free."""
    held = HeldPolls(WaitingPlaces(1), world, BEAT_SECONDS)
    first, second = Follower(world, "s"), Follower(world, "s")

    assert (held.hold(first), held.hold(second)) == (None, NO_PLACE)
    held.leave(first)
    assert held.hold(second) is None
    held.leave(second)
    await held.close()


async def test_others_have_their_turns_while_a_thousand_are_told(world: World, held: HeldPolls) -> None:
    """A millisecond at a time, or one answer where that takes longer."""
    followers = await follow(world, held, 100)
    turns, told = 0, []

    def slow(_: Reply) -> None:
        told.append(turns)
        until = time.monotonic() + 0.001
        while time.monotonic() < until:
            pass

    for follower in followers:
        follower.deliver = slow
    change(world, held)
    while len(told) < 100:
        turns += 1
        await asyncio.sleep(0)

    assert len(set(told)) == 100
