"""The decision of a step: the table of sessions and what was gathered go in, a plan comes out; nothing is awaited."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from projector.core.letters import Letters
from projector.core.new_events import NewEvents
from projector.core.operations import Add, Drop, Operation, Operations, Put, StagedSession, Status, Touch
from projector.core.sessions import Load, LoadFailure, NoSession, Sessions, UnfitSession
from readmodel.values.cut import cut_of
from readmodel.values.event import EventRow

MAX_CREATED = 200
"""New sessions that one step makes hot: a bulk insert must not fill the view with what nobody polls."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Sessions that somebody wants warm, rebuilt or repaired.

    `insistent`: those set aside are tried again. `confirmed` are those that Redis holds whole under this term.
    """

    verb: Literal["warm", "rebuild", "repair"]
    sessions: Sequence[str]
    insistent: bool = True
    confirmed: Collection[str] = ()


@dataclass(slots=True)
class Facts:
    """What a step gathered.

    `finished` are loads with an outcome. `events` are the rows of the events that `wanted_events` names; `statuses` are
    those of the sessions that `wanted_rows` names, without those that are gone. `idle` sessions and `touched` ones
    (with how many ms ago each was polled) come with a sweep.
    """

    letters: Letters = field(default_factory=Letters)
    differing: Collection[str] = ()
    wishes: Sequence[Wish] = ()
    recent: Sequence[str] = ()
    finished: Sequence[Load] = ()
    events: NewEvents = field(default_factory=NewEvents)
    statuses: Mapping[str, str] = field(default_factory=dict)
    idle: Collection[str] = ()
    touched: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """What a step does: the batch's operations, and the transitions of sessions that go with them."""

    operations: Operations = field(default_factory=dict)
    looks: set[str] = field(default_factory=set)
    forgiven: set[str] = field(default_factory=set)
    confirmed: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    leaving: set[str] = field(default_factory=set)
    starting: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)

    def drops(self, session_id: str) -> bool:
        """Tell whether the batch forgets a session."""
        return Drop(session_id) in self.operations.get(session_id, ())

    def also(self, operation: Operation) -> None:
        """Do this to its session too, unless the batch forgets it."""
        if not self.drops(operation.session_id):
            self.operations.setdefault(operation.session_id, []).append(operation)


def wanted_events(
    sessions: Sessions, letters: Letters, finished: Iterable[Load]
) -> dict[str, dict[str, EventRow | None]]:
    """Name the events that a step needs: those added to hot sessions, and those that arrived during finished loads."""
    wanted = {
        session_id: events
        for session_id, events in letters.added.items()
        if events and session_id in sessions.hot and session_id not in letters.looks
    }
    for load in finished:
        if isinstance(load.outcome, StagedSession) and load.session_id not in letters.looks:
            # The load has seen the others, and a later version of them would stand beside its own.
            wanted[load.session_id] = {
                event_id: None for event_id, txid in load.arrived.items() if not _is_seen(load.outcome, txid)
            }
    return wanted


def _is_seen(staged: StagedSession, txid: int | None) -> bool:
    return txid is not None and cut_of(staged.snapshot).shows(txid)


def wanted_rows(sessions: Sessions, letters: Letters, finished: Iterable[Load]) -> set[str]:
    """Name the sessions whose status a step needs."""
    rows = {session_id for session_id in letters.rows if session_id in sessions.hot}
    return rows | {load.session_id for load in finished if load.row_changed}


def decide(sessions: Sessions, facts: Facts) -> Plan:
    """Decide what becomes of every session that was named, asked for, loaded, or silent for long."""
    plan = Plan()
    wanted = wanted_events(sessions, facts.letters, facts.finished)
    rows = wanted_rows(sessions, facts.letters, facts.finished)
    wanting = _grant(sessions, facts, plan)
    _doubt(sessions, facts, wanted, rows, plan)
    _finish(sessions, facts, plan)
    _append(sessions, facts, wanted, rows, plan)
    _sweep(sessions, facts, plan)
    _admit(sessions, wanting, plan)
    # All who wait for a session are told at once: not before a load of it ends, nor what this very step makes untrue.
    coming = {*sessions.loading, *plan.starting}
    plan.confirmed = [sid for sid in plan.confirmed if sid not in coming and not plan.drops(sid)]
    return plan


def _grant(sessions: Sessions, facts: Facts, plan: Plan) -> list[str]:
    """Carry out the wishes; gives the sessions that want to come in."""
    wanting: list[str] = []
    for wish in facts.wishes:
        if wish.insistent:
            plan.forgiven.update(wish.sessions)
        hot = [session_id for session_id in wish.sessions if session_id in sessions.hot]
        match wish.verb:
            case "warm":
                plan.confirmed += [session_id for session_id in hot if session_id in wish.confirmed]
                plan.looks |= set(hot).difference(wish.confirmed)  # keys of it were evicted
                plan.touched += hot
            case "rebuild":  # the view of a hot one stays until the put
                plan.starting += [session_id for session_id in hot if session_id not in sessions.loading]
            case "repair":
                plan.looks |= set(wish.sessions)
        wanting += [session_id for session_id in wish.sessions if session_id not in sessions.hot]
    wanting += [
        session_id for session_id in list(facts.letters.created)[:MAX_CREATED] if session_id not in sessions.hot
    ]
    return wanting + [session_id for session_id in facts.recent if session_id not in sessions.hot]


