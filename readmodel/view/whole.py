"""The view as a whole: all its slices, each of which one `ViewReader` reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

from redis.exceptions import RedisError

from readmodel.errors import ServiceError, StoreRefused, StoreUnavailable, ViewUnavailable
from readmodel.redis.client import target, translated
from readmodel.redis.servers import RedisServers
from readmodel.runtime.patience import patience
from readmodel.values.poll import Poll
from readmodel.view.header import Header
from readmodel.view.reader import Cold, Question, ViewArrivals, ViewPage, ViewReader
from readmodel.view.slices import Slices, slot_of

ASKED_TOGETHER = 8
"""Slices of one server that are asked at the same time, each by a connection."""
_T = TypeVar("_T")


class WholeView:
    """All slices. Methods raise what those of `ViewReader` do, of whichever slice it is."""

    def __init__(self, servers: RedisServers, prefix: str, slices: int = 1) -> None:
        self.servers = servers
        self.slices = Slices(prefix, servers.database, slices, servers.sharded)
        self._slots = tuple(slot_of(keys.tag) for keys in self.slices.keys)
        self.parts = tuple(
            ViewReader(servers.client(slot), keys) for slot, keys in zip(self._slots, self.slices.keys, strict=True)
        )

    @property
    def reporting(self) -> tuple[ViewReader, ...]:
        """The slices that hold the reports of projectors and APIs."""
        return tuple(self.parts[index] for index in self.slices.reporting)

    def change_channels(self) -> dict[str, int]:
        """Each slice's channel of changes, in order, with its hash slot."""
        return {keys.changes: slot for keys, slot in zip(self.slices.keys, self._slots, strict=True)}

    def request_channels(self) -> dict[str, int]:
        """The channels on which the leader hears requests, those of the report slices, each with its hash slot."""
        return {self.slices.keys[index].requests: self._slots[index] for index in self.slices.reporting}

    def part_of(self, session_id: str) -> ViewReader:
        """The slice that a session is in."""
        return self.parts[self.slices.index_of(session_id)]

    def node(self, index: int) -> str:
        """Name the server that a slice is taken to be on now."""
        return self.servers.node(self._slots[index])

    def node_of(self, session_id: str) -> str:
        """Name the server that a session's slice is taken to be on now."""
        return self.servers.node(self._slots[self.slices.index_of(session_id)])

    def by_node(self, indices: Iterable[int]) -> list[list[int]]:
        """Group slices by the server that each is taken to be on now."""
        groups: dict[str, list[int]] = {}
        for index in indices:
            groups.setdefault(self.node(index), []).append(index)
        return list(groups.values())

    async def settle(self) -> None:
        """Learn where the slices are, where that was never asked; if nobody tells, whoever is asked will say so."""
        with suppress(RedisError, OSError, TimeoutError):
            await self.servers.settle(self._slots[0])

    def nodes(self) -> Collection[str]:
        """Name all servers that there are slices on."""
        return {self.node(index) for index in range(len(self.parts))}

    async def read_all(
        self, questions: Sequence[Question], max_bytes: int, database: str = "", reply_bytes: int | None = None
    ) -> list[ViewPage | ViewArrivals | Cold | ServiceError]:
        """Answer them in one round trip for each server; what concerns one of these alone stands in their places.

        LONG_PAGE stands in the place of a page that is longer than `reply_bytes` (None: none is).
        """
        if len(self.parts) == 1:
            return await self.parts[0].read_all(questions, max_bytes, database, reply_bytes)
        by_node: dict[str, list[int]] = {}
        for place, question in enumerate(questions):
            by_node.setdefault(self.node_of(question.session_id), []).append(place)
        if len(by_node) == 1:
            return await self._read_together(questions, max_bytes, database, reply_bytes)
        answers: dict[int, ViewPage | ViewArrivals | Cold | ServiceError] = {}

        async def read(places: Sequence[int]) -> None:
            asked = [questions[place] for place in places]
            try:
                found = await self._read_together(asked, max_bytes, database, reply_bytes)
            except (StoreUnavailable, StoreRefused) as error:
                found = [error] * len(places)
            answers.update(zip(places, found, strict=True))

        await asyncio.gather(*map(read, by_node.values()))
        return [answers[place] for place in range(len(questions))]

    async def _read_together(
        self, questions: Sequence[Question], max_bytes: int, database: str, reply_bytes: int | None
    ) -> list[ViewPage | ViewArrivals | Cold | ServiceError]:
        part = self.part_of(questions[0].session_id)
        return await part.read_all(questions, max_bytes, database, reply_bytes, keys_of=self.slices.of)

    async def read(self, poll: Poll, max_bytes: int, database: str = "") -> ViewPage | Cold:
        """Answer a poll in one call, of the view of `database` ("": any); raises AnswerTooLarge past `max_bytes`."""
        return await self.part_of(poll.session_id).read(poll, max_bytes, database)

    async def answers(self) -> None:
        """Raise unless some slice's Redis answers."""
        found = await asyncio.gather(*(part.position() for part in self.parts), return_exceptions=True)
        errors = [one for one in found if isinstance(one, BaseException)]
        if len(errors) == len(found):
            raise errors[0]

    async def check(self, database: str) -> None:
        """Raise unless every slice's Redis answers, and holds none or that of `database` ("" for any)."""
        await self._each(range(len(self.parts)), lambda index: self.parts[index].check(database))

    async def check_each(self, database: str, patience_seconds: float) -> list[ServiceError | None]:
        """Tell of each slice whether its Redis answers, within some seconds, and holds none or that of `database`.

        Slices of one server share a round trip. Raises nothing.
        """
        found: dict[int, ServiceError | None] = {}

        async def check(indices: Sequence[int]) -> None:
            redis = self.parts[indices[0]].redis
            try:
                async with patience(patience_seconds):
                    errors = await self._check_together(indices, database)
                found.update(zip(indices, errors, strict=True))
            except TimeoutError:
                error = ViewUnavailable(f"Redis at {target(redis)} did not answer within {patience_seconds} s.")
                found.update(dict.fromkeys(indices, error))
            except (StoreUnavailable, StoreRefused) as exc:
                found.update(dict.fromkeys(indices, exc))

        await asyncio.gather(*map(check, self.by_node(range(len(self.parts)))))
        return [found[index] for index in range(len(self.parts))]

    async def _check_together(self, indices: Sequence[int], database: str) -> list[ServiceError | None]:
        redis = self.parts[indices[0]].redis
        pipeline: Any = redis.pipeline(transaction=False)  # redis-py types its queued commands as awaitables
        for index in indices:
            pipeline.hmget(self.slices.keys[index].position, "term", "database")
        with translated(redis):
            replies = await pipeline.execute(raise_on_error=False)
        return [self.parts[index].misfit(reply, database) for index, reply in zip(indices, replies, strict=True)]

    async def _each(self, indices: Iterable[int], ask: Callable[[int], Awaitable[_T]]) -> list[_T]:
        """Ask slices, a few of each server at a time, and give what they say in order."""
        turns: dict[str, asyncio.Semaphore] = {}

        async def of(index: int) -> _T:
            async with turns.setdefault(self.node(index), asyncio.Semaphore(ASKED_TOGETHER)):
                return await ask(index)

        return await asyncio.gather(*map(of, indices))

    async def headers(self, session_ids: Sequence[str]) -> list[Header | None]:
        """Read the headers of these sessions, in order; None where there is none, or what is there is no header."""
        by_slice: dict[int, list[str]] = {}
        for sid in session_ids:
            by_slice.setdefault(self.slices.index_of(sid), []).append(sid)
        found: dict[str, Header | None] = {}

        async def read(index: int) -> None:
            ids = by_slice[index]
            found.update(zip(ids, await self.parts[index].headers(ids), strict=True))

        await self._each(by_slice, read)
        return [found[sid] for sid in session_ids]

    async def hot_count(self) -> int:
        """Count the sessions that the indexes list."""
        return sum(await self._each(range(len(self.parts)), lambda index: self.parts[index].hot_count()))

    async def hot_sessions(self, offset: int = 0, limit: int = -1) -> list[tuple[str, int]]:
        """List (session id, last activity in ms since 1970), most recently active first; all by default."""
        if len(self.parts) == 1:
            return await self.parts[0].hot_sessions(offset, limit)
        most = -1 if limit < 0 else offset + limit  # any of them may be in one slice
        listed = await self._each(range(len(self.parts)), lambda index: self.parts[index].hot_sessions(0, most))
        merged = merge(*listed, key=lambda entry: -entry[1])
        return list(islice(merged, offset, None if limit < 0 else offset + limit))
