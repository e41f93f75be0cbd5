"""An event loop without waiting: time leaps to the next timer, so that hours pass in milliseconds, repeatably."""

import asyncio
import selectors
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from unittest import mock

STARTED_AT = 1_768_314_600
"""What the clocks of every machine of a simulation show at first, seconds since 1970."""


class Stuck(Exception):
    """Nothing runs and no timer is set: nothing will ever happen again."""


class _LeapingSelector(selectors.DefaultSelector):
    """Waits for nothing: what a simulation waits for is a timer, always."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let the time pass."""
        if timeout is None:
            raise Stuck
        self.now += timeout
        return []


class _NumberedTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where memory had room for it."""

    def __init__(self, number: int, work: Coroutine[Any, Any, Any], **how: Any) -> None:
        self._number = number  # first: whoever is told of the task asks for its hash
        super().__init__(work, **how)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop of virtual seconds, which count from 0."""

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)
        numbers = count()

        def make_task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **how: Any) -> _NumberedTask:
            return _NumberedTask(next(numbers), work, loop=loop, **how)

        self.set_task_factory(make_task)  # type: ignore[arg-type] # typeshed wants a generator there

    def time(self) -> float:
        """The virtual time."""
        return self._leaping.now

    def wall_time(self) -> float:
        """The seconds since 1970."""
        return STARTED_AT + self.time()


@contextmanager
def virtual_clocks(loop: LeapingLoop) -> Iterator[None]:
    """Have every clock of this process show virtual time."""
    with (
        mock.patch("time.monotonic", loop.time),
        mock.patch("time.time", loop.wall_time),
    ):
        yield
