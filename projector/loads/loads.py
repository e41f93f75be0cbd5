"""Loading sessions: registered first, snapshot later, put by the batch that finds the snapshot staged."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from uuid import uuid4

from projector.core.backlog import Notices
from projector.core.operations import Argument, StagedSession
from projector.loads.snapshot import Part, Snapshot, type_counts
from projector.reads import Reads
from projector.view.writer import ViewWriter
from readmodel import tracing
from readmodel.backoff import delays
from readmodel.errors import BadEvents, ServiceError, StoreUnavailable, ViewFull
from readmodel.supervise import first_to_end
from readmodel.type_index import Entries, entries_of

WORKERS = 4
MAX_ATTEMPTS = 6
MAX_ARRIVED = 1_000
"""Events that may arrive during one load; past it the load starts over."""


@dataclass(frozen=True, slots=True)
class NoSession:
    """There is no such session."""


@dataclass(frozen=True, slots=True)
class UnfitSession:
    """The session holds what the view cannot; Postgres serves it."""

    reason: str


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A store did not answer, however often it was asked."""

    reason: str


@dataclass(eq=False, slots=True)
class Load:
    """One session on its way in.

    `arrived` collects the ids (32 hex digits) that notices name meanwhile; `row_changed` and `created` say that
    its row was named. `outcome` is set when the snapshot is staged, or cannot be.
    """

    session_id: str
    attempts: int = 0
    arrived: set[str] = field(default_factory=set)
    row_changed: bool = False
    created: bool = False
    outcome: StagedSession | NoSession | UnfitSession | LoadFailure | None = None


