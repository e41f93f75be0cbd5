"""The world of a simulation: the project's own processes over simulated stores, among writers, pollers and faults."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from projector.leader import Leader
from projector.tail.connection import Tail
from projector.telemetry import Telemetry
from query_api.http.reply import Reply
from query_api.http.request_fields import RequestFields
from query_api.operators.exchange import Exchange
from query_api.polls.events import Question
from query_api.sources.replicas import Replica
from query_api.sources.request_line import RequestLine
from readmodel.postgres.standby_log import Choose
from readmodel.runtime.supervise import end
from readmodel.values.poll_query import parse_poll
from readmodel.view.subscription import heard_all
from readside.api import ApiStores, _Wiring
from readside.replica_servers import ReplicaServer
from tests.model.applications import Applications
from tests.model.auditor import WINDOW_BYTES, WINDOW_EVENTS, Auditor
from tests.model.chance import Machine
from tests.model.clients import Log
from tests.model.connections import BellConnection, LeaderConnection
from tests.model.faults import DAMAGING, Faults
from tests.model.followers import Followers
from tests.model.nodes import Nodes
from tests.model.oracle import Wrong, check, instant
from tests.model.pollers import Pollers
from tests.model.postgres import Postgres
from tests.model.reads import Reads
from tests.model.spared import Spared
from tests.model.standby import Standby, StandbyLog
from tests.model.writers import SESSIONS
from tests.support.builders import API, projector_config

STORM_SECONDS = 4.0
CALM_SECONDS = 60.0
"""After the last fault everything is well within this."""
STALENESS_SECONDS = 2.0
BEAT_SECONDS = 0.1
SHARE_STANDBY = 0.3
SHARE_SPARED = 0.35
"""How many of the views on two nodes have one that nothing befalls, so that its slices show what the other's bring."""
_NONE: Mapping[bytes, bytes] = {}


