"""The judge of a follower: was it given every event, in its last version, and none that it had already? No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from readmodel.values.offset import parse_offset
from tests.oracle.histories import NEVER, History, Life
from tests.oracle.judge import EMPTY, Wrong
from tests.oracle.ledger import Ledger

START, NOW = "-1", "now"


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """An answer of a stream, with the instants of its request, as-of and receipt, µs since 1970.

    `items` is None for a 404, and `following` None for a 410.
    """

    source: str
    sent_us: int
    as_of_us: int
    received_us: int
    items: Sequence[Mapping[str, Any]] | None
    following: str | None
    up_to_date: bool = False


@dataclass(slots=True)
class Copy:
    """An event as it was given last, and how often it was, less the times that nothing but a fault explains."""

    item: Mapping[str, Any]
    times: int
    lives: Sequence[Life]
    """Those in which it reads so, or may have."""
    was_edited: bool
    """Somebody had edited it in Redis, or may have: a stream does not give it again once that is mended."""


@dataclass
class StreamPlace:
    """What one follower was given of one session, and where it is."""

    ledger: Ledger
    session_id: str
    types: frozenset[str] = frozenset()
    offset: str = START
    since_us: int = 0
    """What was committed before that instant it did not ask for."""
    given: dict[str, Copy] = field(default_factory=dict)
    taken_us: tuple[int, int] = (0, 0)
    """The as-of of the answer that gave the offset, and when that was received."""
    caught_up_us: int = 0
    """The as-of of the last answer that said that all was given."""
    checked_us: int = 0
    late_us: int = 0
    """How long after its commit an event came at most that was committed after the request had been sent."""
    came_twice: Counter[str] = field(default_factory=Counter)
    """By source: events that were given again, and that nobody had written again."""

    def take(self, answer: StreamAnswer, *, thorough: bool = True) -> None:
        """Take the next answer; raises Wrong. `thorough`: look whether any event was left out so far."""
        if answer.following is None and answer.items is not None:
            self._begin_anew()
            return
        history = self.history
        if answer.items is None or answer.following is None:
            if any(life.certain(answer.as_of_us, answer.received_us) for life in history.lives):
                raise Wrong("404 for a session that was there all the time")
            return
        self._check_offset(answer, answer.following)
        for item in answer.items:
            self._take_item(history, item, answer)
        if self.offset == NOW:
            self.since_us = answer.received_us
        self.offset, self.taken_us = answer.following, (answer.as_of_us, answer.received_us)
        if answer.up_to_date:
            self.caught_up_us = answer.as_of_us
            if thorough:
                self.checked_us = answer.as_of_us
                self._check_all(history, answer.as_of_us, answer.received_us)

    @property
    def history(self) -> History:
        """All that was ever written of the session."""
        return self.ledger.sessions.get(self.session_id, EMPTY)

    def lacks(self) -> str:
        """Tell what is missing when all is quiet, "" if nothing is."""
        history, there = self.history, self.history.there()
        if there is None:
            return ""
        try:
            self._check_all(history, NEVER - 1, NEVER - 1)
        except Wrong as wrong:
            return str(wrong)
        never = [each for each in self.given if each not in there and not _was_there(history.by_id.get(each, []))]
        return f"{len(never)} events were given that no transaction left behind: {never[:3]}" if never else ""

    def _begin_anew(self) -> None:
        """Take a 410."""
        if self.offset in {START, NOW}:
            raise Wrong(f"410 for the offset {self.offset}")
        if not any(each.over >= self.taken_us[0] for each in self.ledger.breaks):
            raise Wrong(f"410 for an offset as of {self.taken_us[0]}, received {self.taken_us[1]}: no crash came since")
        self.offset, self.given, self.since_us, self.taken_us = START, {}, 0, (0, 0)

    def _check_offset(self, answer: StreamAnswer, following: str) -> None:
        if self.offset in {START, NOW}:
            return
        if following < self.offset:
            raise Wrong(f"the offset {following} is before {self.offset}")
        _, received_us = self.taken_us
        for each in self.ledger.breaks:
            if each.is_crash and received_us < each.began and each.over < answer.as_of_us:
                raise Wrong("an offset of before a crash was continued")

    def _take_item(self, history: History, item: Mapping[str, Any], answer: StreamAnswer) -> None:
        span = answer.as_of_us, answer.received_us
        was_edited = self.ledger.edited(self.session_id, *span)
        every = history.by_id.get(item["id"], [])
        possible = [life for life in every if life.possible(*span) and self._wants(life)]
        lives = [life for life in possible if item in [event.item() for event in life.readings(*span)]]
        if not lives and not was_edited:
            expected = [event.item() for life in possible for event in life.readings(*span)]
            raise Wrong(f"event {item} instead of {expected}" if expected else f"event {item['id']} cannot be there")
        for life in lives[:1]:
            if life.born.earliest > answer.sent_us and life.born.latest < NEVER:
                self.late_us = max(self.late_us, answer.received_us - life.born.latest)
        before = self.given.get(item["id"])
        times = before.times + 1 if before else 1
        if times > self._most_times(every, answer.received_us):
            self.came_twice[answer.source] += 1
            times -= 1
            if answer.source == "redis":
                raise Wrong(f"event {item['id']} was given again by the arrival log, and nobody had written it again")
            if not self._may_repeat(answer.following or ""):
                raise Wrong(f"event {item['id']} was given again, and what was open at the cut has not ended")
        self.given[item["id"]] = Copy(item, times, lives, was_edited)

    def _may_repeat(self, following: str) -> bool:
        """Whether there is doubt about what its offset shows.

        A transaction was open there, and has ended by what the answer goes up to: it may have had savepoints.
        """
        if self.offset in {START, NOW}:
            return False
        before, after = parse_offset(self.offset), parse_offset(following)
        if before.within is not None:
            return bool(before.cut.running or before.within.upto.running)
        upto = after.cut if after.within is None else after.within.upto
        return not before.cut.running <= upto.running

    def _most_times(self, lives: Sequence[Life], received_us: int) -> int:
        """How often an event can have been written so far: a migration may write all rows anew."""
        migrations = sum(each.commit.earliest <= received_us for each in self.ledger.migrations)
        return sum(life.born.earliest <= received_us for life in lives) + migrations

    def _check_all(self, history: History, as_of_us: int, received_us: int) -> None:
        """Everything that was there all the time was given, in its last version."""
        missing = []
        for life in history.events:
            event = life.event
            if event is None or life.born.earliest <= self.since_us or not self._wants(life):
                continue
            if not life.certain(as_of_us, received_us):
                continue
            copy = self.given.get(event.id)
            if copy is None:
                missing.append(event.id)
            elif not copy.was_edited and life not in copy.lives and not _reads_as(life, copy.item):
                raise Wrong(f"event {event.id} was given as {copy.item}, and not again as {event.item()}")
        if missing:
            raise Wrong(f"{len(missing)} events were not given: {missing[:3]}")

    def _wants(self, life: Life) -> bool:
        return life.event is not None and (not self.types or life.event.event_type in self.types)


@dataclass
class Pages:
    """What a follower of pages knows of a session: events by id, of which it reads all again where the total differs.

    Neither page nor total tells it that an older event was changed, or one deleted and another added: it reads all
    again when somebody says so.
    """

    ledger: Ledger
    session_id: str
    known: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    whole_us: int = 0
    """As of when it read all."""

    def merge(self, body: Mapping[str, Any]) -> bool:
        """Take the newest page; tells whether that is all there is to know."""
        self.known |= {item["id"]: item for item in body["items"]}
        return bool(len(self.known) == body["total"])

    @property
    def is_misled(self) -> bool:
        """Whether anything was changed or deleted since it read all."""
        history = self.ledger.sessions.get(self.session_id, EMPTY)
        deaths = (death for life in (*history.lives, *history.events) for death in life.deaths)
        commits = (*deaths, *(migration.commit for migration in self.ledger.migrations))
        edits = (each.over for each in self.ledger.edits if each.session_id == self.session_id)
        latest = (commit.latest for commit in commits if commit.earliest < NEVER)
        return any(instant >= self.whole_us for instant in (*latest, *edits))

    def lacks(self) -> str:
        """Tell what differs when all is quiet, "" if nothing does."""
        history = self.ledger.sessions.get(self.session_id, EMPTY)
        there = history.there()
        if there is None:
            return ""
        if self.known.keys() != there:
            return f"{len(self.known.keys() ^ there)} events differ: {sorted(self.known.keys() ^ there)[:3]}"
        for life in history.events:
            event = life.event
            if event is None or not life.open_ended:
                continue
            if not _reads_as(life, self.known[event.id]):
                return f"event {event.id} is {self.known[event.id]} instead of {event.item()}"
        return ""


def _reads_as(life: Life, item: Mapping[str, Any]) -> bool:
    """Whether an event ever read so, from one migration to the next."""
    return any(item == event.item() for event in life.readings(0, NEVER))


def _was_there(lives: Sequence[Life]) -> bool:
    """Whether an event was ever there for longer than a crash lets it be."""
    return any(life.born.earliest < NEVER and not life.taken_back for life in lives)
