"""`readside demo`: starts everything on this machine, shows it, and ends all that it started.

What takes long to import is imported while PostgreSQL makes its cluster.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

from rich.console import Console

from readmodel.errors import DemoError
from readside.demo.access import DemoAccess
from readside.demo.announcer import Announcer
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.options import DemoOptions, DemoSetup
from readside.demo.processes import LOOPBACK, port_is_free, side_by_side, unless
from readside.demo.workspace import workspace
from readside.settings import Settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_demo(options: DemoOptions) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP (under nohup: the first two); the exit code.

    Raises DemoError, or ConfigurationError for a wrong setting.
    """
    stop = asyncio.Event()
    _end_by_signals(stop)
    settings = Settings()
    access = DemoAccess(settings)
    if not port_is_free(options.port):
        raise DemoError(f"Port {options.port} on {LOOPBACK} cannot be had; choose another with --port.")
    announcer = Announcer(Console())
    with workspace(options.data) as home:
        await _run(DemoSetup(announcer, settings, access, home, options, stop))
    announcer.console.print("Everything has ended.")
    return 0


def _end_by_signals(stop: asyncio.Event) -> None:
    """Have signals set `stop`; nohup has SIGHUP ignored, and it stays so."""
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _run(setup: DemoSetup) -> None:
    """Start the servers, then what runs on them; raises DemoError when a part does not start, or does not stay up.

    `setup.stop` cancels what starts and what runs, and never what ends them: a cancelled task is cancelled again each
    second, and no server would have its time to end in good order.
    """
    postgres, redis = EmbeddedPostgres(setup.home / "postgres"), EmbeddedRedis(setup.home / "redis")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis.stop)
        stack.push_async_callback(postgres.stop)
        setup.announcer.step("PostgreSQL and Redis start")
        await unless(setup.stop, side_by_side(postgres.start(), redis.start(), _load()))
        if setup.stop.is_set():
            return
        setup.announcer.step("PostgreSQL and Redis accept connections")

        from readside.demo.service import DemoService

        await DemoService(setup, postgres, redis).run()


async def _load() -> None:
    """Import the rest beside servers that have been launched."""
    import readside.demo.service  # noqa: F401 (it takes as long as PostgreSQL does)
