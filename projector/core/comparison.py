"""Catching up is comparing: what a session's header says, beside what Postgres says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from projector.core.operations import Drop, Operations, Stamp, Status
from readmodel.view.header import Header

EVENTS_PER_QUERY = 200_000
"""Events that one query counts, by the headers; a larger session is a query alone."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What a session's header must say, by one snapshot."""

    status: str
    count: int
    hi: int
    lo: int
    snapshot: str = field(default="", compare=False)


@dataclass(slots=True)
class Comparison:
    """One chunk: the operations that make it right, the sessions that are right, and those that must be loaded.

    `equal` tells by which snapshot a session is right.
    """

    operations: Operations = field(default_factory=dict)
    equal: dict[str, str] = field(default_factory=dict)
    to_load: list[str] = field(default_factory=list)


def affordable(session_ids: Sequence[str], headers: Sequence[Header | None]) -> Iterator[dict[str, Header | None]]:
    """Cut sessions, with their headers, into parts that one query may count."""
    part: dict[str, Header | None] = {}
    events = 0
    for session_id, header in zip(session_ids, headers, strict=True):
        more = header.count if header else 0
        if part and events + more > EVENTS_PER_QUERY:
            yield part
            part, events = {}, 0
        part[session_id] = header
        events += more
    if part:
        yield part


def judge(headers: Mapping[str, Header | None], truths: Mapping[str, Truth]) -> Comparison:
    """Decide for each session: stamp what is equal, drop what is not, load what still exists."""
    comparison = Comparison()
    for session_id, header in headers.items():
        truth = truths.get(session_id)
        if header is not None and truth is not None and header.holds(truth):
            comparison.operations[session_id] = [Stamp(session_id, truth.count, truth.hi, truth.lo, truth.snapshot)]
            comparison.equal[session_id] = truth.snapshot
            if header.status != truth.status:
                comparison.operations[session_id].append(Status(session_id, truth.status))
        else:
            comparison.operations[session_id] = [Drop(session_id)]
            if truth is not None:
                comparison.to_load.append(session_id)
    return comparison
