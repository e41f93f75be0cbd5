"""Hearing a Redis channel, and noticing when nothing can be heard any more."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from redis.asyncio import Redis

from readmodel.errors import ViewUnavailable
from readmodel.redis_client import target, translated

PING_SECONDS = 2.0
"""After so much silence a ping goes out; a second such silence ends the subscription."""


async def heard(redis: Redis, channel: str) -> AsyncGenerator[bytes | None, None]:
    """Subscribe, yield None, then each message's data; use it under `aclosing`.

    Ends by raising ViewUnavailable, AccessRefused or ForeignView, and only so: who wants to go on subscribes again, and
    knows by the None that messages may have been missed.
    """
    async with aclosing(redis.pubsub()) as pubsub:
        with translated(redis):
            await pubsub.subscribe(channel)
        silences = 0
        while True:
            with translated(redis):
                message = await pubsub.get_message(timeout=PING_SECONDS)
                if message is None:
                    silences += 1
                    if silences > 1:
                        raise ViewUnavailable(f"Redis at {target(redis)} is silent on a subscription.")
                    await pubsub.ping()
                    continue
            silences = 0
            if message["type"] == "subscribe":
                yield None
            elif message["type"] == "message":
                yield message["data"]
