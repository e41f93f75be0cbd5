"""Loads: registered first, staged later, thrown away when they were replaced meanwhile. Stores and timers are fakes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from projector.core.letters import Letters
from projector.core.operations import StagedSession
from projector.core.sessions import MAX_ARRIVED, Load, LoadFailure, LoadOutcome, NoSession, Sessions, UnfitSession
from projector.loads import loads as module
from projector.loads.loads import MAX_ATTEMPTS, WORKERS, Loader
from projector.loads.snapshot import Part
from projector.telemetry import Telemetry
from readmodel.errors import AccessRefused, BadEvents, EventLogUnavailable, ViewUnavailable
from readmodel.redis.overrides import PackedWords
from readmodel.values.event import EventRow
from readmodel.view.type_index import Entries
from tests.fakes.redis import unpacked
from tests.support.viewing import event, indexed, newest_first, part_of, within
from tests.support.waiting import eventually

SID = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
CHUNK = 10


@dataclass
class FakeSnapshot:
    """One session as a transaction sees it."""

    status: str | None
    events: list[EventRow]
    window: tuple[int, int]
    name: str = "700:701:"

    @property
    def count(self) -> int:
        return len(self.events)

    @property
    def hi(self) -> int:
        return sum(e.hash_hi for e in self.events)

    @property
    def lo(self) -> int:
        return sum(e.hash_lo for e in self.events)

    @property
    def types(self) -> dict[str, int]:
        names = [e.event_type for e in self.events]
        return {name: names.count(name) for name in names}

    async def newest(self) -> AsyncIterator[Part]:
        """Yield chunks, newest first."""
        events = within(self.events, self.window)
        for start in range(0, len(events), CHUNK):
            yield part_of(events[start : start + CHUNK])


@dataclass
class FakeReads:
    """Sessions by id; `errors` are raised first, one a snapshot; `gate` holds every snapshot until it is set."""

    sessions: dict[str, list[EventRow]] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    opened: list[str] = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    @asynccontextmanager
    async def snapshot(self, session_id: str, window: tuple[int, int]) -> AsyncIterator[FakeSnapshot]:
        """Open a snapshot as of now."""
        self.opened.append(session_id)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            events = self.sessions.get(session_id)
            await self.gate.wait()
            if self.errors:
                raise self.errors.pop(0)
            yield FakeSnapshot(None if events is None else "in_progress", list(events or ()), window)
        finally:
            self.open_now -= 1


@dataclass
class FakeWriter:
    """Collects what is staged."""

    staged: dict[str, list[bytes]] = field(default_factory=dict)
    indexed: dict[str, Entries] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)

    async def stage(self, staging: str, part: Part, index: Entries | None = None) -> None:
        if self.errors:
            raise self.errors.pop(0)
        key = self.staging_key(staging)
        assert key not in self.indexed
        self.staged.setdefault(key, []).extend(unpacked(PackedWords(2 * part.held, part.words))[1::2])
        if index is not None:
            self.indexed[key] = index

    async def unstage(self, staging_key: str) -> None:
        self.staged.pop(staging_key, None)

    def staging_key(self, staging: str) -> str:
        return f"stage:{staging}:"


@dataclass
class Bench:
    """Loads over fakes, begun by a table of sessions and worked by a task."""

    reads: FakeReads
    writer: FakeWriter
    wake: asyncio.Event
    loader: Loader
    sessions: Sessions

    async def finished(self, most: int = 10) -> list[Load]:
        """Wait for outcomes and take them."""
        await eventually(lambda: self.loader.has_finished, "a load has an outcome")
        return self.loader.take_finished(most)

    async def outcome(self) -> LoadOutcome | None:
        """Wait for the one outcome."""
        (load,) = await self.finished()
        return load.outcome


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A window of 25 events and 10 kB; backoff is immediate."""
    monkeypatch.setattr(module, "delays", lambda *_: iter([0.0]))
    reads, writer, wake = FakeReads(), FakeWriter(), asyncio.Event()
    loader = Loader(reads, writer, wake, window_events=25, window_bytes=10_000)  # type: ignore[arg-type]
    sessions = Sessions(60.0, 100, Telemetry(), loader.begin, lambda _session_id, _ending: None)
    loader.is_current = lambda load: sessions.load_of(load.session_id) is load
    working = asyncio.create_task(loader.work())
    yield Bench(reads, writer, wake, loader, sessions)
    assert not working.done(), working
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_session_is_staged_whole(bench: Bench) -> None:
    """All its events under one staging name, and the header's numbers beside."""
    events = [event(SID, score, kind) for score, kind in enumerate(["step_created", "step_created", "Odd"] * 4)]
    bench.reads.sessions[SID] = events
    bench.sessions.start(SID)
    outcome = await bench.outcome()

    assert bench.wake.is_set()
    assert isinstance(outcome, StagedSession)
    assert bench.writer.staged[outcome.staging] == [e.member for e in newest_first(events)]
    assert bench.writer.indexed[outcome.staging] == indexed(events)
    assert outcome.held == 12
    assert outcome.header == {
        "status": "in_progress",
        "count": 12,
        "hi": sum(e.hash_hi for e in events),
        "lo": sum(e.hash_lo for e in events),
        "bytes": sum(len(e.member) for e in events),
        "t:step_created": 8,
        "t:": 4,
        "newest": 11,
    }


