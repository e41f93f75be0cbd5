"""One look at all slices of the view: where each is, and what the processes report; a round trip or two a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.exceptions import MovedError, ResponseError

from readmodel.errors import ServiceError, StoreRefused, StoreUnavailable, ViewUnavailable
from readmodel.redis.client import refusal, target, translated
from readmodel.view.header import text
from readmodel.view.reader import Position, ViewReader, position_of
from readmodel.view.whole import WholeView

LOOK_SECONDS = 3.0
"""A server that takes longer costs its own slices: what the others say is told without it."""


class ReportHash(NamedTuple):
    """What a hash of reports holds, by process id, and its server's clock, microseconds since 1970."""

    reports: Mapping[str, bytes]
    now_us: int


@dataclass(frozen=True, slots=True)
class SliceLook:
    """What one slice holds; `write_refusal` is why its server takes no writes."""

    position: Position | None
    hot_sessions: int
    write_refusal: str | None


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: a slice, or why it could not be seen, by its index; and the reports that could be read."""

    slices: dict[int, SliceLook | ServiceError] = field(default_factory=dict)
    projectors: list[ReportHash] = field(default_factory=list)
    apis: list[ReportHash] = field(default_factory=list)


async def look(view: WholeView, *, with_apis: bool = True) -> Look:
    """Look at all slices, at those of one server together; never raises for a store."""
    seen = Look()
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_SECONDS):
            await view.settle()
    moved = await _look_at(view, range(len(view.parts)), seen, with_apis)
    if moved:  # the answer says where to: once, for else a slice that moves back and forth would hold us
        await _look_at(view, moved, seen, with_apis)
    return seen


async def _look_at(view: WholeView, indices: Iterable[int], seen: Look, with_apis: bool) -> list[int]:
    """Look at these slices; gives those that have moved."""
    groups = view.by_node(indices)
    moved = await asyncio.gather(*(_look_at_server(view, group, seen, with_apis) for group in groups))
    return [index for group in moved for index in group]


async def _look_at_server(view: WholeView, indices: Sequence[int], seen: Look, with_apis: bool) -> list[int]:
    """Look at slices that share a server; where it does not answer, that is what is seen of each."""
    redis = view.parts[indices[0]].redis
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await _ask(view, indices, seen, with_apis)
    except TimeoutError:
        error = ViewUnavailable(f"Redis at {target(redis)} does not answer within {LOOK_SECONDS:g} s.")
        seen.slices.update(dict.fromkeys(indices, error))
    except (StoreUnavailable, StoreRefused) as exc:
        seen.slices.update(dict.fromkeys(indices, exc))
    return []


async def _ask(view: WholeView, indices: Sequence[int], seen: Look, with_apis: bool) -> list[int]:
    parts = {index: view.parts[index] for index in indices}
    reporting = [index for index in view.slices.reporting if index in parts]
    first = parts[indices[0]]
    pipeline: Any = first.redis.pipeline(transaction=False)  # redis-py types its queued commands as awaitables
    pipeline.time()
    for part in parts.values():
        pipeline.hgetall(part.keys.position)
        pipeline.zcard(part.keys.hot)
    for index in reporting:
        pipeline.hgetall(parts[index].keys.projectors)
        if with_apis:
            pipeline.hgetall(parts[index].keys.apis)
    with translated(first.redis):
        clock, *replies = await pipeline.execute(raise_on_error=False)
        if isinstance(clock, ResponseError):
            raise clock
    write_refusal = await first.write_refusal()
    now_us = int(clock[0]) * 1_000_000 + int(clock[1])
    answers = iter(replies)
    moved = []
    for index, part in parts.items():
        position, hot = next(answers), next(answers)
        seen.slices[index] = _slice(part, position, hot, now_us, write_refusal)
        if isinstance(position, MovedError):
            moved.append(index)
    for index in reporting:
        projectors = next(answers)
        _keep(seen.projectors, projectors, now_us)
        if isinstance(projectors, ResponseError):
            seen.slices[index] = refusal(first.redis, projectors)  # no report can be written there
        if with_apis:
            _keep(seen.apis, next(answers), now_us)  # nobody's outage
    return moved


def _slice(
    part: ViewReader, position: Any, hot: Any, now_us: int, write_refusal: str | None
) -> SliceLook | ServiceError:
    for reply in (position, hot):
        if isinstance(reply, ResponseError):
            return refusal(part.redis, reply)
    return SliceLook(position_of(position, now_us), int(hot), write_refusal)


def _keep(hashes: list[ReportHash], reply: Any, now_us: int) -> None:
    if not isinstance(reply, ResponseError):
        hashes.append(ReportHash({text(name): report for name, report in reply.items()}, now_us))
