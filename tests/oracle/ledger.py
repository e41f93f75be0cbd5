"""What the writers know: which sessions and events were, may have been, and can never have been committed. No I/O.

Every commit happened at some instant of an interval: it was sent at its `earliest` and acknowledged by its `latest`,
microseconds since 1970. A fact whose commit got no answer stays open until the writer has found out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

NEVER = 2**62
"""Later than any instant: µs since 1970."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(us: int) -> datetime:
    """The instant so many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=us)


def timestamp_text(us: int) -> str:
    """The same as answers show it."""
    return instant(us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(eq=False, slots=True)
class Commit:
    """One commit: at some instant in [earliest, latest], as far as is known; `earliest` NEVER when it failed."""

    earliest: int
    latest: int = NEVER

    def failed(self) -> None:
        """Take back that it may have happened."""
        self.earliest = self.latest = NEVER


@dataclass(frozen=True, slots=True)
class Event:
    """A row of events, as written."""

    id: str
    session_id: str
    event_type: str
    data: dict[str, object]
    message: str | None
    timestamp_us: int

    @property
    def timestamp(self) -> datetime:
        """When it says that it happened."""
        return instant(self.timestamp_us)

    def item(self) -> dict[str, object]:
        """What a poll must show of it."""
        return {
            "id": self.id,
            "session_id": self.session_id,
            "step_id": None,
            "event_type": self.event_type,
            "event_data": self.data,
            "message": self.message,
            "timestamp": timestamp_text(self.timestamp_us),
        }


@dataclass(eq=False, slots=True)
class Life:
    """From one commit to another: of a session when `event` is None. Any of the `deaths` may have failed."""

    born: Commit
    event: Event | None = None
    deaths: list[Commit] = field(default_factory=list)

    def certain(self, since: int, until: int) -> bool:
        """Whether it was there at every instant of [since, until]."""
        return self.born.latest < since and all(death.earliest > until for death in self.deaths)

    def possible(self, since: int, until: int) -> bool:
        """Whether it can have been there at any instant of [since, until]."""
        return self.born.earliest <= until and all(death.latest >= since for death in self.deaths)

    @property
    def open_ended(self) -> bool:
        """Whether it may be there now, as far as was ever sent."""
        return self.born.earliest < NEVER and all(death.earliest == NEVER for death in self.deaths)


@dataclass(eq=False, slots=True)
class History:
    """All lives of one session and of its events. A deletion ends whatever life its id has: one may have failed."""

    session_id: str
    lives: list[Life] = field(default_factory=list)
    events: list[Life] = field(default_factory=list)
    by_id: dict[str, list[Life]] = field(default_factory=dict)

    def there(self) -> set[str] | None:
        """Ids of the events that are there when all is quiet; None when the session is not."""
        if not self.current:
            return None
        return {event_id for event_id, lives in self.by_id.items() if any(life.open_ended for life in lives)}

    @property
    def current(self) -> bool:
        """Whether the session may be there now."""
        return any(life.open_ended for life in self.lives)


@dataclass(slots=True)
class Draft:
    """What a transaction has done so far, and nobody else knows."""

    created: list[str] = field(default_factory=list)
    purged: list[str] = field(default_factory=list)
    added: list[Event] = field(default_factory=list)
    removed: list[tuple[str, str]] = field(default_factory=list)
    """Session and event ids."""

    def copy(self) -> Draft:
        """As a savepoint keeps it."""
        return Draft(list(self.created), list(self.purged), list(self.added), list(self.removed))

    def remove(self, session_id: str, ids: Iterable[str]) -> None:
        """Take events away, those of this very transaction without a trace."""
        gone = set(ids)
        own = {event.id for event in self.added if event.id in gone}
        self.added = [event for event in self.added if event.id not in own]
        self.removed += [(session_id, event_id) for event_id in sorted(gone - own)]


@dataclass(eq=False, slots=True)
class _Asynchronous:
    commit: Commit
    mark: str
    lives: list[Life]
    acknowledged: int = NEVER


@dataclass
class Ledger:
    """Everything that was ever committed, or sent to be."""

    sessions: dict[str, History] = field(default_factory=dict)
    commits: int = 0
    _asynchronous: list[_Asynchronous] = field(default_factory=list)
    _crash_began: int | None = None

    def current(self) -> list[str]:
        """Sessions that may be there."""
        return [session_id for session_id, history in self.sessions.items() if history.current]

    def purged(self) -> list[str]:
        """Sessions that are not there any more."""
        return [session_id for session_id, history in self.sessions.items() if not history.current]

    def send(self, draft: Draft, now: int, mark: str, *, durable: bool = True) -> Commit:
        """Note a transaction just before its COMMIT is sent."""
        commit = Commit(now)
        for session_id in draft.purged:
            for life in self.sessions[session_id].lives:
                life.deaths.append(commit)
        for session_id, event_id in draft.removed:
            for life in self.sessions[session_id].by_id[event_id]:
                life.deaths.append(commit)
        for session_id in draft.created:
            self.sessions.setdefault(session_id, History(session_id)).lives.append(Life(commit))
        lives = [self._bear(event, commit) for event in draft.added]
        if not durable:
            self._asynchronous.append(_Asynchronous(commit, mark, lives))
        return commit

    def acknowledge(self, commit: Commit, now: int) -> None:
        """Note that a COMMIT was answered. One that waited for the disk proves all that were answered before it."""
        self.commits += 1
        mine = next((each for each in self._asynchronous if each.commit is commit), None)
        if mine is not None:
            mine.acknowledged = now
            return
        commit.latest = now
        if self._crash_began is None:
            proven = [each for each in self._asynchronous if each.acknowledged < commit.earliest]
            for each in proven:
                each.commit.latest = now
            self._asynchronous = [each for each in self._asynchronous if each not in proven]

    def settle(self, commit: Commit, now: int, *, committed: bool) -> None:
        """Note how a COMMIT without an answer ended."""
        self._asynchronous = [each for each in self._asynchronous if each.commit is not commit]
        if committed:
            commit.latest = now
        else:
            commit.failed()

    def crash(self, now: int) -> None:
        """From now on the server may take back what it answered without waiting for the disk."""
        self._crash_began = now

    def suspects(self) -> list[str]:
        """Marks of answered commits that a crash may have taken back."""
        return [each.mark for each in self._asynchronous if each.acknowledged < NEVER]

    def recovered(self, kept: dict[str, bool], now: int) -> int:
        """Note what the crash has left of the suspects; gives how many commits it took back."""
        suspects = [each for each in self._asynchronous if each.mark in kept]
        for each in suspects:
            if kept[each.mark]:
                each.commit.latest = now
                continue
            each.commit.latest = max(each.acknowledged, each.commit.earliest)
            for life in each.lives:
                life.deaths.append(Commit(self._crash_began or 0, now))
        self._asynchronous = [each for each in self._asynchronous if each.mark not in kept]
        self._crash_began = None
        return sum(not kept[each.mark] for each in suspects)

    def _bear(self, event: Event, commit: Commit) -> Life:
        life = Life(commit, event)
        history = self.sessions[event.session_id]
        history.events.append(life)
        history.by_id.setdefault(event.id, []).append(life)
        return life
