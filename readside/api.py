"""The query API's process: opens what it needs, builds its parts, closes them in turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from query_api.access.gate import Gate
from query_api.access.hosts import Hosts
from query_api.access.tokens import Tokens
from query_api.app import build_app
from query_api.config import ApiConfig
from query_api.doorway.census import Census, CensusLog
from query_api.doorway.connections import CONNECTIONS, Connections
from query_api.doorway.front import Front
from query_api.doorway.layer import Layer, Receive, Scope, Send
from query_api.doorway.report import ApiReporter
from query_api.http.cors import Cors
from query_api.memory.content_coding import GzipForms
from query_api.memory.response_cache import ResponseCache
from query_api.operators.exchange import Exchange, taking_part
from query_api.operators.exposition import MERGE, Exposition, MetricSources
from query_api.operators.health import Readiness, ViewCheck
from query_api.operators.lag_history import LagHistory
from query_api.polls.events import WRAPPER_BYTES, Events
from query_api.polls.poll_interval import PollLoad
from query_api.requests.as_of_wait import AsOfWait
from query_api.requests.held_polls import HeldPolls
from query_api.requests.instants import Instants
from query_api.requests.places import WaitingPlaces
from query_api.requests.stats import Stats
from query_api.service import Service
from query_api.sources.circuit import Circuit
from query_api.sources.cold_polls import ColdPolls
from query_api.sources.fallback import Fallback, Log, Streams
from query_api.sources.own_database import OwnDatabase
from query_api.sources.projector_requests import Line, ProjectorRequests
from query_api.sources.reader import EventsReader
from query_api.sources.request_line import RequestLine
from query_api.sources.stream_reader import StreamReader
from query_api.sources.subscription import Subscribe, Subscription
from query_api.sources.view_nodes import ViewNodes
from query_api.sources.watch import Probe, take_connection
from query_api.streams.stats import StreamStats
from query_api.streams.stream import Stream
from readmodel.postgres.client import Connection, Pool, check_url, create_pool
from readmodel.postgres.event_log import EventLog
from readmodel.postgres.event_stream import StreamLog
from readmodel.postgres.tables import TableFinder, check_tables
from readmodel.redis.servers import RedisServers, open_servers
from readmodel.runtime.supervise import end
from readmodel.values.poll import Poll
from readmodel.view.projection import read_projection
from readmodel.view.subscription import heard_all
from readmodel.view.whole import WholeView
from readside import background, rotation
from readside.descriptors import within_limit
from readside.exposure import check_address
from readside.logging import configure
from readside.replica_servers import ReplicaServer, build_replicas, replica_servers
from readside.secret_files import warn_of_open_files
from readside.settings import Settings
from readside.tracing import traced

CONNECT_SECONDS = 2.0
"""A Postgres that does not even take a connection within this is away."""
QUERY_SECONDS = 10.0
GREET_SECONDS = 1.0
"""Polls wait so long for the first such answer; a Postgres that takes longer is taken to be away."""
GZIP_PART = 5
"""One part in so many of the memory for answers is for their compressed forms: they are about a fifth as long."""
_NO_SESSION = Poll("00000000-0000-0000-0000-000000000000", limit=1)


def create_app(config: ApiConfig) -> Process:
    """Make the ASGI application of one process; it opens its resources when its lifespan begins."""
    return Process(config)


def create_app_from_environment() -> Process:
    """Make it from the environment, for `uvicorn --factory readside.api:create_app_from_environment`.

    Raises ConfigurationError, for READSIDE_AUTH=none too: where uvicorn listens is not known here.
    """
    settings = Settings()
    configure(settings.log_level, settings.log_format, settings.secrets())
    check_address(settings.auth, None)
    warn_of_open_files(settings.secret_files())
    return create_app(within_limit(settings.api_config()))


class Process:
    """An ASGI application with a lifespan."""

    def __init__(self, config: ApiConfig) -> None:
        self._config = config
        self._app: Layer | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(scope.get("state", {}), receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        else:
            raise RuntimeError("The application was not started: its server must support the lifespan protocol.")

    async def _live(self, state: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        with traced("readside-api"):
            async with opened(self._config) as self._app:
                state[CONNECTIONS] = self._app.connections
                await send({"type": "lifespan.startup.complete"})
                await receive()
        await send({"type": "lifespan.shutdown.complete"})


@dataclass(frozen=True, slots=True)
class ApiStores:
    """The two stores as the API uses them.

    `subscribe` hears the channels of changes, for ever; `reconnect` leaves the connections to Postgres that there are;
    `probe` raises StoreUnavailable where Postgres takes no new one. `streams` are what followers are
    given of the primary; `replicas` are the hot standbys.
    """

    view: WholeView
    log: Log
    line: Line
    subscribe: Subscribe
    reconnect: Callable[[], Awaitable[None]]
    probe: Probe
    streams: Streams | None = None
    replicas: Sequence[ReplicaServer] = ()


@asynccontextmanager
async def opened(config: ApiConfig) -> AsyncIterator[Layer]:
    """Open the stores and run the API over them, for as long as the block lasts.

    The stores may be away: nobody waits for them longer than GREET_SECONDS, and the log says so. Raises
    ConfigurationError.
    """
    check_url(config.database_url, "READSIDE_DATABASE_URL")
    servers = open_servers(config.redis_url, name="readside-api")
    finder = TableFinder(config.database_url, application_name="readside-api", timeout_seconds=CONNECT_SECONDS)

    async def check(connection: Connection) -> None:
        await check_tables(connection, await finder.tables(), config.database_url)

    pool = await create_pool(
        config.database_url,
        application_name="readside-api",
        size=config.fallback_concurrency + 1,  # one for the questions whether we are ready, and which database it is
        timeout_seconds=CONNECT_SECONDS,
        command_timeout_seconds=QUERY_SECONDS,
        statement_cache_size=config.statement_cache_size,
        init=check,
    )
    try:
        async with (
            replica_servers(config) as replicas,
            running(config, replace(_stores(config, servers, pool, finder), replicas=replicas)) as app,
        ):
            yield app
    finally:
        pool.terminate()  # no query of ours changes anything, so none is waited for
        await servers.aclose()


def _stores(config: ApiConfig, servers: RedisServers, pool: Pool, finder: TableFinder) -> ApiStores:
    view = WholeView(servers, config.redis_prefix, config.slices)

    async def reconnect() -> None:
        finder.forget()
        await pool.expire_connections()

    return ApiStores(
        view=view,
        log=EventLog(pool, config.database_url, finder),
        line=RequestLine(view.reporting),
        subscribe=partial(heard_all, servers),
        reconnect=reconnect,
        probe=partial(take_connection, config.database_url, CONNECT_SECONDS),
        streams=StreamLog(pool, config.database_url, finder, config.schema),
    )


@asynccontextmanager
async def running(config: ApiConfig, stores: ApiStores) -> AsyncIterator[Layer]:
    """Build the application and run what it needs in the background, for as long as the block lasts."""
    with taking_part(config.metrics_directory, MERGE) as exchange:
        built = _Wiring(replace(config, root_path=prefix(config.root_path)), stores, exchange)
        connections = built.service.connections
        reporter = ApiReporter(stores.view.reporting, connections.census, built.service.cold.replicas)
        beside = connections.run(), CensusLog(connections.census).run(), reporter.run()  # no answer depends on these
        tasks = [background.start(work) for work in (*built.background(), *beside)]
        try:
            if built.tokens is not None:
                await built.tokens.begin()
            with suppress(TimeoutError):
                async with asyncio.timeout(GREET_SECONDS):
                    await built.own.asked.wait()
            yield build_app(built.service)
        finally:
            await end(tasks)
            await built.held.close()
            await reporter.leave()
            await built.service.view_nodes.close()
            await built.service.fallback.close()
            await built.service.cold.replicas.close()
            built.forms.close()


def prefix(root_path: str) -> str:
    """Bring a path prefix into the form `/a/b`, or the empty one."""
    return f"/{stripped}" if (stripped := root_path.strip("/")) else ""


def _history(stores: ApiStores, config: ApiConfig, own: OwnDatabase) -> LagHistory:
    staleness = config.max_staleness_seconds
    read = partial(read_projection, stores.view, staleness, with_apis=False)  # each second, in each process
    return LagHistory(lambda: read(own.identity()), staleness)


def _page_bytes(config: ApiConfig) -> int:
    """What a page's events may take of an answer."""
    return max(1, config.max_answer_bytes - WRAPPER_BYTES)


