"""Polls that are held until as-of has passed an instant: woken by the beat that does it, or let go after a while."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, cast

from query_api.requests.places import WaitingPlaces
from readmodel.errors import NoPlaceFree


class Instants:
    """Who waits for which instant, by the part of the view whose beats count."""

    def __init__(self, places: WaitingPlaces) -> None:
        self._places = places
        self._waiting: defaultdict[Hashable, dict[asyncio.Future[None], int]] = defaultdict(dict)
        self._held: set[asyncio.Task[Any]] = set()

    @property
    def held(self) -> int:
        """How many polls are held."""
        return len(self._held)

    async def wait(self, part: Hashable, instant_us: int, seconds: float) -> None:
        """Return once a beat of this part has passed an instant, or after so long; raises NoPlaceFree."""
        if not self._places.take():
            raise NoPlaceFree
        passed = asyncio.get_running_loop().create_future()
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._waiting[part][passed] = instant_us
        self._held.add(task)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await passed
        finally:
            self._held.discard(task)
            self._places.free()
            self._waiting[part].pop(passed, None)

    def passed(self, part: Hashable, as_of_us: int) -> None:
        """Wake who waits for an instant up to this one."""
        for passed, instant_us in self._waiting[part].items():
            if instant_us <= as_of_us and not passed.done():
                passed.set_result(None)

    def leave(self, task: asyncio.Task[Any]) -> None:
        """End a task that is held here: whom it would answer has left. Any other goes on."""
        if task in self._held:
            task.cancel()
