"""The registry of held polls: who waits for news of which session, what has them looked at, and how each one ends.

No task waits for a held poll. It is an entry under its session and one in a wheel of ends; one timer turns the wheel.
A message that drops a session's answers from memory wakes its polls. Those with equal keys form a group: memory is
looked at once for all of them, or else one read of a store is made. A message that comes while it is made has it made
again. What is woken, told and ended takes a millisecond of the loop at a time, and then lets others have their turn.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import structlog

from query_api.http.reply import Reply
from query_api.http.request_id import naming, nobodys
from query_api.memory.answers import AsOf
from query_api.requests.places import NO_PLACE, WaitingPlaces
from query_api.requests.waiter import Conclusion, Ending, LookResult, Waiter
from readmodel.errors import Overload, ServiceError, StoreUnavailable

TICK_SECONDS = 0.05
"""A poll is let go so much after its time at most."""
LOOK_SECONDS = 1.0
"""While no message would tell of news, it is looked for so often."""
TURN_SECONDS = 0.001
"""Held polls take so much of a turn of the loop, and whoever else wants it comes next."""
MAX_LOOKS = 64
"""Reads at a time: past it those that no message and no new poll asks for wait for the next tick."""

_log = structlog.get_logger(__name__)
AnyWaiter = Waiter[Any]


class Beats(Protocol):
    """What is heard of each slice: the response cache."""

    @property
    def beats(self) -> Sequence[AsOf | None]:
        """The last as-of heard of each slice in its present unbroken stretch of messages."""

    def index_of(self, session_id: str) -> int:
        """Tell which slice a session is in."""


class _Group:
    """The waiters of one session that have one key."""

    __slots__ = (
        "again",
        "bound_seconds",
        "freshness",
        "index",
        "is_due",
        "is_followed",
        "is_reading",
        "is_urgent",
        "key",
        "looks_at",
        "session_id",
        "waiters",
        "wakes",
        "woken",
    )

    def __init__(self, waiter: AnyWaiter, index: int) -> None:
        self.session_id = waiter.session_id
        self.key = waiter.key
        self.index = index
        self.bound_seconds = waiter.hold_staleness_seconds
        self.waiters: dict[AnyWaiter, None] = {}
        self.wakes = 0
        """How often something came up that may have changed what was found."""
        self.woken = 0.0
        """The monotonic second when it last did."""
        self.freshness: AsOf | None = None
        self.is_followed = self.is_due = self.is_reading = self.again = False
        self.is_urgent = False
        """Whether its read waits for no others: a message named it, or somebody's time is over."""
        self.looks_at = 0
        """The tick at which it is to be looked at again; 0: none."""


class _Telling(NamedTuple):
    """What a look or a read brought, to be told to those who waited then; `began` is when that was."""

    group: _Group
    waiters: deque[AnyWaiter]
    found: LookResult | ServiceError
    wakes: int
    began: float


