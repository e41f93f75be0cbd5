"""Statements about databases, on one connection to each server that outlives tests and their event loops.

To connect costs a server and us more than half of what it costs to make a small database and to drop it.
"""

import asyncio
import functools
import threading
import weakref
from dataclasses import dataclass, field

import asyncpg

from readside.demo.embedded_postgres import EmbeddedPostgres


@dataclass
class _Desk:
    """The connection to a server, None until it is needed; one statement at a time."""

    connection: "asyncpg.Connection[asyncpg.Record] | None" = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


_desks: "weakref.WeakKeyDictionary[EmbeddedPostgres, _Desk]" = weakref.WeakKeyDictionary()


async def administer(server: EmbeddedPostgres, statement: str) -> None:
    """Run a statement as the superuser, in the database `postgres`; the server runs."""
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_execute(server, statement), _loop()))


async def _execute(server: EmbeddedPostgres, statement: str) -> None:
    desk = _desks.setdefault(server, _Desk())
    async with desk.turn:
        if desk.connection is None or desk.connection.is_closed():  # a test may have restarted the server
            desk.connection = await asyncpg.connect(server.url(), server_settings={"application_name": "administrator"})
        await desk.connection.execute(statement)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """A loop in a thread of its own, for the whole run."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="administrator", daemon=True).start()
    return loop
