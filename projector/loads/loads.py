"""Loading sessions: registered first, snapshot later, put by the batch that finds the snapshot staged."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from uuid import uuid4

from projector.core.operations import HeaderValue, StagedSession
from projector.core.sessions import Load, LoadFailure, LoadOutcome, NoSession, UnfitSession
from projector.loads.snapshot import Part, Snapshot, type_counts
from projector.reads import Reads
from projector.view.writer import ViewWriter
from readmodel.errors import BadEvents, ServiceError, StoreUnavailable, ViewFull
from readmodel.runtime import tracing
from readmodel.runtime.backoff import delays
from readmodel.runtime.supervise import first_to_end
from readmodel.view.type_index import Entries, entries_of

WORKERS = 4
"""Loads under way; where there are several slices each has its part of them, and one at least."""
MAX_ATTEMPTS = 6
_SAID = {
    StagedSession: "staged",
    NoSession: "missing",
    UnfitSession: "unfit",
    LoadFailure: "failed",
    type(None): "again",
}
"""What a trace says of a load's outcome."""


class Loader:
    """Runs the loads that the table of sessions begins; `wake` is set whenever one has an outcome.

    A load that the table replaced meanwhile (`is_current` says) is forgotten; what it staged expires.
    """

    def __init__(
        self,
        reads: Reads,
        writer: ViewWriter,
        wake: asyncio.Event,
        *,
        window_events: int,
        window_bytes: int,
        slices: int = 1,
    ) -> None:
        self.is_current: Callable[[Load], bool] = lambda _load: True
        self._reads = reads
        self._writer = writer
        self._wake = wake
        self._window = (window_events, window_bytes)
        self._workers = max(1, WORKERS // slices)
        self._queue: deque[Load] = deque()
        self._arrivals = asyncio.Event()
        self._finished: deque[Load] = deque()

    def begin(self, load: Load) -> None:
        """Queue a load; one that was tried before waits a while."""
        if load.attempts:
            delay = next(delays(0.05 * 2 ** min(load.attempts, 7)))
            asyncio.get_running_loop().call_later(delay, self._enqueue, load)
        else:
            self._enqueue(load)

    def take_finished(self, most: int) -> list[Load]:
        """Hand over loads that have an outcome and were not replaced meanwhile, `most` at most."""
        taken: list[Load] = []
        while self._finished and len(taken) < most:
            load = self._finished.popleft()
            if self.is_current(load):
                taken.append(load)
        return taken

    @property
    def has_finished(self) -> bool:
        """Tell whether there is something to take."""
        return bool(self._finished)

    async def work(self) -> None:
        """Run the loads, some at a time, for ever."""
        await first_to_end(*(self._worker() for _ in range(self._workers)))

    def _enqueue(self, load: Load) -> None:
        if self.is_current(load):
            self._queue.append(load)
            self._arrivals.set()

    async def _worker(self) -> None:
        while True:
            while not self._queue:
                self._arrivals.clear()
                await self._arrivals.wait()
            load = self._queue.popleft()
            if not self.is_current(load):
                continue
            with tracing.span("load", session_id=load.session_id, attempts=load.attempts) as span:
                load.began = True
                load.outcome = await self._try(load)
                span.note(outcome=_SAID[type(load.outcome)])
            if not self.is_current(load):
                await self._throw_away(load.outcome)
            elif load.outcome is None:
                self.begin(load)
            else:
                self._finished.append(load)
                self._wake.set()

    async def _try(self, load: Load) -> LoadOutcome | None:
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

    async def _throw_away(self, outcome: LoadOutcome | None) -> None:
        if isinstance(outcome, StagedSession) and outcome.held:
            with suppress(StoreUnavailable):  # it expires by itself
                await self._writer.unstage(outcome.staging)

    async def _stage(self, snapshot: Snapshot) -> StagedSession | NoSession | UnfitSession:
        if snapshot.status is None:
            return NoSession()
        staging = uuid4().hex
        window = await self._stage_newest(snapshot, staging)
        header: dict[str, HeaderValue] = {
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
        return StagedSession(self._writer.staging_key(staging), window.held, header, snapshot.name)

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