def _doubt(sessions: Sessions, facts: Facts, wanted: Mapping[str, Collection[str]], rows: set[str], plan: Plan) -> None:
    """Find the sessions of which too little is known: they leave the view, and come back as they are loaded."""
    plan.looks |= facts.letters.looks | set(facts.differing) | facts.events.big | (rows - facts.statuses.keys())
    plan.looks |= {
        session_id
        for session_id, ids in wanted.items()
        if session_id not in facts.events.bad and not facts.events.rows.get(session_id, {}).keys() >= set(ids)
    }
    for session_id in plan.looks:
        # Of others nothing is served under this term: their names in the message are all, however many.
        if session_id in sessions.hot or session_id in sessions.loading:
            plan.operations[session_id] = [Drop(session_id)]


def _finish(sessions: Sessions, facts: Facts, plan: Plan) -> None:
    """Put what was loaded in its place; a session in doubt is loaded again instead."""
    for load in facts.finished:
        session_id = load.session_id
        if session_id in plan.looks:
            continue
        match load.outcome:
            case StagedSession() as staged:
                plan.operations[session_id] = [Put(session_id, staged)]
                if session_id in facts.events.rows:
                    added = _add(session_id, facts.events, load.arrived, sessions.snapshot)
                    plan.operations[session_id].append(added)
            case NoSession():
                plan.operations[session_id] = [Drop(session_id)]
                plan.missing.append(session_id)
            case UnfitSession(reason):
                _set_aside(session_id, reason, plan)
            case LoadFailure(reason):  # a hot one stays as it is
                plan.failed[session_id] = reason


def _append(sessions: Sessions, facts: Facts, wanted: Iterable[str], rows: set[str], plan: Plan) -> None:
    """Add the new events and statuses of hot sessions, and of those that are put."""
    for session_id in wanted:
        if session_id in facts.events.bad and not plan.drops(session_id):
            _set_aside(session_id, facts.events.bad[session_id], plan)
        elif session_id not in plan.operations:
            txids = facts.letters.txids.get(session_id, {})
            plan.operations[session_id] = [_add(session_id, facts.events, txids, sessions.snapshot)]
    for session_id in rows & facts.statuses.keys():
        if session_id in sessions.hot or session_id in plan.operations:
            plan.also(Status(session_id, facts.statuses[session_id]))


def _sweep(sessions: Sessions, facts: Facts, plan: Plan) -> None:
    """Let idle sessions go, and keep the keys of the touched ones."""
    idle = set(facts.idle)
    for session_id in idle.difference(plan.operations, plan.touched, plan.starting, sessions.loading):
        plan.operations[session_id] = [Drop(session_id)]
        plan.leaving.add(session_id)
    for session_id, polled_ms_ago in facts.touched.items():
        if session_id in sessions.hot and session_id not in idle:
            plan.also(Touch(session_id, polled_ms_ago))


def _admit(sessions: Sessions, wanting: Iterable[str], plan: Plan) -> None:
    """Begin loads, for as many as there is room; the idlest hot sessions leave for them."""
    plan.starting = [session_id for session_id in plan.starting if session_id not in plan.aside]
    wanted = [
        session_id
        for session_id in dict.fromkeys(wanting)
        if session_id not in sessions.loading and (session_id not in sessions.aside or session_id in plan.forgiven)
    ]
    if not wanted:
        return  # looking for room sorts the hot sessions, and most steps want none
    staying = {session_id for session_id, operations in plan.operations.items() if any(map(_is_news, operations))}
    room, idlest = sessions.room_for(len(wanted), staying.union(plan.looks, plan.starting, plan.touched))
    for session_id in idlest:
        plan.operations[session_id] = [Drop(session_id)]
        plan.leaving.add(session_id)
    plan.starting += wanted[:room]
    plan.refused = wanted[room:]


def _is_news(operation: Operation) -> bool:
    return isinstance(operation, Add | Put | Status)


def _set_aside(session_id: str, reason: str, plan: Plan) -> None:
    plan.operations[session_id] = [Drop(session_id)]
    plan.aside[session_id] = reason
    plan.failed.pop(session_id, None)


def _add(session_id: str, events: NewEvents, txids: Mapping[str, int | None], snapshot: str) -> Add:
    """Add what was found; where a transaction is not known, its arrival is not, and so those of the session are not."""
    rows = events.rows[session_id]
    known = tuple(txid for event_id in rows if (txid := txids.get(event_id)) is not None)
    is_known = len(known) == len(rows)
    return Add(session_id, tuple(rows.values()), known if is_known else (), snapshot if is_known else "")


def carry_out(sessions: Sessions, plan: Plan) -> None:
    """Take the plan's transitions, before its batch is sent: what arrives meanwhile must find the loads registered."""
    for session_id in plan.forgiven:
        sessions.forgive(session_id)
    sessions.touch(plan.touched, polled=False)
    for session_id in plan.confirmed:
        sessions.confirm(session_id)
    for session_id in plan.leaving:
        sessions.leave(session_id)
    for session_id in plan.missing:
        sessions.miss(session_id)
    for session_id, reason in plan.aside.items():
        sessions.set_aside(session_id, reason)
    for session_id, reason in plan.failed.items():
        sessions.fail(session_id, reason)
    for session_id in plan.looks:
        sessions.look(session_id)
    for session_id in plan.starting:
        sessions.reload(session_id)
    for session_id in plan.refused:
        sessions.refuse(session_id)
