"""A client of the leading projector: sends a request, and follows the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing

from readmodel.errors import NoLeader, StoreRefused, StoreUnavailable
from readmodel.values.messages import ProjectorReply, ProjectorRequest, decode_reply, encode_request
from readmodel.view.reader import ViewReader
from readmodel.view.subscription import heard, publish

ANSWER_SECONDS = 5.0
"""A leader tells its progress every quarter of a second, and the end at once; silence for so long is nobody there."""


async def ask(slices: Sequence[ViewReader], request: ProjectorRequest) -> AsyncIterator[ProjectorReply]:
    """Send a request and yield the replies, the last one `done` or `failed`; `slices` are those that the leader hears.

    Raises NoLeader when none comes for ANSWER_SECONDS, ViewUnavailable, AccessRefused.
    """
    async with AsyncExitStack() as stack:
        messages = await _send(stack, slices, request)
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


async def _send(
    stack: AsyncExitStack, slices: Sequence[ViewReader], request: ProjectorRequest
) -> AsyncGenerator[bytes | None, None]:
    """Send through the first slice where the leader hears it; the replies come there too.

    One that is away is passed over for good; raises its error where there is no other.
    """
    deadline, left = time.monotonic() + ANSWER_SECONDS, list(slices)
    replies: dict[ViewReader, AsyncGenerator[bytes | None, None]] = {}
    while True:
        for part in tuple(left):
            try:
                if part not in replies:
                    replies[part] = await _subscribed(stack, part, request)
                if await publish(part.redis, part.keys, part.keys.requests, encode_request(request)):
                    return replies[part]
            except (StoreUnavailable, StoreRefused):
                left.remove(part)
                if not left:
                    raise
        if time.monotonic() > deadline:
            raise NoLeader(_SILENT)
        await asyncio.sleep(0.1)


async def _subscribed(
    stack: AsyncExitStack, part: ViewReader, request: ProjectorRequest
) -> AsyncGenerator[bytes | None, None]:
    messages = heard(part.redis, part.keys.replies(request.id))
    await stack.enter_async_context(aclosing(messages))
    await anext(messages)  # no reply can be missed
    return messages


_SILENT = f"No leading projector answered within {ANSWER_SECONDS:g} s; see `readside status`."
