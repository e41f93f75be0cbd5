"""Following a session as a state machine: says what to ask, and makes of each answer events and a wait; no I/O.

It asks for the first page with `If-None-Match`. `total` is exact, so an answer whose total is what is known by id is
complete, and until the ETag changes there is nothing new. Where more is missing than the first page holds, the pages
below are read, oldest first; twice as deep where it is missing still (a transaction committed late), down to the last.
Where fewer are there than are known, events were deleted: every page is read once, to know which.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from readside_client.backoff import Backoff
from readside_client.climb import Climb, pages_of
from readside_client.errors import BadRequest, Unavailable
from readside_client.exact_json import ANY_JSON, ExactJson
from readside_client.following import Following, Step
from readside_client.instants import EARLIEST_US, microseconds
from readside_client.model import Event, Freshness, Page
from readside_client.protocol import Headers, NotModified, Query, Request, answer_of
from readside_client.window import Window

MOST_IDLE = 10
"""After so many answers that bring a climb no further (servers that disagree by more than a page), it rests."""

_log = logging.getLogger("readside_client")


class Follower:
    """Ask `ask()`, send that, and give what came to `answered` or `failed`; each gives a Step, or raises.

    Events come once each, in the order of their timestamps but for those that were committed late.
    """

    def __init__(
        self,
        query: Query,
        following: Following,
        *,
        exact: ExactJson = ANY_JSON,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._query = query
        self._following = following
        self._exact = exact
        self._clock = clock
        self._backoff = Backoff(chance)
        self._window = Window(query.since_us)
        self._limit = following.page_size
        self._etag = ""  # of the first page of a complete answer
        self._climb: Climb | None = None
        self._as_of_us = EARLIEST_US
        self._answered_at = clock()
        self._away = False

    def ask(self) -> Request:
        """Give the request to send now."""
        query = replace(self._query, since_us=self._window.floor_us)
        if self._climb:
            return query.request(limit=self._limit, page=self._climb.page)
        return query.request(limit=self._limit, etag=self._etag)

    def answered(self, status: int, headers: Headers, body: bytes) -> Step:
        """Take an answer in. Raises RequestRefused where asking again is vain, Unavailable past the patience."""
        try:
            answer = answer_of(status, headers, body, self._exact)
        except BadRequest as refused:
            return self._with_smaller_pages(refused)
        except Unavailable as unavailable:
            return self.failed(unavailable)
        if isinstance(answer, NotModified) and not self._etag:
            return self.failed(Unavailable("Some cache on the way answered 304 to what was not a condition.", 304))
        self._came()
        if isinstance(answer, NotModified):
            return self._rest((), answer.freshness, answer.poll_interval_seconds)
        if 0 < answer.per_page < self._limit:
            return self._with_pages_of(answer.per_page)
        step = self._climbed(self._climb, answer) if self._climb else self._first_page(answer)
        self._as_of_us = max(self._as_of_us, microseconds(answer.freshness.as_of))
        return step

    def failed(self, failure: Unavailable) -> Step:
        """Take in that there was no answer, or none to use; raises it past the patience."""
        patience = self._following.patience_seconds
        if patience is not None and self._clock() - self._answered_at > patience:
            raise failure
        seconds = self._backoff.next_seconds(failure.retry_after_seconds)
        _log.log(logging.DEBUG if self._away else logging.WARNING, "%s Again in %.1f s.", failure, seconds)
        self._away = True
        return Step(wait_seconds=seconds)

    def _came(self) -> None:
        if self._away:
            _log.info("Answers come again.")
        self._away = False
        self._answered_at = self._clock()
        self._backoff.reset()

    def _with_smaller_pages(self, refused: BadRequest) -> Step:
        """Pages of large events may be longer than the API sends; raises what is refused for another reason."""
        if refused.parameter != "limit" or self._limit == 1:
            raise refused
        return self._with_pages_of(self._limit // 2)

    def _with_pages_of(self, limit: int) -> Step:
        """Count in shorter pages from here on, and from the first."""
        self._limit = limit
        self._start_over()
        return Step()

    def _start_over(self) -> None:
        self._climb, self._etag = None, ""

    def _first_page(self, page: Page) -> Step:
        missing = self._window.missing_after(page.items, page.total)
        if missing > 0 and page.total > self._limit:
            unknown = page.total - self._window.present
            return self._descend(max(2, pages_of(unknown, self._limit)), page)
        events = self._window.take(page.items)
        if missing < 0 and not self._is_old(page):
            if page.total > self._limit:
                return self._descend(pages_of(page.total, self._limit), page, events)
            self._window.only({event.id for event in page.items})
        return self._reached(events, page)

    def _descend(self, depth: int, page: Page, events: list[Event] | None = None) -> Step:
        """Read on at a page further down, at once."""
        self._climb = Climb.from_depth(depth, page.total, self._limit)
        self._etag = ""
        return Step(events or ())

    def _climbed(self, climb: Climb, page: Page) -> Step:
        if climb.idle >= MOST_IDLE:
            self._start_over()
            return Step(self._window.take(page.items), page.poll_interval_seconds)
        if climb.lacks_below(page, self._limit):
            climb.again(page.total, self._limit)
            # A writer faster than we are breaks the order rather than starve the caller.
            return Step(self._window.take(page.items) if climb.misses > 1 else ())
        events = self._window.take(page.items)
        if not climb.read(page, self._limit):
            self._bound_memory(climb, page)
            return Step(events)
        missing = page.total - self._window.present
        if missing < 0 and climb.whole:
            self._window.only(climb.seen)
        elif missing < 0 and not self._is_old(page):
            return self._descend(pages_of(page.total, self._limit), page, events)
        elif missing > 0 and not climb.whole:
            return self._descend(climb.depth * 2, page, events)
        return self._reached(events, page)

    def _is_old(self, page: Page) -> bool:
        """Tell whether it came from a server that is behind the last one: what it lacks has not gone."""
        return microseconds(page.freshness.as_of) < self._as_of_us

    def _reached(self, events: list[Event], page: Page) -> Step:
        """End a round; where it left nothing out, only another ETag is news."""
        self._start_over()
        if self._window.present != page.total:
            return Step(events, page.poll_interval_seconds)
        self._etag = page.etag
        self._slide(page.freshness)
        self._bound_memory()
        return self._rest(events, page.freshness, page.poll_interval_seconds)

    def _rest(self, events: Sequence[Event], freshness: Freshness, seconds: float) -> Step:
        until = self._following.until
        return Step(events, seconds, ended=until is not None and freshness.as_of >= until)

    def _slide(self, freshness: Freshness) -> None:
        """Raise `since` to what may still come: whatever was committed before the as-of is here.

        Seldom, by a whole overlap at least: as long as it stands still, polls find nothing new by their ETag.
        """
        if self._following.overlap_seconds is None:
            return
        overlap_us = int(self._following.overlap_seconds * 1_000_000)
        floor_us = microseconds(freshness.as_of) - overlap_us - 1
        before_us = self._window.floor_us
        if floor_us > 0 and (before_us is None or floor_us - before_us > overlap_us):
            self._window.raise_floor(floor_us)
            self._etag = ""

    def _bound_memory(self, climb: Climb | None = None, page: Page | None = None) -> None:
        """Forget the oldest where too many are known, and where none that is older can be missing.

        That is so when all are known, and below the page that a climb from the very last one has reached.
        """
        remember = self._following.remember
        if len(self._window) <= remember:
            return
        if climb is None or page is None:
            if self._window.shrink(remember * 3 // 4):
                self._etag = ""
        elif climb.whole and page.items:
            climb.forget(self._window.shrink(remember * 3 // 4, page.items[0].timestamp_us), self._window)