async def test_a_session_without_events_stages_nothing(bench: Bench) -> None:
    """It is hot all the same."""
    bench.reads.sessions[SID] = []
    bench.sessions.start(SID)
    outcome = await bench.outcome()

    assert isinstance(outcome, StagedSession)
    assert (outcome.held, bench.writer.staged) == (0, {})
    assert outcome.header == {"status": "in_progress", "count": 0, "hi": 0, "lo": 0, "bytes": 0}


async def test_a_session_that_is_not_there_is_missing(bench: Bench) -> None:
    """No row, no load."""
    bench.sessions.start(SID)

    assert await bench.outcome() == NoSession()


async def test_a_long_session_keeps_its_newest_events(bench: Bench) -> None:
    """The header counts all, holds the window's, and says from where on it is complete."""
    bench.reads.sessions[SID] = [event(SID, score) for score in range(60)]
    bench.sessions.start(SID)
    outcome = await bench.outcome()

    assert isinstance(outcome, StagedSession)
    assert outcome.held == len(bench.writer.staged[outcome.staging]) == 25
    assert (outcome.header["count"], outcome.header["newest"], outcome.header["floor"]) == (60, 59, 35)
    assert outcome.header["t:step_created"] == 60


async def test_the_window_has_a_bound_in_bytes(bench: Bench) -> None:
    """Big events: fewer of them are held."""
    bench.reads.sessions[SID] = [event(SID, score, size=2_000) for score in range(15)]
    bench.sessions.start(SID)
    outcome = await bench.outcome()

    assert isinstance(outcome, StagedSession)
    assert outcome.held == 4
    assert outcome.header["bytes"] == sum(map(len, bench.writer.staged[outcome.staging]))
    assert outcome.header["floor"] == 11


async def test_a_newest_event_past_the_window_is_unfit(bench: Bench) -> None:
    """There is nothing to hold: Postgres serves it."""
    bench.reads.sessions[SID] = [event(SID, 1), event(SID, 2, size=20_000)]
    bench.sessions.start(SID)
    outcome = await bench.outcome()

    assert isinstance(outcome, UnfitSession)
    assert "10000 bytes" in outcome.reason


async def test_rows_that_cannot_be_read_are_unfit(bench: Bench) -> None:
    """They would be no better at the next try."""
    bench.reads.errors = [BadEvents("a timestamp that a sorted set cannot hold.")]
    bench.sessions.start(SID)

    assert await bench.outcome() == UnfitSession("a timestamp that a sorted set cannot hold.")
    assert bench.reads.opened == [SID]


@pytest.mark.parametrize("where", ["reads", "writer"])
async def test_an_outage_is_tried_again(bench: Bench, where: str) -> None:
    """Either store may be away for a while; each try stages under a new name."""
    bench.reads.sessions[SID] = [event(SID, 1)]
    if where == "reads":
        bench.reads.errors = [EventLogUnavailable("away.")] * (MAX_ATTEMPTS - 1)
    else:
        bench.writer.errors = [ViewUnavailable("away.")] * (MAX_ATTEMPTS - 1)
    bench.sessions.start(SID)

    assert isinstance(await bench.outcome(), StagedSession)
    assert len(bench.reads.opened) == MAX_ATTEMPTS
    assert [len(events) for events in bench.writer.staged.values()] == [1]


async def test_tries_have_an_end(bench: Bench) -> None:
    """Whoever waits for it must be told something."""
    bench.reads.errors = [EventLogUnavailable("away.")] * 100
    bench.sessions.start(SID)

    assert await bench.outcome() == LoadFailure("away.")
    assert len(bench.reads.opened) == MAX_ATTEMPTS


async def test_a_refusal_is_not_tried_again(bench: Bench) -> None:
    """A right that is missing stays missing."""
    bench.reads.errors = [AccessRefused("no.")]
    bench.sessions.start(SID)

    assert await bench.outcome() == LoadFailure("no.")
    assert len(bench.reads.opened) == 1


