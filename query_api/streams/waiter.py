"""A long poll of a stream that is held: where it is, what is news to it, and what it is answered."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from query_api.http.reply import Reply
from query_api.memory.answers import AsOf
from query_api.memory.stream_page import StreamFinding, is_no_news, is_whole
from query_api.requests.waiter import Conclusion, Ending, Waiter, read_in_span
from readmodel.errors import ServiceError
from readmodel.values.offset import Offset

if TYPE_CHECKING:
    from query_api.streams.stream import Stream, StreamQuestion

HOLD_SECONDS = 20.0
"""A long poll ends after so long: programs that follow streams give their requests 30 s."""


class StreamWaiter(Waiter[StreamFinding]):
    """A long poll. `found` is what is known already and is no news. `name` is its request's id."""

    __slots__ = ("_began_at", "_stream", "address", "question")

    fills_memory = False
    """What comes behind one offset says nothing of another. Who asks the same shares a read anyhow."""

    def __init__(
        self, stream: Stream, question: StreamQuestion, found: StreamFinding | None, came: float, address: str
    ) -> None:
        super().__init__(came)
        self._stream = stream
        self.question = question
        self.address = address
        self.seen = found
        self._began_at = self._offset if found is not None else question.request.offset

    @property
    def session_id(self) -> str:  # type: ignore[override]
        """The session that is followed."""
        return self.question.request.session_id

    @property
    def key(self) -> Hashable:  # type: ignore[override]
        """What one finding depends on: where it began, though what is not of its types moves it on."""
        request = self.question.request
        return self._began_at, request.from_start, request.from_now, request.types, self.question.wanted

    @property
    def staleness_seconds(self) -> float:  # type: ignore[override]
        """As the request wants it."""
        return self.question.wanted.seconds

    @property
    def hold_staleness_seconds(self) -> float:  # type: ignore[override]
        """As usual, or longer where the request says so: a shorter one counts when the answer leaves."""
        return max(self.question.wanted.seconds, self._stream.usual.seconds)

    @property
    def ends_at(self) -> float:
        """The end of its time, or of its token."""
        return min(self.came + HOLD_SECONDS, self.question.until)

    @property
    def _offset(self) -> Offset | None:
        """Where it is."""
        page = self.seen.page if self.seen is not None else None
        return self._began_at if page is None else page.next

    def kept(self, now: float) -> StreamFinding | None:
        """Look into memory. A page of other types alone that is not the end is read on, by `read`."""
        found = self._stream.kept(self.question, self._offset, now)
        return found if found is not None and is_whole(found, self.question.request.types) else None

    async def read(self) -> StreamFinding:
        """Read a store; raises ServiceError."""
        reading = self._stream.read(self.question, self._offset)
        return await read_in_span("stream", self.question, self.session_id, self.name, reading)

    def refused(self, now: float) -> Conclusion | None:
        """Refuse whose token has ended or whose key was withdrawn."""
        return self._stream.refusal_of_held(self.question, now, self.address)

    def answer(
        self, found: StreamFinding, freshness: AsOf, now: float, *, is_last: bool, woken: float
    ) -> Conclusion | None:
        """Answer with news, with a 404, or when its time is over."""
        ending: Ending
        if found.page is None:
            ending = "not_found"
        elif not is_no_news(found, self.question.request.types):
            ending = "news"
        elif is_last:
            ending = "time_over"
        else:
            return None
        return Conclusion(ending, self._stream.held_reply(self.question, found, freshness, now, woken))

    def failed(self, error: ServiceError, _now: float, *, woken: float) -> Reply:
        """Answer that no store could be read."""
        return self._stream.failed(error, self.session_id, woken)
