"""What the demo runs on its two servers: triggers, projector, API, writer; kept up, shown, and struck by chaos."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from random import Random
from typing import Any

import orjson

from projector.tail import triggers
from readmodel.errors import DemoError
from readmodel.postgres.client import connect as connect_postgres
from readmodel.postgres.client import translated
from readmodel.redis.servers import open_servers
from readmodel.runtime.supervise import first_to_end
from readmodel.view.whole import WholeView
from readside.browsers import OWN_HOSTS
from readside.demo.announcer import sentence
from readside.demo.chaos import Chaos
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.faults import faults
from readside.demo.heal_meter import APPLICATION_NAME, VIEW, HealMeter
from readside.demo.keeper import Keeper
from readside.demo.options import DemoSetup
from readside.demo.parts import DemoPart, DemoProgram, DemoServer
from readside.demo.processes import LOOPBACK, first_true, program, side_by_side, unless
from readside.demo.summary import DemoFacts, follow, show
from readside.demo.watch import DemoWatch, get
from readside.settings import child_environment

SCHEMA = files("readside.demo").joinpath("schema.sql").read_text(encoding="utf-8")
OWN_SERVER = "sslmode=disable&target_session_attrs=any"
"""How ours is reached, whatever PGSSLMODE and PGTARGETSESSIONATTRS say of the user's."""
READY_SECONDS = 60.0
LONG_SESSION = "SELECT id::text FROM sessions WHERE session_type = 'log_watch' AND status = 'in_progress'"


