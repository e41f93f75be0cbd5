"""Random pollers: ask the API processes anything, and have every answer judged."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

import orjson

from tests.oracle.asking import Answer, Client, NoAnswer
from tests.oracle.histories import EPOCH, STEPS, Event, timestamp_text
from tests.oracle.judge import Given, Question, Wrong, judge
from tests.oracle.ledger import Ledger
from tests.oracle.moves import DAY_US, TYPES
from tests.oracle.report import Report
from tests.support.builders import events_path

REFUSALS = (429, 503)
LONGEST_REST_SECONDS, RESTS_PER_DELAY = 0.5, 8
LAG_TOLERANCE_US = 250_000
"""A lag may be understated by what two clocks' readings and a busy machine make of it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A question as a request puts it."""

    question: Question
    order: int = 0
    """In which of several orders its parameters stand: each is an answer of its own in an API's memory."""
    wait_seconds: int | None = None
    """How long it waits for news."""

    @property
    def url(self) -> str:
        """Path and query."""
        asked = self.question
        parts = [f"limit={asked.limit}", f"page={asked.page}", *(f"event_type={each}" for each in sorted(asked.types))]
        parts += [f"step_id={step}" for step in sorted(asked.steps)]
        if asked.oldest_first:
            parts.append("order=asc")
        if asked.since_us is not None:
            parts.append(f"since={quote(timestamp_text(asked.since_us))}")
        if self.wait_seconds is not None:
            parts.append(f"wait={self.wait_seconds}")
        turn = self.order % len(parts)
        return f"{events_path(asked.session_id)}?{'&'.join(parts[turn:] + parts[:turn])}"


