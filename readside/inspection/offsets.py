"""What an offset of a stream covers, which store continues it, and how much comes after it; asking changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from readmodel.errors import OffsetGone, ServiceError, StoreRefused, StoreUnavailable
from readmodel.postgres.event_stream import StreamLog
from readmodel.values.arrivals import MAX_ARRIVALS, Arrivals
from readmodel.values.freshness import rfc3339
from readmodel.values.offset import Offset
from readmodel.view.reader import Cold, ViewReader

MAX_BYTES = 32_000_000
"""As much as the longest answer may have by default."""
Continuation = Literal["arrival_log", "postgres", "gone", "unknown"]

_WHY = {
    "not in the arrival log": "the arrival log begins later: the session was loaded anew since, or much has come",
    "within a long answer": "it is a place within a long answer",
    "a long stream": "more is behind it than one answer may hold",
    "not hot": "the session is not hot",
    "no origin": "the view is of before streams",
    "no arrival log": "the session has no arrival log",
}


@dataclass(frozen=True, slots=True)
class OffsetFacts:
    """An offset, and what was found: `why` says what keeps the arrival log, or everybody, from going on from it.

    `behind` events come next, None where nobody can tell; `more` come after these.
    """

    offset: Offset
    by: Continuation
    why: str | None = None
    behind: int | None = None
    more: bool = False


async def look_at_offset(
    session_id: str, offset: Offset, view: ViewReader, log: StreamLog | None, database: str, errors: list[ServiceError]
) -> OffsetFacts:
    """Ask the view, or else Postgres; what keeps it from asking goes into `errors`."""
    why = "Redis cannot be asked"
    try:
        found = await view.read_stream(session_id, offset, MAX_BYTES, database)
        if not isinstance(found, Cold):
            return _continued(offset, "arrival_log", found.arrivals)
        why = _WHY.get(found.reason, found.reason)
    except OffsetGone:
        why = "the view is of another history"
    except (StoreUnavailable, StoreRefused) as error:
        errors.append(error)
    if log is None:
        return OffsetFacts(offset, "unknown", why)
    try:
        logged = await log.read(session_id, offset, MAX_ARRIVALS, MAX_BYTES)
    except OffsetGone as error:
        return OffsetFacts(offset, "gone", str(error))
    except ServiceError as error:
        errors.append(error)
        return OffsetFacts(offset, "unknown", why)
    return _continued(offset, "postgres", logged.arrivals, why)


def _continued(offset: Offset, by: Continuation, arrivals: Arrivals, why: str | None = None) -> OffsetFacts:
    return OffsetFacts(offset, by, why, len(arrivals.events), not arrivals.up_to_date)


def offset_sentences(facts: OffsetFacts) -> Iterator[str]:
    """Say it in words."""
    cut, within = facts.offset.cut, facts.offset.within
    told = f"The offset belongs to history {facts.offset.origin}. It covers what transactions below {cut.xmax} wrote"
    told += f", except {len(cut.running)} that were still open" if cut.running else ""
    if within is not None:
        place = f"{rfc3339(within.timestamp_us)}, {UUID(bytes=within.id)}"
        told += f"; and what those below {within.upto.xmax} wrote, up to the event at {place}"
    yield f"{told}."
    match facts.by:
        case "arrival_log":
            yield f"The arrival log in Redis continues it: {_behind(facts)}."
        case "postgres":
            yield f"Postgres continues it, since {facts.why}: {_behind(facts)}, including those that may come again."
        case "gone":
            yield f"It gets 410. {facts.why}"
        case "unknown":
            yield f"It cannot be said who continues it: {facts.why}, and Postgres cannot be asked either."


def _behind(facts: OffsetFacts) -> str:
    if not facts.behind:
        return "more comes with the next answer" if facts.more else "no event comes after it"
    told = "1 event comes after it" if facts.behind == 1 else f"{facts.behind} events come after it"
    return f"{told}{', and more later' if facts.more else ''}"


def offset_as_json(facts: OffsetFacts) -> dict[str, Any]:
    """All that is known, for machines."""
    cut, within = facts.offset.cut, facts.offset.within
    return {
        "origin": facts.offset.origin,
        "cut": cut.snapshot,
        "within": within
        and {
            "upto": within.upto.snapshot,
            "timestamp": rfc3339(within.timestamp_us),
            "event_id": str(UUID(bytes=within.id)),
        },
        "continued_by": facts.by,
        "why": facts.why,
        "events_behind": facts.behind,
        "more": facts.more,
    }
