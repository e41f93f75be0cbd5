"""Standing by, taking the lead, and leading term after term until the connection is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import structlog

from projector.config import ProjectorConfig
from projector.core.pace import Pace
from projector.enumeration import Enumeration
from projector.feed import Feed, TermEnded
from projector.jobs import Jobs
from projector.reads import Reads
from projector.shared_reads import SharedReads, StepReads
from projector.slice_leader import Away, SliceLeader
from projector.tail.connection import Tail, lock_key, open_tail
from projector.tail.doorbell import Doorbell
from projector.tail.lead_holders import stranger
from projector.tail.letterbox import Letterbox, ReaderReplaced
from projector.tail.reader import Wake
from projector.telemetry import Telemetry
from projector.term import SliceStores
from projector.view.shared_trips import SharedTrips, SharingClient
from projector.view.writer import ViewWriter
from projector.warmth import Warmth
from readmodel.errors import (
    AccessRefused,
    BadEvents,
    EventLogUnavailable,
    ForeignView,
    NotInstalled,
    PoolerInTheWay,
    RightsMissing,
    SchemaMissing,
    ServerInRecovery,
    ServiceError,
    StoreRefused,
    StoreUnavailable,
    ViewUnavailable,
)
from readmodel.postgres.client import target as postgres_target
from readmodel.runtime.backoff import delays
from readmodel.runtime.supervise import first_to_end
from readmodel.view.projection import fresh_reports
from readmodel.view.reader import ViewReader
from readmodel.view.slices import slot_of
from readmodel.view.whole import WholeView

REPORTING_SECONDS = 3.0
"""A leader that reported so lately lives: it reports every second."""
LEAVING_SECONDS = 0.5
"""Who ends in order tells writers that nobody reads their letters; where that takes longer, the lease lapses."""
IDENTITY_SECONDS = 5.0
"""A leader looks so often whether its Redis still goes by the same name."""
SETTLED_SECONDS = 10.0
"""Who read letters for so long did not fail: to begin anew needs no delay."""

CAUSES: Mapping[type[ServiceError], str] = {
    ServerInRecovery: "recovery",
    EventLogUnavailable: "postgres",
    ViewUnavailable: "redis",
    AccessRefused: "access",
    SchemaMissing: "schema",
    RightsMissing: "rights",
    NotInstalled: "triggers",
    PoolerInTheWay: "pooler",
    ForeignView: "foreign_view",
}
"""What ends a leader's connection, in the metrics' words; the first class that an error is of counts."""

_log = structlog.get_logger(__name__)


class Leader:
    """Competes for the lead of one view and, when it has it, runs its terms."""

    def __init__(
        self,
        config: ProjectorConfig,
        view: WholeView,
        telemetry: Telemetry,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._view = view
        self._telemetry = telemetry
        self._sleep = sleep
        self._trips = SharedTrips(view.servers)
        self._writers = [self._writer(part) for part in view.parts]
        self._refused = False
        self._identity = ""

    def _writer(self, part: ViewReader) -> ViewWriter:
        """Make what writes a slice; several share round trips."""
        config = self._config
        return ViewWriter(
            part.redis,
            part.keys,
            ttl_seconds=config.hot_ttl_seconds,
            window_events=config.window_events,
            window_bytes=config.window_bytes,
            sender=SharingClient(part.redis, slot_of(part.keys.tag), self._trips) if config.slices > 1 else None,
        )

    async def run(self) -> None:
        """Lead whenever we can, for ever, through every outage; says each state once."""
        pauses = delays(0.2, 5.0)
        while True:
            started, connections = time.monotonic(), self._telemetry.connections
            try:
                await self._connect_and_lead()
            except (StoreUnavailable, StoreRefused, BadEvents) as error:
                self._say(error)
                self._telemetry.reconnects[_cause(error)] += self._telemetry.connections - connections
            self._telemetry.stop_leading()
            if time.monotonic() - started > SETTLED_SECONDS:
                pauses = delays(0.2, 5.0)
            await self._sleep(next(pauses))

    async def _connect_and_lead(self) -> None:
        config = self._config
        async with open_tail(
            config.listen_url,
            config.database_url,
            heartbeat_seconds=config.heartbeat_seconds,
            statement_cache_size=config.statement_cache_size,
        ) as (tail, reads):
            self._telemetry.connections += 1
            await self._view.answers()  # a Redis that is away, or not ours, is said before we compete for the lead
            self._identity = await self._view.servers.identity()
            await self._stand_by(tail)
            wake, pace, jobs = Wake(asyncio.Event()), Pace(config.doorbell), Jobs(self._view)
            letterbox = Letterbox(tail, reads.tables, config.schema, config.letters_max_bytes)
            doorbell = Doorbell(config.listen_url, config.schema, self._lock_key, pace, wake.ring)
            leading = self._lead(tail, letterbox, reads, jobs, wake, pace)
            await first_to_end(jobs.hear(), jobs.tell(), doorbell.run(), self._until_renamed(), leading)

    @property
    def _lock_key(self) -> int:
        return lock_key(self._config.redis_prefix, self._identity)

    async def _until_renamed(self) -> None:
        """Return when our Redis goes by another name: whoever starts now would not know of our lead.

        A cluster's name changes when the node leaves that it is named after. A Redis that is away has no other.
        """
        while True:
            await self._sleep(IDENTITY_SECONDS)
            with suppress(StoreUnavailable, StoreRefused):
                if await self._view.servers.identity() != self._identity:
                    _log.warning("leads anew: the cluster is named after another node now")
                    return

    async def _stand_by(self, tail: Tail) -> None:
        told = False
        while not await tail.try_lock(self._lock_key):
            reported = await self._leader_reports()
            self._telemetry.role, self._telemetry.state = "standby", "waiting"
            self._name_stranger(stranger(await tail.lead_holders(self._lock_key), reported=reported))
            if not told:
                _log.info("standing by", database=postgres_target(self._config.listen_url))
                told = True
            ended = None if reported else await tail.end_frozen_leader(self._lock_key)
            if ended:
                _log.warning("ended the connection of a leader that did nothing any more", backend_pids=ended)
            await self._sleep(self._config.heartbeat_seconds)
            self._identity = await self._view.servers.identity()
        self._telemetry.begin_leading(self._config.slices)
        if not self._refused:  # else the next try to lead: said when it was refused, and when a term begins
            _log.info("leading", database=postgres_target(self._config.listen_url), redis=self._view.servers.name)

    def _name_stranger(self, sentence: str | None) -> None:
        """Say who holds the lead and is none of ours: once in the log, and in our report for as long as it does."""
        if sentence is not None and sentence != self._telemetry.reason:
            _log.warning("a stranger holds the lead", reason=sentence)
            self._telemetry.last_error = sentence
            self._telemetry.note_error(sentence)
        self._telemetry.reason = sentence

    async def _leader_reports(self) -> bool:
        """Tell whether a leader of this view reported lately; one that is frozen or without Redis does not."""
        errors: list[ServiceError] = []
        for part in self._view.reporting:
            try:
                reports = fresh_reports(await part.projectors(), await part.now_us(), REPORTING_SECONDS)
            except (StoreUnavailable, StoreRefused) as error:
                errors.append(error)
            else:
                if any(report.get("role") == "leader" for report in reports):
                    return True
        if len(errors) == len(self._view.reporting):
            raise errors[0]
        return False

    async def _lead(self, tail: Tail, letterbox: Letterbox, reads: Reads, jobs: Jobs, wake: Wake, pace: Pace) -> None:
        config, telemetry, slices = self._config, self._telemetry, self._view.slices
        warmth = Warmth(reads, slices, config.warm_limit)
        shared = SharedReads(reads)
        of_steps: StepReads = reads if slices.count == 1 else shared
        stores = [
            SliceStores(index, reads, of_steps, part, writer, jobs, warmth)
            for index, (part, writer) in enumerate(zip(self._view.parts, self._writers, strict=True))
        ]
        pauses = delays(0.1, 5.0)
        try:
            while True:
                feed, started = Feed(tail, letterbox, reads, slices, pace, wake, telemetry, config), time.monotonic()
                try:
                    await self._feed_all(feed, stores, jobs, reads)
                except (TermEnded, ReaderReplaced) as ended:
                    self._ended(ended)
                if time.monotonic() - started > SETTLED_SECONDS:
                    pauses = delays(0.1, 5.0)
                await self._sleep(next(pauses))
        finally:
            await shared.close()
            await self._trips.close()
            with suppress(StoreUnavailable, StoreRefused, TimeoutError):
                async with asyncio.timeout(LEAVING_SECONDS):
                    await letterbox.leave()

    async def _feed_all(self, feed: Feed, stores: list[SliceStores], jobs: Jobs, reads: Reads) -> None:
        """Lead every slice on one reading of the letters, until that is in doubt."""
        away = Away(len(stores))
        await feed.begin()
        leaders = (SliceLeader(one, feed, away, self._telemetry, self._config, self._sleep).run() for one in stores)
        await first_to_end(feed.run(), Enumeration(jobs, reads).run(), *leaders)

    def _ended(self, ended: TermEnded | ReaderReplaced) -> None:
        telemetry = self._telemetry
        telemetry.note_error(f"The term ended: {ended}.")
        for one in telemetry.slices or [telemetry]:
            one.state, one.reason = "catching_up", f"A new term begins: {ended}."
        _log.warning("the term ended", term=telemetry.term, reason=str(ended))

    def _say(self, error: ServiceError) -> None:
        sentence, self._refused = str(error), isinstance(error, StoreRefused)
        if sentence != self._telemetry.reason:  # once per state, not per try
            _log.warning("not live", reason=sentence)
        self._telemetry.reason = self._telemetry.last_error = sentence
        self._telemetry.note_error(sentence)


def _cause(error: ServiceError) -> str:
    return next((cause for kind, cause in CAUSES.items() if isinstance(error, kind)), "other")