class DemoService:
    """All that runs on two servers that have been started."""

    def __init__(self, setup: DemoSetup, postgres: EmbeddedPostgres, redis: EmbeddedRedis) -> None:
        self._setup = setup
        self._say = setup.announcer
        self._port = setup.options.port
        self._database_url = f"{postgres.url()}?{OWN_SERVER}"
        self._redis_url = redis.url()
        api = ["readside", "api", "--host", LOOPBACK, "--port", str(self._port)]
        self._programs = [
            self._program("the API", *api),
            self._program("the projector", "readside", "projector"),
            self._program("the writer", "readside.demo.writer"),
        ]
        parts: tuple[DemoPart, ...] = (DemoServer(postgres), DemoServer(redis), *self._programs)
        self._parts = {part.name: part for part in parts}

    async def run(self) -> None:
        """Run until the setup's `stop`, or to the first value, and end what was started.

        Raises DemoError when a part does not start, or does not stay up.
        """
        async with self._watching() as watch:
            try:
                await unless(self._setup.stop, self._serve(watch))
            finally:
                await side_by_side(*(part.stop() for part in self._programs))

    async def _serve(self, watch: DemoWatch) -> None:
        await prepare(self._database_url, self._setup.settings.database_schema)
        self._say.step("Tables and triggers are in place; API, projector and a writer of sessions start")
        await side_by_side(*(part.start() for part in self._programs))
        session_id = await self._ready(watch)
        if not self._setup.options.once:
            await self._go_on(watch, session_id)

    async def _ready(self, watch: DemoWatch) -> str:
        """Wait for the first value; the session that has it.

        A part that ends before is not started again: what is wrong with it would be wrong again.
        """
        found: list[str] = []
        await first_to_end(self._first_value(watch, found), self._first_death())
        return found[0]

    async def _first_value(self, watch: DemoWatch, found: list[str]) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                await first_true(watch.answering)
                self._say.step("The API answers")
                await first_true(watch.live)
                self._say.step("The projector keeps the view live")
                found.append(await long_session(self._database_url))
                await self._see_an_event(found[0])
        except TimeoutError as exc:
            reading = await watch.read()
            raise DemoError(f"Not ready within {READY_SECONDS:.0f} s: {reading.projection.reason}") from exc

    async def _see_an_event(self, session_id: str) -> None:
        """Poll until an answer has an event; where only the user knows how to poll, say that it is theirs to see."""
        headers = self._setup.access.headers(session_id)
        if headers is None:
            self._say.step("A session is live; only you can poll here, with a key or a token of yours")
            return
        await first_true(partial(self._polled, session_id, headers))
        self._say.step("First value: a poll shows an event of a live session")

    async def _polled(self, session_id: str, headers: Mapping[str, str]) -> bool:
        """Whether a poll answers from the view, with an event."""
        answer = await get(self._port, f"/api/v2/sessions/{session_id}/events?limit=1", headers)
        seen = answer.headers.get("readside-source") in VIEW and answer.status == 200
        return seen and bool(orjson.loads(answer.body)["items"])

    async def _first_death(self) -> None:
        async def dead() -> DemoPart | None:
            return next((part for part in self._parts.values() if not part.child.running), None)

        raise DemoError(sentence(str((await first_true(dead)).child.died())))

    async def _go_on(self, watch: DemoWatch, session_id: str) -> None:
        """Keep all parts up and say how it goes, until somebody ends it."""
        meter = HealMeter(self._say, self._database_url, self._port, self._setup.access)
        if self._setup.options.seed is not None and not meter.able:
            raise DemoError(
                "--chaos measures by polls of its own, and only you can poll here: unset READSIDE_API_KEYS."
            )
        keeper = Keeper(self._say, meter)
        show(self._say, self._facts(session_id))
        kept = (keeper.keep(part) for part in self._parts.values())
        try:
            await first_to_end(*kept, follow(self._say.console, watch), *self._chaos(keeper, meter))
        finally:
            if meter.recoveries:
                self._say.news(meter.summary())

    def _chaos(self, keeper: Keeper, meter: HealMeter) -> Iterator[Coroutine[Any, Any, None]]:
        seed = self._setup.options.seed
        if seed is not None:
            chaos = Chaos(self._say, keeper, meter, self._parts, self._database_url, self._redis_url, self._setup.home)
            yield chaos.run(faults(Random(seed)))

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[DemoWatch]:
        settings = self._setup.settings
        servers = open_servers(self._redis_url, name=APPLICATION_NAME)
        try:
            view = WholeView(servers, settings.redis_prefix, settings.slices)
            yield DemoWatch(view, self._port, settings.max_staleness_seconds)
        finally:
            await servers.aclose()

    def _program(self, name: str, *arguments: str) -> DemoProgram:
        log = self._setup.home / f"{name.lower().removeprefix('the ')}.log"
        return DemoProgram(name, program(*arguments), log=log, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        """The user's own settings, but for those that say where things are."""
        own_hosts = f"{OWN_HOSTS},{self._setup.settings.allowed_hosts}"
        changes = {"DATABASE_URL": self._database_url, "LISTEN_URL": "", "REDIS_URL": self._redis_url}
        changes |= {"REPLICA_URLS": "", "PROJECTOR_PORT": "", "ALLOWED_HOSTS": own_hosts}
        return child_environment(changes | self._setup.access.settings())

    def _facts(self, session_id: str) -> DemoFacts:
        access, options = self._setup.access, self._setup.options
        key, note = access.shown_key()
        return DemoFacts(
            self._port,
            session_id,
            key,
            note,
            self._setup.home if options.data is not None else None,
            access.link_token(session_id),
            options.seed,
        )


async def prepare(url: str, schema: str) -> None:
    """Make the write side's tables and install the triggers, where they are missing."""
    connection = await connect_postgres(url, application_name=APPLICATION_NAME, owners_path=True)
    try:
        with translated(url):
            await connection.execute(SCHEMA)
            await triggers.install(connection, warn=lambda _: None, schema=schema)
    finally:
        await connection.close()


async def long_session(url: str) -> str:
    """Wait until the writer's long session goes; its id."""
    connection = await connect_postgres(url, application_name=APPLICATION_NAME, owners_path=True)
    try:
        with translated(url):
            return str(await first_true(partial(connection.fetchval, LONG_SESSION)))
    finally:
        await connection.close()
