"""What memory and stores give of a stream, as it is kept, filtered and sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from query_api.http.reply import HeaderFields, Pairs
from query_api.memory.answers import Answer, AsOf, Source, found
from query_api.memory.newest import FILTERED
from readmodel.values.offset import Offset, memory_of

OVERHEAD_BYTES = 1_000
"""What a page costs beside its events: the object, its offset, its place in the cache."""
MAX_ANSWERS = 4
"""Answers that are kept ready; followers who filter by the same types get the same one."""
UP_TO_DATE = (b"stream-up-to-date", b"true")
NEXT = b"stream-next-offset"


class StreamPage:
    """Events behind an offset, as their JSON, oldest arrival first; behind `next` the next ones come.

    `up_to_date`: nothing more is there.
    """

    __slots__ = ("_answers", "_matching", "events", "next", "session_id", "size", "told", "up_to_date")

    def __init__(self, session_id: str, events: Sequence[bytes], following: Offset, *, up_to_date: bool) -> None:
        self.session_id = session_id
        self.events = events
        self.next = following
        self.up_to_date = up_to_date
        told: Pairs = [(NEXT, following.text.encode()), *([UP_TO_DATE] if up_to_date else [])]
        self.told = HeaderFields(told)
        """The fields that say where the stream goes on, and whether all that is there was given."""
        self.size = (
            OVERHEAD_BYTES + memory_of(following) + 2 * sum(map(len, events))
        )  # an answer holds them a second time
        self._answers: dict[tuple[str, ...], Answer] = {}
        self._matching: dict[tuple[str, ...], Sequence[bytes]] = {}

    def matching(self, types: tuple[str, ...]) -> Sequence[bytes]:
        """The events of these types, of all where none is named."""
        if not types or not self.events:
            return self.events
        matching = self._matching.get(types)
        if matching is None:
            names = {name.encode() for name in types}
            matching = [event for event in self.events if (its := FILTERED.match(event)) and its[2] in names]
            _keep(self._matching, types, matching)
        return matching

    def answer(self, types: tuple[str, ...]) -> Answer:
        """The 200: a JSON array of the events of these types. Whoever asks the same gets the same one."""
        answer = self._answers.get(types)
        if answer is None:
            body = b"[%b]" % b",".join(self.matching(types))
            answer = found(self.session_id, body, terminal=False, told=self.told)
            _keep(self._answers, types, answer)
        return answer


class StreamEnd(NamedTuple):
    """The end of a session's stream: who has an offset that covers this one was given all that there is."""

    session_id: str
    offset: Offset

    def is_behind(self, offset: Offset) -> bool:
        """Whether nothing comes behind an offset."""
        end = self.offset
        return offset.within is None and offset.origin == end.origin and offset.cut.covers(end.cut)


class StreamFinding(NamedTuple):
    """A page, None where there is no such session, and as of when it is so.

    `is_followed`: a message tells as soon as it is so no longer.
    """

    source: Source
    page: StreamPage | None
    freshness: AsOf
    is_followed: bool

    def lean(self) -> StreamFinding:
        """What is needed of it where it was no news: where the stream goes on."""
        page = self.page
        if page is None or not page.events:
            return self
        return self._replace(page=StreamPage(page.session_id, (), page.next, up_to_date=page.up_to_date))


def is_no_news(found: StreamFinding, types: tuple[str, ...]) -> bool:
    """Whether a long poll goes on waiting: all that there is was given, and nothing of these types is among it."""
    page = found.page
    return page is not None and page.up_to_date and not page.matching(types)


def is_whole(found: StreamFinding, types: tuple[str, ...]) -> bool:
    """Whether it may be answered as it is: else it is empty, and says nothing of what comes."""
    page = found.page
    return page is None or page.up_to_date or bool(page.matching(types))


def end_key(session_id: str) -> str:
    """The key in memory of the end of a session's stream."""
    return f"end {session_id}"


def _keep(memory: dict[tuple[str, ...], Any], types: tuple[str, ...], made: object) -> None:
    if len(memory) >= MAX_ANSWERS:
        del memory[next(iter(memory))]
    memory[types] = made