class HeldPolls:
    """The held polls of one process. Everything is called in the loop's own thread."""

    def __init__(self, places: WaitingPlaces, beats: Beats, heartbeat_seconds: float) -> None:
        self._places = places
        self._beats = beats
        self._heartbeat_seconds = heartbeat_seconds
        self._sessions: dict[str, dict[Hashable, _Group]] = {}
        self._bounds: Counter[tuple[int, float]] = Counter()  # groups by slice and hold_staleness_seconds
        self._ends: defaultdict[int, dict[AnyWaiter, None]] = defaultdict(dict)
        self._looks: defaultdict[int, list[_Group]] = defaultdict(list)
        self._due: deque[_Group] = deque()
        self._tellings: deque[_Telling] = deque()
        self._over: deque[AnyWaiter] = deque()
        self._suspects: deque[AnyWaiter] = deque()
        self._behind: dict[str, list[_Group]] = {}
        self._reads: set[asyncio.Task[None]] = set()
        self._ticked = 0
        self._beats_checked = 0.0
        self._runs = self._ticks = self._drains = False
        self.held = 0
        self.wakes = self.looks = self.reads = 0
        """Groups woken by messages, looked at since nobody told of them, and reads of a store."""
        self.endings: Counter[Ending] = Counter()

    # What endpoints call.

    def hold(self, waiter: AnyWaiter) -> Reply | None:
        """Hold a poll; gives the refusal where no place is free.

        Where it has seen nothing yet a store is read, and what that gives may be the answer.
        """
        if not self._places.take():
            return NO_PLACE
        now = time.monotonic()
        self._tick_soon()
        group = self._join(waiter)
        self._place(waiter)
        if self._drains:
            waiter.is_over, waiter.ending = True, "drained"
        if waiter.seen is not None:
            self._note(group, waiter.seen, group.wakes, now)
            self._hold_on(waiter, waiter.seen, group.wakes)
            if waiter.is_over:
                self._conclude(waiter, now)
        elif not group.is_reading:
            self._read(group, now)
        elif waiter.staleness_seconds <= 0:
            group.again = True
        return None

    def leave(self, waiter: AnyWaiter) -> None:
        """Forget a poll whose client is gone."""
        if waiter.group is not None:
            self._forget(waiter, "left")

    def end_early(self, waiter: AnyWaiter, ending: Ending) -> None:
        """Answer a poll with what is known of late, or else with what is being read for it."""
        if waiter.group is not None:
            waiter.is_over, waiter.ending = True, ending
            if waiter.seen is not None:
                self._conclude(waiter, time.monotonic())

    # What the composition root calls.

    def changed(self, session_id: str) -> None:
        """A message named a session: what was found of it may be so no longer."""
        groups = self._sessions.get(session_id)
        if groups is not None:
            now = time.monotonic()
            for group in groups.values():
                self.wakes += 1
                self._wake(group, now)
                if not group.is_reading:
                    group.is_urgent = True
                    self._look_soon(group)

    def broken(self, index: int) -> None:
        """Any session of a slice may have changed, and who knows since when: look at all of them within a beat."""
        now = time.monotonic()
        found = [group for group in self._groups() if group.index == index]
        for group in found:
            self._wake(group, now)
        self._spread(found, now)

    def reconsider(self) -> None:
        """Who was let in may be refused now: judge everybody anew, soon."""
        self._suspects.extend(waiter for group in self._groups() for waiter in group.waiters)
        self._run_soon()

    def drain(self) -> None:
        """Answer everybody with what is known, and hold nobody from now on."""
        if not self._drains:
            self._drains = True
            for group in self._groups():
                for waiter in group.waiters:
                    waiter.is_over, waiter.ending = True, "drained"
                    self._over.append(waiter)
            self._run_soon()

    async def close(self) -> None:
        """End the reads that are under way."""
        for task in self._reads:
            task.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)

    # Groups and places.

    def _groups(self) -> Iterable[_Group]:
        return (group for groups in self._sessions.values() for group in groups.values())

    def _join(self, waiter: AnyWaiter) -> _Group:
        groups = self._sessions.setdefault(waiter.session_id, {})
        group = groups.get(waiter.key)
        if group is None:
            group = groups[waiter.key] = _Group(waiter, self._beats.index_of(waiter.session_id))
            self._bounds[group.index, group.bound_seconds] += 1
        group.waiters[waiter] = None
        waiter.group = group
        self.held += 1
        return group

    def _forget(self, waiter: AnyWaiter, ending: Ending) -> None:
        group: _Group = waiter.group
        waiter.group = None
        self.held -= 1
        self._places.free()
        self.endings[ending] += 1
        self._displace(waiter)
        del group.waiters[waiter]
        if not group.waiters:
            groups = self._sessions[group.session_id]
            del groups[group.key]
            if not groups:
                del self._sessions[group.session_id]
            bound = group.index, group.bound_seconds
            self._bounds[bound] -= 1
            if not self._bounds[bound]:
                del self._bounds[bound]

    def _place(self, waiter: AnyWaiter) -> None:
        """Put a waiter where its time is over; that may have changed."""
        place = max(int(waiter.ends_at / TICK_SECONDS), self._ticked) + 1
        if place != waiter.place:
            if waiter.place:
                self._displace(waiter)
            waiter.place = place
            self._ends[place][waiter] = None

    def _displace(self, waiter: AnyWaiter) -> None:
        ending = self._ends[waiter.place]
        del ending[waiter]
        if not ending:
            del self._ends[waiter.place]

    def _wake(self, group: _Group, now: float) -> None:
        group.wakes += 1
        group.woken = now
        group.is_followed = False
        if group.is_reading:
            group.again = True

    # The passing of time.

    def _tick_soon(self) -> None:
        if not self._ticks:
            self._ticks = True
            self._looks.clear()  # of groups that are gone: nobody was held
            self._ticked = int(time.monotonic() / TICK_SECONDS)
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick, context=nobodys())

    def _tick(self) -> None:
        """End whose time is over, and look at what is to be looked at."""
        self._ticks = bool(self.held)
        if self._ticks:
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick, context=nobodys())
        now = time.monotonic()
        reached = int(now / TICK_SECONDS)
        for place in range(self._ticked + 1, reached + 1):
            self._over.extend(self._ends.get(place, ()))
            for group in self._looks.pop(place, ()):
                if group.looks_at == place:
                    group.looks_at = 0
                    if group.waiters and not group.is_reading:
                        self.looks += 1
                        group.woken = now
                        self._look_soon(group)
        self._ticked = max(self._ticked, reached)
        if now - self._beats_checked >= LOOK_SECONDS:
            self._beats_checked = now
            self._check_beats(now)
        self._run_soon()

    def _check_beats(self, now: float) -> None:
        """Look at the groups of slices whose beats have stopped, as soon as what is known of them is too old."""
        beats = self._beats.beats
        stale = {bound for bound in self._bounds if (beat := beats[bound[0]]) and now - beat.since >= bound[1]}
        if stale:
            self._spread(
                [
                    group
                    for group in self._groups()
                    if (group.index, group.bound_seconds) in stale
                    and group.freshness is not None
                    and now - group.freshness.since >= group.bound_seconds
                    and not group.is_reading
                ],
                now,
            )

    def _spread(self, groups: Sequence[_Group], now: float) -> None:
        for place, group in enumerate(groups):
            self._look_at(group, now + self._heartbeat_seconds * place / len(groups))

    def _look_at(self, group: _Group, at: float) -> None:
        place = max(int(at / TICK_SECONDS), self._ticked) + 1
        if not group.looks_at or place < group.looks_at:
            group.looks_at = place
            self._looks[place].append(group)

    # What is done a millisecond at a time.

    def _look_soon(self, group: _Group) -> None:
        if not group.is_due:
            group.is_due = True
            self._due.append(group)
            self._run_soon()

    def _run_soon(self) -> None:
        if not self._runs and (self._tellings or self._due or self._over or self._suspects):
            self._runs = True
            asyncio.get_running_loop().call_soon(self._run, context=nobodys())

    def _run(self) -> None:
        self._runs = False
        now = time.monotonic()
        until = now + TURN_SECONDS
        while now < until:
            if self._tellings:
                self._tell_one(now)
            elif self._due:
                self._look(self._due.popleft(), now)
            elif self._over:
                self._conclude(self._over.popleft(), now)
            elif self._suspects:
                self._judge(self._suspects.popleft(), now)
            else:
                return
            now = time.monotonic()
        self._run_soon()

    def _look(self, group: _Group, now: float) -> None:
        """Look into memory for a group, or have a store read."""
        group.is_due = False
        if not group.waiters:
            return
        if group.is_reading:
            group.again = True
            return
        first = next(iter(group.waiters))
        found = first.kept(now)
        if found is not None:
            self._bring(group, found, group.wakes, now)
        elif not group.is_urgent and len(self._reads) >= MAX_LOOKS:
            self._look_at(group, now + TICK_SECONDS)
        elif first.fills_memory and group.session_id in self._behind:
            self._behind[group.session_id].append(group)
        else:
            if first.fills_memory:
                self._behind[group.session_id] = []
            self._read(group, now, leads=first.fills_memory)

    def _read(self, group: _Group, now: float, *, leads: bool = False) -> None:
        again_in = TICK_SECONDS if group.is_urgent else LOOK_SECONDS
        group.is_reading, group.again, group.is_urgent = True, False, False
        self.reads += 1
        asking = self._ask(group, next(iter(group.waiters)), now, again_in, leads=leads)
        task = asyncio.get_running_loop().create_task(asking, context=nobodys())
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _ask(self, group: _Group, first: AnyWaiter, began: float, again_in: float, *, leads: bool) -> None:
        """Read a store for a group; what waited for what that leaves in memory is looked at then.

        `again_in`: what a message has looked for may be given by a read of others' that was under way before; then it
        is looked for again soon.
        """
        wakes = group.wakes
        found: LookResult | ServiceError
        try:
            with naming(first.name):
                found = await first.read()
        except ServiceError as error:
            found = error
        except Exception:  # noqa: BLE001 (whatever is wrong with one read, its callers get an answer)
            with naming(first.name):
                _log.exception("a held poll's read failed", session_id=group.session_id)
            found = ServiceError("Something in the server went wrong; it is in the server's log.")
        finally:
            group.is_reading = False
            for other in self._behind.pop(group.session_id, ()) if leads else ():
                self._look_soon(other)
        self._bring(group, found, wakes, began, again_in)

    def _bring(
        self,
        group: _Group,
        found: LookResult | ServiceError,
        wakes: int,
        began: float,
        again_in: float = LOOK_SECONDS,
    ) -> None:
        """Tell a group's waiters what was found, soon; and see to it that it is looked at again in time."""
        if not group.waiters:
            return
        now = time.monotonic()
        if isinstance(found, ServiceError):
            self._look_at(group, now + LOOK_SECONDS)
        else:
            self._note(group, found, wakes, now, again_in)
        self._tellings.append(_Telling(group, deque(group.waiters), found, wakes, began))
        if group.again:
            group.again, group.is_urgent = False, True
            self._look_soon(group)
        self._run_soon()

    def _note(self, group: _Group, found: LookResult, wakes: int, now: float, again_in: float = LOOK_SECONDS) -> None:
        group.freshness = found.freshness
        group.is_followed = found.is_followed and wakes == group.wakes
        if not group.is_followed:
            self._look_at(group, now + again_in)

    # How a waiter is told, and ends.

    def _tell_one(self, now: float) -> None:
        telling = self._tellings[0]
        waiter = telling.waiters.popleft()
        if not telling.waiters:
            self._tellings.popleft()
        if waiter.group is telling.group:
            self._tell(waiter, telling, now)

    def _tell(self, waiter: AnyWaiter, telling: _Telling, now: float) -> None:
        group, found = telling.group, telling.found
        ended, woken = waiter.refused(now), max(waiter.came, group.woken)
        if ended is None and isinstance(found, ServiceError):
            if self._outlasts(waiter, found, now):
                return
            ended = Conclusion("failed", waiter.failed(found, now, woken=woken))
        elif ended is None and not isinstance(found, ServiceError):
            if waiter.staleness_seconds <= 0 and waiter.came > telling.began:
                return  # what it is told is to be read after its request came
            freshness, is_last = self._raised(group, found, telling.wakes), waiter.is_over or now >= waiter.ends_at
            ended = waiter.answer(found, freshness, now, is_last=is_last, woken=woken)
            if ended is None:
                self._hold_on(waiter, found, telling.wakes)
                self._place(waiter)
        if ended is not None:
            self._end(waiter, ended)

    def _outlasts(self, waiter: AnyWaiter, error: ServiceError, now: float) -> bool:
        """Whether a waiter is held though no store could be read: what it was shown is not too old yet."""
        seen: LookResult | None = waiter.seen
        if seen is None or waiter.is_over or not isinstance(error, Overload | StoreUnavailable):
            return False
        group: _Group = waiter.group
        return self._raised(group, seen, waiter.wakes).lag_seconds(now) < waiter.staleness_seconds

    def _hold_on(self, waiter: AnyWaiter, found: LookResult, wakes: int) -> None:
        waiter.seen, waiter.wakes = found.lean(), wakes

    def _raised(self, group: _Group, found: LookResult, wakes: int) -> AsOf:
        """Tell as of when a finding is known to hold."""
        freshness = found.freshness
        if group.is_followed and wakes == group.wakes:
            beat = self._beats.beats[group.index]
            if beat is not None and beat.as_of_us > freshness.as_of_us:
                return beat
        return freshness

    def _conclude(self, waiter: AnyWaiter, now: float) -> None:
        """Answer a waiter whose time is over: from memory, or with what it was shown, or else by another read."""
        group: _Group | None = waiter.group
        if group is None:
            return
        waiter.is_over = True
        ended = waiter.refused(now)
        if ended is None:
            found = waiter.kept(now)
            freshness = found.freshness if found is not None else None
            if found is None and waiter.seen is not None:
                raised = self._raised(group, waiter.seen, waiter.wakes)
                is_known = waiter.wakes == group.wakes and raised.lag_seconds(now) < waiter.staleness_seconds
                if is_known or waiter.ending != "time_over":
                    found, freshness = waiter.seen, raised
            if found is not None and freshness is not None:
                ended = waiter.answer(found, freshness, now, is_last=True, woken=now)
        if ended is not None:
            self._end(waiter, ended)
        elif not group.is_reading:
            group.woken, group.is_urgent = now, True
            self._look_soon(group)

    def _judge(self, waiter: AnyWaiter, now: float) -> None:
        """End a waiter who may no longer ask; that of another may have another end now."""
        if waiter.group is not None:
            refused = waiter.refused(now)
            if refused is None:
                self._place(waiter)
            else:
                self._end(waiter, refused)

    def _end(self, waiter: AnyWaiter, ended: Conclusion) -> None:
        ending = waiter.ending if ended.ending == "time_over" else ended.ending
        self._forget(waiter, ending)
        try:
            waiter.deliver(ended.reply)
        except Exception:  # noqa: BLE001 (the others are told)
            _log.exception("a held poll's answer did not leave")
