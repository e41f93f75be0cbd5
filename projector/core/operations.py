"""The operations of a batch, and how many of them fit in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from readmodel.event import EventRow, type_name
from readmodel.type_index import pack_entry

MAX_BATCH_BYTES = 1_000_000
"""About what one call may carry: the script holds Redis meanwhile."""
MAX_NAMED = 1_000
"""Sessions that one message names; past it the message says: every session. `apply.lua` takes 4,000 at most."""

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of `apply.lua`: verb, session, arguments."""

    verb: str
    session_id: str
    arguments: tuple[Argument, ...] = ()

    def flat(self) -> list[Argument]:
        """Give the words that the script reads."""
        return [self.verb, self.session_id, len(self.arguments), *self.arguments]

    def size(self) -> int:
        """Estimate the bytes on the wire."""
        return 64 + sum([8 if isinstance(word, int) else len(word) for word in self.arguments])


@dataclass(frozen=True, slots=True)
class StagedSession:
    """A load whose events wait under staging keys: what the header must say of it."""

    staging: str
    held: int
    header: dict[str, Argument] = field(default_factory=dict)


def drop(session_id: str) -> Operation:
    """Forget a session."""
    return Operation("drop", session_id)


def stamp(session_id: str, count: int, hi: int, lo: int) -> Operation:
    """Declare a session equal to Postgres under this term, if its header says these numbers."""
    return Operation("stamp", session_id, (str(count), str(hi), str(lo)))


def status(session_id: str, text: str) -> Operation:
    """Note a session's new status."""
    return Operation("status", session_id, (text,))


def touch(session_id: str, polled_ms_ago: int | None = None) -> Operation:
    """Keep a session that is polled or written to, and note when it was polled."""
    return Operation("touch", session_id, () if polled_ms_ago is None else (str(polled_ms_ago),))


def put(session_id: str, staged: StagedSession) -> Operation:
    """Replace a session by what was staged."""
    pairs = [word for pair in staged.header.items() for word in pair]
    return Operation("put", session_id, (staged.staging if staged.held else "", staged.held, *pairs))


def add(session_id: str, events: Iterable[EventRow]) -> Operation:
    """Add events, each of which has a score."""
    words: list[Argument] = []
    for _, event_id, instant, event_type, hash_hi, hash_lo, member in events:
        score = instant or 0
        words += (score, member, pack_entry(score, event_id), hash_hi, hash_lo, type_name(event_type))
    return Operation("add", session_id, tuple(words))


def split(operations: dict[str, list[Operation]]) -> Iterator[dict[str, list[Operation]]]:
    """Cut operations by session into parts of about MAX_BATCH_BYTES; what belongs to one session stays together.

    Yields at least one part, which may be empty. A session's put and its adds must be seen at once: between them the
    view would lack events that its as-of already promises.
    """
    part: dict[str, list[Operation]] = {}
    size = 0
    for session_id, wanted in operations.items():
        more = sum(operation.size() for operation in wanted)
        if part and (size + more > MAX_BATCH_BYTES or len(part) >= MAX_NAMED):
            yield part
            part, size = {}, 0
        part[session_id] = wanted
        size += more
    yield part
