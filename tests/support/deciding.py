"""The words in which tests say what a step gathered and what it shall do."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from projector.core.decide import Facts, Plan, Wish, decide
from projector.core.letters import Letters
from projector.core.new_events import NewEvents
from projector.core.operations import Add, StagedSession
from projector.core.sessions import Load, LoadOutcome
from readmodel.values.event import EventRow
from tests.support.tables import Table
from tests.support.viewing import event

STAGED = StagedSession("stage:x:", 3)
Numbers = Mapping[str, Iterable[int]]
"""Events by session: each is a number."""


@cache
def row(session_id: str, number: int) -> EventRow:
    """An event as it is fetched."""
    return event(session_id, number, event_id=UUID(int=number))


def eid(number: int) -> str:
    """An event's id as letters name it."""
    return f"{number:032x}"


def add(session_id: str, *numbers: int) -> Add:
    """The operation that adds these events."""
    return Add(session_id, tuple(row(session_id, number) for number in numbers))


def done(
    session_id: str, outcome: LoadOutcome = STAGED, arrived: Iterable[int] = (), *, row_changed: bool = False
) -> Load:
    """A load with an outcome, during which these events arrived."""
    return Load(session_id, arrived=dict.fromkeys(map(eid, arrived)), row_changed=row_changed, outcome=outcome)


def letters(
    added: Numbers | None = None, looks: Iterable[str] = (), rows: Iterable[str] = (), created: Iterable[str] = ()
) -> Letters:
    """What letters said; none of them brought a row."""
    named: dict[str, dict[str, EventRow | None]] = {
        session_id: dict.fromkeys(map(eid, numbers)) for session_id, numbers in (added or {}).items()
    }
    return Letters(named, set(looks), set(rows), dict.fromkeys(created))


def facts(
    *,
    added: Numbers | None = None,
    looks: Iterable[str] = (),
    rows: Iterable[str] = (),
    created: Iterable[str] = (),
    finished: Sequence[Load] = (),
    found: Numbers | None = None,
    bad: Mapping[str, str] | None = None,
    big: Iterable[str] = (),
    statuses: Mapping[str, str] | None = None,
    wishes: Sequence[Wish] = (),
    recent: Sequence[str] = (),
    differing: Collection[str] = (),
    idle: Collection[str] = (),
    touched: Mapping[str, int | None] | None = None,
) -> Facts:
    """What a step gathered; all events that letters and loads name are found, unless `found` says which."""
    if found is None:
        found = {load.session_id: sorted(int(one, 16) for one in load.arrived) for load in finished} | dict(added or {})
    fetched = {session_id: {eid(number): row(session_id, number) for number in of} for session_id, of in found.items()}
    return Facts(
        letters=letters(added, looks, rows, created),
        differing=differing,
        wishes=wishes,
        recent=recent,
        finished=finished,
        events=NewEvents({sid: events for sid, events in fetched.items() if events}, dict(bad or {}), set(big)),
        statuses=statuses or {},
        idle=idle,
        touched=touched or {},
    )


@dataclass(frozen=True)
class Row:
    """A sentence: given this table of sessions, when these facts are gathered, then this is planned."""

    given: Table
    when: Facts
    then: Plan

    def decided(self) -> Plan:
        """Decide, and check that this alone changes nothing and tells nobody."""
        before = self.given.says()
        plan = decide(self.given.sessions, self.when)

        assert self.given.says() == before
        assert [*self.given.begun, *self.given.settled, *self.given.noted] == []
        return plan
