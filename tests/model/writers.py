"""What applications do to a few sessions: each deed is statements, with the letters that they leave."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from random import Random
from typing import NamedTuple
from uuid import UUID

from readmodel.values.event import EventRow
from tests.model.postgres import TERMINAL, UNFIT
from tests.model.transactions import Change, State
from tests.support.viewing import event

SESSIONS = tuple(
    f"{number}{number}{number}{number}{number}{number}{number}{number}-aaaa-4aaa-8aaa-{number:012d}"
    for number in (1, 2, 3, 6)
)
"""They are spread over two slices, or four, evenly; of three one is empty."""
KINDS = ("step_created", "artifact_created", "Odd kind")
STEPS = tuple(f"{number:08}-5555-4555-8555-555555555555" for number in range(3))
NOON = 1_700_000_000_000_000
See = Callable[[str], State | None]
"""How a transaction sees a session."""


class Statement(NamedTuple):
    """What one statement changes, and the letters of its trigger: kind, session, event.

    `exclusive`: nobody else changes its sessions until the transaction ends, nor waits for that.
    """

    changes: list[Change]
    letters: list[tuple[str, str | None, str | None]]
    exclusive: bool = True


class Deeds:
    """Draws what a transaction does next."""

    def __init__(self, chance: Random, only: Collection[str] = ()) -> None:
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

    def draw(self, see: See) -> list[Statement]:
        """Draw the statements of one deed; none where there is nothing to do."""
        session_id = self._chance.choice(SESSIONS)
        state = see(session_id)
        if state is None:
            return [
                Statement([(session_id, lambda before: before or State("in_progress"))], [_letter("n", session_id)])
            ]
        (deed,) = self._chance.choices(list(self._deeds), list(self._deeds.values()))
        return deed(session_id, state, see)

    def event(self, session_id: str, *, score: int | None = None, size: int | None = None) -> EventRow:
        """Make an event; its timestamp is one of few, so that many are equal and most come late."""
        self._made += 1
        return event(
            session_id,
            NOON + self._chance.randrange(20) if score is None else score,
            self._chance.choice(KINDS),
            UUID(int=(self._chance.getrandbits(112) << 16) + self._made),
            self._chance.choice((0, 0, 0, 300, 1_400)) if size is None else size,
            (None, *STEPS)[self._made % 4],
        )

    def _add(self, session_id: str, _state: State, _see: See) -> list[Statement]:
        return [_added(session_id, [self.event(session_id) for _ in range(self._chance.choice((1, 1, 1, 2, 4)))])]

    def _add_many(self, session_id: str, _state: State, _see: See) -> list[Statement]:
        """So many that the trigger names some, and the session."""
        added = _added(session_id, [self.event(session_id) for _ in range(9)])
        return [added._replace(letters=[*added.letters[:2], _letter("l", session_id)])]

    def _some(self, state: State) -> list[bytes]:
        held = sorted(state.events)
        return self._chance.sample(held, min(len(held), self._chance.choice((1, 1, 5))))

    def _delete(self, session_id: str, state: State, _see: See) -> list[Statement]:
        return [_deleted(session_id, self._some(state))] if state.events else []

    def _replace(self, session_id: str, state: State, _see: See) -> list[Statement]:
        """Delete events and add as many."""
        old = self._some(state)
        return [_deleted(session_id, old), _added(session_id, [self.event(session_id) for _ in old])] if old else []

    def _change(self, session_id: str, state: State, _see: See) -> list[Statement]:
        """Change an event's row: the same id, other bytes, and sometimes another timestamp or type."""
        statements = []
        latest = sorted(state.events, key=lambda key: key[-2:])[-1:]  # by `event` below: it may be on its way
        for key in self._chance.choice((self._some(state)[:1], latest)):
            old = state.events[key]
            score = self._chance.choice((old.score or 0, NOON + self._chance.randrange(20)))
            kind = self._chance.choice((old.event_type, self._chance.choice(KINDS)))
            new = event(session_id, score, kind, UUID(bytes=key), self._chance.randrange(1, 50))
            new = new._replace(hash_hi=self._chance.getrandbits(32))  # another version of the row
            statements.append(Statement(_adding(session_id, [new]), [_letter("l", session_id)]))
        return statements

    def _status(self, session_id: str, state: State, _see: See) -> list[Statement]:
        status = self._chance.choice(("in_progress", "paused", TERMINAL[0]))
        change = (session_id, lambda before: before and State(status, before.events))
        return [Statement([change], [_letter("r", session_id)])] if status != state.status else []

    def _purge(self, session_id: str, _state: State, _see: See) -> list[Statement]:
        return [Statement([(session_id, lambda _: None)], [_letter("l", session_id)])]

    def _add_and_delete_and_add(self, session_id: str, _state: State, _see: See) -> list[Statement]:
        """Within one transaction: the same event is there, gone, and there again."""
        events = [self.event(session_id)]
        return [_added(session_id, events), _deleted(session_id, [events[0].id]), _added(session_id, events)]

    def _move(self, session_id: str, state: State, see: See) -> list[Statement]:
        """Move an event to another session."""
        other = self._chance.choice([sid for sid in SESSIONS if sid != session_id])
        statements = []
        for key in self._some(state)[:1] if see(other) else ():
            old = state.events[key]
            new = event(other, old.score or 0, old.event_type, UUID(bytes=key))
            changes = [*_deleted(session_id, [key]).changes, *_adding(other, [new])]
            statements.append(Statement(changes, [_letter("l", session_id), _letter("l", other)]))
        return statements

    def _add_unfit(self, session_id: str, _state: State, _see: See) -> list[Statement]:
        """Add an event that the view cannot hold."""
        return [
            _added(
                session_id,
                [self._chance.choice((self.event(session_id, score=UNFIT), self.event(session_id, size=9_000)))],
            )
        ]

    def _truncate(self, _session_id: str, _state: State, _see: See) -> list[Statement]:
        return [Statement([(session_id, lambda _: None) for session_id in SESSIONS], [("x", None, None)])]


def _letter(kind: str, session_id: str, event_id: str | None = None) -> tuple[str, str | None, str | None]:
    return kind, session_id, event_id


def _adding(session_id: str, events: Iterable[EventRow]) -> list[Change]:
    return [(session_id, partial(_with_events, tuple(events)))]


def _with_events(events: Iterable[EventRow], state: State | None) -> State | None:
    return state and state.with_events(events)


def _without(ids: Collection[bytes], state: State | None) -> State | None:
    return state and state.without(ids)


def _added(session_id: str, events: list[EventRow]) -> Statement:
    letters = [_letter("a", session_id, event.id.hex()) for event in events]
    return Statement(_adding(session_id, events), letters, exclusive=False)


def _deleted(session_id: str, ids: Collection[bytes]) -> Statement:
    return Statement([(session_id, partial(_without, ids))], [_letter("l", session_id)])
