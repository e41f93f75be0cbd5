"""Writers of every kind, one transaction at a time."""

from collections.abc import Collection
from random import Random
from uuid import UUID

from readmodel.event import EventRow
from tests.model.postgres import TERMINAL, UNFIT, Postgres, State, States
from tests.support.viewing import event

SESSIONS = tuple(
    f"{number}{number}{number}{number}{number}{number}{number}{number}-aaaa-4aaa-8aaa-{number:012d}"
    for number in range(1, 5)
)
KINDS = ("step_created", "artifact_created", "Odd kind")
NOON = 1_700_000_000_000_000


class Writers:
    """Commits to a few sessions whatever applications do."""

    def __init__(self, postgres: Postgres, chance: Random, only: Collection[str] = ()) -> None:
        self._postgres = postgres
        self._chance = chance
        self._made = 0
        self._deeds = {
            self._add: 50,
            self._delete: 14,
            self._change: 5,
            self._status: 10,
            self._purge: 8,
            self._add_many: 5,
            self._replace: 15,
            self._add_and_delete_and_add: 4,
            self._move: 3,
            self._add_unfit: 1,
            self._truncate: 0.5,
        }
        # Each run has more of some deeds and less of others: what one leaves behind is not swept away by the next.
        named = [deed for deed in self._deeds if deed.__name__[1:] in only]
        self._deeds = {
            deed: weight * (1 if deed == self._add else 4 * (deed in named) if named else chance.choice((0, 1, 4)))
            for deed, weight in self._deeds.items()
        }
        self.mean_seconds = chance.choice((0.03, 0.06, 0.15))

    def write(self) -> None:
        """Commit one transaction."""
        session_id = self._chance.choice(SESSIONS)
        state = self._postgres.sessions.get(session_id)
        if state is None:
            self._commit({session_id: State("in_progress")}, f"n {session_id}")
            return
        (deed,) = self._chance.choices(list(self._deeds), list(self._deeds.values()))
        deed(session_id, state)

    def _commit(self, changes: States, *notices: str) -> None:
        self._postgres.commit(changes, notices)

    def event(self, session_id: str, *, score: int | None = None, size: int | None = None) -> EventRow:
        """Make an event; its timestamp is one of few, so that many are equal and most come late."""
        self._made += 1
        return event(
            session_id,
            NOON + self._chance.randrange(20) if score is None else score,
            self._chance.choice(KINDS),
            UUID(int=(self._chance.getrandbits(112) << 16) + self._made),
            self._chance.choice((0, 0, 0, 300, 1_400)) if size is None else size,
        )

    def _add(self, session_id: str, state: State) -> None:
        events = [self.event(session_id) for _ in range(self._chance.choice((1, 1, 1, 2, 4)))]
        self._commit({session_id: state.with_events(events)}, _added(session_id, events))

    def _add_many(self, session_id: str, state: State) -> None:
        events = [self.event(session_id) for _ in range(9)]
        self._commit({session_id: state.with_events(events)}, f"l {session_id}")

    def _some(self, state: State) -> list[bytes]:
        held = sorted(state.events)
        return self._chance.sample(held, min(len(held), self._chance.choice((1, 1, 5))))

    def _delete(self, session_id: str, state: State) -> None:
        if state.events:
            self._commit({session_id: state.without(self._some(state))}, f"l {session_id}")

    def _replace(self, session_id: str, state: State) -> None:
        """Delete events and add as many."""
        old = self._some(state)
        new = [self.event(session_id) for _ in old]
        if old:
            self._commit({session_id: state.without(old).with_events(new)}, f"l {session_id}", _added(session_id, new))

    def _change(self, session_id: str, state: State) -> None:
        """Change an event's row: the same id, other bytes."""
        for key in self._some(state)[:1]:
            old = state.events[key]
            new = event(session_id, old.score or 0, old.event_type, UUID(bytes=key), self._chance.randrange(1, 50))
            new = new._replace(hash_hi=self._chance.getrandbits(32))  # another version of the row
            self._commit({session_id: state.with_events([new])}, f"l {session_id}")

    def _status(self, session_id: str, state: State) -> None:
        status = self._chance.choice(("in_progress", "paused", TERMINAL[0]))
        if status != state.status:
            self._commit({session_id: State(status, state.events)}, f"r {session_id}")

    def _purge(self, session_id: str, state: State) -> None:
        self._commit({session_id: None}, f"l {session_id}")

    def _add_and_delete_and_add(self, session_id: str, state: State) -> None:
        """Within one transaction: the second notice of the insert is dropped as a duplicate."""
        events = [self.event(session_id)]
        added = _added(session_id, events)
        self._commit({session_id: state.with_events(events)}, added, f"l {session_id}", added)

    def _move(self, session_id: str, state: State) -> None:
        """Give an event to another session."""
        other = self._chance.choice([sid for sid in SESSIONS if sid != session_id])
        there = self._postgres.sessions.get(other)
        for key in self._some(state)[:1] if there else ():
            assert there
            old = state.events[key]
            new = event(other, old.score or 0, old.event_type, UUID(bytes=key))
            self._commit({session_id: state.without([key]), other: there.with_events([new])}, f"l {session_id} {other}")

    def _add_unfit(self, session_id: str, state: State) -> None:
        """Add an event that the view cannot hold."""
        events = [self._chance.choice((self.event(session_id, score=UNFIT), self.event(session_id, size=9_000)))]
        self._commit({session_id: state.with_events(events)}, _added(session_id, events))

    def _truncate(self, session_id: str, state: State) -> None:
        self._commit(dict.fromkeys(self._postgres.sessions), "x")


def _added(session_id: str, events: list[EventRow]) -> str:
    return " ".join(["a", session_id, *(event.id.hex() for event in events)])
