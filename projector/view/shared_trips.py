"""Batches of several slices that are ready at the same moment, as one round trip to the server that has them all.

To send a batch and to read its reply costs the projector a third of what a small batch costs in all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import MovedError

from readmodel.redis.servers import RedisServers
from readmodel.runtime.supervise import end

MAX_TOGETHER = 64
"""Batches that share a round trip: Redis may run them without looking at anybody else's command in between."""
BYTES_TOGETHER = 1_000_000
"""What they may be long in all, unless a single one is longer: a batch waits for the replies of all before it."""
MAX_TRIPS = 8
"""Round trips under way to one server: what is ready meanwhile goes with the next."""


class _Batch(NamedTuple):
    slot: int
    command: Sequence[Any]
    size: int
    reply: asyncio.Future[Any]


class SharedTrips:
    """Sends the commands that are asked in one turn of the loop in one pipeline for each server.

    What the loss of a pipeline leaves in doubt, each of those who asked doubts by itself, as if it had been alone.
    """

    def __init__(self, servers: RedisServers) -> None:
        self._servers = servers
        self._asked: dict[str, deque[_Batch]] = {}
        self._trips: dict[str, set[asyncio.Task[None]]] = {}
        self._is_due = False

    async def reply(self, slot: int, command: Sequence[Any]) -> Any:
        """Send a command to the server that has a slot; gives its reply, an error that stands in its place included.

        Raises redis-py's other errors: then it is not known whether the command was run.
        """
        await self._servers.settle(slot)
        loop = asyncio.get_running_loop()
        batch = _Batch(
            slot, command, sum([len(word) for word in command if not isinstance(word, int)]), loop.create_future()
        )
        self._asked.setdefault(self._servers.node(slot), deque()).append(batch)
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._send_all)
        return await batch.reply

    def _send_all(self) -> None:
        self._is_due = False
        for node in list(self._asked):
            self._send(node)

    def _send(self, node: str) -> None:
        trips = self._trips.setdefault(node, set())
        while len(trips) < MAX_TRIPS and (load := self._load(node)):
            trips.add(task := asyncio.create_task(self._trip(load)))
            task.add_done_callback(partial(self._returned, node))
        if not trips:
            del self._trips[node]

    def _returned(self, node: str, task: asyncio.Task[None]) -> None:
        self._trips[node].discard(task)
        self._send(node)

    def _load(self, node: str) -> list[_Batch]:
        """Take what the next round trip brings; who asked and has left is left out."""
        load: list[_Batch] = []
        asked, size = self._asked.get(node, deque()), 0
        while asked and len(load) < MAX_TOGETHER and (not load or size + asked[0].size <= BYTES_TOGETHER):
            batch = asked.popleft()
            if not batch.reply.done():
                load.append(batch)
                size += batch.size
        if not asked:
            self._asked.pop(node, None)
        return load

    async def _trip(self, load: list[_Batch]) -> None:
        try:
            replies = await self._run(load)
        except Exception as error:  # noqa: BLE001 (each of those who asked raises it)
            for batch in load:
                if not batch.reply.done():
                    batch.reply.set_exception(error)
                    batch.reply.exception()  # seen, even if who asked has just left
        else:
            for batch, reply in zip(load, replies, strict=True):
                if isinstance(reply, Exception):
                    self._servers.doubt(batch.slot, reply)
                if not batch.reply.done():
                    batch.reply.set_result(reply)
        finally:
            for batch in load:
                batch.reply.cancel()  # where nothing was told yet: we were told to end

    async def _run(self, load: Sequence[_Batch]) -> Sequence[Any]:
        pipeline: Any = self._servers.client(load[0].slot).pipeline(transaction=False)
        for batch in load:
            pipeline.execute_command(*batch.command)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies

    async def close(self) -> None:
        """Cancel what is under way, and who waits for it."""
        waiting = [batch for asked in self._asked.values() for batch in asked]
        self._asked.clear()
        await end([task for trips in self._trips.values() for task in trips])
        for batch in waiting:
            batch.reply.cancel()


class SharingClient:
    """What a script is sent by: a slot's client, whose single commands share round trips with those of other slots."""

    def __init__(self, redis: Redis, slot: int, trips: SharedTrips) -> None:
        self._redis: Any = redis  # redis-py types its plain commands not at all
        self._slot = slot
        self._trips = trips

    async def execute_command(self, *command: Any) -> Any:
        """Send a command and give its reply; raises what the client does."""
        reply = await self._trips.reply(self._slot, command)
        if isinstance(reply, MovedError):  # so it was not run, and the client follows its slot
            return await self._redis.execute_command(*command)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def script_load(self, source: str) -> None:
        """Load a script where the slot is."""
        await self._redis.script_load(source)
