"""A client of the leading projector: sends a request, and follows the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from redis.asyncio import Redis

from readmodel.errors import NoLeader
from readmodel.keys import Keys
from readmodel.messages import ProjectorReply, ProjectorRequest, decode_reply, encode_request
from readmodel.subscription import heard, publish

ANSWER_SECONDS = 5.0
"""A leader tells its progress every quarter of a second, and the end at once; silence for so long is nobody there."""


async def ask(redis: Redis, keys: Keys, request: ProjectorRequest) -> AsyncIterator[ProjectorReply]:
    """Send a request and yield the replies, the last one `done` or `failed`.

    Raises NoLeader when none comes for ANSWER_SECONDS, ViewUnavailable, AccessRefused.
    """
    async with aclosing(heard(redis, keys.replies(request.id))) as messages:
        await anext(messages)  # subscribed: no reply can be missed
        await _send(redis, keys, request)
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    data = await anext(messages)
            except TimeoutError:
                raise NoLeader(_SILENT) from None
            if data is None:
                continue
            reply = decode_reply(data)
            yield reply
            if reply.state in {"done", "failed"}:
                return


async def _send(redis: Redis, keys: Keys, request: ProjectorRequest) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        if await publish(redis, keys, keys.requests, encode_request(request)):
            return
        if time.monotonic() > deadline:
            raise NoLeader(_SILENT)
        await asyncio.sleep(0.1)


_SILENT = f"No leading projector answered within {ANSWER_SECONDS:g} s; see `readside status`."