@dataclass(frozen=True, slots=True)
class _Sources:
    """What answers a poll that memory does not; `postgres` is what is known of that."""

    postgres: Circuit
    view_nodes: ViewNodes
    fallback: Fallback
    cold: ColdPolls
    requests: ProjectorRequests
    reader: EventsReader
    stream_reader: StreamReader


def _sources(config: ApiConfig, stores: ApiStores, cache: ResponseCache, own: OwnDatabase) -> _Sources:
    view, postgres = stores.view, Circuit("postgres")
    several = len(view.parts) > 1

    def circuit(node: str) -> Circuit:
        return Circuit("redis", node=node if several else "")

    view_nodes = ViewNodes(view, circuit, _page_bytes(config), own.identity)
    fallback = Fallback(
        stores.log,
        streams=stores.streams,
        concurrency=config.fallback_concurrency,
        circuit=postgres,
        number=cache.number_of,
        index_of=view.slices.index_of,
        max_bytes=_page_bytes(config),
        reconnect=stores.reconnect,
        probe=stores.probe,
        learn=own.learn,
    )
    replicas = build_replicas(config, stores.replicas, cache, own.identity, _page_bytes(config))
    cold = ColdPolls(fallback, replicas, config.fallback_concurrency)
    requests = ProjectorRequests(stores.line, config.hot_ttl_seconds)
    reader, stream_reader = EventsReader(view_nodes, cold, requests), StreamReader(view_nodes, fallback, requests)
    return _Sources(postgres, view_nodes, fallback, cold, requests, reader, stream_reader)


def _gate(config: ApiConfig, tokens: Tokens | None) -> Gate:
    gate = Gate(config.keys, tokens, config.polls_per_second)
    if tokens is not None:
        tokens.on_change = gate.reconsider
    return gate


