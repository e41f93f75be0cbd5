"""Catching up: every hot session is compared with Postgres while notices queue; equal ones are stamped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from projector.core.operations import drop, stamp, status
from projector.reads import Reads, Truth
from projector.view.committer import Operations
from readmodel.event import ENCODING_VERSION
from readmodel.header import Header
from readmodel.view import ViewReader

SESSIONS_PER_QUERY = 200
EVENTS_PER_QUERY = 200_000
"""Events that one query counts, by the headers; a larger session is a query alone."""


@dataclass(slots=True)
class Comparison:
    """One chunk: the operations that make it right, and the sessions that must be loaded."""

    operations: Operations
    to_load: list[str]


async def compare_all(view: ViewReader, reads: Reads, *, continued: bool) -> AsyncIterator[Comparison]:
    """Compare every session that the index lists, in chunks. Raises the stores' errors.

    Where the view is not `continued` each is dropped and loaded anew: the numbers would agree, and the bytes need not.
    """
    listed = [session_id for session_id, _ in await view.hot_sessions()]
    for start in range(0, len(listed), SESSIONS_PER_QUERY):
        chunk = listed[start : start + SESSIONS_PER_QUERY]
        if not continued:
            yield Comparison({session_id: [drop(session_id)] for session_id in chunk}, chunk)
            continue
        for part in affordable(chunk, await view.headers(chunk)):
            session_ids = list(part)
            yield judge(session_ids, list(part.values()), await reads.compare(session_ids))


def affordable(session_ids: list[str], headers: list[Header | None]) -> Iterator[dict[str, Header | None]]:
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


def judge(session_ids: list[str], headers: list[Header | None], truths: dict[str, Truth]) -> Comparison:
    """Decide for each session: stamp what is equal, drop what is not, load what still exists."""
    compared = Comparison({}, [])
    for session_id, header in zip(session_ids, headers, strict=True):
        truth = truths.get(session_id)
        if header is not None and truth is not None and equal(header, truth):
            compared.operations[session_id] = [stamp(session_id, truth.count, truth.hi, truth.lo)]
            if header.status != truth.status:
                compared.operations[session_id].append(status(session_id, truth.status))
        else:
            compared.operations[session_id] = [drop(session_id)]
            if truth is not None:
                compared.to_load.append(session_id)
    return compared


def equal(header: Header, truth: Truth) -> bool:
    """Tell whether a session's view holds the very events that Postgres holds, by count and sum of row hashes."""
    return (
        header.complete
        and header.version == ENCODING_VERSION
        and (header.count, header.hi, header.lo) == (truth.count, truth.hi, truth.lo)
    )
