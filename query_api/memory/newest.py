"""What is known of a session's newest events: polls for later ones are answered from it, whatever their `since`."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from operator import neg

from query_api.memory.answers import TERMINAL, Answer, found, nothing
from readmodel.values.poll import Poll, render
from readmodel.view.reader import ViewPage

BEFORE_ALL_US = -(2**63)
OVERHEAD_BYTES = 1_000
"""What it costs beside the events: the object, its lists, its place in the cache."""
MAX_ANSWERS = 4
"""Answers that are kept ready; dashboards that are equally far behind ask for the same one."""

FILTERED = re.compile(
    rb'\{"id":"[^"]*","session_id":"[^"]*","step_id":(?:null|"([^"]*)"),"event_type":(?:"([^"\\]*)")?'
)
"""Matches an event: (step or None, type or None where no poll can name it)."""


def newest_key(session_id: str) -> str:
    """The key in memory of what is known of a session's newest events. A string knows its hash, a tuple does not."""
    return f"newest {session_id}"


class Newest:
    """The newest events of one session, newest first: scores in microseconds since 1970, and their JSON.

    Nothing is later than `newest_us`; None: the session has no events. `whole`: it has no others than these. Nothing of
    it is later than `latest_us`.
    """

    __slots__ = ("_answers", "_members", "_negated", "key", "latest_us", "reaches_us", "session_id", "size", "terminal")

    def __init__(
        self,
        session_id: str,
        newest_us: int | None,
        terminal: bool,
        scores: Sequence[int] = (),
        members: Sequence[bytes] = (),
        *,
        whole: bool = False,
    ) -> None:
        self.session_id = session_id
        self.key = newest_key(session_id)
        self.terminal = terminal
        self.reaches_us = BEFORE_ALL_US if newest_us is None or whole else scores[-1] if scores else newest_us
        self.latest_us = scores[0] if scores else self.reaches_us
        self.size = OVERHEAD_BYTES + 2 * sum(map(len, members))  # answers hold some of them a second time
        self._negated = list(map(neg, scores))  # ascending, as bisect wants it
        self._members = members
        self._answers: dict[Poll, Answer] = {}

    def answer(self, poll: Poll) -> Answer | None:
        """Answer a poll for events later than an instant; None where that goes further back than this does."""
        if poll.since_us is None or poll.since_us < self.reaches_us:
            return None
        if poll.since_us >= self.latest_us:
            return nothing(poll.limit, poll.page, self.terminal)
        later = bisect_left(self._negated, -poll.since_us)
        key = poll._replace(since_us=later)
        answer = self._answers.get(key)
        if answer is None:
            if len(self._answers) >= MAX_ANSWERS:
                del self._answers[next(iter(self._answers))]
            answer = self._answers[key] = self._build(poll, later)
        return answer

    def _build(self, poll: Poll, later: int) -> Answer:
        matching = self._members[:later]
        if poll.types or poll.steps:
            steps, types = {step.encode() for step in poll.steps}, {name.encode() for name in poll.types}
            matching = [
                member
                for member in matching
                if (its := FILTERED.match(member)) and (not steps or its[1] in steps) and (not types or its[2] in types)
            ]
        if poll.oldest_first:
            matching = matching[::-1]
        page = b",".join(matching[poll.offset : poll.offset + poll.limit])
        return found(self.session_id, render(page, len(matching), poll), terminal=self.terminal)


def newest_of(session_id: str, page: ViewPage) -> Newest:
    """What the view told, beside a page, of a session's newest events."""
    scores, members, is_all = page.newest_scores, page.newest_members, page.newest_is_all
    return Newest(session_id, page.newest_us, page.status in TERMINAL, scores, members, whole=is_all)