def _readiness(stores: ApiStores, config: ApiConfig, view_check: ViewCheck) -> Readiness:
    postgres = partial(stores.log.answer, _NO_SESSION, _page_bytes(config))
    return Readiness({"redis": view_check, "postgres": postgres})


class _Wiring:
    """The parts of one process."""

    def __init__(self, config: ApiConfig, stores: ApiStores, exchange: Exchange) -> None:
        forms_bytes = config.response_cache_bytes // GZIP_PART
        cache_bytes, slices = config.response_cache_bytes - forms_bytes, stores.view.slices
        self.cache, self.forms = ResponseCache(cache_bytes, slices), GzipForms(forms_bytes)
        self.places = WaitingPlaces(config.max_waiting)
        instants = Instants(self.places)
        beat, staleness = config.heartbeat_seconds, config.max_staleness_seconds
        self.as_of_wait = AsOfWait(self.cache, instants, beat, staleness)
        self.held = HeldPolls(self.places, self.cache, beat)
        self.subscription = Subscription(stores.view.change_channels(), stores.subscribe, self.cache.hear)
        self.tokens = None if config.tokens is None else Tokens(config.tokens)
        self.own = OwnDatabase(self.cache.belong_to)
        sources = _sources(config, stores, self.cache, self.own)
        self._have_memory_tell(instants, sources.fallback)
        self.load = PollLoad(lambda: sources.fallback.crowded)
        self.streams = StreamStats()
        self.service = self._service(config, stores, sources, exchange)

    def _have_memory_tell(self, instants: Instants, fallback: Fallback) -> None:
        """Have memory tell what it hears to all whom it concerns."""
        self.cache.on_change = (self.held.changed, fallback.changed)
        self.cache.on_emptying = (self.held.broken, fallback.broken)
        self.cache.on_beat = (instants.passed,)

    def _service(self, config: ApiConfig, stores: ApiStores, sources: _Sources, exchange: Exchange) -> Service:
        """Build what answers requests."""
        gate, stats, view_check = _gate(config, self.tokens), Stats(), ViewCheck(stores.view, self.own.identity)
        gate.on_reconsider = self.held.reconsider
        events = self._events(config, gate, sources, stats)
        stream = self._stream(config, gate, sources, stats)
        front = Front(events, stream, Cors(config.cors_origins), config.root_path, Hosts(config.allowed_hosts))
        connections = Connections(front, config.sockets, Census(config.sockets.max_connections))
        watched = self._watched(config, gate, sources, stats, connections.census)
        return Service(
            config=config,
            gate=gate,
            events=events,
            front=front,
            connections=connections,
            view=stores.view,
            view_check=view_check,
            view_nodes=sources.view_nodes,
            reader=sources.reader,
            fallback=sources.fallback,
            cold=sources.cold,
            database=self.own.identity,
            requests=sources.requests,
            history=_history(stores, config, self.own),
            readiness=_readiness(stores, config, view_check),
            exposition=Exposition(watched, exchange),
        )

    def _events(self, config: ApiConfig, gate: Gate, sources: _Sources, stats: Stats) -> Events:
        return Events(
            gate=gate,
            cache=self.cache,
            forms=self.forms,
            as_of_wait=self.as_of_wait,
            held=self.held,
            reader=sources.reader,
            requests=sources.requests,
            stats=stats,
            load=self.load,
            max_staleness_seconds=config.max_staleness_seconds,
            max_answer_bytes=config.max_answer_bytes,
        )

    def _stream(self, config: ApiConfig, gate: Gate, sources: _Sources, stats: Stats) -> Stream:
        return Stream(
            gate=gate,
            cache=self.cache,
            forms=self.forms,
            reader=sources.stream_reader,
            as_of_wait=self.as_of_wait,
            held=self.held,
            requests=sources.requests,
            stats=stats,
            streams=self.streams,
            max_staleness_seconds=config.max_staleness_seconds,
        )

    def _watched(self, config: ApiConfig, gate: Gate, sources: _Sources, stats: Stats, census: Census) -> MetricSources:
        return MetricSources(
            stats=stats,
            gate=gate,
            cache=self.cache,
            forms=self.forms,
            streams=self.streams,
            stream_reader=sources.stream_reader,
            held=self.held,
            places=self.places,
            view_nodes=sources.view_nodes,
            cold=sources.cold,
            reader=sources.reader,
            postgres=sources.postgres,
            census=census,
            max_staleness_seconds=config.max_staleness_seconds,
        )

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the requests."""
        service = self.service
        watching = [self.load.run(), service.history.run(), self.own.run(service.fallback.identify), service.gate.run()]
        if service.config.metrics_directory:
            watching.append(service.exposition.run())
        gate, tokens = service.gate, self.tokens
        files = rotation.watching(service.config, gate.replace_keys, None if tokens is None else tokens.use_secrets)
        if tokens is not None:
            watching.append(tokens.run())
        looks = [replica.run() for replica in service.cold.replicas.all]
        return [self.subscription.run(), service.requests.run(), *watching, *files, *looks]
