"""What is held: a poll that waits for news of one session, as the registry of held polls sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, get_args

from query_api.http.reply import Reply
from query_api.memory.answers import AsOf
from query_api.requests.session_request import SessionRequest
from readmodel.errors import ServiceError
from readmodel.runtime import tracing

Ending = Literal[
    "news", "not_found", "time_over", "token_ended", "withdrawn", "failed", "drained", "half_closed", "left"
]
"""Why a poll is held no longer; `left`: its client is gone, and gets no answer."""
ENDINGS: tuple[Ending, ...] = get_args(Ending)


class LookResult(Protocol):
    """What memory or a store told: the same for all who ask by one `key`."""

    @property
    def freshness(self) -> AsOf:
        """As of when it is so."""

    @property
    def source(self) -> str:
        """Who told it."""

    @property
    def is_followed(self) -> bool:
        """Whether a message will tell as soon as it is so no longer: then beats raise its as-of."""

    def lean(self) -> LookResult:
        """What is needed of it for an answer that says: nothing new."""


F = TypeVar("F", bound=LookResult)


class Conclusion(NamedTuple):
    """Why a poll is held no longer, and what it is answered."""

    ending: Ending
    reply: Reply


class Waiter(ABC, Generic[F]):
    """A poll that is or may be held. Each request has its own; it is thrown away when it has its answer.

    Waiters of one session with equal keys are told the same: memory is looked at once for all of them, and a store is
    read once. `deliver` is called once, in the loop's thread, with the finished reply; never after `HeldPolls.leave`.
    It may be called before `HeldPolls.hold` returns.
    """

    __slots__ = ("came", "deliver", "ending", "group", "is_over", "name", "place", "seen", "wakes")

    session_id: str
    """As `parse_session_id` gives it."""
    key: Hashable
    staleness_seconds: float
    """An answer that leaves without another look is no older than this; 0: it is read after its request came."""
    hold_staleness_seconds: float
    """What is known may become so old while nobody says anything: then it is looked at again."""
    fills_memory = True
    """Whether what `read` finds lets memory answer other keys of the session: then these wait for it."""

    def __init__(self, came: float) -> None:
        self.came = came
        """The monotonic second when the request came."""
        self.deliver: Callable[[Reply], None] = _nobody
        self.name = b""
        """Its request's id."""
        self.is_over = False
        """Whether it is answered with the next finding, whatever that is."""
        self.seen: F | None = None
        """What it was last shown and was no news to it. An endpoint sets it where it has just looked into memory."""
        # The registry's own: how it ends where nothing is new, its group, its place among the ends, when it was shown.
        self.ending: Ending = "time_over"
        self.group: Any = None
        self.place = 0
        self.wakes = -1

    @property
    @abstractmethod
    def ends_at(self) -> float:
        """The monotonic second when its time is over, or its token ends. May change after `refused`."""

    @abstractmethod
    def kept(self, now: float) -> F | None:
        """Look into memory; None: a store must be read. Costs microseconds, awaits nothing, and raises nothing."""

    @abstractmethod
    async def read(self) -> F:
        """Read a store, for all waiters of this key; raises ServiceError."""

    @abstractmethod
    def refused(self, now: float) -> Conclusion | None:
        """Refuse whose token has ended or whose key was withdrawn; None: may be answered. Asked before each answer."""

    @abstractmethod
    def answer(self, found: F, freshness: AsOf, now: float, *, is_last: bool, woken: float) -> Conclusion | None:
        """Answer with what was found; None: that is no news, and it is held on.

        `is_last`: its time is over, and it must be answered; the ending of "no news" is then replaced by the
        registry's. `freshness` is as of when what was found is known to hold: the later of its own and the last beat.
        `woken` is the monotonic second when the answer's reason came up: its request, a message, the end of its time.
        """

    @abstractmethod
    def failed(self, error: ServiceError, now: float, *, woken: float) -> Reply:
        """Answer that no store could be read."""


async def read_in_span(kind: str, question: SessionRequest, session_id: str, name: bytes, reading: Awaitable[F]) -> F:
    """Await what is read for held polls, in a span of the request that asks first; raises ServiceError."""
    parent, request_id = question.fields.get(b"traceparent"), name.decode("latin-1")
    with tracing.span(kind, parent, session_id=session_id, request_id=request_id, held=True) as span:
        try:
            found = await reading
        except ServiceError as error:
            span.note(error=type(error).__name__)
            raise
        span.note(source=found.source)
    return found


def _nobody(_: Reply) -> None:
    """Deliver to nobody."""
