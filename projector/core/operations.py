"""The operations of a batch, as values, and how many of them fit in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from readmodel.values.event import EventRow

MAX_BATCH_BYTES = 1_000_000
"""About what one call may carry: the script holds Redis meanwhile."""
MAX_NAMED = 1_000
"""Sessions that one message names; past it the message says: every session. `apply.lua` takes 4,000 at most."""

HeaderValue: TypeAlias = str | bytes | int
_WORDS_BYTES = 64
"""About what the words of an operation take, and what each event takes beside its JSON and its type."""
_VALUE_BYTES = 24
"""About what a value of a header takes: a status, or a number."""


@dataclass(frozen=True, slots=True)
class StagedSession:
    """A load whose events wait under staging keys: how many, and what the header must say of them.

    `snapshot` is Postgres' name for what the load saw.
    """

    staging: str
    held: int
    header: dict[str, HeaderValue] = field(default_factory=dict)
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget a session."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """Declare a session equal to Postgres under this term, if its header says these numbers.

    It is as `snapshot` shows it.
    """

    session_id: str
    count: int
    hi: int
    lo: int
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Note a session's new status."""

    session_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Touch:
    """Keep a session that is polled or written to, and note how many ms ago it was polled."""

    session_id: str
    polled_ms_ago: int | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Replace a session by what was staged."""

    session_id: str
    staged: StagedSession


@dataclass(frozen=True, slots=True)
class Add:
    """Add events, each of which has a score, and note the arrival of each.

    `txids` are their top-level transactions. The session is then as `snapshot` shows it: "" where that is not known,
    nor are its arrivals then.
    """

    session_id: str
    events: tuple[EventRow, ...]
    txids: tuple[int, ...] = ()
    snapshot: str = ""


Operation: TypeAlias = Drop | Stamp | Status | Touch | Put | Add
Operations: TypeAlias = dict[str, list[Operation]]
"""What a batch does, by session."""


def size(operation: Operation) -> int:
    """Estimate the bytes on the wire."""
    if isinstance(operation, Add):
        return _WORDS_BYTES + sum([_WORDS_BYTES + len(one.member) + len(one.event_type) for one in operation.events])
    if isinstance(operation, Put):
        staged = operation.staged
        return _WORDS_BYTES + len(staged.staging) + sum([len(name) + _VALUE_BYTES for name in staged.header])
    return _WORDS_BYTES


def changes(operations: Iterable[Operation]) -> bool:
    """Tell whether these change what the view says of a session; answers in memory outlive a touch."""
    return any(not isinstance(operation, Touch) for operation in operations)


def cut(operations: Operations) -> Iterator[Operations]:
    """Cut operations by session into parts of about MAX_BATCH_BYTES; what belongs to one session stays together.

    Yields at least one part, which may be empty. A session's put and its adds must be seen at once: between them the
    view would lack events that its as-of already promises.
    """
    part: Operations = {}
    length = 0
    for session_id, wanted in operations.items():
        more = sum(map(size, wanted))
        if part and (length + more > MAX_BATCH_BYTES or len(part) >= MAX_NAMED):
            yield part
            part, length = {}, 0
        part[session_id] = wanted
        length += more
    yield part
