"""Followers: of streams, of polls that wait, and of plain polls. All that they are given is judged."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from tests.oracle.asking import ANSWER_SECONDS, Answer, Client, NoAnswer, TookTooLong
from tests.oracle.following import NOW, START, Pages, StreamAnswer, StreamPlace
from tests.oracle.judge import Question, Wrong
from tests.oracle.ledger import Ledger
from tests.oracle.moves import TYPES
from tests.oracle.pollers import REFUSALS, Ask, Poller, check_freshness, microseconds
from tests.oracle.report import Report

THOROUGH_SECONDS = 2.0
"""So often each follower is compared with all that was written: that takes long in a session of thousands."""
TRIES = 3


class Follower(Protocol):
    """Somebody who follows sessions."""

    @property
    def sessions(self) -> list[str]:
        """Those that it follows now."""

    async def run(self) -> None:
        """Follow, until cancelled."""

    async def read_again(self) -> None:
        """Do what somebody does who knows that old events were changed."""

    def lacks(self) -> str:
        """Tell what differs from what was written, "" if nothing does: asked when all is quiet."""


@dataclass
class StreamFollower:
    """Follows one session by long polls, or several in turns: then each is continued from an older offset.

    Who follows several waits for news but seldom, and leaves before the poll is over.
    """

    name: str
    client: Client
    ledger: Ledger
    report: Report
    random: random.Random
    stop: asyncio.Event
    """Set by the first wrong answer."""
    places: list[StreamPlace]

    @property
    def sessions(self) -> list[str]:
        """Those that it follows now."""
        return [place.session_id for place in self.places]

    async def run(self) -> None:
        """Read on and on."""
        while True:
            if len(self.places) > 1 and self.random.random() < 0.02:
                self._roam()
            await self.step(self.random.choice(self.places))
            await asyncio.sleep(self.random.expovariate(10))

    async def read_again(self) -> None:
        """Nothing: a stream gives what was changed."""

    def lacks(self) -> str:
        """Tell what it was not given."""
        found = [f"{place.session_id}: {lacks}" for place in self.places if (lacks := place.lacks())]
        return "; ".join([f"{self.name}: {each}" for each in found])

    async def step(self, place: StreamPlace) -> None:
        """Ask once; after a refusal the offset is what it was."""
        query, headers = self._question(place)
        leaves = len(self.places) > 1 and "live" in query
        sent_us, before = time.time_ns() // 1000, place.offset
        try:
            response = await self.client.get(
                f"/api/v2/sessions/{place.session_id}/stream",
                params=query,
                headers=headers,
                timeout_seconds=self.random.uniform(0, 2) if leaves else ANSWER_SECONDS,
            )
        except NoAnswer as error:
            if leaves and isinstance(error, TookTooLong):
                return
            self.report.fail(f"{self.name} gave no answer to {query}: {error!r}")
            self.stop.set()
            return
        received_us = time.time_ns() // 1000
        if response.status_code in REFUSALS:
            self.report.refused(response.status_code)
            await asyncio.sleep(self.random.expovariate(5))
            return
        try:
            self._check(place, headers, response, (sent_us, received_us))
        except Wrong as wrong:
            self._complain(place, before, response, f"{wrong}; asked {query}, sent {sent_us}, received {received_us}")

    def _check(self, place: StreamPlace, headers: Mapping[str, str], response: Answer, span: tuple[int, int]) -> None:
        status = response.status_code
        if status == 410:
            place.take(StreamAnswer("none", span[0], 0, span[1], (), None))
            self.report.begun_anew += 1
            return
        if status not in {200, 204, 404}:
            raise Wrong(f"status {status}: {response.text[:200]}")
        as_of_us, source = microseconds(response.headers["readside-as-of"]), response.headers["readside-source"]
        check_freshness(response, headers.get("readside-max-staleness"), as_of_us, *span)
        items = None if status == 404 else orjson.loads(response.content or b"[]")
        answer = StreamAnswer(
            source,
            span[0],
            as_of_us,
            span[1],
            items,
            response.headers.get("stream-next-offset"),
            response.headers.get("stream-up-to-date") == "true",
        )
        twice = place.came_twice.total()
        place.take(answer, thorough=as_of_us > place.checked_us + THOROUGH_SECONDS * 1_000_000)
        self.report.late_us = max(self.report.late_us, place.late_us)
        self.report.streamed(source, len(items or ()), place.came_twice.total() - twice)

    def _question(self, place: StreamPlace) -> tuple[dict[str, str], dict[str, str]]:
        query, headers = {"offset": place.offset}, {}
        if place.types:
            query["event_type"] = ",".join(sorted(place.types))
        if len(self.places) == 1 or self.random.random() < 0.05:
            query["live"] = "long-poll"
        elif self.random.random() < 0.1:
            headers["readside-max-staleness"] = self.random.choice(("0", "0.3", "60"))
        return query, headers

    def _roam(self) -> None:
        """Leave a session for ever, and follow another one."""
        there, place = self.ledger.current(), self.random.randrange(len(self.places))
        session_id = self.random.choice(there)
        if session_id not in self.sessions:
            self.places[place] = place_in(self.ledger, session_id, self.random)

    def _complain(self, place: StreamPlace, before: str, response: Answer, wrong: str) -> None:
        told = {name: value for name, value in response.headers.items() if name.startswith(("readside", "stream"))}
        self.report.fail(f"{self.name} {response.status_code} {place.session_id} behind {before} → {told}: {wrong}")
        self.report.evidence(place.session_id, self.ledger.sessions.get(place.session_id), response.content)
        self.stop.set()


@dataclass
class PageFollower:
    """Polls the newest page, with `wait` or without, and reads all pages where the total is not what it knows."""

    poller: Poller
    wait_seconds: int | None
    pages: Pages
    etag: str = ""
    limit: int = 100

    @property
    def sessions(self) -> list[str]:
        """The one that it follows."""
        return [self.pages.session_id]

    async def run(self) -> None:
        """Poll on and on."""
        while True:
            await self.step()
            await self.poller.rest()

    async def step(self) -> None:
        """Poll once."""
        headers = {"if-none-match": self.etag} if self.etag else {}
        response = await self.poller.poll(self._ask(self.limit, 1, self.wait_seconds), headers)
        if response is None:
            await asyncio.sleep(self.poller.random.expovariate(5))
        elif response.status_code == 404:
            self.pages.known, self.etag = {}, ""
            await asyncio.sleep(0.1)
        elif response.status_code == 200:
            self.etag = response.headers["etag"]
            if not self.pages.merge(response.json()):
                await self.read_all()

    async def read_again(self) -> None:
        """Read all where something old was changed."""
        if self.pages.is_misled:
            await self.read_all()

    async def read_all(self) -> None:
        """Read every page, again where the session changes meanwhile; else at the next poll."""
        for _ in range(TRIES):
            known: dict[str, Mapping[str, Any]] = {}
            totals, as_of_us = set(), []
            page, has_next = 1, True
            while has_next:
                response = await self.poller.poll(self._ask(1000, page, None), {})
                if response is None or response.status_code != 200:
                    self.etag = ""
                    return
                body = response.json()
                known |= {item["id"]: item for item in body["items"]}
                totals.add(body["total"])
                as_of_us.append(microseconds(response.headers["readside-as-of"]))
                page, has_next = page + 1, body["pagination"]["has_next"]
            if totals == {len(known)}:
                self.pages.known, self.pages.whole_us = known, min(as_of_us)
                return
        self.etag = ""

    def lacks(self) -> str:
        """Tell what differs."""
        lacks = self.pages.lacks()
        return f"{self.poller.name}: {self.pages.session_id}: {lacks}" if lacks else ""

    def _ask(self, limit: int, page: int, wait_seconds: int | None) -> Ask:
        return Ask(Question(self.pages.session_id, limit=limit, page=page), wait_seconds=wait_seconds)


def place_in(ledger: Ledger, session_id: str, chance: random.Random) -> StreamPlace:
    """Follow a session from the start or from now on, all of it or a few types."""
    types = chance.sample(TYPES, chance.choice((0, 0, 0, 2)))
    return StreamPlace(ledger, session_id, frozenset(types), chance.choice((START, START, START, NOW)))


def missing_to(followers: Sequence[Follower]) -> str:
    """Name those who lack something, and what."""
    return "; ".join(filter(None, (each.lacks() for each in followers)))