class Loads:
    """The loads under way, by session; `wake` is set whenever one has an outcome."""

    def __init__(
        self, reads: Reads, writer: ViewWriter, wake: asyncio.Event, *, window_events: int, window_bytes: int
    ) -> None:
        self._reads = reads
        self._writer = writer
        self._wake = wake
        self._window = (window_events, window_bytes)
        self._loads: dict[str, Load] = {}
        self._queue: deque[Load] = deque()
        self._arrivals = asyncio.Event()
        self._finished: deque[Load] = deque()

    def __len__(self) -> int:
        return len(self._loads)

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._loads

    def get(self, session_id: str) -> Load | None:
        """Give the load of a session, if one is under way."""
        return self._loads.get(session_id)

    def start(self, session_id: str, attempts: int = 0) -> None:
        """Register a load, in place of one under way. Events named from now on must be noted in `arrived`."""
        load = self._loads[session_id] = Load(session_id, attempts)
        if attempts:
            delay = next(delays(0.05 * 2 ** min(attempts, 7)))
            asyncio.get_running_loop().call_later(delay, self._enqueue, load)
        else:
            self._enqueue(load)

    def restart(self, session_id: str) -> None:
        """Start a load over, with backoff: what its snapshot holds is in doubt."""
        self.start(session_id, self._loads[session_id].attempts + 1)

    def note(self, taken: Notices) -> None:
        """Note what was named while loads were under way."""
        for session_id, ids in taken.added.items():
            load = self._loads.get(session_id)
            if load:
                load.arrived |= ids
                if len(load.arrived) > MAX_ARRIVED:
                    self.restart(session_id)
        for session_id in taken.rows & self._loads.keys():
            self._loads[session_id].row_changed = True
        for session_id in taken.created.keys() & self._loads.keys():
            self._loads[session_id].created = True

    def remove(self, session_id: str) -> None:
        """Forget a load; what it stages expires."""
        self._loads.pop(session_id, None)

    def take_finished(self, most: int) -> Iterator[Load]:
        """Hand over loads that have an outcome and were not replaced meanwhile, `most` at most."""
        while self._finished and most:
            load = self._finished.popleft()
            if self._loads.get(load.session_id) is load:
                most -= 1
                yield load

    @property
    def has_finished(self) -> bool:
        """Tell whether there is something to take."""
        return bool(self._finished)

    async def work(self) -> None:
        """Run the loads, WORKERS at a time, for ever."""
        await first_to_end(*(self._worker() for _ in range(WORKERS)))

    def _enqueue(self, load: Load) -> None:
        if self._loads.get(load.session_id) is load:
            self._queue.append(load)
            self._arrivals.set()

    async def _worker(self) -> None:
        while True:
            while not self._queue:
                self._arrivals.clear()
                await self._arrivals.wait()
            load = self._queue.popleft()
            if self._loads.get(load.session_id) is not load:
                continue
            with tracing.span("load", session_id=load.session_id, attempts=load.attempts) as span:
                load.outcome = await self._try(load)
                span.note(outcome=type(load.outcome).__name__.lower() if load.outcome else "again")
            if self._loads.get(load.session_id) is not load:
                await self._throw_away(load.outcome)
            elif load.outcome is None:
                self._again(load)
            else:
                self._finished.append(load)
                self._wake.set()

    async def _try(self, load: Load) -> StagedSession | NoSession | UnfitSession | LoadFailure | None:
        try:
            async with self._reads.snapshot(load.session_id, self._window) as snapshot:
                return await self._stage(snapshot)
        except BadEvents as error:
            return UnfitSession(str(error))
        except ViewFull as error:
            return LoadFailure(str(error))
        except StoreUnavailable as error:
            load.attempts += 1
            return LoadFailure(str(error)) if load.attempts >= MAX_ATTEMPTS else None
        except ServiceError as error:
            return LoadFailure(str(error))

    async def _throw_away(self, outcome: StagedSession | NoSession | UnfitSession | LoadFailure | None) -> None:
        if isinstance(outcome, StagedSession) and outcome.held:
            with suppress(StoreUnavailable):  # it expires by itself
                await self._writer.unstage(outcome.staging)

    def _again(self, load: Load) -> None:
        delay = next(delays(0.05 * 2**load.attempts))
        asyncio.get_running_loop().call_later(delay, self._enqueue, load)

    async def _stage(self, snapshot: Snapshot) -> StagedSession | NoSession | UnfitSession:
        if snapshot.status is None:
            return NoSession()
        staging = uuid4().hex
        window = await self._stage_newest(snapshot, staging)
        header: dict[str, Argument] = {
            "status": snapshot.status,
            "count": snapshot.count,
            "hi": snapshot.hi,
            "lo": snapshot.lo,
            "bytes": window.bytes,
            **type_counts(snapshot.types),
        }
        if window.newest is not None and window.lowest is not None:
            header["newest"] = window.newest
            if window.held < snapshot.count:
                header["floor"] = window.lowest
        elif snapshot.count:
            return UnfitSession(f"its newest event is longer than the window of {self._window[1]} bytes")
        return StagedSession(self._writer.staging_key(staging), window.held, header)

    async def _stage_newest(self, snapshot: Snapshot, staging: str) -> _Window:
        window = _Window()
        last: Part | None = None
        async with aclosing(snapshot.newest()) as parts:
            async for part in parts:
                if last:
                    await self._writer.stage(staging, last)
                window.take(part)
                last = part
        if last:
            await self._writer.stage(staging, last, window.index())
        return window


@dataclass(slots=True)
class _Window:
    """What a load holds: how many events, their bytes, and the scores of the first and the last."""

    held: int = 0
    bytes: int = 0
    newest: int | None = None
    lowest: int | None = None
    _entries: defaultdict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))

    def take(self, part: Part) -> None:
        self.held += part.held
        self.bytes += part.size
        self.newest = part.newest if self.newest is None else self.newest
        self.lowest = part.lowest
        for name, entries in part.entries.items():
            self._entries[name] += entries

    def index(self) -> Entries:
        return {name: sorted(entries_of(packed)) for name, packed in self._entries.items()}