class Process:
    """A process of the project on a machine of its own; it is never expected to end."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.tasks: list[asyncio.Task[None]] = []
        self.at_end: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def run(self, *work: Coroutine[Any, Any, None]) -> None:
        """Run in the background."""
        self.tasks += [asyncio.create_task(one) for one in work]

    def check(self) -> None:
        """Raise what a part of it failed with."""
        for task in self.tasks:
            if task.done():
                task.result()

    async def kill(self) -> None:
        """End it; once begun it is none of ours, even where whoever kills it is ended too."""
        tasks, self.tasks = self.tasks, []
        await end(tasks)
        for close in self.at_end:
            await close()


class World:
    """Two projectors, two APIs, and all around them."""

    def __init__(self, chance: Random, nodes: Nodes, told: list[Any], only: Collection[str] = ()) -> None:
        self.chance = chance
        self.nodes = nodes
        self.spared = Spared(nodes, told)
        self.most_hot = chance.choice((2, 4, 4))
        self.with_bell = chance.random() < 0.8
        self.letters_max_bytes = chance.choice((1_500, 4_000, 10**9))
        self.postgres = Postgres(self.chance)
        self.applications = Applications(self.postgres, chance, only)
        self.background: list[asyncio.Task[None]] = []
        self.machines: dict[str, Machine] = {}
        self.projectors: dict[str, Process] = {}
        self.apis: list[tuple[Process, Any]] = []
        self.answers: Counter[str] = Counter()
        self.pollers = Pollers(self.postgres, chance)
        if len(nodes.stores) > 1 and ("spared" in only or (not only and chance.random() < SHARE_SPARED)):
            nodes.spare_one()
            self.postgres.failing = 0.0
        has_standby = "standby" in only if only else chance.random() < SHARE_STANDBY
        self.standby = Standby(self.postgres) if has_standby else None
        self.followers = Followers(self.postgres, nodes.connect(self.machine("follower")), chance)
        self.faults = Faults(self, only)
        self._telemetries: list[Telemetry] = []
        self._replicas: list[Replica] = []

    def machine(self, name: str) -> Machine:
        """Set up a machine."""
        made = self.machines[name] = Machine(name, self.chance)
        return made

    async def start_projector(self, name: str) -> None:
        """Start a projector, in place of one of that name."""
        old = self.projectors.get(name)
        if old:
            await old.kill()
            for connection in [one for one in self.postgres.connections if one.machine is old.machine]:
                self.postgres.end(connection)
        process = self.projectors[name] = Process(self.machine(name))
        config = projector_config(
            name,
            "",
            heartbeat_seconds=BEAT_SECONDS,
            hot_ttl_seconds=3.0,
            warm_limit=2,
            max_hot_sessions=self.most_hot,
            window_events=WINDOW_EVENTS,
            window_bytes=WINDOW_BYTES,
            drift_round_seconds=0.3,
            doorbell=self.with_bell,
            letters_max_bytes=self.letters_max_bytes,
            slices=self.nodes.slices.count,
        )
        self._telemetries.append(Telemetry())
        process.run(Leader(config, self.nodes.connect(process.machine), self._telemetries[-1]).run())

    @asynccontextmanager
    async def open_tail(self, listen_url: str, _url: str, **_settings: object) -> AsyncIterator[tuple[Tail, Reads]]:
        """Connect a projector to Postgres."""
        machine = self.machines[listen_url]
        await machine.pause()
        connection = LeaderConnection(self.postgres, machine)
        server = SimpleNamespace(database=self.postgres.database, started="")
        try:
            tail = Tail(cast("Any", connection), listen_url, cast("Any", server), BEAT_SECONDS)
            yield tail, Reads(self.postgres, machine)
        finally:
            connection.terminate()

    async def connect(self, listen_url: str, **_settings: object) -> BellConnection:
        """Connect a doorbell to Postgres."""
        machine = self.machines[listen_url]
        await machine.pause()
        return BellConnection(self.postgres, machine)

    def start_api(self, name: str) -> None:
        """Start an API."""
        process = Process(self.machine(name))
        view = self.nodes.connect(process.machine)
        stores = ApiStores(
            view=view,
            log=Log(self.postgres, process.machine),
            line=RequestLine(view.reporting),
            subscribe=partial(heard_all, view.servers),
            reconnect=_nothing,
            probe=_nothing,
            replicas=[ReplicaServer("postgresql://standby/", cast("Any", process.machine), cast("Any", self.standby))]
            if self.standby
            else (),
        )
        config = replace(
            API,
            hot_ttl_seconds=3.0,
            max_staleness_seconds=STALENESS_SECONDS,
            response_cache_bytes=40_000,
            slices=view.slices.count,
        )
        with mock.patch("readside.replica_servers.StandbyLog", _standby_log):
            built = _Wiring(config, stores, Exchange(None, {}))
        process.run(*built.background())
        self._replicas += built.service.cold.replicas.all
        process.at_end = [
            built.service.view_nodes.close,
            built.service.fallback.close,
            built.service.cold.replicas.close,
        ]
        self.apis.append((process, built.service.events))

    async def poll(self, events: Any, session_id: str, query: bytes, given: Mapping[bytes, bytes] = _NONE) -> Reply:
        """Send a poll, and check the answer."""
        poll, _ = parse_poll(session_id, query)
        known = events.at_once(Question("GET", session_id, query, RequestFields(given.items())), "model")
        reply: Reply = known if isinstance(known, Reply) else await events.from_stores(known)
        self.answers["not modified"] += reply.status == 304
        reply = self.pollers.understood(session_id, query, reply)
        source = check(self.postgres, poll, reply)
        self.answers[source or "none"] += 1
        self.answers["nothing later"] += source == "memory" and poll.since_us is not None and b'"total":0' in reply.body
        return reply

    async def _poll_for_ever(self, events: Any) -> None:
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / 0.03))
            polls = [self.pollers.poll() for _ in range(self.pollers.together())]
            await asyncio.gather(*(self.poll(events, *poll) for poll in polls))

    def counts(self) -> Counter[str]:
        """Tell how many answers came from where, which faults struck, and what became of the letters."""
        comparisons = Counter({"compared again": sum(each.comparisons for each in self._telemetries)})
        letters = self.postgres.letterbox.counts + comparisons
        letters += Counter({"standby": sum(replica.answers for replica in self._replicas)})
        return self.answers + self.faults.struck + self.followers.counts + letters + self.spared.counts()

    async def run(self) -> None:
        """Let everything happen; raises Wrong."""
        names = ("projector 1", "projector 2")[: 1 if self.nodes.spared else 2]  # nobody else takes a slow one's lead
        try:
            for name in names:
                await self.start_projector(name)
            for name in ("api 1", "api 2"):
                self.start_api(name)
            pollers = [self._poll_for_ever(events) for _, events in self.apis for _ in range(3)]
            around = (self.applications.write(), self.faults.strike(), self.spared.watch(self.postgres))
            storm = [asyncio.create_task(one) for one in (*pollers, *around, self.followers.follow())]
            done, _ = await asyncio.wait(storm, timeout=STORM_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            await end(storm)
            for task in done:
                task.result()
            self.faults.cease()
            await self._settle()
            if fault := await self.followers.fault():
                raise Wrong(fault)
            if fault := self.spared.fault():
                raise Wrong(fault)
            if any(each.drift for each in self._telemetries) and not DAMAGING & self.faults.struck.keys():
                raise Wrong("a session differed from Postgres, and nobody but the projector had written it")
        finally:
            for process in (*self.projectors.values(), *(process for process, _ in self.apis)):
                await process.kill()
            await self.applications.stop()
            await end(self.background)

    async def _settle(self) -> None:
        """Wait until every answer is as of now and the view equals Postgres."""
        last, auditor = self.postgres.now_us(), Auditor(self.postgres, self.nodes.connect(self.machine("auditor")))
        deadline = asyncio.get_running_loop().time() + CALM_SECONDS
        limit = 1_000
        while True:
            for process in (*self.projectors.values(), *(process for process, _ in self.apis)):
                process.check()
            self.applications.check()
            limit -= 1  # another poll each time: what memory can answer warms no session
            query = b"limit=%d" % limit
            replies = [await self.poll(events, session_id, query) for _, events in self.apis for session_id in SESSIONS]
            missing = "an answer is as of before it" if any(_as_of(reply) <= last for reply in replies) else None
            missing = missing or await auditor.fault(self.most_hot, last)
            if not missing:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise Wrong(f"{CALM_SECONDS} s after the last fault {missing}")
            await asyncio.sleep(0.2)


def _as_of(reply: Reply) -> int:
    text = dict(reply.headers).get(b"readside-as-of")
    return instant(text) if text else 0


def _standby_log(machine: Any, _url: str, standby: Any, choose: Choose) -> StandbyLog:
    """Read a standby, which `ReplicaServer` holds with the machine of its process, in the places of pool and finder."""
    return StandbyLog(machine, standby, choose)


async def _nothing() -> None:
    return None