async def test_a_replaced_load_is_never_handed_over(bench: Bench) -> None:
    """A look while its snapshot is read: what it holds is in doubt, however it ends."""
    bench.reads.sessions[SID] = [event(SID, 1)]
    bench.reads.gate.clear()
    bench.sessions.start(SID)
    await eventually(lambda: bench.reads.opened == [SID], "the first snapshot is open")
    bench.reads.sessions[SID] = [event(SID, 1), event(SID, 2)]
    bench.sessions.restart(SID)
    bench.reads.gate.set()
    loads: list[Load] = []
    while not loads:
        loads = await bench.finished()

    assert len(loads) == 1
    assert isinstance(loads[0].outcome, StagedSession)
    assert loads[0].outcome.header["count"] == 2


async def test_a_finished_load_that_is_replaced_is_discarded(bench: Bench) -> None:
    """Between its outcome and the step that would put it."""
    bench.sessions.start(SID)
    await eventually(lambda: bench.loader.has_finished, "it has an outcome")
    bench.reads.gate.clear()
    bench.sessions.restart(SID)

    assert bench.loader.take_finished(10) == []
    assert SID in bench.sessions.loading


async def test_a_removed_load_ends_in_nothing(bench: Bench) -> None:
    """What it staged expires."""
    bench.reads.gate.clear()
    bench.sessions.start(SID)
    await eventually(lambda: bench.reads.opened == [SID], "its snapshot is open")
    bench.sessions.set_aside(SID, "it is bad")
    bench.sessions.start(OTHER)
    bench.reads.gate.set()
    sessions = {load.session_id for load in await bench.finished()} or {
        load.session_id for load in await bench.finished()
    }

    assert sessions == {OTHER}
    assert SID not in bench.sessions.loading


async def test_a_load_removed_while_it_waits_is_not_begun(bench: Bench) -> None:
    """Nobody wants it any more."""
    bench.reads.gate.clear()
    names = [f"00000000-0000-4000-8000-{number:012}" for number in range(WORKERS + 2)]
    for name in names:
        bench.sessions.start(name)
    await eventually(lambda: len(bench.reads.opened) == WORKERS, "every worker is busy")
    bench.sessions.set_aside(names[-1], "it is bad")
    bench.reads.gate.set()
    await eventually(lambda: len(bench.reads.opened) == WORKERS + 1, "the one that is left is loaded")

    assert names[-1] not in bench.reads.opened


async def test_workers_are_bounded(bench: Bench) -> None:
    """A storm of cold sessions opens so many snapshots and no more."""
    bench.reads.gate.clear()
    for number in range(40):
        bench.sessions.start(f"00000000-0000-4000-8000-{number:012}")
    await eventually(lambda: bench.reads.open_now == WORKERS, "every worker is busy")
    bench.reads.gate.set()
    await eventually(lambda: len(bench.reads.opened) == 40, "all were loaded")

    assert bench.reads.most_open == WORKERS
    assert len(bench.sessions.loading) == 40  # until each is put or removed


async def test_outcomes_are_taken_a_few_at_a_time(bench: Bench) -> None:
    """One batch must not grow without bound; what is left is still there."""
    for number in range(5):
        bench.sessions.start(f"00000000-0000-4000-8000-{number:012}")
    await eventually(lambda: len(bench.reads.opened) == 5 and not bench.reads.open_now, "all were loaded")
    first = await bench.finished(3)
    second = await bench.finished(3)

    assert (len(first), len(second)) == (3, 2)
    assert not bench.loader.has_finished


async def test_what_arrives_meanwhile_is_kept(bench: Bench) -> None:
    """Ids, a changed row, a creation: of sessions that are being loaded, not of others."""
    bench.reads.gate.clear()
    bench.sessions.start(SID)
    added: dict[str, dict[str, EventRow | None]] = {SID: {"1" * 32: None}, OTHER: {"2" * 32: None}}
    bench.sessions.hear(Letters(added, rows={SID, OTHER}, created=dict.fromkeys([SID, OTHER])))
    bench.sessions.hear(Letters({SID: {"3" * 32: None}}))
    bench.reads.gate.set()
    (load,) = await bench.finished()

    assert load.arrived.keys() == {"1" * 32, "3" * 32}
    assert load.row_changed
    assert load.created
    assert OTHER not in bench.sessions.loading


async def test_too_much_arriving_starts_it_over(bench: Bench) -> None:
    """The new snapshot holds it; the ids are not kept."""
    bench.reads.gate.clear()
    bench.sessions.start(SID)
    load = bench.sessions.load_of(SID)
    bench.sessions.hear(Letters({SID: {f"{number:032x}": None for number in range(MAX_ARRIVED)}}))
    assert bench.sessions.load_of(SID) is load
    bench.sessions.hear(Letters({SID: {"f" * 32: None}}))
    again = bench.sessions.load_of(SID)

    assert again is not None
    assert again is not load
    assert (again.arrived, again.attempts) == ({}, 1)
    bench.reads.gate.set()
    (finished,) = await bench.finished() or await bench.finished()
    assert finished is again
