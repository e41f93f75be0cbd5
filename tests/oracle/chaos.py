"""One run: writers, pollers and faults for so many seconds, then healing, and a comparison of everything."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from readmodel.view.slices import Slices, slot_of
from tests.oracle.asking import Answer
from tests.oracle.faults import Faults
from tests.oracle.followers import Follower, PageFollower, StreamFollower, missing_to, place_in
from tests.oracle.following import Pages
from tests.oracle.installation import Installation
from tests.oracle.judge import Question
from tests.oracle.ledger import Draft, Ledger
from tests.oracle.pollers import Ask, Poller, microseconds
from tests.oracle.report import Report
from tests.oracle.service import Service, running
from tests.oracle.site import Hindrance, Site
from tests.oracle.writers import MARKS, Writer, now_us, wait
from tests.support.projecting import INSERT_SESSION
from tests.support.servers import connected
from tests.support.waiting import eventually

POLLERS_EACH, ROAMERS, KEPT = 3, 2, 3
LONGEST_SECONDS = (4.0, 4.0, 4.0, 4.0, 14.0)
"""For so long each writer keeps a transaction open at most: one of them beyond a lease."""
HEAL_SECONDS, EDIT_SECONDS, FOLLOW_SECONDS = 90, 120, 90
WAIT_SECONDS, HEAR_SECONDS = 20, 15
"""Of polls that wait, and what followers may take behind the last commit when all is quiet: who is woken takes less."""
BETWEEN_SECONDS, LOOK_SECONDS = 0.3, 0.3
"""From the last but one commit to the last, and from one look at what followers have to the next."""
QUIET_SECONDS = 0.8
"""Between two faults, on average."""
LONG_SECONDS, POLLS_PER_SECOND, POLLS_PER_SECOND_IN_A_LONG_RUN = 60, 20, 50
"""Of each poller, on average: a short run shares its processors with other tests, and asks no more than they leave."""
PROBE_SECONDS = 0.003
"""For so long each probe waits before it asks, times the number of probes: there is one of each slice."""


@dataclass
class Run:
    """One run of the oracle."""

    seed: int
    seconds: float
    service: Service
    report: Report
    ledger: Ledger = field(default_factory=Ledger)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._pace = POLLS_PER_SECOND if self.seconds < LONG_SECONDS else POLLS_PER_SECOND_IN_A_LONG_RUN
        self.quiet_us = 0
        self.truth: dict[str, set[str]] = {}
        self.kept = frozenset(self._sessions(self.service.installation.view))
        self.pollers = [self._poller(n % len(self.service.clients), n) for n in range(POLLERS_EACH * 2)]
        self.pollers += [self._roamer(n) for n in range(ROAMERS)]
        # They ask of every slice at once: with so many answers a poller would forget what its ETags stand for.
        self.probers = [self._poller(place, len(self.pollers) + place) for place in range(len(self.service.clients))]
        self.writers = [self._writer(f"writer {n}", seconds) for n, seconds in enumerate(LONGEST_SECONDS)]
        self.followers = list(self._followers())

    async def run(self) -> None:
        """Everything."""
        started = time.monotonic()
        await self._begin()
        chance = self._own("faults")
        site = Site(self.service, self.ledger, self.report, chance, self.stop, self.kept, self.hurry)
        faults = Faults(site)
        async with self._following():
            await self._disturb(faults, started + self.seconds)
            if not self.report.failures:
                await self._end()
            elif self.report.proof:
                await self._complete_proof()
        self.report.seconds = time.monotonic() - started
        self.report.migrations = len(self.ledger.migrations)
        self.report.commits, self.report.prepared = self.ledger.commits, self.ledger.prepared
        self.report.events = sum(len(history.events) for history in self.ledger.sessions.values())

    @asynccontextmanager
    async def _following(self) -> AsyncIterator[None]:
        """Have the followers follow for as long as the block lasts: they need no end, as nobody who follows does."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(follower.run()) for follower in self.followers]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def _disturb(self, faults: Faults, deadline: float) -> None:
        """Write, poll and strike until the deadline, and mend."""
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(faults.of_data.watch_edit())
            for work in [*(writer.run() for writer in self.writers), *(poller.run() for poller in self.pollers)]:
                group.create_task(work)
            try:
                await self._strike(faults, deadline)
            finally:
                self.stop.set()
                await faults.mend()
                await self._edits_mended(faults)
                watch.cancel()

    async def _begin(self) -> None:
        async with connected(self.service.database_url) as connection:
            await connection.execute(MARKS)
            for session_id in sorted(self.kept):
                commit = self.ledger.send(Draft(created=[session_id]), now_us(), "")
                await connection.execute(INSERT_SESSION, session_id, "in_progress")
                self.ledger.acknowledge(commit, now_us())
        await self._healed(now_us())

    async def _strike(self, faults: Faults, deadline: float) -> None:
        """Fault after fault; now and then the next one does not wait for the healing."""
        known = faults.all()
        order = self._own("order")
        while time.monotonic() < deadline and not self.stop.is_set():
            await wait(self.stop, order.expovariate(1 / QUIET_SECONDS))
            fitting = [fault for fault in known if time.monotonic() + 2 * fault.seconds < deadline or not fault.seconds]
            fault = order.choices(fitting, [fault.weight for fault in fitting])[0]
            self.report.faults[fault.name] += 1
            self.report.tell(f"{fault.name} begins")
            try:
                await fault.strike()
                self.report.tell(f"{fault.name} is over")
            except Hindrance as hindrance:
                self.report.faults[fault.name] -= 1
                self.report.tell(f"{fault.name} was hindered: {hindrance}")
            if order.random() < 0.25 and not faults.site.mends:
                continue
            await self._heal(fault.name)
            await faults.mend()
            self._check_processes()

    async def _heal(self, name: str) -> None:
        over, over_us = time.monotonic(), now_us()
        if not await self._healed(over_us):
            return
        self.report.heal(name, time.monotonic() - over)
        self.report.tell(f"{name} is healed")

    async def _healed(self, since_us: int) -> bool:
        """Wait until each API serves each slice from the live view, with all that was before `since_us`.

        And every hot standby answers cold polls again.
        """
        view = self.service.installation.view
        probes = {view.index_of(session_id): session_id for session_id in sorted(self.kept, reverse=True)}
        pause = PROBE_SECONDS * len(probes) * len(self.probers)
        waits = [self._live(poller, each, since_us, pause) for poller in self.probers for each in probes.values()]
        try:
            await asyncio.gather(*waits)
            if self.service.installation.has_standbys and not self.stop.is_set():
                await eventually(self.service.standbys_are_fit, "every standby answers cold polls", HEAL_SECONDS)
        except AssertionError as error:
            told = (await self.service.clients[0].get("/api/v2/projection")).json()
            self.report.fail(f"{error}; the projection says {told}")
            self.stop.set()
        return not self.stop.is_set()

    async def _live(self, poller: Poller, session_id: str, since_us: int, pause: float) -> None:
        last = "no answer"

        async def live() -> bool:
            nonlocal last
            await wait(self.stop, pause)
            question = Question(session_id, limit=poller.random.randrange(1, 1001))
            response = await poller.poll(Ask(question), {})
            if response is not None:
                last = f"{response.headers['readside-source']} as of {response.headers['readside-as-of']}"
            return self.stop.is_set() or (
                response is not None
                and response.headers["readside-source"] == "redis"
                and microseconds(response.headers["readside-as-of"]) >= since_us
            )

        try:
            await eventually(live, f"{session_id} is served from a live view", HEAL_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}, to {poller.name}: {last}") from error

    async def _edits_mended(self, faults: Faults) -> None:
        """What somebody edited is found however quiet it is."""
        if self.report.failures:
            return
        try:
            await eventually(lambda: faults.site.edited is None, "the last edit is mended", EDIT_SECONDS)
        except AssertionError as error:
            self.report.fail(str(error))

    async def _followers_have_all(self, seconds: float) -> None:
        """What every follower was given is what Postgres holds."""
        told = ""

        async def have_all() -> bool:
            nonlocal told
            await asyncio.sleep(LOOK_SECONDS)
            before, told = told, missing_to(self.followers)
            if told != before:
                self.report.tell(told[:1000] or "every follower has all")
            return bool(self.report.failures) or not told

        for follower in self.followers:
            await follower.read_again()
        try:
            await eventually(have_all, "every follower has all", seconds)
        except AssertionError as error:
            self.report.fail(f"{error}: {missing_to(self.followers)[:3000]}")

    async def _last_words(self) -> None:
        """Write late ones by savepoints of a transaction, during which a burst is committed. Nothing is deleted now."""
        sessions = {session_id for follower in self.followers for session_id in follower.sessions}
        there = [session_id for session_id in sorted(sessions) if self.ledger.sessions[session_id].current]
        slow, quick = (self._writer(f"last writer {n}", LONGEST_SECONDS[0]) for n in range(2))
        slow_mark, quick_mark = str(uuid4()), str(uuid4())
        slow_moves, quick_moves = await slow.begun(slow_mark), await quick.begun(quick_mark)
        for session_id in there:
            await slow_moves.connection.execute("SAVEPOINT here")
            await slow_moves.write(slow_moves.events(session_id, 3))
            await slow_moves.connection.execute("RELEASE SAVEPOINT here")
            await quick_moves.write(quick_moves.events(session_id, 20))
        for writer, moves, mark in ((quick, quick_moves, quick_mark), (slow, slow_moves, slow_mark)):
            await writer.commit(moves.connection, self.ledger.send(moves.draft, now_us(), mark), mark)
            await wait(self.stop, BETWEEN_SECONDS)
            await moves.connection.close(timeout=5)

    def _check_processes(self) -> None:
        for death in self.service.deaths():
            self.report.fail(death)
            self.stop.set()

    async def _end(self) -> None:
        """All is quiet: every session equals Postgres, from every source."""
        self.stop.clear()  # for the pollers, which are ours now
        await self._healed(now_us())
        await self._followers_have_all(FOLLOW_SECONDS)
        await self._last_words()
        written = time.monotonic()
        await self._followers_have_all(HEAR_SECONDS)
        self.report.heard_seconds = time.monotonic() - written
        self.quiet_us = now_us()
        self.truth = await self._truth()
        for session_id in self.ledger.sessions:
            await self._compare(session_id)
        self.report.by_standbys = await self.service.answered_by_standbys()
        code, said = await self.service.command("verify", "--json")
        if code != 0:
            self.report.fail(f"readside verify ended with {code}: {said[-3000:]}")
        self._check_processes()
        for line in self.service.tracebacks()[:5]:
            self.report.fail(line)

    async def _complete_proof(self) -> None:
        """Add what both stores hold now of the session of the wrong answer."""
        session_id = self.report.proof["session_id"]
        async with connected(self.service.database_url) as connection:
            rows = await connection.fetch("SELECT id, xmin::text FROM events WHERE session_id = $1::uuid", session_id)
        self.report.proof["postgres"] = {str(row["id"]): row["xmin"] for row in rows}
        keys = self.service.installation.view.of(session_id)
        async with self.service.redis_client(slot_of(keys.tag)) as redis:
            for name in (keys.header(session_id), keys.position):
                held: Any = await redis.hgetall(name)
                self.report.proof[name] = {str(key): str(value) for key, value in held.items()}

    async def _compare(self, session_id: str) -> None:
        truth = self.truth.get(session_id)
        history = self.ledger.sessions[session_id]
        known = history.there()
        if known != truth:
            difference = sorted((known or set()) ^ (truth or set()))[:5]
            self.report.fail(f"the oracle itself is wrong about {session_id}: {difference}")
            self.report.evidence(session_id, history, b"")
        for poller in self.pollers[:3]:
            for headers in ({}, {"readside-max-staleness": "0"}):
                shown = await self._all_pages(poller, session_id, headers)
                self.report.missing += len((truth or set()) - (shown or set()))
                if shown != truth:
                    self.report.fail(f"{session_id} at the end by {poller.name} {headers}: {shown} instead of {truth}")

    async def _truth(self) -> dict[str, set[str]]:
        """The ids of the events of each session that there is."""
        async with connected(self.service.database_url) as connection:
            truth: dict[str, set[str]] = {
                row[0]: set() for row in await connection.fetch("SELECT id::text FROM sessions")
            }
            for session_id, event_id in await connection.fetch("SELECT session_id::text, id::text FROM events"):
                truth[session_id].add(event_id)
        return truth

    async def _all_pages(self, poller: Poller, session_id: str, headers: Mapping[str, str]) -> set[str] | None:
        shown: set[str] = set()
        page = 1
        while True:
            response = await self._answer(poller, Ask(Question(session_id, None, frozenset(), 1000, page)), headers)
            if response.status_code == 404:
                return None
            body = response.json()
            shown |= {item["id"] for item in body["items"]}
            if not body["pagination"]["has_next"]:
                return shown
            page += 1

    async def _answer(self, poller: Poller, ask: Ask, headers: Mapping[str, str]) -> Answer:
        """An answer of which the as-of is later than the last write."""
        answers: list[Answer] = []

        async def answered() -> bool:
            response = await poller.poll(ask, dict(headers))
            if response is None or microseconds(response.headers["readside-as-of"]) < self.quiet_us:
                return False
            answers.append(response)
            return True

        await eventually(answered, f"an answer to {ask.url}")
        return answers[0]

    def _poller(self, place: int, number: int) -> Poller:
        name = f"poller {number} of api {place}"
        client = self.service.clients[place]
        chance = self._own(name)
        return Poller(name, client, self.ledger, self.report, chance, self.stop, polls_per_second=self._pace)

    def _writer(self, name: str, longest_seconds: float) -> Writer:
        url = self.service.database_url
        return Writer(url, self.ledger, self._own(name), self.stop, self.kept, longest_seconds, self.hurry)

    def _followers(self) -> Iterator[Follower]:
        """Those of streams by long polls and without, of pages that wait, and of plain polls; of busy sessions."""
        busiest, busy, other = sorted(self.kept)[:KEPT]
        for place, sessions in enumerate(
            ([busiest], [busiest], [busy], [busiest, busy, other], [busy, busiest, other])
        ):
            name, client = f"follower {place} of streams", self.service.clients[place % 2]
            chance = self._own(name)
            places = [place_in(self.ledger, session_id, chance) for session_id in sessions]
            yield StreamFollower(name, client, self.ledger, self.report, chance, self.stop, places)
        for place, (session_id, seconds) in enumerate([(busiest, WAIT_SECONDS), (busy, WAIT_SECONDS), (busiest, None)]):
            poller = self._poller(place % 2, place)
            poller.name = f"follower {place} of pages"
            yield PageFollower(poller, seconds, Pages(self.ledger, session_id))

    def _roamer(self, number: int) -> Poller:
        """A client of all API processes, which never wants to see an earlier state than it has seen."""
        name, (first, *others) = f"roamer {number}", self.service.clients
        chance = self._own(name)
        return Poller(
            name,
            first,
            self.ledger,
            self.report,
            chance,
            self.stop,
            others,
            monotonic=True,
            polls_per_second=self._pace,
        )

    def _sessions(self, view: Slices) -> Iterator[str]:
        """Sessions for ever: a few, and one of each slice at least."""
        wanted = set(range(view.count))
        kept = 0
        while wanted or kept < KEPT:
            session_id = str(UUID(int=self.random.getrandbits(128), version=4))
            if kept < KEPT or view.index_of(session_id) in wanted:
                wanted.discard(view.index_of(session_id))
                kept += 1
                yield session_id

    def _own(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")


async def run(seed: int, seconds: float, installation: Installation, directory: Path) -> Report:
    """Run the oracle; the report has what failed."""
    report = Report(seed, installation.name)
    chance = random.Random(f"{seed} service")
    async with running(installation, directory, chance) as service:
        await Run(seed, seconds, service, report).run()
        for wrong in await service.end():
            report.fail(wrong)
    return report


async def look_for_wrong_answers(seed: int, seconds: float, installation: Installation, directory: Path) -> Report:
    """Run the oracle, keep its figures, and fail where an answer was wrong or an event is missing."""
    report = await run(seed, seconds, installation, directory)
    report.save()

    assert report.failures == []
    assert report.missing == 0
    assert min(report.sources[source] for source in ("memory", "redis", "postgres")) > 0
    return report
