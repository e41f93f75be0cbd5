"""Running one script many times in one round trip."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError


class Sender(Protocol):
    """What sends one call of a script in the place of a client. Methods raise what the client's do."""

    async def execute_command(self, *command: Any) -> Any:
        """Send a command and give its reply."""

    async def script_load(self, source: str) -> Any:
        """Have the server know a script."""


class Script:
    """A Lua script as one Redis runs it, by its SHA-1."""

    def __init__(self, redis: Redis | Sender, source: str) -> None:
        self._redis: Any = redis  # redis-py types its plain commands not at all
        self._source = source
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run it for each (keys, arguments); gives the replies in order, a ResponseError in the place of a refusal.

        Raises redis-py's other errors: then it is not known which of the calls were run.
        """
        replies = await self._send(calls)
        if any(isinstance(reply, NoScriptError) for reply in replies):  # a Redis that was restarted, or a new script
            await self._redis.script_load(self._source)
            replies = await self._send(calls)
        return replies

    async def _send(self, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        commands = [("EVALSHA", self._sha, len(keys), *keys, *arguments) for keys, arguments in calls]
        if len(commands) == 1:  # a pipeline of one costs half as much again
            try:
                return [await self._redis.execute_command(*commands[0])]
            except ResponseError as error:
                return [error]
        pipeline: Any = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies
