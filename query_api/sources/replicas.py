"""The hot standbys that may answer cold polls: which of them are fit, and why the others are left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import structlog

from query_api.sources.fallback import Fallback
from readmodel.errors import (
    BeatNotPassed,
    ConfigurationError,
    EventLogUnavailable,
    RecoveryConflict,
    ServiceError,
    StandbyUnfit,
    StoreRefused,
    UnfitState,
)
from readmodel.postgres.standby_log import StandbyServer, another_cluster, another_timeline, promoted
from readmodel.values.poll import Poll
from readmodel.values.wal import Proof, latest_passed

LOOK_SECONDS = 1.0
"""So often each standby is looked at, whether or not anybody polls."""
LOOK_PATIENCE_SECONDS = 3.0
"""One that has not answered by then is away."""

State = Literal["fit", "away", "refused"] | UnfitState
"""`refused`: it answers, and somebody has to mend rights, schema or version before it is read."""
STATES: tuple[State, ...] = ("fit", "lagging", "promoted", "another_cluster", "another_timeline", "away", "refused")

_log = structlog.get_logger(__name__)


class Standby(Protocol):
    """A server that may answer as a hot standby."""

    async def look(self) -> StandbyServer:
        """Ask the server who it is, and whether it can be read."""

    async def leave(self) -> None:
        """Use no connection that there is any more."""


class ReplicaConfig(NamedTuple):
    """What is told of all standbys: how stale an answer may be, and what gives the beats that they are held against.

    `database` gives our own database's identity, "" while it is not known.
    """

    max_staleness_seconds: float
    proofs: Callable[[], Sequence[Proof]]
    database: Callable[[], str]


class Replica:
    """One of them: its name (`host:port`), its state, and its queries.

    It is left out as soon as a query of it fails in a way that others would too, and comes back when a look at it, once
    a second, finds it fit. Each change is said once.
    """

    fallback: Fallback
    """Its queries, in a line of their own."""

    def __init__(
        self, name: str, standby: Standby, config: ReplicaConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._standby = standby
        self.state: State = "away"
        self.reason: str | None = f"PostgreSQL at {name} has not answered yet."
        self.lag_seconds: float | None = None
        """How old the latest beat was that it had passed, when it was looked at."""
        self.answers = 0
        self._config = config
        self._clock = clock
        self._error: ServiceError = EventLogUnavailable(self.reason)
        self._failed_at = float("-inf")
        self._is_told = False

    @property
    def is_fit(self) -> bool:
        """Whether it may answer."""
        return self.state == "fit"

    def can_meet(self, staleness_seconds: float, not_before_us: int) -> bool:
        """Tell whether the last beat that was heard is as fresh as an answer is wanted: no standby's is as of a later.

        Else polls would be asked twice for as long as no beat comes.
        """
        last = next(reversed(self._config.proofs()), None)
        if last is None or last.as_of_us < not_before_us:
            return False
        return self._clock() - last.since <= staleness_seconds

    @property
    def busy(self) -> int:
        """How many queries run or wait."""
        return self.fallback.running + self.fallback.waiting

    def admit(self) -> None:
        """Let a query through; raises why not."""
        if not self.is_fit:
            raise self._error

    def succeeded(self) -> None:
        """Note an answer: fitness is for looks to find."""

    def failed(self, error: ServiceError, _called_at: float) -> None:
        """Note a query that failed.

        A conflict with replay concerns that query alone, and a beat that was not passed one slice: after a missed
        message its beats are few. How far the server lags is for looks to find.
        """
        if not isinstance(error, RecoveryConflict | BeatNotPassed):
            self._failed_at = self._clock()
            self._leave_out(error)

    async def run(self) -> None:
        """Look at it again and again."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look at it once."""
        began = self._clock()
        try:
            async with asyncio.timeout(LOOK_PATIENCE_SECONDS):
                found = await self._standby.look()
            self._judge(found)
        except TimeoutError:
            self._leave_out(EventLogUnavailable(f"PostgreSQL at {self.name} does not answer in time."))
        except ServiceError as error:
            self._leave_out(error)
            if self.state in {"promoted", "another_cluster"}:
                await self._standby.leave()  # the address may lead to another server by now
        else:
            if self._failed_at < began:  # what failed meanwhile may be later than what was seen
                self._come_back()

    def report(self) -> dict[str, Any]:
        """Say how it is."""
        lag = self.lag_seconds
        return {
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "lag_ms": None if lag is None else int(lag * 1000),
        }

    def _judge(self, found: StandbyServer) -> None:
        """Raise why a server is not fit. While no beat is heard nobody can say how far it lags, and it is not asked."""
        self.lag_seconds = None
        ours = self._config.database()
        if not found.in_recovery:
            raise promoted(self.name)
        if ours and found.database != ours:
            raise another_cluster(self.name, found.database, ours)
        proofs = self._config.proofs()
        if not proofs:
            return
        if found.timeline != proofs[-1].wal.timeline:
            raise another_timeline(self.name, found.timeline, proofs[-1].wal.timeline)
        passed = latest_passed(proofs, found.replayed)
        self.lag_seconds = None if passed is None else max(0.0, self._clock() - passed.since)
        bound = self._config.max_staleness_seconds
        behind = max(0.0, proofs[-1].since - passed.since) if passed else None
        if behind is None or behind > bound:
            told = "more than it is remembered" if behind is None else f"{behind:.1f} s"
            raise StandbyUnfit(
                "lagging", f"PostgreSQL at {self.name} is {told} behind the primary; {bound:g} s are allowed."
            )

    def _leave_out(self, error: ServiceError) -> None:
        state: State = "away"
        if isinstance(error, StandbyUnfit):
            state = error.state
        elif isinstance(error, StoreRefused | ConfigurationError):
            state = "refused"
        if (state, True) != (self.state, self._is_told):
            _log.warning("a hot standby is left out", replica=self.name, state=state, reason=str(error))
        self.state, self.reason, self._error, self._is_told = state, str(error), error, True

    def _come_back(self) -> None:
        if not self.is_fit:
            _log.info("a hot standby answers cold polls", replica=self.name)
        self.state, self.reason, self._is_told = "fit", None, True


class Replicas:
    """All of them."""

    def __init__(self, replicas: Sequence[Replica] = ()) -> None:
        self.all = replicas

    def best(
        self, poll: Poll, staleness_seconds: float, not_before_us: int, primary: Fallback, places: int
    ) -> Replica | None:
        """Choose who shall answer a poll; None: the primary. One that answers the same poll already, or the least busy.

        The primary helps out where all of them have as many queries as they have `places`, and it has fewer.
        """
        able = [each for each in self.all if each.is_fit and each.can_meet(staleness_seconds, not_before_us)]
        fit = [each for each in able if (each.lag_seconds or 0.0) <= staleness_seconds]
        if not fit:
            return None
        least = min(fit, key=lambda each: (not each.fallback.has(poll), each.busy))
        if least.fallback.has(poll) or least.busy < places:
            return least
        return None if primary.running + primary.waiting < least.busy else least

    def report(self) -> list[dict[str, Any]]:
        """Say how each is."""
        return [each.report() for each in self.all]

    async def close(self) -> None:
        """Cancel what is under way."""
        for each in self.all:
            await each.fallback.close()
