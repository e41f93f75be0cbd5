"""The reads of several slices' steps, which come at the same moment, as one: a statement costs more than its rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Generic, Protocol, TypeVar

from projector.core.new_events import NewEvents
from readmodel.runtime.supervise import end
from readmodel.values.event import EventRow

Wanted = Mapping[str, Mapping[str, EventRow | None]]
Asked = TypeVar("Asked")
Found = TypeVar("Found")


class StepReads(Protocol):
    """What a step reads of Postgres."""

    async def added(self, wanted: Wanted) -> NewEvents:
        """Fetch the named events by session, but for those that are here already."""

    async def statuses(self, session_ids: Collection[str]) -> Mapping[str, str]:
        """These sessions' statuses; missing sessions are left out."""


class SharedReads:
    """What the steps of all slices read. Those that ask in one turn of the loop, or while a statement runs, share one.

    Each raises what `Reads` does, to all who share it.
    """

    def __init__(self, reads: StepReads) -> None:
        self._reads = reads
        self._added = _OneCall[Wanted, NewEvents](self._all_added)
        self._statuses = _OneCall[Collection[str], Mapping[str, str]](self._all_statuses)

    async def _all_added(self, asked: list[Wanted]) -> NewEvents:
        return await self._reads.added({sid: events for wanted in asked for sid, events in wanted.items()})

    async def _all_statuses(self, asked: list[Collection[str]]) -> Mapping[str, str]:
        return await self._reads.statuses({sid for session_ids in asked for sid in session_ids})

    async def added(self, wanted: Wanted) -> NewEvents:
        """Fetch the named events by session, but for those that are here already."""
        return (await self._added.ask(wanted)).of(wanted) if wanted else NewEvents()

    async def statuses(self, session_ids: Collection[str]) -> Mapping[str, str]:
        """These sessions' statuses; missing sessions are left out."""
        found = await self._statuses.ask(session_ids)
        return {sid: found[sid] for sid in session_ids if sid in found}

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._added.close()
        await self._statuses.close()


class _OneCall(Generic[Asked, Found]):
    """One call at a time of what answers many; who asks meanwhile is answered by the next."""

    def __init__(self, answer: Callable[[list[Asked]], Awaitable[Found]]) -> None:
        self._answer = answer
        self._asked: list[tuple[Asked, asyncio.Future[Found]]] = []
        self._answering: asyncio.Task[None] | None = None

    async def ask(self, asked: Asked) -> Found:
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._asked.append((asked, future))
        if self._answering is None:
            self._answering = asyncio.create_task(self._answer_all())
        return await future

    async def _answer_all(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                try:
                    found = await self._answer([one for one, future in asked if not future.done()])
                except Exception as error:  # noqa: BLE001 (each of those who asked raises it)
                    _tell(asked, lambda future, error=error: future.set_exception(error))  # type: ignore[misc]
                else:
                    _tell(asked, lambda future, found=found: future.set_result(found))  # type: ignore[misc]
        finally:
            self._answering = None

    async def close(self) -> None:
        await end([self._answering] if self._answering else [])


def _tell(asked: list[tuple[Asked, asyncio.Future[Found]]], tell: Callable[[asyncio.Future[Found]], None]) -> None:
    for _, future in asked:
        if not future.done():
            tell(future)
