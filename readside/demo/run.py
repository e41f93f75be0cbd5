"""`readside demo`: starts everything on this machine, shows it, and ends all that it started."""

import asyncio
import secrets
import signal
import time
from contextlib import AsyncExitStack
from functools import partial
from importlib.resources import files
from pathlib import Path

from rich.console import Console

from projector.tail import triggers
from query_api.access.token_config import TokenConfig
from readmodel.errors import DemoError
from readmodel.postgres_client import connect as connect_postgres
from readmodel.postgres_client import translated
from readmodel.redis_servers import RedisServers, open_servers
from readmodel.supervise import first_to_end
from readmodel.whole_view import WholeView
from readside.browsers import OWN_HOSTS
from readside.commands.token import mint
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.processes import LOOPBACK, Child, first_true, port_is_free, program, running
from readside.demo.summary import DemoFacts, follow, show
from readside.demo.watch import DemoWatch
from readside.demo.workspace import workspace
from readside.settings import Settings, child_environment

APPLICATION_NAME = "readside-demo"
SCHEMA = files("readside.demo").joinpath("schema.sql").read_text(encoding="utf-8")
READY_SECONDS = 60.0
TOKEN_SECONDS = 86_400
"""The link to one session works for so long."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONG_SESSION = "SELECT id::text FROM sessions WHERE session_type = 'log_watch' AND status = 'in_progress'"


async def run_demo(port: int, data: Path | None) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP; the exit code. Raises DemoError, or ConfigurationError for a wrong setting.

    `port` is the API's, on the loopback interface; `data` keeps the servers' data for the next demo.
    """
    stop = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings = Settings()
    made_key = new_key(settings)
    if not port_is_free(port):
        raise DemoError(f"Port {port} on {LOOPBACK} cannot be had; choose another with --port.")
    console = Console()
    with workspace(data) as home:
        await first_to_end(_until(stop), Demo(console, settings, made_key, home, port, kept=data is not None).run())
    console.print("Everything has ended.")
    return 0


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


def new_key(settings: Settings) -> str | None:
    """A key where one is asked for and the user brought none; raises ConfigurationError when theirs cannot be read."""
    if settings.auth != "keys" or settings.given_keys():
        return None
    return secrets.token_urlsafe(24)


async def prepare(postgres: EmbeddedPostgres, schema: str) -> str:
    """Make the write side's tables and install the triggers, where they are missing; the database's URL."""
    url = postgres.url()
    connection = await connect_postgres(url, application_name=APPLICATION_NAME, owners_path=True)
    try:
        with translated(url):
            await connection.execute(SCHEMA)
            await triggers.install(connection, warn=lambda _: None, schema=schema)
    finally:
        await connection.close()
    return url


class Demo:
    """All the parts, each started when those that it needs are there, and ended in the opposite order."""

    def __init__(
        self, console: Console, settings: Settings, made_key: str | None, home: Path, port: int, *, kept: bool
    ) -> None:
        self._console = console
        self._settings = settings
        self._made_key = made_key
        self._made_secret = "" if made_key is None or settings.token_config() else secrets.token_urlsafe(32)
        self._home = home
        self._port = port
        self._kept = kept
        self._children: list[Child] = []

    async def run(self) -> None:
        """Run for ever; raises DemoError when a part does not start, or ends by itself."""
        async with AsyncExitStack() as stack:
            self._console.print("Starting PostgreSQL, Redis, the projector and the API ...")
            postgres = await stack.enter_async_context(EmbeddedPostgres(self._home / "postgres"))
            redis = await stack.enter_async_context(EmbeddedRedis(self._home / "redis"))
            self._children += [postgres.child, redis.child]
            url = await prepare(postgres, self._settings.database_schema)
            environment = self._environment(url, redis.url())
            for name, arguments in (
                ("projector", ["readside", "projector"]),
                ("api", ["readside", "api", "--host", LOOPBACK, "--port", str(self._port)]),
                ("writer", ["readside.demo.writer"]),
            ):
                log = self._home / f"{name}.log"
                child = running(name, program(*arguments), log=log, environment=environment)
                self._children.append(await stack.enter_async_context(child))
            servers = open_servers(redis.url(), name=APPLICATION_NAME)
            stack.push_async_callback(servers.aclose)
            await first_to_end(self._watch_over(), self._show(url, servers))

    async def _show(self, url: str, servers: RedisServers) -> None:
        view = WholeView(servers, self._settings.redis_prefix, self._settings.slices)
        watch = DemoWatch(view, self._port, self._settings.max_staleness_seconds)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await first_true(watch.ready)
                session_id = await long_session(url)
        except TimeoutError as exc:
            reading = await watch.read()
            raise DemoError(f"Not ready within {READY_SECONDS:.0f} s: {reading.projection.reason}") from exc
        show(self._console, self._facts(session_id))
        await follow(self._console, watch)

    async def _watch_over(self) -> None:
        raise (await first_true(self._dead)).died()

    async def _dead(self) -> Child | None:
        return next((child for child in self._children if not child.running), None)

    def _environment(self, database_url: str, redis_url: str) -> dict[str, str]:
        """The user's own settings, but for those that say where things are."""
        changes = {"DATABASE_URL": database_url, "LISTEN_URL": "", "REDIS_URL": redis_url, "PROJECTOR_PORT": ""}
        changes["ALLOWED_HOSTS"] = f"{OWN_HOSTS},{self._settings.allowed_hosts}"
        if self._made_key is not None:
            changes["API_KEYS"] = f"demo:{self._made_key}:read+ops"
        if self._made_secret:
            changes["JWT_SECRET"] = self._made_secret
        return child_environment(changes)

    def _facts(self, session_id: str) -> DemoFacts:
        data = self._home if self._kept else None
        if self._settings.auth != "keys":
            return DemoFacts(
                self._port, session_id, None, f"no key is asked for: READSIDE_AUTH is {self._settings.auth}", data
            )
        if self._made_key is None:
            return DemoFacts(
                self._port, session_id, "$KEY", "stands for a key of yours, of READSIDE_API_KEYS or its file", data
            )
        note = "named demo, with the scopes read and ops"
        return DemoFacts(self._port, session_id, self._made_key, note, data, self._token(session_id))

    def _token(self, session_id: str) -> str:
        """Mint a token as a backend would for its user, where the secret is the demo's own."""
        if not self._made_secret:
            return ""
        config = TokenConfig(
            secrets=(self._made_secret.encode(),),
            audience=self._settings.jwt_audience,
            issuer=self._settings.jwt_issuer,
        )
        return mint(config, [session_id], ttl_seconds=TOKEN_SECONDS, subject="demo", now=int(time.time()))


async def long_session(url: str) -> str:
    """Wait until the writer's long session goes; its id."""
    connection = await connect_postgres(url, application_name=APPLICATION_NAME, owners_path=True)
    try:
        with translated(url):
            return str(await first_true(partial(connection.fetchval, LONG_SESSION)))
    finally:
        await connection.close()
