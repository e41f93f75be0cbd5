"""How long the service takes to heal: an event is committed after each fault, and polled for as a dashboard does."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from statistics import median
from uuid import UUID, uuid4

from readmodel.errors import DemoError, EventLogUnavailable
from readmodel.postgres.client import connect, translated
from readmodel.runtime.backoff import delays
from readside.demo.access import DemoAccess
from readside.demo.announcer import Announcer, sentence
from readside.demo.moves import NewSession, Record, SetStatus, Transaction
from readside.demo.processes import first_true
from readside.demo.sample_log import write
from readside.demo.watch import get

APPLICATION_NAME = "readside-demo"
HEAL_SECONDS = 60.0
VIEW = frozenset({"memory", "redis"})
PAGE = 50  # more faults than can be under way at a time
FAULTS_SESSION = UUID("fa0175fa-0175-4a01-8fa0-175fa0175fa0")
"""Each fault and each recovery is an event of this session, so that the console shows them."""
_SESSION = NewSession("demo_faults", "interactive", "/srv/projects/demo", {"writer": "demo"})


@dataclass(frozen=True, slots=True)
class Recovery:
    """How the service healed from a fault, in seconds since it.

    A poll saw a commit made since after `seen_seconds`, and where: memory, redis or postgres. From `healed_seconds` on
    the view answered.
    """

    what: str
    seen_in: str
    seen_seconds: float
    healed_seconds: float

    def line(self) -> str:
        """What happened and how long it took to heal, in one line."""
        line = f"{self.what}: healed in {self.healed_seconds:.1f} s"
        if self.seen_in == "postgres":
            line += f" (PostgreSQL answered from {self.seen_seconds:.1f} s on)"
        return f"{line}."


@dataclass
class HealMeter:
    """Measures by the API on `port`. Where only the user knows how to poll, nothing is measured."""

    announcer: Announcer
    database_url: str
    port: int
    access: DemoAccess
    recoveries: list[Recovery] = field(default_factory=list)

    @property
    def able(self) -> bool:
        """Whether it knows how to poll."""
        return self.access.headers(str(FAULTS_SESSION)) is not None

    async def measure(self, what: str, since: float) -> None:
        """Wait until the service has healed from what happened at `since` (monotonic), say so, and keep the figures.

        It has healed once a poll shows an event that was committed since, from memory or Redis. Raises DemoError where
        that takes longer than a minute.
        """
        fault = Record(uuid4(), "fault_injected", {"what": what}, sentence(f"{what}."))
        try:
            async with asyncio.timeout(HEAL_SECONDS):
                await self._commit(fault)
                seen_in = await first_true(partial(self._source_of, fault.id))
                seen_seconds = time.monotonic() - since
                await first_true(partial(self._in_view, fault.id))
                recovery = Recovery(what, seen_in, seen_seconds, time.monotonic() - since)
        except TimeoutError as exc:
            raise DemoError(f"{sentence(what)}, and nothing healed within {HEAL_SECONDS:.0f} s.") from exc
        self.announcer.news(recovery.line(), "green")
        self.recoveries.append(recovery)
        await self._commit(_told(recovery))  # all is well by now: however long this takes, it is no fault's time

    def summary(self) -> str:
        """All recoveries in one line; "" where there were none."""
        if not self.recoveries:
            return ""
        times = [recovery.healed_seconds for recovery in self.recoveries]
        count = "1 fault" if len(times) == 1 else f"{len(times)} faults"
        return f"{count}, each healed: {median(times):.1f} s in the median, {max(times):.1f} s at most."

    async def _in_view(self, event_id: UUID) -> bool:
        return await self._source_of(event_id) in VIEW

    async def _source_of(self, event_id: UUID) -> str | None:
        """The source of an answer that has the event; None where none has."""
        session = str(FAULTS_SESSION)
        target = f"/api/v2/sessions/{session}/events?limit={PAGE}"
        answer = await get(self.port, target, self.access.headers(session))
        if answer.status != 200 or str(event_id).encode() not in answer.body:
            return None
        return answer.headers.get("readside-source")

    async def _commit(self, event: Record) -> None:
        """Write into the session of faults, which is made with its first event; waits while PostgreSQL is away."""
        changes = (_SESSION, SetStatus("in_progress"), event)
        for delay in delays(first_seconds=0.05, cap_seconds=0.5):
            try:
                return await self._write(Transaction(changes))
            except EventLogUnavailable:
                await asyncio.sleep(delay)
        raise AssertionError("delays never end")

    async def _write(self, transaction: Transaction) -> None:
        connection = await connect(self.database_url, application_name=APPLICATION_NAME, owners_path=True)
        try:
            with translated(self.database_url):
                await write(connection, session_id=FAULTS_SESSION, transaction=transaction, now=datetime.now(UTC))
        finally:
            connection.terminate()


def _told(recovery: Recovery) -> Record:
    data = {"what": recovery.what, "seconds": round(recovery.healed_seconds, 3)}
    return Record(uuid4(), "fault_healed", data, sentence(recovery.line()))