@dataclass
class Poller:
    """Polls API processes until it is told to stop."""

    name: str
    client: Client
    ledger: Ledger
    report: Report
    random: random.Random
    stop: asyncio.Event
    others: Sequence[Client] = ()
    """Other API processes, which it asks as well."""
    monotonic: bool = False
    """Whether it says how new the newest state is that it has seen, and is never shown an earlier one."""
    newest_us: int | None = None
    polls_per_second: int = 50
    """At most, on average."""
    asked: list[Ask] = field(default_factory=list)
    bodies: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By URL and ETag: what an If-None-Match stands for."""

    async def run(self) -> None:
        """Poll."""
        while not self.stop.is_set():
            ask = self.next()
            await self.poll(ask, self.headers(ask))
            await self.rest()

    async def rest(self) -> None:
        """Wait a moment; for longer where this process has no time, which faults and a cluster's bus need as well."""
        seconds, began = self.random.expovariate(self.polls_per_second), time.monotonic()
        await asyncio.sleep(seconds)
        late = time.monotonic() - began - seconds
        await asyncio.sleep(min(LONGEST_REST_SECONDS, RESTS_PER_DELAY * late))

    def next(self) -> Ask:
        """One of the last questions again, as a dashboard does, or a new one."""
        if self.asked and self.random.random() < 0.6:
            return self.random.choice(self.asked)
        ask = self.invent()
        self.asked = [*self.asked[-7:], ask]
        return ask

    def headers(self, ask: Ask) -> dict[str, str]:
        """Wishes."""
        headers = {}
        if self.random.random() < 0.1:
            headers["readside-max-staleness"] = self.random.choice(("0", "0", "0.3", "60"))
        if self.newest_us is not None:
            headers["readside-not-before"] = timestamp_text(self.newest_us)
        known = [etag for url, etag in self.bodies if url == ask.url]
        if known and self.random.random() < 0.5:
            headers["if-none-match"] = ", ".join(known[-2:])
        return headers

    def invent(self) -> Ask:
        """A random question."""
        session_id = self.session()
        since_us = self.since(session_id) if self.random.random() < 0.5 else None
        types = self.random.sample((*TYPES, "unheard_of"), self.random.choice((0, 0, 0, 1, 2)))
        limit = self.random.choice((1, 2, 10, 100, 1000, 1000, 1000))
        page = self.random.choice((1, 1, 1, 2, 3, 40))
        steps = self.random.sample(STEPS, self.random.choice((0, 0, 0, 1, 2)))
        oldest_first = self.random.random() < 0.2
        question = Question(session_id, since_us, frozenset(types), limit, page, frozenset(steps), oldest_first)
        return Ask(question, self.random.randrange(2))

    def session(self) -> str:
        """A session, the busy ones more often; now and then one that is gone, or that never was."""
        dice, there, gone = self.random.random(), self.ledger.current(), self.ledger.purged()
        if dice < 0.03:
            return str(UUID(int=self.random.getrandbits(128), version=4))
        if dice < 0.12 and gone:
            return self.random.choice(gone)
        if dice < 0.3:
            return there[-1]
        return there[min(int(self.random.expovariate(5 / len(there))), len(there) - 1)]

    def since(self, session_id: str) -> int:
        """An event's very timestamp, or some instant."""
        history = self.ledger.sessions.get(session_id)
        events = [life.event for life in history.events[-50:]] if history else []
        if events and self.random.random() < 0.6:
            event: Event | None = self.random.choice(events)
            return event.timestamp_us if event else 0
        return time.time_ns() // 1000 - self.random.choice((1_000_000, 30_000_000, DAY_US, 20 * DAY_US))

    async def poll(self, ask: Ask, headers: dict[str, str]) -> Answer | None:
        """Ask, judge, count; None when there was no answer."""
        sent_us = time.time_ns() // 1000
        try:
            response = await self.random.choice((self.client, *self.others)).get(ask.url, headers=headers)
        except NoAnswer as error:
            self.report.fail(f"{self.name} gave no answer to {ask.url}: {error!r}")
            self.stop.set()
            return None
        received_us = time.time_ns() // 1000
        if response.status_code in REFUSALS:
            self.report.refused(response.status_code)
            return None
        try:
            self.check(ask, headers, response, sent_us, received_us)
        except Wrong as wrong:
            self.complain(ask, headers, response, f"{wrong}; sent {sent_us}, received {received_us}")
        return response

    def check(self, ask: Ask, headers: dict[str, str], response: Answer, sent_us: int, received_us: int) -> None:
        """Judge one answer; raises Wrong."""
        if response.status_code not in {200, 304, 404}:
            raise Wrong(f"status {response.status_code}: {response.text[:200]}")
        as_of_us = microseconds(response.headers["readside-as-of"])
        wished = headers.get("readside-max-staleness")
        not_before = headers.get("readside-not-before")
        if not_before is not None and as_of_us < microseconds(not_before):
            raise Wrong("the as-of is before the instant that was asked for")
        if self.monotonic:
            self.newest_us = max(as_of_us, self.newest_us or 0)
        check_freshness(response, wished, as_of_us, sent_us, received_us)
        body = self.body(ask, response)
        if self.ledger.edited(ask.question.session_id, as_of_us, received_us):
            self.report.of_edited += 1
            return
        given = Given(as_of_us, received_us, None if body is None else orjson.loads(body))
        judge(self.ledger.sessions.get(ask.question.session_id), ask.question, given)
        staleness_us = received_us - as_of_us if wished is None else 0
        self.report.checked(response.headers["readside-source"], response.status_code, staleness_us)

    def body(self, ask: Ask, response: Answer) -> bytes | None:
        """What an answer stands for: its own body, or with a 304 that of the ETag; None for a 404."""
        if response.status_code == 404:
            return None
        etag = response.headers["etag"]
        if response.status_code == 304:
            return self.bodies[ask.url, etag]
        self.report.same_etag_same_body(etag, response.content)
        self.bodies.pop((ask.url, etag), None)
        self.bodies[ask.url, etag] = response.content
        if len(self.bodies) > 64:
            del self.bodies[next(iter(self.bodies))]
        return response.content

    def complain(self, ask: Ask, headers: dict[str, str], response: Answer, wrong: str) -> None:
        """Say what was wrong, and end the run."""
        told = {name: value for name, value in response.headers.items() if name.startswith(("readside", "etag"))}
        self.report.fail(f"{self.name} {response.status_code} {ask.url} {headers} → {told}: {wrong}")
        session_id = ask.question.session_id
        self.report.evidence(session_id, self.ledger.sessions.get(session_id), response.content)
        self.stop.set()


def check_freshness(response: Answer, wished: str | None, as_of_us: int, sent_us: int, received_us: int) -> None:
    """The as-of is in the past, as fresh as was asked, and no older than the lag says; raises Wrong."""
    if as_of_us > received_us:
        raise Wrong("the as-of is in the future")
    lag_us = int(response.headers["readside-lag-ms"]) * 1000
    if lag_us + LAG_TOLERANCE_US < sent_us - as_of_us:
        raise Wrong(f"the as-of was {sent_us - as_of_us} µs old when it was asked for")
    if wished is not None and as_of_us < sent_us and lag_us > float(wished) * 1_000_000:
        raise Wrong(f"staleness {wished} was asked, and no query was sent after the request")


def microseconds(text: str) -> int:
    """µs since 1970 of an RFC 3339 instant."""
    since = datetime.fromisoformat(text) - EPOCH
    return since.days * DAY_US + since.seconds * 1_000_000 + since.microseconds
