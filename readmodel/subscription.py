"""Hearing Redis channels, and noticing when nothing can be heard any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from typing import Any

from redis.asyncio import Redis

from readmodel.backoff import delays
from readmodel.errors import StoreRefused, StoreUnavailable, ViewUnavailable
from readmodel.header import text
from readmodel.redis_client import target, translated
from readmodel.redis_servers import RedisServers

PING_SECONDS = 2.0
"""After so much silence a ping goes out; a second such silence ends the subscription."""


Lost = Callable[[Collection[str], StoreUnavailable | StoreRefused], None]
"""Is told which channels are not heard any more, and why."""


def _nobody(_channels: Collection[str], _error: StoreUnavailable | StoreRefused) -> None:
    return None


async def heard(redis: Redis, channel: str) -> AsyncGenerator[bytes | None, None]:
    """Subscribe, yield None, then each message's data; use it under `aclosing`.

    Ends by raising ViewUnavailable, AccessRefused or ForeignView, and only so: who wants to go on subscribes again, and
    knows by the None that messages may have been missed.
    """
    async with aclosing(_heard(redis, (channel,))) as messages:
        async for _, data in messages:
            yield data


async def heard_all(
    servers: RedisServers, channels: Mapping[str, int], lost: Lost = _nobody
) -> AsyncGenerator[tuple[str, bytes | None], None]:
    """Hear channels, given with their hash slots, for ever; use it under `aclosing`.

    Yields a channel with None when it is heard, anew perhaps: messages may have been missed. Then it yields each
    message's data.
    """
    redis, pauses = servers.client(next(iter(channels.values()))), delays()
    while True:
        try:
            async with aclosing(_heard(redis, tuple(channels))) as messages:
                async for message in messages:
                    pauses = delays()
                    yield message
        except (StoreUnavailable, StoreRefused) as error:
            lost(channels.keys(), error)
        await asyncio.sleep(next(pauses))


async def _heard(redis: Redis, channels: Collection[str]) -> AsyncGenerator[tuple[str, bytes | None], None]:
    async with aclosing(redis.pubsub()) as pubsub:
        with translated(redis):
            await pubsub.subscribe(*channels)
        silences = 0
        while True:
            with translated(redis):
                message: Any = await pubsub.get_message(timeout=PING_SECONDS)
                if message is None:
                    silences += 1
                    if silences > 1:
                        raise ViewUnavailable(f"Redis at {target(redis)} is silent on a subscription.")
                    await pubsub.ping()
                    continue
            silences = 0
            if message["type"] == "subscribe":
                yield text(message["channel"]), None
            elif message["type"] == "message":
                yield text(message["channel"]), message["data"]
