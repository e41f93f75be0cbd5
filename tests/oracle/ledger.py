"""What the writers know: which sessions and events were, may have been, and can never have been committed. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.oracle.histories import NEVER, Break, Commit, Edit, Event, History, Life, Migration


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

    def remove(self, gone: Iterable[tuple[str, str]]) -> None:
        """Take events away, by session and id; those of this very transaction without a trace."""
        own = {(event.session_id, event.id) for event in self.added}
        left = set(gone)
        self.added = [event for event in self.added if (event.session_id, event.id) not in left]
        self.removed += sorted(left - own)

    def change(self, before: Iterable[Event], after: Iterable[Event]) -> None:
        """Have events read as something else."""
        self.remove((event.session_id, event.id) for event in before)
        self.added += after


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
    prepared: int = 0
    """How many of them were prepared transactions."""
    migrations: list[Migration] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
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

    def migrate(self, change: Callable[[Event], Event], now: int) -> Commit:
        """Note a migration just before its COMMIT is sent. There is one at a time."""
        self.migrations.append(Migration(Commit(now), change))
        return self.migrations[-1].commit

    def edited(self, session_id: str, as_of: int, received: int) -> bool:
        """Whether an answer may show what somebody edited: until it is mended, and as of no later instant."""
        return any(e.session_id == session_id and e.began <= received and as_of <= e.over for e in self.edits)

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
            return
        commit.failed()
        if self.migrations and self.migrations[-1].commit is commit:
            self._unmigrate()

    def crash(self, now: int) -> None:
        """From now on the server may take back what it answered without waiting for the disk."""
        self._crash_began = now
        self.breaks.append(Break(now))

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
                life.taken_back = True
        self._asynchronous = [each for each in self._asynchronous if each.mark not in kept]
        self._crash_began = None
        self.breaks[-1].over = now
        return sum(not kept[each.mark] for each in suspects)

    def _unmigrate(self) -> None:
        """The last migration never was. Who wrote since then has lived through one less, and read as nothing new."""
        del self.migrations[-1]
        for history in self.sessions.values():
            for life in history.events:
                life.first = min(life.first, len(self.migrations))
                life.read_as = []

    def _bear(self, event: Event, commit: Commit) -> Life:
        life = Life(commit, event, migrations=self.migrations, first=len(self.migrations))
        history = self.sessions[event.session_id]
        history.events.append(life)
        history.by_id.setdefault(event.id, []).append(life)
        return life
