"""Following a session as a state machine: says what to ask, and makes of each answer events and a wait; no I/O.

It reads the session's stream by long polls: what comes behind one offset, then behind the next. What the stream gives
again, as it may after a crash or a reload, is told by id and text. A row that was updated comes with another text.
"""

from __future__ import annotations

import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from readside_client.backoff import Backoff
from readside_client.errors import OffsetLost, Unavailable
from readside_client.exact_json import ANY_JSON, ExactJson
from readside_client.following import Following, Step
from readside_client.model import Event
from readside_client.protocol import (
    DEFAULT_INTERVAL_SECONDS,
    HOLD_SECONDS,
    NOW,
    START,
    Headers,
    Query,
    Request,
    StreamAnswer,
    stream_answer_of,
)

_log = logging.getLogger("readside_client")


class Follower:
    """Ask `ask()`, send that, and give what came to `answered` or `failed`; each gives a Step, or raises.

    `since_us` and `step_ids` of the query are looked at here, since streams know no such filters. Raises ValueError for
    a step's id that is none.
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
        self._steps = {str(UUID(step_id)) for step_id in query.step_ids}
        self._following = following
        self._exact = exact
        self._clock = clock
        self._backoff = Backoff(chance)
        self._restarts = Backoff(chance)
        self._offset = following.offset
        self._versions: OrderedDict[str, int] = OrderedDict()
        self._knows_all = following.offset == START
        self._is_live = following.offset != NOW and following.until is None
        self._asked_at = clock()
        self._away_since: float | None = None

    def ask(self) -> Request:
        """The request to send now."""
        self._asked_at = self._clock()
        return self._query.stream_request(self._offset, is_live=self._is_live)

    def answered(self, status: int, headers: Headers, body: bytes) -> Step:
        """Take an answer in. Raises RequestRefused where asking again is vain, Unavailable past the patience."""
        try:
            answer = stream_answer_of(status, headers, body, self._offset, self._exact)
        except OffsetLost as gone:
            return self._begin_again(gone)
        except Unavailable as unavailable:
            return self.failed(unavailable)
        if self._away_since is not None:
            _log.info("Answers come again.")
        self._away_since = None
        self._backoff.reset()
        if self._offset != START:  # a start that succeeds tells nothing of whether its offset can be continued
            self._restarts.reset()
        events = [event for event in answer.events if self._is_wanted(event) and self._is_new(event)]
        if events:  # to resume behind the others, which bear the offset that was asked, repeats some and misses none
            events[-1] = replace(events[-1], offset=answer.next_offset)
        return self._moved(events, answer)

    def failed(self, failure: Unavailable) -> Step:
        """Take in that there was no answer, or none to use; raises it past the patience."""
        now, patience = self._clock(), self._following.patience_seconds
        is_first = self._away_since is None
        self._away_since = now if self._away_since is None else self._away_since
        if patience is not None and now - self._away_since >= patience:
            raise failure
        seconds = self._backoff.next_seconds(failure.retry_after_seconds)
        _log.log(logging.WARNING if is_first else logging.DEBUG, "%s Again in %.1f s.", failure, seconds)
        return Step(wait_seconds=seconds)

    def _begin_again(self, gone: OffsetLost) -> Step:
        """Read from the start, where that gives nothing twice or where it may; else raise."""
        if self._offset == START or not (self._knows_all or self._following.restart):
            raise gone
        _log.warning("%s It is read again from the start.", gone)
        self._offset = START
        return Step(wait_seconds=self._restarts.next_seconds())

    def _is_wanted(self, event: Event) -> bool:
        since_us = self._query.since_us
        return (since_us is None or event.timestamp_us > since_us) and (not self._steps or event.step_id in self._steps)

    def _is_new(self, event: Event) -> bool:
        """Tell whether this version of an event was not given yet, and remember it."""
        version = hash(event.json)
        if self._versions.pop(event.id, None) == version:
            self._versions[event.id] = version
            return False
        self._versions[event.id] = version
        if len(self._versions) > self._following.remember:
            self._versions.popitem(last=False)
            self._knows_all = False
        return True

    def _moved(self, events: list[Event], answer: StreamAnswer) -> Step:
        until, was_live, has_moved = self._following.until, self._is_live, answer.next_offset != self._offset
        self._offset = answer.next_offset
        if until is not None and answer.up_to_date and answer.as_of >= until:
            return Step(events, ended=True)
        # Nothing is held that is to end before the hold does.
        self._is_live = until is None or (until - answer.as_of).total_seconds() > HOLD_SECONDS
        if has_moved and (was_live or self._is_live or not answer.up_to_date):
            return Step(events)
        is_held = was_live and self._clock() - self._asked_at >= DEFAULT_INTERVAL_SECONDS
        return Step(events, 0.0 if is_held else DEFAULT_INTERVAL_SECONDS)
